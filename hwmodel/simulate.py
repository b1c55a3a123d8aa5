"""The event model: a schedule and a machine in, a timeline out.

Control dispatches the operations in program order into the units' queues. Each unit is a SimPy process
(`unit.py`), the queues and the scoreboard between them are in `queue.py`, the DRAM in `dram.py`, and all
durations that depend on nothing but the operands in `cost.py`. The model prints and logs nothing:
whoever wants to see it at work passes observers.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Protocol

import numpy as np
from simpy import Environment, Event, Timeout

from minisim.errors import ScheduleHazard
from minisim.hwmodel.banked import BankedDram
from minisim.hwmodel.config import Machine
from minisim.hwmodel.cost import costs
from minisim.hwmodel.dram import Dram, IdealDram
from minisim.hwmodel.isa import Queue, Schedule
from minisim.hwmodel.queue import Scoreboard
from minisim.hwmodel.timeline import WAITED_FOR, Cycles, Timeline
from minisim.hwmodel.unit import DmaUnit, Flights, Port, Unit


class Observer(Protocol):
    """Told of every step of every operation, in order of time (see `Timeline` for the steps' meaning)."""

    def on_issue(self, op: int, cycle: int) -> None: ...

    def on_start(self, op: int, cycle: int) -> None: ...

    def on_retire(self, op: int, cycle: int) -> None: ...


class Run:
    """One simulation under way: what the processes share."""

    def __init__(self, schedule: Schedule, machine: Machine, observers: Sequence[Observer]) -> None:
        self.env = Environment()
        self.scoreboard = Scoreboard(self.env, len(Queue))
        self.costs = costs(schedule, machine)
        self.busy: list[int] = self.costs.busy.tolist()
        self._observers = observers
        self._queue_of: list[int] = schedule.stream["queue"].tolist()
        self._waits: list[list[int]] = schedule.stream["wait"].tolist()

        n = len(schedule)
        self.issue, self.start, self.begin, self.done, self.end = ([0] * n for _ in range(5))
        self.waited_for = [0] * n
        self.unretired = n

        dram: Dram = IdealDram(self.costs) if machine.dram.model == "ideal" else BankedDram(schedule, machine)
        depth = machine.control.queue_depth
        loads = Flights(self.env, machine.dma.max_outstanding), Port()
        stores = loads if machine.dma.shared else (Flights(self.env, machine.dma.max_outstanding), Port())
        self.units: list[Unit] = [
            DmaUnit(self, Queue.LOAD, depth, *loads, dram),
            DmaUnit(self, Queue.STORE, depth, *stores, dram),
            Unit(self, Queue.MATRIX, depth),
            Unit(self, Queue.VECTOR, depth),
        ]
        self.env.process(self._control(machine.control.issue_cycles))

    def waits(self, op: int) -> enumerate[int]:
        """The pairs (queue, count) that must be reached before `op` may start."""
        return enumerate(self._waits[op])

    def started(self, op: int, cycle: int) -> None:
        self.start[op] = cycle
        for observer in self._observers:
            observer.on_start(op, cycle)

    def retired(self, op: int, cycle: int, queue: int) -> None:
        self.end[op] = cycle
        self.unretired -= 1
        for observer in self._observers:
            observer.on_retire(op, cycle)
        self.scoreboard.retire(queue)

    def _control(self, issue_cycles: int) -> Generator[Event, None, None]:
        """Dispatch in program order; one full queue stalls everything behind it."""
        env = self.env
        for op, queue_id in enumerate(self._queue_of):
            yield Timeout(env, issue_cycles)
            queue = self.units[queue_id].queue
            while queue.full:
                yield queue.changed()
            queue.put(op)
            self.issue[op] = int(env.now)
            for observer in self._observers:
                observer.on_issue(op, int(env.now))

    def timeline(self) -> Timeline:
        def column(cycles: list[int]) -> Cycles:
            return np.array(cycles, dtype=np.int64)

        return Timeline(
            issue=column(self.issue),
            start=column(self.start),
            begin=column(self.begin),
            done=column(self.done),
            end=column(self.end),
            waited_for=np.array(self.waited_for, dtype=np.uint8),
        )


def simulate(schedule: Schedule, machine: Machine, observers: Sequence[Observer] = ()) -> Timeline:
    """Time `schedule` on `machine`. Equal arguments give equal timelines, to the cycle.

    Raises:
        ScheduleHazard: the operations wait for each other in a circle; whatever an observer raises.
    """
    run = Run(schedule, machine, observers)
    run.env.run()
    if run.unretired:
        raise _deadlock(run, schedule)
    return run.timeline()


def _deadlock(run: Run, schedule: Schedule) -> ScheduleHazard:
    stuck = []
    for unit in run.units:
        if len(unit.queue):
            op = unit.queue.head()
            short = [(q, n) for q, n in run.waits(op) if run.scoreboard.retired[q] < n]
            needs = ", ".join(f"{n} of {WAITED_FOR[q + 1]} (retired {run.scoreboard.retired[q]})" for q, n in short)
            stuck.append((op, f"operation {op} ({schedule.describe(op)}) waits for {needs or 'its unit'}"))
    first = min(stuck, default=(-1, "no operation was dispatched"))
    return ScheduleHazard(
        f"deadlock at cycle {run.env.now}: " + "; ".join(t for _, t in stuck), first[0], -1, int(run.env.now)
    )
