"""Choosing among tilings that others have to do with: they are compiled along with the operators around the node.

An operator may work on the tiles of its neighbours, which then stay in SRAM from one to the next, or on tiles of its
own, which go through DRAM but suit it better (`Operator.in_context`). Which of it is better, the layer alone can't say.
So each is scheduled with who makes the node's operands and who reads its results, as if they were all there is, in
slices where these are better, and the one that ends first is taken, by the recurrence of dispatch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from minisim.compiler.graph import Graph, Node
from minisim.compiler.ops import OPERATORS
from minisim.compiler.passes.choose import chosen
from minisim.compiler.passes.excerpt import Excerpt
from minisim.compiler.passes.lower import Lower
from minisim.compiler.passes.schedule import Allocate
from minisim.compiler.passes.slice import Slice
from minisim.compiler.tiling import TiledGraph, Tiling
from minisim.errors import CapacityError
from minisim.hwmodel.config import Machine
from minisim.hwmodel.recurrence import expected_starts

MOST = 12_000
"""Operations of the array, of the node and those around it, up to which that is done."""


def tilings(nodes: Sequence[Node], graph: Graph, machines: Mapping[str, Machine]) -> dict[str, Tiling]:
    """By name, the tilings of `nodes`, which are those of `graph` that are executed, on one core.

    Args:
        machines: the machine as it is to each node (`edges.py`).
    """
    found = {node.name: chosen(node, graph, machines[node.name]) for node in nodes}
    for node in nodes:
        choice = OPERATORS[node.op].in_context(node, graph, machines[node.name])
        if len(choice) > 1:
            found[node.name] = _in_context(node, choice, nodes, graph, machines[node.name], found)
    return found


def _in_context(
    node: Node,
    choice: Sequence[Tiling],
    nodes: Sequence[Node],
    graph: Graph,
    machine: Machine,
    known: Mapping[str, Tiling],
) -> Tiling:
    """Which of these `node` takes, as others have the tilings that are known."""
    around = [
        each for each in nodes
        if each is node or set(each.outputs) & set(node.present) or set(node.outputs) & set(each.present)
    ]  # fmt: skip
    cut = [known[each.name] for each in around]
    if sum(tiling.m_tiles * tiling.k_tiles * tiling.n_tiles for tiling in cut) > MOST:
        return known[node.name]
    of_others = tuple(None if each is node else tiling for each, tiling in zip(around, cut, strict=True))
    return _soonest(Excerpt(around, graph), machine, of_others, choice)


@lru_cache(maxsize=256)
def _soonest(part: Excerpt, machine: Machine, of_others: Sequence[Tiling | None], tilings: Sequence[Tiling]) -> Tiling:
    ends = [_end(part.graph, machine, [tiling or mine for tiling in of_others]) for mine in tilings]
    return tilings[ends.index(min(ends))]


def _end(graph: Graph, machine: Machine, found: Sequence[Tiling]) -> float:
    tiled = TiledGraph(graph, {node.name: tiling for node, tiling in zip(graph.nodes, found, strict=True)})
    try:
        schedule = Allocate(machine).apply(Lower(machine).apply(Slice(machine).apply(tiled)))
    except CapacityError:
        return float("inf")
    return float(expected_starts(schedule, machine).max())
