"""The gates: what may hold a point of an operation back, each as an equation.

An operation passes seven points. Each is the greatest of its gates, and every gate is an equation:

    point of the operation = origin of its holder + terms of its holder

The holder is the operation that was waited for, often the operation itself. The event model writes for each point
which gate opened last and who the holder was (`Timeline.gate`, `Timeline.holder`); where several open in one
cycle, it is the first of them in the order of this table. Nobody has to infer it afterwards: the account and the
critical path follow these columns back, and tests/hwmodel/test_holders.py checks every equation on every row.

A new mechanism that holds operations back adds its gate here: its terms name the causes, and so the account
has them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from minisim.hwmodel.isa import Queue


class Point(IntEnum):
    """What an operation passes, in this order.

    READY is when its first stage is over and its unit or port is its own: a unit begins then, a transfer asks the
    memory; `Timeline` has no column of it, since its own gate says when that is. BEGIN and SERVED of a transfer are
    from and to when the memory serves it (`Timeline.dram_begin`, `dram_end`); SERVED of others is their BEGIN. The
    others are as in `Timeline`.
    """

    ISSUE = 0
    START = 1
    READY = 2
    BEGIN = 3
    SERVED = 4
    DONE = 5
    END = 6


ORIGINS = (*(point.name.lower() for point in Point), "zero")
"""Where a gate's equation may begin: at a point of its holder, or at cycle 0."""

ByQueue = dict[Queue, str]

BUSY = {Queue.LOAD: "load_port", Queue.STORE: "store", Queue.MATRIX: "compute", Queue.VECTOR: "vector"}
SERVED = {Queue.LOAD: "load_dram", Queue.STORE: "store"}
REQUESTED = {Queue.LOAD: "load_requests", Queue.STORE: "store"}
_LATENCY = {Queue.LOAD: "dram_latency", Queue.STORE: "store", Queue.MATRIX: "array", Queue.VECTOR: "vector"}
_SETUP = {Queue.LOAD: "setup", Queue.STORE: "setup", Queue.MATRIX: "array", Queue.VECTOR: "setup"}
"""The causes of what an operation is held for: its unit or port, the DRAM, its bursts' turn to ask, latency, setup."""


@dataclass(frozen=True)
class Term:
    """Cycles of a gate's delay, and what they went to.

    Attributes:
        cycles: a key of `delays.delays`, or a number of cycles.
        cause: the cause of the account; or one for each queue that the operation may be in. One that the account has
            no words for is a column and a line of its own there.
    """

    cycles: str | int
    cause: str | ByQueue

    @property
    def causes(self) -> tuple[str, ...]:
        return (self.cause,) if isinstance(self.cause, str) else tuple(self.cause.values())

    def cause_for(self, queue: Queue) -> str:
        return self.cause if isinstance(self.cause, str) else self.cause[queue]


@dataclass(frozen=True)
class Gate:
    """One reason for a point to be no earlier than it is.

    Attributes:
        name: in reports.
        point: what it holds back.
        origin: where the equation begins, one of ORIGINS.
        terms: of the delay from there to the point, in order of time.
        of_holder: the terms are the holder's, else those of the operation that is held.
        waits_for: what the operation waits for in its queue meanwhile, one of timeline.WAITED_FOR; or "".
    """

    name: str
    point: Point
    origin: str
    terms: tuple[Term, ...] = ()
    of_holder: bool = True
    waits_for: str = ""


GATES = (
    # -- issue: control dispatches the operations of its core in program order
    Gate("dispatch", Point.ISSUE, "issue", (Term("pace", "control"),), of_holder=False),
    Gate("launch", Point.ISSUE, "zero", (Term("launch", "launch"), Term("pace", "control")), of_holder=False),
    Gate("queue", Point.ISSUE, "start"),  # of the descriptor whose place in the queue it takes
    Gate("descriptor", Point.ISSUE, "issue"),  # one command for all its planes
    # -- start
    Gate(
        "first_stage", Point.START, "ready", (Term("worked", BUSY), Term("drained", "array"))
    ),  # the operation before it in its unit, or in its channel's decoder
    Gate("decoder", Point.START, "start", (Term("setup", "setup"), Term("hold", "setup"))),  # the same, under bursts
    Gate("after_matrix", Point.START, "end", waits_for="matrix"),
    Gate("after_vector", Point.START, "end", waits_for="vector"),
    Gate("after_load", Point.START, "end", waits_for="load"),
    Gate("after_store", Point.START, "end", waits_for="store"),
    Gate("after_core", Point.START, "end", waits_for="sync"),
    Gate("place", Point.START, "done", (Term("latency", _LATENCY),), waits_for="outstanding"),  # in flight
    Gate("order", Point.START, "start"),  # of the operation before it in its queue, on another channel
    Gate("issued", Point.START, "issue"),
    # -- ready
    Gate("unit", Point.READY, "done"),  # of the operation before it in its unit or port
    Gate("setup", Point.READY, "start", (Term("setup", _SETUP),)),
    Gate("requests", Point.READY, "ready"),  # under bursts: see `port.py`
    # -- begin
    Gate("ready", Point.BEGIN, "ready"),
    Gate("dram", Point.BEGIN, "served"),  # it served another transfer
    Gate("l2_port", Point.BEGIN, "begin", (Term("l2", "l2"),)),  # the L2's: another transfer passed it
    # -- served
    Gate("l2", Point.SERVED, "begin", (Term("l2", "l2"),)),  # its port: the DRAM was no slower, or had nothing to do
    Gate("service", Point.SERVED, "begin", (Term("contention", "dram_contention"), Term("service", SERVED))),
    # -- done
    Gate("busy", Point.DONE, "ready", (Term("busy", BUSY),)),
    Gate("served", Point.DONE, "served", (Term("lag", SERVED),)),
    Gate("noc", Point.DONE, "served", (Term("crossing", "noc"), Term("lag", SERVED))),  # a link had more to carry
    Gate("bursts", Point.DONE, "ready"),  # under bursts: see `port.py`
    # -- end
    Gate("latency", Point.END, "done", (Term("latency", _LATENCY),)),
    Gate("retire_order", Point.END, "end"),  # of the operation before it in its queue
)
"""All gates; their places are the codes in `Timeline.gate`."""

CODE = {gate.name: code for code, gate in enumerate(GATES)}

BY_BURSTS = frozenset({CODE["requests"], CODE["bursts"]})
"""Gates whose equation is the law of bursts: a transfer's bursts, in their port, say how long it took."""
