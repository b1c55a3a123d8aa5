// The arithmetic of the matrix and the vector unit.
//
// The definition, to the bit. Each element of a matrix product is one chain of fused multiply-adds,
// acc = fma(a[i,k], b[k,j], acc), k ascending, from +0 at the first step and from the stored sum
// at later ones. After the last step comes the epilogue: + bias[j], + residual[i,j], activation,
// each one correctly rounded operation. relu(x) is +0 where x <= 0, and x elsewhere. A NaN that
// leaves an epilogue or a vector operation is the one with the bits 0x7FC00000, because which NaN
// an addition passes on differs between processors.
//
// An elementwise operation of the vector unit is one correctly rounded operation, exp and sigmoid
// included (exponential.hpp, sigmoid.hpp). max(x, y) is NaN if either is, and max(-0, +0) is +0, so
// that it does not depend on the order of its operands (IEEE 754-2019, maximum).
//
// A reduction of a row x[0 .. n) goes through kReduceWidth partial results p[j], whatever the number
// of the machine's lanes: a sum starts them at -0 (x + -0 is x, also for -0), a maximum at -inf. Then
//     for i ascending:  p[i mod kReduceWidth] = p[i mod kReduceWidth] + x[i]      (or max)
//     for w = kReduceWidth / 2, ..., 2, 1:  p[j] = p[j] + p[j + w] for all j < w
// and the result is p[0]. The whole row lies in one tile, so no machine can split it.
//
// The kernel "reference" is that definition as scalar loops. All others give the same bits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "minisim/isa.hpp"

namespace minisim {

constexpr std::uint32_t kNanBits = 0x7FC00000u;
constexpr std::size_t kReduceWidth = 32;  // part of the definition: another one gives other bits

// Operands are packed: (m, k) or (k, m) if transposed, (k, n) or (n, k), (m, n), (n), (m, n).
struct MatmulArgs {
    const float* a;
    const float* b;
    float* c;
    const float* bias;      // or null
    const float* residual;  // or null
    std::size_t m, k, n;
    bool a_transposed, b_transposed;
    bool clear;  // start from zero, not from what c holds
    bool last;   // apply the epilogue
    Activation activation;
};

// A source of a vector operation: element (i, j) is data[i * row_step + j * col_step], and
// a step of 0 repeats a row or a column. col_step is 0 or 1; a reduction takes its rows as packed.
struct VectorSource {
    const float* data;
    std::size_t row_step, col_step;
};

struct VectorArgs {
    VectorOp op;
    VectorSource src0, src1;  // src1 is not used by unary operations
    float* dst;               // packed (rows, cols); may be src0 or src1 if they are packed alike
    std::size_t rows, cols;   // of dst; 1 column for a reduction
    std::size_t length = 0;   // of the rows that a reduction reduces
};

// Memory that a kernel reuses from call to call.
using Scratch = std::vector<float>;

struct Kernel {
    const char* name;
    void (*matmul)(const MatmulArgs& args, Scratch& scratch);
    void (*vector)(const VectorArgs& args);
};

// The kernels that this processor can run: the reference first, the fastest last.
const std::vector<Kernel>& kernels();

// By its name, or "fast" or "auto" for the fastest. Throws UsageError for any other name.
const Kernel& kernel_named(const std::string& name);

extern const Kernel kReferenceKernel;      // kernels_reference.cpp
std::vector<Kernel> usable_fast_kernels();  // kernels_fast.cpp, the fastest last

}  // namespace minisim
