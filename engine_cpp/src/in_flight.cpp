#include "minisim/in_flight.hpp"

#include <string>

#include "minisim/errors.hpp"

namespace minisim {

InFlight::InFlight(const Schedule& schedule, std::size_t cores) : lanes_(cores * kQueues) {
    follower_.reserve(schedule.stream.size);
    for (std::size_t op = 0; op < schedule.stream.size; ++op) append(schedule);
}

void InFlight::append(const Schedule& schedule) {
    const auto op = static_cast<std::uint32_t>(follower_.size());
    follower_.push_back(kNone);
    Lane& lane = lanes_[schedule.lane(op)];
    if (lane.first == kNone) lane.first = op;
    if (lane.oldest == kNone) lane.oldest = op;
    if (lane.next == kNone) lane.next = op;
    if (lane.last != kNone) follower_[lane.last] = op;
    lane.last = op;
}

void InFlight::restart() noexcept {
    for (Lane& lane : lanes_) lane.next = lane.oldest = lane.first;
    in_flight_ = retired_ = 0;
}

void InFlight::forget() noexcept {
    for (Lane& lane : lanes_) lane = Lane{};
    follower_.clear();
    in_flight_ = retired_ = 0;
}

void InFlight::refuse_start(const Schedule& schedule, std::uint32_t op) const {
    const std::uint32_t next = lanes_[schedule.lane(op)].next;
    if (next == kNone) {
        throw ScheduleError(schedule.op_name(op) +
                            " started, but all operations of its queue have started already");
    }
    throw ScheduleError(schedule.op_name(op) + " started out of order: the next of its queue is " +
                        schedule.op_name(next));
}

void InFlight::refuse_retirement(const Schedule& schedule, std::uint32_t op) const {
    const Lane& lane = lanes_[schedule.lane(op)];
    if (lane.oldest == lane.next) {
        throw ScheduleError(schedule.op_name(op) +
                            " retired, but nothing of its queue is in flight");
    }
    throw ScheduleError(schedule.op_name(op) + " retired out of order: the oldest of its queue in flight is " +
                        schedule.op_name(lane.oldest));
}

}  // namespace minisim
