// Each allocation of each call fails in turn: the engine is then as it was, and goes on.

#include <cmath>
#include <new>

#include "failing.hpp"
#include "minisim/dram_memory.hpp"
#include "minisim/text.hpp"
#include "small_part.hpp"
#include "two_steps.hpp"

using namespace minisim;

namespace {

using Step = std::function<void(Engine&)>;
const Step kNothing = [](Engine&) {};

// All that can be seen of an engine.
std::string seen(const Engine& engine) {
    const Schedule& p = engine.schedule();
    std::string text = to_text(engine.stats()) + (engine.finished() ? " finished" : "");
    for (const std::size_t size : {p.stream.size, p.transfers.size, p.matmuls.size, p.vectors.size,
                                   p.tiles.size, p.tensors.size, p.syncs.size}) {
        text += " " + std::to_string(size);
    }
    for (std::uint32_t i = 0; i < p.tensors.size; ++i) {
        const TensorCopy copy = engine.tensor(i);
        const std::size_t item = copy.dtype == DType::kBf16 ? 4 : item_size(copy.dtype);
        text.append(reinterpret_cast<const char*>(copy.data.get()), copy.rows * copy.cols * item);
    }
    return text;
}

// `work` throws in any case, with allocation `n` failing on the way; whether it got so far.
template <class Work>
bool throws_with_failing(long n, Work work) {
    const Failing in_here(n);
    try {
        work();
    } catch (const std::exception&) {
        return in_here.happened();
    }
    CHECK(!"it throws");
    return false;
}

enum class Asks { kForMemory, kForNone };

// `call` after `before`, with each of its allocations failing in turn: nothing has changed then, and
// what follows goes as on an engine that met no failure.
void each_allocation_fails(const EngineConfig& config, const Step& before, const Step& call,
                           const Step& after, Asks asks) {
    Engine untroubled(config);
    before(untroubled);
    call(untroubled);
    after(untroubled);
    const std::string expected = seen(untroubled);
    long n = 1;
    for (bool failed = true; failed; ++n) {
        Engine engine(config);
        before(engine);
        const std::string as_it_was = seen(engine);
        failed = false;
        {
            const Failing in_here(n);
            try {
                call(engine);
            } catch (const std::bad_alloc&) {
                failed = true;
            }
        }
        if (failed) {
            CHECK(seen(engine) == as_it_was);
            call(engine);
        }
        after(engine);
        CHECK(seen(engine) == expected);
    }
    CHECK_EQUAL(n > 2, asks == Asks::kForMemory);
}

const EngineConfig kConfig = {4096, "auto", true};

// y = x w in two steps, stored.
struct Whole : TwoSteps {
    Whole() {
        tensors[y].role = static_cast<std::uint8_t>(Role::kOutput);
        load(x0, kA);
        load(w0, kB);
        execute(x0, kA, w0, kB, c, kC, 0);
        load(x1, kFree);
        load(w1, kB);
        execute(x1, kFree, w1, kB, c, kC, 1);
        store(c, kC, 2);
    }
};

void load_whole(Engine& engine) { engine.load(Whole().schedule()); }
void ready(Engine& engine) {
    load_whole(engine);
    Whole().supply(engine);
}
void run(Engine& engine) { engine.run(); }
void ready_and_run(Engine& engine) {
    ready(engine);
    engine.run();
}

const PlacedTile kX = {0, 0, 0, 4, 4, 0x000}, kW = {1, 0, 0, 4, 4, 0x040},
                 kY = {2, 0, 0, 4, 4, 0x080};

// x, w and y of (4, 4), and two loads dispatched.
void hand_built(Engine& engine) {
    for (const Role role : {Role::kInput, Role::kWeight, Role::kOutput}) {
        engine.add_tensor(4, 4, role);
    }
    set(engine, 0, std::vector<float>(16, 3.0f));
    set(engine, 1, std::vector<float>(16, 2.0f));
    engine.dispatch(SchedLoad{kX, {}});
    engine.dispatch(SchedLoad{kW, {}});
}

SchedExecute product() {
    return {kX, kW, kY, 0, 1, {}, {}, Activation::kNone, false, false, {}};
}

void rest_of_hand_built(Engine& engine) {
    engine.dispatch(product());
    engine.dispatch(SchedStore{kY, {}});
}

// A new tensor is used, and its neighbours still are where they were.
void use_new_tensor(Engine& engine) {
    const auto tensor = static_cast<std::uint32_t>(engine.schedule().tensors.size - 1);
    set(engine, tensor, std::vector<float>(24, 5.0f));
    engine.dispatch(SchedLoad{{tensor, 0, 0, 4, 6, 0x100}, {}});
    rest_of_hand_built(engine);
    const std::uint32_t next = engine.add_tensor(9, 33, Role::kInput);  // of another size
    CHECK_EQUAL(engine.tensor_view(next).buffer->size(), 9u * 192);
    set(engine, next, std::vector<float>(9 * 33, 6.0f));
    engine.dispatch(SchedLoad{{next, 8, 0, 1, 33, 0x200}, {}});
    engine.reset();
    CHECK_EQUAL(get(engine, 0)[15], 3.0f);
    CHECK_EQUAL(get(engine, tensor)[23], 5.0f);
    CHECK(std::isnan(get(engine, 2)[0]));
}

// One EXECUTE of every type, in whole or through a sum of two steps, with what it may have.
struct Typed : Builder {
    Typed(DType dtype, bool transposed, bool narrow_result) {
        const bool floats = accumulator_of(dtype) == DType::kFp32;
        const std::uint32_t m = 5, k = 70, n = 37;
        const DType wide = accumulator_of(dtype), narrow = dtype == DType::kInt16 ? DType::kInt8 : dtype;
        const std::uint32_t x = typed(m, k, Role::kInput, dtype);
        const std::uint32_t w = transposed ? typed(n, k, Role::kWeight, narrow)
                                           : typed(k, n, Role::kWeight, narrow);
        const std::uint32_t bias = typed(1, n, Role::kWeight, floats ? narrow : wide);
        const std::uint32_t residual = typed(m, n, Role::kInput, floats ? narrow : wide);
        const std::uint32_t y = typed(m, n, Role::kOutput, narrow_result ? narrow : wide);
        const std::uint32_t a = tile(x, 0, 0, m, k), b = tile(w, 0, 0, transposed ? n : k,
                                                              transposed ? k : n);
        const std::uint32_t d = tile(bias, 0, 0, 1, n), r = tile(residual, 0, 0, m, n);
        const std::uint32_t c = tile(y, 0, 0, m, n, 1);
        load(a, 0x0000);
        load(b, 0x1000);
        load(d, 0x4000);
        load(r, 0x5000);
        execute(a, 0x0000, b, 0x1000, c, 0x6000);
        MatmulRow& row = matmuls.back();
        row.b_transposed = transposed;
        row.bias = d;
        row.bias_sram = 0x4000;
        if (floats) {
            row.residual = r;
            row.residual_sram = 0x5000;
        }
        row.scale = narrow_result && !floats ? 0.5f : 0.0f;
        store(c, 0x6000, 1);
    }

    void supply(Engine& engine) const {
        for (std::uint32_t i = 0; i < 4; ++i) {
            const TensorView view = engine.tensor_view(i);
            const std::vector<std::byte> zeros(view.rows * view.cols * 4);
            engine.set_tensor(i, {zeros.data(), view.rows, view.cols,
                                  static_cast<std::ptrdiff_t>(view.cols) * 4, 4,
                                  outside_name(view.dtype)});
        }
    }
};

}  // namespace

// operator new itself: the compiler may do without a `new` that it sees through.
TEST(the_harness_makes_allocations_fail) {
    const Failing second(2);
    void* first = ::operator new(1);
    CHECK(!second.happened());
    CHECK_THROWS(first = ::operator new(1), std::bad_alloc, "");
    CHECK(second.happened());
    ::operator delete(first);
    ::operator delete(::operator new(1));  // only that one
}

TEST(an_engine_is_made_or_not) {
    long n = 1;
    for (bool failed = true; failed; ++n) {
        failed = false;
        const Failing in_here(n);
        try {
            Engine engine({4096, "auto", true, 512, 3});
        } catch (const std::bad_alloc&) {
            failed = true;
        }
    }
    CHECK(n > 10);
}

TEST(load) {
    const Step supply_and_run = [](Engine& engine) {
        Whole().supply(engine);
        engine.run();
    };
    for (const Step& before : {kNothing, Step(hand_built), Step(ready), Step(ready_and_run)}) {
        each_allocation_fails(kConfig, before, load_whole, supply_and_run, Asks::kForMemory);
    }
}

TEST(load_in_the_middle_of_another_program) {
    const Step half = [](Engine& engine) {
        ready(engine);
        Driver{engine}.both({0, 1});
    };
    each_allocation_fails(kConfig, half, load_whole, ready_and_run, Asks::kForMemory);
    // And where the new one is refused: the old one goes on.
    for (long n = 1, failed = 1; failed; ++n) {
        Engine engine(kConfig);
        half(engine);
        Tables bad = Whole().schedule();
        bad.stream.back().row = 99;
        failed = throws_with_failing(n, [&] { engine.load(std::move(bad)); });
        Driver{engine}.both({2, 3, 4, 5, 6});
        engine.finish(9);
        CHECK_EQUAL(get(engine, 2)[63], 32.0f);
    }
}

TEST(performing_asks_for_no_memory) {
    const Step events = [](Engine& engine) { Driver{engine}.both({0, 1, 2, 3, 4, 5, 6}); };
    const Step finish = [](Engine& engine) { engine.finish(7); };
    const Step performed = [&](Engine& engine) {
        ready(engine);
        events(engine);
    };
    each_allocation_fails(kConfig, ready, run, kNothing, Asks::kForNone);
    each_allocation_fails(kConfig, ready, events, finish, Asks::kForNone);
    each_allocation_fails(kConfig, performed, finish, kNothing, Asks::kForNone);
}

TEST(performing_asks_for_no_memory_with_any_kernel_and_type) {
    for (const Kernel& kernel : kernels()) {
        for (const DType dtype : {DType::kFp32, DType::kBf16, DType::kFp16, DType::kInt8, DType::kUint8, DType::kInt16}) {
            for (const bool transposed : {false, true}) {
                for (const bool narrow : {false, true}) {
                    const Typed schedule(dtype, transposed, narrow);
                    const Step before = [&](Engine& engine) {
                        engine.load(schedule.schedule());
                        schedule.supply(engine);
                    };
                    each_allocation_fails({0x8000, kernel.name, true}, before, run, kNothing,
                                          Asks::kForNone);
                }
            }
        }
    }
}

TEST(reset) {
    const Step reset = [](Engine& engine) { engine.reset(); };
    each_allocation_fails(kConfig, ready_and_run, reset, run, Asks::kForNone);
    each_allocation_fails(kConfig, hand_built, reset, hand_built, Asks::kForNone);
}

TEST(tensors) {
    const std::vector<float> values(8 * 16, 4.0f);
    const Step set_x = [&](Engine& engine) { engine.set_tensor(0, matrix(values, 8, 16)); };
    each_allocation_fails(kConfig, ready, set_x, run, Asks::kForNone);
    each_allocation_fails(kConfig, ready, [](Engine& e) { e.tensor(0); }, run, Asks::kForMemory);
    each_allocation_fails(kConfig, ready, [](Engine& e) { e.tensor_view(0); }, run, Asks::kForNone);
}

TEST(add_tensor) {
    const Step add = [](Engine& engine) { engine.add_tensor(4, 6, Role::kInput); };
    each_allocation_fails(kConfig, hand_built, add, use_new_tensor, Asks::kForMemory);
    const EngineConfig trusting = {4096, "auto", false};
    each_allocation_fails(trusting, hand_built, add, use_new_tensor, Asks::kForMemory);
    // Many, so that every table has to grow at some time.
    const Step many = [](Engine& engine) {
        hand_built(engine);
        for (int i = 0; i < 61; ++i) engine.add_tensor(1, 1, Role::kWeight);
    };
    each_allocation_fails(kConfig, many, add, use_new_tensor, Asks::kForMemory);
}

TEST(a_tensor_that_no_memory_can_hold) {
    Engine engine(kConfig);
    hand_built(engine);
    const std::string before = seen(engine);
    const auto add = [&](std::uint32_t rows, std::uint32_t cols, DType dtype = DType::kFp32) {
        engine.add_tensor(rows, cols, Role::kIntermediate, dtype);
    };
    CHECK_THROWS(add(0xFFFFFFFF, 1u << 28), std::bad_alloc, "");
    CHECK_THROWS(add(1u << 20, 1u << 28), std::bad_alloc, "");
    CHECK_THROWS(add(1u << 28, 1u << 31, DType::kInt8), std::bad_alloc, "");
    CHECK_THROWS(add(0xFFFFFFFF, 0x3FFFFFF0), ScheduleError, "end at or below address 2^62, not");
    CHECK_THROWS(add(0xFFFFFFFF, 0xFFFFFFFF), UsageError, "too long");
    CHECK(seen(engine) == before);
    rest_of_hand_built(engine);
    CHECK_EQUAL(get(engine, 2)[15], 24.0f);
    engine.reset();
    CHECK(std::isnan(get(engine, 2)[0]));
}

TEST(dispatch) {
    const Step store = [](Engine& engine) { engine.dispatch(SchedStore{kY, {}}); };
    const Step execute = [](Engine& engine) { engine.dispatch(product()); };
    const Step both = [](Engine& engine) {
        hand_built(engine);
        engine.dispatch(product());
    };
    each_allocation_fails(kConfig, hand_built, execute, store, Asks::kForMemory);
    each_allocation_fails(kConfig, both, store, [](Engine& e) { e.reset(); }, Asks::kForMemory);
}

// A hazard is the program's fault, and stops the engine; want of memory while it is told does, too.
TEST(hazards) {
    for (long n = 1, failed = 1; failed; ++n) {
        Engine engine(kConfig);
        ready(engine);
        const std::uint32_t events[] = {0, 4};  // EXECUTE starts while a LOAD is in flight
        const std::int64_t cycles[] = {0, 1};
        failed = throws_with_failing(n, [&] { engine.replay(events, cycles, 2); });
        CHECK_THROWS(engine.run(), ScheduleError, "needs reset()");
        CHECK_THROWS(engine.finish(2), ScheduleError, "needs reset()");
        engine.reset();
        engine.run();
        CHECK_EQUAL(get(engine, 2)[63], 32.0f);
    }
}

TEST(a_timed_dram_serves_all_or_nothing) {
    const auto first = [](DramMemory& x) { return x.transfer(64, 192, 40, 130, false, 1000, 0).end; };
    const auto second = [](DramMemory& x) { return x.transfer(64, 192, 90, 130, false, 2000, 0).end; };
    DramMemory untroubled(small_part());
    const Cycle early = first(untroubled), late = second(untroubled);
    long n = 1;
    for (bool failed = true; failed; ++n) {
        DramMemory memory(small_part());
        CHECK_EQUAL(first(memory), early);
        failed = false;
        try {
            const Failing in_here(n);
            CHECK_EQUAL(second(memory), late);
        } catch (const std::bad_alloc&) {
            failed = true;
        }
        if (failed) CHECK_EQUAL(second(memory), late);
    }
    CHECK(n > 2);
    for (bool failed = true; failed; ++n) {
        failed = false;
        const Failing in_here(n - 2);
        try {
            DramMemory memory(small_part());
        } catch (const std::bad_alloc&) {
            failed = true;
        }
    }
    CHECK(n > 20);
}
