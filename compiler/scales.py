"""Edges of a matmul's tiles as parts of the usual ones, which fill the array (`Tile` in hwmodel/sections.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from minisim.compiler.graph import Graph, Node
from minisim.compiler.mapping import Edges
from minisim.compiler.ops import OPERATORS
from minisim.hwmodel.config import Machine

Scale = tuple[float, float, float]
"""Edges m, k, n in parts of the usual ones."""

USUAL: Scale = (1, 1, 1)
HALF: Scale = (0.5, 0.5, 0.5)

Machines = Mapping[str, Machine]
"""By node the machine as it is to it: with the edges of its tiles."""

Scales = Mapping[str, Scale]
"""By node whose edges can be chosen."""


def sizes_of(node: Node, graph: Graph) -> tuple[int, int, int] | None:
    """M, K and N of a node whose edges can be chosen by themselves; None of others."""
    return OPERATORS[node.op].sizes(node, graph)


def followed(nodes: Sequence[Node], scales: Scales, machine: Machine, fixed: Machines, whole: Machine) -> Machines:
    """By node the machine with the edges of these `scales`, or the `fixed` one; a node that has neither takes those of
    whoever makes what it reads, or those of the `whole`."""
    found: dict[str, Machine] = {}
    maker = {name: node.name for node in nodes for name in node.outputs}
    for node in nodes:
        if node.name in fixed:
            found[node.name] = fixed[node.name]
        elif node.name in scales:
            found[node.name] = with_edges(machine, scales[node.name])
        elif OPERATORS[node.op].takes_edges:
            found[node.name] = found.get(maker.get(node.present[0], ""), whole)
        else:
            found[node.name] = whole
    return found


@lru_cache(maxsize=1024)
def with_edges(machine: Machine, scale: Scale) -> Machine:
    """`machine` whose tiles have edges in these parts of the usual ones, but for those that are written."""
    if scale == USUAL:
        return machine
    tile = machine.tile
    edges = {}
    for edge, part in zip("mkn", scale, strict=True):
        if edge in tile.follows:
            multiple, most = getattr(tile, f"multiple_{edge}"), getattr(tile, f"max_{edge}")
            edges[edge] = max(multiple, min(most, int(part * getattr(tile, edge))) // multiple * multiple)
    return _with(machine, edges)


def mapped(machine: Machine, mapping: Mapping[str, Edges]) -> Machines:
    """The machine as it is to the nodes whose edges a mapping gives."""
    return {name: _with(machine, dict(zip("mkn", edges, strict=True))) for name, edges in mapping.items()}


def _with(machine: Machine, edges: Mapping[str, int]) -> Machine:
    return machine.model_copy(update={"tile": machine.tile.model_copy(update=edges)})
