"""The critical path through a transfer's bursts, from where its port is done to the start of a transfer.

The bursts of a run are not kept; they are moved once more by the model's own `BurstPort`, from the times that the
timeline has. As in `path.py` each point is the greatest of its gates, and the walk goes on at one that is met:

    point    the first of these gates that is met                  cycles on the way, and their cause
    done     of the transfer: that of its last burst               the shifter's last cycle: load_port
    moved    begin + its beats' cycles                             load_port, store
             the DRAM has served the burst's bytes                 its service without a break: load_dram, store
    begin    the burst before it has moved, and the port rested    the rest: load_port, store
             its request went out                                  none
             the DRAM begins to serve the transfer                 none
    asked    raised                                                none
             the burst `outstanding_bursts` earlier was answered   its latency: load_requests, store
    raised   the request before it went out                        request_cycles: load_requests, store
             its descriptor was decoded                            setup
    served   (the DRAM begins) its first request went out          none
             the DRAM has served another transfer                  as in path.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from minisim.hwmodel.config import Machine
from minisim.hwmodel.cost import Costs, burst_rules, rectangles
from minisim.hwmodel.descriptors import tiles_of
from minisim.hwmodel.dma import Cuts
from minisim.hwmodel.isa import Opcode, Queue, Schedule
from minisim.hwmodel.port import BurstPort, Bus, Step
from minisim.hwmodel.timeline import Timeline
from minisim.reports.cause import BUSY_OF, DRAM_OF, REQUESTS_OF, Cause

if TYPE_CHECKING:
    from minisim.reports.path import _Walk

Node = tuple[Callable[[int], Any], int]


class Bursts:
    """All bursts of a run, numbered port by port, and the way back through them.

    Raises:
        ValueError: they do not pass when the timeline says: it is not of this schedule and machine.
    """

    def __init__(self, schedule: Schedule, timeline: Timeline, machine: Machine, cost: Costs, walk: _Walk) -> None:
        self.walk = walk
        self.rules = {q: burst_rules(machine, load=q == Queue.LOAD) for q in (Queue.LOAD, Queue.STORE)}
        self.steps: list[Step] = []
        self.parts: list[tuple[int, int, int, int]] = []  # of each burst, as in `Cut`
        self.op: list[int] = []
        self.is_first: set[int] = set()  # of its port
        self.bursts_of: dict[int, range] = {}
        self.rest_of: dict[int, int] = {}
        self.services: dict[int, list[tuple[int, int]]] = {}  # of the transfers that the path came by
        tiles, tile = rectangles(schedule), tiles_of(schedule)
        cuts = {queue: Cuts(tiles, rules) for queue, rules in self.rules.items()}
        for mine in self._ports(schedule, timeline, machine):
            bus = Bus(self.rules[Queue.LOAD])
            port = {queue: BurstPort(rules, bus) for queue, rules in self.rules.items()}
            self.is_first.add(len(self.steps))
            for i in mine:
                queue = Queue(walk.queue[i])
                cut = cuts[queue].of(int(tile[i]))
                served = (int(timeline.dram_begin[i]), int(timeline.dram_end[i]))
                due = int(timeline.start[i] + cost.setup[i])
                if port[queue].move(cut, due, served, self.steps) != (timeline.begin[i], timeline.done[i]):
                    raise walk.loose("done", i)
                self.bursts_of[i] = range(len(self.op), len(self.steps))
                self.rest_of[i] = cut.rest
                self.parts += cut.bursts
                self.op += [i] * len(cut.bursts)

    @staticmethod
    def _ports(schedule: Schedule, timeline: Timeline, machine: Machine) -> Iterator[list[int]]:
        """The transfers of each port in the order in which it took them."""
        moves = np.flatnonzero(schedule.stream["opcode"] <= Opcode.STORE)
        port = schedule.lanes()[moves] * 64 + timeline.channel[moves]
        if machine.dma.shared:
            moves = moves[np.argsort(timeline.done[moves], kind="stable")]
            port = schedule.stream["core"][moves].astype(np.int64) * 64 + timeline.channel[moves]
        for each in np.unique(port):
            yield moves[port == each].tolist()

    def done(self, i: int) -> Node:
        last = self.bursts_of[i][-1]
        self._link(last, BUSY_OF, self.steps[last].done, self.steps[last].done + self.parts[last][2] - self.rest_of[i])
        return self._moved, last

    def served(self, i: int) -> Node:
        first = self.bursts_of[i][0]
        if self.steps[first].asked == self.walk.dram_begin[i]:
            return self._asked, first
        return self.walk.after_another(i)

    def _moved(self, b: int) -> Node:
        step = self.steps[b]
        if step.begin + self.parts[b][0] == step.done:
            self._link(b, BUSY_OF, step.begin, step.done)
            return self._begin, b
        opened, at = self._service(b)
        self._link(b, DRAM_OF, at, step.done)
        i = self.op[b]
        return (self.served, i) if at == self.walk.dram_begin[i] else (self._asked, opened)

    def _service(self, b: int) -> tuple[int, int]:
        """The burst, and its cycle, from which on the DRAM has served this transfer without a break until `b`."""
        i = self.op[b]
        if i not in self.services:
            self.services[i] = list(self._services_of(i))
        return self.services[i][b - self.bursts_of[i][0]]

    def _services_of(self, i: int) -> Iterator[tuple[int, int]]:
        """`_service` of each burst of transfer `i`, in one pass: the path may come by at all of them."""
        bursts, begin = self.bursts_of[i], self.walk.dram_begin[i]
        size, cycles = sum(self.parts[j][1] for j in bursts), self.walk.dram_end[i] - begin
        opened, at, served = bursts[0], begin, begin * size
        for j in bursts:
            if self.steps[j].asked * size > served:
                opened, at = j, self.steps[j].asked
                served = at * size
            served += self.parts[j][1] * cycles
            yield opened, at

    def _begin(self, b: int) -> Node:
        begin, i = self.steps[b].begin, self.op[b]
        if b not in self.is_first and self.steps[b - 1].done + self.parts[b - 1][2] == begin:
            self._link(b - 1, BUSY_OF, self.steps[b - 1].done, begin)
            return self._moved, b - 1
        if self.steps[b].asked == begin:
            return self._asked, b
        if b != self.bursts_of[i][0] or self.walk.dram_begin[i] != begin:
            raise self.walk.loose("begin", i)
        return self.served, i

    def _asked(self, b: int) -> Node:
        step = self.steps[b]
        if step.raised == step.asked:
            return self._raised, b
        earlier = b - self.rules[Queue.LOAD].outstanding  # the same for both directions
        latency = self.rules[Queue(self.walk.queue[self.op[earlier]])].latency
        if earlier < 0 or self.steps[earlier].done + latency != step.asked:
            raise self.walk.loose("begin", self.op[b])
        self._link(earlier, REQUESTS_OF, self.steps[earlier].done, step.asked)
        return self._moved, earlier

    def _raised(self, b: int) -> Node:
        raised, i = self.steps[b].raised, self.op[b]
        rules = self.rules[Queue(self.walk.queue[i])]
        if b not in self.is_first and self.steps[b - 1].asked + rules.request_cycles == raised:
            self._link(b, REQUESTS_OF, self.steps[b - 1].asked, raised)
            return self._asked, b - 1
        if self.walk.start[i] + self.walk.setup[i] + self.parts[b][3] != raised:
            raise self.walk.loose("begin", i)
        self.walk.link(i, Cause.SETUP, self.walk.start[i], raised)
        return self.walk.decoded(i)

    def _link(self, b: int, causes: dict[Queue, Cause], begin: int, end: int) -> None:
        i = self.op[b]
        self.walk.link(i, causes[Queue(self.walk.queue[i])], begin, end)
