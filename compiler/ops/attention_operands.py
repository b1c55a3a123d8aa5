"""What the operations of attention read and write: tiles of each strip, or of each part of it, or numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from minisim.compiler.grids import Grid
from minisim.compiler.program import Ids
from minisim.hwmodel import isa

Tiles = npt.NDArray[np.uint32]
"""Tile ids as the tables have them."""


class Operand(NamedTuple):
    """What a vector operation reads or writes: for each strip a tile of `cols` columns; or a number."""

    tiles: Ids | None
    cols: int = 1
    number: float = 0.0


class Part(NamedTuple):
    """What a matmul reads or writes: for each part of a strip (each head of a stack) its tile, and the one in whose
    place that lies."""

    tiles: Ids
    places: Ids

    @classmethod
    def alone(cls, tiles: Ids) -> Part:
        """Tiles that lie by themselves."""
        return cls(tiles, tiles)


class Beside(NamedTuple):
    """Tiles of a tensor that is many matrices: from one to the next so many tiles down, or to the right."""

    grid: Grid
    down: int
    right: int

    def ids(self, matrix: Ids, row: Ids, col: int) -> Ids:
        return self.grid.ids(matrix * self.down + row, matrix * self.right + col)


def empty(dtype: np.dtype[np.void], operands: Sequence[str], count: int) -> isa.Table:
    """Rows without any operand."""
    table = np.zeros(count, dtype=dtype)
    for name in dtype.names or ():
        if name in operands or name.endswith(("_sram", "_pieces")):
            table[name] = isa.NONE
    return table


LOWEST = {
    isa.DType.FP32: float(np.finfo(np.float32).min),
    isa.DType.BF16: -float(2**128 - 2**120),
    isa.DType.FP16: float(np.finfo(np.float16).min),
}
"""The lowest number of each type of floats."""
