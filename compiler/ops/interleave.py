"""Interleave: images that are every stride-th line and column of larger ones -> those images.

What the phases of a transposed convolution have made (`passes/phases.py`) is put together by the vector unit: a fold
of a single tap, whose operand is gathered from tiles of all the phases where they lie in SRAM.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from minisim.compiler.attributes import InterleaveAttributes
from minisim.compiler.builder import ProgramBuilder, Slot
from minisim.compiler.dtypes import NUMBERS
from minisim.compiler.folding import by_tile, tiles_read, window
from minisim.compiler.gathering import strips
from minisim.compiler.geometry import Geometry, Pair, spread
from minisim.compiler.graph import Graph, Node, Shape, view_2d
from minisim.compiler.ops.base import Operator, register
from minisim.compiler.ops.vector_pace import vector_pace
from minisim.compiler.panels import Pace
from minisim.compiler.program import Ids
from minisim.compiler.semantics import Array, one_dtype
from minisim.compiler.tiling import PARTS, Read, Tiling, tile_height
from minisim.errors import ShapeError
from minisim.hwmodel import cost, isa
from minisim.hwmodel.config import Machine


@register
class Interleave(Operator[InterleaveAttributes]):
    """Inputs: for each line from which they begin, and for each column, the images (n, lines, columns, channels)."""

    name = "Interleave"
    operands = range(1, 2**16)
    attributes = InterleaveAttributes
    dtypes = frozenset(NUMBERS)

    def infer(self, shapes: Sequence[Shape], attributes: InterleaveAttributes) -> tuple[Shape, ...]:
        images, channels = shapes[0][0], shapes[0][-1]
        if len(shapes) != (count := len(_first(attributes))):
            raise ShapeError(f"must have {count} operands, not {len(shapes)}")
        for shape, (a, b) in zip(shapes, _first(attributes), strict=True):
            (lines, columns), (down, across) = attributes.size, attributes.strides
            wanted = (images, *(-(-(lines - a) // down), -(-(columns - b) // across))[4 - len(shape) :], channels)
            if shape != wanted:
                raise ShapeError(
                    f"the images from line {a} and column {b} on must have the shape {wanted}, not {shape}"
                )
        return ((images, *attributes.size[4 - len(shapes[0]) :], channels),)

    def infer_dtypes(self, dtypes: Sequence[str], attributes: InterleaveAttributes) -> tuple[str, ...]:
        return (one_dtype(dtypes, self.dtypes),)

    def evaluate(self, inputs: Sequence[Array], attributes: InterleaveAttributes) -> tuple[Array, ...]:
        (shape,) = self.infer([x.shape for x in inputs], attributes)
        y = np.empty((shape[0], *attributes.size, shape[-1]), inputs[0].dtype)
        for x, (a, b) in zip(inputs, _first(attributes), strict=True):
            part = y[:, a :: attributes.strides[0], b :: attributes.strides[1]]
            part[:] = x.reshape(part.shape)
        return (y.reshape(shape),)

    def tile(self, node: Node, graph: Graph, machine: Machine) -> Tiling:
        """Tiles as all operators cut them, or lower ones where those that one is gathered from leave no room."""
        rows, channels = view_2d(graph.tensors[node.output].shape)
        n, item = min(machine.tile.n, channels), isa.ITEMSIZE[graph.tensors[node.output].code]
        phases = _phases(node, graph)
        sources = tuple(tile_height(phase.pixels_in, machine) for phase in phases)

        def needed(height: int) -> int:
            size = isa.align(height * n * item)
            for phase, read in zip(phases, sources, strict=True):
                size += tiles_read(phase, height, read, 1) * isa.align(min(read, phase.pixels_in) * n * item)
            return size

        heights = [max(1, tile_height(rows, machine) >> i) for i in range(tile_height(rows, machine).bit_length())]
        fitting = (h for part in PARTS for h in heights if needed(h) <= part * machine.sram.bytes)
        m = next(fitting, 1)
        return Tiling(m, 1, n, -(-rows // m), 1, -(-channels // n), panels=None, sources=sources)

    def reads(self, node: Node, graph: Graph, tiling: Tiling) -> tuple[Read, ...]:
        return tuple(
            Read(name, ("m", -(-phase.pixels_in // tiling.m_tiles)), ("n", tiling.n))
            for name, phase in zip(node.present, _phases(node, graph), strict=True)
        )

    def pace(self, node: Node, graph: Graph, tiling: Tiling, machine: Machine) -> Pace:
        busy = int(cost.vector_cycles(isa.VectorOp.FOLD_MAX, tiling.m, tiling.n, machine))
        return vector_pace(busy, node, graph, tiling, machine)

    def lower(self, node: Node, graph: Graph, tiling: Tiling, program: ProgramBuilder) -> None:
        """Emit for each tile: LOAD those that it is gathered from, VECTOR, STORE; columns are outermost, as in `Fold`,
        unless it is to be in rows."""
        m, n, _ = tiling.walk()
        order = np.lexsort((*((n, m) if tiling.in_rows else (m, n)), tiling.core_of(m, n)))
        m, n = m[order], n[order]
        rows, channels = view_2d(graph.tensors[node.output].shape)
        cols = np.minimum(tiling.n, channels - n * tiling.n)
        operands = _Operands.of(node, graph, tiling, program)
        pieces, loads = operands.emit(m, n, cols < tiling.n, program)
        target = program.grid(node.output, tiling.m, tiling.n, 1).ids(m, n)
        vectors = program.vectors(
            len(target),
            op=isa.VectorOp.FOLD_MAX,
            dtype=graph.tensors[node.output].code,
            src0_pieces=pieces,
            dst=target,
            rows=np.minimum(tiling.m, rows - m * tiling.m),
            cols=cols,
            taps=1,
        )
        slots = [Slot(isa.Opcode.LOAD, ids, there) for ids, there in loads]
        slots += [Slot(isa.Opcode.VECTOR, vectors), Slot(isa.Opcode.STORE, target)]
        program.layer(node.name, node.title, 0, slots, cores=tiling.core_of(m, n))
        for name, phase in zip(node.present, _phases(node, graph), strict=True):
            program.convolution(name, None, node.output, *phase.meaning, 1, channels, 1, 1, phase.transposed)


Emitted = tuple[Ids, list[tuple[Ids, npt.NDArray[np.bool_]]]]


class _Operands(NamedTuple):
    """What each row of tiles of the output is gathered from, in columns of as many as there are at most.

    Attributes:
        counts: how many tiles.
        first: of each of them, the tile in the first column of tiles.
        windows: the first of its windows, for tiles of full width and for the last, which may be narrower.
    """

    counts: Ids
    first: Ids
    windows: tuple[Ids, Ids]

    @classmethod
    def of(cls, node: Node, graph: Graph, tiling: Tiling, program: ProgramBuilder) -> _Operands:
        channels = view_2d(graph.tensors[node.output].shape)[1]
        widths = tiling.n, channels - (tiling.n_tiles - 1) * tiling.n
        found: list[list[tuple[int, tuple[int, ...]]]] = [[] for _ in range(tiling.m_tiles)]
        for name, phase, height in zip(node.present, _phases(node, graph), tiling.sources, strict=True):
            grid = program.grid(name, height, tiling.n)
            for operand, parts in zip(found, strips(phase, tiling.m, height, 0), strict=True):
                for tile, mine in by_tile(parts).items():
                    runs = tuple(program.windows(tuple(window(part, width) for part in mine)) for width in widths)
                    operand.append((int(grid.ids(tile, 0)), runs))
        counts = np.array([len(each) for each in found], dtype=np.int64)
        first, full, ragged = (np.zeros((len(found), counts.max()), dtype=np.int64) for _ in range(3))
        for row, operand in enumerate(found):
            for i, (tile, (at_full, at_ragged)) in enumerate(operand):
                first[row, i], full[row, i], ragged[row, i] = tile, at_full, at_ragged
        return cls(counts, first, (full, ragged))

    def emit(self, m: Ids, n: Ids, narrow: npt.NDArray[np.bool_], program: ProgramBuilder) -> Emitted:
        """Append the pieces; the first one of each operand, and its first tile, its second and so on, if it has one."""
        there = np.arange(self.first.shape[1]) < self.counts[m][:, None]
        tiles = self.first[m] + n[:, None]
        windows = np.where(narrow[:, None], self.windows[1][m], self.windows[0][m])
        rows = program.pieces(tiles[there], windows[there], self.counts[m])
        return rows, [(tiles[:, i], there[:, i]) for i in range(there.shape[1])]


def _first(attributes: InterleaveAttributes) -> list[Pair]:
    """The first line and column of the images of each operand."""
    lines, columns = (min(pair) for pair in zip(attributes.size, attributes.strides, strict=True))
    return [(a, b) for a in range(lines) for b in range(columns)]


def _phases(node: Node, graph: Graph) -> list[Geometry]:
    """How the pixels of each operand lie among those of the output."""
    attributes = node.attributes_as(InterleaveAttributes)
    found = []
    for name, first in zip(node.present, _first(attributes), strict=True):
        images, *size, _ = graph.tensors[name].shape
        lines, columns = size if len(size) == 2 else (1, *size)
        found.append(spread(images, (lines, columns), first, attributes.size, attributes.strides))
    return found
