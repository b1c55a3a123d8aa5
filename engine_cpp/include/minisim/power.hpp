// x^y, correctly rounded but where nobody knows: unless the value lies nearer than 2^-88 to the middle
// between two floats, and of those only the exact ones are known.
#pragma once

#include "minisim/logarithm.hpp"

namespace minisim {

// IEEE 754's pow: 1 for y = 0 and for x = 1, also of a NaN; NaN for x < 0 and a y that is not whole.
float power(float x, float y);

struct Power {
    static float of(float x, float y) { return power(x, y); }
};

}  // namespace minisim
