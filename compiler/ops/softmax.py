"""Softmax along the last axis, and its logarithm."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minisim.compiler.attributes import Attributes
from minisim.compiler.graph import Node, Shape, Tensor
from minisim.compiler.ops.base import OnnxContext, OnnxNode, onnx_import, register
from minisim.compiler.ops.row_strips import RowOperator, RowStrips
from minisim.compiler.semantics import Array
from minisim.errors import ShapeError
from minisim.hwmodel.isa import VectorOp


@register
class Softmax(RowOperator):
    """Inputs x, and the scalar 1 (`Graph.softmax` supplies it).

    To the bit: m = max(x), e = exp(x - m), y = e * (1 / sum(e)), each operation rounded once. A division per row
    instead of one per element, as most kernels for real machines have it. Of a row that holds a NaN or +inf, or
    nothing but -inf, all is NaN.
    """

    name = "Softmax"
    operands = range(2, 3)

    def infer(self, shapes: Sequence[Shape], attributes: Attributes) -> tuple[Shape, ...]:
        if not shapes[0]:
            raise ShapeError("a scalar has no axis to normalise")
        return (shapes[0],)

    def evaluate(self, inputs: Sequence[Array], attributes: Attributes) -> tuple[Array, ...]:
        x = inputs[0]
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        return (np.asarray(e / e.sum(axis=-1, keepdims=True)),)

    def chain(self, node: Node, strips: RowStrips) -> None:
        x, one = strips.source(node.present[0]), strips.operand(node.present[1])
        greatest = strips.apply(VectorOp.REDUCE_MAX, x, into="max")
        e = strips.apply(VectorOp.EXP, strips.apply(VectorOp.SUB, x, greatest, into="shifted"), into="exp")
        inverse = strips.apply(VectorOp.DIV, one, strips.apply(VectorOp.REDUCE_SUM, e, into="sum"), into="inverse")
        strips.apply(VectorOp.MUL, e, inverse, out=node.output)


@register
class LogSoftmax(RowOperator):
    """To the bit: s = x - max(x), y = s - log(sum(exp(s))), each operation rounded once."""

    name = "LogSoftmax"

    def infer(self, shapes: Sequence[Shape], attributes: Attributes) -> tuple[Shape, ...]:
        if not shapes[0]:
            raise ShapeError("a scalar has no axis to normalise")
        return (shapes[0],)

    def evaluate(self, inputs: Sequence[Array], attributes: Attributes) -> tuple[Array, ...]:
        shifted = inputs[0] - inputs[0].max(axis=-1, keepdims=True)
        return (np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))),)

    def chain(self, node: Node, strips: RowStrips) -> None:
        x = strips.source(node.present[0])
        shifted = strips.apply(VectorOp.SUB, x, strips.apply(VectorOp.REDUCE_MAX, x, into="max"), into="shifted")
        total = strips.apply(VectorOp.REDUCE_SUM, strips.apply(VectorOp.EXP, shifted, into="exp"), into="sum")
        strips.apply(VectorOp.SUB, shifted, strips.apply(VectorOp.LOG, total, into="log"), out=node.output)


@onnx_import("Softmax", "LogSoftmax", attributes=["axis"])
def import_softmax(context: OnnxContext, node: OnnxNode) -> Tensor:
    """Before opset 13 all axes from `axis` (then 1 if not given) on were one."""
    x, graph = context.value(node.inputs[0]), context.graph
    rank = len(x.shape)
    axis = int(node.attrs.get("axis", -1 if context.opset >= 13 else 1))
    if not -rank <= axis < max(rank, 1):
        raise ShapeError(f"axis must lie in [-{rank}, {rank - 1}], not {axis}")
    axes = [axis] if context.opset >= 13 else list(range(axis % max(rank, 1), rank))
    method = graph.softmax if node.op_type == "Softmax" else graph.log_softmax
    return method(x, axes, name=node.name)
