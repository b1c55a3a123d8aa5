// The parts of a simulation under way. Part of timing*.cpp; hwmodel has each by the same name.
#pragma once

#include <algorithm>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "minisim/timing.hpp"

namespace minisim {

constexpr Cycle kForever = Cycle{1} << 62;
constexpr std::uint32_t kNobody = kNone;

// See hwmodel/clock.py.
enum class Phase : std::uint8_t { kFree, kStart, kPlace, kServe };

// What is to be done at a cycle, in a phase. Within a phase the order makes no difference.
struct Event {
    enum class Kind : std::uint8_t { kLook, kRetire, kDecoded, kLand, kLineUp, kGive, kServe };
    Cycle cycle;
    Phase phase;
    Kind kind;
    std::uint32_t who;  // a unit, a channel of one, or a group of ports
    std::uint32_t op;   // of kLineUp

    bool before(const Event& other) const {
        return cycle != other.cycle ? cycle < other.cycle : phase < other.phase;
    }
};

// A heap with four children a node: few levels, and the events of a run are few at a time.
class Agenda {
public:
    bool empty() const { return events_.empty(); }
    void add(const Event& event) {
        std::size_t at = events_.size();
        events_.push_back(event);
        while (at > 0 && event.before(events_[(at - 1) / 4])) {
            events_[at] = events_[(at - 1) / 4];
            at = (at - 1) / 4;
        }
        events_[at] = event;
    }
    Event next() {
        const Event first = events_.front(), last = events_.back();
        events_.pop_back();
        const std::size_t size = events_.size();
        std::size_t at = 0;
        while (4 * at + 1 < size) {
            const std::size_t begin = 4 * at + 1, end = std::min(begin + 4, size);
            std::size_t least = begin;
            for (std::size_t i = begin + 1; i < end; ++i) {
                if (events_[i].before(events_[least])) least = i;
            }
            if (!events_[least].before(last)) break;
            events_[at] = events_[least];
            at = least;
        }
        if (size) events_[at] = last;
        return first;
    }

private:
    std::vector<Event> events_;
};

// Steps in the order in which a listener is told of them.
class Steps {
public:
    explicit Steps(StepListener* listener) : listener_(listener) {}
    void started(std::uint32_t op, Cycle cycle) {
        if (!listener_) return;
        turn(cycle);
        starts_.push_back(op);
    }
    void retired(std::uint32_t op, Cycle cycle) {
        if (!listener_) return;
        turn(cycle);
        retirements_.push_back(op);
    }
    void finish();

private:
    void turn(Cycle cycle) {
        if (cycle != now_) end_cycle();
        now_ = cycle;
    }
    void end_cycle();
    void tell();

    StepListener* listener_;
    Cycle now_ = 0;
    std::vector<std::uint32_t> starts_, retirements_;  // of this cycle
    std::vector<std::uint32_t> events_;                // not yet told
    std::vector<Cycle> cycles_;
};

// What was put into a queue, by its number: as far back as the queue is deep, and all that has not started.
class Taken {
public:
    std::size_t size() const { return first_ + ops_.size(); }
    std::uint32_t operator[](std::size_t number) const { return ops_[number - first_]; }
    void push(std::uint32_t op, std::size_t depth, std::size_t starts) {
        ops_.push_back(op);
        while (first_ < starts && first_ + depth < size()) {
            ops_.pop_front();
            ++first_;
        }
    }

private:
    std::deque<std::uint32_t> ops_;
    std::size_t first_ = 0;  // the number of the first that is kept
};

struct Unit {
    std::uint32_t first_lane = 0, lane = 0;  // of its core, and its own
    bool moves = false;                      // a direction of a DMA
    Taken taken;                             // put into the queue: the first of each descriptor
    std::size_t starts = 0;                  // of them have started
    Cycle looks_at = kForever;
    std::pair<std::uint32_t, std::uint32_t> awaits{kNobody, 0};  // lane and count, while it waits

    // of a unit that computes
    std::uint32_t last = kNobody;  // the operation before; of a DMA's, the one that started last
    Cycle stage_free = 0, free = 0, retires = 0;
    std::size_t retired = 0;  // of the lane's operations

    // of a DMA's direction
    std::uint32_t first_channel = 0, group = 0;
    std::vector<std::pair<Cycle, std::uint32_t>> idle;  // since when, channel; the next one's first
    std::uint32_t latest = 0;                           // the channel of the last descriptor
    std::vector<bool> arrived;  // of the lane's operations from `retired` on, by place; empty if in order
    Cycle wants_since = kForever;

    bool queued() const { return starts < taken.size(); }
    std::uint32_t head() const { return taken[starts]; }
};

struct Decoded {
    Cycle due;
    std::uint32_t op, channel;
    bool before(const Decoded& other) const {
        return due != other.due ? due < other.due : op < other.op;
    }
};

struct Port {
    explicit Port(const BurstRules& rules) : bus(rules) {}
    Bus bus;
    Cycle free = 0;
    std::uint32_t last = kNobody;
    std::deque<Decoded> line;
    std::int64_t begun = 0;
    std::deque<std::pair<Cycle, std::uint32_t>> landed;  // the last ones
    std::int64_t forgotten = 0;                          // of `landed`

    std::int64_t in_flight() const {
        return begun - forgotten - static_cast<std::int64_t>(landed.size());
    }
};

struct Channel {
    std::uint32_t unit = 0, port = 0, number = 0;
    std::uint32_t last = kNobody, planes = 0;
    // Of its transfers in flight, when each arrives: one that hits a cache may overtake another.
    std::deque<std::pair<Cycle, std::uint32_t>> flying;
};

struct Control {
    std::vector<std::uint32_t> ops;  // empty: all
    std::size_t count = 0, next = 0;
    Cycle at = 0;
    std::uint32_t last = kNobody;
    std::uint32_t stalled = kNobody;  // a unit
};

class Loop {
public:
    Loop(const Program& program, std::uint32_t cores, const TimingMachine& machine,
         const std::vector<OpCost>& costs, const std::uint32_t* classes,
         const std::vector<std::uint32_t>& planes, const TimelineColumns& columns,
         StepListener* listener);
    TimingResult run();

private:
    // timing.cpp
    void handle(const Event& event);
    void advance(Control& control);
    void wake(std::uint32_t unit, Cycle cycle);
    void look(std::uint32_t unit);
    bool retired_for(Unit& unit, std::uint32_t op);
    bool short_of(Unit& unit, std::uint32_t lane, std::uint32_t count);
    bool awaited(const Unit& unit, std::uint32_t op);  // if so, notes it
    void leave_queue(Unit& unit, std::uint32_t op);
    void compute(Unit& unit);
    void retire(Unit& unit, std::uint32_t op);
    void retired_compute(Unit& unit);

    // timing_dma.cpp
    void make_dma(std::uint32_t core);
    void look_dma(Unit& unit);
    std::uint32_t with_room(const Unit& unit) const;
    void begin(Unit& unit, std::uint32_t channel);
    void note_start(Unit& unit, std::uint32_t op, std::uint32_t channel, Cycle since);
    void started(Unit& unit, std::uint32_t op, std::uint32_t channel);
    void decoder_done(std::uint32_t channel, Cycle cycle);
    void decoded(std::uint32_t channel);
    void line_up(const Decoded& entry);
    void ask(std::uint32_t port);
    void give(std::uint32_t group);
    void serve();
    void take(std::uint32_t port);
    void land(std::uint32_t channel);
    void landed(const Channel& on, std::uint32_t op);
    const Cut& cut_of(std::uint32_t op);
    Asked asked(std::uint32_t op) const;
    void note_answer(std::uint32_t op, Cycle latency, const Answer& answer) {
        columns_.latency[op] = latency;
        columns_.read[op] = answer.read;
        columns_.written[op] = answer.written;
        columns_.contention[op] = answer.contention;
        columns_.crossing[op] = answer.crossing;
    }
    Cycle arrival(std::uint32_t op) const;  // of a transfer that its port has moved
    // Whether a transfer may arrive before one that started earlier in its queue.
    bool overtakes() const { return machine_.channels > 1 || answers_; }

    const OpCost& cost(std::uint32_t op) const { return costs_[classes_[op]]; }
    std::uint32_t planes(std::uint32_t op) const { return planes_.empty() ? 1 : planes_[op]; }
    std::uint32_t id(const Unit& unit) const {
        return static_cast<std::uint32_t>(&unit - units_.data());
    }
    void opened(Point point, std::uint32_t op, Gate gate, std::uint32_t holder) {
        const std::size_t at = op * kPoints + static_cast<std::size_t>(point);
        columns_.gate[at] = static_cast<std::uint8_t>(gate);
        columns_.holder[at] = holder;
    }

    const Program& program_;
    const TimingMachine& machine_;
    const std::vector<OpCost>& costs_;
    const std::uint32_t* classes_;
    const std::vector<std::uint32_t>& planes_;
    TimelineColumns columns_;
    Steps steps_;
    Agenda agenda_;
    Cycle now_ = 0;
    std::size_t unretired_;

    std::vector<Unit> units_;  // lane by lane
    std::vector<Control> controls_;
    std::vector<Channel> channels_;
    std::vector<Port> ports_;
    std::vector<std::vector<std::uint32_t>> groups_;  // of ports that share units: those units
    std::vector<std::vector<std::uint32_t>> lane_ops_;
    std::vector<std::uint32_t> place_;  // of each operation in its lane; only if arrivals need it
    std::vector<std::uint32_t> retired_;  // by lane
    std::vector<std::vector<std::pair<std::uint32_t, std::uint32_t>>> waiting_;  // count, unit
    std::vector<std::uint32_t> asking_;  // ports, in this round or a later one
    std::vector<Cycle> asks_at_;         // by port
    std::vector<std::optional<Cut>> cuts_;  // by class
    std::unique_ptr<Memory> memory_;
    bool answers_;  // whether there are columns for them
};

}  // namespace minisim
