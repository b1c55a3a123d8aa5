#include "minisim/burst_port.hpp"

#include <algorithm>
#include <numeric>

namespace minisim {
namespace {

__extension__ using Wide = __int128;  // cycles x bytes

std::int64_t ceil_div(std::int64_t x, std::int64_t by) { return (x + by - 1) / by; }

// Bytes that a burst from byte `at` on may have at most.
std::int64_t reach(std::int64_t at, const BurstRules& rules) {
    std::int64_t most = std::int64_t{1} << 62;
    if (rules.max_beats) most = rules.max_beats * rules.width - at % rules.width;
    return rules.boundary ? std::min(most, rules.boundary - at % rules.boundary) : most;
}

}  // namespace

BurstRules BurstRules::unpacking() const {
    BurstRules rules = *this;
    rules.beat_cycles = unpack_cycles;
    return rules;
}

std::int64_t BurstRules::period() const {
    return std::lcm(width, boundary ? boundary : std::int64_t{1});
}

Cut cut(Rectangle of, const BurstRules& rules) {
    if (of.pitch == of.row_bytes) of = {of.address, of.row_bytes * of.rows, 1, 0};
    const Cycle between = std::max(rules.row_gap, rules.burst_gap);
    Cut found;
    found.rest = std::max(rules.gap, rules.burst_gap);
    for (std::int64_t row = 0; row < of.rows; ++row) {
        std::int64_t at = of.address + row * of.pitch, left = of.row_bytes;
        const std::int64_t offset = at % rules.width;
        const bool as_many_out =
            ceil_div(offset + left, rules.width) == ceil_div(left, rules.width);
        const Cycle held_back = rules.realign && offset > 0 && as_many_out;
        while (left > 0) {
            const std::int64_t size = std::min(left, reach(at, rules));
            const std::int64_t beats = ceil_div(at % rules.width + size, rules.width);
            at += size;
            left -= size;
            const Cycle gap = left ? rules.burst_gap : row + 1 < of.rows ? between : found.rest;
            const Cut::Burst burst = {beats * rules.beat_cycles, size, (left ? 0 : held_back) + gap,
                                      row * rules.row_decode};
            found.bursts.push_back(burst);
            found.through += burst.passing + burst.rest;
            found.size += size;
        }
    }
    found.through -= found.rest;
    return found;
}

Cycle BurstPort::first_request(const Bus& bus, Cycle due) const {
    const Cycle raised = std::max(bus.asked + rules.request_cycles, due);
    return bus.answered.empty() ? raised : std::max(raised, bus.answered[bus.oldest]);
}

std::pair<Cycle, Cycle> BurstPort::move(Bus& bus, const Cut& cut, Cycle due, Cycle begin,
                                        Cycle end, Cycle latency) const {
    const Cycle cycles = end - begin;
    bus.free = std::max(bus.free, begin);
    const Cycle passes = std::max(first_request(bus, due), bus.free);
    // if not slow, each burst is served at least as fast as its beats pass
    const bool slow = Wide{cycles} * rules.width > Wide{cut.size} * rules.beat_cycles;
    const bool plain = !rules.outstanding && !rules.request_cycles && !rules.row_decode;
    if (plain && !slow) {
        bus.asked = due;
        bus.free = passes + cut.through + cut.rest;
        return {passes, passes + cut.through};
    }
    return {passes, burst_by_burst(bus, cut, due, begin, slow ? cycles : 0, latency)};
}

// `cycles` that the DRAM takes from `begin` on, or 0 if it is faster than the port.
Cycle BurstPort::burst_by_burst(Bus& bus, const Cut& cut, Cycle due, Cycle begin,
                                Cycle cycles, Cycle latency) const {
    Wide served = Wide{begin} * cut.size;  // in cycles / size
    for (const Cut::Burst& burst : cut.bursts) {
        bus.asked = std::max(bus.asked + rules.request_cycles, due + burst.later);
        if (!bus.answered.empty()) bus.asked = std::max(bus.asked, bus.answered[bus.oldest]);
        Cycle done = std::max(bus.asked, bus.free) + burst.passing;
        if (cycles) {
            served = std::max(served, Wide{bus.asked} * cut.size) + Wide{burst.size} * cycles;
            done = std::max(done, static_cast<Cycle>((served + cut.size - 1) / cut.size));
        }
        if (!bus.answered.empty()) {
            bus.answered[bus.oldest] = done + latency;
            bus.oldest = bus.oldest + 1 < bus.answered.size() ? bus.oldest + 1 : 0;
        }
        bus.free = done + burst.rest;
    }
    return bus.free - cut.rest;
}

}  // namespace minisim
