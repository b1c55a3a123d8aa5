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

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from minisim.hwmodel.array import rates
from minisim.hwmodel.config import Machine
from minisim.hwmodel.cost import Costs
from minisim.hwmodel.delays import delays
from minisim.hwmodel.gates import BY_BURSTS, ORIGINS, Gate, Point, Term
from minisim.hwmodel.isa import Opcode, Queue, Schedule
from minisim.hwmodel.timeline import Cycles, Timeline
from minisim.hwmodel.way_back import way_back
from minisim.reports.burst_path import Bursts, Node, loose
from minisim.reports.cause import Cause, causes_of

__all__ = ["Cause", "Path", "critical_path"]

Index = npt.NDArray[np.signedinteger[Any]]
"""Operations and nodes are int32, codes of points, gates, queues and causes int8: of a long run there are many."""

MOVES = (Opcode.LOAD, Opcode.STORE)
COMPUTES = (Opcode.EXECUTE, Opcode.VECTOR)


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

    op: Index
    cause: Index
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
    causes = causes_of(timeline.gates)
    code = {name: i for i, name in enumerate(causes)}
    none = _Links(*(np.zeros(0, dtype=of) for of in _TYPES))
    links = _Walk(schedule, timeline, machine, cost).links() if len(schedule) else none
    op, cause, begin, end = (column[::-1] for column in links[:4])
    macs = _macs(cost, op, end - begin, cause == code[Cause.COMPUTE])
    computes = schedule.stream["opcode"] >= Opcode.EXECUTE
    first = int(timeline.begin[computes].min(initial=timeline.cycles)) if computes.any() else 0
    last = int(timeline.end[computes].max()) if computes.any() else timeline.cycles
    parts = []
    for lo, hi, name in ((0, first, Cause.START), (first, last, None), (last, timeline.cycles, Cause.TAIL)):
        there = (begin < hi) & (end > lo) & (lo < hi)  # those that lie in the part, which are not empty
        of = cause[there]
        if name is not None:
            of = np.where(of == code[Cause.LAUNCH], of, np.int8(code[name]))
        parts.append((op[there], of, np.maximum(begin[there], lo), np.minimum(end[there], hi), macs[there]))
    op, cause, begin, end, macs = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Path(op, cause, begin, end, macs, causes)


def _macs(cost: Costs, op: Index, cycles: Cycles, computes: npt.NDArray[np.bool_]) -> Index:
    """Multiply-accumulates of links that compute: of an operation as many as of its cycles at work."""
    found = np.zeros(len(op), dtype=np.int64)
    ops = op[computes]
    found[computes] = cost.macs[ops] * cycles[computes] // cost.busy[ops]
    return found


NOTHING = -1
"""Instead of a cause: the term's own counts."""


class _Links(NamedTuple):
    """Columns over the links, the last one first: operation, cause, cycles; and the node of the way that each is of."""

    op: Index
    cause: Index
    begin: Cycles
    end: Cycles
    node: Index


_TYPES: tuple[Any, ...] = (np.int32, np.int8, np.int64, np.int64, np.int32)
"""Of the columns of `_Links`."""


class _Walk:
    """The way back from the last retirement: its nodes, points of operations, as columns, the last one first.

    Attributes:
        point, op, code, holder: of each node: what it is, the gate that opened it, and who held it.
        by_bursts: whether its gate is the law of bursts, which gives its links.
    """

    def __init__(self, schedule: Schedule, timeline: Timeline, machine: Machine, cost: Costs) -> None:
        self.schedule, self.timeline, self.gates = schedule, timeline, timeline.gates
        self.causes = causes_of(self.gates)
        self.delay = delays(cost, machine, timeline)
        self._given: list[tuple[int, str, int, int]] = []  # links that bursts gave for the node at hand
        self._of_bursts: list[tuple[int, int, int, int, int]] = []  # all: operation, cause, begin, end, node
        self.bursts = Bursts(schedule, timeline, machine, self.delay, self._give) if machine.dma.has_bursts else None
        moves, self.computes = (np.isin(schedule.stream["opcode"], of) for of in (MOVES, COMPUTES))
        begin = np.where(moves, timeline.dram_begin, timeline.begin)
        served = np.where(moves, timeline.dram_end, timeline.begin)
        ready = self._ready()
        self.at = (timeline.issue, timeline.start, ready, begin, served, timeline.done, timeline.end)  # by Point
        self.queue, self.lane = schedule.stream["queue"].astype(np.int8), schedule.lanes().astype(np.int32)
        self.point, self.op = self._nodes()
        self.code = timeline.gate[self.op, self.point].astype(np.int8)
        self.holder = timeline.holder[self.op, self.point].astype(np.int32)
        self.by_bursts = np.isin(self.code, list(BY_BURSTS)) & (self.bursts is not None)

    def _ready(self) -> Cycles:
        """READY of each operation, which has no column: it follows from its gate."""
        timeline = self.timeline
        ready = np.zeros_like(timeline.start)
        for code, gate in enumerate(self.gates):
            rows = np.flatnonzero(timeline.gate[:, Point.READY] == code)
            if self.bursts and code in BY_BURSTS:
                ready[rows] = [self.bursts.ready(i) for i in rows.tolist()]
            elif gate.point == Point.READY and gate.origin != "ready":
                holder = timeline.holder[rows, Point.READY]
                of = holder if gate.of_holder else rows
                terms = (x.cycles if isinstance(x.cycles, int) else self.delay[x.cycles][of] for x in gate.terms)
                ready[rows] = getattr(timeline, gate.origin)[holder] + sum(terms)
        return ready

    def _nodes(self) -> tuple[Index, Index]:
        """All nodes; through bursts a node at a time."""
        stops = BY_BURSTS if self.bursts else ()
        at: Node | None = (Point.END, int(self.timeline.end.argmax()))
        points, ops = list[Index](), list[Index]()
        count = 0
        while at is not None:
            point, op = way_back(self.timeline, *at, stops)
            points.append(point)
            ops.append(op)
            count += len(op)
            at = None
            if self.bursts and self.timeline.gate[op[-1], point[-1]] in BY_BURSTS:
                at = self.bursts.back(Point(point[-1]), int(op[-1]))
                self._of_bursts += [(i, self.causes.index(name), begin, end, count - 1)
                                    for i, name, begin, end in self._given if end > begin]  # fmt: skip
                self._given.clear()
        return (points[0], ops[0]) if len(ops) == 1 else (np.concatenate(points), np.concatenate(ops))

    def _give(self, i: int, cause: str, begin: int, end: int) -> None:
        self._given.append((i, cause, begin, end))

    def _where(self, is_one: Callable[[Gate], bool]) -> npt.NDArray[np.bool_]:
        """The nodes whose gate is one of these."""
        codes = [code for code, gate in enumerate(self.gates) if is_one(gate)]
        return np.isin(self.code, codes) & ~self.by_bursts

    # -- links -------------------------------------------------------------------------------------------

    def links(self) -> _Links:
        """All links that are not empty."""
        after, served = self._waits_for(), self._served_for()
        at = self._cycles(self.point, self.op)
        of_bursts = np.array(self._of_bursts, dtype=np.int64).reshape(-1, 5).T
        found: list[tuple[Index, ...]] = [tuple(map(np.ndarray.astype, of_bursts, _TYPES))]
        place = [np.zeros(len(self._of_bursts), dtype=np.int8)]
        for t in range(max(len(gate.terms) for gate in self.gates)):
            for code, gate in enumerate(self.gates):
                if t >= len(gate.terms):
                    continue
                term, rows = gate.terms[-1 - t], np.flatnonzero((self.code == code) & ~self.by_bursts)
                of = (self.holder if gate.of_holder else self.op)[rows]
                cycles = np.int64(term.cycles) if isinstance(term.cycles, int) else self.delay[term.cycles][of]
                cause = self._own_cause(term)[self.queue[of]]
                if gate.point == Point.END and term.cycles == "latency":
                    cause = np.where(after[rows] != NOTHING, after[rows], cause)
                if gate.point in (Point.BEGIN, Point.SERVED):
                    cause = np.where(served[rows] != NOTHING, served[rows], cause)
                end = at[rows]
                at[rows] -= cycles
                there = at[rows] < end
                node = rows.astype(np.int32)
                found.append(tuple(column[there] for column in (of, cause, at[rows], end, node)))
                place.append(np.full(int(there.sum()), t, dtype=np.int8))
        self._check(at)
        links = _Links(*(np.concatenate(columns) for columns in zip(*found, strict=True)))
        found.clear()
        order = np.lexsort((np.concatenate(place), links.node))  # bursts' are in order: it is stable
        return self._recounted(_Links(*(column[order] for column in links)), after)

    def _own_cause(self, term: Term) -> Index:
        """The code of a term's cause, by queue; where it has none it is never asked for."""
        code = {name: i for i, name in enumerate(self.causes)}
        of = dict.fromkeys(Queue, term.cause) if isinstance(term.cause, str) else term.cause
        return np.array([code.get(of.get(queue, ""), NOTHING) for queue in Queue], dtype=np.int8)

    def _cycles(self, point: Index, op: Index) -> Cycles:
        """When these points were."""
        found = np.zeros(len(op), dtype=np.int64)
        for each in Point:
            mine = point == each
            found[mine] = self.at[each][op[mine]]
        return found

    def _check(self, at: Cycles) -> None:
        """Whether each node's terms, from it back, end `at` its gate's origin."""
        origins = np.array([ORIGINS.index(gate.origin) for gate in self.gates], dtype=np.int64)
        origin, zero = origins[self.code], ORIGINS.index("zero")
        begins = self._cycles(origin, np.where(origin == zero, 0, self.holder))
        points = np.array([gate.point for gate in self.gates], dtype=np.int64)
        bad = ((points[self.code] != self.point) | (at != begins)) & ~self.by_bursts
        if bad.any() or origin[-1] != zero:
            node = int(bad.argmax()) if bad.any() else len(bad) - 1
            raise loose(self.schedule, Point(self.point[node]), int(self.op[node]))

    # -- what they count as ------------------------------------------------------------------------------

    def _waits_for(self) -> Index:
        """For each node what the wait for the next END on the way counts as; NOTHING, if that says nothing about its
        latency: it was for the retirement of the nearest node before it that was held so."""
        held = self._where(lambda gate: gate.point == Point.START and gate.origin == "end")
        found = np.full(len(held), NOTHING, dtype=np.int8)
        i, other = self.op[held], self.holder[held]
        mine, its = self.queue[i], self.queue[other]
        space, dependency = self.causes.index(Cause.SRAM_SPACE), self.causes.index(Cause.DEPENDENCY)
        written = (its == Queue.STORE) & (self._buffer(i, mine) == self._buffer(other, its))
        found[held] = np.select(
            [
                self.lane[i] - mine != self.lane[other] - its,  # of another core
                (its == Queue.LOAD) | ((its == Queue.STORE) & (mine == Queue.STORE)),
                mine == Queue.LOAD,
                its == Queue.STORE,
            ],
            [dependency, NOTHING, np.where(written, dependency, space), space],
            dependency,
        )
        latest = np.maximum.accumulate(np.where(held, np.arange(len(held), dtype=np.int32), -1))
        return np.where(latest >= 0, found[latest], np.int8(NOTHING))

    def _buffer(self, ops: Index, queue: Index) -> Index:
        """The DRAM buffers that these operations read or write, of those that are transfers."""
        s, found = self.schedule, np.full(len(ops), NOTHING, dtype=np.int64)
        moves = queue <= Queue.STORE
        tiles = s.transfers["tile"][s.stream["row"][ops[moves]]]
        found[moves] = s.tensors["storage"][s.tiles["tensor"][tiles]]
        return found

    def _served_for(self) -> Index:
        """For each BEGIN and SERVED what a wait for the memory's service of another transfer counts as, or NOTHING."""
        begins, served = (self.point == point for point in (Point.BEGIN, Point.SERVED))
        another = begins & (self.lane[self.op] != self.lane[np.minimum(self.holder, len(self.lane) - 1)])
        nothing = np.int8(NOTHING)
        found = np.where(another, np.int8(self.causes.index(Cause.DRAM_CONTENTION)), nothing)
        latest = np.maximum.accumulate(np.where(begins | served, np.arange(len(begins), dtype=np.int32), -1))
        before = np.append(np.int32(-1), latest)[: len(latest)]
        return np.where(served, np.where(before >= 0, found[before], nothing), found)

    def _recounted(self, links: _Links, after: Index) -> _Links:
        """Setups and latencies of loads that were exposed because a load started late count as why it did.

        Those are of the links behind which, on the way back, comes a load that started late, with nothing but links of
        loads between, and no load that waited for another one to arrive.
        """
        space, control = self.causes.index(Cause.SRAM_SPACE), self.causes.index(Cause.CONTROL)
        starts = self.point == Point.START
        issued = starts & self._where(lambda gate: gate.origin == "issue")
        for_space = starts & self._where(lambda gate: gate.origin == "end") & (after == space)
        first = self.timeline.begin[self.computes].min() if self.computes.any() else 0
        late = (issued | for_space) & (self.queue[self.op] == Queue.LOAD) & (self.at[Point.START][self.op] >= first)
        holder_loads = self.queue[np.minimum(self.holder, len(self.queue) - 1)] == Queue.LOAD
        arrived = self._where(lambda gate: gate.waits_for == "outstanding") & holder_loads
        nodes = np.flatnonzero(late | arrived)
        if not len(nodes) or not len(links.op):
            return links
        why = np.where(late[nodes], np.where(issued[nodes], control, space), NOTHING).astype(np.int8)
        edge = np.searchsorted(links.node, nodes + arrived[nodes])  # so many links are before it on the way
        number = np.arange(len(links.op))
        event = np.searchsorted(edge, number + 1)
        of_load = self.queue[links.op] == Queue.LOAD
        others = np.append(np.flatnonzero(~of_load), len(links.op))
        next_other = others[np.searchsorted(others, number)]
        counts = event < len(nodes)
        event = np.minimum(event, len(nodes) - 1)
        exposed = [self.causes.index(cause) for cause in (Cause.SETUP, Cause.DRAM_LATENCY)]
        counts &= (why[event] != NOTHING) & (next_other >= edge[event]) & np.isin(links.cause, exposed)
        return links._replace(cause=np.where(counts, why[event], links.cause))
