"""The critical path: the chain of links, each held back by the one before, from cycle 0 to the last retirement.

Walked backwards. Each point of an operation is the greatest of its gates (`hwmodel/unit.py`), so there is
always a gate that it meets exactly; the walk goes on there:

    point   the first of these gates that is met                     cycles on the way, and their cause
    end     its own done + latency                                   latency: by who waits for it, below
            end of the operation before it in its queue              none
            (of a transfer under bursts: `burst_path.py` has the way from done to start)
    done    ready + busy, or begin + DRAM service (and lag)          compute, vector, load_port, load_dram, store
    begin   ready                                                    none
            the DRAM served another transfer                         that service: dram_contention if it went the
                                                                     other way, or was another core's; else load_dram,
                                                                     store
    ready   done of the operation before it                          none (in a shared port: of either direction)
            start + setup                                            array (weights shift in), setup
    start   the operation before it left the first stage             the part of its busy cycles until then; array
            end of an operation it waits for: matrix, vector, load, store; then of other cores
            landing (done + latency) of its channel's descriptor     its latency
            max_outstanding earlier (shared: whose place it takes)
            start of the operation before it in its queue            none (on another channel)
            its own issue                                            none
    issue   start of the descriptor whose place in the queue it takes none, if dispatch alone was faster
            issue of the operation before it                         control; none within a 3-D descriptor
            the end of the launch (of the first one)                 control, and the launch itself: launch

"The operation before it" is that of its channel, if the DMA has several; only `end` is in order over all.

Queues and control are those of the operation's core; the path goes on to another core where the DRAM served that
one first, or where a load waits for what that one stores (`syncs`).

A latency is exposed because somebody waits: a load for the place that a reader or store still holds
(sram_space), a compute unit or a store for a result (dependency). The latency of a load is dram_latency. But
where a chain of loads on the path begins, after the first computation began, with one that waited for a place
in SRAM or for its dispatch, their setups and latency are exposed because they started late, and count as
sram_space or control; their transfers do not. A latency that another load waits for (max_outstanding) ends
the chain, and stays one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from minisim.hwmodel.array import rates
from minisim.hwmodel.config import Machine
from minisim.hwmodel.cost import Costs
from minisim.hwmodel.descriptors import planes
from minisim.hwmodel.isa import Opcode, Queue, Schedule
from minisim.hwmodel.timeline import Cycles, Timeline
from minisim.reports.burst_path import Bursts
from minisim.reports.cause import BUSY_OF, DRAM_OF, LATENCY_OF, Cause

__all__ = ["Cause", "Path", "critical_path"]


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
        sum over the path is its MACs / (N x R x C x rate of their type), rounded down once, and no link has more than
        it is long.
        """
        elements, computes = machine.matrix.elements, self.macs > 0
        found = rates(schedule.matmuls["dtype"][schedule.stream["row"][self.op[computes]]], machine.matrix)
        together = int(np.lcm.reduce(found.packed, initial=1))  # so that shares are whole numbers
        shares = np.zeros_like(self.macs)
        shares[computes] = self.macs[computes] * found.passes * (together // found.packed)
        whole = np.cumsum(shares) // (elements * together)
        return np.diff(whole, prepend=0)


def critical_path(schedule: Schedule, timeline: Timeline, machine: Machine, cost: Costs) -> Path:
    """The critical path of a run.

    Cycles before the first compute operation begins are START (the launch stays LAUNCH), those after the last
    one retired are TAIL; a link that lies across is cut.

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
        of = cause if name is None else np.where(cause == Cause.LAUNCH, cause, name)
        parts.append(np.stack([op, of, b, e, macs])[:, e > b])
    return Path(*np.concatenate(parts, axis=1))


Step = Callable[[int], "Node | None"]
Node = tuple[Step, int]
"""A point of an operation: the method that finds its gate, and the operation."""

WAITS_IN_ORDER = (Queue.MATRIX, Queue.VECTOR, Queue.LOAD, Queue.STORE)


class Before:
    """Who comes how many places before whom, among the operations of a group (a core, its queue, a channel of it).

    Args:
        group: of each operation.
        counted: the operations that are found; all ask.
    """

    def __init__(self, group: npt.NDArray[np.integer], counted: npt.NDArray[np.bool_] | None = None) -> None:
        counts = np.ones(len(group), dtype=np.int64) if counted is None else counted.astype(np.int64)
        place = np.zeros(len(group), dtype=np.int64)
        self._found: dict[int, list[int]] = {}
        self._group: list[int] = group.tolist()
        for value in np.unique(group).tolist():
            mine = np.flatnonzero(group == value)
            place[mine] = np.cumsum(counts[mine]) - counts[mine]
            self._found[value] = mine[counts[mine] > 0].tolist()
        self._place: list[int] = place.tolist()

    def of(self, i: int, by: int = 1) -> int:
        """The operation `by` places before `i`, -1 if there is none."""
        place = self._place[i] - by
        return self._found[self._group[i]][place] if place >= 0 else -1


def port_of(schedule: Schedule, timeline: Timeline) -> npt.NDArray[np.int64]:
    """A number for each port that both directions share."""
    return np.asarray(schedule.stream["core"].astype(np.int64) * 64 + timeline.channel)


def port_order(schedule: Schedule, timeline: Timeline) -> dict[int, int]:
    """For each transfer the one before it in the port that both directions share: it is done earlier."""
    moves = np.flatnonzero(schedule.stream["opcode"] <= Opcode.STORE)
    port = port_of(schedule, timeline)[moves]
    order = np.lexsort((timeline.done[moves], port))
    same = port[order][1:] == port[order][:-1]
    return dict(zip(moves[order[1:][same]].tolist(), moves[order[:-1][same]].tolist(), strict=True))


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
        self.queue: list[int] = schedule.stream["queue"].tolist()
        lane = schedule.lanes()
        channel = lane * 64 + timeline.channel
        first = planes(schedule, cost.descriptors) > 0
        self.lane: list[int] = lane.tolist()
        self.ops: list[list[int]] = [mine.tolist() for mine in schedule.lane_ops()]
        self.follows: list[bool] = (~first).tolist()
        self.in_queue, self.in_channel = Before(lane), Before(channel)
        self.queued, self.flying = Before(lane, first), Before(channel, first)
        self.dispatched = Before(schedule.stream["core"])
        moves = np.flatnonzero(schedule.stream["opcode"] <= Opcode.STORE)
        self.dram_begin: list[int] = timeline.dram_begin.tolist()
        self.dram_end: list[int] = timeline.dram_end.tolist()
        self.served: dict[int, int] = dict(zip(timeline.dram_end[moves].tolist(), moves.tolist(), strict=True))
        self.shared = machine.dma.shared
        self.port: list[int] = port_of(schedule, timeline).tolist()
        self.port_before = port_order(schedule, timeline) if self.shared else {}
        self.places = self._places(moves) if self.shared else {}
        self.bursts = Bursts(schedule, timeline, machine, cost, self) if machine.dma.has_bursts else None
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
            self.link(i, self.awaited_as or LATENCY_OF[Queue(self.queue[i])], self.done[i], self.end[i])
            if self.awaited_as == Cause.DRAM_LATENCY:
                self.settled = len(self.found)
            return self._done, i
        before = self.in_queue.of(i)
        if before < 0 or self.end[before] != self.end[i]:
            raise self.loose("end", i)
        return self._end, before

    def _landed(self, i: int) -> Node:
        """Of a transfer: all of it has arrived, though it may not have retired."""
        self.link(i, LATENCY_OF[Queue(self.queue[i])], self.done[i], self.done[i] + self.latency[i])
        if self.queue[i] == Queue.LOAD:
            self.settled = len(self.found)
        return self._done, i

    def _done(self, i: int) -> Node:
        if self.bursts and self.queue[i] <= Queue.STORE:
            return self.bursts.done(i)
        done, ready, cause = self.done[i], self._ready_at(i), BUSY_OF[Queue(self.queue[i])]
        if ready + self.busy[i] == done:
            self.link(i, cause, ready, done)
            return self._ready, i
        served = self.dram_end[i] + self.lag[i]
        if self.queue[i] > Queue.STORE or served != done:
            raise self.loose("done", i)
        self.link(i, DRAM_OF[Queue(self.queue[i])], self.begin[i], done)
        return self._begin, i

    def _begin(self, i: int) -> Node:
        """Of a transfer; other units begin when they are ready."""
        return (self._ready, i) if self._ready_at(i) == self.begin[i] else self.after_another(i)

    def after_another(self, i: int) -> Node:
        """The DRAM served another transfer until it served `i`."""
        other = self.served.get(self.dram_begin[i], -1)
        if other < 0:
            raise self.loose("begin", i)
        cause = DRAM_OF[Queue(self.queue[i])] if self.lane[i] == self.lane[other] else Cause.DRAM_CONTENTION
        self.link(other, cause, self.dram_begin[other], self.dram_end[other])
        return (self.bursts.served, other) if self.bursts else (self._begin, other)

    def _ready(self, i: int) -> Node:
        ready, before = self._ready_at(i), self._in_port(i)
        if before >= 0 and self.done[before] == ready:
            return self._done, before
        self.link(i, Cause.ARRAY if self.queue[i] == Queue.MATRIX else Cause.SETUP, self.start[i], ready)
        return self._start, i

    def decoded(self, i: int) -> Node:
        """`start` of `i`, for whoever has added the link from there."""
        return self._start, i

    def _start(self, i: int) -> Node:
        start, before = self.start[i], self.in_channel.of(i)
        if before >= 0 and self._stage_free(before) == start:
            return self._first_stage(before, start)
        waits: list[int] = self.schedule.stream["wait"][i].tolist()
        own = self.lane[i] - self.queue[i]
        for queue in WAITS_IN_ORDER:
            if waits[queue] and self.end[other := self.ops[own + queue][waits[queue] - 1]] == start:
                self.awaited_as = self._waits_for(i, other)
                if self.awaited_as == Cause.SRAM_SPACE:
                    self._started_late(i, Cause.SRAM_SPACE)
                return self._end, other
        for lane, count in self.schedule.syncs_of(i):
            if count and self.end[other := self.ops[lane][count - 1]] == start:
                self.awaited_as = Cause.DEPENDENCY
                return self._end, other
        if self.queue[i] <= Queue.STORE:
            landed = self._whose_place(i)
            if landed >= 0 and self.done[landed] + self.latency[landed] == start:
                return self._landed, landed
            ahead = self.in_queue.of(i)
            if self.machine.dma.channels > 1 and ahead >= 0 and self.start[ahead] == start:
                return self._start, ahead
        if self.issue[i] != start:
            raise self.loose("start", i)
        self._started_late(i, Cause.CONTROL)
        return self._issue, i

    def _stage_free(self, i: int) -> int:
        """When the first stage of its channel or unit is free of `i`."""
        bursts = self.bursts and self.queue[i] <= Queue.STORE
        return (self.start[i] + self.setup[i] if bursts else self._ready_at(i)) + self.hold[i]

    def _first_stage(self, before: int, start: int) -> Node:
        """What `before` did until the first stage was free of it."""
        if self.bursts and self.queue[before] <= Queue.STORE:
            self.link(before, Cause.SETUP, self.start[before], start)
            return self._start, before
        worked = min(self.done[before], start)
        self.link(before, Cause.ARRAY, worked, start)  # folds that do not overlap: the last one drains
        self.link(before, BUSY_OF[Queue(self.queue[before])], self._ready_at(before), worked)
        return self._ready, before

    def _issue(self, i: int) -> Node | None:
        issue, pace = self.issue[i], self.machine.control.issue_cycles
        launch = self.machine.control.launch_cycles
        if self.follows[i]:
            return self._issue, self.dispatched.of(i)
        before = self.dispatched.of(i)
        alone = (self.issue[before] if before >= 0 else launch) + pace
        if alone == issue:
            self.link(i, Cause.CONTROL, issue - pace, issue)
            if before >= 0:
                return self._issue, before
            self.link(i, Cause.LAUNCH, 0, launch)
            return None
        out = self.queued.of(i, self.machine.control.queue_depth)
        if out < 0 or self.start[out] != issue:
            raise self.loose("issue", i)
        return self._start, out

    # -- helpers -----------------------------------------------------------------------------------------

    def _in_port(self, i: int) -> int:
        """The operation before `i` in its unit, or its port; -1 if there is none."""
        return self.port_before.get(i, -1) if self.shared and self.queue[i] <= Queue.STORE else self.in_channel.of(i)

    def _places(self, moves: npt.NDArray[np.int64]) -> dict[tuple[int, int], int]:
        """By port and cycle, the transfer that left a place in flight there."""
        ends = [i for i in moves.tolist() if self._last_plane(i) == i]
        return {(self.port[i], self.done[i] + self.latency[i]): i for i in ends}

    def _whose_place(self, i: int) -> int:
        """The transfer whose place in flight `i` took, if it had to wait for one."""
        if not self.shared:
            return self._last_plane(self.flying.of(i, self.machine.dma.max_outstanding))
        return self.places.get((self.port[i], self.start[i]), -1)

    def link(self, i: int, cause: Cause, begin: int, end: int) -> None:
        macs = 0
        if cause == Cause.COMPUTE and end > begin:
            x = self.schedule.matmuls[self.schedule.stream["row"][i]]
            macs = int(x["m"]) * int(x["k"]) * int(x["n"]) * (end - begin) // self.busy[i]
        if end > begin:
            self.found.append((i, cause, begin, end, macs))

    def _last_plane(self, i: int) -> int:
        """The last operation of the descriptor whose first one is `i`."""
        while 0 <= i < len(self.follows) - 1 and self.follows[i + 1]:
            i += 1
        return i

    def _ready_at(self, i: int) -> int:
        """Its setup is over, and its unit free."""
        before, after_setup = self._in_port(i), self.start[i] + self.setup[i]
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

    def loose(self, point: str, i: int) -> ValueError:
        return ValueError(f"operation {i} ({self.schedule.describe(i)}): nothing holds its {point} back")
