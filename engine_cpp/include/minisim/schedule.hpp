// The Schedule as the engine sees it: columns, in tables.hpp's memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "minisim/isa.hpp"
#include "minisim/packing.hpp"

namespace minisim {

template <class Row>
struct Table {
    const Row* rows = nullptr;
    std::size_t size = 0;

    const Row& operator[](std::size_t i) const { return rows[i]; }
    const Row* begin() const { return rows; }
    const Row* end() const { return rows + size; }
};

// The tile in whose place a tile lies: itself, or the stack that it is rows of.
inline std::uint32_t held(const Table<TileRow>& tiles, std::uint32_t tile) { return tile - tiles[tile].stack; }
// Rows of the stack before those of a tile in it; 0 of one that lies by itself.
inline std::uint64_t rows_above(const Table<TileRow>& tiles, std::uint32_t tile) {
    return tiles[tile].stack == 0 ? 0 : tiles[tile].row - tiles[held(tiles, tile)].row;
}
// Writes of the stack that come before those of a tile in it, as its tiles are made from the first to the last.
inline std::uint32_t made_before(const Table<TileRow>& tiles, std::uint32_t tile) {
    return tiles[tile].part * tiles[tile].final;
}
// The version of a stack of which pages were loaded, but not yet all: this, and how many.
constexpr std::uint32_t kSomePages = 0x80000000u;

// A tile's content: version 0 is what the user supplied, and every write adds one.
struct Content {
    std::uint32_t tile;
    std::uint32_t version;
};

inline bool operator==(Content x, Content y) { return x.tile == y.tile && x.version == y.version; }
inline bool operator!=(Content x, Content y) { return !(x == y); }

// Borrowed tables, and the few questions that several parts ask of them. Every accessor trusts
// its arguments and the tables: validate.hpp checks them once, before anything else looks.
struct Schedule {
    Table<StreamRow> stream;
    Table<TransferRow> transfers;
    Table<MatmulRow> matmuls;
    Table<VectorRow> vectors;
    Table<TileRow> tiles;
    Table<TensorRow> tensors;
    Table<SyncRow> syncs;
    Table<PieceRow> pieces;
    Table<WindowRow> windows;
    Table<ConvolutionRow> convolutions;

    Opcode opcode(std::size_t op) const { return static_cast<Opcode>(stream[op].opcode); }
    Queue queue(std::size_t op) const { return static_cast<Queue>(stream[op].queue); }
    // The queues of all cores, numbered core by core.
    std::size_t lane(std::size_t op) const {
        return std::size_t{stream[op].core} * kQueues + stream[op].queue;
    }
    const TransferRow& transfer(std::size_t op) const { return transfers[stream[op].row]; }
    const MatmulRow& matmul(std::size_t op) const { return matmuls[stream[op].row]; }
    const VectorRow& vector(std::size_t op) const { return vectors[stream[op].row]; }

    DType dtype_of_tile(std::uint32_t tile) const {
        return static_cast<DType>(tensors[tiles[tile].tensor].dtype);
    }
    const TensorRow& tensor_of(std::uint32_t tile) const { return tensors[tiles[tile].tensor]; }
    // That a tile takes in SRAM.
    std::uint64_t tile_bytes(std::uint32_t tile) const { return sram_bytes(tiles[tile], tensor_of(tile)); }
    // The tile in whose place a tile lies: itself, or the stack that it is rows of.
    std::uint32_t held(std::uint32_t tile) const { return minisim::held(tiles, tile); }
    // The bytes of a stack before those of a tile in it; 0 of one that lies by itself.
    std::uint64_t offset(std::uint32_t tile) const {
        return rows_above(tiles, tile) * tiles[tile].cols * item_size(dtype_of_tile(tile));
    }
    std::uint32_t made_before(std::uint32_t tile) const { return minisim::made_before(tiles, tile); }
    // Visits the rows of a run that begins at `first`, which the validator has followed to its end.
    template <class Row, class Visit>
    static void for_each(const Table<Row>& table, std::uint32_t first, Visit visit) {
        bool more = first != kNone;
        for (std::size_t i = first; more; ++i) {
            visit(table[i]);
            more = table[i].more != 0;
        }
    }
    template <class Visit>
    void for_each_piece(const MatmulRow& x, Visit visit) const {
        for_each(pieces, x.a_pieces, visit);
    }
    template <class Visit>
    void for_each_piece(const VectorRow& x, Visit visit) const {
        for_each(pieces, x.src0_pieces, visit);
    }
    template <class Visit>
    void for_each_window(const PieceRow& piece, Visit visit) const {
        for_each(windows, piece.window, visit);
    }

    bool is_final(Content content) const { return content.version == tiles[content.tile].final; }

    // Whether a matmul reads or writes its c, and its acc.
    static bool touches_c(const MatmulRow& x) { return x.acc == kNone || x.last != 0; }
    static bool touches_acc(const MatmulRow& x) {
        return x.acc != kNone && (x.last == 0 || x.step > 0);
    }

    // What an operation leaves behind at its target.
    Content result(std::size_t op) const;

    // For messages: "EXECUTE (op 12)", "tensor 3 [0:32, 32:64]".
    std::string op_name(std::size_t op) const;
    std::string tile_name(std::uint32_t tile) const;
    std::string content_name(Content content) const;
};

// In the header, as every access of every operation asks for it.
inline Content Schedule::result(std::size_t op) const {
    switch (opcode(op)) {
        case Opcode::kLoad: {
            const TransferRow& x = transfer(op);
            const std::uint32_t stack = held(x.tile);
            const TileRow &t = tiles[x.tile], &whole = tiles[stack];
            const bool is_last = std::uint64_t{t.row} + t.rows == std::uint64_t{whole.row} + whole.rows;
            return {stack, is_last ? x.version : kSomePages | (t.part + 1)};
        }
        case Opcode::kStore: return {transfer(op).tile, transfer(op).version};
        case Opcode::kExecute: {
            const MatmulRow& x = matmul(op);
            if (!touches_c(x)) return {x.acc, x.step + 1};
            return {held(x.c), made_before(x.c) + (x.acc == kNone ? x.step + 1 : 1)};
        }
        case Opcode::kVector: return {vector(op).dst, 1};
    }
    return {kNone, 0};
}

const char* opcode_name(Opcode opcode);
const char* dtype_name(DType dtype);
Queue queue_of(Opcode opcode);

}  // namespace minisim
