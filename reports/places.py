"""Which tile was where on chip from when to when: what a run's occupancy and its flows of data are made of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from minisim.hwmodel import isa
from minisim.reports.run_record import RunRecord, once

Column = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Stays:
    """The stays of tiles in places on chip: from the operation that brings or makes one to the last that uses it there.

    Attributes:
        op: every use: operations, ascending in each stay; the first of a stay is what brings the tile, or makes it.
        first: where in `op` each stay begins.
        core, bytes: of each stay.
        begin, end: cycles: the start of its first operation, and when all of them had retired.
    """

    op: Column
    first: Column
    core: Column
    bytes: Column
    begin: Column
    end: Column

    @staticmethod
    @once
    def of(record: RunRecord) -> Stays:
        """All stays of a run."""
        schedule, t = record.schedule, record.timeline
        op, tile, address = accesses(schedule)
        core = schedule.stream["core"][op].astype(np.int64)
        place = core * (schedule.sram_bytes + schedule.accumulator_bytes + 1) + address
        order = np.lexsort((op, place * len(schedule.tiles) + tile))
        op, tile, place = op[order], tile[order], place[order]
        brought = schedule.stream["opcode"][op] == isa.Opcode.LOAD
        new = brought | (np.diff(place, prepend=-1) != 0) | (np.diff(tile, prepend=-1) != 0)
        first = np.flatnonzero(new)
        end = np.maximum.reduceat(t.end[op], first) if len(first) else first
        return Stays(op, first, core[order][first], schedule.tile_bytes()[tile[first]], t.start[op[first]], end)

    @cached_property
    def owner(self) -> Column:
        """Of each use its stay."""
        return np.cumsum(np.bincount(self.first, minlength=len(self.op))) - 1


def target_tiles(schedule: isa.Schedule) -> Column:
    """The tile that each operation moves or writes."""
    found = np.zeros(len(schedule), dtype=np.int64)
    for opcode, (table, column) in isa.TARGETS.items():
        mine = schedule.stream["opcode"] == opcode
        found[mine] = getattr(schedule, table)[column][schedule.stream["row"][mine]]
    return found


def accesses(schedule: isa.Schedule) -> tuple[Column, Column, Column]:
    """Operation, tile and address of every operand that lies on chip; of tiles in a stack those of the stack."""
    opcode, row = schedule.stream["opcode"], schedule.stream["row"]
    moves = np.flatnonzero(opcode <= isa.Opcode.STORE)
    found = [(moves, schedule.transfers["tile"][row[moves]], schedule.transfers["sram"][row[moves]])]
    for code, table, operands in ((isa.Opcode.EXECUTE, schedule.matmuls, isa.MATMUL_OPERANDS),
                                  (isa.Opcode.VECTOR, schedule.vectors, isa.VECTOR_OPERANDS)):  # fmt: skip
        ops = np.flatnonzero(opcode == code)
        x = table[row[ops]]
        for name in operands:
            used = (x[name] != isa.NONE) & (x[f"{name}_sram"] != isa.NONE)
            found.append((ops[used], x[name][used], x[f"{name}_sram"][used]))
        owner, pieces = isa.pieces_of(schedule.pieces, x)
        found.append((ops[owner], schedule.pieces["tile"][pieces], schedule.pieces["sram"][pieces]))
    op, tile, address = (np.concatenate([part[i] for part in found]).astype(np.int64) for i in range(3))
    return op, schedule.held()[tile], address - schedule.offsets()[tile]
