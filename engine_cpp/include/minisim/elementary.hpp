// How an elementary function becomes a correctly rounded one on every platform, and what several of
// them are made of.
//
// A function is one template over the number N that it is computed in. In double it is quick, with a
// relative error of at most kError; where that leaves two floats to choose from, it is computed in
// double-double, good to 2^-90. Nearer than 2^-64 to the middle between two floats no value of these
// functions lies but where they are exact. Only +, -, *, /, fma and square roots are used, which are
// IEEE 754's, so no mathematical library has a say (check_elementary.cpp tries all 2^32 arguments).
//
//     struct Tanh {
//         static constexpr double kError = 0x1p-46;
//         template <class N> static N of(double x);    // of a float; branch-free if N is double
//         static float exact(float x);                 // special values, and exactly<Tanh>(x) else
//     };
//
// Where `of` has no value (outside of the domain, or where it is infinite) it gives a NaN in double:
// then exact() decides.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "minisim/double_double.hpp"
#include "minisim/exponential.hpp"
#include "minisim/inline.hpp"
#include "minisim/kernels.hpp"

#if defined(__clang__)
#define MINISIM_UNROLL _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define MINISIM_UNROLL _Pragma("GCC unroll 96")
#else
#define MINISIM_UNROLL
#endif

namespace minisim {

constexpr double kNoDouble = std::numeric_limits<double>::quiet_NaN();

inline float the_nan() {
    float nan;
    std::memcpy(&nan, &kNanBits, sizeof nan);
    return nan;
}

// For `elementary` (lanes.hpp).
template <class Function>
struct Rounded {
    MINISIM_INLINE static FloatInterval quick(float x) {
        const double y = Function::template of<double>(static_cast<double>(x));
        return {static_cast<float>(y * (1.0 - Function::kError)),  // products keep the sign of a zero
                static_cast<float>(y * (1.0 + Function::kError))};
    }
    static float exact(float x) { return Function::exact(x); }
};

template <class Function>
float exactly(float x) {
    return to_float(Function::template of<DoubleDouble>(static_cast<double>(x)));
}

// -- what is the same in both numbers ---------------------------------------------------------------

MINISIM_INLINE double high_of(double x) { return x; }
inline double high_of(DoubleDouble x) { return x.high; }

MINISIM_INLINE double square_root(double x) { return std::sqrt(x); }

// How many terms of a series are summed up.
template <class N>
constexpr int terms(int quick, int exact) {
    return sizeof(N) == sizeof(double) ? quick : exact;
}

// x * a / b, of whole numbers a and b.
MINISIM_INLINE double fraction(double x, int a, int b) {
    return x * (static_cast<double>(a) / static_cast<double>(b));
}
inline DoubleDouble fraction(DoubleDouble x, int a, int b) {
    return x * static_cast<double>(a) / static_cast<double>(b);
}

MINISIM_INLINE double scaled(double x, double power_of_two) { return x * power_of_two; }
inline DoubleDouble scaled(DoubleDouble x, double power_of_two) {
    return {x.high * power_of_two, x.low * power_of_two};
}

// `size` with the sign of x.
MINISIM_INLINE double with_sign(double size, double x) { return std::copysign(size, x); }
inline DoubleDouble with_sign(DoubleDouble size, double x) { return std::signbit(x) ? -size : size; }

// 2^n, for whole n from -1022 to 1023.
MINISIM_INLINE double two_to(double n) {
    const double biased = n + (0x1.8p52 + 1023.0);  // leaves n + 1023 in the low bits
    std::uint64_t bits;
    std::memcpy(&bits, &biased, sizeof bits);
    bits <<= 52;
    double power;
    std::memcpy(&power, &bits, sizeof power);
    return power;
}

// -- exp(y) - 1 -------------------------------------------------------------------------------------

// exp(y), |y| <= 110
MINISIM_INLINE double exponential_of(double y, double) { return double_exp(y); }
inline DoubleDouble exponential_of(double y, DoubleDouble) { return double_double_exp(y); }

// y - n ln(2), from ln(2) in parts.
MINISIM_INLINE double without_ln2(double y, double n, double) {
    return std::fma(n, -0x1.abc9e3b39803fp-56, std::fma(n, -0x1.62e42fefa39efp-1, y));
}
inline DoubleDouble without_ln2(double y, double n, DoubleDouble) {
    const DoubleDouble r = product(n, -0x1.62e42fefa39efp-1) + y;
    return r + product(n, -0x1.abc9e3b39803fp-56) + n * -0x1.7b57a079a1934p-111;
}

// For 0 <= y <= 230; small in relative terms, too: where y is small, so is the error.
template <class N>
MINISIM_INLINE N exp_minus_one(double y) {
    constexpr double kShift = 0x1.8p52;
    const double n = std::fma(y, 0x1.71547652b82fep0, kShift) - kShift;  // round(y / ln(2))
    const N r = without_ln2(y, n, N());
    N p = 1.0;  // Taylor's series, r (1 + r/2 (1 + r/3 (...)))
    MINISIM_UNROLL
    for (int i = terms<N>(15, 28); i >= 2; --i) p = fraction(p * r, 1, i) + 1.0;
    const double power = two_to(n);
    return scaled(p * r, power) + (power - 1.0);
}

}  // namespace minisim
