"""Nested choices: what would be done on a poorer machine is tried on this one, so that more is never slower.

Panels, strips, slices and the split over cores are chosen by estimates, which may choose worse where there is more SRAM
or where there are more cores. But a schedule for half of a resource is one for the whole, too. So the graph is also
planned as if the machine had half of its SRAM, a quarter and so on, half of its cores, or an array half as high or
wide. Each plan that is another one is timed on the whole machine, and the soonest is taken: twice the machine chooses
among all that this one chose among. It often pays by itself: smaller panels finish their first sums sooner, and leave
room to load ahead.

The plans have the edges of tiles that were found for the whole machine (`edges.py`), but for those of a smaller array,
which have its own. Speeds are not halved: a faster memory or unit is seen in the timing (ADR 42 says what that leaves).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from minisim.compiler.decisions import key_of, known, remember
from minisim.compiler.mapping import ALL, Edges
from minisim.compiler.ops import OPERATORS
from minisim.compiler.passes.choose import operations
from minisim.compiler.passes.edges import what_counts
from minisim.compiler.passes.edges_search import is_cut_alike
from minisim.compiler.passes.measure import Measured, timed
from minisim.compiler.passes.slice import Slice
from minisim.compiler.passes.tile import MAX_OPERATIONS, Tile
from minisim.compiler.scales import mapped
from minisim.compiler.tiling import TiledGraph, chooses
from minisim.errors import CapacityError, ModelError, UnsupportedError
from minisim.hwmodel.config import Machine
from minisim.hwmodel.isa import ALIGNMENT

OPERATIONS = (0, 60_000, 600_000)
"""By `compiler.effort`, how many operations are scheduled at most to try other plans: in a large network none."""

LAYER, SWEPT = 2_000, 10_000
"""So many operations are scheduled in the time that it takes to plan a layer, and one that is chosen among sweeps or
strips by scheduling them: a convolution, a pool."""

ABOUT = 1.01
"""Cycles that differ by less are taken as equal: then the machine's own plan counts, or the fewest bytes."""

Plan = tuple[Machine, Mapping[str, Edges]]
"""The machine that is planned for, and the edges of its tiles by layer."""


@dataclass(frozen=True)
class Nest:
    """TiledGraph -> TiledGraph, in slices (`slice.py`): its own, or what a poorer machine would make of its graph.

    Attributes:
        max_operations: of the array and the vector unit, that another plan may take.
        mapping: edges that are given.
    """

    machine: Machine
    max_operations: int = MAX_OPERATIONS
    mapping: Mapping[str, Edges] = field(default_factory=dict)
    name: str = "slice"

    def apply(self, tiled: TiledGraph) -> TiledGraph:
        left = OPERATIONS[self.machine.compiler.effort] if chooses(self.machine) else 0
        if not left or 2 * sum(map(operations, tiled.tilings.values())) > left:  # two plans of it cannot be timed
            return Slice(self.machine, refuses=True).apply(tiled)
        tiled = Slice(self.machine).apply(tiled)
        plans = list(self._plans(tiled))
        more = what_counts(tiled.graph, self.machine, mapped(self.machine, self.mapping))
        key = key_of(["nest", *tiled.lines(), *more, str(self.max_operations)])
        which = known(key)
        if which not in range(len(plans) + 1) or isinstance(which, bool):
            which = self._soonest(tiled, plans)
            remember(key, which)
        return (which and self._planned(plans[which - 1], tiled)) or tiled

    def _soonest(self, tiled: TiledGraph, plans: Sequence[Plan]) -> int:
        """The number of the best plan, from 1 on; 0, if the machine's own is."""
        left: float = OPERATIONS[self.machine.compiler.effort]
        numbers, waiting, took, planning = [0], [tiled], list[Measured](), _planning(tiled)
        seen = {_what(tiled)}
        for number, plan in enumerate(plans, 1):
            left -= planning
            if left < 0:
                break
            if (other := self._planned(plan, tiled)) is None or (what := _what(other)) in seen:
                continue
            seen.add(what)
            numbers.append(number)
            for each in (*waiting, other):
                took.append(timed(each, self.machine))
                left -= min(took[-1].operations, left + 1)
            waiting.clear()
        if not took:
            return 0
        soon = ABOUT * min(each.cycles for each in took)
        good = [i for i, each in enumerate(took) if each.cycles <= soon]
        return numbers[min(good, key=lambda i: (i > 0, took[i].moved, took[i].cycles))]

    def _plans(self, tiled: TiledGraph) -> Iterator[Plan]:
        """Those that are tried, the most promising first."""
        machine, edges = self.machine, _edges(tiled)
        halves = [(_with(machine, "sram", bytes=size), edges) for size in _rungs(machine.sram.bytes)]
        yield from halves[:1]
        for count in _fewer(machine.cores.count):
            yield _with(machine, "cores", count=count), edges
        if machine.tile.follows:
            is_network = len(tiled.tilings) > 1  # a single layer was tried on edges of half of the array
            for key in ("rows", "cols", "arrays") if is_network else ("arrays",):
                if half := getattr(machine.matrix, key) // 2:
                    tile = machine.tile.on(machine.matrix.model_copy(update={key: half}))
                    yield machine, {ALL: (tile.m, tile.k, tile.n), **self.mapping}
        yield from halves[1:]

    def _planned(self, plan: Plan, tiled: TiledGraph) -> TiledGraph | None:
        """The graph as it is planned for a poorer machine; None, if that cannot run it, or takes no such tiles."""
        machine, edges = plan
        try:
            return Slice(machine).apply(Tile(machine, self.max_operations, edges).apply(tiled.graph))
        except (CapacityError, ModelError, UnsupportedError):
            return None


def _rungs(size: int) -> list[int]:
    """Half of so many bytes of SRAM, a quarter and so on: twice the SRAM has these, too."""
    return [part for i in range(1, size.bit_length()) if (part := (size >> i) // ALIGNMENT * ALIGNMENT)]


def _fewer(cores: int) -> list[int]:
    """Half of so many cores, and the next power of two: twice as many have these, too, and 6 what 4 have."""
    return sorted({cores // 2, 2 ** (cores.bit_length() - 1)} - {0, cores})


def _planning(tiled: TiledGraph) -> int:
    """What it takes to plan a graph, in operations that are scheduled."""
    nodes = tiled.executed()
    swept = sum(is_cut_alike(node, tiled.graph) for node in nodes)
    return LAYER * (len(nodes) - swept) + SWEPT * swept


def _with(machine: Machine, section: str, **keys: int) -> Machine:
    return machine.model_copy(update={section: getattr(machine, section).model_copy(update=keys)})


def _edges(tiled: TiledGraph) -> dict[str, Edges]:
    """The edges of its tiles, as a mapping says them."""
    found = {ALL: tiled.edges} if tiled.edges else {}
    for node in tiled.executed():
        if OPERATORS[node.op].sizes(node, tiled.graph):
            tiling = tiled.tilings[node.name]
            found[node.name] = tiling.m, tiling.k, tiling.n
    return found


def _what(tiled: TiledGraph) -> str:
    """What is done, and in which order: equal for plans that differ only in what they were made for."""
    found = hashlib.sha256(repr(tiled.slices).encode())
    for name, tiling in tiled.tilings.items():
        shares = tuple(replace(share, panels=None) for share in tiling.shares)
        plain = replace(tiling, panels=None, shares=shares)
        found.update(repr((name, plain, tiling.ahead_and_horizon())).encode())
        for column in tiling.walk():
            found.update(np.ascontiguousarray(column).tobytes())
    return found.hexdigest()
