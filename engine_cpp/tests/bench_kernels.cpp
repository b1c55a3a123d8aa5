// Speed of every kernel, and of the hazard tracker, on this processor: bench_kernels

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "builder.hpp"

using namespace minisim;

namespace {

// Seconds per call: the best of twenty rounds of about ten milliseconds.
template <class Work>
double seconds(Work work) {
    using Clock = std::chrono::steady_clock;
    const auto time = [&](int calls) {
        const auto begin = Clock::now();
        for (int i = 0; i < calls; ++i) work();
        return std::chrono::duration<double>(Clock::now() - begin).count() / calls;
    };
    const int calls = std::max(1, static_cast<int>(0.01 / time(3)));
    double best = time(calls);
    for (int i = 0; i < 20; ++i) best = std::min(best, time(calls));
    return best;
}

template <class Sum>
void bench_matmul(const Kernel& kernel, void (*matmul)(const MatmulArgsOf<Sum>&, Scratch&), DType dtype,
                  const char* name, std::size_t edge, bool b_transposed) {
    std::vector<float> a(edge * edge), b(edge * edge);  // room for any type
    std::vector<Sum> c(edge * edge);
    Scratch scratch;
    MatmulArgsOf<Sum> args{};
    args.a_dtype = args.b_dtype = dtype;
    args.a = a.data();
    args.b = b.data();
    args.c = c.data();
    args.m = args.k = args.n = edge;
    args.b_transposed = b_transposed;
    args.clear = true;
    const double s = seconds([&] { matmul(args, scratch); });
    const double operations = 2.0 * static_cast<double>(edge * edge * edge);
    std::printf("%-10s %s %3zu%s %8.2f Gop/s\n", kernel.name, name, edge,
                b_transposed ? " b^T" : "    ", operations / s / 1e9);
}

void bench_vector(const Kernel& kernel, VectorOp op, const char* name) {
    std::vector<float> x(1024), out(1024);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = 0.01f * static_cast<float>(i) - 5.0f;
    const VectorSource source = {x.data(), 32, 1};
    const double s = seconds([&] { kernel.vector({op, {source, source}, out.data(), 32, 32}); });
    std::printf("%-10s %-8s      %8.2f ns/element\n", kernel.name, name, s * 1e9 / 1024);
}

// The same schedule of 32-cubed steps with and without checks; the difference is the tracker.
double bench_engine(bool check_hazards) {
    constexpr std::uint32_t kSteps = 512;
    Builder b;
    const std::uint32_t x = b.tensor(32, 32 * kSteps, Role::kInput);
    const std::uint32_t y = b.tensor(32, 32, Role::kIntermediate);  // nobody stores it
    const std::uint32_t c = b.tile(y, 0, 0, 32, 32, kSteps);
    for (std::uint32_t step = 0; step < kSteps; ++step) {
        const std::uint32_t a = b.tile(x, 0, 32 * step, 32, 32);
        if (step == 0) b.load(a, 0);
        b.execute(0 == step ? a : 1, 0, 0 == step ? a : 1, 0, c, 0x1000, step);
    }
    Engine engine({1 << 16, "auto", check_hazards});
    engine.load(b.schedule());
    set(engine, x, std::vector<float>(32 * 32 * kSteps, 0.01f));
    return seconds([&] {
               engine.reset();
               engine.run();
           }) /
           kSteps;
}

}  // namespace

int main() {
    for (const Kernel& kernel : kernels()) {
        for (const std::size_t edge : {32, 128}) {
            bench_matmul(kernel, kernel.matmul, DType::kFp32, "fp32", edge, false);
            bench_matmul(kernel, kernel.matmul, DType::kBf16, "bf16", edge, false);
            bench_matmul(kernel, kernel.integer_matmul, DType::kInt8, "int8", edge, false);
        }
        bench_matmul(kernel, kernel.matmul, DType::kFp32, "fp32", 32, true);
        bench_vector(kernel, VectorOp::kSigmoid, "sigmoid");
        bench_vector(kernel, VectorOp::kAdd, "add");
    }
    const double with = bench_engine(true), without = bench_engine(false);
    std::printf("engine, a 32-cubed EXECUTE: %.0f ns, of which hazard checks %.0f ns\n",
                with * 1e9, (with - without) * 1e9);
}
