"""The least DRAM traffic of a convolution: bounds, and an exhaustive search over tilings.

Everything is in elements. The search walks all uniform tilings, ragged at the ends: strips of so many lines, patches of
so many columns of them, blocks of channels and of filters, with each order of the loops and each operand kept in SRAM
across the loops that do not need it (`least_traffic`). Channels are cut at multiples of 32, as the order of k has it
(ADR 25). What a loop nest holds at once must fit; nothing is kept free to
run ahead of need, and an element is the unit, so a real schedule can do little better and will do a little worse.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from conv_networks import Layer

CHANNELS = 32
"""What the order of k keeps together."""

Elements = npt.NDArray[np.int64]


class Traffic(NamedTuple):
    """Elements read from DRAM and written to it."""

    read: int
    written: int

    @property
    def total(self) -> int:
        return self.read + self.written


def compulsory(layer: Layer) -> Traffic:
    """Each element once."""
    x, w, y = layer.elements
    return Traffic(x + w, y)


def lower_bound(layer: Layer, sram: int) -> float:
    """The larger of each element once, and of what Chen et al. (2019) prove: 2 MACs / sqrt(R S), where a pixel takes
    part in R = taps / stride^2 outputs (in one at least)."""
    reuse = max(1.0, layer.kernel**2 / layer.stride**2)
    return max(compulsory(layer).total, 2 * layer.macs / math.sqrt(reuse * sram))


def parts(size: int) -> Elements:
    """The sizes that divide `size` into fewer pieces than the next smaller one does."""
    return np.array(sorted({-(-size // count) for count in range(1, size + 1)}), dtype=np.int64)


def read_by(layer: Layer, edges: Elements) -> tuple[Elements, Elements]:
    """For each size of a strip in lines: the lines read by the largest strip, and by all strips together.

    Columns are as lines: images and kernels are square.
    """
    most, total = [], []
    first = np.arange(layer.output) * layer.stride - layer.pad
    for edge in edges:
        begin = np.clip(first[::edge], 0, layer.size)
        last = first[np.minimum(np.arange(0, layer.output, edge) + edge, layer.output) - 1] + layer.kernel
        lines = np.clip(last, 0, layer.size) - begin
        if layer.kernel < layer.stride:  # lines between the windows are not read
            lines = np.minimum(edge, layer.output - np.arange(0, layer.output, edge)) * layer.kernel
        most.append(int(lines.max()))
        total.append(int(lines.sum()))
    return np.array(most, dtype=np.int64), np.array(total, dtype=np.int64)


def least_traffic(layer: Layer, sram: int) -> Traffic | None:
    """The best of all tilings, for a layer without groups; None if none fits."""
    x, w, y = layer.elements
    taps, depth, filters = layer.kernel**2, layer.channels, layer.filters
    edges = parts(layer.output)
    most, total = read_by(layer, edges)
    united = round(math.sqrt(x / depth))  # lines that are read
    channels = np.unique(np.minimum(-(-parts(depth) // CHANNELS) * CHANNELS, depth))
    shape = np.ix_(edges, edges, parts(filters), channels)  # lines, columns, filters and channels of a block
    n, k = shape[2], shape[3]
    pm = -(-layer.output // shape[0]) * -(-layer.output // shape[1])
    pn, pk = -(-filters // n), -(-depth // k)
    block = most[:, None, None, None] * most[None, :, None, None]  # pixels that a block reads
    all_blocks = total[:, None, None, None] * total[None, :, None, None] * depth  # halos read again
    rolling = united * total[None, :, None, None] * depth  # down a column of blocks, lines are kept
    sums = shape[0] * shape[1] * n
    once_k = np.where(pk == 1, rolling, all_blocks)
    x_block, x_deep, w_block, w_deep = block * k, block * depth, k * taps * n, depth * taps * n
    line = np.minimum(layer.kernel * most[None, :, None, None], block) * k  # of x, where filters stay for the block
    streamed = np.minimum(x_block + k * n, line + w_block)  # either x stays for all taps, or the filters for all pixels
    w_all = w * np.ones_like(n)
    cases = (  # what is held, what is read of x and of w, how often sums go to DRAM and back
        (streamed + sums, pn * once_k, pm * w, 0),  # nothing is kept across blocks
        (x_block + w_block + sums, pn * once_k, pm * w, 0),
        (x_block + w_deep + sums, pn * once_k, w, 0),  # filters stay for all pixels
        (line + w_deep + sums, pn * np.where(pk == 1, once_k, all_blocks), w, 0),
        (x_deep + k * n + sums, rolling, pm * w, 0),  # pixels stay for all filters
        (x_block + w_all + sums, pn * once_k, w, 0),  # all filters stay
        (x_deep + w_all + sums, rolling, w, 0),
        (x_block + w_block + sums, rolling, pm * w, pk - 1),  # channels outermost, sums spilled; then filters inside
        (x_block + k * taps * filters + sums, rolling, w, pk - 1),
        (x_block + w_block + sums, pn * rolling, w, pk - 1),  # or pixels inside
    )
    best: tuple[int, int, int] | None = None
    for held, of_x, of_w, spills in cases:
        read = of_x + of_w + spills * y
        written = y * (1 + spills)
        found = np.where(held <= sram, read + written, np.iinfo(np.int64).max)
        at = np.unravel_index(int(found.argmin()), found.shape)
        if held[at] <= sram and (best is None or found[at] < best[0]):
            read, written = np.broadcast_to(read, found.shape)[at], np.broadcast_to(written, found.shape)[at]
            best = int(found[at]), int(read), int(written)
    return None if best is None else Traffic(best[1], best[2])
