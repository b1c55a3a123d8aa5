"""Which edges of tiles suit a network: proposals for all of its layers are timed as a whole (`edges.py` says why).

What suits each layer alone is one proposal; that all take the edges of one scale another; and the usual edges. If the
network is small, single layers' other edges are tried inside it. Convolutions and matmuls of batches read tiles that
others cut, too, so theirs are not chosen one by one: the network as a whole is tried on tiles of other scales
(`ALIKE`), pools and all. Within those a convolution chooses its own still (`conv_cuts.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from math import inf, prod
from typing import NamedTuple

from minisim.compiler.graph import Graph, Node
from minisim.compiler.ops import OPERATORS
from minisim.compiler.passes.choose import operations
from minisim.compiler.passes.edges_alone import Tried, array_cycles, scales_of, tried_alone
from minisim.compiler.passes.excerpt import Excerpt
from minisim.compiler.passes.measure import NEVER, Measured, Repeats, best, measured
from minisim.compiler.scales import HALF, USUAL, Machines, Scale, Scales, followed, sizes_of, with_edges
from minisim.compiler.tiling import TiledGraph, Tiling, executed_of
from minisim.hwmodel.config import Machine

ALIKE: tuple[tuple[Scale, ...], ...] = (
    (),
    ((2, 1, 1), (0.5, 1, 1), HALF),
    (*product((1, 0.5, 2, 0.25, 4), (1, 0.5, 2), (1, 0.5, 2)), (0.25, 0.25, 0.25)),
)
"""What is tried for a network as a whole, by `compiler.effort`, if it has layers whose edges are not chosen one by one:
convolutions, matmuls of batches, what moves elements. Then pools and all that stands between them has these, too. Where
higher tiles are better than the usual ones lower ones are not tried at effort 1: of 42 networks, machines and sizes of
the SRAM none was best on these then."""

THEN: dict[Scale, tuple[Scale, ...]] = {
    (0.5, 1, 1): ((0.25, 1, 1), (1, 0.5, 0.5)),
    HALF: ((0.25, 0.25, 0.25), (1, 0.5, 0.5)),
    (2, 1, 1): ((2, 2, 2),),
    (2, 2, 2): ((4, 4, 4), (4, 2, 2)),
}
"""What is tried behind those, where one of them is the best so far, and then behind that; behind halves also where none
fits."""

WHOLE, WHOLES = (0, 60_000, 2_000_000), (0, 3, 50)
"""By `compiler.effort`, operations of the array that are scheduled at most to try that: so many, or so many times those
of the network on the usual tiles."""

WORTH = 0.01
"""The part of a network's cycles that a layer must be able to save for its own edges to be tried in a network whose
tiles are all of one scale: there they cost what its neighbours no longer find in SRAM."""

OPERATIONS, TIMES = (0, 40_000, 400_000), (0, 8, 64)
"""By `compiler.effort`, how many operations are scheduled at most, and how often the whole, to try one layer's edges
after the other's inside it: of a large network none."""

LAYER = 500
"""So many operations are scheduled in the time that a layer takes however small it is."""


class Plan(NamedTuple):
    """The edges of a network's tiles: of all layers, and of the matmuls that have others."""

    whole: Scale
    own: Scales


Tiled = Callable[[Graph, Machine, Machines], TiledGraph]
"""Tiles a graph, given the machine as it is to all of it, and to each node."""


def searched(
    graph: Graph, machine: Machine, tiled: Tiled, most: int, fixed: Machines, repeats: Repeats = ()
) -> tuple[Plan, TiledGraph]:
    """The plan that ends soonest, found out; and the graph as it tiles it."""
    nodes = executed_of(graph)
    scales, effort = scales_of(machine), machine.compiler.effort
    wholes = ALIKE[effort] if any(is_cut_alike(node, graph) for node in nodes) else ()
    search = Search(graph, machine, tiled, most, fixed, repeats)
    if wholes:
        search.is_best(Plan(USUAL, {}))
    slack = WORTH * search.known[0].cycles if wholes and search.fits else 0.0
    free = [node for node in nodes if sizes_of(node, graph) and node.name not in fixed]
    tried = {node.name: tried_alone(Excerpt([node], graph), machine, slack) for node in free}
    tried = {name: found for name, found in tried.items() if _gain(found) >= slack}
    proposals = _proposals(tried, scales)
    if len(proposals) == 1 and not wholes:
        return Plan(USUAL, {}), tiled(graph, machine, followed(nodes, {}, machine, fixed, machine))
    for own in proposals:
        search.is_best(Plan(USUAL, own))
    most_spent = search.spent + max(WHOLE[effort], WHOLES[effort] * search.counts[0])
    for scale in wholes:
        if effort > 1 or scale[0] >= 1 or search.plan.whole[0] <= 1:
            search.is_best(Plan(scale, {}), most_spent - search.spent)
    behind = list(THEN.get(search.plan.whole if search.fits else HALF, ())) if wholes else []
    while behind:
        scale = behind.pop(0)
        if scale not in wholes and search.is_best(Plan(scale, {}), most_spent - search.spent):
            behind += THEN.get(scale, ())
    if search.plan.whole != USUAL:
        search.is_best(Plan(search.plan.whole, proposals[-1]))
    left: float = OPERATIONS[effort]
    for name, scale in _one_by_one(tried)[: TIMES[effort]]:
        left -= min(search.known[0].operations + LAYER * len(nodes), left + 1)
        if left < 0:
            break
        if scale != search.plan.own.get(name, search.plan.whole):
            search.is_best(Plan(search.plan.whole, {**search.plan.own, name: scale}))
    return search.plan, search.best


class Search:
    """What was tried of a network, and the best of it so far.

    Attributes:
        known: what each plan took, in their order.
        counts: the operations of the array that each has; `spent`: those that were scheduled.
        plan, best: the best one, and the graph as it tiles it.
    """

    def __init__(
        self, graph: Graph, machine: Machine, tiled: Tiled, most: int, fixed: Machines, repeats: Repeats
    ) -> None:
        self.known: list[Measured] = []
        self.counts: list[int] = []
        self.spent = 0
        self._seen: list[Mapping[str, Tiling]] = []
        self._graph, self._machine, self._tiled, self._most, self._fixed = graph, machine, tiled, most, fixed
        self._repeats = repeats
        self._nodes = executed_of(graph)

    @property
    def fits(self) -> bool:
        """Whether there is room for any plan so far."""
        return min(each.cycles for each in self.known) < inf

    def is_best(self, plan: Plan, most: float = inf) -> bool:
        """Whether this is the best so far; then the graph tiled so is kept. With more than `most` operations of the
        array it is not tried, nor tiled if that is plain from its scale."""
        most = min(most, self._most)
        if self.counts and self.known[0] is not NEVER and self.counts[0] / prod(plan.whole) > 2 * most:
            return False
        whole = with_edges(self._machine, plan.whole)
        found = self._tiled(self._graph, whole, followed(self._nodes, plan.own, self._machine, self._fixed, whole))
        if found.tilings in self._seen or self._is_hopeless(found):
            return False
        self._seen.append(found.tilings)
        count = count_of(found)
        self.counts.append(count)
        is_allowed = not self.known or count <= most
        self.known.append(measured(found, self._machine, repeats=self._repeats) if is_allowed else NEVER)
        self.spent += count if is_allowed else 0
        if best(self.known) < len(self.known) - 1:
            return False
        self.plan, self.best = plan, found
        return True

    def _is_hopeless(self, tiled: TiledGraph) -> bool:
        """Whether the array alone takes longer for the matmuls than the best so far takes for all."""
        times = [1] * len(self._nodes)
        for each, more in self._repeats:
            times[each.start : each.stop] = [1 + more] * len(each)
        busy = 0.0
        for node, n in zip(self._nodes, times, strict=True):
            tiling = tiled.tilings[node.name]
            busy += n * array_cycles(node, tiled.graph, (tiling.m, tiling.k, tiling.n), self._machine)
        return busy > min((each.cycles for each in self.known), default=inf)


def count_of(tiled: TiledGraph) -> int:
    """Operations of the array and the vector unit."""
    return sum(operations(tiling) for tiling in tiled.tilings.values())


def is_cut_alike(node: Node, graph: Graph) -> bool:
    """Whether a node's edges are neither chosen by themselves nor those of what it works on."""
    return not sizes_of(node, graph) and not OPERATORS[node.op].takes_edges


def _gain(tried: Tried) -> float:
    """The cycles that the best edges save a layer alone; below 0 if none were tried."""
    if not tried:
        return -1.0
    usual, soonest = tried[USUAL].cycles, min(each.cycles for each in tried.values())
    return inf if usual == inf else usual - soonest


def _proposals(tried: Mapping[str, Tried], scales: Sequence[Scale]) -> list[Scales]:
    """The usual edges, what suits each layer alone, and what suits all of them best if it is the same for all."""
    sums = {scale: sum(each.get(scale, each[USUAL]).cycles for each in tried.values()) for scale in (USUAL, *scales)}
    alike = min(sums, key=lambda scale: sums[scale])
    found: list[Scales] = [
        dict.fromkeys(tried, USUAL),
        {name: list(each)[best(list(each.values()))] for name, each in tried.items()},
        {name: alike if alike in each else USUAL for name, each in tried.items()},
    ]
    return [each for i, each in enumerate(found) if each not in found[:i]]


def _one_by_one(tried: Mapping[str, Tried]) -> list[tuple[str, Scale]]:
    """The layers, the longest first, each with the two edges that suit it best; then each with the next two."""
    longest = sorted(tried, key=lambda name: -tried[name][USUAL].cycles)
    ranked = {name: sorted(each, key=lambda scale: each[scale].cycles) for name, each in tried.items()}
    return [(name, scale) for first in range(0, 6, 2) for name in longest for scale in ranked[name][first : first + 2]]
