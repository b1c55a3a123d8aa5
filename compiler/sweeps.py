"""Sweeps: equal panels of a convolution's output, walked row by row or column by column, and what they load.

A matmul's best panels are square (`panels.py`). A convolution reads each pixel once for every tap and has an input with
halos, so what is best depends on what stays in SRAM:

    by columns   for each column of panels, for each of its rows: the filters of the column stay, and halos
    by rows      for each row of panels, for each of its columns: the pixels of the row stay

Every second row (or column) is walked backwards, so that at its end nothing is loaded that is there. The walk is all
that is decided here. What really stays is the scheduler's decision, tile by tile; the estimate takes it to use all room
there is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from minisim.compiler.panels import AHEAD, BURSTS, SKEW, Budget, Pace, PanelPlan, Panels

Bytes = npt.NDArray[Any]


@dataclass(frozen=True)
class Source:
    """What the tiles of an output read of an input with halos.

    Attributes:
        first, last: of each row of output tiles, the first and the last row of input tiles that it reads.
        row_bytes: of a row of input tiles, all channels of a group.
        step_bytes: the same of the channels of a step.
        tile: bytes of an input tile.
        turnaround: cycles from the moment a place is free, through a load of a tile into it and its use, to its
            release.
        splits: whether steps split the taps of their channels: the next one reads the same tiles.
    """

    first: npt.NDArray[np.int64]
    last: npt.NDArray[np.int64]
    row_bytes: float
    step_bytes: float
    tile: int
    turnaround: float
    splits: bool


@dataclass(frozen=True)
class Work:
    """A grid of output tiles, and what must be done for it.

    Attributes:
        rows, cols: of output tiles.
        execute: cycles of the matrix unit for all of it.
        column_bytes: of the filters of one column of tiles.
        turnaround: of a tile of filters (`Source.turnaround`).
        stored: bytes of the output.
    """

    rows: int
    cols: int
    execute: float
    column_bytes: float
    turnaround: float
    stored: float


@dataclass(frozen=True)
class Candidate:
    """A plan with what it is estimated to take."""

    cycles: float
    loaded: float
    plan: PanelPlan


@lru_cache(maxsize=1024)
def parts(size: int) -> tuple[int, ...]:
    """The sizes that divide `size` into fewer pieces than the next smaller one does."""
    return tuple(sorted({-(-size // count) for count in range(1, size + 1)}))


def sweeps(work: Work, source: Source, budget: Budget, pace: Pace, most: int) -> list[Candidate]:
    """The estimate's best plans, at most so many, the best one first.

    All heights and widths of panels, and all bytes kept free, are looked at together, along the three axes of arrays.
    """
    ramped = budget.c * pace.store > pace.execute  # tiles are finished faster than they can be stored
    pns = np.array(parts(work.cols), dtype=np.int64)[:, None]
    aheads = np.unique(np.outer(AHEAD, (source.tile, budget.b)))
    memory = _Memory.of(work, source, pns, aheads, budget)
    found: list[tuple[float, float, int, int, int, bool]] = []
    for by_rows in (False, True):
        of_x, of_b = (_by_rows if by_rows else _by_columns)(work, memory, pns)
        waits = of_x * source.turnaround / np.maximum(aheads, 0.9 * source.tile)
        waits = waits + of_b * work.turnaround / np.maximum(aheads, 0.9 * budget.b)
        loaded = of_x + of_b
        cycles = _cycles(work, memory, pns, aheads, loaded, BURSTS * waits, budget, pace)
        cycles = np.where(memory.fits, cycles, np.inf)
        best = cycles.argmin(axis=2)
        for i, j in np.argwhere(memory.fits.any(axis=2)).tolist():
            at = best[i, j]
            pm, pn = int(memory.pms[i, 0, 0]), int(pns[j, 0])
            found.append((cycles[i, j, at], loaded[i, j, at], pm, pn, int(aheads[at]), by_rows))
    found.sort()
    return [
        Candidate(cycles, loaded, PanelPlan(_panels(work, pm, pn, by_rows), replace(budget, ahead=ahead), ramped))
        for cycles, loaded, pm, pn, ahead, by_rows in found[:most]
    ]


@dataclass(frozen=True)
class _Memory:
    """Panels of several heights (first axis) and widths (second), with bytes kept free (third).

    Attributes:
        pms, panels: the heights, in tiles, and how many rows of panels of each there are.
        room: bytes beside the sums and what is kept free.
        of_x, of_b: bytes of what a step needs of either operand at once.
        fits: whether there is room for that.
        read, widest: bytes of x of all rows of panels, all channels, and of the one that reads most.
        halo: bytes that a row of panels and the one before both read, on average.
        within: of them, bytes that are among what a step needs.
    """

    pms: Bytes
    panels: Bytes
    room: Bytes
    of_x: Bytes
    of_b: Bytes
    fits: npt.NDArray[np.bool_]
    read: Bytes
    widest: Bytes
    halo: Bytes
    within: Bytes

    @classmethod
    def of(cls, work: Work, source: Source, pns: Bytes, aheads: Bytes, budget: Budget) -> _Memory:
        """Heights up to the first at which nothing fits."""
        pms = parts(work.rows)
        seen = _seen(source.first.tobytes(), source.last.tobytes())
        panels, tall, shared, read, widest = (column[:, None, None] for column in seen.T)
        height = np.array(pms)[:, None, None]
        low = int((source.last - source.first).max()) + 1
        keeps_a = np.array([[[budget.keeps_a(pm, pn)] for pn in pns[:, 0].tolist()] for pm in pms])
        of_x = source.step_bytes * np.where(keeps_a | source.splits, tall, low)
        of_b = budget.b * np.where(keeps_a, -(-height // SKEW), pns)
        sums = height * pns * budget.sums
        room = budget.sram - budget.fixed - sums * (not budget.apart) - aheads
        fits = (room >= of_x + of_b) & (sums <= budget.for_sums)
        fits &= np.logical_and.accumulate(fits.any(axis=(1, 2)))[:, None, None]
        if budget.b > source.tile:  # holes between smaller tiles: one of filters finds no place in as much as it needs
            room = room - budget.b
        within = np.minimum(shared * source.step_bytes, of_x)
        return cls(height, panels, room, of_x, of_b, fits, read * source.row_bytes, widest * source.row_bytes,
                   shared * source.row_bytes, within)  # fmt: skip


@lru_cache(maxsize=128)
def _seen(firsts: bytes, lasts: bytes) -> Bytes:
    """Of panels of each height (`parts`), a row each: how many there are, and in rows of tiles of the input what the
    tallest one spans, what neighbours share on average, what all read, and what the one reads that reads most.

    Args:
        firsts, lasts: `Source.first` and `Source.last`: steps of k, and machines of other speeds, have the same.
    """
    every_first, every_last = np.frombuffer(firsts, np.int64), np.frombuffer(lasts, np.int64)
    found = []
    for pm in parts(len(every_first)):
        begin = np.arange(0, len(every_first), pm)
        first, last = np.minimum.reduceat(every_first, begin), np.maximum.reduceat(every_last, begin)
        read = last - first + 1.0
        shared = float(np.maximum(last[:-1] - first[1:] + 1, 0).mean()) if len(begin) > 1 else 0.0
        found.append((len(begin), int((last - first).max()) + 1, shared, read.sum(), read.max()))
    table = np.array(found)
    table.setflags(write=False)  # it is kept
    return table


def _stays(room: Bytes, size: Bytes | float, streams: Bytes) -> Bytes:
    """The bytes that are still there when they are needed again: all if there is room, else what `streams` leaves."""
    return np.where(room >= size, size, np.clip(room - streams, 0, size))


def _by_rows(work: Work, memory: _Memory, pns: Bytes) -> tuple[Bytes, Bytes]:
    """The bytes loaded of x and of filters, if what is needed again soonest stays as far as there is room."""
    rows, cols, widest = memory.panels, -(-work.cols // pns), memory.widest
    filters, all_filters = pns * work.column_bytes, work.cols * work.column_bytes
    x = _stays(memory.room - memory.of_b, widest, memory.of_x)
    turn = _stays(memory.room - memory.of_x + memory.within, filters + memory.halo, memory.of_b)
    beside = np.where(x >= widest, _stays(memory.room - widest, all_filters, memory.of_b), 0)
    halo = np.where(beside > 0, memory.halo, np.minimum(turn, memory.halo))
    loaded = memory.read * (1 + (cols - 1) * (1 - x / widest)) - (rows - 1) * halo
    return loaded, rows * all_filters - (rows - 1) * np.maximum(turn - halo, beside)


def _by_columns(work: Work, memory: _Memory, pns: Bytes) -> tuple[Bytes, Bytes]:
    """The bytes loaded, likewise."""
    rows, cols, widest = memory.panels, -(-work.cols // pns), memory.widest
    filters, all_filters = pns * work.column_bytes, work.cols * work.column_bytes
    narrow = all_filters - (cols - 1) * filters  # those of the last column, which may be narrower
    room = memory.room - memory.of_x + memory.within
    stays = (cols - 1) * _stays(room, filters + memory.halo, memory.of_b)
    stays = stays + _stays(room, narrow + memory.halo, memory.of_b)
    halo = np.minimum(stays, cols * memory.halo)
    all_x = memory.read - (rows - 1) * memory.halo
    beside = memory.room - np.where(rows > 1, filters, memory.of_b)
    turn = np.maximum(_stays(memory.room - memory.of_b, widest, memory.of_x), _stays(beside, all_x, memory.of_x))
    loaded = cols * memory.read - (rows - 1) * halo - (cols - 1) * turn
    return loaded, rows * all_filters - (rows - 1) * (stays - halo)


def _cycles(
    work: Work, memory: _Memory, pns: Bytes, aheads: Bytes, loaded: Bytes, waits: Bytes, budget: Budget, pace: Pace
) -> Bytes:
    """As `PanelPlan.cycles`, of many plans at once; `waits` for free places."""
    fixed = max(work.execute, work.stored * pace.store)
    moved = np.maximum(loaded * pace.load, (loaded + work.stored) * pace.dram)
    busy = np.maximum(np.maximum(moved, fixed), waits)
    panels = memory.panels * -(-work.cols // pns)
    left = memory.pms * pns * max(0.0, budget.c * pace.store - pace.execute)
    return np.asarray(busy + (panels - 1) * np.maximum(0.0, left - aheads * pace.load) + left)


def _panels(work: Work, pm: int, pn: int, by_rows: bool) -> Panels:
    """Row of panels behind row, or column behind column; each other one is walked backwards."""
    rows, cols = -(-work.rows // pm), -(-work.cols // pn)
    outer, inner = np.divmod(np.arange(rows * cols), cols if by_rows else rows)
    inner = np.where(outer % 2, (cols if by_rows else rows) - 1 - inner, inner)
    m, n = (outer, inner) if by_rows else (inner, outer)
    begins, ends = (m * pm, n * pn), (np.minimum((m + 1) * pm, work.rows), np.minimum((n + 1) * pn, work.cols))
    return Panels(np.stack([begins[0], ends[0], begins[1], ends[1]], axis=1))
