"""ReduceSum, ReduceMax, ReduceMean: (..., n) -> (..., 1), along the last axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from minisim.compiler.attributes import Attributes
from minisim.compiler.graph import Node, Shape, Tensor
from minisim.compiler.ops.base import OnnxContext, OnnxNode, onnx_import, register
from minisim.compiler.ops.row_strips import RowOperator, RowStrips, last_axis_to_one
from minisim.compiler.semantics import Array
from minisim.errors import UnsupportedError
from minisim.hwmodel.isa import VectorOp


class Reduction(RowOperator):
    """One vector operation per strip of whole rows: the order of its sum is the engine's definition."""

    code: ClassVar[VectorOp]

    def infer(self, shapes: Sequence[Shape], attributes: Attributes) -> tuple[Shape, ...]:
        return (last_axis_to_one(shapes[0]),)

    def chain(self, node: Node, strips: RowStrips) -> None:
        strips.apply(self.code, strips.source(node.present[0]), out=node.output)


@register
class ReduceSum(Reduction):
    name = "ReduceSum"
    code = VectorOp.REDUCE_SUM

    def evaluate(self, inputs: Sequence[Array], attributes: Attributes) -> tuple[Array, ...]:
        return (np.asarray(inputs[0].sum(axis=-1, keepdims=True)),)


@register
class ReduceMax(Reduction):
    name = "ReduceMax"
    code = VectorOp.REDUCE_MAX

    def evaluate(self, inputs: Sequence[Array], attributes: Attributes) -> tuple[Array, ...]:
        return (np.asarray(inputs[0].max(axis=-1, keepdims=True)),)


@register
class ReduceMean(Reduction):
    """Inputs x, and the scalar n (`Graph.reduce_mean` supplies it): the sum, divided by n."""

    name = "ReduceMean"
    operands = range(2, 3)
    code = VectorOp.REDUCE_SUM

    def evaluate(self, inputs: Sequence[Array], attributes: Attributes) -> tuple[Array, ...]:
        return (np.asarray(inputs[0].sum(axis=-1, keepdims=True) / inputs[1]),)

    def chain(self, node: Node, strips: RowStrips) -> None:
        x, count = strips.source(node.present[0]), strips.operand(node.present[1])
        strips.apply(VectorOp.DIV, strips.apply(self.code, x, into="sum"), count, out=node.output)


@onnx_import("ReduceSum", "ReduceMax", "ReduceMean", attributes=["axes", "keepdims", "noop_with_empty_axes"])
def import_reduction(context: OnnxContext, node: OnnxNode) -> Tensor:
    """The axes are an attribute, or (ReduceSum from opset 13, the others from 18) a second input."""
    graph, x = context.graph, context.value(node.inputs[0])
    axes = _axes(context, node)
    if not axes and node.attrs.get("noop_with_empty_axes", 0):
        raise UnsupportedError("a reduction over no axes is not supported")
    rank = len(x.shape)
    reduced = {axis % rank if -rank <= axis < rank else axis for axis in axes} if axes else set(range(rank))
    if reduced != {rank - 1}:
        raise UnsupportedError(f"only the last axis, {rank - 1} of {x.shape}, can be reduced, not {sorted(reduced)}")
    reduce = {"ReduceSum": graph.reduce_sum, "ReduceMax": graph.reduce_max, "ReduceMean": graph.reduce_mean}
    if node.attrs.get("keepdims", 1):
        return reduce[node.op_type](x, name=node.name)
    return graph.reshape(reduce[node.op_type](x, name=f"{node.name}/kept"), x.shape[:-1], name=node.name)


def _axes(context: OnnxContext, node: OnnxNode) -> list[int]:
    if len(node.inputs) < 2 or not node.inputs[1]:
        return [int(axis) for axis in node.attrs.get("axes", ())]
    axes = context.integers(node.inputs[1])
    if axes is None:
        raise UnsupportedError("axes that are computed at run time are not supported")
    return axes
