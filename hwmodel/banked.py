"""DRAM with channels, bank groups, banks and open rows, for `dram.model = "banked"`.

A transfer is served in a tight loop over its bursts (`Memory.run`), outside SimPy: one call, however many
bursts. What the banks, buses and refresh timers remember is carried from transfer to transfer.

`Memory` and `dram_channel.py` are the definition, and where to extend the model. A run takes their twin in C++,
`DramMemory`, which is held to the same cycles (docs/adr/0012-dram-twin.md).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np
import numpy.typing as npt

from minisim._engine import DramMemory
from minisim.hwmodel import isa
from minisim.hwmodel.config import Machine
from minisim.hwmodel.dram import Answer
from minisim.hwmodel.dram_channel import NEVER, Channel
from minisim.hwmodel.dram_presets import DramPart

Addresses = npt.NDArray[np.int64]

UNLIMITED = 2**62


class AddressMap:
    """Which channel, bank and row an address lies in; addresses beyond the capacity wrap around."""

    def __init__(self, part: DramPart) -> None:
        sizes = {
            "ro": part.rows, "ch": part.channels, "ra": part.ranks,
            "ba": part.banks, "bg": part.groups, "co": part.page_bursts,
        }  # fmt: skip
        self._part = part
        self._divisor: dict[str, int] = {}
        divisor = part.burst_bytes
        for i in range(len(part.mapping) - 2, -1, -2):
            name = part.mapping[i : i + 2]
            self._divisor[name] = divisor
            divisor *= sizes[name]
        self._sizes = sizes
        self.capacity = divisor

    def locate(self, addresses: Addresses) -> tuple[Addresses, Addresses, Addresses]:
        """Channel, bank (of all the channel's ranks and groups) and row of each byte address."""
        channel, rank, group, bank, row = (
            addresses // self._divisor[name] % self._sizes[name] for name in ("ch", "ra", "bg", "ba", "ro")
        )
        return channel, (rank * self._part.groups + group) * self._part.banks + bank, row


@dataclass(frozen=True)
class Served:
    """When a run of requests was through, in DRAM cycles.

    Attributes:
        issued: the data bus is free of the last one, counted from its column command: its latency is not part.
        returned: the last one's data was back at the requester.
    """

    issued: int
    returned: int


class TimedMemory(Protocol):
    """What a transfer needs of a memory: `Memory`, or its twin."""

    def transfer(
        self, first: int, pitch: int, rows: int, width: int, write: bool, start: int, not_before: int
    ) -> int: ...


class Memory:
    """All channels of a part: the definition."""

    def __init__(self, part: DramPart) -> None:
        self.part = part
        self.map = AddressMap(part)
        self.channels = [Channel(part) for _ in range(part.channels)]

    def run(
        self, addresses: Addresses, writes: list[bool], start: int, not_before: int = 0, outstanding: int = UNLIMITED
    ) -> Served:
        """Serve one burst at each of `addresses`, asked for in this order.

        Args:
            writes: whether each is a write.
            start: DRAM cycle of the first request.
            not_before: earliest cycle of a column command (rows may be opened before).
            outstanding: requests that may be under way; a write is through when the controller has it.
        """
        channel_of, bank_of, row_of = (column.tolist() for column in self.map.locate(addresses))
        back = self.part.CL + self.part.burst_cycles + 1  # column command to the requester
        for channel in self.channels:
            channel.flushing = False
            channel.hold_columns(not_before)
        now, asked, under_way, unserved, count = start, 0, 0, len(writes), len(writes)
        returns: deque[int] = deque()
        last, returned = start, start
        while unserved:
            while returns and returns[0] <= now:
                returns.popleft()
                under_way -= 1
            accepted = 0
            while asked < count and under_way + accepted < outstanding:
                channel, write = self.channels[channel_of[asked]], writes[asked]
                if not channel.accepts(write):
                    break
                channel.push(bank_of[asked], row_of[asked], asked, write, now)
                asked += 1
                under_way += not write
                accepted += write
            upcoming = NEVER if not accepted else now + 1
            if asked == count:
                for channel in self.channels:
                    channel.flushing = True
                    channel.next = now if channel.writes else channel.next
            for channel in self.channels:
                if channel.next <= now:
                    for _, _, write in channel.tick(now):
                        unserved -= 1
                        last = now
                        if not write:
                            returns.append(now + back)
                            returned = now + back
                upcoming = min(upcoming, channel.next)
            if returns and asked < count and under_way >= outstanding:
                upcoming = min(upcoming, returns[0])
            now = max(now + 1, upcoming)
        return Served(last + self.part.burst_cycles, max(returned, last + 1))

    def transfer(
        self, first: int, pitch: int, rows: int, width: int, write: bool, start: int, not_before: int = 0
    ) -> int:
        """Serve the bursts under `rows` rows of `width` bytes, `pitch` apart; returns `Served.issued`."""
        asked = lines(first, pitch, rows, width, self.part.burst_bytes)
        return self.run(asked, [write] * len(asked), start, not_before).issued


class BankedDram:
    """Transfers first come, first served; the bursts of each as the banks allow (the Dram protocol).

    The service of a transfer lasts from its first column command's turn to the end of its last burst, less the
    column latency CL, which like the controller's is `latency` and overlaps with the next transfer. When
    transfers come back to back, the next one's first requests already wait in the controller's queue, so that
    its rows are opened while the last one's data is still moving.
    """

    def __init__(
        self, schedule: isa.Schedule, machine: Machine, memory: Callable[[DramPart], TimedMemory] = DramMemory
    ) -> None:
        part = machine.dram.part
        self._memory = memory(part)
        rate = Fraction(part.MHz * 10**6) / machine.clock.frequency
        self._dram_cycles, self._core_cycles = rate.numerator, rate.denominator  # so many of each take as long
        self._lead = part.queue * part.burst_cycles
        opcode = schedule.stream["opcode"]
        self._write: list[bool] = (opcode == isa.Opcode.STORE).tolist()
        self._lane: list[int] = schedule.lanes().tolist()
        tiles = schedule.tiles[schedule.transfers["tile"]]
        tensors = schedule.tensors[tiles["tensor"]]
        item = isa.item_sizes()[tensors["dtype"]]
        first = tensors["address"].astype(np.int64) + tiles["row"].astype(np.int64) * tensors["pitch"]
        self._first: list[int] = (first + tiles["col"].astype(np.int64) * item).tolist()
        self._pitch: list[int] = tensors["pitch"].tolist()
        self._rows: list[int] = tiles["rows"].tolist()
        self._width: list[int] = (tiles["cols"].astype(np.int64) * item).tolist()
        self._row: list[int] = schedule.stream["row"].tolist()
        self._free_at = 0  # core cycles
        self._last = -1  # the transfer served last
        # of each port (by lane): DRAM cycle of the last begin, core cycle of its end
        self._ended = [(-1, -1)] * (schedule.cores * len(isa.Queue))

    def serve(self, op: int, now: int) -> Answer:
        write, waits = self._write[op], now < self._free_at
        begin, behind = (self._free_at, self._last) if waits else (now, -1)
        dram, core = self._dram_cycles, self._core_cycles
        columns = -(-begin * dram // core)
        earliest = -(-now * dram // core)
        last_begin, last_end = self._ended[self._lane[op]]
        if now == last_end:  # its port was busy until now: the request has been waiting
            earliest = last_begin
        row = self._row[op]
        start = max(earliest, columns - self._lead)
        issued = self._memory.transfer(
            self._first[row], self._pitch[row], self._rows[row], self._width[row], write, start, columns
        )
        end = -(-issued * core // dram)
        self._ended[self._lane[op]] = (columns, end)
        self._free_at, self._last = end, op
        return Answer(begin, end, behind)


def lines(first: int, pitch: int, rows: int, width: int, burst: int) -> Addresses:
    """The bursts under `rows` rows of `width` bytes, `pitch` apart; one that two rows share counts once."""
    starts = first + pitch * np.arange(rows, dtype=np.int64)
    begin = starts // burst
    counts = (starts + width - 1) // burst - begin + 1
    offset = np.arange(int(counts.sum()), dtype=np.int64) - np.repeat(np.cumsum(counts) - counts, counts)
    found = np.repeat(begin, counts) + offset
    keep = np.ones(len(found), dtype=bool)
    keep[1:] = found[1:] != found[:-1]
    return np.asarray(found[keep] * burst)
