// The tables of a program, owned: nobody else can change or free what the engine works on.
#pragma once

#include <vector>

#include "minisim/schedule.hpp"

namespace minisim {

struct Tables {
    std::vector<StreamRow> stream;
    std::vector<TransferRow> transfers;
    std::vector<MatmulRow> matmuls;
    std::vector<VectorRow> vectors;
    std::vector<TileRow> tiles;
    std::vector<TensorRow> tensors;
    std::vector<SyncRow> syncs;
    std::vector<PieceRow> pieces;
    std::vector<WindowRow> windows;
    std::vector<ConvolutionRow> convolutions;

    // Valid until the next change.
    Schedule view() const {
        return {{stream.data(), stream.size()},   {transfers.data(), transfers.size()},
                {matmuls.data(), matmuls.size()}, {vectors.data(), vectors.size()},
                {tiles.data(), tiles.size()},     {tensors.data(), tensors.size()},
                {syncs.data(), syncs.size()},     {pieces.data(), pieces.size()},
                {windows.data(), windows.size()}, {convolutions.data(), convolutions.size()}};
    }
};

}  // namespace minisim
