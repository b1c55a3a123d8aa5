// A machine's memory put together, and its DRAM: hwmodel/{memory,dram,banked}.py.
#include "minisim/memory.hpp"

#include <algorithm>
#include <utility>

#include "minisim/timing.hpp"

namespace minisim {
namespace {

__extension__ using Wide = __int128;  // bytes x cycles

class IdealDram : public DramModel {
public:
    explicit IdealDram(const MemoryMachine& machine)
        : latency_{machine.read_latency, machine.write_latency},
          bytes_(machine.bytes),
          cycles_(machine.cycles) {}

    Answer serve(const Asked& asked, Cycle now) override {
        const std::int64_t size = asked.size();
        return next(asked.op, now, asked.dram, latency_[asked.write], asked.write ? 0 : size,
                    asked.write ? size : 0);
    }

    Answer lines(const Asked& asked, const std::vector<std::int64_t>& addresses, std::size_t reads,
                 std::int64_t size, Cycle now) override {
        const auto count = static_cast<std::int64_t>(addresses.size());
        const auto read = static_cast<std::int64_t>(reads) * size, all = count * size;
        const auto takes = static_cast<Cycle>((Wide{all} * cycles_ + bytes_ - 1) / bytes_);
        return next(asked.op, now, takes, latency_[reads == 0], read, all - read);
    }

    void count(Counters& counters) const override { counters["dram_busy"] = busy_; }

private:
    Answer next(std::uint32_t op, Cycle now, Cycle takes, Cycle latency, std::int64_t read,
                std::int64_t written) {
        const bool waits = now < free_;
        const Cycle begin = waits ? free_ : now;
        const std::uint32_t behind = waits ? last_ : kNone;
        free_ = begin + takes;
        last_ = op;
        busy_ += takes;
        return {begin, free_, latency, read, written, behind, Gate::kDram, Gate::kService, 0, 0};
    }

    Cycle latency_[2];
    std::int64_t bytes_, cycles_;
    Cycle free_ = 0, busy_ = 0;
    std::uint32_t last_ = kNone;
};

class BankedDram : public DramModel {
public:
    BankedDram(const MemoryMachine& machine, std::uint32_t lanes)
        : latency_{machine.read_latency, machine.write_latency},
          memory_(*machine.part, machine.dram_cycles, machine.core_cycles),
          several_(machine.part->channels > 1),
          ended_(lanes, {-1, -1}) {}

    Answer serve(const Asked& asked, Cycle now) override {
        const Rectangle& at = asked.at;
        const auto turn = memory_.transfer(at.address, at.pitch, at.rows, at.row_bytes, asked.write,
                                           now, since(asked, now));
        const std::int64_t size = asked.size();
        return answer(asked, now, turn, latency_[asked.write], asked.write ? 0 : size,
                      asked.write ? size : 0);
    }

    Answer lines(const Asked& asked, const std::vector<std::int64_t>& addresses, std::size_t reads,
                 std::int64_t size, Cycle now) override {
        const auto turn = memory_.lines(addresses.data(), reads, addresses.size(), size, now,
                                        since(asked, now));
        const auto read = static_cast<std::int64_t>(reads) * size;
        const auto all = static_cast<std::int64_t>(addresses.size()) * size;
        return answer(asked, now, turn, latency_[reads == 0], read, all - read);
    }

    void count(Counters& counters) const override { counters["dram_busy"] = busy_; }

private:
    // If its port was busy until now, the request has been waiting.
    Cycle since(const Asked& asked, Cycle now) const {
        const auto& [begin, end] = ended_[asked.lane];
        return now == end ? begin : now;
    }

    Answer answer(const Asked& asked, Cycle now, const DramMemory::Turn& turn, Cycle latency,
                  std::int64_t read, std::int64_t written) {
        ended_[asked.lane] = {turn.begin, turn.end};
        busy_ += std::max(Cycle{0}, turn.end - std::max(turn.begin, served_));
        served_ = std::max(served_, turn.end);
        const std::uint32_t behind = std::exchange(last_, asked.op);
        Answer found{turn.turn, turn.end,    latency,        read, written, kNone,
                     Gate::kDram, Gate::kService, 0, 0};
        if (several_) {
            found.begin = now;
            found.contention = turn.turn - now;
        } else if (turn.turn > now) {
            found.behind = behind;
        }
        return found;
    }

    Cycle latency_[2];
    DramMemory memory_;
    bool several_;
    std::uint32_t last_ = kNone;
    Cycle busy_ = 0, served_ = 0;
    std::vector<std::pair<Cycle, Cycle>> ended_;  // of each port's last transfer, begin and end
};

}  // namespace

std::unique_ptr<DramModel> make_dram(const MemoryMachine& machine, std::uint32_t lanes) {
    if (machine.part) return std::make_unique<BankedDram>(machine, lanes);
    return std::make_unique<IdealDram>(machine);
}

std::unique_ptr<Memory> make_memory(const MemoryMachine& machine, std::uint32_t cores) {
    std::unique_ptr<DramModel> dram = make_dram(machine, cores * kQueues);
    std::unique_ptr<Memory> memory =
        machine.l2_sets ? make_l2(machine, std::move(dram)) : std::move(dram);
    if (machine.noc_rate == 0 && machine.noc_core_rate == 0) return memory;
    return make_noc(machine, std::move(memory), cores);
}

}  // namespace minisim
