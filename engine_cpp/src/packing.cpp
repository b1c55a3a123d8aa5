#include "minisim/packing.hpp"

#include <algorithm>
#include <cstring>

#include "minisim/interrupt.hpp"
#include "minisim/narrow.hpp"

namespace minisim {
namespace {

template <class T>
T value_at(const std::byte* from) {
    T value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

float scale_at(const std::byte* from, DType dtype) {
    switch (dtype) {
        case DType::kBf16: return widen(value_at<Bf16>(from));
        case DType::kFp16: return widen(value_at<Fp16>(from));
        default: return value_at<float>(from);
    }
}

void put(float value, DType dtype, std::byte* to) {
    const auto copy = [&](auto found) { std::memcpy(to, &found, sizeof found); };
    switch (dtype) {
        case DType::kBf16: copy(narrow(value)); break;
        case DType::kFp16: copy(narrow_to_fp16(value)); break;
        default: copy(value);
    }
}

// What the sixteen values of a block's weights stand for, in the bytes of a type.
struct Values {
    std::byte bytes[16][sizeof(float)];

    Values(const std::byte* block, const TensorRow& x, DType dtype) {
        const std::byte* behind = block + (x.packs + 1) / 2;
        const auto scales = static_cast<DType>(x.scales);
        const float scale = scale_at(behind, scales);
        const int zero = x.zeros ? std::to_integer<int>(behind[item_size(scales)]) : kMiddle;
        for (int q = 0; q < 16; ++q) put(static_cast<float>(q - zero) * scale, dtype, bytes[q]);
    }
};

}  // namespace

std::uint32_t block_bytes(std::uint32_t packs, DType scales, bool zeros) {
    return (packs + 1) / 2 + item_size(scales) + (zeros ? 1 : 0);
}

Blocks blocks_of(const TileRow& t, const TensorRow& x) {
    const std::uint64_t begin = x.across ? t.col : t.row, end = begin + (x.across ? t.cols : t.rows);
    const std::uint64_t first = begin / x.packs, count = (end + x.packs - 1) / x.packs - first;
    return x.across ? Blocks{t.row, first, t.rows, count} : Blocks{first, t.col, count, t.cols};
}

std::uint64_t stored_rows(const TensorRow& x) {
    return blocks_of({0, 0, 0, x.rows, x.cols, 0}, x).rows;
}

std::uint64_t stored_row_bytes(const TensorRow& x) {
    return blocks_of({0, 0, 0, x.rows, x.cols, 0}, x).cols * x.block_bytes;
}

std::uint64_t packed_sram_bytes(const TileRow& t, const TensorRow& x) {
    const Blocks blocks = blocks_of(t, x);
    return blocks.rows * blocks.cols * x.block_bytes;
}

void unpack(const TileRow& t, const TensorRow& x, const std::byte* from, std::size_t pitch, std::byte* to) {
    const Blocks blocks = blocks_of(t, x);
    const auto dtype = static_cast<DType>(x.dtype);
    const std::size_t item = item_size(dtype), step = (x.across ? 1 : t.cols) * item;  // from weight to weight
    const std::uint64_t begin = x.across ? t.col : t.row, end = begin + (x.across ? t.cols : t.rows);
    for (std::uint64_t row = 0; row < blocks.rows; ++row, from += pitch) {
        interruptible(blocks.cols * x.packs);
        for (std::uint64_t col = 0; col < blocks.cols; ++col) {
            const std::byte* block = from + col * x.block_bytes;
            const Values values(block, x, dtype);
            const std::uint64_t at = (x.across ? blocks.col + col : blocks.row + row) * x.packs;  // its first step of k
            const std::uint64_t first = std::max(at, begin), last = std::min(at + x.packs, end);
            std::byte* out = to + (x.across ? row * t.cols + (first - begin) : (first - begin) * t.cols + col) * item;
            for (std::uint64_t k = first; k < last; ++k, out += step) {
                const int pair = std::to_integer<int>(block[(k - at) / 2]);
                std::memcpy(out, values.bytes[(k - at) % 2 ? pair >> 4 : pair & 15], item);
            }
        }
    }
}

}  // namespace minisim
