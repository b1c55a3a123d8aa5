// The loop, control, and the units that compute: hwmodel/{simulate,control,unit,scoreboard}.py.
#include "minisim/timing.hpp"

#include <limits>

#include "minisim/interrupt.hpp"
#include "timing_loop.hpp"

namespace minisim {
namespace {

constexpr std::size_t kBatch = 16384;      // steps told at once
constexpr std::uint64_t kWork = 64;        // of an event, for whoever wants to interrupt

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

void Steps::end_cycle() {
    // Within a cycle retirements come first, and each kind in program order.
    for (auto* ops : {&retirements_, &starts_}) {
        std::sort(ops->begin(), ops->end());
        const std::uint32_t retires = ops == &retirements_ ? 1 : 0;
        for (const std::uint32_t op : *ops) {
            events_.push_back(2 * op + retires);
            cycles_.push_back(now_);
        }
        ops->clear();
    }
    if (events_.size() >= kBatch) tell();
}

void Steps::tell() {
    listener_->steps(events_.data(), cycles_.data(), events_.size());
    events_.clear();
    cycles_.clear();
}

void Steps::finish() {
    if (!listener_) return;
    end_cycle();
    if (!events_.empty()) tell();
}

// -- the loop -------------------------------------------------------------------------------------

Loop::Loop(const Program& program, std::uint32_t cores, const TimingMachine& machine,
           const std::vector<OpCost>& costs, const std::uint32_t* classes,
           const std::vector<std::uint32_t>& planes, const TimelineColumns& columns,
           StepListener* listener)
    : program_(program),
      machine_(machine),
      costs_(costs),
      classes_(classes),
      planes_(planes),
      columns_(columns),
      steps_(listener),
      unretired_(program.stream.size),
      memory_(make_memory(machine.memory, cores)),
      answers_(machine.memory.answers()) {
    const std::size_t lanes = std::size_t{cores} * kQueues, size = program.stream.size;
    lane_ops_.resize(lanes);
    retired_.assign(lanes, 0);
    waiting_.resize(lanes);
    controls_.resize(cores);
    std::vector<std::size_t> counts(lanes, 0);
    for (const StreamRow& row : program.stream) ++counts[std::size_t{row.core} * kQueues + row.queue];
    for (std::size_t lane = 0; lane < lanes; ++lane) lane_ops_[lane].reserve(counts[lane]);
    if (overtakes()) place_.resize(size);
    for (std::uint32_t op = 0; op < size; ++op) {
        std::vector<std::uint32_t>& mine = lane_ops_[program.lane(op)];
        if (!place_.empty()) place_[op] = static_cast<std::uint32_t>(mine.size());
        mine.push_back(op);
        if (cores > 1) controls_[program.stream[op].core].ops.push_back(op);
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
    while (!agenda_.empty()) {
        const Event event = agenda_.next();
        now_ = event.cycle;
        interruptible(kWork);
        handle(event);
    }
    steps_.finish();
    TimingResult found{unretired_, {}};
    memory_->count(found.counters);
    return found;
}

void Loop::handle(const Event& event) {
    switch (event.kind) {
        case Event::Kind::kLook: look(event.who); break;
        case Event::Kind::kRetire: retired_compute(units_[event.who]); break;
        case Event::Kind::kDecoded: decoded(event.who); break;
        case Event::Kind::kLand: land(event.who); break;
        case Event::Kind::kLineUp: line_up({now_, event.op, event.who}); break;
        case Event::Kind::kGive: give(event.who); break;
        case Event::Kind::kServe: serve(); break;
    }
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
            Unit& unit = units_[program_.lane(op)];
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
            if (was_empty) wake(id(unit), control.at);
        }
        control.last = op;
        ++control.next;
    }
}

// -- what all units have in common ----------------------------------------------------------------

void Loop::wake(std::uint32_t unit, Cycle cycle) {
    cycle = std::max(cycle, now_);
    if (cycle >= units_[unit].looks_at) return;
    units_[unit].looks_at = cycle;
    agenda_.add({cycle, Phase::kStart, Event::Kind::kLook, unit, 0});
}

void Loop::look(std::uint32_t unit) {
    units_[unit].looks_at = kForever;
    if (units_[unit].moves) {
        look_dma(units_[unit]);
    } else {
        compute(units_[unit]);
    }
}

bool Loop::short_of(Unit& unit, std::uint32_t lane, std::uint32_t count) {
    if (retired_[lane] >= count) return false;
    const std::pair<std::uint32_t, std::uint32_t> wait{lane, count};
    if (unit.awaits != wait) {
        unit.awaits = wait;
        waiting_[lane].push_back({count, id(unit)});
    }
    return true;
}

// Whether all that `op` waits for has retired; if not, whatever is short will wake the unit.
bool Loop::retired_for(Unit& unit, std::uint32_t op) {
    const StreamRow& row = program_.stream[op];
    for (std::uint32_t queue = 0; queue < kQueues; ++queue) {
        if (short_of(unit, unit.first_lane + queue, row.wait[queue])) return false;
    }
    for (std::size_t i = row.sync; i != kNone; ++i) {
        const SyncRow& sync = program_.syncs[i];
        if (short_of(unit, sync.core * kQueues + sync.queue, sync.count)) return false;
        if (!sync.more) break;
    }
    unit.awaits = {kNobody, 0};
    return true;
}

// Whether a retirement that `op` waited for let it start now: if so, notes which.
bool Loop::awaited(const Unit& unit, std::uint32_t op) {
    const StreamRow& row = program_.stream[op];
    for (const Awaited& wait : kAwaited) {
        const auto queue = static_cast<std::uint32_t>(wait.queue);
        const std::uint32_t count = row.wait[queue];
        if (count == 0) continue;
        const std::uint32_t other = lane_ops_[unit.first_lane + queue][count - 1];
        if (columns_.end[other] == now_) {
            opened(Point::kStart, op, wait.gate, other);
            return true;
        }
    }
    for (std::size_t i = row.sync; i != kNone; ++i) {
        const SyncRow& sync = program_.syncs[i];
        if (sync.count) {
            const std::uint32_t other =
                lane_ops_[sync.core * kQueues + sync.queue][sync.count - 1];
            if (columns_.end[other] == now_) {
                opened(Point::kStart, op, Gate::kAfterCore, other);
                return true;
            }
        }
        if (!sync.more) break;
    }
    return false;
}

void Loop::leave_queue(Unit& unit, std::uint32_t op) {
    ++unit.starts;
    columns_.start[op] = now_;
    steps_.started(op, now_);
    Control& control = controls_[unit.first_lane / kQueues];
    if (control.stalled == id(unit)) advance(control);
}

void Loop::retire(Unit& unit, std::uint32_t op) {
    columns_.end[op] = now_;
    --unretired_;
    ++unit.retired;
    steps_.retired(op, now_);
    const std::uint32_t count = ++retired_[unit.lane];
    auto& waiting = waiting_[unit.lane];
    for (std::size_t i = 0; i < waiting.size();) {
        if (waiting[i].first > count) {
            ++i;
            continue;
        }
        Unit& waiter = units_[waiting[i].second];
        if (waiter.awaits == std::pair{unit.lane, waiting[i].first}) waiter.awaits = {kNobody, 0};
        wake(waiting[i].second, now_);
        waiting[i] = waiting.back();
        waiting.pop_back();
    }
}

// -- units that compute ---------------------------------------------------------------------------

void Loop::compute(Unit& unit) {
    while (unit.queued()) {
        const std::uint32_t op = unit.head();
        const Cycle earliest = std::max(columns_.issue[op], unit.stage_free);
        if (earliest > now_) return wake(id(unit), earliest);
        if (!retired_for(unit, op)) return;
        if (unit.last != kNobody && unit.stage_free == now_) {
            opened(Point::kStart, op, Gate::kFirstStage, unit.last);
        } else if (!awaited(unit, op)) {
            opened(Point::kStart, op, Gate::kIssued, op);
        }
        leave_queue(unit, op);
        const OpCost& takes = cost(op);
        Cycle ready = now_ + takes.setup;
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
        columns_.end[op] = unit.retires;
        unit.last = op;
        unit.free = done;
        unit.stage_free = ready + takes.hold;
        // Only the first in flight has an event: the others' follow it.
        if (unit.starts == unit.retired + 1) {
            agenda_.add({unit.retires, Phase::kFree, Event::Kind::kRetire, id(unit), 0});
        }
    }
}

void Loop::retired_compute(Unit& unit) {
    const std::vector<std::uint32_t>& ops = lane_ops_[unit.lane];
    while (unit.retired < unit.starts && columns_.end[ops[unit.retired]] == now_) {
        retire(unit, ops[unit.retired]);
    }
    if (unit.retired < unit.starts) {
        agenda_.add({columns_.end[ops[unit.retired]], Phase::kFree, Event::Kind::kRetire, id(unit), 0});
    }
}

TimingResult time_program(const Program& program, std::uint32_t cores,
                          const TimingMachine& machine, const std::vector<OpCost>& costs,
                          const std::uint32_t* classes, const std::vector<std::uint32_t>& planes,
                          const TimelineColumns& columns, StepListener* listener) {
    return Loop(program, cores, machine, costs, classes, planes, columns, listener).run();
}

}  // namespace minisim
