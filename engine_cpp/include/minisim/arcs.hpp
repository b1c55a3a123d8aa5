// asin, acos and atan, correctly rounded (elementary.hpp).
#pragma once

#include "minisim/elementary.hpp"

namespace minisim {

// The tangent of half the angle.
template <class N>
MINISIM_INLINE N half_angle(N tangent) {
    return tangent / (N(1.0) + square_root(N(1.0) + tangent * tangent));
}

// The angle whose tangent is t, at most tan(pi/16) = 0.199: t - t^3 / 3 + t^5 / 5 - ...
template <class N>
MINISIM_INLINE N small_angle(N t) {
    const N z = t * t;
    N p = fraction(N(1.0), 1, 2 * terms<N>(12, 23) + 1);
    MINISIM_UNROLL
    for (int i = terms<N>(12, 23) - 1; i >= 0; --i) p = fraction(N(1.0), 1, 2 * i + 1) - p * z;
    return t * p;
}

struct Atan {
    static constexpr double kError = 0x1p-46;

    template <class N>
    MINISIM_INLINE static N of(double x) {
        double size = std::abs(x);
        size = size > 0x1p60 ? 0x1p60 : size;  // pi/2 to the last bit of a float
        const N eighth = half_angle(half_angle(half_angle(N(size))));
        return with_sign(scaled(small_angle(eighth), 8.0), x);
    }

    static float exact(float x) { return x != x ? the_nan() : exactly<Atan>(x); }
};

// tan(asin(x) / 2) = x / (1 + sqrt(1 - x^2))
struct Asin {
    static constexpr double kError = 0x1p-46;

    template <class N>
    MINISIM_INLINE static N of(double x) {
        const bool inside = std::abs(x) <= 1.0;
        const N size = inside ? std::abs(x) : 0.0;
        const N half = size / (N(1.0) + square_root((N(1.0) - size) * (N(1.0) + size)));
        const N y = scaled(small_angle(half_angle(half_angle(half))), 8.0);
        return inside ? with_sign(y, x) : N(kNoDouble);
    }

    static float exact(float x) { return std::abs(x) <= 1.0f ? exactly<Asin>(x) : the_nan(); }
};

// With s = sqrt((1 - x) / 2) and c = sqrt((1 + x) / 2), sine and cosine of acos(x) / 2: tan(acos(x) / 4) = s / (1 + c)
struct Acos {
    static constexpr double kError = 0x1p-46;

    template <class N>
    MINISIM_INLINE static N of(double x) {
        const bool inside = std::abs(x) <= 1.0;
        const N given = inside ? x : 0.0;
        const N s = square_root(scaled(N(1.0) - given, 0.5)), c = square_root(scaled(N(1.0) + given, 0.5));
        const N y = scaled(small_angle(half_angle(half_angle(s / (N(1.0) + c)))), 16.0);
        return inside ? y : N(kNoDouble);
    }

    static float exact(float x) { return std::abs(x) <= 1.0f ? exactly<Acos>(x) : the_nan(); }
};

}  // namespace minisim
