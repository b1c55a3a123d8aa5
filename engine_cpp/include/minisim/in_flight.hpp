// Which operations have started and not retired.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>

#include "minisim/program.hpp"

namespace minisim {

// Every queue starts its operations in program order and retires them in order, so what is in
// flight in a queue is a FIFO. That order is part of the instruction set; breaking it is a
// ScheduleError.
class InFlight {
public:
    // Begin again with nothing started.
    void reset();

    // Throws ScheduleError unless `op` is the next of its queue that has not started.
    void check_start(const Program& program, std::uint32_t op);

    // `op`, which check_start approved, is in flight from now on.
    void start(const Program& program, std::uint32_t op);

    // Throws ScheduleError unless `op` is the oldest of its queue in flight.
    void retire(const Program& program, std::uint32_t op);

    // Of an operation that has started.
    bool contains(std::int64_t op, Queue queue) const {
        const auto& fifo = fifos_[static_cast<std::size_t>(queue)];
        return !fifo.empty() && op >= fifo.front();
    }

    bool empty() const;
    std::size_t retired() const { return retired_; }  // operations, all queues

private:
    std::array<std::deque<std::uint32_t>, kQueues> fifos_;
    std::array<std::size_t, kQueues> next_{};  // no operation of the queue below it waits to start
    std::size_t retired_ = 0;
};

}  // namespace minisim
