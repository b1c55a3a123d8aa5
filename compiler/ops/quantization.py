"""Quantize, Dequantize and Requantize: conversions of the vector unit between numbers and the integers that stand for
them, with a scale and a zero point each; and how ONNX's nodes become them.

An integer q stands for (q - zero point) x scale. Both are float32, numbers or one for each row or column; what is
computed, to the bit, is in the engine's integers.hpp, and it is what ONNX Runtime computes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import numpy as np

from minisim.compiler.attributes import Attributes, CastAttributes
from minisim.compiler.dtypes import FLOATS, FLOATS8, HELD_AS, NUMBERS
from minisim.compiler.graph import Graph, Tensor
from minisim.compiler.ops.base import OnnxContext, OnnxNode, onnx_import, register
from minisim.compiler.ops.cast import ONNX_TYPES
from minisim.compiler.ops.elementwise import Elementwise
from minisim.compiler.semantics import Array, one_dtype
from minisim.compiler.values import materialised
from minisim.errors import ShapeError, UnsupportedError
from minisim.hwmodel.isa import VectorOp


class Quantization(Elementwise):
    """Inputs x, scale and zero point; the attribute says which type is made."""

    attributes = CastAttributes

    def infer_dtypes(self, dtypes: Sequence[str], attributes: Attributes) -> tuple[str, ...]:
        one_dtype(dtypes[:1], NUMBERS)
        if wrong := [dtype for dtype in dtypes[1:] if dtype != "float32"]:
            raise UnsupportedError(f"scale and zero point must be float32, not {wrong[0]}")
        return (one_dtype([cast(CastAttributes, attributes).to], NUMBERS),)

    def evaluate(self, inputs: Sequence[Array], attributes: Attributes) -> tuple[Array, ...]:
        """In float32, as the machine: what is rounded to a whole number must not depend on more digits."""
        to = cast(CastAttributes, attributes).to
        with np.errstate(all="ignore"):
            found = np.asarray(self.value(*(np.asarray(x).astype(np.float32) for x in inputs)))
        if to in FLOATS:
            return (found.astype(np.float64),)
        limits = np.iinfo(HELD_AS[to])
        whole = np.rint(np.nan_to_num(found, nan=0.0, posinf=np.inf, neginf=-np.inf)).astype(np.float64)
        return (np.clip(whole, limits.min, limits.max).astype(np.int64),)


@register
class Quantize(Quantization):
    """round(x / scale) + zero point, saturated."""

    name, code = "Quantize", VectorOp.QUANTIZE

    @staticmethod
    def value(x: Array, scale: Array, zero: Array) -> Array:
        return np.asarray(np.rint(x / scale) + zero)


@register
class Dequantize(Quantization):
    """(x - zero point) x scale."""

    name, code = "Dequantize", VectorOp.DEQUANTIZE

    @staticmethod
    def value(x: Array, scale: Array, zero: Array) -> Array:
        return np.asarray((x - zero) * scale)


@register
class Requantize(Quantization):
    """round(x x scale) + zero point, saturated: of int32 sums of products."""

    name, code = "Requantize", VectorOp.REQUANTIZE

    @staticmethod
    def value(x: Array, scale: Array, zero: Array) -> Array:
        return np.asarray(np.rint(x * scale) + zero)


@onnx_import("QuantizeLinear", attributes=["axis", "block_size", "output_dtype", "precision", "saturate"])
def import_quantize(context: OnnxContext, node: OnnxNode) -> Tensor:
    """The type is that of the zero point, or the attribute's, or uint8."""
    x = context.value(node.inputs[0])
    if x.dtype != "float32":
        raise UnsupportedError(f"x must be float32, not {x.dtype}")
    if node.attrs.get("precision", 0) not in (0, 1):
        raise UnsupportedError("x must be divided in float32")
    named = int(node.attrs.get("output_dtype", 0))
    of_zero = type_of(context, node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else ""
    if (of_floats := of_zero or ONNX_TYPES.get(named, "")) in FLOATS8:
        return _quantised_floats(context, node, x, of_floats)
    dtype = integer_type(context, node.inputs[2:3], ONNX_TYPES.get(named, str(named)) if named else "uint8")
    scale, zero = scale_and_zero(context, node, x)
    return context.graph.quantize(x, scale, zero, dtype, name=node.name)


@onnx_import("DequantizeLinear", attributes=["axis", "block_size", "output_dtype"])
def import_dequantize(context: OnnxContext, node: OnnxNode) -> Tensor:
    """Of int8, uint8 and int16, of int32, as biases are, and of floats of 8 bits."""
    x = context.value(node.inputs[0])
    if int(node.attrs.get("output_dtype", 0)) not in (0, 1):
        raise UnsupportedError("float32 is made of integers, no other type")
    scale, zero = scale_and_zero(context, node, x)
    if x.dtype in FLOATS8:
        return _floats_of(context, node, x, scale, zero)
    return context.graph.dequantize(x, scale, zero, name=node.name)


def _quantised_floats(context: OnnxContext, node: OnnxNode, x: Tensor, dtype: str) -> Tensor:
    """x / scale in float32, rounded to floats of 8 bits."""
    graph, (scale, zero) = context.graph, scale_and_zero(context, node, x)
    steps = graph.div(x, scale, name=graph.fresh_name(f"{node.name}/steps"))
    if _has_zero(context, node):
        steps = graph.add(steps, zero, name=graph.fresh_name(f"{node.name}/moved"))
    return graph.cast(steps, dtype, saturate=bool(node.attrs.get("saturate", 1)), name=node.name)


def _floats_of(context: OnnxContext, node: OnnxNode, x: Tensor, scale: Tensor | float, zero: Tensor | float) -> Tensor:
    """x times its scale in float32, in the type of the scale."""
    graph, to = context.graph, type_of(context, node.inputs[1])

    def part(text: str) -> str:
        return graph.fresh_name(f"{node.name}/{text}")

    wide = graph.cast(x, "float32", name=part("float32"))
    if _has_zero(context, node):
        wide = graph.sub(wide, zero, name=part("moved"))
    found = graph.mul(wide, scale, name=node.name if to == "float32" else part("scaled"))
    return found if to == "float32" else graph.cast(found, to, name=node.name)


def _has_zero(context: OnnxContext, node: OnnxNode) -> bool:
    """Whether a zero point of floats is computed. ONNX has them 0: one that is constant says their type alone."""
    if len(node.inputs) < 3 or not node.inputs[2]:
        return False
    zero = materialised(context.constant(node.inputs[2]))
    if zero is not None and np.any(zero.astype(np.float32) != 0):
        raise UnsupportedError("the zero point of floats of 8 bits must be 0")
    return zero is None


@onnx_import("DynamicQuantizeLinear", several_outputs=True)
def import_dynamic_quantize(context: OnnxContext, node: OnnxNode) -> tuple[Tensor, ...]:
    """y, its scale and its zero point: uint8 over the range of all of x, and of 0."""
    x = context.value(node.inputs[0])
    if x.dtype != "float32":
        raise UnsupportedError(f"x must be float32, not {x.dtype}")
    return over_its_range(context.graph, x, node.name)


def over_its_range(graph: Graph, x: Tensor, name: str) -> tuple[Tensor, Tensor, Tensor]:
    """`x` in uint8 over the range of all of it, and of 0, as the tensor `name`; its scale and its zero point."""

    def part(text: str) -> str:
        return graph.fresh_name(f"{name}/{text}")

    row = graph.reshape(x, (1, math.prod(x.shape)), name=part("row"))
    most = graph.maximum(graph.reduce_max(row, name=part("max")), 0.0, name=part("most"))
    lowest = graph.reduce_max(graph.neg(row, name=part("negated")), name=part("min"))
    below = graph.maximum(lowest, 0.0, name=part("below"))  # how far x goes below 0
    width = graph.add(most, below, name=part("width"))
    steps = graph.div(width, 255.0, name=part("steps"))
    none = graph.equal(width, 0.0, name=part("flat"))
    scale = graph.reshape(graph.select(none, 1.0, steps, name=part("chosen")), (), name=part("scale"))
    below = graph.reshape(below, (), name=part("least"))
    zero = graph.quantize(below, scale, 0.0, "uint8", name=part("zero"))
    zero_point = graph.cast(zero, "float32", name=part("zero_point"))
    return graph.quantize(x, scale, zero_point, "uint8", name=name), scale, zero


# -- what the nodes of integers share --------------------------------------------------------------------


def integer_type(context: OnnxContext, names: Sequence[str], otherwise: str) -> str:
    """The type of the first of these operands that is there, or `otherwise`; one of the graph's integers."""
    found = type_of(context, names[0]) if names and names[0] else otherwise
    if found not in ("int8", "uint8", "int16"):
        raise UnsupportedError(f"the integers must be int8, uint8 or int16, not {found}")
    return found


def type_of(context: OnnxContext, name: str) -> str:
    """The type of a value, constant or not."""
    return context.constant_dtype(name) or context.value(name).dtype


def scale_and_zero(context: OnnxContext, node: OnnxNode, x: Tensor) -> tuple[Tensor | float, Tensor | float]:
    """The second and the third operand in float32, of a number of elements each, or along the node's axis."""
    if node.attrs.get("block_size", 0):
        raise UnsupportedError("scales of blocks are not supported")
    rank, axis = len(x.shape), int(node.attrs.get("axis", 1))

    def laid(name: str) -> Tensor:
        constant = context.constant(name)
        shape = context.value(name).shape if constant is None else constant.shape
        wanted: tuple[int, ...] = ()
        if math.prod(shape) != 1:
            if len(shape) != 1 or not -rank <= axis < rank or shape[0] != x.shape[axis]:
                raise ShapeError(
                    f"{name!r} of shape {shape} must be one number, or one for each of axis {axis} of {x.shape}"
                )
            wanted = (*shape, *(1,) * (rank - 1 - axis % rank))
        if constant is not None:
            values = materialised(constant)
            return context.weight(name, values.reshape(wanted).astype(np.float32), "float32")  # type: ignore[union-attr]
        found = context.value(name)
        found = found if found.shape == wanted else context.graph.reshape(found, wanted)
        return found if found.dtype == "float32" else context.graph.cast(found, "float32")

    has_zero = len(node.inputs) > 2 and node.inputs[2] != ""
    return laid(node.inputs[1]), laid(node.inputs[2]) if has_zero else 0.0
