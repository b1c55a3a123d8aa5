"""Reshape: the same elements, row-major, under another shape. No data moves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from minisim.compiler.attributes import ReshapeAttributes
from minisim.compiler.dtypes import CODE
from minisim.compiler.graph import Shape, Tensor
from minisim.compiler.ops.base import OnnxContext, OnnxNode, onnx_import, register
from minisim.compiler.semantics import Array, View
from minisim.compiler.values import Lazy, materialised
from minisim.errors import ShapeError, UnsupportedError, shown


@register
class Reshape(View[ReshapeAttributes]):
    """A view of the input's (then unpadded) DRAM buffer.

    A reshaped intermediate cannot stay in SRAM, because its tiles are other rectangles: its producer stores it, and
    its consumer loads it.
    """

    name = "Reshape"
    dtypes = frozenset(CODE)
    attributes = ReshapeAttributes

    def infer(self, shapes: Sequence[Shape], attributes: ReshapeAttributes) -> tuple[Shape, ...]:
        wanted, size = attributes.shape, math.prod(shapes[0])
        known = math.prod(d for d in wanted if d != -1)
        if -1 in wanted and size % known == 0:
            return (tuple(size // known if d == -1 else d for d in wanted),)
        if known != size or -1 in wanted:
            raise ShapeError(f"{size} elements do not fill shape {wanted}")
        return (wanted,)

    def evaluate(self, inputs: Sequence[Array], attributes: ReshapeAttributes) -> tuple[Array, ...]:
        return (inputs[0].reshape(attributes.shape),)


@onnx_import("Reshape", attributes=["allowzero"])
def import_reshape(context: OnnxContext, node: OnnxNode) -> Tensor:
    x = context.value(node.inputs[0])
    shape = context.integers(node.inputs[1])
    if shape is None:
        raise UnsupportedError("a shape that is computed at run time is not supported")
    if not node.attrs.get("allowzero", 0):
        shape = [x.shape[i] if d == 0 and i < len(x.shape) else d for i, d in enumerate(shape)]
    return context.graph.reshape(x, shape, name=node.name)


@onnx_import("Flatten", attributes=["axis"])
def import_flatten(context: OnnxContext, node: OnnxNode) -> Tensor:
    x = context.value(node.inputs[0])
    axis = int(node.attrs.get("axis", 1))
    if not -len(x.shape) <= axis <= len(x.shape):
        raise ShapeError(f"axis must lie in [-{len(x.shape)}, {len(x.shape)}], not {axis}")
    axis += len(x.shape) if axis < 0 else 0
    return context.graph.reshape(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])), name=node.name)


@onnx_import("Identity")
def import_identity(context: OnnxContext, node: OnnxNode) -> Tensor:
    return context.value(node.inputs[0])


@onnx_import("Dropout", attributes=["ratio", "seed"], several_outputs=True)
def import_dropout(context: OnnxContext, node: OnnxNode) -> tuple[Tensor, ...]:
    """In inference it drops nothing, whatever its ratio, so its mask is true everywhere.

    Older opsets than 12 do not say what the mask of inference is.
    """
    if len(node.inputs) > 2 and node.inputs[2]:
        training = materialised(context.constant(node.inputs[2]))
        if training is None or training.any():
            raise UnsupportedError("training_mode must be constant, and false: only inference is supported")
    x, graph = context.value(node.inputs[0]), context.graph
    if len(node.outputs) < 2 or not (mask := node.outputs[1]):
        return (x,)
    if context.opset < 12:
        raise UnsupportedError(f"its mask, {shown(mask)}, is supported from opset 12 on, not of {context.opset}")
    return x, graph.weight(graph.fresh_name(mask), Lazy(x.shape, partial(np.ones, x.shape, np.bool_)), "bool")
