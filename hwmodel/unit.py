"""The units: each takes operations from its queue, in order, and works on them.

A unit is a two-stage pipeline (see `cost.py`): `setup` of an operation overlaps with `busy` of the one
before it, and its `latency` with whatever follows.

Units that compute share nothing: an operation's times follow from those of what it waits for, so they are worked out
as soon as these are known, cycles ahead and without an event.
"""

from __future__ import annotations

from collections import deque

from minisim.hwmodel.clock import FOREVER
from minisim.hwmodel.control import Control
from minisim.hwmodel.gates import CODE, Point
from minisim.hwmodel.isa import NONE, Queue
from minisim.hwmodel.state import State

_FIRST_STAGE, _SYNC, _ISSUED = (CODE[name] for name in ("first_stage", "after_core", "issued"))
_UNIT, _RETIRE_ORDER = CODE["unit"], CODE["retire_order"]
_AFTER = tuple(
    (queue, CODE[f"after_{queue.name.lower()}"]) for queue in (Queue.MATRIX, Queue.VECTOR, Queue.LOAD, Queue.STORE)
)


class Unit:
    """What all units have in common: the queue, and when its first operation may start.

    Args:
        core, queue: whose queue it serves, and which.
        depth: descriptors (of units without: operations) that the queue holds, dispatched and not started.
    """

    def __init__(self, state: State, core: int, queue: Queue, depth: int) -> None:
        self.state = state
        self.core = core
        self.first_lane = core * len(Queue)  # of this core
        self.lane = self.first_lane + queue
        self.depth = depth
        self.queue: deque[int] = deque()
        self.taken: list[int] = []
        """What was put into the queue, in order: the first operation of each descriptor."""
        self.starts = 0
        """How many of them have started, or are known to start."""
        self.control: Control
        self._awaits = (-1, 0)  # the lane and the count that it was short of last

    def put(self, op: int) -> None:
        """Control has dispatched `op` into the queue (perhaps for a cycle to come)."""
        self.taken.append(op)
        self.queue.append(op)
        if len(self.queue) == 1:
            self.wake(self.state.issue[op])

    def wake(self, cycle: int) -> None:
        """At `cycle`, or now if that is past, something that kept the first operation is over."""
        raise NotImplementedError

    def waits_until(self, op: int) -> int:
        """When all that `op` waits for has retired; FOREVER if that is not known yet: whoever is short will wake this
        unit."""
        state, lane, latest = self.state, self.first_lane, 0
        ends = state.scoreboard.ends
        for counts in state.waits:
            if count := counts[op]:
                if len(ends[lane]) < count:
                    return self._await(lane, count)
                if ends[lane][count - 1] > latest:
                    latest = ends[lane][count - 1]
            lane += 1
        if state.sync[op] != NONE:
            for lane, count in state.syncs(op):
                if len(ends[lane]) < count:
                    return self._await(lane, count)
                if count:
                    latest = max(latest, ends[lane][count - 1])
        return latest

    def _await(self, lane: int, count: int) -> int:
        if self._awaits != (lane, count):  # looked again, for another reason
            self._awaits = (lane, count)
            self.state.scoreboard.await_count(lane, count, self)
        return FOREVER

    def awaited(self, op: int, start: int) -> tuple[int, int] | None:
        """The gate and the operation whose retirement let `op` start at `start`, if one did."""
        state, first = self.state, self.first_lane
        ends, lane_ops = state.scoreboard.ends, state.lane_ops
        for queue, gate in _AFTER:
            count = state.waits[queue][op]
            if count and ends[first + queue][count - 1] == start:
                return gate, lane_ops[first + queue][count - 1]
        if state.sync[op] != NONE:
            for lane, count in state.syncs(op):
                if count and ends[lane][count - 1] == start:
                    return _SYNC, lane_ops[lane][count - 1]
        return None

    def leave_queue(self, op: int, start: int, gate: int, holder: int) -> None:
        """The first of the queue starts."""
        self.queue.popleft()
        self.starts += 1
        self.state.started(op, start, gate, holder)


class ComputeUnit(Unit):
    """The matrix unit or the vector unit: all that follows from an operation's start is known when that is."""

    def __init__(self, state: State, core: int, queue: Queue, depth: int) -> None:
        super().__init__(state, core, queue, depth)
        self._last = -1  # the operation before
        self._stage_free = 0  # of it, as all of these
        self._free = 0
        self._retires = 0

    def wake(self, cycle: int) -> None:
        self.state.work_ahead(self)

    def work_ahead(self) -> None:
        """Work out whatever is known to start, now or later."""
        queue, issue = self.queue, self.state.issue
        while queue:
            op = queue[0]
            start = self.waits_until(op)
            if start == FOREVER:
                break
            if issue[op] > start:
                start = issue[op]
            if self._stage_free > start:
                start = self._stage_free
            gate, holder = self._gate(op, start)
            self._work(op, start)
            self.leave_queue(op, start, gate, holder)
        self.control.started(self)

    def _gate(self, op: int, start: int) -> tuple[int, int]:
        if self._last >= 0 and self._stage_free == start:
            return _FIRST_STAGE, self._last
        return self.awaited(op, start) or (_ISSUED, op)

    def _work(self, op: int, start: int) -> None:
        state, last = self.state, self._last
        ready = start + state.setup[op]
        if last >= 0 and self._free >= ready:
            ready = self._free
            state.opened(Point.READY, op, _UNIT, last)
        done = ready + state.busy[op]
        landed = done + state.latency[op]
        state.begin[op], state.done[op] = ready, done
        if landed >= self._retires:
            self._retires = landed
        else:
            state.opened(Point.END, op, _RETIRE_ORDER, last)
        self._last, self._free, self._stage_free = op, done, ready + state.hold[op]
        state.retires(op, self._retires, self.lane)
