// The same bits as the reference, in blocks that stay in registers.
//
// One portable body, compiled once for each instruction set: a wrapper with a target attribute
// inlines all of it, so that std::fma becomes that set's instruction and the compiler vectorises
// across columns. Lanes are different outputs and never share a sum, so the order of every chain
// stays the definition's.

#include <algorithm>
#include <cmath>
#include <limits>

#include "minisim/inline.hpp"
#include "minisim/interrupt.hpp"
#include "minisim/kernels.hpp"
#include "minisim/vector_definitions.hpp"
#include "vector_fast.hpp"

namespace minisim {
namespace {

// -- matrix ---------------------------------------------------------------------------------------

// A strided view of A, so that a transposed tile needs no copy.
struct Left {
    const float* data;
    std::size_t row_step, k_step;
};

// kCols neighbouring columns of B, for all k.
struct Panel {
    const float* data;
    std::size_t k_step;
};

// c += a x b for kRows x kCols outputs, whose sums are registers while k runs.
template <std::size_t kRows, std::size_t kCols>
MINISIM_INLINE void block(Left a, Panel b, float* c, std::size_t c_step, std::size_t k,
                          bool clear) {
    float acc[kRows][kCols];
    for (std::size_t i = 0; i < kRows; ++i) {
        for (std::size_t j = 0; j < kCols; ++j) acc[i][j] = clear ? 0.0f : c[i * c_step + j];
    }
    for (std::size_t p = 0; p < k; ++p) {
        const float* b_row = b.data + p * b.k_step;
#if defined(__clang__)
#pragma clang loop unroll(full)
#elif defined(__GNUC__)
#pragma GCC unroll 8
#endif
        for (std::size_t i = 0; i < kRows; ++i) {
            const float x = a.data[i * a.row_step + p * a.k_step];
            for (std::size_t j = 0; j < kCols; ++j) acc[i][j] = std::fma(x, b_row[j], acc[i][j]);
        }
    }
    for (std::size_t i = 0; i < kRows; ++i) {
        for (std::size_t j = 0; j < kCols; ++j) c[i * c_step + j] = acc[i][j];
    }
}

// Some of kCols columns. Half of them is the commonest, and a register's worth.
template <std::size_t kCols>
MINISIM_INLINE void copy_cols(const float* from, std::size_t cols, float* to) {
    if (cols == kCols / 2) {
        std::copy_n(from, kCols / 2, to);
    } else {
        for (std::size_t j = 0; j < cols; ++j) to[j] = from[j];
    }
}

// A block at the right edge, with fewer columns than kCols: it works on a copy of its outputs.
template <std::size_t kRows, std::size_t kCols>
MINISIM_INLINE void edge_block(Left a, Panel b, float* c, std::size_t c_step, std::size_t k,
                               bool clear, std::size_t cols) {
    float copy[kRows][kCols] = {};
    for (std::size_t i = 0; i < kRows && !clear; ++i) copy_cols<kCols>(c + i * c_step, cols, copy[i]);
    block<kRows, kCols>(a, b, copy[0], kCols, k, clear);
    for (std::size_t i = 0; i < kRows; ++i) copy_cols<kCols>(copy[i], cols, c + i * c_step);
}

// All rows of a panel from row `i` on: as many blocks of kRows as fit, the rest in halves.
template <std::size_t kRows, std::size_t kCols>
MINISIM_INLINE void panel_rows(const MatmulArgs& x, Left a, Panel b, std::size_t j,
                               std::size_t i) {
    const std::size_t cols = std::min(kCols, x.n - j);
    for (; i + kRows <= x.m; i += kRows) {
        const Left rows = {a.data + i * a.row_step, a.row_step, a.k_step};
        float* c = x.c + i * x.n + j;
        interruptible(kRows * kCols * x.k);
        if (cols == kCols) {
            block<kRows, kCols>(rows, b, c, x.n, x.k, x.clear);
        } else {
            edge_block<kRows, kCols>(rows, b, c, x.n, x.k, x.clear, cols);
        }
    }
    if constexpr (kRows > 1) {
        if (i < x.m) panel_rows<kRows / 2, kCols>(x, a, b, j, i);
    }
}

// Columns [j, j + kCols) of B: in place if they are there in that form, else packed into scratch,
// with zeros for the columns that B does not have.
template <std::size_t kCols>
MINISIM_INLINE Panel panel_of(const MatmulArgs& x, std::size_t j, Scratch& scratch) {
    const std::size_t cols = std::min(kCols, x.n - j);
    const float* b = static_cast<const float*>(x.b);
    if (!x.b_transposed && cols == kCols) return {b + j, x.n};
    scratch.panel.resize(x.k * kCols);
    float* panel = scratch.panel.data();
    if (cols < kCols) std::fill_n(panel, x.k * kCols, 0.0f);
    for (std::size_t p = 0; p < x.k; ++p, panel += kCols) {
        if (x.b_transposed) {
            for (std::size_t q = 0; q < cols; ++q) panel[q] = b[(j + q) * x.k + p];
        } else {
            copy_cols<kCols>(b + p * x.n + j, cols, panel);
        }
    }
    return {scratch.panel.data(), kCols};
}

// -- fp32, whole ----------------------------------------------------------------------------------

MINISIM_INLINE void epilogue(const MatmulArgs& x) {
    for (std::size_t i = 0; i < x.m; ++i) {
        float* c = x.c + i * x.n;
        if (x.bias) {
            for (std::size_t j = 0; j < x.n; ++j) c[j] += x.bias[j];
        }
        if (x.residual) {
            const float* residual = x.residual + i * x.n;
            for (std::size_t j = 0; j < x.n; ++j) c[j] += residual[j];
        }
        switch (x.activation) {
            case Activation::kNone:
                for (std::size_t j = 0; j < x.n; ++j) c[j] = one_nan(c[j]);
                break;
            case Activation::kRelu:
                for (std::size_t j = 0; j < x.n; ++j) c[j] = one_nan(definitions::relu(c[j]));
                break;
            case Activation::kSigmoid:
                for (std::size_t j = 0; j < x.n; j += kLanes) {
                    Lanes some(0.0f);
                    const std::size_t count = std::min(kLanes, x.n - j);
                    std::copy_n(c + j, count, some.lane);
                    some = definitions::sigmoid(some);
                    std::copy_n(some.lane, count, c + j);
                }
                break;
        }
    }
}

// All panels, each packed once: as many of kCols columns as there are, then one of as many or of half.
template <std::size_t kRows, std::size_t kCols>
MINISIM_INLINE void panels(const MatmulArgs& x, Left a, Scratch& scratch) {
    std::size_t j = 0;
    for (; j + kCols / 2 < x.n; j += kCols) {
        panel_rows<kRows, kCols>(x, a, panel_of<kCols>(x, j, scratch), j, 0);
    }
    if (j < x.n) panel_rows<kRows, kCols / 2>(x, a, panel_of<kCols / 2>(x, j, scratch), j, 0);
}

// -- narrow types, by way of fp32 ------------------------------------------------------------------

template <class T>
MINISIM_INLINE void widen_rows_of(const void* data, std::size_t begin, std::size_t step,
                                  std::size_t rows, std::size_t cols, float* to) {
    const T* from = static_cast<const T*>(data) + begin;
    for (std::size_t i = 0; i < rows; ++i) {
        for (std::size_t j = 0; j < cols; ++j) to[i * cols + j] = widen(from[i * step + j]);
    }
}

// `rows` rows of `cols` elements, `step` apart, from the element `begin` on, as packed floats: exactly.
MINISIM_INLINE const float* widen_rows(DType dtype, const void* data, std::size_t begin,
                                       std::size_t step, std::size_t rows, std::size_t cols,
                                       std::vector<float>& to) {
    to.resize(rows * cols);
    switch (dtype) {
        case DType::kBf16: widen_rows_of<Bf16>(data, begin, step, rows, cols, to.data()); break;
        case DType::kFp16: widen_rows_of<Fp16>(data, begin, step, rows, cols, to.data()); break;
        case DType::kUint8: widen_rows_of<std::uint8_t>(data, begin, step, rows, cols, to.data()); break;
        default: widen_rows_of<std::int8_t>(data, begin, step, rows, cols, to.data());
    }
    return to.data();
}

template <std::size_t kRows, std::size_t kCols>
MINISIM_INLINE void matmul_body(const MatmulArgs& given, Scratch& scratch) {
    MatmulArgs x = given;
    if (x.a_dtype != DType::kFp32) {  // the layout, transposed or not, stays
        x.a = widen_rows(x.a_dtype, x.a, 0, x.k, x.m, x.k, scratch.left);
        x.b = widen_rows(x.b_dtype, x.b, 0, x.n, x.k, x.n, scratch.right);
    }
    const float* data = static_cast<const float*>(x.a);
    const Left a = x.a_transposed ? Left{data, 1, x.m} : Left{data, x.k, 1};
    panels<kRows, kCols>(x, a, scratch);
    if (x.last) epilogue(x);
}

constexpr std::size_t largest(DType dtype) { return dtype == DType::kUint8 ? 255 : 128; }

// Sums of so few products, and every sum on its way, are integers of at most 2^24: fp32 is exact, and
// the order does not matter. So k is cut into such parts, each a product of floats by `matmul`.
MINISIM_INLINE void integer_matmul_body(const IntegerMatmulArgs& x, Scratch& scratch,
                                        void (*matmul)(const MatmulArgs&, Scratch&)) {
    const std::size_t count = (std::size_t{1} << 24) / (largest(x.a_dtype) * largest(x.b_dtype));
    if (x.clear) std::fill_n(x.c, x.m * x.n, 0);
    MatmulArgs part{};
    part.m = x.m;
    part.n = x.n;
    part.a_transposed = x.a_transposed;
    part.b_transposed = x.b_transposed;
    part.clear = true;
    for (std::size_t begin = 0; begin < x.k; begin += part.k) {
        part.k = std::min(count, x.k - begin);
        part.a = x.a_transposed
                     ? widen_rows(x.a_dtype, x.a, begin * x.m, x.m, part.k, x.m, scratch.left)
                     : widen_rows(x.a_dtype, x.a, begin, x.k, x.m, part.k, scratch.left);
        part.b = x.b_transposed
                     ? widen_rows(x.b_dtype, x.b, begin, x.k, x.n, part.k, scratch.right)
                     : widen_rows(x.b_dtype, x.b, begin * x.n, x.n, part.k, x.n, scratch.right);
        scratch.sums.resize(x.m * x.n);
        part.c = scratch.sums.data();
        matmul(part, scratch);
        for (std::size_t i = 0; i < x.m * x.n; ++i) {
            x.c[i] = wrapping_add(x.c[i], static_cast<std::int32_t>(part.c[i]));
        }
    }
    if (!x.last) return;
    for (std::size_t i = 0; i < x.m; ++i) {
        std::int32_t* c = x.c + i * x.n;
        if (x.bias) {
            for (std::size_t j = 0; j < x.n; ++j) c[j] = wrapping_add(c[j], x.bias[j]);
        }
        if (x.activation == Activation::kRelu) {
            for (std::size_t j = 0; j < x.n; ++j) c[j] = std::max(c[j], 0);
        }
    }
}

template <class T>
MINISIM_INLINE void round_to(const float* x, std::size_t count, void* out) {
    for (std::size_t i = 0; i < count; ++i) narrow_to(x[i], static_cast<T*>(out)[i]);
}

MINISIM_INLINE void round_body(const float* x, std::size_t count, DType dtype, void* out) {
    dtype == DType::kBf16 ? round_to<Bf16>(x, count, out) : round_to<Fp16>(x, count, out);
}

// Saturating first changes nothing, for the ends are integers. Then |y| is below 2^22, and adding
// 1.5 * 2^23 leaves room for no fraction: the sum is rounded, ties to even, and so is y.
template <class T>
MINISIM_INLINE void requantise_to(const std::int32_t* x, std::size_t count, float scale, void* out) {
    constexpr float kShift = 0x1.8p23f, kLow = std::numeric_limits<T>::min(), kHigh = std::numeric_limits<T>::max();
    for (std::size_t i = 0; i < count; ++i) {
        float y = static_cast<float>(x[i]) * scale;
        y = y < kLow ? kLow : y;
        y = y > kHigh ? kHigh : y;
        static_cast<T*>(out)[i] = static_cast<T>(static_cast<std::int32_t>((y + kShift) - kShift));
    }
}

MINISIM_INLINE void requantise_body(const std::int32_t* x, std::size_t count, float scale, DType dtype,
                                    void* out) {
    dtype == DType::kInt8 ? requantise_to<std::int8_t>(x, count, scale, out)
                          : requantise_to<std::uint8_t>(x, count, scale, out);
}

// -- one instance for each instruction set --------------------------------------------------------
// Block sizes: the sums, one row of the panel and one element of A must fit the registers.


#define MINISIM_INSTANCE(target, set, rows, cols)                                                  \
    static_assert(cols <= kWidestPanel);                                                           \
    target void matmul_##set(const MatmulArgs& x, Scratch& s) { matmul_body<rows, cols>(x, s); }   \
    target void vector_##set(const VectorArgs& x) { vector_body(x); }                              \
    target void integer_matmul_##set(const IntegerMatmulArgs& x, Scratch& s) {                     \
        if (x.a_dtype == DType::kInt16) return kReferenceKernel.integer_matmul(x, s);              \
        integer_matmul_body(x, s, matmul_##set);                                                   \
    }                                                                                              \
    target void round_##set(const float* x, std::size_t count, DType dtype, void* out) {           \
        round_body(x, count, dtype, out);                                                          \
    }                                                                                              \
    target void requantise_##set(const std::int32_t* x, std::size_t count, float scale,            \
                                 DType dtype, void* out) {                                         \
        requantise_body(x, count, scale, dtype, out);                                              \
    }                                                                                              \
    constexpr Kernel kernel_##set = {#set,       matmul_##set,    vector_##set, integer_matmul_##set, \
                                     round_##set, requantise_##set};

MINISIM_INSTANCE(, portable, 4, 16)

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define MINISIM_HAS_X86_TARGETS 1
#define MINISIM_AVX2 __attribute__((target("avx2,fma")))
#if defined(__clang__)
#define MINISIM_AVX512 __attribute__((target("avx512f,avx512dq,fma"), min_vector_width(512)))
#else
#define MINISIM_AVX512 __attribute__((target("avx512f,avx512dq,fma,prefer-vector-width=512")))
#endif
MINISIM_INSTANCE(MINISIM_AVX2, avx2, 4, 16)
MINISIM_INSTANCE(MINISIM_AVX512, avx512, 8, 32)
#endif

}  // namespace

std::vector<Kernel> usable_fast_kernels() {
    std::vector<Kernel> found = {kernel_portable};
#if defined(MINISIM_HAS_X86_TARGETS)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        found.push_back(kernel_avx2);
    }
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")) {
        found.push_back(kernel_avx512);
    }
#endif
    return found;
}

}  // namespace minisim
