"""What a run had in use over time: bytes on chip, and bytes a cycle from and to the DRAM, in equal steps of cycles."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from minisim.reports.places import Stays
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
    stays = Stays.of(record)
    edges = edges_of(record.timeline.cycles)
    most = np.zeros(max(0, len(edges) - 1), dtype=np.int64)
    for core in np.unique(stays.core).tolist():
        mine = stays.core == core
        np.maximum(most, _highest(stays.begin[mine], stays.end[mine], stays.bytes[mine], edges), out=most)
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
