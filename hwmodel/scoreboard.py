"""When the operations of each queue retire, and who waits for that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from minisim.hwmodel.isa import NONE, Queue, Schedule


class Waiter(Protocol):
    def wake(self, cycle: int) -> None:
        """What was waited for happens at `cycle`, now or later."""


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
    """When the operations of each lane retire (a lane is a queue of a core), as far as that is known.

    It often is long before: what computes has fixed times from its start on, a transfer from when it is served.

    Attributes:
        ends: by lane, the cycles at which its first operations retire; ascending, perhaps in the future.
    """

    def __init__(self, lanes: int) -> None:
        self.ends: list[list[int]] = [[] for _ in range(lanes)]
        self._waiting: list[list[tuple[int, Waiter]]] = [[] for _ in range(lanes)]

    def retires(self, lane: int, cycle: int) -> None:
        """The next operation of a lane retires at `cycle`; wakes those who wait for it."""
        ends = self.ends[lane]
        ends.append(cycle)
        if waiting := self._waiting[lane]:
            for item in [item for item in waiting if item[0] <= len(ends)]:
                waiting.remove(item)
                item[1].wake(cycle)

    def await_count(self, lane: int, count: int, waiter: Waiter) -> None:
        """Wake `waiter` when it is known when the `count`-th operation of `lane` retires."""
        self._waiting[lane].append((count, waiter))
