"""The bursts of a DMA: how a transfer becomes bus requests, and how long these take.

A *descriptor* asks for a rectangle of memory: rows of so many bytes, a pitch apart. The DMA cuts each row into
*bursts*, at most `max_beats` long and never across a multiple of `boundary` (AXI4: 256 beats, 4 KiB); a beat is
what the data bus carries at once, and the ends of a row may fill only a part of theirs. Burst i with b_i beats,
in order, all in cycles:

    request_i = max(request_(i-1) + request_cycles, answered_(i - outstanding))     a free slot
    data_i    = max(request_i + latency, free_(i-1))                                answers come in order
    answered_i = data_i + b_i * beat_cycles                                         1 where the bus streams
    free_i    = answered_i + realign_i + burst_gap                                  the data port

`realign` is the cycle in which the byte shifter of an unaligned row delivers what it still holds, if the row
leaves as many beats as it came in. Writes mirror reads: their data leave `latency` earlier and their slots are
freed by a response `latency` later, so that from first request to last response they take just as long.

Between descriptors: at most `in_flight` at a time; a descriptor's first request comes `decode_cycles` after that
of the one before could have come, and `decode_cycles` + 1 after one in flight has ended; the port rests `gap` cycles
(or `burst_gap`, if that is more). A DMA whose descriptors are single rows (`row_decode`) does so between rows.

`replay` is the definition, `spans` the same for transfers alone, over columns; `BurstPort` in port.py is what the
event model carries from transfer to transfer.

Source: the read law is that of verilog-axi's `axi_dma_rd.v`, read off its two state machines (`AXI_STATE_*` raises
requests, `AXIS_STATE_*` takes data) and held to its RTL's cycles by benchmarks/fidelity/dma.py.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Column = npt.NDArray[np.int64]


class Descriptor(NamedTuple):
    """A rectangle of memory: `rows` rows of `row_bytes` bytes, `pitch` bytes apart, from byte `address` on."""

    address: int
    row_bytes: int
    rows: int = 1
    pitch: int = 0


class Rectangles(NamedTuple):
    """Columns of descriptors, int64."""

    address: Column
    row_bytes: Column
    rows: Column
    pitch: Column


class Burst(NamedTuple):
    """Beats on the bus, the bytes in them, cycles that the port is held beyond them, and the row they belong to."""

    beats: int
    size: int
    realign: int
    row: int


@dataclass(frozen=True)
class BurstRules:
    """What the hardware allows; 0 means "not limited" where that makes sense.

    Attributes:
        width: bytes of a beat.
        latency: cycles from a burst's request to its first beat, on an idle memory.
        max_beats: beats of the longest burst, counted from the beat that holds its first byte; or 0.
        boundary: bytes; no burst crosses a multiple of it; or 0.
        outstanding: bursts requested and not yet answered; or 0.
        request_cycles: from one request to the next.
        beat_cycles: from one beat to the next.
        unpack_cycles: the same of packed weights that the DMA unpacks (packing.py).
        burst_gap: idle cycles of the memory's data bus after each burst.
        realign: whether a shifter aligns the rows to a packed buffer (reads; on its way out a write needs no cycle).
        in_flight, decode_cycles, gap: of descriptors, see the module's text; in_flight is at least 1.
        row_decode, row_gap: cycles from row to row, of its first request at the earliest and of the port's rest,
            where each row is a descriptor of its own; 0 where one descriptor has them all.
    """

    width: int
    latency: int
    max_beats: int = 0
    boundary: int = 0
    outstanding: int = 0
    request_cycles: int = 0
    beat_cycles: int = 1
    unpack_cycles: int = 1
    burst_gap: int = 0
    realign: bool = True
    in_flight: int = 2
    decode_cycles: int = 0
    gap: int = 0
    row_decode: int = 0
    row_gap: int = 0

    @property
    def period(self) -> int:
        """Bytes: addresses that differ by a multiple of it are cut alike."""
        return math.lcm(self.width, self.boundary or 1)

    def unpacking(self) -> BurstRules:
        """The rules for packed weights, which pass the unpacker on their way."""
        return replace(self, beat_cycles=self.unpack_cycles)

    def split(self, descriptor: Descriptor) -> Iterator[Burst]:
        """The bursts of one descriptor, in order."""
        address, row_bytes, rows, pitch = joined(descriptor)
        for row in range(rows):
            at, left = address + row * pitch, row_bytes
            held_back = int(self.realign and at % self.width > 0 and self._as_many_out(at, row_bytes))
            while left:
                size = min(left, self._reach(at))
                at, left, beats = at + size, left - size, -(-(at % self.width + size) // self.width)
                yield Burst(beats, size, 0 if left else held_back, row)

    def _reach(self, at: int) -> int:
        """Bytes that a burst from byte `at` on may have at most."""
        limits = [self.max_beats * self.width - at % self.width] if self.max_beats else []
        limits += [self.boundary - at % self.boundary] if self.boundary else []
        return min(limits, default=2**62)

    def _as_many_out(self, at: int, size: int) -> bool:
        return -(-(at % self.width + size) // self.width) == -(-size // self.width)


def joined(descriptor: Descriptor) -> Descriptor:
    """Rows without a gap between them are one row."""
    if descriptor.pitch != descriptor.row_bytes:
        return descriptor
    return Descriptor(descriptor.address, descriptor.row_bytes * descriptor.rows)


def replay(descriptors: Sequence[Descriptor], rules: BurstRules) -> list[int]:
    """The cycles after the first request at which each descriptor's data have arrived, all queued from the start.

    The definition: one step a burst, in plain integers. `spans` is the same law over columns.
    """
    request, free, ready = -rules.request_cycles, 0, 0
    answered: deque[int] = deque(maxlen=rules.outstanding or 1)
    ends: list[int] = []
    for i, descriptor in enumerate(descriptors):
        if i:
            free = ends[-1] + max(rules.gap, rules.burst_gap)
            ready += rules.decode_cycles
        if i >= rules.in_flight:
            ready = max(ready, ends[i - rules.in_flight] + rules.decode_cycles + 1)
        end, before = 0, 0
        for beats, _, realign, row in rules.split(descriptor):
            if row > before:
                free, ready, before = end + max(rules.row_gap, rules.burst_gap), ready + rules.row_decode, row
            slot = answered[0] if rules.outstanding and len(answered) == rules.outstanding else 0
            request = max(request + rules.request_cycles, slot, ready)
            done = max(request + rules.latency, free) + beats * rules.beat_cycles
            answered.append(done)
            end = done + realign
            free = end + rules.burst_gap
        ends.append(end)
    return ends


@dataclass(frozen=True)
class Spans:
    """Columns over transfers, int64: what each takes on a DMA and a memory that are idle.

    Attributes:
        cycles: from the first request to the last byte's arrival.
        bursts, beats: how many.
    """

    cycles: Column
    bursts: Column
    beats: Column


FEW = 8
"""Up to so many transfers are sooner timed one by one: columns take as long for one transfer as for a hundred."""


def spans(transfers: Rectangles, rules: BurstRules) -> Spans:
    """Time each transfer alone: `replay` of single descriptors, more than a few of them a burst at a time."""
    if len(transfers.address) <= FEW:
        found = [_span(each, rules) for each in zip(*(column.tolist() for column in transfers), strict=True)]
        return Spans(*np.array(found, dtype=np.int64).reshape(-1, 3).T)
    return _spans_at_once(transfers, rules)


@lru_cache(maxsize=4096)
def _span(transfer: tuple[int, int, int, int], rules: BurstRules) -> tuple[int, int, int]:
    """Cycles, bursts and beats of one. A compiler asks for the same ones again and again."""
    descriptor = Descriptor(*transfer)
    beats = [burst.beats for burst in rules.split(descriptor)]
    return replay([descriptor], rules)[0], len(beats), sum(beats)


def _spans_at_once(transfers: Rectangles, rules: BurstRules) -> Spans:
    """Those that are cut alike once."""
    address, row_bytes, rows, pitch = transfers
    whole = pitch == row_bytes
    columns = (
        address % rules.period,
        np.where(whole, row_bytes * rows, row_bytes),
        np.where(whole, 1, rows),
        np.where(whole | (rows == 1), 0, pitch % rules.period),
    )
    patterns, which = np.unique(np.stack(columns), axis=1, return_inverse=True)
    found = _spans(patterns, rules)
    return Spans(*(column[which.reshape(-1)] for column in found))


def _spans(patterns: Column, rules: BurstRules) -> tuple[Column, Column, Column]:
    """Cycles, bursts and beats; every turn of the loop is the next burst of all patterns that have one."""
    row_at, row_bytes, rows, pitch = (column.copy() for column in patterns)
    at, left = row_at.copy(), row_bytes.copy()
    request, free, end, bursts, total, ready = (np.zeros_like(at) for _ in range(6))
    request -= rules.request_cycles
    answered: deque[Column] = deque(maxlen=rules.outstanding or 1)
    while len(on := np.flatnonzero(rows)):
        here = at[on]
        size = np.minimum(left[on], _reaches(here, rules))
        beats = _beats(here % rules.width + size, rules)
        slot = answered[0][on] if rules.outstanding and len(answered) == rules.outstanding else 0
        request[on] = np.maximum(np.maximum(request[on] + rules.request_cycles, slot), ready[on])
        done = np.zeros_like(at)
        done[on] = np.maximum(request[on] + rules.latency, free[on]) + beats * rules.beat_cycles
        answered.append(done)
        at[on], left[on] = here + size, left[on] - size
        bursts[on], total[on] = bursts[on] + 1, total[on] + beats

        last = on[left[on] == 0]  # of its row
        end[on] = done[on]
        end[last] += _held_back(row_at[last], row_bytes[last], rules)
        free[on] = end[on] + rules.burst_gap
        free[last] = end[last] + max(rules.row_gap, rules.burst_gap)
        ready[last] += rules.row_decode
        rows[last], row_at[last] = rows[last] - 1, row_at[last] + pitch[last]
        at[last], left[last] = row_at[last], row_bytes[last]
    return end, bursts, total


def _reaches(at: Column, rules: BurstRules) -> Column:
    reach = np.full_like(at, 2**62)
    if rules.max_beats:
        reach = rules.max_beats * rules.width - at % rules.width
    return np.minimum(reach, rules.boundary - at % rules.boundary) if rules.boundary else reach


def _beats(size: Column, rules: BurstRules) -> Column:
    return -(-size // rules.width)


def _held_back(at: Column, size: Column, rules: BurstRules) -> Column:
    """1 where an unaligned row leaves the shifter in as many beats as it came in, and so a cycle late."""
    offset = at % rules.width
    late = (offset > 0) & (_beats(offset + size, rules) == _beats(size, rules))
    return np.asarray(late & rules.realign, dtype=np.int64)


def slot_cycles(found: Spans, rules: BurstRules) -> Column:
    """Cycles that a transfer keeps the DMA's request slots from others, in a stream of transfers like it.

    Little's law: each burst holds one of the `outstanding` slots for its latency and its beats; and the requests
    take `request_cycles` each.
    """
    paced = found.bursts * rules.request_cycles
    if not rules.outstanding:
        return paced
    held = found.bursts * rules.latency + found.beats * rules.beat_cycles
    return np.asarray(np.maximum(paced, -(-held // rules.outstanding)))
