"""Tiling: each operator chooses the size and the order of its tiles for the machine, and who computes them."""

from __future__ import annotations

from dataclasses import dataclass

from minisim.compiler.graph import Graph
from minisim.compiler.ops import OPERATORS
from minisim.compiler.split import Splitter
from minisim.compiler.tiling import TiledGraph
from minisim.hwmodel.config import Machine


@dataclass(frozen=True)
class Tile:
    """Graph -> TiledGraph."""

    machine: Machine
    name: str = "tile"

    def apply(self, graph: Graph) -> TiledGraph:
        tilings = {node.name: OPERATORS[node.op].tile(node, graph, self.machine) for node in graph.nodes}
        if self.machine.cores.count > 1:
            tilings = Splitter(graph, self.machine, tilings).best()
        return TiledGraph(graph, tilings)
