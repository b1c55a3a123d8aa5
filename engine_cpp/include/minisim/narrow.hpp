// The types of 16 and 8 bits: widened to fp32, which is exact, and rounded from it.
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

// IEEE 754's binary16: sign, 5 bits of exponent, 10 of the significand.
struct Fp16 {
    std::uint16_t bits;
};
static_assert(sizeof(Fp16) == 2);

// Sign, 4 bits of exponent (biased by 7), 3 of the significand; no infinities, and one NaN of each sign: all bits set.
struct Fp8E4m3 {
    std::uint8_t bits;
};
static_assert(sizeof(Fp8E4m3) == 1);

// The upper half of an fp16: sign, 5 bits of exponent (biased by 15), 2 of the significand.
struct Fp8E5m2 {
    std::uint8_t bits;
};
static_assert(sizeof(Fp8E5m2) == 1);

// A byte, 0 or 1.
struct Bool {
    std::uint8_t value;
};
static_assert(sizeof(Bool) == 1);

constexpr std::uint16_t kBf16NanBits = 0x7FC0;  // the one NaN that a rounding gives
constexpr std::uint16_t kFp16NanBits = 0x7E00;

// Exact.
MINISIM_INLINE float widen(Bf16 x) {
    const std::uint32_t bits = std::uint32_t{x.bits} << 16;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}
// The exponent's bias is 112 more in fp32. Infinities and NaNs have all bits of it set there, too; a subnormal
// is the difference of two floats of one exponent, 2^-14 and the same with its significand behind it.
MINISIM_INLINE float widen(Fp16 x) {
    const auto as_float = [](std::uint32_t bits) {
        float value;
        std::memcpy(&value, &bits, sizeof value);
        return value;
    };
    const std::uint32_t sign = (x.bits & 0x8000u) << 16, shifted = (x.bits & 0x7FFFu) << 13;
    const std::uint32_t exponent = shifted & 0x0F800000u;
    const float normal = as_float(shifted + (exponent == 0x0F800000u ? 0x70000000u : 0x38000000u));
    const float value = exponent == 0 ? as_float(shifted + 0x38800000u) - 0x1p-14f : normal;
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return as_float(bits | sign);
}
MINISIM_INLINE float widen(Fp8E5m2 x) { return widen(Fp16{static_cast<std::uint16_t>(x.bits << 8)}); }
MINISIM_INLINE float widen(Fp8E4m3 x) {
    const std::uint32_t sign = (x.bits & 0x80u) << 24, size = x.bits & 0x7Fu;
    std::uint32_t bits = (size << 20) + (120u << 23);
    if (size == 0x7Fu) bits = 0x7FC00000u;
    if (size < 8) {  // so many times the least one
        const float value = static_cast<float>(size) * 0x1p-9f;
        std::memcpy(&bits, &value, sizeof bits);
    }
    bits |= sign;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}
MINISIM_INLINE float widen(std::int8_t x) { return static_cast<float>(x); }
MINISIM_INLINE float widen(std::uint8_t x) { return static_cast<float>(x); }
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

// To the nearest fp16, ties to even; what is nearer to 2^16 than to the largest one, 65504, is infinite.
// Normal ones as above, 13 bits narrower. Below 2^-14 the last place is 2^-24, that of the floats from 1/2
// to 1: adding 1/2 rounds there.
MINISIM_INLINE Fp16 narrow_to_fp16(float x) {
    std::uint32_t bits, moved;
    std::memcpy(&bits, &x, sizeof bits);
    const std::uint32_t sign = bits & 0x80000000u, size = bits ^ sign;
    float magnitude;
    std::memcpy(&magnitude, &size, sizeof magnitude);
    magnitude += 0.5f;
    std::memcpy(&moved, &magnitude, sizeof moved);
    const std::uint32_t normal = (size - 0x38000000u + 0xFFFu + ((size >> 13) & 1u)) >> 13;
    const std::uint32_t finite = size < 0x38800000u ? moved - 0x3F000000u : normal;
    const std::uint32_t found = (sign >> 16) | (size >= 0x47800000u ? 0x7C00u : finite);
    return {static_cast<std::uint16_t>(x != x ? kFp16NanBits : found)};
}

MINISIM_INLINE void narrow_to(float x, Bf16& to) { to = narrow(x); }
MINISIM_INLINE void narrow_to(float x, Fp16& to) { to = narrow_to_fp16(x); }

// To the nearest float of 8 bits with so many of the significand, ties to even; NaN is `nan`. What is nearer to the
// number behind the largest one, `greatest`, is `beyond`: that one if it saturates, else an infinity, or NaN.
template <int kSignificand, int kBias>
MINISIM_INLINE std::uint8_t narrow_to_fp8(float x, std::uint32_t greatest, std::uint32_t beyond, std::uint32_t nan) {
    constexpr int kShift = 23 - kSignificand;
    std::uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    const std::uint32_t sign = bits >> 31 << 7, size = bits & 0x7FFFFFFFu;
    if (size > 0x7F800000u) return static_cast<std::uint8_t>(sign | nan);
    std::uint32_t found;
    if (size >> 23 >= 128 - kBias) {  // normal there
        const std::uint32_t half = (1u << (kShift - 1)) - 1 + (size >> kShift & 1u);
        found = ((size + half) >> kShift) - (static_cast<std::uint32_t>(127 - kBias) << kSignificand);
    } else {  // below its least normal one: 2^23 has a last place of 1, so adding it rounds to a multiple of the least one
        float magnitude;
        std::memcpy(&magnitude, &size, sizeof magnitude);
        constexpr float kOfLeast = static_cast<float>(1u << (kBias - 1 + kSignificand));
        const float shifted = magnitude * kOfLeast + 0x1p23f;
        std::memcpy(&found, &shifted, sizeof found);
        found &= 0x7FFFFFu;
    }
    return static_cast<std::uint8_t>(sign | (found > greatest ? beyond : found));
}
MINISIM_INLINE void narrow_to(float x, Fp8E4m3& to, bool saturates) {
    to = {narrow_to_fp8<3, 7>(x, 0x7E, saturates ? 0x7E : 0x7F, 0x7F)};
}
MINISIM_INLINE void narrow_to(float x, Fp8E5m2& to, bool saturates) {
    to = {narrow_to_fp8<2, 15>(x, 0x7B, saturates ? 0x7B : 0x7C, 0x7E)};
}

// Sums of int8 products wrap around, as the hardware's registers do.
MINISIM_INLINE std::int32_t wrapping_add(std::int32_t x, std::int32_t y) {
    return static_cast<std::int32_t>(static_cast<std::uint32_t>(x) + static_cast<std::uint32_t>(y));
}

}  // namespace minisim
