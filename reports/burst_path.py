"""The critical path through a transfer's bursts, from where its port is done to a point of a transfer.

The bursts of a run are not kept; they are moved once more by the model's own `BurstPort`, from the times that the
timeline has. It says of each burst what held it (`port.Step`), and the way back goes there:

    point    what held it                                          cycles on the way, and their cause
    done     of the transfer: that of its last burst               the shifter's last cycle: load_port, store
    done     beats: it began, and they passed                      load_port, store
             dram: it served the burst's bytes                     its service without a break: what the gate of the
                                                                   transfer's SERVED says (load_dram, store), or noc
    begin    bus: the burst before it has moved, and the port      the rest: load_port, store
             rested
             asked: its request went out                           none
             dram: it begins to serve the transfer                 none; on at its BEGIN
    asked    of a transfer's first burst                           none; on at its READY
             raised                                                none
             slot: the burst `outstanding_bursts` earlier was      its latency: load_requests, store
             answered
    raised   pace: the request before it went out                  request_cycles: load_requests, store
             decoder: its descriptor was decoded                   setup; on at its START
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from minisim.hwmodel.config import Machine
from minisim.hwmodel.cost import burst_rules
from minisim.hwmodel.descriptors import tiles_of
from minisim.hwmodel.dma import Cuts
from minisim.hwmodel.gates import BUSY, REQUESTED, Point
from minisim.hwmodel.isa import Opcode, Queue, Schedule
from minisim.hwmodel.port import BurstPort, Bus, Step
from minisim.hwmodel.timeline import Cycles, Timeline
from minisim.reports.cause import Cause

Node = tuple[Point, int]
"""A point of an operation."""

Link = Callable[[int, str, int, int], None]
"""Takes a link of the path: operation, cause, begin and end."""

Place = tuple[str, int]
"""A point of a burst ("done", "begin" or "asked"), and its number."""


class Bursts:
    """All bursts of a run, numbered port by port, and the way back through them.

    Attributes:
        first: the number of each transfer's first burst.

    Raises:
        ValueError: they do not pass when the timeline says: it is not of this schedule and machine.
    """

    def __init__(
        self, schedule: Schedule, timeline: Timeline, machine: Machine, delay: Mapping[str, Cycles], link: Link
    ) -> None:
        self._link = link
        self._start, self._done = timeline.start, timeline.done
        self._dram_begin, self._contention, self._crossing = (
            timeline.dram_begin, delay["contention"], delay["crossing"],
        )  # fmt: skip
        self._served = [timeline.gates[code].terms[-1] for code in timeline.gate[:, Point.SERVED].tolist()]
        there = timeline.dram_end + self._crossing
        latency = delay["latency"] - machine.dma.completion_cycles
        self._queue: list[Queue] = [Queue(code) for code in schedule.stream["queue"].tolist()]
        self._rules = {q: burst_rules(machine, load=q == Queue.LOAD) for q in (Queue.LOAD, Queue.STORE)}
        self._steps: list[Step] = []
        self._op: list[int] = []  # of each burst
        self.first: dict[int, int] = {}
        self._last: dict[int, int] = {}
        tile = tiles_of(schedule)
        cuts = {queue: Cuts(schedule, rules) for queue, rules in self._rules.items()}
        for mine in ports(schedule, timeline, machine):
            bus = Bus(self._rules[Queue.LOAD])
            port = {queue: BurstPort(rules, bus) for queue, rules in self._rules.items()}
            for i in mine:
                queue, due = self._queue[i], int(timeline.start[i] + delay["setup"][i])
                cut, served = cuts[queue].of(int(tile[i])), (int(timeline.dram_begin[i]), int(there[i]))
                self.first[i] = len(self._steps)
                passed = port[queue].move(cut, due, served, int(latency[i]), self._steps)
                if passed != (timeline.begin[i], timeline.done[i]):
                    raise loose(schedule, Point.DONE, i)
                self._op += [i] * len(cut.bursts)
                self._last[i] = len(self._steps) - 1

    def ready(self, i: int) -> int:
        """When the first request of transfer `i` goes out."""
        return self._steps[self.first[i]].asked

    def back(self, point: Point, i: int) -> Node:
        """From DONE or READY of transfer `i`, which its bursts held, to the point of a transfer that held them."""
        found: Place | Node
        if point == Point.READY:
            found = self._asked(self.first[i])
        else:
            last = self._last[i]
            self._add(last, BUSY, self._steps[last].done, int(self._done[i]))
            found = ("done", last)
        while not isinstance(found[0], Point):
            where, b = found
            if where == "asked" and b == self.first[self._op[b]]:
                return Point.READY, self._op[b]
            found = {"done": self._moved, "begin": self._begin, "asked": self._asked}[where](b)
        return found[0], found[1]

    def _moved(self, b: int) -> Place | Node:
        step, i = self._steps[b], self._op[b]
        if step.done_by == "beats":
            self._add(b, BUSY, step.begin, step.done)
            return "begin", b
        opener = b - step.run
        if opener == self.first[i]:
            begin = int(self._dram_begin[i])
            turn = min(begin + int(self._contention[i]), step.done)
            self._link(i, self._serving(i), turn, step.done)
            self._link(i, Cause.DRAM_CONTENTION, begin, turn)
            return Point.BEGIN, i
        self._link(i, self._serving(i), self._steps[opener].asked, step.done)
        return "asked", opener

    def _serving(self, i: int) -> str:
        """What the memory's service of transfer `i` counts as."""
        return Cause.NOC if self._crossing[i] else self._served[i].cause_for(self._queue[i])

    def _begin(self, b: int) -> Place | Node:
        step = self._steps[b]
        if step.begin_by == "dram":
            return Point.BEGIN, self._op[b]
        if step.begin_by == "asked":
            return "asked", b
        self._add(b - 1, BUSY, self._steps[b - 1].done, step.begin)
        return "done", b - 1

    def _asked(self, b: int) -> Place | Node:
        step, i = self._steps[b], self._op[b]
        if step.asked_by == "slot":
            earlier = b - self._rules[Queue.LOAD].outstanding  # the same for both directions
            self._add(earlier, REQUESTED, self._steps[earlier].done, step.asked)
            return "done", earlier
        if step.raised_by == "pace":
            self._add(b, REQUESTED, self._steps[b - 1].asked, step.raised)
            return "asked", b - 1
        self._link(i, Cause.SETUP, int(self._start[i]), step.raised)
        return Point.START, i

    def _add(self, b: int, causes: Mapping[Queue, str], begin: int, end: int) -> None:
        i = self._op[b]
        self._link(i, causes[self._queue[i]], begin, end)


def ports(schedule: Schedule, timeline: Timeline, machine: Machine) -> Iterator[list[int]]:
    """The transfers of each port in the order in which it took them: it is done with one after the other."""
    moves = np.flatnonzero(schedule.stream["opcode"] <= Opcode.STORE)
    of_unit = schedule.stream["core"] if machine.dma.shared else schedule.lanes()
    port = of_unit[moves].astype(np.int64) * 64 + timeline.channel[moves]
    order = np.lexsort((timeline.done[moves], port))
    for mine in np.split(moves[order], np.flatnonzero(np.diff(port[order])) + 1):
        yield mine.tolist()


def loose(schedule: Schedule, point: Point, i: int) -> ValueError:
    """The error of a timeline that does not keep the equation of a gate."""
    return ValueError(f"operation {i} ({schedule.describe(i)}): nothing holds its {point.name.lower()} back")
