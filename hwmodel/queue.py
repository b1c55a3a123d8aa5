"""The finite in-order queue between control and one unit, and the scoreboard between the queues."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np
from simpy import Environment, Event

from minisim.hwmodel.isa import NONE, Queue, Schedule


class UnitQueue:
    """Operations that were dispatched to a unit and have not started.

    Stands for the hardware FIFO in front of a unit. One process puts, one takes; so at most one of them
    waits at a time, and a plain deque with one event does the work of `simpy.Store` at a fraction of its
    events.

    Args:
        depth: operations that fit.
    """

    def __init__(self, env: Environment, depth: int) -> None:
        self.env = env
        self.depth = depth
        self._items: deque[int] = deque()
        self._changed: Event | None = None

    def __len__(self) -> int:
        return len(self._items)

    @property
    def full(self) -> bool:
        return len(self._items) >= self.depth

    def put(self, op: int) -> None:
        """Append `op`; the caller has made sure that the queue is not full."""
        self._items.append(op)
        self._wake()

    def head(self) -> int:
        """The operation to start next; the caller has made sure that there is one."""
        return self._items[0]

    def pop(self) -> None:
        """Remove the head: it has started."""
        self._items.popleft()
        self._wake()

    def changed(self) -> Event:
        """An event that succeeds at the next `put` or `pop`."""
        self._changed = Event(self.env)
        return self._changed

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.succeed()
            self._changed = None


class Syncs:
    """What operations wait for of other cores: a schedule's table of that name, as columns to read single items of."""

    def __init__(self, schedule: Schedule) -> None:
        x = schedule.syncs
        self._lane: list[int] = (x["core"].astype(np.int64) * len(Queue) + x["queue"]).tolist()
        self._count: list[int] = x["count"].tolist()
        self._more: list[int] = x["more"].tolist()

    def run(self, row: int) -> Iterator[tuple[int, int]]:
        """Lane (core * 4 + queue) and count of each row of the run that begins at `row`; NONE is an empty one."""
        while row != NONE:
            yield self._lane[row], self._count[row]
            row = row + 1 if self._more[row] else NONE


class Scoreboard:
    """How many operations of each lane (a queue of a core) have retired, and who waits for more."""

    def __init__(self, env: Environment, lanes: int) -> None:
        self.env = env
        self.retired = [0] * lanes
        self._waiting: list[list[tuple[int, Event]]] = [[] for _ in range(lanes)]

    def retire(self, lane: int) -> None:
        """Count one more; wake those for whom it is enough."""
        self.retired[lane] += 1
        waiting = self._waiting[lane]
        if waiting:
            count = self.retired[lane]
            for item in [item for item in waiting if item[0] <= count]:
                waiting.remove(item)
                item[1].succeed()

    def reached(self, lane: int, count: int) -> Event:
        """An event that succeeds when `count` operations of `lane` have retired."""
        event = Event(self.env)
        self._waiting[lane].append((count, event))
        return event
