"""Elementwise operations: Relu, Sigmoid, Exp, Sqrt; and Add, Sub, Mul, Div and Max with broadcasting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from minisim.compiler import panels
from minisim.compiler.activations import RELU, SIGMOID
from minisim.compiler.attributes import NO_ATTRIBUTES, Attributes
from minisim.compiler.dtypes import CODE
from minisim.compiler.graph import Graph, Node, Shape, Tensor, view_2d
from minisim.compiler.ops.base import (
    OnnxContext,
    OnnxNode,
    Operator,
    onnx_import,
    register,
)
from minisim.compiler.program import ProgramBuilder, Slot
from minisim.compiler.semantics import Array
from minisim.compiler.tiling import Read, Tiling, tile_height
from minisim.compiler.values import materialised
from minisim.errors import ShapeError, UnsupportedError
from minisim.hwmodel import cost, isa
from minisim.hwmodel.config import Machine


class Elementwise(Operator[Attributes]):
    """One vector operation per output tile."""

    code: ClassVar[isa.VectorOp]

    def tile(self, node: Node, graph: Graph, machine: Machine) -> Tiling:
        rows, cols = view_2d(graph.tensors[node.output].shape)
        m, n = tile_height(rows, machine), min(machine.tile.n, cols)
        return Tiling(m, 1, n, -(-rows // m), 1, -(-cols // n), panels=None)

    def reads(self, node: Node, graph: Graph, tiling: Tiling) -> tuple[Read, ...]:
        found = []
        for name in node.present:
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
        """Emit for each output tile: LOAD the sources, VECTOR, STORE. A repeated row or column has thin tiles."""
        m, n, _ = tiling.walk()
        sources = []
        for name in node.present:
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
    def infer(self, shapes: Sequence[Shape], attributes: Attributes) -> tuple[Shape, ...]:
        return (shapes[0],)


class Binary(Elementwise):
    operands = range(2, 3)

    def infer(self, shapes: Sequence[Shape], attributes: Attributes) -> tuple[Shape, ...]:
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
        return (shape,)


def _is_2d_broadcast(operand: Shape, shape: Shape) -> bool:
    """Whether the machine can broadcast: as a 2-D view, each of rows and cols is full or 1."""
    padded = (1,) * (len(shape) - len(operand)) + operand
    leading = padded[:-1]
    return leading == shape[:-1] or view_2d(padded)[0] == 1


@register
class Relu(Unary):
    name = "Relu"
    dtypes = frozenset(CODE) - {"int16"}
    code = isa.VectorOp.RELU

    def evaluate(self, inputs: Sequence[Array], attributes: Attributes) -> tuple[Array, ...]:
        return (RELU.function(inputs[0]),)


@register
class Sigmoid(Unary):
    name = "Sigmoid"
    code = isa.VectorOp.SIGMOID

    def evaluate(self, inputs: Sequence[Array], attributes: Attributes) -> tuple[Array, ...]:
        return (SIGMOID.function(inputs[0]),)


@register
class Add(Binary):
    name = "Add"
    code = isa.VectorOp.ADD

    def evaluate(self, inputs: Sequence[Array], attributes: Attributes) -> tuple[Array, ...]:
        return (inputs[0] + inputs[1],)


@register
class Mul(Binary):
    name = "Mul"
    code = isa.VectorOp.MUL

    def evaluate(self, inputs: Sequence[Array], attributes: Attributes) -> tuple[Array, ...]:
        return (inputs[0] * inputs[1],)


@register
class Sub(Binary):
    name = "Sub"
    code = isa.VectorOp.SUB

    def evaluate(self, inputs: Sequence[Array], attributes: Attributes) -> tuple[Array, ...]:
        return (inputs[0] - inputs[1],)


@register
class Div(Binary):
    name = "Div"
    code = isa.VectorOp.DIV

    def evaluate(self, inputs: Sequence[Array], attributes: Attributes) -> tuple[Array, ...]:
        with np.errstate(divide="ignore"):
            return (inputs[0] / inputs[1],)


@register
class Max(Binary):
    name = "Max"
    code = isa.VectorOp.MAX

    def evaluate(self, inputs: Sequence[Array], attributes: Attributes) -> tuple[Array, ...]:
        return (np.maximum(inputs[0], inputs[1]),)


@register
class Exp(Unary):
    name = "Exp"
    code = isa.VectorOp.EXP

    def evaluate(self, inputs: Sequence[Array], attributes: Attributes) -> tuple[Array, ...]:
        return (np.exp(inputs[0]),)


@register
class Sqrt(Unary):
    name = "Sqrt"
    code = isa.VectorOp.SQRT

    def evaluate(self, inputs: Sequence[Array], attributes: Attributes) -> tuple[Array, ...]:
        return (np.sqrt(inputs[0]),)


@onnx_import("Relu", "Sigmoid", "Exp", "Sqrt", "Add", "Sub", "Mul", "Div")
def import_elementwise(context: OnnxContext, node: OnnxNode) -> Tensor:
    return context.graph.add_node(node.op_type, [context.value(i) for i in node.inputs], NO_ATTRIBUTES, node.name)


@onnx_import("Pow")
def import_power(context: OnnxContext, node: OnnxNode) -> Tensor:
    exponent = materialised(context.constant(node.inputs[1]))
    if exponent is None or exponent.size != 1 or float(exponent.reshape(-1)[0]) != 2.0:
        raise UnsupportedError("only the constant exponent 2, a square, is supported")
    x = context.value(node.inputs[0])
    if exponent.ndim > len(x.shape):
        raise UnsupportedError(f"an exponent of {exponent.ndim} dimensions, more than the base has, is not supported")
    return context.graph.mul(x, x, name=node.name)


@onnx_import("Max")
def import_max(context: OnnxContext, node: OnnxNode) -> Tensor:
    if len(node.inputs) != 2:
        raise UnsupportedError(f"a maximum of 2 operands is supported, not of {len(node.inputs)}")
    return import_elementwise(context, node)
