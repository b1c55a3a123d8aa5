"""The critical path: the chain of links, each held back by the one before, from cycle 0 to the last retirement.

Walked backwards. Each point of an operation is the greatest of its gates (`hwmodel/unit.py`), so there is
always a gate that it meets exactly; the walk goes on there:

    point   the first of these gates that is met                     cycles on the way, and their cause
    end     its own done + latency                                   latency: by who waits for it, below
            end of the operation before it in its queue              none
    done    granted + busy, or begin + DRAM service (and lag)        compute, vector, load_port, load_dram, store
    begin   granted                                                  none
            the DRAM served the other direction                      that service: dram_contention
            a banked DRAM was not ready for it                       the wait: dram_contention
    granted ready                                                    none
            done of the other direction's transfer in a shared port  none
    ready   done of the operation before it                          none
            start + setup                                            array (weights shift in), setup
    start   the operation before it left the first stage             the part of its busy cycles until then; array
            end of an operation it waits for: matrix, vector, load, store
            end of its queue's operation max_outstanding earlier     none (of either queue, if they share the slots)
            its own issue                                            none
    issue   start of the operation whose place in the queue it takes none, if dispatch alone was faster
            issue of the operation before it (or cycle 0)            control

A latency is exposed because somebody waits: a load for the place that a reader or store still holds
(sram_space), a compute unit or a store for a result (dependency). The latency of a load is dram_latency. But
where a chain of loads on the path begins, after the first computation began, with one that waited for a place
in SRAM or for its dispatch, their setups and latency are exposed because they started late, and count as
sram_space or control; their transfers do not. A latency that another load waits for (max_outstanding) ends
the chain, and stays one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from minisim.hwmodel.array import rates
from minisim.hwmodel.config import Machine
from minisim.hwmodel.cost import Costs
from minisim.hwmodel.isa import Opcode, Queue, Schedule
from minisim.hwmodel.timeline import Cycles, Timeline


class Cause(IntEnum):
    """What a cycle of the run went to, in the order of the columns of account.csv."""

    COMPUTE = 0
    PADDING = 1
    ARRAY = 2
    VECTOR = 3
    LOAD_PORT = 4
    LOAD_DRAM = 5
    DRAM_LATENCY = 6
    DRAM_CONTENTION = 7
    STORE = 8
    SRAM_SPACE = 9
    DEPENDENCY = 10
    CONTROL = 11
    SETUP = 12
    START = 13
    TAIL = 14


@dataclass(frozen=True)
class Path:
    """Links in order of time: the first begins at cycle 0, each at the end of the one before, none is empty.

    Attributes:
        op: the operation whose stage it is; its layer is the link's.
        cause: a Cause. Busy cycles of the array are COMPUTE here, padding included (see `useful`).
        begin, end: cycles, [begin, end).
        macs: multiply-accumulates of a COMPUTE link; 0 for others.
    """

    op: npt.NDArray[np.int64]
    cause: npt.NDArray[np.int64]
    begin: Cycles
    end: Cycles
    macs: npt.NDArray[np.int64]

    def useful(self, schedule: Schedule, machine: Machine) -> Cycles:
        """Cycles of each link in which the array, had it been full, would have done the link's MACs.

        Whole cycles: what the running sum of the MACs' share of a cycle along the path gains, rounded down. So the
        sum over the path is its MACs / (R x C x rate of their type), rounded down once, and no link has more than
        it is long.
        """
        elements, computes = machine.matrix.rows * machine.matrix.cols, self.macs > 0
        found = rates(schedule.matmuls["dtype"][schedule.stream["row"][self.op[computes]]], machine.matrix)
        together = int(np.lcm.reduce(found.packed, initial=1))  # so that shares are whole numbers
        shares = np.zeros_like(self.macs)
        shares[computes] = self.macs[computes] * found.passes * (together // found.packed)
        whole = np.cumsum(shares) // (elements * together)
        return np.diff(whole, prepend=0)


def critical_path(schedule: Schedule, timeline: Timeline, machine: Machine, cost: Costs) -> Path:
    """The critical path of a run.

    Cycles before the first compute operation begins are START, those after the last one retired are TAIL;
    a link that lies across is cut.

    Raises:
        ValueError: a point meets none of its gates: the timeline is not of this schedule and machine.
    """
    links = _Walk(schedule, timeline, machine, cost).links() if len(schedule) else []
    op, cause, begin, end, macs = np.array(links, dtype=np.int64).reshape(-1, 5)[::-1].T
    computes = schedule.stream["opcode"] >= Opcode.EXECUTE
    first = int(timeline.begin[computes].min(initial=timeline.cycles)) if computes.any() else 0
    last = int(timeline.end[computes].max()) if computes.any() else timeline.cycles
    parts = []
    for lo, hi, name in ((0, first, Cause.START), (first, last, None), (last, timeline.cycles, Cause.TAIL)):
        b, e = np.clip(begin, lo, hi), np.clip(end, lo, hi)
        of = cause if name is None else np.full_like(cause, name)
        parts.append(np.stack([op, of, b, e, macs])[:, e > b])
    return Path(*np.concatenate(parts, axis=1))


Step = Callable[[int], "Node | None"]
Node = tuple[Step, int]
"""A point of an operation: the method that finds its gate, and the operation."""

LATENCY_OF = {Queue.LOAD: Cause.DRAM_LATENCY, Queue.STORE: Cause.STORE, Queue.MATRIX: Cause.ARRAY,
              Queue.VECTOR: Cause.VECTOR}  # fmt: skip
BUSY_OF = {Queue.LOAD: Cause.LOAD_PORT, Queue.STORE: Cause.STORE, Queue.MATRIX: Cause.COMPUTE,
           Queue.VECTOR: Cause.VECTOR}  # fmt: skip
WAITS_IN_ORDER = (Queue.MATRIX, Queue.VECTOR, Queue.LOAD, Queue.STORE)


class _Walk:
    """The way back from the last retirement. Columns are lists: single items are read, once per link."""

    def __init__(self, schedule: Schedule, timeline: Timeline, machine: Machine, cost: Costs) -> None:
        self.schedule, self.machine = schedule, machine
        self.issue: list[int] = timeline.issue.tolist()
        self.start: list[int] = timeline.start.tolist()
        self.begin: list[int] = timeline.begin.tolist()
        self.done: list[int] = timeline.done.tolist()
        self.end: list[int] = timeline.end.tolist()
        self.setup: list[int] = cost.setup.tolist()
        self.busy: list[int] = cost.busy.tolist()
        self.hold: list[int] = cost.hold.tolist()
        self.latency: list[int] = cost.latency.tolist()
        self.dram: list[int] = cost.dram.tolist()
        self.lag: list[int] = cost.lag.tolist()
        self.ideal = machine.dram.model == "ideal"  # else the DRAM's service times are its own affair
        queue = schedule.stream["queue"]
        self.queue: list[int] = queue.tolist()
        ops = [np.flatnonzero(queue == q) for q in Queue]
        place = np.zeros(len(schedule), dtype=np.int64)
        for mine in ops:
            place[mine] = np.arange(len(mine))
        self.place: list[int] = place.tolist()
        self.port_before = self._port_order(schedule, timeline) if machine.dma.shared else {}
        self.ops: list[list[int]] = [mine.tolist() for mine in ops]
        self.begins: list[list[int]] = [timeline.begin[mine].tolist() for mine in ops]
        self.found: list[tuple[int, int, int, int, int]] = []
        self.awaited_as: Cause | None = None  # what somebody's wait for the next END on the way counts as
        computes = schedule.stream["opcode"] >= Opcode.EXECUTE
        self.first = int(timeline.begin[computes].min()) if computes.any() else 0  # before that, no load is late
        self.settled = 0  # links up to here are not recounted by `_started_late`

    def links(self) -> list[tuple[int, int, int, int, int]]:
        """op, cause, begin, end and MACs of each link that is not empty, the last one first."""
        cycles = max(self.end)
        node: Node | None = (self._end, self.end.index(cycles))
        while node is not None:
            step, op = node
            node = step(op)
        return self.found

    # -- one method per point: add the link, if it has cycles, and go on where it begins -----------------

    def _end(self, i: int) -> Node:
        if self.done[i] + self.latency[i] == self.end[i]:
            self._link(i, self.awaited_as or LATENCY_OF[Queue(self.queue[i])], self.done[i], self.end[i])
            if self.awaited_as == Cause.DRAM_LATENCY:
                self.settled = len(self.found)
            return self._done, i
        before = self._earlier(i, 1)
        if before < 0 or self.end[before] != self.end[i]:
            raise self._loose("end", i)
        return self._end, before

    def _done(self, i: int) -> Node:
        done, granted, cause = self.done[i], self._granted_at(i), BUSY_OF[Queue(self.queue[i])]
        if granted + self.busy[i] == done:
            self._link(i, cause, granted, done)
            return self._granted, i
        served = self.begin[i] + self.dram[i] + self.lag[i]
        if self.queue[i] > Queue.STORE or (self.ideal and served != done):
            raise self._loose("done", i)
        self._link(i, Cause.LOAD_DRAM if cause == Cause.LOAD_PORT else cause, self.begin[i], done)
        return self._begin, i

    def _begin(self, i: int) -> Node:
        """Of a transfer; other units begin when they are ready."""
        begin, granted = self.begin[i], self._granted_at(i)
        if granted == begin:
            return self._granted, i
        if not self.ideal:  # banks, refresh or other transfers: which of them, the DRAM does not tell
            self._link(i, Cause.DRAM_CONTENTION, granted, begin)
            return self._granted, i
        other = Queue.STORE if self.queue[i] == Queue.LOAD else Queue.LOAD
        at = bisect_left(self.begins[other], begin) - 1
        served = self.ops[other][at] if at >= 0 else -1
        if served < 0 or self.begin[served] + self.dram[served] != begin:
            raise self._loose("begin", i)
        self._link(served, Cause.DRAM_CONTENTION, self.begin[served], begin)
        return self._begin, served

    def _granted(self, i: int) -> Node:
        return (self._ready, i) if self._granted_at(i) == self._ready_at(i) else (self._done, self.port_before[i])

    def _ready(self, i: int) -> Node:
        ready, before = self._ready_at(i), self._earlier(i, 1)
        if before >= 0 and self.done[before] == ready:
            return self._done, before
        self._link(i, Cause.ARRAY if self.queue[i] == Queue.MATRIX else Cause.SETUP, self.start[i], ready)
        return self._start, i

    def _start(self, i: int) -> Node:
        start, before = self.start[i], self._earlier(i, 1)
        if before >= 0 and self._ready_at(before) + self.hold[before] == start:
            worked = min(self.done[before], start)
            self._link(before, Cause.ARRAY, worked, start)  # folds that do not overlap: the last one drains
            self._link(before, BUSY_OF[Queue(self.queue[i])], self._ready_at(before), worked)
            return self._ready, before
        waits: list[int] = self.schedule.stream["wait"][i].tolist()
        for queue in WAITS_IN_ORDER:
            if waits[queue] and self.end[other := self.ops[queue][waits[queue] - 1]] == start:
                self.awaited_as = self._waits_for(i, other)
                if self.awaited_as == Cause.SRAM_SPACE:
                    self._started_late(i, Cause.SRAM_SPACE)
                return self._end, other
        if self.queue[i] <= Queue.STORE:
            landed = self._landed(i)
            if landed >= 0 and self.end[landed] == start:
                self.awaited_as = LATENCY_OF[Queue(self.queue[landed])]
                return self._end, landed
        if self.issue[i] != start:
            raise self._loose("start", i)
        self._started_late(i, Cause.CONTROL)
        return self._issue, i

    def _issue(self, i: int) -> Node | None:
        issue, pace = self.issue[i], self.machine.control.issue_cycles
        alone = (self.issue[i - 1] if i else 0) + pace
        if alone == issue:
            self._link(i, Cause.CONTROL, issue - pace, issue)
            return (self._issue, i - 1) if i else None
        out = self._earlier(i, self.machine.control.queue_depth)
        if out < 0 or self.start[out] != issue:
            raise self._loose("issue", i)
        return self._start, out

    # -- helpers -----------------------------------------------------------------------------------------

    def _link(self, i: int, cause: Cause, begin: int, end: int) -> None:
        macs = 0
        if cause == Cause.COMPUTE and end > begin:
            x = self.schedule.matmuls[self.schedule.stream["row"][i]]
            macs = int(x["m"]) * int(x["k"]) * int(x["n"]) * (end - begin) // self.busy[i]
        if end > begin:
            self.found.append((i, cause, begin, end, macs))

    def _earlier(self, i: int, by: int) -> int:
        """The operation `by` places before `i` in its queue, -1 if there is none."""
        place = self.place[i] - by
        return self.ops[self.queue[i]][place] if place >= 0 else -1

    def _port_order(self, schedule: Schedule, timeline: Timeline) -> dict[int, int]:
        """For each transfer the one before it in the port that both directions share."""
        moves = np.flatnonzero(schedule.stream["opcode"] <= Opcode.STORE)
        order = moves[np.lexsort((timeline.begin[moves], timeline.done[moves]))].tolist()
        return dict(zip(order[1:], order[:-1], strict=True))

    def _landed(self, i: int) -> int:
        """The transfer whose slot `i` took when it started, if it had to wait for one; -1 if there is none."""
        if not self.machine.dma.shared:
            return self._earlier(i, self.machine.dma.max_outstanding)
        for queue in (Queue.LOAD, Queue.STORE):
            at = bisect_left(self.ops[queue], self.start[i], key=self.end.__getitem__)
            if at < len(self.ops[queue]) and self.end[self.ops[queue][at]] == self.start[i]:
                return self.ops[queue][at]
        return -1

    def _granted_at(self, i: int) -> int:
        """It is ready, and a port that it shares is free for it."""
        before = self.port_before.get(i, -1)
        return max(self._ready_at(i), self.done[before]) if before >= 0 else self._ready_at(i)

    def _ready_at(self, i: int) -> int:
        """Its setup is over, and its unit free."""
        before, after_setup = self._earlier(i, 1), self.start[i] + self.setup[i]
        return max(after_setup, self.done[before]) if before >= 0 else after_setup

    def _waits_for(self, i: int, other: int) -> Cause | None:
        """What the wait of `i` for the retirement of `other` is; None if that says nothing about its latency."""
        mine, its = self.queue[i], self.queue[other]
        if its == Queue.LOAD or its == mine == Queue.STORE:
            return None
        if mine == Queue.LOAD:
            written = its == Queue.STORE and self._buffer(i) == self._buffer(other)
            return Cause.DEPENDENCY if written else Cause.SRAM_SPACE
        return Cause.SRAM_SPACE if its == Queue.STORE else Cause.DEPENDENCY

    def _buffer(self, i: int) -> int:
        """The DRAM buffer that transfer `i` reads or writes."""
        s = self.schedule
        return int(s.tensors["storage"][s.tiles["tensor"][s.transfers["tile"][s.stream["row"][i]]]])

    def _started_late(self, i: int, why: Cause) -> None:
        """Load `i` started late: that exposed the setups and the latency of the loads from it on, on the path."""
        if self.queue[i] != Queue.LOAD or self.start[i] < self.first:
            return
        for at in range(len(self.found) - 1, self.settled - 1, -1):
            op, cause, begin, end, macs = self.found[at]
            if self.queue[op] != Queue.LOAD:
                break
            if cause in (Cause.SETUP, Cause.DRAM_LATENCY):
                self.found[at] = (op, why, begin, end, macs)
        self.settled = len(self.found)

    def _loose(self, point: str, i: int) -> ValueError:
        return ValueError(f"operation {i} ({self.schedule.describe(i)}): nothing holds its {point} back")
