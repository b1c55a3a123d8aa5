"""How com.microsoft's QLinearAdd and QLinearMul enter the graph: chains of the vector unit, as ONNX Runtime has them.

Both add the zero point of the result in float32 before they round, so that a tie goes to the even of the integers:

    a + b  is  round(fma(a, ra, fma(b, rb, zy - fma(ra, za, rb zb)))),  ra = sa / sy, rb = sb / sy
    a x b  is  round((a - za)(b - zb) s + zy),                          s = (sa sb) / sy

Each step is rounded to float32, an fma (x, y, z) is x y + z with one rounding; what is left saturates. Where a is a
number to each row of b, the two change places. So ONNX Runtime adds on a processor that fuses.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from minisim.compiler.graph import Shape, Tensor
from minisim.compiler.ops.base import OnnxContext, OnnxNode, onnx_import
from minisim.compiler.ops.quantization import type_of
from minisim.compiler.values import materialised
from minisim.errors import UnsupportedError

NEEDS = (0, 1, 3, 4, 6)
"""a, b and all scales; zero points may be left out."""


@onnx_import("com.microsoft::QLinearAdd", needs=NEEDS, most_inputs=8)
def import_add(context: OnnxContext, node: OnnxNode) -> Tensor:
    graph, (a, sa, za, b, sb, zb, sy, zy) = context.graph, (*node.inputs, *[""] * 8)[:8]
    operands = [(narrow(context, x), number(context, s) / number(context, sy), number(context, z))
                for x, s, z in ((a, sa, za), (b, sb, zb))]  # fmt: skip
    if _is_number_to_rows(operands[0][0].shape, operands[1][0].shape):
        operands.reverse()
    (_, of_first, zero_first), (_, of_second, zero_second) = operands
    zero = np.float64(of_first) * zero_first + np.float64(of_second * zero_second)  # rounded once
    fixed = number(context, zy) - np.float32(zero)
    total: Tensor | float = float(fixed)
    for x, ratio, _ in reversed(operands):
        wide = graph.cast(x, "float32", name=graph.fresh_name(f"{node.name}/wide"))
        total = graph.multiply_add(wide, float(ratio), total, name=graph.fresh_name(f"{node.name}/sum"))
    assert not isinstance(total, float)
    return graph.rescale(total, 1.0, type_of(context, a), name=node.name)


def _is_number_to_rows(a: Shape, b: Shape) -> bool:
    """Whether `a` has one element for each last axis of the sum, axes apart that neither has, and `b` has all."""
    rank = max(len(a), len(b))
    pairs = zip((1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b, strict=True)
    of_a, of_b = next((pair for pair in reversed([*pairs]) if pair != (1, 1)), (1, 1))
    return of_a < of_b


@onnx_import("com.microsoft::QLinearMul", needs=NEEDS, most_inputs=8)
def import_mul(context: OnnxContext, node: OnnxNode) -> Tensor:
    graph, (a, sa, za, b, sb, zb, sy, zy) = context.graph, (*node.inputs, *[""] * 8)[:8]
    factor = number(context, sa) * number(context, sb) / number(context, sy)
    first = graph.dequantize(narrow(context, a), 1.0, float(number(context, za)))
    second = graph.dequantize(narrow(context, b), 1.0, float(number(context, zb)))
    product = graph.mul(first, second, name=graph.fresh_name(f"{node.name}/product"))
    scaled = graph.mul(product, float(factor), name=graph.fresh_name(f"{node.name}/scaled"))
    moved = graph.add(scaled, float(number(context, zy)), name=graph.fresh_name(f"{node.name}/moved"))
    return graph.rescale(moved, 1.0, type_of(context, a), name=node.name)


def narrow(context: OnnxContext, name: str) -> Tensor:
    x = context.value(name)
    if x.dtype not in ("int8", "uint8"):
        raise UnsupportedError(f"operands must be int8 or uint8, not {x.dtype}")
    return x


def number(context: OnnxContext, name: str) -> np.float32:
    """A scale, or a zero point (0 if it is left out), as one constant number."""
    if not name:
        return np.float32(0)
    values: npt.NDArray[np.float32] | None = materialised(context.constant(name))
    if values is None or values.size != 1:
        raise UnsupportedError("scales and zero points must be one constant number each")
    return np.float32(values.reshape(-1)[0])
