// Every kernel gives the bits of the reference, which is checked against sums done by hand.

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "check.hpp"
#include "minisim/errors.hpp"
#include "minisim/kernels.hpp"

using namespace minisim;

namespace {

std::uint32_t bits(float x) {
    std::uint32_t u;
    std::memcpy(&u, &x, sizeof u);
    return u;
}

bool same_bits(const std::vector<float>& x, const std::vector<float>& y) {
    return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size() * sizeof(float)) == 0;
}

// Random floats; with `wild`, a good part of them are the values that arithmetic trips over.
std::vector<float> random_floats(std::mt19937& random, std::size_t count, bool wild) {
    constexpr float kInf = std::numeric_limits<float>::infinity();
    const float special[] = {0.0f,   -0.0f,  kInf,     -kInf,   std::nanf(""),
                             1e-45f, -1e-40f, 1e-30f,  -1e38f,  0x1p-126f,
                             3e38f,  1.0f,   -0x1p-149f};
    std::normal_distribution<float> normal;
    std::vector<float> values(count);
    for (float& x : values) {
        x = wild && random() % 16 == 0 ? special[random() % std::size(special)] : normal(random);
    }
    return values;
}

const VectorOp kElementwise[] = {
#define MINISIM_CODE(name, ...) VectorOp::k##name,
    MINISIM_ELEMENTWISE(MINISIM_CODE)
#undef MINISIM_CODE
};

struct Case {
    std::size_t m, k, n;
    bool a_transposed, b_transposed, clear, last, bias, residual;
    Activation activation;
    bool wild;
};

std::vector<float> multiply(const Kernel& kernel, const Case& x, unsigned seed) {
    std::mt19937 random(seed);
    const auto a = random_floats(random, x.m * x.k, x.wild);
    const auto b = random_floats(random, x.k * x.n, x.wild);
    const auto bias = random_floats(random, x.n, x.wild);
    const auto residual = random_floats(random, x.m * x.n, x.wild);
    auto c = random_floats(random, x.m * x.n, false);
    Scratch scratch;
    kernel.matmul({a.data(), b.data(), c.data(), x.bias ? bias.data() : nullptr,
                   x.residual ? residual.data() : nullptr, x.m, x.k, x.n, x.a_transposed,
                   x.b_transposed, x.clear, x.last, x.activation},
                  scratch);
    return c;
}

// NaNs inside a chain may differ in their bits between kernels; only what leaves it may not.
bool equal_results(const Case& x, const std::vector<float>& left, const std::vector<float>& right) {
    if (x.last) return same_bits(left, right);
    for (std::size_t i = 0; i < left.size(); ++i) {
        const bool both_nan = left[i] != left[i] && right[i] != right[i];
        if (!both_nan && bits(left[i]) != bits(right[i])) return false;
    }
    return true;
}

void compare_all(const Case& x, unsigned seed) {
    const auto expected = multiply(kReferenceKernel, x, seed);
    for (const Kernel& kernel : kernels()) {
        if (equal_results(x, expected, multiply(kernel, x, seed))) continue;
        std::printf("%s: m=%zu k=%zu n=%zu seed=%u\n", kernel.name, x.m, x.k, x.n, seed);
        CHECK(!"bits of the reference");
    }
}

}  // namespace

TEST(matmul_is_one_chain_from_zero) {
    // 2^24 + 1 is lost in fp32, so the order and the start show: ((0 + 2^24) + 1) - 2^24 = 0.
    const float a[] = {0x1p24f, 1.0f, -0x1p24f};
    const float b[] = {1.0f, 1.0f, 1.0f};
    for (const Kernel& kernel : kernels()) {
        float c = 99.0f;
        Scratch scratch;
        MatmulArgs args{};
        args.a = a;
        args.b = b;
        args.c = &c;
        args.m = args.n = 1;
        args.k = 3;
        args.clear = args.last = true;
        kernel.matmul(args, scratch);
        CHECK_EQUAL(bits(c), bits(0.0f));
    }
}

TEST(matmul_steps_are_fused) {
    const float a[] = {1.0f + 0x1p-12f, -1.0f};
    const float b[] = {1.0f + 0x1p-12f, 1.0f + 0x1p-11f};
    for (const Kernel& kernel : kernels()) {
        // The first product rounds to 1 + 2^-11; on its way back only fma sees the rest. With k
        // reversed, the chain is fma(a0, b0, -(1 + 2^-11)) = 2^-24.
        const float a_reversed[] = {a[1], a[0]}, b_reversed[] = {b[1], b[0]};
        float c = 0.0f;
        Scratch scratch;
        MatmulArgs args{};
        args.a = a_reversed;
        args.b = b_reversed;
        args.c = &c;
        args.m = args.n = 1;
        args.k = 2;
        args.clear = args.last = true;
        kernel.matmul(args, scratch);
        CHECK_EQUAL(c, 0x1p-24f);
    }
}

TEST(matmul_random_shapes) {
    std::mt19937 random(1);
    const auto flip = [&] { return random() % 2 == 0; };
    for (unsigned seed = 0; seed < 600; ++seed) {
        const auto edge = [&] { return std::size_t{1} + random() % (flip() ? 12 : 70); };
        const bool last = random() % 4 != 0;
        const auto activation = static_cast<Activation>(random() % kActivations);
        compare_all({edge(), edge(), edge(), flip(), flip(), flip(), last, flip(), flip(),
                     activation, flip()},
                    seed);
    }
}

TEST(matmul_every_edge) {
    for (std::size_t m = 1; m <= 17; ++m) {
        for (const std::size_t n : {1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65}) {
            compare_all({m, 5, n, false, m % 2 == 0, true, true, true, true, Activation::kRelu,
                         false},
                        static_cast<unsigned>(m));
        }
    }
}

TEST(steps_continue_the_chain) {
    std::mt19937 random(2);
    const auto a = random_floats(random, 9 * 40, false);
    const auto b = random_floats(random, 40 * 21, false);
    const auto run = [&](const Kernel& kernel, std::size_t split) {
        std::vector<float> c(9 * 21), left, right;
        Scratch scratch;
        for (std::size_t i = 0; i < 9; ++i) {
            left.insert(left.end(), &a[i * 40], &a[i * 40] + split);
            right.insert(right.end(), &a[i * 40] + split, &a[i * 40] + 40);
        }
        MatmulArgs args{};
        args.c = c.data();
        args.m = 9;
        args.n = 21;
        args.a = left.data();
        args.b = b.data();
        args.k = split;
        args.clear = true;
        kernel.matmul(args, scratch);
        args.a = right.data();
        args.b = b.data() + split * 21;
        args.k = 40 - split;
        args.clear = false;
        args.last = true;
        kernel.matmul(args, scratch);
        return c;
    };
    const auto expected = run(kReferenceKernel, 20);
    for (const Kernel& kernel : kernels()) {
        for (const std::size_t split : {1, 7, 20, 39}) {
            CHECK(same_bits(expected, run(kernel, split)));
        }
    }
}

TEST(relu_edges) {
    constexpr float kInf = std::numeric_limits<float>::infinity();
    const float in[] = {-0.0f, 0.0f, -1.0f, 2.0f, -kInf, kInf, std::nanf("3"), -1e-45f, 1e-45f};
    const float out[] = {0.0f, 0.0f, 0.0f, 2.0f, 0.0f, kInf, 0.0f, 0.0f, 1e-45f};
    for (const Kernel& kernel : kernels()) {
        float found[std::size(in)];
        kernel.vector({VectorOp::kRelu, {{{in, 0, 1}}}, found, 1, std::size(in)});
        for (std::size_t i = 0; i < std::size(in); ++i) {
            CHECK_EQUAL(bits(found[i]), in[i] != in[i] ? kNanBits : bits(out[i]));
        }
    }
}

TEST(vector_operations_and_broadcasts) {
    std::mt19937 random(3);
    for (unsigned seed = 0; seed < 600; ++seed) {
        const std::size_t rows = 1 + random() % 9, cols = 1 + random() % (seed % 4 ? 70 : 600);
        const auto x = random_floats(random, rows * cols, true);
        const auto y = random_floats(random, rows * cols, true);
        const auto source = [&](const std::vector<float>& values) {
            return VectorSource{values.data(), random() % 2 == 0 ? 0 : cols, random() % 2};
        };
        const auto z = random_floats(random, rows * cols, true);
        const VectorSource src0 = source(x), src1 = source(y), src2 = source(z);
        const VectorOp op = kElementwise[seed % std::size(kElementwise)];
        const auto run = [&](const Kernel& kernel) {
            std::vector<float> out(rows * cols);
            kernel.vector({op, {src0, src1, src2}, out.data(), rows, cols});
            return out;
        };
        for (const Kernel& kernel : kernels()) CHECK(same_bits(run(kReferenceKernel), run(kernel)));
    }
}

TEST(vector_operations_in_place) {
    std::mt19937 random(4);
    const auto x = random_floats(random, 5 * 37, true);
    for (const Kernel& kernel : kernels()) {
        for (const VectorOp op : kElementwise) {
            std::vector<float> apart(x.size()), in_place = x;
            const VectorSource from = {x.data(), 37, 1}, here = {in_place.data(), 37, 1};
            kernel.vector({op, {from, from, from}, apart.data(), 5, 37});
            kernel.vector({op, {here, here, here}, in_place.data(), 5, 37});
            CHECK(same_bits(apart, in_place));
        }
    }
}

TEST(kernels_by_name) {
    CHECK_EQUAL(kernel_named("reference").name, std::string("reference"));
    CHECK_EQUAL(kernel_named("auto").name, std::string(kernels().back().name));
    CHECK(kernels().size() >= 2);
    CHECK_THROWS(kernel_named("quantum"), UsageError, "not 'quantum'");
}
