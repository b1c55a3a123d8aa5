"""Scheduling: the naive program becomes one for a machine with an SRAM.

The uOps are walked once, in order. A LOAD of a tile that is already in SRAM is dropped; another gets an
address, if need be that of the tile whose next use is farthest away (Belady 1966: the compiler knows the
future, so it can). A tile whose content exists nowhere else is stored before its place is given away. A
tile is freed after its last use. Finished intermediates stay in SRAM for their consumers.

Partial sums that have tiles of their own (`acc` in isa.py) live in the accumulator memory, if the machine has one:
a second allocator, with addresses behind the scratchpad's. A tile of sums is placed by the first step and freed by
the last. There all tiles of a layer, ragged ones too, take places of one size. Panels have no more tiles than there are
slots, so nothing is spilled; of a program that was cut for other sizes, sums are spilled and reloaded like any tile.

Order between the queues comes out of the same walk: whoever takes a place waits for all who used it
before, and whoever reads a tile waits for the operation that wrote it (see `wait` in isa.py).

Each core has an SRAM of its own, and a copy of each tile it uses. A finished tile that another core reads is
stored, and the other's LOAD waits for that store (see `syncs` in isa.py). That is all that cores have to wait for
of each other: one core writes all versions of a tile, so no other ever reads a partial sum or overwrites anything.

The walk runs in the engine (ADR 36): `walk.cpp` decides for one uOp after the other, `uops.hpp` says which copies
there are and when each is used next, `places.hpp` allocates, `candidates.hpp` knows what may be evicted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from minisim._engine import memory_needed, walk
from minisim.compiler.program import Program
from minisim.errors import NoRoomError
from minisim.hwmodel import isa
from minisim.hwmodel.config import Machine


@dataclass(frozen=True)
class Allocate:
    """Program -> Schedule.

    Args:
        in_place: the program is not needed any more: its operands' tables become the schedule's, without a copy.

    Raises:
        NoRoomError: the SRAM, or the accumulator memory, is too small for one operation's operands.
    """

    machine: Machine
    in_place: bool = False
    name: str = "schedule"

    def apply(self, program: Program) -> isa.Schedule:
        check_room(program, self.machine)
        sram, accumulator = self.machine.sram.bytes, self.machine.accumulator.bytes
        placed = program if self.in_place else _with_own_operands(program)
        found = walk(placed, sram, accumulator, self.machine.compiler.keep_on_chip)
        layers = program.layers.copy()
        layers["sram_peak"] = found.pop("peak")
        layers["loads_eliminated"] = found.pop("eliminated")
        return isa.Schedule(
            sram_final_live_bytes=found.pop("live"),
            **found,
            matmuls=placed.matmuls,
            vectors=placed.vectors,
            pieces=placed.pieces,
            windows=program.windows.copy(),
            convolutions=program.convolutions.copy(),
            tiles=program.tiles.copy(),
            tensors=program.tensors.copy(),
            layers=layers,
            tensor_names=program.tensor_names,
            layer_names=program.layer_names,
            layer_ops=program.layer_ops,
            sram_bytes=sram,
            model_name=program.name,
            accumulator_bytes=accumulator,
            cores=program.cores,
        )


def check_room(program: Program, machine: Machine) -> None:
    """Check that a machine has room for each operation's operands.

    Raises:
        NoRoomError: its SRAM, or its accumulator memory, is too small for one of them.
    """
    sram, accumulator = machine.sram.bytes, machine.accumulator.bytes
    needed = Needed.of(program, sums_apart=accumulator > 0)
    if needed.scratchpad > sram:
        raise NoRoomError(
            f"sram.bytes: layer {needed.scratchpad_layer!r} needs at least {needed.scratchpad} bytes for the "
            f"operands of one operation, not {sram}",
            needed.scratchpad,
            sram,
        )
    if accumulator and needed.accumulator > accumulator:
        raise NoRoomError(
            f"accumulator.bytes: layer {needed.accumulator_layer!r} needs at least {needed.accumulator} bytes for "
            f"the sums of one operation, not {accumulator}",
            needed.accumulator,
            accumulator,
        )


def _with_own_operands(program: Program) -> Program:
    return replace(
        program,
        matmuls=program.matmuls.copy(),
        vectors=program.vectors.copy(),
        pieces=program.pieces.copy(),
    )


@dataclass(frozen=True)
class Needed:
    """The least memories, in bytes, that can run a program, each with the first layer that needs it; "" if none does.

    All sums of an array that has an accumulator memory pass through it, also those of an operation that is the only
    step and therefore leaves none behind.
    """

    scratchpad: int
    scratchpad_layer: str
    accumulator: int
    accumulator_layer: str

    @classmethod
    def of(cls, program: Program, sums_apart: bool) -> Needed:
        """`sums_apart`: the tiles of partial sums lie in the accumulator memory."""
        scratchpad, first, accumulator, second = memory_needed(program, sums_apart)
        names = (*program.layer_names, "")
        return cls(scratchpad, names[first] if scratchpad else "", accumulator, names[second] if accumulator else "")
