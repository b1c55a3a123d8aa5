"""How many operations of each queue have retired, and who waits for more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from minisim.hwmodel.isa import NONE, Queue, Schedule


class Waiter(Protocol):
    def wake(self, cycle: int) -> None:
        """Look again in the phase START of `cycle`."""


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
    """The counts of all lanes (a lane is a queue of a core)."""

    def __init__(self, lanes: int) -> None:
        self.retired = [0] * lanes
        self._waiting: list[list[tuple[int, Waiter]]] = [[] for _ in range(lanes)]

    def retire(self, lane: int, cycle: int) -> None:
        """Count one more; wake those for whom it is enough."""
        self.retired[lane] += 1
        if waiting := self._waiting[lane]:
            count = self.retired[lane]
            for item in [item for item in waiting if item[0] <= count]:
                waiting.remove(item)
                item[1].wake(cycle)

    def await_count(self, lane: int, count: int, waiter: Waiter) -> None:
        """Wake `waiter` when `count` operations of `lane` have retired."""
        self._waiting[lane].append((count, waiter))
