// The same bits as the reference, in blocks that stay in registers.
//
// One portable body, compiled once for each instruction set: a wrapper with a target attribute
// inlines all of it, so that std::fma becomes that set's instruction and the compiler vectorises
// across columns. Lanes are different outputs and never share a sum, so the order of every chain
// stays the definition's.

#include <algorithm>
#include <cmath>

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

// A block at the right edge, with fewer columns than kCols: it works on a copy of its outputs.
template <std::size_t kRows, std::size_t kCols>
MINISIM_INLINE void edge_block(Left a, Panel b, float* c, std::size_t c_step, std::size_t k,
                               bool clear, std::size_t cols) {
    float copy[kRows][kCols] = {};
    for (std::size_t i = 0; i < kRows; ++i) std::copy_n(c + i * c_step, cols, copy[i]);
    block<kRows, kCols>(a, b, copy[0], kCols, k, clear);
    for (std::size_t i = 0; i < kRows; ++i) std::copy_n(copy[i], cols, c + i * c_step);
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
    if (!x.b_transposed && cols == kCols) return {x.b + j, x.n};
    scratch.panel.assign(x.k * kCols, 0.0f);
    for (std::size_t p = 0; p < x.k; ++p) {
        for (std::size_t q = 0; q < cols; ++q) {
            scratch.panel[p * kCols + q] =
                x.b_transposed ? x.b[(j + q) * x.k + p] : x.b[p * x.n + j + q];
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

// Panels outermost, so that each is packed once.
template <std::size_t kRows, std::size_t kCols>
MINISIM_INLINE void matmul_body(const MatmulArgs& x, Scratch& scratch) {
    const Left a = x.a_transposed ? Left{x.a, 1, x.m} : Left{x.a, x.k, 1};
    for (std::size_t j = 0; j < x.n; j += kCols) {
        panel_rows<kRows, kCols>(x, a, panel_of<kCols>(x, j, scratch), j, 0);
    }
    if (x.last) epilogue(x);
}

// -- bf16 and int8, by way of fp32 ----------------------------------------------------------------

// `rows` rows of `cols` elements, `step` apart, become packed floats. Both types fit exactly.
template <class T>
MINISIM_INLINE void widen_rows(const T* from, std::size_t step, std::size_t rows, std::size_t cols,
                               std::vector<float>& to) {
    to.resize(rows * cols);
    for (std::size_t i = 0; i < rows; ++i) {
        const T* row = from + i * step;
        float* out = to.data() + i * cols;
        for (std::size_t j = 0; j < cols; ++j) out[j] = widen(row[j]);
    }
}
template <std::size_t kRows, std::size_t kCols>
MINISIM_INLINE void matmul_bf16_body(const Bf16MatmulArgs& x, Scratch& scratch) {
    widen_rows(x.a, x.k, x.m, x.k, scratch.left);  // the layout, transposed or not, stays
    widen_rows(x.b, x.n, x.k, x.n, scratch.right);
    matmul_body<kRows, kCols>({scratch.left.data(), scratch.right.data(), x.c, x.bias, x.residual,
                               x.m, x.k, x.n, x.a_transposed, x.b_transposed, x.clear, x.last,
                               x.activation},
                              scratch);
}

// A product of two int8 is at most 2^14, so a sum of this many of them, and every sum on its way,
// is an integer of at most 2^24: fp32 is exact, and the order does not matter.
constexpr std::size_t kExactProducts = 1024;

// c += the part of the product where k is in [begin, begin + count).
template <std::size_t kRows, std::size_t kCols>
MINISIM_INLINE void add_products(const Int8MatmulArgs& x, std::size_t begin, std::size_t count,
                                 Scratch& scratch) {
    if (x.a_transposed) {
        widen_rows(x.a + begin * x.m, x.m, count, x.m, scratch.left);
    } else {
        widen_rows(x.a + begin, x.k, x.m, count, scratch.left);
    }
    if (x.b_transposed) {
        widen_rows(x.b + begin, x.k, x.n, count, scratch.right);
    } else {
        widen_rows(x.b + begin * x.n, x.n, count, x.n, scratch.right);
    }
    scratch.sums.resize(x.m * x.n);
    MatmulArgs part{};
    part.a = scratch.left.data();
    part.b = scratch.right.data();
    part.c = scratch.sums.data();
    part.m = x.m;
    part.k = count;
    part.n = x.n;
    part.a_transposed = x.a_transposed;
    part.b_transposed = x.b_transposed;
    part.clear = true;
    matmul_body<kRows, kCols>(part, scratch);
    for (std::size_t i = 0; i < x.m * x.n; ++i) {
        x.c[i] = wrapping_add(x.c[i], static_cast<std::int32_t>(part.c[i]));
    }
}

template <std::size_t kRows, std::size_t kCols>
MINISIM_INLINE void matmul_int8_body(const Int8MatmulArgs& x, Scratch& scratch) {
    if (x.clear) std::fill_n(x.c, x.m * x.n, 0);
    for (std::size_t begin = 0; begin < x.k; begin += kExactProducts) {
        add_products<kRows, kCols>(x, begin, std::min(kExactProducts, x.k - begin), scratch);
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

MINISIM_INLINE void round_body(const float* x, std::size_t count, Bf16* out) {
    for (std::size_t i = 0; i < count; ++i) out[i] = narrow(x[i]);
}

// Saturating first changes nothing, for the ends are integers. Then |y| is below 2^22, and adding
// 1.5 * 2^23 leaves room for no fraction: the sum is rounded, ties to even, and so is y.
MINISIM_INLINE void requantise_body(const std::int32_t* x, std::size_t count, float scale,
                                    std::int8_t* out) {
    constexpr float kShift = 0x1.8p23f;
    for (std::size_t i = 0; i < count; ++i) {
        float y = static_cast<float>(x[i]) * scale;
        y = y < -128.0f ? -128.0f : y;
        y = y > 127.0f ? 127.0f : y;
        out[i] = static_cast<std::int8_t>(static_cast<std::int32_t>((y + kShift) - kShift));
    }
}

// -- one instance for each instruction set --------------------------------------------------------
// Block sizes: the sums, one row of the panel and one element of A must fit the registers.


#define MINISIM_INSTANCE(target, set, rows, cols)                                                  \
    static_assert(cols <= kWidestPanel);                                                           \
    target void matmul_##set(const MatmulArgs& x, Scratch& s) { matmul_body<rows, cols>(x, s); }   \
    target void vector_##set(const VectorArgs& x) { vector_body(x); }                              \
    target void matmul_bf16_##set(const Bf16MatmulArgs& x, Scratch& s) {                           \
        matmul_bf16_body<rows, cols>(x, s);                                                        \
    }                                                                                              \
    target void matmul_int8_##set(const Int8MatmulArgs& x, Scratch& s) {                           \
        matmul_int8_body<rows, cols>(x, s);                                                        \
    }                                                                                              \
    target void round_##set(const float* x, std::size_t count, Bf16* out) {                        \
        round_body(x, count, out);                                                                 \
    }                                                                                              \
    target void requantise_##set(const std::int32_t* x, std::size_t count, float scale,            \
                                 std::int8_t* out) {                                               \
        requantise_body(x, count, scale, out);                                                     \
    }                                                                                              \
    constexpr Kernel kernel_##set = {#set,              matmul_##set, vector_##set,                \
                                     matmul_bf16_##set, matmul_int8_##set,                         \
                                     round_##set,       requantise_##set};

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
