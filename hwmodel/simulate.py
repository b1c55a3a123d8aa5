"""The event model: a schedule and a machine in, a timeline out.

Each core's control dispatches its operations in program order into the queues of its units. Each unit is a
SimPy process (`unit.py`), the queues and the scoreboard between them are in `queue.py`, the DRAM, which all
cores share, in `dram.py`, and all durations that depend on nothing but the operands in `cost.py`. The model
prints and logs nothing: whoever wants to see it at work passes observers.
"""

from __future__ import annotations

from array import array
from collections.abc import Generator, Iterator, Sequence
from typing import Protocol

import numpy as np
from simpy import Environment, Event, Timeout

from minisim.errors import ScheduleError, ScheduleHazard, UsageError, shown
from minisim.hwmodel.banked import BankedDram
from minisim.hwmodel.config import Machine, MachineLike
from minisim.hwmodel.cost import costs
from minisim.hwmodel.descriptors import planes
from minisim.hwmodel.dma import dma_units
from minisim.hwmodel.dram import Dram, IdealDram
from minisim.hwmodel.isa import Queue, Schedule
from minisim.hwmodel.queue import Scoreboard, Syncs
from minisim.hwmodel.timeline import Cycles, Timeline
from minisim.hwmodel.unit import Unit


class Observer(Protocol):
    """Told of every step of every operation, in order of time (see `Timeline` for the steps' meaning)."""

    def on_issue(self, op: int, cycle: int) -> None: ...

    def on_start(self, op: int, cycle: int) -> None: ...

    def on_retire(self, op: int, cycle: int) -> None: ...


class Run:
    """One simulation under way: what the processes share."""

    def __init__(self, schedule: Schedule, machine: Machine, observers: Sequence[Observer]) -> None:
        self.env = Environment()
        self.scoreboard = Scoreboard(self.env, schedule.cores * len(Queue))
        self.costs = found = costs(schedule, machine)
        # Plain lists, once for all units: a numpy element costs five times as much to read.
        self.setup, self.busy, self.hold, self.latency, self.lag = (
            column.tolist() for column in (found.setup, found.busy, found.hold, found.latency, found.lag)
        )
        self._observers = observers
        self._queue_of: list[int] = schedule.stream["queue"].tolist()
        self.waits: list[tuple[int, list[int]]] = [
            (queue, counts.tolist()) for queue, counts in enumerate(schedule.stream["wait"].T)
        ]
        """Per queue of its own core, how many of its operations must have retired before each operation may start."""
        self.sync: list[int] = schedule.stream["sync"].tolist()
        self._syncs = Syncs(schedule)

        n = len(schedule)
        self.issue, self.start, self.begin, self.done, self.end = (array("q", bytes(8 * n)) for _ in range(5))
        self.dram_begin, self.dram_end = (array("q", bytes(8 * n)) for _ in range(2))
        self.waited_for, self.channel = bytearray(n), bytearray(n)
        self.unretired = n
        self._launch_cycles = machine.control.launch_cycles

        dram: Dram = IdealDram(self.costs) if machine.dram.model == "ideal" else BankedDram(schedule, machine)
        depth = machine.control.queue_depth
        self._follows: list[bool] = (planes(schedule, self.costs.descriptors) == 0).tolist()
        self.units: list[Unit] = []  # by lane: core * 4 + queue
        for core in range(schedule.cores):
            self.units += [
                *dma_units(self, core, schedule, machine, dram),
                Unit(self, core, Queue.MATRIX, depth),
                Unit(self, core, Queue.VECTOR, depth),
            ]
            ops = range(n) if schedule.cores == 1 else np.flatnonzero(schedule.stream["core"] == core).tolist()
            self.env.process(self._control(core, ops, machine.control.launch_cycles, machine.control.issue_cycles))

    def syncs(self, op: int) -> Iterator[tuple[int, int]]:
        """The pairs (lane of another core, count) that must be reached as well."""
        return self._syncs.run(self.sync[op])

    def started(self, op: int, cycle: int) -> None:
        self.start[op] = cycle
        for observer in self._observers:
            observer.on_start(op, cycle)

    def retired(self, op: int, cycle: int, lane: int) -> None:
        self.end[op] = cycle
        self.unretired -= 1
        for observer in self._observers:
            observer.on_retire(op, cycle)
        self.scoreboard.retire(lane)

    def _control(
        self, core: int, ops: Sequence[int], launch_cycles: int, issue_cycles: int
    ) -> Generator[Event, None, None]:
        """Dispatch a core's operations in program order, after the launch; one full queue stalls all behind it.

        A descriptor is one command, whatever it moves.
        """
        env, queue_of, follows = self.env, self._queue_of, self._follows
        units = self.units[core * len(Queue) : (core + 1) * len(Queue)]
        if launch_cycles:
            yield Timeout(env, launch_cycles)
        for op in ops:
            if not follows[op]:
                yield Timeout(env, issue_cycles)
                queue = units[queue_of[op]].queue
                while queue.full:
                    yield queue.changed()
                queue.put(op)
            self.issue[op] = now = int(env.now)
            for observer in self._observers:
                observer.on_issue(op, now)

    def timeline(self) -> Timeline:
        def column(cycles: array[int]) -> Cycles:
            return np.frombuffer(cycles, dtype=np.int64)

        return Timeline(
            issue=column(self.issue),
            start=column(self.start),
            begin=column(self.begin),
            done=column(self.done),
            end=column(self.end),
            waited_for=np.frombuffer(self.waited_for, dtype=np.uint8),
            channel=np.frombuffer(self.channel, dtype=np.uint8),
            dram_begin=column(self.dram_begin),
            dram_end=column(self.dram_end),
            launch=np.full(len(self.units) // len(Queue), self._launch_cycles, dtype=np.int64),
        )


def simulate(schedule: Schedule, machine: MachineLike = None, observers: Sequence[Observer] = ()) -> Timeline:
    """Time `schedule` on `machine` (what `Machine.of` takes). Equal arguments give equal timelines, to the cycle.

    Raises:
        UsageError: `schedule` is none, or an observer cannot be told of the steps.
        ScheduleHazard: the operations wait for each other in a circle; whatever an observer raises.
        ScheduleError: the schedule is for more cores than the machine has.
    """
    machine = Machine.of(machine)
    if not isinstance(schedule, Schedule):
        raise UsageError(f"schedule must be a Schedule, such as compile_graph returns, not {shown(schedule)}")
    check_observers(observers)
    if schedule.cores > machine.cores.count:
        raise ScheduleError(f"the schedule is for {schedule.cores} cores, the machine has {machine.cores.count}")
    run = Run(schedule, machine, observers)
    run.env.run()
    if run.unretired:
        raise _deadlock(run, schedule)
    return run.timeline()


def check_observers(observers: Sequence[Observer]) -> None:
    """Raises UsageError if one of them cannot be told of the steps."""
    if not isinstance(observers, Sequence):
        raise UsageError(f"observers must be a sequence of observers, not {shown(observers)}")
    steps = ("on_issue", "on_start", "on_retire")
    for observer in observers:
        if missing := [step for step in steps if not callable(getattr(observer, step, None))]:
            raise UsageError(
                f"an observer must have the methods {', '.join(steps)}; {shown(observer)} has no {missing[0]}"
            )


def _deadlock(run: Run, schedule: Schedule) -> ScheduleHazard:
    stuck = []
    for lane, unit in enumerate(run.units):
        if len(unit.queue):
            op = unit.queue.head()
            own = unit.core * len(Queue)
            needed = [*((own + queue, counts[op]) for queue, counts in run.waits), *run.syncs(op)]
            short = [(lane, count) for lane, count in needed if run.scoreboard.retired[lane] < count]
            needs = ", ".join(
                f"{count} of {schedule.lane_name(lane)} (retired {run.scoreboard.retired[lane]})"
                for lane, count in short
            )
            core = f" of core {unit.core}" if schedule.cores > 1 else ""
            stuck.append((op, f"operation {op}{core} ({schedule.describe(op)}) waits for {needs or 'its unit'}"))
    first = min(stuck, default=(-1, "no operation was dispatched"))
    return ScheduleHazard(
        f"deadlock at cycle {run.env.now}: " + "; ".join(t for _, t in stuck), first[0], -1, int(run.env.now)
    )
