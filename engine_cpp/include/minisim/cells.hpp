// Who wrote and who read each piece of a memory last.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "minisim/isa.hpp"

namespace minisim {

// In place of a stream position. Both are below every operation: neither is ever "too late".
constexpr std::int32_t kNobody = -1;
constexpr std::int32_t kUser = -2;  // set_tensor wrote it

// One name is enough per writer and per queue of readers. Operations touch a cell in program
// order (the tracker sees to that), so the last one has the highest position; and queues retire
// in order, so if the last of a queue has retired, all earlier ones of it have, too.
struct Cell {
    std::int32_t writer = kNobody;
    std::array<std::int32_t, kQueues> reader = {kNobody, kNobody, kNobody, kNobody};
};

inline bool operator==(const Cell& x, const Cell& y) {
    return x.writer == y.writer && x.reader == y.reader;
}

// A memory cut into cells of equal size. Every access must cover whole cells, so that two
// accesses overlap in bytes exactly if they share a cell.
class Cells {
public:
    Cells(std::uint64_t bytes, std::uint64_t cell_bytes)
        : cell_bytes_(cell_bytes),
          cells_(static_cast<std::size_t>((bytes + cell_bytes - 1) / cell_bytes)) {}

    std::uint64_t cell_bytes() const { return cell_bytes_; }

    // The cells of a run of bytes [begin, end).
    struct Run {
        Cell* first;
        Cell* last;
        Cell* begin() const { return first; }
        Cell* end() const { return last; }
    };
    Run run(std::uint64_t begin, std::uint64_t end) {
        return {cells_.data() + begin / cell_bytes_,
                cells_.data() + (end + cell_bytes_ - 1) / cell_bytes_};
    }

    void forget() { std::fill(cells_.begin(), cells_.end(), Cell()); }
    void forget_readers() {
        for (Cell& cell : cells_) cell.reader = Cell().reader;
    }

private:
    std::uint64_t cell_bytes_;
    std::vector<Cell> cells_;
};

}  // namespace minisim
