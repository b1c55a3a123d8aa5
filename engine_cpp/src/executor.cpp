#include "minisim/executor.hpp"

#include <algorithm>
#include <cstring>
#include <string>

#include "minisim/errors.hpp"
#include "minisim/integers.hpp"
#include "minisim/interrupt.hpp"
#include "minisim/vector_definitions.hpp"

namespace minisim {
namespace {

template <class T>
T* as(std::byte* bytes) {
    return reinterpret_cast<T*>(bytes);
}

// The kernel of the sums' type.
void run(const Kernel& kernel, const MatmulArgs& x, Scratch& s) { kernel.matmul(x, s); }
void run(const Kernel& kernel, const IntegerMatmulArgs& x, Scratch& s) { kernel.integer_matmul(x, s); }

// The end of a matmul whose c is narrower than its sums.
void leave(const Kernel& kernel, const float* sums, std::size_t count, float, DType dtype, std::byte* c) {
    kernel.round(sums, count, dtype, c);
}
void leave(const Kernel& kernel, const std::int32_t* sums, std::size_t count, float scale, DType dtype,
           std::byte* c) {
    kernel.requantise(sums, count, scale, dtype, c);
}

// Of so many rows those that are gathered at once where an operand is made of pieces: as a whole it may be larger than
// any memory.
std::size_t rows_at_once(std::size_t rows, std::size_t cols) {
    constexpr std::size_t kElements = std::size_t{1} << 20;
    return std::min(rows, std::max<std::size_t>(1, kElements / cols));
}
std::size_t rows_at_once(const MatmulRow& x) { return rows_at_once(x.m, x.k); }
std::size_t rows_at_once(const VectorRow& x) { return rows_at_once(x.rows, std::size_t{x.taps} * x.cols); }

float padding_of(VectorOp op) {
    switch (op) {
#define MINISIM_CASE(name, NAME, function, ...)                                                    \
    case VectorOp::k##name: return definitions::function::kPadding;
        MINISIM_FOLDS(MINISIM_CASE)
#undef MINISIM_CASE
        default: return 0.0f;
    }
}

// Bits are moved, so a type is as good as another of its size.
template <class T>
void move_bits(const VectorArgs& x) {
    const VectorSource& source = x.sources[0];
    const bool transposes = x.op == VectorOp::kTranspose;  // its source is packed (cols, rows)
    const std::size_t row_step = transposes ? 1 : source.row_step;
    const std::size_t col_step = transposes ? x.rows : source.col_step;
    const T* from = static_cast<const T*>(source.data);
    T* out = static_cast<T*>(x.dst);
    for (std::size_t i = 0; i < x.rows; ++i) {
        interruptible(x.cols);
        for (std::size_t j = 0; j < x.cols; ++j) out[i * x.cols + j] = from[i * row_step + j * col_step];
    }
}

// A number in the bits of a type, which has it: what the compiler fills with is of the tensor's own.
void put_number(float number, DType dtype, std::byte* to) {
    const auto put = [&](auto value) { std::memcpy(to, &value, sizeof value); };
    switch (dtype) {
        case DType::kFp32: put(number); break;
        case DType::kBf16: put(narrow(number)); break;
        case DType::kInt8: put(static_cast<std::int8_t>(number)); break;
        case DType::kInt16: put(static_cast<std::int16_t>(number)); break;
        case DType::kInt32: put(static_cast<std::int32_t>(number)); break;
        case DType::kBool: put(static_cast<std::uint8_t>(number != 0.0f)); break;
        case DType::kFp16: put(narrow_to_fp16(number)); break;
        case DType::kUint8: put(static_cast<std::uint8_t>(number)); break;
        case DType::kFp8E4M3: {
            Fp8E4m3 narrow;
            narrow_to(number, narrow, true);
            put(narrow);
            break;
        }
        case DType::kFp8E5M2: {
            Fp8E5m2 narrow;
            narrow_to(number, narrow, true);
            put(narrow);
            break;
        }
    }
}

void move_bits(const VectorArgs& x, std::size_t item) {
    switch (item) {
        case 1: move_bits<std::uint8_t>(x); break;
        case 2: move_bits<std::uint16_t>(x); break;
        default: move_bits<std::uint32_t>(x);
    }
}

// The least of a type of integers: a float has it.
float least(DType dtype) {
    switch (dtype) {
        case DType::kUint8: return 0.0f;
        case DType::kInt8: return -128.0f;
        case DType::kInt16: return -32768.0f;
        default: return -2147483648.0f;
    }
}

}  // namespace

void Executor::make_room(const MatmulRow& x) {
    const auto dtype = static_cast<DType>(x.dtype);
    const std::size_t count = std::size_t{x.m} * x.n;
    const bool whole = x.a != kNone;
    scratch_.make_room(dtype, whole ? x.m : rows_at_once(x), x.k, x.n);
    if (!whole) gathered_.reserve(rows_at_once(x) * x.k * item_size(dtype));
    const TensorRow& second = schedule_.tensor_of(x.b);
    if (packed_on_chip(second)) {
        unpacked_.reserve(std::size_t{x.k} * x.n * item_size(static_cast<DType>(second.dtype)));
    }
    if (accumulator_of(dtype) == DType::kInt32) {
        if (rounds(x)) std::get<Wide<std::int32_t>>(wide_).sums.reserve(count);
        return;
    }
    auto& wide = std::get<Wide<float>>(wide_);
    if (rounds(x)) wide.sums.reserve(count);
    if (x.bias != kNone) wide.bias.reserve(x.n);
    if (x.residual != kNone) wide.residual.reserve(count);
}

void Executor::make_room(const VectorRow& x) {
    if (!info(static_cast<VectorOp>(x.op)).is_fold) return;
    gathered_.reserve(rows_at_once(x) * x.taps * x.cols * item_size(static_cast<DType>(x.dtype)));
}

void Executor::perform(std::uint32_t op) {
    core_ = schedule_.stream[op].core;
    switch (schedule_.opcode(op)) {
        case Opcode::kLoad: load(op, schedule_.transfer(op)); return;
        case Opcode::kStore: store(schedule_.transfer(op)); return;
        case Opcode::kExecute: execute(schedule_.matmul(op)); return;
        case Opcode::kVector: vector(schedule_.vector(op)); return;
    }
}

void Executor::load(std::uint32_t op, const TransferRow& x) {
    const DramTile t = x.list == kNone ? dram_tile(x.tile) : gathered_row(op, x);
    std::byte* to = write(x.tile, x.sram);
    const TensorRow& tensor = schedule_.tensor_of(x.tile);
    if (unpacked_by_dma(tensor)) {
        unpack(schedule_.tiles[x.tile], tensor, t.data, t.pitch, to);
    } else {
        copy_rows(to, t.row_bytes, t.data, t.pitch, t.rows, t.row_bytes);
    }
    ++stats_.loads;
    stats_.dram_read_bytes += t.rows * t.row_bytes;
}

void Executor::store(const TransferRow& x) {
    const DramTile t = dram_tile(x.tile);
    copy_rows(t.data, t.pitch, read(x.tile, x.sram), t.row_bytes, t.rows, t.row_bytes);
    ++stats_.stores;
    stats_.dram_write_bytes += t.rows * t.row_bytes;
}

// Here, and in vector() below, is where a data type finds its kernel. Unknown codes do not get
// this far: the validator refuses them by name, and types that an operation does not take, too.
void Executor::execute(const MatmulRow& x) {
    if (accumulator_of(static_cast<DType>(x.dtype)) == DType::kInt32) {
        multiply<std::int32_t>(x);
    } else {
        multiply<float>(x);
    }
    ++stats_.executes;
    stats_.macs += std::uint64_t{x.m} * x.k * x.n;
}

// The sums are computed where they will lie: in acc, or in c if it has their type. Otherwise c is
// narrower, and this is the last step, which rounds.
bool Executor::rounds(const MatmulRow& x) const {
    return Schedule::touches_c(x) &&
           schedule_.dtype_of_tile(x.c) != accumulator_of(static_cast<DType>(x.dtype));
}

template <class Sum>
void Executor::multiply(const MatmulRow& x) {
    auto& wide = std::get<Wide<Sum>>(wide_);
    const std::size_t count = std::size_t{x.m} * x.n;
    const bool rounds = this->rounds(x);
    MatmulArgsOf<Sum> args{};
    const bool whole = x.a != kNone;
    if (whole) args.a = read(x.a, x.a_sram);
    args.b = second(x);
    args.a_dtype = static_cast<DType>(x.dtype);
    args.b_dtype = schedule_.dtype_of_tile(x.b);
    const Sum* before = nullptr;
    if (x.step > 0) {
        before = as<Sum>(x.acc == kNone ? read(x.c, x.c_sram) : read(x.acc, x.acc_sram));
    }
    std::byte* target = Schedule::touches_c(x) ? write(x.c, x.c_sram) : write(x.acc, x.acc_sram);
    if (rounds) wide.sums.resize(count);
    args.c = rounds ? wide.sums.data() : as<Sum>(target);
    if (before && before != args.c) std::copy_n(before, count, args.c);
    args.bias = addend(x.bias, x.bias_sram, wide.bias);
    args.residual = addend(x.residual, x.residual_sram, wide.residual);
    args.m = x.m;
    args.k = x.k;
    args.n = x.n;
    args.a_transposed = x.a_transposed != 0;
    args.b_transposed = x.b_transposed != 0;
    args.clear = x.step == 0;
    args.last = x.last != 0;
    args.activation = static_cast<Activation>(x.activation);
    if (whole) {
        run(kernel_, args, scratch_);
    } else {
        multiply_pieces(x, args);
    }
    if (rounds) leave(kernel_, args.c, count, x.scale, schedule_.dtype_of_tile(x.c), target);
}

// B in the type of its tensor: where the array unpacks, as it leaves the SRAM.
const std::byte* Executor::second(const MatmulRow& x) {
    const std::byte* values = read(x.b, x.b_sram);
    const TensorRow& tensor = schedule_.tensor_of(x.b);
    if (!packed_on_chip(tensor)) return values;
    const TileRow& t = schedule_.tiles[x.b];
    unpacked_.resize(std::size_t{t.rows} * t.cols * item_size(static_cast<DType>(tensor.dtype)));
    unpack(t, tensor, values, blocks_of(t, tensor).cols * tensor.block_bytes, unpacked_.data());
    return unpacked_.data();
}

// A few rows of A at a time. Rows are different outputs, so no chain of sums is cut.
template <class Sum>
void Executor::multiply_pieces(const MatmulRow& x, MatmulArgsOf<Sum> args) {
    const std::size_t item = item_size(args.a_dtype);
    count_pieces(x);
    for (std::size_t first = 0; first < x.m; first += args.m) {
        args.m = std::min(rows_at_once(x), x.m - first);
        gathered_.resize(args.m * x.k * item);
        std::fill(gathered_.begin(), gathered_.end(), std::byte{0});
        gather(x, first, args.m, x.k, item);
        args.a = gathered_.data();
        run(kernel_, args, scratch_);
        args.c += args.m * x.n;
        if (args.residual) args.residual += args.m * x.n;
    }
}

template <class Row>
void Executor::gather(const Row& x, std::size_t first, std::size_t count, std::size_t cols, std::size_t item) {
    schedule_.for_each_piece(x, [&](const PieceRow& piece) {
        const std::size_t pitch = schedule_.tiles[piece.tile].cols;
        const std::byte* tile = arenas_[core_].at(piece.sram, schedule_.tile_bytes(piece.tile));
        schedule_.for_each_window(piece, [&](const WindowRow& w) {
            for (std::size_t i = 0; i < w.outer; ++i) {
                for (std::size_t j = 0; j < w.inner; ++j) {
                    const std::size_t to = w.at_row + i * w.at_outer + j * w.at_inner;
                    if (to < first || to >= first + count) continue;
                    const std::size_t from = w.from_row + i * w.from_outer + j * w.from_inner;
                    std::memcpy(gathered_.data() + ((to - first) * cols + w.at_col) * item,
                                tile + (from * pitch + w.from_col) * item, w.cols * item);
                }
            }
        });
    });
}

// What the address generator reads: every window as often as it is named, and nothing for zeros.
template <class Row>
void Executor::count_pieces(const Row& x) {
    const std::uint64_t item = item_size(static_cast<DType>(x.dtype));
    schedule_.for_each_piece(x, [&](const PieceRow& piece) {
        std::uint64_t bytes = 0;
        schedule_.for_each_window(piece, [&](const WindowRow& w) {
            bytes += std::uint64_t{w.outer} * w.inner * w.cols * item;
        });
        stats_.sram_read_bytes += bytes;
        if (piece.sram >= sram_bytes_) stats_.accumulator_read_bytes += bytes;
    });
}

const float* Executor::addend(std::uint32_t tile, std::uint32_t sram,
                              std::vector<float>& widened) {
    if (tile == kNone) return nullptr;
    std::byte* values = read(tile, sram);
    const DType dtype = schedule_.dtype_of_tile(tile);
    if (dtype == DType::kFp32) return as<float>(values);
    widened.resize(schedule_.tile_bytes(tile) / item_size(dtype));
    for (std::size_t i = 0; i < widened.size(); ++i) {
        widened[i] = dtype == DType::kBf16 ? widen(as<Bf16>(values)[i]) : widen(as<Fp16>(values)[i]);
    }
    return widened.data();
}

const std::int32_t* Executor::addend(std::uint32_t tile, std::uint32_t sram,
                                     std::vector<std::int32_t>&) {
    return tile == kNone ? nullptr : as<std::int32_t>(read(tile, sram));
}

void Executor::vector(const VectorRow& x) {
    ++stats_.vectors;
    VectorArgs args{};
    args.op = static_cast<VectorOp>(x.op);
    if (info(args.op).is_fold) return fold(x, args);
    const auto sources = x.sources();
    for (std::size_t i = 0; i < kSources; ++i) {
        args.sources[i] = sources[i].tile == kNone ? VectorSource{&sources[i].number, 0, 0}
                                                   : source(sources[i].tile, sources[i].sram);
    }
    args.dst = write(x.dst, x.dst_sram);
    args.dtype = schedule_.dtype_of_tile(x.dst);
    args.rows = x.rows;
    args.cols = x.cols;
    if (info(args.op).is_reduction) args.length = schedule_.tiles[x.src0].cols;
    if (x.acc != kNone) args.acc = read(x.acc, x.acc_sram);
    if (info(args.op).is_move) return move(args, x.src0 == kNone);
    if (info(args.op).is_conversion()) {
        convert(args);
    } else if (kIntegers & only(static_cast<DType>(x.dtype))) {
        integer_vector(args);
    } else {
        kernel_.vector(args);
    }
}

// A few rows of dst at a time, as `multiply_pieces`.
void Executor::fold(const VectorRow& x, VectorArgs args) {
    const auto dtype = static_cast<DType>(x.dtype);
    const std::size_t width = std::size_t{x.taps} * x.cols;
    count_pieces(x);
    if (x.src1 != kNone) args.sources[1] = {read(x.src1, x.src1_sram), x.cols, 1, dtype};
    if (x.src2 != kNone) args.sources[2] = {read(x.src2, x.src2_sram), 0, 1, dtype};
    const std::byte* acc = x.acc == kNone ? nullptr : read(x.acc, x.acc_sram);
    std::byte* dst = write(x.dst, x.dst_sram);
    args.dtype = schedule_.dtype_of_tile(x.dst);
    args.cols = x.cols;
    args.taps = x.taps;
    args.activation = static_cast<Activation>(x.activation);
    for (std::size_t first = 0; first < x.rows; first += args.rows) {
        args.rows = std::min<std::size_t>(rows_at_once(x), x.rows - first);
        gathered_.resize(args.rows * width * item_size(dtype));
        gather_taps(x, first * x.taps, args.rows * x.taps);
        args.sources[0] = {gathered_.data(), width, 1, dtype};
        args.acc = acc ? acc + first * x.cols * item_size(partial_of(dtype)) : nullptr;
        args.dst = dst + first * x.cols * item_size(args.dtype);
        kIntegers & only(dtype) ? integer_vector(args) : kernel_.vector(args);
    }
}

// Where no window lies, the least integer of the type, or a float of the operation.
void Executor::gather_taps(const VectorRow& x, std::size_t first, std::size_t rows) {
    const auto dtype = static_cast<DType>(x.dtype);
    alignas(std::uint32_t) std::byte padding[sizeof(std::uint32_t)] = {};
    put_number(kIntegers & only(dtype) ? least(dtype) : padding_of(static_cast<VectorOp>(x.op)), dtype, padding);
    const VectorArgs fill = {VectorOp::kCopy, {VectorSource{padding, 0, 0}}, gathered_.data(), rows, x.cols};
    move_bits(fill, item_size(dtype));
    gather(x, first, rows, x.cols, item_size(dtype));
}

void Executor::move(VectorArgs& args, bool fills) {
    alignas(std::uint32_t) std::byte fill[sizeof(std::uint32_t)] = {};
    if (fills) {
        put_number(*static_cast<const float*>(args.sources[0].data), args.dtype, fill);
        args.sources[0].data = fill;
    }
    move_bits(args, item_size(args.dtype));
}

VectorSource Executor::source(std::uint32_t tile, std::uint32_t sram) {
    const TileRow& t = schedule_.tiles[tile];
    const std::size_t row_step = t.rows == 1 ? 0 : t.cols;
    const std::size_t col_step = t.cols == 1 ? 0 : 1;
    return {read(tile, sram), row_step, col_step, schedule_.dtype_of_tile(tile)};
}

Executor::DramTile Executor::dram_tile(std::uint32_t tile) {
    const TileRow& t = schedule_.tiles[tile];
    const TensorRow& tensor = schedule_.tensors[t.tensor];
    const std::size_t item = item_size(static_cast<DType>(tensor.dtype));
    if (is_packed(tensor)) {
        const Blocks blocks = blocks_of(t, tensor);
        std::byte* first = dram_.data(t.tensor) + blocks.row * tensor.pitch + blocks.col * tensor.block_bytes;
        return {first, tensor.pitch, blocks.rows, blocks.cols * tensor.block_bytes};
    }
    std::byte* data = dram_.data(t.tensor) + std::size_t{t.row} * tensor.pitch + t.col * item;
    return {data, tensor.pitch, t.rows, t.cols * item};
}

// The row of the table that the list says; none that is not there, whatever the list holds.
Executor::DramTile Executor::gathered_row(std::uint32_t op, const TransferRow& x) {
    const TileRow& t = schedule_.tiles[x.tile];
    const TensorRow& tensor = schedule_.tensors[t.tensor];
    const std::uint32_t place = t.row - schedule_.tiles[schedule_.held(x.tile)].row;
    std::int32_t index;
    std::memcpy(&index, arenas_[core_].at(x.list_sram, schedule_.tile_bytes(x.list)) + place * sizeof index, sizeof index);
    stats_.sram_read_bytes += sizeof index;
    if (x.list_sram >= sram_bytes_) stats_.accumulator_read_bytes += sizeof index;
    const auto rows = static_cast<std::int64_t>(tensor.choices);
    const std::int64_t row = index < 0 ? index + rows : index;
    if (row < 0 || row >= rows) {
        throw IndexOutOfRange("index " + std::to_string(t.row) + " must lie in [" + std::to_string(-rows) + ", " +
                                  std::to_string(rows - 1) + "], not be " + std::to_string(index),
                              op);
    }
    const std::size_t item = item_size(static_cast<DType>(tensor.dtype));
    std::byte* data = dram_.data(t.tensor) + static_cast<std::size_t>(row) * tensor.pitch + t.col * item;
    return {data, tensor.pitch, 1, t.cols * item};
}

std::byte* Executor::read(std::uint32_t tile, std::uint32_t sram) {
    const std::uint64_t bytes = schedule_.tile_bytes(tile);
    stats_.sram_read_bytes += bytes;
    if (sram >= sram_bytes_) stats_.accumulator_read_bytes += bytes;
    return arenas_[core_].at(sram, bytes);
}

std::byte* Executor::write(std::uint32_t tile, std::uint32_t sram) {
    const std::uint64_t bytes = schedule_.tile_bytes(tile);
    const bool behind = sram >= sram_bytes_;
    std::uint64_t& peak = behind ? stats_.accumulator_peak_bytes : stats_.sram_peak_bytes;
    peak = std::max(peak, sram + bytes - (behind ? sram_bytes_ : 0));
    stats_.sram_write_bytes += bytes;
    if (behind) stats_.accumulator_write_bytes += bytes;
    return arenas_[core_].at(sram, bytes);
}

}  // namespace minisim
