"""The network on chip between the cores and the memory that they share.

It limits the bytes a cycle that go to and from one core, and those of all cores, both directions together. A transfer's
data cross as the memory serves them, and later than its end only where a link has more to carry:

    crossed = max(crossed of the link's last transfer, begin) + ceil(bytes / rate)

of its core's link and of the network as a whole; its data have arrived at the port when both say so. So a link is
never faster than its rate over any stretch of time in which it always had something to carry, and a transfer that waits
for one core's link holds up nobody else.
"""

from __future__ import annotations

from collections.abc import Sequence

from minisim.hwmodel.config import Machine
from minisim.hwmodel.dram import Answer, Memory
from minisim.hwmodel.isa import Schedule


class Noc:
    """In front of `memory`; `sizes` are the bytes of each operation's transfer."""

    def __init__(self, memory: Memory, schedule: Schedule, machine: Machine, sizes: Sequence[int]) -> None:
        self._memory = memory
        self._sizes = sizes
        self._core: list[int] = schedule.stream["core"].tolist()
        self._rate, self._core_rate = machine.noc.bytes_per_cycle, machine.noc.core_bytes_per_cycle
        self._crossed = 0
        self._core_crossed = [0] * schedule.cores

    def serve(self, op: int, now: int) -> Answer:
        answer, size, core = self._memory.serve(op, now), self._sizes[op], self._core[op]
        crossed = answer.end
        if self._rate:
            self._crossed = max(self._crossed, answer.begin) + -(-size // self._rate)
            crossed = max(crossed, self._crossed)
        if self._core_rate:
            self._core_crossed[core] = max(self._core_crossed[core], answer.begin) + -(-size // self._core_rate)
            crossed = max(crossed, self._core_crossed[core])
        return answer._replace(crossing=crossed - answer.end)

    def counters(self) -> dict[str, int]:
        return self._memory.counters()
