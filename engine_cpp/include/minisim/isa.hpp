// The instruction set, byte for byte as hwmodel/isa.py lays it out in numpy.
//
// The meaning of every field is documented there; this file only mirrors the layout. The asserts
// below pin every offset, and tests/engine/test_engine_layout.py compares the two sides.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "minisim/vector_ops.hpp"  // made when the engine is built

namespace minisim {

constexpr std::uint32_t kAlignment = 64;      // bytes: SRAM addresses and DRAM bases
constexpr std::uint32_t kNone = 0xFFFFFFFFu;  // the operand that an operation does not have
constexpr std::uint32_t kTileEdge = 32;       // elements: edge of the default tile

enum class Opcode : std::uint8_t { kLoad = 0, kStore = 1, kExecute = 2, kVector = 3 };
constexpr std::uint32_t kOpcodes = 4;

enum class Queue : std::uint8_t { kLoad = 0, kStore = 1, kMatrix = 2, kVector = 3 };
constexpr std::uint32_t kQueues = 4;

enum class DType : std::uint8_t {
    kFp32 = 0, kBf16 = 1, kInt8 = 2, kInt32 = 3, kInt16 = 4, kBool = 5, kFp16 = 6, kUint8 = 7,
    kFp8E4M3 = 8, kFp8E5M2 = 9
};
constexpr std::uint32_t kDTypes = 10;

enum class Role : std::uint8_t {
    kInput = 0,
    kWeight = 1,
    kIntermediate = 2,
    kOutput = 3,
    kState = 4,  // the user gives its first rows, the program appends others
};
constexpr std::uint32_t kRoles = 5;

enum class Activation : std::uint8_t { kNone = 0, kRelu = 1, kSigmoid = 2 };
constexpr std::uint32_t kActivations = 3;

// The vector unit's operations are rows of hwmodel/vector_ops.py.
enum class VectorOp : std::uint8_t {
#define MINISIM_CODE(name, NAME, function, code, ...) k##name = (code),
    MINISIM_ELEMENTWISE(MINISIM_CODE) MINISIM_REDUCTIONS(MINISIM_CODE) MINISIM_MOVES(MINISIM_CODE)
    MINISIM_FOLDS(MINISIM_CODE) MINISIM_CONVERSIONS(MINISIM_CODE)
#undef MINISIM_CODE
};
constexpr std::uint32_t kVectorOps = 0
#define MINISIM_ONE(...) +1
    MINISIM_ELEMENTWISE(MINISIM_ONE) MINISIM_REDUCTIONS(MINISIM_ONE) MINISIM_MOVES(MINISIM_ONE)
    MINISIM_FOLDS(MINISIM_ONE) MINISIM_CONVERSIONS(MINISIM_ONE);
#undef MINISIM_ONE

// The one place that knows how wide an element is. The code must be valid.
constexpr std::uint32_t item_size(DType dtype) {
    switch (dtype) {
        case DType::kFp32:
        case DType::kInt32: return 4;
        case DType::kBf16:
        case DType::kFp16:
        case DType::kInt16: return 2;
        case DType::kInt8:
        case DType::kUint8:
        case DType::kFp8E4M3:
        case DType::kFp8E5M2:
        case DType::kBool: return 1;
    }
    return 0;
}

// Sets of data types, one bit each.
using DTypes = std::uint32_t;
constexpr DTypes only(DType dtype) { return 1u << static_cast<unsigned>(dtype); }
constexpr DTypes kIntegers =
    only(DType::kInt8) | only(DType::kUint8) | only(DType::kInt16) | only(DType::kInt32);
constexpr DTypes kFloats = only(DType::kFp32) | only(DType::kBf16) | only(DType::kFp16);
constexpr DTypes kFloats8 = only(DType::kFp8E4M3) | only(DType::kFp8E5M2);  // stored, moved and cast, not computed with

// What a fold leaves for one that goes on from it: floats as they are added up, integers as they are.
constexpr DType partial_of(DType operands) { return kIntegers & only(operands) ? operands : DType::kFp32; }

// The pairs of types that a matmul multiplies, and what it adds up in.
struct Pair {
    DType a, b, sums;
};
constexpr Pair kPairs[] = {
    {DType::kFp32, DType::kFp32, DType::kFp32},   {DType::kBf16, DType::kBf16, DType::kFp32},
    {DType::kFp16, DType::kFp16, DType::kFp32},   {DType::kInt8, DType::kInt8, DType::kInt32},
    {DType::kInt8, DType::kUint8, DType::kInt32}, {DType::kUint8, DType::kInt8, DType::kInt32},
    {DType::kUint8, DType::kUint8, DType::kInt32}, {DType::kInt16, DType::kInt8, DType::kInt32},
};

// What A may be at all.
constexpr DTypes multiplied() {
    DTypes found = 0;
    for (const Pair& pair : kPairs) found |= only(pair.a);
    return found;
}

// What B may be beside such an A.
constexpr DTypes seconds_of(DType a) {
    DTypes found = 0;
    for (const Pair& pair : kPairs) found |= pair.a == a ? only(pair.b) : 0;
    return found;
}

// The type of the sums: the same for each B.
constexpr DType accumulator_of(DType a) {
    for (const Pair& pair : kPairs) {
        if (pair.a == a) return pair.sums;
    }
    return DType::kFp32;
}

// What the sums may become at the end.
constexpr DTypes results_of(DType a) {
    const DType sums = accumulator_of(a);
    return only(sums) | (sums == DType::kInt32 ? only(DType::kInt8) | only(DType::kUint8) : only(a));
}

// What the table says of an operation.
struct VectorOpInfo {
    const char* name;
    const char* kinds;  // a letter for each source: x, m or w, of the operation's type, c, a condition, or f, FP32
    char result;        // the kind of what it makes
    std::uint32_t sources;
    bool is_reduction;
    bool is_move;  // of bits: no kernel computes it
    bool is_fold;  // its first source is made of pieces
    DTypes types;  // that x may be

    constexpr bool is_conversion() const { return result == 't'; }
};
constexpr std::uint32_t kSources = 3;  // of an operation, at most

constexpr DType type_of_kind(char kind, DType x) {
    return kind == 'c' ? DType::kBool : kind == 'f' ? DType::kFp32 : x;
}

// The code must be valid.
constexpr VectorOpInfo info(VectorOp op) {
    switch (op) {
#define MINISIM_ROW(name, NAME, function, code, kinds, result, operands, types)                    \
    case VectorOp::k##name:                                                                        \
        return {#NAME,           kinds,               result,              sizeof(kinds) - 1,         \
                MINISIM_REDUCES, (kinds)[0] == 'm',   (kinds)[0] == 'w',   types};
#define MINISIM_REDUCES false
        MINISIM_ELEMENTWISE(MINISIM_ROW)
#undef MINISIM_REDUCES
#define MINISIM_REDUCES false
        MINISIM_MOVES(MINISIM_ROW)
        MINISIM_FOLDS(MINISIM_ROW)
        MINISIM_CONVERSIONS(MINISIM_ROW)
#undef MINISIM_REDUCES
#define MINISIM_REDUCES true
        MINISIM_REDUCTIONS(MINISIM_ROW)
#undef MINISIM_REDUCES
#undef MINISIM_ROW
    }
    return {"?", "", 'x', 0, false, false, false, 0};
}

// Codes stay plain integers in the rows: a table may hold any byte, and an enum that holds a value
// it does not name is only safe to switch over once validate.cpp has seen it.

struct StreamRow {
    std::uint8_t opcode;
    std::uint8_t queue;
    std::uint16_t core;
    std::uint32_t layer;
    std::uint32_t row;
    std::uint32_t wait[kQueues];
    std::uint32_t sync;
};

struct SyncRow {
    std::uint16_t core;
    std::uint8_t queue, more;
    std::uint32_t count;
};

struct TransferRow {
    std::uint32_t tile;
    std::uint32_t version;
    std::uint32_t sram;
    std::uint32_t list = kNone, list_sram = kNone;  // of a row that is gathered: the tile of indices that says which
};

struct MatmulRow {
    std::uint32_t a, b, c, bias, residual, acc;
    std::uint32_t a_sram, b_sram, c_sram, bias_sram, residual_sram, acc_sram;
    std::uint32_t a_pieces;
    std::uint32_t m, k, n, taps, step;
    float scale;
    std::uint8_t last, activation, a_transposed, b_transposed, dtype;
    std::uint8_t reserved[3];
};

struct PieceRow {
    std::uint32_t tile, sram, window, more;
};

struct WindowRow {
    std::uint32_t outer, inner, cols;
    std::uint32_t at_row, at_col, at_outer, at_inner;
    std::uint32_t from_row, from_col, from_outer, from_inner;
    std::uint32_t more;
};

struct VectorRow {
    std::uint8_t op, dtype, activation, reserved;
    std::uint32_t src0, src1, src2, acc, dst;
    std::uint32_t src0_sram, src1_sram, src2_sram, acc_sram, dst_sram;
    std::uint32_t src0_pieces;
    std::uint32_t rows, cols, taps;
    float imm0, imm1, imm2;

    // One of the sources: a tile and where it lies, or a number, or nothing.
    struct Source {
        std::uint32_t tile, sram;
        float number;
    };
    std::array<Source, kSources> sources() const {
        return {{{src0, src0_sram, imm0}, {src1, src1_sram, imm1}, {src2, src2_sram, imm2}}};
    }
};

// A convolution: the parts of tensors that are its input, its filters (in the order of k) and its output, and its geometry.
// Or a fold, or what one has left of its first taps: each channel is a group, and there may be no filters (NONE).
struct ConvolutionRow {
    std::uint32_t x, filters, y;
    std::uint32_t x_row, x_col, filters_row, filters_col, y_row, y_col;  // where these parts begin
    std::uint32_t images, height, width, output_lines, output_columns;
    std::uint32_t kernel_lines, kernel_columns, stride_lines, stride_columns;
    std::uint32_t dilation_lines, dilation_columns;
    std::int32_t pad_top, pad_left;  // of a transposed convolution they may be below 0
    std::uint32_t channels, groups, filters_each;  // channels and filters of each group
    std::uint32_t block;  // channels that the order of k keeps together
    std::uint32_t transposed;  // 1: the strides are the output's
    std::uint32_t taps;  // of the kernel, from the first on, that y is made of
    std::uint32_t along_channels;  // 1: the kernel slides over the channels of each pixel
};

struct TileRow {
    std::uint32_t tensor, row, col, rows, cols, final;
    std::uint32_t stack = 0;  // it lies in the tile so many before it in the table, as rows of that one; 0: by itself
    std::uint32_t part = 0;   // tiles of its stack before it
    std::int64_t moved = 0;   // bytes of DRAM from where its rows would lie without pages to where its page is
};

struct TensorRow {
    std::uint64_t address;
    std::uint32_t rows, cols, pitch, storage;
    std::uint8_t dtype, role;
    std::uint8_t keeps, block, metadata_bits;  // of a compressed weight (sparsity.hpp)
    std::uint8_t across;  // of that, or of a packed one: 1: k runs across the columns
    std::uint16_t page;  // of a state whose rows lie in pages: how many in each; else 0
    std::uint16_t packs, block_bytes;  // of a packed weight (packing.hpp): weights and bytes of a block; else 0
    std::uint8_t scales, zeros, unpacker;  // type of its scales, whether blocks have zero points, who unpacks
    std::uint8_t reserved;
    std::uint32_t indices = 0;  // of gathered rows: tensors from the one of their indices to this one; else 0
    std::uint32_t choices = 0;  // rows of the table that they are taken from, which lies at the address; else 0
};

// What a tensor is in DRAM: itself; of gathered rows the table that they are taken from.
inline TensorRow laid(TensorRow t) {
    if (t.indices != 0) t.rows = t.choices;
    return t;
}

// The fields of every row, once: FIELD(row, name, offset). The asserts below and the layout that
// Python compares with numpy are both made from this list.
#define MINISIM_ISA_FIELDS(FIELD)                                                                  \
    FIELD(StreamRow, opcode, 0)                                                                    \
    FIELD(StreamRow, queue, 1)                                                                     \
    FIELD(StreamRow, core, 2)                                                                      \
    FIELD(StreamRow, layer, 4)                                                                     \
    FIELD(StreamRow, row, 8)                                                                       \
    FIELD(StreamRow, wait, 12)                                                                     \
    FIELD(StreamRow, sync, 28)                                                                     \
    FIELD(SyncRow, core, 0)                                                                        \
    FIELD(SyncRow, queue, 2)                                                                       \
    FIELD(SyncRow, more, 3)                                                                        \
    FIELD(SyncRow, count, 4)                                                                       \
    FIELD(TransferRow, tile, 0)                                                                    \
    FIELD(TransferRow, version, 4)                                                                 \
    FIELD(TransferRow, sram, 8)                                                                    \
    FIELD(TransferRow, list, 12)                                                                   \
    FIELD(TransferRow, list_sram, 16)                                                              \
    FIELD(MatmulRow, a, 0)                                                                         \
    FIELD(MatmulRow, b, 4)                                                                         \
    FIELD(MatmulRow, c, 8)                                                                         \
    FIELD(MatmulRow, bias, 12)                                                                     \
    FIELD(MatmulRow, residual, 16)                                                                 \
    FIELD(MatmulRow, acc, 20)                                                                      \
    FIELD(MatmulRow, a_sram, 24)                                                                   \
    FIELD(MatmulRow, b_sram, 28)                                                                   \
    FIELD(MatmulRow, c_sram, 32)                                                                   \
    FIELD(MatmulRow, bias_sram, 36)                                                                \
    FIELD(MatmulRow, residual_sram, 40)                                                            \
    FIELD(MatmulRow, acc_sram, 44)                                                                 \
    FIELD(MatmulRow, a_pieces, 48)                                                                 \
    FIELD(MatmulRow, m, 52)                                                                        \
    FIELD(MatmulRow, k, 56)                                                                        \
    FIELD(MatmulRow, n, 60)                                                                        \
    FIELD(MatmulRow, taps, 64)                                                                     \
    FIELD(MatmulRow, step, 68)                                                                     \
    FIELD(MatmulRow, scale, 72)                                                                    \
    FIELD(MatmulRow, last, 76)                                                                     \
    FIELD(MatmulRow, activation, 77)                                                               \
    FIELD(MatmulRow, a_transposed, 78)                                                             \
    FIELD(MatmulRow, b_transposed, 79)                                                             \
    FIELD(MatmulRow, dtype, 80)                                                                    \
    FIELD(MatmulRow, reserved, 81)                                                                 \
    FIELD(PieceRow, tile, 0)                                                                       \
    FIELD(PieceRow, sram, 4)                                                                       \
    FIELD(PieceRow, window, 8)                                                                     \
    FIELD(PieceRow, more, 12)                                                                      \
    FIELD(WindowRow, outer, 0)                                                                     \
    FIELD(WindowRow, inner, 4)                                                                     \
    FIELD(WindowRow, cols, 8)                                                                      \
    FIELD(WindowRow, at_row, 12)                                                                   \
    FIELD(WindowRow, at_col, 16)                                                                   \
    FIELD(WindowRow, at_outer, 20)                                                                 \
    FIELD(WindowRow, at_inner, 24)                                                                 \
    FIELD(WindowRow, from_row, 28)                                                                 \
    FIELD(WindowRow, from_col, 32)                                                                 \
    FIELD(WindowRow, from_outer, 36)                                                               \
    FIELD(WindowRow, from_inner, 40)                                                               \
    FIELD(WindowRow, more, 44)                                                                     \
    FIELD(VectorRow, op, 0)                                                                        \
    FIELD(VectorRow, dtype, 1)                                                                     \
    FIELD(VectorRow, activation, 2)                                                                \
    FIELD(VectorRow, reserved, 3)                                                                  \
    FIELD(VectorRow, src0, 4)                                                                      \
    FIELD(VectorRow, src1, 8)                                                                      \
    FIELD(VectorRow, src2, 12)                                                                     \
    FIELD(VectorRow, acc, 16)                                                                      \
    FIELD(VectorRow, dst, 20)                                                                      \
    FIELD(VectorRow, src0_sram, 24)                                                                \
    FIELD(VectorRow, src1_sram, 28)                                                                \
    FIELD(VectorRow, src2_sram, 32)                                                                \
    FIELD(VectorRow, acc_sram, 36)                                                                 \
    FIELD(VectorRow, dst_sram, 40)                                                                 \
    FIELD(VectorRow, src0_pieces, 44)                                                              \
    FIELD(VectorRow, rows, 48)                                                                     \
    FIELD(VectorRow, cols, 52)                                                                     \
    FIELD(VectorRow, taps, 56)                                                                     \
    FIELD(VectorRow, imm0, 60)                                                                     \
    FIELD(VectorRow, imm1, 64)                                                                     \
    FIELD(VectorRow, imm2, 68)                                                                     \
    FIELD(ConvolutionRow, x, 0)                                                                    \
    FIELD(ConvolutionRow, filters, 4)                                                              \
    FIELD(ConvolutionRow, y, 8)                                                                    \
    FIELD(ConvolutionRow, x_row, 12)                                                               \
    FIELD(ConvolutionRow, x_col, 16)                                                               \
    FIELD(ConvolutionRow, filters_row, 20)                                                         \
    FIELD(ConvolutionRow, filters_col, 24)                                                         \
    FIELD(ConvolutionRow, y_row, 28)                                                               \
    FIELD(ConvolutionRow, y_col, 32)                                                               \
    FIELD(ConvolutionRow, images, 36)                                                              \
    FIELD(ConvolutionRow, height, 40)                                                              \
    FIELD(ConvolutionRow, width, 44)                                                               \
    FIELD(ConvolutionRow, output_lines, 48)                                                        \
    FIELD(ConvolutionRow, output_columns, 52)                                                      \
    FIELD(ConvolutionRow, kernel_lines, 56)                                                        \
    FIELD(ConvolutionRow, kernel_columns, 60)                                                      \
    FIELD(ConvolutionRow, stride_lines, 64)                                                        \
    FIELD(ConvolutionRow, stride_columns, 68)                                                      \
    FIELD(ConvolutionRow, dilation_lines, 72)                                                      \
    FIELD(ConvolutionRow, dilation_columns, 76)                                                    \
    FIELD(ConvolutionRow, pad_top, 80)                                                             \
    FIELD(ConvolutionRow, pad_left, 84)                                                            \
    FIELD(ConvolutionRow, channels, 88)                                                            \
    FIELD(ConvolutionRow, groups, 92)                                                              \
    FIELD(ConvolutionRow, filters_each, 96)                                                        \
    FIELD(ConvolutionRow, block, 100)                                                              \
    FIELD(ConvolutionRow, transposed, 104)                                                         \
    FIELD(ConvolutionRow, taps, 108)                                                               \
    FIELD(ConvolutionRow, along_channels, 112)                                                     \
    FIELD(TileRow, tensor, 0)                                                                      \
    FIELD(TileRow, row, 4)                                                                         \
    FIELD(TileRow, col, 8)                                                                         \
    FIELD(TileRow, rows, 12)                                                                       \
    FIELD(TileRow, cols, 16)                                                                       \
    FIELD(TileRow, final, 20)                                                                      \
    FIELD(TileRow, stack, 24)                                                                      \
    FIELD(TileRow, part, 28)                                                                       \
    FIELD(TileRow, moved, 32)                                                                      \
    FIELD(TensorRow, address, 0)                                                                   \
    FIELD(TensorRow, rows, 8)                                                                      \
    FIELD(TensorRow, cols, 12)                                                                     \
    FIELD(TensorRow, pitch, 16)                                                                    \
    FIELD(TensorRow, storage, 20)                                                                  \
    FIELD(TensorRow, dtype, 24)                                                                    \
    FIELD(TensorRow, role, 25)                                                                     \
    FIELD(TensorRow, keeps, 26)                                                                    \
    FIELD(TensorRow, block, 27)                                                                    \
    FIELD(TensorRow, metadata_bits, 28)                                                            \
    FIELD(TensorRow, across, 29)                                                                   \
    FIELD(TensorRow, page, 30)                                                                     \
    FIELD(TensorRow, packs, 32)                                                                    \
    FIELD(TensorRow, block_bytes, 34)                                                              \
    FIELD(TensorRow, scales, 36)                                                                   \
    FIELD(TensorRow, zeros, 37)                                                                    \
    FIELD(TensorRow, unpacker, 38)                                                                 \
    FIELD(TensorRow, reserved, 39)                                                                 \
    FIELD(TensorRow, indices, 40)                                                                  \
    FIELD(TensorRow, choices, 44)

#define MINISIM_ASSERT_OFFSET(type, field, offset)                                                 \
    static_assert(offsetof(type, field) == (offset), #type "." #field " moved");
MINISIM_ISA_FIELDS(MINISIM_ASSERT_OFFSET)
#undef MINISIM_ASSERT_OFFSET

static_assert(sizeof(StreamRow) == 32);
static_assert(sizeof(SyncRow) == 8);
static_assert(sizeof(TransferRow) == 20);
static_assert(sizeof(MatmulRow) == 84);
static_assert(sizeof(PieceRow) == 16);
static_assert(sizeof(WindowRow) == 48);
static_assert(sizeof(VectorRow) == 72);
static_assert(sizeof(ConvolutionRow) == 116);
static_assert(sizeof(TileRow) == 40);
static_assert(sizeof(TensorRow) == 48);

}  // namespace minisim
