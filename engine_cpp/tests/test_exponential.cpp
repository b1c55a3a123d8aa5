#include <cmath>
#include <cstring>
#include <limits>

#include "check.hpp"
#include "minisim/exponential.hpp"
#include "minisim/kernels.hpp"

using namespace minisim;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

std::uint32_t bits(float x) {
    std::uint32_t u;
    std::memcpy(&u, &x, sizeof u);
    return u;
}

}  // namespace

TEST(exponential_special_values) {
    CHECK_EQUAL(bits(exponential(0.0f)), bits(1.0f));
    CHECK_EQUAL(bits(exponential(-0.0f)), bits(1.0f));
    CHECK_EQUAL(bits(exponential(kInf)), bits(kInf));
    CHECK_EQUAL(bits(exponential(-kInf)), bits(0.0f));
    CHECK_EQUAL(bits(exponential(std::numeric_limits<float>::max())), bits(kInf));
    CHECK_EQUAL(bits(exponential(std::numeric_limits<float>::lowest())), bits(0.0f));
    CHECK_EQUAL(bits(exponential(std::nanf(""))), kNanBits);
    CHECK_EQUAL(bits(exponential(-std::nanf("1"))), kNanBits);
    CHECK_EQUAL(bits(exponential(1.0f)), bits(0x1.5bf0a8p1f));
}

// The last finite result, and the ends of the denormal ones: ln(2^-149) = -103.279, ln(2^-150) = -103.972.
TEST(exponential_overflow_and_denormal_results) {
    CHECK(exponential(kExponentialLimit) < kInf);
    CHECK_EQUAL(exponential(std::nextafter(kExponentialLimit, kInf)), kInf);
    CHECK_EQUAL(exponential_exact(std::nextafter(kExponentialLimit, kInf)), kInf);
    CHECK_EQUAL(bits(exponential(-103.2f)), 1u);
    CHECK_EQUAL(bits(exponential(-103.97f)), 1u);
    CHECK_EQUAL(bits(exponential(-103.98f)), 0u);
    CHECK_EQUAL(bits(exponential(-110.5f)), 0u);
}

// exp(x) = 1 + x + x^2 / 2: beside the middle between two floats if x is that far from 1, and only
// the term x^2 / 2 decides. Double arithmetic alone cannot see it.
TEST(exponential_hard_cases) {
    CHECK_EQUAL(exponential(0x1p-24f), 0x1.000002p0f);   // just above the middle of 1 and the next
    CHECK_EQUAL(exponential(-0x1p-25f), 1.0f);           // just above that of 1 and the one before
    CHECK_EQUAL(exponential(0x1.8p-23f), 0x1.000004p0f);
    CHECK_EQUAL(exponential(0x1.97f0f6p4f), 0x1.b8a17cp36f);
    for (const float x : {0x1p-24f, -0x1p-25f, 0x1.97f0f6p4f}) {
        const FloatInterval y = exponential_quick(x);
        CHECK(y.low != y.high);  // so these did take the slow path
    }
}

TEST(exponential_quick_and_slow_agree) {
    for (std::uint32_t u = 0; u < 0xFF800000u; u += 40009) {
        float x;
        std::memcpy(&x, &u, sizeof x);
        if (x != x) continue;
        const FloatInterval y = exponential_quick(x);
        if (y.low == y.high) CHECK_EQUAL(bits(y.low), bits(exponential_exact(x)));
    }
}

TEST(exponential_is_monotonic) {
    float before = 0.0f;
    for (int i = -110 * 256; i <= 89 * 256; ++i) {
        const float now = exponential(static_cast<float>(i) / 256.0f);
        CHECK(now >= before);
        before = now;
    }
    CHECK_EQUAL(before, kInf);
}
