// Which operations have started and not retired.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "minisim/program.hpp"

namespace minisim {

// Every queue starts its operations in program order and retires them in order, so what is in
// flight in a queue is a stretch of its operations. That order is part of the instruction set;
// breaking it is a ScheduleError.
class InFlight {
public:
    // Of a machine with so many cores, each with its own queues.
    InFlight(const Program& program, std::size_t cores);

    // An operation was appended to the program; no other than that. If this throws, nothing changed.
    void append(const Program& program);

    void restart() noexcept;  // with nothing started
    void forget() noexcept;   // the program has no operations any more

    // Throws ScheduleError unless `op` is the next of its queue that has not started.
    void check_start(const Program& program, std::uint32_t op) const;

    // `op`, which check_start approved, is in flight from now on.
    void start(const Program& program, std::uint32_t op) noexcept;

    // Throws ScheduleError unless `op` is the oldest of its queue in flight.
    void retire(const Program& program, std::uint32_t op);

    // Of an operation that has started, and its Program::lane.
    bool contains(std::int64_t op, std::size_t lane) const {
        const Lane& x = lanes_[lane];
        return x.in_flight > 0 && op >= std::int64_t{x.oldest};
    }

    bool empty() const { return in_flight_ == 0; }
    std::size_t retired() const { return retired_; }  // operations, all queues

private:
    struct Lane {
        std::uint32_t first = kNone, last = kNone;  // of its operations
        std::uint32_t next = kNone;                 // to start
        std::uint32_t oldest = kNone;               // of those in flight, if there are any
        std::size_t in_flight = 0;
    };
    std::vector<Lane> lanes_;              // by Program::lane
    std::vector<std::uint32_t> follower_;  // of an operation, in its queue
    std::size_t in_flight_ = 0, retired_ = 0;
};

}  // namespace minisim
