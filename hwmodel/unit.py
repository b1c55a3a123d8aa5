"""The units: each takes operations from its queue, in order, and works on them.

A unit is a two-stage pipeline (see `cost.py`): `setup` of an operation overlaps with `busy` of the one
before it, and its `latency` with whatever follows.
"""

from __future__ import annotations

from collections import deque

from simpy import Event

from minisim.hwmodel.clock import FOREVER, FREE, START, Call
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
    """What all units have in common: the queue, and looking whether its first operation may start.

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
        """How many of them have started."""
        self.control: Control
        self._looks_at = FOREVER
        self._awaits = (-1, 0)  # the lane and the count that it was short of last

    def put(self, op: int) -> None:
        """Control has dispatched `op` into the queue (perhaps for a cycle to come)."""
        self.taken.append(op)
        self.queue.append(op)
        if len(self.queue) == 1:
            now = self.state.now
            self.wake(max(self.state.issue[op], now), now)

    def wake(self, cycle: int, now: int) -> None:
        """Look in the phase START of `cycle`, which is now or later."""
        if cycle < self._looks_at:
            self._looks_at = cycle
            Call(self.state.env, cycle - now, START, self._look)

    def _look(self, event: Event) -> None:
        self._looks_at = FOREVER
        self.look(self.state.env.now)  # type: ignore[arg-type]  # all delays are whole

    def look(self, now: int) -> None:
        """Start what may start now. Whoever may not is woken by what it waits for."""
        raise NotImplementedError

    def retired_for(self, op: int) -> bool:
        """Whether all that `op` waits for has retired; if not, whoever is short will wake this unit."""
        state, lane = self.state, self.first_lane
        retired = state.scoreboard.retired
        for counts in state.waits:
            if retired[lane] < counts[op]:
                return self._await(lane, counts[op])
            lane += 1
        if state.sync[op] != NONE:
            for lane, count in state.syncs(op):
                if retired[lane] < count:
                    return self._await(lane, count)
        return True

    def _await(self, lane: int, count: int) -> bool:
        if self._awaits != (lane, count):  # looked again, for another reason
            self._awaits = (lane, count)
            self.state.scoreboard.await_count(lane, count, self)
        return False

    def awaited(self, op: int, now: int) -> tuple[int, int] | None:
        """The gate and the operation whose retirement let `op` start now, if one did."""
        state, first = self.state, self.first_lane
        end, lane_ops = state.end, state.lane_ops
        for queue, gate in _AFTER:
            count = state.waits[queue][op]
            if count and end[other := lane_ops[first + queue][count - 1]] == now:
                return gate, other
        if state.sync[op] != NONE:
            for lane, count in state.syncs(op):
                if count and end[other := lane_ops[lane][count - 1]] == now:
                    return _SYNC, other
        return None

    def leave_queue(self, op: int, now: int, gate: int, holder: int) -> None:
        """The first of the queue starts."""
        self.queue.popleft()
        self.starts += 1
        self.state.started(op, now, gate, holder)
        self.control.started(self)


class ComputeUnit(Unit):
    """The matrix unit or the vector unit: all that follows from an operation's start is known when it starts."""

    def __init__(self, state: State, core: int, queue: Queue, depth: int) -> None:
        super().__init__(state, core, queue, depth)
        self._last = -1  # the operation before
        self._stage_free = 0  # of it, as all of these
        self._free = 0
        self._retires = 0
        self._in_flight: deque[int] = deque()

    def look(self, now: int) -> None:
        state = self.state
        while self.queue:
            op = self.queue[0]
            if (earliest := max(state.issue[op], self._stage_free)) > now:
                self.wake(earliest, now)
                return
            if not self.retired_for(op):
                return
            self.leave_queue(op, now, *self._gate(op, now))
            self._work(op, now)

    def _gate(self, op: int, now: int) -> tuple[int, int]:
        if self._last >= 0 and self._stage_free == now:
            return _FIRST_STAGE, self._last
        return self.awaited(op, now) or (_ISSUED, op)

    def _work(self, op: int, now: int) -> None:
        state, last = self.state, self._last
        ready = now + state.setup[op]
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
        self._in_flight.append(op)
        Call(state.env, self._retires - now, FREE, self._retire)

    def _retire(self, event: Event) -> None:
        state = self.state
        state.retired(self._in_flight.popleft(), state.now, self.lane)
