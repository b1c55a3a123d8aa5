"""The instruction set: what the compiler emits, the event model times and the engine executes.

A `Schedule` is a program for one machine. A million operations is normal, so it is columns: numpy
structured arrays which the C++ engine takes as they are (the field offsets are asserted on both sides).

    Schedule  = stream, transfers, matmuls, vectors      operations, in program order
              + tiles, tensors, layers                   what the operations speak about
              + pieces, windows                          operands that are put together out of parts of tiles
              + convolutions                             what such operands of matmuls mean
              + syncs                                    what cores wait for of each other
    stream    = opcode, queue, core, layer, row, wait[4], sync    `row` indexes the opcode's operand table
    transfers = LOAD and STORE: one tile between DRAM and SRAM
    matmuls   = one EXECUTE: sums (+)= A x B, and after the last step the epilogue
    vectors   = one operation of the vector unit: elementwise, a reduction of rows, or a fold of windows

**Queues.** Each queue starts its operations in order and retires them in order; the queues run beside
each other. Order between queues is explicit: operation `i` may start once, for every queue `q`,
`wait[q]` operations of `q` have retired. No address is compared at run time.

**Cores.** Each core has its own queues, units and SRAM; all share one DRAM. `wait` counts the operations of the
operation's own core. What it needs of others is in `syncs`: `sync` is `NONE`, or the first row of a run of them
(`more`: the next row belongs to it, too), and each says how many operations of which queue of which core must
have retired. An operation waits only for those before it in the program, so no schedule that verifies can lock up.

**Tiles and versions.** A tile is a rectangle of a DRAM tensor. Its content has a version: 0 for data
that the user supplied, and plus one for each operation that writes it (each accumulation step of a
matmul). `final` is the version at which it is complete; it is 0 for a tile that no operation writes (of
an input or weight, or another cut of an intermediate). Operands name tile and version, so the engine can
tell not only *where* an operation reads, but whether what lies there is what the program means.

In SRAM a tile is dense: row pitch = cols x item size. In DRAM its rows are `pitch` bytes apart. Weights of 4 bits lie
in blocks (packing.py), whose rows are `pitch` bytes apart, and in SRAM perhaps, too.

**Stacks.** A tile may lie in another one, its stack, as whole rows of it (`stack`): a matmul's a, c or residual may
be such a tile, and so many matmuls fill, or read, what is one operand of a vector operation. All tiles of a stack have
equally many rows. What moves, and has versions, is the stack: its tiles are made from the first to the last, so the
version that a write finds is that of its own step behind all writes of the tiles above, and the stack's `final` counts
the writes of all. A tile in a stack is read once the stack is complete.

**Pages.** The rows of a state may lie in pages of so many (`page`), each anywhere in DRAM; `moved` says how far. What
is loaded or stored lies in one page: a tile of several is a stack of these parts, which are transfers of their own, in
order, and there once the last one is. They follow each other in `tiles`; the first and the last may have fewer rows.

**Gathers.** A tensor may be rows of another one, its table, that indices say at run time (`indices`, `choices`). It is
a view of the table's buffer, and each of its rows is a page by itself: element i of the indices, an INT32 column, says
which row of the table row i is; from the last one on if it is negative. Such a row is only loaded, never stored. The
DMA reads its index in SRAM, out of the tile `list` of the transfer, which is the indices of all rows of its stack: so
the load waits until that tile is there. Whatever the index, the whole table counts as read. The engine takes the index
that it finds; `moved` is where the row lies for the indices that the schedule is timed with, which whoever times it
puts there (compiler/lookups.py), so equal schedules have equal ones, and equal cycles.

**Types.** A matmul's `dtype` is that of A; which types B may have beside it, and what the sums are, is in `PAIRS`.
Without `acc` the sums live in C, step by step, so C has their type (a single step rounds at once, so there C may be
narrower). With `acc`, a tile of another tensor, every step but the last leaves its sums there; the last one reads
them and writes C, once. A matmul of

    FP32  one chain of fused multiply-adds, then bias, residual and activation in fp32; all of them FP32
    BF16, FP16  A and B widened, which is exact; as FP32 from there on; bias and residual of this type or FP32; C
          FP32, or of this type: rounded once, at the end
    INT8, UINT8, INT16  exact sums that wrap around in int32; bias INT32; relu or nothing; C INT32, or INT8 or UINT8:
          saturate(round(float32(sum) x scale)), in fp32. No residual, no sigmoid

Which operations the vector unit has, and on which types, is in `vector_ops.py`. Their operands have one type, but for
conditions, which are BOOL, as is what a comparison makes. COPY and TRANSPOSE move the bits of any type. On BF16 and
FP16 all others are those of FP32 with one rounding at the end; on integers they wrap around, and convert by CAST,
RESCALE, QUANTIZE, DEQUANTIZE and REQUANTIZE (`integers.hpp` of the engine says what each does). All rounding is to
nearest, ties to even. A number among the operands is part of the operation: an immediate, in FP32, which for an integer
must have the very value.

**Pieces.** A matmul may read an A that is no tile: a and a_sram are NONE then, and `a_pieces` is the first row of a run
in `pieces` (`more`: the next row belongs to it, too), or NONE if there is none. A piece is a tile in SRAM and a run of
windows. A window takes outer x inner rows of `cols` elements out of the tile and says where they lie in A:

    A[at_row + i at_outer + j at_inner, at_col ...] = tile[from_row + i from_outer + j from_inner, from_col ...]

Where no window lies, A is +0; where several do, the last one counts. So the address generator of the array makes the
operand of a convolution out of its input: a window for each tap, none for the padding. The order of k is that of A's
columns; the array takes them in `taps` equal parts (1: as a whole), unless it packs them (`matrix.packs_taps`).

**Convolutions.** A window may lie in its tile and in A, and yet take another pixel than is meant. So a schedule says of
each convolution what it is: a row of `convolutions` has the parts of tensors that are its input, its filters and its
output, and its geometry. From that the engine derives the A of every matmul that writes a part of the output, element
by element, and refuses any other. The order of k is (channel div `block`, tap, channel mod `block`). A transposed one
reads pixel (y + pad - tap * dilation) / stride for pixel y of the output, and none where that is no whole number.
Folds are told in the same table, each channel a group of its own; and each cut of their chains, which has the first
`taps` of the kernel's taps. Images that a fold puts together out of several have a row for each of these.

**Folds.** A fold of the vector unit makes each of its `rows` x `cols` elements out of `taps` elements, one chain in
their order. They are an operand of (rows taps, cols), whose row i taps + t is tap t of row i, and which is made of
pieces (`src0_pieces`; src0 and src0_sram are NONE). FOLD_MAX takes the greatest: NaN if any is, +0 above -0, as MAX;
it begins with -inf, and so is an element where no window lies (of an integer: its least). FOLD_SUM adds to +0, and
FOLD_FMA adds the products with row t of src1, (taps, cols), to +0, each with one rounding; there an element where no
window lies is +0, and multiplied as others are. Then come a bias, the row src2 (1, cols) of a FOLD_FMA, and
`activation`, as in a matmul's epilogue. A chain may be cut: `acc` (rows, cols) is what an earlier fold has left, and
this one goes on from it. Of a chain of floats that is FP32, in acc and in dst, so that it is rounded once, where it
ends; of integers it has their type.

**Rows in parts.** A reduction goes through REDUCE_WIDTH partial results, element i to number i mod REDUCE_WIDTH.
Rows of floats may be cut into parts, all but the last of them multiples of that long: a reduction whose dst is (rows,
REDUCE_WIDTH), FP32, leaves the partial results, and one with `acc`, a tile like that, goes on from them.

**Accumulator memory.** SRAM addresses are one space: [0, sram_bytes) is the scratchpad, and the
`accumulator_bytes` behind it are a memory of their own, if the machine has one. No tile lies in both.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import IntEnum
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from minisim.errors import OutputError, ScheduleError, described, one_line, position, printable, shown, whole
from minisim.hwmodel import packing
from minisim.hwmodel.vector_ops import FOLDS, INTEGERS, REDUCTIONS
from minisim.hwmodel.vector_ops import VectorOp as VectorOp  # a part of the instruction set: others import it from here

Table = npt.NDArray[np.void]

ALIGNMENT = 64
"""The bytes of which every SRAM address and DRAM base is a multiple: one DRAM burst."""

NONE = 0xFFFFFFFF
"""The tile id, or SRAM address, of an operand that an operation does not have."""

REDUCE_WIDTH = 32
"""The partial results of a reduction: part of its definition (kernels.hpp), another number gives other bits."""

FORMAT_VERSION = 10
"""The version of the file that `Schedule.save` writes."""


class Opcode(IntEnum):
    LOAD = 0
    STORE = 1
    EXECUTE = 2
    VECTOR = 3


class Queue(IntEnum):
    """The in-order queues, one per unit."""

    LOAD = 0
    STORE = 1
    MATRIX = 2
    VECTOR = 3


QUEUE_OF = {
    Opcode.LOAD: Queue.LOAD,
    Opcode.STORE: Queue.STORE,
    Opcode.EXECUTE: Queue.MATRIX,
    Opcode.VECTOR: Queue.VECTOR,
}


class DType(IntEnum):
    """The type of a tensor's elements. BF16 is the upper half of an fp32, FP16 IEEE's binary16; BOOL is a byte, 0 or
    1."""

    FP32 = 0
    BF16 = 1
    INT8 = 2
    INT32 = 3
    INT16 = 4
    BOOL = 5
    FP16 = 6
    UINT8 = 7
    FP8E4M3 = 8
    FP8E5M2 = 9


NUMPY_DTYPE: dict[DType, np.dtype[Any]] = {
    DType.FP32: np.dtype(np.float32),
    DType.BF16: np.dtype(np.uint16),  # numpy has none: the bit patterns
    DType.INT8: np.dtype(np.int8),
    DType.INT32: np.dtype(np.int32),
    DType.INT16: np.dtype(np.int16),
    DType.BOOL: np.dtype(np.bool_),
    DType.FP16: np.dtype(np.float16),
    DType.UINT8: np.dtype(np.uint8),
    DType.FP8E4M3: np.dtype(np.uint8),  # likewise
    DType.FP8E5M2: np.dtype(np.uint8),
}

ITEMSIZE = {dtype: held_as.itemsize for dtype, held_as in NUMPY_DTYPE.items()}
"""The bytes of an element."""

PAIRS = {
    (DType.FP32, DType.FP32): DType.FP32,
    (DType.BF16, DType.BF16): DType.FP32,
    (DType.FP16, DType.FP16): DType.FP32,
    (DType.INT8, DType.INT8): DType.INT32,
    (DType.INT8, DType.UINT8): DType.INT32,
    (DType.UINT8, DType.INT8): DType.INT32,
    (DType.UINT8, DType.UINT8): DType.INT32,
    (DType.INT16, DType.INT8): DType.INT32,  # wide activations, narrow weights
}
"""The types of A and B that a matmul multiplies, each pair with the type of its sums; the engine has the same table."""

ACCUMULATOR = {a: sums for (a, _), sums in PAIRS.items()}
"""The types of A, each with that of its sums, which B does not change."""

SECOND_SIZE = {a: ITEMSIZE[b] for a, b in PAIRS}
"""The bytes of an element of B by the type of A: all types that it may have are of one size."""

assert all(PAIRS[pair] == ACCUMULATOR[pair[0]] and ITEMSIZE[pair[1]] == SECOND_SIZE[pair[0]] for pair in PAIRS)


class Role(IntEnum):
    """What a DRAM tensor is to the graph.

    A STATE is what programs share that run one after the other: a cache of keys, of which the programs before have left
    the first rows, and this one appends some. Rows that are neither given nor written yet hold nothing: whatever an
    older program has left there, reading it is a hazard.
    """

    INPUT = 0
    WEIGHT = 1
    INTERMEDIATE = 2
    OUTPUT = 3
    STATE = 4


class Activation(IntEnum):
    """The last stage of a matmul's epilogue."""

    NONE = 0
    RELU = 1
    SIGMOID = 2


STREAM_DTYPE = np.dtype(
    [
        ("opcode", "u1"),
        ("queue", "u1"),
        ("core", "u2"),
        ("layer", "u4"),
        ("row", "u4"),
        ("wait", "u4", (len(Queue),)),  # of the operation's own core
        ("sync", "u4"),  # NONE, or the first row of its run in `syncs`
    ]
)

SYNC_DTYPE = np.dtype(
    [
        ("core", "u2"),
        ("queue", "u1"),
        ("more", "u1"),  # 1: the next row belongs to the same run
        ("count", "u4"),
    ]
)

TRANSFER_DTYPE = np.dtype(
    [
        ("tile", "u4"),
        ("version", "u4"),  # of the content moved: below tiles.final for a spilled partial sum
        ("sram", "u4"),
        ("list", "u4"),  # of a row that is gathered: the tile of the indices that say which; else NONE
        ("list_sram", "u4"),
    ]
)

MATMUL_DTYPE = np.dtype(
    [
        ("a", "u4"),  # tile ids
        ("b", "u4"),
        ("c", "u4"),
        ("bias", "u4"),  # (1, n) or NONE
        ("residual", "u4"),  # (m, n) or NONE
        ("acc", "u4"),  # (m, n), the sums between steps; its `final` is the number of steps. Or NONE: they live in c
        ("a_sram", "u4"),  # byte addresses; NONE also for what this step does not touch (see `touches`)
        ("b_sram", "u4"),
        ("c_sram", "u4"),
        ("bias_sram", "u4"),
        ("residual_sram", "u4"),
        ("acc_sram", "u4"),
        ("a_pieces", "u4"),  # where a is NONE: the first row of a run in `pieces`, or NONE if A is +0 everywhere
        ("m", "u4"),
        ("k", "u4"),
        ("n", "u4"),
        ("taps", "u4"),  # equal parts of k that lie apart in the memory of A: 1 without pieces
        ("step", "u4"),  # the version of the sums before: 0 clears the accumulator
        ("scale", "f4"),  # of a requantisation: positive if c is INT8 or UINT8 and this is the last step, else 0
        ("last", "u1"),  # the last step applies the epilogue; others have none (bias, residual NONE, activation 0)
        ("activation", "u1"),
        ("a_transposed", "u1"),  # the tile of A is stored (k, m)
        ("b_transposed", "u1"),  # the tile of B is stored (n, k)
        ("dtype", "u1"),  # of a; of b one that `PAIRS` has beside it
        ("reserved", "u1", (3,)),
    ]
)

VECTOR_DTYPE = np.dtype(
    [
        ("op", "u1"),
        ("dtype", "u1"),  # of its sources of the kind x
        ("activation", "u1"),  # of a fold, after its last tap and the bias; else 0
        ("reserved", "u1"),
        ("src0", "u4"),  # tile ids; NONE: a number, imm0, or no such source; one is a tile, but of a COPY or a fold
        ("src1", "u4"),
        ("src2", "u4"),
        ("acc", "u4"),  # what an earlier fold, or reduction of the same rows, has left: this one goes on from there
        ("dst", "u4"),
        ("src0_sram", "u4"),
        ("src1_sram", "u4"),
        ("src2_sram", "u4"),
        ("acc_sram", "u4"),
        ("dst_sram", "u4"),
        ("src0_pieces", "u4"),  # of a fold: the first row of a run in `pieces`, or NONE if all is padding; else NONE
        ("rows", "u4"),  # of dst; a source with 1 row (or column) is repeated along it
        (
            "cols",
            "u4",
        ),  # 1 for a reduction, whose src0 has `rows` rows of any length; or REDUCE_WIDTH (see Rows in parts)
        ("taps", "u4"),  # of a fold: how many elements each of dst is made of; else 0
        ("imm0", "f4"),  # 0 where src0 is a tile, or is not there
        ("imm1", "f4"),
        ("imm2", "f4"),
    ]
)

PIECE_DTYPE = np.dtype(
    [
        ("tile", "u4"),
        ("sram", "u4"),
        ("window", "u4"),  # the first row of its run in `windows`, which operations share
        ("more", "u4"),  # 1: the next row belongs to the same operand
    ]
)

WINDOW_DTYPE = np.dtype(
    [
        ("outer", "u4"),  # rows of the window: outer x inner of them, each of `cols` elements
        ("inner", "u4"),
        ("cols", "u4"),
        ("at_row", "u4"),  # of the operand: the first row and column, and the steps in rows
        ("at_col", "u4"),
        ("at_outer", "u4"),
        ("at_inner", "u4"),
        ("from_row", "u4"),  # of the tile: likewise
        ("from_col", "u4"),
        ("from_outer", "u4"),
        ("from_inner", "u4"),
        ("more", "u4"),  # 1: the next row belongs to the same piece
    ]
)

CONVOLUTION_DTYPE = np.dtype(
    [
        ("x", "u4"),  # tensors: images, a pixel a row; filters, in the order of k; images, a filter a column
        ("filters", "u4"),  # NONE: a fold that multiplies with nothing
        ("y", "u4"),
        ("x_row", "u4"),  # where its part of each begins
        ("x_col", "u4"),
        ("filters_row", "u4"),
        ("filters_col", "u4"),
        ("y_row", "u4"),
        ("y_col", "u4"),
        ("images", "u4"),
        ("height", "u4"),
        ("width", "u4"),
        ("output_lines", "u4"),
        ("output_columns", "u4"),
        ("kernel_lines", "u4"),
        ("kernel_columns", "u4"),
        ("stride_lines", "u4"),
        ("stride_columns", "u4"),
        ("dilation_lines", "u4"),
        ("dilation_columns", "u4"),
        ("pad_top", "i4"),  # of a transposed convolution it may be below 0: pixels before the first that reads one
        ("pad_left", "i4"),
        ("channels", "u4"),  # of each group
        ("groups", "u4"),
        ("filters_each", "u4"),  # of each group
        ("block", "u4"),  # channels that the order of k keeps together
        ("transposed", "u4"),  # 1: the strides are the output's, and its pads are cut off of it
        ("taps", "u4"),  # of the kernel, from the first on, that y is made of; fewer in what a fold leaves for the next
        ("along_channels", "u4"),  # 1: the kernel is one of columns and slides over the channels of each pixel
    ]
)

MATMUL_OPERANDS = ("a", "b", "c", "bias", "residual", "acc")
VECTOR_SOURCES = ("src0", "src1", "src2")
VECTOR_OPERANDS = (*VECTOR_SOURCES, "acc", "dst")

TARGETS = {Opcode.LOAD: ("transfers", "tile"), Opcode.STORE: ("transfers", "tile"), Opcode.EXECUTE: ("matmuls", "c"),
           Opcode.VECTOR: ("vectors", "dst")}  # fmt: skip
"""Of each opcode the table, and the column with the tile that an operation moves or writes."""

TILE_DTYPE = np.dtype(
    [
        ("tensor", "u4"),
        ("row", "u4"),  # origin, in elements
        ("col", "u4"),
        ("rows", "u4"),
        ("cols", "u4"),
        ("final", "u4"),  # the version that is complete; 0 for inputs and weights
        ("stack", "u4"),  # 0: it lies by itself; else in the tile so many before it in this table, as rows of that one
        ("part", "u4"),  # tiles of its stack before it
        ("moved", "i8"),  # bytes of DRAM from where its rows would lie without pages to where its page, or row, is
    ]
)

TENSOR_DTYPE = np.dtype(
    [
        ("address", "u8"),  # of element (0, 0) in DRAM; views of one buffer share it; all ends at or below 2^62
        ("rows", "u4"),
        ("cols", "u4"),
        ("pitch", "u4"),  # bytes from row to row
        ("storage", "u4"),  # the buffer it lies in: views (reshapes) share one
        ("dtype", "u1"),
        ("role", "u1"),
        ("keeps", "u1"),  # of a compressed weight (sparsity.py): values kept of each block of k; else 0
        ("block", "u1"),
        ("metadata_bits", "u1"),
        ("across", "u1"),  # of that, or of a packed one: 1: k runs across the columns
        ("page", "u2"),  # of a state whose rows lie in pages: how many in each; else 0
        ("packs", "u2"),  # of a packed weight (packing.py): weights of each block; else 0
        ("block_bytes", "u2"),
        ("scales", "u1"),  # the type of its scales
        ("zeros", "u1"),  # 1: each block has a zero point
        ("unpacker", "u1"),  # who unpacks it (packing.UNPACKERS)
        ("reserved", "u1"),
        ("indices", "u4"),  # of gathered rows: tensors in this table from that of their indices to it; else 0
        ("choices", "u4"),  # rows of the table that they are taken from, which lies at `address`; else 0
    ]
)

LAYER_DTYPE = np.dtype(
    [
        ("macs", "u8"),
        ("uops", "u8"),  # after lowering
        ("loads", "u8"),  # that lowering asked for
        ("loads_eliminated", "u8"),
        ("sram_peak", "u8"),  # bytes of tiles live at once, in program order
        ("slice", "u4"),  # the first of the layers whose operations are walked together with its own
        ("reserved", "u4"),
    ]
)

TABLES: dict[str, np.dtype[Any]] = {
    "stream": STREAM_DTYPE,
    "transfers": TRANSFER_DTYPE,
    "matmuls": MATMUL_DTYPE,
    "vectors": VECTOR_DTYPE,
    "tiles": TILE_DTYPE,
    "tensors": TENSOR_DTYPE,
    "layers": LAYER_DTYPE,
    "syncs": SYNC_DTYPE,
    "pieces": PIECE_DTYPE,
    "windows": WINDOW_DTYPE,
    "convolutions": CONVOLUTION_DTYPE,
}


def _no_rows(name: str) -> Callable[[], Table]:
    return lambda: np.zeros(0, dtype=TABLES[name])


@dataclass(frozen=True)
class Schedule:
    """A program for one machine: the only thing that timing and numerics share.

    The arrays are read-only once the schedule is built; `replace` makes a changed copy.

    Attributes:
        stream ... layers: tables of the dtypes above; `layers` is indexed by `stream["layer"]`.
        tensor_names, layer_names, layer_ops: one string per row of `tensors` and `layers`.
        sram_bytes: the size of each core's scratchpad it was compiled for.
        cores: how many it was compiled for.
        sram_final_live_bytes: bytes of tiles still held after the last operation (0 if nothing leaks).
        accumulator_bytes: the size of the accumulator memory behind each scratchpad; 0 if there is none.
    """

    stream: Table
    transfers: Table
    matmuls: Table
    vectors: Table
    tiles: Table
    tensors: Table
    layers: Table
    tensor_names: tuple[str, ...]
    layer_names: tuple[str, ...]
    layer_ops: tuple[str, ...]
    sram_bytes: int
    sram_final_live_bytes: int = 0
    model_name: str = "model"
    accumulator_bytes: int = 0
    syncs: Table = field(default_factory=_no_rows("syncs"))
    cores: int = 1
    pieces: Table = field(default_factory=_no_rows("pieces"))
    windows: Table = field(default_factory=_no_rows("windows"))
    convolutions: Table = field(default_factory=_no_rows("convolutions"))

    def __post_init__(self) -> None:
        for name, dtype in TABLES.items():
            table = getattr(self, name)
            if table.dtype != dtype:
                raise ScheduleError(f"table {name!r} must have dtype {dtype}, not {table.dtype}")
            table.flags.writeable = False

    def __len__(self) -> int:
        return len(self.stream)

    def __repr__(self) -> str:
        n = self.counts()
        kinds = ", ".join(f"{n[op]} {op.name.lower()}s" for op in Opcode)
        return f"<Schedule {self.model_name}: {len(self)} operations ({kinds})>"

    def verify(self) -> None:
        """Check what timing and execution rely on.

        Raises:
            ScheduleError: a reference is out of range, an operand lies outside the SRAM or is not
                aligned, or an operation waits (or syncs) for more than its predecessors in program order.
        """
        opcode, row = self.stream["opcode"], self.stream["row"]
        tables = (self.transfers, self.transfers, self.matmuls, self.vectors)
        for code, table in zip(Opcode, tables, strict=True):
            if np.any(row[opcode == code] >= len(table)):
                raise ScheduleError(f"{code.name} operation refers beyond its operand table")
        if np.any(self.tiles["stack"] > np.arange(len(self.tiles))) or np.any(self.tiles["stack"][self.held()]):
            raise ScheduleError("a stack of tiles must be a tile before them, by itself")
        place = self.offsets(), self.tile_bytes()[self.held()]
        for table, names in (
            (self.transfers, ("", "list")),
            (self.matmuls, MATMUL_OPERANDS),
            (self.vectors, VECTOR_OPERANDS),
        ):
            for name in names:
                self._verify_operand(table, name, *place)
        self._verify_operand(self.pieces, "", *place)
        verify_pieces(self)
        if np.any(self.stream["core"] >= self.cores):
            raise ScheduleError(f"an operation belongs to a core beyond the {self.cores} there are")
        lanes = self.lane_ops()
        for core in range(self.cores):
            mine = np.sort(np.concatenate(lanes[core * len(Queue) : (core + 1) * len(Queue)]))
            for queue in Queue:
                earlier = np.searchsorted(lanes[core * len(Queue) + queue], mine)
                if np.any(wrong := self.stream["wait"][mine, queue] > earlier):
                    i = int(mine[np.argmax(wrong)])
                    raise ScheduleError(f"operation {i} waits for more {queue.name} operations than come before it")
        self._verify_syncs(lanes)

    def _verify_syncs(self, lanes: list[npt.NDArray[np.intp]]) -> None:
        """Check all runs in step: the first rows of all, then the second ones, and so on."""
        ops = np.flatnonzero(self.stream["sync"] != NONE)
        rows = self.stream["sync"][ops].astype(np.int64)
        while len(ops):
            if np.any(rows >= len(self.syncs)):
                raise ScheduleError(f"operation {ops[np.argmax(rows >= len(self.syncs))]} refers beyond the syncs")
            x = self.syncs[rows]
            if np.any(x["core"] >= self.cores) or np.any(x["queue"] >= len(Queue)) or np.any(x["more"] > 1):
                raise ScheduleError("a sync names a core or queue that does not exist, or its `more` is not 0 or 1")
            lane = x["core"].astype(np.int64) * len(Queue) + x["queue"]
            for of in np.unique(lane).tolist():
                wrong = (lane == of) & (x["count"] > np.searchsorted(lanes[of], ops))
                if np.any(wrong):
                    text = f"{Queue(of % len(Queue)).name} operations of core {of // len(Queue)}"
                    raise ScheduleError(f"operation {ops[np.argmax(wrong)]} waits for more {text} than come before it")
            more = x["more"] != 0
            ops, rows = ops[more], rows[more] + 1

    def lane_ops(self) -> list[npt.NDArray[np.intp]]:
        """The operations of each queue of each core, in program order; index core * 4 + queue."""
        lane = self.lanes()
        order = np.argsort(lane, kind="stable")
        edges = np.searchsorted(lane[order], np.arange(self.cores * len(Queue) + 1))
        return [order[begin:end] for begin, end in pairwise(edges.tolist())]

    def lanes(self) -> npt.NDArray[np.int64]:
        """The lane of each operation, which of all cores' queues it is in: core * 4 + queue."""
        return np.asarray(self.stream["core"].astype(np.int64) * len(Queue) + self.stream["queue"])

    def syncs_of(self, op: int) -> Iterator[tuple[int, int]]:
        """What operation `op` waits for of other cores: lane (core * 4 + queue) and count."""
        row = int(self.stream["sync"][op])
        while row != NONE:
            core, queue, more, count = self.syncs[row].tolist()
            yield core * len(Queue) + queue, count
            row = row + 1 if more else NONE

    def _verify_operand(
        self, table: Table, name: str, offsets: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]
    ) -> None:
        """Check that each row's tile exists, and lies aligned in the scratchpad or in the accumulator memory.

        Args:
            offsets, sizes: of each tile, the bytes of its stack before it, and of its stack.
        """
        label = name or "tile"
        tile, address = table[label], table[f"{name}_sram".strip("_")].astype(np.int64)
        used = tile != NONE
        if np.any(tile[used] >= len(self.tiles)):
            raise ScheduleError(f"operand {label!r} refers to a tile that does not exist")
        if table.dtype == MATMUL_DTYPE and name in ("c", "acc"):
            used &= touches(table, name) | (address != NONE)
        begin = address[used] - offsets[tile[used]]
        end = begin + sizes[tile[used]]
        size, both = self.sram_bytes, self.sram_bytes + self.accumulator_bytes
        if np.any(begin % ALIGNMENT) or np.any(begin < 0) or np.any(end > np.where(begin < size, size, both)):
            where = "the SRAM and the accumulator memory" if self.accumulator_bytes else "the SRAM"
            raise ScheduleError(f"operand {label!r} is not aligned, or lies outside {where}")

    # -- sizes -------------------------------------------------------------------------------------

    def counts(self) -> dict[Opcode, int]:
        """The number of operations of each opcode."""
        counted = np.bincount(self.stream["opcode"], minlength=len(Opcode))
        return {op: int(counted[op]) for op in Opcode}

    def tile_bytes(self, of: npt.NDArray[np.integer[Any]] | None = None) -> npt.NDArray[np.int64]:
        """The bytes in SRAM of the tiles of these numbers, or of all, int64; in DRAM: `sparsity.moved_bytes`."""
        tiles = self.tiles if of is None else self.tiles[of]
        tensors = self.tensors[tiles["tensor"]]
        return packing.sram_bytes(tiles, tensors, item_sizes()[tensors["dtype"]])

    def held(self) -> npt.NDArray[np.int64]:
        """Of each tile that in whose place it lies, int64 of shape (len(tiles),): itself, or its stack."""
        return np.arange(len(self.tiles)) - self.tiles["stack"].astype(np.int64)

    def offsets(self) -> npt.NDArray[np.int64]:
        """The bytes of its stack before each tile, int64 of shape (len(tiles),); 0 of those that lie by themselves."""
        above = self.tiles["row"].astype(np.int64) - self.tiles["row"][self.held()]
        item = item_sizes()[self.tensors["dtype"][self.tiles["tensor"]]]
        return np.asarray(above * self.tiles["cols"] * item)

    def vector_shape(self, vectors: Table) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Rows and columns that rows of `vectors` work through: those of dst, but of src0 for a reduction.

        A fold works through them once for each of its taps.
        """
        reduces = is_reduction(vectors["op"])
        cols = vectors["cols"].astype(np.int64)
        cols[reduces] = self.tiles["cols"][vectors["src0"][reduces]]
        return vectors["rows"].astype(np.int64), cols

    def nbytes(self) -> int:
        """The bytes of all tables together."""
        return sum(getattr(self, name).nbytes for name in TABLES)

    # -- files -------------------------------------------------------------------------------------

    def digest(self) -> str:
        """SHA-256 of the whole content: equal schedules have equal digests."""
        h = hashlib.sha256(self._header().encode())
        for name in TABLES:
            h.update(np.ascontiguousarray(getattr(self, name)).tobytes())
        return h.hexdigest()

    def _header(self) -> str:
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in TABLES}
        return json.dumps({"format": FORMAT_VERSION, **plain}, sort_keys=True)

    def save(self, path: str | Path) -> None:
        """Write one file (a compressed npz without pickles), all of it or nothing.

        Raises:
            OutputError: it cannot be written.
        """
        arrays = {name: getattr(self, name) for name in TABLES}
        header = np.frombuffer(self._header().encode(), dtype=np.uint8)
        try:
            path = Path(path).resolve()
            whole = not path.exists() or path.is_file()  # into a device or a pipe it is written as it comes
            target = path.with_name(f".minisim-tmp-{uuid.uuid4().hex}") if whole else path
            try:
                with target.open("wb") as f:
                    np.savez_compressed(f, header=header, **arrays)
                if whole:
                    target.replace(path)
            finally:
                if whole:
                    target.unlink(missing_ok=True)
        except (OSError, TypeError, ValueError) as e:  # no path, or none that the file system has
            raise OutputError(
                f"{shown(str(path))}: cannot be written: {getattr(e, 'strerror', '') or one_line(e)}"
            ) from None

    @classmethod
    def load(cls, path: str | Path) -> Schedule:
        """Read what `save` wrote.

        Raises:
            ScheduleError: the file is not a schedule, or one of another format version, or breaks a rule.
        """
        try:
            with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as data:
                header = dict(json.loads(data["header"].tobytes().decode()))
                tables = {name: data[name] for name in TABLES}
        except Exception as e:  # a damaged file fails in numpy, zipfile, zlib or json, each in its own ways
            raise ScheduleError(f"{shown(path)}: not a schedule file ({described(e)})") from None
        if (found := header.pop("format", None)) != FORMAT_VERSION:
            raise ScheduleError(f"{path}: schedule format must be {FORMAT_VERSION}, not {shown(found)}")
        plain = {k: tuple(v) if isinstance(v, list) else v for k, v in header.items()}
        try:
            schedule = cls(**{**tables, **plain})
        except TypeError as e:
            raise ScheduleError(f"{path}: not a schedule file ({one_line(e)})") from None
        schedule.verify()
        return schedule

    def replace(self, **changes: Any) -> Schedule:
        """Return a copy with some tables or fields changed ; unchanged tables are shared."""
        return dataclasses.replace(self, **changes)

    # -- text --------------------------------------------------------------------------------------

    def lines(self) -> Iterator[str]:
        """The text form, one operation a line: readable, diffable, stable."""
        seen = [0] * (self.cores * len(Queue))
        for i, op in enumerate(self.stream):
            lane = int(op["core"]) * len(Queue) + int(op["queue"])
            waits = [f"{Queue(q).name.lower()}>={w}" for q, w in enumerate(op["wait"].tolist()) if w]
            waits += [f"{self.lane_name(other)}>={count}" for other, count in self.syncs_of(i)]
            name = f"{self.lane_name(lane)}[{seen[lane]}]"
            seen[lane] += 1
            text = f"{i:>6}  {name:<12} {self.describe(i)}"
            yield f"{text}  wait {' '.join(waits)}" if waits else text
        yield from window_lines(self.windows)
        yield from convolution_lines(self.convolutions, self.tensor_names)

    def lane_name(self, lane: int) -> str:
        """``load``, or with several cores ``c1.load``."""
        return lane_name(position("lane", lane, self.cores * len(Queue)), self.cores)

    def describe(self, i: int) -> str:
        """Operation `i` as text, for dumps and messages: ``LOAD x[32:64,0:32] -> 0x1000``.

        Raises:
            UsageError: there is no such operation.
        """
        op = self.stream[position("operation", i, len(self))]
        row = int(op["row"])
        match Opcode(op["opcode"]):
            case Opcode.LOAD:
                t = self.transfers[row]
                by = "" if t["list"] == NONE else f" by {self._operand(t, 'list')}"
                return f"LOAD {self.tile_name(t['tile'], t['version'])} -> {t['sram']:#x}{by}"
            case Opcode.STORE:
                t = self.transfers[row]
                return f"STORE {self.tile_name(t['tile'], t['version'])} <- {t['sram']:#x}"
            case Opcode.EXECUTE:
                return self.describe_matmul(self.matmuls[row])
            case Opcode.VECTOR:
                return self.describe_vector(self.vectors[row])

    def title(self, i: int) -> str:
        """Operation `i` in short: its opcode, and the tile that it moves or writes: ``LOAD x[32:64,0:32]``."""
        op = self.stream[position("operation", i, len(self))]
        opcode = Opcode(op["opcode"])
        table, column = TARGETS[opcode]
        return f"{opcode.name} {self.tile_name(getattr(self, table)[column][op['row']])}"

    def describe_matmul(self, x: np.void) -> str:
        """A row of `matmuls` as text."""
        sums = "c" if x["acc"] == NONE else "acc"
        target = "c" if x["last"] else sums
        text = f"EXECUTE {self._operand(x, target)} {'+=' if x['step'] and target == sums else '='} "
        if x["step"] and target != sums:
            text += f"{self._operand(x, sums)} + "
        text += (
            f"{self._first_operand(x)}{'^T' if x['a_transposed'] else ''} x "
            f"{self._operand(x, 'b')}{'^T' if x['b_transposed'] else ''}"
        )
        for extra in ("bias", "residual"):
            if x[extra] != NONE:
                text += f" + {self._operand(x, extra)}"
        if x["activation"]:
            text += f" | {Activation(x['activation']).name.lower()}"
        return f"{text} | scale {float(x['scale']):.9g}" if x["scale"] else text

    def describe_vector(self, x: np.void) -> str:
        """A row of `vectors` as text."""
        op = VectorOp(x["op"])
        if op.is_fold:
            return self._describe_fold(op, x)
        sources = ", ".join(
            self._operand(x, name) if x[name] != NONE else f"{x[f'imm{i}']:.9g}"
            for i, name in enumerate(VECTOR_SOURCES[: op.sources])
        )
        begin = "" if x["acc"] == NONE else f"{self._operand(x, 'acc')} "
        return f"VECTOR {self._operand(x, 'dst')} = {begin}{op.name.lower()} {sources}"

    def _describe_fold(self, op: VectorOp, x: np.void) -> str:
        """``VECTOR y[..] = acc[..] fold_fma 9 taps of (x[..] by 0:9), w[..] + b[..] | relu``."""
        begin = "" if x["acc"] == NONE else f"{self._operand(x, 'acc')} "
        text = f"VECTOR {self._operand(x, 'dst')} = {begin}{op.name.lower()} {x['taps']} taps of "
        text += self._operand_of_pieces(x["src0_pieces"])
        if x["src1"] != NONE:
            text += f", {self._operand(x, 'src1')}"
        if x["src2"] != NONE:
            text += f" + {self._operand(x, 'src2')}"
        return f"{text} | {Activation(x['activation']).name.lower()}" if x["activation"] else text

    def _first_operand(self, x: np.void) -> str:
        """A: a tile, or its pieces."""
        return self._operand(x, "a") if x["a"] != NONE else self._operand_of_pieces(x["a_pieces"])

    def _operand_of_pieces(self, first: int) -> str:
        """The pieces from row `first` on, each with its windows: ``(x[0:32,0:32]@0x1000 by 12:21)``."""
        if first == NONE:
            return "0"
        _, rows = run_rows(self.pieces, np.array([first]))
        texts = []
        for piece in self.pieces[rows]:
            _, windows = run_rows(self.windows, np.array([piece["window"]]))
            address = "" if piece["sram"] == NONE else f"@{piece['sram']:#x}"
            texts.append(f"{self.tile_name(piece['tile'])}{address} by {windows[0]}:{windows[-1] + 1}")
        return f"({', '.join(texts)})"

    def _operand(self, x: np.void, name: str) -> str:
        """``x[0:32,0:32]@0x1000``, without the address while there is none."""
        address = x[f"{name}_sram"]
        return self.tile_name(x[name]) + (f"@{address:#x}" if address != NONE else "")

    def tile_name(self, tile: int, version: int | None = None) -> str:
        """``x[32:64,0:32]``, with ``#v`` if `version` is given and is not the final one."""
        t = self.tiles[position("tile", tile, len(self.tiles))]
        version = None if version is None else whole("version", version)
        r, c = int(t["row"]), int(t["col"])
        name = f"{self.tensor_names[t['tensor']]}[{r}:{r + t['rows']},{c}:{c + t['cols']}]"
        return printable(name if version is None or version == t["final"] else f"{name}#{version}")


def lane_name(lane: int, cores: int) -> str:
    """``load``, or of one of several cores ``c1.load``, for lane core * 4 + queue."""
    queue = Queue(lane % len(Queue)).name.lower()
    return queue if cores == 1 else f"c{lane // len(Queue)}.{queue}"


@cache
def item_sizes() -> npt.NDArray[np.int64]:
    """The bytes of an element, indexed by dtype code; to be read only."""
    return by_dtype(ITEMSIZE)


def by_dtype(values: Mapping[DType, int]) -> npt.NDArray[np.int64]:
    """A table that is indexed by dtype code, 0 where there is no value; to be read only."""
    table = np.zeros(max(DType) + 1, dtype=np.int64)
    for dtype, value in values.items():
        table[dtype] = value
    table.setflags(write=False)
    return table


def run_rows(table: Table, first: npt.ArrayLike) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """All rows of the runs of `table` that begin at these rows: which of the runs each belongs to, and the rows.

    Raises:
        ScheduleError: a run begins or ends beyond the table.
    """
    first = np.asarray(first, dtype=np.int64)
    ends = np.flatnonzero(table["more"] == 0)
    at = np.searchsorted(ends, first)
    if np.any(at >= len(ends)):
        raise ScheduleError("a run of pieces or windows goes on beyond the end of its table")
    count = ends[at] + 1 - first
    owner = np.repeat(np.arange(len(first)), count)
    return owner, np.arange(len(owner)) - np.repeat(np.cumsum(count) - count - first, count)


def pieces_of(pieces: Table, operations: Table) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The pieces of these rows of `matmuls` or `vectors`: which of them each belongs to, and its row of `pieces`."""
    first = operations["a_pieces" if operations.dtype == MATMUL_DTYPE else "src0_pieces"]
    with_pieces = np.flatnonzero(first != NONE)
    owner, rows = run_rows(pieces, first[with_pieces])
    return with_pieces[owner], rows


def elements_read(schedule: Schedule, operations: Table) -> npt.NDArray[np.int64]:
    """The elements that are read of pieces for each of these rows of `matmuls` or `vectors`, tap by tap."""
    found = np.zeros(len(operations), dtype=np.int64)
    owner, pieces = pieces_of(schedule.pieces, operations)
    x = schedule.windows
    until = np.append(0, np.cumsum(x["outer"].astype(np.int64) * x["inner"] * x["cols"]))
    ends = np.flatnonzero(x["more"] == 0)
    first = schedule.pieces["window"][pieces].astype(np.int64)
    last = ends[np.searchsorted(ends, first)] if len(first) else first
    np.add.at(found, owner, until[last + 1] - until[first])
    return found


def verify_pieces(schedule: Schedule) -> None:
    """Check that every window lies in its tile and in its operand, and takes each row of the operand once.

    Raises:
        ScheduleError: one does not, or a run of pieces or windows leaves its table.
    """
    matmuls = schedule.matmuls
    if np.any(schedule.pieces["more"] > 1) or np.any(schedule.windows["more"] > 1):
        raise ScheduleError("`more` of a piece or window must be 0 or 1")
    taps, of_tile = matmuls["taps"].astype(np.int64), matmuls["a"] != NONE
    if np.any(taps < 1) or np.any(matmuls["k"] % np.maximum(taps, 1)) or np.any((taps > 1) & of_tile):
        raise ScheduleError("taps must be equal parts of k, and 1 where a is a tile")
    if np.any(of_tile & (matmuls["a_pieces"] != NONE)) or np.any(~of_tile & (matmuls["a_transposed"] != 0)):
        raise ScheduleError("a is a tile, perhaps transposed, or it is made of pieces")
    vectors, folds = schedule.vectors, is_fold(schedule.vectors["op"])
    if np.any(folds != (vectors["taps"] > 0)) or np.any(~folds & (vectors["src0_pieces"] != NONE)):
        raise ScheduleError("a fold has taps and is of pieces, no other vector operation is")
    goes_on = folds | is_reduction(vectors["op"])
    if np.any(folds & (vectors["src0"] != NONE)) or np.any(~goes_on & (vectors["acc"] != NONE)):
        raise ScheduleError("a fold has no src0, and only a fold or a reduction has an acc")
    _verify_windows(schedule, matmuls, matmuls["m"], matmuls["k"])
    _verify_windows(schedule, vectors, vectors["rows"].astype(np.int64) * vectors["taps"], vectors["cols"])


def _verify_windows(schedule: Schedule, operations: Table, rows: npt.NDArray[Any], cols: npt.NDArray[Any]) -> None:
    """Those of operands of so many rows and columns."""
    row, piece = pieces_of(schedule.pieces, operations)
    pieces = schedule.pieces[piece]
    if np.any(pieces["tile"] >= len(schedule.tiles)):
        raise ScheduleError("a piece refers to a tile that does not exist")
    of_tiles, tile = _distinct(schedule.tiles["rows"], schedule.tiles["cols"])
    of_operands, operand = _distinct(rows, cols)
    first, at_tile, at_operand = pieces["window"].astype(np.int64), tile[pieces["tile"]], operand[row]
    combined = np.unique((first * len(of_tiles) + at_tile) * len(of_operands) + at_operand)
    rest, at_operand = np.divmod(combined, max(len(of_operands), 1))
    first, at_tile = np.divmod(rest, max(len(of_tiles), 1))
    owner, window = run_rows(schedule.windows, first)
    sizes = (*of_operands[at_operand[owner]].T, *of_tiles[at_tile[owner]].T)
    x = {name: schedule.windows[name][window].astype(np.float64) for name in WINDOW_DTYPE.names or ()}  # no overflow
    outer, inner = x["outer"] - 1, x["inner"] - 1
    wrong = (outer < 0) | (inner < 0) | (x["cols"] < 1)
    wrong |= (inner > 0) & (x["at_inner"] < 1)
    wrong |= (outer > 0) & (x["at_outer"] <= inner * x["at_inner"])
    for side, rows, cols in (("at", *sizes[:2]), ("from", *sizes[2:])):
        last = x[f"{side}_row"] + outer * x[f"{side}_outer"] + inner * x[f"{side}_inner"]
        wrong |= (last >= rows) | (x[f"{side}_col"] + x["cols"] > cols)
    if np.any(wrong):
        raise ScheduleError(f"window {window[np.argmax(wrong)]} does not lie in its tile and its operand")


def _distinct(rows: npt.NDArray[Any], cols: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The distinct sizes among many, and of each which one it is."""
    wider = np.uint64(int(cols.max(initial=0)) + 1)
    pairs, which = np.unique(rows.astype(np.uint64) * wider + cols.astype(np.uint64), return_inverse=True)
    return np.stack(np.divmod(pairs, wider), axis=1).astype(np.int64), which


def convolution_lines(convolutions: Table, tensors: Sequence[str]) -> Iterator[str]:
    """The text form of a table of convolutions; of an empty one nothing."""
    for i, x in enumerate(convolutions):
        of = {name: int(x[name]) for name in CONVOLUTION_DTYPE.names or ()}
        names = {name: f"{tensors[of[name]]}[{of[f'{name}_row']}, {of[f'{name}_col']}]"
                 for name in ("x", "filters", "y") if of[name] != NONE}  # fmt: skip
        sizes = " ".join(f"{name}={value}" for name, value in list(of.items())[9:])
        filters = f" with {names['filters']}" if "filters" in names else ""
        yield f"convolution {i}: {names['y']} of {names['x']}{filters}, {sizes}"


def window_lines(windows: Table) -> Iterator[str]:
    """The text form of a table of windows; of an empty one nothing."""
    for i, x in enumerate(windows):
        w = {name: int(x[name]) for name in WINDOW_DTYPE.names or ()}
        to, origin = (
            f"({w[f'{side}_row']}+{w[f'{side}_outer']}i+{w[f'{side}_inner']}j, {w[f'{side}_col']})"
            for side in ("at", "from")
        )
        size = f"{w['outer']}x{w['inner']} rows of {w['cols']}"
        yield f"window {i}: {size} to {to} from {origin}{', and' if w['more'] else ''}"


def partial_of(dtype: DType) -> DType:
    """The type of what a fold of such elements leaves for one that goes on from it."""
    return dtype if dtype.name in INTEGERS else DType.FP32


def is_reduction(ops: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Whether each of these codes of a `VectorOp` is a reduction."""
    return np.isin(ops, list(REDUCTIONS))


def is_fold(ops: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Whether each of these codes of a `VectorOp` is a fold."""
    return np.isin(ops, list(FOLDS))


def touches(matmuls: Table, operand: str) -> npt.NDArray[np.bool_]:
    """Whether each matmul reads or writes its "c", or its "acc"; an address only matters where it does.

    The last step alone touches c if the sums live in acc, and it alone does not touch acc if it is the only one.
    """
    last, through = matmuls["last"] != 0, matmuls["acc"] != NONE
    return np.asarray(~through | last if operand == "c" else through & (~last | (matmuls["step"] > 0)))


def align(size: int, alignment: int = ALIGNMENT) -> int:
    """Round `size` up to a multiple of `alignment`."""
    return -(-size // alignment) * alignment
