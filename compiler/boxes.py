"""What a movement of data is made of: rectangles of elements that leave one buffer for another.

A *piece* is a rectangle of many dimensions: so many elements along each axis, which lie so far apart in the operand and
so far apart in the output. The machine moves tiles, of rows and columns. Any piece is made of them, because a packed
buffer may be seen as rows of any length that divides it: elements that lie P apart are a column of the view of P
columns. Rows that end up as columns are loaded as they lie, and turned in SRAM.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Elements = npt.NDArray[np.int64]


class Along(NamedTuple):
    """One axis of a piece: its elements, and how many elements lie from one to the next, here and there.

    A `source` of 0 repeats one element.
    """

    size: int
    source: int
    target: int


class Piece(NamedTuple):
    """Elements of an operand (or, of None, a number) and where they go.

    Attributes:
        operand: its place among the node's.
        source, target: the numbers of the first element, in the buffers of the operand and of the output.
    """

    operand: int | None
    source: int
    target: int
    axes: tuple[Along, ...]


class Boxes(NamedTuple):
    """Equal rectangles of an output, and where each comes from.

    Attributes:
        turned: whether its rows are the columns of what is loaded.
        rows, cols: of the output.
        source_rows, source_cols: of what is loaded; 1 where that is repeated.
        source_pitch, target_pitch: elements from row to row, there and in the output.
        sources, targets: the first element of each.
    """

    operand: int | None
    turned: bool
    rows: int
    cols: int
    source_rows: int
    source_cols: int
    source_pitch: int
    target_pitch: int
    sources: Elements
    targets: Elements


def merged(axes: Sequence[Along]) -> list[Along]:
    """The same elements by fewer axes: those that follow each other on both sides are one. The outermost is first."""
    found: list[Along] = []
    for axis in sorted((a for a in axes if a.size > 1), key=lambda a: -a.target):
        outer = found[-1] if found else None
        if outer and (outer.source, outer.target) == (axis.size * axis.source, axis.size * axis.target):
            found[-1] = Along(outer.size * axis.size, axis.source, axis.target)
        else:
            found.append(axis)
    return found


def boxes_of(piece: Piece, source_size: int, target_size: int) -> Boxes:
    """The rectangles that a piece is made of: as large as its axes allow.

    Args:
        source_size, target_size: the elements of the two buffers.
    """
    axes = merged(piece.axes)
    inner = next((a for a in axes if a.target == 1), Along(1, 0, 1))  # along the rows of the output
    others = [a for a in axes if a is not inner]
    turned = piece.operand is not None and inner.source > 1
    single = Along(1, 1 if turned else source_size, target_size)
    across = [a for a in others if a.source == 1] if turned else sorted(others, key=lambda a: -a.size)
    for axis in (*across, single):
        found = _boxes(piece, inner, axis, [a for a in others if a is not axis], turned)
        if _is_there(found.sources, found.source_rows, found.source_cols, found.source_pitch, source_size) and (
            _is_there(found.targets, found.rows, found.cols, found.target_pitch, target_size)
        ):
            return found
    one_by_one = Along(1, 0, 1)  # no view has these elements as a column: the last of them lies in half a row
    return _boxes(piece, one_by_one, Along(1, source_size, target_size), axes, turned=False)


def _boxes(piece: Piece, inner: Along, across: Along, slabs: Sequence[Along], turned: bool) -> Boxes:
    """Of rows along `inner`, one for each element of `across`, as many as `slabs` have elements."""
    sources, targets = np.array([piece.source]), np.array([piece.target])
    for axis in slabs:
        steps = np.arange(axis.size)
        sources = np.add.outer(sources, steps * axis.source).reshape(-1)
        targets = np.add.outer(targets, steps * axis.target).reshape(-1)
    if turned:
        shape = inner.size, across.size, inner.source
    else:
        shape = across.size if across.source else 1, inner.size if inner.source else 1, across.source or 1
        if shape[0] == 1:
            shape = (1, shape[1], 0)
    return Boxes(piece.operand, turned, across.size, inner.size, *shape, across.target, sources, targets)


def _is_there(starts: Elements, rows: int, cols: int, pitch: int, size: int) -> bool:
    """Whether rectangles that begin at `starts` are some of the view of a buffer of `size` elements as rows of `pitch`.
    A single row is in any buffer."""
    if rows == 1:
        return True
    last = starts // pitch + rows
    return bool(np.all(starts % pitch + cols <= pitch) and np.all(last <= size // pitch))


class Tiles(NamedTuple):
    """The tiles of boxes, a column for each of their numbers; rows and columns are those of the output."""

    sources: Elements
    targets: Elements
    rows: Elements
    cols: Elements


def edges_of(boxes: Boxes, m: int, n: int) -> tuple[int, int]:
    """The edges of tiles of about m x n elements: of fewer rows longer ones, which the DRAM likes."""
    height = min(m, boxes.rows)
    if boxes.turned:
        return height, min(n, boxes.cols)
    return height, min(boxes.cols, m * n // height)


def tiles_of(boxes: Boxes, m: int, n: int) -> Tiles:
    """The tiles that boxes are cut into, of at most m x n elements."""
    i, j = (x.reshape(-1) for x in np.mgrid[0 : boxes.rows : m, 0 : boxes.cols : n])
    down = 1 if boxes.turned else boxes.source_pitch if boxes.source_rows > 1 else 0
    along = boxes.source_pitch if boxes.turned else 1 if boxes.source_cols > 1 else 0
    shape = len(boxes.sources), len(i)
    return Tiles(
        np.add.outer(boxes.sources, i * down + j * along).reshape(-1),
        np.add.outer(boxes.targets, i * boxes.target_pitch + j).reshape(-1),
        np.broadcast_to(np.minimum(m, boxes.rows - i), shape).reshape(-1),
        np.broadcast_to(np.minimum(n, boxes.cols - j), shape).reshape(-1),
    )
