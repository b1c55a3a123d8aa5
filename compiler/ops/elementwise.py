"""Elementwise operations: Relu, Sigmoid, Exp, Sqrt; and Add, Sub, Mul, Div and Max with broadcasting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from minisim.compiler import panels
from minisim.compiler.dtypes import CODE
from minisim.compiler.graph import view_2d
from minisim.compiler.ops.base import (
    Array,
    Attrs,
    Operator,
    register,
    sigmoid,
)
from minisim.compiler.program import ProgramBuilder, Slot
from minisim.compiler.split import Read
from minisim.compiler.tiling import Tiling, tile_height
from minisim.errors import ShapeError, UnsupportedError
from minisim.hwmodel import cost, isa

if TYPE_CHECKING:
    from minisim.compiler.graph import Graph, Node, Shape
    from minisim.hwmodel.config import Machine


class Elementwise(Operator):
    """One vector operation per output tile.

    Attributes:
        code: the operation.
        value: what it computes, of numpy arrays.
    """

    code: ClassVar[isa.VectorOp]
    value: ClassVar[Callable[..., Any]]

    def evaluate(self, inputs: Sequence[Array], attrs: Attrs) -> Array:
        with np.errstate(divide="ignore"):
            return np.asarray(self.value(*inputs))

    def tile(self, node: Node, graph: Graph, machine: Machine) -> Tiling:
        rows, cols = view_2d(graph.tensors[node.output].shape)
        m, n = tile_height(rows, machine), min(machine.tile.n, cols)
        return Tiling(m, 1, n, -(-rows // m), 1, -(-cols // n), panels=None)

    def reads(self, node: Node, graph: Graph, tiling: Tiling) -> tuple[Read, ...]:
        found = []
        for name in node.inputs:
            rows, cols = view_2d(graph.tensors[name].shape)
            axes = (
                ("m", min(tiling.m, rows)) if rows > 1 else ("", 1),
                ("n", min(tiling.n, cols)) if cols > 1 else ("", 1),
            )
            found.append(Read(name, *axes))
        return tuple(found)

    def pace(self, node: Node, graph: Graph, tiling: Tiling, machine: Machine) -> panels.Pace:
        busy = int(cost.vector_cycles(self.code, tiling.m, tiling.n, machine))
        dram = float(1 / machine.dram_bytes_per_cycle)
        row = tiling.n * isa.ITEMSIZE[graph.tensors[node.output].code]
        load, store = (max(cost.port_pace(tiling.m, row, machine, way), dram) for way in (True, False))
        turnaround = machine.dma.setup_cycles + machine.dram_latency_cycles + busy + machine.vector.latency_cycles
        return panels.Pace(max(busy, machine.vector.setup_cycles), load, store, dram, turnaround)

    def lower(self, node: Node, graph: Graph, tiling: Tiling, program: ProgramBuilder) -> None:
        """For each output tile: LOAD the sources, VECTOR, STORE. A repeated row or column has thin tiles."""
        m, n, _ = tiling.walk()
        sources = []
        for name in node.inputs:
            rows, cols = view_2d(graph.tensors[name].shape)
            grid = program.grid(name, min(tiling.m, rows), min(tiling.n, cols))
            sources.append(grid.ids(m if rows > 1 else 0 * m, n if cols > 1 else 0 * n))
        target = program.grid(node.output, tiling.m, tiling.n, final=1).ids(m, n)
        rows, cols = view_2d(graph.tensors[node.output].shape)
        vectors = program.vectors(
            len(target),
            op=self.code,
            dtype=graph.tensors[node.output].code,
            src0=sources[0],
            src1=sources[1] if len(sources) > 1 else isa.NONE,
            dst=target,
            rows=np.minimum(tiling.m, rows - m * tiling.m),
            cols=np.minimum(tiling.n, cols - n * tiling.n),
        )
        slots = [Slot(isa.Opcode.LOAD, ids) for ids in sources]
        slots += [Slot(isa.Opcode.VECTOR, vectors), Slot(isa.Opcode.STORE, target)]
        program.layer(node.name, node.title, 0, slots, cores=tiling.core_of(m, n))


class Unary(Elementwise):
    def infer(self, shapes: Sequence[Shape], attrs: Attrs) -> Shape:
        return shapes[0]


class Binary(Elementwise):
    operands = range(2, 3)

    def infer(self, shapes: Sequence[Shape], attrs: Attrs) -> Shape:
        try:
            shape = np.broadcast_shapes(*shapes)
        except ValueError:
            raise ShapeError(f"shapes {shapes[0]} and {shapes[1]} do not broadcast") from None
        for operand in shapes:
            if not _is_2d_broadcast(operand, shape):
                raise UnsupportedError(
                    f"broadcasting {operand} to {shape} is not supported: the leading dimensions must be "
                    "all equal or all 1"
                )
        return shape


def _is_2d_broadcast(operand: Shape, shape: Shape) -> bool:
    """Whether the machine can broadcast: as a 2-D view, each of rows and cols is full or 1."""
    padded = (1,) * (len(shape) - len(operand)) + operand
    leading = padded[:-1]
    return leading == shape[:-1] or view_2d(padded)[0] == 1


@register
class Relu(Unary):
    name, code = "Relu", isa.VectorOp.RELU
    dtypes = frozenset(CODE) - {"int16"}

    @staticmethod
    def value(x: Array) -> Array:
        return np.maximum(x, 0)


@register
class Sigmoid(Unary):
    name, code, value = "Sigmoid", isa.VectorOp.SIGMOID, staticmethod(sigmoid)


@register
class Exp(Unary):
    name, code, value = "Exp", isa.VectorOp.EXP, np.exp


@register
class Sqrt(Unary):
    name, code, value = "Sqrt", isa.VectorOp.SQRT, np.sqrt


@register
class Tanh(Unary):
    name, code, value = "Tanh", isa.VectorOp.TANH, np.tanh


@register
class Add(Binary):
    name, code, value = "Add", isa.VectorOp.ADD, np.add


@register
class Mul(Binary):
    name, code, value = "Mul", isa.VectorOp.MUL, np.multiply


@register
class Sub(Binary):
    name, code, value = "Sub", isa.VectorOp.SUB, np.subtract


@register
class Div(Binary):
    name, code, value = "Div", isa.VectorOp.DIV, np.divide


@register
class Max(Binary):
    name, code, value = "Max", isa.VectorOp.MAX, np.maximum
