"""The address allocator of an on-chip memory: the scratchpad, or the accumulator memory behind it."""

from __future__ import annotations

from collections import OrderedDict

from minisim.hwmodel.isa import Queue

Clock = list[int]
"""Per queue: how many of its operations must have retired."""

ZERO: Clock = [0] * len(Queue)


class Sram:
    """Which bytes are free, since when, and which operations must have retired before they are written.

    The piece that has been free longest is given out first: its last reader retired long ago, so a load
    into it need not wait. That alone makes loads run ahead of compute; double buffering is the special
    case of it that has two pieces.

    Free pieces are not merged, so that each keeps its own clock; an allocation takes a run of adjacent
    pieces where one alone is too small.

    Args:
        size: bytes; all sizes and addresses are multiples of `isa.ALIGNMENT`.
        base: address of its first byte.
    """

    def __init__(self, size: int, base: int = 0) -> None:
        self.size = size
        self.base = base
        self.free_bytes = size
        self._pieces: OrderedDict[int, tuple[int, Clock]] = OrderedDict({base: (size, ZERO)})  # longest free first
        self._starts_at_end: dict[int, int] = {base + size: base}  # end address -> start address

    def __repr__(self) -> str:
        return f"<Sram: {self.free_bytes} of {self.size} bytes free in {len(self._pieces)} pieces>"

    def allocate(self, size: int) -> tuple[int, Clock] | None:
        """Take `size` bytes: the address, and the clock to wait for before writing. None if no run fits."""
        if size > self.free_bytes:
            return None
        for start in self._pieces:
            first = self._run_through(start, size)
            if first is not None:
                return self._take(first, size)
        return None

    @property
    def used_bytes(self) -> int:
        return self.size - self.free_bytes

    def free(self, address: int, size: int, clock: Clock) -> None:
        """Give bytes back; `clock` counts every operation that accessed them."""
        self._pieces[address] = (size, clock)
        self._starts_at_end[address + size] = address
        self.free_bytes += size

    def merge(self) -> None:
        """Everything is free: make it one piece again, with the clocks of all."""
        clocks = [clock for _, clock in self._pieces.values()]
        self._pieces = OrderedDict({self.base: (self.size, [max(counts) for counts in zip(*clocks, strict=True)])})
        self._starts_at_end = {self.base + self.size: self.base}

    def _run_through(self, start: int, size: int) -> int | None:
        """Where a run of adjacent free pieces begins that contains `start` and has `size` bytes, if there is one."""
        first, end = start, start + self._pieces[start][0]
        while end - first < size and end in self._pieces:
            end += self._pieces[end][0]
        while end - first < size and first in self._starts_at_end:
            first = self._starts_at_end[first]
        return first if end - first >= size else None

    def _take(self, first: int, size: int) -> tuple[int, Clock]:
        """Remove [first, first + size); what remains of the last piece stays the longest free."""
        clock, address = ZERO, first
        while address < first + size:
            length, piece_clock = self._pieces.pop(address)
            del self._starts_at_end[address + length]
            clock = piece_clock if clock is ZERO else [max(pair) for pair in zip(clock, piece_clock, strict=True)]
            address += length
        rest = address - (first + size)
        if rest:
            self._pieces[first + size] = (rest, piece_clock)
            self._pieces.move_to_end(first + size, last=False)
            self._starts_at_end[address] = first + size
        self.free_bytes -= size
        return first, clock
