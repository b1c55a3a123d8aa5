#include "minisim/uops.hpp"

#include <algorithm>
#include <string>

#include "minisim/errors.hpp"
#include "minisim/interrupt.hpp"
#include "minisim/packing.hpp"

namespace minisim {
namespace {

constexpr std::uint64_t kWork = 32;  // of a uOp, in multiply-adds

std::uint64_t aligned(std::uint64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

void require(bool holds, std::size_t uop, const char* what) {
    if (!holds) throw ScheduleError("uOp " + std::to_string(uop) + " " + what);
}

DType sums_of(std::uint8_t dtype) {
    for (const Pair& pair : kPairs) {
        if (static_cast<std::uint8_t>(pair.a) == dtype) return pair.sums;
    }
    return DType::kFp32;
}

std::uint32_t count_bits(std::uint64_t word) {
    std::uint32_t count = 0;
    for (; word != 0; word &= word - 1) ++count;
    return count;
}

}  // namespace

std::uint64_t UopProgram::bytes(std::uint32_t tile) const {
    const TileRow& t = tiles[tile];
    return aligned(sram_bytes(t, tensors[t.tensor]));
}

std::uint32_t UopProgram::offset(std::uint32_t tile) const {
    const TileRow& t = tiles[tile];
    const std::uint32_t item = item_size(static_cast<DType>(tensors[t.tensor].dtype));
    return static_cast<std::uint32_t>(rows_above(tiles, tile)) * t.cols * item;
}

std::vector<std::int64_t> UopProgram::place_sizes() const {
    std::vector<std::uint64_t> full(tensors.size);
    for (std::uint32_t tile = 0; tile < tiles.size; ++tile) {
        std::uint64_t& largest = full[tiles[tile].tensor];
        largest = std::max(largest, bytes(tile));
    }
    std::vector<std::int64_t> found(tiles.size);
    for (std::uint32_t tile = 0; tile < tiles.size; ++tile) {
        const std::uint32_t tensor = tiles[tile].tensor;
        const bool fills = sums[tensor] || 2 * bytes(tile) >= full[tensor];
        found[tile] = static_cast<std::int64_t>(fills ? full[tensor] : bytes(tile));
    }
    return found;
}

void UopProgram::check() const {
    for (const TensorRow& x : tensors) {
        if (x.dtype >= kDTypes) throw ScheduleError("a tensor has a type that does not exist");
        if (x.storage >= tensors.size) throw ScheduleError("a tensor lies in a buffer that does not exist");
        if (x.unpacker >= kUnpackers) throw ScheduleError("a tensor has an unpacker that does not exist");
        if (x.indices > static_cast<std::size_t>(&x - tensors.begin())) {
            throw ScheduleError("a tensor has indices that do not exist");
        }
    }
    for (std::uint32_t i = 0; i < tiles.size; ++i) {
        const TileRow& x = tiles[i];
        if (x.tensor >= tensors.size) throw ScheduleError("a tile refers to a tensor that does not exist");
        if (std::uint64_t{x.rows} * x.cols == 0) throw ScheduleError("a tile has no elements");
        if (x.stack == 0) continue;
        if (x.stack > i) throw ScheduleError("a tile lies in a stack that does not exist");
        const TileRow& stack = tiles[i - x.stack];
        const bool inside = x.row >= stack.row && std::uint64_t{x.row} + x.rows <= std::uint64_t{stack.row} + stack.rows;
        if (stack.stack != 0 || !inside || x.cols != stack.cols || x.tensor != stack.tensor) {
            throw ScheduleError("a tile does not lie in its stack");
        }
    }
    if (pieces.size > 0 && pieces[pieces.size - 1].more) throw ScheduleError("the last run of pieces has no end");
    const auto run = [&](std::uint32_t first) { return first == kNone || first < pieces.size; };
    for (std::size_t i = 0; i < uops.size; ++i) {
        const UopRow& uop = uops[i];
        require(uop.opcode < kOpcodes, i, "has an opcode that does not exist");
        require(uop.core < cores && uop.layer < layers, i, "is of a core or layer that does not exist");
        const std::size_t sizes[kOpcodes] = {tiles.size, tiles.size, matmuls.size, vectors.size};
        require(uop.ref < sizes[uop.opcode], i, "refers beyond its table");
        if (uop.opcode == static_cast<std::uint8_t>(Opcode::kExecute)) {
            const MatmulRow& x = matmuls[uop.ref];
            require(x.b != kNone && x.c != kNone && run(x.a_pieces), i, "has an operand that does not exist");
        } else if (uop.opcode == static_cast<std::uint8_t>(Opcode::kVector)) {
            const VectorRow& x = vectors[uop.ref];
            require(x.dst != kNone && run(x.src0_pieces), i, "has an operand that does not exist");
        }
        for_each_operand(uop, [&](std::uint32_t tile) {
            require(tile < tiles.size, i, "has an operand that does not exist");
        });
        interruptible(kWork);
    }
}

Copies::Copies(const UopProgram& program)
    : tiles_(program.tiles.size),
      size_(static_cast<std::uint32_t>(program.tiles.size)),
      one_core_(program.cores == 1) {
    if (one_core_) return;
    used_.resize((program.cores * tiles_ + 63) / 64);
    for (const UopRow& uop : program.uops) {
        program.for_each_operand(uop, [&](std::uint32_t tile) {
            const std::uint64_t i = uop.core * tiles_ + tile;
            used_[i / 64] |= std::uint64_t{1} << (i % 64);
        });
    }
    before_.reserve(used_.size());
    size_ = 0;
    for (const std::uint64_t word : used_) {
        before_.push_back(size_);
        size_ += count_bits(word);
    }
}

std::uint32_t Copies::of(std::uint32_t core, std::uint32_t tile) const {
    if (one_core_) return tile;
    const std::uint64_t i = core * tiles_ + tile;
    return before_[i / 64] + count_bits(used_[i / 64] & ((std::uint64_t{1} << (i % 64)) - 1));
}

std::vector<std::uint32_t> next_uses(const UopProgram& program, const Copies& copies) {
    struct Next {
        std::uint32_t place = kNotAgain;
        std::uint32_t fetch = 0;
        bool load = false;
    };
    std::vector<Next> next(copies.size());
    std::vector<std::uint32_t> place(program.cores, 0), found(program.uops.size);
    for (const UopRow& uop : program.uops) ++place[uop.core];
    for (std::size_t i = program.uops.size; i-- > 0;) {
        const UopRow& uop = program.uops[i];
        const auto opcode = static_cast<Opcode>(uop.opcode);
        const std::uint32_t at = --place[uop.core];
        std::uint32_t tile = uop.ref;
        if (opcode == Opcode::kVector) tile = program.vectors[uop.ref].dst;
        if (opcode == Opcode::kExecute) {
            const MatmulRow& x = program.matmuls[uop.ref];
            tile = program.written(x);
            if (x.last && Schedule::touches_acc(x)) next[copies.of(uop.core, x.acc)] = {at, 0, false};
        }
        Next& known = next[copies.of(uop.core, tile)];
        const bool load = opcode == Opcode::kLoad;
        const bool anew = load && known.load && known.fetch != uop.fetch;
        found[i] = anew ? kNotAgain : known.place;
        known = {at, uop.fetch, load};
        interruptible(kWork);
    }
    return found;
}

Needed scratchpad_needed(const UopProgram& program, bool sums_apart) {
    Needed most;
    for (const UopRow& uop : program.uops) {
        const auto opcode = static_cast<Opcode>(uop.opcode);
        if (opcode <= Opcode::kStore) continue;
        std::uint64_t bytes = 0;
        program.for_each_operand(uop, [&](std::uint32_t tile) { bytes += program.bytes(tile); });
        if (opcode == Opcode::kExecute) {
            const MatmulRow& x = program.matmuls[uop.ref];
            if (!Schedule::touches_c(x)) bytes -= program.bytes(program.held(x.c));
            if (x.acc != kNone && (!Schedule::touches_acc(x) || sums_apart)) bytes -= program.bytes(x.acc);
        }
        if (bytes > most.bytes) most = {bytes, uop.layer};
        interruptible(kWork);
    }
    return most;
}

Needed accumulator_needed(const UopProgram& program) {
    Needed most;
    for (const UopRow& uop : program.uops) {
        if (uop.opcode != static_cast<std::uint8_t>(Opcode::kExecute)) continue;
        const MatmulRow& x = program.matmuls[uop.ref];
        const std::uint64_t bytes = aligned(std::uint64_t{x.m} * x.n * item_size(sums_of(x.dtype)));
        if (bytes > most.bytes) most = {bytes, uop.layer};
    }
    return most;
}

}  // namespace minisim
