// Every pair of calls of a shared engine, from two threads at once. ThreadSanitizer proves what this
// test can only provoke: build it with MINISIM_SANITIZE=thread.

#include <atomic>
#include <thread>
#include <utility>

#include "minisim/shared_engine.hpp"
#include "two_steps.hpp"

using namespace minisim;

namespace {

constexpr int kRounds = 20;  // of each pair

// y = x w in two steps, in order: what TwoSteps declares, made a program that can run. The padded
// one's tensors have more rows and another pitch, so that a call that mixes both goes astray.
struct Whole : TwoSteps {
    explicit Whole(bool padded) {
        tensors[y].role = static_cast<std::uint8_t>(Role::kOutput);
        if (padded) {
            tensors[x].rows = 512;
            tensors[x].pitch = 4096;
        }
        load(x0, kA);
        load(w0, kB);
        execute(x0, kA, w0, kB, c, kC, 0);
        load(x1, kFree);
        load(w1, kB);
        execute(x1, kFree, w1, kB, c, kC, 1);
        store(c, kC, 2);
    }
};

struct Call {
    const char* name;
    std::function<void(SharedEngine&)> body;
};

void supply(SharedEngine& engine, std::uint32_t tensor, float value) {
    const TensorView shape = engine.tensor_view(tensor);
    engine.set_tensor(tensor,
                      matrix(std::vector<float>(shape.rows * shape.cols, value), shape.rows,
                             shape.cols));
}

const std::vector<Call>& calls() {
    static const Whole plain(false), padded(true);
    static const std::vector<Call> all = {
        {"config", [](SharedEngine& e) { CHECK_EQUAL(e.config().sram_bytes, 4096u); }},
        {"finished", [](SharedEngine& e) { e.finished(); }},
        {"stats", [](SharedEngine& e) { CHECK(e.stats().loads <= 1000); }},
        {"load",
         [](SharedEngine& e) {  // one load in two changes the shapes
             static std::atomic<unsigned> count{0};
             e.load((++count % 2 ? padded : plain).schedule());
         }},
        {"set_tensor", [](SharedEngine& e) { supply(e, 0, 1.0f); }},
        {"tensor",
         [](SharedEngine& e) {
             const TensorCopy copy = e.tensor(0);
             CHECK((copy.rows == 8 || copy.rows == 512) && copy.cols == 16);
         }},
        {"tensor_view",
         [](SharedEngine& e) {
             const TensorView view = e.tensor_view(0);
             CHECK_EQUAL(view.buffer->size(), view.rows * view.pitch);
         }},
        {"replay",
         [](SharedEngine& e) {
             const std::uint32_t events[] = {0, 1, 2, 3};
             const std::int64_t cycles[] = {0, 1, 2, 3};
             e.replay(events, cycles, 4);
         }},
        {"finish", [](SharedEngine& e) { e.finish(9); }},
        {"run", [](SharedEngine& e) { e.run(); }},
        {"reset", [](SharedEngine& e) { e.reset(); }},
        {"add_tensor", [](SharedEngine& e) { e.add_tensor(8, 16, Role::kInput, DType::kFp32); }},
        {"dispatch", [](SharedEngine& e) { e.dispatch(SchedLoad{{0, 0, 0, 8, 8, kA}, {}}); }},
    };
    return all;
}

// What may be said of a call that came at a bad moment; anything else ends the test.
void call_and_take_errors(SharedEngine& engine, const Call& call) {
    try {
        call.body(engine);
    } catch (const UsageError&) {
    } catch (const ScheduleError&) {
    } catch (const Hazard&) {
    }
}

// Both calls, over and over, as much at the same time as threads can be.
void together(SharedEngine& engine, const Call& one, const Call& other) {
    std::atomic<int> ready{0};
    const auto work = [&](const Call& call) {
        ++ready;
        while (ready < 2) std::this_thread::yield();
        for (int i = 0; i < kRounds; ++i) call_and_take_errors(engine, call);
    };
    std::thread thread(work, std::cref(other));
    work(one);
    thread.join();
}

// Whatever happened before, the engine computes y = x w: 16 products of 1 and 2.
void works(SharedEngine& engine) {
    engine.load(Whole(false).schedule());
    supply(engine, 0, 1.0f);
    supply(engine, 1, 2.0f);
    engine.run();
    CHECK(engine.finished());
    const TensorCopy y = engine.tensor(2);
    CHECK_EQUAL(reinterpret_cast<const float*>(y.data.get())[63], 32.0f);
}

}  // namespace

TEST(every_pair_of_calls_from_two_threads) {
    for (const bool hand_built : {true, false}) {
        for (std::size_t i = 0; i < calls().size(); ++i) {
            for (std::size_t j = i; j < calls().size(); ++j) {
                SharedEngine engine({4096, "reference", true});
                if (hand_built) {
                    engine.add_tensor(8, 16, Role::kInput, DType::kFp32);
                } else {
                    engine.load(Whole(true).schedule());
                }
                supply(engine, 0, 1.0f);
                together(engine, calls()[i], calls()[j]);
                works(engine);
            }
        }
    }
}

// Engines share nothing but what never changes: the list of kernels, made by whoever asks first.
TEST(engines_of_several_threads_are_apart) {
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([] {
            SharedEngine engine({4096, "auto", true});
            for (int round = 0; round < kRounds; ++round) works(engine);
        });
    }
    for (std::thread& thread : threads) thread.join();
}
