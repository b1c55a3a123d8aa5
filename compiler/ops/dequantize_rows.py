"""DequantizeRows: the floats that rows of int8 stand for, whose heads have a scale each (`Graph.quantize_rows`)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minisim.compiler.attributes import Attributes
from minisim.compiler.builder import ProgramBuilder, Slot
from minisim.compiler.graph import Graph, Node, Shape, view_2d
from minisim.compiler.ops.base import Operator, register
from minisim.compiler.ops.vector_pace import vector_pace
from minisim.compiler.panels import Pace
from minisim.compiler.semantics import Array
from minisim.compiler.tiling import Read, Tiling, tile_height
from minisim.errors import ShapeError, UnsupportedError
from minisim.hwmodel import cost, isa
from minisim.hwmodel.config import Machine
from minisim.hwmodel.isa import VectorOp


@register
class DequantizeRows(Operator[Attributes]):
    """Inputs q, int8 (rows, heads x columns), and scales, float32 (rows, heads): each element times its scale.

    It is a RESCALE for each tile of a head. Attention that reads it does so itself, tile by tile (`passes/attend.py`).
    """

    name = "DequantizeRows"
    by_grids = True
    operands = range(2, 3)

    def infer(self, shapes: Sequence[Shape], attributes: Attributes) -> tuple[Shape, ...]:
        q, scales = shapes
        if len(q) != 2 or len(scales) != 2 or q[0] != scales[0] or q[1] % scales[1]:
            raise ShapeError(f"rows {q} have one scale for each head, not scales {scales}")
        return (q,)

    def infer_dtypes(self, dtypes: Sequence[str], attributes: Attributes) -> tuple[str, ...]:
        if tuple(dtypes) != ("int8", "float32"):
            raise UnsupportedError(f"rows must be int8 and scales float32, not {' and '.join(dtypes)}")
        return ("float32",)

    def evaluate(self, inputs: Sequence[Array], attributes: Attributes) -> tuple[Array, ...]:
        q, scales = inputs
        return (floats_of(q, scales),)

    def tile(self, node: Node, graph: Graph, machine: Machine) -> Tiling:
        (rows, cols), heads = view_2d(graph.tensors[node.output].shape), _heads(node, graph)
        m, n = tile_height(rows, machine), min(machine.tile.n, cols // heads)
        return Tiling(m, 1, n, -(-rows // m), 1, heads * -(-cols // heads // n), panels=None)

    def reads(self, node: Node, graph: Graph, tiling: Tiling) -> tuple[Read, ...]:
        q, scales = node.present
        return Read(q, ("m", tiling.m), ("n", tiling.n)), Read(scales, ("m", tiling.m), ("", 1))

    def pace(self, node: Node, graph: Graph, tiling: Tiling, machine: Machine) -> Pace:
        busy = int(cost.vector_cycles(VectorOp.RESCALE, tiling.m, tiling.n, machine))
        return vector_pace(busy, node, graph, tiling, machine)

    def lower(self, node: Node, graph: Graph, tiling: Tiling, program: ProgramBuilder) -> None:
        """Emit for each tile of a head: LOAD it and its scales, VECTOR, STORE."""
        m, n, _ = tiling.walk()
        rows, cols = view_2d(graph.tensors[node.output].shape)
        size, (q, scales) = cols // _heads(node, graph), node.present
        in_head = -(-size // tiling.n)
        source = program.grid(q, tiling.m, tiling.n, across=size).ids(m, n)
        factor = program.grid(scales, tiling.m, 1).ids(m, n // in_head)
        target = program.grid(node.output, tiling.m, tiling.n, 1, across=size).ids(m, n)
        vectors = program.vectors(
            len(target),
            op=VectorOp.RESCALE,
            dtype=isa.DType.INT8,
            src0=source,
            src1=factor,
            dst=target,
            rows=np.minimum(tiling.m, rows - m * tiling.m),
            cols=np.minimum(tiling.n, size - n % in_head * tiling.n),
        )
        slots = [Slot(isa.Opcode.LOAD, source), Slot(isa.Opcode.LOAD, factor)]
        slots += [Slot(isa.Opcode.VECTOR, vectors), Slot(isa.Opcode.STORE, target)]
        program.layer(node.name, node.title, 0, slots, cores=tiling.core_of(m, n))


def floats_of(q: Array, scales: Array) -> Array:
    """Each element of rows times the scale of its head; in the type that numpy gives the product."""
    apart = q.reshape(*scales.shape, -1) * scales[..., np.newaxis]
    return np.asarray(apart.reshape(q.shape))


def _heads(node: Node, graph: Graph) -> int:
    return graph.tensors[node.present[1]].shape[1]
