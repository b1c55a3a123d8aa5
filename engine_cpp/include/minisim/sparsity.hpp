// Structured sparsity: how compressed weights lie in DRAM, and how many steps of k they keep. hwmodel/sparsity.py says
// what is modelled, and has the same once more.
#pragma once

#include <algorithm>
#include <cstdint>

#include "minisim/burst_port.hpp"
#include "minisim/packing.hpp"
#include "minisim/schedule.hpp"

namespace minisim {

inline std::int64_t kept(std::int64_t steps, const TensorRow& x) {
    return steps / x.block * x.keeps + std::min<std::int64_t>(steps % x.block, x.keeps);
}

struct KeptSpan {
    std::int64_t first, count;  // of kept steps
};

// Of all blocks that a tile of a compressed tensor has a step of.
inline KeptSpan kept_span(const TileRow& t, const TensorRow& x) {
    const std::int64_t begin = x.across ? t.col : t.row, end = begin + (x.across ? t.cols : t.rows);
    const std::int64_t depth = x.across ? x.cols : x.rows, block = x.block;
    const std::int64_t first = begin / block * x.keeps;
    return {first, kept(std::min((end + block - 1) / block * block, depth), x) - first};
}

// The steps of k that a tile keeps; 0 if it is not compressed.
inline std::int64_t kept_steps(const Schedule& schedule, std::uint32_t tile) {
    const TileRow& t = schedule.tiles[tile];
    const TensorRow& x = schedule.tensors[t.tensor];
    return x.keeps ? kept_span(t, x).count : 0;
}

// Where a tile lies in DRAM.
inline Rectangle rectangle_of(const Schedule& schedule, std::uint32_t tile) {
    const TileRow& t = schedule.tiles[tile];
    const TensorRow& x = schedule.tensors[t.tensor];
    const std::int64_t item = item_size(static_cast<DType>(x.dtype));
    const std::int64_t base = static_cast<std::int64_t>(x.address) + t.moved, pitch = x.pitch;
    if (is_packed(x)) {
        const Blocks blocks = blocks_of(t, x);
        const auto row = static_cast<std::int64_t>(blocks.row), col = static_cast<std::int64_t>(blocks.col);
        const std::int64_t row_bytes = static_cast<std::int64_t>(blocks.cols) * x.block_bytes;
        return {base + row * pitch + col * x.block_bytes, row_bytes, static_cast<std::int64_t>(blocks.rows), pitch};
    }
    if (!x.keeps) return {base + t.row * pitch + t.col * item, t.cols * item, t.rows, pitch};
    const std::int64_t bits = x.metadata_bits;
    const auto size = [&](std::int64_t cols) { return cols * item + (cols * bits + 7) / 8; };
    const KeptSpan span = kept_span(t, x);
    const std::int64_t row = x.across ? t.row : span.first, col = x.across ? span.first : t.col;
    const std::int64_t row_pitch = size(x.across ? kept(x.cols, x) : x.cols);
    return {base + row * row_pitch + col * item + col * bits / 8, size(x.across ? span.count : t.cols),
            x.across ? t.rows : span.count, row_pitch};
}

}  // namespace minisim
