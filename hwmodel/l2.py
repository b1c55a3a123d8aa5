"""A cache that all cores share, between them and the DRAM.

It is set-associative: a line of `line_bytes` lies in the set (address / line_bytes) mod sets, in any of its `ways`
places, and the line that was used longest ago makes room (LRU). Writes stay in it until their line is replaced
(write-back), and a write to a part of a line that is not there fetches the line first (write-allocate); one that
covers a line does not.

    port    transfers first come, first served, `bytes_per_cycle`; misses do not hold it up (non-blocking)
    misses  all lines that a transfer misses are asked of the DRAM when the port begins with it: its fetches first,
            then the dirty lines that made room for them
    end     when the port and the DRAM are through
    latency the L2's own; for whoever fetched a line, the DRAM's on top

Lines that are dirty when the run ends stay there, as in a cache that nobody flushes: `l2_dirty` says how many.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from minisim.hwmodel.config import Machine
from minisim.hwmodel.cost import rectangles
from minisim.hwmodel.dram import Answer, Dram
from minisim.hwmodel.gates import CODE
from minisim.hwmodel.isa import Opcode, Schedule

_PORT, _OWN = CODE["l2_port"], CODE["l2"]


@dataclass
class Cache:
    """Which lines are there, and which of them are dirty: no time, no data.

    Attributes:
        hits, misses, write_backs: lines so far; a line that a transfer touches counts once.
    """

    sets: int
    ways: int
    hits: int = 0
    misses: int = 0
    write_backs: int = 0
    _lines: dict[int, dict[int, bool]] = field(default_factory=dict)
    """By set that was used, the lines in order of their last use, and whether each is dirty."""

    def access(self, line: int, write: bool) -> tuple[bool, int]:
        """Use a line: whether it was there, and the dirty line that had to be written back for it, or -1."""
        there = self._lines.setdefault(line % self.sets, {})
        if line in there:
            there[line] = there.pop(line) or write
            self.hits += 1
            return True, -1
        self.misses += 1
        victim = -1
        if len(there) == self.ways:
            oldest = next(iter(there))
            if there.pop(oldest):
                victim = oldest
                self.write_backs += 1
        there[line] = write
        return False, victim

    @property
    def dirty(self) -> int:
        """Lines that are dirty now."""
        return sum(sum(there.values()) for there in self._lines.values())


def touched(address: int, row_bytes: int, rows: int, pitch: int, line: int) -> Iterator[tuple[int, bool]]:
    """The lines under `rows` rows of `row_bytes` bytes, `pitch` apart, in order, and whether a row covers each whole.

    A line that a row shares with the row before it counts once.
    """
    if pitch == row_bytes:
        row_bytes, rows = row_bytes * rows, 1
    last = -1
    for row in range(rows):
        begin = address + row * pitch
        end = begin + row_bytes
        for at in range(begin // line, -(-end // line)):
            if at != last:
                yield at, at * line >= begin and (at + 1) * line <= end
            last = at


class L2:
    """In front of `dram`."""

    def __init__(self, dram: Dram, schedule: Schedule, machine: Machine) -> None:
        l2 = machine.l2
        self._dram = dram
        self._line, self._width, self._latency = l2.line_bytes, l2.bytes_per_cycle, machine.l2_latency_cycles
        self.cache = Cache(l2.sets, l2.ways)
        self._write: list[bool] = (schedule.stream["opcode"] == Opcode.STORE).tolist()
        tiles = rectangles(schedule)
        self._tiles: list[tuple[int, ...]] = list(zip(*(column.tolist() for column in tiles), strict=True))
        self._tile: list[int] = schedule.transfers["tile"].tolist()
        self._row: list[int] = schedule.stream["row"].tolist()
        self._free_at = 0
        self._last = -1

    def serve(self, op: int, now: int) -> Answer:
        waits = now < self._free_at
        begin, behind = (self._free_at, self._last) if waits else (now, -1)
        address, row_bytes, rows, pitch = self._tiles[self._tile[self._row[op]]]
        own = begin + -(-row_bytes * rows // self._width)
        self._free_at, self._last = own, op
        fetches, write_backs = self._misses(op, address, row_bytes, rows, pitch)
        if not (fetches or write_backs):
            return Answer(begin, own, self._latency, behind=behind, waited=_PORT, by=_OWN)
        dram = self._dram.lines(op, fetches, write_backs, self._line, begin)
        latency = self._latency + (dram.latency if fetches else 0)
        answer = Answer(begin, own, latency, dram.read, dram.written, behind, _PORT, _OWN)
        if dram.end <= own:
            return answer
        return answer._replace(end=dram.end, by=dram.by, contention=dram.begin - begin + dram.contention)

    def _misses(self, op: int, address: int, row_bytes: int, rows: int, pitch: int) -> tuple[list[int], list[int]]:
        """Addresses of the lines that a transfer fetches, and of those that are written back for them."""
        fetches: list[int] = []
        write_backs: list[int] = []
        write = self._write[op]
        for line, whole in touched(address, row_bytes, rows, pitch, self._line):
            hit, victim = self.cache.access(line, write)
            if not hit and not (write and whole):
                fetches.append(line * self._line)
            if victim >= 0:
                write_backs.append(victim * self._line)
        return fetches, write_backs

    def counters(self) -> dict[str, int]:
        cache = self.cache
        return self._dram.counters() | {
            "l2_hits": cache.hits,
            "l2_misses": cache.misses,
            "l2_write_backs": cache.write_backs,
            "l2_dirty": cache.dirty,
        }
