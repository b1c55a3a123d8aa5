// When each operation could start if dispatching cost nothing: hwmodel/recurrence.py.
#include <algorithm>
#include <string>

#include "minisim/errors.hpp"
#include "minisim/timing.hpp"

namespace minisim {

std::vector<Cycle> expected_starts(const Schedule& schedule, std::uint32_t cores,
                                   const std::vector<OpCost>& costs, const std::uint32_t* classes,
                                   const std::int64_t* sharing, bool shared) {
    struct Lane {
        Cycle begun = 0, free = 0;        // when its first stage is free, and its second one
        std::vector<Cycle> ends{Cycle{0}};  // when so many of its operations have retired
    };
    std::vector<Lane> lanes(std::size_t{cores} * kQueues);
    const auto end_of = [&](std::uint32_t op, std::size_t lane, std::size_t count) {
        if (count >= lanes[lane].ends.size()) {
            throw ScheduleError("operation " + std::to_string(op) + " waits for one behind it");
        }
        return lanes[lane].ends[count];
    };
    const auto size = static_cast<std::uint32_t>(schedule.stream.size);
    std::vector<Cycle> found(size);
    for (std::uint32_t op = 0; op < size; ++op) {
        const StreamRow& row = schedule.stream[op];
        const std::size_t own = std::size_t{row.core} * kQueues;
        Lane& lane = lanes[own + row.queue];
        Cycle start = lane.begun;
        for (std::size_t q = 0; q < kQueues; ++q) {
            start = std::max(start, end_of(op, own + q, row.wait[q]));
        }
        for (std::size_t i = row.sync; i != kNone; ++i) {
            const SyncRow& sync = schedule.syncs[i];
            start = std::max(start, end_of(op, sync.core * kQueues + sync.queue, sync.count));
            if (!sync.more) break;
        }
        const OpCost& takes = costs[classes[op]];
        const Cycle occupied = std::max(takes.busy, sharing[row.layer] * takes.dram + takes.lag);
        const bool store = row.queue == static_cast<std::uint8_t>(Queue::kStore);
        const auto load = static_cast<std::size_t>(Queue::kLoad);
        Lane& port = shared && store ? lanes[own + load] : lane;
        const Cycle begin = std::max(start + takes.setup, port.free);
        lane.begun = begin + takes.hold;
        port.free = begin + occupied;
        lane.ends.push_back(std::max(lane.ends.back(), port.free + takes.latency));
        found[op] = start;
    }
    return found;
}

}  // namespace minisim
