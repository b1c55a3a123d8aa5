"""Copies: a tile in the SRAM of one core. A tile that several cores use has several copies.

The scheduler's walk speaks of copies where the program speaks of tiles. With one core they are the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from minisim.compiler.program import Program
from minisim.hwmodel import isa
from minisim.hwmodel.isa import MATMUL_OPERANDS, NONE, VECTOR_OPERANDS, Opcode

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Copies:
    """The copies that a program uses, and its operands in terms of them.

    Attributes:
        tile: the tile of each copy.
        refs: what each uOp refers to: the copy that a LOAD or STORE moves; the row of an EXECUTE or VECTOR, as in the
            program.
        matmuls, vectors: the copy in each row, or NONE, by operand.
        pieces: the copy in each row of `pieces`.
    """

    tile: Ids
    refs: Ids
    matmuls: dict[str, Ids]
    vectors: dict[str, Ids]
    pieces: Ids

    @classmethod
    def of(cls, program: Program) -> Copies:
        opcode, refs, core = (program.uops[name].astype(np.int64) for name in ("opcode", "ref", "core"))
        moves, tiles = opcode <= Opcode.STORE, len(program.tiles)
        matmuls = _operands(program.matmuls, MATMUL_OPERANDS)
        vectors = _operands(program.vectors, VECTOR_OPERANDS)
        pieces = program.pieces["tile"].astype(np.int64)
        if program.cores == 1:
            return cls(np.arange(tiles, dtype=np.int64), refs, matmuls, vectors, pieces)
        keys = [core[moves] * tiles + refs[moves]]
        for code, table in ((Opcode.EXECUTE, matmuls), (Opcode.VECTOR, vectors)):
            of_row = np.zeros(len(next(iter(table.values()))), dtype=np.int64)
            of_row[refs[opcode == code]] = core[opcode == code]
            for name, column in table.items():
                table[name] = np.where(column == NONE, NONE, of_row * tiles + column)
                keys.append(table[name][column != NONE])
        keys.append(_core_of_pieces(program) * tiles + pieces)
        known = np.unique(np.concatenate(keys))
        refs[moves] = np.searchsorted(known, keys[0])
        for table in (matmuls, vectors):
            for name, column in table.items():
                table[name] = np.where(column == NONE, NONE, np.searchsorted(known, column))
        return cls(known % tiles, refs, matmuls, vectors, np.searchsorted(known, keys[-1]))

    def written(self, program: Program) -> Ids:
        """The copy that each uOp of `program` is about: the one moved, or the one that an operation writes."""
        opcode, found = program.uops["opcode"], self.refs.copy()
        target = np.where(isa.touches(program.matmuls, "c"), self.matmuls["c"], self.matmuls["acc"])
        for code, column in ((Opcode.EXECUTE, target), (Opcode.VECTOR, self.vectors["dst"])):
            found[opcode == code] = column[found[opcode == code]]
        return found


def _operands(table: isa.Table, names: tuple[str, ...]) -> dict[str, Ids]:
    return {name: table[name].astype(np.int64) for name in names}


def _core_of_pieces(program: Program) -> Ids:
    """The core of the operation that reads each piece."""
    found = np.zeros(len(program.pieces), dtype=np.int64)
    for opcode, table in ((Opcode.EXECUTE, program.matmuls), (Opcode.VECTOR, program.vectors)):
        uops, of_row = program.uops[program.uops["opcode"] == opcode], np.zeros(len(table), dtype=np.int64)
        of_row[uops["ref"]] = uops["core"]
        owner, pieces = isa.pieces_of(program.pieces, table)
        found[pieces] = of_row[owner]
    return found


def crossing(program: Program) -> npt.NDArray[np.bool_]:
    """Whether each tile is used by a core that did not write it: then the one that did must store it."""
    cores, tiles = program.uops["core"].astype(np.int64), len(program.tiles)
    found = np.zeros(tiles, dtype=bool)
    if program.cores == 1:
        return found
    writer = np.full(tiles, -1, dtype=np.int64)
    stores = program.uops["opcode"] == Opcode.STORE
    writer[program.uops["ref"][stores]] = cores[stores]
    loads = program.uops["opcode"] == Opcode.LOAD
    read = program.uops["ref"][loads]
    found[read[(writer[read] >= 0) & (writer[read] != cores[loads])]] = True
    return found
