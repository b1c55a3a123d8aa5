"""DRAM with channels, bank groups, banks and open rows, for `dram.model = "banked"`.

A transfer is served in a tight loop over its bursts (`Memory.transfer`), outside SimPy: one call, however many
bursts. What the banks, buses and refresh timers remember is carried from transfer to transfer.

`Memory` and `dram_channel.py` are the definition, and where to extend the model. A run takes their twin in C++,
`DramMemory`, which is held to the same cycles (docs/adr/0012-dram-twin.md).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from minisim._engine import DramMemory, DramTurn
from minisim.hwmodel import isa
from minisim.hwmodel.config import Machine
from minisim.hwmodel.cost import rectangles
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


class Turn(NamedTuple):
    """How a transfer's bursts were served, in core cycles.

    Attributes:
        begin: when the first of the transfer's channels came to its bursts.
        turn: when the channel that was through last came to them.
        end: when that one's data bus was free of them; latency is not part.
    """

    begin: int
    turn: int
    end: int


class TimedMemory(Protocol):
    """What a run needs of a memory: `Memory`, or its twin."""

    def transfer(
        self, first: int, pitch: int, rows: int, width: int, write: bool, now: int, since: int
    ) -> Turn | DramTurn: ...

    def lines(
        self, reads: Sequence[int], writes: Sequence[int], size: int, now: int, since: int
    ) -> Turn | DramTurn: ...


class Memory:
    """All channels of a part: the definition.

    Args:
        rate: cycles of the DRAM's clock in one of the core's, in which transfers are told.
    """

    def __init__(self, part: DramPart, rate: Fraction = Fraction(1)) -> None:
        self.part = part
        self.map = AddressMap(part)
        self.channels = [Channel(part) for _ in range(part.channels)]
        self._dram, self._core = rate.numerator, rate.denominator  # so many cycles of each take as long
        self._lead = part.queue * part.burst_cycles
        self._free = [0] * part.channels  # in core cycles

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
        self, first: int, pitch: int, rows: int, width: int, write: bool, now: int, since: int | None = None
    ) -> Turn:
        """Serve the bursts under `rows` rows of `width` bytes, `pitch` apart, asked for at cycle `now`.

        Each channel serves its share behind what it has to do already, whatever the others do: so transfers are
        served side by side. The first requests of a transfer that comes right behind another already wait in the
        controller's queues, so that their rows are opened while the last data are still moving.

        Args:
            now: not before that of an earlier call.
            since: the cycle from which on the request has been waiting, if its port was busy until now.
        """
        asked = lines(first, pitch, rows, width, self.part.burst_bytes)
        return self._serve(asked, [write] * len(asked), now, now if since is None else since)

    def lines(self, reads: Sequence[int], writes: Sequence[int], size: int, now: int, since: int | None = None) -> Turn:
        """Serve the bursts of lines of `size` bytes at these addresses; else as `transfer`."""
        burst = self.part.burst_bytes
        asked = [lines(at, size, 1, size, burst) for at in (*reads, *writes)]
        read = sum(len(each) for each in asked[: len(reads)])
        addresses = np.concatenate(asked)
        way = [False] * read + [True] * (len(addresses) - read)
        return self._serve(addresses, way, now, now if since is None else since)

    def _serve(self, addresses: Addresses, writes: list[bool], now: int, since: int) -> Turn:
        channel_of, bank_of, row_of = self.map.locate(addresses)
        write_of = np.array(writes)
        earliest, turns = self._in_dram(since), []
        for number in np.unique(channel_of).tolist():
            mine = channel_of == number
            turn = max(now, self._free[number])
            columns = self._in_dram(turn)
            requests = list(zip(bank_of[mine].tolist(), row_of[mine].tolist(), write_of[mine].tolist(), strict=True))
            issued = self.channels[number].run(requests, max(earliest, columns - self._lead), columns)
            self._free[number] = -(-issued * self._core // self._dram)
            turns.append((self._free[number], turn))
        end, turn = max(turns, key=lambda found: found[0])
        return Turn(min(turn for _, turn in turns), turn, end)

    def _in_dram(self, cycle: int) -> int:
        """The first of the DRAM's cycles that begins at or after one of the core's."""
        return -(-cycle * self._dram // self._core)


class BankedDram:
    """Transfers first come, first served, channel by channel; the bursts of each as the banks allow.

    The service of a transfer lasts from its first column command's turn to the end of its last burst, less the
    column latency CL, which like the controller's is `latency` and overlaps with the next transfer. A part of one
    channel serves one transfer after the other. One of several takes a transfer when it asks (`begin`), and while
    its channels serve others first, that is `contention`: of the channel that is through with it last.
    """

    def __init__(
        self,
        schedule: isa.Schedule,
        machine: Machine,
        memory: Callable[[DramPart, Fraction], TimedMemory] = DramMemory,
    ) -> None:
        part = machine.dram.part
        self._memory = memory(part, machine.dram_cycles_per_cycle)
        self._several = part.channels > 1
        self._latency = (machine.dram_latency_cycles, machine.dram_write_latency_cycles)
        self._write: list[bool] = (schedule.stream["opcode"] == isa.Opcode.STORE).tolist()
        self._lane: list[int] = schedule.lanes().tolist()
        self._tiles: list[tuple[int, ...]] = list(zip(*(part.tolist() for part in rectangles(schedule)), strict=True))
        self._tile: list[int] = schedule.transfers["tile"].tolist()
        self._row: list[int] = schedule.stream["row"].tolist()
        self._last = -1  # the transfer served last
        self._busy = self._served = 0  # cycles in which it served something, up to `_served`
        # of each port (by lane): cycle of the last begin, and of its end
        self._ended = [(-1, -1)] * (schedule.cores * len(isa.Queue))

    def serve(self, op: int, now: int) -> Answer:
        write, (first, width, rows, pitch) = self._write[op], self._tiles[self._tile[self._row[op]]]
        size = width * rows
        turn = self._memory.transfer(first, pitch, rows, width, write, now, self._since(op, now))
        return self._answer(op, now, turn, self._latency[write], (0, size) if write else (size, 0))

    def lines(self, op: int, reads: Sequence[int], writes: Sequence[int], size: int, now: int) -> Answer:
        turn = self._memory.lines(reads, writes, size, now, self._since(op, now))
        return self._answer(op, now, turn, self._latency[not reads], (size * len(reads), size * len(writes)))

    def counters(self) -> dict[str, int]:
        return {"dram_busy": self._busy}

    def _since(self, op: int, now: int) -> int:
        """If its port was busy until now, the request has been waiting."""
        begin, end = self._ended[self._lane[op]]
        return begin if now == end else now

    def _answer(self, op: int, now: int, found: Turn | DramTurn, latency: int, moved: tuple[int, int]) -> Answer:
        first, turn, end = found.begin, found.turn, found.end
        self._ended[self._lane[op]] = (first, end)
        self._busy += max(0, end - max(first, self._served))
        self._served = max(self._served, end)
        behind, self._last = self._last, op
        if self._several:
            return Answer(now, end, latency, *moved, contention=turn - now)
        return Answer(turn, end, latency, *moved, behind if turn > now else -1)


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
