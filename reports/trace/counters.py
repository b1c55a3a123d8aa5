"""The counters of a trace: operations in each queue, bytes in use of each SRAM, and the bandwidth of the DRAM."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from minisim.reports.over_time import level, passed, step_edges
from minisim.reports.places import Stays
from minisim.reports.run_record import RunRecord
from minisim.reports.trace.tracks import DRAM_BYTES, IN_SRAM, QUEUED

Cycles = npt.NDArray[np.int64]

POINTS = 10_000
"""The most points of a counter: of more only the highest in each of so many equal steps is told."""

STEPS = 2_000
"""Steps of the run over which the DRAM's bandwidth is the mean."""

SHORTEST = 16
"""Cycles that such a step has at least."""

STAYS = 2_000_000
"""Operations of which it is found out what they have in SRAM; beyond that it takes longer than a moment."""


@dataclass(frozen=True)
class Counter:
    """Values of a counter's track: each from its cycle on."""

    track: int
    at: Cycles
    value: npt.NDArray[np.int64] | npt.NDArray[np.float64]


def all_counters(record: RunRecord) -> Iterator[Counter]:
    """All counters of a run."""
    t = record.timeline
    for lane, ops in enumerate(record.schedule.lane_ops()):
        if len(ops):
            at, depth = level(t.issue[ops], t.start[ops], np.ones(len(ops), dtype=np.int64))
            yield Counter(QUEUED + lane, *highest(at, depth, t.cycles))
    if len(record.schedule) <= STAYS:
        stays = Stays.of(record)
        for core in np.unique(stays.core).tolist():
            mine = stays.core == core
            in_use = level(stays.begin[mine], stays.end[mine], stays.bytes[mine])
            yield Counter(IN_SRAM + core, *highest(*in_use, t.cycles))
    for i, moved in enumerate(record.dram_moved):
        if moved.any():
            yield Counter(DRAM_BYTES + i, *bandwidth(t.dram_begin, t.dram_end, moved, t.cycles))


def highest(at: Cycles, value: Cycles, cycles: int) -> tuple[Cycles, Cycles]:
    """The same; of too many points the highest of each step of the run."""
    if len(at) <= POINTS:
        return at, value
    step = at * POINTS // (cycles + 1)
    first = np.flatnonzero(np.diff(step, prepend=-1))
    return at[first], np.maximum.reduceat(value, first)


def bandwidth(begin: Cycles, end: Cycles, moved: Cycles, cycles: int) -> tuple[Cycles, npt.NDArray[np.float64]]:
    """Bytes a cycle in each of the run's steps, those of each transfer spread evenly over its service."""
    edges = step_edges(cycles, STEPS, SHORTEST)
    mean = np.append(np.diff(passed(begin, end, moved, edges)) / np.diff(edges), 0.0)
    changed = np.diff(mean, prepend=-1.0) != 0
    return edges[changed], mean[changed]
