"""RowScales and QuantizeRows: rows of floats become int8, each head of each row with a scale (`Graph.quantize_rows`).

Heads lie beside each other, and a tile is a few rows of one of them: so what is appended to a cache is made in its
place there, scales too, as any appended row is (ADR 46).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from minisim.compiler.attributes import Attributes, CastAttributes, RowScalesAttributes
from minisim.compiler.builder import ProgramBuilder, Slot
from minisim.compiler.dtypes import FLOATS
from minisim.compiler.graph import Graph, Node, Shape, view_2d
from minisim.compiler.ops.base import Operator, register
from minisim.compiler.ops.quantization import Quantize
from minisim.compiler.ops.vector_pace import vector_pace
from minisim.compiler.panels import Pace
from minisim.compiler.program import Ids
from minisim.compiler.semantics import SEMANTICS, Array, one_dtype
from minisim.compiler.tiling import Read, Tiling, tile_height
from minisim.errors import ShapeError, UnsupportedError
from minisim.hwmodel import cost, isa
from minisim.hwmodel.config import Machine
from minisim.hwmodel.isa import DType, VectorOp

LEVELS = 127
"""The levels of each sign: int8 without -128."""

TURNS = 8
"""Tiles whose operations take turns, so that none waits for the latency of the one that it reads."""

TILES = 4
"""Tiles for which the SRAM is to have room beside each other, for each that takes turns."""


INT8 = CastAttributes("int8")


class Operation(NamedTuple):
    """A vector operation on each tile: what it reads (tiles or a number), what it makes; of so many columns."""

    op: VectorOp
    dtype: DType
    sources: tuple[Ids | float, ...]
    result: Ids
    cols: Ids


class OfHeads(Operator[Attributes]):
    """An operator on rows (n, heads x columns), tile by tile of each head: a chain of vector operations."""

    by_grids = True

    @abstractmethod
    def heads(self, node: Node, graph: Graph) -> int:
        """The heads that lie beside each other."""

    @abstractmethod
    def chain(self, node: Node, graph: Graph, tiles: HeadTiles) -> Iterable[Operation]:
        """The operations on the tiles."""

    def tile(self, node: Node, graph: Graph, machine: Machine) -> Tiling:
        (rows, cols), heads = view_2d(graph.tensors[node.present[0]].shape), self.heads(node, graph)
        width = min(cols // heads, machine.tile.n)
        row_bytes = isa.ITEMSIZE[DType.FP32] * width
        m = min(tile_height(rows, machine), max(1, machine.sram.bytes // (TURNS * TILES * row_bytes)))
        return Tiling(m, 1, width, -(-rows // m), 1, heads * -(-cols // heads // width), panels=None)

    def reads(self, node: Node, graph: Graph, tiling: Tiling) -> tuple[Read, ...]:
        x, *scales = node.present
        return (Read(x, ("m", tiling.m), ("n", tiling.n)), *(Read(name, ("m", tiling.m), ("", 1)) for name in scales))

    def pace(self, node: Node, graph: Graph, tiling: Tiling, machine: Machine) -> Pace:
        busy = int(cost.vector_cycles(VectorOp.QUANTIZE, tiling.m, tiling.n, machine))
        return vector_pace(busy, node, graph, tiling, machine)

    def lower(self, node: Node, graph: Graph, tiling: Tiling, program: ProgramBuilder) -> None:
        """Emit for each tile, in turns: LOAD what an operation reads, VECTOR, STORE what it makes."""
        tiles = HeadTiles.of(node, graph, tiling, program, self.heads(node, graph))
        turns, present = tiles.turns()
        slots = []
        for operation in self.chain(node, graph, tiles):
            columns = {}
            for i, source in enumerate(operation.sources):
                columns[f"imm{i}" if isinstance(source, float) else f"src{i}"] = source
            vectors = program.vectors(len(tiles.rows), op=operation.op, dtype=operation.dtype, dst=operation.result,
                                      rows=tiles.rows, cols=operation.cols, **columns)  # fmt: skip
            for turn in range(turns.shape[1]):
                mine, here = turns[:, turn], present[:, turn]
                slots += [Slot(isa.Opcode.LOAD, source[mine], here)
                          for source in operation.sources if not isinstance(source, float)]  # fmt: skip
                slots.append(Slot(isa.Opcode.VECTOR, vectors[mine], here))
                slots.append(Slot(isa.Opcode.STORE, operation.result[mine], here))
        cores = tiling.core_of(tiles.strip[turns[:, 0]], 0 * turns[:, 0])
        program.layer(node.name, node.title, 0, slots, cores=cores)


class HeadTiles(NamedTuple):
    """Strips of rows of each head, as they are cut: of each its strip, its head, its rows."""

    node: Node
    graph: Graph
    tiling: Tiling
    program: ProgramBuilder
    size: int
    strip: Ids
    head: Ids
    rows: Ids

    @classmethod
    def of(cls, node: Node, graph: Graph, tiling: Tiling, program: ProgramBuilder, heads: int) -> HeadTiles:
        rows, cols = view_2d(graph.tensors[node.present[0]].shape)
        strip, head = np.repeat(np.arange(tiling.m_tiles), heads), np.tile(np.arange(heads), tiling.m_tiles)
        return cls(node, graph, tiling, program, cols // heads, strip, head,
                   np.minimum(tiling.m, rows - strip * tiling.m))  # fmt: skip

    @property
    def parts(self) -> int:
        """The tiles of a row of a head."""
        return -(-self.size // self.tiling.n)

    def cols(self, part: int) -> Ids:
        """The columns of such a tile."""
        return 0 * self.strip + min(self.tiling.n, self.size - part * self.tiling.n)

    def whole(self, name: str, part: int, final: int = 0) -> Ids:
        """The tiles of a tensor of rows of heads."""
        grid = self.program.grid(name, self.tiling.m, self.tiling.n, final, across=self.size)
        return grid.ids(self.strip, self.head * self.parts + part)

    def column(self, name: str, final: int = 0) -> Ids:
        """The tiles of a tensor that has a number of each head of each row."""
        return self.program.grid(name, self.tiling.m, 1, final).ids(self.strip, self.head)

    def scratch(self, what: str, cols: int, dtype: DType) -> str:
        rows, _ = view_2d(self.graph.tensors[self.node.present[0]].shape)
        return self.program.scratch(self.node.name, what, rows, cols, dtype)

    def turns(self) -> tuple[Ids, npt.NDArray[np.bool_]]:
        """Which tiles take turns, those of one strip: (turns, TURNS); and which of these there are."""
        heads = len(self.strip) // self.tiling.m_tiles
        number = np.arange(-(-heads // TURNS) * TURNS).reshape(-1, TURNS)
        first = np.arange(self.tiling.m_tiles)[:, np.newaxis, np.newaxis] * heads
        turns = (first + np.minimum(number, heads - 1)).reshape(-1, TURNS)
        return turns, np.tile(number < heads, (self.tiling.m_tiles, 1))


@register
class RowScales(OfHeads):
    """(n, heads x columns) of floats -> (n, heads) of float32, whatever the type of the floats.

    To the bit: the greatest |x| of a row of a head, in float32, / 127, rounded once. Of zeros it is 0; of what holds a
    NaN it is NaN; of what holds an infinity and no NaN, infinite.
    """

    name = "RowScales"
    attributes = RowScalesAttributes

    def heads(self, node: Node, graph: Graph) -> int:
        return node.attributes_as(RowScalesAttributes).heads

    def infer(self, shapes: Sequence[Shape], attributes: Attributes) -> tuple[Shape, ...]:
        assert isinstance(attributes, RowScalesAttributes)
        (x,), heads = shapes, attributes.heads
        if len(x) != 2 or x[1] % heads:
            raise ShapeError(f"rows {x} are not those of {heads} heads that lie beside each other")
        return ((x[0], heads),)

    def infer_dtypes(self, dtypes: Sequence[str], attributes: Attributes) -> tuple[str, ...]:
        one_dtype(dtypes, FLOATS)
        return ("float32",)

    def evaluate(self, inputs: Sequence[Array], attributes: Attributes) -> tuple[Array, ...]:
        """In float32, as the machine: integers are rounded to by it, which must not depend on more digits."""
        assert isinstance(attributes, RowScalesAttributes)
        with np.errstate(over="ignore"):
            x = np.abs(inputs[0]).astype(np.float32)
        return (x.reshape(len(x), attributes.heads, -1).max(axis=-1) / np.float32(LEVELS),)

    def chain(self, node: Node, graph: Graph, tiles: HeadTiles) -> Iterable[Operation]:
        x = graph.tensors[node.present[0]]
        _, cols = view_2d(x.shape)
        one, of_heads, greatest = 1 + 0 * tiles.strip, cols // tiles.size, None
        sizes = tiles.scratch("sizes", cols, x.code)
        for part in range(tiles.parts):
            made, found = tiles.whole(sizes, part, 1), tiles.column(tiles.scratch("greatest", of_heads, x.code), 1)
            yield Operation(VectorOp.ABS, x.code, (tiles.whole(x.name, part),), made, tiles.cols(part))
            yield Operation(VectorOp.REDUCE_MAX, x.code, (made,), found, one)
            if greatest is not None:
                both = tiles.column(tiles.scratch("greater", of_heads, x.code), 1)
                yield Operation(VectorOp.MAX, x.code, (greatest, found), both, one)
                found = both
            greatest = found
        assert greatest is not None
        if x.code != DType.FP32:
            wide = tiles.column(tiles.scratch("wide", of_heads, DType.FP32), 1)
            yield Operation(VectorOp.CAST, x.code, (greatest,), wide, one)
            greatest = wide
        yield Operation(VectorOp.DIV, DType.FP32, (greatest, float(LEVELS)), tiles.column(node.output, 1), one)


@register
class QuantizeRows(OfHeads):
    """Inputs x, floats (n, heads x columns), and scales, float32 (n, heads): int8, x / its scale as Quantize has it.

    So 0 / 0, what is divided by NaN or an infinity, and NaN become 0.
    """

    name = "QuantizeRows"
    operands = range(2, 3)

    def heads(self, node: Node, graph: Graph) -> int:
        return graph.tensors[node.present[1]].shape[1]

    def infer(self, shapes: Sequence[Shape], attributes: Attributes) -> tuple[Shape, ...]:
        return SEMANTICS["DequantizeRows"].infer(shapes, attributes)

    def infer_dtypes(self, dtypes: Sequence[str], attributes: Attributes) -> tuple[str, ...]:
        one_dtype(dtypes[:1], FLOATS)
        if dtypes[1] != "float32":
            raise UnsupportedError(f"scales must be float32, not {dtypes[1]}")
        return ("int8",)

    def evaluate(self, inputs: Sequence[Array], attributes: Attributes) -> tuple[Array, ...]:
        x, scales = inputs
        apart, of_each = x.reshape(*scales.shape, -1), scales[..., np.newaxis]
        (q,) = SEMANTICS[Quantize.name].evaluate([apart, of_each, np.zeros(())], INT8)
        return (q.reshape(x.shape),)

    def chain(self, node: Node, graph: Graph, tiles: HeadTiles) -> Iterable[Operation]:
        x, scales = (graph.tensors[name] for name in node.present)
        for part in range(tiles.parts):
            sources = tiles.whole(x.name, part), tiles.column(scales.name), 0.0
            yield Operation(VectorOp.QUANTIZE, x.code, sources, tiles.whole(node.output, part, 1), tiles.cols(part))
