"""Measuring: what is thought of is compiled to the end and timed, by the native event model.

An estimate chooses well among plans of the same tiles, and badly among tiles: what a queue waits for, which places are
free, what a banked DRAM makes of a row are all in the timing, and nowhere else. It costs about as much as scheduling.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minisim.compiler.passes.dispatch import Dispatch
from minisim.compiler.passes.slice import Slice
from minisim.compiler.passes.tried import scheduled
from minisim.compiler.tiling import TiledGraph
from minisim.errors import CapacityError
from minisim.hwmodel.config import Machine
from minisim.hwmodel.isa import Opcode
from minisim.hwmodel.native import simulate_native
from minisim.hwmodel.sparsity import moved_bytes

FEW = 0.005
"""What is sooner by less than this part of the cycles is about as good: then the fewest operations count, each of which
takes its time to be compiled, simulated and computed."""


class Measured(NamedTuple):
    """What something took, or would take as a whole: cycles, bytes to and from DRAM, operations."""

    cycles: float
    moved: float
    operations: float


NEVER = Measured(np.inf, np.inf, np.inf)
"""Of what does not fit."""


Repeats = Sequence[tuple[range, int]]
"""Layers that stand for others (`Short.more`): how many times more they count."""


def measured(tiled: TiledGraph, machine: Machine, more: float = 1.0, repeats: Repeats = ()) -> Measured:
    """What a tiled graph takes on `machine`.

    Args:
        more: how many times as many operations of the array the whole has, of which this is the beginning. What is
            left then goes on at the pace of the second half.
        repeats: of a graph that is a part of the whole, which of its layers come more often there.
    """
    try:
        sliced = Slice(machine).apply(tiled)
    except CapacityError:
        return NEVER
    return timed(sliced, machine, more, repeats)


def timed(sliced: TiledGraph, machine: Machine, more: float = 1.0, repeats: Repeats = ()) -> Measured:
    """The same of a graph whose slices are known."""
    try:
        schedule = scheduled(sliced, machine)
    except CapacityError:
        return NEVER
    schedule, by_class = Dispatch(machine).with_costs(schedule)
    timeline, opcode = simulate_native(schedule, machine, by_class=by_class), schedule.stream["opcode"]
    moves = opcode <= Opcode.STORE
    moved = moved_bytes(schedule)[schedule.transfers["tile"][schedule.stream["row"][moves]]].astype(np.float64)
    cycles, count = float(timeline.cycles), float(len(schedule))
    all_moved = float(moved.sum())
    if repeats:
        layer = schedule.stream["layer"]
        ends = np.zeros(len(schedule.layers), dtype=np.int64)
        np.maximum.at(ends, layer, timeline.end)
        ends = np.maximum.accumulate(ends)
        of_layer = np.bincount(layer[moves], weights=moved, minlength=len(ends))
        counts = np.bincount(layer, minlength=len(ends))
        for each, times in repeats:
            cycles += times * float(ends[each.stop - 1] - ends[each.start - 1])
            all_moved += times * float(of_layer[each.start : each.stop].sum())
            count += times * float(counts[each.start : each.stop].sum())
    if more > 1:
        executed = np.sort(timeline.end[opcode == Opcode.EXECUTE])
        half = len(executed) // 2
        pace = (float(executed[-1]) - float(executed[half])) / (len(executed) - 1 - half) if len(executed) > 1 else 0.0
        cycles += (more - 1) * len(executed) * pace
    return Measured(cycles, more * all_moved, more * count)


def best(found: list[Measured]) -> int:
    """The index of the soonest; of about equal ones (`FEW`) that with the fewest operations, then bytes."""
    soon = (1 + FEW) * min(each.cycles for each in found)
    good = [i for i, each in enumerate(found) if each.cycles <= soon]
    return min(good, key=lambda i: (found[i].operations, found[i].moved, found[i].cycles))
