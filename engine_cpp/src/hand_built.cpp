#include "minisim/hand_built.hpp"

#include <algorithm>
#include <cstddef>
#include <string>

#include "minisim/errors.hpp"

namespace minisim {

void HandBuilt::append(std::uint32_t rows, std::uint32_t cols, Role role, DType dtype) {
    const std::uint64_t row_bytes = std::uint64_t{cols} * item_size(dtype);
    const std::uint64_t pitch = (row_bytes + kAlignment - 1) / kAlignment * kAlignment;
    if (pitch > UINT32_MAX) {
        throw UsageError("a row of " + std::to_string(cols) + " columns is too long");
    }
    TensorRow tensor{};
    if (!tables_.tensors.empty()) {
        const TensorRow& before = tables_.tensors.back();
        tensor.address = before.address + std::uint64_t{before.rows} * before.pitch;
    }
    tensor.rows = rows;
    tensor.cols = cols;
    tensor.pitch = static_cast<std::uint32_t>(pitch);
    tensor.storage = static_cast<std::uint32_t>(tables_.tensors.size());
    tensor.dtype = static_cast<std::uint8_t>(dtype);
    tensor.role = static_cast<std::uint8_t>(role);
    tables_.tensors.push_back(tensor);
}

void HandBuilt::append(const SchedOp& op) {
    if (const auto* load = std::get_if<SchedLoad>(&op)) {
        push_transfer(Opcode::kLoad, load->tile, load->version);
    } else if (const auto* store = std::get_if<SchedStore>(&op)) {
        push_transfer(Opcode::kStore, store->tile, store->version);
    } else if (const auto* execute = std::get_if<SchedExecute>(&op)) {
        push_matmul(*execute);
    } else {
        push_vector(std::get<SchedVector>(op));
    }
}

void HandBuilt::push(Opcode opcode, std::size_t row) {
    StreamRow x{};
    x.opcode = static_cast<std::uint8_t>(opcode);
    x.queue = static_cast<std::uint8_t>(queue_of(opcode));
    x.row = static_cast<std::uint32_t>(row);
    x.sync = kNone;
    tables_.stream.push_back(x);
}

void HandBuilt::push_transfer(Opcode opcode, const PlacedTile& tile,
                              std::optional<std::uint32_t> version) {
    const std::uint32_t id = tile_read(tile);
    push(opcode, tables_.transfers.size());
    tables_.transfers.push_back({id, version.value_or(tables_.tiles[id].final), tile.sram});
}

void HandBuilt::push_matmul(const SchedExecute& x) {
    MatmulRow row{};
    row.a = tile_read(x.a);
    row.b = tile_read(x.b);
    row.bias = x.bias ? tile_read(*x.bias) : kNone;
    row.residual = x.residual ? tile_read(*x.residual) : kNone;
    row.acc = x.acc ? tile_written(*x.acc, x.steps) : kNone;
    row.c = tile_written(x.c, x.acc ? 1 : x.steps);
    row.a_sram = x.a.sram;
    row.b_sram = x.b.sram;
    row.c_sram = x.c.sram;
    row.bias_sram = x.bias ? x.bias->sram : kNone;
    row.residual_sram = x.residual ? x.residual->sram : kNone;
    row.acc_sram = x.acc ? x.acc->sram : kNone;
    row.a_pieces = kNone;
    row.taps = 1;
    row.m = x.c.rows;
    row.k = x.a_transposed ? x.a.rows : x.a.cols;
    row.n = x.c.cols;
    row.step = x.step;
    row.scale = x.scale;
    row.last = std::uint64_t{x.step} + 1 == x.steps;
    row.activation = static_cast<std::uint8_t>(x.activation);
    row.a_transposed = x.a_transposed;
    row.b_transposed = x.b_transposed;
    row.dtype = dtype_of(x.a);
    push(Opcode::kExecute, tables_.matmuls.size());
    tables_.matmuls.push_back(row);
}

void HandBuilt::push_vector(const SchedVector& x) {
    VectorRow row{};
    row.op = static_cast<std::uint8_t>(x.op);
    row.dtype = dtype_of(x);
    const auto set = [&](const VectorOperand* from, std::uint32_t& tile, std::uint32_t& sram, float& number) {
        const auto* placed = from ? std::get_if<PlacedTile>(from) : nullptr;
        tile = placed ? tile_read(*placed) : kNone;
        sram = placed ? placed->sram : kNone;
        number = from && !placed ? std::get<float>(*from) : 0.0f;
    };
    set(&x.src0, row.src0, row.src0_sram, row.imm0);
    set(x.src1 ? &*x.src1 : nullptr, row.src1, row.src1_sram, row.imm1);
    set(x.src2 ? &*x.src2 : nullptr, row.src2, row.src2_sram, row.imm2);
    row.acc = row.acc_sram = row.src0_pieces = kNone;
    row.dst = tile_written(x.dst, 1);
    row.dst_sram = x.dst.sram;
    row.rows = x.dst.rows;
    row.cols = x.dst.cols;
    push(Opcode::kVector, tables_.vectors.size());
    tables_.vectors.push_back(row);
}

// A vector operation's type is that of its first source which is no condition; of one that has no
// such tile it is dst's.
std::uint8_t HandBuilt::dtype_of(const SchedVector& x) const {
    const VectorOperand* sources[] = {&x.src0, x.src1 ? &*x.src1 : nullptr, x.src2 ? &*x.src2 : nullptr};
    const bool known = static_cast<std::uint32_t>(x.op) < kVectorOps;
    const VectorOpInfo op = known ? info(x.op) : VectorOpInfo{"?", "", 'x', 0, false, false, false, 0};
    for (std::uint32_t i = 0; i < op.sources; ++i) {
        const auto* placed = sources[i] ? std::get_if<PlacedTile>(sources[i]) : nullptr;
        if (placed && op.kinds[i] == 'x') return dtype_of(*placed);
    }
    return dtype_of(x.dst);
}

// An operation is of the type of what it works on. A tensor that does not exist has none; the
// tile is refused for it.
std::uint8_t HandBuilt::dtype_of(const PlacedTile& tile) const {
    return tile.tensor < tables_.tensors.size() ? tables_.tensors[tile.tensor].dtype : std::uint8_t{0};
}

// The tile's latest life. A linear search: hand-built programs are short.
const TileRow* HandBuilt::latest(const PlacedTile& tile) const {
    const auto same = [&](const TileRow& t) {
        return t.tensor == tile.tensor && t.row == tile.row && t.col == tile.col &&
               t.rows == tile.rows && t.cols == tile.cols;
    };
    const auto found = std::find_if(tables_.tiles.rbegin(), tables_.tiles.rend(), same);
    return found == tables_.tiles.rend() ? nullptr : &*found;
}

// A tile that no operation has written yet holds what the user supplied: version 0.
std::uint32_t HandBuilt::tile_read(const PlacedTile& tile) {
    const TileRow* found = latest(tile);
    if (found) return static_cast<std::uint32_t>(found - tables_.tiles.data());
    tables_.tiles.push_back({tile.tensor, tile.row, tile.col, tile.rows, tile.cols, 0});
    return static_cast<std::uint32_t>(tables_.tiles.size() - 1);
}

// The number of writes that complete a tile belongs to the tile, so a tile that is made again in
// another number of steps becomes a new one.
std::uint32_t HandBuilt::tile_written(const PlacedTile& tile, std::uint32_t final) {
    const TileRow* found = latest(tile);
    if (found && found->final == final) return static_cast<std::uint32_t>(found - tables_.tiles.data());
    tables_.tiles.push_back({tile.tensor, tile.row, tile.col, tile.rows, tile.cols, final});
    return static_cast<std::uint32_t>(tables_.tiles.size() - 1);
}

HandBuilt::Mark HandBuilt::mark() const {
    return {tables_.stream.size(),  tables_.transfers.size(), tables_.matmuls.size(),
            tables_.vectors.size(), tables_.tiles.size(),     tables_.tensors.size()};
}

// Erasing at the end moves nothing and asks for no memory.
void HandBuilt::rewind(const Mark& mark) noexcept {
    const auto cut = [](auto& rows, std::size_t size) {
        rows.erase(rows.begin() + static_cast<std::ptrdiff_t>(size), rows.end());
    };
    cut(tables_.stream, mark.stream);
    cut(tables_.transfers, mark.transfers);
    cut(tables_.matmuls, mark.matmuls);
    cut(tables_.vectors, mark.vectors);
    cut(tables_.tiles, mark.tiles);
    cut(tables_.tensors, mark.tensors);
}

}  // namespace minisim
