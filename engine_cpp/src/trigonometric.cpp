#include "minisim/trigonometric.hpp"

namespace minisim {
namespace {

// 2 / pi = 0.A2F9836E 4E441529 ..., after 64 bits of zeros.
constexpr std::uint32_t kTwoOverPi[] = {
    0x00000000, 0x00000000, 0xA2F9836E, 0x4E441529, 0xFC2757D1, 0xF534DDC0, 0xDB629599, 0x3C439041,
    0xFE5163AB, 0xDEBBC561, 0xB7246E3A, 0x424DD2E0, 0x06492EEA, 0x09D1921C, 0xFE1DEB1C};

constexpr int kWords = 7;

// 32 bits of the table from bit `at` on, which is counted from its begin.
std::uint32_t bits_at(int at) {
    const int word = at / 32, shift = at % 32;
    const std::uint64_t two = std::uint64_t{kTwoOverPi[word]} << 32 | kTwoOverPi[word + 1];
    return static_cast<std::uint32_t>(two >> (32 - shift));
}

}  // namespace

Turned<DoubleDouble> turned(double x) {
    const double size = std::abs(x);
    Turned<DoubleDouble> found{DoubleDouble(size), 0};
    if (size > 0.78) {
        int exponent;
        const auto digits = static_cast<std::uint64_t>(std::ldexp(std::frexp(size, &exponent), 24));
        exponent -= 24;  // size = digits * 2^exponent, exponent from -24 to 104
        // Bits of 2/pi whose products are multiples of 4 do not matter: the first that does has the
        // weight 2^(1 - exponent). After it there are 224 bits, so product / 2^222 is size * 2/pi.
        const int first = 64 + exponent - 2;
        std::uint32_t product[kWords];
        std::uint64_t carry = 0;
        for (int i = kWords - 1; i >= 0; --i) {
            carry += digits * bits_at(first + 32 * i);
            product[i] = static_cast<std::uint32_t>(carry);
            carry >>= 32;
        }
        found.quadrant = static_cast<int>(product[0] >> 30);
        product[0] &= 0x3FFFFFFFu;
        const bool above = product[0] >> 29 != 0;  // half a quadrant or more: the next one, less the rest
        if (above) {
            ++found.quadrant;
            std::uint64_t borrow = 1;  // two's complement
            for (int i = kWords - 1; i >= 0; --i) {
                borrow += static_cast<std::uint32_t>(~product[i]);
                product[i] = static_cast<std::uint32_t>(borrow);
                borrow >>= 32;
            }
            product[0] &= 0x3FFFFFFFu;
        }
        DoubleDouble part = 0.0;
        double weight = 0x1p-30;
        for (const std::uint32_t word : product) {
            part = part + DoubleDouble(static_cast<double>(word) * weight);
            weight *= 0x1p-32;
        }
        found.rest = part * DoubleDouble(0x1.921fb54442d18p+0, 0x1.1a62633145c07p-54);
        if (above) found.rest = -found.rest;
    }
    if (std::signbit(x)) return {-found.rest, (4 - found.quadrant % 4) % 4};
    return {found.rest, found.quadrant % 4};
}

}  // namespace minisim
