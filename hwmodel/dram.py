"""The memory that all transfers share."""

from __future__ import annotations

from typing import Protocol

from minisim.hwmodel.cost import Costs


class Dram(Protocol):
    """Serves transfers in order of arrival. A new model is a new class with this method."""

    def serve(self, op: int, now: int) -> tuple[int, int]:
        """The transfer of operation `op` asks for service at cycle `now` (never before an earlier call's).

        Returns:
            the cycles at which its service begins and ends. Latency is not part of it.
        """


class IdealDram:
    """First come, first served, each transfer at full bandwidth: no banks, no turnaround, no refresh."""

    def __init__(self, costs: Costs) -> None:
        self._cycles: list[int] = costs.dram.tolist()
        self._free_at = 0

    def serve(self, op: int, now: int) -> tuple[int, int]:
        begin = max(now, self._free_at)
        self._free_at = begin + self._cycles[op]
        return begin, self._free_at
