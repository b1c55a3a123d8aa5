"""The critical path: the chain of links, each held back by the one before, from cycle 0 to the last retirement.

Walked backwards along `Timeline.gate` and `Timeline.holder`. Each point of an operation keeps the equation of the
gate that opened it (`hwmodel/gates.py`):

    point of the operation = origin point of the holder + terms

The terms become links, each with the cause that it names, and the walk goes on at the origin. So what may hold an
operation back is no concern of this file: a gate that is added to the model is on the path, and its causes are in
the account. One origin is no point of an operation: "zero", where the path begins. Through bursts leads
`burst_path.py`.

What remains here says for what the cycles count:

The memory's service of another transfer is dram_contention if that is of the other direction, or another core's.

A latency is exposed because somebody waits: a load for the place that a reader or store still holds
(sram_space), a compute unit or a store for a result (dependency). The latency of a load is dram_latency. But
where a chain of loads on the path begins, after the first computation began, with one that waited for a place
in SRAM or for its dispatch, their setups and latency are exposed because they started late, and count as
sram_space or control; their transfers do not. A latency that another load waits for (max_outstanding) ends
the chain, and stays one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from minisim.hwmodel.array import rates
from minisim.hwmodel.config import Machine
from minisim.hwmodel.cost import Costs
from minisim.hwmodel.delays import delays
from minisim.hwmodel.gates import BY_BURSTS, Gate, Point, Term
from minisim.hwmodel.isa import Opcode, Queue, Schedule
from minisim.hwmodel.timeline import Cycles, Timeline
from minisim.reports.burst_path import Bursts, Node, loose
from minisim.reports.cause import Cause, causes_of

__all__ = ["Cause", "Path", "critical_path"]


@dataclass(frozen=True)
class Path:
    """Links in order of time: the first begins at cycle 0, each at the end of the one before, none is empty.

    Attributes:
        op: the operation whose stage it is; its layer is the link's.
        cause: a code of `causes`. Busy cycles of the array are COMPUTE here, padding included (see `useful`).
        begin, end: cycles, [begin, end).
        macs: multiply-accumulates of a COMPUTE link; 0 for others.
        causes: the names of all causes that a link of this run may have.
    """

    op: npt.NDArray[np.int64]
    cause: npt.NDArray[np.int64]
    begin: Cycles
    end: Cycles
    macs: npt.NDArray[np.int64]
    causes: tuple[str, ...]

    def of(self, cause: str) -> npt.NDArray[np.bool_]:
        """Which of the links have this cause."""
        return np.asarray(self.cause == self.causes.index(cause))

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
        ValueError: a point does not keep its gate's equation: the timeline is not of this schedule and machine.
    """
    links = _Walk(schedule, timeline, machine, cost).links() if len(schedule) else []
    causes = causes_of(timeline.gates)
    code = {name: i for i, name in enumerate(causes)}
    rows = [(i, code[name], *rest) for i, name, *rest in reversed(links)]
    op, cause, begin, end, macs = np.array(rows, dtype=np.int64).reshape(-1, 5).T
    computes = schedule.stream["opcode"] >= Opcode.EXECUTE
    first = int(timeline.begin[computes].min(initial=timeline.cycles)) if computes.any() else 0
    last = int(timeline.end[computes].max()) if computes.any() else timeline.cycles
    parts = []
    for lo, hi, name in ((0, first, Cause.START), (first, last, None), (last, timeline.cycles, Cause.TAIL)):
        b, e = np.clip(begin, lo, hi), np.clip(end, lo, hi)
        of = cause if name is None else np.where(cause == code[Cause.LAUNCH], cause, code[name])
        parts.append(np.stack([op, of, b, e, macs])[:, e > b])
    op, cause, begin, end, macs = np.concatenate(parts, axis=1)
    return Path(op, cause, begin, end, macs, causes)


_ORIGIN = {point.name.lower(): point for point in Point}
"""Where the way back goes on, by `Gate.origin`. At "zero" it ends."""


class _Walk:
    """The way back from the last retirement. Columns are lists: single items are read, once per link."""

    def __init__(self, schedule: Schedule, timeline: Timeline, machine: Machine, cost: Costs) -> None:
        self.schedule, self.gates = schedule, timeline.gates
        self.queue: list[int] = schedule.stream["queue"].tolist()
        self.lane: list[int] = schedule.lanes().tolist()
        self.found: list[tuple[int, str, int, int, int]] = []
        found = delays(cost, machine, timeline)
        self.bursts = Bursts(schedule, timeline, machine, found, self.link) if machine.dma.has_bursts else None
        self.gate: list[list[int]] = timeline.gate.T.tolist()
        self.holder: list[list[int]] = timeline.holder.T.tolist()
        moves, computes = schedule.stream["opcode"] <= Opcode.STORE, schedule.stream["opcode"] >= Opcode.EXECUTE
        begin = np.where(moves, timeline.dram_begin, timeline.begin)
        ready = self._ready(timeline, found)
        served = np.where(moves, timeline.dram_end, timeline.begin)
        columns = (timeline.issue, timeline.start, ready, begin, served, timeline.done, timeline.end)
        self.at: list[list[int]] = [column.tolist() for column in columns]  # by Point
        self.delay: dict[str, list[int]] = {name: column.tolist() for name, column in found.items()}
        self.awaited_as: Cause | None = None  # what somebody's wait for the next END on the way counts as
        self.served_as: Cause | None = None  # and a wait for the next SERVED
        self.first = int(timeline.begin[computes].min()) if computes.any() else 0  # before that, no load is late
        self.settled = 0  # links up to here are not recounted by `_started_late`

    def _ready(self, timeline: Timeline, delay: dict[str, Cycles]) -> Cycles:
        """READY of each operation, which has no column: it follows from its gate."""
        ready = np.zeros_like(timeline.start)
        for code, gate in enumerate(self.gates):
            rows = np.flatnonzero(timeline.gate[:, Point.READY] == code)
            if self.bursts and code in BY_BURSTS:
                ready[rows] = [self.bursts.ready(i) for i in rows.tolist()]
            elif gate.point == Point.READY and gate.origin != "ready":
                holder = timeline.holder[rows, Point.READY]
                of = holder if gate.of_holder else rows
                terms = (x.cycles if isinstance(x.cycles, int) else delay[x.cycles][of] for x in gate.terms)
                ready[rows] = getattr(timeline, gate.origin)[holder] + sum(terms)
        return ready

    def links(self) -> list[tuple[int, str, int, int, int]]:
        """op, cause, begin, end and MACs of each link that is not empty, the last one first."""
        ends = self.at[Point.END]
        node: Node | None = (Point.END, ends.index(max(ends)))
        while node is not None:
            node = self._back(*node)
        return self.found

    def _back(self, point: Point, i: int) -> Node | None:
        """From a point to the one that held it back; the cycles in between are links."""
        code, holder = self.gate[point][i], self.holder[point][i]
        if self.bursts and code in BY_BURSTS:
            return self.bursts.back(point, i)
        gate = self.gates[code]
        if point == Point.START:
            self._interpret(gate, i, holder)
        if point == Point.BEGIN:
            self.served_as = None if self.lane[i] == self.lane[holder] else Cause.DRAM_CONTENTION
        at = self.at[point][i]
        for term in reversed(gate.terms):
            at = self._add(term, point, holder if gate.of_holder else i, at)
        if gate.waits_for == "outstanding" and self.queue[holder] == Queue.LOAD:
            self.settled = len(self.found)
        if point == Point.SERVED:
            self.served_as = None
        origin = _ORIGIN.get(gate.origin)
        begins = 0 if origin is None else self.at[origin][holder]
        if gate.point != point or at != begins:
            raise loose(self.schedule, point, i)
        return None if origin is None else (origin, holder)

    # -- links -------------------------------------------------------------------------------------------

    def _add(self, term: Term, point: Point, of: int, end: int) -> int:
        """The link of a term of operation `of`, which ends at `end`; returns where it begins."""
        cause = term.cause_for(Queue(self.queue[of]))
        if point == Point.END and term.cycles == "latency":
            cause = self.awaited_as or cause
        if point == Point.SERVED or (point == Point.BEGIN and self.served_as):
            cause = self.served_as or cause
        begin = end - (term.cycles if isinstance(term.cycles, int) else self.delay[term.cycles][of])
        self.link(of, cause, begin, end)
        return begin

    def link(self, i: int, cause: str, begin: int, end: int) -> None:
        macs = 0
        if cause == Cause.COMPUTE and end > begin:
            x = self.schedule.matmuls[self.schedule.stream["row"][i]]
            macs = int(x["m"]) * int(x["k"]) * int(x["n"]) * (end - begin) // self.delay["busy"][i]
        if end > begin:
            self.found.append((i, cause, begin, end, macs))

    # -- what they count as ------------------------------------------------------------------------------

    def _interpret(self, gate: Gate, i: int, holder: int) -> None:
        """What the wait of `i` before its start exposes."""
        if gate.origin == "issue":
            self._started_late(i, Cause.CONTROL)
        elif gate.origin == "end":
            self.awaited_as = self._waits_for(i, holder)
            if self.awaited_as == Cause.SRAM_SPACE:
                self._started_late(i, Cause.SRAM_SPACE)

    def _waits_for(self, i: int, other: int) -> Cause | None:
        """What the wait of `i` for the retirement of `other` is; None if that says nothing about its latency."""
        mine, its = self.queue[i], self.queue[other]
        if self.lane[i] - mine != self.lane[other] - its:  # of another core
            return Cause.DEPENDENCY
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
        if self.queue[i] != Queue.LOAD or self.at[Point.START][i] < self.first:
            return
        for at in range(len(self.found) - 1, self.settled - 1, -1):
            op, cause, begin, end, macs = self.found[at]
            if self.queue[op] != Queue.LOAD:
                break
            if cause in (Cause.SETUP, Cause.DRAM_LATENCY):
                self.found[at] = (op, why, begin, end, macs)
        self.settled = len(self.found)
