"""The finite in-order queue between control and one unit, and the scoreboard between the queues."""

from __future__ import annotations

from collections import deque

from simpy import Environment, Event


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


class Scoreboard:
    """How many operations of each queue have retired, and who waits for more."""

    def __init__(self, env: Environment, queues: int) -> None:
        self.env = env
        self.retired = [0] * queues
        self._waiting: list[list[tuple[int, Event]]] = [[] for _ in range(queues)]

    def retire(self, queue: int) -> None:
        """Count one more; wake those for whom it is enough."""
        self.retired[queue] += 1
        waiting = self._waiting[queue]
        if waiting:
            count = self.retired[queue]
            for item in [item for item in waiting if item[0] <= count]:
                waiting.remove(item)
                item[1].succeed()

    def reached(self, queue: int, count: int) -> Event:
        """An event that succeeds when `count` operations of `queue` have retired."""
        event = Event(self.env)
        self._waiting[queue].append((count, event))
        return event
