// erf, correctly rounded (elementary.hpp).
#pragma once

#include "minisim/elementary.hpp"

namespace minisim {

MINISIM_INLINE double two_over_root_pi(double) { return 0x1.20dd750429b6dp+0; }
inline DoubleDouble two_over_root_pi(DoubleDouble) {
    return {0x1.20dd750429b6dp+0, 0x1.1ae3a914fed80p-56};
}

// erf |x| = 2 / sqrt(pi) exp(-x^2) (x + 2 x^3 / 3 + 4 x^5 / (3 5) + ...): nothing cancels. The square of
// a float is a double. From 4 on a float is 1: 1 - erf(4) is below 2^-25.
struct Erf {
    static constexpr double kError = 0x1p-45;

    template <class N>
    MINISIM_INLINE static N of(double x) {
        double size = std::abs(x);
        size = size > 4.0 ? 4.0 : size;
        const double square = size * size;
        N p = 1.0;
        MINISIM_UNROLL
        for (int i = terms<N>(75, 110); i >= 1; --i) p = fraction(p * N(square), 2, 2 * i + 1) + N(1.0);
        const N e = exponential_of(-square, N());
        return with_sign(two_over_root_pi(N()) * (e * (N(size) * p)), x);
    }

    static float exact(float x) { return x != x ? the_nan() : exactly<Erf>(x); }
};

}  // namespace minisim
