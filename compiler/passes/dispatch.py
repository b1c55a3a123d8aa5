"""Dispatch order: the stream is sorted by when each operation is expected to start.

Control dispatches in program order and stalls on a full queue, and whatever lies behind waits with it. In
the order of the uOps a load stands right before its first use; if it could start long before that, it
must also be dispatched long before. So the operations are merged by the start times of a machine with
endless queues. Each queue keeps its own order, so waits and addresses stay as they are; and whoever waits
for an operation starts after its end, so it stays behind it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from minisim.hwmodel.config import Machine
from minisim.hwmodel.cost import costs
from minisim.hwmodel.isa import Queue, Schedule


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
        schedule.stream["wait"].tolist(),
        cost.setup.tolist(),
        cost.alone.tolist(),
        cost.hold.tolist(),
        cost.latency.tolist(),
        strict=True,
    )
    ends: list[list[int]] = [[0] for _ in Queue]  # ends[q][n]: when n operations of queue q have retired
    begun = [0] * len(Queue)  # when the first stage is free
    free = [0] * len(Queue)  # when the second one is
    stage = [Queue.LOAD if machine.dma.shared and q == Queue.STORE else q for q in Queue]
    load_ends, store_ends, matrix_ends, vector_ends = ends
    starts = np.empty(len(schedule), dtype=np.int64)
    for i, (queue, (loads, stores, executes, vectors), setup, occupied, hold, latency) in enumerate(columns):
        start = max(begun[queue], load_ends[loads], store_ends[stores], matrix_ends[executes], vector_ends[vectors])
        begin = max(start + setup, free[stage[queue]])
        begun[queue], free[stage[queue]] = begin + hold, begin + occupied
        retired = ends[queue]
        retired.append(max(retired[-1], begin + occupied + latency))
        starts[i] = start
    return starts
