"""ReduceSum, ReduceMax, ReduceMean: (..., n) -> (..., 1), along the last axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from minisim.compiler.arguments import checked_axes
from minisim.compiler.attributes import Attributes, TransposeAttributes
from minisim.compiler.dtypes import FLOATS, NUMBERS
from minisim.compiler.graph import Graph, Node, Shape, Tensor
from minisim.compiler.ops.base import OnnxContext, OnnxNode, onnx_import, register
from minisim.compiler.ops.elementwise import Elementwise
from minisim.compiler.ops.row_strips import RowOperator, RowStrips, last_axis_to_one
from minisim.compiler.semantics import SEMANTICS, Array
from minisim.errors import UnsupportedError
from minisim.hwmodel.isa import VectorOp


class Reduction(RowOperator):
    """One vector operation per strip of whole rows: the order of its sum is the engine's definition."""

    code: ClassVar[VectorOp]
    dtypes = NUMBERS

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
    dtypes = FLOATS

    def evaluate(self, inputs: Sequence[Array], attributes: Attributes) -> tuple[Array, ...]:
        return (np.asarray(inputs[0].sum(axis=-1, keepdims=True) / inputs[1]),)

    def chain(self, node: Node, strips: RowStrips) -> None:
        x, count = strips.source(node.present[0]), strips.operand(node.present[1])
        strips.apply(VectorOp.DIV, strips.apply(self.code, x, into="sum"), count, out=node.output)


REDUCTIONS = ("ReduceSum", "ReduceMax", "ReduceMin", "ReduceMean", "ReduceL1", "ReduceL2", "ReduceSumSquare",
              "ReduceLogSum", "ReduceLogSumExp", "ReduceProd")  # fmt: skip


@onnx_import(*REDUCTIONS, attributes=["axes", "keepdims", "noop_with_empty_axes"])
def import_reduction(context: OnnxContext, node: OnnxNode) -> Tensor:
    """The axes are an attribute, or (ReduceSum from opset 13, the others from 18) a second input.

    What is no reduction of the vector unit is one with elementwise operations before and behind it.
    """
    graph, x, name = context.graph, context.value(node.inputs[0]), node.name
    if x.dtype == "bool":  # the greatest, or the least, of 0 and 1
        whole = replace(node, name=f"{name}/reduced")
        return graph.cast(_reduced(context, whole, graph.cast(x, "uint8", name=f"{name}/bytes")), "bool", name=name)
    return _reduced(context, node, x)


def _reduced(context: OnnxContext, node: OnnxNode, x: Tensor) -> Tensor:
    graph, name = context.graph, node.name
    given = _axes(context, node)
    if not given and node.attrs.get("noop_with_empty_axes", 0):
        if node.op_type in ("ReduceSum", "ReduceMax", "ReduceMin", "ReduceMean", "ReduceProd"):
            return x
        raise UnsupportedError("of no axes at all it is not supported")
    keep = bool(node.attrs.get("keepdims", 1))
    if len(x.shape) == 4 and sorted(axis % 4 for axis in given) == [2, 3] and comes_turned(graph, x):
        images = graph.transpose(x, (0, 2, 3, 1), name=f"{name}/in")
        y = _along(graph, replace(node, name=f"{name}/nhwc") if keep else node, images, [1, 2], keep)
        return graph.transpose(y, (0, 3, 1, 2), name=name) if keep else y
    return _along(graph, node, x, given or None, keep)


def comes_turned(graph: Graph, x: Tensor) -> bool:
    """Whether x was NHWC before its importer turned it, and nothing but elementwise operations lies between: then the
    transposition that undoes it costs nothing (`frontend/layout.py`)."""
    made = {name: node for node in graph.nodes for name in node.outputs}
    while (node := made.get(x.name)) is not None:
        if node.op == "Transpose":
            return node.attributes_as(TransposeAttributes).perm == (0, 3, 1, 2)
        alike = [name for name in node.present if graph.tensors[name].shape == x.shape]
        if not isinstance(SEMANTICS[node.op], Elementwise) or not alike:
            return False
        x = graph.tensors[alike[0]]
    return False


def _along(graph: Graph, node: OnnxNode, x: Tensor, axes: list[int] | None, keep: bool) -> Tensor:
    name = node.name

    def part(text: str) -> str:
        return f"{name}/{text}"

    match node.op_type:
        case "ReduceSum":
            return graph.reduce_sum(x, axes, keepdims=keep, name=name)
        case "ReduceMax":
            return graph.reduce_max(x, axes, keepdims=keep, name=name)
        case "ReduceMean":
            return graph.reduce_mean(x, axes, keepdims=keep, name=name)
        case "ReduceMin":
            # of integers -1 - x turns the order around, and no value leaves the type; of unsigned ones their greatest
            top = None if x.dtype in FLOATS else np.iinfo(x.dtype).max if x.dtype == "uint8" else -1
            turned = graph.neg(x, name=part("negative")) if top is None else graph.sub(top, x, name=part("negative"))
            greatest = graph.reduce_max(turned, axes, keepdims=keep, name=part("greatest"))
            return graph.neg(greatest, name=name) if top is None else graph.sub(top, greatest, name=name)
        case "ReduceProd":
            return _product(graph, x, checked_axes(x.shape, axes), keep, name)
        case "ReduceL1":
            return graph.reduce_sum(graph.abs(x, name=part("abs")), axes, keepdims=keep, name=name)
        case "ReduceSumSquare":
            return graph.reduce_sum(graph.mul(x, x, name=part("squares")), axes, keepdims=keep, name=name)
        case "ReduceL2":
            total = graph.reduce_sum(graph.mul(x, x, name=part("squares")), axes, keepdims=keep, name=part("sum"))
            return graph.sqrt(total, name=name)
        case "ReduceLogSum":
            return graph.log(graph.reduce_sum(x, axes, keepdims=keep, name=part("sum")), name=name)
        case _:  # ReduceLogSumExp: of differences from the greatest, which do not overflow
            greatest = graph.reduce_max(x, axes, name=part("greatest"))
            e = graph.exp(graph.sub(x, greatest, name=part("shifted")), name=part("exp"))
            total = graph.log(graph.reduce_sum(e, axes, name=part("sum")), name=part("log"))
            whole = graph.add(total, greatest, name=name if keep else part("kept"))
            dropped = checked_axes(x.shape, axes)
            shape = [d for i, d in enumerate(x.shape) if i not in dropped]
            return whole if keep else graph.reshape(whole, shape, name=name)


def _product(graph: Graph, x: Tensor, axes: Sequence[int], keep: bool, name: str) -> Tensor:
    """The product over each axis in turn, by halves: the first half times the second, until one element is left; then
    times what odd numbers left over, the earliest first. The vector unit has no reduction that multiplies."""

    def times(a: Tensor, b: Tensor) -> Tensor:
        return graph.mul(a, b, name=graph.fresh_name(f"{name}/product"))

    for axis in axes:
        left_over: list[Tensor] = []
        while (length := x.shape[axis]) > 1:
            sizes = [length // 2] * 2 + [1] * (length % 2)
            first, second, *odd = graph.split(x, sizes, axis=axis, name=graph.fresh_name(f"{name}/halves"))
            left_over += odd
            x = times(first, second)
        for each in left_over:
            x = times(x, each)
    shape = [d for i, d in enumerate(x.shape) if keep or i not in axes]
    return graph.reshape(x, shape, name=name)


def _axes(context: OnnxContext, node: OnnxNode) -> list[int]:
    if len(node.inputs) < 2 or not node.inputs[1]:
        return [int(axis) for axis in node.attrs.get("axes", ())]
    axes = context.integers(node.inputs[1])
    if axes is None:
        raise UnsupportedError("axes that are computed at run time are not supported")
    return axes
