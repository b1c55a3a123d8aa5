// What each operation of the vector unit computes: a function of the name that its row in
// hwmodel/vector_ops.py has, in lower case, of as many operands as the row says.
//
// V is float or Lanes (lanes.hpp). Which NaN comes out does not matter here: a kernel stores one.
#pragma once

#include "minisim/exponential.hpp"
#include "minisim/hyperbolic.hpp"
#include "minisim/lanes.hpp"
#include "minisim/sigmoid.hpp"

namespace minisim::definitions {

// -- one rounding, or none --------------------------------------------------------------------------

template <class V>
MINISIM_INLINE V relu(V x) {
    return where(x <= V(0.0f), V(0.0f), x);
}

template <class V>
MINISIM_INLINE V add(V x, V y) {
    return x + y;
}

template <class V>
MINISIM_INLINE V mul(V x, V y) {
    return x * y;
}

template <class V>
MINISIM_INLINE V sub(V x, V y) {
    return x - y;
}

template <class V>
MINISIM_INLINE V div(V x, V y) {
    return x / y;
}

template <class V>
MINISIM_INLINE V sqrt(V x) {
    return square_root(x);
}

// NaN if either is. Where x == y only zeros differ in their bits, by the sign: +0 is the greater.
template <class V>
MINISIM_INLINE V max(V x, V y) {
    const V found = where(x == y, bits_in_both(x, y), where(x > y, x, y));  // y if it is a NaN
    return where(x != x, x, found);
}

// -- elementary functions ---------------------------------------------------------------------------

template <class V>
MINISIM_INLINE V exp(V x) {
    return elementary<Exponential>(x);
}

template <class V>
MINISIM_INLINE V sigmoid(V x) {
    return elementary<Sigmoid>(x);
}

template <class V>
MINISIM_INLINE V tanh(V x) {
    return elementary<Rounded<Tanh>>(x);
}

// -- reductions: where a partial result starts, and how it takes in a value ---------------------------

struct reduce_sum {
    static constexpr float kStart = -0.0f;  // x + -0 is x, also for -0

    template <class V>
    MINISIM_INLINE static V combine(V x, V y) {
        return add(x, y);
    }
};

struct reduce_max {
    static constexpr float kStart = -std::numeric_limits<float>::infinity();

    template <class V>
    MINISIM_INLINE static V combine(V x, V y) {
        return max(x, y);
    }
};

}  // namespace minisim::definitions
