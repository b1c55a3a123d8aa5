// exp(x), correctly rounded to float on every platform.
//
// Ziv's method: a quick evaluation in double whose error is bounded. If both ends of the interval
// that it leaves round to the same float, that float is the answer; otherwise (20 of all 2^32
// arguments) double-double arithmetic decides. No function of libm is called but fma, which is
// exact by definition.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "minisim/inline.hpp"

namespace minisim {

// Correctly rounded: NaN gives NaN (kNanBits), +inf +inf, -inf +0.
float exponential(float x);

// The slow path on its own: double-double arithmetic, good to about 2^-95.
float exponential_exact(float x);

// Both ends of an interval around the true value, rounded to float. Equal ends are the answer.
struct FloatInterval {
    float low, high;
};

// The relative error of double_exp is below 2^-50 (reduction 2^-53, remainder of the series 2^-57,
// Horner's last steps 2^-52). Twice over, to be safe.
constexpr double kExponentialError = 0x1p-49;

// The greatest float whose exponential is below 2^128 (1 - 2^-25), from where on floats are infinite.
constexpr float kExponentialLimit = 0x1.62e42ep6f;

// exp(y) for -110 <= y <= 110. Branch-free, so that compilers vectorise loops over it. A NaN gives a NaN.
MINISIM_INLINE double double_exp(double y) {
    // exp(y) = 2^n exp(r), |r| <= ln(2) / 2. Adding 1.5 * 2^52 leaves n in the low bits of `t`.
    constexpr double kShift = 0x1.8p52;
    const double t = std::fma(y, 0x1.71547652b82fep0, kShift);  // log2(e)
    const double n = t - kShift;
    double r = std::fma(n, -0x1.62e42fefa39efp-1, y);  // ln(2), in two parts
    r = std::fma(n, -0x1.abc9e3b39803fp-56, r);

    double p = 1.0 / 6227020800.0;  // Taylor's series up to r^13 / 13!
    p = std::fma(p, r, 1.0 / 479001600.0);
    p = std::fma(p, r, 1.0 / 39916800.0);
    p = std::fma(p, r, 1.0 / 3628800.0);
    p = std::fma(p, r, 1.0 / 362880.0);
    p = std::fma(p, r, 1.0 / 40320.0);
    p = std::fma(p, r, 1.0 / 5040.0);
    p = std::fma(p, r, 1.0 / 720.0);
    p = std::fma(p, r, 1.0 / 120.0);
    p = std::fma(p, r, 1.0 / 24.0);
    p = std::fma(p, r, 1.0 / 6.0);
    p = std::fma(p, r, 0.5);
    p = std::fma(p, r, 1.0);
    p = std::fma(p, r, 1.0);

    std::uint64_t bits;
    std::memcpy(&bits, &t, sizeof bits);
    bits = (bits + 1023) << 52;  // 2^n
    double scale;
    std::memcpy(&scale, &bits, sizeof scale);
    return p * scale;
}

// For a NaN the ends are NaN, so unequal.
MINISIM_INLINE FloatInterval exponential_quick(float x) {
    constexpr float kInf = std::numeric_limits<float>::infinity();
    double y = static_cast<double>(x);
    y = y < -110.0 ? -110.0 : y;  // 2^-158, and the smallest float is 2^-149
    y = y > kExponentialLimit ? kExponentialLimit : y;
    const double e = double_exp(y);
    const float low = static_cast<float>(e - e * kExponentialError);
    const float high = static_cast<float>(e + e * kExponentialError);
    return {x > kExponentialLimit ? kInf : low, x > kExponentialLimit ? kInf : high};
}

// For `elementary` (lanes.hpp).
struct Exponential {
    MINISIM_INLINE static FloatInterval quick(float x) { return exponential_quick(x); }
    static float exact(float x) { return exponential_exact(x); }
};

}  // namespace minisim
