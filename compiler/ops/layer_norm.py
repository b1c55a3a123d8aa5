"""LayerNorm along the last axis, with scale and bias."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minisim.compiler.attributes import Attributes
from minisim.compiler.graph import Node, Shape, Tensor, view_2d
from minisim.compiler.ops.base import OnnxContext, OnnxNode, onnx_import, register
from minisim.compiler.ops.row_strips import RowOperator, RowStrips
from minisim.compiler.semantics import Array
from minisim.errors import ShapeError, UnsupportedError
from minisim.hwmodel.isa import VectorOp


@register
class LayerNorm(RowOperator):
    """Inputs x, the scalars n, epsilon and 1 (`Graph.layer_norm` supplies them), then scale, then bias, if any.

    To the bit, each operation rounded once: d = x - sum(x) / n, v = sum(d * d) / n,
    y = d * (1 / sqrt(v + epsilon)) * scale + bias, from left to right. The variance is taken of the differences,
    not as mean(x^2) - mean^2, which loses everything where the mean is large.
    """

    name = "LayerNorm"
    operands = range(4, 7)

    def infer(self, shapes: Sequence[Shape], attributes: Attributes) -> tuple[Shape, ...]:
        x = shapes[0]
        if not x:
            raise ShapeError("a scalar has no axis to normalise")
        for what, shape in zip(("scale", "bias"), shapes[4:], strict=False):
            rows, cols = view_2d(shape)
            if rows != 1 or cols not in (1, x[-1]):
                raise ShapeError(f"{what} must have the {x[-1]} elements of the last axis, not shape {shape}")
        return (x,)

    def evaluate(self, inputs: Sequence[Array], attributes: Attributes) -> tuple[Array, ...]:
        x, _, epsilon, _, *affine = inputs
        centred = x - x.mean(axis=-1, keepdims=True)
        y = centred / np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + epsilon)
        for operation, operand in zip((np.multiply, np.add), affine, strict=False):
            y = operation(y, operand.reshape(-1))
        return (np.asarray(y),)

    def chain(self, node: Node, strips: RowStrips) -> None:
        x = strips.source(node.present[0])
        count, epsilon, one, *affine = (strips.operand(name) for name in node.present[1:])
        mean = strips.apply(VectorOp.DIV, strips.apply(VectorOp.REDUCE_SUM, x, into="sum"), count, into="mean")
        centred = strips.apply(VectorOp.SUB, x, mean, into="centred")
        squares = strips.apply(VectorOp.MUL, centred, centred, into="squares")
        sum_of_squares = strips.apply(VectorOp.REDUCE_SUM, squares, into="sum_of_squares")
        variance = strips.apply(VectorOp.DIV, sum_of_squares, count, into="variance")
        steady = strips.apply(VectorOp.ADD, variance, epsilon, into="steady")
        deviation = strips.apply(VectorOp.SQRT, steady, into="deviation")
        inverse = strips.apply(VectorOp.DIV, one, deviation, into="inverse")
        stages = list(zip((VectorOp.MUL, VectorOp.MUL, VectorOp.ADD), (inverse, *affine), strict=False))
        y = centred
        for i, (op, operand) in enumerate(stages, start=1):
            y = strips.apply(op, y, operand, into=f"stage{i}", out=node.output if i == len(stages) else "")


@onnx_import("LayerNormalization", attributes=["axis", "epsilon", "stash_type"])
def import_layer_norm(context: OnnxContext, node: OnnxNode) -> Tensor:
    x, scale = (context.value(name) for name in node.inputs[:2])
    rank, axis = len(x.shape), int(node.attrs.get("axis", -1))
    if not -rank <= axis < max(rank, 1):
        raise ShapeError(f"axis must lie in [-{rank}, {rank - 1}], not {axis}")
    if node.attrs.get("stash_type", 1) != 1:
        raise UnsupportedError("stash_type must be 1, float32")
    bias = context.value(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
    axes, epsilon = range(axis % max(rank, 1), rank), float(node.attrs.get("epsilon", 1e-5))
    return context.graph.layer_norm(x, scale, bias, axes=axes, epsilon=epsilon, name=node.name)
