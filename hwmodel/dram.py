"""The memory that all transfers share."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from minisim.hwmodel.cost import Costs


class Answer(NamedTuple):
    """The DRAM's answer to a transfer.

    Attributes:
        begin, end: the cycles from and to which it serves the transfer. Latency is not part of it.
        behind: the operation whose service had to end first, -1 if the transfer was served when it asked.
    """

    begin: int
    end: int
    behind: int = -1


class Dram(Protocol):
    """Serves transfers in order of arrival. A new model is a new class with this method."""

    def serve(self, op: int, now: int) -> Answer:
        """The transfer of operation `op` asks for service at cycle `now` (never before an earlier call's)."""


class IdealDram:
    """First come, first served, each transfer at full bandwidth: no banks, no turnaround, no refresh."""

    def __init__(self, costs: Costs) -> None:
        self._cycles: list[int] = costs.dram.tolist()
        self._free_at = 0
        self._last = -1

    def serve(self, op: int, now: int) -> Answer:
        waits = now < self._free_at
        begin, behind = (self._free_at, self._last) if waits else (now, -1)
        self._free_at, self._last = begin + self._cycles[op], op
        return Answer(begin, self._free_at, behind)
