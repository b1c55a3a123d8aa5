"""The edges of a matmul's tiles, where the machine file does not write them: found by measuring.

Tiles that fill the array are the usual ones (`Tile` in hwmodel/sections.py). In a small SRAM few of them have room, and
nothing is loaded ahead; of a layer that is thin in one direction larger ones save start-ups. So for each layer some
others are tried, alone and of a large layer its beginning, each with the panels that suit it, and timed (`measure.py`).

But tiles are also what layers pass each other: a reader that cuts a tensor otherwise than its maker finds nothing of it
in SRAM. So what suits each layer alone is but a proposal. Another one is that all take the edges of one scale; and the
usual edges. Whoever works on a matmul's result element by element, or row by row, takes its edges. The network as a
whole says which proposal is taken; and if it is small, whether another layer's other edges are better inside it.

Convolutions and matmuls of batches read tiles that others cut, too, so theirs are not chosen one by one: the network
as a whole is tried on tiles of other scales (`ALIKE`), pools and all. Within those a convolution chooses its own still
(`conv_cuts.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import product
from math import inf, prod
from typing import Any, NamedTuple

from minisim.compiler.decisions import key_of, known, remember
from minisim.compiler.graph import Graph, Node
from minisim.compiler.mapping import ALL, Edges
from minisim.compiler.ops import OPERATORS
from minisim.compiler.ops.elementwise import number_of
from minisim.compiler.passes.choose import begun, operations
from minisim.compiler.passes.excerpt import Excerpt
from minisim.compiler.passes.measure import FEW, NEVER, Measured, Repeats, best, measured
from minisim.compiler.passes.repeats import Short
from minisim.compiler.shares import Splitter
from minisim.compiler.tiling import TiledGraph, Tiling, executed_of
from minisim.hwmodel import isa
from minisim.hwmodel.config import Machine
from minisim.hwmodel.cost import matmul_cycles, roofline

Scale = tuple[float, float, float]
"""Edges m, k, n in parts of the usual ones."""

USUAL: Scale = (1, 1, 1)
HALF: Scale = (0.5, 0.5, 0.5)

SCALES: tuple[tuple[Scale, ...], ...] = (
    (),
    (HALF, (0.25, 0.25, 0.25), (4, 2, 0.5), (0.5, 0.25, 1)),
    tuple((m, k, n) for m, k, n in product((1, 0.5, 0.25, 2, 4), repeat=3) if (m, k, n) != USUAL),
)
"""What is tried beside the usual edges, by `compiler.effort`: nothing; of 150 random matmuls on two machines with SRAM
for 1 to 64 tiles (a third of them with a banked DRAM) those four that together save the most, in turn; all of them."""

ALIKE: tuple[tuple[Scale, ...], ...] = (
    (),
    ((0.5, 1, 1), (2, 1, 1), HALF),
    (*product((1, 0.5, 2, 0.25, 4), (1, 0.5, 2), (1, 0.5, 2)), (0.25, 0.25, 0.25)),
)
"""What is tried for a network as a whole, by `compiler.effort`, if it has layers whose edges are not chosen one by one:
convolutions, matmuls of batches, what moves elements. Then pools and all that stands between them has these, too."""

THEN: dict[Scale, tuple[Scale, ...]] = {
    (0.5, 1, 1): ((0.25, 1, 1), (1, 0.5, 0.5)),
    HALF: ((0.25, 0.25, 0.25), (1, 0.5, 0.5)),
    (2, 1, 1): ((2, 2, 2),),
}
"""What is tried behind those, where one of them is the best so far; behind halves also where none fits."""

WHOLE, WHOLES = (0, 60_000, 2_000_000), (0, 3, 50)
"""By `compiler.effort`, operations of the array that are scheduled at most to try that: so many, or so many times those
of the network on the usual tiles."""

PART = 1_500
"""Operations of the array that are tried of a layer: of more the first panels, which tell of the rest."""

TRIES = (0, 12, 200)
"""By `compiler.effort`, how many other edges are tried for a layer at most."""

FINE, LARGE = 16, 100_000
"""How many times as many operations of the array as on the usual tiles other ones may take; but of a layer that is
large anyway only twice as many."""

TRIAL = 20_000
"""Operations of the array that a try takes at most: of a layer whose panels are larger than that nothing is tried."""

NEAR = 1.02
"""A layer that takes no longer than this, over what its busiest unit has to do, is not bettered by much."""

WORTH = 0.01
"""The part of a network's cycles that a layer must be able to save for its own edges to be tried in a network whose
tiles are all of one scale: there they cost what its neighbours no longer find in SRAM."""

OPERATIONS, TIMES = (0, 40_000, 400_000), (0, 8, 64)
"""By `compiler.effort`, how many operations are scheduled at most, and how often the whole, to try one layer's edges
after the other's inside it: of a large network none."""

LAYER = 500
"""So many operations are scheduled in the time that a layer takes however small it is."""

Machines = Mapping[str, Machine]
"""By node the machine as it is to it: with the edges of its tiles."""

Scales = Mapping[str, Scale]
"""By node whose edges can be chosen."""


class Plan(NamedTuple):
    """The edges of a network's tiles: of all layers, and of the matmuls that have others."""

    whole: Scale
    own: Scales


Tiled = Callable[[Graph, Machine, Machines], TiledGraph]
"""Tiles a graph, given the machine as it is to all of it, and to each node."""


def soonest(graph: Graph, machine: Machine, tiled: Tiled, most: int, fixed: Machines) -> TiledGraph:
    """The graph tiled with the edges that end soonest; if that was found out before (`decisions.py`), not anew.

    Args:
        most: operations of the array and the vector unit that other edges may take.
        fixed: of nodes whose edges are given, or of `ALL` that have no others.
    """
    nodes = executed_of(graph)

    def planned(plan: Plan) -> TiledGraph:
        whole = with_edges(machine, plan.whole)
        return tiled(graph, whole, _followed(nodes, plan.own, machine, fixed, whole))

    if ALL in fixed:
        return tiled(graph, fixed[ALL], _followed(nodes, {}, machine, fixed, fixed[ALL]))
    if not scales_of(machine):
        return planned(Plan(USUAL, {}))
    key = key_of([*graph.lines(), *what_counts(graph, machine, fixed), str(most)])
    plan = _plan(known(key), nodes)
    found = planned(plan) if plan else None
    if plan is None or found is None or _count(found) > most:
        usual = (OPERATORS[node.op].cut(node, graph, fixed.get(node.name, machine)) for node in nodes)
        short = Short(graph, fixed, sum(operations(cut) for cut in usual))
        plan, found = _searched(short.graph, machine, tiled, most, fixed, short.more)
        if short:
            of = {node.name: short.stands[node.name] for node in nodes}
            plan = Plan(plan.whole, {name: plan.own[kept] for name, kept in of.items() if kept in plan.own})
            found = planned(plan)
            if _count(found) > most:
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


def _searched(
    graph: Graph, machine: Machine, tiled: Tiled, most: int, fixed: Machines, repeats: Repeats = ()
) -> tuple[Plan, TiledGraph]:
    """The plan that ends soonest, found out; and the graph as it tiles it."""
    nodes = executed_of(graph)
    scales, effort = scales_of(machine), machine.compiler.effort
    wholes = ALIKE[effort] if any(is_cut_alike(node, graph) for node in nodes) else ()
    search = _Search(graph, machine, tiled, most, fixed, repeats)
    if wholes:
        search.is_best(Plan(USUAL, {}))
    slack = WORTH * search.known[0].cycles if wholes and search.fits else 0.0
    free = [node for node in nodes if _sizes(node, graph) and node.name not in fixed]
    tried = {node.name: _tried(Excerpt([node], graph), machine, slack) for node in free}
    tried = {name: found for name, found in tried.items() if _gain(found) >= slack}
    proposals = _proposals(tried, scales)
    if len(proposals) == 1 and not wholes:
        return Plan(USUAL, {}), tiled(graph, machine, _followed(nodes, {}, machine, fixed, machine))
    for own in proposals:
        search.is_best(Plan(USUAL, own))
    most_spent = search.spent + max(WHOLE[effort], WHOLES[effort] * search.counts[0])
    for scale in wholes:
        search.is_best(Plan(scale, {}), most_spent - search.spent)
    for scale in THEN.get(search.plan.whole if search.fits else HALF, ()) if wholes else ():
        if scale not in wholes:
            search.is_best(Plan(scale, {}), most_spent - search.spent)
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


class _Search:
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
        found = self._tiled(self._graph, whole, _followed(self._nodes, plan.own, self._machine, self._fixed, whole))
        if found.tilings in self._seen:
            return False
        self._seen.append(found.tilings)
        count = _count(found)
        self.counts.append(count)
        is_allowed = not self.known or count <= most
        self.known.append(measured(found, self._machine, repeats=self._repeats) if is_allowed else NEVER)
        self.spent += count if is_allowed else 0
        if best(self.known) < len(self.known) - 1:
            return False
        self.plan, self.best = plan, found
        return True


def _count(tiled: TiledGraph) -> int:
    """Operations of the array and the vector unit."""
    return sum(operations(tiling) for tiling in tiled.tilings.values())


def is_cut_alike(node: Node, graph: Graph) -> bool:
    """Whether a node's edges are neither chosen by themselves nor those of what it works on."""
    return not _sizes(node, graph) and not OPERATORS[node.op].takes_edges


def scales_of(machine: Machine) -> Sequence[Scale]:
    """What is tried on a machine."""
    is_free = machine.compiler.order == "auto" and machine.matrix.model != "scalesim"
    return SCALES[machine.compiler.effort] if is_free else ()


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
        if _sizes(node, tiled.graph):
            tried = _tried(Excerpt([node], tiled.graph), machine) if scales_of(machine) else {}
            cut = {_cut(node, tiled.graph, with_edges(machine, scale)): each for scale, each in tried.items()}
            tiling = tiled.tilings[node.name]
            found.append(Choice(node.name, (tiling.m, tiling.k, tiling.n), cut))
    return found


def _cut(node: Node, graph: Graph, machine: Machine) -> Edges:
    tiling = OPERATORS[node.op].cut(node, graph, machine)
    return tiling.m, tiling.k, tiling.n


Tried = Mapping[Scale, Measured]
"""What a layer alone takes on tiles of the usual edges, and of others that were worth trying."""


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


def _followed(nodes: Sequence[Node], scales: Scales, machine: Machine, fixed: Machines, whole: Machine) -> Machines:
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


def _sizes(node: Node, graph: Graph) -> tuple[int, int, int] | None:
    return OPERATORS[node.op].sizes(node, graph)


@lru_cache(maxsize=512)
def _tried(layer: Excerpt, machine: Machine, slack: float = 0.0) -> Tried:
    """What the layer takes on tiles of the usual edges, and of others that are worth trying: those of `SCALES`, then
    what differs from the best ones in one edge, as long as that is better. Nothing, where nothing can be tried.

    Args:
        slack: cycles that are not worth more tries.
    """
    (node,) = layer.graph.nodes
    if not machine.tile.follows or _of_a_try(node, layer.graph, machine) > TRIAL:
        return {}
    tries, found = _Tries(layer, machine), {USUAL: _alone(layer, machine, machine)}
    bound, effort = _bound(layer, machine), machine.compiler.effort
    near = max(NEAR * bound, bound + slack)

    def try_all(scales: Iterable[Scale]) -> bool:
        """Whether one of them is the best so far."""
        before = min(each.cycles for each in found.values())
        for scale in scales:
            if len(found) > TRIES[effort] or min(each.cycles for each in found.values()) <= near:
                break
            changed = with_edges(machine, scale)
            is_new = scale not in found and tries.differs(scale)
            if is_new and _of_a_try(node, layer.graph, changed) <= TRIAL:
                found[scale] = _alone(layer, machine, changed)
        return min(each.cycles for each in found.values()) < (1 - FEW) * before

    try_all(SCALES[effort])
    while try_all(_beside(min(found, key=lambda scale: found[scale].cycles))):
        pass
    return found


def _beside(scale: Scale) -> Iterator[Scale]:
    for at in range(3):
        for part in (0.5, 2.0):
            yield tuple(x * part if i == at else x for i, x in enumerate(scale))  # type: ignore[misc]


class _Tries:
    """Which edges cut a layer otherwise than those that were tried, and not into very many tiles."""

    def __init__(self, layer: Excerpt, machine: Machine) -> None:
        (node,) = layer.graph.nodes
        self.sizes, self.machine = _sizes(node, layer.graph), machine
        usual = self._cut(USUAL)
        tiles = self._tiles(usual)
        self.known, self.most = {usual}, max(PART, min(FINE * tiles, max(LARGE, 2 * tiles)))

    def differs(self, scale: Scale) -> bool:
        edges = self._cut(scale)
        if edges in self.known or self._tiles(edges) > self.most:
            return False
        self.known.add(edges)
        return True

    def _cut(self, scale: Scale) -> tuple[int, ...]:
        tile = with_edges(self.machine, scale).tile
        return tuple(min(getattr(tile, edge), size) for edge, size in zip("mkn", self.sizes or (), strict=True))

    def _tiles(self, edges: tuple[int, ...]) -> int:
        return prod(-(-size // edge) for size, edge in zip(self.sizes or (), edges, strict=True))


def _of_a_try(node: Node, graph: Graph, machine: Machine) -> int:
    """Operations of the array that are tried of a layer; on several cores all that it has."""
    tiling = OPERATORS[node.op].tile(node, graph, machine)
    return operations(begun(tiling, PART) if machine.cores.count == 1 else tiling)


def _alone(layer: Excerpt, machine: Machine, changed: Machine) -> Measured:
    """What the layer, as if it were all there is, takes on the tiles of `changed`."""
    (node,) = layer.graph.nodes
    tiling = OPERATORS[node.op].tile(node, layer.graph, changed)
    if machine.cores.count > 1:
        return measured(TiledGraph(layer.graph, Splitter(layer.graph, machine, {node.name: tiling}).best()), machine)
    first = begun(tiling, PART)
    return measured(TiledGraph(layer.graph, {node.name: first}), machine, operations(tiling) / operations(first))


def _bound(layer: Excerpt, machine: Machine) -> float:
    """Cycles that no tiling of the layer is below: of the array with the whole layer as a tile, and of each byte moved
    once."""
    graph = layer.graph
    (node,) = graph.nodes
    m, k, n = _sizes(node, graph) or (1, 1, 1)
    _, array, _ = matmul_cycles(m, k, n, 1, machine, dtype=graph.tensors[node.present[0]].code)
    read, written = (
        sum(prod(graph.tensors[name].shape) * isa.ITEMSIZE[graph.tensors[name].code] for name in names)
        for names in (node.present, node.outputs)
    )
    roof = roofline(0, 0, read, written, machine)
    return max(float(array) / machine.cores.count, float(roof.load_port), float(roof.store_port), float(roof.dram))
