// sigmoid(x) = 1 / (1 + exp(-x)), correctly rounded to float on every platform.
//
// Ziv's method: a quick evaluation in double whose error is bounded. If both ends of the interval
// that it leaves round to the same float, that float is the answer; otherwise (448 of all 2^32
// arguments) double-double arithmetic decides. No function of libm is called but fma, which is
// exact by definition, so every platform gets the same bits.
#pragma once

#include "minisim/exponential.hpp"
#include "minisim/inline.hpp"

namespace minisim {

// Correctly rounded: NaN gives NaN (kNanBits), +inf 1, -inf 0.
float sigmoid(float x);

// The slow path on its own: double-double arithmetic, good to about 2^-95.
float sigmoid_exact(float x);

// The relative error of the quick evaluation: below 2^-50 (exp: reduction 2^-53, remainder of the
// series 2^-57, Horner's last steps 2^-52; sum and quotient 2^-53 each). Twice over, to be safe.
constexpr double kSigmoidError = 0x1p-49;

// Branch-free, so that compilers vectorise loops over it. For a NaN the ends are NaN, so unequal.
MINISIM_INLINE FloatInterval sigmoid_quick(float x) {
    // Beyond these ends the result is 0 or 1 to the last bit of a float; clamping keeps the
    // exponents small. A NaN passes both comparisons.
    double y = -static_cast<double>(x);
    y = y > 110.0 ? 110.0 : y;
    y = y < -30.0 ? -30.0 : y;

    const double s = 1.0 / (1.0 + double_exp(y));
    return {static_cast<float>(s - s * kSigmoidError), static_cast<float>(s + s * kSigmoidError)};
}

// For `elementary` (lanes.hpp).
struct Sigmoid {
    MINISIM_INLINE static FloatInterval quick(float x) { return sigmoid_quick(x); }
    static float exact(float x) { return sigmoid_exact(x); }
};

}  // namespace minisim
