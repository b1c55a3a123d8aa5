// What definitions of vector operations are written in: one value, or kLanes of them at once.
//
// A definition is a template over V, float or Lanes. As float it is the definition proper; over Lanes
// compilers make instructions of all lanes of it. Every step is one IEEE operation in both, so the
// bits are the same.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "minisim/inline.hpp"

namespace minisim {

constexpr std::size_t kLanes = 32;

struct Lanes {
    float lane[kLanes];

    Lanes() = default;
    MINISIM_INLINE Lanes(float x) {  // in all lanes; as implicit as it is for a float
        for (float& y : lane) y = x;
    }
};

struct Mask {
    std::uint32_t lane[kLanes];  // all bits, or none
};

// -- operations on one value ------------------------------------------------------------------------

MINISIM_INLINE float where(bool condition, float x, float y) { return condition ? x : y; }
MINISIM_INLINE float square_root(float x) { return std::sqrt(x); }

MINISIM_INLINE float magnitude(float x) { return std::fabs(x); }
MINISIM_INLINE float rounded_down(float x) { return std::floor(x); }
MINISIM_INLINE float rounded_up(float x) { return std::ceil(x); }
MINISIM_INLINE float rounded_to_even(float x) { return std::nearbyint(x); }  // nothing asks for another mode
MINISIM_INLINE float fused(float x, float y, float z) { return std::fma(x, y, z); }

// The float whose bits are set in both.
MINISIM_INLINE float bits_in_both(float x, float y) {
    std::uint32_t a, b;
    std::memcpy(&a, &x, sizeof a);
    std::memcpy(&b, &y, sizeof b);
    a &= b;
    std::memcpy(&x, &a, sizeof x);
    return x;
}

// An elementary function, correctly rounded by Ziv's method (exponential.hpp): `quick` leaves two
// floats to choose from, which are mostly the same one; if not, or for a NaN, `exact` decides.
template <class Function>
MINISIM_INLINE float elementary(float x) {
    const auto y = Function::quick(x);
    return y.low == y.high ? y.low : Function::exact(x);
}

// A function of two values that is not worth to have all lanes at once.
template <class Function>
MINISIM_INLINE float one_by_one(float x, float y) {
    return Function::of(x, y);
}

// -- and on all lanes -------------------------------------------------------------------------------

#define MINISIM_LANES_OPERATOR(symbol)                                                             \
    MINISIM_INLINE Lanes operator symbol(const Lanes& x, const Lanes& y) {                         \
        Lanes z;                                                                                   \
        for (std::size_t i = 0; i < kLanes; ++i) z.lane[i] = x.lane[i] symbol y.lane[i];           \
        return z;                                                                                  \
    }
MINISIM_LANES_OPERATOR(+)
MINISIM_LANES_OPERATOR(-)
MINISIM_LANES_OPERATOR(*)
MINISIM_LANES_OPERATOR(/)
#undef MINISIM_LANES_OPERATOR

#define MINISIM_LANES_COMPARISON(symbol)                                                           \
    MINISIM_INLINE Mask operator symbol(const Lanes& x, const Lanes& y) {                          \
        Mask z;                                                                                    \
        for (std::size_t i = 0; i < kLanes; ++i) z.lane[i] = x.lane[i] symbol y.lane[i] ? ~0u : 0; \
        return z;                                                                                  \
    }
MINISIM_LANES_COMPARISON(<)
MINISIM_LANES_COMPARISON(<=)
MINISIM_LANES_COMPARISON(>)
MINISIM_LANES_COMPARISON(>=)
MINISIM_LANES_COMPARISON(==)
MINISIM_LANES_COMPARISON(!=)
#undef MINISIM_LANES_COMPARISON

MINISIM_INLINE Lanes where(const Mask& condition, const Lanes& x, const Lanes& y) {
    Lanes z;
    for (std::size_t i = 0; i < kLanes; ++i) z.lane[i] = condition.lane[i] ? x.lane[i] : y.lane[i];
    return z;
}

#define MINISIM_LANES_FUNCTION(function)                                                           \
    MINISIM_INLINE Lanes function(const Lanes& x) {                                                \
        Lanes z;                                                                                   \
        for (std::size_t i = 0; i < kLanes; ++i) z.lane[i] = function(x.lane[i]);                  \
        return z;                                                                                  \
    }
MINISIM_LANES_FUNCTION(square_root)
MINISIM_LANES_FUNCTION(magnitude)
MINISIM_LANES_FUNCTION(rounded_down)
MINISIM_LANES_FUNCTION(rounded_up)
MINISIM_LANES_FUNCTION(rounded_to_even)
#undef MINISIM_LANES_FUNCTION

template <class Function>
MINISIM_INLINE Lanes one_by_one(const Lanes& x, const Lanes& y) {
    Lanes z;
    for (std::size_t i = 0; i < kLanes; ++i) z.lane[i] = Function::of(x.lane[i], y.lane[i]);
    return z;
}

MINISIM_INLINE Lanes fused(const Lanes& x, const Lanes& y, const Lanes& z) {
    Lanes found;
    for (std::size_t i = 0; i < kLanes; ++i) found.lane[i] = fused(x.lane[i], y.lane[i], z.lane[i]);
    return found;
}

MINISIM_INLINE Lanes bits_in_both(const Lanes& x, const Lanes& y) {
    Lanes z;
    for (std::size_t i = 0; i < kLanes; ++i) z.lane[i] = bits_in_both(x.lane[i], y.lane[i]);
    return z;
}

// Quick evaluations of all, and a second look at the rare undecided ones.
template <class Function>
MINISIM_INLINE Lanes elementary(const Lanes& x) {
    Lanes low, high;
    int undecided = 0;
    for (std::size_t i = 0; i < kLanes; ++i) {
        const auto y = Function::quick(x.lane[i]);
        low.lane[i] = y.low;
        high.lane[i] = y.high;
        undecided |= y.low != y.high;
    }
    if (undecided) {
        for (std::size_t i = 0; i < kLanes; ++i) {
            if (low.lane[i] != high.lane[i]) low.lane[i] = Function::exact(x.lane[i]);
        }
    }
    return low;
}

}  // namespace minisim
