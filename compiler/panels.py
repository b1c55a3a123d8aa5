"""Panels: the order in which a matmul's tiles are walked, so that little data moves and nobody waits.

The output is cut into rectangular *panels* of tiles. Inside a panel k is the outer loop: the panel's
accumulators stay in SRAM, and each step k loads one column of A tiles and one row of B tiles. A panel of
pm x pn therefore moves (pm + pn) tiles per step for pm * pn executes: panels should be as large and as
square as SRAM allows (Hong and Kung 1981: no schedule moves fewer than about 2 M N K / sqrt(S) elements
through a memory of S elements).

Three things are weighed against that, by an estimate of the cycles (`PanelPlan.cycles`):
- equal panels waste what does not divide evenly, so the output is cut by guillotine cuts into panels of
  different shapes, the sum of whose half-perimeters is the smallest possible (dynamic programming);
- what a panel leaves of SRAM keeps rows of A or columns of B for the next one;
- some of it must stay free, so that loads can run ahead of the executes that free their place.

The search and the walk run in the engine (`engine_cpp/src/panels.cpp`, ADR 40): here are the terms they are asked in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple, overload

import numpy as np
import numpy.typing as npt

from minisim._engine import (
    PANEL_AHEAD,
    PANEL_BURSTS,
    PANEL_SKEW,
    best_panels,
    panel_cycles,
    panel_fits,
    panel_keeps_a,
    panel_loads,
    panel_spare,
)
from minisim._engine import walk_panels as walk

Index = npt.NDArray[np.int64]

SKEW, BURSTS, AHEAD = PANEL_SKEW, PANEL_BURSTS, PANEL_AHEAD  # what they are, `panels.hpp` says


class Panel(NamedTuple):
    """Output tiles [m0, m1) x [n0, n1)."""

    m0: int
    m1: int
    n0: int
    n1: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.m1 - self.m0, self.n1 - self.n0


class Panels(Sequence[Panel]):
    """Panels in their order, as an array: a large layer has many.

    Attributes:
        rows: int64 of shape (panels, 4): m0, m1, n0, n1. Nobody writes to it.
    """

    def __init__(self, panels: Iterable[Panel] | Index) -> None:
        rows = panels if isinstance(panels, np.ndarray) else np.array(list(panels), dtype=np.int64)
        self.rows: Index = np.ascontiguousarray(rows, dtype=np.int64).reshape(-1, 4)
        self.rows.flags.writeable = False

    @property
    def shapes(self) -> Index:
        """Rows and columns of each, in tiles: int64 of shape (panels, 2)."""
        return self.rows[:, 1::2] - self.rows[:, ::2]

    @property
    def areas(self) -> Index:
        """The tiles of each."""
        return np.asarray(self.shapes.prod(axis=1))

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, at: int) -> Panel: ...
    @overload
    def __getitem__(self, at: slice) -> Panels: ...
    def __getitem__(self, at: int | slice) -> Panel | Panels:
        return Panels(self.rows[at]) if isinstance(at, slice) else Panel(*self.rows[at].tolist())

    def __iter__(self) -> Iterator[Panel]:
        return (Panel(*row) for row in self.rows.tolist())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Panels) and np.array_equal(self.rows, other.rows)

    def __hash__(self) -> int:
        return hash(self.rows.tobytes())

    def __repr__(self) -> str:
        return f"Panels({self.rows.tolist()})"


@dataclass(frozen=True)
class Pace:
    """How fast the machine is at this matmul, in cycles.

    Attributes:
        execute: the cycles of one tile step, pipelined.
        load, store: the cycles per byte through the DMA's port or the DRAM, whichever is slower.
        dram: the cycles per byte in the DRAM, either way.
        turnaround: from the moment a place is free, through a load into it and its use, to its release.
    """

    execute: float
    load: float
    store: float
    dram: float
    turnaround: float

    def among(self, cores: int) -> Pace:
        """The pace of each of several cores that share the DRAM evenly."""
        if cores == 1:
            return self
        shared = cores * self.dram
        return replace(self, load=max(self.load, shared), store=max(self.store, shared), dram=shared)


@dataclass(frozen=True)
class Budget:
    """What a panel may occupy, in bytes.

    Attributes:
        sram: available in all.
        a, b, c: the bytes of one tile of each operand.
        fixed: needed beside (the operands of the epilogue, and the result where it does not replace its sums).
        sums: the bytes of the partial sums of one output tile.
        apart: the size of the memory that has these sums, if it is not the SRAM; else 0.
        ahead: kept free, so that this much can be loaded ahead of need.
        most: accumulators' bytes, at most.
    """

    sram: int
    a: int
    b: int
    c: int
    fixed: int
    sums: int
    apart: int = 0
    ahead: int = 0
    most: int = 2**62

    @property
    def for_sums(self) -> int:
        """The bytes of the memory that holds the partial sums."""
        return self.apart or self.sram

    def keeps_a(self, pm: int, pn: int) -> bool:
        """Whether a step keeps its column of A and streams B (or else keeps its row of B)."""
        return panel_keeps_a(self, pm, pn)

    def spare(self, pm: int, pn: int) -> int:
        """The bytes that a panel leaves beside its accumulators, one step's tiles, `fixed` and `ahead`."""
        return panel_spare(self, pm, pn)

    def fits(self, pm: int, pn: int) -> bool:
        return panel_fits(self, pm, pn)


@dataclass(frozen=True)
class PanelPlan:
    """The panels of a matmul, in order, the budget they were cut for, and whether they are ramped: walked tile by tile
    at their beginning and end, for machines that finish tiles faster than they can store them."""

    panels: Panels
    budget: Budget
    ramped: bool

    @property
    def horizon(self) -> int:
        """uOps of two steps of the largest panel: what is used within them is not evicted to load ahead."""
        pm, pn = self.panels.shapes.T
        return 2 * int((3 * pm * pn + pm + pn).max())

    def over(self, runs: Sequence[tuple[int, int]]) -> PanelPlan:
        """The same panels in each of these runs of rows of tiles, none longer than what they are cut for."""
        if runs == [(0, int(self.panels.rows[:, 1].max()))]:
            return self
        found = []
        for begin, end in runs:
            rows = self.panels.rows + np.array([begin, begin, 0, 0])
            rows[:, 1] = np.minimum(rows[:, 1], end)
            found.append(rows[rows[:, 0] < end])
        return replace(self, panels=Panels(np.concatenate(found)))

    def load_bytes(self, depth: int) -> int:
        """Estimated bytes of A and B loaded, given that a panel finds there what was kept for it.

        Whole rows of A tiles and columns of B tiles are the units. Between two panels, what both leave
        spare is given to the rows and columns that are needed again soonest (Belady at panel grain).
        """
        return panel_loads(self.panels.rows, self.budget, depth)

    def cycles(self, depth: int, loaded: int, pace: Pace) -> float:
        """Estimated cycles: the busiest of matrix unit, ports, DRAM and free places, and what does not overlap.

        A load occupies a free place for `turnaround` cycles, so `ahead` bytes of free places pass ahead /
        turnaround bytes per cycle (Little's law), or less because loads are needed in BURSTS. When a panel
        ends, its accumulators are stored, perhaps more slowly than they are finished; what is left over
        delays the next panel, but for what was loaded ahead.
        """
        return panel_cycles(self.panels.rows, self.budget, depth, loaded, pace)


@lru_cache(maxsize=1024)
def choose(rows: int, depth: int, cols: int, budget: Budget, pace: Pace) -> PanelPlan:
    """The panels for a grid of rows x depth x cols tiles: the fewest bytes of those that are about fastest."""
    panels, ahead = best_panels(rows, depth, cols, budget, pace)
    ramped = budget.c * pace.store > pace.execute  # tiles are finished faster than they can be stored
    return PanelPlan(Panels(panels), replace(budget, ahead=ahead), ramped)


def walk_panels(plan: PanelPlan, depth: int) -> tuple[Index, Index, Index]:
    """The executes of all panels as columns m, n, k: panels in order, k ascending for each output tile."""
    return walk(plan.panels.rows, plan.budget, depth, plan.ramped)


def walk_mnk(rows: int, cols: int, depth: int) -> tuple[Index, Index, Index]:
    """The plain loop nest: for m, for n, for k."""
    m, n, k = np.mgrid[:rows, :cols, :depth]
    return m.reshape(-1), n.reshape(-1), k.reshape(-1)
