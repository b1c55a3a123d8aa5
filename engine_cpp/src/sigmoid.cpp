#include "minisim/sigmoid.hpp"

#include "minisim/double_double.hpp"
#include "minisim/kernels.hpp"

namespace minisim {

float sigmoid_exact(float x) {
    if (x != x) {
        float nan;
        std::memcpy(&nan, &kNanBits, sizeof nan);
        return nan;
    }
    if (x > 30.0f) return 1.0f;    // 1 - 2^-43
    if (x < -110.0f) return 0.0f;  // 2^-158, the smallest float is 2^-149
    const DoubleDouble e = double_double_exp(-static_cast<double>(x));
    return to_float(divide({1.0, 0.0}, add({1.0, 0.0}, e)));
}

float sigmoid(float x) {
    const FloatInterval y = sigmoid_quick(x);
    return y.low == y.high ? y.low : sigmoid_exact(x);
}

}  // namespace minisim
