// sin, cos and tan, correctly rounded (elementary.hpp), of all floats.
//
// x = quadrant * pi/2 + rest. Below 2^20 a quick rest is exact but for the last parts of pi/2; beyond,
// and where a function is to be exact, x is multiplied by as many bits of 2/pi as matter (Payne and
// Hanek): no float but 0 is so near to a multiple of pi/2 that 190 bits would not tell.
#pragma once

#include "minisim/elementary.hpp"

namespace minisim {

template <class N>
struct Turned {
    N rest;  // from -pi/4 to pi/4, with a last bit of leeway
    int quadrant;  // modulo 4
};

// Of all finite floats; trigonometric.cpp.
Turned<DoubleDouble> turned(double x);

// For |x| < 2^20. Branch-free.
MINISIM_INLINE Turned<double> quickly_turned(double x) {
    constexpr double kShift = 0x1.8p52;
    const double t = std::fma(x, 0x1.45f306dc9c883p-1, kShift);
    const double n = t - kShift;
    double rest = std::fma(n, -0x1.921fb54442d18p+0, x);  // exact: a multiple of 2^-52, and below 1
    rest = std::fma(n, -0x1.1a62633145c07p-54, rest);
    std::uint64_t bits;
    std::memcpy(&bits, &t, sizeof bits);
    return {rest, static_cast<int>(bits & 3)};
}

template <class N>
MINISIM_INLINE N sine_near_zero(N r) {
    const N z = r * r;
    N p = 1.0;
    MINISIM_UNROLL
    for (int i = terms<N>(9, 14); i >= 1; --i) p = N(1.0) - fraction(p * z, 1, 2 * i * (2 * i + 1));
    return r * p;
}

template <class N>
MINISIM_INLINE N cosine_near_zero(N r) {
    const N z = r * r;
    N p = 1.0;
    MINISIM_UNROLL
    for (int i = terms<N>(10, 15); i >= 1; --i) p = N(1.0) - fraction(p * z, 1, 2 * i * (2 * i - 1));
    return p;
}

// What a function is of an angle in a quadrant. Branch-free for doubles.
struct SineOf {
    template <class N>
    MINISIM_INLINE static N of(N rest, int quadrant) {
        const N s = sine_near_zero(rest), c = cosine_near_zero(rest);
        const N y = quadrant & 1 ? c : s;
        return quadrant & 2 ? -y : y;
    }
};
struct CosineOf {
    template <class N>
    MINISIM_INLINE static N of(N rest, int quadrant) {
        return SineOf::of(rest, quadrant + 1);
    }
};
struct TangentOf {
    template <class N>
    MINISIM_INLINE static N of(N rest, int quadrant) {
        const N s = sine_near_zero(rest), c = cosine_near_zero(rest);
        const N y = (quadrant & 1 ? c : s) / (quadrant & 1 ? s : c);
        return quadrant & 1 ? -y : y;
    }
};

template <class Form>
struct Trigonometric {
    static constexpr double kError = 0x1p-45;

    template <class N>
    MINISIM_INLINE static N of(double x) {
        static_assert(sizeof(N) == sizeof(double));
        const bool inside = std::abs(x) < 0x1p20;
        const Turned<double> at = quickly_turned(inside ? x : 0.0);
        return inside ? Form::of(at.rest, at.quadrant) : kNoDouble;
    }

    // A large angle comes here to be turned: mostly double precision is enough from there on.
    static float exact(float x) {
        if (!(std::abs(x) < std::numeric_limits<float>::infinity())) return the_nan();
        const Turned<DoubleDouble> at = turned(static_cast<double>(x));
        const double y = Form::of(at.rest.high, at.quadrant);
        const float low = static_cast<float>(y * (1.0 - kError));
        if (low == static_cast<float>(y * (1.0 + kError))) return low;
        return to_float(Form::of(at.rest, at.quadrant));
    }
};

using Sin = Trigonometric<SineOf>;
using Cos = Trigonometric<CosineOf>;
using Tan = Trigonometric<TangentOf>;

}  // namespace minisim
