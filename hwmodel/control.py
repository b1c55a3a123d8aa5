"""Control: dispatches the operations of one core in program order into the queues of its units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from minisim.hwmodel.gates import CODE, Point
from minisim.hwmodel.state import State

_LAUNCH, _QUEUE, _DESCRIPTOR = (CODE[name] for name in ("launch", "queue", "descriptor"))


class Dispatched(Protocol):
    """What control needs of a unit: its queue."""

    depth: int
    taken: list[int]
    starts: int

    def put(self, op: int) -> None:
        """Take `op` into the queue (perhaps for a cycle to come)."""


class Control:
    """One command every `issue_cycles`, after the launch; one full queue stalls all behind it.

    A descriptor is one command, whatever it moves. Dispatch follows from what has started alone, so it is worked
    out as far ahead as the queues have room, without an event.

    Args:
        ops: the core's operations, in program order.
        units: of the core, by queue.
    """

    def __init__(self, state: State, ops: Sequence[int], units: Sequence[Dispatched], launch: int, pace: int) -> None:
        self._state = state
        self._ops = ops
        self._units = units
        self._pace = pace
        self._at = launch  # of the last dispatch
        self._next = 0
        self._stalled: Dispatched | None = None

    def started(self, unit: Dispatched) -> None:
        """A place in the queue of `unit` is free."""
        if self._stalled is unit:
            self.advance()

    def advance(self) -> None:
        """Dispatch until a queue is full."""
        state, ops, pace = self._state, self._ops, self._pace
        while self._next < len(ops):
            op = ops[self._next]
            if state.follows[op]:
                state.issued(op, self._at)
                state.opened(Point.ISSUE, op, _DESCRIPTOR, ops[self._next - 1])
            else:
                unit = self._units[state.queue_of[op]]
                out = len(unit.taken) - unit.depth  # the descriptor whose place this one takes
                if out >= unit.starts:
                    self._stalled = unit
                    return
                self._at += pace
                if out >= 0 and state.start[unit.taken[out]] > self._at:
                    self._at = state.start[unit.taken[out]]
                    state.opened(Point.ISSUE, op, _QUEUE, unit.taken[out])
                elif not self._next:
                    state.opened(Point.ISSUE, op, _LAUNCH, -1)
                state.issued(op, self._at)
                unit.put(op)
            self._next += 1
        self._stalled = None
