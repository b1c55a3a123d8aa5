// Accesses at the wrong time or in the wrong order: who, whom, when, where.

#include "two_steps.hpp"

using namespace minisim;

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
    CHECK_HAZARD(bench.drive.start(4),
            "write-after-read hazard at cycle 7: LOAD (op 4) writes SRAM [0x0, 0x100), "
            "which EXECUTE (op 2), still in flight, reads", 4, 2, 7);
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
    CHECK_HAZARD(bench.drive.start(1),
            "write-after-write hazard at cycle 1: LOAD (op 1) writes SRAM [0x40, 0x140), "
            "which LOAD (op 0), still in flight, writes", 1, 0, 1);
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
    CHECK_HAZARD(bench.drive.start(4),
            "read-after-write hazard at cycle 7: STORE (op 4) reads SRAM [0x800, 0x900), "
            "which EXECUTE (op 3), still in flight, writes", 4, 3, 7);
}

TEST(a_long_chain_in_flight) {
    TwoSteps p;
    p.tiles[p.c].final = 4;
    p.load(p.x0, kA);
    p.load(p.w0, kB);
    for (std::uint32_t step = 0; step < 4; ++step) p.execute(p.x0, kA, p.w0, kB, p.c, kC, step);
    p.store(p.c, kC, 4);
    Bench bench(p);
    bench.drive.both({0, 1});
    for (const std::uint32_t op : {2, 3, 4, 5}) bench.drive.start(op);
    for (const std::uint32_t op : {2, 3, 4, 5}) bench.drive.retire(op);
    bench.drive.both({6});
    for (const float value : get(bench.engine, p.y)) CHECK_EQUAL(value, 64.0f);
}

// What is still being loaded is not a step of the pipeline, even if it is the right partial sum.
TEST(accumulator_still_being_reloaded) {
    TwoSteps p;
    p.load(p.x0, kA);
    p.load(p.w0, kB);
    p.execute(p.x0, kA, p.w0, kB, p.c, kC, 0);
    p.store(p.c, kC, 1);
    p.load(p.c, kFree, 1);
    p.execute(p.x0, kA, p.w0, kB, p.c, kFree, 1);
    Bench bench(p);
    bench.drive.both({0, 1, 2, 3});
    bench.drive.start(4);
    CHECK_HAZARD(bench.drive.start(5),
            "read-after-write hazard at cycle 9: EXECUTE (op 5) reads SRAM [0xc00, "
            "0xd00), which LOAD (op 4), still in flight, writes", 5, 4, 9);
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
    CHECK_HAZARD(bench.drive.start(3),
            "write-after-write hazard at cycle 5: EXECUTE (op 3) writes SRAM [0x800, "
            "0x900), which EXECUTE (op 2), still in flight, writes", 3, 2, 5);
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

// Its own read is no obstacle to an operation in place, but that of another one is.
TEST(vector_operation_in_place_with_others_in_flight) {
    TwoSteps p;
    p.tiles[p.c].final = 1;
    const std::uint32_t d = p.tile(p.y, 0, 0, 8, 8, 1);
    p.load(p.x0, kA);
    p.load(p.x1, kB);
    p.vector(VectorOp::kRelu, d, kFree, p.x0, kA);
    p.vector(VectorOp::kRelu, p.c, kB, p.x1, kB);
    p.vector(VectorOp::kRelu, d, kA, p.x0, kA);
    Bench bench(p);
    bench.drive.both({0, 1});
    bench.drive.start(2);
    bench.drive.start(3);
    CHECK_HAZARD(bench.drive.start(4), "write-after-read hazard", 4, 2, 6);
}

TEST(reset_forgets_all_accesses) {
    TwoSteps p;
    p.tiles[p.c].final = 1;
    p.load(p.x0, kA);
    p.vector(VectorOp::kRelu, p.c, kC, p.x0, kA);
    p.store(p.c, kC, 1);
    p.load(p.c, kB, 1);
    Bench bench(p);
    bench.engine.run();
    bench.engine.reset();
    for (const float value : get(bench.engine, p.y)) CHECK(value != value);
    bench.engine.run();
    CHECK(bench.engine.finished());
    bench.engine.reset();
    bench.drive.both({0, 1});
    CHECK_THROWS(bench.drive.start(3), Hazard,
            "never written hazard at cycle 4: LOAD (op 3) reads DRAM tensor 2 [0:8, 0:8] "
            "that nothing wrote, for version 1 of tensor 2 [0:8, 0:8]");
}

TEST(after_a_hazard_only_reset_helps) {
    TwoSteps p;
    p.load(p.x0, kA);
    p.load(p.x1, kA);
    Bench bench(p);
    bench.drive.start(0);
    CHECK_THROWS(bench.drive.start(1), Hazard,
            "write-after-write hazard at cycle 1: LOAD (op 1) writes SRAM [0x0, 0x100), "
            "which LOAD (op 0), still in flight, writes");
    CHECK_THROWS(bench.drive.retire(0), ScheduleError,
            "the engine stopped and needs reset(); it stopped because: write-after-write "
            "hazard at cycle 1: LOAD (op 1) writes SRAM [0x0, 0x100), which LOAD (op 0), "
            "still in flight, writes");
    CHECK_THROWS(bench.engine.run(), ScheduleError,
            "the engine stopped and needs reset(); it stopped because: write-after-write "
            "hazard at cycle 1: LOAD (op 1) writes SRAM [0x0, 0x100), which LOAD (op 0), "
            "still in flight, writes");
    bench.engine.reset();
    bench.engine.run();
    CHECK(bench.engine.finished());
}

TEST(unchecked_engines_do_not_look) {
    TwoSteps p;
    p.load(p.x0, kA);
    p.load(p.x1, kA);
    Engine engine({4096, "reference", false});
    engine.load(p.schedule());
    Driver drive{engine};
    drive.start(0);
    drive.start(1);
    drive.retire(0);
    drive.retire(1);
    CHECK(engine.finished());
}

TEST(an_output_that_the_user_has_given_is_complete) {
    TwoSteps p;
    p.tensors[p.y].role = static_cast<std::uint8_t>(Role::kOutput);
    p.load(p.x0, kA);
    Bench bench(p);
    const std::vector<float> given(get(bench.engine, p.y).size(), 7.0f);
    set(bench.engine, p.y, given);
    bench.drive.both({0});
    bench.engine.finish(9);
    CHECK(get(bench.engine, p.y) == given);
}
