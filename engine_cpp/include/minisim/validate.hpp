// The legality check of a program: after it, no table content can lead the engine astray.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "minisim/schedule.hpp"

namespace minisim {

// Checks one row at a time, so that hand-built operations go through the same rules as a loaded
// schedule. Order matters: a row may only be checked once the rows it refers to have been.
// Every method throws ScheduleError, naming table, row, field, the value and the rule.
class Validator {
public:
    Validator(const Schedule& schedule, std::uint64_t sram_bytes, std::uint64_t accumulator_bytes,
              std::uint32_t cores)
        : schedule_(schedule),
          sram_bytes_(sram_bytes),
          accumulator_bytes_(accumulator_bytes),
          cores_(cores) {}

    void all() const;  // every row of every table, in order

    void tensor(std::size_t row) const;
    void tile(std::size_t row) const;
    void convolution(std::size_t row) const;
    void transfer(std::size_t row) const;
    void matmul(std::size_t row) const;
    void vector(std::size_t row) const;
    void op(std::size_t row) const;
    void syncs() const;  // of the whole stream: an operation may only wait for earlier ones

private:
    struct Place;  // table and row, for messages
    void packed(const Place& at, const TensorRow& t) const;
    void by_indices(const Place& at, std::size_t row) const;
    void list(const Place& at, const TransferRow& x) const;

    void operand(const Place& at, const char* field, std::uint32_t tile, std::uint32_t sram,
                 DTypes allowed, const char* reason) const;
    void typed(const Place& at, const char* field, std::uint32_t tile, DTypes allowed,
               const char* reason) const;
    void placed(const Place& at, const char* field, std::uint32_t tile, std::uint32_t sram) const;
    void alone(const Place& at, const char* field, std::uint32_t tile) const;
    void stacked(const Place& at, std::size_t row) const;
    void shape(const Place& at, const char* field, std::uint32_t tile, std::uint64_t rows,
               std::uint64_t cols) const;
    void apart(const Place& at, const char* field, std::uint32_t tile, std::uint32_t sram,
               std::uint32_t target, std::uint32_t target_sram) const;
    void first_operand(const Place& at, const MatmulRow& x) const;
    void first_shape(const Place& at, const MatmulRow& x) const;
    void first_apart(const Place& at, const MatmulRow& x, std::uint32_t target,
                     std::uint32_t target_sram) const;
    void pieces(const Place& at, std::uint32_t first, DTypes allowed) const;
    void piece(const Place& at, std::uint64_t rows, std::uint64_t cols, const PieceRow& piece) const;
    void window(const Place& at, std::uint64_t rows, std::uint64_t cols, const TileRow& tile,
                const WindowRow& w) const;
    const ConvolutionRow* convolution_of(std::uint32_t tile) const;
    void gathered(const Place& at, const MatmulRow& row) const;
    void folded(const Place& at, const VectorRow& row) const;
    void of_chain(const Place& at, const VectorRow& row, const ConvolutionRow& x) const;
    void goes_on(const Place& at, const VectorRow& row, const ConvolutionRow& x, std::uint32_t first) const;
    void sums(const Place& at, const MatmulRow& x) const;
    void epilogue(const Place& at, const MatmulRow& x) const;
    void integers(const Place& at, const MatmulRow& x) const;
    void scale(const Place& at, const MatmulRow& x) const;
    void source(const Place& at, const char* field, const VectorRow& x,
                const VectorRow::Source& from, DType dtype) const;
    void reduced(const Place& at, const VectorRow& x) const;
    void fold(const Place& at, const VectorRow& x, const VectorOpInfo& op) const;
    void no_fold(const Place& at, const VectorRow& x, const VectorOpInfo& op) const;

    const Schedule& schedule_;
    std::uint64_t sram_bytes_, accumulator_bytes_;
    std::uint32_t cores_;
};

}  // namespace minisim
