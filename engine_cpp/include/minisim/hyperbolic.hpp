// tanh, correctly rounded (elementary.hpp).
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

}  // namespace minisim
