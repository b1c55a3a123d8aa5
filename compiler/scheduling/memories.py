"""What a core has on chip, as the scheduler's walk sees it: two allocators, and which copies may be evicted."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from minisim.compiler.scheduling.arena import Arena
from minisim.hwmodel.config import Machine


class Candidates:
    """Copies that may be evicted, as a heap of (-next use, copy, stamp); one whose stamp is older than its copy's is
    void."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, int]] = []
        self._most = 65536  # then the void ones are dropped

    def push(self, next_use: int, copy: int, stamps: list[int]) -> None:
        heappush(self._heap, (-next_use, copy, stamps[copy]))
        if len(self._heap) > self._most:
            self._heap = [c for c in self._heap if c[2] == stamps[c[1]]]
            heapify(self._heap)
            self._most = max(2 * len(self._heap), 65536)  # or a large SRAM would come here every time

    def pop(self, beyond: int, stamps: list[int]) -> int:
        """The copy whose next use is farthest, -1 if none is used later than `beyond`."""
        while self._heap and -self._heap[0][0] > beyond:
            _, copy, stamp = heappop(self._heap)
            if stamp == stamps[copy]:
                return copy
        return -1


SCRATCHPAD, ACCUMULATOR = 0, 1
"""The places of a core's two memories in what has one entry for each."""


@dataclass
class Memories:
    """What one core has on chip: its allocators, and for each a heap of candidates for eviction."""

    allocators: tuple[Arena, Arena]
    candidates: tuple[Candidates, Candidates]

    @classmethod
    def of(cls, machine: Machine) -> Memories:
        size = machine.sram.bytes
        return cls((Arena(size), Arena(machine.accumulator.bytes, base=size)), (Candidates(), Candidates()))

    @property
    def used_bytes(self) -> int:
        return sum(memory.used_bytes for memory in self.allocators)
