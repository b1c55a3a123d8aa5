#include "minisim/executor.hpp"

#include <algorithm>

namespace minisim {
namespace {

float* floats(std::byte* bytes) { return reinterpret_cast<float*>(bytes); }

}  // namespace

void Executor::perform(std::uint32_t op) {
    switch (program_.opcode(op)) {
        case Opcode::kLoad: load(program_.transfer(op)); return;
        case Opcode::kStore: store(program_.transfer(op)); return;
        case Opcode::kExecute: execute(program_.matmul(op)); return;
        case Opcode::kVector: vector(program_.vector(op)); return;
    }
}

void Executor::load(const TransferRow& x) {
    const DramTile t = dram_tile(x.tile);
    copy_rows(write(x.tile, x.sram), t.row_bytes, t.data, t.pitch, t.rows, t.row_bytes);
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
// this far: the validator refuses them by name.
void Executor::execute(const MatmulRow& x) {
    switch (static_cast<DType>(x.dtype)) {
        case DType::kFp32: {
            MatmulArgs args{};
            args.a = floats(read(x.a, x.a_sram));
            args.b = floats(read(x.b, x.b_sram));
            if (x.step > 0) read(x.c, x.c_sram);
            args.c = floats(write(x.c, x.c_sram));
            if (x.bias != kNone) args.bias = floats(read(x.bias, x.bias_sram));
            if (x.residual != kNone) args.residual = floats(read(x.residual, x.residual_sram));
            args.m = x.m;
            args.k = x.k;
            args.n = x.n;
            args.a_transposed = x.a_transposed != 0;
            args.b_transposed = x.b_transposed != 0;
            args.clear = x.step == 0;
            args.last = x.last != 0;
            args.activation = static_cast<Activation>(x.activation);
            kernel_.matmul(args, scratch_);
            break;
        }
    }
    ++stats_.executes;
    stats_.macs += std::uint64_t{x.m} * x.k * x.n;
}

void Executor::vector(const VectorRow& x) {
    switch (static_cast<DType>(x.dtype)) {
        case DType::kFp32: {
            VectorArgs args{};
            args.op = static_cast<VectorOp>(x.op);
            args.src0 = source(x.src0, x.src0_sram);
            if (x.src1 != kNone) args.src1 = source(x.src1, x.src1_sram);
            args.dst = floats(write(x.dst, x.dst_sram));
            args.rows = x.rows;
            args.cols = x.cols;
            args.length = program_.tiles[x.src0].cols;
            kernel_.vector(args);
            break;
        }
    }
    ++stats_.vectors;
}

VectorSource Executor::source(std::uint32_t tile, std::uint32_t sram) {
    const TileRow& t = program_.tiles[tile];
    const std::size_t row_step = t.rows == 1 ? 0 : t.cols;
    const std::size_t col_step = t.cols == 1 ? 0 : 1;
    return {floats(read(tile, sram)), row_step, col_step};
}

Executor::DramTile Executor::dram_tile(std::uint32_t tile) {
    const TileRow& t = program_.tiles[tile];
    const TensorRow& tensor = program_.tensors[t.tensor];
    const std::size_t item = item_size(static_cast<DType>(tensor.dtype));
    std::byte* data = dram_.data(t.tensor) + std::size_t{t.row} * tensor.pitch + t.col * item;
    return {data, tensor.pitch, t.rows, t.cols * item};
}

std::byte* Executor::read(std::uint32_t tile, std::uint32_t sram) {
    const std::uint64_t bytes = program_.tile_bytes(tile);
    stats_.sram_read_bytes += bytes;
    return arena_.at(sram, bytes);
}

std::byte* Executor::write(std::uint32_t tile, std::uint32_t sram) {
    const std::uint64_t bytes = program_.tile_bytes(tile);
    stats_.sram_write_bytes += bytes;
    stats_.sram_peak_bytes = std::max(stats_.sram_peak_bytes, sram + bytes);
    return arena_.at(sram, bytes);
}

}  // namespace minisim
