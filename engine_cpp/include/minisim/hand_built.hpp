// Programs built one operation at a time, for teaching and for tests.
#pragma once

#include <cstdint>
#include <optional>
#include <variant>

#include "minisim/tables.hpp"

namespace minisim {

// A rectangle of a tensor, and the SRAM address where it lies or will lie.
struct PlacedTile {
    std::uint32_t tensor, row, col, rows, cols, sram;
};

struct SchedLoad {
    PlacedTile tile;
    std::optional<std::uint32_t> version;  // none: the final one
};

struct SchedStore {
    PlacedTile tile;
    std::optional<std::uint32_t> version;
};

struct SchedExecute {
    PlacedTile a, b, c;
    std::uint32_t step, steps;  // this one of so many that make c
    std::optional<PlacedTile> bias, residual;
    Activation activation;
    bool a_transposed, b_transposed;
    std::optional<PlacedTile> acc;  // where the sums lie between steps; none: in c
    float scale = 0.0f;
};

using VectorOperand = std::variant<PlacedTile, float>;  // a tile, or a number

struct SchedVector {
    VectorOp op;
    PlacedTile dst;
    VectorOperand src0;
    std::optional<VectorOperand> src1, src2;
};

using SchedOp = std::variant<SchedLoad, SchedStore, SchedExecute, SchedVector>;

// Lets tables grow by rows that are the very same as a compiled schedule's. Nothing is checked here.
class HandBuilt {
public:
    explicit HandBuilt(Tables& tables) : tables_(tables) {}

    // Appends a tensor with its pitch padded to the alignment, in a storage of its own. Throws
    // UsageError if a row is too long.
    void append(std::uint32_t rows, std::uint32_t cols, Role role, DType dtype);

    // Appends an operation and the tiles that it mentions first. If it throws, it may have appended
    // a part of them: rewind() takes that back.
    void append(const SchedOp& op);

    // The sizes of the tables, so that what is refused can be taken back.
    struct Mark {
        std::size_t stream, transfers, matmuls, vectors, tiles, tensors;
    };
    Mark mark() const;
    void rewind(const Mark& mark) noexcept;

private:
    void push(Opcode opcode, std::size_t row);
    void push_transfer(Opcode opcode, const PlacedTile& tile, std::optional<std::uint32_t> version);
    void push_matmul(const SchedExecute& x);
    void push_vector(const SchedVector& x);
    std::uint8_t dtype_of(const PlacedTile& tile) const;
    std::uint8_t dtype_of(const SchedVector& x) const;
    const TileRow* latest(const PlacedTile& tile) const;
    std::uint32_t tile_read(const PlacedTile& tile);
    std::uint32_t tile_written(const PlacedTile& tile, std::uint32_t final);

    Tables& tables_;
};

}  // namespace minisim
