"""Slicing: which layers are walked together, strip by strip (`slicing.py`)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice, takewhile

import numpy as np

from minisim.compiler.passes.choose import operations
from minisim.compiler.passes.lower import Lower
from minisim.compiler.passes.repeats import Short
from minisim.compiler.passes.schedule import Allocate, check_room
from minisim.compiler.program import Ids, Program
from minisim.compiler.slicing import Layers, Operations, interleaved, part
from minisim.compiler.tiling import TiledGraph, Tiling
from minisim.hwmodel.config import Machine
from minisim.hwmodel.recurrence import expected_starts

ROOM = 0.8
"""The part of the SRAM that a slice may take: the rest is for loads that run ahead of need."""

CLEAR = 2.0
"""How many times the SRAM must be passed between the layers of a slice for it to be worth it without a question."""


EFFORT = 3
"""How many times as many uOps as the program has are scheduled, at most, to find out what is better."""


@dataclass(frozen=True)
class Slice:
    """TiledGraph -> TiledGraph.

    The layers are taken in their order, as many into a slice as there is room for; then they are walked in rows of
    tiles, and not in panels. Where what they pass each other is much larger than the SRAM, that is better. Otherwise
    much of it may stay there anyway, and what a slice gains is that different units work at a time; so both ways are
    scheduled, with the layer behind them, and the sooner finished is taken.

    Attributes:
        refuses: what has no room is refused at once, as there is no other plan for the graph: slices change the order
            of operations, and none of their operands.

    Raises:
        NoRoomError: as `Allocate`, also of two layers that are tried.
    """

    machine: Machine
    refuses: bool = False
    name: str = "slice"

    def apply(self, tiled: TiledGraph) -> TiledGraph:
        compiler = self.machine.compiler
        if not compiler.slices or not compiler.keep_on_chip or compiler.order != "auto" or len(tiled.tilings) < 2:
            return tiled
        short = Short(tiled.graph, (), sum(map(operations, tiled.tilings.values())))
        if short:
            kept = _shortened(tiled, short)
            whole = short.whole(self._slices(Lower(self.machine).apply(kept), self._in_rows(kept)))
            if whole is not None:
                return _walked(tiled, whole)
        plain = Lower(self.machine).apply(tiled)
        if self.refuses:
            check_room(plain, self.machine)
        found = tuple(self._slices(plain, self._in_rows(tiled)))
        return _walked(tiled, found) if found else Lower(self.machine).at_hand(tiled, plain)

    def _in_rows(self, tiled: TiledGraph) -> Program:
        """The program of a graph whose layers are all walked in rows of tiles."""
        rows = {name: in_rows(tiling) for name, tiling in tiled.tilings.items()}
        return Lower(self.machine).apply(replace(tiled, tilings=rows))

    def _slices(self, plain: Program, in_rows: Program) -> list[Layers]:
        """Those of the layers that are walked together: the longest runs first, of which it is found out in turn
        whether they are better so; of those that are not, the halves."""
        operations = Operations.of(in_rows)
        waiting, found = deque(self._runs(operations, len(in_rows.layers))), []
        uops = np.bincount(plain.uops["layer"], minlength=len(plain.layers))
        left = EFFORT * len(plain.uops)
        while waiting:
            layers = waiting.popleft()
            if len(layers) < 2:
                continue
            passed = operations.peak(operations.all_of(layers), operations.between(layers))
            if passed > CLEAR * self.machine.sram.bytes:
                found.append(layers)
                continue
            left -= 2 * int(uops[layers.start : layers.stop + 1].sum())
            if left < 0:
                break
            if self._is_sooner(layers, plain, in_rows):
                found.append(layers)
            else:
                middle = (layers.start + layers.stop) // 2
                waiting += range(layers.start, middle), range(middle, layers.stop)
        return sorted(found, key=lambda layers: layers.start)

    def _runs(self, operations: Operations, layers: int) -> Iterator[Layers]:
        """As many layers together as there is room for, one run behind the other."""
        begin = 0
        while begin < layers:
            with_one_more = islice(operations.orders(range(begin, layers)), 1, None)
            end = begin + 1 + sum(1 for _ in takewhile(lambda order: self._has_room(operations, order), with_one_more))
            yield range(begin, end)
            begin = end

    def _has_room(self, operations: Operations, order: Ids) -> bool:
        return operations.peak(order) <= ROOM * self.machine.sram.bytes

    def _is_sooner(self, layers: Layers, plain: Program, in_rows: Program) -> bool:
        seen = range(layers.start, min(layers.stop + 1, len(plain.layers)))
        return self._last_start(interleaved(part(in_rows, seen), [layers])) < self._last_start(part(plain, seen))

    def _last_start(self, program: Program) -> int:
        return int(expected_starts(Allocate(self.machine).apply(program), self.machine).max())


def _shortened(tiled: TiledGraph, short: Short) -> TiledGraph:
    names = {node.name for node in short.graph.nodes}
    return TiledGraph(short.graph, {name: tiling for name, tiling in tiled.tilings.items() if name in names})


def _walked(tiled: TiledGraph, slices: tuple[Layers, ...]) -> TiledGraph:
    """`tiled`, whose layers in `slices` are walked in rows of tiles."""
    names = [node.name for node in tiled.executed()]
    walked = {names[i]: in_rows(tiled.tilings[names[i]]) for each in slices for i in each}
    return replace(tiled, tilings={**tiled.tilings, **walked}, slices=slices)


def in_rows(tiling: Tiling) -> Tiling:
    """`tiling`, walked in rows of tiles: the plain order of m, n, k."""
    shares = tuple(replace(share, panels=None) for share in tiling.shares)
    return replace(tiling, panels=None, shares=shares, in_rows=True)
