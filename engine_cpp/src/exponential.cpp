#include "minisim/exponential.hpp"

#include "minisim/double_double.hpp"
#include "minisim/kernels.hpp"

namespace minisim {

float exponential_exact(float x) {
    if (x != x) {
        float nan;
        std::memcpy(&nan, &kNanBits, sizeof nan);
        return nan;
    }
    if (x > kExponentialLimit) return std::numeric_limits<float>::infinity();
    if (x < -110.0f) return 0.0f;  // 2^-158, the smallest float is 2^-149
    return to_float(double_double_exp(static_cast<double>(x)));
}

float exponential(float x) {
    const FloatInterval y = exponential_quick(x);
    return y.low == y.high ? y.low : exponential_exact(x);
}

}  // namespace minisim
