// The timed DRAM in closed form, what it refuses, and random requests for the sanitizers. That it
// equals its definition in every cycle is tested from Python (tests/hwmodel/test_dram_twin.py).

#include <algorithm>
#include <memory>
#include <random>
#include <vector>

#include "check.hpp"
#include "minisim/dram_memory.hpp"
#include "minisim/errors.hpp"
#include "minisim/served_runs.hpp"
#include "small_part.hpp"

using namespace minisim;

// One cycle from the channel's queue to the bank's, then activate, then the column command.
TEST(a_lone_read_in_closed_form) {
    const DramPart part = small_part();
    DramMemory memory(part);
    const std::int64_t address = 0;
    const bool write = false;
    const DramMemory::Served served = memory.run(&address, &write, 1, 100, 0, kNever);
    CHECK_EQUAL(served.issued, 100 + 1 + part.tRCD + part.burst_cycles);
    CHECK_EQUAL(served.returned, 100 + 1 + part.tRCD + part.CL + part.burst_cycles + 1);
}

// Three rows of 100 bytes, 160 apart: bursts 0 1 | 2 3 4 | 5 6, all in one row of one bank.
TEST(a_transfer_takes_each_burst_once) {
    const DramPart part = small_part();
    DramMemory memory(part);
    const DramMemory::Turn turn = memory.transfer(0, 160, 3, 100, false, 0, 0);
    CHECK_EQUAL(turn.end, 1 + part.tRCD + 6 * part.tCCD_L + part.burst_cycles);
    CHECK(turn.begin == 0 && turn.turn == 0);
}

// Known since cycle 0, its row is open by then.
TEST(no_column_command_comes_too_early) {
    const DramPart part = small_part();
    DramMemory memory(part);
    CHECK_EQUAL(memory.transfer(0, 64, 1, 64, false, 500, 0).end, 500 + part.burst_cycles);
}

// The second transfer's bursts lie in the other channel: it need not wait.
TEST(channels_serve_side_by_side) {
    const DramPart part = small_part();
    const std::int64_t other = part.ranks * part.banks * part.groups * part.page_bursts * 64;
    DramMemory memory(part);
    const Cycle alone = memory.transfer(0, 64, 1, 640, false, 0, 0).end;
    const DramMemory::Turn beside = memory.transfer(other, 64, 1, 640, false, 1, 1);
    CHECK(beside.begin == 1 && beside.turn == 1);
    const DramMemory::Turn behind = memory.transfer(0, 64, 1, 640, false, 2, 2);
    CHECK(behind.begin == alone && behind.turn == alone && behind.end > alone);
}

TEST(lines_are_read_and_then_written) {
    const std::int64_t addresses[] = {0, 256, 512};
    DramMemory memory(small_part()), twice(small_part());
    const Cycle both = memory.lines(addresses, 2, 3, 128, 0, 0).end;
    CHECK(both > twice.lines(addresses, 2, 2, 128, 0, 0).end);
    CHECK_THROWS(memory.lines(addresses, 0, 0, 128, 0, 0), UsageError, "there must be lines");
}

TEST(addresses_and_banks_have_limits) {
    DramPart part = small_part();
    DramMemory memory(part);
    const std::int64_t end = std::int64_t{1} << 62;
    CHECK_THROWS(memory.transfer(end, 0, 1, 1, false, 0, 0), UsageError,
            "a transfer must end at or below address 2^62");
    CHECK_THROWS(memory.transfer(64, end / 2, 3, 1, false, 0, 0), UsageError,
            "a transfer must end at or below address 2^62");
    CHECK_THROWS(memory.transfer(INT64_MAX, 1, 1, 1, false, 0, 0), UsageError,
            "a transfer must end at or below address 2^62");
    CHECK(memory.transfer(end - 64, 64, 1, 64, false, 0, 0).end > 0);
    part.tREFI = 1 << 20;
    for (auto* number : {&part.channels, &part.ranks, &part.groups, &part.banks}) {
        const std::int64_t before = *number;
        *number = 1 << 18;  // of the others there are 2 x 2 x 2
        CHECK_THROWS(DramMemory{part}, UsageError,
                     "channels x ranks x groups x banks must be at most 2^20");
        *number = before;
    }
    part.channels = part.ranks = part.groups = part.banks = 1 << 16;  // 2^64
    part.tREFI = 1 << 20;
    part.tRFC = part.tRAS = part.tRP = part.tRCD = part.tFAW = 0;
    CHECK_THROWS(DramMemory{part}, UsageError, "must be at most 2^20");
    part = small_part();
    part.tRFC = part.tRAS = part.tRP = part.tRCD = part.tFAW = 0;
    part.tREFI = 3;  // a rank's turn takes a cycle at least
    CHECK_THROWS(DramMemory{part}, UsageError,
                 "tREFI must be 2 x ranks x (tRFC + tRAS + tRP + tRCD + tFAW), or more");
}

TEST(what_no_part_can_be_is_refused) {
    DramPart part = small_part();
    part.banks = 3;
    CHECK_THROWS(DramMemory{part}, UsageError, "banks must be a power of two");
    part = small_part();
    part.queue = 0;
    CHECK_THROWS(DramMemory{part}, UsageError, "queue must be at least 1");
    part = small_part();
    part.tRFC = 1000;
    CHECK_THROWS(DramMemory{part}, UsageError,
            "tREFI must be 2 x ranks x (tRFC + tRAS + tRP + tRCD + tFAW), or more");
    part = small_part();
    part.mapping = "rochrababg";
    CHECK_THROWS(DramMemory{part}, UsageError,
            "mapping must name ro, ch, ra, ba, bg and co once each, not 'rochrababg'");
    DramMemory memory(small_part());
    CHECK_THROWS(memory.transfer(0, 64, 1, 0, false, 0, 0), UsageError,
            "a transfer must have an address, a pitch, rows and a width");
}

TEST(random_requests_are_all_served) {
    std::mt19937_64 random(7);
    for (int run = 0; run < 20; ++run) {
        DramPart part = small_part();
        part.commands = 1 + run % 2;
        part.queue = 1 + run % 9;
        DramMemory memory(part);
        Cycle now = 0;
        for (int part_of_run = 0; part_of_run < 5; ++part_of_run) {
            const std::size_t count = random() % 200;
            std::vector<std::int64_t> addresses(count);
            const auto writes = std::make_unique<bool[]>(count + 1);
            for (std::size_t i = 0; i < count; ++i) {
                addresses[i] = static_cast<std::int64_t>(random() >> 20);
                writes[i] = random() % 3 == 0;
            }
            const auto served = memory.run(addresses.data(), writes.get(), count, now, now,
                                           1 + static_cast<std::int64_t>(random() % 20));
            const Cycle least = static_cast<Cycle>(count) * part.burst_cycles / part.channels;
            CHECK(served.issued >= now + least);  // no faster than the peak
            now = served.issued + static_cast<Cycle>(random() % 5000);
        }
    }
}

TEST(a_run_is_known_by_what_describes_it) {
    ServedRuns served;
    served.add({1, 2}, {3});
    CHECK(served.find({1, 2}) && *served.find({1, 2}) == ServedRuns::Numbers{3});
    CHECK(!served.find({3}) && !served.find({2, 1}));
    served.add({1, 2}, {4});
    CHECK_EQUAL(served.size(), 1u);
    CHECK(*served.find({1, 2}) == ServedRuns::Numbers{4});
}

TEST(a_run_that_comes_again_is_repeated) {
    DramPart part = small_part();
    part.tREFI = 1 << 20;
    DramChannel channel(part);
    ServedRuns served;
    const auto took = [&](Cycle start) { return channel.run({{0, 0, false, 4}}, start, start, served) - start; };
    took(1000);  // opens the row
    const Cycle open = took(2000);
    const std::size_t known = served.size();
    CHECK(known > 0);
    CHECK_EQUAL(took(3000), open);
    CHECK_EQUAL(served.size(), known);
}

// A few transfers over and over, at places that share rows and banks or do not: most are repeated.
// run() serves each burst anew.
TEST(what_is_repeated_is_what_would_be_served) {
    std::mt19937_64 random(8);
    const auto below = [&](std::uint64_t end) { return static_cast<Cycle>(random() % end); };
    for (int round = 0; round < 60; ++round) {
        DramPart part = small_part();
        part.channels = 1;
        part.rows = 4;
        part.commands = 1 + round % 2;
        part.queue = 4 + round % 9;
        part.bank_queue = 2 + round % 5;
        part.CWL = part.CL - round % 12;
        part.tFAW *= 1 + round % 7;
        part.tREFI *= 1 + round % 5;
        part.mapping = round % 3 ? "rochrababgco" : "bgcochbarora";
        DramMemory memory(part), anew(part);
        const std::int64_t burst = part.burst_bytes, lead = part.queue * part.burst_cycles;
        struct Shape {
            std::int64_t pitch, rows, bursts;
        };
        const std::int64_t row = part.ranks * part.groups * part.banks * part.page_bursts;
        const Shape shapes[] = {{8 * (1 + below(9)), 1 + below(6), 1 + below(7)},
                                {8 * (1 + below(3)), 3 + below(6), 1},  // many activates
                                {row * (1 + below(2)), 3, 1},           // rows of one bank
                                {row * 2, 3, 1}};
        Cycle now = 0;
        for (int turn = 0; turn < 600; ++turn) {
            const auto& [pitch, rows, bursts] = shapes[random() % 4];
            const std::int64_t first = below(6) * part.page_bursts * (round % 2 ? 1 : 3);
            const bool write = below(3) == 0;
            std::vector<std::int64_t> addresses;
            for (std::int64_t i = 0; i < rows * bursts; ++i) {
                addresses.push_back((first + i / bursts * pitch + i % bursts) * burst);
            }
            const auto writes = std::make_unique<bool[]>(addresses.size());
            std::fill_n(writes.get(), addresses.size(), write);
            const Cycle since = std::max(Cycle{0}, now - below(4) * 20);
            const Cycle start = std::max(since, now - lead);
            const Cycle end = anew.run(addresses.data(), writes.get(), addresses.size(), start, now,
                                       kNever).issued;
            CHECK_EQUAL(memory.transfer(first * burst, pitch * burst, rows, bursts * burst, write,
                                        now, since).end, end);
            now = end + (below(4) ? 0 : below(60) * (1 + below(30)));
        }
    }
}
