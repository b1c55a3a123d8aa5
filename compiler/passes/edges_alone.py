"""Which edges of tiles suit a matmul alone: some are tried, as if the layer were all there is.

In a small SRAM few tiles of the usual edges have room, and nothing is loaded ahead; of a layer that is thin in one
direction larger ones save start-ups. Each is tried with the panels that suit it, of a large layer its beginning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import product
from math import prod

from minisim.compiler.graph import Graph, Node, Tensor, view_2d
from minisim.compiler.ops import OPERATORS
from minisim.compiler.passes.choose import begun, operations
from minisim.compiler.passes.excerpt import Excerpt
from minisim.compiler.passes.measure import FEW, Measured, measured
from minisim.compiler.scales import HALF, USUAL, Scale, sizes_of, with_edges
from minisim.compiler.shares import Splitter
from minisim.compiler.tiling import TiledGraph, chooses
from minisim.hwmodel import isa
from minisim.hwmodel.config import Machine
from minisim.hwmodel.cost import array_bound, matmul_cycles, roofline

SCALES: tuple[tuple[Scale, ...], ...] = (
    (),
    (HALF, (0.25, 0.25, 0.25), (4, 2, 0.5), (0.5, 0.25, 1)),
    tuple((m, k, n) for m, k, n in product((1, 0.5, 0.25, 2, 4), repeat=3) if (m, k, n) != USUAL),
)
"""What is tried beside the usual edges, by `compiler.effort`: nothing; of 150 random matmuls on two machines with SRAM
for 1 to 64 tiles (a third of them with a banked DRAM) those four that together save the most, in turn; all of them."""

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

Tried = Mapping[Scale, Measured]
"""What a layer alone takes on tiles of the usual edges, and of others that were worth trying."""


def scales_of(machine: Machine) -> Sequence[Scale]:
    """What is tried on a machine."""
    return SCALES[machine.compiler.effort] if chooses(machine) else ()


@lru_cache(maxsize=512)
def tried_alone(layer: Excerpt, machine: Machine, slack: float = 0.0) -> Tried:
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
            if is_new and array_cycles(node, layer.graph, tries.cut(scale), machine) >= min(
                each.cycles for each in found.values()
            ):
                continue
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
        self.sizes, self.machine = sizes_of(node, layer.graph), machine
        usual = self.cut(USUAL)
        tiles = self._tiles(usual)
        self.known, self.most = {usual}, max(PART, min(FINE * tiles, max(LARGE, 2 * tiles)))

    def differs(self, scale: Scale) -> bool:
        edges = self.cut(scale)
        if edges in self.known or self._tiles(edges) > self.most:
            return False
        self.known.add(edges)
        return True

    def cut(self, scale: Scale) -> tuple[int, ...]:
        """The edges of the tiles, none beyond the layer."""
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


def array_cycles(node: Node, graph: Graph, edges: Sequence[int], machine: Machine) -> float:
    """What the arrays alone take for a matmul in tiles of these edges: no schedule of them is sooner. 0 of nodes whose
    edges are not chosen one by one."""
    sizes = sizes_of(node, graph)
    if sizes is None:
        return 0.0
    a, b = (graph.tensors[name] for name in node.present[:2])
    return array_bound(sizes, edges, machine, a.code, b.kept) / machine.cores.count


def _bound(layer: Excerpt, machine: Machine) -> float:
    """Cycles that no tiling of the layer is below: of the array with the whole layer as a tile, and of each byte moved
    once."""
    graph = layer.graph
    (node,) = graph.nodes
    m, k, n = sizes_of(node, graph) or (1, 1, 1)
    a, b = (graph.tensors[name] for name in node.present[:2])
    kept = b.kept.of(k) if b.kept else 0
    packed = b.packed.bytes(*view_2d(b.shape)) if b.packed and b.packed.on_chip else 0
    _, array, _ = matmul_cycles(m, k, n, 1, machine, dtype=a.code, kept=kept, packed=packed)
    read, written = (sum(_bytes(graph.tensors[name]) for name in names) for names in (node.present, node.outputs))
    roof = roofline(0, 0, read, written, machine)
    return max(float(array) / machine.cores.count, float(roof.load_port), float(roof.store_port), float(roof.dram))


def _bytes(tensor: Tensor) -> int:
    """Bytes that a tensor has in DRAM."""
    if tensor.packed:
        return tensor.packed.bytes(*view_2d(tensor.shape))
    item = isa.ITEMSIZE[tensor.code]
    return tensor.kept.bytes(*view_2d(tensor.shape), item) if tensor.kept else prod(tensor.shape) * item
