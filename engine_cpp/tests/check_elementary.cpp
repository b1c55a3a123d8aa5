// Tries an elementary function of the fastest kernel on all 2^32 floats: `check_elementary tanh`. Not a
// test: a minute or some for each.
//
// The reference is the C library, in double (taken to be wrong by at most 2^-48) and, where that is too
// near to the middle between two floats to tell, in long double (2^-58), which is a format of 64 bits
// where this is worth running. What even that cannot tell is printed, with the answer given, for
// tests/engine/test_elementary.py, which computes with 300 bits.

#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "minisim/kernels.hpp"

using namespace minisim;

namespace {

struct Function {
    const char* name;
    VectorOp op;
    double (*quick)(double);
    long double (*exact)(long double);
};

#define MINISIM_FUNCTION(name, Name)                                                               \
    {#name, VectorOp::k##Name, [](double x) { return std::name(x); },                              \
     [](long double x) { return std::name(x); }}

const Function kFunctions[] = {
    MINISIM_FUNCTION(exp, Exp),
    MINISIM_FUNCTION(tanh, Tanh),
    MINISIM_FUNCTION(log, Log),
    MINISIM_FUNCTION(erf, Erf),
    MINISIM_FUNCTION(sin, Sin),
    MINISIM_FUNCTION(cos, Cos),
    MINISIM_FUNCTION(tan, Tan),
    MINISIM_FUNCTION(asin, Asin),
    MINISIM_FUNCTION(acos, Acos),
    MINISIM_FUNCTION(atan, Atan),
    MINISIM_FUNCTION(sinh, Sinh),
    MINISIM_FUNCTION(cosh, Cosh),
    MINISIM_FUNCTION(asinh, Asinh),
    MINISIM_FUNCTION(acosh, Acosh),
    MINISIM_FUNCTION(atanh, Atanh),
    {"sigmoid", VectorOp::kSigmoid, [](double x) { return 1 / (1 + std::exp(-x)); },
     [](long double x) { return 1 / (1 + std::exp(-x)); }},
    {"softplus", VectorOp::kSoftplus,
     [](double x) { return std::fmax(x, 0.0) + std::log1p(std::exp(-std::fabs(x))); },
     [](long double x) { return std::fmax(x, 0.0L) + std::log1p(std::exp(-std::fabs(x))); }},
};

float from_bits(std::uint32_t u) {
    float x;
    std::memcpy(&x, &u, sizeof x);
    return x;
}

std::uint32_t bits(float x) {
    std::uint32_t u;
    std::memcpy(&u, &x, sizeof u);
    return u;
}

// Whether all within this relative distance of y round to one float, which it sets.
template <class Real>
bool decided(Real y, Real error, float& nearest) {
    nearest = static_cast<float>(y * (1 - error));
    return nearest == static_cast<float>(y * (1 + error));
}

struct Found {
    std::uint64_t wrong = 0, close = 0;
    std::vector<std::uint32_t> open;  // what the reference cannot tell
};

void check(const Function& f, std::uint64_t begin, std::uint64_t end, Found& found) {
    constexpr std::size_t kBlock = 4096;
    std::vector<float> in(kBlock), out(kBlock);
    for (std::uint64_t u = begin; u < end; ++u) {
        const std::size_t i = u % kBlock;
        if (i == 0) {
            for (std::size_t j = 0; j < kBlock; ++j) in[j] = from_bits(static_cast<std::uint32_t>(u + j));
            kernels().back().vector({f.op, {{{in.data(), 0, 1}}}, out.data(), 1, kBlock});
        }
        const float x = in[i], y = out[i];
        const double true_y = f.quick(static_cast<double>(x));
        float expected;
        if (true_y != true_y) {
            if (y == y && ++found.wrong < 10) std::printf("%a: %a, not NaN\n", x, y);
            continue;
        }
        if (!decided(true_y, 0x1p-48, expected)) {
            ++found.close;
            if (!decided(f.exact(static_cast<long double>(x)), 0x1p-58L, expected)) {
                found.open.push_back(static_cast<std::uint32_t>(u));
                continue;
            }
        }
        if (bits(y) != bits(expected) && ++found.wrong < 10) {
            std::printf("%a (0x%08X): %a, not %a\n", x, bits(x), y, expected);
        }
    }
}

void check(const Function& f, unsigned threads) {
    constexpr std::uint64_t kAll = std::uint64_t{1} << 32;
    constexpr std::uint64_t kPart = std::uint64_t{1} << 24;  // neighbours cost alike: parts take turns
    std::vector<Found> found(threads);
    std::vector<std::thread> running;
    for (unsigned t = 0; t < threads; ++t) {
        running.emplace_back([&, t] {
            for (std::uint64_t begin = t * kPart; begin < kAll; begin += threads * kPart) {
                check(f, begin, begin + kPart, found[t]);
            }
        });
    }
    for (std::thread& thread : running) thread.join();
    Found all;
    for (const Found& part : found) {
        all.wrong += part.wrong;
        all.close += part.close;
        all.open.insert(all.open.end(), part.open.begin(), part.open.end());
    }
    std::printf("%s: %llu of 2^32 wrong, %llu decided in long double, %zu open\n", f.name,
                static_cast<unsigned long long>(all.wrong),
                static_cast<unsigned long long>(all.close), all.open.size());
    for (const std::uint32_t u : all.open) std::printf("    0x%08X\n", u);
    std::fflush(stdout);
}

}  // namespace

// The names of functions, or none for all; threads=N before them.
int main(int count, char** arguments) {
    std::vector<std::string> names(arguments + 1, arguments + count);
    unsigned threads = 1;
    if (!names.empty() && names[0].rfind("threads=", 0) == 0) {
        threads = static_cast<unsigned>(std::stoul(names[0].substr(8)));
        names.erase(names.begin());
    }
    for (const Function& f : kFunctions) {
        bool asked = names.empty();
        for (const std::string& name : names) asked |= name == f.name;
        if (asked) check(f, threads);
    }
}
