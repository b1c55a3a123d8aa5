"""The tiled graph: each node with the size of its tiles and the order in which they are walked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from minisim.compiler.blocks import BlockPlan
from minisim.compiler.graph import Graph
from minisim.compiler.panels import Index, PanelPlan, walk_mnk, walk_panels

T = TypeVar("T")


@dataclass(frozen=True)
class Tiling:
    """Of one node: tile edges in elements, tile counts, and how they are walked.

    Attributes:
        panels, blocks: one of them, or neither: the plain m, n, k order.
        sums_apart: whether a matmul's partial sums have tiles of their own.
    """

    m: int
    k: int
    n: int
    m_tiles: int
    k_tiles: int
    n_tiles: int
    panels: PanelPlan | None
    sums_apart: bool = False
    blocks: BlockPlan | None = None

    def walk(self) -> tuple[Index, Index, Index]:
        """The executes in order, as columns of tile coordinates m, n, k."""
        if self.blocks is not None:
            return self.blocks.walk(self.m_tiles, self.n_tiles, self.k_tiles)
        if self.panels is None:
            return walk_mnk(self.m_tiles, self.n_tiles, self.k_tiles)
        return walk_panels(self.panels, self.k_tiles)

    @staticmethod
    def flip(first: T, second: T, transposed: bool) -> tuple[T, T]:
        """The pair as it lies in the tensor: swapped if the operand is stored transposed."""
        return (second, first) if transposed else (first, second)

    def __str__(self) -> str:
        text = f"tile {self.m}x{self.k}x{self.n}, grid {self.m_tiles}x{self.k_tiles}x{self.n_tiles}"
        text += ", sums apart" * self.sums_apart
        if self.blocks is not None:
            return f"{text}, blocks {self.blocks.m}x{self.blocks.n}"
        if self.panels is None:
            return f"{text}, order mnk"
        shapes = " ".join(f"{p.m1 - p.m0}x{p.n1 - p.n0}" for p in self.panels.panels)
        return f"{text}, panels {shapes}"


@dataclass(frozen=True)
class TiledGraph:
    """A graph and a tiling for each node, by node name (None where nothing is executed)."""

    graph: Graph
    tilings: Mapping[str, Any]

    def lines(self) -> Iterator[str]:
        yield from self.graph.lines()
        for node in self.graph.nodes:
            yield f"  {node.name}: {self.tilings[node.name] or 'a view'}"

    def verify(self) -> None:
        self.graph.verify()
        assert self.tilings.keys() == {node.name for node in self.graph.nodes}
