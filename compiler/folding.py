"""How the operand of a fold is put together: pieces and windows (`isa.py`) for a kernel that slides over images.

An operation folds `taps` neighbours of the kernel's taps, in the order of its lines, for a tile of the output. Its
operand has a row for each pixel of that tile and each of those taps, pixel by pixel; all its columns are of one
column of tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from minisim.compiler.builder import ProgramBuilder
from minisim.compiler.gathering import strips
from minisim.compiler.geometry import OUTSIDE, Geometry, Part, parts
from minisim.compiler.grids import Grid
from minisim.compiler.program import Ids
from minisim.compiler.tiling import PARTS
from minisim.hwmodel import isa


def taps_of_step(geometry: Geometry, step: int, taps: int) -> tuple[int, int]:
    """The first of the taps that step number `step` folds, of `taps` each, and the one behind its last."""
    return step * taps, min((step + 1) * taps, geometry.taps)


@lru_cache(maxsize=1024)
def tiles_read(geometry: Geometry, height: int, tile_height: int, taps: int) -> int:
    """How many rows of tiles one operation reads, at most: of `height` pixels of the output and `taps` taps."""
    strips, tiles = -(-geometry.pixels_out // height), -(-geometry.pixels_in // tile_height)
    at_once = max(1, ELEMENTS // geometry.pixels_out)
    found = [np.zeros(0, dtype=np.int64)]
    for first in range(0, geometry.taps, at_once):
        source = sources(geometry, first, min(first + at_once, geometry.taps))
        pixel, tap = np.nonzero(source != OUTSIDE)
        operand = (first + tap) // taps * strips + pixel // height
        found.append(np.unique(operand * tiles + source[pixel, tap] // tile_height))
    operands = np.unique(np.concatenate(found)) // tiles
    return int(np.unique(operands, return_counts=True)[1].max(initial=1))


ELEMENTS = 2**20
"""Pixels times taps that are looked at in one go."""


def sources(geometry: Geometry, first: int, end: int) -> npt.NDArray[np.int64]:
    """The pixel of the input that each pixel of the output (row) reads at taps [first, end) (columns); or OUTSIDE."""
    if geometry.transposed:
        return np.stack([geometry.source(tap) for tap in range(first, end)], axis=1)
    r, s = np.divmod(np.arange(first, end, dtype=np.int64), geometry.kernel[1])
    (lines, columns), (top, left, _, _) = geometry.output, geometry.pads
    y = np.arange(lines, dtype=np.int64)[:, None] * geometry.strides[0] + r * geometry.dilations[0] - top
    x = np.arange(columns, dtype=np.int64)[:, None] * geometry.strides[1] + s * geometry.dilations[1] - left
    inside = ((y >= 0) & (y < geometry.height))[:, None] & ((x >= 0) & (x < geometry.width))
    image = np.arange(geometry.images, dtype=np.int64)[:, None, None, None] * geometry.height * geometry.width
    found = np.where(inside, image + y[:, None] * geometry.width + x, OUTSIDE)
    return np.asarray(found.reshape(geometry.pixels_out, end - first))


def choose(
    geometry: Geometry, height: int, tile_height: int, needed: Callable[[int, int], int], room: int
) -> tuple[int, int]:
    """Pixels of the output and taps of one operation: `height` and all taps, or the most that leave room.

    Taps are dealt out by whole tiles of the input while they can be: then a tile is read by one operation alone.

    Args:
        needed: the bytes of SRAM for so many pixels and taps.
    """
    by_tile = [tile_height << i for i in range(geometry.taps.bit_length()) if tile_height << i < geometry.taps]
    fewer = [n for n in (tile_height >> i for i in range(1, tile_height.bit_length())) if n < geometry.taps]
    sizes = [geometry.taps, *reversed(by_tile), *fewer]
    heights = [height >> i for i in range(height.bit_length())]
    for part in PARTS:
        for h in heights:
            for taps in sizes:
                if needed(h, taps) <= part * room:
                    return h, taps
    return 1, sizes[-1]


def _parts(geometry: Geometry, height: int, tile_height: int, first: int, end: int) -> Iterator[list[Part]]:
    """For each tile of the output what its operand of taps [first, end) is made of: rows of tiles, and of the operand.

    The parts run along the longer of a line of the output and a line of the kernel.
    """
    taps = end - first
    if geometry.kernel[1] > geometry.output[1] and not geometry.transposed:
        source = sources(geometry, first, end).reshape(-1)
        yield from parts(source, height * taps, tile_height, geometry.dilations[1])
        return
    by_tap = [strips(geometry, height, tile_height, tap) for tap in range(first, end)]
    for tile in range(len(by_tap[0])):
        yield [
            part._replace(at_row=part.at_row * taps + i, at_outer=part.at_outer * taps, at_inner=part.at_inner * taps)
            for i, found in enumerate(by_tap)
            for part in found[tile]
        ]


@dataclass(frozen=True)
class Folding:
    """The operands of a fold, one for each tile (row) of the output and each step (column) of its taps.

    Attributes:
        counts: of each operand, how many pieces it has; 0 where all is padding. Shape (tiles, steps).
        rows: of each piece the row of its tile, shape (tiles, steps, most pieces).
        windows: likewise the first of its windows, for tiles of full width and for the last, which may be narrower.
    """

    counts: Ids
    rows: Ids
    windows: tuple[Ids, Ids]

    @classmethod
    def of(
        cls, geometry: Geometry, height: int, tile_height: int, taps: int, widths: tuple[int, int],
        program: ProgramBuilder,
    ) -> Folding:  # fmt: skip
        """Of tiles of `height` rows and of `tile_height` of the input; `widths`: columns of all tiles but the last, and
        of that."""
        found = _pieces(geometry, height, tile_height, taps)
        at_full, at_last = (
            np.array([program.windows(tuple(window(part, width) for part in form)) for form in found.forms])[found.form]
            if found.forms else found.form
            for width in widths
        )  # fmt: skip
        return cls(found.counts, found.rows, (at_full, at_last))

    def operands(
        self, m: Ids, step: Ids, n: Ids, last: npt.NDArray[np.bool_], grid: Grid, program: ProgramBuilder
    ) -> tuple[Ids, list[tuple[Ids, npt.NDArray[np.bool_]]]]:
        """Append the pieces of the operands of tiles m at these steps, of columns n of tiles of `grid`.

        Args:
            last: whether each n is the last column of tiles.

        Returns:
            of each operand its first row in the table of pieces, or NONE; and the tiles to load: the first one of each
            operand and whether it has one, then the second one, and so on.
        """
        counts = self.counts[m, step]
        there = np.arange(self.rows.shape[2]) < counts[:, None]
        tiles = grid.ids(self.rows[m, step], n[:, None])
        windows = np.where(last[:, None], self.windows[1][m, step], self.windows[0][m, step])
        first = np.full(len(m), isa.NONE, dtype=np.int64)
        if there.any():
            first[counts > 0] = program.pieces(tiles[there], windows[there], counts[counts > 0])
        return first, [(tiles[:, i], there[:, i]) for i in range(there.shape[1])]


class _Pieces(NamedTuple):
    """What the operands of a fold are made of, whatever its columns: equal ones are worked out once.

    Attributes:
        counts, rows: as in `Folding`.
        form: of each piece, which of the `forms` it has: the parts of a tile that it takes.
    """

    counts: Ids
    rows: Ids
    form: Ids
    forms: tuple[tuple[Part, ...], ...]


@lru_cache(maxsize=256)
def _pieces(geometry: Geometry, height: int, tile_height: int, taps: int) -> _Pieces:
    steps = range(-(-geometry.taps // taps))
    operands = [list(_parts(geometry, height, tile_height, *taps_of_step(geometry, i, taps))) for i in steps]
    pieces = [[by_tile(of_tile) for of_tile in step] for step in operands]
    counts = np.array([[len(operand) for operand in step] for step in pieces], dtype=np.int64).T
    rows, forms = (np.zeros((*counts.shape, counts.max(initial=0)), dtype=np.int64) for _ in range(2))
    known: dict[tuple[Part, ...], int] = {}
    for step, of_step in enumerate(pieces):
        for tile, operand in enumerate(of_step):
            for i, (row, found) in enumerate(operand.items()):
                rows[tile, step, i] = row
                form = tuple(part._replace(tile=0) for part in found)  # nothing depends on which tile it is
                forms[tile, step, i] = known.setdefault(form, len(known))
    return _Pieces(counts, rows, forms, tuple(known))


def by_tile(found: Sequence[Part]) -> dict[int, list[Part]]:
    """The parts by the row of the tile that they are of."""
    of_tile: dict[int, list[Part]] = {}
    for part in found:
        of_tile.setdefault(part.tile, []).append(part)
    return of_tile


def window(part: Part, cols: int) -> tuple[int, ...]:
    return (part.outer, part.inner, cols, part.at_row, 0, part.at_outer, part.at_inner,
            part.from_row, 0, part.from_outer, part.from_inner)  # fmt: skip
