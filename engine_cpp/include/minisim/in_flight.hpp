// Which operations have started and not retired.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "minisim/schedule.hpp"

namespace minisim {

// Every queue starts its operations in program order and retires them in order, so what is in
// flight in a queue is a stretch of its operations. That order is part of the instruction set;
// breaking it is a ScheduleError.
class InFlight {
public:
    // Of a machine with so many cores, each with its own queues.
    InFlight(const Schedule& schedule, std::size_t cores);

    // An operation was appended to the program; no other than that. If this throws, nothing changed.
    void append(const Schedule& schedule);

    void restart() noexcept;  // with nothing started
    void forget() noexcept;   // the program has no operations any more

    // Throws ScheduleError unless `op` is the next of its queue that has not started.
    void check_start(const Schedule& schedule, std::uint32_t op) const {
        if (lanes_[schedule.lane(op)].next != op) refuse_start(schedule, op);
    }

    // `op`, which check_start approved, is in flight from now on.
    void start(const Schedule& schedule, std::uint32_t op) noexcept {
        lanes_[schedule.lane(op)].next = follower_[op];
        ++in_flight_;
    }

    // Throws ScheduleError unless `op` is the oldest of its queue in flight.
    void retire(const Schedule& schedule, std::uint32_t op) {
        Lane& lane = lanes_[schedule.lane(op)];
        if (lane.oldest == lane.next || lane.oldest != op) refuse_retirement(schedule, op);
        lane.oldest = follower_[op];
        --in_flight_;
        ++retired_;
    }

    // Of an operation that has started, and its Schedule::lane.
    bool contains(std::int64_t op, std::size_t lane) const {
        return op >= std::int64_t{lanes_[lane].oldest};
    }

    bool empty() const { return in_flight_ == 0; }
    std::size_t retired() const { return retired_; }  // operations, all queues

private:
    [[noreturn]] void refuse_start(const Schedule& schedule, std::uint32_t op) const;
    [[noreturn]] void refuse_retirement(const Schedule& schedule, std::uint32_t op) const;

    struct Lane {
        std::uint32_t first = kNone, last = kNone;  // of its operations
        std::uint32_t next = kNone;                 // to start; NONE: all have
        std::uint32_t oldest = kNone;               // that has not retired: `next` if none is in flight
    };
    std::vector<Lane> lanes_;              // by Schedule::lane
    std::vector<std::uint32_t> follower_;  // of an operation, in its queue
    std::size_t in_flight_ = 0, retired_ = 0;
};

}  // namespace minisim
