// The definition of the arithmetic, in the plainest form.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "minisim/exponential.hpp"
#include "minisim/interrupt.hpp"
#include "minisim/kernels.hpp"
#include "minisim/sigmoid.hpp"

namespace minisim {
namespace {

float one_nan(float x) {
    float nan;
    std::memcpy(&nan, &kNanBits, sizeof nan);
    return x != x ? nan : x;
}
std::int32_t one_nan(std::int32_t x) { return x; }

float multiply_add(float a, float b, float acc) { return std::fma(a, b, acc); }
float multiply_add(Bf16 a, Bf16 b, float acc) { return std::fma(widen(a), widen(b), acc); }
std::int32_t multiply_add(std::int32_t a, std::int8_t b, std::int32_t acc) {
    return wrapping_add(a * std::int32_t{b}, acc);
}

float add(float x, float y) { return x + y; }
std::int32_t add(std::int32_t x, std::int32_t y) { return wrapping_add(x, y); }

float relu(float x) { return x <= 0.0f ? 0.0f : x; }

float activate(Activation activation, float x) {
    switch (activation) {
        case Activation::kNone: return x;
        case Activation::kRelu: return relu(x);
        case Activation::kSigmoid: return sigmoid(x);
    }
    return x;
}
std::int32_t activate(Activation activation, std::int32_t x) {
    return activation == Activation::kRelu ? std::max(x, 0) : x;
}

template <class T, class Sum, class TB = T>
void matmul(const MatmulArgsOf<T, Sum, TB>& x, Scratch&) {
    for (std::size_t i = 0; i < x.m; ++i) {
        for (std::size_t j = 0; j < x.n; ++j) {
            interruptible(x.k);
            Sum& c = x.c[i * x.n + j];
            Sum acc = x.clear ? Sum{0} : c;
            for (std::size_t k = 0; k < x.k; ++k) {
                const T a = x.a_transposed ? x.a[k * x.m + i] : x.a[i * x.k + k];
                const TB b = x.b_transposed ? x.b[j * x.k + k] : x.b[k * x.n + j];
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

float maximum(float x, float y) {
    if (x != x) return x;
    if (x == y) return std::signbit(x) ? y : x;  // only zeros differ in their signs
    return x > y ? x : y;                        // y if it is a NaN
}

float apply(VectorOp op, float x, float y) {
    switch (op) {
        case VectorOp::kRelu: return relu(x);
        case VectorOp::kSigmoid: return sigmoid(x);
        case VectorOp::kAdd:
        case VectorOp::kReduceSum: return x + y;
        case VectorOp::kMul: return x * y;
        case VectorOp::kSub: return x - y;
        case VectorOp::kDiv: return x / y;
        case VectorOp::kMax:
        case VectorOp::kReduceMax: return maximum(x, y);
        case VectorOp::kExp: return exponential(x);
        case VectorOp::kSqrt: return std::sqrt(x);
    }
    return x;
}

void leave(float x, float& out) { out = one_nan(x); }
void leave(float x, Bf16& out) { out = narrow(x); }

template <class T>
float reduce(VectorOp op, const T* x, std::size_t length) {
    constexpr float kInf = std::numeric_limits<float>::infinity();
    float partial[kReduceWidth];
    for (float& p : partial) p = op == VectorOp::kReduceSum ? -0.0f : -kInf;
    for (std::size_t i = 0; i < length; ++i) {
        partial[i % kReduceWidth] = apply(op, partial[i % kReduceWidth], widen(x[i]));
    }
    for (std::size_t w = kReduceWidth / 2; w > 0; w /= 2) {
        for (std::size_t j = 0; j < w; ++j) partial[j] = apply(op, partial[j], partial[j + w]);
    }
    return partial[0];
}

template <class T>
void vector(const VectorArgsOf<T>& x) {
    if (is_reduction(x.op)) {
        for (std::size_t i = 0; i < x.rows; ++i) {
            leave(reduce(x.op, x.src0.data + i * x.src0.row_step, x.length), x.dst[i]);
        }
        return;
    }
    const auto at = [](const VectorSourceOf<T>& source, std::size_t i, std::size_t j) {
        return widen(source.data[i * source.row_step + j * source.col_step]);
    };
    for (std::size_t i = 0; i < x.rows; ++i) {
        interruptible(x.cols);
        for (std::size_t j = 0; j < x.cols; ++j) {
            const float y = is_binary(x.op) ? at(x.src1, i, j) : 0.0f;
            leave(apply(x.op, at(x.src0, i, j), y), x.dst[i * x.cols + j]);
        }
    }
}

void round(const float* x, std::size_t count, Bf16* out) {
    for (std::size_t i = 0; i < count; ++i) out[i] = narrow(x[i]);
}

// nearbyint rounds ties to even: nothing in this process asks for another mode.
void requantise(const std::int32_t* x, std::size_t count, float scale, std::int8_t* out) {
    for (std::size_t i = 0; i < count; ++i) {
        const float rounded = std::nearbyint(static_cast<float>(x[i]) * scale);
        out[i] = static_cast<std::int8_t>(std::clamp(rounded, -128.0f, 127.0f));
    }
}

}  // namespace

void matmul_int16(const Int16MatmulArgs& args, Scratch& scratch) {
    matmul<std::int16_t, std::int32_t, std::int8_t>(args, scratch);
}

const Kernel kReferenceKernel = {"reference",
                                 matmul<float, float>,
                                 vector<float>,
                                 matmul<Bf16, float>,
                                 matmul<std::int8_t, std::int32_t>,
                                 vector<Bf16>,
                                 round,
                                 requantise};

}  // namespace minisim
