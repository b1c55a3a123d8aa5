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
    enum class Kind : std::uint8_t { kLook, kNextPlane, kLineUp, kGive, kServe };
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

// Steps in the order in which a listener is told of them. They are found lane by lane, perhaps long before their cycle.
class Steps {
public:
    Steps(StepListener* listener, std::size_t lanes) : listener_(listener), found_(2 * lanes) {}
    void starts(std::size_t lane, std::uint32_t op, Cycle cycle) { add(2 * lane, {cycle, kStarts | op}); }
    void retires(std::size_t lane, std::uint32_t op, Cycle cycle) { add(2 * lane + 1, {cycle, op}); }
    // All steps before `now` are known.
    void settled(Cycle now) {
        if (waiting_ >= enough_) tell(now);
    }
    void finish() {
        if (listener_) tell(kForever);
    }

private:
    struct Step {
        Cycle cycle;
        std::uint32_t which;  // within a cycle retirements come first, and each kind in program order
        bool operator<(const Step& other) const {
            return cycle != other.cycle ? cycle < other.cycle : which < other.which;
        }
    };
    static constexpr std::uint32_t kStarts = std::uint32_t{1} << 31;  // operations are fewer
    static constexpr std::size_t kBatch = 4096;                       // steps told at once

    void add(std::size_t kind, Step step) {
        if (!listener_) return;
        found_[kind].push_back(step);
        ++waiting_;
    }
    void tell(Cycle before);
    void merge();

    StepListener* listener_;
    std::vector<std::vector<Step>> found_;  // of each lane its starts, and its retirements: in order
    std::size_t waiting_ = 0, enough_ = kBatch;
    // of a batch: its steps, and where in them each run in order begins
    std::vector<Step> steps_, merged_;
    std::vector<std::size_t> runs_;
    std::vector<std::uint32_t> events_;
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
    std::size_t starts = 0;                  // of them have started, or are known to start
    std::pair<std::uint32_t, std::uint32_t> awaits{kNobody, 0};  // lane and count that it was short of last
    std::uint32_t last = kNobody;            // the operation that started last
    Cycle retires = 0;                       // the last one whose retirement is known

    // of a unit that computes
    bool works_ahead = false;  // before the next event
    Cycle stage_free = 0, free = 0;  // of `last`

    // of a DMA's direction
    Cycle looks_at = kForever;
    std::uint32_t first_channel = 0, group = 0;
    std::vector<std::pair<Cycle, std::uint32_t>> idle;  // from when on, channel; the next one's first
    std::uint32_t latest = 0;                           // the channel of the last descriptor
    std::vector<bool> arrives;  // of the lane's operations, by place, whether it is known when; empty if in order
    bool wants_place = false;   // a landing may let the first descriptor start
    Cycle wants_since = kForever;  // if both directions share places

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
    std::int64_t begun = 0;  // descriptors that have had a place in flight
    // Cycle and last operation of each that has landed or will, as far as that is known, but for those that nobody asks for
    // any more.
    std::deque<std::pair<Cycle, std::uint32_t>> landings;
    std::int64_t forgotten = 0;

    // One that hits a cache may overtake another.
    void lands(std::uint32_t op, Cycle cycle, std::int64_t places) {
        const std::pair item{cycle, op};
        landings.insert(std::upper_bound(landings.begin(), landings.end(), item), item);
        for (; forgotten < begun - places; ++forgotten) landings.pop_front();
    }
    // The landing that frees the place of the next descriptor: before cycle 0 if one was never taken, kForever if none is
    // known. It is final when its cycle has come.
    std::pair<Cycle, std::uint32_t> place(std::int64_t places) const {
        const std::int64_t out = begun - places;
        if (out < 0) return {-1, kNobody};
        const auto at = static_cast<std::size_t>(out - forgotten);
        return at < landings.size() ? landings[at] : std::pair{kForever, kNobody};
    }
};

struct Channel {
    std::uint32_t unit = 0, port = 0, number = 0;
    std::uint32_t last = kNobody, planes = 0;
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
    Loop(const Schedule& schedule, std::uint32_t cores, const TimingMachine& machine,
         const std::vector<OpCost>& costs, const std::uint32_t* classes,
         const std::vector<std::uint32_t>& planes, const TimelineColumns& columns,
         StepListener* listener);
    TimingResult run();

private:
    // timing.cpp
    void handle(const Event& event);
    void advance(Control& control);
    void settle();
    void wake(Unit& unit, Cycle cycle);
    Cycle waits_until(Unit& unit, std::uint32_t op);
    Cycle await(Unit& unit, std::uint32_t lane, std::uint32_t count);
    bool awaited(const Unit& unit, std::uint32_t op, Cycle start);  // if so, notes it
    void leave_queue(Unit& unit, std::uint32_t op, Cycle start);
    void started(const Unit& unit);
    void work_ahead(Unit& unit);
    void retires(const Unit& unit, std::uint32_t op);
    Cycle end(std::uint32_t lane, std::uint32_t count) const {
        return columns_.end[lane_ops_[lane][count - 1]];
    }

    // timing_dma.cpp
    void make_dma(std::uint32_t core);
    void look(Unit& unit);
    std::uint32_t with_room(const Unit& unit) const;
    void look_for_place(Unit& unit);
    void begin(Unit& unit, std::uint32_t channel);
    void note_start(Unit& unit, std::uint32_t op, std::uint32_t channel, Cycle since);
    void started(Unit& unit, std::uint32_t op, std::uint32_t channel);
    void decoder_free(Unit& unit, std::uint32_t channel, Cycle cycle);
    void next_plane(std::uint32_t channel);
    void line_up(const Decoded& entry);
    void ask(std::uint32_t port);
    void give(std::uint32_t group);
    void serve();
    void take(std::uint32_t port);
    void lands(Unit& unit, Port& port, std::uint32_t op);
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

    const Schedule& schedule_;
    const TimingMachine& machine_;
    const std::vector<OpCost>& costs_;
    const std::uint32_t* classes_;
    const std::vector<std::uint32_t>& planes_;
    TimelineColumns columns_;
    Steps steps_;
    Agenda agenda_;
    Cycle now_ = 0;

    std::vector<Unit> units_;  // lane by lane
    std::vector<Control> controls_;
    std::vector<Channel> channels_;
    std::vector<Port> ports_;
    std::vector<std::vector<std::uint32_t>> groups_;  // of ports that share units: those units
    std::vector<std::vector<std::uint32_t>> lane_ops_;
    std::vector<std::uint32_t> place_;  // of each operation in its lane; only if arrivals need it
    std::vector<std::uint32_t> known_;  // by lane: of so many operations it is known when they retire
    std::vector<std::vector<std::pair<std::uint32_t, std::uint32_t>>> waiting_;  // count, unit
    std::vector<std::uint32_t> ahead_;  // units that compute, and have something to work out
    std::vector<std::uint32_t> asking_;  // ports, in this round or a later one
    std::vector<Cycle> asks_at_;         // by port
    std::vector<std::optional<Cut>> cuts_;  // by class
    std::unique_ptr<Memory> memory_;
    bool answers_;  // whether there are columns for them
};

}  // namespace minisim
