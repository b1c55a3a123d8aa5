"""The programs of a decoder, one token after the other: what is the same from token to token is decided once.

A program of one token reads all weights and t rows of the cache, and computes next to nothing: what counts is that the
DRAM is never idle, and that there are few operations. So edges of tiles are chosen for it by themselves, by timing it,
or (of a transformer by name) a model of two layers; each token then decides the rest on two layers, whose first one
stands for all but the last. Each token's program is there as a whole, and nothing of it is interpolated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

from minisim.compiler.decoders import Decoder
from minisim.compiler.frontend.pasts import Place
from minisim.compiler.graph import Graph
from minisim.compiler.mapping import ALL, Edges
from minisim.compiler.passes.dispatch import Dispatch
from minisim.compiler.passes.lower import Lower
from minisim.compiler.passes.measure import FEW
from minisim.compiler.passes.schedule import Allocate
from minisim.compiler.passes.tile import MAX_OPERATIONS, Tile, with_slabs
from minisim.compiler.pipeline import computed_graph
from minisim.compiler.room import with_room
from minisim.compiler.scales import Scale, mapped, with_edges
from minisim.compiler.tiling import TiledGraph, chooses, executed_of
from minisim.errors import CapacityError, NoRoomError
from minisim.hwmodel.config import Machine
from minisim.hwmodel.isa import Schedule
from minisim.hwmodel.native import simulate_native
from minisim.hwmodel.sparsity import moved_bytes

NEAR, MORE = 0.03, 2
"""How much later than the soonest other edges may end that are kept; and how many times the operations they have."""

LATE = 0.04
"""A token that is so much slower than the best one, against what it moves, is tried otherwise."""

SCALES: tuple[tuple[Scale, ...], ...] = (
    ((1, 1, 1),),
    ((1, 1, 1), (1, 0.5, 0.5), (1, 2, 2), (1, 4, 2), (1, 4, 4)),
    tuple((1.0, float(k), float(n)) for k in (0.5, 1, 2, 4, 8) for n in (0.5, 1, 2, 4, 8)),
)
"""The edges of tiles that are tried, in parts of the usual ones, by `compiler.effort`."""


class Timed(NamedTuple):
    """A program, and the cycles that it takes."""

    schedule: Schedule
    cycles: int


@dataclass
class TokenPrograms:
    """The programs that decode `model` on `machine`, with a cache of `capacity` tokens.

    Attributes:
        batch: sequences that are decoded together.
        page: the tokens of a page of the cache; 0: it lies as a whole.
        edges: of the tiles of all layers, once they are chosen; others that end about as soon are kept beside them.
    """

    model: Decoder
    machine: Machine
    capacity: int
    max_operations: int = MAX_OPERATIONS
    edges: Edges | None = None
    batch: int = 1
    page: int = 0
    _quick: Machine = field(init=False)
    _others: list[Edges] = field(default_factory=list)
    _slack: float = math.inf

    def __post_init__(self) -> None:
        compiler = self.machine.compiler.model_copy(update={"effort": 0, "slices": False})
        self._quick = self.machine.model_copy(update={"compiler": compiler})

    def schedule(self, past: int) -> Schedule:
        """The program of the token behind `past` ones; raises as `compile_graph` does."""
        return self.timed(past).schedule

    def timed(self, past: int) -> Timed:
        """The program of the token behind `past` ones, and the cycles that it takes.

        Now and then the tiles of a token lie in SRAM so that large ones find no room ahead, and it takes some percent
        longer than its neighbours. So one that is late (`LATE`) is also tried with the other edges.
        """
        if self.edges is None:
            self.edges, *self._others = with_room(self.machine, (), lambda on: self._chosen(on, past))
        found = self._program(past, self.edges)
        slack = self._slack_of(found)
        for edges in self._others:
            if slack <= (1 + LATE) * self._slack:
                break
            other = self._program(past, edges)
            if (1 + FEW) * (of_other := self._slack_of(other)) < slack:
                found, slack = other, of_other
        self._slack = min(self._slack, slack)
        return found

    def _slack_of(self, timed: Timed) -> float:
        """Its cycles over those in which the DRAM moves its bytes."""
        moved = int(moved_bytes(timed.schedule)[timed.schedule.transfers["tile"]].sum())
        return timed.cycles * float(self.machine.memory_bytes_per_cycle) / moved

    def _program(self, past: int, edges: Edges) -> Timed:
        graph, short = self._computed(self.model, past), self.model.short(self.batch)
        tiled = self._tiled(short, past, edges)
        if short != self.model:
            tilings = {node.name: tiled.tilings[self.model.stands_for(node.name)] for node in executed_of(graph)}
            (machine,) = mapped(self._quick, {ALL: edges}).values()
            tiled = TiledGraph(with_slabs(graph, machine), tilings, edges=edges)
        return self._timed(tiled)

    def _computed(self, model: Decoder, past: int) -> Graph:
        place = Place(1, past, self.capacity, self.batch, self.page)
        return computed_graph(model.graph(place), self.machine, numerics=False)

    def _tiled(self, model: Decoder, past: int, edges: Edges) -> TiledGraph:
        return Tile(self._quick, self.max_operations, {ALL: edges}).apply(self._computed(model, past))

    def _timed(self, tiled: TiledGraph) -> Timed:
        allocated = Allocate(self.machine, in_place=True).apply(Lower(self.machine).apply(tiled))
        schedule, costs = Dispatch(self.machine).with_costs(allocated)
        return Timed(schedule, simulate_native(schedule, self.machine, by_class=costs).cycles)

    def _chosen(self, on: Machine, past: int) -> list[Edges]:
        """The edges, those of `on` or parts of them, with which it ends soonest (or the short model does), those of the
        fewest operations first; and behind them others that end about as soon."""
        tried: list[tuple[int, int, Edges]] = []
        refused: CapacityError | None = None
        scales = SCALES[self.machine.compiler.effort if chooses(self.machine) else 0]
        for edges in dict.fromkeys(_edges(with_edges(on, scale)) for scale in scales):
            try:
                timed = self._timed(self._tiled(self.model.short(self.batch), past, edges))
            except CapacityError as e:
                refused = refused if isinstance(refused, NoRoomError) else e
                continue
            tried.append((timed.cycles, len(timed.schedule), edges))
        if not tried:
            assert refused is not None
            raise refused
        least = min(cycles for cycles, *_ in tried)
        soon = min((each for each in tried if each[0] <= (1 + FEW) * least), key=lambda each: each[1])
        most = (1 + NEAR) * least, MORE * soon[1]
        near = (each for each in tried if each[0] <= most[0] and each[1] <= most[1] and each != soon)
        return [edges for *_, edges in (soon, *sorted(near, key=lambda each: each[1]))]


def _edges(machine: Machine) -> Edges:
    return machine.tile.m, machine.tile.k, machine.tile.n
