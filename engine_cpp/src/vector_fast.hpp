// The vector unit's part of kernels_fast.cpp, compiled once for each instruction set like all of it.
#pragma once

#include <algorithm>
#include <cstring>

#include "minisim/interrupt.hpp"
#include "minisim/kernels.hpp"
#include "minisim/vector_definitions.hpp"

namespace minisim {
namespace {

constexpr std::size_t kBlock = 256;  // elements that are read before any of them is written

MINISIM_INLINE float one_nan(float x) {
    float nan;
    std::memcpy(&nan, &kNanBits, sizeof nan);
    return x != x ? nan : x;
}

MINISIM_INLINE Lanes lanes_at(const float* from) {
    Lanes x;
    std::memcpy(x.lane, from, sizeof x.lane);
    return x;
}

// With the one NaN for all.
MINISIM_INLINE void leave(const Lanes& x, float* to) {
    for (std::size_t i = 0; i < kLanes; ++i) to[i] = one_nan(x.lane[i]);
}

// Elements of row `i` of a source from column `j` on, as floats, all lanes of them: where they are,
// or in `buffer`, which holds a block.
template <class T>
MINISIM_INLINE const float* values_of(const VectorSource& x, std::size_t i, std::size_t j,
                                      std::size_t count, float* buffer) {
    const T* from = static_cast<const T*>(x.data) + i * x.row_step + j * x.col_step;
    const bool ragged = count % kLanes != 0;
    if (ragged) std::fill_n(buffer + count / kLanes * kLanes, kLanes, 0.0f);
    if (x.col_step == 0) {
        std::fill_n(buffer, count, widen(*from));
    } else if (std::is_same_v<T, float> && !ragged) {
        return reinterpret_cast<const float*>(from);
    } else {
        for (std::size_t q = 0; q < count; ++q) buffer[q] = widen(from[q]);
    }
    return buffer;
}

MINISIM_INLINE const float* values(const VectorSource& x, std::size_t i, std::size_t j,
                                   std::size_t count, float* buffer) {
    switch (x.dtype) {
        case DType::kBf16: return values_of<Bf16>(x, i, j, count, buffer);
        case DType::kFp16: return values_of<Fp16>(x, i, j, count, buffer);
        case DType::kBool: return values_of<Bool>(x, i, j, count, buffer);
        default: return values_of<float>(x, i, j, count, buffer);
    }
}

// One block: `rows` are the values of each source, all lanes of them, and so is what it leaves.
MINISIM_INLINE void elementwise(VectorOp op, const float* const* rows, std::size_t count,
                                float* out) {
    switch (op) {
#define MINISIM_CASE(name, NAME, function, code, kinds, result, operands, types)                   \
    case VectorOp::k##name:                                                                        \
        for (std::size_t begin = 0; begin < count; begin += kLanes) {                              \
            [[maybe_unused]] const Lanes x = lanes_at(rows[0] + begin);                            \
            [[maybe_unused]] const Lanes y = lanes_at(rows[1] + begin);                            \
            [[maybe_unused]] const Lanes z = lanes_at(rows[2] + begin);                            \
            leave(definitions::function operands, out + begin);                                    \
        }                                                                                          \
        break;
        MINISIM_ELEMENTWISE(MINISIM_CASE)
#undef MINISIM_CASE
        default: break;
    }
}

// The same as one long row, if no source repeats one of several rows, or columns.
MINISIM_INLINE VectorArgs flattened(const VectorArgs& x) {
    VectorArgs flat = x;
    for (std::size_t k = 0; k < info(x.op).sources; ++k) {
        VectorSource& source = flat.sources[k];
        if (x.cols == 1) source.col_step = source.row_step;
        const bool packed = source.row_step == x.cols && source.col_step == 1;
        const bool constant = source.row_step == 0 && source.col_step == 0;
        if (!packed && !constant) return x;
        source.row_step = 0;
    }
    flat.cols *= flat.rows;
    flat.rows = 1;
    return flat;
}

MINISIM_INLINE void leave(const float* from, std::size_t count, const VectorArgs& x,
                          std::size_t at) {
    switch (x.dtype) {
        case DType::kBf16:
            for (std::size_t q = 0; q < count; ++q) static_cast<Bf16*>(x.dst)[at + q] = narrow(from[q]);
            break;
        case DType::kFp16:
            for (std::size_t q = 0; q < count; ++q) static_cast<Fp16*>(x.dst)[at + q] = narrow_to_fp16(from[q]);
            break;
        case DType::kBool:
            for (std::size_t q = 0; q < count; ++q) static_cast<Bool*>(x.dst)[at + q].value = from[q] != 0.0f;
            break;
        default: std::copy_n(from, count, static_cast<float*>(x.dst) + at);
    }
}

// Whole lanes of fp32 are written where they belong; others are computed apart. All that an operation
// in place reads of some lanes, it reads before it writes them.
MINISIM_INLINE void elementwise_body(const VectorArgs& args) {
    const VectorArgs x = flattened(args);
    const std::size_t sources = info(x.op).sources;
    float in[kSources][kBlock], apart[kBlock];
    const float* rows[kSources] = {};
    for (std::size_t i = 0; i < x.rows; ++i) {
        for (std::size_t j = 0; j < x.cols; j += kBlock) {
            const std::size_t count = std::min(kBlock, x.cols - j), at = i * x.cols + j;
            interruptible(count);
            for (std::size_t k = 0; k < kSources; ++k) {
                rows[k] = k < sources ? values(x.sources[k], i, j, count, in[k]) : rows[0];
            }
            const bool direct = x.dtype == DType::kFp32 && count % kLanes == 0;
            elementwise(x.op, rows, count, direct ? static_cast<float*>(x.dst) + at : apart);
            if (!direct) leave(apart, count, x, at);
        }
    }
}

// The definition's partial results take in a row.
template <class Reduction>
MINISIM_INLINE void take_in(float* partial, const VectorSource& source, std::size_t row, std::size_t length) {
    float buffer[kBlock];
    for (std::size_t begin = 0; begin < length; begin += kBlock) {
        std::size_t left = std::min(kBlock, length - begin);
        const float* x = values(source, row, begin, left, buffer);
        for (; left >= kReduceWidth; left -= kReduceWidth, x += kReduceWidth) {
            for (std::size_t j = 0; j < kReduceWidth; ++j) partial[j] = Reduction::combine(partial[j], x[j]);
        }
        for (std::size_t j = 0; j < left; ++j) partial[j] = Reduction::combine(partial[j], x[j]);
    }
}

template <class Reduction>
MINISIM_INLINE void reduction_body(const VectorArgs& x) {
    for (std::size_t i = 0; i < x.rows; ++i) {
        interruptible(x.length);
        float partial[kReduceWidth];
        std::fill_n(partial, kReduceWidth, Reduction::kStart);
        if (x.acc) std::copy_n(static_cast<const float*>(x.acc) + i * kReduceWidth, kReduceWidth, partial);
        take_in<Reduction>(partial, x.sources[0], i, x.length);
        for (std::size_t w = x.cols == 1 ? kReduceWidth / 2 : 0; w > 0; w /= 2) {
            for (std::size_t j = 0; j < w; ++j) partial[j] = Reduction::combine(partial[j], partial[j + w]);
        }
        for (std::size_t j = 0; j < x.cols; ++j) partial[j] = one_nan(partial[j]);
        leave(partial, x.cols, x, i * x.cols);
    }
}

// `count` columns of row `row` of a source, from column `j` on, as floats: where they are, or in `buffer`.
MINISIM_INLINE const float* columns(const VectorSource& x, std::size_t row, std::size_t j, std::size_t count,
                                    float* buffer) {
    const VectorSource packed = {x.data, row, 1, x.dtype};
    return x.dtype == DType::kFp32 ? static_cast<const float*>(x.data) + row + j
                                   : values(packed, 1, j, count, buffer);
}

MINISIM_INLINE void activate(Activation activation, float* x, std::size_t count) {
    if (activation == Activation::kRelu) {
        for (std::size_t q = 0; q < count; ++q) x[q] = definitions::relu(x[q]);
    } else if (activation == Activation::kSigmoid) {  // whole lanes: there is room for them
        for (std::size_t q = 0; q < count; q += kLanes) {
            const Lanes some = definitions::sigmoid(lanes_at(x + q));
            std::memcpy(x + q, some.lane, sizeof some.lane);
        }
    }
}

// A block of columns of one row of dst at a time; columns are different chains.
template <class Fold>
MINISIM_INLINE void fold_body(const VectorArgs& x) {
    const VectorSource &taps = x.sources[0], &weights = x.sources[1], &bias = x.sources[2];
    float p[kBlock], in[kBlock] = {}, beside[kBlock] = {};
    for (std::size_t i = 0; i < x.rows; ++i) {
        for (std::size_t j = 0; j < x.cols; j += kBlock) {
            const std::size_t count = std::min(kBlock, x.cols - j), at = i * x.cols + j;
            interruptible(x.taps * count);
            std::fill_n(p, kBlock, Fold::kStart);
            if (x.acc) std::copy_n(static_cast<const float*>(x.acc) + at, count, p);
            for (std::size_t t = 0; t < x.taps; ++t) {
                const float* from = columns(taps, i * taps.row_step + t * x.cols, j, count, in);
                const float* with = weights.data ? columns(weights, t * x.cols, j, count, beside) : from;
                for (std::size_t q = 0; q < count; ++q) p[q] = Fold::step(p[q], from[q], with[q]);
            }
            if (bias.data) {
                const float* add = columns(bias, 0, j, count, beside);
                for (std::size_t q = 0; q < count; ++q) p[q] += add[q];
            }
            activate(x.activation, p, count);
            for (std::size_t q = 0; q < count; ++q) p[q] = one_nan(p[q]);
            leave(p, count, x, at);
        }
    }
}

MINISIM_INLINE void vector_body(const VectorArgs& x) {
    switch (x.op) {
#define MINISIM_CASE(name, NAME, function, ...)                                                    \
    case VectorOp::k##name: reduction_body<definitions::function>(x); break;
        MINISIM_REDUCTIONS(MINISIM_CASE)
#undef MINISIM_CASE
#define MINISIM_CASE(name, NAME, function, ...)                                                    \
    case VectorOp::k##name: fold_body<definitions::function>(x); break;
        MINISIM_FOLDS(MINISIM_CASE)
#undef MINISIM_CASE
        default: elementwise_body(x);
    }
}

}  // namespace
}  // namespace minisim
