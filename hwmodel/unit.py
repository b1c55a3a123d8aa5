"""The units: each takes operations from its queue, in order, and works on them.

A unit is a two-stage pipeline (see `cost.py`): `setup` of an operation overlaps with `busy` of the one
before it, and its `latency` with whatever follows. The two directions of a DMA may share their second stage.
"""

from __future__ import annotations

from collections import deque
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


class Flights:
    """The operations that may have started and not retired: so many slots, given out first come, first served."""

    def __init__(self, env: Environment, slots: int = 2**62) -> None:
        self._env = env
        self._free = slots
        self._waiting: deque[Event] = deque()

    @property
    def full(self) -> bool:
        return not self._free

    def take(self) -> None:
        """The caller has made sure that there is a free slot."""
        self._free -= 1

    def landed(self) -> Event:
        """An event that succeeds when a slot is the caller's."""
        event = Event(self._env)
        self._waiting.append(event)
        return event

    def give(self) -> None:
        """A slot is free: it goes to whoever has waited longest."""
        if self._waiting:
            self._waiting.popleft().succeed()
        else:
            self._free += 1


class Unit:
    """The matrix unit, the vector unit, and what all units have in common.

    Args:
        queue: which queue it serves.
        flights: slots of operations in flight, if there is a limit.
    """

    def __init__(self, run: Run, queue: Queue, depth: int, flights: Flights | None = None) -> None:
        self.env: Environment = run.env
        self.run_state = run
        self.id = queue
        self.queue = UnitQueue(run.env, depth)
        self._flights = flights or Flights(run.env)
        self._free_at = 0  # when the second stage is free
        self._retire_at = 0  # of the last operation: retirement is in order
        self.process = run.env.process(self._work())

    def _work(self) -> Generator[Event, None, None]:
        run, env, queue, costs = self.run_state, self.env, self.queue, self.run_state.costs
        setup, hold, latency = costs.setup.tolist(), costs.hold.tolist(), costs.latency.tolist()
        while True:
            while not len(queue):
                yield queue.changed()
            op = queue.head()
            for other, count in run.waits(op):
                if run.scoreboard.retired[other] < count:
                    run.waited_for[op] = other + 1
                    yield run.scoreboard.reached(other, count)
            if self._flights.full:
                run.waited_for[op] = _OUTSTANDING
                yield self._flights.landed()
            else:
                self._flights.take()
            queue.pop()
            run.started(op, int(env.now))
            if setup[op]:
                yield Timeout(env, setup[op])
            if self._free_at > env.now:
                yield Timeout(env, self._free_at - env.now)
            begin, done = self._occupy(op, int(env.now))
            self._free_at = done
            self._retire_at = max(self._retire_at, done + latency[op])
            run.begin[op], run.done[op] = begin, done
            retirement = Timeout(env, self._retire_at - env.now, op)
            retirement.callbacks.append(self._retire)
            if hold[op]:
                yield Timeout(env, hold[op])

    def _occupy(self, op: int, now: int) -> tuple[int, int]:
        """The cycles from and to which the second stage works on `op`."""
        return now, now + self.run_state.busy[op]

    def _retire(self, retirement: Event) -> None:
        op = retirement.value
        assert op is not None
        self.run_state.retired(op, int(self.env.now), self.id)
        self._flights.give()


class Port:
    """The DMA's way to the DRAM, for one direction or for both: one transfer at a time, in the order of asking."""

    def __init__(self) -> None:
        self.free_at = 0


class DmaUnit(Unit):
    """One direction of the DMA: its port, and behind it the DRAM that both directions share."""

    def __init__(self, run: Run, queue: Queue, depth: int, flights: Flights, port: Port, dram: Dram) -> None:
        self._port = port
        self._dram = dram
        self._lag: list[int] = run.costs.lag.tolist()
        super().__init__(run, queue, depth, flights)

    def _occupy(self, op: int, now: int) -> tuple[int, int]:
        """The slower of the two sets the pace: the port is held until both are through."""
        granted = max(now, self._port.free_at)
        begin, served = self._dram.serve(op, granted)
        self._port.free_at = done = max(served + self._lag[op], granted + self.run_state.busy[op])
        return begin, done
