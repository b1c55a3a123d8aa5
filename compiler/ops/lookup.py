"""Gather: rows of a table by indices that are known at run time only, such as embeddings by tokens.

The DMA reads the indices out of SRAM and loads each row by itself ("Gathers" in isa.py), so that what it costs is that
of the rows: a descriptor for each, its bursts, and the row of DRAM that it opens. Where indices are constants it is a
`Take`, whose pieces the compiler knows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from minisim.compiler.attributes import Attributes
from minisim.compiler.builder import ProgramBuilder, Slot
from minisim.compiler.dtypes import CODE
from minisim.compiler.graph import Graph, Node, Shape
from minisim.compiler.lookups import LOOKUP, check_range
from minisim.compiler.ops.base import Operator, register
from minisim.compiler.ops.move import of_target
from minisim.compiler.ops.vector_pace import vector_pace
from minisim.compiler.panels import Pace
from minisim.compiler.semantics import Array
from minisim.compiler.tiling import Read, Tiling
from minisim.errors import ShapeError, UnsupportedError
from minisim.hwmodel import cost, isa
from minisim.hwmodel.config import Machine

PART = 8
"""One part in so many of the SRAM is what a tile of gathered rows takes at most: there are two of each, loaded and
copied, and the next ones are on their way."""


@register
class Gather(Operator[Attributes]):
    """Rows of a table (rows, ...) by indices of any shape (...), which stands in place of the table's first axis."""

    name = LOOKUP
    operands = range(2, 3)
    dtypes = frozenset(CODE)
    through_dram = True

    def infer(self, shapes: Sequence[Shape], attributes: Attributes) -> tuple[Shape, ...]:
        table, indices = shapes
        if not table:
            raise ShapeError("a scalar has no rows to be looked up")
        return ((*indices, *table[1:]),)

    def infer_dtypes(self, dtypes: Sequence[str], attributes: Attributes) -> tuple[str, ...]:
        table, indices = dtypes
        if indices != "int32":
            raise UnsupportedError(f"indices must be int32, not {indices}")
        return (table,)

    def evaluate(self, inputs: Sequence[Array], attributes: Attributes) -> tuple[Array, ...]:
        table, indices = inputs
        check_range(indices, len(table))
        return (table[indices],)

    def tile(self, node: Node, graph: Graph, machine: Machine) -> Tiling:
        """As many columns of a row as there is room for, so that each is as few transfers as can be; then rows."""
        count, width = _rows(node, graph), _width(node, graph)
        item = isa.ITEMSIZE[graph.tensors[node.output].code]
        room = max(isa.ALIGNMENT, machine.sram.bytes // PART)
        most = max(1, room // item)
        n = width if width <= most else max(1, most * item // isa.ALIGNMENT * isa.ALIGNMENT // item)
        m = min(count, machine.tile.m, max(1, most // n), -(-count // machine.cores.count))
        if graph.tensors[node.output].window is not None:
            m = 1
        return Tiling(m, 1, n, -(-count // m), 1, -(-width // n), panels=None)

    def reads(self, node: Node, graph: Graph, tiling: Tiling) -> tuple[Read, ...]:
        table, indices = node.present
        return (Read(table, ("m", tiling.m), ("n", tiling.n)), Read(indices, ("m", tiling.m), ("", 1)))

    def pace(self, node: Node, graph: Graph, tiling: Tiling, machine: Machine) -> Pace:
        busy = int(cost.vector_cycles(isa.VectorOp.COPY, tiling.m, tiling.n, machine))
        return vector_pace(busy, node, graph, tiling, machine)

    def lower(self, node: Node, graph: Graph, tiling: Tiling, program: ProgramBuilder) -> None:
        """Emit for each tile: LOAD its indices, LOAD its rows by them, VECTOR (a copy), STORE."""
        table, indices = node.present
        count, width = _rows(node, graph), _width(node, graph)
        m, n = tiling.m_tiles, tiling.n_tiles
        row, col = np.repeat(np.arange(m) * tiling.m, n), np.tile(np.arange(n) * tiling.n, m)
        heights, widths = np.minimum(tiling.m, count - row), np.minimum(tiling.n, width - col)
        first = np.arange(m) * tiling.m
        lists = program.tiles_at(indices, 1, first, np.minimum(tiling.m, count - first), 1)
        source = program.gathered(table, indices, (count, width), (row, col), (heights, widths))
        pitch, begin = of_target(node, graph, width)
        target = program.tiles_at(node.output, pitch, begin + row * width + col, heights, widths, final=1)
        copies = program.vectors(
            len(target), op=isa.VectorOp.COPY, dtype=graph.tensors[node.output].code, src0=source, dst=target,
            rows=heights, cols=widths,
        )  # fmt: skip
        slots = [
            Slot(isa.Opcode.LOAD, np.repeat(lists, n)),
            Slot(isa.Opcode.LOAD, source),
            Slot(isa.Opcode.VECTOR, copies),
            Slot(isa.Opcode.STORE, target),
        ]
        at = np.arange(len(target))
        program.layer(node.name, node.title, 0, slots, cores=tiling.core_of(at // n, at % n))


def _rows(node: Node, graph: Graph) -> int:
    """How many are looked up."""
    return math.prod(graph.tensors[node.present[1]].shape)


def _width(node: Node, graph: Graph) -> int:
    """The elements of a row."""
    return math.prod(graph.tensors[node.present[0]].shape[1:])
