// The arithmetic of the matrix and the vector unit.
//
// The definition, to the bit. Each element of a matrix product is one chain of fused multiply-adds,
// acc = fma(a[i,k], b[k,j], acc), k ascending, from +0 at the first step and from the stored sum
// at later ones. After the last step comes the epilogue: + bias[j], + residual[i,j], activation,
// each one correctly rounded operation. relu(x) is +0 where x <= 0, and x elsewhere. A NaN that
// leaves an epilogue or a vector operation is the one with the bits 0x7FC00000, because which NaN
// an addition passes on differs between processors.
//
// An elementwise operation of the vector unit is what its definition in vector_definitions.hpp says: one
// correctly rounded operation, elementary functions included (elementary.hpp), or a stated chain of
// such. max(x, y) is NaN if either is, and max(-0, +0) is +0, so that it does not depend on the order
// of its operands (IEEE 754-2019, maximum).
//
// A reduction of a row x[0 .. n) goes through kReduceWidth partial results p[j], whatever the number
// of the machine's lanes: a sum starts them at -0 (x + -0 is x, also for -0), a maximum at -inf. Then
//     for i ascending:  p[i mod kReduceWidth] = p[i mod kReduceWidth] + x[i]      (or max)
//     for w = kReduceWidth / 2, ..., 2, 1:  p[j] = p[j] + p[j + w] for all j < w
// and the result is p[0]. A row may be cut into parts, all but the last of them multiples of kReduceWidth long: each goes
// on from the partial results of the one before it, so the bits are those of the whole row.
//
// A fold makes each element of its result out of `taps` elements, one chain in the order of the taps:
//     p = start, or the element of `acc`;   for t ascending:  p = p + x[t]   (or max, or fma(x[t], w[t], p))
// then + bias and the activation, as a matmul's epilogue. A maximum starts at -inf, and -inf stands where no window
// lies; the others start at +0, and +0 stands there (which an fma multiplies). What an unfinished fold leaves is fp32, so
// a chain that is cut into several operations has the bits of one.
//
// bf16 and fp16 operands are widened first, which is exact; the sums are fp32. Vector operations on
// them, reductions included, widen, compute as above and round once. Sums of products of integers
// are int32 and wrap around; the epilogue adds the bias in int32; a requantisation is one rounded
// conversion to fp32, one rounded product with the scale, a rounding to an integer, ties to even,
// and saturation. Vector operations on integers, and conversions, are in integers.hpp.
//
// The kernel "reference" is that definition as scalar loops. All others give the same bits.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "minisim/interrupt.hpp"
#include "minisim/isa.hpp"
#include "minisim/narrow.hpp"

namespace minisim {

constexpr std::uint32_t kNanBits = 0x7FC00000u;
constexpr std::size_t kWidestPanel = 32;  // columns of B that a kernel takes at once, at most
constexpr std::size_t kReduceWidth = 32;  // part of the definition: another one gives other bits

// Operands are packed: (m, k) or (k, m) if transposed, (k, n) or (n, k), (m, n), (n), (m, n).
template <class Sum>
struct MatmulArgsOf {
    const void* a;
    const void* b;
    Sum* c;
    const Sum* bias;      // or null
    const Sum* residual;  // or null; always null for integers
    std::size_t m, k, n;
    bool a_transposed, b_transposed;
    bool clear;  // start from zero, not from what c holds
    bool last;   // apply the epilogue
    Activation activation;
    DType a_dtype = DType::kFp32, b_dtype = DType::kFp32;  // one of kPairs, with sums of this type
};
using MatmulArgs = MatmulArgsOf<float>;
using IntegerMatmulArgs = MatmulArgsOf<std::int32_t>;

// A source of a vector operation: element (i, j) is data[i * row_step + j * col_step], and
// a step of 0 repeats a row or a column. col_step is 0 or 1; a reduction takes its rows as packed.
struct VectorSource {
    const void* data;
    std::size_t row_step, col_step;
    DType dtype = DType::kFp32;
};

struct VectorArgs {
    VectorOp op;
    std::array<VectorSource, kSources> sources;  // as many as the operation has; others are not looked at
    void* dst;  // packed (rows, cols); may be a source that is packed alike
    std::size_t rows, cols;  // of dst; 1 column for a reduction
    std::size_t length = 0;  // of the rows that a reduction reduces
    DType dtype = DType::kFp32;  // of dst
    // Of a reduction: `acc` is packed (rows, kReduceWidth), what an earlier part has left, null at the first one; with as many
    // cols it leaves them itself. Of a fold: its first source is packed (rows, taps, cols), the second (taps, cols), the third (cols), null if it has
    // none; `acc` is packed (rows, cols), fp32 (of integers: theirs), null where the chain begins. It may be dst.
    std::size_t taps = 0;
    const void* acc = nullptr;
    Activation activation = Activation::kNone;
};

// Memory that a kernel reuses from call to call.
struct Scratch {
    std::vector<float> panel;              // a few columns of B
    std::vector<float> left, right, sums;  // operands widened to fp32, and their product

    // For a product of these sizes, by any kernel: then it asks for no memory itself.
    void make_room(DType dtype, std::size_t m, std::size_t k, std::size_t n);
};

struct Kernel {
    const char* name;
    void (*matmul)(const MatmulArgs& args, Scratch& scratch);
    void (*vector)(const VectorArgs& args);
    void (*integer_matmul)(const IntegerMatmulArgs& args, Scratch& scratch);
    void (*round)(const float* x, std::size_t count, DType dtype, void* out);  // to BF16 or FP16
    void (*requantise)(const std::int32_t* x, std::size_t count, float scale, DType dtype,
                       void* out);  // to INT8 or UINT8
};

// The kernels that this processor can run: the reference first, the fastest last.
const std::vector<Kernel>& kernels();

// By its name, or "fast" or "auto" for the fastest. Throws UsageError for any other name.
const Kernel& kernel_named(const std::string& name);

extern const Kernel kReferenceKernel;      // kernels_reference.cpp
std::vector<Kernel> usable_fast_kernels();  // kernels_fast.cpp, the fastest last

}  // namespace minisim
