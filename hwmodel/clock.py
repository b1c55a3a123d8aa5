"""The order of what happens in one cycle: a rule of the machine, not of the event queue.

A cycle has four phases. In each everything that belongs to it happens before the next one begins; what follows from
a later phase in the same cycle begins a new round of them:

    FREE    what was in use becomes free: operations retire, transfers land, decoders are done
    START   whoever waits looks whether it may go on: operations start, and control dispatches into their places
    PLACE   places in flight that both directions of a DMA want go to who has waited for one longest
    SERVE   transfers that are ready go to the DRAM, which serves them one after the other

Only what has to be put in order is an event. When an operation retires, a transfer lands or a decoder is free is known
long before, and whoever wants it looks in the phase START of that cycle, as if it had been an event of FREE.

Among equals the oldest goes first: the operation that comes first in program order. Within a phase no other order
makes a difference: what is shared is given out in PLACE and SERVE alone, to all who ask for it in the round at once.
So equal cycles do not depend on which event was made first, and another event loop (`engine_cpp/src/timing.cpp`) that
keeps the phases has the same cycles. docs/timing.md has the rules one by one.
"""

from __future__ import annotations

from collections.abc import Callable

from simpy import Environment, Event

FOREVER = 2**62


FREE, START, PLACE, SERVE = range(4)
"""The phases: plain numbers, since SimPy compares them at every step."""


class Call(Event):
    """Functions that are called `delay` cycles from now, in a phase, one after the other."""

    def __init__(self, env: Environment, delay: float, phase: int, functions: list[Callable[[Event], None]]) -> None:
        self.env = env
        self.callbacks = functions
        self._ok = True
        self._value = None
        env.schedule(self, phase, delay)  # type: ignore[arg-type]  # SimPy compares priorities, whatever they are called
