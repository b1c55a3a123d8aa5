// Packed rows in DRAM: tiles that share a burst share no cell, and those that share a byte do.

#include <random>
#include <set>

#include "minisim/dram_grid.hpp"
#include "two_steps.hpp"

using namespace minisim;

namespace {

TensorRow tensor_row(std::uint32_t rows, std::uint32_t cols, std::uint32_t pitch, DType dtype) {
    TensorRow t{};
    t.rows = rows;
    t.cols = cols;
    t.pitch = pitch;
    t.dtype = static_cast<std::uint8_t>(dtype);
    return t;
}

std::set<std::uint64_t> bytes_of(const TensorRow& tensor, const TileRow& t) {
    const std::uint64_t item = item_size(static_cast<DType>(tensor.dtype));
    std::set<std::uint64_t> found;
    for (std::uint64_t row = t.row; row < t.row + t.rows; ++row) {
        for (std::uint64_t at = t.col * item; at < (t.col + t.cols) * item; ++at) {
            found.insert(row * tensor.pitch + at);
        }
    }
    return found;
}

bool meet(const std::set<std::uint64_t>& x, const std::set<std::uint64_t>& y) {
    for (const std::uint64_t each : x) {
        if (y.count(each)) return true;
    }
    return false;
}

struct Cut {
    const TensorRow* tensor;
    TileRow tile;
    DramSpan span(const DramGrid& grid) const {
        return grid.span(*tensor, tile.row, tile.rows, tile.col, tile.cols);
    }
};

// Two tiles share a cell exactly if they share a byte, and all cells are in the memory.
void check_cells(DramGrid grid, const std::vector<Cut>& cuts) {
    for (const Cut& cut : cuts) grid.cut(cut.span(grid));
    std::vector<std::set<std::uint64_t>> bytes, cells(cuts.size());
    for (std::size_t i = 0; i < cuts.size(); ++i) {
        bytes.push_back(bytes_of(*cuts[i].tensor, cuts[i].tile));
        grid.for_each_run(cuts[i].span(grid), [&](std::uint64_t begin, std::uint64_t end) {
            CHECK(begin < end && end <= grid.cells());
            for (; begin < end; ++begin) cells[i].insert(begin);
        });
    }
    for (std::size_t i = 0; i < cuts.size(); ++i) {
        for (std::size_t j = 0; j < i; ++j) {
            CHECK_EQUAL(meet(cells[i], cells[j]), meet(bytes[i], bytes[j]));
        }
    }
}

// All tiles of a tensor of this height and width.
std::vector<Cut> tiled(const TensorRow& tensor, std::uint32_t height, std::uint32_t width) {
    std::vector<Cut> found;
    for (std::uint32_t row = 0; row < tensor.rows; row += height) {
        for (std::uint32_t col = 0; col < tensor.cols; col += width) {
            found.push_back({&tensor, {0, row, col, std::min(height, tensor.rows - row),
                                       std::min(width, tensor.cols - col), 0}});
        }
    }
    return found;
}

void append(std::vector<Cut>& cuts, const std::vector<Cut>& more) {
    cuts.insert(cuts.end(), more.begin(), more.end());
}

std::uint64_t cells(const TensorRow& tensor, std::uint32_t height, std::uint32_t width) {
    const std::uint64_t item = item_size(static_cast<DType>(tensor.dtype));
    DramGrid grid(tensor.rows, tensor.cols * item);
    for (const Cut& cut : tiled(tensor, height, width)) grid.cut(cut.span(grid));
    return grid.cells();
}

// Two cores compute rows of a narrow y, 12 bytes each, and store them.
struct Narrow : Builder {
    std::uint32_t y = tensor(16, 3, Role::kOutput, 12);
    std::uint32_t x = tensor(16, 3, Role::kInput, 12);

    Narrow(std::uint32_t first, std::uint32_t second) {
        rows(first, 0);
        core = 1;
        rows(second, 5);
    }

    void rows(std::uint32_t count, std::uint32_t from) {
        const std::uint32_t in = tile(x, from, 0, count, 3), out = tile(y, from, 0, count, 3, 1);
        load(in, kA);
        vector(VectorOp::kRelu, out, kB, in, kA);
        store(out, kB, 1);
    }
};

}  // namespace

TEST(tiles_share_a_cell_exactly_if_they_share_a_byte) {
    std::mt19937 random(1);
    const auto upto = [&](std::uint32_t most) {
        return std::uniform_int_distribution<std::uint32_t>(1, most)(random);
    };
    for (int i = 0; i < 300; ++i) {
        const DType dtype = upto(2) == 1 ? DType::kInt8 : DType::kBf16;
        const std::uint32_t rows = upto(12), cols = upto(20), item = item_size(dtype);
        const std::uint32_t pitch = (cols + (upto(2) - 1) * upto(5)) * item;
        const TensorRow tensor = tensor_row(rows, cols, pitch, dtype);
        std::vector<Cut> cuts = tiled(tensor, upto(rows), upto(cols));
        append(cuts, tiled(tensor, upto(rows), upto(cols)));
        check_cells({rows, std::uint64_t{cols} * item}, cuts);
    }
}

TEST(views_of_other_shapes_share_cells_as_they_share_bytes) {
    std::mt19937 random(2);
    for (int i = 0; i < 200; ++i) {
        const auto any = [&](std::uint32_t most) { return 1 + std::uint32_t(random() % most); };
        const std::uint32_t a = any(6), b = any(6), c = any(6);
        const TensorRow x = tensor_row(a, b * c, b * c, DType::kInt8);
        const TensorRow y = tensor_row(a * b, c, c, DType::kInt8);
        std::vector<Cut> cuts = tiled(x, any(a), any(b * c));
        append(cuts, tiled(y, any(a * b), any(c)));
        append(cuts, {{&x, {0, 0, 0, x.rows, x.cols, 0}}});
        check_cells({1, std::uint64_t{a} * b * c}, cuts);
    }
}

TEST(a_tile_is_a_cell_however_its_rows_are_packed) {
    CHECK_EQUAL(cells(tensor_row(4096, 3, 3, DType::kInt8), 32, 3), 128u);
    CHECK_EQUAL(cells(tensor_row(4095, 3, 3, DType::kInt8), 32, 3), 128u);  // a ragged one, too
    CHECK_EQUAL(cells(tensor_row(64, 61, 61, DType::kInt8), 32, 32), 4u);
    CHECK_EQUAL(cells(tensor_row(64, 100, 448, DType::kFp32), 32, 32), 8u);
}

TEST(a_part_that_comes_twice_keeps_to_both) {
    const TensorRow tensor = tensor_row(2, 3, 3, DType::kInt8);
    DramGrid grid(1, 6);
    grid.cut(grid.span(tensor, 0, 2, 0, 2));  // bytes 0 and 1, 3 and 4
    CHECK_EQUAL(grid.cells(), 6u);
}

TEST(two_cores_store_into_one_burst) {
    const Narrow p(5, 11);  // 60 bytes, and the rest
    Engine engine({4096, "reference", true, 0, 2});
    engine.load(p.schedule());
    std::vector<float> values(48);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
    set(engine, p.x, values);
    Driver drive{engine};
    drive.both({0, 1, 3, 4});
    drive.start(2);
    drive.start(5);  // both in flight
    drive.retire(2);
    drive.retire(5);
    CHECK(engine.finished());
    CHECK(get(engine, p.y) == values);
}

TEST(two_cores_store_into_one_row) {
    const Narrow p(6, 11);
    Engine engine({4096, "reference", true, 0, 2});
    engine.load(p.schedule());
    set(engine, p.x, std::vector<float>(48, 1.0f));
    Driver drive{engine};
    drive.both({0, 1, 3, 4});
    drive.start(2);
    CHECK_HAZARD(drive.start(5), "write-after-write hazard", 5, 2, 9);
}
