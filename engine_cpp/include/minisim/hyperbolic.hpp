// sinh, cosh and tanh, correctly rounded (elementary.hpp).
#pragma once

#include "minisim/elementary.hpp"

namespace minisim {

// With e = exp(2|x|) - 1: tanh |x| = e / (e + 2), without cancellation.
struct Tanh {
    static constexpr double kError = 0x1p-47;

    template <class N>
    MINISIM_INLINE static N of(double x) {
        double size = std::abs(x);
        size = size > 10.0 ? 10.0 : size;  // 1 - 2^-28: a float from there on is 1
        const N e = exp_minus_one<N>(2.0 * size);
        return with_sign(e / (e + 2.0), x);
    }

    static float exact(float x) { return x != x ? the_nan() : exactly<Tanh>(x); }
};

// With e = exp |x| - 1: sinh |x| = (e + e / (e + 1)) / 2. From |x| = 110 on a float is infinite.
struct Sinh {
    static constexpr double kError = 0x1p-47;

    template <class N>
    MINISIM_INLINE static N of(double x) {
        double size = std::abs(x);
        size = size > 110.0 ? 110.0 : size;
        const N e = exp_minus_one<N>(size);
        return with_sign(scaled(e + e / (e + 1.0), 0.5), x);
    }

    static float exact(float x) { return x != x ? the_nan() : exactly<Sinh>(x); }
};

// With y = exp |x|: cosh x = (y + 1 / y) / 2.
struct Cosh {
    static constexpr double kError = 0x1p-47;

    template <class N>
    MINISIM_INLINE static N of(double x) {
        double size = std::abs(x);
        size = size > 110.0 ? 110.0 : size;
        const N y = exp_minus_one<N>(size) + 1.0;
        return scaled(y + N(1.0) / y, 0.5);
    }

    static float exact(float x) { return x != x ? the_nan() : exactly<Cosh>(x); }
};

}  // namespace minisim
