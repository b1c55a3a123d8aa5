#include "minisim/power.hpp"

namespace minisim {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

// The relative error of the evaluation in double: that of the logarithm, times the greatest exponent
// (105), and twice that to be safe.
constexpr double kPowerError = 0x1p-42;

bool is_whole(double y) { return std::floor(y) == y; }
bool is_odd(double y) { return is_whole(y) && std::fmod(y, 2.0) != 0.0; }

// x^y of a positive x if it is a number of at most 53 bits: only such a value can lie in the middle
// between two floats. x = m 2^e with an odd m; where y is not whole, its halves must be roots of x.
bool exact_power(double x, double y, double& found) {
    int e;
    double m = std::ldexp(std::frexp(x, &e), 24);
    e -= 24;
    while (std::fmod(m, 2.0) == 0.0) {
        m /= 2.0;
        ++e;
    }
    for (int halvings = 0; !is_whole(y); ++halvings) {
        const double root = std::sqrt(m);
        if (halvings == 8 || !is_whole(root) || e % 2 != 0) return false;
        m = root;
        e /= 2;
        y *= 2.0;
    }
    if (std::abs(e * y) > 400.0) return false;  // far beyond the floats
    found = 1.0;
    if (m > 1.0) {
        if (y < 0.0 || y > 53.0) return false;
        for (int i = 0; i < static_cast<int>(y); ++i) {
            found *= m;
            if (found >= 0x1p53) return false;
        }
    }
    found = std::ldexp(found, static_cast<int>(e * y));
    return true;
}

// Of a positive x that is not 1, and a finite y other than 0.
float positive_power(double x, double y) {
    const double exponent = y * log_of<double>(x, x - 1.0);
    if (exponent > 90.0) return kInf;
    if (exponent < -106.0) return 0.0f;
    const double quick = double_exp(exponent);
    const auto low = static_cast<float>(quick * (1.0 - kPowerError));
    if (low == static_cast<float>(quick * (1.0 + kPowerError))) return low;

    double exact;
    if (exact_power(x, y, exact)) return static_cast<float>(exact);
    const DoubleDouble whole = DoubleDouble(y) * log_of<DoubleDouble>(x, DoubleDouble(x) - 1.0);
    const DoubleDouble rest = DoubleDouble(1.0) + DoubleDouble(whole.low) + 0.5 * whole.low * whole.low;
    return to_float(double_double_exp(whole.high) * rest);
}

}  // namespace

float power(float x, float y) {
    if (y == 0.0f || x == 1.0f) return 1.0f;
    if (x != x || y != y) return the_nan();
    const double size = std::abs(static_cast<double>(x));
    if (std::isinf(y)) {
        if (size == 1.0) return 1.0f;
        return (size > 1.0) == (y > 0.0f) ? kInf : 0.0f;
    }
    const float sign = std::signbit(x) && is_odd(static_cast<double>(y)) ? -1.0f : 1.0f;
    if (size == 0.0 || std::isinf(x)) return (size == 0.0) == (y > 0.0f) ? sign * 0.0f : sign * kInf;
    if (x < 0.0f && !is_whole(static_cast<double>(y))) return the_nan();
    if (size == 1.0) return sign;
    return sign * positive_power(size, static_cast<double>(y));
}

}  // namespace minisim
