"""The units: each takes operations from its queue, in order, and works on them.

A unit is a two-stage pipeline (see `cost.py`): `setup` of an operation overlaps with `busy` of the one
before it, and its `latency` with whatever follows.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from simpy import Environment, Event, Timeout

from minisim.hwmodel.dram import Dram
from minisim.hwmodel.isa import Queue
from minisim.hwmodel.queue import UnitQueue
from minisim.hwmodel.timeline import WAITED_FOR

if TYPE_CHECKING:
    from minisim.hwmodel.simulate import Run

_OUTSTANDING = WAITED_FOR.index("outstanding")


class Unit:
    """The matrix unit, the vector unit, and what all units have in common.

    Args:
        queue: which queue it serves.
        max_outstanding: operations that may have started and not retired.
    """

    def __init__(self, run: Run, queue: Queue, depth: int, max_outstanding: int = 2**62) -> None:
        self.env: Environment = run.env
        self.run_state = run
        self.id = queue
        self.queue = UnitQueue(run.env, depth)
        self.max_outstanding = max_outstanding
        self._in_flight = 0
        self._free_at = 0  # when the second stage is free
        self._retire_at = 0  # of the last operation: retirement is in order
        self._landed: Event | None = None
        self.process = run.env.process(self._work())

    def _work(self) -> Generator[Event, None, None]:
        run, env, queue = self.run_state, self.env, self.queue
        setup, hold, latency, waits, retired = run.setup, run.hold, run.latency, run.waits, run.scoreboard.retired
        while True:
            while not len(queue):
                yield queue.changed()
            op = queue.head()
            for other, counts in waits:
                if retired[other] < counts[op]:
                    run.waited_for[op] = other + 1
                    yield run.scoreboard.reached(other, counts[op])
            if self._in_flight >= self.max_outstanding:
                run.waited_for[op] = _OUTSTANDING
                self._landed = Event(env)
                yield self._landed
            queue.pop()
            self._in_flight += 1
            run.started(op, int(env.now))
            if setup[op]:
                yield Timeout(env, setup[op])
            now = int(env.now)
            if self._free_at > now:
                yield Timeout(env, self._free_at - now)
                now = self._free_at
            begin, done = self._occupy(op, now)
            self._free_at = done
            self._retire_at = max(self._retire_at, done + latency[op])
            run.begin[op], run.done[op] = begin, done
            retirement = Timeout(env, self._retire_at - now, op)
            retirement.callbacks.append(self._retire)
            if hold[op]:
                yield Timeout(env, hold[op])

    def _occupy(self, op: int, now: int) -> tuple[int, int]:
        """The cycles from and to which the second stage works on `op`."""
        return now, now + self.run_state.busy[op]

    def _retire(self, retirement: Event) -> None:
        op = retirement.value
        assert op is not None
        self._in_flight -= 1
        self.run_state.retired(op, int(self.env.now), self.id)
        if self._landed is not None:
            self._landed.succeed()
            self._landed = None


class DmaUnit(Unit):
    """One direction of the DMA: its port, and behind it the DRAM that both directions share."""

    def __init__(self, run: Run, queue: Queue, depth: int, max_outstanding: int, dram: Dram) -> None:
        self._dram = dram
        self._lag: list[int] = run.costs.lag.tolist()
        super().__init__(run, queue, depth, max_outstanding)

    def _occupy(self, op: int, now: int) -> tuple[int, int]:
        """The slower of the two sets the pace: the port is held until both are through."""
        begin, served = self._dram.serve(op, now)
        return begin, max(served + self._lag[op], now + self.run_state.busy[op])
