// What help() says of the walk. Part of bindings.cpp.
#pragma once

namespace minisim::doc {

constexpr char kWalk[] =
    R"(Give the tiles of a lowered program addresses, and its operations waits: the walk of `minisim.compiler.passes.schedule`.

Args:
    program: the tables of a minisim.compiler.program.Program; the operands' addresses are written to its matmuls, vectors
        and pieces.
    keep_on_chip: whether finished intermediates stay in SRAM for their consumers.

Returns:
    the columns of a Schedule by name: stream, transfers, syncs; "peak" and "eliminated", int64
    of shape (layers,): the bytes of the scratchpad used at most, and the LOADs dropped; "live": bytes still held in the end.

Raises:
    ScheduleError: a reference of the program leads nowhere, or its operands do not fit.)";

constexpr char kMemoryNeeded[] =
    R"(The least memories that can run a lowered program, each with the number of the first layer that needs it.

Args:
    program: as for `walk`.
    sums_apart: whether the tiles of partial sums lie in the accumulator memory.

Returns:
    bytes and layer of the scratchpad, then of the accumulator memory; 0 bytes if nothing is needed.

Raises:
    ScheduleError: a reference of the program leads nowhere.)";

constexpr char kPlaceSizes[] =
    R"(The bytes of the place in SRAM that each tile of a lowered program takes: int64 of shape (tiles,).

A ragged tile takes the place of a full one of its tensor if it fills half of it; one of partial sums always does.

Raises:
    ScheduleError: a reference of the program leads nowhere.)";

}  // namespace minisim::doc
