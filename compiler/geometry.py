"""Where a kernel that slides over images reads: the geometry of convolutions and pooling, and their order of k.

Images are stored NHWC: (images, height, width, channels), so all pixels are rows of channels, numbered image by image,
line by line. A 1-D signal (images, width, channels) is an image of one line.

**The order of k.** An output of a convolution is one chain of fused multiply-adds over taps and channels, in the order

    (c div 32, r, s, c mod 32)        c the channel of its group, (r, s) the tap: line and column of the kernel

on every machine. 32 is a constant of this definition: a block of 32 channels can stay in SRAM for all its taps.

A *transposed* kernel gives what it reads: at tap r, pixel y of the image to pixel y * stride + r * dilation - pad of
the output. Seen from there, a pixel reads at some of the taps alone, which are the same ones for every stride-th pixel:
for a *phase* of the output. The chain of a pixel has the taps of its phase, and no others. So each phase is a
transposed convolution without strides (`phases`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from math import gcd
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Index = npt.NDArray[np.int64]
Pair = tuple[int, int]

CHANNELS = 32
"""The channels that the order of k keeps together: part of the definition, another number gives other bits."""

OUTSIDE = -1
"""What stands for a pixel of the padding."""


@dataclass(frozen=True)
class Geometry:
    """A kernel over images.

    Attributes:
        images, height, width: of the input.
        kernel, strides, dilations: of lines and columns.
        pads: pixels of padding at the top, left, bottom and right; of a transposed kernel, what is cut off of the
            output there, or (below 0) added to it.
        transposed: whether the kernel's strides are those of the output.
    """

    images: int
    height: int
    width: int
    kernel: Pair
    strides: Pair
    dilations: Pair
    pads: tuple[int, int, int, int]
    transposed: bool = False

    @property
    def output(self) -> Pair:
        """Lines and columns of the output; below 1 where the kernel does not fit."""
        top, left, bottom, right = self.pads
        if self.transposed:
            cut = (top + bottom, left + right)
            line, column = (
                (size - 1) * stride + (kernel - 1) * dilation + 1 - less
                for size, kernel, dilation, stride, less in zip(
                    (self.height, self.width), self.kernel, self.dilations, self.strides, cut, strict=True
                )
            )
            return line, column
        whole = (self.height + top + bottom, self.width + left + right)
        line, column = (
            (size - (kernel - 1) * dilation - 1) // stride + 1
            for size, kernel, dilation, stride in zip(whole, self.kernel, self.dilations, self.strides, strict=True)
        )
        return line, column

    def beside(self) -> int:
        """Pixels that may lie beside each other in a row of the images, of which the kernel reads the first: a column's
        stride if it is one column wide and nothing is padded there; else 1."""
        stride = self.strides[1]
        reads_first = self.kernel[1] == 1 and self.pads[1::2] == (0, 0) and self.width % stride == 0
        return stride if reads_first and not self.transposed else 1

    def of_first(self) -> Geometry:
        """The geometry as the images look without the pixels that are not read (`beside`)."""
        by = self.beside()
        return replace(self, width=self.width // by, strides=(self.strides[0], self.strides[1] // by))

    def misfit(self) -> str | None:
        """Why there is no output; None if there is one."""
        if min(self.output) >= 1:
            return None
        if self.transposed:
            return f"nothing is left of the output when {self.pads} is cut off of its sides"
        top, left, bottom, right = self.pads
        padded, covered = (self.height + top + bottom, self.width + left + right), self._covered()
        return f"the kernel, {covered[0]} x {covered[1]}, does not fit into the padded image, {padded[0]} x {padded[1]}"

    def _covered(self) -> Pair:
        """Lines and columns from the first tap to the last."""
        (r, s), (down, across) = self.kernel, self.dilations
        return (r - 1) * down + 1, (s - 1) * across + 1

    @property
    def taps(self) -> int:
        return self.kernel[0] * self.kernel[1]

    @property
    def pixels_in(self) -> int:
        return self.images * self.height * self.width

    @property
    def pixels_out(self) -> int:
        return self.images * self.output[0] * self.output[1]

    @property
    def meaning(self) -> tuple[int, ...]:
        """As `isa.CONVOLUTION_DTYPE` has it, from `images` to `pad_left`."""
        return (self.images, self.height, self.width, *self.output, *self.kernel, *self.strides, *self.dilations,
                *self.pads[:2])  # fmt: skip

    def source(self, tap: int) -> Index:
        """The pixel of the input that each pixel of the output reads at `tap` (r x columns + s); or OUTSIDE."""
        r, s = divmod(tap, self.kernel[1])
        lines, columns = self.output
        y, x = self._read(lines, r, 0), self._read(columns, s, 1)
        inside = ((y >= 0) & (y < self.height))[:, None] & ((x >= 0) & (x < self.width))
        first = np.arange(self.images, dtype=np.int64)[:, None, None] * self.height * self.width
        return np.asarray(np.where(inside, first + y[:, None] * self.width + x, OUTSIDE).reshape(-1))

    def _read(self, count: int, tap: int, axis: int) -> Index:
        """The lines (or columns: axis 1) that the first `count` of the output read at a line (column) of the kernel."""
        at = np.arange(count, dtype=np.int64)
        stride, offset = self.strides[axis], tap * self.dilations[axis] - self.pads[axis]
        if not self.transposed:
            return at * stride + offset
        found = at - offset
        return np.where(found % stride == 0, found // stride, OUTSIDE)

    def meets(self, tap: int) -> npt.NDArray[np.bool_]:
        """Whether `tap` belongs to the chain of each pixel of the output: of its phase, if the kernel is transposed."""
        lines, columns = (self._meets(*each) for each in zip(divmod(tap, self.kernel[1]), (0, 1), strict=True))
        return np.tile((lines[:, None] & columns).reshape(-1), self.images)

    def _meets(self, tap: int, axis: int) -> npt.NDArray[np.bool_]:
        at = np.arange(self.output[axis], dtype=np.int64)
        offset = tap * self.dilations[axis] - self.pads[axis]
        return np.asarray((at - offset) % self.strides[axis] == 0) if self.transposed else np.ones(len(at), dtype=bool)

    def phases(self) -> Iterator[Phase]:
        """Of a transposed kernel, the phases of the output that have a pixel."""
        of_lines, of_columns = ([self._phase(at, axis) for at in range(min(self.strides[axis], self.output[axis]))]
                                for axis in (0, 1))  # fmt: skip
        for down in of_lines:
            for across in of_columns:
                if not down.taps or not across.taps:
                    yield self._untouched(down, across)
                    continue
                (top, bottom), (left, right) = down.pads, across.pads
                taps = tuple(r * self.kernel[1] + s for r in down.taps for s in across.taps)
                geometry = replace(
                    self,
                    kernel=(len(down.taps), len(across.taps)),
                    strides=(1, 1),
                    dilations=(down.dilation, across.dilation),
                    pads=(top, left, bottom, right),
                )
                yield Phase((down.first, across.first), taps, geometry)

    def _untouched(self, down: _AlongAxis, across: _AlongAxis) -> Phase:
        """A phase without taps, as a kernel of one tap that lies beside the image for every pixel."""
        pads = (self.height, self.width, -down.pixels, -across.pixels)
        geometry = replace(self, kernel=(1, 1), strides=(1, 1), dilations=(1, 1), pads=pads)
        return Phase((down.first, across.first), (), geometry)

    def _phase(self, first: int, axis: int) -> _AlongAxis:
        """The lines (or columns: axis 1) of the output from `first` on, every stride-th."""
        stride, dilation, before = self.strides[axis], self.dilations[axis], self.pads[axis]
        size = (self.height, self.width)[axis]
        count = -(-(self.output[axis] - first) // stride)
        taps = tuple(tap for tap in range(self.kernel[axis]) if (first + before - tap * dilation) % stride == 0)
        apart = dilation // gcd(stride, dilation)  # pixels between what two neighbours of these taps read
        if not taps:
            return _AlongAxis(first, count, (), 1, (0, 0))
        cut = (first + before - taps[0] * dilation) // stride
        return _AlongAxis(first, count, taps, apart, (cut, size + (len(taps) - 1) * apart - cut - count))

    @property
    def steps(self) -> Pair:
        """Along a line of the output, pixels from one that reads to the next, at one tap; and from what it reads."""
        return (self.strides[1], 1) if self.transposed else (1, self.strides[1])


class _AlongAxis(NamedTuple):
    """A phase along one axis: its first pixel, how many there are, its taps, and how they read without strides."""

    first: int
    pixels: int
    taps: tuple[int, ...]
    dilation: int
    pads: Pair


class Phase(NamedTuple):
    """Pixels of the output of a transposed kernel that have the same taps: from `first` on, every stride-th.

    Attributes:
        taps: their numbers in the kernel; there may be none.
        geometry: of the kernel of these taps, whose output these pixels are. Without taps it is one that reads nothing.
    """

    first: Pair
    taps: tuple[int, ...]
    geometry: Geometry


def spread(images: int, part: Pair, first: Pair, size: Pair, strides: Pair) -> Geometry:
    """How the pixels of images of size `part` lie in images of this `size`: from `first` on every stride-th."""
    cut = (((n - 1) * stride + 1 + at - whole) for n, stride, at, whole in zip(part, strides, first, size, strict=True))
    bottom, right = cut
    pads = (-first[0], -first[1], bottom, right)
    return Geometry(images, *part, (1, 1), strides, (1, 1), pads, transposed=True)


class Unit(NamedTuple):
    """Neighbours in k: `width` channels of one tap, from `channel` of the group on; `at` is the first one's k."""

    tap: int
    channel: int
    width: int
    at: int


class Span(NamedTuple):
    """Channels [c0, c1) of each of the taps [t0, t1): all taps if there are channels of more than one block of
    `CHANNELS`, or they would not be neighbours in k."""

    c0: int
    c1: int
    t0: int
    t1: int

    @property
    def taps(self) -> int:
        return self.t1 - self.t0

    @property
    def size(self) -> int:
        return (self.c1 - self.c0) * self.taps


class Step(NamedTuple):
    """Neighbours in k that one operation takes, from k = `first` on: one span, or, where it crosses from one block of
    channels into the next, one of each block."""

    first: int
    spans: tuple[Span, ...]

    @property
    def c0(self) -> int:
        """Its first channel."""
        return self.spans[0].c0

    @property
    def channels(self) -> int:
        """From the first channel to the last."""
        return self.spans[-1].c1 - self.spans[0].c0

    @property
    def taps(self) -> int:
        """Equal parts of it, each of one tap, as an array takes them that does not pack taps."""
        return self.spans[0].taps if len(self.spans) == 1 else self.size // CHANNELS

    @property
    def size(self) -> int:
        return sum(span.size for span in self.spans)

    def units(self) -> Iterator[Unit]:
        at = 0
        for c0, c1, t0, t1 in self.spans:
            for c in range(c0, c1, CHANNELS):
                width = min(CHANNELS, c1 - c)
                for tap in range(t0, t1):
                    yield Unit(tap, c, width, at)
                    at += width


def order_of_k(channels: int, taps: int) -> Index:
    """For each k in the order of the definition tap x channels + channel: a permutation."""
    blocks = [
        (np.arange(taps)[:, None] * channels + np.arange(c, min(c + CHANNELS, channels))).reshape(-1)
        for c in range(0, channels, CHANNELS)
    ]
    return np.concatenate(blocks).astype(np.int64)


RUNS = (1, 2)
"""The candidates: how many times the rows of the array a run is long that crosses from block to block."""


def step_sizes(channels: int, taps: int, wanted: int) -> list[int]:
    """The sizes of steps of k to choose among, the largest first: all taps of about `wanted` channels, some of 32, and
    runs of about `wanted`, whichever taps they belong to.

    A large array needs runs: 9 taps of 32 channels are 2.25 times 128 rows, and go through them in 3 passes.
    """
    block = min(channels, -(-wanted // CHANNELS) * CHANNELS)
    least = min(channels, CHANNELS)
    found = {block * taps, *(least * part for part in _even_parts(taps))}
    if channels % CHANNELS == 0 and wanted % CHANNELS == 0 and taps > 1:
        found |= {size for size in (wanted * times for times in RUNS) if size < block * taps}
    return sorted(found, reverse=True)


def _even_parts(taps: int) -> set[int]:
    """The numbers of taps that cut them into fewer pieces than the next smaller one does."""
    return {-(-taps // part) for part in range(1, taps + 1)}


@lru_cache(maxsize=1 << 12)
def steps(channels: int, taps: int, size: int) -> tuple[Step, ...]:
    """The steps of k of at most this size, which is one of `step_sizes`."""
    least = min(channels, CHANNELS)
    if size % taps == 0 and size >= least * taps:
        block = size // taps
        return tuple(Step(c * taps, (Span(c, min(c + block, channels), 0, taps),)) for c in range(0, channels, block))
    together = size // least
    if together not in _even_parts(taps):
        end = channels * taps
        return tuple(Step(k, tuple(_spans(k, min(k + size, end), taps))) for k in range(0, end, size))
    found = []
    for c in range(0, channels, CHANNELS):
        end = min(c + CHANNELS, channels)
        for t in range(0, taps, together):
            found.append(Step(c * taps + t * (end - c), (Span(c, end, t, min(t + together, taps)),)))
    return tuple(found)


def _spans(begin: int, end: int, taps: int) -> Iterator[Span]:
    """k in [begin, end), multiples of `CHANNELS`, block by block of as many channels."""
    of_block = CHANNELS * taps
    for block in range(begin // of_block, -(-end // of_block)):
        t0, t1 = (min(max(k - block * of_block, 0), of_block) // CHANNELS for k in (begin, end))
        yield Span(block * CHANNELS, (block + 1) * CHANNELS, t0, t1)


class Part(NamedTuple):
    """A window (isa.py) without its columns: which rows of `tile` are rows of an operand, and which."""

    tile: int
    outer: int
    inner: int
    at_row: int
    at_outer: int
    at_inner: int
    from_row: int
    from_outer: int
    from_inner: int


def parts(source: Index, height: int, tile_height: int, step: int, apart: int = 1) -> list[list[Part]]:
    """For each `height` rows of output what they read, of tiles of `tile_height` rows, in as few parts as are regular.

    Args:
        source: the row that each row of output reads, or OUTSIDE.
        step: rows from one to the next where they are neighbours in a line.
        apart: rows of output from one to the next there.
    """
    found: list[list[Part]] = [[] for _ in range(-(-len(source) // height))]
    at = np.flatnonzero(source != OUTSIDE)
    if not len(at):
        return found
    of = source[at]
    begins = np.ones(len(at), dtype=bool)
    begins[1:] = (np.diff(at) != apart) | (np.diff(of) != step)
    begins[1:] |= (np.diff(at // height) != 0) | (np.diff(of // tile_height) != 0)
    first = np.flatnonzero(begins)
    lengths = np.diff(np.append(first, len(at)))
    runs = zip((at[first]).tolist(), (of[first]).tolist(), lengths.tolist(), strict=True)
    for row, pixel, length in runs:
        strip, tile = found[row // height], pixel // tile_height
        one = Part(tile, 1, length, row % height, 0, apart, pixel % tile_height, 0, step)
        joined = _joined(strip[-1], one) if strip else None
        if joined is None:
            strip.append(one)
        else:
            strip[-1] = joined
    return found


def _joined(lines: Part, line: Part) -> Part | None:
    """`lines` with one more behind it; None if that is not as the others are."""
    if (lines.tile, lines.inner) != (line.tile, line.inner):
        return None
    down, across = line.at_row - lines.at_row, line.from_row - lines.from_row
    if across < 0:
        return None
    if lines.outer == 1:
        return lines._replace(outer=2, at_outer=down, from_outer=across)
    if (down, across) != (lines.outer * lines.at_outer, lines.outer * lines.from_outer):
        return None
    return lines._replace(outer=lines.outer + 1)
