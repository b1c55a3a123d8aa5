// Arithmetic with about 106 bits, and the exponential function in it: the slow path of functions that
// are correctly rounded by Ziv's method (exponential.hpp, sigmoid.hpp). No function of libm is called
// but fma and exact ones (nearbyint, ldexp, nextafter), so every platform gets the same bits.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

namespace minisim {

// The unevaluated sum of two doubles, |low| at most half an ulp of `high`.
struct DoubleDouble {
    double high = 0.0, low = 0.0;

    DoubleDouble() = default;
    constexpr DoubleDouble(double x) : high(x) {}  // exact, and so as implicit as for a double
    constexpr DoubleDouble(double h, double l) : high(h), low(l) {}
};

inline DoubleDouble fast_sum(double x, double y) {  // needs |x| >= |y|, or x == 0
    const double s = x + y;
    return {s, y - (s - x)};
}

inline DoubleDouble sum(double x, double y) {
    const double s = x + y;
    const double z = s - x;
    return {s, (x - (s - z)) + (y - z)};
}

inline DoubleDouble product(double x, double y) {
    const double p = x * y;
    return {p, std::fma(x, y, -p)};
}

inline DoubleDouble add(DoubleDouble x, DoubleDouble y) {
    const DoubleDouble high = sum(x.high, y.high);
    const DoubleDouble low = sum(x.low, y.low);
    const DoubleDouble s = fast_sum(high.high, high.low + low.high);
    return fast_sum(s.high, s.low + low.low);
}

inline DoubleDouble multiply(DoubleDouble x, DoubleDouble y) {
    const DoubleDouble p = product(x.high, y.high);
    return fast_sum(p.high, p.low + (x.high * y.low + x.low * y.high));
}

inline DoubleDouble divide(DoubleDouble x, DoubleDouble y) {
    const double first = x.high / y.high;
    const DoubleDouble back = multiply(y, {first, 0.0});
    const DoubleDouble rest = add(x, {-back.high, -back.low});
    return fast_sum(first, rest.high / y.high);
}

inline DoubleDouble operator+(DoubleDouble x, DoubleDouble y) { return add(x, y); }
inline DoubleDouble operator-(DoubleDouble x) { return {-x.high, -x.low}; }
inline DoubleDouble operator-(DoubleDouble x, DoubleDouble y) { return add(x, -y); }
inline DoubleDouble operator*(DoubleDouble x, DoubleDouble y) { return multiply(x, y); }
inline DoubleDouble operator/(DoubleDouble x, DoubleDouble y) { return divide(x, y); }

// Of x >= 0; one step of Newton's method from the root of `high`.
inline DoubleDouble square_root(DoubleDouble x) {
    const double first = std::sqrt(x.high);
    if (first == 0.0) return first;
    const DoubleDouble rest = add(x, -product(first, first));
    return fast_sum(first, rest.high / (2.0 * first));
}

// exp(y) for |y| <= 110, good to about 2^-95.
inline DoubleDouble double_double_exp(double y) {
    const double n = std::nearbyint(y * 0x1.71547652b82fep0);
    // y - n ln(2), with ln(2) as the sum of three doubles (good to 2^-160).
    DoubleDouble r = product(n, -0x1.62e42fefa39efp-1);
    r = add({y, 0.0}, r);
    r = add(r, product(n, -0x1.abc9e3b39803fp-56));
    r = add(r, {n * -0x1.7b57a079a1934p-111, 0.0});

    // Taylor's series in Horner's form: 0.35^28 / 28! is below 2^-140.
    DoubleDouble p = {1.0, 0.0};
    for (int i = 27; i >= 1; --i) {
        p = divide(multiply(p, r), {static_cast<double>(i), 0.0});
        p = add({1.0, 0.0}, p);
    }
    const int exponent = static_cast<int>(n);
    return {std::ldexp(p.high, exponent), std::ldexp(p.low, exponent)};
}

// Rounds once. Narrowing `high` alone would round twice where it lies exactly between two floats,
// so what `low` says goes into its last bit first (round to odd).
inline float to_float(DoubleDouble x) {
    constexpr double kInf = std::numeric_limits<double>::infinity();
    std::uint64_t bits;
    std::memcpy(&bits, &x.high, sizeof bits);
    if (x.low != 0.0 && bits % 2 == 0) x.high = std::nextafter(x.high, x.low > 0.0 ? kInf : -kInf);
    return static_cast<float>(x.high);
}

}  // namespace minisim
