#include "minisim/integers.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "minisim/interrupt.hpp"

namespace minisim {
namespace {

constexpr std::size_t kBlock = 256;  // elements that are read before any of them is written

// Calls `use` with a value of the C++ type.
template <class Use>
void with_type(DType dtype, Use use) {
    switch (dtype) {
        case DType::kFp32: return use(float{});
        case DType::kBf16: return use(Bf16{});
        case DType::kFp16: return use(Fp16{});
        case DType::kInt8: return use(std::int8_t{});
        case DType::kUint8: return use(std::uint8_t{});
        case DType::kInt16: return use(std::int16_t{});
        case DType::kInt32: return use(std::int32_t{});
        case DType::kBool: return use(Bool{});
        case DType::kFp8E4M3: return use(Fp8E4m3{});
        case DType::kFp8E5M2: return use(Fp8E5m2{});
    }
}

bool is_float(DType dtype) { return ((kFloats | kFloats8) & only(dtype)) != 0; }

// What whole numbers are computed in: no operation on those of 32 bits leaves it.
using Whole = std::int64_t;

Whole whole(Bool x) { return x.value; }
Whole whole(float x) { return static_cast<Whole>(x); }  // an immediate, which is whole
Whole whole(Bf16) { return 0; }                         // no operand of integers' operations
Whole whole(Fp16) { return 0; }
Whole whole(Fp8E4m3) { return 0; }
Whole whole(Fp8E5m2) { return 0; }
template <class T>
Whole whole(T x) {
    return x;
}

float in_fp32(std::int32_t x) { return static_cast<float>(x); }
float in_fp32(std::int16_t x) { return x; }
template <class T>
float in_fp32(T x) {
    return widen(x);
}

void put(Whole x, Bool& to) { to.value = x != 0; }
void put(Whole x, float& to) { to = static_cast<float>(x); }
void put(Whole x, Bf16& to) { to = narrow(static_cast<float>(x)); }
void put(Whole x, Fp16& to) { to = narrow_to_fp16(static_cast<float>(x)); }
void put(Whole x, Fp8E4m3& to) { narrow_to(static_cast<float>(x), to, true); }
void put(Whole x, Fp8E5m2& to) { narrow_to(static_cast<float>(x), to, true); }
template <class T>
void put(Whole x, T& to) {
    to = static_cast<T>(x);
}

// `count` elements of row `i` from column `j` on, each as `as` gives it.
template <class Value, class As>
void read(const VectorSource& x, std::size_t i, std::size_t j, std::size_t count, Value* out, As as) {
    with_type(x.dtype, [&](auto type) {
        const auto* from = static_cast<const decltype(type)*>(x.data) + i * x.row_step + j * x.col_step;
        for (std::size_t q = 0; q < count; ++q) out[q] = as(from[q * x.col_step]);
    });
}

constexpr auto kWhole = [](auto x) { return whole(x); };
constexpr auto kInFp32 = [](auto x) { return in_fp32(x); };

Whole divided(Whole x, Whole y) { return y == 0 ? 0 : x / y; }

// Modulo 2^64, of which the lowest bits are right.
Whole power(Whole x, Whole y) {
    if (y < 0) return x == 1 || (x == -1 && y % 2 == 0) ? 1 : x == -1 ? -1 : 0;
    std::uint64_t found = 1, square = static_cast<std::uint64_t>(x);
    for (; y > 0; y /= 2, square *= square) found *= y % 2 ? square : 1;
    return static_cast<Whole>(found);
}

struct Block {
    Whole in[kSources][kBlock], out[kBlock];

    template <class Of>
    void each(std::size_t count, Of of) {
        for (std::size_t q = 0; q < count; ++q) out[q] = of(in[0][q], in[1][q], in[2][q]);
    }
};

void elementwise(VectorOp op, Block& block, std::size_t count) {
#define MINISIM_INTEGER(Name, expression)                                                          \
    case VectorOp::Name:                                                                           \
        return block.each(count, []([[maybe_unused]] Whole x, [[maybe_unused]] Whole y,            \
                                    [[maybe_unused]] Whole z) -> Whole { return expression; })
    switch (op) {
        MINISIM_INTEGER(kRelu, std::max<Whole>(x, 0));
        MINISIM_INTEGER(kAdd, x + y);
        MINISIM_INTEGER(kSub, x - y);
        MINISIM_INTEGER(kMul, x * y);
        MINISIM_INTEGER(kDiv, divided(x, y));
        MINISIM_INTEGER(kPow, power(x, y));
        MINISIM_INTEGER(kMax, std::max(x, y));
        MINISIM_INTEGER(kMin, std::min(x, y));
        MINISIM_INTEGER(kClip, std::min(std::max(x, y), z));
        MINISIM_INTEGER(kNeg, -x);
        MINISIM_INTEGER(kAbs, x < 0 ? -x : x);
        MINISIM_INTEGER(kSign, (x > 0) - (x < 0));
        MINISIM_INTEGER(kEqual, x == y);
        MINISIM_INTEGER(kLess, x < y);
        MINISIM_INTEGER(kLessOrEqual, x <= y);
        MINISIM_INTEGER(kSelect, x ? y : z);
        default: return;  // the table gives integers to no other
    }
#undef MINISIM_INTEGER
}

void reduce(const VectorArgs& x) {
    const VectorSource& source = x.sources[0];
    const bool adds = x.op == VectorOp::kReduceSum;
    Whole block[kBlock];
    for (std::size_t i = 0; i < x.rows; ++i) {
        Whole found = adds ? 0 : std::numeric_limits<Whole>::min();
        for (std::size_t j = 0; j < x.length; j += kBlock) {
            const std::size_t count = std::min(kBlock, x.length - j);
            interruptible(count);
            read(source, i, j, count, block, kWhole);
            for (std::size_t q = 0; q < count; ++q) found = adds ? found + block[q] : std::max(found, block[q]);
        }
        with_type(x.dtype, [&](auto type) { put(found, static_cast<decltype(type)*>(x.dst)[i]); });
    }
}

// Of each element the greatest of its taps, and of what an earlier fold has left.
void fold_max(const VectorArgs& x) {
    with_type(x.dtype, [&](auto type) {
        using T = decltype(type);
        if constexpr (std::is_integral_v<T>) {
            const T* acc = static_cast<const T*>(x.acc);
            T* out = static_cast<T*>(x.dst);
            for (std::size_t i = 0; i < x.rows; ++i) {
                const T* row = static_cast<const T*>(x.sources[0].data) + i * x.sources[0].row_step;
                interruptible(x.taps * x.cols);
                for (std::size_t j = 0; j < x.cols; ++j) {
                    T found = acc ? acc[i * x.cols + j] : std::numeric_limits<T>::min();
                    for (std::size_t t = 0; t < x.taps; ++t) found = std::max(found, row[t * x.cols + j]);
                    out[i * x.cols + j] = found;
                }
            }
        }
    });
}

// Calls `block` with row, column and count of all blocks of the result.
template <class Do>
void for_each_block(const VectorArgs& x, Do block) {
    for (std::size_t i = 0; i < x.rows; ++i) {
        for (std::size_t j = 0; j < x.cols; j += kBlock) {
            const std::size_t count = std::min(kBlock, x.cols - j);
            interruptible(count);
            block(i, j, count);
        }
    }
}

// The integer of `x`, which is whole or will be cut off; its range's ends are floats, or round to what saturates.
template <class T>
T saturated(float x) {
    if (x != x) return T{0};
    if (x <= static_cast<float>(std::numeric_limits<T>::min())) return std::numeric_limits<T>::min();
    if (x >= static_cast<float>(std::numeric_limits<T>::max())) return std::numeric_limits<T>::max();
    return static_cast<T>(x);
}

// How a float becomes another type: whether it is rounded to a whole number, and whether floats of 8 bits saturate.
struct How {
    bool rounds, saturates;
};

void put_float(float x, How, float& to) {
    std::uint32_t bits = kNanBits;
    std::memcpy(&to, x != x ? static_cast<const void*>(&bits) : &x, sizeof to);
}
void put_float(float x, How, Bf16& to) { to = narrow(x); }
void put_float(float x, How, Fp16& to) { to = narrow_to_fp16(x); }
void put_float(float x, How how, Fp8E4m3& to) { narrow_to(x, to, how.saturates); }
void put_float(float x, How how, Fp8E5m2& to) { narrow_to(x, to, how.saturates); }
void put_float(float x, How, Bool& to) { to.value = x != 0.0f; }
template <class T>
void put_float(float x, How how, T& to) {
    to = saturated<T>(how.rounds ? std::nearbyint(x) : x);
}

}  // namespace

void integer_vector(const VectorArgs& x) {
    const VectorOpInfo op = info(x.op);
    if (op.is_reduction) return reduce(x);
    if (op.is_fold) return fold_max(x);  // the only one that integers have
    Block block = {};
    for_each_block(x, [&](std::size_t i, std::size_t j, std::size_t count) {
        for (std::size_t k = 0; k < op.sources; ++k) read(x.sources[k], i, j, count, block.in[k], kWhole);
        elementwise(x.op, block, count);
        with_type(x.dtype, [&](auto type) {
            auto* to = static_cast<decltype(type)*>(x.dst) + i * x.cols + j;
            for (std::size_t q = 0; q < count; ++q) put(block.out[q], to[q]);
        });
    });
}

namespace {

// What a conversion other than CAST computes of x in fp32, a scale or factor s, and a zero point z.
void scaled(VectorOp op, float* values, const float* s, const float* z, std::size_t count) {
    switch (op) {
        case VectorOp::kRescale:
            for (std::size_t q = 0; q < count; ++q) values[q] *= s[q];
            return;
        case VectorOp::kQuantize:
            for (std::size_t q = 0; q < count; ++q) values[q] = std::nearbyint(values[q] / s[q]) + z[q];
            return;
        case VectorOp::kDequantize:
            for (std::size_t q = 0; q < count; ++q) values[q] = (values[q] - z[q]) * s[q];
            return;
        case VectorOp::kRequantize:
            for (std::size_t q = 0; q < count; ++q) values[q] = std::nearbyint(values[q] * s[q]) + z[q];
            return;
        default: return;  // CAST, CAST_BEYOND
    }
}

}  // namespace

void convert(const VectorArgs& x) {
    const VectorOpInfo op = info(x.op);
    const bool casts = x.op == VectorOp::kCast || x.op == VectorOp::kCastBeyond;
    const How how = {!casts, x.op != VectorOp::kCastBeyond};
    if (casts && !is_float(x.sources[0].dtype)) {
        Whole values[kBlock];
        return for_each_block(x, [&](std::size_t i, std::size_t j, std::size_t count) {
            read(x.sources[0], i, j, count, values, kWhole);
            with_type(x.dtype, [&](auto type) {
                auto* to = static_cast<decltype(type)*>(x.dst) + i * x.cols + j;
                for (std::size_t q = 0; q < count; ++q) put(values[q], to[q]);
            });
        });
    }
    float values[kSources][kBlock];
    for_each_block(x, [&](std::size_t i, std::size_t j, std::size_t count) {
        for (std::size_t k = 0; k < op.sources; ++k) read(x.sources[k], i, j, count, values[k], kInFp32);
        scaled(x.op, values[0], values[1], values[2], count);
        with_type(x.dtype, [&](auto type) {
            auto* to = static_cast<decltype(type)*>(x.dst) + i * x.cols + j;
            for (std::size_t q = 0; q < count; ++q) put_float(values[0][q], how, to[q]);
        });
    });
}

}  // namespace minisim
