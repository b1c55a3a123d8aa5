// What each operation of the vector unit computes: a function of the name that its row in
// hwmodel/vector_ops.py has, in lower case, of as many operands as the row says.
//
// V is float or Lanes (lanes.hpp). Which NaN comes out does not matter here: a kernel stores one.
#pragma once

#include "minisim/arcs.hpp"
#include "minisim/error_function.hpp"
#include "minisim/exponential.hpp"
#include "minisim/hyperbolic.hpp"
#include "minisim/lanes.hpp"
#include "minisim/logarithm.hpp"
#include "minisim/power.hpp"
#include "minisim/sigmoid.hpp"
#include "minisim/trigonometric.hpp"

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

// x y + z, rounded once.
template <class V>
MINISIM_INLINE V multiply_add(V x, V y, V z) {
    return fused(x, y, z);
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

template <class V>
MINISIM_INLINE V reciprocal(V x) {
    return V(1.0f) / x;
}

template <class V>
MINISIM_INLINE V neg(V x) {
    return x * V(-1.0f);
}

template <class V>
MINISIM_INLINE V abs(V x) {
    return magnitude(x);
}

// +0 of both zeros.
template <class V>
MINISIM_INLINE V sign(V x) {
    return where(x > V(0.0f), V(1.0f), where(x < V(0.0f), V(-1.0f), where(x == V(0.0f), V(0.0f), x)));
}

template <class V>
MINISIM_INLINE V floor(V x) {
    return rounded_down(x);
}

template <class V>
MINISIM_INLINE V ceil(V x) {
    return rounded_up(x);
}

// Ties to even.
template <class V>
MINISIM_INLINE V round(V x) {
    return rounded_to_even(x);
}

// As max: min(-0, +0) is -0.
template <class V>
MINISIM_INLINE V min(V x, V y) {
    return neg(max(neg(x), neg(y)));
}

template <class V>
MINISIM_INLINE V clip(V x, V low, V high) {
    return min(max(x, low), high);
}

// -- what gives 0 or 1 ------------------------------------------------------------------------------

template <class V>
MINISIM_INLINE V equal(V x, V y) {
    return where(x == y, V(1.0f), V(0.0f));
}

template <class V>
MINISIM_INLINE V less(V x, V y) {
    return where(x < y, V(1.0f), V(0.0f));
}

template <class V>
MINISIM_INLINE V less_or_equal(V x, V y) {
    return where(x <= y, V(1.0f), V(0.0f));
}

template <class V>
MINISIM_INLINE V is_nan(V x) {
    return where(x != x, V(1.0f), V(0.0f));
}

template <class V>
MINISIM_INLINE V is_inf(V x) {
    return equal(magnitude(x), V(std::numeric_limits<float>::infinity()));
}

template <class V>
MINISIM_INLINE V logical_not(V x) {
    return equal(x, V(0.0f));
}

template <class V>
MINISIM_INLINE V logical_and(V x, V y) {
    return where(x == V(0.0f), V(0.0f), where(y == V(0.0f), V(0.0f), V(1.0f)));
}

template <class V>
MINISIM_INLINE V logical_or(V x, V y) {
    return logical_not(logical_and(logical_not(x), logical_not(y)));
}

template <class V>
MINISIM_INLINE V logical_xor(V x, V y) {
    return logical_not(equal(logical_not(x), logical_not(y)));
}

// x is the condition.
template <class V>
MINISIM_INLINE V select(V x, V y, V z) {
    return where(x == V(0.0f), z, y);
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

#define MINISIM_ELEMENTARY(name, Function)                                                         \
    template <class V>                                                                             \
    MINISIM_INLINE V name(V x) {                                                                   \
        return elementary<Rounded<Function>>(x);                                                   \
    }
MINISIM_ELEMENTARY(tanh, Tanh)
MINISIM_ELEMENTARY(sinh, Sinh)
MINISIM_ELEMENTARY(cosh, Cosh)
MINISIM_ELEMENTARY(log, Log)
MINISIM_ELEMENTARY(asinh, Asinh)
MINISIM_ELEMENTARY(acosh, Acosh)
MINISIM_ELEMENTARY(atanh, Atanh)
MINISIM_ELEMENTARY(softplus, Softplus)
MINISIM_ELEMENTARY(erf, Erf)
MINISIM_ELEMENTARY(sin, Sin)
MINISIM_ELEMENTARY(cos, Cos)
MINISIM_ELEMENTARY(tan, Tan)
MINISIM_ELEMENTARY(asin, Asin)
MINISIM_ELEMENTARY(acos, Acos)
MINISIM_ELEMENTARY(atan, Atan)
#undef MINISIM_ELEMENTARY

template <class V>
MINISIM_INLINE V pow(V x, V y) {
    return one_by_one<Power>(x, y);
}

// -- chains: each step is rounded to fp32 -------------------------------------------------------------

// x sigmoid(x)
template <class V>
MINISIM_INLINE V silu(V x) {
    return x * sigmoid(x);
}

// x tanh(softplus(x))
template <class V>
MINISIM_INLINE V mish(V x) {
    return x * tanh(softplus(x));
}

// (x / 2) (1 + erf(x sqrt(1/2)))
template <class V>
MINISIM_INLINE V gelu(V x) {
    return (x * V(0.5f)) * (V(1.0f) + erf(x * V(0x1.6a09e6p-1f)));
}

// (x / 2) (1 + tanh(sqrt(2/pi) (x + 0.044715 ((x x) x))))
template <class V>
MINISIM_INLINE V gelu_tanh(V x) {
    const V inner = x + V(0.044715f) * ((x * x) * x);
    return (x * V(0.5f)) * (V(1.0f) + tanh(V(0x1.988454p-1f) * inner));
}

// min(max(alpha x + beta, 0), 1)
template <class V>
MINISIM_INLINE V hard_sigmoid(V x, V alpha, V beta) {
    return clip(alpha * x + beta, V(0.0f), V(1.0f));
}

// x min(max(x (1/6) + 1/2, 0), 1)
template <class V>
MINISIM_INLINE V hard_swish(V x) {
    return x * hard_sigmoid(x, V(0x1.555556p-3f), V(0.5f));
}

// x / (1 + |x|)
template <class V>
MINISIM_INLINE V softsign(V x) {
    return x / (V(1.0f) + magnitude(x));
}

// alpha x where x < 0
template <class V>
MINISIM_INLINE V leaky_relu(V x, V alpha) {
    return where(x < V(0.0f), alpha * x, x);
}

// 0 where not x > alpha, also of a NaN
template <class V>
MINISIM_INLINE V thresholded_relu(V x, V alpha) {
    return where(x > alpha, x, V(0.0f));
}

// alpha (exp(x) - 1) where x < 0
template <class V>
MINISIM_INLINE V elu(V x, V alpha) {
    return where(x < V(0.0f), alpha * (exp(x) - V(1.0f)), x);
}

// gamma (alpha exp(x) - alpha) where x <= 0, else gamma x
template <class V>
MINISIM_INLINE V selu(V x, V alpha, V gamma) {
    return gamma * where(x <= V(0.0f), alpha * exp(x) - alpha, x);
}

// alpha (exp(x / alpha) - 1) where x < 0
template <class V>
MINISIM_INLINE V celu(V x, V alpha) {
    return where(x < V(0.0f), alpha * (exp(x / alpha) - V(1.0f)), x);
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

// -- folds: where a chain starts, what stands where no window lies, and how it takes in a tap ----------
// Padding is the value of the operand's type that changes nothing, or, of an fma, a zero that is multiplied.

struct fold_max {
    static constexpr float kStart = -std::numeric_limits<float>::infinity();
    static constexpr float kPadding = kStart;

    template <class V>
    MINISIM_INLINE static V step(V found, V x, V) {
        return max(found, x);
    }
};

struct fold_sum {
    static constexpr float kStart = 0.0f, kPadding = 0.0f;

    template <class V>
    MINISIM_INLINE static V step(V found, V x, V) {
        return found + x;
    }
};

struct fold_fma {
    static constexpr float kStart = 0.0f, kPadding = 0.0f;

    MINISIM_INLINE static float step(float found, float x, float weight) { return std::fma(x, weight, found); }
};

}  // namespace minisim::definitions
