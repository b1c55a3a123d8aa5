"""Choosing among tilings: each is compiled for its layer alone, and the recurrence of dispatch says how long it takes.

An operator lists the tilings that its estimate likes best (`Operator.candidates`). What the estimate does not know is
what the scheduler makes of them: which tiles it keeps, and where a queue waits for another one. So each is scheduled,
or its first panels (`PART`), as if the layer were all there is, and the one with the earliest end is taken
(`hwmodel/recurrence.py`); of about equal ones that with the fewest bytes to and from DRAM, and of those that with the
fewest operations, each of which takes its time to be compiled and simulated. But in a network a layer is not alone:
large tiles find no places between what its neighbours have left (`SMALL`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from minisim.compiler.graph import Graph, Node
from minisim.compiler.ops import OPERATORS
from minisim.compiler.passes.excerpt import Excerpt
from minisim.compiler.passes.tried import scheduled
from minisim.compiler.shares import Splitter
from minisim.compiler.tiling import TiledGraph, Tiling
from minisim.errors import CapacityError
from minisim.hwmodel.classes import class_costs
from minisim.hwmodel.config import Machine
from minisim.hwmodel.isa import Opcode, Queue
from minisim.hwmodel.recurrence import expected_starts

WORK = 12_000
"""Operations of the array that are scheduled to choose for one layer: of a large layer fewer tilings are tried."""

PART = 2_000
"""Operations of the array of which a tiling is tried: of a larger layer its first panels, which tell of the rest."""

ABOUT = 1.03
"""Ends, and bytes, that differ by less are taken as equal."""

SMALL = 0.005
"""The part of the SRAM that a tile may take without regard to what else lies there: fewer operations are no reason for
larger ones."""

NEAR = 1.02
"""A tiling that moves each tile once and ends within this of what its busiest unit has to do is not bettered by much:
no other one is tried."""


def chosen(node: Node, graph: Graph, machine: Machine) -> Tiling:
    """The tiling of `node`; on several cores without panels, which belong to their shares."""
    found = OPERATORS[node.op].candidates(node, graph, machine)
    if machine.cores.count > 1:
        found = tuple(dict.fromkeys(replace(tiling, panels=None) for tiling in found))
    work = np.cumsum([operations(begun(tiling)) for tiling in found])
    tried = found[: max(1, int(np.searchsorted(work, WORK, side="right")))]
    if len(tried) == 1:
        return tried[0]
    return _best(Excerpt([node], graph), machine, tried)


def operations(tiling: Tiling) -> int:
    """Operations of the array, of all panels if it has any."""
    if tiling.panels is None:
        return tiling.m_tiles * tiling.k_tiles * tiling.n_tiles
    return tiling.k_tiles * int(tiling.panels.panels.areas.sum())


def begun(tiling: Tiling, part: int = PART) -> Tiling:
    """The tiling with its first panels alone, of about so many operations of the array, but two at least."""
    if tiling.panels is None:
        return tiling
    count = max(2, 1 + int(np.searchsorted(tiling.k_tiles * np.cumsum(tiling.panels.panels.areas), part)))
    return replace(tiling, panels=replace(tiling.panels, panels=tiling.panels.panels[:count]))


@lru_cache(maxsize=512)
def _best(layer: Excerpt, machine: Machine, tilings: Sequence[Tiling]) -> Tiling:
    tried: list[_Tried] = []
    for tiling in tilings:
        tried.append(_Tried.of(layer, machine, tiling))
        if tried[-1].is_near:
            break
    soon = ABOUT * min(each.end for each in tried)
    few = ABOUT * min(each.moved for each in tried if each.end <= soon)
    good = (i for i, each in enumerate(tried) if each.end <= soon and each.moved <= few)
    small = SMALL * machine.sram.bytes

    def rank(i: int) -> tuple[float, ...]:
        x = tried[i]
        return (0, x.operations, x.moved, x.end) if x.largest <= small else (1, x.moved, x.end)

    return tilings[min(good, key=rank)]


class _Tried(NamedTuple):
    """What became of a tiling: when the layer would end, the bytes it moves, its operations, the bytes of its largest
    tile, and whether it is as good as can be."""

    end: float
    moved: float
    operations: int = 0
    largest: int = 0
    is_near: bool = False

    @classmethod
    def of(cls, layer: Excerpt, machine: Machine, tiling: Tiling) -> _Tried:
        first = begun(tiling)
        more = operations(tiling) / operations(first)
        try:
            tilings = {layer.graph.nodes[0].name: first}
            if machine.cores.count > 1:
                tilings = Splitter(layer.graph, machine, tilings).best()
            schedule = scheduled(TiledGraph(layer.graph, tilings), machine)
        except CapacityError:
            return cls(np.inf, np.inf)
        by_class, stream = class_costs(schedule, machine), schedule.stream
        each, of, times = by_class.each, by_class.of, by_class.counts
        ends = expected_starts(schedule, machine, by_class) + (each.setup + each.alone + each.latency)[of]
        dram = int(each.dram @ times)
        end = float(max(ends.max(), dram))
        moves = stream["opcode"] <= Opcode.STORE
        moved = np.bincount(schedule.transfers["tile"][stream["row"][moves]], minlength=len(schedule.tiles))
        largest = int(schedule.tile_bytes()[moved > 0].max(initial=0))
        unit = stream["core"].astype(np.int64) * len(Queue) + stream["queue"]
        busiest = np.bincount(unit, weights=each.alone[of]).max()
        near = bool(moved.max(initial=0) <= 1 and end <= NEAR * max(busiest, dram))
        return cls(more * end, more * float(each.bytes @ times), int(more * len(stream)), largest, near)
