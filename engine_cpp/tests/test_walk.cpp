// The scheduler's walk: its allocator, its candidates, and whole walks of small programs.

#include "minisim/walk.hpp"

#include <algorithm>
#include <random>
#include <vector>

#include "check.hpp"
#include "minisim/candidates.hpp"
#include "minisim/errors.hpp"
#include "minisim/places.hpp"

using namespace minisim;

namespace {

Clock clock_of(std::uint32_t loads) { return {loads, 0, 0, 0}; }

// What is taken, as (address, loads to wait for); nothing: (-1, 0).
std::pair<std::int64_t, std::uint32_t> take(Places& places, std::uint64_t bytes, bool small = false) {
    const auto found = places.allocate(bytes, small);
    if (!found) return {-1, 0};
    return {static_cast<std::int64_t>(found->address), found->clock[0]};
}

void check_taken(Places& places, std::uint64_t bytes, std::int64_t address, std::uint32_t loads, bool small = false) {
    const auto found = take(places, bytes, small);
    CHECK_EQUAL(found.first, address);
    CHECK_EQUAL(found.second, loads);
}

// Of each 64 bytes: whether they are free, and which operations must retire before they are written.
struct Cells {
    std::uint64_t base;
    std::vector<bool> free;
    std::vector<Clock> clocks;

    Cells(std::size_t count, std::uint64_t base_) : base(base_), free(count, true), clocks(count) {}
    template <class Visit>
    void each(std::uint64_t address, std::uint64_t bytes, Visit visit) {
        for (std::uint64_t at = address; at < address + bytes; at += kAlignment) {
            visit((at - base) / kAlignment);
        }
    }
    std::uint64_t longest_run() const {
        std::uint64_t longest = 0, run = 0;
        for (const bool each : free) {
            run = each ? run + 1 : 0;
            longest = std::max(longest, run);
        }
        return longest * kAlignment;
    }
};

void compare_with_cells(unsigned seed) {
    std::mt19937 draw(seed);
    const auto below = [&](std::uint32_t n) { return static_cast<std::uint32_t>(draw() % n); };
    const std::uint64_t base = below(2) * 4096;
    const std::size_t counts[] = {1, 7, 64, 1024};
    const std::uint64_t all[] = {1, 2, 3, 16, 64};
    const std::size_t cells = counts[below(4)];
    Places places(cells * kAlignment, base);
    Cells known(cells, base);
    std::vector<std::uint64_t> sizes;
    for (std::uint32_t i = below(4) + 1; i > 0; --i) sizes.push_back(kAlignment * all[below(5)]);
    std::vector<std::pair<std::uint64_t, std::uint64_t>> used;
    for (std::uint32_t moment = 1; moment < 600; ++moment) {
        if (!used.empty() && below(100) < 48) {
            std::swap(used[below(static_cast<std::uint32_t>(used.size()))], used.back());
            const auto [address, bytes] = used.back();
            used.pop_back();
            const Clock clock = {below(moment), below(moment), below(moment), below(moment)};
            places.free(address, bytes, clock);
            known.each(address, bytes, [&](std::size_t cell) {
                CHECK(!known.free[cell]);
                known.free[cell] = true;
                known.clocks[cell] = clock;
            });
        } else {
            const std::uint64_t bytes = sizes[below(static_cast<std::uint32_t>(sizes.size()))];
            const auto found = places.allocate(bytes, below(10) < 3);
            CHECK_EQUAL(found.has_value(), known.longest_run() >= bytes);
            if (!found) continue;
            known.each(found->address, bytes, [&](std::size_t cell) {
                CHECK(known.free[cell]);
                known.free[cell] = false;
                for (std::size_t q = 0; q < kQueues; ++q) CHECK(found->clock[q] >= known.clocks[cell][q]);
            });
            used.emplace_back(found->address, bytes);
        }
        const auto free = static_cast<std::uint64_t>(std::count(known.free.begin(), known.free.end(), true));
        CHECK_EQUAL(places.free_bytes(), free * kAlignment);
    }
    for (const auto& [address, bytes] : used) places.free(address, bytes, {1, 2, 3, 4});
    places.merge();
    CHECK(places.allocate(cells * kAlignment).has_value());
}

}  // namespace

TEST(places_are_disjoint_and_their_clocks_name_all_who_used_them) {
    for (unsigned seed = 0; seed < 60; ++seed) compare_with_cells(seed);
}

TEST(tiles_of_one_size_take_turns_in_the_longest_free_place) {
    Places places(256);
    for (std::int64_t i = 0; i < 4; ++i) check_taken(places, 64, 64 * i, 0);
    const std::uint64_t order[] = {128, 0, 192, 64};
    for (std::uint32_t i = 0; i < 4; ++i) places.free(order[i], 64, clock_of(i + 1));
    for (std::uint32_t i = 0; i < 4; ++i) check_taken(places, 64, static_cast<std::int64_t>(order[i]), i + 1);
}

TEST(memory_never_used_comes_before_a_place_of_ones_own_size) {  // so loads run ahead as far as there is memory
    Places places(256);
    check_taken(places, 64, 0, 0);
    places.free(0, 64, clock_of(1));
    check_taken(places, 64, 64, 0);
}

TEST(small_tiles_take_the_upper_end_of_memory_never_used) {
    Places places(1024);
    check_taken(places, 64, 960, 0, true);
    check_taken(places, 512, 0, 0);
    check_taken(places, 64, 896, 0, true);
}

TEST(a_small_tile_does_not_break_up_the_place_of_a_large_one) {  // though that has been free for longer
    Places places(576);
    check_taken(places, 512, 0, 0);
    check_taken(places, 64, 512, 0);
    places.free(0, 512, clock_of(1));
    places.free(512, 64, clock_of(2));
    check_taken(places, 64, 512, 2);
    places.free(512, 64, clock_of(3));
    check_taken(places, 64, 512, 3);
    check_taken(places, 64, 0, 1);  // there is no other
    check_taken(places, 448, 64, 1);
}

TEST(a_size_that_is_needed_gets_the_places_that_nobody_needs_any_more) {
    // else all tiles of that size follow each other in one place, and each waits for the one before it
    Places places(1024);
    for (const std::uint64_t bytes : {512, 256, 256}) CHECK(places.allocate(bytes).has_value());
    places.free(512, 256, clock_of(1));
    places.free(768, 256, clock_of(2));
    std::pair<std::int64_t, std::uint32_t> last;
    std::uint32_t count = 3;
    for (; count < 13 && last.first != 512; ++count) {
        places.free(0, 512, clock_of(count));
        last = take(places, 512);
    }
    CHECK_EQUAL(count, 6u);  // free for more than twice as long as the other, after the third time
    CHECK_EQUAL(last.first, 512);  // the run of both, and its clock names both
    CHECK_EQUAL(last.second, 2u);
}

TEST(what_is_left_of_a_place_keeps_its_age_and_its_clock) {
    Places places(512);
    check_taken(places, 512, 0, 0);
    places.free(0, 512, clock_of(7));
    check_taken(places, 128, 0, 7);
    check_taken(places, 384, 128, 7);
    check_taken(places, 64, -1, 0);
}

TEST(steps_do_not_grow_with_the_number_of_places) {
    double looked_at[2];
    const std::uint32_t counts[] = {100, 10'000};
    for (int k = 0; k < 2; ++k) {
        Places places(std::uint64_t{counts[k]} * 256);
        std::vector<std::uint64_t> taken;
        const std::uint64_t sizes[] = {64, 128, 64};
        for (std::uint32_t i = 0; i < 3 * counts[k]; ++i) taken.push_back(places.allocate(sizes[i % 3])->address);
        for (std::uint32_t i = 0; i < taken.size(); ++i) {
            if (i % 3 != 2) places.free(taken[i], sizes[i % 3], clock_of(i));
        }
        const std::uint64_t before = places.windows();
        for (std::uint32_t i = 0; i < counts[k] / 4; ++i) CHECK(places.allocate(192).has_value());
        looked_at[k] = static_cast<double>(places.windows() - before) / (counts[k] / 4);
    }
    CHECK(looked_at[0] > 0);
    CHECK(looked_at[1] <= 1.1 * looked_at[0] + 1);
}

TEST(a_run_of_just_the_size_is_found_behind_any_number_of_short_ones) {
    Places places(64 * 202);
    for (int i = 0; i < 200; ++i) CHECK(places.allocate(64).has_value());
    check_taken(places, 128, 64 * 200, 0);
    for (std::uint64_t i = 0; i < 100; i += 2) places.free(64 * i, 64, clock_of(1));  // all free for longer
    places.free(64 * 200, 128, clock_of(2));
    CHECK(places.allocate(64).has_value());
    for (std::uint32_t i = 101; i < 104; ++i) places.free(64 * i, 64, clock_of(i - 98));
    check_taken(places, 192, 64 * 101, 5);
}

TEST(memory_that_was_used_is_not_as_new_when_it_is_one_place_again) {
    Places places(256);
    check_taken(places, 256, 0, 0);
    places.free(0, 256, clock_of(3));
    places.merge();
    check_taken(places, 64, 0, 3, true);  // else it would take the upper end
}

TEST(what_was_not_taken_is_not_given_back) {
    Places places(256, 1024);
    CHECK_THROWS(places.free(1024, 64, Clock{}), ScheduleError, "what it has not taken");
    CHECK(places.allocate(128).has_value());
    CHECK_THROWS(places.free(960, 64, Clock{}), ScheduleError, "what it has not taken");
    CHECK_THROWS(places.free(1088, 128, Clock{}), ScheduleError, "what it has not taken");
    CHECK_THROWS(places.free(1216, 128, Clock{}), ScheduleError, "what it has not taken");
    CHECK_THROWS(places.merge(), ScheduleError, "in use");
    places.free(1024, 128, Clock{});
    CHECK_EQUAL(places.used_bytes(), 0u);
}

TEST(the_candidate_whose_next_use_is_farthest_is_the_first) {
    std::mt19937 draw(1);
    Candidates::At at(50, kNone);
    Candidates candidates(at), other(at);
    other.add(49, 1);
    std::vector<std::uint32_t> far(49, kNone);  // kNone: not in
    for (int i = 0; i < 5000; ++i) {
        const auto copy = static_cast<std::uint32_t>(draw() % far.size());
        candidates.remove(copy);
        far[copy] = kNone;
        if (draw() % 3) candidates.add(copy, far[copy] = static_cast<std::uint32_t>(draw() % 20));
        std::uint32_t best = kNone;
        for (std::uint32_t j = 0; j < far.size(); ++j) {
            if (far[j] != kNone && (best == kNone || far[j] > far[best])) best = j;
        }
        CHECK_EQUAL(candidates.empty(), best == kNone);
        if (best == kNone) continue;
        CHECK_EQUAL(candidates.first(), best);
        CHECK_EQUAL(candidates.distance(), far[best]);
    }
    CHECK_EQUAL(other.first(), 49u);
}

namespace {

// A lowered program: y = x w in `steps` steps for each of `columns` tiles of y, each operand loaded before each use.
// All tiles are 16 x 16 floats: 1,024 bytes.
struct Lowered {
    std::vector<UopRow> uops;
    std::vector<MatmulRow> matmuls;
    std::vector<VectorRow> vectors;
    std::vector<PieceRow> pieces;
    std::vector<TileRow> tiles;
    std::vector<TensorRow> tensors;
    bool resident_ok[8] = {}, sums[8] = {};
    std::vector<std::int64_t> ahead, horizon;
    std::uint32_t cores = 1, layers = 1;

    std::uint32_t tile(std::uint32_t tensor, std::uint32_t final = 0) {
        tiles.push_back({tensor, static_cast<std::uint32_t>(16 * tiles.size()), 0, 16, 16, final});
        return static_cast<std::uint32_t>(tiles.size() - 1);
    }
    std::uint32_t tensor() {
        TensorRow x{};
        x.storage = static_cast<std::uint32_t>(tensors.size());
        tensors.push_back(x);
        return x.storage;
    }
    void uop(Opcode opcode, std::uint32_t ref, std::uint16_t core = 0, std::uint32_t fetch = 0, std::uint32_t layer = 0) {
        uops.push_back({static_cast<std::uint8_t>(opcode), 0, core, layer, ref, fetch});
    }
    std::uint32_t matmul(std::uint32_t a, std::uint32_t b, std::uint32_t c, std::uint32_t step, bool last,
                         std::uint32_t acc = kNone) {
        MatmulRow x{};
        x.a = a;
        x.b = b;
        x.c = c;
        x.acc = acc;
        x.bias = x.residual = x.a_pieces = kNone;
        x.a_sram = x.b_sram = x.c_sram = x.bias_sram = x.residual_sram = x.acc_sram = kNone;
        x.m = x.k = x.n = 16;
        x.step = step;
        x.last = last;
        matmuls.push_back(x);
        return static_cast<std::uint32_t>(matmuls.size() - 1);
    }
    UopProgram view() {
        UopProgram found;
        found.uops = {uops.data(), uops.size()};
        found.matmuls = {matmuls.data(), matmuls.size()};
        found.vectors = {vectors.data(), vectors.size()};
        found.pieces = {pieces.data(), pieces.size()};
        found.tiles = {tiles.data(), tiles.size()};
        found.tensors = {tensors.data(), tensors.size()};
        ahead.resize(std::size_t{layers} * cores);
        horizon.resize(std::size_t{layers} * cores);
        found.resident_ok = resident_ok;
        found.sums = sums;
        found.ahead = ahead.data();
        found.horizon = horizon.data();
        found.layers = layers;
        found.cores = cores;
        return found;
    }
    Walked walked(std::uint64_t sram, std::uint64_t accumulator = 0, bool keep = true) {
        const UopProgram program = view();
        program.check();
        return walk(program, {sram, accumulator, keep});
    }
};

// a b -> c, and c d -> e, with c an intermediate that may stay.
Lowered two_products() {
    Lowered x;
    for (int i = 0; i < 5; ++i) x.tensor();
    const std::uint32_t a = x.tile(0), b = x.tile(1), c = x.tile(2, 1), d = x.tile(3), e = x.tile(4, 1);
    x.resident_ok[2] = true;
    x.layers = 2;
    x.uop(Opcode::kLoad, a);
    x.uop(Opcode::kLoad, b);
    x.uop(Opcode::kExecute, x.matmul(a, b, c, 0, true));
    x.uop(Opcode::kStore, c);
    x.uop(Opcode::kLoad, c, 0, 0, 1);
    x.uop(Opcode::kLoad, d, 0, 0, 1);
    x.uop(Opcode::kExecute, x.matmul(c, d, e, 0, true), 0, 0, 1);
    x.uop(Opcode::kStore, e, 0, 0, 1);
    return x;
}

std::vector<int> opcodes(const Walked& walked) {
    std::vector<int> found;
    for (const StreamRow& row : walked.stream) found.push_back(row.opcode);
    return found;
}

}  // namespace

TEST(an_intermediate_stays_for_its_consumer) {
    const Walked found = two_products().walked(8192);
    CHECK(opcodes(found) == (std::vector<int>{0, 0, 2, 0, 2, 1}));
    CHECK_EQUAL(found.eliminated[1], 1);
    CHECK_EQUAL(found.eliminated[0], 0);
    CHECK_EQUAL(found.matmuls[0].c_sram, found.matmuls[1].a_sram);
    CHECK_EQUAL(found.peak[0], 3072);
    CHECK_EQUAL(found.live, 0u);
    CHECK_EQUAL(found.stream[2].wait[0], 2u);  // both loads
    CHECK_EQUAL(found.stream[4].wait[2], 1u);  // who made c
    CHECK_EQUAL(found.stream[5].wait[2], 2u);
}

TEST(nothing_stays_if_it_may_not) {
    const Walked found = two_products().walked(8192, 0, false);
    CHECK(opcodes(found) == (std::vector<int>{0, 0, 2, 1, 0, 0, 2, 1}));
    CHECK_EQUAL(found.stream[4].wait[1], 1u);  // the store of c
    CHECK_EQUAL(found.transfers[2].tile, 2u);
    CHECK_EQUAL(found.transfers[2].version, 1u);
}

TEST(what_is_used_last_is_evicted_and_stored_if_it_is_nowhere_else) {
    Lowered x;
    for (int i = 0; i < 4; ++i) x.tensor();
    const std::uint32_t a = x.tile(0), b = x.tile(1), c = x.tile(2, 2), d = x.tile(3, 1);
    x.uop(Opcode::kLoad, a);
    x.uop(Opcode::kLoad, b);
    x.uop(Opcode::kExecute, x.matmul(a, b, c, 0, false));
    x.uop(Opcode::kLoad, a);
    x.uop(Opcode::kLoad, b);
    x.uop(Opcode::kExecute, x.matmul(a, b, d, 0, true));
    x.uop(Opcode::kStore, d);
    x.uop(Opcode::kLoad, a);
    x.uop(Opcode::kLoad, b);
    x.uop(Opcode::kExecute, x.matmul(a, b, c, 1, true));
    x.uop(Opcode::kStore, c);
    const Walked found = x.walked(3072);  // a, b and one more: partial sums of c go through DRAM
    CHECK(opcodes(found) == (std::vector<int>{0, 0, 2, 1, 2, 1, 0, 2, 1}));
    CHECK_EQUAL(found.transfers[2].tile, c);
    CHECK_EQUAL(found.transfers[2].version, 1u);
    CHECK_EQUAL(found.stream[4].wait[1], 1u);  // d takes c's place: not before its store
    CHECK_EQUAL(found.stream[6].wait[1], 2u);  // c comes back into d's
    CHECK_EQUAL(found.stream[7].wait[0], 3u);  // and its sums are there before they are added to
    CHECK_EQUAL(found.eliminated[0], 4);
    CHECK_EQUAL(found.live, 0u);
}

TEST(what_must_be_stored_counts_as_half_as_far_away) {
    Lowered x;
    for (int i = 0; i < 5; ++i) x.tensor();
    const std::uint32_t a = x.tile(0), b = x.tile(1), c = x.tile(2, 2), d = x.tile(3), e = x.tile(4, 1);
    x.uop(Opcode::kLoad, a);
    x.uop(Opcode::kLoad, b);
    x.uop(Opcode::kExecute, x.matmul(a, b, c, 0, false));
    x.uop(Opcode::kLoad, b);
    x.uop(Opcode::kLoad, d);
    x.uop(Opcode::kExecute, x.matmul(b, d, e, 0, true));  // a, used again at 7, or c, in SRAM alone, at 9: one must go
    x.uop(Opcode::kStore, e);
    x.uop(Opcode::kLoad, a);
    x.uop(Opcode::kLoad, b);
    x.uop(Opcode::kExecute, x.matmul(a, b, c, 1, true));
    x.uop(Opcode::kStore, c);
    const Walked found = x.walked(4096);
    CHECK(opcodes(found) == (std::vector<int>{0, 0, 2, 0, 2, 1, 0, 2, 1}));
    CHECK_EQUAL(found.transfers[4].tile, a);
    CHECK_EQUAL(found.peak[0], 4096);
}

// a b -> c and a b -> d, d and the first tile of c's tensor whole, c ragged: `rows` of 16.
Lowered ragged(std::uint32_t rows) {
    Lowered x;
    for (int i = 0; i < 4; ++i) x.tensor();
    const std::uint32_t a = x.tile(0), b = x.tile(1), whole = x.tile(2, 1), c = x.tile(2, 1), d = x.tile(3, 1);
    x.tiles[c].rows = rows;
    for (const std::uint32_t target : {c, d, whole}) {
        x.uop(Opcode::kLoad, a);
        x.uop(Opcode::kLoad, b);
        x.uop(Opcode::kExecute, x.matmul(a, b, target, 0, true));
        x.uop(Opcode::kStore, target);
    }
    return x;
}

TEST(a_ragged_tile_takes_a_whole_place_if_it_fills_half_of_one) {
    const Walked half = ragged(8).walked(3072), less = ragged(7).walked(3072);
    CHECK_EQUAL(half.peak[0], 3072);
    CHECK_EQUAL(half.matmuls[1].c_sram, half.matmuls[0].c_sram);  // d follows in its place
    CHECK_EQUAL(less.matmuls[0].c_sram, 2048u);
    CHECK_EQUAL(opcodes(less).size(), 8u);
    Lowered alone = ragged(7);
    alone.uops.resize(4);
    CHECK_EQUAL(alone.walked(3072).peak[0], 2048 + 448);
}

TEST(what_does_not_fit_in_whole_places_is_moved_together) {
    Lowered x = ragged(9);
    x.uops.resize(4);
    x.tiles[0].rows = 12;  // a, of which there is a whole tile, too
    x.tiles.push_back({0, 96, 0, 16, 16, 0});
    CHECK_EQUAL(scratchpad_needed(x.view(), false).bytes, 768u + 1024 + 576);
    const Walked found = x.walked(768 + 1024 + 576);
    CHECK(opcodes(found) == (std::vector<int>{0, 0, 0, 0, 2, 1}));  // the operands are loaded again, side by side
    CHECK_EQUAL(found.matmuls[0].a_sram, 0u);
    CHECK_EQUAL(found.matmuls[0].b_sram, 768u);
    CHECK_EQUAL(found.matmuls[0].c_sram, 1792u);
    CHECK_EQUAL(found.stream[2].wait[0], 2u);  // not before those that they take the places of
    CHECK_EQUAL(found.stream[4].wait[0], 4u);
    CHECK_EQUAL(found.peak[0], 768 + 1024 + 576);
    CHECK_EQUAL(found.live, 0u);
    CHECK_THROWS(x.walked(768 + 1024 + 576 - 64), ScheduleError, "do not fit");
    const Walked ample = x.walked(4096);
    CHECK(opcodes(ample) == (std::vector<int>{0, 0, 2, 1}));
    CHECK_EQUAL(ample.peak[0], 3072);  // there each has the place of a whole one
}

TEST(sums_live_in_the_accumulator_memory) {
    Lowered x;
    for (int i = 0; i < 4; ++i) x.tensor();
    const std::uint32_t a = x.tile(0), b = x.tile(1), c = x.tile(2, 1), acc = x.tile(3, 2);
    x.sums[3] = true;
    x.uop(Opcode::kLoad, a);
    x.uop(Opcode::kLoad, b);
    x.uop(Opcode::kExecute, x.matmul(a, b, c, 0, false, acc));
    x.uop(Opcode::kLoad, a);
    x.uop(Opcode::kLoad, b);
    x.uop(Opcode::kExecute, x.matmul(a, b, c, 1, true, acc));
    x.uop(Opcode::kStore, c);
    const Walked found = x.walked(4096, 1024);
    CHECK_EQUAL(found.matmuls[0].acc_sram, 4096u);
    CHECK_EQUAL(found.matmuls[0].c_sram, kNone);
    CHECK_EQUAL(found.matmuls[1].acc_sram, 4096u);
    CHECK_EQUAL(found.matmuls[1].c_sram, 2048u);
    CHECK_EQUAL(found.stream[3].wait[2], 0u);  // it accumulates in order by itself
    CHECK_EQUAL(found.peak[0], 3072);
    CHECK_EQUAL(found.live, 0u);
    const UopProgram program = x.view();
    CHECK_EQUAL(scratchpad_needed(program, true).bytes, 3072u);
    CHECK_EQUAL(scratchpad_needed(program, false).bytes, 4096u);  // the last step has sums and result
    CHECK_EQUAL(accumulator_needed(program).bytes, 1024u);
}

TEST(another_core_waits_for_the_store) {
    Lowered x = two_products();
    x.cores = 2;
    for (UopRow& uop : x.uops) uop.core = static_cast<std::uint16_t>(uop.layer);
    const Walked found = x.walked(8192);
    CHECK(opcodes(found) == (std::vector<int>{0, 0, 2, 1, 0, 0, 2, 1}));
    CHECK_EQUAL(found.syncs.size(), 1u);
    CHECK_EQUAL(found.stream[4].sync, 0u);
    CHECK_EQUAL(found.stream[5].sync, kNone);
    CHECK_EQUAL(found.syncs[0].core, 0u);
    CHECK_EQUAL(found.syncs[0].count, 1u);
    CHECK_EQUAL(int{found.syncs[0].queue}, 1);
    CHECK_EQUAL(found.stream[7].wait[2], 1u);  // counts are a core's own
}

TEST(room_is_kept_free_ahead) {
    Lowered x = two_products();
    const UopRow load_d = x.uops[5];
    x.uops.insert(x.uops.begin(), load_d);  // long before it is used, at place 6: three after the first EXECUTE
    x.uops[0].layer = 0;
    x.ahead = {7168, 0};
    CHECK(opcodes(x.walked(8192)) == (std::vector<int>{0, 0, 0, 2, 0, 2, 1}));  // it is evicted, and loaded again
    x.horizon = {2, 0};
    CHECK(opcodes(x.walked(8192)) == (std::vector<int>{0, 0, 0, 2, 0, 2, 1}));
    x.horizon = {3, 0};
    CHECK(opcodes(x.walked(8192)) == (std::vector<int>{0, 0, 0, 2, 2, 1}));  // too near for that
    x.horizon = {0, 0};
    x.ahead = {6144, 0};
    CHECK(opcodes(x.walked(8192)) == (std::vector<int>{0, 0, 0, 2, 2, 1}));  // there is room
}

TEST(a_load_that_fetches_anew_finds_nothing) {
    Lowered x;
    for (int i = 0; i < 4; ++i) x.tensor();
    const std::uint32_t a = x.tile(0), b = x.tile(1), c = x.tile(2, 1), d = x.tile(3, 1);
    for (const std::uint32_t target : {c, d}) {
        x.uop(Opcode::kLoad, a, 0, target);
        x.uop(Opcode::kLoad, b);
        x.uop(Opcode::kExecute, x.matmul(a, b, target, 0, true));
        x.uop(Opcode::kStore, target);
    }
    CHECK(opcodes(x.walked(8192)) == (std::vector<int>{0, 0, 2, 1, 0, 2, 1}));
    const UopProgram program = x.view();
    const auto next = next_uses(program, Copies(program));
    const std::vector<std::uint32_t> expected = {kNotAgain, 5, 3, kNotAgain, kNotAgain, kNotAgain, 7, kNotAgain};
    CHECK(next == expected);
}

TEST(an_operand_that_is_read_twice_is_given_back_once) {
    Lowered x;
    x.tensor();
    x.tensor();
    const std::uint32_t a = x.tile(0), c = x.tile(1, 1);
    x.uop(Opcode::kLoad, a);
    x.uop(Opcode::kLoad, a);
    x.uop(Opcode::kExecute, x.matmul(a, a, c, 0, true));
    x.uop(Opcode::kStore, c);
    const Walked found = x.walked(2048);
    CHECK(opcodes(found) == (std::vector<int>{0, 2, 1}));
    CHECK_EQUAL(found.matmuls[0].a_sram, found.matmuls[0].b_sram);
    CHECK_EQUAL(found.live, 0u);
}

TEST(what_leads_nowhere_is_refused) {
    const auto refused = [](auto change, const char* message) {
        Lowered x = two_products();
        change(x);
        CHECK_THROWS(x.walked(8192), ScheduleError, message);
    };
    refused([](Lowered& x) { x.uops[0].opcode = 4; }, "uOp 0 has an opcode");
    refused([](Lowered& x) { x.uops[1].core = 1; }, "uOp 1 is of a core or layer");
    refused([](Lowered& x) { x.uops[1].layer = 2; }, "uOp 1 is of a core or layer");
    refused([](Lowered& x) { x.uops[0].ref = 5; }, "uOp 0 refers beyond");
    refused([](Lowered& x) { x.uops[2].ref = 2; }, "uOp 2 refers beyond");
    refused([](Lowered& x) { x.matmuls[0].b = kNone; }, "uOp 2 has an operand");
    refused([](Lowered& x) { x.matmuls[1].c = kNone; }, "uOp 6 has an operand");
    refused([](Lowered& x) { x.matmuls[1].a = 5; }, "uOp 6 has an operand");
    refused([](Lowered& x) { x.matmuls[1].a_pieces = 0; }, "uOp 6 has an operand");
    refused([](Lowered& x) { x.pieces.push_back({0, kNone, 0, 1}); }, "has no end");
    refused([](Lowered& x) { x.tiles[0].tensor = 5; }, "a tile refers to a tensor");
    refused([](Lowered& x) { x.tiles[0].rows = 0; }, "a tile has no elements");
    refused([](Lowered& x) { x.tensors[0].storage = 5; }, "in a buffer");
    refused([](Lowered& x) { x.tensors[0].dtype = 99; }, "a type that does not exist");
    refused([](Lowered& x) { x.uops[3].ref = 4; }, "stores tile 4, which is not in SRAM");
    Lowered x = two_products();
    CHECK_THROWS(x.walked(2048), ScheduleError, "do not fit");
}
