"""Dispatch order: the stream is sorted by when each operation is expected to start.

Control dispatches in program order and stalls on a full queue, and whatever lies behind waits with it. In
the order of the uOps a load stands right before its first use; if it could start long before that, it
must also be dispatched long before. So the operations are merged by the start times of a machine with
endless queues. Each queue keeps its own order, so waits and addresses stay as they are; and whoever waits
for an operation, of its own core or another, starts after its end, so it stays behind it. Cores have a control
each: of the order between two cores nothing is left but that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from minisim.hwmodel.config import Machine
from minisim.hwmodel.cost import Costs, costs
from minisim.hwmodel.isa import NONE, Opcode, Queue, Schedule


@dataclass(frozen=True)
class Dispatch:
    """Schedule -> Schedule."""

    machine: Machine
    name: str = "dispatch"

    def apply(self, schedule: Schedule) -> Schedule:
        if self.machine.compiler.order != "auto":  # loop nests stay as they are
            return schedule
        order = np.argsort(expected_starts(schedule, self.machine), kind="stable")
        return schedule.replace(stream=schedule.stream[order])


def expected_starts(schedule: Schedule, machine: Machine) -> npt.NDArray[np.int64]:
    """The cycle at which each operation could start if dispatching cost nothing.

    The recurrence of `hwmodel/unit.py` without queues; loads and stores meet in the DRAM only as a rate, and in a
    port that they share in the order of the stream.
    """
    cost = costs(schedule, machine)
    columns = zip(
        schedule.stream["queue"].tolist(),
        (schedule.stream["core"].astype(np.int64) * len(Queue)).tolist(),
        schedule.stream["wait"].tolist(),
        schedule.stream["sync"].tolist(),
        cost.setup.tolist(),
        _occupied(schedule, cost).tolist(),
        cost.hold.tolist(),
        cost.latency.tolist(),
        strict=True,
    )
    lanes = schedule.cores * len(Queue)
    ends: list[list[int]] = [[0] for _ in range(lanes)]  # ends[lane][n]: when n operations of it have retired
    begun = [0] * lanes  # when the first stage is free
    free = [0] * lanes  # when the second one is
    shared = machine.dma.shared
    starts = np.empty(len(schedule), dtype=np.int64)
    for i, (queue, own, (loads, stores, executes, vectors), sync, setup, occupied, hold, latency) in enumerate(columns):
        lane = own + queue
        port = own + Queue.LOAD if shared and queue == Queue.STORE else lane
        start = max(
            begun[lane],
            ends[own][loads],
            ends[own + 1][stores],
            ends[own + 2][executes],
            ends[own + 3][vectors],
        )
        if sync != NONE:
            start = max(start, *(ends[other][count] for other, count in schedule.syncs_of(i)))
        begin = max(start + setup, free[port])
        begun[lane], free[port] = begin + hold, begin + occupied
        retired = ends[lane]
        retired.append(max(retired[-1], begin + occupied + latency))
        starts[i] = start
    return starts


def _occupied(schedule: Schedule, cost: Costs) -> npt.NDArray[np.int64]:
    """Cycles for which each operation holds its unit, if the cores that move data in a layer share the DRAM evenly."""
    if schedule.cores == 1:
        return cost.alone
    moves = schedule.stream["opcode"] <= Opcode.STORE
    layer, core = schedule.stream["layer"].astype(np.int64), schedule.stream["core"].astype(np.int64)
    pairs = np.unique(layer[moves] * schedule.cores + core[moves])
    sharing = np.bincount(pairs // schedule.cores, minlength=len(schedule.layers))
    return np.asarray(np.maximum(cost.busy, sharing[layer] * cost.dram + cost.lag))
