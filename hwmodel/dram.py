"""The memory that all transfers share: what it is asked, and what it answers.

A machine's memory (`memory.py` puts it together) is its DRAM, perhaps a shared L2 in front of it (`l2.py`), and
perhaps a network between that and the cores (`noc.py`). Each part answers what the one before it asks, so that a new
one is a class with the same methods.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple, Protocol

from minisim.hwmodel.config import Machine
from minisim.hwmodel.gates import CODE
from minisim.hwmodel.isa import Opcode, Schedule


class Answer(NamedTuple):
    """The memory's answer to a transfer. Of several it has in flight each has its own.

    Attributes:
        begin, end: the cycles from and to which it serves the transfer. Latency is not part of it.
        latency: cycles from `end` until the last byte has arrived, or until a write is known to be through.
        read, written: bytes that the DRAM moves for it.
        behind: the operation that had to be served first, -1 if the transfer was served when it asked.
        waited: the code of the gate of BEGIN that `behind` held.
        by: the code of the gate of SERVED: what said when the end is.
        contention: of the cycles from begin to end, those in which it waited for the bursts of other transfers.
        crossing: cycles for which a network holds its data beyond `end`.
    """

    begin: int
    end: int
    latency: int
    read: int = 0
    written: int = 0
    behind: int = -1
    waited: int = CODE["dram"]
    by: int = CODE["service"]
    contention: int = 0
    crossing: int = 0


class Memory(Protocol):
    """Serves transfers in order of arrival."""

    def serve(self, op: int, now: int) -> Answer:
        """The transfer of operation `op` asks for service at cycle `now` (never before an earlier call's)."""

    def counters(self) -> dict[str, int]:
        """What it has counted so far, by name."""


class Dram(Memory, Protocol):
    """The part behind which there is none. A new model of it is a new class with these methods."""

    def lines(self, op: int, reads: Sequence[int], writes: Sequence[int], size: int, now: int) -> Answer:
        """A cache reads lines of `size` bytes at the addresses `reads`, then writes some, on behalf of `op`."""


class IdealDram:
    """First come, first served, each transfer at full bandwidth: no banks, no turnaround, no refresh."""

    def __init__(self, schedule: Schedule, machine: Machine, cycles: Sequence[int], sizes: Sequence[int]) -> None:
        """`cycles` and `sizes`: of each operation the DRAM's cycles, and bytes (`Costs`)."""
        self._cycles, self._sizes = cycles, sizes
        self._write: list[bool] = (schedule.stream["opcode"] == Opcode.STORE).tolist()
        self._latency = (machine.dram_latency_cycles, machine.dram_write_latency_cycles)
        self._rate: Fraction = machine.dram_bytes_per_cycle
        self._free_at = 0
        self._last = -1
        self._busy = 0

    def serve(self, op: int, now: int) -> Answer:
        size, write = self._sizes[op], self._write[op]
        moved = (0, size) if write else (size, 0)
        return self._next(op, now, self._cycles[op], self._latency[write], moved)

    def lines(self, op: int, reads: Sequence[int], writes: Sequence[int], size: int, now: int) -> Answer:
        moved = (size * len(reads), size * len(writes))
        cycles = -(-sum(moved) * self._rate.denominator // self._rate.numerator)
        return self._next(op, now, cycles, self._latency[not reads], moved)

    def counters(self) -> dict[str, int]:
        return {"dram_busy": self._busy}

    def _next(self, op: int, now: int, cycles: int, latency: int, moved: tuple[int, int]) -> Answer:
        waits = now < self._free_at
        begin, behind = (self._free_at, self._last) if waits else (now, -1)
        self._free_at, self._last = begin + cycles, op
        self._busy += cycles
        return Answer(begin, self._free_at, latency, *moved, behind)
