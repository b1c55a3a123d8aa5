#include "minisim/validate.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "minisim/errors.hpp"
#include "minisim/kernels.hpp"
#include "place.hpp"

namespace minisim {
namespace {

// Why a tile must have a type.
constexpr const char* kAsTheOperation = "by the operation's dtype";
constexpr const char* kAsTheSums = "by the type of its sums";

std::string names_of(DTypes types) {
    std::string names;
    for (std::uint32_t code = 0; code < kDTypes; ++code) {
        if (!(types & only(static_cast<DType>(code)))) continue;
        names += (names.empty() ? "" : " or ") + std::string(dtype_name(static_cast<DType>(code)));
    }
    return names;
}

}  // namespace

void Validator::all() const {
    for (std::size_t i = 0; i < schedule_.tensors.size; ++i) tensor(i);
    for (std::size_t i = 0; i < schedule_.tiles.size; ++i) tile(i);
    for (std::size_t i = 0; i < schedule_.convolutions.size; ++i) convolution(i);
    for (std::size_t i = 0; i < schedule_.transfers.size; ++i) transfer(i);
    for (std::size_t i = 0; i < schedule_.matmuls.size; ++i) matmul(i);
    for (std::size_t i = 0; i < schedule_.vectors.size; ++i) vector(i);
    // An event is 2 * op + (start or retire) in 32 bits, so stream positions have 31.
    if (schedule_.stream.size > 0x7FFFFFFFu) {
        throw ScheduleError("a stream holds at most 2147483647 operations, not " +
                            std::to_string(schedule_.stream.size));
    }
    for (std::size_t i = 0; i < schedule_.stream.size; ++i) op(i);
    syncs();
}

void Validator::tensor(std::size_t row) const {
    const Place at{"tensors", row};
    const TensorRow& t = schedule_.tensors[row];
    at.below("dtype", t.dtype, kDTypes);
    at.below("role", t.role, kRoles);
    if (t.rows == 0 || t.cols == 0) at.fail("rows and cols must be at least 1");
    packed(at, t);
    by_indices(at, row);
    const std::uint32_t item = item_size(static_cast<DType>(t.dtype));
    if (!is_packed(t) && (t.pitch < std::uint64_t{t.cols} * item || t.pitch % item != 0)) {
        at.fail("pitch must be a multiple of " + std::to_string(item) + " and at least " +
                std::to_string(std::uint64_t{t.cols} * item) + " bytes (one row), not " +
                std::to_string(t.pitch));
    }
    // So that no sum or product of sizes and addresses can overflow, signed or doubled.
    constexpr std::uint64_t kLimit = std::uint64_t{1} << 62;
    const std::uint64_t bytes = std::uint64_t{std::max(t.rows, t.choices)} * t.pitch;
    if (bytes > kLimit || t.address > kLimit - bytes) {
        at.fail("a tensor must end at or below address 2^62, not take " + std::to_string(t.rows) +
                " rows of " + std::to_string(t.pitch) + " bytes from address " +
                std::to_string(t.address));
    }
    if (t.address % kAlignment != 0) {
        at.fail("address must be a multiple of " + std::to_string(kAlignment) + ", not " +
                std::to_string(t.address));
    }
}

// Rows that are gathered: each is a page by itself, and which one of the table's an element of another tensor says.
void Validator::by_indices(const Place& at, std::size_t row) const {
    const TensorRow& t = schedule_.tensors[row];
    if (t.indices == 0) return at.equal("choices", t.choices, 0, "its rows are not gathered");
    at.below("indices", t.indices, row + 1);
    const TensorRow& list = schedule_.tensors[row - t.indices];
    constexpr const char* kGathered = "its rows are gathered";
    at.equal("role", t.role, static_cast<std::uint64_t>(Role::kIntermediate), kGathered);
    at.equal("page", t.page, 1, kGathered);
    at.equal("keeps", t.keeps, 0, kGathered);
    at.equal("packs", t.packs, 0, kGathered);
    if (t.choices == 0) at.fail("choices must be at least 1: its rows are gathered");
    const bool is_int32 = list.dtype == static_cast<std::uint8_t>(DType::kInt32);
    if (!is_int32 || list.indices != 0 || list.cols != 1 || list.rows != t.rows || list.page != 0) {
        at.fail("its indices must be a column of " + std::to_string(t.rows) + " INT32, as tensor " +
                std::to_string(row - t.indices) + " is not");
    }
}

// A weight of floats in blocks of 4 bits, which one of the unpackers takes; or nothing of it.
void Validator::packed(const Place& at, const TensorRow& t) const {
    at.below("unpacker", t.unpacker, kUnpackers);
    at.below("zeros", t.zeros, 2);
    if (!is_packed(t)) {
        at.equal("block_bytes", t.block_bytes, 0, "no packed weight");
        at.equal("unpacker", t.unpacker, 0, "no packed weight");
        return;
    }
    at.below("scales", t.scales, kDTypes);
    at.below("across", t.across, 2);
    const auto dtype = static_cast<DType>(t.dtype), scales = static_cast<DType>(t.scales);
    const auto is_float = [](DType x) { return (kFloats & only(x)) != 0; };
    if (!is_float(dtype) || !is_float(scales)) at.fail("a packed weight, and its scales, must be " + names_of(kFloats));
    at.equal("role", t.role, static_cast<std::uint64_t>(Role::kWeight), "a packed weight");
    at.equal("keeps", t.keeps, 0, "a packed weight");
    at.equal("block_bytes", t.block_bytes, minisim::block_bytes(t.packs, scales, t.zeros != 0), "a packed weight");
    if (t.unpacker == 0) at.fail("somebody must unpack a packed weight: unpacker must not be 0");
    if (t.pitch < stored_row_bytes(t)) {
        at.fail("pitch must be at least " + std::to_string(stored_row_bytes(t)) + " bytes (one row of blocks), not " +
                std::to_string(t.pitch));
    }
}

void Validator::tile(std::size_t row) const {
    const Place at{"tiles", row};
    const TileRow& t = schedule_.tiles[row];
    at.below("tensor", t.tensor, schedule_.tensors.size);
    const TensorRow& tensor = schedule_.tensors[t.tensor];
    if (t.rows == 0 || t.cols == 0) at.fail("rows and cols must be at least 1");
    const std::uint64_t last_row = std::uint64_t{t.row} + t.rows;
    const std::uint64_t last_col = std::uint64_t{t.col} + t.cols;
    if (last_row > tensor.rows || last_col > tensor.cols) {
        at.fail(schedule_.tile_name(static_cast<std::uint32_t>(row)) +
                " reaches beyond the tensor's shape (" + std::to_string(tensor.rows) + ", " +
                std::to_string(tensor.cols) + ")");
    }
    if (tensor.page == 0 && t.moved != 0) at.fail("moved must be 0: its tensor has no pages");
    if (t.stack != 0) return stacked(at, row);
    at.equal("part", t.part, 0, "it lies in no stack");
}

// A tile in a stack is whole rows of it, as many as each of its other tiles.
void Validator::stacked(const Place& at, std::size_t row) const {
    const TileRow& t = schedule_.tiles[row];
    at.below("stack", t.stack, row + 1);
    const TileRow& whole = schedule_.tiles[row - t.stack];
    const bool inside = t.tensor == whole.tensor && t.col == whole.col && t.cols == whole.cols && t.row >= whole.row &&
                        std::uint64_t{t.row} + t.rows <= std::uint64_t{whole.row} + whole.rows;
    const std::uint32_t above = t.row - whole.row;
    bool even = whole.rows % t.rows == 0 && above == std::uint64_t{t.part} * t.rows;
    if (schedule_.tensors[t.tensor].page != 0) {  // the parts follow each other, in the table and in the stack
        const TileRow& before = schedule_.tiles[row - 1];
        even = t.part == 0 ? above == 0
                           : before.stack + 1 == t.stack && before.part + 1 == t.part && before.row + before.rows == t.row;
    }
    if (whole.stack != 0 || !inside || !even) {
        at.fail("a stack must be a tile by itself, of whole tiles like " +
                schedule_.tile_name(static_cast<std::uint32_t>(row)) + ", not " +
                schedule_.tile_name(static_cast<std::uint32_t>(row - t.stack)));
    }
}

// Only a, c and the residual of a matmul may be tiles in a stack.
void Validator::alone(const Place& at, const char* field, std::uint32_t tile) const {
    if (schedule_.tiles[tile].stack == 0) return;
    at.fail(std::string(field) + " must be a tile by itself, not one in a stack: " + schedule_.tile_name(tile));
}

void Validator::transfer(std::size_t row) const {
    const Place at{"transfers", row};
    const TransferRow& x = schedule_.transfers[row];
    at.below("tile", x.tile, schedule_.tiles.size);
    const TileRow& t = schedule_.tiles[x.tile];
    const std::uint32_t page = schedule_.tensors[t.tensor].page;
    if (page == 0) alone(at, "tile", x.tile);
    if (page != 0 && t.row / page != (std::uint64_t{t.row} + t.rows - 1) / page) {
        at.fail("tile must lie in one page of " + std::to_string(page) + " rows: " + schedule_.tile_name(x.tile));
    }
    placed(at, "tile", x.tile, x.sram);
    list(at, x);
    const std::uint32_t final = schedule_.tiles[x.tile].final;
    if (x.version > final) {
        at.fail("version must be at most the tile's final one, " + std::to_string(final) +
                ", not " + std::to_string(x.version));
    }
}

// The tile of indices that says which row of its table a tile of gathered rows is; of others there is none.
void Validator::list(const Place& at, const TransferRow& x) const {
    const TileRow &t = schedule_.tiles[x.tile], &whole = schedule_.tiles[schedule_.held(x.tile)];
    const std::uint32_t back = schedule_.tensors[t.tensor].indices;
    if (back == 0) {
        at.equal("list", x.list, kNone, "its rows are not gathered");
        at.equal("list_sram", x.list_sram, kNone, "its rows are not gathered");
        return;
    }
    at.below("list", x.list, schedule_.tiles.size);
    const TileRow& found = schedule_.tiles[x.list];
    if (found.tensor != t.tensor - back || found.row != whole.row || found.rows != whole.rows || found.stack != 0) {
        at.fail("list must be the tile of the indices of " + schedule_.tile_name(schedule_.held(x.tile)) + ", not " +
                schedule_.tile_name(x.list));
    }
    placed(at, "list", x.list, x.list_sram);
    apart(at, "list", x.list, x.list_sram, x.tile, x.sram);
}

void Validator::matmul(std::size_t row) const {
    const Place at{"matmuls", row};
    const MatmulRow& x = schedule_.matmuls[row];
    at.below("dtype", x.dtype, kDTypes);
    at.below("activation", x.activation, kActivations);
    at.below("last", x.last, 2);
    at.below("a_transposed", x.a_transposed, 2);
    at.below("b_transposed", x.b_transposed, 2);

    const DType dtype = static_cast<DType>(x.dtype);
    if (!(multiplied() & only(dtype))) {
        at.fail("a matmul multiplies " + names_of(multiplied()) + ", not " + dtype_name(dtype));
    }
    first_operand(at, x);
    operand(at, "b", x.b, x.b_sram, seconds_of(dtype), kAsTheOperation);
    alone(at, "b", x.b);
    sums(at, x);
    first_shape(at, x);
    shape(at, "b", x.b, x.b_transposed ? x.n : x.k, x.b_transposed ? x.k : x.n);
    shape(at, "c", x.c, x.m, x.n);
    const bool to_c = Schedule::touches_c(x);
    first_apart(at, x, to_c ? x.c : x.acc, to_c ? x.c_sram : x.acc_sram);
    apart(at, "b", x.b, x.b_sram, to_c ? x.c : x.acc, to_c ? x.c_sram : x.acc_sram);
    epilogue(at, x);
    if (accumulator_of(dtype) == DType::kInt32) integers(at, x);
    scale(at, x);
    gathered(at, x);
}

// A: a tile, or pieces of several, whose runs end within their tables.
void Validator::first_operand(const Place& at, const MatmulRow& x) const {
    const DTypes allowed = only(static_cast<DType>(x.dtype));
    if (x.a != kNone) {
        operand(at, "a", x.a, x.a_sram, allowed, kAsTheOperation);
        at.equal("a_pieces", x.a_pieces, kNone, "a is a tile");
        at.equal("taps", x.taps, 1, "a is a tile");
        return;
    }
    at.equal("a_sram", x.a_sram, kNone, "a is made of pieces");
    at.equal("a_transposed", x.a_transposed, 0, "a is made of pieces");
    if (x.taps == 0 || x.k % x.taps != 0) {
        at.fail("taps must be equal parts of k = " + std::to_string(x.k) + ", not " +
                std::to_string(x.taps));
    }
    pieces(at, x.a_pieces, allowed);
}

// Those of an operand: tiles of its type, whose run ends within its table; `first` is NONE if there are none.
void Validator::pieces(const Place& at, std::uint32_t first, DTypes allowed) const {
    bool more = first != kNone;
    for (std::size_t row = first; more; ++row) {
        at.below("the row of pieces it refers to", row, schedule_.pieces.size);
        const PieceRow& found = schedule_.pieces[row];
        operand(at, "a piece", found.tile, found.sram, allowed, kAsTheOperation);
        alone(at, "a piece", found.tile);
        at.below("more of a piece", found.more, 2);
        more = found.more != 0;
    }
}

void Validator::first_shape(const Place& at, const MatmulRow& x) const {
    if (x.a != kNone) {
        shape(at, "a", x.a, x.a_transposed ? x.k : x.m, x.a_transposed ? x.m : x.k);
    }
    schedule_.for_each_piece(x, [&](const PieceRow& each) { piece(at, x.m, x.k, each); });
}

void Validator::first_apart(const Place& at, const MatmulRow& x, std::uint32_t target,
                            std::uint32_t target_sram) const {
    if (x.a != kNone) apart(at, "a", x.a, x.a_sram, target, target_sram);
    schedule_.for_each_piece(x, [&](const PieceRow& each) {
        apart(at, "a piece", each.tile, each.sram, target, target_sram);
    });
}

// A piece of an operand of this shape.
void Validator::piece(const Place& at, std::uint64_t rows, std::uint64_t cols,
                      const PieceRow& piece) const {
    bool more = true;
    for (std::size_t row = piece.window; more; ++row) {
        at.below("the row of windows that a piece refers to", row, schedule_.windows.size);
        const WindowRow& found = schedule_.windows[row];
        at.below("more of a window", found.more, 2);
        window(at, rows, cols, schedule_.tiles[piece.tile], found);
        more = found.more != 0;
    }
}

// A window must lie in its tile and in its operand, and take each row of the operand once. That comes
// first: so outer x inner is at most 2^32, and where the last row of the tile lies is below 2^64.
void Validator::window(const Place& at, std::uint64_t rows, std::uint64_t cols, const TileRow& tile,
                       const WindowRow& w) const {
    const auto inside = [](std::uint64_t first, std::uint64_t outer, std::uint64_t outer_step,
                           std::uint64_t inner, std::uint64_t inner_step, std::uint64_t size) {
        return first + (outer - 1) * outer_step + (inner - 1) * inner_step < size;
    };
    if (w.outer == 0 || w.inner == 0 || w.cols == 0) {
        at.fail("a window must have at least one row and column");
    }
    if ((w.inner > 1 && w.at_inner == 0) ||
        (w.outer > 1 && w.at_outer <= std::uint64_t{w.inner - 1} * w.at_inner)) {
        at.fail("a window must take each row of its operand once");
    }
    if (!inside(w.at_row, w.outer, w.at_outer, w.inner, w.at_inner, rows) ||
        std::uint64_t{w.at_col} + w.cols > cols) {
        at.fail("a window reaches beyond its operand of shape (" + std::to_string(rows) + ", " +
                std::to_string(cols) + ")");
    }
    if (!inside(w.from_row, w.outer, w.from_outer, w.inner, w.from_inner, tile.rows) ||
        std::uint64_t{w.from_col} + w.cols > tile.cols) {
        at.fail("a window reaches beyond its tile of shape (" + std::to_string(tile.rows) + ", " +
                std::to_string(tile.cols) + ")");
    }
}

// Where the sums live and which step of them this is: c and, if there is one, acc. An address of
// what this step does not touch may be NONE.
void Validator::sums(const Place& at, const MatmulRow& x) const {
    const bool through = x.acc != kNone;
    const DType dtype = static_cast<DType>(x.dtype);
    const DTypes wide = only(accumulator_of(dtype));
    typed(at, "c", x.c, results_of(dtype), kAsTheOperation);
    if (Schedule::touches_c(x) || x.c_sram != kNone) placed(at, "c", x.c, x.c_sram);
    if (through) {
        typed(at, "acc", x.acc, wide, kAsTheSums);
        alone(at, "acc", x.acc);
        if (schedule_.tiles[x.acc].tensor == schedule_.tiles[x.c].tensor) {
            at.fail("acc must be a tile of another tensor than c");
        }
        if (Schedule::touches_acc(x) || x.acc_sram != kNone) placed(at, "acc", x.acc, x.acc_sram);
        shape(at, "acc", x.acc, x.m, x.n);
        if (Schedule::touches_acc(x) && x.last) apart(at, "acc", x.acc, x.acc_sram, x.c, x.c_sram);
        at.equal("the final version of c", schedule_.tiles[x.c].final, 1,
                 "the last step alone writes it");
    }
    const std::uint32_t steps = schedule_.tiles[through ? x.acc : x.c].final;
    at.below("step", x.step, steps);
    at.equal("last", x.last, x.step + 1 == steps,
             through ? "acc's final version counts the steps" : "c is final after its last step");
    if (!through && steps > 1) typed(at, "c", x.c, wide, "the sums of its steps live in it");
    const TileRow &c = schedule_.tiles[x.c], &whole = schedule_.tiles[schedule_.held(x.c)];
    if (c.stack == 0) return;
    at.equal("the final version of the stack of c", whole.final, std::uint64_t{whole.rows / c.rows} * c.final,
             "its tiles are made one after the other");
}

void Validator::epilogue(const Place& at, const MatmulRow& x) const {
    if (!x.last && (x.bias != kNone || x.residual != kNone || x.activation != 0)) {
        at.fail("only the last step has an epilogue: bias and residual must be NONE and "
                "activation 0 before it");
    }
    // What is added to sums in fp32 may be narrower: widening is exact.
    const DType dtype = static_cast<DType>(x.dtype);
    const DTypes allowed = only(accumulator_of(dtype)) | (only(dtype) & kFloats);
    if (x.bias != kNone) {
        operand(at, "bias", x.bias, x.bias_sram, allowed, kAsTheSums);
        alone(at, "bias", x.bias);
        shape(at, "bias", x.bias, 1, x.n);
        apart(at, "bias", x.bias, x.bias_sram, x.c, x.c_sram);
    }
    if (x.residual != kNone && accumulator_of(static_cast<DType>(x.dtype)) != DType::kInt32) {
        operand(at, "residual", x.residual, x.residual_sram, allowed, kAsTheSums);
        shape(at, "residual", x.residual, x.m, x.n);
        apart(at, "residual", x.residual, x.residual_sram, x.c, x.c_sram);
    }
}

void Validator::integers(const Place& at, const MatmulRow& x) const {
    const std::string matmul = std::string("an ") + dtype_name(static_cast<DType>(x.dtype)) + " matmul ";
    if (x.residual != kNone) at.fail(matmul + "adds no residual: it must be NONE");
    if (static_cast<Activation>(x.activation) == Activation::kSigmoid) {
        at.fail(matmul + "has no sigmoid: activation must be 0 (none) or 1 (relu)");
    }
}

void Validator::scale(const Place& at, const MatmulRow& x) const {
    const DType result = schedule_.dtype_of_tile(x.c);
    const bool requantises = x.last && (result == DType::kInt8 || result == DType::kUint8);
    if (requantises && !(x.scale > 0.0f && std::isfinite(x.scale))) {
        at.fail(std::string("scale must be positive and finite (c is ") + dtype_name(result) + "), not " +
                std::to_string(x.scale));
    }
    if (!requantises && !(x.scale == 0.0f)) {
        at.fail("scale must be 0 (only the last step of an INT8 or UINT8 c requantises), not " +
                std::to_string(x.scale));
    }
}

namespace {

// Whether a type of whole numbers has this one; others take any, rounded.
bool has_number(DType dtype, float number) {
    const auto within = [&](float low, float high) {  // the end is not part: 2^31 is a float
        return number >= low && number < high && number == std::trunc(number);
    };
    switch (dtype) {
        case DType::kInt8: return within(-128.0f, 128.0f);
        case DType::kInt16: return within(-32768.0f, 32768.0f);
        case DType::kInt32: return within(-2147483648.0f, 2147483648.0f);
        case DType::kUint8: return within(0.0f, 256.0f);
        case DType::kBool: return number == 0.0f || number == 1.0f;
        default: return true;
    }
}

}  // namespace

namespace {

// What a conversion may make.
DTypes converted(const VectorRow& x) {
    const DTypes numbers = kFloats | kIntegers;
    switch (static_cast<VectorOp>(x.op)) {
        case VectorOp::kCast: return numbers | kFloats8 | only(DType::kBool);
        case VectorOp::kCastBeyond: return kFloats8;
        default: return numbers;
    }
}

}  // namespace

void Validator::vector(std::size_t row) const {
    const Place at{"vectors", row};
    const VectorRow& x = schedule_.vectors[row];
    at.below("op", x.op, kVectorOps);
    at.below("dtype", x.dtype, kDTypes);
    const DType dtype = static_cast<DType>(x.dtype);
    const VectorOpInfo op = info(static_cast<VectorOp>(x.op));
    if (!(op.types & only(dtype))) {
        at.fail(std::string(op.name) + " takes " + names_of(op.types) + ", not " + dtype_name(dtype));
    }
    const DTypes left = op.is_conversion() ? converted(x) : only(type_of_kind(op.result, dtype));
    const bool partial = op.is_fold || (op.is_reduction && x.cols != 1);
    operand(at, "dst", x.dst, x.dst_sram, left | (partial ? only(partial_of(dtype)) : 0), kAsTheOperation);
    alone(at, "dst", x.dst);
    shape(at, "dst", x.dst, x.rows, x.cols);
    at.equal("the final version of dst", schedule_.tiles[x.dst].final, 1,
             "one operation completes it");
    if (op.is_fold) return fold(at, x, op);
    no_fold(at, x, op);
    const auto sources = x.sources();
    const bool transposes = static_cast<VectorOp>(x.op) == VectorOp::kTranspose;
    bool has_tile = false;
    for (std::uint32_t i = 0; i < kSources; ++i) {
        const std::string field = "src" + std::to_string(i);
        const VectorRow::Source& each = sources[i];
        const bool number = each.tile == kNone && i < op.sources;
        if (each.tile != kNone && i >= op.sources) {
            at.fail(field + " must be NONE (" + op.name + " has " + std::to_string(op.sources) +
                    "), not " + std::to_string(each.tile));
        }
        if (!number && !(each.number == 0.0f)) {
            at.fail("imm" + std::to_string(i) + " must be 0, as " + field + " is no number");
        }
        if (number && (op.is_reduction || op.kinds[i] == 'c' || transposes)) {
            at.fail(field + " of " + op.name + " must be a tile");
        }
        if (number && op.kinds[i] != 'f' && !has_number(dtype, each.number)) {
            at.fail("imm" + std::to_string(i) + " must be a number of " + dtype_name(dtype) +
                    ", not " + std::to_string(each.number));
        }
        if (each.tile == kNone) continue;
        has_tile = true;
        at.below(field.c_str(), each.tile, schedule_.tiles.size);
        alone(at, field.c_str(), each.tile);
        if (op.is_reduction) {
            reduced(at, x);
        } else if (transposes) {
            operand(at, "src0", x.src0, x.src0_sram, only(dtype), kAsTheOperation);
            shape(at, "src0", x.src0, x.cols, x.rows);
            apart(at, "src0", x.src0, x.src0_sram, x.dst, x.dst_sram);
        } else {
            source(at, field.c_str(), x, each, type_of_kind(op.kinds[i], dtype));
        }
    }
    if (!has_tile && !op.is_move) at.fail("a source must be a tile");
}

// Pieces, of each row of dst `taps` rows; of an fma a row of weights for each tap, and perhaps a bias; perhaps what an
// earlier fold has left, which may lie exactly where dst lies.
void Validator::fold(const Place& at, const VectorRow& x, const VectorOpInfo& op) const {
    const DType dtype = static_cast<DType>(x.dtype);
    for (const VectorRow::Source& each : x.sources()) {
        if (!(each.number == 0.0f)) at.fail("a fold has no numbers: imm0, imm1 and imm2 must be 0");
    }
    at.below("activation", x.activation, kActivations);
    if (x.activation != 0 && (kIntegers & only(dtype))) {
        at.fail(std::string("a fold of ") + dtype_name(dtype) + " has no activation: it must be 0");
    }
    at.equal("src0", x.src0, kNone, "a fold is of pieces");
    at.equal("src0_sram", x.src0_sram, kNone, "a fold is of pieces");
    if (x.taps == 0) at.fail("taps must be at least 1, not 0");
    pieces(at, x.src0_pieces, only(dtype));
    schedule_.for_each_piece(x, [&](const PieceRow& each) {
        piece(at, std::uint64_t{x.rows} * x.taps, x.cols, each);
        apart(at, "a piece", each.tile, each.sram, x.dst, x.dst_sram);
    });
    const auto row = [&](const char* field, std::uint32_t tile, std::uint32_t sram, std::uint64_t rows) {
        operand(at, field, tile, sram, only(dtype), kAsTheOperation);
        alone(at, field, tile);
        shape(at, field, tile, rows, x.cols);
        apart(at, field, tile, sram, x.dst, x.dst_sram);
    };
    if (op.sources > 1) {
        row("src1", x.src1, x.src1_sram, x.taps);
        if (x.src2 != kNone) row("src2", x.src2, x.src2_sram, 1);
    } else {
        at.equal("src1", x.src1, kNone, "a fold of one source");
        at.equal("src2", x.src2, kNone, "a fold of one source");
    }
    if (x.acc != kNone) {
        operand(at, "acc", x.acc, x.acc_sram, only(partial_of(dtype)), kAsTheOperation);
        alone(at, "acc", x.acc);
        shape(at, "acc", x.acc, x.rows, x.cols);
        const bool in_place = x.acc_sram == x.dst_sram && schedule_.dtype_of_tile(x.dst) == partial_of(dtype);
        if (!in_place) apart(at, "acc", x.acc, x.acc_sram, x.dst, x.dst_sram);
    }
    folded(at, x);
}

void Validator::no_fold(const Place& at, const VectorRow& x, const VectorOpInfo& op) const {
    at.equal("src0_pieces", x.src0_pieces, kNone, "no fold");
    at.equal("taps", x.taps, 0, "no fold");
    if (!op.is_reduction) at.equal("acc", x.acc, kNone, "no fold");
    at.equal("activation", x.activation, 0, "no fold");
    if (convolution_of(x.dst) != nullptr) at.fail("dst must be no part of what convolutions and folds make");
}

// The source of a reduction: as many rows as dst, which is a column, and of any length. A part of longer rows leaves its
// partial results, or goes on from those of the part before it, or both.
void Validator::reduced(const Place& at, const VectorRow& x) const {
    const DType dtype = static_cast<DType>(x.dtype);
    const std::uint32_t length = schedule_.tiles[x.src0].cols;
    const bool leaves = x.cols != 1, goes_on = x.acc != kNone;
    operand(at, "src0", x.src0, x.src0_sram, only(dtype), kAsTheOperation);
    shape(at, "src0", x.src0, x.rows, length);
    apart(at, "src0", x.src0, x.src0_sram, x.dst, x.dst_sram);
    if ((leaves || goes_on) && (kIntegers & only(dtype))) {
        at.fail(std::string("rows of ") + dtype_name(dtype) + " are reduced as a whole: cols must be 1 and acc NONE");
    }
    if (leaves) {
        const std::string width = std::to_string(kReduceWidth);
        if (x.cols != kReduceWidth) {
            at.fail("cols must be 1 (a reduction makes a column) or " + width + " (its partial results), not " +
                    std::to_string(x.cols));
        }
        typed(at, "dst", x.dst, only(partial_of(dtype)), "partial results");
        if (length % kReduceWidth != 0) {
            at.fail("src0 must have whole groups of " + std::to_string(kReduceWidth) + " columns, not " +
                    std::to_string(length) + ", where partial results are left");
        }
    }
    if (!goes_on) return;
    operand(at, "acc", x.acc, x.acc_sram, only(partial_of(dtype)), "partial results");
    alone(at, "acc", x.acc);
    shape(at, "acc", x.acc, x.rows, kReduceWidth);
    if (!(leaves && x.acc_sram == x.dst_sram)) apart(at, "acc", x.acc, x.acc_sram, x.dst, x.dst_sram);
}

// A source has dst's shape, or 1 where it is repeated. It may lie exactly where dst lies (an
// operation in place) if shapes and types are equal: then each element is read before it is written.
void Validator::source(const Place& at, const char* field, const VectorRow& x,
                       const VectorRow::Source& from, DType dtype) const {
    operand(at, field, from.tile, from.sram, only(dtype), kAsTheOperation);
    const TileRow& t = schedule_.tiles[from.tile];
    shape(at, field, from.tile, t.rows == 1 ? 1 : x.rows, t.cols == 1 ? 1 : x.cols);
    const bool in_place = from.sram == x.dst_sram && t.rows == x.rows && t.cols == x.cols &&
                          dtype == schedule_.dtype_of_tile(x.dst);
    if (!in_place) apart(at, field, from.tile, from.sram, x.dst, x.dst_sram);
}

void Validator::op(std::size_t row) const {
    const Place at{"stream", row};
    const StreamRow& x = schedule_.stream[row];
    at.below("opcode", x.opcode, kOpcodes);
    const Opcode opcode = static_cast<Opcode>(x.opcode);
    at.below("core", x.core, cores_);
    at.equal("queue", x.queue, static_cast<std::uint64_t>(queue_of(opcode)), opcode_name(opcode));
    switch (opcode) {
        case Opcode::kLoad: at.below("row", x.row, schedule_.transfers.size); break;
        case Opcode::kStore:
            at.below("row", x.row, schedule_.transfers.size);
            if (is_packed(schedule_.tensor_of(schedule_.transfers[x.row].tile))) at.fail("nothing packs what is stored");
            if (schedule_.transfers[x.row].list != kNone) at.fail("rows are gathered, not scattered: nothing stores them");
            break;
        case Opcode::kExecute: at.below("row", x.row, schedule_.matmuls.size); break;
        case Opcode::kVector: at.below("row", x.row, schedule_.vectors.size); break;
    }
}

void Validator::syncs() const {
    std::vector<std::uint64_t> earlier(std::size_t{cores_} * kQueues);  // operations, by lane
    for (std::size_t i = 0; i < schedule_.stream.size; ++i) {
        const Place at{"stream", i};
        bool more = schedule_.stream[i].sync != kNone;
        for (std::size_t row = schedule_.stream[i].sync; more; ++row) {
            at.below("the row of syncs it refers to", row, schedule_.syncs.size);
            const SyncRow& x = schedule_.syncs[row];
            const Place sync{"syncs", row};
            sync.below("core", x.core, cores_);
            sync.below("queue", x.queue, kQueues);
            sync.below("more", x.more, 2);
            const std::uint64_t found = earlier[std::size_t{x.core} * kQueues + x.queue];
            if (x.count > found) {
                sync.fail("count must be at most " + std::to_string(found) +
                          ", the operations of that queue before stream[" + std::to_string(i) +
                          "], not " + std::to_string(x.count));
            }
            more = x.more != 0;
        }
        ++earlier[schedule_.lane(i)];
    }
}

// An existing tile of a fitting type, at an aligned address inside one of the two memories.
void Validator::operand(const Place& at, const char* field, std::uint32_t tile,
                        std::uint32_t sram, DTypes allowed, const char* reason) const {
    typed(at, field, tile, allowed, reason);
    placed(at, field, tile, sram);
}

void Validator::typed(const Place& at, const char* field, std::uint32_t tile, DTypes allowed,
                      const char* reason) const {
    at.below(field, tile, schedule_.tiles.size);
    if (packed_on_chip(schedule_.tensor_of(tile)) && std::string_view(field) != "b") {
        at.fail(std::string(field) + " must not be packed: the array unpacks its second operand alone");
    }
    const DType dtype = schedule_.dtype_of_tile(tile);
    if (allowed & only(dtype)) return;
    at.fail(std::string(field) + " must be " + names_of(allowed) + " (" + reason + "), not " +
            dtype_name(dtype));
}

void Validator::placed(const Place& at, const char* field, std::uint32_t tile,
                       std::uint32_t sram) const {
    // a tile in a stack lies where the stack does
    const std::uint64_t offset = schedule_.offset(tile), begin = sram - offset;
    if (sram < offset || begin % kAlignment != 0) {
        at.fail("the SRAM address of " + std::string(field) + " must be a multiple of " +
                std::to_string(kAlignment) + (offset == 0 ? "" : " and " + std::to_string(offset) + " more") +
                ", not " + std::to_string(sram));
    }
    const std::uint64_t bytes = schedule_.tile_bytes(schedule_.held(tile));
    const std::uint64_t end = begin < sram_bytes_ ? sram_bytes_ : sram_bytes_ + accumulator_bytes_;
    if (begin > end || bytes > end - begin) {
        const std::string behind =
            accumulator_bytes_ == 0
                ? ""
                : " and an accumulator memory of " + std::to_string(accumulator_bytes_);
        at.fail(std::string(field) + " does not fit: " + std::to_string(bytes) +
                " bytes at address " + std::to_string(sram) + " of an SRAM of " +
                std::to_string(sram_bytes_) + behind);
    }
}

void Validator::shape(const Place& at, const char* field, std::uint32_t tile, std::uint64_t rows,
                      std::uint64_t cols) const {
    const TileRow& t = schedule_.tiles[tile];
    if (t.rows != rows || t.cols != cols) {
        at.fail(std::string(field) + " must be a tile of shape (" + std::to_string(rows) + ", " +
                std::to_string(cols) + "), not (" + std::to_string(t.rows) + ", " +
                std::to_string(t.cols) + ")");
    }
}

// An operation may not read where it writes: its result would depend on the kernel's order.
void Validator::apart(const Place& at, const char* field, std::uint32_t tile, std::uint32_t sram,
                      std::uint32_t target, std::uint32_t target_sram) const {
    const std::uint64_t end = sram + schedule_.tile_bytes(tile);
    const std::uint64_t target_end = target_sram + schedule_.tile_bytes(target);
    if (sram < target_end && target_sram < end) {
        at.fail(std::string(field) + " overlaps the operation's own target in SRAM");
    }
}

}  // namespace minisim
