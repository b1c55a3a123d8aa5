// The two directions of a DMA: hwmodel/dma.py.
#include <tuple>

#include "minisim/sparsity.hpp"
#include "timing_loop.hpp"

namespace minisim {

// -- descriptors ----------------------------------------------------------------------------------

void Loop::make_dma(std::uint32_t core) {
    const std::uint32_t queues[] = {static_cast<std::uint32_t>(Queue::kLoad),
                                    static_cast<std::uint32_t>(Queue::kStore)};
    for (const std::uint32_t queue : queues) {
        Unit& unit = units_[core * kQueues + queue];
        unit.moves = true;
        const bool own_ports = queue == queues[0] || !machine_.shared;
        if (own_ports) {
            groups_.emplace_back();
            for (std::size_t i = 0; i < machine_.channels; ++i) {
                ports_.emplace_back(machine_.load_bursts.value_or(BurstRules{}));
            }
        }
        unit.group = static_cast<std::uint32_t>(groups_.size()) - 1;
        groups_.back().push_back(id(unit));
        unit.first_channel = unit.latest = static_cast<std::uint32_t>(channels_.size());
        const std::size_t first_port = ports_.size() - machine_.channels;
        for (std::uint32_t number = 0; number < machine_.channels; ++number) {
            unit.idle.push_back({0, static_cast<std::uint32_t>(channels_.size())});
            Channel channel;
            channel.unit = id(unit);
            channel.port = static_cast<std::uint32_t>(first_port) + number;
            channel.number = number;
            channels_.push_back(std::move(channel));
        }
        if (overtakes()) unit.arrives.resize(lane_ops_[unit.lane].size());
    }
}

// Starts what may start now. Whatever may not is looked at again when it may, as soon as that is known.
void Loop::look(Unit& unit) {
    while (unit.queued()) {
        const std::uint32_t op = unit.head();
        // A queue starts in order: the last descriptor's planes go first.
        if (unit.idle.empty() || channels_[unit.latest].planes > 0) return;
        const Cycle earliest = std::max({waits_until(unit, op), columns_.issue[op], unit.idle.front().first});
        if (earliest > now_) {
            if (earliest < kForever) wake(unit, earliest);
            return;
        }
        if (machine_.shared) {
            unit.wants_place = true;
            unit.wants_since = std::min(unit.wants_since, now_);
            agenda_.add({now_, Phase::kPlace, Event::Kind::kGive, unit.group, 0});
            return;
        }
        const std::uint32_t channel = with_room(unit);
        unit.wants_place = channel == kNobody;
        if (channel == kNobody) return look_for_place(unit);
        begin(unit, channel);
    }
}

std::uint32_t Loop::with_room(const Unit& unit) const {
    for (const auto& [since, channel] : unit.idle) {
        const Port& port = ports_[channels_[channel].port];
        if (since <= now_ && port.place(machine_.in_flight).first <= now_) return channel;
    }
    return kNobody;
}

// If the first descriptor wants a place in flight, looks when the next is known to be free.
void Loop::look_for_place(Unit& unit) {
    if (!unit.wants_place) return;
    Cycle free = kForever;
    for (const auto& [since, channel] : unit.idle) {
        free = std::min(free, std::max(since, ports_[channels_[channel].port].place(machine_.in_flight).first));
    }
    if (free < kForever) wake(unit, free);
}

// Places in flight that both directions want: to the one that has waited longest.
void Loop::give(std::uint32_t group) {
    std::vector<std::uint32_t> wanting;
    for (const std::uint32_t unit : groups_[group]) {
        if (units_[unit].wants_since != kForever) wanting.push_back(unit);
    }
    std::sort(wanting.begin(), wanting.end(), [&](std::uint32_t x, std::uint32_t y) {
        const Unit &a = units_[x], &b = units_[y];
        return std::pair{a.wants_since, a.head()} < std::pair{b.wants_since, b.head()};
    });
    for (const std::uint32_t unit : wanting) {
        const std::uint32_t channel = with_room(units_[unit]);
        if (channel == kNobody) {
            look_for_place(units_[unit]);
            continue;
        }
        units_[unit].wants_since = kForever;
        begin(units_[unit], channel);
        wake(units_[unit], now_);
    }
}

void Loop::begin(Unit& unit, std::uint32_t channel) {
    const std::uint32_t op = unit.head();
    const auto mine = std::find_if(unit.idle.begin(), unit.idle.end(),
                                   [&](const auto& item) { return item.second == channel; });
    const Cycle since = mine->first;
    unit.idle.erase(mine);
    note_start(unit, op, channel, since);
    ++ports_[channels_[channel].port].begun;
    channels_[channel].planes = planes(op);
    unit.latest = channel;
    leave_queue(unit, op, now_);
    started(unit, op, channel);
    started(unit);
}

void Loop::note_start(Unit& unit, std::uint32_t op, std::uint32_t channel, Cycle since) {
    const Channel& on = channels_[channel];
    if (on.last != kNobody && since == now_) {
        const Gate gate = machine_.load_bursts ? Gate::kDecoder : Gate::kFirstStage;
        return opened(Point::kStart, op, gate, on.last);
    }
    if (awaited(unit, op, now_)) return;
    const auto [landing, holder] = ports_[on.port].place(machine_.in_flight);
    if (landing == now_) return opened(Point::kStart, op, Gate::kPlace, holder);
    if (machine_.channels > 1 && unit.last != kNobody && columns_.start[unit.last] == now_) {
        return opened(Point::kStart, op, Gate::kOrder, unit.last);
    }
    opened(Point::kStart, op, Gate::kIssued, op);
}

// `op` has started on the channel, as a descriptor or as a plane of one.
void Loop::started(Unit& unit, std::uint32_t op, std::uint32_t channel) {
    Channel& on = channels_[channel];
    unit.last = on.last = op;
    columns_.channel[op] = static_cast<std::uint8_t>(on.number);
    --on.planes;
    const Cycle due = now_ + cost(op).setup;
    if (machine_.shared && due > now_) {
        agenda_.add({due, Phase::kFree, Event::Kind::kLineUp, channel, op});
    } else {
        line_up({due, op, channel});
    }
    if (machine_.load_bursts) decoder_free(unit, channel, due + cost(op).hold);
}

// For the next plane, or another descriptor.
void Loop::decoder_free(Unit& unit, std::uint32_t channel, Cycle cycle) {
    if (channels_[channel].planes > 0) {
        agenda_.add({cycle, Phase::kFree, Event::Kind::kNextPlane, channel, 0});
    } else {
        const std::pair item{cycle, channel};
        unit.idle.insert(std::upper_bound(unit.idle.begin(), unit.idle.end(), item), item);
    }
}

void Loop::next_plane(std::uint32_t channel) {
    Unit& unit = units_[channels_[channel].unit];
    const std::uint32_t before = channels_[channel].last, op = before + 1;
    opened(Point::kStart, op, machine_.load_bursts ? Gate::kDecoder : Gate::kFirstStage, before);
    columns_.start[op] = now_;
    steps_.starts(unit.lane, op, now_);
    started(unit, op, channel);
    if (channels_[channel].planes == 0) wake(unit, now_);  // for the next descriptor, on whatever channel
}

// -- port -----------------------------------------------------------------------------------------

void Loop::line_up(const Decoded& entry) {
    Port& port = ports_[channels_[entry.channel].port];
    if (port.line.empty()) {
        port.line.push_back(entry);
        return ask(channels_[entry.channel].port);
    }
    auto at = port.line.end();  // before one of the other direction that was decoded in this cycle
    while (at != port.line.begin() && entry.before(*std::prev(at))) --at;
    port.line.insert(at, entry);
}

void Loop::ask(std::uint32_t port) {
    const Port& of = ports_[port];
    const Cycle due = of.line.front().due;
    const Cycle ready = machine_.load_bursts
                            ? BurstPort{*machine_.load_bursts}.first_request(of.bus, due)
                            : std::max(due, of.free);
    asks_at_[port] = ready;
    asking_.push_back(port);
    agenda_.add({ready, Phase::kServe, Event::Kind::kServe, 0, 0});
}

// The ports that ask in this round, in program order.
void Loop::serve() {
    std::vector<std::uint32_t> round;
    for (std::size_t i = 0; i < asking_.size();) {
        if (asks_at_[asking_[i]] > now_) {
            ++i;
            continue;
        }
        round.push_back(asking_[i]);
        asking_[i] = asking_.back();
        asking_.pop_back();
    }
    std::sort(round.begin(), round.end(), [&](std::uint32_t x, std::uint32_t y) {
        return ports_[x].line.front().op < ports_[y].line.front().op;
    });
    for (const std::uint32_t port : round) take(port);
}

const Cut& Loop::cut_of(std::uint32_t op) {
    std::optional<Cut>& found = cuts_[classes_[op]];
    if (!found) {
        BurstRules rules = schedule_.opcode(op) == Opcode::kLoad ? *machine_.load_bursts : *machine_.store_bursts;
        if (unpacked_by_dma(schedule_.tensor_of(schedule_.transfer(op).tile))) rules = rules.unpacking();
        Rectangle at = rectangle_of(schedule_, schedule_.transfer(op).tile);
        at.address %= rules.period();
        found = cut(at, rules);
    }
    return *found;
}

Asked Loop::asked(std::uint32_t op) const {
    const StreamRow& row = schedule_.stream[op];
    const auto lane = static_cast<std::uint32_t>(schedule_.lane(op));
    const bool write = schedule_.opcode(op) == Opcode::kStore;
    const Rectangle at = rectangle_of(schedule_, schedule_.transfer(op).tile);
    return {op, lane, row.core, write, at, cost(op).dram};
}

// Without answers of its own a transfer has the latency that it costs.
Cycle Loop::arrival(std::uint32_t op) const {
    return columns_.done[op] + (answers_ ? columns_.latency[op] : cost(op).latency);
}

void Loop::take(std::uint32_t port) {
    Port& through = ports_[port];
    const auto [due, op, channel] = through.line.front();
    through.line.pop_front();
    const OpCost& takes = cost(op);
    const Answer answer = memory_->serve(asked(op), now_);
    const Cycle there = answer.end + answer.crossing;
    Cycle begin = answer.begin, done, latency = std::max(answer.latency - machine_.gap, Cycle{0});
    if (machine_.load_bursts) {
        const bool load = schedule_.opcode(op) == Opcode::kLoad;
        const BurstPort bursts{load ? *machine_.load_bursts : *machine_.store_bursts};
        latency = answer.latency + (load ? 0 : machine_.store_handshake);
        std::tie(begin, done) =
            bursts.move(through.bus, cut_of(op), due, answer.begin, there, latency);
        if (due == now_) {
            opened(Point::kReady, op, Gate::kSetup, op);
        } else {
            opened(Point::kReady, op, Gate::kRequests, through.last);
        }
        opened(Point::kDone, op, Gate::kBursts, op);
    } else {
        done = std::max(there + takes.lag, now_ + takes.busy);
        if (through.last != kNobody && through.free == now_) {
            opened(Point::kReady, op, Gate::kUnit, through.last);
        } else {
            opened(Point::kReady, op, Gate::kSetup, op);
        }
        const Gate by_memory = answer.crossing ? Gate::kNoc : Gate::kServed;
        opened(Point::kDone, op, now_ + takes.busy == done ? Gate::kBusy : by_memory, op);
        through.free = done;
    }
    if (answer.begin == now_) {
        opened(Point::kBegin, op, Gate::kReady, op);
    } else {
        opened(Point::kBegin, op, answer.waited, answer.behind);
    }
    opened(Point::kServed, op, answer.by, op);
    if (answers_) note_answer(op, latency + machine_.completion, answer);
    columns_.begin[op] = begin;
    columns_.done[op] = done;
    columns_.dram_begin[op] = answer.begin;
    columns_.dram_end[op] = answer.end;
    through.last = op;
    Unit& unit = units_[channels_[channel].unit];
    lands(unit, through, op);
    if (!through.line.empty()) ask(port);
    if (machine_.load_bursts) return;
    decoder_free(unit, channel, now_ + takes.hold);
    if (machine_.channels == 1 && !machine_.shared) {
        look(unit);  // at once: nothing else can make a difference
    } else if (unit.queued() && channels_[channel].planes == 0) {
        wake(unit, now_ + takes.hold);
    }
}

// `op` retires when it arrives, with all that it keeps waiting; if it is the last of its descriptor, there is a place in
// flight then.
void Loop::lands(Unit& unit, Port& port, std::uint32_t op) {
    const std::vector<std::uint32_t>& ops = lane_ops_[unit.lane];
    if (!unit.arrives.empty()) unit.arrives[place_[op]] = true;
    for (std::uint32_t next = known_[unit.lane]; next < ops.size(); ++next) {
        const std::uint32_t first = ops[next];
        if (unit.arrives.empty() ? first != op : !unit.arrives[next]) break;
        if (arrival(first) >= unit.retires) {
            unit.retires = arrival(first);
            opened(Point::kEnd, first, Gate::kLatency, first);
        } else {
            opened(Point::kEnd, first, Gate::kRetireOrder, ops[next - 1]);
        }
        retires(unit, first);
    }
    const bool last_plane = op + 1 == schedule_.stream.size || planes(op + 1) > 0;
    if (!last_plane) return;
    port.lands(op, arrival(op), machine_.in_flight);
    for (const std::uint32_t waiter : groups_[unit.group]) look_for_place(units_[waiter]);
}

}  // namespace minisim
