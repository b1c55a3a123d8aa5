// The elementary functions in double-double, which decide what double cannot: so few arguments come
// there by themselves that a sample of them says nothing. Here all do.

#include <cmath>
#include <vector>

#include "check.hpp"
#include "minisim/arcs.hpp"
#include "minisim/error_function.hpp"
#include "minisim/hyperbolic.hpp"
#include "minisim/logarithm.hpp"
#include "minisim/power.hpp"
#include "minisim/trigonometric.hpp"

using namespace minisim;

namespace {

// Of all magnitudes, some beside others; each with its negative.
std::vector<float> arguments() {
    std::vector<float> found;
    for (double size = 0x1p-40; size < 0x1p100; size *= 1.37) {
        found.push_back(static_cast<float>(size));
        found.push_back(-found.back());
    }
    for (int i = -400; i <= 400; ++i) found.push_back(static_cast<float>(i) / 128.0f);
    return found;
}

// Whether both evaluations are within the quick one's error of each other, and so its bound holds.
bool agree(double quick, DoubleDouble slow, double error) {
    return std::abs((quick - slow.high) - slow.low) <= error * std::abs(quick);
}

template <class F>
void check_agreement() {
    for (const float x : arguments()) {
        const double quick = F::template of<double>(static_cast<double>(x));
        if (x == 0.0f || !std::isfinite(quick)) continue;  // then `exact` decides alone
        CHECK(agree(quick, F::template of<DoubleDouble>(static_cast<double>(x)), F::kError));
        const FloatInterval y = Rounded<F>::quick(x);
        if (y.low == y.high) CHECK_EQUAL(F::exact(x), y.low);
    }
}

template <class F, class Form>
void check_turned() {
    for (const float x : arguments()) {
        const Turned<DoubleDouble> at = turned(static_cast<double>(x));
        const double quick = Form::of(at.rest.high, at.quadrant);
        CHECK(agree(quick, Form::of(at.rest, at.quadrant), F::kError));
    }
}

bool is_nothing(DoubleDouble x) { return std::abs(x.high) < 0x1p-90; }

}  // namespace

TEST(logarithms_in_both_numbers_agree) {
    check_agreement<Log>();
    check_agreement<Softplus>();
    check_agreement<Asinh>();
    check_agreement<Acosh>();
    check_agreement<Atanh>();
}

TEST(hyperbolic_functions_in_both_numbers_agree) {
    check_agreement<Tanh>();
    check_agreement<Sinh>();
    check_agreement<Cosh>();
}

TEST(arcs_and_the_error_function_in_both_numbers_agree) {
    check_agreement<Atan>();
    check_agreement<Asin>();
    check_agreement<Acos>();
    check_agreement<Erf>();
}

TEST(angles_in_both_numbers_agree) {
    check_turned<Sin, SineOf>();
    check_turned<Cos, CosineOf>();
    check_turned<Tan, TangentOf>();
}

// The second product has another power of two: ln(2) is in it, and has to be right to the last bit.
TEST(the_logarithm_of_a_product_is_a_sum) {
    for (const double x : {1.3125, 1.375, 1.25, 0.8125}) {
        for (const double y : {1.3125, 0x1p60, 1.75, 0.09375}) {
            const DoubleDouble parts = Log::of<DoubleDouble>(x) + Log::of<DoubleDouble>(y);
            CHECK(is_nothing(Log::of<DoubleDouble>(x * y) - parts));
        }
    }
}

TEST(sine_and_cosine_are_on_the_circle) {
    for (const double x : {0.3, 0.7, 1.5, 2.0, 3.0, 100.0, 0x1p30, 0x1.23456p90}) {
        const Turned<DoubleDouble> at = turned(static_cast<double>(static_cast<float>(x)));
        const DoubleDouble s = SineOf::of(at.rest, at.quadrant), c = CosineOf::of(at.rest, at.quadrant);
        CHECK(is_nothing(s * s + c * c - DoubleDouble(1.0)));
        const DoubleDouble t = TangentOf::of(at.rest, at.quadrant);
        CHECK(is_nothing((t * c - s) / t));
    }
}

TEST(arcs_add_up_to_a_right_angle) {
    const DoubleDouble right(0x1.921fb54442d18p0, 0x1.1a62633145c07p-54);
    for (const double x : {0.1, 0.4, 0.5, 0.75, 0.99}) {
        CHECK(is_nothing(Asin::of<DoubleDouble>(x) + Acos::of<DoubleDouble>(x) - right));
    }
    for (const double x : {0.125, 0.5, 1.0}) {  // whose inverses are numbers
        CHECK(is_nothing(Atan::of<DoubleDouble>(x) + Atan::of<DoubleDouble>(1.0 / x) - right));
    }
}

// Their exact values are within 2^-50 of the middle between two floats: double arithmetic alone cannot tell which one is
// nearer. What is expected was computed with 60 digits.
TEST(powers_by_the_middle_of_two_floats_are_rounded_right) {
    const struct {
        float x, y, power;
    } hard[] = {
        {0x1.8af96cp+5f, 0x1.209e66p+2f, 0x1.4ac364p+25f},   {0x1.f41c7ep-2f, -0x1.47c4aap+2f, 0x1.3a1338p+5f},
        {0x1.73e728p+1f, 0x1.dea306p-5f, 0x1.107610p+0f},    {0x1.d7f982p+2f, 0x1.ad43f8p+0f, 0x1.c83482p+4f},
        {0x1.493462p+5f, -0x1.74fe6ep+2f, 0x1.ad1c74p-32f},  {0x1.d1ba1cp-12f, 0x1.bc3604p-1f, 0x1.438c74p-10f},
        {0x1.d98926p-3f, -0x1.5882dcp+1f, 0x1.9bece0p+5f},   {0x1.7030e2p+5f, -0x1.1a183ap+0f, 0x1.e1e5f4p-7f},
    };
    for (const auto& each : hard) CHECK_EQUAL(power(each.x, each.y), each.power);
}
