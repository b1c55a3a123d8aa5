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

void refused(const std::function<void(Sample&)>& spoil, const std::string& text) {
    Sample sample;
    spoil(sample);
    Engine engine({1024, "auto", true});
    CHECK_THROWS(engine.load(sample.program()), ScheduleError, text);
    CHECK_EQUAL(engine.program().stream.size, 0u);  // nothing changed
}

}  // namespace

TEST(a_right_program_loads_and_runs) {
    Sample sample;
    Engine engine({1024, "auto", true});
    engine.load(sample.program());
    set(engine, sample.x, std::vector<float>(32, 1.0f));
    set(engine, sample.w, std::vector<float>(32, 0.5f));
    engine.run();
    for (const float value : get(engine, sample.y)) CHECK_EQUAL(value, 5.0f);
    CHECK_EQUAL(engine.stats().macs, 128u);
    CHECK_EQUAL(engine.stats().loads, 3u);
    CHECK_EQUAL(engine.stats().executes, 1u);
    CHECK_EQUAL(engine.stats().vectors, 1u);
    CHECK_EQUAL(engine.stats().stores, 1u);
    CHECK_THROWS(engine.run(), UsageError, "call reset() first");
}

TEST(programs_of_other_types_load_and_run) {
    for (const DType dtype : {DType::kFp32, DType::kBf16, DType::kInt8}) {
        const TypedSample sample(dtype);
        Engine engine({1024, "auto", true, 512});
        engine.load(sample.program());
        clear(engine, 0);
        clear(engine, 1);
        engine.run();
        CHECK_EQUAL(engine.stats().executes, 2u);
    }
}

TEST(malformed_stream) {
    refused([](Sample& s) { s.stream[1].opcode = 4; }, "stream[1]: opcode must be below 4, not 4");
    refused([](Sample& s) { s.stream[1].queue = 2; }, "stream[1]: queue must be 0 (LOAD), not 2");
    refused([](Sample& s) { s.stream[0].row = 4; }, "stream[0]: row must be below 4, not 4");
    refused([](Sample& s) { s.stream[3].row = 1; }, "stream[3]: row must be below 1, not 1");
    refused([](Sample& s) { s.stream[4].row = kNone; }, "stream[4]: row must be below 1");
}

TEST(malformed_transfers) {
    refused([](Sample& s) { s.transfers[0].tile = 4; }, "transfers[0]: tile must be below 4");
    refused([](Sample& s) { s.transfers[0].sram = 4; }, "must be a multiple of 64, not 4");
    refused([](Sample& s) { s.transfers[0].sram = 960; }, "128 bytes at address 960");
    refused([](Sample& s) { s.transfers[0].sram = 0xFFFFFFC0; }, "tile does not fit");
    refused([](Sample& s) { s.transfers[3].version = 2; }, "at most the tile's final one, 1");
}

TEST(malformed_matmuls) {
    refused([](Sample& s) { s.matmuls[0].a = kNone; }, "matmuls[0]: a must be below 4");
    refused([](Sample& s) { s.matmuls[0].c_sram = 1; }, "address of c must be a multiple");
    refused([](Sample& s) { s.matmuls[0].m = 5; }, "a must be a tile of shape (5, 8), not (4, 8)");
    refused([](Sample& s) { s.matmuls[0].k = 0; }, "a must be a tile of shape (4, 0)");
    refused([](Sample& s) { s.matmuls[0].b_transposed = 1; }, "b must be a tile of shape (4, 8)");
    refused([](Sample& s) { s.matmuls[0].b_transposed = 2; }, "b_transposed must be below 2");
    refused([](Sample& s) { s.matmuls[0].bias = s.ty; }, "bias must be a tile of shape (1, 4)");
    refused([](Sample& s) { s.matmuls[0].residual = s.tx; s.matmuls[0].residual_sram = 0; },
            "residual must be a tile of shape (4, 4)");
    refused([](Sample& s) { s.matmuls[0].activation = 3; }, "activation must be below 3");
    refused([](Sample& s) { s.matmuls[0].dtype = 5; }, "dtype must be below 5, not 5");
    refused([](Sample& s) { s.matmuls[0].step = 1; }, "step must be below 1, not 1");
    refused([](Sample& s) { s.matmuls[0].last = 0; }, "last must be 1 (c is final");
    refused([](Sample& s) { s.matmuls[0].c_sram = 0x40; }, "a overlaps the operation's own target");
    refused(
        [](Sample& s) {
            s.tiles[s.ty].final = 2;
            s.matmuls[0].last = 0;
        },
        "only the last step has an epilogue");
}

TEST(malformed_vectors) {
    refused([](Sample& s) { s.vectors[0].op = 11; }, "vectors[0]: op must be below 11");
    refused([](Sample& s) { s.vectors[0].dtype = 9; }, "vectors[0]: dtype must be below 5");
    refused([](Sample& s) { s.vectors[0].rows = 3; }, "dst must be a tile of shape (3, 4)");
    refused([](Sample& s) { s.vectors[0].src1 = kNone; }, "src1 must be below 4");
    refused([](Sample& s) { s.vectors[0].op = 0; },
            "src1 of an operation with one source must be NONE");
    refused([](Sample& s) { s.vectors[0].src1 = s.tx; s.vectors[0].src1_sram = 0; },
            "src1 must be a tile of shape (4, 4), not (4, 8)");
    refused([](Sample& s) { s.vectors[0].src1_sram = 0x140; }, "src1 overlaps");
    // Row sums of y's tile, into a column at 0x180.
    const auto reduction = [](Sample& s) {
        s.vectors[0].op = static_cast<std::uint8_t>(VectorOp::kReduceSum);
        s.vectors[0].src1 = kNone;
        s.vectors[0].dst = s.tile(s.y, 0, 0, 4, 1, 1);
        s.vectors[0].dst_sram = 0x180;
        s.vectors[0].cols = 1;
    };
    refused([&](Sample& s) { reduction(s); s.vectors[0].dst = s.ty; s.vectors[0].cols = 4; },
            "cols must be 1 (a reduction makes a column), not 4");
    refused([&](Sample& s) { reduction(s); s.vectors[0].dst_sram = 0x140; },
            "src0 overlaps the operation's own target");
    refused([&](Sample& s) { reduction(s); s.vectors[0].src0 = s.tb; },
            "src0 must be a tile of shape (4, 4), not (1, 4)");
}

TEST(malformed_tiles_and_tensors) {
    refused([](Sample& s) { s.tiles[0].tensor = 3; }, "tiles[0]: tensor must be below 3");
    refused([](Sample& s) { s.tiles[0].rows = 0; }, "rows and cols must be at least 1");
    refused([](Sample& s) { s.tiles[0].row = 1; }, "reaches beyond the tensor's shape (4, 8)");
    refused([](Sample& s) { s.tiles[0].col = 0xFFFFFFFF; }, "reaches beyond");
    refused([](Sample& s) { s.tensors[0].pitch = 28; }, "at least 32 bytes (one row), not 28");
    refused([](Sample& s) { s.tensors[0].pitch = 66; }, "pitch must be a multiple of 4");
    refused([](Sample& s) { s.tensors[0].cols = 0x40000008; }, "pitch must be");
    refused([](Sample& s) { s.tensors[0].rows = 0; }, "rows and cols must be at least 1");
    refused([](Sample& s) { s.tensors[0].dtype = 5; }, "tensors[0]: dtype must be below 5");
    refused([](Sample& s) { s.tensors[0].role = 4; }, "role must be below 4");
    refused([](Sample& s) { s.tensors[0].address = 32; }, "address must be a multiple of 64");
}

TEST(impossible_events) {
    Sample sample;
    Engine engine({1024, "auto", true});
    engine.load(sample.program());
    set(engine, sample.x, std::vector<float>(32));
    set(engine, sample.w, std::vector<float>(32));
    Driver drive{engine};
    const auto refuses = [&](const std::function<void()>& work, const std::string& text) {
        engine.reset();
        CHECK_THROWS(work(), ScheduleError, text);
    };
    refuses([&] { drive.start(6); }, "of operation 6, but the stream has 6");
    refuses([&] { drive.start(0x7FFFFFFF); }, "of operation 2147483647");
    refuses([&] { drive.retire(0); }, "LOAD (op 0) retired, but nothing of its queue is in flight");
    refuses([&] { drive.start(1); }, "LOAD (op 1) started out of order: the next of its queue is "
                                     "LOAD (op 0)");
    refuses([&] { drive.start(0); drive.start(0); }, "the next of its queue is LOAD (op 1)");
    refuses([&] { drive.start(0); drive.start(1); drive.retire(1); },
            "LOAD (op 1) retired out of order: the oldest of its queue in flight is LOAD (op 0)");
    refuses([&] { drive.both({0, 1, 2}); drive.start(2); }, "all operations of its queue");
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
            engine.load(sample.program());
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
    CHECK_THROWS(engine.dispatch(SchedLoad{beyond, {}}), ScheduleError, "reaches beyond");
    CHECK_EQUAL(engine.program().stream.size, 0u);
    CHECK_EQUAL(engine.program().tiles.size, 0u);
    engine.dispatch(SchedLoad{good, {}});
    CHECK_THROWS(engine.dispatch(SchedStore{good, {}}), ScheduleError, "belong to the user");
    CHECK_EQUAL(engine.program().stream.size, 1u);
    CHECK_THROWS(engine.add_tensor(0, 4, Role::kInput), ScheduleError, "at least 1");
    CHECK_EQUAL(engine.program().tensors.size, 1u);
    engine.load(Sample().program());
}
