"""What a run had in use over time: bytes on chip, and bytes a cycle from and to the DRAM, in equal steps of cycles."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from minisim.hwmodel import isa
from minisim.reports.run_record import RunRecord

Column = npt.NDArray[np.int64]

STEPS = 480
"""Steps that a run is cut into, at most: about as many as a chart has pixels."""

MOST_OPERATIONS = 1_000_000
"""Operations of which it is found out which places they had in use; beyond that it takes longer than a moment."""


def edges_of(cycles: int) -> Column:
    """The cycles at which the steps of a run begin, and its end."""
    return np.unique(np.linspace(0, cycles, min(STEPS, max(1, cycles)) + 1).astype(np.int64))


def bandwidth(record: RunRecord) -> dict[str, Any]:
    """Bytes that the DRAM read and wrote in each step, each transfer's spread evenly over its service."""
    t = record.timeline
    edges = edges_of(t.cycles)
    served = t.dram_end > t.dram_begin
    columns = [_spread(t.dram_begin[served], t.dram_end[served], moved[served], edges) for moved in record.dram_moved]
    peak = float(record.machine.dram_bytes_per_cycle)
    return {"edges": edges.tolist(), "read": columns[0], "written": columns[1], "peak": peak}


def _spread(begin: Column, end: Column, amount: Column, edges: Column) -> list[int]:
    """Of amounts, each spread evenly over [begin, end), what falls between two edges; the sum is exact."""
    rate = amount / (end - begin)
    sums = np.zeros(len(edges))
    for points, sign in ((begin, 1.0), (end, -1.0)):
        at = np.searchsorted(edges, points)  # from this edge on it counts
        height = np.bincount(at, sign * rate, len(edges) + 1).cumsum()[: len(edges)]
        moment = np.bincount(at, sign * rate * points, len(edges) + 1).cumsum()[: len(edges)]
        sums += height * edges - moment
    until = np.rint(sums).astype(np.int64)
    if len(until):
        until[-1] = int(amount.sum())
    steps: list[int] = np.diff(until).tolist()
    return steps


def occupancy(record: RunRecord) -> dict[str, Any] | None:
    """The most bytes in use within each step, on the core that has most; None if there are too many operations.

    A tile's place is in use from the start of the operation that brings or makes it to the end of the last one that
    reads it there.
    """
    if len(record.schedule) > MOST_OPERATIONS:
        return None
    core, begin, end, size = _stays(record)
    edges = edges_of(record.timeline.cycles)
    most = np.zeros(max(0, len(edges) - 1), dtype=np.int64)
    for each in np.unique(core).tolist():
        mine = core == each
        np.maximum(most, _highest(begin[mine], end[mine], size[mine], edges), out=most)
    capacity = record.machine.sram.bytes + record.machine.accumulator.bytes
    return {"edges": edges.tolist(), "bytes": most.tolist(), "capacity": capacity}


def _highest(begin: Column, end: Column, size: Column, edges: Column) -> Column:
    """The greatest sum of sizes at any moment of each step."""
    moments = np.concatenate([begin, end])
    changes = np.concatenate([size, -size])
    order = np.argsort(moments)
    moments, level = moments[order], np.cumsum(changes[order])
    last = np.append(moments[1:] != moments[:-1], True)[: len(moments)]  # what ends at a moment makes room at once
    moments, level = moments[last], level[last]
    at = np.searchsorted(moments, edges[:-1], side="right") - 1  # the level with which each step begins
    highest = np.where(at >= 0, level[at], 0) if len(level) else np.zeros(len(at), dtype=np.int64)
    step = np.searchsorted(edges, moments, side="right") - 1
    inside = step < len(highest)
    np.maximum.at(highest, step[inside], level[inside])
    return highest


def _stays(record: RunRecord) -> tuple[Column, Column, Column, Column]:
    """Core, first cycle, end and bytes of each stay of a tile in a place on chip."""
    schedule, t = record.schedule, record.timeline
    op, tile, address = _accesses(schedule)
    core = schedule.stream["core"][op].astype(np.int64)
    place = core * (schedule.sram_bytes + schedule.accumulator_bytes + 1) + address
    order = np.lexsort((op, place * len(schedule.tiles) + tile))
    op, tile, place, core = op[order], tile[order], place[order], core[order]
    brought = schedule.stream["opcode"][op] == isa.Opcode.LOAD
    first = np.flatnonzero(brought | (np.diff(place, prepend=-1) != 0) | (np.diff(tile, prepend=-1) != 0))
    if not len(first):
        return core, op, op, op
    return core[first], t.start[op[first]], np.maximum.reduceat(t.end[op], first), schedule.tile_bytes()[tile[first]]


def _accesses(schedule: isa.Schedule) -> tuple[Column, Column, Column]:
    """Operation, tile and address of every operand that lies on chip."""
    opcode, row = schedule.stream["opcode"], schedule.stream["row"]
    found: list[tuple[Column, Column, Column]] = []
    moves = np.flatnonzero(opcode <= isa.Opcode.STORE)
    found.append((moves, schedule.transfers["tile"][row[moves]], schedule.transfers["sram"][row[moves]]))
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
    return op, tile, address
