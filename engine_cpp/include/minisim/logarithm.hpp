// log and what is made of it, correctly rounded (elementary.hpp).
#pragma once

#include "minisim/elementary.hpp"

namespace minisim {

// y = 2^exponent * fraction, from sqrt(1/2) to sqrt(2). For normal y > 0; branch-free.
struct Split {
    double exponent, power;  // 2^-exponent
};

MINISIM_INLINE Split split(double y) {
    std::uint64_t bits;
    std::memcpy(&bits, &y, sizeof bits);
    // The bits of 1 less those of sqrt(1/2): what is at least that goes to the next exponent.
    const std::uint64_t biased = (bits + (0x3FF0000000000000u - 0x3FE6A09E667F3BCDu)) >> 52;
    const std::uint64_t magic = biased | 0x4330000000000000u;  // 2^52 + biased
    double exponent;
    std::memcpy(&exponent, &magic, sizeof exponent);
    exponent -= 0x1p52 + 1023.0;
    return {exponent, two_to(-exponent)};
}

// n ln(2) + x, from ln(2) in parts.
MINISIM_INLINE double with_ln2(double x, double n) {
    return std::fma(n, 0x1.62e42fefa39efp-1, std::fma(n, 0x1.abc9e3b39803fp-56, x));
}
inline DoubleDouble with_ln2(DoubleDouble x, double n) {
    const DoubleDouble low = product(n, 0x1.abc9e3b39803fp-56) + n * 0x1.7b57a079a1934p-111;
    return product(n, 0x1.62e42fefa39efp-1) + (low + x);
}

MINISIM_INLINE double choose(bool condition, double x, double y) { return condition ? x : y; }
inline DoubleDouble choose(bool condition, DoubleDouble x, DoubleDouble y) {
    return condition ? x : y;
}

// log(y) of a normal y > 0, given y - 1, which may be known better than y is:
// log(m) = 2 atanh(s), s = (m - 1) / (m + 1), |s| <= 0.172.
template <class N>
MINISIM_INLINE N log_of(N y, N less_one) {
    const Split at = split(high_of(y));
    const N m = scaled(y, at.power);
    const N part = choose(at.exponent == 0.0, less_one, m - N(1.0));
    const N s = part / (part + N(2.0));
    const N z = s * s;
    N p = fraction(N(1.0), 1, 2 * terms<N>(11, 21) + 1);
    MINISIM_UNROLL
    for (int i = terms<N>(11, 21) - 1; i >= 1; --i) p = p * z + fraction(N(1.0), 1, 2 * i + 1);
    return with_ln2((s + s) + (s + s) * (z * p), at.exponent);
}

template <class N>
MINISIM_INLINE N log_of_one_and(N u) {
    return log_of<N>(N(1.0) + u, u);
}

MINISIM_INLINE double only_if(bool condition, double x) { return condition ? x : kNoDouble; }
inline DoubleDouble only_if(bool, DoubleDouble x) { return x; }

struct Log {
    static constexpr double kError = 0x1p-47;

    template <class N>
    MINISIM_INLINE static N of(double x) {
        const bool inside = x > 0.0 && x < std::numeric_limits<double>::infinity();
        return only_if(inside, log_of<N>(N(x), N(x) - N(1.0)));
    }

    static float exact(float x) {
        constexpr float kInf = std::numeric_limits<float>::infinity();
        if (x == 0.0f) return -kInf;
        if (x == kInf) return kInf;
        return x > 0.0f ? exactly<Log>(x) : the_nan();
    }
};

// log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|)).
struct Softplus {
    static constexpr double kError = 0x1p-46;

    template <class N>
    MINISIM_INLINE static N of(double x) {
        const double size = std::abs(x);
        const N e = exponential_of(size > 110.0 ? -110.0 : -size, N());
        return N(x > 0.0 ? x : 0.0) + log_of_one_and<N>(e);
    }

    static float exact(float x) {
        if (x != x) return the_nan();
        return std::isinf(x) ? (x > 0.0f ? x : 0.0f) : exactly<Softplus>(x);
    }
};

// asinh |x| = log(1 + u), u = |x| + x^2 / (1 + sqrt(1 + x^2)).
struct Asinh {
    static constexpr double kError = 0x1p-46;

    template <class N>
    MINISIM_INLINE static N of(double x) {
        const N size = std::abs(x);
        const N square = size * size;
        const N u = size + square / (N(1.0) + square_root(N(1.0) + square));
        return with_sign(log_of_one_and<N>(u), x);
    }

    static float exact(float x) {
        if (x != x) return the_nan();
        return std::isinf(x) ? x : exactly<Asinh>(x);
    }
};

// acosh(x) = log(1 + u), u = t + sqrt(2 t + t^2), t = x - 1.
struct Acosh {
    static constexpr double kError = 0x1p-46;

    template <class N>
    MINISIM_INLINE static N of(double x) {
        const bool inside = x >= 1.0 && x < std::numeric_limits<double>::infinity();
        const N t = N(inside ? x : 1.0) - N(1.0);
        return only_if(inside, log_of_one_and<N>(t + square_root(t * (t + N(2.0)))));
    }

    static float exact(float x) {
        if (!(x >= 1.0f)) return the_nan();
        return std::isinf(x) ? x : exactly<Acosh>(x);
    }
};

// atanh |x| = log(1 + u) / 2, u = 2|x| / (1 - |x|).
struct Atanh {
    static constexpr double kError = 0x1p-46;

    template <class N>
    MINISIM_INLINE static N of(double x) {
        const bool inside = std::abs(x) < 1.0;
        const N size = inside ? std::abs(x) : 0.0;
        const N u = (size + size) / (N(1.0) - size);
        return only_if(inside, with_sign(scaled(log_of_one_and<N>(u), 0.5), x));
    }

    static float exact(float x) {
        constexpr float kInf = std::numeric_limits<float>::infinity();
        if (!(std::abs(x) <= 1.0f)) return the_nan();
        if (std::abs(x) == 1.0f) return std::copysign(kInf, x);
        return exactly<Atanh>(x);
    }
};

}  // namespace minisim
