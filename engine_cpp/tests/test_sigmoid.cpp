#include <cmath>
#include <cstring>
#include <limits>

#include "check.hpp"
#include "minisim/kernels.hpp"
#include "minisim/sigmoid.hpp"

using namespace minisim;

namespace {

std::uint32_t bits(float x) {
    std::uint32_t u;
    std::memcpy(&u, &x, sizeof u);
    return u;
}

}  // namespace

TEST(sigmoid_special_values) {
    constexpr float kInf = std::numeric_limits<float>::infinity();
    CHECK_EQUAL(sigmoid(0.0f), 0.5f);
    CHECK_EQUAL(sigmoid(-0.0f), 0.5f);
    CHECK_EQUAL(bits(sigmoid(kInf)), bits(1.0f));
    CHECK_EQUAL(bits(sigmoid(-kInf)), bits(0.0f));
    CHECK_EQUAL(bits(sigmoid(std::numeric_limits<float>::max())), bits(1.0f));
    CHECK_EQUAL(bits(sigmoid(std::numeric_limits<float>::lowest())), bits(0.0f));
    CHECK_EQUAL(bits(sigmoid(std::nanf(""))), kNanBits);
    CHECK_EQUAL(bits(sigmoid(-std::nanf("1"))), kNanBits);
}

// ln(2^-149) = -103.279 and ln(2^-150) = -103.972: the ends of the smallest denormal.
TEST(sigmoid_denormal_results) {
    CHECK_EQUAL(bits(sigmoid(-103.2f)), 1u);
    CHECK_EQUAL(bits(sigmoid(-103.97f)), 1u);
    CHECK_EQUAL(bits(sigmoid(-103.98f)), 0u);
    CHECK_EQUAL(bits(sigmoid(-110.0f)), 0u);
}

// The result is just beside the middle between two floats: 1/2 + x/4 is that middle exactly, and
// only the term -x^3/48 decides. Double arithmetic alone cannot see it.
TEST(sigmoid_hard_cases) {
    CHECK_EQUAL(sigmoid(0x1p-23f), 0.5f);                 // just below the middle
    CHECK_EQUAL(sigmoid(0x1.8p-22f), 0x1.000002p-1f);     // 0.5 + 3 * 2^-25, just below
    CHECK_EQUAL(sigmoid(-0x1p-24f), 0.5f);                // just above the middle
    CHECK_EQUAL(sigmoid(-0x1.8p-23f), 0x1.fffffep-2f);
    for (const float x : {0x1p-23f, 0x1.8p-22f, -0x1p-24f, -0x1.8p-23f}) {
        const FloatInterval y = sigmoid_quick(x);
        CHECK(y.low != y.high);  // so these did take the slow path
    }
}

TEST(sigmoid_quick_and_slow_agree) {
    for (std::uint32_t u = 0; u < 0xFF800000u; u += 40009) {
        float x;
        std::memcpy(&x, &u, sizeof x);
        if (x != x) continue;
        const FloatInterval y = sigmoid_quick(x);
        if (y.low == y.high) CHECK_EQUAL(bits(y.low), bits(sigmoid_exact(x)));
    }
}

TEST(sigmoid_is_monotonic) {
    float before = 0.0f;
    for (int i = -110 * 256; i <= 30 * 256; ++i) {
        const float now = sigmoid(static_cast<float>(i) / 256.0f);
        CHECK(now >= before);
        before = now;
    }
    CHECK_EQUAL(before, 1.0f);
}
