// The vector unit's operations: what they are on values that trip arithmetic, the order of reductions, and the
// bits of the reference in every kernel.

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "check.hpp"
#include "minisim/kernels.hpp"

using namespace minisim;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
const float kNan = std::nanf("7");

std::uint32_t bits(float x) {
    std::uint32_t u;
    std::memcpy(&u, &x, sizeof u);
    return u;
}

float binary(const Kernel& kernel, VectorOp op, float x, float y) {
    float out;
    kernel.vector({op, {{{&x, 0, 1}, {&y, 0, 1}}}, &out, 1, 1});
    return out;
}

float unary(const Kernel& kernel, VectorOp op, float x) {
    return binary(kernel, op, x, 0.0f);
}

float reduce(const Kernel& kernel, VectorOp op, const std::vector<float>& row) {
    float out;
    kernel.vector({op, {{{row.data(), 0, 1}}}, &out, 1, 1, row.size()});
    return out;
}

// As in test_kernels.cpp, with more of the values that differ in their bits alone.
std::vector<float> random_floats(std::mt19937& random, std::size_t count) {
    const float special[] = {0.0f, -0.0f, kInf, -kInf, kNan, 1e-45f, -1e-40f, 3e38f, 0x1p-126f};
    std::normal_distribution<float> normal;
    std::vector<float> values(count);
    for (float& x : values) {
        x = random() % 64 == 0 ? special[random() % std::size(special)] : normal(random);
    }
    return values;
}

}  // namespace

TEST(maximum_does_not_depend_on_the_order_of_its_operands) {
    for (const Kernel& kernel : kernels()) {
        const auto max = [&](float x, float y) { return bits(binary(kernel, VectorOp::kMax, x, y)); };
        CHECK_EQUAL(max(-0.0f, 0.0f), bits(0.0f));
        CHECK_EQUAL(max(0.0f, -0.0f), bits(0.0f));
        CHECK_EQUAL(max(-0.0f, -0.0f), bits(-0.0f));
        CHECK_EQUAL(max(-2.0f, -2.0f), bits(-2.0f));
        CHECK_EQUAL(max(-kInf, 3.0f), bits(3.0f));
        CHECK_EQUAL(max(3.0f, kInf), bits(kInf));
        for (const float x : {0.0f, kInf, -kInf}) {
            CHECK_EQUAL(max(kNan, x), kNanBits);
            CHECK_EQUAL(max(x, kNan), kNanBits);
        }
    }
}

TEST(subtraction_division_and_root_are_ieee) {
    for (const Kernel& kernel : kernels()) {
        CHECK_EQUAL(bits(binary(kernel, VectorOp::kSub, kInf, kInf)), kNanBits);
        CHECK_EQUAL(binary(kernel, VectorOp::kSub, 0x1p24f, -1.0f), 0x1p24f);  // a tie, to even
        CHECK_EQUAL(binary(kernel, VectorOp::kDiv, 1.0f, 3.0f), 0x1.555556p-2f);
        CHECK_EQUAL(binary(kernel, VectorOp::kDiv, -1.0f, 0.0f), -kInf);
        CHECK_EQUAL(bits(binary(kernel, VectorOp::kDiv, 0.0f, -0.0f)), kNanBits);
        CHECK_EQUAL(binary(kernel, VectorOp::kDiv, 0x1p-149f, 2.0f), 0.0f);  // a tie among denormals
        CHECK_EQUAL(unary(kernel, VectorOp::kSqrt, 2.0f), 0x1.6a09e6p0f);
        CHECK_EQUAL(bits(unary(kernel, VectorOp::kSqrt, -0.0f)), bits(-0.0f));
        CHECK_EQUAL(bits(unary(kernel, VectorOp::kSqrt, -1.0f)), kNanBits);
        CHECK_EQUAL(unary(kernel, VectorOp::kSqrt, kInf), kInf);
    }
}

// 2^24 + 1 is lost in fp32, so where a 1 comes in shows. Elements 32 apart share a partial sum.
TEST(a_sum_goes_through_32_partial_sums) {
    for (const Kernel& kernel : kernels()) {
        std::vector<float> row(65, 0.0f);
        row[0] = 0x1p24f;
        row[32] = 1.0f;  // added to 2^24, and lost
        row[64] = -0x1p24f;
        CHECK_EQUAL(reduce(kernel, VectorOp::kReduceSum, row), 0.0f);
        row[32] = 0.0f;
        row[1] = -1.0f;  // in a partial sum of its own until 2^24 is gone
        CHECK_EQUAL(reduce(kernel, VectorOp::kReduceSum, row), -1.0f);
        row[64] = 0.0f;
        row[16] = -0x1p24f;  // meets element 0 at the first level of the tree, element 1 at the last
        CHECK_EQUAL(reduce(kernel, VectorOp::kReduceSum, row), -1.0f);
        row[16] = 0.0f;
        row[17] = -0x1p24f;  // meets element 1 first, which is lost
        CHECK_EQUAL(reduce(kernel, VectorOp::kReduceSum, row), 0.0f);
    }
}

TEST(reductions_of_special_values) {
    for (const Kernel& kernel : kernels()) {
        const auto sum = [&](const std::vector<float>& row) {
            return bits(reduce(kernel, VectorOp::kReduceSum, row));
        };
        const auto max = [&](const std::vector<float>& row) {
            return bits(reduce(kernel, VectorOp::kReduceMax, row));
        };
        CHECK_EQUAL(sum({-0.0f}), bits(-0.0f));
        CHECK_EQUAL(sum({-0.0f, 0.0f}), bits(0.0f));
        CHECK_EQUAL(sum({kInf, 1.0f, -kInf}), kNanBits);
        CHECK_EQUAL(max({-kInf}), bits(-kInf));
        CHECK_EQUAL(max({-0.0f, -1.0f}), bits(-0.0f));
        for (const std::size_t at : {0, 31, 32, 69}) {
            std::vector<float> row(70, -3.0f);
            row[at] = 0.0f;
            CHECK_EQUAL(max(row), bits(0.0f));
            row[at] = kNan;
            CHECK_EQUAL(max(row), kNanBits);
            CHECK_EQUAL(sum(row), kNanBits);
        }
    }
}

TEST(reductions_have_the_same_bits_in_every_kernel) {
    std::mt19937 random(5);
    for (unsigned seed = 0; seed < 300; ++seed) {
        const std::size_t rows = 1 + random() % 5, length = 1 + random() % 200;
        const auto x = random_floats(random, rows * length);
        const auto op = seed % 2 == 0 ? VectorOp::kReduceSum : VectorOp::kReduceMax;
        const auto run = [&](const Kernel& kernel) {
            std::vector<float> out(rows);
            kernel.vector({op, {{{x.data(), length, 1}}}, out.data(), rows, 1, length});
            return out;
        };
        const auto expected = run(kReferenceKernel);
        for (const Kernel& kernel : kernels()) {
            CHECK(std::memcmp(expected.data(), run(kernel).data(), rows * sizeof(float)) == 0);
        }
    }
}
