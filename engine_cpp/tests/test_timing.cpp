// The native event model: a program in closed form, the order of steps, what is refused, and random
// programs on random machines for the sanitizers. That it equals its definition in every column is
// tested from Python (tests/hwmodel/test_native.py).

#include <algorithm>
#include <random>
#include <vector>

#include "builder.hpp"
#include "check.hpp"
#include "minisim/errors.hpp"
#include "minisim/timing.hpp"
#include "minisim/way_back.hpp"
#include "small_part.hpp"

using namespace minisim;

namespace {

struct Timed {
    explicit Timed(std::size_t size)
        : cycles(7, std::vector<Cycle>(size)), channel(size), gate(size * kPoints),
          holder(size * kPoints), answers(5, std::vector<Cycle>(size)) {}

    std::vector<std::vector<Cycle>> cycles;
    std::vector<std::uint8_t> channel, gate;
    std::vector<std::uint32_t> holder;
    std::vector<std::vector<Cycle>> answers;
    std::size_t unretired = 0;

    TimelineColumns columns() {
        return {cycles[0].data(), cycles[1].data(), cycles[2].data(), cycles[3].data(),
                cycles[4].data(), cycles[5].data(), cycles[6].data(), channel.data(),
                gate.data(),      holder.data(),   answers[0].data(), answers[1].data(),
                answers[2].data(), answers[3].data(), answers[4].data()};
    }
    Cycle issue(std::size_t op) const { return cycles[0][op]; }
    Cycle start(std::size_t op) const { return cycles[1][op]; }
    Cycle begin(std::size_t op) const { return cycles[2][op]; }
    Cycle done(std::size_t op) const { return cycles[3][op]; }
    Cycle end(std::size_t op) const { return cycles[4][op]; }
    Gate opened(std::size_t op, Point point) const {
        return static_cast<Gate>(gate[op * kPoints + static_cast<std::size_t>(point)]);
    }
    std::uint32_t held(std::size_t op, Point point) const {
        return holder[op * kPoints + static_cast<std::size_t>(point)];
    }
};

// Every operation costs the same: setup, busy, hold, latency, lag, DRAM.
constexpr OpCost kCost = {3, 10, 2, 5, 0, 4};

Timed timed(const Tables& tables, const TimingMachine& machine, std::uint32_t cores = 1,
            StepListener* listener = nullptr, const OpCost& cost = kCost) {
    const Schedule schedule = tables.view();
    check_references(schedule, cores);
    Timed found(schedule.stream.size);
    const std::vector<std::uint32_t> classes(schedule.stream.size, 0);
    found.unretired = time_operations(schedule, cores, machine, {cost}, classes.data(), {},
                                   found.columns(), listener)
                          .unretired;
    return found;
}

TimingMachine machine() {
    TimingMachine found;
    found.launch = 100;
    found.pace = 2;
    found.depth = 4;
    found.in_flight = 2;
    return found;
}

// A load, a matmul of what it brought, and a store of the result.
Builder chain() {
    Builder b;
    const std::uint32_t x = b.tensor(4, 16, Role::kInput), y = b.tensor(4, 16, Role::kOutput);
    const std::uint32_t in = b.tile(x, 0, 0, 4, 16), out = b.tile(y, 0, 0, 4, 16, 1);
    b.load(in, 0);
    b.execute(in, 0, in, 0, out, 256);
    b.stream.back().wait[0] = 1;
    b.store(out, 256, 1);
    b.stream.back().wait[2] = 1;
    return b;
}

class Listener : public StepListener {
public:
    void steps(const std::uint32_t* event, const Cycle* cycle, std::size_t count) override {
        events.insert(events.end(), event, event + count);
        cycles.insert(cycles.end(), cycle, cycle + count);
    }
    std::vector<std::uint32_t> events;
    std::vector<Cycle> cycles;
};

}  // namespace

TEST(a_chain_in_closed_form) {
    const Timed t = timed(chain(), machine());
    CHECK_EQUAL(t.unretired, 0u);
    CHECK_EQUAL(t.issue(0), 102);
    CHECK_EQUAL(t.start(0), 102);
    CHECK_EQUAL(t.begin(0), 105);         // decoded
    CHECK_EQUAL(t.done(0), 115);          // the port's time, more than the DRAM's
    CHECK_EQUAL(t.end(0), 120);
    CHECK_EQUAL(t.start(1), t.end(0));
    CHECK_EQUAL(t.end(1), t.start(1) + 3 + 10 + 5);
    CHECK_EQUAL(t.start(2), t.end(1));
    CHECK(t.opened(0, Point::kIssue) == Gate::kLaunch && t.held(0, Point::kIssue) == kNone);
    CHECK(t.opened(0, Point::kStart) == Gate::kIssued && t.held(0, Point::kStart) == 0);
    CHECK(t.opened(0, Point::kDone) == Gate::kBusy);
    CHECK(t.opened(1, Point::kStart) == Gate::kAfterLoad && t.held(1, Point::kStart) == 0);
    CHECK(t.opened(2, Point::kStart) == Gate::kAfterMatrix && t.held(2, Point::kStart) == 1);
}

TEST(a_slow_memory_sets_the_pace_and_is_named) {
    Builder b;
    const std::uint32_t x = b.tensor(4, 16, Role::kInput), y = b.tensor(4, 16, Role::kOutput);
    const std::uint32_t in = b.tile(x, 0, 0, 4, 16), out = b.tile(y, 0, 0, 4, 16, 1);
    b.load(in, 0);
    b.store(out, 256, 1);
    const OpCost slow = {0, 1, 0, 0, 0, 50};
    const Timed t = timed(b, machine(), 1, nullptr, slow);
    CHECK_EQUAL(t.done(0), t.start(0) + 50);
    CHECK_EQUAL(t.begin(1), t.done(0));
    CHECK(t.opened(0, Point::kDone) == Gate::kServed);
    CHECK(t.opened(1, Point::kBegin) == Gate::kDram && t.held(1, Point::kBegin) == 0);
}

TEST(steps_are_told_in_order_and_retirements_first) {
    Listener listener;
    const Timed t = timed(chain(), machine(), 1, &listener);
    const std::vector<std::uint32_t> expected = {0, 1, 2, 3, 4, 5};  // start and retire of each
    CHECK(listener.events == expected);
    CHECK_EQUAL(listener.cycles[1], t.end(0));
    CHECK_EQUAL(listener.cycles[2], t.start(1));
}

TEST(operations_that_wait_in_a_circle_do_not_retire) {
    Builder b = chain();
    b.stream[0].wait[2] = 1;
    CHECK_EQUAL(timed(b, machine()).unretired, 3u);
}

TEST(references_that_lead_nowhere_are_refused) {
    const auto refused = [](void (*harm)(Builder&), const char* message) {
        Builder b = chain();
        harm(b);
        CHECK_THROWS(check_references(b.view(), 1), ScheduleError, message);
    };
    refused([](Builder& b) { b.stream[1].row = 1; }, "operation 1 refers beyond its operand table");
    refused([](Builder& b) { b.stream[1].core = 1; },
            "operation 1 is in a queue or of a core that does not exist");
    refused([](Builder& b) { b.stream[1].queue = 0; }, "operation 1 is in a queue of another unit");
    refused([](Builder& b) { b.transfers[0].tile = 9; }, "operation 0 moves no tile");
    refused([](Builder& b) { b.matmuls[0].c = 9; }, "operation 1 has no result");
    refused([](Builder& b) { b.tiles[0].tensor = 9; },
            "a tile refers to a tensor that does not exist");
    refused([](Builder& b) { b.tensors[0].dtype = 200; }, "a tensor has a type that does not exist");
    refused([](Builder& b) { b.tensors[0].address = std::uint64_t{1} << 63; },
            "a tile must end at or below address 2^62");
}

TEST(the_last_tile_ends_at_2_to_the_62) {
    Builder b = chain();
    TensorRow& tensor = b.tensors[0];
    tensor.address = (std::uint64_t{1} << 62) - 4 * std::uint64_t{tensor.pitch} - 16 * 4;
    check_references(b.view(), 1);
    ++tensor.address;
    CHECK_THROWS(check_references(b.view(), 1), ScheduleError,
                 "a tile must end at or below address 2^62");
}

// Rows of 100 bytes, 160 apart, from byte 8 on; beats of 16 bytes, four in a burst.
TEST(a_rectangle_is_cut_into_bursts) {
    BurstRules rules;
    rules.width = 16;
    rules.max_beats = 4;
    rules.beat_cycles = 1;
    rules.realign = 1;
    rules.burst_gap = 1;
    rules.gap = 3;
    const Cut found = cut({8, 100, 2, 160}, rules);
    CHECK_EQUAL(found.bursts.size(), 4u);
    CHECK_EQUAL(found.size, 200);
    CHECK_EQUAL(found.rest, 3);
    CHECK_EQUAL(found.bursts[0].size, 56);  // up to the end of the fourth beat
    CHECK_EQUAL(found.bursts[0].passing, 4);
    CHECK_EQUAL(found.bursts[1].size, 44);
    CHECK_EQUAL(found.bursts[1].passing, 3);
    CHECK_EQUAL(found.bursts[1].rest, 1 + 1);  // seven beats in, seven out: the shifter is late
    CHECK_EQUAL(found.through, 4 + 1 + 3 + 2 + 4 + 1 + 3 + 1);
    CHECK_EQUAL(cut({1, 15, 2, 64}, rules).bursts[0].rest, 1 + 1);  // a byte is enough
    CHECK_EQUAL(cut({0, 15, 2, 64}, rules).bursts[0].rest, 1);
}

TEST(random_programs_on_random_machines) {
    for (unsigned seed = 0; seed < 300; ++seed) {
        std::mt19937 random(seed);
        const auto below = [&](std::uint32_t n) { return static_cast<std::uint32_t>(random() % n); };
        const std::uint32_t cores = 1 + below(3);
        Builder b;
        const std::uint32_t x = b.tensor(64, 64, Role::kInput), y = b.tensor(64, 64, Role::kOutput);
        const std::uint32_t in = b.tile(x, below(8), below(8), 1 + below(8), 1 + below(8));
        const std::uint32_t out = b.tile(y, 0, 0, 4, 16, 1);
        std::vector<std::uint32_t> count(cores * kQueues, 0);
        const std::uint32_t size = 1 + below(200);
        for (std::uint32_t i = 0; i < size; ++i) {
            b.core = static_cast<std::uint16_t>(below(cores));
            switch (below(4)) {
                case 0: b.load(in, 0); break;
                case 1: b.store(out, 256, 1); break;
                case 2: b.execute(in, 0, in, 0, out, 256); break;
                default: b.vector(VectorOp::kRelu, out, 256, in, 0);
            }
            StreamRow& row = b.stream.back();
            for (std::uint32_t q = 0; q < kQueues; ++q) {
                const std::uint32_t before = count[b.core * kQueues + q];
                row.wait[q] = before - std::min(before, below(4));
            }
            if (cores > 1 && below(3) == 0) {
                const std::uint32_t lane = below(cores * kQueues);
                row.sync = static_cast<std::uint32_t>(b.syncs.size());
                b.syncs.push_back({static_cast<std::uint16_t>(lane / kQueues),
                                   static_cast<std::uint8_t>(lane % kQueues), 0, count[lane]});
            }
            ++count[b.core * kQueues + row.queue];
        }
        TimingMachine m = machine();
        m.pace = below(3);
        m.depth = 1 + below(4);
        m.channels = 1 + below(3);
        m.in_flight = 1 + below(3);
        m.shared = below(2) == 0;
        if (below(2) == 0) m.memory.part = small_part();
        m.memory.dram_cycles = 1 + below(5);
        m.memory.core_cycles = 1 + below(5);
        m.memory.read_latency = below(30);
        m.memory.write_latency = below(30);
        m.memory.l2_sets = below(3);
        m.memory.l2_ways = 1 + below(3);
        m.memory.l2_line = 16 << below(3);
        m.memory.noc_rate = below(3) * 8;
        m.memory.noc_core_rate = below(3) * 4;
        if (below(2) == 0) {
            BurstRules rules;
            rules.width = 4 << below(3);
            rules.max_beats = below(3);
            rules.boundary = below(2) * 64;
            rules.outstanding = below(3);
            rules.request_cycles = below(3);
            rules.beat_cycles = 1;
            m.load_bursts = m.store_bursts = rules;
        }
        const OpCost cost = {below(9), 1 + below(30), below(4), below(40), 0, 1 + below(30)};
        Listener listener;
        const Timed t = timed(b, m, cores, &listener, cost);
        CHECK_EQUAL(t.unretired, 0u);
        CHECK_EQUAL(listener.events.size(), std::size_t{size} * 2);
        CHECK(std::is_sorted(listener.cycles.begin(), listener.cycles.end()));
        std::vector<Cycle> last(cores * kQueues, 0);
        for (std::size_t op = 0; op < size; ++op) {
            CHECK(t.issue(op) <= t.start(op) && t.start(op) <= t.begin(op) &&
                  t.begin(op) <= t.done(op) && t.done(op) <= t.end(op));
            Cycle& before = last[b.stream[op].core * kQueues + b.stream[op].queue];
            CHECK(before <= t.end(op));
            before = t.end(op);
            for (std::size_t point = 0; point < kPoints; ++point) {
                const std::uint32_t holder = t.holder[op * kPoints + point];
                CHECK(holder < size || (holder == kNone && point == 0));
            }
        }
    }
}

// Gate 0 begins at the holder's start, 1 at its end, 2 begins the path, 3 stops it.
TEST(the_way_back_goes_from_holder_to_holder_until_it_ends) {
    constexpr std::uint8_t kStart = 1, kEnd = 6;
    const std::vector<std::uint8_t> origins{kStart, kEnd, kPathBegins, kPathStops};
    std::vector<std::uint8_t> gate(3 * kPoints, 9);
    std::vector<std::uint32_t> holder(3 * kPoints, 77);
    const auto held = [&](std::uint32_t op, std::uint8_t point, std::uint8_t by, std::uint32_t whom) {
        gate[op * kPoints + point] = by;
        holder[op * kPoints + point] = whom;
    };
    held(2, kEnd, 0, 2);
    held(2, kStart, 1, 0);
    held(0, kEnd, 0, 1);
    const auto check = [&](const std::vector<std::uint8_t>& points, const std::vector<std::uint32_t>& ops) {
        const WayBack found = way_back(gate.data(), holder.data(), 3, origins, kEnd, 2);
        CHECK(found.points == points);
        CHECK(found.ops == ops);
    };
    held(1, kStart, 2, 1);  // the path begins there
    check({kEnd, kStart, kEnd, kStart}, {2, 2, 0, 1});
    held(1, kStart, 3, 1);  // or is to stop
    check({kEnd, kStart, kEnd, kStart}, {2, 2, 0, 1});
    held(1, kStart, 4, 1);  // no such gate
    check({kEnd, kStart, kEnd, kStart}, {2, 2, 0, 1});
    held(1, kStart, 0, 3);  // no such operation
    check({kEnd, kStart, kEnd, kStart}, {2, 2, 0, 1});
    held(1, kStart, 1, 2);  // a circle: no longer than there are points
    const WayBack round = way_back(gate.data(), holder.data(), 3, origins, kEnd, 2);
    CHECK_EQUAL(round.ops.size(), 3 * kPoints);
    CHECK(way_back(gate.data(), holder.data(), 3, origins, kEnd, 3).ops.empty());
}
