"""What a run had in use over time: bytes on chip, and bytes a cycle from and to the DRAM, in equal steps of cycles."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from minisim.reports.over_time import level, passed, step_edges
from minisim.reports.places import Stays
from minisim.reports.run_record import RunRecord

Column = npt.NDArray[np.int64]

STEPS = 480
"""Steps that a run is cut into, at most: about as many as a chart has pixels."""

MOST_OPERATIONS = 1_000_000
"""Operations of which it is found out which places they had in use; beyond that it takes longer than a moment."""


def edges_of(cycles: int) -> Column:
    """The cycles at which the steps of a run begin, and its end."""
    return step_edges(cycles, STEPS)


def bandwidth(record: RunRecord) -> dict[str, Any]:
    """Bytes that the DRAM read and wrote in each step, each transfer's spread evenly over its service."""
    t = record.timeline
    edges = edges_of(t.cycles)
    columns = [_whole(passed(t.dram_begin, t.dram_end, moved, edges)) for moved in record.dram_moved]
    peak = float(record.machine.dram_bytes_per_cycle)
    return {"edges": edges.tolist(), "read": columns[0], "written": columns[1], "peak": peak}


def _whole(until: npt.NDArray[np.float64]) -> list[int]:
    """What passed in each step, in whole bytes that add up to all of them."""
    steps: list[int] = np.diff(np.rint(until).astype(np.int64)).tolist()
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
    moments, total = level(begin, end, size)
    at = np.searchsorted(moments, edges[:-1], side="right") - 1  # the level with which each step begins
    highest = np.where(at >= 0, total[at], 0) if len(total) else np.zeros(len(at), dtype=np.int64)
    step = np.searchsorted(edges, moments, side="right") - 1
    inside = step < len(highest)
    np.maximum.at(highest, step[inside], total[inside])
    return highest
