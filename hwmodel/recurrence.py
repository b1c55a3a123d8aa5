"""When each operation could start if dispatching cost nothing: the event model without its events.

The recurrence of `unit.py` without queues. Loads and stores meet in the DRAM only as a rate, and in a port that they
share in the order of the stream. It bounds nothing and estimates much: the compiler sorts the stream by it.

`expected_starts` runs in C++ (`engine_cpp/src/recurrence.cpp`), with costs by class; `definition` is what it computes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from minisim._engine import expected_starts as starts
from minisim.hwmodel.classes import ClassCosts, class_costs
from minisim.hwmodel.config import Machine
from minisim.hwmodel.cost import costs
from minisim.hwmodel.isa import NONE, Opcode, Queue, Schedule

Cycles = npt.NDArray[np.int64]


def expected_starts(schedule: Schedule, machine: Machine, by_class: ClassCosts | None = None) -> Cycles:
    """The cycle at which each operation could start if dispatching cost nothing.

    Args:
        by_class: `class_costs` of both, if they are known.

    Raises:
        ScheduleError: a reference of the schedule leads nowhere, or an operation waits for one behind it.
    """
    found = by_class or class_costs(schedule, machine)
    return starts(schedule, found.costs, found.of, _sharing(schedule), machine.dma.shared)


def definition(schedule: Schedule, machine: Machine) -> Cycles:
    """`expected_starts`, an operation at a time: what its twin is held to."""
    cost, sharing = costs(schedule, machine), _sharing(schedule)
    occupied = np.maximum(cost.busy, sharing[schedule.stream["layer"]] * cost.dram + cost.lag)
    columns = zip(
        schedule.stream["queue"].tolist(),
        (schedule.stream["core"].astype(np.int64) * len(Queue)).tolist(),
        schedule.stream["wait"].tolist(),
        schedule.stream["sync"].tolist(),
        cost.setup.tolist(),
        occupied.tolist(),
        cost.hold.tolist(),
        cost.latency.tolist(),
        strict=True,
    )
    lanes = schedule.cores * len(Queue)
    ends: list[list[int]] = [[0] for _ in range(lanes)]  # ends[lane][n]: when n operations of it have retired
    begun = [0] * lanes  # when the first stage is free
    free = [0] * lanes  # when the second one is
    shared = machine.dma.shared
    found = np.empty(len(schedule), dtype=np.int64)
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
        found[i] = start
    return found


def _sharing(schedule: Schedule) -> npt.NDArray[np.int64]:
    """Of each layer the cores that move data in it: they are taken to share the DRAM evenly."""
    if schedule.cores == 1:
        return np.ones(len(schedule.layers), dtype=np.int64)
    moves = schedule.stream["opcode"] <= Opcode.STORE
    layer, core = schedule.stream["layer"].astype(np.int64), schedule.stream["core"].astype(np.int64)
    pairs = np.unique(layer[moves] * schedule.cores + core[moves])
    return np.bincount(pairs // schedule.cores, minlength=len(schedule.layers))
