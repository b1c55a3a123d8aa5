// The loop, control, and the units that compute: hwmodel/{simulate,control,unit,scoreboard}.py. Events are for what has to be
// put in order, the transfers; what computes follows from what is known.
#include "minisim/timing.hpp"

#include <limits>

#include "minisim/interrupt.hpp"
#include "timing_loop.hpp"

namespace minisim {
namespace {

constexpr std::uint64_t kWork = 64;  // of an operation or an event, for whoever wants to interrupt

struct Awaited {
    Queue queue;
    Gate gate;
};
constexpr Awaited kAwaited[] = {{Queue::kMatrix, Gate::kAfterMatrix},
                                {Queue::kVector, Gate::kAfterVector},
                                {Queue::kLoad, Gate::kAfterLoad},
                                {Queue::kStore, Gate::kAfterStore}};

}  // namespace

// -- steps ----------------------------------------------------------------------------------------

void Steps::tell(Cycle before) {
    steps_.clear();
    runs_.assign(1, 0);
    for (std::vector<Step>& found : found_) {
        const auto end = std::lower_bound(found.begin(), found.end(), Step{before, 0});
        if (end == found.begin()) continue;
        steps_.insert(steps_.end(), found.begin(), end);
        runs_.push_back(steps_.size());
        found.erase(found.begin(), end);
    }
    waiting_ -= steps_.size();
    enough_ = waiting_ + kBatch;
    if (steps_.empty()) return;
    merge();
    events_.clear();
    cycles_.clear();
    for (const Step& step : steps_) {
        events_.push_back(2 * (step.which & ~kStarts) + (step.which & kStarts ? 0 : 1));
        cycles_.push_back(step.cycle);
    }
    listener_->steps(events_.data(), cycles_.data(), events_.size());
}

// The runs of steps_ become one: two by two, until one is left.
void Steps::merge() {
    merged_.resize(steps_.size());
    const auto at = [](std::vector<Step>& steps, std::size_t place) {
        return steps.begin() + static_cast<std::ptrdiff_t>(place);
    };
    while (runs_.size() > 2) {
        std::size_t left = 1;
        for (std::size_t i = 0; i + 1 < runs_.size(); i += 2) {
            const std::size_t middle = runs_[i + 1], end = i + 2 < runs_.size() ? runs_[i + 2] : middle;
            std::merge(at(steps_, runs_[i]), at(steps_, middle), at(steps_, middle), at(steps_, end),
                       at(merged_, runs_[i]));
            runs_[left++] = end;
        }
        runs_.resize(left);
        std::swap(steps_, merged_);
    }
}

// -- the loop -------------------------------------------------------------------------------------

Loop::Loop(const Schedule& schedule, std::uint32_t cores, const TimingMachine& machine,
           const std::vector<OpCost>& costs, const std::uint32_t* classes,
           const std::vector<std::uint32_t>& planes, const TimelineColumns& columns,
           StepListener* listener)
    : schedule_(schedule),
      machine_(machine),
      costs_(costs),
      classes_(classes),
      planes_(planes),
      columns_(columns),
      steps_(listener, std::size_t{cores} * kQueues),
      memory_(make_memory(machine.memory, cores)),
      answers_(machine.memory.answers()) {
    const std::size_t lanes = std::size_t{cores} * kQueues, size = schedule.stream.size;
    lane_ops_.resize(lanes);
    known_.assign(lanes, 0);
    waiting_.resize(lanes);
    controls_.resize(cores);
    std::vector<std::size_t> counts(lanes, 0);
    for (const StreamRow& row : schedule.stream) ++counts[std::size_t{row.core} * kQueues + row.queue];
    for (std::size_t lane = 0; lane < lanes; ++lane) lane_ops_[lane].reserve(counts[lane]);
    if (overtakes()) place_.resize(size);
    for (std::uint32_t op = 0; op < size; ++op) {
        std::vector<std::uint32_t>& mine = lane_ops_[schedule.lane(op)];
        if (!place_.empty()) place_[op] = static_cast<std::uint32_t>(mine.size());
        mine.push_back(op);
        if (cores > 1) controls_[schedule.stream[op].core].ops.push_back(op);
    }
    units_.resize(lanes);
    for (std::uint32_t core = 0; core < cores; ++core) {
        Control& control = controls_[core];
        control.count = cores > 1 ? control.ops.size() : size;
        control.at = machine.launch;
        for (std::uint32_t queue = 0; queue < kQueues; ++queue) {
            const std::uint32_t lane = core * kQueues + queue;
            units_[lane].first_lane = core * kQueues;
            units_[lane].lane = lane;
        }
        make_dma(core);
    }
    cuts_.resize(machine.load_bursts ? costs.size() : 0);
    asks_at_.assign(ports_.size(), kForever);
}

TimingResult Loop::run() {
    for (Control& control : controls_) advance(control);
    settle();
    while (!agenda_.empty()) {
        const Event event = agenda_.next();
        now_ = event.cycle;
        interruptible(kWork);
        handle(event);
        settle();
    }
    steps_.finish();
    TimingResult found{schedule_.stream.size, {}};
    for (const std::uint32_t known : known_) found.unretired -= known;
    memory_->count(found.counters);
    return found;
}

void Loop::handle(const Event& event) {
    switch (event.kind) {
        case Event::Kind::kLook:
            units_[event.who].looks_at = kForever;
            look(units_[event.who]);
            break;
        case Event::Kind::kNextPlane: next_plane(event.who); break;
        case Event::Kind::kLineUp: line_up({now_, event.op, event.who}); break;
        case Event::Kind::kGive: give(event.who); break;
        case Event::Kind::kServe: serve(); break;
    }
}

// What follows from an event for units that compute; the listener is told of what is past.
void Loop::settle() {
    while (!ahead_.empty()) {
        Unit& unit = units_[ahead_.back()];
        ahead_.pop_back();
        unit.works_ahead = false;
        work_ahead(unit);
    }
    steps_.settled(now_);
}

// -- control --------------------------------------------------------------------------------------

void Loop::advance(Control& control) {
    control.stalled = kNobody;
    while (control.next < control.count) {
        const std::uint32_t op = control.ops.empty() ? static_cast<std::uint32_t>(control.next)
                                                     : control.ops[control.next];
        if (planes(op) == 0) {
            columns_.issue[op] = control.at;
            opened(Point::kIssue, op, Gate::kDescriptor, control.last);
        } else {
            Unit& unit = units_[schedule_.lane(op)];
            const std::size_t put = unit.taken.size();
            const bool full = put >= machine_.depth;
            if (full && put - machine_.depth >= unit.starts) {
                control.stalled = id(unit);
                return;
            }
            control.at += machine_.pace;
            const std::uint32_t out = full ? unit.taken[put - machine_.depth] : kNobody;
            if (full && columns_.start[out] > control.at) {
                control.at = columns_.start[out];
                opened(Point::kIssue, op, Gate::kQueue, out);
            } else {
                opened(Point::kIssue, op,
                       control.last == kNobody ? Gate::kLaunch : Gate::kDispatch, control.last);
            }
            columns_.issue[op] = control.at;
            const bool was_empty = !unit.queued();
            unit.taken.push(op, machine_.depth, unit.starts);
            if (was_empty) wake(unit, control.at);
        }
        control.last = op;
        ++control.next;
    }
}

// -- what all units have in common ----------------------------------------------------------------

// At `cycle`, or now if that is past, something that kept the first operation of `unit` is over.
void Loop::wake(Unit& unit, Cycle cycle) {
    if (!unit.moves) {
        if (!unit.works_ahead) ahead_.push_back(id(unit));
        unit.works_ahead = true;
        return;
    }
    cycle = std::max(cycle, now_);
    if (cycle >= unit.looks_at) return;
    unit.looks_at = cycle;
    agenda_.add({cycle, Phase::kStart, Event::Kind::kLook, id(unit), 0});
}

// When all that `op` waits for has retired; kForever if that is not known yet: whatever is short will wake the unit.
Cycle Loop::waits_until(Unit& unit, std::uint32_t op) {
    const StreamRow& row = schedule_.stream[op];
    Cycle latest = 0;
    for (std::uint32_t queue = 0; queue < kQueues; ++queue) {
        const std::uint32_t lane = unit.first_lane + queue, count = row.wait[queue];
        if (count == 0) continue;
        if (known_[lane] < count) return await(unit, lane, count);
        latest = std::max(latest, end(lane, count));
    }
    for (std::size_t i = row.sync; i != kNone; ++i) {
        const SyncRow& sync = schedule_.syncs[i];
        const std::uint32_t lane = sync.core * kQueues + sync.queue;
        if (known_[lane] < sync.count) return await(unit, lane, sync.count);
        if (sync.count) latest = std::max(latest, end(lane, sync.count));
        if (!sync.more) break;
    }
    return latest;
}

Cycle Loop::await(Unit& unit, std::uint32_t lane, std::uint32_t count) {
    const std::pair wait{lane, count};
    if (unit.awaits != wait) {
        unit.awaits = wait;
        waiting_[lane].push_back({count, id(unit)});
    }
    return kForever;
}

// Whether a retirement that `op` waited for let it start at `start`: if so, notes which.
bool Loop::awaited(const Unit& unit, std::uint32_t op, Cycle start) {
    const StreamRow& row = schedule_.stream[op];
    const auto note = [&](Gate gate, std::uint32_t lane, std::uint32_t count) {
        if (count == 0 || end(lane, count) != start) return false;
        opened(Point::kStart, op, gate, lane_ops_[lane][count - 1]);
        return true;
    };
    for (const Awaited& wait : kAwaited) {
        const auto queue = static_cast<std::uint32_t>(wait.queue);
        if (note(wait.gate, unit.first_lane + queue, row.wait[queue])) return true;
    }
    for (std::size_t i = row.sync; i != kNone; ++i) {
        const SyncRow& sync = schedule_.syncs[i];
        if (note(Gate::kAfterCore, sync.core * kQueues + sync.queue, sync.count)) return true;
        if (!sync.more) break;
    }
    return false;
}

void Loop::leave_queue(Unit& unit, std::uint32_t op, Cycle start) {
    ++unit.starts;
    columns_.start[op] = start;
    steps_.starts(unit.lane, op, start);
}

// There are places in the queue of `unit`: control may have waited for one.
void Loop::started(const Unit& unit) {
    Control& control = controls_[unit.first_lane / kQueues];
    if (control.stalled == id(unit)) advance(control);
}

// `op`, the next of its lane, retires when its unit says.
void Loop::retires(const Unit& unit, std::uint32_t op) {
    columns_.end[op] = unit.retires;
    steps_.retires(unit.lane, op, unit.retires);
    const std::uint32_t count = ++known_[unit.lane];
    auto& waiting = waiting_[unit.lane];
    for (std::size_t i = 0; i < waiting.size();) {
        if (waiting[i].first > count) {
            ++i;
            continue;
        }
        wake(units_[waiting[i].second], unit.retires);
        waiting[i] = waiting.back();
        waiting.pop_back();
    }
}

// -- units that compute ---------------------------------------------------------------------------

// Whatever is known to start, now or later: nothing else can come between.
void Loop::work_ahead(Unit& unit) {
    while (unit.queued()) {
        interruptible(kWork);
        const std::uint32_t op = unit.head();
        const Cycle waited = waits_until(unit, op);
        if (waited == kForever) break;
        const Cycle start = std::max({waited, columns_.issue[op], unit.stage_free});
        if (unit.last != kNobody && unit.stage_free == start) {
            opened(Point::kStart, op, Gate::kFirstStage, unit.last);
        } else if (!awaited(unit, op, start)) {
            opened(Point::kStart, op, Gate::kIssued, op);
        }
        const OpCost& takes = cost(op);
        Cycle ready = start + takes.setup;
        if (unit.last != kNobody && unit.free >= ready) {
            ready = unit.free;
            opened(Point::kReady, op, Gate::kUnit, unit.last);
        } else {
            opened(Point::kReady, op, Gate::kSetup, op);
        }
        const Cycle done = ready + takes.busy, landed = done + takes.latency;
        columns_.begin[op] = ready;
        columns_.done[op] = done;
        columns_.dram_begin[op] = columns_.dram_end[op] = 0;
        columns_.channel[op] = 0;
        opened(Point::kBegin, op, Gate::kReady, op);
        opened(Point::kServed, op, Gate::kService, op);
        if (answers_) note_answer(op, 0, {});
        opened(Point::kDone, op, Gate::kBusy, op);
        if (landed >= unit.retires) {
            unit.retires = landed;
            opened(Point::kEnd, op, Gate::kLatency, op);
        } else {
            opened(Point::kEnd, op, Gate::kRetireOrder, unit.last);
        }
        unit.last = op;
        unit.free = done;
        unit.stage_free = ready + takes.hold;
        leave_queue(unit, op, start);
        retires(unit, op);
    }
    started(unit);
}

TimingResult time_operations(const Schedule& schedule, std::uint32_t cores,
                          const TimingMachine& machine, const std::vector<OpCost>& costs,
                          const std::uint32_t* classes, const std::vector<std::uint32_t>& planes,
                          const TimelineColumns& columns, StepListener* listener) {
    return Loop(schedule, cores, machine, costs, classes, planes, columns, listener).run();
}

}  // namespace minisim
