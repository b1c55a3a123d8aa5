"""Which core computes what: the output tiles of each node are cut into rectangles, one for a core.

A cut into r x c rectangles gives each core some rows and some columns of the output: r x 1 cuts by rows, 1 x c by
columns. k is never cut, so each output is the same chain of sums, on whatever core. The cut that an estimate of
cycles prefers is taken (`Splitter.estimate`). It weighs

- the slowest core's compute: rectangles differ where the tiles do not divide evenly;
- bytes: B is loaded once for each of the r rows of rectangles, A once for each of the c columns, more if the
  SRAM is too small, and the DRAM serves all cores together;
- what lies where: a tile that its consumer finds in its own SRAM is neither stored nor loaded.

A cut is good or bad for what comes after it, too. So three plans are made for the graph as a whole (cut by rows
only, by columns only, or each node as is best for itself), and the one with the fewest estimated cycles is taken:
a chain of matmuls that is cut by rows never moves its activations, which no single node can know.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from minisim.compiler.graph import Graph, Node
from minisim.compiler.ops import OPERATORS
from minisim.compiler.panels import Pace
from minisim.compiler.semantics import SEMANTICS
from minisim.compiler.tiling import Read, Share, Tiling
from minisim.hwmodel import isa
from minisim.hwmodel.config import Machine

Cut = tuple[int, int]
"""How many rows and columns of rectangles an output is cut into."""

POLICIES: Mapping[str, Callable[[Cut], bool]] = {
    "rows": lambda cut: cut[1] == 1,
    "columns": lambda cut: cut[0] == 1,
    "free": lambda cut: True,
}
"""The plans for the whole graph, by which cuts they allow."""

ABOUT = 1.02
"""Estimates that differ by less are taken as equal: more cores, and more bytes, must be worth it."""

EXPOSED = 0.1
"""The part of the shorter of computing and moving data that does not overlap with the other. Without it one core looks
as good as all wherever the DRAM that they share is the limit, though it has to hide all latencies alone."""

SHARE_KEPT = 0.5
"""The share of SRAM that an operand is expected to keep until it is read; what is more is loaded again."""


SUM_BYTES = 4
"""The bytes of a partial sum, fp32 or int32, whatever the operands."""


@dataclass(frozen=True)
class Placement:
    """Who holds a computed tensor.

    Attributes:
        edges: the edges of its tiles, in elements; a reader with others finds nothing.
        core: int64 of shape (rows, cols) of tiles: the core that computed each.
        apart: the rows of its slabs, as in `slabs.tiles_apart`; a reader with others finds nothing, either.
    """

    edges: tuple[int, int]
    core: npt.NDArray[np.int64]
    apart: int = 0


class Estimate(NamedTuple):
    """What a cut of a node is estimated to take, or several together: cycles, bytes to and from DRAM, cores at work."""

    cycles: float
    bytes: int
    cores: int

    def plus(self, other: Estimate) -> Estimate:
        return Estimate(self.cycles + other.cycles, self.bytes + other.bytes, self.cores + other.cores)


def best_of(estimates: Sequence[Estimate]) -> int:
    """The index of the one with the fewest bytes, then cores, of those that are about fastest (ABOUT)."""
    fast = ABOUT * min(estimate.cycles for estimate in estimates)
    return min(
        (i for i, estimate in enumerate(estimates) if estimate.cycles <= fast),
        key=lambda i: (estimates[i].bytes, estimates[i].cores, i),
    )


class Splitter:
    """The search for the split of a tiled graph."""

    def __init__(self, graph: Graph, machine: Machine, tilings: Mapping[str, Tiling]) -> None:
        self.graph, self.machine, self.tilings = graph, machine, tilings
        views = [node for node in graph.nodes if SEMANTICS[node.op].is_view or OPERATORS[node.op].through_dram]
        viewed = {name for node in views for name in (*node.present, *node.outputs)}
        outputs = set(graph.outputs.values())
        self.off_chip = viewed | (set() if machine.compiler.keep_on_chip else set(graph.tensors))
        self.stored = self.off_chip | outputs  # by their producers, whoever reads them
        self.placed: dict[str, Placement] = {}

    def best(self) -> dict[str, Tiling]:
        """The tilings with their shares, and the shares with their panels."""
        plans = [self._plan(allowed) for allowed in POLICIES.values()]
        _, shares = plans[best_of([estimate for estimate, _ in plans])]
        nodes = [node for node in self.graph.nodes if node.name in shares]
        return {node.name: self._with_panels(node, shares[node.name]) for node in nodes}

    def _with_panels(self, node: Node, shares: tuple[Share, ...]) -> Tiling:
        tiling = self.tilings[node.name]
        operator = OPERATORS[node.op]
        planned = tuple(
            replace(share, panels=operator.plan(node, self.graph, tiling, share, self.machine, len(shares)))
            for share in shares
        )
        return replace(tiling, shares=planned)

    def _plan(self, allowed: Callable[[Cut], bool]) -> tuple[Estimate, dict[str, tuple[Share, ...]]]:
        """The best cut of each node in turn, given those before it; and the sum of their estimates."""
        self.placed = {}
        total, found = Estimate(0.0, 0, 0), {}
        for node in self.graph.nodes:
            if node.name not in self.tilings:
                continue  # a view
            tiling = self.tilings[node.name]
            reads = OPERATORS[node.op].reads(node, self.graph, tiling)
            pace = OPERATORS[node.op].pace(node, self.graph, tiling, self.machine)
            choices = [self._shares(tiling, reads, cut) for cut in cuts(tiling, self.machine.cores.count, allowed)]
            estimates = [self.estimate(node, tiling, reads, pace, shares) for shares in choices]
            at = best_of(estimates)
            total = total.plus(estimates[at])
            found[node.name] = choices[at]
            if node.output not in self.off_chip:
                owner = replace(tiling, shares=choices[at]).core_of(*np.mgrid[: tiling.m_tiles, : tiling.n_tiles])
                self.placed[node.output] = Placement((tiling.m, tiling.n), owner, tiling.apart)
        return total, found

    def _shares(self, tiling: Tiling, reads: tuple[Read, ...], cut: Cut) -> tuple[Share, ...]:
        """The rectangles of a cut, row by row; a single one goes to the core that holds most of the operands."""
        rows, cols = (_edges(size, parts) for size, parts in zip((tiling.m_tiles, tiling.n_tiles), cut, strict=True))
        if cut == (1, 1):
            held = np.zeros(self.machine.cores.count, dtype=np.int64)
            for read in reads:
                if (place := self._placement(read)) is not None:
                    held += np.bincount(place.core.reshape(-1), minlength=len(held)) * self._tile_bytes(read)
            return (Share(int(held.argmax()), 0, tiling.m_tiles, 0, tiling.n_tiles),)
        return tuple(
            Share(i * cut[1] + j, m0, m1, n0, n1)
            for i, (m0, m1) in enumerate(pairwise(rows))
            for j, (n0, n1) in enumerate(pairwise(cols))
        )

    # -- the estimate --------------------------------------------------------------------------------------

    def estimate(
        self, node: Node, tiling: Tiling, reads: tuple[Read, ...], pace: Pace, shares: tuple[Share, ...]
    ) -> Estimate:
        """Cycles of the busiest of all cores' units and ports and of the DRAM, and bytes to and from DRAM.

        Data also wait in a core's SRAM: a byte occupies its place for a turnaround, so in that time no more pass than
        there is room for (Little's law). If a core reads what another has in its SRAM, the wait for the store and the
        load are added: they begin when the tile is finished, and hide behind nothing.
        """
        tile = isa.align(self._item(node.output) * tiling.m * tiling.n)
        computes, moves, moved = 0.0, 0.0, 0
        crossing = {
            read: np.zeros_like(p.core, dtype=bool) for read in reads if (p := self._placement(read)) is not None
        }
        for share in shares:
            area = share.shape[0] * share.shape[1]
            stored = area * tile if node.output in self.stored else 0
            loaded = sum(self._loaded(tiling, read, share, crossing) for read in reads)
            waits = (loaded + stored) * pace.turnaround / (SHARE_KEPT * self.machine.sram.bytes)
            computes = max(computes, area * tiling.k_tiles * pace.execute, waits)
            moves = max(moves, loaded * pace.load, stored * pace.store)
            moved += loaded + stored
        moved += sum(
            int(mask.sum()) * self._tile_bytes(read)
            for read, mask in crossing.items()
            if read.tensor not in self.stored
        )
        crosses = any(mask.any() for mask in crossing.values())
        moves = max(moves, moved * pace.dram)
        cycles = max(computes, moves) + EXPOSED * min(computes, moves) + (2 * pace.turnaround if crosses else 0)
        return Estimate(cycles, moved, len(shares))

    def _loaded(self, tiling: Tiling, read: Read, share: Share, crossing: dict[Read, npt.NDArray[np.bool_]]) -> int:
        """The bytes of an operand that a share loads; notes in `crossing` the tiles that it needs of other cores."""
        c0, c1 = _span(read.cols[0], tiling, share, share.m0, share.m1)
        rows, bytes_ = row_runs(tiling, read, share), self._tile_bytes(read)
        tiles = sum(r1 - r0 for r0, r1 in rows) * (c1 - c0)
        if (place := self._placement(read)) is not None:
            here = 0
            for r0, r1 in rows:
                elsewhere = place.core[r0:r1, c0:c1] != share.core
                crossing[read][r0:r1, c0:c1] |= elsewhere
                here += elsewhere.size - int(elsewhere.sum())
            if here * bytes_ <= SHARE_KEPT * self.machine.sram.bytes:
                tiles -= here
        return tiles * bytes_ * self._repeats(tiling, read, share)

    def _repeats(self, tiling: Tiling, read: Read, share: Share) -> int:
        """How often a share loads an operand of its accumulations: once for each panel of the other side.

        The panels are taken as square as may be, with all of the memory that holds partial sums; those that are
        planned later are better.
        """
        axes = {read.rows[0], read.cols[0]}
        if "k" not in axes:
            return 1
        rows, cols = min(share.shape[0], tiling.slab_tiles), share.shape[1]
        sizes = (rows * tiling.k_tiles * tiling.m * tiling.k, cols * tiling.k_tiles * tiling.n * tiling.k)
        item, apart = self._item(read.tensor), self.machine.accumulator.bytes
        sums = isa.align(SUM_BYTES * tiling.m * tiling.n)
        if item * sum(sizes) + (0 if apart else rows * cols * sums) <= self.machine.sram.bytes:
            return 1
        room = max(1, (apart or self.machine.sram.bytes) // sums)
        height = min(rows, max(1, math.isqrt(room)))
        width = min(cols, max(1, room // height))
        return -(-cols // width) if "m" in axes else -(-rows // height)

    def _placement(self, read: Read) -> Placement | None:
        """The place of an operand's tiles, if its cut is that of its producer; else None."""
        place = self.placed.get(read.tensor)
        found = read.rows[1], read.cols[1], read.apart
        return place if place and (*place.edges, place.apart) == found else None

    def _tile_bytes(self, read: Read) -> int:
        return self.graph.tensors[read.tensor].tile_bytes(read.rows[1], read.cols[1])

    def _item(self, tensor: str) -> int:
        """The bytes of an element of `tensor`."""
        return isa.ITEMSIZE[self.graph.tensors[tensor].code]


def _span(axis: str, tiling: Tiling, share: Share, m0: int, m1: int) -> tuple[int, int]:
    """What a share needs along an axis of its node's grid, of its rows [m0, m1)."""
    spans = {"m": (m0, m1), "n": (share.n0, share.n1), "k": (0, tiling.k_tiles), "": (0, 1)}
    return spans[axis]


def row_runs(tiling: Tiling, read: Read, share: Share) -> list[tuple[int, int]]:
    """The rows of an operand's tiles that a share needs, as runs that have none in common."""
    if not read.slab_of:
        return [_span(read.rows[0], tiling, share, share.m0, share.m1)]
    of_slab = {"m": tiling.slab_tiles, "n": tiling.n_tiles, "k": tiling.k_tiles, "": 1}[read.rows[0]]
    found: dict[int, tuple[int, int]] = {}  # by the operand's slab, from the first row that any needs to the last one
    for m0, m1 in tiling.runs(share.m0, share.m1):
        slab = m0 // tiling.slab_tiles
        begin, end = _span(read.rows[0], tiling, share, m0 - slab * tiling.slab_tiles, m1 - slab * tiling.slab_tiles)
        first = read.slab_of[slab] * of_slab
        run = first + begin, first + end
        known = found.get(read.slab_of[slab], run)
        found[read.slab_of[slab]] = min(known[0], run[0]), max(known[1], run[1])
    return list(found.values())


def cuts(tiling: Tiling, cores: int, allowed: Callable[[Cut], bool]) -> list[Cut]:
    """The cuts to choose among: for all cores, half of them, a quarter and so on, each number of rows with the most
    columns that there are cores and tiles for."""
    found: dict[Cut, None] = {(1, 1): None}
    while cores > 1:
        for rows in range(1, min(cores, tiling.m_tiles) + 1):
            found[rows, min(cores // rows, tiling.n_tiles)] = None
            found[rows, 1] = None
        cores //= 2
    return [cut for cut in found if cut == (1, 1) or allowed(cut)]


def _edges(size: int, parts: int) -> list[int]:
    edges: list[int] = np.linspace(0, size, parts + 1).round().astype(int).tolist()
    return edges
