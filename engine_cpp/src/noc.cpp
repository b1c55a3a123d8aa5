// The network between the cores and their memory: hwmodel/noc.py.
#include <algorithm>
#include <utility>

#include "minisim/memory.hpp"

namespace minisim {
namespace {

class Noc : public Memory {
public:
    Noc(const MemoryMachine& machine, std::unique_ptr<Memory> memory, std::uint32_t cores)
        : memory_(std::move(memory)),
          rate_(machine.noc_rate),
          core_rate_(machine.noc_core_rate),
          core_crossed_(cores, 0) {}

    Answer serve(const Asked& asked, Cycle now) override {
        Answer answer = memory_->serve(asked, now);
        Cycle crossed = answer.end;
        const auto cross = [&](Cycle& link, std::int64_t rate) {
            if (rate == 0) return;
            link = std::max(link, answer.begin) + (asked.size() + rate - 1) / rate;
            crossed = std::max(crossed, link);
        };
        cross(crossed_, rate_);
        cross(core_crossed_[asked.core], core_rate_);
        answer.crossing = crossed - answer.end;
        return answer;
    }

    void count(Counters& counters) const override { memory_->count(counters); }

private:
    std::unique_ptr<Memory> memory_;
    std::int64_t rate_, core_rate_;
    Cycle crossed_ = 0;
    std::vector<Cycle> core_crossed_;
};

}  // namespace

std::unique_ptr<Memory> make_noc(const MemoryMachine& machine, std::unique_ptr<Memory> memory,
                                 std::uint32_t cores) {
    return std::make_unique<Noc>(machine, std::move(memory), cores);
}

}  // namespace minisim
