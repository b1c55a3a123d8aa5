// Lowered programs, put together by hand, for the tests of the walk.
#pragma once

#include <cstdint>
#include <vector>

#include "minisim/walk.hpp"

namespace minisim {

// A lowered program: y = x w in `steps` steps for each of `columns` tiles of y, each operand loaded before each use.
// All tiles are 16 x 16 floats: 1,024 bytes.
struct Lowered {
    std::vector<UopRow> uops;
    std::vector<MatmulRow> matmuls;
    std::vector<VectorRow> vectors;
    std::vector<PieceRow> pieces;
    std::vector<TileRow> tiles;
    std::vector<TensorRow> tensors;
    bool resident_ok[8] = {}, sums[8] = {};
    std::vector<std::int64_t> ahead, horizon;
    std::uint32_t cores = 1, layers = 1;

    std::uint32_t tile(std::uint32_t tensor, std::uint32_t final = 0) {
        tiles.push_back({tensor, static_cast<std::uint32_t>(16 * tiles.size()), 0, 16, 16, final});
        return static_cast<std::uint32_t>(tiles.size() - 1);
    }
    std::uint32_t tensor() {
        TensorRow x{};
        x.storage = static_cast<std::uint32_t>(tensors.size());
        tensors.push_back(x);
        return x.storage;
    }
    void uop(Opcode opcode, std::uint32_t ref, std::uint16_t core = 0, std::uint32_t fetch = 0, std::uint32_t layer = 0) {
        uops.push_back({static_cast<std::uint8_t>(opcode), 0, core, layer, ref, fetch});
    }
    std::uint32_t matmul(std::uint32_t a, std::uint32_t b, std::uint32_t c, std::uint32_t step, bool last,
                         std::uint32_t acc = kNone) {
        MatmulRow x{};
        x.a = a;
        x.b = b;
        x.c = c;
        x.acc = acc;
        x.bias = x.residual = x.a_pieces = kNone;
        x.a_sram = x.b_sram = x.c_sram = x.bias_sram = x.residual_sram = x.acc_sram = kNone;
        x.m = x.k = x.n = 16;
        x.step = step;
        x.last = last;
        matmuls.push_back(x);
        return static_cast<std::uint32_t>(matmuls.size() - 1);
    }
    UopProgram view() {
        UopProgram found;
        found.uops = {uops.data(), uops.size()};
        found.matmuls = {matmuls.data(), matmuls.size()};
        found.vectors = {vectors.data(), vectors.size()};
        found.pieces = {pieces.data(), pieces.size()};
        found.tiles = {tiles.data(), tiles.size()};
        found.tensors = {tensors.data(), tensors.size()};
        ahead.resize(std::size_t{layers} * cores);
        horizon.resize(std::size_t{layers} * cores);
        found.resident_ok = resident_ok;
        found.sums = sums;
        found.ahead = ahead.data();
        found.horizon = horizon.data();
        found.layers = layers;
        found.cores = cores;
        return found;
    }
    // The operands' tables with their addresses, too; those of the program stay as they are.
    struct Placed : Walked {
        std::vector<MatmulRow> matmuls;
        std::vector<VectorRow> vectors;
        std::vector<PieceRow> pieces;
    };
    Placed walked(std::uint64_t sram, std::uint64_t accumulator = 0, bool keep = true) {
        const UopProgram schedule = view();
        schedule.check();
        Placed found{{}, matmuls, vectors, pieces};
        static_cast<Walked&>(found) =
            walk(schedule, {sram, accumulator, keep}, {found.matmuls.data(), found.vectors.data(), found.pieces.data()});
        return found;
    }
};

}  // namespace minisim
