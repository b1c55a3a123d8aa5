"""Where the cycles went: every cycle in which a unit does not work gets one cause.

A *gap* is a stretch of cycles before an operation begins in which its unit (or, for layers, neither
compute unit of any core) works. Along the operation's own way through the machine the gap falls into three parts:

    gap begins ... issue     it was not dispatched yet                     control
    issue ... start          it waited in the queue, and `waited_for` says for what
    start ... begin          it was in the unit's first stage (setup)      pipeline

Each of the points is clipped to the gap. In a gap the operation before it in its queue has begun already,
so from `issue` on the operation is at the head of its queue: nothing else can hold it back.

Everything here is columns; nothing loops over operations.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from minisim.hwmodel.cost import Costs
from minisim.hwmodel.isa import Opcode, Queue, Schedule
from minisim.hwmodel.timeline import WAITED_FOR, Timeline

Cycles = npt.NDArray[np.int64]

LAYER_CAUSES = ("load", "store", "dependency", "control", "pipeline")
"""Why no compute unit works. dependency: the operation waits for a result of a compute unit."""

_LAYER_CAUSE_OF = {"load": "load", "store": "store", "matrix": "dependency", "vector": "dependency"}


@dataclass(frozen=True)
class Gaps:
    """The gaps before operations, ascending and disjoint; many are empty (begin == end).

    Attributes:
        begin, end: cycles, [begin, end).
        issued, started: `issue` and `start` of the operation, clipped to the gap.
        waited_for: code of what its start waited for, see timeline.WAITED_FOR.
    """

    begin: Cycles
    issued: Cycles
    started: Cycles
    end: Cycles
    waited_for: npt.NDArray[np.uint8]

    @classmethod
    def before(cls, ops: npt.NDArray[np.intp], timeline: Timeline) -> Gaps:
        """The gaps before `ops`, which are ordered by `begin`: none of those earlier in `ops` is busy."""
        free = np.zeros(len(ops), dtype=np.int64)
        np.maximum.accumulate(timeline.done[ops][:-1], out=free[1:])
        end = timeline.begin[ops]
        begin = np.minimum(free, end)
        return cls(
            begin,
            np.clip(timeline.issue[ops], begin, end),
            np.clip(timeline.start[ops], begin, end),
            end,
            timeline.waited_for[ops],
        )


def unit_cycles(schedule: Schedule, timeline: Timeline, cost: Costs, lane: int) -> dict[str, int]:
    """Cycles of the unit of `lane` (core * 4 + queue): "busy", and by cause those in which it had an operation and
    made no headway.

    An operation is *ready* when its setup is over and its unit is free; from there to `done` it has the unit.
    Alone on the machine it would need `Costs.alone` cycles for that: these are busy. The others
    are dram: cycles that a transfer lost because the DRAM served other ones, or (with bursts) because its request
    slots were not yet its own. Where a DMA has several channels, a cycle counts for the transfer that began first.

    Returns:
        busy; the names of WAITED_FOR: the head of the queue waited for a retirement there, or for one of the
        unit's own transfers in flight (outstanding), or for another core (sync); pipeline: the head was in its
        setup; dram. The cycles of the run that are left are idle: the queue was empty.
    """
    ops = np.flatnonzero(schedule.lanes() == lane)
    ops = ops[np.argsort(timeline.begin[ops], kind="stable")]
    gaps = Gaps.before(ops, timeline)
    waited = gaps.started - gaps.issued
    ready = np.clip(timeline.start[ops] + cost.setup[ops], gaps.started, gaps.end)
    before = np.concatenate([np.zeros(1, dtype=np.int64), np.maximum.accumulate(timeline.done[ops])])[:-1]
    held = np.maximum(timeline.done[ops] - np.maximum(ready, before), 0)
    busy = np.minimum(held, cost.alone[ops])
    return {
        "busy": int(busy.sum()),
        **{name: int(waited[gaps.waited_for == code].sum()) for code, name in enumerate(WAITED_FOR) if name},
        "pipeline": int((ready - gaps.started).sum() + waited[gaps.waited_for == 0].sum()),
        "dram": int((held - busy).sum()),
    }


class Stretches(NamedTuple):
    """The run cut into stretches of single layers: stretch i has the cycles [edges[i], edges[i + 1])."""

    edges: Cycles
    layer: Cycles

    def by_layer(self, values: Cycles, layers: int) -> Cycles:
        """The sum of the stretches' values for each of so many layers."""
        sums = np.zeros(layers, dtype=np.int64)
        np.add.at(sums, self.layer, values)
        return sums


def layer_stretches(schedule: Schedule, timeline: Timeline) -> Stretches:
    """Whose cycles they are: up to when a compute operation retires, its layer's.

    A layer by itself has one stretch: it ends when the last of its compute operations retires (of its transfers, if it
    has no others), and never before the layer in front of it. Layers that are walked together (`slice` in isa.py) have
    theirs in turn, as their operations retire. The last layer with operations takes the rest of the run. A layer
    without operations has none.
    """
    layer = schedule.stream["layer"].astype(np.int64)
    computes = schedule.stream["opcode"] >= Opcode.EXECUTE
    has_compute = np.zeros(len(schedule.layers), dtype=bool)
    has_compute[layer[computes]] = True
    counted = np.flatnonzero(computes | ~has_compute[layer])
    together = schedule.layers["slice"][layer[counted]]
    counted = counted[np.lexsort((timeline.end[counted], together))]
    if not len(counted):
        return Stretches(np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int64))
    retired, whose = np.maximum.accumulate(timeline.end[counted]), layer[counted]
    retired[-1] = timeline.cycles
    last = np.append(whose[1:] != whose[:-1], True)
    return Stretches(np.append(0, retired[last]), whose[last])


def layer_cycles(schedule: Schedule, timeline: Timeline) -> Cycles:
    """The cycles of each layer (`layer_stretches`); together they are those of the run."""
    found = layer_stretches(schedule, timeline)
    return found.by_layer(np.diff(found.edges), len(schedule.layers))


def layer_stalls(schedule: Schedule, timeline: Timeline) -> dict[str, Cycles]:
    """Cycles of each layer in which no compute unit of any core works, by cause (LAYER_CAUSES).

    The cause is that of the compute operation, of any layer, that begins next (of two in one cycle, the
    first in program order). After the last one has left its unit: pipeline until all compute operations have
    retired, then store until the stores have, then load.
    """
    found, layers = layer_stretches(schedule, timeline), len(schedule.layers)
    stalls = {cause: np.zeros(layers, dtype=np.int64) for cause in LAYER_CAUSES}
    ops = np.flatnonzero(schedule.stream["opcode"] >= Opcode.EXECUTE)
    gaps = Gaps.before(ops[np.argsort(timeline.begin[ops], kind="stable")], timeline)
    for cause, begin, end in (*_causes(gaps), *_tail(schedule, timeline, ops)):
        stalls[cause] += found.by_layer(np.diff(_cycles_before(found.edges, begin, end)), layers)
    return stalls


def _causes(gaps: Gaps) -> Iterator[tuple[str, Cycles, Cycles]]:
    """Cause and the stretches [begin, end) that it accounts for."""
    yield "control", gaps.begin, gaps.issued
    for code, name in enumerate(WAITED_FOR):
        mine = gaps.waited_for == code
        yield _LAYER_CAUSE_OF.get(name, "pipeline"), gaps.issued[mine], gaps.started[mine]
    yield "pipeline", gaps.started, gaps.end


def _tail(
    schedule: Schedule, timeline: Timeline, computes: npt.NDArray[np.intp]
) -> Iterator[tuple[str, Cycles, Cycles]]:
    """The stretches after the last compute operation has left its unit."""
    idle = timeline.done[computes].max(initial=0)
    drained = timeline.end[computes].max(initial=0)
    stored = max(drained, timeline.end[schedule.stream["queue"] == Queue.STORE].max(initial=0))
    points = np.array([idle, drained, stored, timeline.cycles], dtype=np.int64)
    for i, cause in enumerate(("pipeline", "store", "load")):
        yield cause, points[i : i + 1], points[i + 1 : i + 2]


def _cycles_before(at: Cycles, begin: Cycles, end: Cycles) -> Cycles:
    """For each cycle of `at`, how many earlier ones the stretches [begin, end), ascending and disjoint, cover."""
    total = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(end - begin)])
    stretches = np.searchsorted(begin, at, side="left")
    last_end = np.concatenate([np.zeros(1, dtype=np.int64), end])[stretches]
    return np.asarray(total[stretches] - np.maximum(last_end - at, 0))
