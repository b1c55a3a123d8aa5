"""How much memory a program needs: the bytes of its tiles, and the least that can run it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from minisim.compiler.program import Program
from minisim.hwmodel import isa
from minisim.hwmodel.cost import accumulator_sizes
from minisim.hwmodel.isa import Opcode


def tile_sizes(program: Program) -> npt.NDArray[np.int64]:
    """The bytes that each tile takes in SRAM, alignment included."""
    item = isa.item_sizes()[program.tensors["dtype"][program.tiles["tensor"]]]
    size = program.tiles["rows"].astype(np.int64) * program.tiles["cols"] * item
    return np.asarray(-(-size // isa.ALIGNMENT) * isa.ALIGNMENT)


def place_sizes(program: Program, sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The bytes of the place that each tile takes: a ragged one takes the place of a full one if it fills half of it.

    So one tensor's tiles can follow each other in the same places. Tiles of partial sums always take full ones.
    """
    tensor = program.tiles["tensor"]
    largest = np.zeros(len(program.tensors), dtype=np.int64)
    np.maximum.at(largest, tensor, sizes)
    full = largest[tensor]
    return np.where(program.sums[tensor] | (2 * sizes >= full), full, sizes)


def bytes_needed(program: Program, sizes: npt.NDArray[np.int64], sums_apart: bool = False) -> tuple[int, str]:
    """The least scratchpad that can run `program`, and the layer that needs it.

    Args:
        sums_apart: the tiles of partial sums lie in the accumulator memory.
    """
    padded = np.append(sizes, 0)  # the last entry stands for NONE

    def total(table: isa.Table, operands: Sequence[str]) -> npt.NDArray[np.int64]:
        return sum((padded[np.minimum(table[name], len(sizes))] for name in operands), np.zeros(len(table), np.int64))

    x = program.matmuls
    of_matmul = total(x, ("a", "b", "bias", "residual")) + total(x, ("c",)) * isa.touches(x, "c")
    of_matmul += total(x, ("acc",)) * (isa.touches(x, "acc") & (not sums_apart))
    owner, pieces = isa.pieces_of(program.pieces, x)
    np.add.at(of_matmul, owner, sizes[program.pieces["tile"][pieces]])
    of_vector = total(program.vectors, isa.VECTOR_OPERANDS)
    owner, pieces = isa.pieces_of(program.pieces, program.vectors)
    np.add.at(of_vector, owner, sizes[program.pieces["tile"][pieces]])
    return _most(program, of_matmul, of_vector)


def sums_needed(program: Program) -> tuple[int, str]:
    """The least accumulator memory that can run `program`, and the layer that needs it.

    All sums of an array that has such a memory pass through it, also those of an operation that is the only step
    and therefore leaves none behind.
    """
    x = program.matmuls
    size = x["m"].astype(np.int64) * x["n"] * accumulator_sizes()[x["dtype"]]
    aligned = -(-size // isa.ALIGNMENT) * isa.ALIGNMENT
    return _most(program, aligned, np.zeros(len(program.vectors), dtype=np.int64))


def _most(program: Program, of_matmul: npt.NDArray[np.int64], of_vector: npt.NDArray[np.int64]) -> tuple[int, str]:
    """The most that a row of either table needs, and the layer of the first uOp that does."""
    need = np.zeros(len(program.uops), dtype=np.int64)
    opcode, ref = program.uops["opcode"], program.uops["ref"]
    for code, of_row in ((Opcode.EXECUTE, of_matmul), (Opcode.VECTOR, of_vector)):
        need[opcode == code] = of_row[ref[opcode == code]]
    if not len(need):
        return 0, ""
    worst = int(np.argmax(need))
    return int(need[worst]), program.layer_names[program.uops["layer"][worst]]
