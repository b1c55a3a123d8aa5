// Every kind of hazard, with exact attribution: who, whom, when, where.

#include "builder.hpp"
#include "check.hpp"
#include "minisim/errors.hpp"

using namespace minisim;

namespace {

constexpr std::uint32_t kA = 0x0, kB = 0x400, kC = 0x800, kFree = 0xC00;

// x (8, 16) and w (16, 8) are given; y = x w takes two steps of k = 8. Tiles of 8 x 8: 256 bytes.
struct TwoSteps : Builder {
    std::uint32_t x = tensor(8, 16, Role::kInput);
    std::uint32_t w = tensor(16, 8, Role::kWeight);
    std::uint32_t y = tensor(8, 8, Role::kOutput);
    std::uint32_t x0 = tile(x, 0, 0, 8, 8), x1 = tile(x, 0, 8, 8, 8);
    std::uint32_t w0 = tile(w, 0, 0, 8, 8), w1 = tile(w, 8, 0, 8, 8);
    std::uint32_t c = tile(y, 0, 0, 8, 8, 2);

    void supply(Engine& engine) const {
        set(engine, x, std::vector<float>(8 * 16, 1.0f));
        set(engine, w, std::vector<float>(16 * 8, 2.0f));
    }
};

// An engine with the program loaded and its inputs set.
struct Bench {
    explicit Bench(const TwoSteps& program) : engine({4096, "reference", true}) {
        engine.load(program.program());
        program.supply(engine);
    }
    Engine engine;
    Driver drive{engine};
};

#define CHECK_HAZARD(statement, text, the_op, the_other, the_cycle)      \
    CHECK_THROWS_AND(statement, Hazard, text, {                          \
        CHECK_EQUAL(error.op, std::int64_t{the_op});                     \
        CHECK_EQUAL(error.other, std::int64_t{the_other});               \
        CHECK_EQUAL(error.cycle, std::int64_t{the_cycle});               \
    })

}  // namespace

TEST(a_right_order_passes_and_computes) {
    TwoSteps p;
    p.load(p.x0, kA);
    p.load(p.w0, kB);
    p.execute(p.x0, kA, p.w0, kB, p.c, kC, 0);
    p.load(p.x1, kA);
    p.load(p.w1, kB);
    p.execute(p.x1, kA, p.w1, kB, p.c, kC, 1);
    p.store(p.c, kC, 2);
    Bench bench(p);
    bench.drive.both({0, 1, 2, 3, 4, 5, 6});
    CHECK(bench.engine.finished());
    for (const float value : get(bench.engine, p.y)) CHECK_EQUAL(value, 32.0f);
}

TEST(read_after_write_in_sram) {
    TwoSteps p;
    p.load(p.x0, kA);
    p.load(p.w0, kB);
    p.execute(p.x0, kA, p.w0, kB, p.c, kC);
    Bench bench(p);
    bench.drive.start(0);
    bench.drive.start(1);
    bench.drive.retire(0);
    CHECK_HAZARD(bench.drive.start(2),
                 "read-after-write hazard at cycle 3: EXECUTE (op 2) reads SRAM [0x400, 0x500), "
                 "which LOAD (op 1), still in flight, writes",
                 2, 1, 3);
}

TEST(write_after_read_in_sram) {
    TwoSteps p;
    p.load(p.x0, kA);
    p.load(p.w0, kB);
    p.execute(p.x0, kA, p.w0, kB, p.c, kC);
    p.load(p.x1, kA);
    Bench bench(p);
    bench.drive.both({0, 1});
    bench.drive.start(2);
    CHECK_HAZARD(bench.drive.start(3),
                 "write-after-read hazard at cycle 5: LOAD (op 3) writes SRAM [0x0, 0x100), "
                 "which EXECUTE (op 2), still in flight, reads",
                 3, 2, 5);
}

// A younger reader of another queue that has retired must not hide an older one in flight.
TEST(write_after_read_with_two_readers) {
    TwoSteps p;
    p.tiles[p.c].final = 1;
    const std::uint32_t d = p.tile(p.y, 0, 0, 8, 8, 1);
    p.load(p.x0, kA);
    p.load(p.w0, kB);
    p.execute(p.x0, kA, p.w0, kB, p.c, kC);
    p.vector(VectorOp::kRelu, d, kFree, p.x0, kA);
    p.load(p.x1, kA);
    Bench bench(p);
    bench.drive.both({0, 1});
    bench.drive.start(2);
    bench.drive.both({3});
    CHECK_HAZARD(bench.drive.start(4), "write-after-read hazard", 4, 2, 7);
}

TEST(write_after_write_in_sram) {
    TwoSteps p;
    p.tiles[p.c].final = 1;
    p.load(p.x0, kA);
    p.vector(VectorOp::kRelu, p.c, kC, p.x0, kA);
    p.load(p.w0, kC);
    Bench bench(p);
    bench.drive.both({0});
    bench.drive.start(1);
    CHECK_HAZARD(bench.drive.start(2),
                 "write-after-write hazard at cycle 3: LOAD (op 2) writes SRAM [0x800, 0x900), "
                 "which VECTOR (op 1), still in flight, writes",
                 2, 1, 3);
}

TEST(two_loads_to_one_place_in_flight) {
    TwoSteps p;
    p.load(p.x0, kA);
    p.load(p.x1, kA + 0x40);  // shares three of its four granules
    Bench bench(p);
    bench.drive.start(0);
    CHECK_HAZARD(bench.drive.start(1), "write-after-write hazard", 1, 0, 1);
}

TEST(neighbours_do_not_conflict) {
    TwoSteps p;
    p.load(p.x0, kA);
    p.load(p.x1, kA + 0x100);
    Bench bench(p);
    bench.drive.start(0);
    bench.drive.start(1);
    bench.drive.retire(0);
    bench.drive.retire(1);
    CHECK(bench.engine.finished());
}

TEST(out_of_program_order_write) {
    TwoSteps p;
    p.tiles[p.c].final = 1;
    p.load(p.x0, kA);
    p.vector(VectorOp::kRelu, p.c, kC, p.x0, kA);
    p.load(p.w0, kC);
    Bench bench(p);
    bench.drive.both({0, 2});  // the load overtakes the vector operation
    CHECK_HAZARD(bench.drive.start(1),
                 "out of program order, write-after-write hazard at cycle 4: VECTOR (op 1) writes "
                 "SRAM [0x800, 0x900), which LOAD (op 2), later in the program, already writes",
                 1, 2, 4);
}

TEST(out_of_program_order_read) {
    TwoSteps p;
    p.tiles[p.c].final = 1;
    p.load(p.x0, kA);
    p.vector(VectorOp::kRelu, p.c, kC, p.x0, kA);
    p.load(p.x0, kA);  // the same content: the numbers would come out right
    Bench bench(p);
    bench.drive.both({0, 2});
    CHECK_HAZARD(bench.drive.start(1),
                 "out of program order, write-after-read hazard at cycle 4: VECTOR (op 1) reads "
                 "SRAM [0x0, 0x100), which LOAD (op 2), later in the program, already writes",
                 1, 2, 4);
}

TEST(out_of_program_order_write_after_a_later_reader) {
    TwoSteps p;
    p.tiles[p.c].final = 1;
    const std::uint32_t d = p.tile(p.y, 0, 0, 8, 8, 1);
    p.load(p.x0, kA);
    p.vector(VectorOp::kRelu, d, kC, p.x0, kA);
    p.load(p.x0, kA);
    p.execute(p.x0, kA, p.x0, kA, p.c, kFree);  // meant to read what op 2 writes
    Bench bench(p);
    bench.drive.both({0, 1, 3});
    CHECK_HAZARD(bench.drive.start(2),
                 "out of program order, read-after-write hazard at cycle 6: LOAD (op 2) writes "
                 "SRAM [0x0, 0x100), which EXECUTE (op 3), later in the program, already reads",
                 2, 3, 6);
}

TEST(sram_never_written) {
    TwoSteps p;
    p.load(p.x0, kA);
    p.execute(p.x0, kA, p.w0, kB, p.c, kC);
    Bench bench(p);
    bench.drive.both({0});
    CHECK_HAZARD(bench.drive.start(1),
                 "EXECUTE (op 1) reads SRAM [0x400, 0x500) that nothing wrote", 1, -1, 2);
}

TEST(sram_partly_written) {
    TwoSteps p;
    p.tiles[p.c].final = 1;
    const std::uint32_t half = p.tile(p.x, 0, 0, 4, 8);
    p.load(half, kA);
    p.vector(VectorOp::kRelu, p.c, kC, p.x0, kA);
    Bench bench(p);
    bench.drive.both({0});
    CHECK_HAZARD(bench.drive.start(1), "wrong content", 1, 0, 2);
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

TEST(accumulator_steps_may_be_in_flight_together) {
    TwoSteps p;
    p.load(p.x0, kA);
    p.load(p.w0, kB);
    p.execute(p.x0, kA, p.w0, kB, p.c, kC, 0);
    p.execute(p.x0, kA, p.w0, kB, p.c, kC, 1);
    p.store(p.c, kC, 2);
    Bench bench(p);
    bench.drive.both({0, 1});
    bench.drive.start(2);
    bench.drive.start(3);
    bench.drive.retire(2);
    CHECK_HAZARD(bench.drive.start(4), "read-after-write hazard", 4, 3, 7);
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
    CHECK_HAZARD(bench.drive.start(3), "read-after-write hazard", 3, 2, 5);
}

// Clearing the accumulator is not accumulating: it must wait for the steps before.
TEST(accumulator_cleared_while_in_flight) {
    TwoSteps p;
    p.load(p.x0, kA);
    p.load(p.w0, kB);
    p.execute(p.x0, kA, p.w0, kB, p.c, kC, 0);
    p.execute(p.x0, kA, p.w0, kB, p.c, kC, 0);
    Bench bench(p);
    bench.drive.both({0, 1});
    bench.drive.start(2);
    CHECK_HAZARD(bench.drive.start(3), "write-after-write hazard", 3, 2, 5);
}

TEST(accumulator_read_by_a_store_in_flight) {
    TwoSteps p;
    p.load(p.x0, kA);
    p.load(p.w0, kB);
    p.execute(p.x0, kA, p.w0, kB, p.c, kC, 0);
    p.store(p.c, kC, 1);  // a spilled partial sum
    p.execute(p.x0, kA, p.w0, kB, p.c, kC, 1);
    Bench bench(p);
    bench.drive.both({0, 1, 2});
    bench.drive.start(3);
    CHECK_HAZARD(bench.drive.start(4), "write-after-read hazard", 4, 3, 7);
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
                 "wrong content hazard at cycle 8: LOAD (op 4) reads DRAM tensor 2 [0:8, 0:8] for "
                 "version 2 of tensor 2 [0:8, 0:8], but STORE (op 3) put version 1",
                 4, 3, 8);
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
                 "LOAD (op 0) reads DRAM tensor 2 [0:8, 0:8] that nothing wrote", 0, -1, 0);
}

TEST(input_never_set) {
    TwoSteps p;
    p.load(p.x0, kA);
    Engine engine({4096, "reference", true});
    engine.load(p.program());
    Driver drive{engine};
    CHECK_HAZARD(drive.start(0), "that nothing wrote", 0, -1, 0);
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
    CHECK_HAZARD(bench.drive.start(5), "write-after-read hazard", 5, 4, 9);
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
    CHECK_HAZARD(bench.drive.start(3), "read-after-write hazard", 3, 2, 5);
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

TEST(vector_operation_in_place) {
    TwoSteps p;
    p.tiles[p.c].final = 1;
    p.load(p.x0, kA);
    p.vector(VectorOp::kAdd, p.c, kA, p.x0, kA, p.x0, kA);
    p.store(p.c, kA, 1);
    Bench bench(p);
    bench.engine.run();
    for (const float value : get(bench.engine, p.y)) CHECK_EQUAL(value, 2.0f);
}

TEST(after_a_hazard_only_reset_helps) {
    TwoSteps p;
    p.load(p.x0, kA);
    p.load(p.x1, kA);
    Bench bench(p);
    bench.drive.start(0);
    CHECK_THROWS(bench.drive.start(1), Hazard, "write-after-write");
    CHECK_THROWS(bench.drive.retire(0), ScheduleError, "needs reset()");
    CHECK_THROWS(bench.engine.run(), ScheduleError, "write-after-write");
    bench.engine.reset();
    bench.engine.run();
    CHECK(bench.engine.finished());
}

TEST(unchecked_engines_do_not_look) {
    TwoSteps p;
    p.load(p.x0, kA);
    p.load(p.x1, kA);
    Engine engine({4096, "reference", false});
    engine.load(p.program());
    Driver drive{engine};
    drive.start(0);
    drive.start(1);
    drive.retire(0);
    drive.retire(1);
    CHECK(engine.finished());
}
