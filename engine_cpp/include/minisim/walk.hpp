// Scheduling: the naive program becomes one for a machine with an SRAM. compiler/passes/schedule.py says what is decided.
#pragma once

#include <cstdint>
#include <vector>

#include "minisim/grown.hpp"
#include "minisim/uops.hpp"

namespace minisim {

struct WalkMachine {
    std::uint64_t sram_bytes, accumulator_bytes;
    bool keep_on_chip;  // finished intermediates stay in SRAM for their consumers
};

// Where the operands' addresses are written to: the rows of the program's own tables, or copies of them.
struct Operands {
    MatmulRow* matmuls;
    VectorRow* vectors;
    PieceRow* pieces;
};

struct Walked {
    Grown<StreamRow> stream;
    Grown<TransferRow> transfers;
    Grown<SyncRow> syncs;
    std::vector<std::int64_t> peak, eliminated;  // by layer: bytes of the scratchpad used at most; LOADs dropped
    std::uint64_t live = 0;                      // bytes still held after the last operation
};

// `program` has been checked. Throws ScheduleError if the uOps make no sense: one stores a tile that is not in SRAM,
// or an operation's operands do not fit.
Walked walk(const UopProgram& program, const WalkMachine& machine, const Operands& placed);

}  // namespace minisim
