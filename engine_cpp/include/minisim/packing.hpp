// Weights of 4 bits in blocks: how they lie in DRAM and in SRAM, and what they stand for. hwmodel/packing.py says what is
// modelled, and has `blocks_of` and the bytes once more.
#pragma once

#include <cstddef>
#include <cstdint>

#include "minisim/isa.hpp"

namespace minisim {

// Who makes numbers of the packed weights of a tensor.
enum class Unpacker : std::uint8_t { kNone = 0, kDma = 1, kArray = 2 };
constexpr std::uint32_t kUnpackers = 3;

// The zero point of blocks that have none of their own.
constexpr int kMiddle = 8;

inline bool is_packed(const TensorRow& x) { return x.packs != 0; }

// Whether the tiles of a tensor are packed in SRAM, too.
inline bool packed_on_chip(const TensorRow& x) {
    return is_packed(x) && static_cast<Unpacker>(x.unpacker) == Unpacker::kArray;
}

// Whether a load of such a tile passes the DMA's unpacker.
inline bool unpacked_by_dma(const TensorRow& x) {
    return is_packed(x) && static_cast<Unpacker>(x.unpacker) == Unpacker::kDma;
}

// Of blocks of `packs` weights, with scales of this type.
std::uint32_t block_bytes(std::uint32_t packs, DType scales, bool zeros);

// A rectangle of blocks: rows and columns of them, and where it begins.
struct Blocks {
    std::uint64_t row, col, rows, cols;
};

// All blocks that a tile has a weight of; of a tile that is a whole tensor all that there are.
Blocks blocks_of(const TileRow& t, const TensorRow& x);

// Of a packed tensor as it lies in DRAM: rows of blocks, and the bytes of one without padding.
std::uint64_t stored_rows(const TensorRow& x);
std::uint64_t stored_row_bytes(const TensorRow& x);

// The bytes that a tile takes in SRAM.
std::uint64_t packed_sram_bytes(const TileRow& t, const TensorRow& x);
inline std::uint64_t sram_bytes(const TileRow& t, const TensorRow& x) {
    if (packed_on_chip(x)) return packed_sram_bytes(t, x);
    return std::uint64_t{t.rows} * t.cols * item_size(static_cast<DType>(x.dtype));
}

// Makes numbers of the tensor's type of a tile's blocks, whose rows lie `pitch` bytes apart: packed (rows, cols).
//
//     w = (q - zero) x scale: a whole number, times the scale in fp32, rounded to fp32, and then to the type
void unpack(const TileRow& t, const TensorRow& x, const std::byte* blocks, std::size_t pitch, std::byte* to);

}  // namespace minisim
