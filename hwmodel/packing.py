"""Weights of 4 bits in blocks: how they lie in memory, and who makes numbers of them.

A block is so many weights that follow each other along k, of one column of the matrix, and the scale that they share:

    ceil(block / 2) bytes   weights from 0 to 15, two in a byte, the first one in its lower half
    scale                   FP32, FP16 or BF16
    a byte                  the zero point, if blocks have one; if not, it is `MIDDLE`

    w = (q - zero) x scale  a whole number, times the scale in FP32, rounded to FP32; then to the tensor's type

In DRAM a packed tensor is a matrix of such blocks: (k / block, n), or (n, k / block) where k runs across its columns.
A tile is moved in whole blocks: of one that its edge cuts, both tiles take all. That is one rectangle, so scales cost
no transfer of their own. The machine's key `unpack.by` says who makes numbers of them:

    dma     on their way into SRAM, at `unpack.weights_per_cycle`; a tile lies there in the type that is multiplied
    array   as it takes its second operand; a tile lies in SRAM as in DRAM, and its ports carry as many bytes

The bits are the same. `unpack` of the engine (packing.hpp) does it; `blocks_of` and the bytes are there once more.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Table = npt.NDArray[np.void]
Column = npt.NDArray[np.int64]

UNPACKERS = ("none", "dma", "array")
"""The values of `unpack.by`, each at the code that a tensor's row has of it."""

MIDDLE = 8
"""The zero point of blocks that have none of their own."""

MOST = 2**16 - 64
"""Weights of the longest block: its bytes have a column of 16 bits."""


class Packed(NamedTuple):
    """How a weight is packed.

    Attributes:
        block: weights that share a scale.
        scales: the code of the scales' type (`isa.DType`), `scale_bytes` long.
        zeros: whether each block has a zero point.
        across: whether k runs across the columns of the tensor instead of down its rows.
        by: who unpacks it: "dma" or "array".
    """

    block: int
    scales: int
    scale_bytes: int
    zeros: bool
    across: bool
    by: str

    def __str__(self) -> str:
        return f"int4 / {self.block} {'across' if self.across else 'down'}, unpacked by the {self.by}"

    @property
    def block_bytes(self) -> int:
        return -(-self.block // 2) + self.scale_bytes + self.zeros

    @property
    def on_chip(self) -> bool:
        """Whether it is packed in SRAM, too."""
        return self.by == "array"

    def blocks(self, rows: int, cols: int) -> tuple[int, int]:
        """Rows and columns of the blocks of a whole tensor."""
        return (rows, -(-cols // self.block)) if self.across else (-(-rows // self.block), cols)

    def bytes(self, rows: int, cols: int) -> int:
        """Of a whole tensor in DRAM."""
        down, right = self.blocks(rows, cols)
        return down * right * self.block_bytes

    def tile_bytes(self, k: int, n: int) -> int:
        """The most that a tile of k x n weights has, wherever in its first block it begins."""
        count = k // self.block if k % self.block == 0 else (k + self.block - 2) // self.block + 1
        return count * n * self.block_bytes

    def put(self, row: np.void) -> None:
        """Write it into a row of the table of tensors."""
        row["packs"], row["block_bytes"], row["scales"] = self.block, self.block_bytes, self.scales
        row["zeros"], row["across"], row["unpacker"] = self.zeros, self.across, UNPACKERS.index(self.by)


class Blocks(NamedTuple):
    """Rectangles of blocks, as columns: where each begins, and how many rows and columns of blocks it has."""

    row: Column
    col: Column
    rows: Column
    cols: Column


def blocks_of(tiles: Table, tensors: Table) -> Blocks:
    """All blocks that each tile has a weight of.

    Args:
        tensors: of each tile the row of its tensor, which must be packed.
    """
    row, col, rows, cols = (tiles[name].astype(np.int64) for name in ("row", "col", "rows", "cols"))
    block, across = tensors["packs"].astype(np.int64), tensors["across"] != 0
    begin = np.where(across, col, row)
    end = begin + np.where(across, cols, rows)
    first = begin // block
    count = -(-end // block) - first
    return Blocks(
        np.where(across, row, first), np.where(across, first, col),
        np.where(across, rows, count), np.where(across, count, cols),
    )  # fmt: skip


def is_packed(tensors: Table) -> npt.NDArray[np.bool_]:
    return np.asarray(tensors["packs"] != 0)


def on_chip(tensors: Table) -> npt.NDArray[np.bool_]:
    """Which tensors are packed in SRAM, too."""
    return np.asarray(is_packed(tensors) & (tensors["unpacker"] == UNPACKERS.index("array")))


def by_dma(tensors: Table) -> npt.NDArray[np.bool_]:
    """Of which tensors the DMA unpacks what it loads."""
    return np.asarray(is_packed(tensors) & (tensors["unpacker"] == UNPACKERS.index("dma")))


def sram_bytes(tiles: Table, tensors: Table, item: npt.NDArray[Any]) -> Column:
    """The bytes that each tile takes in SRAM.

    Args:
        tensors, item: of each tile the row of its tensor, and the bytes of an element of its type.
    """
    found = np.asarray(tiles["rows"].astype(np.int64) * tiles["cols"] * item, dtype=np.int64)
    mine = on_chip(tensors)
    if mine.any():
        blocks = blocks_of(tiles[mine], tensors[mine])
        found[mine] = blocks.rows * blocks.cols * tensors["block_bytes"][mine]
    return found
