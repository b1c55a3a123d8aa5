"""Tiling: each operator chooses the size and the order of its tiles for the machine, and who computes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace

from minisim.compiler.graph import Graph, Node, view_2d
from minisim.compiler.mapping import ALL, Edges, check_layers
from minisim.compiler.ops import OPERATORS
from minisim.compiler.passes.choose import chosen
from minisim.compiler.passes.context import tilings as tilings_of
from minisim.compiler.passes.edges import soonest
from minisim.compiler.scales import Machines, mapped
from minisim.compiler.shares import Splitter
from minisim.compiler.slabs import tiles_apart
from minisim.compiler.tiling import TiledGraph, executed_of, tile_height
from minisim.errors import CapacityError
from minisim.hwmodel.config import Machine

MAX_OPERATIONS = 10_000_000
"""Operations of the array and the vector unit: compiling that many takes many minutes, and about 10 GB of memory."""


@dataclass(frozen=True)
class Tile:
    """Graph -> TiledGraph.

    Raises:
        CapacityError: the tiles need more than `max_operations`; found before anything is made of them.
        ModelError: `mapping` is not for this graph, or this machine.
    """

    machine: Machine
    max_operations: int = MAX_OPERATIONS
    mapping: Mapping[str, Edges] = field(default_factory=dict)
    name: str = "tile"

    def apply(self, graph: Graph) -> TiledGraph:
        slabs = with_slabs(graph, self.machine)
        executed = executed_of(graph)
        check_layers(self.mapping, slabs, self.machine)
        fixed = mapped(self.machine, self.mapping)
        self._check_operations(slabs, executed, fixed)
        return soonest(slabs, self.machine, self._tiled, self.max_operations, fixed)

    def _tiled(self, graph: Graph, whole: Machine, machines: Machines) -> TiledGraph:
        graph = with_slabs(graph, whole)
        executed = executed_of(graph)
        edges = whole.tile.m, whole.tile.k, whole.tile.n
        if self.machine.cores.count == 1:
            return TiledGraph(graph, tilings_of(executed, graph, machines), edges=edges)
        tilings = {node.name: chosen(node, graph, machines[node.name]) for node in executed}
        return TiledGraph(graph, Splitter(graph, self.machine, tilings).best(), edges=edges)

    def _check_operations(self, graph: Graph, executed: Sequence[Node], fixed: Machines) -> None:
        whole = fixed.get(ALL, self.machine)
        count = sum(OPERATORS[node.op].fewest(node, graph, whole) for node in executed)
        if count <= self.max_operations:
            cuts = [OPERATORS[node.op].cut(node, graph, fixed.get(node.name, whole)) for node in executed]
            count = sum(cut.m_tiles * cut.k_tiles * cut.n_tiles for cut in cuts)
        if count > self.max_operations:
            raise CapacityError(
                f"model {graph.name!r} takes at least {count:,} operations on tiles of this size, more than "
                f"{self.max_operations:,}: choose larger tiles or a smaller model, or allow it (--max-operations)"
            )


def with_slabs(graph: Graph, machine: Machine) -> Graph:
    """`graph`, whose tensors know which of them are cut slab by slab: a matmul of a batch cuts its result so, and
    whoever works on that along with it."""
    result = copy(graph)
    result.tensors = {name: replace(tensor, graph=result, slab=0) for name, tensor in graph.tensors.items()}
    for node in graph.nodes:
        if node.op in OPERATORS and (slab := OPERATORS[node.op].slab(node, result)):
            output = result.tensors[node.output]
            apart = tiles_apart(slab, view_2d(output.shape)[0], tile_height(slab, machine))
            result.tensors[node.output] = replace(output, slab=apart)
    return result
