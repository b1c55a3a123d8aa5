"""The edges of a matmul's tiles, where the machine file does not write them: found by measuring.

Tiles that fill the array are the usual ones (`Tile` in hwmodel/sections.py). For each layer some others are tried,
alone (`edges_alone.py`). But tiles are also what layers pass each other: a reader that cuts a tensor otherwise than its
maker finds nothing of it in SRAM. So what suits each layer alone is but a proposal, and the network as a whole says
which one is taken (`edges_search.py`). Whoever works on a matmul's result element by element, or row by row, takes its
edges.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from minisim.compiler.decisions import key_of, known, remember
from minisim.compiler.graph import Graph, Node
from minisim.compiler.mapping import ALL, Edges
from minisim.compiler.ops import OPERATORS
from minisim.compiler.ops.elementwise import number_of
from minisim.compiler.passes.choose import operations
from minisim.compiler.passes.edges_alone import scales_of, tried_alone
from minisim.compiler.passes.edges_search import Plan, Tiled, count_of, is_cut_alike, searched
from minisim.compiler.passes.excerpt import Excerpt
from minisim.compiler.passes.measure import Measured
from minisim.compiler.passes.repeats import Short
from minisim.compiler.scales import USUAL, Machines, Scale, followed, sizes_of, with_edges
from minisim.compiler.tiling import TiledGraph, executed_of
from minisim.hwmodel.config import Machine


def soonest(graph: Graph, machine: Machine, tiled: Tiled, most: int, fixed: Machines) -> TiledGraph:
    """The graph tiled with the edges that end soonest; if that was found out before (`decisions.py`), not anew.

    Args:
        most: operations of the array and the vector unit that other edges may take.
        fixed: of nodes whose edges are given, or of `ALL` that have no others.
    """
    nodes = executed_of(graph)

    def planned(plan: Plan) -> TiledGraph:
        whole = with_edges(machine, plan.whole)
        return tiled(graph, whole, followed(nodes, plan.own, machine, fixed, whole))

    if ALL in fixed:
        return tiled(graph, fixed[ALL], followed(nodes, {}, machine, fixed, fixed[ALL]))
    if not scales_of(machine):
        return planned(Plan(USUAL, {}))
    key = key_of([*graph.lines(), *what_counts(graph, machine, fixed), str(most)])
    plan = _plan(known(key), nodes)
    found = planned(plan) if plan else None
    if plan is None or found is None or count_of(found) > most:
        usual = (OPERATORS[node.op].cut(node, graph, fixed.get(node.name, machine)) for node in nodes)
        short = Short(graph, fixed, sum(operations(cut) for cut in usual))
        plan, found = searched(short.graph, machine, tiled, most, fixed, short.more)
        if short:
            of = {node.name: short.stands[node.name] for node in nodes}
            plan = Plan(plan.whole, {name: plan.own[kept] for name, kept in of.items() if kept in plan.own})
            found = planned(plan)
            if count_of(found) > most:
                plan = Plan(USUAL, {})
                found = planned(plan)
        at = {node.name: i for i, node in enumerate(nodes)}
        remember(key, {"whole": plan.whole, "own": [[at[name], scale] for name, scale in plan.own.items()]})
    return found


def what_counts(graph: Graph, machine: Machine, fixed: Machines) -> Iterator[str]:
    """What a decision depends on beside what a graph's lines say."""
    yield machine.model_dump_json(exclude={"name"})
    yield f"{sorted(machine.tile.follows)}"
    for name, of in fixed.items():
        yield f"{name} {of.tile.m} {of.tile.k} {of.tile.n}"
    for tensor in graph.tensors.values():
        is_number = number_of(tensor) is not None
        if is_number or tensor.slab or tensor.window:
            yield f"{tensor.name} {is_number} {tensor.slab} {tensor.window}"


def _plan(decision: Any, nodes: Sequence[Node]) -> Plan | None:
    """The plan that a decision says, if it is one of these nodes."""
    try:
        whole, own = _scale(decision["whole"]), {nodes[int(at)].name: _scale(scale) for at, scale in decision["own"]}
    except (TypeError, ValueError, KeyError, IndexError):
        return None
    return Plan(whole, own)


def _scale(numbers: Any) -> Scale:
    m, k, n = (float(number) for number in numbers)
    if not all(2**-12 <= number <= 2**12 for number in (m, k, n)):
        raise ValueError(numbers)
    return m, k, n


class Choice(NamedTuple):
    """The edges of a layer's tiles, and what it takes on these and on the others that were tried, alone."""

    layer: str
    edges: Edges
    tried: Mapping[Edges, Measured]


def choices(tiled: TiledGraph, machine: Machine) -> list[Choice]:
    """What was chosen for `machine`: of all layers (`ALL`), if there are some whose edges are not chosen one by one;
    and of each layer whose edges are."""
    nodes = tiled.executed()
    found = []
    is_some_alike = any(is_cut_alike(node, tiled.graph) for node in nodes)
    if tiled.edges and is_some_alike and machine.matrix.model != "scalesim":
        found.append(Choice(ALL, tiled.edges, {}))
    for node in nodes:
        if sizes_of(node, tiled.graph):
            tried = tried_alone(Excerpt([node], tiled.graph), machine) if scales_of(machine) else {}
            cut = {_cut(node, tiled.graph, with_edges(machine, scale)): each for scale, each in tried.items()}
            tiling = tiled.tilings[node.name]
            found.append(Choice(node.name, (tiling.m, tiling.k, tiling.n), cut))
    return found


def _cut(node: Node, graph: Graph, machine: Machine) -> Edges:
    tiling = OPERATORS[node.op].cut(node, graph, machine)
    return tiling.m, tiling.k, tiling.n
