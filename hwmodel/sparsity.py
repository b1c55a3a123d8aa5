"""Structured sparsity: weights of which each block of M steps of k holds at most N that are not zero.

A machine with ``sparsity.pattern = "N:M"`` takes such weights compressed. Of a block it moves N values, each with
`metadata_bits` that say where in the block it belongs, and its array works through N steps of k instead of M:

    dataflow   the array works through   because
    ws         the values that are kept   a row of the array holds kept values, and picks their inputs by the metadata
    os         the values that are kept   so does each element, of the M inputs that pass it
    is         all of k                  the inputs stand in the array, whichever weights pass them; it saves no step

So there k of the array's formulas counts kept values (`hwmodel/array.py`). The other operand is read whole: which of it
is needed differs from column to column. All blocks count as N, also those with more zeros.

    kept(k) = N floor(k / M) + min(N, k mod M)

A tile is moved in whole blocks: of one that its edge cuts, both tiles take all. In DRAM kept values lie row behind row
with their metadata, where the dense tensor begins. In SRAM a compressed tile has the place of the dense one.

Values are not concerned: what a product is, is the dense product's, whose zeros add nothing. (An array that skips them
differs from it where an input is infinite or NaN, as 0 x inf is NaN; and where a sum of nothing but underflows is -0,
to which the dense product adds a +0. Neither is modelled: a run's bits do not depend on the machine.)

`engine_cpp/include/minisim/sparsity.hpp` has `kept` and `rectangles` once more, for the native event loop.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from minisim.hwmodel import isa, packing
from minisim.hwmodel.bursts import Rectangles

Column = npt.NDArray[np.int64]


class Kept(NamedTuple):
    """How a weight is compressed.

    Attributes:
        values, block: of each `block` steps of k so many values are kept.
        bits: of metadata for each of them.
        across: whether k runs across the columns of the tensor instead of down its rows.
    """

    values: int
    block: int
    bits: int
    across: bool

    def __str__(self) -> str:
        return f"{self.values}:{self.block} {'across' if self.across else 'down'}"

    def bytes(self, rows: int, cols: int, item: int) -> int:
        """Of a whole tensor of that many rows and columns of `item` bytes, compressed."""
        kept_rows, kept_cols = (rows, self.of(cols)) if self.across else (self.of(rows), cols)
        return kept_rows * (kept_cols * item + -(-kept_cols * self.bits // 8))

    def of(self, steps: int) -> int:
        """The values kept of so many steps of k, from the first on."""
        return int(kept(np.int64(steps), np.int64(self.values), np.int64(self.block)))


def kept(steps: npt.ArrayLike, values: npt.ArrayLike, block: npt.ArrayLike) -> Column:
    """The values kept of the first `steps` of k."""
    whole, rest = np.divmod(np.asarray(steps, dtype=np.int64), block)
    return np.asarray(whole * values + np.minimum(rest, values), dtype=np.int64)


class Spans(NamedTuple):
    """Of tiles of compressed tensors, as columns: the first kept step of each and how many there are."""

    first: Column
    number: Column


def _spans(schedule: isa.Schedule, tiles: isa.Table) -> Spans:
    """Of all blocks that the tiles have a step of. All of their tensors must be compressed."""
    x = schedule.tensors[tiles["tensor"]]
    across = x["across"] != 0
    begin = np.where(across, tiles["col"], tiles["row"]).astype(np.int64)
    end = begin + np.where(across, tiles["cols"], tiles["rows"])
    block, values = x["block"].astype(np.int64), x["keeps"].astype(np.int64)
    depth = np.where(across, x["cols"], x["rows"]).astype(np.int64)
    first = begin // block * values
    return Spans(first, kept(np.minimum(-(-end // block) * block, depth), values, block) - first)


def kept_steps(schedule: isa.Schedule, matmuls: isa.Table) -> Column:
    """The steps of k that the B of each matmul keeps; 0 where it is not compressed."""
    found = np.zeros(len(matmuls), dtype=np.int64)
    if np.any(schedule.tensors["keeps"]):
        mine = schedule.tensors["keeps"][schedule.tiles["tensor"][matmuls["b"]]] != 0
        found[mine] = _spans(schedule, schedule.tiles[matmuls["b"][mine]]).number
    return found


def kept_macs(schedule: isa.Schedule, matmuls: isa.Table) -> Column:
    """The multiply-accumulates of each matmul: those with values that are kept, whichever operand stands in the
    array."""
    kept = kept_steps(schedule, matmuls)
    return np.asarray(matmuls["m"].astype(np.int64) * np.where(kept > 0, kept, matmuls["k"]) * matmuls["n"])


def moved_bytes(schedule: isa.Schedule) -> Column:
    """The bytes that each tile has in DRAM, compressed, packed or neither, int64 of shape (len(tiles),)."""
    if not np.any(schedule.tensors["keeps"]) and not np.any(packing.is_packed(schedule.tensors)):
        return schedule.tile_bytes()
    found = rectangles(schedule)
    return np.asarray(found.row_bytes * found.rows)


def port_bytes(schedule: isa.Schedule) -> Column:
    """The bytes that each tile takes of the SRAM's ports, int64 of shape (len(tiles),): those that it has in DRAM, but
    for weights that the DMA has unpacked."""
    unpacked = packing.by_dma(schedule.tensors)[schedule.tiles["tensor"]]
    return np.where(unpacked, schedule.tile_bytes(), moved_bytes(schedule))


def rectangles(schedule: isa.Schedule, of: npt.NDArray[Any] | None = None) -> Rectangles:
    """Where each tile lies in DRAM, compressed, packed or neither; or each of those whose numbers are given."""
    tiles = schedule.tiles if of is None else schedule.tiles[of]
    tensors = schedule.tensors[tiles["tensor"]]
    item, pitch = isa.item_sizes()[tensors["dtype"]], tensors["pitch"].astype(np.int64)
    base = tensors["address"].astype(np.int64) + tiles["moved"]
    found = Rectangles(
        base + tiles["row"] * pitch + tiles["col"] * item,
        tiles["cols"] * item,
        tiles["rows"].astype(np.int64),
        pitch,
    )
    packed = packing.is_packed(tensors)
    if packed.any():
        _lay_blocks(found, packed, tiles[packed], tensors[packed])
    mine = tensors["keeps"] != 0
    if not mine.any():
        return found
    x, t, item = tensors[mine], tiles[mine], item[mine]
    across, bits, spans = x["across"] != 0, x["metadata_bits"].astype(np.int64), _spans(schedule, t)

    def size(cols: npt.ArrayLike) -> Column:
        """Bytes of so many values and their metadata."""
        cols = np.asarray(cols, dtype=np.int64)
        return np.asarray(cols * item + -(-cols * bits // 8))

    width = np.where(across, kept(x["cols"], x["keeps"].astype(np.int64), x["block"].astype(np.int64)), x["cols"])
    row, col = np.where(across, t["row"], spans.first), np.where(across, spans.first, t["col"])
    found.address[mine] = base[mine] + row * size(width) + col * item + col * bits // 8
    found.row_bytes[mine] = size(np.where(across, spans.number, t["cols"]))
    found.rows[mine] = np.where(across, t["rows"], spans.number)
    found.pitch[mine] = size(width)
    return found


def whole_tensors(schedule: isa.Schedule) -> Rectangles:
    """Where each tensor lies in DRAM as a whole, compressed, packed or neither."""
    tensors = schedule.tensors
    whole = np.zeros(len(tensors), dtype=isa.TILE_DTYPE)
    rows = np.where(tensors["indices"] > 0, tensors["choices"], tensors["rows"])  # of gathered ones the table's
    whole["tensor"], whole["rows"], whole["cols"] = np.arange(len(tensors)), rows, tensors["cols"]
    return rectangles(schedule.replace(tiles=whole))


def _lay_blocks(found: Rectangles, mine: npt.NDArray[np.bool_], tiles: isa.Table, tensors: isa.Table) -> None:
    """Put into `found` where the tiles of packed tensors lie: rectangles of blocks."""
    blocks, block, pitch = packing.blocks_of(tiles, tensors), tensors["block_bytes"].astype(np.int64), tensors["pitch"]
    base = tensors["address"].astype(np.int64) + tiles["moved"]
    found.address[mine] = base + blocks.row * pitch + blocks.col * block
    found.row_bytes[mine] = blocks.cols * block
    found.rows[mine] = blocks.rows
