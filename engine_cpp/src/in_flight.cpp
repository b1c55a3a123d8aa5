#include "minisim/in_flight.hpp"

#include <string>

#include "minisim/errors.hpp"

namespace minisim {

void InFlight::reset() { *this = InFlight(fifos_.size() / kQueues); }

void InFlight::check_start(const Program& program, std::uint32_t op) {
    const std::size_t lane = program.lane(op);
    std::size_t next = next_[lane];
    while (next < program.stream.size && program.lane(next) != lane) ++next;
    next_[lane] = next;
    if (next == program.stream.size) {
        throw ScheduleError(program.op_name(op) +
                            " started, but all operations of its queue have started already");
    }
    if (next != op) {
        throw ScheduleError(program.op_name(op) +
                            " started out of order: the next of its queue is " +
                            program.op_name(next));
    }
}

void InFlight::start(const Program& program, std::uint32_t op) {
    const std::size_t lane = program.lane(op);
    next_[lane] = std::size_t{op} + 1;
    fifos_[lane].push_back(op);
}

void InFlight::retire(const Program& program, std::uint32_t op) {
    auto& fifo = fifos_[program.lane(op)];
    if (fifo.empty()) {
        throw ScheduleError(program.op_name(op) +
                            " retired, but nothing of its queue is in flight");
    }
    if (fifo.front() != op) {
        throw ScheduleError(program.op_name(op) +
                            " retired out of order: the oldest of its queue in flight is " +
                            program.op_name(fifo.front()));
    }
    fifo.pop_front();
    ++retired_;
}

bool InFlight::empty() const {
    for (const auto& fifo : fifos_) {
        if (!fifo.empty()) return false;
    }
    return true;
}

}  // namespace minisim
