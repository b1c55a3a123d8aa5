// bf16, and the two roundings of the definition that give up width: fp32 to bf16, int32 to int8.
#pragma once

#include <cstdint>
#include <cstring>

#include "minisim/inline.hpp"

namespace minisim {

// The upper half of an fp32: sign, all 8 bits of the exponent, 7 of the significand.
struct Bf16 {
    std::uint16_t bits;
};
static_assert(sizeof(Bf16) == 2);

// A byte, 0 or 1.
struct Bool {
    std::uint8_t value;
};
static_assert(sizeof(Bool) == 1);

constexpr std::uint16_t kBf16NanBits = 0x7FC0;  // the one NaN that a rounding gives

// Exact.
MINISIM_INLINE float widen(Bf16 x) {
    const std::uint32_t bits = std::uint32_t{x.bits} << 16;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}
MINISIM_INLINE float widen(std::int8_t x) { return static_cast<float>(x); }
MINISIM_INLINE float widen(float x) { return x; }
MINISIM_INLINE float widen(Bool x) { return static_cast<float>(x.value); }

// To the nearest bf16, ties to even; what is nearer to 2^128 than to the largest one is infinite.
// Adding half of the last place, less one bit where it is even, carries into the upper half
// exactly if that rounds up. Denormals need no care, as the patterns of all floats are in order.
MINISIM_INLINE Bf16 narrow(float x) {
    std::uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    const std::uint32_t rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
    return {static_cast<std::uint16_t>(x != x ? kBf16NanBits : rounded)};
}

// Sums of int8 products wrap around, as the hardware's registers do.
MINISIM_INLINE std::int32_t wrapping_add(std::int32_t x, std::int32_t y) {
    return static_cast<std::int32_t>(static_cast<std::uint32_t>(x) + static_cast<std::uint32_t>(y));
}

}  // namespace minisim
