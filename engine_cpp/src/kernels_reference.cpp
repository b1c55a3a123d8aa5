// The definition of the arithmetic, in the plainest form.

#include <algorithm>
#include <cmath>
#include <cstring>

#include "minisim/interrupt.hpp"
#include "minisim/kernels.hpp"
#include "minisim/vector_definitions.hpp"

namespace minisim {
namespace {

float one_nan(float x) {
    float nan;
    std::memcpy(&nan, &kNanBits, sizeof nan);
    return x != x ? nan : x;
}
std::int32_t one_nan(std::int32_t x) { return x; }

template <class T, class TB>
float multiply_add(T a, TB b, float acc) {
    return std::fma(widen(a), widen(b), acc);
}
template <class T, class TB>
std::int32_t multiply_add(T a, TB b, std::int32_t acc) {
    return wrapping_add(std::int32_t{a} * std::int32_t{b}, acc);  // of at most 16 and 8 bits: no product overflows
}

float add(float x, float y) { return x + y; }
std::int32_t add(std::int32_t x, std::int32_t y) { return wrapping_add(x, y); }

float activate(Activation activation, float x) {
    switch (activation) {
        case Activation::kNone: return x;
        case Activation::kRelu: return definitions::relu(x);
        case Activation::kSigmoid: return definitions::sigmoid(x);
    }
    return x;
}
std::int32_t activate(Activation activation, std::int32_t x) {
    return activation == Activation::kRelu ? std::max(x, 0) : x;
}

template <class T, class TB, class Sum>
void multiply(const MatmulArgsOf<Sum>& x) {
    const T* left = static_cast<const T*>(x.a);
    const TB* right = static_cast<const TB*>(x.b);
    for (std::size_t i = 0; i < x.m; ++i) {
        for (std::size_t j = 0; j < x.n; ++j) {
            interruptible(x.k);
            Sum& c = x.c[i * x.n + j];
            Sum acc = x.clear ? Sum{0} : c;
            for (std::size_t k = 0; k < x.k; ++k) {
                const T a = x.a_transposed ? left[k * x.m + i] : left[i * x.k + k];
                const TB b = x.b_transposed ? right[j * x.k + k] : right[k * x.n + j];
                acc = multiply_add(a, b, acc);
            }
            if (x.last) {
                if (x.bias) acc = add(acc, x.bias[j]);
                if (x.residual) acc = add(acc, x.residual[i * x.n + j]);
                acc = one_nan(activate(x.activation, acc));
            }
            c = acc;
        }
    }
}

void matmul(const MatmulArgs& x, Scratch&) {
    switch (x.a_dtype) {
        case DType::kBf16: return multiply<Bf16, Bf16>(x);
        case DType::kFp16: return multiply<Fp16, Fp16>(x);
        default: return multiply<float, float>(x);
    }
}

template <class T>
void multiply_by_bytes(const IntegerMatmulArgs& x) {
    if (x.b_dtype == DType::kUint8) {
        multiply<T, std::uint8_t>(x);
    } else {
        multiply<T, std::int8_t>(x);
    }
}

void integer_matmul(const IntegerMatmulArgs& x, Scratch&) {
    switch (x.a_dtype) {
        case DType::kInt16: return multiply<std::int16_t, std::int8_t>(x);
        case DType::kUint8: return multiply_by_bytes<std::uint8_t>(x);
        default: return multiply_by_bytes<std::int8_t>(x);
    }
}

float apply(VectorOp op, float x, [[maybe_unused]] float y, [[maybe_unused]] float z) {
    switch (op) {
#define MINISIM_CASE(name, NAME, function, code, kinds, result, operands, types)                    \
    case VectorOp::k##name: return definitions::function operands;
        MINISIM_ELEMENTWISE(MINISIM_CASE)
#undef MINISIM_CASE
        default: return 0.0f;  // a reduction
    }
}

float at(const VectorSource& x, std::size_t i, std::size_t j) {
    const std::size_t k = i * x.row_step + j * x.col_step;
    switch (x.dtype) {
        case DType::kBf16: return widen(static_cast<const Bf16*>(x.data)[k]);
        case DType::kFp16: return widen(static_cast<const Fp16*>(x.data)[k]);
        case DType::kBool: return widen(static_cast<const Bool*>(x.data)[k]);
        default: return static_cast<const float*>(x.data)[k];
    }
}

void leave(float value, const VectorArgs& x, std::size_t k) {
    switch (x.dtype) {
        case DType::kBf16: static_cast<Bf16*>(x.dst)[k] = narrow(value); break;
        case DType::kFp16: static_cast<Fp16*>(x.dst)[k] = narrow_to_fp16(value); break;
        case DType::kBool: static_cast<Bool*>(x.dst)[k].value = value != 0.0f; break;
        default: static_cast<float*>(x.dst)[k] = one_nan(value);
    }
}

template <class Reduction>
void reduce(const VectorArgs& x) {
    for (std::size_t i = 0; i < x.rows; ++i) {
        float partial[kReduceWidth];
        std::fill_n(partial, kReduceWidth, Reduction::kStart);
        if (x.acc) std::copy_n(static_cast<const float*>(x.acc) + i * kReduceWidth, kReduceWidth, partial);
        for (std::size_t j = 0; j < x.length; ++j) {
            float& p = partial[j % kReduceWidth];
            p = Reduction::combine(p, at(x.sources[0], i, j));
        }
        if (x.cols == kReduceWidth) {
            for (std::size_t j = 0; j < kReduceWidth; ++j) leave(partial[j], x, i * kReduceWidth + j);
            continue;
        }
        for (std::size_t w = kReduceWidth / 2; w > 0; w /= 2) {
            for (std::size_t j = 0; j < w; ++j) {
                partial[j] = Reduction::combine(partial[j], partial[j + w]);
            }
        }
        leave(partial[0], x, i);
    }
}

template <class Fold>
void fold(const VectorArgs& x) {
    const VectorSource &taps = x.sources[0], &weights = x.sources[1], &bias = x.sources[2];
    for (std::size_t i = 0; i < x.rows; ++i) {
        interruptible(x.taps * x.cols);
        for (std::size_t j = 0; j < x.cols; ++j) {
            float p = x.acc ? static_cast<const float*>(x.acc)[i * x.cols + j] : Fold::kStart;
            for (std::size_t t = 0; t < x.taps; ++t) {
                p = Fold::step(p, at(taps, i, t * x.cols + j), weights.data ? at(weights, t, j) : 0.0f);
            }
            if (bias.data) p = add(p, at(bias, 0, j));
            leave(activate(x.activation, p), x, i * x.cols + j);
        }
    }
}

void vector(const VectorArgs& x) {
    switch (x.op) {
#define MINISIM_CASE(name, NAME, function, ...)                                                    \
    case VectorOp::k##name: return reduce<definitions::function>(x);
        MINISIM_REDUCTIONS(MINISIM_CASE)
#undef MINISIM_CASE
#define MINISIM_CASE(name, NAME, function, ...)                                                    \
    case VectorOp::k##name: return fold<definitions::function>(x);
        MINISIM_FOLDS(MINISIM_CASE)
#undef MINISIM_CASE
        default: break;
    }
    const std::size_t sources = info(x.op).sources;
    for (std::size_t i = 0; i < x.rows; ++i) {
        interruptible(x.cols);
        for (std::size_t j = 0; j < x.cols; ++j) {
            float value[kSources] = {};
            for (std::size_t k = 0; k < sources; ++k) value[k] = at(x.sources[k], i, j);
            leave(apply(x.op, value[0], value[1], value[2]), x, i * x.cols + j);
        }
    }
}

void round(const float* x, std::size_t count, DType dtype, void* out) {
    for (std::size_t i = 0; i < count; ++i) {
        if (dtype == DType::kBf16) {
            static_cast<Bf16*>(out)[i] = narrow(x[i]);
        } else {
            static_cast<Fp16*>(out)[i] = narrow_to_fp16(x[i]);
        }
    }
}

// nearbyint rounds ties to even: nothing in this process asks for another mode.
void requantise(const std::int32_t* x, std::size_t count, float scale, DType dtype, void* out) {
    for (std::size_t i = 0; i < count; ++i) {
        const float rounded = std::nearbyint(static_cast<float>(x[i]) * scale);
        if (dtype == DType::kInt8) {
            static_cast<std::int8_t*>(out)[i] = static_cast<std::int8_t>(std::clamp(rounded, -128.0f, 127.0f));
        } else {
            static_cast<std::uint8_t*>(out)[i] = static_cast<std::uint8_t>(std::clamp(rounded, 0.0f, 255.0f));
        }
    }
}

}  // namespace

const Kernel kReferenceKernel = {"reference", matmul, vector, integer_matmul, round, requantise};

}  // namespace minisim
