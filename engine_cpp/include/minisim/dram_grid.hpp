// How one buffer of DRAM is cut into the cells that the tracker keeps.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>

#include "minisim/isa.hpp"

namespace minisim {

// A part of a buffer: `rows` rows of it from `row` on, in each the bytes [begin, end); and the same
// again `step` bytes further on, `times` times in all.
struct DramSpan {
    std::uint64_t row, rows, begin, end;
    std::uint64_t times = 1, step = 0;
};

// The coarsest grid whose lines every span that it was cut for keeps to: two of them overlap in
// bytes exactly if they share a cell, however closely rows are packed. A buffer is as many rows as
// its tensor has; one that views of several shapes share is a single row of all its bytes.
class DramGrid {
public:
    DramGrid() = default;
    DramGrid(std::uint64_t rows, std::uint64_t row_bytes) : rows_(rows), row_bytes_(row_bytes) {}

    // Where elements [col, col + cols) of rows [row, row + rows) of `tensor` lie.
    DramSpan span(const TensorRow& tensor, std::uint64_t row, std::uint64_t rows, std::uint64_t col,
                  std::uint64_t cols) const {
        const std::uint64_t item = item_size(static_cast<DType>(tensor.dtype));
        const std::uint64_t begin = col * item, end = (col + cols) * item;
        if (rows_ == tensor.rows && rows_ > 1) return {row, rows, begin, end};
        const std::uint64_t first = row * tensor.pitch;
        if (cols == tensor.cols && tensor.pitch == end) {
            return {0, 1, first, first + rows * tensor.pitch};
        }
        return {0, 1, first + begin, first + end, rows, tensor.pitch};
    }

    // Makes cells so small that none reaches across an edge of `span`.
    void cut(const DramSpan& span) {
        narrow(cell_rows_, span.row, span.row + span.rows, rows_);
        narrow(cell_bytes_, span.begin, span.end, span.times == 1 ? row_bytes_ : 0);
        if (span.times > 1) cell_bytes_ = std::gcd(cell_bytes_, span.step);
    }

    // The same for every span of whole items.
    void cut_to_items(std::uint64_t item) { cell_rows_ = 1, cell_bytes_ = item; }

    std::uint64_t cells() const { return up(rows_, cell_rows()) * cells_per_row(); }

    // visit(begin, end) for each run of cells under `span`.
    template <class Visit>
    void for_each_run(const DramSpan& span, Visit visit) const {
        const std::uint64_t bytes = cell_bytes(), end_row = up(span.row + span.rows, cell_rows());
        for (std::uint64_t time = 0, at = 0; time < span.times; ++time, at += span.step) {
            for (std::uint64_t row = span.row / cell_rows(); row < end_row; ++row) {
                const std::uint64_t first = row * cells_per_row();
                visit(first + (span.begin + at) / bytes, first + up(span.end + at, bytes));
            }
        }
    }

private:
    // 0: not cut yet. The last cell may reach beyond the `limit`: nothing lies there.
    static void narrow(std::uint64_t& grain, std::uint64_t begin, std::uint64_t end,
                       std::uint64_t limit) {
        grain = std::gcd(grain, begin);
        if (end != limit) grain = std::gcd(grain, end);
    }
    static std::uint64_t up(std::uint64_t size, std::uint64_t grain) {
        return size / grain + (size % grain != 0);
    }
    std::uint64_t cell_rows() const { return cell_rows_ ? cell_rows_ : rows_; }
    std::uint64_t cell_bytes() const { return cell_bytes_ ? cell_bytes_ : row_bytes_; }
    std::uint64_t cells_per_row() const { return up(row_bytes_, cell_bytes()); }

    std::uint64_t rows_ = 0, row_bytes_ = 0;
    std::uint64_t cell_rows_ = 0, cell_bytes_ = 0;
};

}  // namespace minisim
