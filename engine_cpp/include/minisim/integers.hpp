// The vector unit on integers, and its conversions. Exact, or rounded where it says so, one element after the
// other: all kernels share it.
//
// Elementwise operations, folds, and reductions of rows are those of whole numbers, of which the type's lowest bits are kept (they
// wrap around, as numpy's do). x / y is truncated toward zero, and 0 where y is 0. x ^ y of a negative y is 1 / x^|y|
// truncated so: 0 but for x of 1 or -1, and 0 where x is 0.
//
// CAST: a float becomes an integer truncated toward zero and saturated, NaN 0; an integer another one by its lowest
// bits. Whatever is not 0 is true. An integer becomes a float rounded to fp32, and from there to a narrower type.
// RESCALE: the value in fp32, times the factor, rounded; to an integer rounded, ties to even, and saturated, NaN 0.
// Three more have a scale s and a zero point z, both FP32; of x in fp32, each step rounded to fp32, and what is left
// becomes the type of dst as a RESCALE's product does:
//   QUANTIZE    round(x / s) + z      to a whole number, ties to even, before z is added
//   DEQUANTIZE  (x - z) * s
//   REQUANTIZE  round(x * s) + z
#pragma once

#include "minisim/kernels.hpp"

namespace minisim {

// An operation whose x is of one of kIntegers; its result may be BOOL.
void integer_vector(const VectorArgs& x);

void convert(const VectorArgs& x);

}  // namespace minisim
