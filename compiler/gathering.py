"""How an operand is gathered from the tiles of images: pieces and windows (`isa.py`) for a sliding kernel.

The rows of the operand are pixels of the output, `Cutting.height` of them; its columns are neighbours in k (`Step`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from minisim.compiler.builder import ProgramBuilder
from minisim.compiler.geometry import OUTSIDE, Geometry, Part, Step, parts
from minisim.compiler.program import Ids
from minisim.hwmodel import isa


class Cutting(NamedTuple):
    """Rows of a tile of the output, and rows and columns of a tile of the input."""

    height: int
    tile_height: int
    tile_width: int


Strips = tuple[tuple[Part, ...], ...]


@lru_cache(maxsize=4096)
def strips(geometry: Geometry, height: int, tile_height: int, tap: int) -> Strips:
    """For each tile of the output what it reads at `tap`."""
    apart, step = geometry.steps
    found = parts(geometry.source(tap), height, tile_height, step, apart)
    return tuple(tuple(each) for each in found)


def bytes_gathered(
    geometry: Geometry, cutting: Cutting, channels: int, first: int, depth: Sequence[Step], item: int
) -> Ids:
    """The bytes of the tiles that the operand of each tile of the output (row) and each step of k (column) is made of.

    Args:
        channels: of the images; those of the group begin at `first`.
        item: bytes of an element.
    """
    whole = -(-geometry.pixels_in // cutting.tile_height) - 1  # the last tile, which may be lower
    lowest = geometry.pixels_in - whole * cutting.tile_height
    columns = []
    for step in depth:
        size = np.zeros(-(-geometry.pixels_out // cutting.height), dtype=np.int64)
        for column, taps in taps_by_column(step, first, cutting.tile_width).items():
            width = min(cutting.tile_width, channels - column * cutting.tile_width)
            full, last = (isa.align(item * rows * width) for rows in (cutting.tile_height, lowest))
            read = _tiles_read(geometry, cutting, taps)
            size += [len(mine) * full - (full - last) * (whole in mine) for mine in read]
        columns.append(size)
    return np.array(columns, dtype=np.int64).T


Taps = tuple[tuple[int, int], ...]
"""Runs of taps, each from its first one to the one behind it."""


def taps_by_column(step: Step, first: int, width: int) -> dict[int, Taps]:
    """The taps that a step reads in each column of tiles; `first` is its group's channel."""
    found: dict[int, Taps] = {}
    for c0, c1, t0, t1 in step.spans:
        for column in range((first + c0) // width, (first + c1 - 1) // width + 1):
            found[column] = (*found.get(column, ()), (t0, t1))
    return found


@lru_cache(maxsize=4096)
def _tiles_read(geometry: Geometry, cutting: Cutting, taps: Taps) -> tuple[frozenset[int], ...]:
    """The rows of tiles that each tile of the output reads at these taps."""
    each = {tap for begin, end in taps for tap in range(begin, end)}
    by_tap = [strips(geometry, cutting.height, cutting.tile_height, tap) for tap in sorted(each)]
    return tuple(frozenset(part.tile for found in mine for part in found) for mine in zip(*by_tap, strict=True))


class _Column(NamedTuple):
    """Neighbours in k that lie in one column of tiles: of a tap, `width` channels from `first` of the tile on."""

    tap: int
    tile: int
    first: int
    width: int
    at: int


@dataclass(frozen=True)
class Gathering:
    """The operands of a convolution, numbered (group, tile of the output, step of k) in this order.

    Attributes:
        begins, counts: of each operand, its first piece and how many it has; 0 where all is padding.
        tiles, windows: of each piece, the tile and the first of its windows.
    """

    begins: Ids
    counts: Ids
    tiles: Ids
    windows: Ids

    @classmethod
    def of(
        cls,
        geometry: Geometry,
        cutting: Cutting,
        channels: int,
        groups: int,
        depth: Sequence[Step],
        program: ProgramBuilder,
        x: str,
    ) -> Gathering:
        """Of images `x`, each of whose `groups` has so many `channels`, in steps `depth` of k."""
        grid = program.grid(x, cutting.tile_height, cutting.tile_width)
        outputs, seen = _outputs(geometry, cutting.height, cutting.tile_height)
        known: dict[tuple[int, tuple[_Column, ...]], Ids] = {}
        origins, found = [], []
        for group in range(groups):
            columns = [_columns(step, group * channels, cutting.tile_width) for step in depth]
            for row, form in outputs:
                for first, cols in columns:
                    if (form, cols) not in known:
                        known[form, cols] = _pieces(seen[form], cols, program)
                    origins.append((row, first))
                    found.append(known[form, cols])
        each = np.array([len(pieces) for pieces in found], dtype=np.int64)
        tile_rows, tile_cols, windows = np.concatenate(found).T
        origin_rows, origin_cols = np.repeat(np.array(origins, dtype=np.int64), each, axis=0).T
        tiles = grid.ids(origin_rows + tile_rows, origin_cols + tile_cols)
        return cls(np.cumsum(each) - each, each, tiles, windows)

    def emit(self, which: Ids, program: ProgramBuilder) -> Ids:
        """Append the pieces of operands `which`; the first row of each in the table of pieces, or NONE."""
        first = np.full(len(which), isa.NONE, dtype=np.int64)
        counts = self.counts[which]
        there = counts > 0
        rows = np.repeat(self.begins[which] - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        first[there] = program.pieces(self.tiles[rows], self.windows[rows], counts[there])
        return first

    def loads(self, which: Ids) -> Iterator[tuple[Ids, npt.NDArray[np.bool_]]]:
        """The first tile of each of the operands `which`, then the second one and so on; and whether it has so many."""
        for i in range(int(self.counts[which].max(initial=0))):
            there = self.counts[which] > i
            yield self.tiles[np.where(there, self.begins[which] + i, 0)], there


@lru_cache(maxsize=256)
def _outputs(geometry: Geometry, height: int, tile_height: int) -> tuple[list[tuple[int, int]], list[Strips]]:
    """Of each tile of the output the lowest row of tiles that it reads, and which form what it reads has, counted from
    there; and the forms: what is read at each tap."""
    sources = np.stack([geometry.source(tap) for tap in range(geometry.taps)])
    apart, step = geometry.steps
    found: list[tuple[int, int]] = []
    numbers: dict[bytes, int] = {}
    forms: list[Strips] = []
    for first in range(0, geometry.pixels_out, height):
        of_tile = sources[:, first : first + height]
        is_read = of_tile != OUTSIDE
        lowest = int(of_tile[is_read].min(initial=geometry.pixels_in)) // tile_height if is_read.any() else 0
        counted = np.where(is_read, of_tile - lowest * tile_height, OUTSIDE)
        key = counted.tobytes()
        if key not in numbers:
            numbers[key] = len(forms)
            forms.append(tuple(tuple(parts(each, height, tile_height, step, apart)[0]) for each in counted))
        found.append((lowest, numbers[key]))
    return found, forms


def _columns(step: Step, first: int, width: int) -> tuple[int, tuple[_Column, ...]]:
    """The column of tiles in which a step begins, and its parts counted from there; `first` is its group's channel."""
    origin = (first + step.c0) // width
    found = []
    for unit in step.units():
        begin, end = first + unit.channel, first + unit.channel + unit.width
        for tile in range(begin // width, (end - 1) // width + 1):
            low, high = max(begin, tile * width), min(end, (tile + 1) * width)
            found.append(_Column(unit.tap, tile - origin, low - tile * width, high - low, unit.at + low - begin))
    return origin, tuple(found)


def _pieces(seen: Strips, columns: Sequence[_Column], program: ProgramBuilder) -> Ids:
    """The pieces of an operand, a row each: row and column of the tile, and the first of its windows."""
    runs: dict[tuple[int, int], list[tuple[int, ...]]] = {}
    for tap, tile, first, width, at in columns:
        for part in seen[tap]:
            window = (part.outer, part.inner, width, part.at_row, at, part.at_outer, part.at_inner,
                      part.from_row, first, part.from_outer, part.from_inner)  # fmt: skip
            runs.setdefault((part.tile, tile), []).append(window)
    found = [(row, col, program.windows(tuple(windows))) for (row, col), windows in runs.items()]
    return np.array(found, dtype=np.int64).reshape(-1, 3)
