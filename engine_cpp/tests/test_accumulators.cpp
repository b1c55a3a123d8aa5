// Sums that live in acc: what the steps read and write, in both memories, and what is refused.

#include <functional>
#include <limits>

#include "two_steps.hpp"

using namespace minisim;

namespace {

constexpr std::uint32_t kAcc = 0x1000;  // the first address behind the SRAM of 4 KiB
constexpr std::uint32_t kAccBytes = 0x400;

// TwoSteps in another type: y = x w in two steps of k = 8 through `acc`.
struct Through : Builder {
    explicit Through(DType dtype, DType result, DType sums)
        : x(typed(8, 16, Role::kInput, dtype)),
          w(typed(16, 8, Role::kWeight, dtype)),
          y(typed(8, 8, Role::kIntermediate, result)),
          s(typed(8, 8, Role::kIntermediate, sums)) {}
    Through() : Through(DType::kFp32, DType::kFp32, DType::kFp32) {}

    std::uint32_t x, w, y, s;
    std::uint32_t x0 = tile(x, 0, 0, 8, 8), x1 = tile(x, 0, 8, 8, 8);
    std::uint32_t w0 = tile(w, 0, 0, 8, 8), w1 = tile(w, 8, 0, 8, 8);
    std::uint32_t c = tile(y, 0, 0, 8, 8, 1), acc = tile(s, 0, 0, 8, 8, 2);

    void loads() {
        load(x0, kA);
        load(x1, kA + 0x100);
        load(w0, kB);
        load(w1, kB + 0x100);
    }
    std::uint32_t step(std::uint32_t i, std::uint32_t acc_sram) {
        return execute_through(acc, acc_sram, i ? x1 : x0, kA + 0x100 * i, i ? w1 : w0,
                               kB + 0x100 * i, c, kC, i);
    }
};

struct Machine {
    explicit Machine(const Through& p, const char* kernel = "reference")
        : engine({4096, kernel, true, kAccBytes}) {
        engine.load(p.schedule());
        switch (static_cast<DType>(p.tensors[p.x].dtype)) {
            case DType::kInt8:
                set(engine, p.x, std::vector<std::int8_t>(8 * 16, 3));
                set(engine, p.w, std::vector<std::int8_t>(16 * 8, 2));
                break;
            default:
                set(engine, p.x, std::vector<float>(8 * 16, 1.0f));
                set(engine, p.w, std::vector<float>(16 * 8, 2.0f));
        }
    }
    Engine engine;
    Driver drive{engine};
};

void refused(Through p, const std::function<void(Through&)>& spoil, const std::string& text) {
    p.loads();
    p.step(0, kAcc);
    p.step(1, kAcc);
    if (static_cast<DType>(p.tensors[p.y].dtype) == DType::kInt8) p.matmuls[1].scale = 0.5f;
    Engine engine({4096, "auto", true, kAccBytes});
    engine.load(p.schedule());  // as it is, it is accepted
    spoil(p);
    CHECK_THROWS(engine.load(p.schedule()), ScheduleError, text);
}

const Through kFloat(DType::kFp32, DType::kFp32, DType::kFp32);
const Through kHalf(DType::kBf16, DType::kBf16, DType::kFp32);
const Through kInteger(DType::kInt8, DType::kInt8, DType::kInt32);

}  // namespace

TEST(steps_through_acc_in_both_memories) {
    for (const std::uint32_t where : {kFree, kAcc}) {
        Through p;
        p.loads();
        p.step(0, where);
        p.step(1, where);
        p.store(p.c, kC, 1);
        Machine machine(p);
        machine.engine.run();
        for (const float value : get(machine.engine, p.y)) CHECK_EQUAL(value, 32.0f);
        const EngineStats& stats = machine.engine.stats();
        const std::uint64_t behind = where == kAcc ? 256 : 0;
        CHECK_EQUAL(stats.sram_read_bytes, 6u * 256);  // a and b twice, acc, and c for the store
        CHECK_EQUAL(stats.sram_write_bytes, 6u * 256);
        CHECK_EQUAL(stats.accumulator_read_bytes, behind);
        CHECK_EQUAL(stats.accumulator_write_bytes, behind);
        CHECK_EQUAL(stats.accumulator_peak_bytes, behind);
        CHECK_EQUAL(stats.sram_peak_bytes, where == kAcc ? kC + 256u : kFree + 256u);
    }
}

TEST(bytes_count_by_type) {
    Through p(kInteger);
    p.loads();
    p.step(0, kAcc);
    p.step(1, kAcc);
    p.matmuls[1].scale = 0.25f;
    p.store(p.c, kC, 1);
    for (const char* kernel : {"reference", "fast"}) {
        Machine machine(p, kernel);
        machine.engine.run();
        for (const int value : get<std::int8_t>(machine.engine, p.y)) CHECK_EQUAL(value, 24);
        const EngineStats& stats = machine.engine.stats();
        CHECK_EQUAL(stats.dram_read_bytes, 4u * 64);
        CHECK_EQUAL(stats.dram_write_bytes, 64u);
        CHECK_EQUAL(stats.sram_read_bytes, 4u * 64 + 256 + 64);
        CHECK_EQUAL(stats.sram_write_bytes, 4u * 64 + 256 + 64);
        CHECK_EQUAL(stats.accumulator_read_bytes, 256u);
    }
}

TEST(a_partial_sum_is_spilled_and_comes_back) {
    Through p(kHalf);
    p.loads();
    p.step(0, kAcc);
    p.store(p.acc, kAcc, 1);
    p.load(p.acc, kAcc + 0x100, 1);
    p.step(1, kAcc + 0x100);
    p.store(p.c, kC, 1);
    Machine machine(p);
    machine.engine.run();
    for (const float value : get(machine.engine, p.y)) CHECK_EQUAL(value, 32.0f);
}

// -- hazards --------------------------------------------------------------------------------------

TEST(steps_through_acc_may_be_in_flight_together) {
    Through p;
    p.loads();
    const std::uint32_t first = p.step(0, kAcc), last = p.step(1, kAcc);
    const std::uint32_t store = p.store(p.c, kC, 1);
    Machine machine(p);
    machine.drive.both({0, 1, 2, 3});
    machine.drive.start(first);
    machine.drive.start(last);
    machine.drive.retire(first);
    CHECK_HAZARD(machine.drive.start(store),
                 "read-after-write hazard at cycle 11: STORE (op 6) reads SRAM [0x800, 0x900), "
                 "which EXECUTE (op 5), still in flight, writes",
                 store, last, 11);
}

// Only the pipeline itself may continue a sum: a load of the right version must have retired.
TEST(acc_still_being_reloaded) {
    Through p;
    p.loads();
    p.step(0, kAcc);
    p.store(p.acc, kAcc, 1);
    const std::uint32_t reload = p.load(p.acc, kAcc + 0x100, 1), last = p.step(1, kAcc + 0x100);
    Machine machine(p);
    machine.drive.both({0, 1, 2, 3, 4, 5});
    machine.drive.start(reload);
    CHECK_HAZARD(machine.drive.start(last),
                 "read-after-write hazard at cycle 13: EXECUTE (op 7) reads accumulator memory "
                 "[0x1100, 0x1200), which LOAD (op 6), still in flight, writes",
                 last, reload, 13);
}

// The last step only reads acc, so who takes its place next must wait for it: also a new sum.
TEST(acc_taken_by_the_next_sum_while_the_last_step_reads_it) {
    Through p;
    p.loads();
    const std::uint32_t first = p.step(0, kAcc), last = p.step(1, kAcc);
    const std::uint32_t next = p.step(0, kAcc);
    Machine machine(p);
    machine.drive.both({0, 1, 2, 3, first});
    machine.drive.start(last);
    CHECK_HAZARD(machine.drive.start(next),
            "write-after-read hazard at cycle 11: EXECUTE (op 6) writes accumulator "
            "memory [0x1000, 0x1100), which EXECUTE (op 5), still in flight, reads", next, last, 11);

    machine.engine.reset();
    machine.drive.both({0, 1, 2, 3, first, last});
    machine.drive.start(next);
}

// A younger last step may be in flight beside the older steps of its own sum, but not hide one.
TEST(acc_cleared_while_an_earlier_step_is_in_flight) {
    Through p;
    p.tiles[p.acc].final = 3;
    p.loads();
    const std::uint32_t first = p.step(0, kAcc), again = p.step(0, kAcc);
    Machine machine(p);
    machine.drive.both({0, 1, 2, 3});
    machine.drive.start(first);
    CHECK_HAZARD(machine.drive.start(again),
            "write-after-write hazard at cycle 9: EXECUTE (op 5) writes accumulator "
            "memory [0x1000, 0x1100), which EXECUTE (op 4), still in flight, writes", again, first, 9);
}

TEST(c_still_being_stored_when_the_last_step_writes_it) {
    Through p;
    p.loads();
    p.step(0, kAcc);
    p.step(1, kAcc);
    const std::uint32_t store = p.store(p.c, kC, 1);
    const std::uint32_t first = p.step(0, kAcc), last = p.step(1, kAcc);
    Machine machine(p);
    machine.drive.both({0, 1, 2, 3, 4, 5});
    machine.drive.start(store);
    machine.drive.both({first});  // it does not touch c
    CHECK_HAZARD(machine.drive.start(last), "write-after-read hazard", last, store, 15);
}

TEST(acc_spilled_while_the_next_step_wants_to_write) {
    Through p;
    p.tiles[p.acc].final = 3;
    p.loads();
    p.step(0, kAcc);
    const std::uint32_t spill = p.store(p.acc, kAcc, 1), next = p.step(1, kAcc);
    Machine machine(p);
    machine.drive.both({0, 1, 2, 3, 4});
    machine.drive.start(spill);
    CHECK_HAZARD(machine.drive.start(next), "write-after-read hazard", next, spill, 11);
}

// The last step only reads, so a spill of what it reads is no obstacle.
TEST(acc_spilled_while_the_last_step_reads) {
    Through p;
    p.loads();
    p.step(0, kAcc);
    const std::uint32_t spill = p.store(p.acc, kAcc, 1), last = p.step(1, kAcc);
    Machine machine(p);
    machine.drive.both({0, 1, 2, 3, 4});
    machine.drive.start(spill);
    machine.drive.start(last);
    machine.drive.retire(last);
    machine.drive.retire(spill);
    CHECK(machine.engine.finished());
}

TEST(wrong_sums_in_acc) {
    Through p;
    p.tiles[p.acc].final = 3;
    p.loads();
    const std::uint32_t first = p.step(0, kAcc);
    const std::uint32_t skipping = p.execute_through(p.acc, kAcc, p.x1, kA + 0x100, p.w1,
                                                     kB + 0x100, p.c, kC, 2);
    Machine machine(p);
    machine.drive.both({0, 1, 2, 3, first});
    CHECK_HAZARD(machine.drive.start(skipping),
            "wrong content hazard at cycle 10: EXECUTE (op 5) reads accumulator memory "
            "[0x1000, 0x1100) for version 2 of tensor 3 [0:8, 0:8], but EXECUTE (op 4) "
            "put version 1 of tensor 3 [0:8, 0:8] there", skipping,
                 first, 10);
}

TEST(acc_never_written) {
    Through p(kInteger);  // -1 is as good a sum as any: only the tracker can tell
    p.loads();
    const std::uint32_t last = p.step(1, kAcc);
    p.matmuls[0].scale = 1.0f;
    Machine machine(p);
    machine.drive.both({0, 1, 2, 3});
    CHECK_HAZARD(machine.drive.start(last),
            "never written hazard at cycle 8: EXECUTE (op 4) reads accumulator memory "
            "[0x1000, 0x1100) that nothing wrote, for version 1 of tensor 3 [0:8, 0:8]",
                 last, -1, 8);
}

TEST(the_last_step_leaves_c_and_not_acc) {
    Through p;
    p.loads();
    p.step(0, kAcc);
    p.step(1, kAcc);
    const std::uint32_t spill = p.store(p.acc, kAcc, 2);
    Machine machine(p);
    machine.drive.both({0, 1, 2, 3, 4, 5});
    CHECK_HAZARD(machine.drive.start(spill),
            "wrong content hazard at cycle 12: STORE (op 6) reads accumulator memory "
            "[0x1000, 0x1100) for version 2 of tensor 3 [0:8, 0:8], but EXECUTE (op 4) "
            "put version 1 of tensor 3 [0:8, 0:8] there", spill, 4, 12);
}

// -- the only step --------------------------------------------------------------------------------

TEST(the_only_step_does_not_touch_acc) {
    Through p(kHalf);
    p.tiles[p.acc].final = 1;
    p.loads();
    p.step(0, kNone);
    p.store(p.c, kC, 1);
    Machine machine(p);
    machine.engine.run();
    for (const float value : get(machine.engine, p.y)) CHECK_EQUAL(value, 16.0f);
    CHECK_EQUAL(machine.engine.stats().accumulator_write_bytes, 0u);
}

TEST(without_acc_the_only_step_may_round) {
    for (const Through& type : {kHalf, kInteger}) {
        Through p(type);
        p.loads();
        p.execute(p.x0, kA, p.w0, kB, p.c, kC);
        const bool integer = static_cast<DType>(p.tensors[p.y].dtype) == DType::kInt8;
        p.matmuls[0].scale = integer ? 0.5f : 0.0f;
        p.store(p.c, kC, 1);
        Machine machine(p);
        machine.engine.run();
        if (integer) {
            for (const int x : get<std::int8_t>(machine.engine, p.y)) CHECK_EQUAL(x, 24);
        } else {
            for (const float x : get(machine.engine, p.y)) CHECK_EQUAL(x, 16.0f);
        }
        p.tiles[p.c].final = 2;
        p.matmuls[0].last = 0;
        p.matmuls[0].scale = 0.0f;
        CHECK_THROWS(machine.engine.load(p.schedule()), ScheduleError,
                     integer ?
            "matmuls[0]: c must be INT32 (the sums of its steps live in it), not INT8"
                             :
            "matmuls[0]: c must be FP32 (the sums of its steps live in it), not BF16");
    }
}

// -- refused by name ------------------------------------------------------------------------------

TEST(refused_types) {
    const auto type = [](std::uint32_t Through::* tensor, DType dtype) {
        return [=](Through& p) { p.tensors[p.*tensor].dtype = static_cast<std::uint8_t>(dtype); };
    };
    refused(kHalf, type(&Through::w, DType::kFp32),
            "matmuls[0]: b must be BF16 (by the operation's dtype), not FP32");
    refused(kHalf, type(&Through::y, DType::kInt8),
            "matmuls[0]: c must be FP32 or BF16 (by the operation's dtype), not INT8");
    refused(kHalf, type(&Through::s, DType::kBf16),
            "matmuls[0]: acc must be FP32 (by the type of its sums), not BF16");
    refused(kInteger, type(&Through::s, DType::kFp32),
            "matmuls[0]: acc must be INT32 (by the type of its sums), not FP32");
    refused(kInteger, type(&Through::y, DType::kBf16),
            "matmuls[0]: c must be INT8 or INT32 or UINT8 (by the operation's dtype), not BF16");
    refused(kFloat, type(&Through::y, DType::kBf16),
            "matmuls[0]: c must be FP32 (by the operation's dtype), not BF16");
    refused(kFloat, [](Through& p) { p.matmuls[0].dtype = 3; },
            "matmuls[0]: a matmul multiplies FP32 or BF16 or INT8 or INT16 or FP16 or UINT8, not INT32");
}

TEST(refused_epilogues) {
    const auto bias = [](DType dtype) {
        return [=](Through& p) {
            const std::uint32_t tensor = p.typed(1, 8, Role::kWeight, dtype);
            p.matmuls[1].bias = p.tile(tensor, 0, 0, 1, 8);
            p.matmuls[1].bias_sram = 0xF00;
        };
    };
    refused(kInteger, bias(DType::kInt8),
            "matmuls[1]: bias must be INT32 (by the type of its sums), not INT8");
    refused(kFloat, bias(DType::kBf16),
            "matmuls[1]: bias must be FP32 (by the type of its sums), not BF16");
    refused(kHalf, bias(DType::kInt32),
            "matmuls[1]: bias must be FP32 or BF16 (by the type of its sums), not INT32");
    refused(kInteger, [](Through& p) { p.matmuls[1].residual = p.acc; },
            "matmuls[1]: an INT8 matmul adds no residual: it must be NONE");
    refused(kInteger, [](Through& p) { p.matmuls[1].activation = 2; },
            "matmuls[1]: an INT8 matmul has no sigmoid: activation must be 0 (none) or 1 "
            "(relu)");
    for (const float scale : {0.0f, -1.0f, std::numeric_limits<float>::infinity(),
                              std::numeric_limits<float>::quiet_NaN()}) {
        refused(kInteger, [=](Through& p) { p.matmuls[1].scale = scale; },
                "scale must be positive and finite (c is INT8), not ");
    }
    refused(kInteger, [](Through& p) { p.matmuls[0].scale = 0.5f; },
            "matmuls[0]: scale must be 0 (only the last step of an INT8 or UINT8 c requantises), "
            "not 0.500000");
    refused(kHalf, [](Through& p) { p.matmuls[1].scale = 1.0f; },
            "matmuls[1]: scale must be 0 (only the last step of an INT8 or UINT8 c requantises), "
            "not 1.000000");
}

TEST(refused_places_and_steps) {
    refused(kFloat, [](Through& p) { p.matmuls[0].acc = 99; },
            "matmuls[0]: acc must be below 6, not 99");
    refused(kFloat, [](Through& p) { p.tiles[p.acc].tensor = p.y; },
            "matmuls[0]: acc must be a tile of another tensor than c");
    refused(kFloat, [](Through& p) { p.tiles[p.acc].rows = 4; },
            "matmuls[0]: acc must be a tile of shape (8, 8), not (4, 8)");
    refused(kFloat, [](Through& p) { p.matmuls[0].acc_sram = kAcc + 0x340; },
            "matmuls[0]: acc does not fit: 256 bytes at address 4928 of an SRAM of 4096 "
            "and an accumulator memory of 1024");
    refused(kFloat, [](Through& p) { p.matmuls[0].acc_sram = kAcc - 0x40; },
            "matmuls[0]: acc does not fit: 256 bytes at address 4032 of an SRAM of 4096 "
            "and an accumulator memory of 1024");
    refused(kFloat, [](Through& p) { p.transfers[0].sram = kAcc - 0x40; },
            "transfers[0]: tile does not fit: 256 bytes at address 4032 of an SRAM of "
            "4096 and an accumulator memory of 1024");
    refused(kFloat, [](Through& p) { p.matmuls[0].acc_sram = kNone; },
            "matmuls[0]: the SRAM address of acc must be a multiple of 64, not 4294967295");
    refused(kFloat, [](Through& p) { p.matmuls[1].c_sram = kNone; },
            "matmuls[1]: the SRAM address of c must be a multiple of 64, not 4294967295");
    refused(kFloat, [](Through& p) { p.matmuls[0].c_sram = 1; },
            "matmuls[0]: the SRAM address of c must be a multiple of 64, not 1");
    refused(kFloat, [](Through& p) { p.matmuls[0].acc_sram = kA; },
            "matmuls[0]: a overlaps the operation's own target in SRAM");
    refused(kFloat, [](Through& p) { p.matmuls[0].acc_sram = kB + 0x40; },
            "matmuls[0]: b overlaps the operation's own target in SRAM");
    refused(kFloat, [](Through& p) { p.matmuls[1].c_sram = kAcc + 0x80; },
            "matmuls[1]: acc overlaps the operation's own target in SRAM");
    refused(kFloat, [](Through& p) { p.tiles[p.c].final = 2; },
            "matmuls[0]: the final version of c must be 1 (the last step alone writes "
            "it), not 2");
    refused(kFloat, [](Through& p) { p.tiles[p.acc].final = 3; },
            "matmuls[1]: last must be 0 (acc's final version counts the steps), not 1");
    refused(kFloat, [](Through& p) { p.matmuls[1].step = 2; },
            "matmuls[1]: step must be below 2, not 2");
}

TEST(an_address_that_a_step_does_not_use_may_be_none) {
    Through p;
    p.loads();
    p.step(0, kAcc);
    p.step(1, kAcc);
    p.matmuls[0].c_sram = kNone;
    p.store(p.c, kC, 1);
    Machine machine(p);
    machine.engine.run();
    CHECK(machine.engine.finished());
}

TEST(memories_that_no_address_reaches) {
    CHECK_THROWS(Engine({1000, "auto", true, 64}), UsageError,
                 "sram_bytes must be a multiple of 64 if an accumulator memory follows, not 1000");
    CHECK_THROWS(Engine({64, "auto", true, std::uint64_t{1} << 32}), UsageError,
            "accumulator_bytes must be at most 4294967232 behind an SRAM of 64, not "
            "4294967296");
}
