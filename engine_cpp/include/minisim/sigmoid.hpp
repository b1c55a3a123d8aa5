// sigmoid(x) = 1 / (1 + exp(-x)), correctly rounded to float on every platform.
//
// Ziv's method: a quick evaluation in double whose error is bounded. If both ends of the interval
// that it leaves round to the same float, that float is the answer; otherwise (448 of all 2^32
// arguments) double-double arithmetic decides. No function of libm is called but fma, which is
// exact by definition, so every platform gets the same bits.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "minisim/inline.hpp"

namespace minisim {

// Correctly rounded: NaN gives NaN (kNanBits), +inf 1, -inf 0.
float sigmoid(float x);

// The slow path on its own: double-double arithmetic, good to about 2^-95.
float sigmoid_exact(float x);

// Both ends of an interval around the true value, rounded to float. Equal ends are the answer.
struct SigmoidInterval {
    float low, high;
};

// The relative error of the quick evaluation: below 2^-50 (exp: reduction 2^-53, remainder of the
// series 2^-57, Horner's last steps 2^-52; sum and quotient 2^-53 each). Twice over, to be safe.
constexpr double kSigmoidError = 0x1p-49;

// Branch-free, so that compilers vectorise loops over it. For a NaN the ends are NaN, so unequal.
MINISIM_INLINE SigmoidInterval sigmoid_quick(float x) {
    // Beyond these ends the result is 0 or 1 to the last bit of a float; clamping keeps the
    // exponents small. A NaN passes both comparisons.
    double y = -static_cast<double>(x);
    y = y > 110.0 ? 110.0 : y;
    y = y < -30.0 ? -30.0 : y;

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

    const double s = 1.0 / (1.0 + p * scale);
    return {static_cast<float>(s - s * kSigmoidError), static_cast<float>(s + s * kSigmoidError)};
}

}  // namespace minisim
