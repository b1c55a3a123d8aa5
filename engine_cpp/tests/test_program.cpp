// Malformed tables and impossible events: refused by name, whatever the bytes.

#include <cstring>
#include <functional>
#include <random>

#include "builder.hpp"
#include "check.hpp"
#include "minisim/errors.hpp"

using namespace minisim;

namespace {

// One of each: load, load, execute with bias, vector, store.
struct Sample : Builder {
    std::uint32_t x = tensor(4, 8, Role::kInput);
    std::uint32_t w = tensor(8, 4, Role::kWeight);
    std::uint32_t y = tensor(4, 4, Role::kOutput);
    std::uint32_t tx = tile(x, 0, 0, 4, 8);
    std::uint32_t tw = tile(w, 0, 0, 8, 4);
    std::uint32_t tb = tile(w, 0, 0, 1, 4);
    std::uint32_t ty = tile(y, 0, 0, 4, 4, 1);

    Sample() {
        load(tx, 0x0);
        load(tw, 0x80);
        load(tb, 0x100);
        execute(tx, 0x0, tw, 0x80, ty, 0x140);
        matmuls[0].bias = tb;
        matmuls[0].bias_sram = 0x100;
        vector(VectorOp::kAdd, ty, 0x140, ty, 0x140, tb, 0x100);
        store(ty, 0x140, 1);
    }
};

// The same in another type: two steps through acc with a spill between them, into c of that type.
struct TypedSample : Builder {
    explicit TypedSample(DType dtype) {
        const bool integer = dtype == DType::kInt8;
        const DType sums = accumulator_of(dtype);
        const std::uint32_t x = typed(4, 8, Role::kInput, dtype);
        const std::uint32_t w = typed(8, 4, Role::kWeight, dtype);
        const std::uint32_t y = typed(4, 4, Role::kOutput, dtype);
        const std::uint32_t a = tile(x, 0, 0, 4, 4), b = tile(w, 0, 0, 4, 4);
        const std::uint32_t c = tile(y, 0, 0, 4, 4, 1);
        const std::uint32_t acc =
            tile(typed(4, 4, Role::kIntermediate, sums), 0, 0, 4, 4, 2);
        load(a, 0x0);
        load(b, 0x40);
        execute_through(acc, 0x400, a, 0x0, b, 0x40, c, kNone, 0);
        store(acc, 0x400, 1);
        load(acc, 0x440, 1);
        execute_through(acc, 0x440, a, 0x0, b, 0x40, c, 0x80, 1);
        matmuls[1].activation = 1;
        matmuls[1].scale = integer ? 0.5f : 0.0f;
        vector(VectorOp::kRelu, c, 0x80, c, 0x80);
        store(c, 0x80, 1);
    }
};

// Zeros, in any type: elements of up to four bytes, four bytes apart.
void clear(Engine& engine, std::uint32_t tensor) {
    const TensorView shape = engine.tensor_view(tensor);
    const std::vector<std::byte> zeros(shape.rows * shape.cols * 4);
    engine.set_tensor(tensor, {zeros.data(), shape.rows, shape.cols,
                               static_cast<std::ptrdiff_t>(shape.cols) * 4, 4,
                               outside_name(shape.dtype)});
}

// With this message, all of it: it is what the user has to go by.
void refused(const std::function<void(Sample&)>& spoil, const std::string& text) {
    Sample sample;
    spoil(sample);
    Engine engine({1024, "auto", true});
    CHECK_THROWS_AND(engine.load(sample.schedule()), ScheduleError, text,
                     CHECK_EQUAL(std::string(error.what()), text));
    CHECK_EQUAL(engine.schedule().stream.size, 0u);  // nothing changed
}

}  // namespace

TEST(a_right_program_loads_and_runs) {
    Sample sample;
    Engine engine({1024, "auto", true});
    engine.load(sample.schedule());
    set(engine, sample.x, std::vector<float>(32, 1.0f));
    set(engine, sample.w, std::vector<float>(32, 0.5f));
    engine.run();
    for (const float value : get(engine, sample.y)) CHECK_EQUAL(value, 5.0f);
    CHECK_EQUAL(engine.stats().macs, 128u);
    CHECK_EQUAL(engine.stats().loads, 3u);
    CHECK_EQUAL(engine.stats().executes, 1u);
    CHECK_EQUAL(engine.stats().vectors, 1u);
    CHECK_EQUAL(engine.stats().stores, 1u);
    CHECK_THROWS(engine.run(), UsageError,
            "run() needs a program that has not started: call reset() first");
}

TEST(programs_of_other_types_load_and_run) {
    for (const DType dtype : {DType::kFp32, DType::kBf16, DType::kInt8}) {
        const TypedSample sample(dtype);
        Engine engine({1024, "auto", true, 512});
        engine.load(sample.schedule());
        clear(engine, 0);
        clear(engine, 1);
        engine.run();
        CHECK_EQUAL(engine.stats().executes, 2u);
    }
}

TEST(malformed_stream) {
    refused([](Sample& s) { s.stream[1].opcode = 4; },
            "stream[1]: opcode must be below 4, not 4");
    refused([](Sample& s) { s.stream[1].queue = 2; },
            "stream[1]: queue must be 0 (LOAD), not 2");
    refused([](Sample& s) { s.stream[0].row = 4; },
            "stream[0]: row must be below 4, not 4");
    refused([](Sample& s) { s.stream[3].row = 1; },
            "stream[3]: row must be below 1, not 1");
    refused([](Sample& s) { s.stream[4].row = kNone; },
            "stream[4]: row must be below 1, not 4294967295");
}

TEST(malformed_transfers) {
    refused([](Sample& s) { s.transfers[0].tile = 4; },
            "transfers[0]: tile must be below 4, not 4");
    refused([](Sample& s) { s.transfers[0].sram = 4; },
            "transfers[0]: the SRAM address of tile must be a multiple of 64, not 4");
    refused([](Sample& s) { s.transfers[0].sram = 960; },
            "transfers[0]: tile does not fit: 128 bytes at address 960 of an SRAM of 1024");
    refused([](Sample& s) { s.transfers[0].sram = 0xFFFFFFC0; },
            "transfers[0]: tile does not fit: 128 bytes at address 4294967232 of an SRAM of "
            "1024");
    refused([](Sample& s) { s.transfers[3].version = 2; },
            "transfers[3]: version must be at most the tile's final one, 1, not 2");
}

TEST(malformed_matmuls) {
    refused([](Sample& s) { s.matmuls[0].a = 9; }, "matmuls[0]: a must be below 4, not 9");
    refused([](Sample& s) { s.matmuls[0].a = kNone; },
            "matmuls[0]: a_sram must be 4294967295 (a is made of pieces), not 0");
    refused([](Sample& s) { s.matmuls[0].c_sram = 1; },
            "matmuls[0]: the SRAM address of c must be a multiple of 64, not 1");
    refused([](Sample& s) { s.matmuls[0].m = 5; },
            "matmuls[0]: a must be a tile of shape (5, 8), not (4, 8)");
    refused([](Sample& s) { s.matmuls[0].k = 0; },
            "matmuls[0]: a must be a tile of shape (4, 0), not (4, 8)");
    refused([](Sample& s) { s.matmuls[0].b_transposed = 1; },
            "matmuls[0]: b must be a tile of shape (4, 8), not (8, 4)");
    refused([](Sample& s) { s.matmuls[0].b_transposed = 2; },
            "matmuls[0]: b_transposed must be below 2, not 2");
    refused([](Sample& s) { s.matmuls[0].bias = s.ty; },
            "matmuls[0]: bias must be a tile of shape (1, 4), not (4, 4)");
    refused([](Sample& s) { s.matmuls[0].residual = s.tx; s.matmuls[0].residual_sram = 0; },
            "matmuls[0]: residual must be a tile of shape (4, 4), not (4, 8)");
    refused([](Sample& s) { s.matmuls[0].activation = 3; },
            "matmuls[0]: activation must be below 3, not 3");
    refused([](Sample& s) { s.matmuls[0].dtype = 10; },
            "matmuls[0]: dtype must be below 10, not 10");
    refused([](Sample& s) { s.matmuls[0].step = 1; },
            "matmuls[0]: step must be below 1, not 1");
    refused([](Sample& s) { s.matmuls[0].last = 0; },
            "matmuls[0]: last must be 1 (c is final after its last step), not 0");
    refused([](Sample& s) { s.matmuls[0].c_sram = 0x40; },
            "matmuls[0]: a overlaps the operation's own target in SRAM");
    refused(
        [](Sample& s) {
            s.tiles[s.ty].final = 2;
            s.matmuls[0].last = 0;
        },
            "matmuls[0]: only the last step has an epilogue: bias and residual must be NONE "
            "and activation 0 before it");
}

TEST(moves) {
    const auto moves = [](VectorOp op, std::uint32_t src0) {
        return [=](Sample& s) {
            s.vectors[0].op = static_cast<std::uint8_t>(op);
            s.vectors[0].src1 = s.vectors[0].src1_sram = kNone;
            s.vectors[0].src0 = src0;
            if (src0 == kNone) s.vectors[0].src0_sram = kNone;
        };
    };
    Sample number;
    moves(VectorOp::kCopy, kNone)(number);  // alone it may fill a tile
    Engine engine({1024, "auto", true});
    engine.load(number.schedule());
    refused(moves(VectorOp::kTranspose, kNone), "vectors[0]: src0 of TRANSPOSE must be a tile");
    refused([&](Sample& s) { moves(VectorOp::kTranspose, s.tx)(s); },
            "vectors[0]: src0 must be a tile of shape (4, 4), not (4, 8)");
}

TEST(malformed_vectors) {
    const std::string ops = std::to_string(kVectorOps);
    refused([](Sample& s) { s.vectors[0].op = kVectorOps; },
            "vectors[0]: op must be below " + ops + ", not " + ops);
    refused([](Sample& s) { s.vectors[0].dtype = 11; },
            "vectors[0]: dtype must be below 10, not 11");
    refused([](Sample& s) { s.vectors[0].rows = 3; },
            "vectors[0]: dst must be a tile of shape (3, 4), not (4, 4)");
    refused([](Sample& s) { s.vectors[0].src0 = s.vectors[0].src1 = kNone; },
            "vectors[0]: a source must be a tile");
    refused([](Sample& s) { s.vectors[0].op = 0; },
            "vectors[0]: src1 must be NONE (RELU has 1), not 2");
    refused([](Sample& s) { s.vectors[0].op = static_cast<std::uint8_t>(VectorOp::kTranspose); },
            "vectors[0]: src0 overlaps the operation's own target in SRAM");  // an ADD may be in place
    refused([](Sample& s) { s.vectors[0].src2 = 0; },
            "vectors[0]: src2 must be NONE (ADD has 2), not 0");
    refused([](Sample& s) { s.vectors[0].imm1 = 0.5f; },
            "vectors[0]: imm1 must be 0, as src1 is no number");
    refused([](Sample& s) { s.vectors[0].imm2 = -1.0f; },
            "vectors[0]: imm2 must be 0, as src2 is no number");
    refused([](Sample& s) { s.vectors[0].src1 = s.tx; s.vectors[0].src1_sram = 0; },
            "vectors[0]: src1 must be a tile of shape (4, 4), not (4, 8)");
    refused([](Sample& s) { s.vectors[0].src1_sram = 0x140; },
            "vectors[0]: src1 overlaps the operation's own target in SRAM");
    // Row sums of y's tile, into a column at 0x180.
    const auto reduction = [](Sample& s) {
        s.vectors[0].op = static_cast<std::uint8_t>(VectorOp::kReduceSum);
        s.vectors[0].src1 = kNone;
        s.vectors[0].dst = s.tile(s.y, 0, 0, 4, 1, 1);
        s.vectors[0].dst_sram = 0x180;
        s.vectors[0].cols = 1;
    };
    refused([&](Sample& s) { reduction(s); s.vectors[0].dst = s.ty; s.vectors[0].cols = 4; },
            "vectors[0]: cols must be 1 (a reduction makes a column) or 32 (its partial results), not 4");
    refused([&](Sample& s) { reduction(s); s.vectors[0].dst_sram = 0x140; },
            "vectors[0]: src0 overlaps the operation's own target in SRAM");
    refused([&](Sample& s) { reduction(s); s.vectors[0].src0 = s.tb; },
            "vectors[0]: src0 must be a tile of shape (4, 4), not (1, 4)");
}

TEST(malformed_tiles_and_tensors) {
    refused([](Sample& s) { s.tiles[0].tensor = 3; },
            "tiles[0]: tensor must be below 3, not 3");
    refused([](Sample& s) { s.tiles[0].rows = 0; },
            "tiles[0]: rows and cols must be at least 1");
    refused([](Sample& s) { s.tiles[0].row = 1; },
            "tiles[0]: tensor 0 [1:5, 0:8] reaches beyond the tensor's shape (4, 8)");
    refused([](Sample& s) { s.tiles[0].col = 0xFFFFFFFF; },
            "tiles[0]: tensor 0 [0:4, 4294967295:4294967303] reaches beyond the tensor's "
            "shape (4, 8)");
    refused([](Sample& s) { s.tensors[0].pitch = 28; },
            "tensors[0]: pitch must be a multiple of 4 and at least 32 bytes (one row), not "
            "28");
    refused([](Sample& s) { s.tensors[0].pitch = 66; },
            "tensors[0]: pitch must be a multiple of 4 and at least 32 bytes (one row), not "
            "66");
    refused([](Sample& s) { s.tensors[0].cols = 0x40000008; },
            "tensors[0]: pitch must be a multiple of 4 and at least 4294967328 bytes (one "
            "row), not 64");
    refused([](Sample& s) { s.tensors[0].rows = 0; },
            "tensors[0]: rows and cols must be at least 1");
    refused([](Sample& s) { s.tensors[0].dtype = 10; },
            "tensors[0]: dtype must be below 10, not 10");
    refused([](Sample& s) { s.tensors[0].role = 5; },
            "tensors[0]: role must be below 5, not 5");
    refused([](Sample& s) { s.tensors[0].address = 32; },
            "tensors[0]: address must be a multiple of 64, not 32");
}

TEST(impossible_events) {
    Sample sample;
    Engine engine({1024, "auto", true});
    engine.load(sample.schedule());
    set(engine, sample.x, std::vector<float>(32));
    set(engine, sample.w, std::vector<float>(32));
    Driver drive{engine};
    const auto refuses = [&](const std::function<void()>& work, const std::string& text) {
        engine.reset();
        CHECK_THROWS(work(), ScheduleError, text);
    };
    refuses([&] { drive.start(6); }, "event 12 is of operation 6, but the stream has 6");
    refuses([&] { drive.start(0x7FFFFFFF); },
            "event 4294967294 is of operation 2147483647, but the stream has 6");
    refuses([&] { drive.retire(0); }, "LOAD (op 0) retired, but nothing of its queue is in flight");
    refuses([&] { drive.start(1); }, "LOAD (op 1) started out of order: the next of its queue is "
                                     "LOAD (op 0)");
    refuses([&] { drive.start(0); drive.start(0); },
            "LOAD (op 0) started out of order: the next of its queue is LOAD (op 1)");
    refuses([&] { drive.start(0); drive.start(1); drive.retire(1); },
            "LOAD (op 1) retired out of order: the oldest of its queue in flight is LOAD (op 0)");
    refuses([&] { drive.both({0, 1, 2}); drive.start(2); },
            "LOAD (op 2) started, but all operations of its queue have started already");
}

// Random bytes in random places: either refused, or a program that runs without misbehaving (the
// sanitizers watch). Memory sizes stay small, for a tensor may honestly ask for gigabytes.
TEST(any_bytes_are_safe) {
    std::mt19937 random(7);
    int refusals = 0, hazards = 0, runs = 0;
    for (int i = 0; i < 20000; ++i) {
        Builder sample = Sample();
        if (i % 2) sample = TypedSample(static_cast<DType>(random() % 3));
        const auto spoil = [&](auto& rows) {
            auto* bytes = reinterpret_cast<unsigned char*>(rows.data());
            const std::size_t size = rows.size() * sizeof rows[0];
            const auto value = random() % 3 == 0 ? random() : random() % 5;
            bytes[random() % size] = static_cast<unsigned char>(value);
        };
        switch (random() % 6) {
            case 0: spoil(sample.stream); break;
            case 1: spoil(sample.transfers); break;
            case 2: spoil(sample.matmuls); break;
            case 3: spoil(sample.vectors); break;
            case 4: spoil(sample.tiles); break;
            case 5: sample.tensors[random() % 3].dtype = random() % 5; break;
        }
        Engine engine({1024, "auto", true, 512});
        try {
            engine.load(sample.schedule());
            clear(engine, 0);
            clear(engine, 1);
            engine.run();
            ++runs;
        } catch (const ScheduleError&) {
            ++refusals;
        } catch (const Hazard&) {
            ++hazards;
        }
    }
    CHECK(refusals > 1000);
    CHECK(hazards > 100);
    CHECK(runs > 100);
}

TEST(hand_built_operations_are_taken_back_if_refused) {
    Engine engine({1024, "auto", true});
    const std::uint32_t x = engine.add_tensor(4, 4, Role::kInput);
    set(engine, x, std::vector<float>(16, 3.0f));
    const PlacedTile good = {x, 0, 0, 4, 4, 0x40}, beyond = {x, 0, 0, 4, 5, 0x40};
    CHECK_THROWS(engine.dispatch(SchedLoad{beyond, {}}), ScheduleError,
            "tiles[0]: tensor 0 [0:4, 0:5] reaches beyond the tensor's shape (4, 4)");
    CHECK_EQUAL(engine.schedule().stream.size, 0u);
    CHECK_EQUAL(engine.schedule().tiles.size, 0u);
    engine.dispatch(SchedLoad{good, {}});
    CHECK_THROWS(engine.dispatch(SchedStore{good, {}}), ScheduleError,
            "stream[1]: STORE into tensor 0 [0:4, 0:4], which lies in an input or a "
            "weight: those belong to the user");
    CHECK_EQUAL(engine.schedule().stream.size, 1u);
    CHECK_THROWS(engine.add_tensor(0, 4, Role::kInput), ScheduleError,
            "tensors[1]: rows and cols must be at least 1");
    CHECK_EQUAL(engine.schedule().tensors.size, 1u);
    engine.load(Sample().schedule());
}
