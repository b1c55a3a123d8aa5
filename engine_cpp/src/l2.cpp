// The cache that all cores share: hwmodel/l2.py.
#include <algorithm>
#include <unordered_map>
#include <utility>

#include "minisim/memory.hpp"
#include "minisim/timing.hpp"

namespace minisim {
namespace {

// Which lines are there, and which of them are dirty.
class Cache {
public:
    Cache(std::int64_t sets, std::int64_t ways) : sets_(sets), ways_(static_cast<std::size_t>(ways)) {}

    // Whether the line was there, and the dirty line that had to be written back for it, or -1.
    std::pair<bool, std::int64_t> access(std::int64_t line, bool write) {
        std::vector<Line>& there = lines_[line % sets_];
        const auto found = std::find_if(there.begin(), there.end(),
                                        [&](const Line& each) { return each.line == line; });
        if (found != there.end()) {
            ++hits;
            found->dirty |= write;
            std::rotate(found, found + 1, there.end());  // the last is the one used last
            return {true, -1};
        }
        ++misses;
        std::int64_t victim = -1;
        if (there.size() == ways_) {
            if (there.front().dirty) {
                victim = there.front().line;
                ++write_backs;
            }
            there.erase(there.begin());
        }
        there.push_back({line, write});
        return {false, victim};
    }

    std::int64_t dirty() const {
        std::int64_t count = 0;
        for (const auto& [set, there] : lines_) {
            count += std::count_if(there.begin(), there.end(), [](const Line& each) { return each.dirty; });
        }
        return count;
    }

    std::int64_t hits = 0, misses = 0, write_backs = 0;

private:
    struct Line {
        std::int64_t line;
        bool dirty;
    };
    std::int64_t sets_;
    std::size_t ways_;
    std::unordered_map<std::int64_t, std::vector<Line>> lines_;  // by set; only those that were used
};

class L2 : public Memory {
public:
    L2(const MemoryMachine& machine, std::unique_ptr<DramModel> dram)
        : dram_(std::move(dram)),
          line_(machine.l2_line),
          width_(machine.l2_width),
          latency_(machine.l2_latency),
          cache_(machine.l2_sets, machine.l2_ways) {}

    Answer serve(const Asked& asked, Cycle now) override {
        const bool waits = now < free_;
        Answer answer{waits ? free_ : now, 0, latency_, 0, 0, waits ? last_ : kNone,
                      Gate::kL2Port, Gate::kL2, 0, 0};
        free_ = answer.end = answer.begin + (asked.size() + width_ - 1) / width_;
        last_ = asked.op;
        look_up(asked);
        if (addresses_.empty()) return answer;
        const Answer dram = dram_->lines(asked, addresses_, fetches_, line_, answer.begin);
        if (fetches_) answer.latency += dram.latency;
        answer.read = dram.read;
        answer.written = dram.written;
        if (dram.end > answer.end) {
            answer.end = dram.end;
            answer.by = dram.by;
            answer.contention = dram.begin - answer.begin + dram.contention;
        }
        return answer;
    }

    void count(Counters& counters) const override {
        dram_->count(counters);
        counters["l2_hits"] = cache_.hits;
        counters["l2_misses"] = cache_.misses;
        counters["l2_write_backs"] = cache_.write_backs;
        counters["l2_dirty"] = cache_.dirty();
    }

private:
    // Finds `addresses_`: of the lines to fetch, then of those to write back.
    void look_up(const Asked& asked) {
        Rectangle at = asked.at;
        if (at.pitch == at.row_bytes) at = {at.address, at.row_bytes * at.rows, 1, 0};
        addresses_.clear();
        write_backs_.clear();
        std::int64_t last = -1;  // the line before: one that two rows share counts once
        for (std::int64_t row = 0; row < at.rows; ++row) {
            const std::int64_t begin = at.address + row * at.pitch, end = begin + at.row_bytes;
            for (std::int64_t line = begin / line_; line * line_ < end; ++line) {
                if (line == last) continue;
                last = line;
                const auto [hit, victim] = cache_.access(line, asked.write);
                const bool whole = line * line_ >= begin && (line + 1) * line_ <= end;
                if (!hit && !(asked.write && whole)) addresses_.push_back(line * line_);
                if (victim >= 0) write_backs_.push_back(victim * line_);
            }
        }
        fetches_ = addresses_.size();
        addresses_.insert(addresses_.end(), write_backs_.begin(), write_backs_.end());
    }

    std::unique_ptr<DramModel> dram_;
    std::int64_t line_, width_;
    Cycle latency_, free_ = 0;
    std::uint32_t last_ = kNone;
    Cache cache_;
    std::vector<std::int64_t> addresses_, write_backs_;
    std::size_t fetches_ = 0;
};

}  // namespace

std::unique_ptr<Memory> make_l2(const MemoryMachine& machine, std::unique_ptr<DramModel> dram) {
    return std::make_unique<L2>(machine, std::move(dram));
}

}  // namespace minisim
