// The definition of the arithmetic, in the plainest form.

#include <cmath>
#include <cstring>
#include <limits>

#include "minisim/exponential.hpp"
#include "minisim/kernels.hpp"
#include "minisim/sigmoid.hpp"

namespace minisim {
namespace {

float one_nan(float x) {
    float nan;
    std::memcpy(&nan, &kNanBits, sizeof nan);
    return x != x ? nan : x;
}

float relu(float x) { return x <= 0.0f ? 0.0f : x; }

float activate(Activation activation, float x) {
    switch (activation) {
        case Activation::kNone: return x;
        case Activation::kRelu: return relu(x);
        case Activation::kSigmoid: return sigmoid(x);
    }
    return x;
}

void matmul(const MatmulArgs& x, Scratch&) {
    for (std::size_t i = 0; i < x.m; ++i) {
        for (std::size_t j = 0; j < x.n; ++j) {
            float& c = x.c[i * x.n + j];
            float acc = x.clear ? 0.0f : c;
            for (std::size_t k = 0; k < x.k; ++k) {
                const float a = x.a_transposed ? x.a[k * x.m + i] : x.a[i * x.k + k];
                const float b = x.b_transposed ? x.b[j * x.k + k] : x.b[k * x.n + j];
                acc = std::fma(a, b, acc);
            }
            if (x.last) {
                if (x.bias) acc += x.bias[j];
                if (x.residual) acc += x.residual[i * x.n + j];
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

float reduce(VectorOp op, const float* x, std::size_t length) {
    constexpr float kInf = std::numeric_limits<float>::infinity();
    float partial[kReduceWidth];
    for (float& p : partial) p = op == VectorOp::kReduceSum ? -0.0f : -kInf;
    for (std::size_t i = 0; i < length; ++i) {
        partial[i % kReduceWidth] = apply(op, partial[i % kReduceWidth], x[i]);
    }
    for (std::size_t w = kReduceWidth / 2; w > 0; w /= 2) {
        for (std::size_t j = 0; j < w; ++j) partial[j] = apply(op, partial[j], partial[j + w]);
    }
    return one_nan(partial[0]);
}

void vector(const VectorArgs& x) {
    if (is_reduction(x.op)) {
        for (std::size_t i = 0; i < x.rows; ++i) {
            x.dst[i] = reduce(x.op, x.src0.data + i * x.src0.row_step, x.length);
        }
        return;
    }
    const auto at = [](const VectorSource& source, std::size_t i, std::size_t j) {
        return source.data[i * source.row_step + j * source.col_step];
    };
    for (std::size_t i = 0; i < x.rows; ++i) {
        for (std::size_t j = 0; j < x.cols; ++j) {
            const float y = is_binary(x.op) ? at(x.src1, i, j) : 0.0f;
            x.dst[i * x.cols + j] = one_nan(apply(x.op, at(x.src0, i, j), y));
        }
    }
}

}  // namespace

const Kernel kReferenceKernel = {"reference", matmul, vector};

}  // namespace minisim
