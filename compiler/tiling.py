"""The tiled graph: each node with the size of its tiles and the order in which they are walked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

import numpy as np

from minisim.compiler.attention_plan import AttentionPlan
from minisim.compiler.blocks import BlockPlan
from minisim.compiler.graph import Graph, Node
from minisim.compiler.panels import Index, PanelPlan, walk_mnk, walk_panels
from minisim.compiler.semantics import SEMANTICS
from minisim.compiler.slabs import SlabOf, tiles_apart
from minisim.hwmodel import isa
from minisim.hwmodel.config import Machine

T = TypeVar("T")

BESIDE = -1
"""In place of the rows of a tensor's slabs (`apart`), if its slabs lie beside each other: nobody else's tiles do."""

WORTH = 0.05
"""The share of the array's cycles that must be saved before tiles grow beyond what the machine file says: larger tiles
also move more bytes in a small SRAM, and that is not known here."""

PARTS = (0.5, 0.75, 1.0)
"""Parts of the SRAM that one operation may take, the first that allows any of what there is to choose among: the rest
is for the next one."""

AMPLE, AMPLE_SUMS = 32, 8
"""How many taller tiles must have room in SRAM, and how many of partial sums in the accumulator memory, if there is
one."""


def chooses(machine: Machine) -> bool:
    """Whether tiles are the compiler's to choose: loop nests and SCALE-Sim's formulas have tiles of their own."""
    return machine.compiler.order == "auto" and machine.matrix.model != "scalesim"


def tile_height(rows: int, machine: Machine) -> int:
    """The m edge of the tiles that `rows` rows of a matmul's result are cut into, in elements.

    `tile.m`, but that a thin last row of tiles is dealt out to the others. Each pass through a weight-stationary array
    takes at least the cycles that its weights take to be shifted in, `matrix.rows`, however few rows of A it is for;
    less than half of that is thin. So 129 rows in tiles of 128 are one tile of 129. All operators cut by this rule, or
    a consumer would not find what its producer left in SRAM. Other dataflows do not stream the rows, SCALE-Sim's
    formulas have tiles of their own, and loop nests (`compiler.order`) stay as written.
    """
    edge, array = machine.tile.m, machine.matrix
    streams = array.dataflow == "ws" and array.model != "scalesim"
    if rows <= edge or not streams or machine.compiler.order != "auto":
        return min(edge, rows)
    full, rest = divmod(rows, edge)
    taller = -(-rows // full)
    saved = (array.rows - rest) / (full * max(edge, array.rows) + array.rows) if 0 < 2 * rest < array.rows else 0
    item = isa.ITEMSIZE[isa.ACCUMULATOR[machine.dtype]]
    ample = AMPLE * item * taller * max(machine.tile.k, machine.tile.n) <= machine.sram.bytes
    if apart := machine.accumulator.bytes:
        ample &= AMPLE_SUMS * item * taller * machine.tile.n <= apart
    carried = taller <= machine.tile.max_m and taller % machine.tile.multiple_m == 0
    return taller if saved >= WORTH and ample and carried and full >= machine.cores.count else edge


Axis = tuple[str, int]
"""What numbers a tensor's rows (or columns) of tiles: "m", "k" or "n" of the node's grid, or "" if there is but one;
and the tile's edge along it, in elements."""


class Read(NamedTuple):
    """An operand of a node: which tiles of it belong to which output tiles.

    Attributes:
        slab_of: where the node's output is cut into slabs, for each of them the operand's slab that it needs; `rows`
            then numbers the rows of tiles of one slab.
        apart: the rows of the operand's slabs, as in `slabs.tiles_apart`; or `BESIDE`.
    """

    tensor: str
    rows: Axis
    cols: Axis
    slab_of: SlabOf = ()
    apart: int = 0


@dataclass(frozen=True)
class Share:
    """Output tiles [m0, m1) x [n0, n1), which `core` computes, and in which panels (None: the plain order)."""

    core: int
    m0: int
    m1: int
    n0: int
    n1: int
    panels: PanelPlan | None = None

    @property
    def shape(self) -> tuple[int, int]:
        return self.m1 - self.m0, self.n1 - self.n0

    def __str__(self) -> str:
        text = f"core {self.core} [{self.m0}:{self.m1}, {self.n0}:{self.n1}]"
        return f"{text} {_shapes(self.panels)}" if self.panels else text


@dataclass(frozen=True)
class Tiling:
    """How one node is cut into tiles: their edges in elements, their counts, and the order in which they are walked.

    Attributes:
        panels, blocks: one of them, or neither: the plain m, n, k order.
        sums_apart: whether a matmul's partial sums have tiles of their own.
        in_rows: whether all tiles of a row are walked before the next row, by operators that have a choice.
        slab: the output's rows that are cut up at a time, in elements (`slabs.py`): no tile, and no panel, reaches
            beyond them. 0: all at once.
        source: rows and columns of the tiles of an input that operands are gathered from; (0, 0) if none is.
        joins: whether the slabs of the output lie beside each other, and not behind each other.
        sources: of an operator that gathers from several inputs, the rows of the tiles of each.
        attention: how attention is walked; None of all else.
        shares: on a machine with several cores, who computes what; then the panels are theirs. Else empty: core 0
            computes all of it.
    """

    m: int
    k: int
    n: int
    m_tiles: int
    k_tiles: int
    n_tiles: int
    panels: PanelPlan | None
    sums_apart: bool = False
    shares: tuple[Share, ...] = ()
    blocks: BlockPlan | None = None
    slab: int = 0
    in_rows: bool = False
    source: tuple[int, int] = (0, 0)
    sources: tuple[int, ...] = ()
    joins: bool = False
    attention: AttentionPlan | None = None

    @property
    def slab_tiles(self) -> int:
        """The rows of tiles of a slab."""
        return -(-self.slab // self.m) if self.slab else self.m_tiles

    @property
    def slabs(self) -> int:
        """How many slabs there are."""
        return self.m_tiles // self.slab_tiles

    @property
    def apart(self) -> int:
        """The rows of a slab, if its tiles are not those of the whole output (`slabs.tiles_apart`); else 0."""
        return BESIDE if self.joins else tiles_apart(self.slab, self.slab * self.slabs, self.m)

    def runs(self, m0: int, m1: int) -> list[tuple[int, int]]:
        """Rows of tiles [m0, m1), cut where a slab ends."""
        edges = [m0, *range((m0 // self.slab_tiles + 1) * self.slab_tiles, m1, self.slab_tiles), m1]
        return list(pairwise(edges))

    def in_slab(self, m: Index) -> tuple[Index, Index]:
        """The slab that each row of tiles is in, and its number there."""
        return m // self.slab_tiles, m % self.slab_tiles

    def heights(self, rows: int) -> Index:
        """The rows of each row of tiles of an output of so many `rows`: the last one of a slab may have fewer."""
        _, at = self.in_slab(np.arange(self.m_tiles))
        return np.minimum(self.m, (self.slab or rows) - at * self.m)

    def walk(self) -> tuple[Index, Index, Index]:
        """The executes in order, as columns of tile coordinates m, n, k; one core's after the other's."""
        if not self.shares:
            return self._walk(0, self.m_tiles, self.n_tiles, self.panels)
        columns = []
        for share in self.shares:
            m, n, k = self._walk(share.m0, share.m1, share.n1 - share.n0, share.panels)
            columns.append((m, n + share.n0, k))
        return _one_after_the_other(columns)

    def _walk(self, m0: int, m1: int, cols: int, panels: PanelPlan | None) -> tuple[Index, Index, Index]:
        if panels is not None:
            m, n, k = walk_panels(panels, self.k_tiles)
            return m + m0, n, k
        columns = []
        for begin, end in self.runs(m0, m1):
            walk = walk_mnk if self.blocks is None else self.blocks.walk
            m, n, k = walk(end - begin, cols, self.k_tiles)
            columns.append((m + begin, n, k))
        return _one_after_the_other(columns)

    def fetches(self, m: Index, n: Index, k: Index) -> tuple[Index | int, Index | int]:
        """What the loads of each execute of the walk are for (`UOP_DTYPE` in program.py): of a and b, its step; of
        operands of the epilogue, its row of blocks. Blocks begin anew in each core's share, and in each slab. Without
        blocks all is for one."""
        if self.blocks is None:
            return 0, 0
        first = np.zeros((2, self.m_tiles, self.n_tiles), dtype=np.int64)
        for share in self.shares:
            first[:, share.m0 : share.m1, share.n0 : share.n1] = [[[share.m0]], [[share.n0]]]
        slab = m // self.slab_tiles
        of_slab = -(-self.slab_tiles // self.blocks.m) * self.blocks.m  # rows of tiles, in whole blocks
        m, n = m - np.maximum(first[0, m, n], slab * self.slab_tiles) + slab * of_slab, n - first[1, m, n]
        return self.blocks.step(m, n, k), self.blocks.row(m, n)

    def core_of(self, m: Index, n: Index) -> Index:
        """The core that computes each output tile (m, n)."""
        owner = np.zeros((self.m_tiles, self.n_tiles), dtype=np.int64)
        for share in self.shares:
            owner[share.m0 : share.m1, share.n0 : share.n1] = share.core
        return np.asarray(owner[m, n])

    def ahead_and_horizon(self) -> tuple[list[int], list[int]]:
        """The bytes to keep free, and the uOps to look ahead (see `Program`), by core."""
        if not self.shares:
            return [self.panels.budget.ahead if self.panels else 0], [self.panels.horizon if self.panels else 0]
        ahead, horizon = ([0] * (1 + max(share.core for share in self.shares)) for _ in range(2))
        for share in self.shares:
            if share.panels:
                ahead[share.core], horizon[share.core] = share.panels.budget.ahead, share.panels.horizon
        return ahead, horizon

    @staticmethod
    def flip(first: T, second: T, transposed: bool) -> tuple[T, T]:
        """The pair as it lies in the tensor: swapped if the operand is stored transposed."""
        return (second, first) if transposed else (first, second)

    def __str__(self) -> str:
        text = f"tile {self.m}x{self.k}x{self.n}, grid {self.m_tiles}x{self.k_tiles}x{self.n_tiles}"
        text += f", gathered from {self.source[0]}x{self.source[1]}" if any(self.source) else ""
        text += f", slabs of {self.slab}" if self.slab else ""
        text += ", joined" * self.joins
        text += ", in rows" * self.in_rows
        text += ", sums apart" * self.sums_apart
        text += f", blocks {self.blocks.m}x{self.blocks.n}" if self.blocks else ""
        text += f", {self.attention}" if self.attention else ""
        if self.shares:
            return f"{text}, {'; '.join(str(share) for share in self.shares)}"
        if self.blocks:
            return text
        return f"{text}, {_shapes(self.panels) if self.panels else 'order mnk'}"


def _one_after_the_other(walks: Sequence[tuple[Index, Index, Index]]) -> tuple[Index, Index, Index]:
    m, n, k = (np.concatenate(parts) for parts in zip(*walks, strict=True))
    return m, n, k


def _shapes(plan: PanelPlan) -> str:
    return "panels " + " ".join(f"{p.m1 - p.m0}x{p.n1 - p.n0}" for p in plan.panels)


def executed_of(graph: Graph) -> list[Node]:
    """The nodes that are executed: those that are no views."""
    return [node for node in graph.nodes if not SEMANTICS[node.op].is_view]


@dataclass(frozen=True)
class TiledGraph:
    """A graph, and by node name the tiling of each node that is executed; views have none.

    Attributes:
        slices: the nodes that are walked together (`slicing.py`), as ranges of those that are executed.
        edges: m, k and n of the tiles of all nodes that have no others, if that is known.
        at_hand: the machine without its speed (`untimed`) and the program that this was lowered to for it, if that was
            done to decide about it. Whoever takes it out has it for himself (`passes/lower.py`).
    """

    graph: Graph
    tilings: Mapping[str, Tiling]
    slices: tuple[range, ...] = ()
    edges: tuple[int, int, int] | None = None
    at_hand: list[tuple[Machine, Any]] = field(default_factory=list, init=False, compare=False, repr=False)

    def lines(self) -> Iterator[str]:
        yield from self.graph.lines()
        for node in self.graph.nodes:
            yield f"  {node.name}: {self.tilings.get(node.name, 'a view')}"
        executed = self.executed()
        for each in self.slices:
            yield f"  slice of {', '.join(executed[i].name for i in each)}"

    def executed(self) -> list[Node]:
        """The nodes that are executed: the layers of the program."""
        return [node for node in self.graph.nodes if node.name in self.tilings]

    def verify(self) -> None:
        self.graph.verify()
        assert self.tilings.keys() == {node.name for node in executed_of(self.graph)}
