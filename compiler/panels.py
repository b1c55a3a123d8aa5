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
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Index = npt.NDArray[np.int64]

LIMIT = 32
"""Tiles a side up to which the best cuts are searched; larger grids are first cut into equal parts."""

SKEW = 3
"""Rows (or columns) of the kept side that enter a step together. The rest follow one streamed tile later
each, so that a step's loads do not all come at once."""

RAMP = 2
"""Steps at a panel's beginning and end that are walked tile by tile of the streamed side (more, if there is
room). So the accumulators of a panel are not all finished, and stored, and needed by the next, at once:
for machines that finish tiles faster than they can store them."""

BURSTS = 1.8
"""How much faster than on average loads must be able to come. Chosen on a 512x512x512 GEMM on npu_32x32 with
32 to 256 tiles of SRAM and ports of 64 to 512 bytes (benchmarks/traffic.py): from there on nothing waits."""

AHEAD = (0, 1, 2, 3, 4, 6, 8, 16, 32)
"""The candidates: how many tiles a panel keeps free."""

TIGHT = 2
"""Tiles that may be kept free beyond those the panels are cut for: the largest panels then have fewer, but most of
them are smaller than that."""

SHARES = (1.0, 0.85, 0.7, 0.5, 0.35, 0.25, 0.12, 0.06)
"""The candidates: shares of the memory of the partial sums that a panel takes. Less than all leaves room for what the
next panel shares."""


class Panel(NamedTuple):
    """Output tiles [m0, m1) x [n0, n1)."""

    m0: int
    m1: int
    n0: int
    n1: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.m1 - self.m0, self.n1 - self.n0


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
        return pm * self.a + self.b <= pn * self.b + self.a

    def spare(self, pm: int, pn: int) -> int:
        """The bytes that a panel leaves beside its accumulators, one step's tiles, `fixed` and `ahead`."""
        if self.keeps_a(pm, pn):
            step = pm * self.a + -(-pm // SKEW) * self.b
        else:
            step = pn * self.b + -(-pn // SKEW) * self.a
        sums = 0 if self.apart else pm * pn * self.sums
        return self.sram - sums - step - self.fixed - self.ahead

    def fits(self, pm: int, pn: int) -> bool:
        return self.spare(pm, pn) >= 0 and pm * pn * self.sums <= min(self.most, self.for_sums)


@dataclass(frozen=True)
class PanelPlan:
    """The panels of a matmul, in order, the budget they were cut for, and whether they are ramped (RAMP)."""

    panels: tuple[Panel, ...]
    budget: Budget
    ramped: bool

    @property
    def horizon(self) -> int:
        """uOps of two steps of the largest panel: what is used within them is not evicted to load ahead."""
        return 2 * max(3 * pm * pn + pm + pn for pm, pn in (panel.shape for panel in self.panels))

    def over(self, runs: Sequence[tuple[int, int]]) -> PanelPlan:
        """The same panels in each of these runs of rows of tiles, none longer than what they are cut for."""
        found = [
            Panel(begin + p.m0, min(begin + p.m1, end), p.n0, p.n1)
            for begin, end in runs
            for p in self.panels
            if begin + p.m0 < end
        ]
        return replace(self, panels=tuple(found))

    def load_bytes(self, depth: int) -> int:
        """Estimated bytes of A and B loaded, given that a panel finds there what was kept for it.

        Whole rows of A tiles and columns of B tiles are the units. Between two panels, what both leave
        spare is given to the rows and columns that are needed again soonest (Belady at panel grain).
        """
        uses = _panel_uses(self.panels)
        kept: dict[Edge, int] = {}
        loaded = 0
        for t, panel in enumerate(self.panels):
            for edge in _edges(panel):
                size = depth * (self.budget.a if edge[0] == "a" else self.budget.b)
                loaded += size - kept.get(edge, 0)
                kept[edge] = size
            room = max(0, min(self.budget.spare(*p.shape) for p in self.panels[t : t + 2]))
            again = sorted((following, edge) for edge in kept if (following := uses[edge].after(t)) is not None)
            shares: dict[Edge, int] = {}
            for _, edge in again:
                if not room:
                    break
                shares[edge] = min(room, kept[edge])
                room -= shares[edge]
            kept = shares
        return loaded

    def cycles(self, depth: int, loaded: int, pace: Pace) -> float:
        """Estimated cycles: the busiest of matrix unit, ports, DRAM and free places, and what does not overlap.

        A load occupies a free place for `turnaround` cycles, so `ahead` bytes of free places pass ahead /
        turnaround bytes per cycle (Little's law), or less because loads are needed in BURSTS. When a panel
        ends, its accumulators are stored, perhaps more slowly than they are finished; what is left over
        delays the next panel, but for what was loaded ahead.
        """
        area = [pm * pn for pm, pn in (panel.shape for panel in self.panels)]
        stored = sum(area) * self.budget.c
        ahead = self.budget.ahead or 0.9 * max(self.budget.a, self.budget.b)  # even then a step has two operands
        busy = max(
            sum(area) * depth * pace.execute,
            loaded * pace.load,
            stored * pace.store,
            (loaded + stored) * pace.dram,
            BURSTS * loaded * pace.turnaround / ahead,
        )
        left = [n * max(0.0, self.budget.c * pace.store - pace.execute) for n in area]
        stalls = sum(max(0.0, cycles - ahead * pace.load) for cycles in left[:-1])
        return busy + stalls + left[-1]


@lru_cache(maxsize=256)
def choose(rows: int, depth: int, cols: int, budget: Budget, pace: Pace) -> PanelPlan:
    """The panels for a grid of rows x depth x cols tiles: the fewest bytes of those that are about fastest."""
    ramped = budget.c * pace.store > pace.execute  # tiles are finished faster than they can be stored
    plans: dict[PanelPlan, tuple[float, int]] = {}
    for ahead in AHEAD:
        for share in SHARES:
            tile = max(budget.a, budget.b)
            most = int(share * budget.for_sums)
            candidate = replace(budget, ahead=ahead * tile, most=most)
            if ahead and not candidate.fits(1, 1):
                continue
            panels = partition(rows, cols, candidate)
            for more in (0, TIGHT * tile):
                kept_free = replace(candidate, most=2**62, ahead=candidate.ahead + more)
                plan = PanelPlan(panels, kept_free, ramped)
                if plan not in plans:
                    loaded = plan.load_bytes(depth)
                    plans[plan] = plan.cycles(depth, loaded, pace), loaded
    fastest = min(cycles for cycles, _ in plans.values())
    good = [plan for plan, (cycles, _) in plans.items() if cycles <= 1.03 * fastest]
    return min(good, key=lambda plan: (plans[plan][1], plans[plan][0]))


def partition(rows: int, cols: int, budget: Budget) -> tuple[Panel, ...]:
    """Cut rows x cols output tiles into panels that fit, with the least sum of half-perimeters."""
    panels: list[Panel] = []
    for m0, m1 in _parts(rows):
        for n0, n1 in _parts(cols):
            cut = _cuts(m1 - m0, n1 - n0, replace(budget, fixed=0, sram=budget.sram - budget.fixed))
            panels += [Panel(m0 + p.m0, m0 + p.m1, n0 + p.n0, n0 + p.n1) for p in cut]
    return _chained(panels)


def _parts(size: int) -> Iterator[tuple[int, int]]:
    edges = np.linspace(0, size, -(-size // LIMIT) + 1).round().astype(int).tolist()
    return pairwise(edges)


@lru_cache(maxsize=1024)
def _cuts(rows: int, cols: int, budget: Budget) -> tuple[Panel, ...]:
    """The best guillotine partition: cost[m, n] = bytes per k step of an m x n grid.

    Where one panel fits it is the best: a cut counts some edges twice.
    """
    cost = np.full((rows + 1, cols + 1), np.inf)
    cut = np.zeros((rows + 1, cols + 1), dtype=np.int64)  # 0: one panel; +i: after i rows; -j: after j columns
    for m in range(1, rows + 1):
        if m > 1:
            # of equal costs the most even cut, so the halves are searched from the middle outwards
            both = (cost[1 : m // 2 + 1] + cost[m - 1 : m - m // 2 - 1 : -1])[::-1]
            cost[m], cut[m] = both.min(axis=0), m // 2 - both.argmin(axis=0)
        for n in range(1, cols + 1):
            if (m, n) == (1, 1) or budget.fits(m, n):
                cost[m, n], cut[m, n] = m * budget.a + n * budget.b, 0
            elif n > 1:
                line = (cost[m, 1 : n // 2 + 1] + cost[m, n - 1 : n - n // 2 - 1 : -1])[::-1]
                j = int(line.argmin())
                if line[j] < cost[m, n]:
                    cost[m, n], cut[m, n] = line[j], -(n // 2 - j)
    return tuple(_split(Panel(0, rows, 0, cols), cut))


def _split(panel: Panel, cut: Index) -> list[Panel]:
    m0, m1, n0, n1 = panel
    where = int(cut[m1 - m0, n1 - n0])
    if where == 0:
        return [panel]
    if where > 0:
        return _split(Panel(m0, m0 + where, n0, n1), cut) + _split(Panel(m0 + where, m1, n0, n1), cut)
    return _split(Panel(m0, m1, n0, n0 - where), cut) + _split(Panel(m0, m1, n0 - where, n1), cut)


def _chained(panels: list[Panel]) -> tuple[Panel, ...]:
    """Order the panels so that neighbours share rows or columns, and are close together."""
    if len(panels) > 2000:  # the walk below is quadratic; the given order is a fair one
        return tuple(panels)
    box = np.array(panels, dtype=np.int64)
    centre = np.stack([box[:, 0] + box[:, 1], box[:, 2] + box[:, 3]])
    left = np.ones(len(panels), dtype=bool)
    order = [0]
    left[0] = False
    while left.any():
        m0, m1, n0, n1 = box[order[-1]]
        rows = np.clip(np.minimum(box[:, 1], m1) - np.maximum(box[:, 0], m0), 0, None)
        cols = np.clip(np.minimum(box[:, 3], n1) - np.maximum(box[:, 2], n0), 0, None)
        away = np.abs(centre - centre[:, order[-1], None]).sum(axis=0)
        score = (rows + cols) - away / (1 + away.max())
        following = int(np.argmax(np.where(left, score, -np.inf)))
        order.append(following)
        left[following] = False
    return tuple(panels[i] for i in order)


Edge = tuple[str, int]
"""A row of A tiles, ("a", m), or a column of B tiles, ("b", n)."""


def _edges(panel: Panel) -> list[Edge]:
    return [("a", m) for m in range(panel.m0, panel.m1)] + [("b", n) for n in range(panel.n0, panel.n1)]


class _Uses(list[int]):
    """The panels, ascending, that read one edge."""

    def after(self, t: int) -> int | None:
        i = bisect_right(self, t)
        return self[i] if i < len(self) else None


def _panel_uses(panels: tuple[Panel, ...]) -> dict[Edge, _Uses]:
    uses: dict[Edge, _Uses] = {}
    for t, panel in enumerate(panels):
        for edge in _edges(panel):
            uses.setdefault(edge, _Uses()).append(t)
    return uses


def walk_panels(plan: PanelPlan, depth: int) -> tuple[Index, Index, Index]:
    """The executes of all panels as columns m, n, k: panels in order, k ascending for each output tile."""
    columns = [_walk_panel(panel, depth, plan) for panel in plan.panels]
    m, n, k = (np.concatenate(parts) for parts in zip(*columns, strict=True))
    return m, n, k


def _walk_panel(panel: Panel, depth: int, plan: PanelPlan) -> tuple[Index, Index, Index]:
    """Walk a panel: for k, for each tile of the streamed side, for each kept one: skewed (SKEW), ramped (RAMP)."""
    budget = plan.budget
    keeps_a = budget.keeps_a(*panel.shape)
    kept, streamed = panel.shape if keeps_a else panel.shape[::-1]
    k, j, i = (x.reshape(-1) for x in np.mgrid[:depth, :streamed, :kept])
    room = max(0, budget.spare(*panel.shape)) // (kept * (budget.a if keeps_a else budget.b))
    ramp = min(RAMP + room, 2 * RAMP, depth // 2) if plan.ramped else 0
    region = np.where(k < ramp, 0, np.where(k < depth - ramp, 1, 2))
    slot = np.where(region == 1, k * streamed + j + i // SKEW, j * depth + k)
    order = np.lexsort((i, slot, region))
    m, n = (i, j) if keeps_a else (j, i)
    return panel.m0 + m[order], panel.n0 + n[order], k[order]


def walk_mnk(rows: int, cols: int, depth: int) -> tuple[Index, Index, Index]:
    """The plain loop nest: for m, for n, for k."""
    m, n, k = np.mgrid[:rows, :cols, :depth]
    return m.reshape(-1), n.reshape(-1), k.reshape(-1)
