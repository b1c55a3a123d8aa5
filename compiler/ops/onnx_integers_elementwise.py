"""How com.microsoft's QLinearAdd and QLinearMul enter the graph: chains of the vector unit, as ONNX Runtime has them.

Both add the zero point of the result in float32 before they round, so that a tie goes to the even of the integers:

    a + b  is  round((ra a + (zy - fma(ra, za, rb zb))) + rb b),  ra = sa / sy, rb = sb / sy
    a x b  is  round((a - za)(b - zb) s + zy),                    s = (sa sb) / sy

Each step is rounded to float32; what is left saturates. Of a sum ONNX Runtime fuses multiplications and additions where
its processor does, so that a few results in a million are the neighbouring integer there.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from minisim.compiler.graph import Tensor
from minisim.compiler.ops.base import OnnxContext, OnnxNode, onnx_import
from minisim.compiler.ops.quantization import type_of
from minisim.compiler.values import materialised
from minisim.errors import UnsupportedError

NEEDS = (0, 1, 3, 4, 6)
"""a, b and all scales; zero points may be left out."""


@onnx_import("com.microsoft::QLinearAdd", needs=NEEDS, most_inputs=8)
def import_add(context: OnnxContext, node: OnnxNode) -> Tensor:
    graph, (a, sa, za, b, sb, zb, sy, zy) = context.graph, (*node.inputs, *[""] * 8)[:8]
    of_a, of_b = (_number(context, name) / _number(context, sy) for name in (sa, sb))
    zero = np.float64(of_a) * _number(context, za) + np.float64(of_b * _number(context, zb))  # rounded once
    fixed = _number(context, zy) - np.float32(zero)
    first = graph.rescale(_narrow(context, a), float(of_a), "float32", name=graph.fresh_name(f"{node.name}/a"))
    second = graph.rescale(_narrow(context, b), float(of_b), "float32", name=graph.fresh_name(f"{node.name}/b"))
    moved = graph.add(first, float(fixed), name=graph.fresh_name(f"{node.name}/fixed"))
    total = graph.add(moved, second, name=graph.fresh_name(f"{node.name}/sum"))
    return graph.rescale(total, 1.0, type_of(context, a), name=node.name)


@onnx_import("com.microsoft::QLinearMul", needs=NEEDS, most_inputs=8)
def import_mul(context: OnnxContext, node: OnnxNode) -> Tensor:
    graph, (a, sa, za, b, sb, zb, sy, zy) = context.graph, (*node.inputs, *[""] * 8)[:8]
    factor = _number(context, sa) * _number(context, sb) / _number(context, sy)
    first = graph.dequantize(_narrow(context, a), 1.0, float(_number(context, za)))
    second = graph.dequantize(_narrow(context, b), 1.0, float(_number(context, zb)))
    product = graph.mul(first, second, name=graph.fresh_name(f"{node.name}/product"))
    scaled = graph.mul(product, float(factor), name=graph.fresh_name(f"{node.name}/scaled"))
    moved = graph.add(scaled, float(_number(context, zy)), name=graph.fresh_name(f"{node.name}/moved"))
    return graph.rescale(moved, 1.0, type_of(context, a), name=node.name)


def _narrow(context: OnnxContext, name: str) -> Tensor:
    x = context.value(name)
    if x.dtype not in ("int8", "uint8"):
        raise UnsupportedError(f"operands must be int8 or uint8, not {x.dtype}")
    return x


def _number(context: OnnxContext, name: str) -> np.float32:
    """A scale, or a zero point (0 if it is left out), as one constant number."""
    if not name:
        return np.float32(0)
    values: npt.NDArray[np.float32] | None = materialised(context.constant(name))
    if values is None or values.size != 1:
        raise UnsupportedError("scales and zero points must be one constant number each")
    return np.float32(values.reshape(-1)[0])
