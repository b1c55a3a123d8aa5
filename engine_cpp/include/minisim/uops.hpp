// The lowered program as the walk sees it: compiler/program.py's columns, and what follows from them alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "minisim/schedule.hpp"

namespace minisim {

// UOP_DTYPE of compiler/program.py: `ref` is a tile of a LOAD or STORE, a row of the operand table else.
struct UopRow {
    std::uint8_t opcode, reserved;
    std::uint16_t core;
    std::uint32_t layer, ref, fetch;
};
static_assert(sizeof(UopRow) == 16);

// Borrowed tables. Of the operands' tables and the tiles only what `UopProgram::check` has looked at may be followed.
struct UopProgram {
    Table<UopRow> uops;
    Table<MatmulRow> matmuls;
    Table<VectorRow> vectors;
    Table<PieceRow> pieces;
    Table<TileRow> tiles;
    Table<TensorRow> tensors;
    const bool* resident_ok = nullptr;  // by tensor: its tiles may stay in SRAM instead of being stored
    const bool* sums = nullptr;         // by tensor: it is the partial sums of a matmul
    const std::int64_t* ahead = nullptr;    // (layers, cores): bytes to keep free, so that loads can run ahead of need
    const std::int64_t* horizon = nullptr;  // likewise: uOps ahead of which a next use is too near to be evicted for that
    std::uint32_t layers = 0, cores = 1;

    // Throws ScheduleError if a reference leads nowhere.
    void check() const;

    // The bytes that a tile takes in SRAM, alignment included.
    std::uint64_t bytes(std::uint32_t tile) const;
    // The bytes of the place that each tile takes: a ragged one takes the place of a full one if it fills half of it,
    // so that one tensor's tiles can follow each other in the same places. Those of partial sums always take full ones.
    std::vector<std::int64_t> place_sizes() const;
    std::uint32_t written(const MatmulRow& x) const { return Schedule::touches_c(x) ? held(x.c) : x.acc; }

    // The tile in whose place a tile lies, and where in it (schedule.hpp).
    std::uint32_t held(std::uint32_t tile) const { return minisim::held(tiles, tile); }
    std::uint32_t offset(std::uint32_t tile) const;

    // Whether a tile in a stack is moved by itself: it is of one page, and the stack of several.
    bool is_of_page(std::uint32_t tile) const { return tiles[tile].stack != 0 && tensors[tiles[tile].tensor].page != 0; }

    // Visits the places of all operands, also those that this step does not touch.
    template <class Visit>
    void for_each_operand(const UopRow& uop, Visit visit) const {
        const auto each = [&](const auto& row, std::uint32_t first, auto... names) {
            for (const std::uint32_t tile : {row.*names...}) {
                if (tile != kNone) visit(tile < tiles.size ? held(tile) : tile);
            }
            Schedule::for_each(pieces, first, [&](const PieceRow& piece) { visit(piece.tile); });
        };
        switch (static_cast<Opcode>(uop.opcode)) {
            case Opcode::kLoad:
            case Opcode::kStore: visit(uop.ref); break;
            case Opcode::kExecute: {
                using M = MatmulRow;
                const M& x = matmuls[uop.ref];
                each(x, x.a_pieces, &M::a, &M::b, &M::c, &M::bias, &M::residual, &M::acc);
                break;
            }
            case Opcode::kVector: {
                using V = VectorRow;
                const V& x = vectors[uop.ref];
                each(x, x.src0_pieces, &V::src0, &V::src1, &V::src2, &V::acc, &V::dst);
                break;
            }
        }
    }
};

// Copies: a tile in the SRAM of one core. A tile that several cores use has several. They are numbered core by core,
// and within a core as the tiles are; with one core they are the same numbers.
class Copies {
public:
    explicit Copies(const UopProgram& program);

    std::uint32_t size() const { return size_; }
    std::uint32_t of(std::uint32_t core, std::uint32_t tile) const;  // one that the program uses
    template <class Visit>
    void for_each(Visit visit) const;  // core, tile of all copies in order

private:
    std::uint64_t tiles_;
    std::uint32_t size_;
    bool one_core_;
    std::vector<std::uint64_t> used_;    // a bit for each tile of each core
    std::vector<std::uint32_t> before_;  // copies before each word of `used_`
};

template <class Visit>
void Copies::for_each(Visit visit) const {
    if (one_core_) {
        for (std::uint32_t tile = 0; tile < size_; ++tile) visit(0u, tile);
        return;
    }
    for (std::uint64_t i = 0; i < used_.size() * 64; ++i) {
        if (used_[i / 64] >> (i % 64) & 1) {
            visit(static_cast<std::uint32_t>(i / tiles_), static_cast<std::uint32_t>(i % tiles_));
        }
    }
}

constexpr std::uint32_t kNotAgain = kNone;  // the next use of a tile that is not used again

// The place among those of its core, for each uOp, of the next one that touches the same copy (LOAD and STORE: theirs;
// else the one written). A last step also reads the sums that it turns into a result: that is a use of theirs, and
// their end. kNotAgain before a LOAD that fetches the tile anew (`fetch`): it does not stay in SRAM until then.
std::vector<std::uint32_t> next_uses(const UopProgram& program, const Copies& copies);

// The least memory that can run a program, and the first layer that needs it.
struct Needed {
    std::uint64_t bytes = 0;
    std::uint32_t layer = 0;
};

// Of the scratchpad. `sums_apart`: the tiles of partial sums lie in the accumulator memory.
Needed scratchpad_needed(const UopProgram& program, bool sums_apart);

// Of the accumulator memory: all sums of an array that has one pass through it, also those of an operation that is the
// only step and therefore leaves none behind.
Needed accumulator_needed(const UopProgram& program);

}  // namespace minisim
