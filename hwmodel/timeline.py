"""What happened, and when: the event model's result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from minisim.hwmodel.gates import CODE, GATES, Gate, Point
from minisim.hwmodel.isa import Opcode, Queue, Schedule

Cycles = npt.NDArray[np.int64]

WAITED_FOR = ("", "load", "store", "matrix", "vector", "outstanding", "sync")
"""Names of the codes in `Timeline.waited_for`: the queue whose retirement let the operation start last; outstanding:
the landing of one of its own queue in flight; sync: the retirement of an operation of another core."""


@dataclass(frozen=True)
class Answers:
    """What the memory answered to each transfer, where costs alone do not say it; int64, 0 for other operations.

    Attributes:
        latency: cycles from done to the arrival of its data (of a store: of its response).
        read, written: bytes that the DRAM moved for it.
        contention: of its service, the cycles in which it waited for the bursts of other transfers.
        crossing: cycles for which the network held its data beyond its service.
    """

    latency: Cycles
    read: Cycles
    written: Cycles
    contention: Cycles
    crossing: Cycles

    def part(self, mine: slice) -> Answers:
        """Those to some of the operations."""
        return Answers(*(getattr(self, field.name)[mine] for field in fields(self)))


@dataclass(frozen=True, repr=False)
class Timeline:
    """Columns over the operations of a schedule, in program order; cycles are int64.

    issue <= start <= begin <= done <= end. Within a queue of a core issue, start and end are non-decreasing; within a
    channel of its DMA, or another unit, all columns are, and begin is no earlier than the done before it.

    Attributes:
        issue: dispatched into its queue.
        start: its waits are over: its setup begins, and its SRAM and DRAM ranges are in use from here.
        begin: its unit works on it (for a transfer: the DRAM serves it).
        done: its unit is free for the next one.
        end: retired: results are there, ranges are released.
        channel: of the DMA that moved it; 0 for other operations.
        dram_begin, dram_end: the memory (the L2, or the DRAM) served it in [dram_begin, dram_end); 0 for operations
            that are no transfers.
        gate: uint8 of shape (operations, points): for each Point, the code in `gates` of the gate that opened last.
        holder: uint32 of the same shape: the operation in whose points that gate's equation begins; NONE if nobody.
        gates: all that may hold an operation back.
        launch: by core, when the host had launched it, whether or not there was anything to dispatch.
        counters: of the memory, by name: `dram_busy`, the cycles in which the DRAM served at least one transfer; of an
            L2 its `l2_hits`, `l2_misses` and `l2_write_backs`, and the lines that were left dirty (`l2_dirty`).
        answers: on a machine with an L2, a network, or a DRAM of several channels; else None, and all transfers have
            the latency that they cost, move their own bytes, and are served one after the other.
        cycles: when everything had retired: the length of the run.
    """

    issue: Cycles
    start: Cycles
    begin: Cycles
    done: Cycles
    end: Cycles
    channel: npt.NDArray[np.uint8]
    dram_begin: Cycles
    dram_end: Cycles
    gate: npt.NDArray[np.uint8]
    holder: npt.NDArray[np.uint32]
    gates: tuple[Gate, ...] = GATES
    launch: Cycles = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    counters: Mapping[str, int] = field(default_factory=lambda: {"dram_busy": 0})
    answers: Answers | None = None

    @cached_property
    def waited_for(self) -> npt.NDArray[np.uint8]:
        """Of each operation, the code (see WAITED_FOR) of what held its start back last, 0 if nothing did.

        One that stood behind another of its queue waited for what that one waited for.
        """
        codes = np.array([WAITED_FOR.index(gate.waits_for) for gate in self.gates], dtype=np.uint8)
        gate, at = self.gate[:, Point.START], np.arange(len(self.end))
        while (behind := gate[at] == CODE["order"]).any():
            at[behind] = self.holder[at[behind], Point.START]
        return codes[gate[at]]

    def __repr__(self) -> str:
        return f"<Timeline of {len(self.end):,} operations: {self.cycles:,} cycles, DRAM busy {self.dram_busy:,}>"

    @property
    def dram_busy(self) -> int:
        """Cycles in which the DRAM served at least one transfer."""
        return self.counters["dram_busy"]

    @property
    def cycles(self) -> int:
        return int(np.append(self.end, self.launch).max(initial=0))

    def busy(self, schedule: Schedule, queue: Queue) -> int:
        """Cycles in which the unit of `queue` worked, all cores together."""
        mine = schedule.stream["queue"] == queue
        return int((self.done[mine] - self.begin[mine]).sum())

    def verify(self, schedule: Schedule) -> None:
        """Check the invariants above (for tests and for whoever writes a new core).

        Raises:
            AssertionError: one does not hold.
        """
        chain = (self.issue, self.start, self.begin, self.done, self.end)
        for earlier, later in pairwise(chain):
            assert np.all(earlier <= later)
        for of_lane in schedule.lane_ops():
            for column in (self.issue, self.start, self.end):
                assert np.all(np.diff(column[of_lane]) >= 0)
            for channel in np.unique(self.channel[of_lane]):
                mine = of_lane[self.channel[of_lane] == channel]
                for column in chain:
                    assert np.all(np.diff(column[mine]) >= 0)
                assert np.all(self.begin[mine][1:] >= self.done[mine][:-1])
        moves = np.flatnonzero(schedule.stream["opcode"] <= Opcode.STORE)
        assert np.all(self.dram_begin[moves] < self.dram_end[moves])
        if self.answers is None:  # one after the other
            served = moves[np.argsort(self.dram_begin[moves], kind="stable")]
            assert np.all(self.dram_begin[served][1:] >= self.dram_end[served][:-1])
        assert 0 <= self.dram_busy <= self.cycles
        assert np.all(schedule.stream["opcode"] <= max(Opcode))
