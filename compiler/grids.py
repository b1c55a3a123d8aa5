"""Grids: how a tensor, or a part of it, is cut up into tiles."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from minisim.compiler.program import Ids


class Grid(NamedTuple):
    """The tiles that cut up a tensor: ids base + row * stride + col."""

    base: int
    stride: int

    def ids(self, row: npt.ArrayLike, col: npt.ArrayLike) -> Ids:
        return self.base + np.asarray(row, dtype=np.int64) * self.stride + np.asarray(col, dtype=np.int64)


class Rectangle(NamedTuple):
    """A part of a tensor, or all of it: its tensor's index, first row and column, and size."""

    tensor: int
    row: int
    col: int
    rows: int
    cols: int

    def is_cut_with(self, whole: Rectangle, height: int, width: int) -> bool:
        """Whether tiles of height x width that cut up the `whole` tensor from its corner cut up this part, too."""
        sides = (
            (self.row, self.rows, whole.rows, height),
            (self.col, self.cols, whole.cols, width),
        )
        return all(
            begin % edge == 0 and (begin + size == all_ or size % edge == 0) for begin, size, all_, edge in sides
        )


def edges_of(size: int, edge: int, slab: int = 0) -> Ids:
    """From 0 to `size` in steps of `edge`; if there is a `slab`, beginning anew after each so many."""
    if not slab:
        return np.append(np.arange(0, size, edge, dtype=np.int64), size)
    inside, slabs = np.arange(0, slab, edge, dtype=np.int64), np.arange(0, size, slab, dtype=np.int64)
    return np.append((slabs[:, None] + inside).reshape(-1), size)
