"""Cast and Rescale: the values of a tensor, or these times a factor, in another type; conversions of the vector unit.

What each pair of types means is in the engine's integers.hpp.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from minisim.compiler.attributes import Attributes, CastAttributes
from minisim.compiler.dtypes import CODE, FLOATS, FLOATS8, HELD_AS, NUMBERS, converted, one_of
from minisim.compiler.float8 import from_bits, to_bits
from minisim.compiler.graph import Graph, Tensor
from minisim.compiler.ops.base import OnnxContext, OnnxNode, onnx_import, register
from minisim.compiler.ops.elementwise import Elementwise
from minisim.compiler.semantics import Array, one_dtype
from minisim.errors import UnsupportedError
from minisim.hwmodel.isa import VectorOp

ONNX_TYPES = {1: "float32", 2: "uint8", 3: "int8", 5: "int16", 6: "int32", 9: "bool", 10: "float16", 16: "bfloat16",
              17: "float8_e4m3fn", 19: "float8_e5m2"}  # fmt: skip
"""The types that the graph has, by the numbers that ONNX gives them."""


@register
class Cast(Elementwise):
    """ONNX's; floats are rounded to the type also by `evaluate`, since the model says so."""

    name, code, attributes = "Cast", VectorOp.CAST, CastAttributes
    saturates = True
    """Whether a float of 8 bits is the largest one where it cannot be larger."""

    def infer_dtypes(self, dtypes: Sequence[str], attributes: Attributes) -> tuple[str, ...]:
        return (cast(CastAttributes, attributes).to,)

    def evaluate(self, inputs: Sequence[Array], attributes: Attributes) -> tuple[Array, ...]:
        x, to = inputs[0], cast(CastAttributes, attributes).to
        if to in FLOATS8:
            return (from_bits(to_bits(x, to, self.saturates), to).astype(np.float64),)
        if to in FLOATS:
            floats = x if x.dtype.kind == "f" else x.astype(np.float64)
            return (floats if to == "float32" else converted(floats, to).astype(np.float64),)
        if to == "bool" or x.dtype.kind != "f":
            return ((x != 0) if to == "bool" else x.astype(np.int64),)
        limits = np.iinfo(HELD_AS[to])
        whole = np.clip(np.trunc(np.nan_to_num(x, nan=0.0, posinf=np.inf, neginf=-np.inf)), limits.min, limits.max)
        return (whole.astype(np.int64),)


@register
class CastBeyond(Cast):
    """ONNX's with `saturate` = 0, of floats to floats of 8 bits: what is beyond these is infinite, or NaN."""

    name, code, saturates = "CastBeyond", VectorOp.CAST_BEYOND, False

    def infer_dtypes(self, dtypes: Sequence[str], attributes: Attributes) -> tuple[str, ...]:
        one_dtype(dtypes, FLOATS)
        return (one_dtype([cast(CastAttributes, attributes).to], FLOATS8),)


@register
class Rescale(Elementwise):
    """The float32 value of x, times a factor (a number, or one for each column): it quantises, and dequantises.

    Integers are rounded to, ties to even, and saturate.
    """

    name, code, attributes = "Rescale", VectorOp.RESCALE, CastAttributes

    def infer_dtypes(self, dtypes: Sequence[str], attributes: Attributes) -> tuple[str, ...]:
        one_dtype(dtypes[:1], NUMBERS)
        if dtypes[1] != "float32":
            raise UnsupportedError(f"the factor must be float32, not {dtypes[1]}")
        return (one_dtype([cast(CastAttributes, attributes).to], NUMBERS),)

    def evaluate(self, inputs: Sequence[Array], attributes: Attributes) -> tuple[Array, ...]:
        (x, factor), to = inputs, cast(CastAttributes, attributes).to
        if to in FLOATS:
            return (np.asarray(x * factor),)
        limits = np.iinfo(HELD_AS[to])
        scaled = np.nan_to_num(np.rint(x.astype(np.float32) * factor.astype(np.float32)), nan=0.0, posinf=np.inf)
        return (np.clip(scaled, limits.min, limits.max).astype(np.float64).astype(np.int64),)


@onnx_import("Cast", attributes=["to", "saturate", "round_mode"])
def import_cast(context: OnnxContext, node: OnnxNode) -> Tensor:
    """To one of the graph's types; `round_mode` is of types that it does not have."""
    to = ONNX_TYPES.get(int(node.attrs.get("to", 0)))
    if to is None:
        raise UnsupportedError(f"a cast to {one_of(CODE)} is supported, not to type {node.attrs.get('to')}")
    x = context.value(node.inputs[0])
    return cast_to(context.graph, x, to, node)


@onnx_import("CastLike", attributes=["saturate", "round_mode"])
def import_cast_like(context: OnnxContext, node: OnnxNode) -> Tensor:
    """To the type of its second operand, of which nothing else counts: as a constant it may have no elements."""
    x, constant = context.value(node.inputs[0]), context.constant(node.inputs[1])
    to = constant.dtype.name if isinstance(constant, np.ndarray) else context.value(node.inputs[1]).dtype
    if to not in CODE:
        raise UnsupportedError(f"a cast to {one_of(CODE)} is supported, not to {to}")
    return cast_to(context.graph, x, to, node)


def cast_to(graph: Graph, x: Tensor, to: str, node: OnnxNode) -> Tensor:
    """x in another type, as the node says what is beyond a float of 8 bits."""
    saturates = bool(node.attrs.get("saturate", 1))
    if x.dtype == to:
        return x
    if not saturates and to in FLOATS8 and x.dtype not in FLOATS:
        x = graph.cast(x, "float32", name=graph.fresh_name(f"{node.name}/float32"))
    return graph.cast(x, to, saturate=saturates, name=node.name)
