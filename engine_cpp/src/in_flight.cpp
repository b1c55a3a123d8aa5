#include "minisim/in_flight.hpp"

#include <string>

#include "minisim/errors.hpp"

namespace minisim {

InFlight::InFlight(const Program& program, std::size_t cores) : lanes_(cores * kQueues) {
    follower_.reserve(program.stream.size);
    for (std::size_t op = 0; op < program.stream.size; ++op) append(program);
}

void InFlight::append(const Program& program) {
    const auto op = static_cast<std::uint32_t>(follower_.size());
    follower_.push_back(kNone);
    Lane& lane = lanes_[program.lane(op)];
    if (lane.first == kNone) lane.first = op;
    if (lane.next == kNone) lane.next = op;
    if (lane.last != kNone) follower_[lane.last] = op;
    lane.last = op;
}

void InFlight::restart() noexcept {
    for (Lane& lane : lanes_) lane = {lane.first, lane.last, lane.first, kNone, 0};
    in_flight_ = retired_ = 0;
}

void InFlight::forget() noexcept {
    for (Lane& lane : lanes_) lane = Lane{};
    follower_.clear();
    in_flight_ = retired_ = 0;
}

void InFlight::check_start(const Program& program, std::uint32_t op) const {
    const std::uint32_t next = lanes_[program.lane(op)].next;
    if (next == kNone) {
        throw ScheduleError(program.op_name(op) +
                            " started, but all operations of its queue have started already");
    }
    if (next != op) {
        throw ScheduleError(program.op_name(op) +
                            " started out of order: the next of its queue is " +
                            program.op_name(next));
    }
}

void InFlight::start(const Program& program, std::uint32_t op) noexcept {
    Lane& lane = lanes_[program.lane(op)];
    if (lane.in_flight == 0) lane.oldest = op;
    lane.next = follower_[op];
    ++lane.in_flight;
    ++in_flight_;
}

void InFlight::retire(const Program& program, std::uint32_t op) {
    Lane& lane = lanes_[program.lane(op)];
    if (lane.in_flight == 0) {
        throw ScheduleError(program.op_name(op) +
                            " retired, but nothing of its queue is in flight");
    }
    if (lane.oldest != op) {
        throw ScheduleError(program.op_name(op) +
                            " retired out of order: the oldest of its queue in flight is " +
                            program.op_name(lane.oldest));
    }
    lane.oldest = follower_[op];
    --lane.in_flight;
    --in_flight_;
    ++retired_;
}

}  // namespace minisim
