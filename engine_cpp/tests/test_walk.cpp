// The scheduler's walk: whole walks of small programs.

#include "minisim/walk.hpp"

#include <vector>

#include "check.hpp"
#include "lowered.hpp"
#include "minisim/errors.hpp"

using namespace minisim;

namespace {

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
    const Lowered::Placed found = two_products().walked(8192);
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
    const Lowered::Placed found = two_products().walked(8192, 0, false);
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
    const Lowered::Placed found = x.walked(3072);  // a, b and one more: partial sums of c go through DRAM
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
    const Lowered::Placed found = x.walked(4096);
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
    const Lowered::Placed half = ragged(8).walked(3072), less = ragged(7).walked(3072);
    CHECK_EQUAL(half.peak[0], 3072);
    CHECK_EQUAL(half.matmuls[1].c_sram, half.matmuls[0].c_sram);  // d follows in its place
    CHECK_EQUAL(less.matmuls[0].c_sram, 2048u);
    CHECK_EQUAL(opcodes(less).size(), 8u);
    Lowered alone = ragged(7);
    alone.uops.resize(4);
    CHECK_EQUAL(alone.walked(3072).peak[0], 2048 + 448);
    alone.tiles[3].rows = 8;
    CHECK_EQUAL(alone.walked(3072).peak[0], 3072);
}

TEST(what_does_not_fit_in_whole_places_is_moved_together) {
    Lowered x = ragged(9);
    x.uops.resize(4);
    x.tiles[0].rows = 12;  // a, of which there is a whole tile, too
    x.tiles.push_back({0, 96, 0, 16, 16, 0});
    CHECK_EQUAL(scratchpad_needed(x.view(), false).bytes, 768u + 1024 + 576);
    const Lowered::Placed found = x.walked(768 + 1024 + 576);
    CHECK(opcodes(found) == (std::vector<int>{0, 0, 0, 0, 2, 1}));  // the operands are loaded again, side by side
    CHECK_EQUAL(found.matmuls[0].a_sram, 0u);
    CHECK_EQUAL(found.matmuls[0].b_sram, 768u);
    CHECK_EQUAL(found.matmuls[0].c_sram, 1792u);
    CHECK_EQUAL(found.stream[2].wait[0], 2u);  // not before those that they take the places of
    CHECK_EQUAL(found.stream[4].wait[0], 4u);
    CHECK_EQUAL(found.peak[0], 768 + 1024 + 576);
    CHECK_EQUAL(found.live, 0u);
    CHECK_THROWS(x.walked(768 + 1024 + 576 - 64), ScheduleError, "do not fit");
    const Lowered::Placed ample = x.walked(4096);
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
    const Lowered::Placed found = x.walked(4096, 1024);
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
    x.uops.resize(3);  // the first step leaves c alone
    const UopProgram begun = x.view();
    CHECK_EQUAL(scratchpad_needed(begun, true).bytes, 2048u);
    CHECK_EQUAL(scratchpad_needed(begun, false).bytes, 3072u);
}

TEST(sums_that_were_spilled_are_read_when_they_are_back) {
    Lowered x;
    for (int i = 0; i < 5; ++i) x.tensor();
    const std::uint32_t a = x.tile(0), b = x.tile(1), c = x.tile(2, 1), acc = x.tile(3, 2), d = x.tile(4, 1);
    x.sums[3] = true;
    x.uop(Opcode::kLoad, a);
    x.uop(Opcode::kLoad, b);
    x.uop(Opcode::kExecute, x.matmul(a, b, c, 0, false, acc));
    const std::uint32_t e = x.tile(0), f = x.tile(1), bias = x.tile(1);  // with d all of the memory: the sums must go
    for (const std::uint32_t operand : {e, f, bias}) x.uop(Opcode::kLoad, operand);
    x.uop(Opcode::kExecute, x.matmul(e, f, d, 0, true));
    x.matmuls.back().bias = bias;
    x.uop(Opcode::kStore, d);
    x.uop(Opcode::kLoad, a);
    x.uop(Opcode::kLoad, b);
    x.uop(Opcode::kExecute, x.matmul(a, b, c, 1, true, acc));
    x.uop(Opcode::kStore, c);
    const Lowered::Placed found = x.walked(4096);
    const StreamRow& last = found.stream[found.stream.size() - 2];
    CHECK_EQUAL(int{last.opcode}, 2);
    CHECK_EQUAL(found.transfers[found.transfers.size() - 2].tile, acc);  // before c is stored
    CHECK_EQUAL(last.wait[0], 8u);  // a and b twice, three for d, and the sums
}

TEST(a_product_of_one_step_has_no_sums_to_read) {
    Lowered x;
    for (int i = 0; i < 4; ++i) x.tensor();
    const std::uint32_t a = x.tile(0), b = x.tile(1), c = x.tile(2, 1), acc = x.tile(3, 1);
    x.sums[3] = true;
    x.uop(Opcode::kLoad, a);
    x.uop(Opcode::kLoad, b);
    x.uop(Opcode::kExecute, x.matmul(a, b, c, 0, true, acc));
    x.uop(Opcode::kStore, c);
    const Lowered::Placed found = x.walked(4096, 1024);
    CHECK(opcodes(found) == (std::vector<int>{0, 0, 2, 1}));
    CHECK_EQUAL(found.matmuls[0].acc_sram, kNone);
}

TEST(ragged_sums_take_whole_places) {
    Lowered x;
    for (int i = 0; i < 4; ++i) x.tensor();
    const std::uint32_t a = x.tile(0), b = x.tile(1), c = x.tile(2, 1), ragged = x.tile(3, 1), whole = x.tile(3, 1);
    x.sums[3] = true;
    x.tiles[ragged].rows = 2;
    for (const std::uint32_t sums : {ragged, whole}) {
        for (const std::uint32_t operand : {a, b}) x.uop(Opcode::kLoad, operand);
        x.uop(Opcode::kExecute, x.matmul(a, b, c, 0, false, sums));
    }
    CHECK_EQUAL(x.view().place_sizes()[ragged], 1024);
    x.sums[3] = false;
    CHECK_EQUAL(x.view().place_sizes()[ragged], 128);
}

TEST(sums_of_another_size_find_their_memory_in_one_piece) {
    Lowered x;
    for (int i = 0; i < 6; ++i) x.tensor();
    const std::uint32_t a = x.tile(0), b = x.tile(1);
    x.sums[3] = x.sums[5] = true;
    x.layers = 2;
    const auto products = [&](std::uint32_t result, std::uint32_t sums, std::vector<std::uint32_t> order,
                              std::uint32_t rows, std::uint32_t layer) {
        std::vector<std::uint32_t> c, acc;
        for (std::size_t i = 0; i < order.size(); ++i) {
            c.push_back(x.tile(result, 1));
            acc.push_back(x.tile(sums, 2));
            x.tiles[acc.back()].rows = rows;
        }
        for (const bool last : {false, true}) {
            for (std::uint32_t i = 0; i < order.size(); ++i) {
                const std::uint32_t which = last ? order[i] : i;
                x.uop(Opcode::kLoad, a, 0, 0, layer);
                x.uop(Opcode::kLoad, b, 0, 0, layer);
                x.uop(Opcode::kExecute, x.matmul(a, b, c[which], last, last, acc[which]), 0, 0, layer);
                if (last) x.uop(Opcode::kStore, c[which], 0, 0, layer);
            }
        }
    };
    products(2, 3, {1, 2, 0}, 16, 0);  // three places of 1,024 bytes; the one in the middle is given back first
    products(4, 5, {0, 1}, 24, 1);  // two of 1,536 in the same memory
    const Lowered::Placed found = x.walked(8192, 3072);
    CHECK_EQUAL(found.matmuls[6].acc_sram, 8192u);
    CHECK_EQUAL(found.matmuls[7].acc_sram, 8192u + 1536);
    for (const StreamRow& row : found.stream) {
        if (row.opcode == 1) CHECK_EQUAL(x.tiles[found.transfers[row.row].tile].final, 1u);  // nothing is spilled
    }
}

TEST(small_tiles_lie_at_the_other_end) {
    const auto place = [](std::uint32_t rows) {
        Lowered x = two_products();
        x.tiles[1].rows = rows;  // b
        return x.walked(8192).matmuls[0].b_sram;
    };
    CHECK_EQUAL(place(4), 8192u - 256);  // a quarter of the largest
    CHECK_EQUAL(place(5), 1024u);
}

TEST(a_place_is_taken_when_its_readers_are_done) {
    const Lowered::Placed found = two_products().walked(3072);
    CHECK(opcodes(found) == (std::vector<int>{0, 0, 2, 0, 2, 1}));
    CHECK_EQUAL(found.transfers[2].sram, 0u);  // d, where a was
    CHECK_EQUAL(found.stream[3].wait[2], 1u);
}

TEST(what_only_sram_has_is_stored_before_it_is_moved) {
    Lowered x = two_products();
    for (const std::uint32_t ragged : {0u, 1u}) {  // a and b are ragged, c fits behind them; then d does not
        x.tiles[ragged].rows = 12;
        x.tiles.push_back({ragged, 160, 0, 16, 16, 0});
    }
    x.tiles[4].rows = 10;
    x.tiles.push_back({4, 160, 0, 16, 16, 0});
    const Lowered::Placed found = x.walked(1024 + 1024 + 640);
    CHECK_EQUAL(found.live, 0u);
    std::uint32_t version = 0;
    int moves = 0;
    for (const StreamRow& row : found.stream) {
        if (row.opcode > 1 || found.transfers[row.row].tile != 2) continue;
        ++moves;
        if (row.opcode == 0) CHECK_EQUAL(found.transfers[row.row].version, version);
        if (row.opcode == 1) version = found.transfers[row.row].version;
    }
    CHECK_EQUAL(moves, 2);  // c, out and in again
    CHECK_EQUAL(version, 1u);
}

TEST(a_layer_may_come_in_stretches) {
    Lowered x;
    for (int i = 0; i < 5; ++i) x.tensor();
    x.layers = 2;
    const std::uint32_t a = x.tile(0), b = x.tile(1), large = x.tile(2, 1), c = x.tile(3, 1), d = x.tile(4, 1);
    x.tiles[large].rows = 32;
    for (const std::uint32_t target : {large, c, d}) {  // the last stretch takes less than the first
        const std::uint32_t layer = target == c;
        for (const std::uint32_t operand : {a, b}) x.uop(Opcode::kLoad, operand, 0, 0, layer);
        x.uop(Opcode::kExecute, x.matmul(a, b, target, 0, true), 0, 0, layer);
        x.uop(Opcode::kLoad, a, 0, 0, layer);
        x.uop(Opcode::kExecute, x.matmul(a, a, target, 1, true), 0, 0, layer);
        x.uop(Opcode::kStore, target, 0, 0, layer);
    }
    const Lowered::Placed found = x.walked(8192);
    CHECK_EQUAL(found.peak[0], 4096);
    CHECK_EQUAL(found.peak[1], 3072);
    CHECK_EQUAL(found.eliminated[0], 4);  // 1 of the first stretch, 3 of the second
    CHECK_EQUAL(found.eliminated[1], 3);
}

TEST(a_layer_begins_with_what_the_fullest_core_has) {
    Lowered x;
    for (int i = 0; i < 4; ++i) x.tensor();
    x.cores = x.layers = 2;
    const std::uint32_t a = x.tile(0), b = x.tile(1), c = x.tile(2), d = x.tile(3, 1), e = x.tile(3, 1);
    const auto product = [&](std::uint16_t core, std::uint32_t layer, std::vector<std::uint32_t> of, std::uint32_t to) {
        for (const std::uint32_t operand : of) x.uop(Opcode::kLoad, operand, core, 0, layer);
        x.uop(Opcode::kExecute, x.matmul(of.front(), of.back(), to, 0, true), core, 0, layer);
        if (of.size() == 3) x.matmuls.back().bias = of[1];
        x.uop(Opcode::kStore, to, core, 0, layer);
    };
    product(0, 0, {a, b, c}, d);  // used again: core 0 keeps all three
    product(1, 0, {a}, e);
    product(1, 1, {b}, e);
    product(0, 0, {a, b, c}, x.tile(3, 1));
    const Lowered::Placed found = x.walked(8192);
    CHECK_EQUAL(found.peak[0], 4096);
    CHECK_EQUAL(found.peak[1], 3072);  // core 1 has 2,048
}

TEST(another_core_waits_for_the_store) {
    Lowered x = two_products();
    x.cores = 2;
    for (UopRow& uop : x.uops) uop.core = static_cast<std::uint16_t>(uop.layer);
    const Lowered::Placed found = x.walked(8192);
    CHECK(opcodes(found) == (std::vector<int>{0, 0, 2, 1, 0, 0, 2, 1}));
    CHECK_EQUAL(found.syncs.size(), 1u);
    CHECK_EQUAL(found.stream[4].sync, 0u);
    CHECK_EQUAL(found.stream[5].sync, kNone);
    CHECK_EQUAL(found.syncs[0].core, 0u);
    CHECK_EQUAL(found.syncs[0].count, 1u);
    CHECK_EQUAL(int{found.syncs[0].queue}, 1);
    CHECK_EQUAL(found.stream[7].wait[2], 1u);  // counts are a core's own
}

TEST(a_load_names_each_store_once_and_all_that_it_needs) {
    Lowered x;
    for (int i = 0; i < 6; ++i) x.tensor();
    x.tensors[4].storage = 2;  // another view of what cores 0 and 1 store in two tiles each
    x.cores = 3;
    const std::uint32_t a = x.tile(0), b = x.tile(1), view = x.tile(4), e = x.tile(5, 1);
    for (const std::uint16_t core : {0, 1, 0, 1}) {
        const std::uint32_t c = x.tile(2, 1);
        x.uop(Opcode::kLoad, a, core);
        x.uop(Opcode::kLoad, b, core);
        x.uop(Opcode::kExecute, x.matmul(a, b, c, 0, true), core);
        x.uop(Opcode::kStore, c, core);
    }
    for (const std::uint32_t fetch : {1u, 2u}) {  // it does not stay: two loads
        x.uop(Opcode::kLoad, view, 2, fetch);
        x.uop(Opcode::kExecute, x.matmul(view, view, e, 0, true), 2);
        x.uop(Opcode::kStore, e, 2);
    }
    const Lowered::Placed found = x.walked(8192);
    CHECK_EQUAL(found.syncs.size(), 2u);
    for (std::uint32_t i = 0; i < 2; ++i) {
        CHECK_EQUAL(found.syncs[i].core, i);
        CHECK_EQUAL(found.syncs[i].count, 2u);  // the last store of each
        CHECK_EQUAL(int{found.syncs[i].more}, int{i == 0});
    }
    std::vector<std::uint32_t> named;
    for (const StreamRow& row : found.stream) {
        if (row.core == 2 && row.opcode == 0) named.push_back(row.sync);
    }
    CHECK(named == (std::vector<std::uint32_t>{0, kNone}));
}

TEST(what_is_stored_is_not_stored_again) {
    Lowered x;
    for (int i = 0; i < 6; ++i) x.tensor();
    const std::uint32_t a = x.tile(0), b = x.tile(1), c = x.tile(2, 1), d = x.tile(3), e = x.tile(4), f = x.tile(5, 1);
    x.uop(Opcode::kLoad, a);
    x.uop(Opcode::kLoad, b);
    x.uop(Opcode::kExecute, x.matmul(a, b, c, 0, true));
    x.uop(Opcode::kStore, c);  // it may not stay alone in SRAM, but is used again
    x.uop(Opcode::kLoad, d);
    x.uop(Opcode::kLoad, e);
    x.uop(Opcode::kExecute, x.matmul(d, e, f, 0, true));
    x.uop(Opcode::kStore, f);
    x.uop(Opcode::kLoad, c);
    x.uop(Opcode::kExecute, x.matmul(c, c, f, 0, true));
    x.uop(Opcode::kStore, f);
    CHECK(opcodes(x.walked(8192)) == (std::vector<int>{0, 0, 2, 1, 0, 0, 2, 1, 2, 1}));
    CHECK(opcodes(x.walked(3072)) == (std::vector<int>{0, 0, 2, 1, 0, 0, 2, 1, 0, 2, 1}));
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
    Lowered y;  // only a LOAD fetches: one before a STORE of its tile finds it there
    y.tensor();
    y.uop(Opcode::kLoad, y.tile(0), 0, 1);
    y.uop(Opcode::kStore, 0);
    const UopProgram kept = y.view();
    CHECK(next_uses(kept, Copies(kept)) == (std::vector<std::uint32_t>{1, kNotAgain}));
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
    const Lowered::Placed found = x.walked(2048);
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
