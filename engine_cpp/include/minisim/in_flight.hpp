// Which operations have started and not retired.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "minisim/program.hpp"

namespace minisim {

// Every queue starts its operations in program order and retires them in order, so what is in
// flight in a queue is a FIFO. That order is part of the instruction set; breaking it is a
// ScheduleError.
class InFlight {
public:
    // Of a machine with so many cores, each with its own queues.
    explicit InFlight(std::size_t cores) : fifos_(cores * kQueues), next_(cores * kQueues) {}

    // Begin again with nothing started.
    void reset();

    // Throws ScheduleError unless `op` is the next of its queue that has not started.
    void check_start(const Program& program, std::uint32_t op);

    // `op`, which check_start approved, is in flight from now on.
    void start(const Program& program, std::uint32_t op);

    // Throws ScheduleError unless `op` is the oldest of its queue in flight.
    void retire(const Program& program, std::uint32_t op);

    // Of an operation that has started, and its Program::lane.
    bool contains(std::int64_t op, std::size_t lane) const {
        const auto& fifo = fifos_[lane];
        return !fifo.empty() && op >= fifo.front();
    }

    bool empty() const;
    std::size_t retired() const { return retired_; }  // operations, all queues

private:
    // By Program::lane.
    std::vector<std::deque<std::uint32_t>> fifos_;
    std::vector<std::size_t> next_;  // no operation of the queue below it waits to start
    std::size_t retired_ = 0;
};

}  // namespace minisim
