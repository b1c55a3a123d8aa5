"""The address allocator of an on-chip memory: the scratchpad, or the accumulator memory behind it.

Free memory is kept as *places*: an interval that was given back as a whole, with the moment since which it has been
free and the operations that must have retired before it is written (its clock). Adjacent places make a *run*.

Who takes a place waits for its last user, so an allocation wants the place that has been free longest: that alone
makes loads run ahead of compute, and double buffering is the special case of it that has two places. But tiles come
in several sizes, and a small tile in a large one's place leaves a hole that fits neither. So an allocation takes

1. memory that nobody has used yet: small tiles from its upper end, others from its lower one, so that neither
   cuts up what the other will need;
2. else the place of a tile of its own size, the longest free one;
3. but if another place, or a run of them, has been free for `MUCH_LONGER` times as long, then that: a size that many
   tiles need gets more places, out of those that nobody needs any more;
4. else the shortest run that is long enough.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from typing import NamedTuple

from minisim.hwmodel.isa import Queue

Clock = list[int]
"""How many operations of each queue must have retired."""

ZERO: Clock = [0] * len(Queue)

MUCH_LONGER = 2
"""How many times as long a place of another size must have been free. With less, two sizes would take each other's
places in turns; more leaves a size too few of them. From 1 to 4 the cycles of 300 random networks differ by 0.2 % on
average."""

LOOK = 32
"""Places that are looked at, longest free first, for one that has been free much longer."""


class _Place(NamedTuple):
    """A free interval: its bytes, its clock, and since which call of `free` it has been free (0: always)."""

    size: int
    clock: Clock
    since: int


class Arena:
    """Which bytes are free, since when, and which operations must have retired before they are written.

    Both calls take O(log n) steps for n places, and O(1) for each place that an allocation uses up.

    Args:
        size: bytes; all sizes and addresses are multiples of `isa.ALIGNMENT`.
        base: address of its first byte.
    """

    def __init__(self, size: int, base: int = 0) -> None:
        self.size = size
        self.base = base
        self.free_bytes = 0
        self._now = 0  # calls of `free`
        self._places: OrderedDict[int, _Place] = OrderedDict()  # by address, longest free first
        self._of_size: dict[int, OrderedDict[int, None]] = {}  # addresses by size, longest free first
        self._start: dict[int, int] = {}  # of the place that ends at an address
        self._runs: list[int] = []  # addresses of all runs, ascending
        self._run_bytes: dict[int, int] = {}  # by address
        self._by_bytes: list[tuple[int, int]] = []  # bytes and address of all runs, ascending
        if size:
            self._give(base, _Place(size, ZERO, 0))

    def __repr__(self) -> str:
        return f"<Arena: {self.free_bytes} of {self.size} bytes free in {len(self._places)} places>"

    @property
    def used_bytes(self) -> int:
        return self.size - self.free_bytes

    def allocate(self, size: int, small: bool = False) -> tuple[int, Clock] | None:
        """Take `size` bytes: the address, and the clock to wait for before writing. None if no run is long enough.

        Args:
            small: whether most of the memory is for much larger tiles.
        """
        if size > self.free_bytes:
            return None
        first = self._choose(size)
        return None if first is None else self._take(first, size, small)

    def free(self, address: int, size: int, clock: Clock) -> None:
        """Give bytes back; `clock` counts every operation that accessed them."""
        self._now += 1
        self._give(address, _Place(size, clock, self._now))

    def merge(self) -> None:
        """Everything is free: make it one place again, with the clocks of all."""
        clocks = [place.clock for place in self._places.values()]
        for address in list(self._places):
            self._remove(address)
        clock = [max(counts) for counts in zip(*clocks, strict=True)]
        self._give(self.base, _Place(self.size, clock, self._now if any(clock) else 0))

    def _choose(self, size: int) -> int | None:
        """The address at which to take `size` bytes, by the rules of the module; None if no run is long enough."""
        best = next(iter(self._of_size[size])) if size in self._of_size else None
        age = self._now - self._places[best].since + 1 if best is not None else -1
        for _, (address, place) in zip(range(LOOK), self._places.items(), strict=False):
            if place.since and self._now - place.since <= MUCH_LONGER * age:
                break
            if self._run_of(address)[1] < size:
                continue
            first, since = self._window(address, size)
            if not since:
                return first
            if self._now - since > MUCH_LONGER * age:
                best, age = first, self._now - since
        if best is None and (at := bisect_left(self._by_bytes, (size, 0))) < len(self._by_bytes):
            best = self._by_bytes[at][1]
        return best

    def _window(self, address: int, size: int) -> tuple[int, int]:
        """Places of `size` bytes in all within the run of `address`, that one included: where they begin, and since
        when all of them have been free."""
        place = self._places[address]
        first, end, since = address, address + place.size, place.since
        while end - first < size and (following := self._places.get(end)):
            end, since = end + following.size, max(since, following.since)
        while end - first < size:
            first = self._start[first]
            since = max(since, self._places[first].since)
        return first, since

    def _take(self, first: int, size: int, small: bool) -> tuple[int, Clock]:
        """Remove [first, first + size), or the end of a place never used; what remains of a place stays as it was."""
        place = self._remove(first)
        if small and not place.since and place.size > size:
            self._give(first, place._replace(size=place.size - size), longest=True)
            return first + place.size - size, place.clock
        clock, end = place.clock, first + place.size
        while end < first + size:
            place = self._remove(end)
            clock = [max(pair) for pair in zip(clock, place.clock, strict=True)]
            end += place.size
        if end > first + size:
            self._give(first + size, place._replace(size=end - first - size), longest=True)
        return first, clock

    # -- the indices ----------------------------------------------------------------------------------------------

    def _give(self, address: int, place: _Place, longest: bool = False) -> None:
        """Add a free place; `longest`: it has been free for as long as any."""
        self._places[address] = place
        of_size = self._of_size.setdefault(place.size, OrderedDict())
        of_size[address] = None
        if longest:
            self._places.move_to_end(address, last=False)
            of_size.move_to_end(address, last=False)
        end = address + place.size
        self._start[end] = address
        self.free_bytes += place.size
        start = address
        if address in self._start:
            start, _ = self._run_of(self._start[address])
            self._drop_run(start)
        if end in self._run_bytes:
            end += self._drop_run(end)
        self._add_run(start, end - start)

    def _remove(self, address: int) -> _Place:
        place = self._places.pop(address)
        of_size = self._of_size[place.size]
        del of_size[address]
        if not of_size:
            del self._of_size[place.size]
        end = address + place.size
        del self._start[end]
        self.free_bytes -= place.size
        start, size = self._run_of(address)
        self._drop_run(start)
        if start < address:
            self._add_run(start, address - start)
        if start + size > end:
            self._add_run(end, start + size - end)
        return place

    def _run_of(self, address: int) -> tuple[int, int]:
        """The address and bytes of the run that the place at `address` is part of."""
        start = self._runs[bisect_left(self._runs, address + 1) - 1]
        return start, self._run_bytes[start]

    def _add_run(self, start: int, size: int) -> None:
        insort(self._runs, start)
        self._run_bytes[start] = size
        insort(self._by_bytes, (size, start))

    def _drop_run(self, start: int) -> int:
        del self._runs[bisect_left(self._runs, start)]
        size = self._run_bytes.pop(start)
        del self._by_bytes[bisect_left(self._by_bytes, (size, start))]
        return size
