// Reads that find nothing, or something else; and what DRAM remembers.

#include "two_steps.hpp"

using namespace minisim;

TEST(sram_never_written) {
    TwoSteps p;
    p.load(p.x0, kA);
    p.execute(p.x0, kA, p.w0, kB, p.c, kC);
    Bench bench(p);
    bench.drive.both({0});
    CHECK_HAZARD(bench.drive.start(1),
            "never written hazard at cycle 2: EXECUTE (op 1) reads SRAM [0x400, 0x500) "
            "that nothing wrote, for version 0 of tensor 1 [0:8, 0:8]", 1, -1, 2);
}

TEST(sram_partly_written) {
    TwoSteps p;
    p.tiles[p.c].final = 1;
    const std::uint32_t half = p.tile(p.x, 0, 0, 4, 8);
    p.load(half, kA);
    p.vector(VectorOp::kRelu, p.c, kC, p.x0, kA);
    Bench bench(p);
    bench.drive.both({0});
    CHECK_HAZARD(bench.drive.start(1),
            "wrong content hazard at cycle 2: VECTOR (op 1) reads SRAM [0x0, 0x100) for "
            "version 0 of tensor 0 [0:8, 0:8], but LOAD (op 0) put version 0 of tensor 0 "
            "[0:4, 0:8] there", 1, 0, 2);
}

TEST(wrong_tile_in_sram) {
    TwoSteps p;
    p.load(p.x1, kA);
    p.load(p.w0, kB);
    p.execute(p.x0, kA, p.w0, kB, p.c, kC);
    Bench bench(p);
    bench.drive.both({0, 1});
    CHECK_HAZARD(bench.drive.start(2),
                 "wrong content hazard at cycle 4: EXECUTE (op 2) reads SRAM [0x0, 0x100) for "
                 "version 0 of tensor 0 [0:8, 0:8], but LOAD (op 0) put version 0 of "
                 "tensor 0 [0:8, 8:16] there",
                 2, 0, 4);
}

// All granules hold the right tile, but from two writes: it does not lie there in one piece.
TEST(shifted_copy_of_the_right_tile) {
    TwoSteps p;
    p.tiles[p.c].final = 1;
    p.load(p.x0, kA);
    p.load(p.x0, kA + 0x40);
    p.vector(VectorOp::kRelu, p.c, kC, p.x0, kA);
    Bench bench(p);
    bench.drive.both({0, 1});
    CHECK_HAZARD(bench.drive.start(2), "wrong content", 2, 1, 4);
}

TEST(accumulator_step_missing) {
    TwoSteps p;
    p.tiles[p.c].final = 3;
    p.load(p.x0, kA);
    p.load(p.w0, kB);
    p.execute(p.x0, kA, p.w0, kB, p.c, kC, 0);
    p.execute(p.x0, kA, p.w0, kB, p.c, kC, 2);
    Bench bench(p);
    bench.drive.both({0, 1, 2});
    CHECK_HAZARD(bench.drive.start(3), "wrong content", 3, 2, 6);
}

TEST(accumulator_missing_step_in_flight) {
    TwoSteps p;
    p.tiles[p.c].final = 3;
    p.load(p.x0, kA);
    p.load(p.w0, kB);
    p.execute(p.x0, kA, p.w0, kB, p.c, kC, 0);
    p.execute(p.x0, kA, p.w0, kB, p.c, kC, 2);
    Bench bench(p);
    bench.drive.both({0, 1});
    bench.drive.start(2);
    CHECK_HAZARD(bench.drive.start(3),
            "read-after-write hazard at cycle 5: EXECUTE (op 3) reads SRAM [0x800, "
            "0x900), which EXECUTE (op 2), still in flight, writes", 3, 2, 5);
}

TEST(partial_sum_spilled_and_reloaded) {
    TwoSteps p;
    p.load(p.x0, kA);
    p.load(p.w0, kB);
    p.execute(p.x0, kA, p.w0, kB, p.c, kC, 0);
    p.store(p.c, kC, 1);
    p.load(p.c, kFree, 1);
    p.execute(p.x0, kA, p.w0, kB, p.c, kFree, 1);
    p.store(p.c, kFree, 2);
    Bench bench(p);
    bench.engine.run();
    CHECK(bench.engine.finished());
    for (const float value : get(bench.engine, p.y)) CHECK_EQUAL(value, 32.0f);
}

TEST(partial_sum_taken_for_final) {
    TwoSteps p;
    p.load(p.x0, kA);
    p.load(p.w0, kB);
    p.execute(p.x0, kA, p.w0, kB, p.c, kC, 0);
    p.store(p.c, kC, 1);
    p.load(p.c, kFree, 2);
    Bench bench(p);
    bench.drive.both({0, 1, 2, 3});
    CHECK_HAZARD(bench.drive.start(4),
            "wrong content hazard at cycle 8: LOAD (op 4) reads DRAM tensor 2 [0:8, 0:8] "
            "for version 2 of tensor 2 [0:8, 0:8], but STORE (op 3) put version 1 of "
            "tensor 2 [0:8, 0:8] there",
                 4, 3, 8);
}

TEST(user_data_taken_for_a_partial_sum) {
    TwoSteps p;
    p.load(p.c, kA, 1);
    Bench bench(p);
    set(bench.engine, p.y, std::vector<float>(64));
    CHECK_HAZARD(bench.drive.start(0),
            "wrong content hazard at cycle 0: LOAD (op 0) reads DRAM tensor 2 [0:8, 0:8] "
            "for version 1 of tensor 2 [0:8, 0:8], but what the user supplied lies there", 0, -1, 0);
}

TEST(store_before_the_last_step) {
    TwoSteps p;
    p.load(p.x0, kA);
    p.load(p.w0, kB);
    p.execute(p.x0, kA, p.w0, kB, p.c, kC, 0);
    p.store(p.c, kC, 2);
    Bench bench(p);
    bench.drive.both({0, 1, 2});
    CHECK_HAZARD(bench.drive.start(3), "wrong content", 3, 2, 6);
}

TEST(read_after_write_in_dram) {
    TwoSteps p;
    p.tiles[p.c].final = 1;
    p.load(p.x0, kA);
    p.vector(VectorOp::kRelu, p.c, kC, p.x0, kA);
    p.store(p.c, kC, 1);
    p.load(p.c, kB, 1);
    Bench bench(p);
    bench.drive.both({0, 1});
    bench.drive.start(2);
    CHECK_HAZARD(bench.drive.start(3),
                 "read-after-write hazard at cycle 5: LOAD (op 3) reads DRAM tensor 2 [0:8, 0:8], "
                 "which STORE (op 2), still in flight, writes",
                 3, 2, 5);
}

TEST(dram_never_written) {
    TwoSteps p;
    p.load(p.c, kA, 2);
    Bench bench(p);
    CHECK_HAZARD(bench.drive.start(0),
            "never written hazard at cycle 0: LOAD (op 0) reads DRAM tensor 2 [0:8, 0:8] "
            "that nothing wrote, for version 2 of tensor 2 [0:8, 0:8]", 0, -1, 0);
}

TEST(input_never_set) {
    TwoSteps p;
    p.load(p.x0, kA);
    Engine engine({4096, "reference", true});
    engine.load(p.schedule());
    Driver drive{engine};
    CHECK_HAZARD(drive.start(0),
            "never written hazard at cycle 0: LOAD (op 0) reads DRAM tensor 0 [0:8, 0:8] "
            "that nothing wrote, for version 0 of tensor 0 [0:8, 0:8]", 0, -1, 0);
}

TEST(write_after_read_in_dram) {
    TwoSteps p;
    p.tiles[p.c].final = 1;
    const std::uint32_t d = p.tile(p.y, 0, 0, 8, 8, 1);
    p.load(p.x0, kA);
    p.vector(VectorOp::kRelu, p.c, kC, p.x0, kA);
    p.store(p.c, kC, 1);
    p.vector(VectorOp::kRelu, d, kFree, p.x0, kA);
    p.load(p.c, kB, 1);
    p.store(d, kFree, 1);
    Bench bench(p);
    bench.drive.both({0, 1, 2, 3});
    bench.drive.start(4);
    CHECK_HAZARD(bench.drive.start(5),
            "write-after-read hazard at cycle 9: STORE (op 5) writes DRAM tensor 2 [0:8, "
            "0:8], which LOAD (op 4), still in flight, reads", 5, 4, 9);
}

// The same bytes through two shapes: (8, 8) and, flat, (1, 64).
TEST(views_share_hazards_and_content) {
    TwoSteps p;
    const std::uint32_t square = p.tensor(8, 8, Role::kIntermediate, 32, 7);
    const std::uint32_t flat = p.tensor(1, 64, Role::kIntermediate, 256, 7);
    const std::uint32_t whole = p.tile(square, 0, 0, 8, 8, 1);
    const std::uint32_t part = p.tile(flat, 0, 20, 1, 10);
    p.load(p.x0, kA);
    p.vector(VectorOp::kRelu, whole, kC, p.x0, kA);
    p.store(whole, kC, 1);
    p.load(part, kB);
    {
        Bench bench(p);
        bench.engine.run();
        CHECK(bench.engine.finished());
    }
    Bench bench(p);
    bench.drive.both({0, 1});
    bench.drive.start(2);
    CHECK_HAZARD(bench.drive.start(3),
            "read-after-write hazard at cycle 5: LOAD (op 3) reads DRAM tensor 4 [0:1, "
            "20:30], which STORE (op 2), still in flight, writes", 3, 2, 5);
}

// Stores beside each other in one row are no conflict, whatever lies in the padding.
TEST(neighbouring_tiles_in_dram) {
    TwoSteps p;
    const std::uint32_t wide = p.tensor(4, 10, Role::kIntermediate);
    const std::uint32_t left = p.tile(wide, 0, 0, 4, 6, 1);
    const std::uint32_t right = p.tile(wide, 0, 6, 4, 4, 1);
    const std::uint32_t in0 = p.tile(p.x, 0, 0, 4, 6), in1 = p.tile(p.x, 0, 6, 4, 4);
    p.load(in0, kA);
    p.load(in1, kB);
    p.vector(VectorOp::kRelu, left, kC, in0, kA);
    p.vector(VectorOp::kRelu, right, kFree, in1, kB);
    p.store(left, kC, 1);
    p.store(right, kFree, 1);
    Bench bench(p);
    bench.drive.both({0, 1, 2, 3});
    bench.drive.start(4);
    bench.drive.start(5);
    bench.drive.retire(4);
    bench.drive.retire(5);
    for (const float value : get(bench.engine, wide)) CHECK_EQUAL(value, 1.0f);
}

// -- the end of a program -------------------------------------------------------------------------

namespace {

// y = x w as an output: all of it is stored, or not.
struct Output : TwoSteps {
    Output() {
        tensors[y].role = static_cast<std::uint8_t>(Role::kOutput);
        load(x0, kA);
        load(w0, kB);
        execute(x0, kA, w0, kB, c, kC);
        load(x1, kA);
        load(w1, kB);
        execute(x1, kA, w1, kB, c, kC, 1);
    }
};

}  // namespace

TEST(a_complete_output_is_fine) {
    Output p;
    p.store(p.c, kC, 2);
    Bench bench(p);
    bench.engine.run();
    CHECK(bench.engine.finished());
}

TEST(an_output_that_was_not_stored) {
    Output p;
    Bench bench(p);
    CHECK_HAZARD(bench.engine.run(),
            "unfinished output hazard at cycle 6: the program is done, but row 0 of "
            "tensor 2 was not stored completely", -1, -1, 6);
}

TEST(an_output_stored_in_part) {
    Output p;
    p.tensors[p.y].rows = 9;
    p.store(p.c, kC, 2);
    Bench bench(p);
    CHECK_HAZARD(bench.engine.run(),
            "unfinished output hazard at cycle 7: the program is done, but row 8 of "
            "tensor 2 was not stored completely", -1, -1, 7);
}

TEST(an_output_stored_too_early) {
    TwoSteps p;
    p.tensors[p.y].role = static_cast<std::uint8_t>(Role::kOutput);
    p.load(p.x0, kA);
    p.load(p.w0, kB);
    p.execute(p.x0, kA, p.w0, kB, p.c, kC);
    p.store(p.c, kC, 1);
    Bench bench(p);
    CHECK_HAZARD(bench.engine.run(),
            "unfinished output hazard at cycle 4: the program is done, but row 0 of "
            "tensor 2 holds a partial sum, from STORE (op 3)", -1, 3, 4);
}

TEST(the_end_comes_after_the_last_event) {
    Output p;
    p.store(p.c, kC, 2);
    Bench bench(p);
    bench.drive.both({0, 1});
    CHECK_THROWS(bench.engine.finish(2), ScheduleError,
            "the events ended, but 2 of 7 operations have retired");
}
