"""What the parts of a simulation share: the clock, the costs, who has retired, and the timeline so far."""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from typing import Protocol

import numpy as np
import numpy.typing as npt
from simpy import Environment, Event

from minisim.hwmodel.clock import FOREVER, Call
from minisim.hwmodel.config import Machine
from minisim.hwmodel.cost import costs
from minisim.hwmodel.descriptors import planes
from minisim.hwmodel.dram import Answer
from minisim.hwmodel.gates import CODE, GATES, Gate, Point
from minisim.hwmodel.isa import NONE, Queue, Schedule
from minisim.hwmodel.memory import memory_of
from minisim.hwmodel.scoreboard import Scoreboard, Syncs
from minisim.hwmodel.timeline import Answers, Cycles, Timeline


class Observer(Protocol):
    """Told of every step of every operation (see `Timeline` for the steps' meaning).

    In order of time; in one cycle of retirements first, then of issues, then of starts, each in program order.
    """

    def on_issue(self, op: int, cycle: int) -> None: ...

    def on_start(self, op: int, cycle: int) -> None: ...

    def on_retire(self, op: int, cycle: int) -> None: ...


class WorksAhead(Protocol):
    """A unit whose operations' times follow from what is known, without an event."""

    def work_ahead(self) -> None: ...


class Steps:
    """Tells observers of the steps, in their order, whatever the order in which the model finds them."""

    _RETIRE, _ISSUE, _START = range(3)

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._waiting: list[tuple[int, int, int]] = []  # cycle, kind, operation
        self._now = 0
        self._observers = observers

    def issued(self, op: int, cycle: int) -> None:
        heapq.heappush(self._waiting, (cycle, self._ISSUE, op))

    def started(self, op: int, cycle: int) -> None:
        heapq.heappush(self._waiting, (cycle, self._START, op))

    def retires(self, op: int, cycle: int) -> None:
        heapq.heappush(self._waiting, (cycle, self._RETIRE, op))

    def tell(self, before: int) -> None:
        """Of all steps before a cycle, which are all known."""
        if before == self._now:
            return
        self._now, waiting = before, self._waiting
        while waiting and waiting[0][0] < before:
            cycle, kind, op = heapq.heappop(waiting)
            for observer in self._observers:
                (observer.on_retire, observer.on_issue, observer.on_start)[kind](op, cycle)


class State:
    """One simulation under way.

    Columns are plain lists and arrays: a numpy element costs five times as much to read.

    Args:
        env: where events wait; the order of equal times in it makes no difference (`clock.py`).
        gates: all that may hold an operation back; the codes of a Timeline are places in it.
    """

    def __init__(
        self,
        schedule: Schedule,
        machine: Machine,
        observers: Sequence[Observer],
        env: Environment,
        gates: tuple[Gate, ...] = GATES,
    ) -> None:
        self.env = env
        self.schedule, self.machine, self.gates = schedule, machine, gates
        self.scoreboard = Scoreboard(schedule.cores * len(Queue))
        self.costs = found = costs(schedule, machine)
        self.memory = memory_of(schedule, machine, found)
        self.setup, self.busy, self.hold, self.latency, self.lag = (
            column.tolist() for column in (found.setup, found.busy, found.hold, found.latency, found.lag)
        )
        self.planes: list[int] = planes(schedule, found.descriptors).tolist()
        self.follows = [not count for count in self.planes]
        self.queue_of: list[int] = schedule.stream["queue"].tolist()
        self.waits: list[list[int]] = [counts.tolist() for counts in schedule.stream["wait"].T]
        """By queue of its own core, how many of its operations must have retired before each operation may start."""
        self.sync: list[int] = schedule.stream["sync"].tolist()
        self.lane_ops: list[list[int]] = [ops.tolist() for ops in schedule.lane_ops()]
        self._syncs = Syncs(schedule)
        self._steps = Steps(observers) if observers else None

        n = len(schedule)
        self.issue, self.start, self.begin, self.done = (array("q", bytes(8 * n)) for _ in range(4))
        self.dram_begin, self.dram_end = (array("q", bytes(8 * n)) for _ in range(2))
        self.channel = bytearray(n)
        self.answers: dict[str, array[int]] | None = None
        if machine.l2.bytes or machine.noc.limits or machine.dram.channels > 1:
            self.answers = {each.name: array("q", bytes(8 * n)) for each in fields(Answers)}
        # The commonest gate of each point stands there from the start; the operation itself holds it, or for issue the
        # one before it.
        usual = [CODE[name] for name in ("dispatch", "issued", "setup", "ready", "service", "busy", "latency")]
        self.gate = [bytearray([code]) * n for code in usual]
        self.holder = [array("I", range(n)) for _ in Point]
        self.holder[Point.ISSUE] = array("I", _before_in_its_core(schedule).tobytes())
        self._ahead: list[WorksAhead] = []

    @property
    def now(self) -> int:
        return self.env.now  # type: ignore[return-value]  # all delays are whole

    def syncs(self, op: int) -> Iterator[tuple[int, int]]:
        """The pairs (lane of another core, count) that must be reached as well."""
        return self._syncs.run(self.sync[op])

    # -- events ------------------------------------------------------------------------------------------

    def call(self, cycle: int, phase: int, function: Callable[[Event], None]) -> None:
        """Call `function` at `cycle`, which is now or later, in a phase, and then settle what follows from it."""
        Call(self.env, cycle - self.env.now, phase, [function, self.settle])

    def work_ahead(self, unit: WorksAhead) -> None:
        """Something is known that `unit` may have waited for: it is its turn when this event has done its work."""
        self._ahead.append(unit)

    def settle(self, event: Event | None = None) -> None:
        """Let units work ahead until none can; tell observers of what is past."""
        while self._ahead:
            self._ahead.pop().work_ahead()
        if self._steps:
            self._steps.tell(self.now)

    # -- points ------------------------------------------------------------------------------------------

    def opened(self, point: Point, op: int, gate: int, holder: int) -> None:
        """Note which gate of a point opened last, and whose; -1 is nobody."""
        self.gate[point][op] = gate
        self.holder[point][op] = holder if holder >= 0 else NONE

    def answered(self, op: int, answer: Answer) -> None:
        """Note what the memory answered to a transfer, beside when; `latency` is that of its port."""
        assert self.answers is not None
        for name, found in (
            ("latency", self.latency[op]),
            ("read", answer.read),
            ("written", answer.written),
            ("contention", answer.contention),
            ("crossing", answer.crossing),
        ):
            self.answers[name][op] = found

    def issued(self, op: int, cycle: int) -> None:
        self.issue[op] = cycle
        if self._steps:
            self._steps.issued(op, cycle)

    def started(self, op: int, cycle: int, gate: int, holder: int) -> None:
        self.start[op] = cycle
        self.gate[Point.START][op] = gate
        self.holder[Point.START][op] = holder
        if self._steps:
            self._steps.started(op, cycle)

    def retires(self, op: int, cycle: int, lane: int) -> None:
        """`op`, the next of `lane`, retires at `cycle`."""
        if self._steps:
            self._steps.retires(op, cycle)
        self.scoreboard.retires(lane, cycle)

    def finish(self) -> None:
        """Nothing more will happen: tell of what has not been told."""
        if self._steps:
            self._steps.tell(FOREVER)

    @property
    def unretired(self) -> int:
        return len(self.schedule) - sum(len(ends) for ends in self.scoreboard.ends)

    def timeline(self) -> Timeline:
        def column(cycles: array[int]) -> Cycles:
            return np.frombuffer(cycles, dtype=np.int64)

        end = np.zeros(len(self.schedule), dtype=np.int64)
        for ops, ends in zip(self.lane_ops, self.scoreboard.ends, strict=True):
            end[ops] = ends
        return Timeline(
            issue=column(self.issue),
            start=column(self.start),
            begin=column(self.begin),
            done=column(self.done),
            end=end,
            channel=np.frombuffer(self.channel, dtype=np.uint8),
            dram_begin=column(self.dram_begin),
            dram_end=column(self.dram_end),
            gate=np.stack([np.frombuffer(codes, dtype=np.uint8) for codes in self.gate], axis=1),
            holder=np.stack([np.frombuffer(ops, dtype=np.uint32) for ops in self.holder], axis=1),
            gates=self.gates,
            counters=self.memory.counters(),
            answers=Answers(**{name: column(found) for name, found in self.answers.items()}) if self.answers else None,
            launch=np.full(self.schedule.cores, self.machine.control.launch_cycles, dtype=np.int64),
        )


def _before_in_its_core(schedule: Schedule) -> npt.NDArray[np.uint32]:
    """Of each operation, the one before it in its core's program; NONE if there is none."""
    found = np.full(len(schedule), NONE, dtype=np.uint32)
    for core in range(schedule.cores):
        ops = np.flatnonzero(schedule.stream["core"] == core)
        found[ops[1:]] = ops[:-1]
    return found
