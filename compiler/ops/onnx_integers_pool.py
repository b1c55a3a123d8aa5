"""How com.microsoft's averages of quantised images enter the graph. ONNX Runtime's recipes differ from each other:

    QLinearGlobalAveragePool   round(sum(x - zx) s) + zy,                 s = sx / (sy n), for n pixels
    QLinearAveragePool         round((sum((x - zx) sx) / n) / sy + zy),   the sum one chain, line by line

Each step is rounded to float32; what is left saturates. The first sums integers: they are exact in float32 up to 2^24,
which is images of 65,793 pixels.
"""

from __future__ import annotations

import math
from typing import Any

from minisim.compiler.graph import Tensor
from minisim.compiler.ops.base import OnnxContext, OnnxNode, onnx_import
from minisim.compiler.ops.onnx_integers_elementwise import narrow, number
from minisim.compiler.ops.onnx_pool import WINDOW, nhwc, window_of
from minisim.errors import UnsupportedError

EXACT = 2**24 // 255
"""The most pixels whose sum float32 has."""


@onnx_import(
    "com.microsoft::QLinearAveragePool",
    attributes=[*WINDOW, "channels_last", "count_include_pad"],
    needs=(0, 1, 3),
    most_inputs=5,
)
def import_average_pool(context: OnnxContext, node: OnnxNode) -> Tensor:
    graph, (of_x, zero_x, of_y, zero_y) = context.graph, _scales(context, node)

    def pooled(x: Tensor) -> Tensor:
        wide = graph.dequantize(x, float(of_x), zero_x, name=f"{node.name}/float")
        counted = bool(node.attrs.get("count_include_pad", 0))
        mean = graph.average_pool(wide, **window_of(node, x), count_pad=counted, name=f"{node.name}/mean")
        units = graph.div(mean, float(of_y), name=f"{node.name}/units")
        moved = graph.add(units, zero_y, name=f"{node.name}/moved")
        return graph.rescale(moved, 1.0, x.dtype, name=f"{node.name}/nhwc")

    return nhwc(context, node, pooled)


@onnx_import("com.microsoft::QLinearGlobalAveragePool", attributes=["channels_last"], needs=(0, 1, 3), most_inputs=5)
def import_global_average_pool(context: OnnxContext, node: OnnxNode) -> Tensor:
    graph, (of_x, zero_x, of_y, zero_y) = context.graph, _scales(context, node)

    def pooled(x: Tensor) -> Tensor:
        pixels = math.prod(x.shape[1:3])
        if pixels > EXACT:
            raise UnsupportedError(f"images have at most {EXACT:,} pixels, not {pixels:,}: float32 has no greater sums")
        whole = graph.dequantize(x, 1.0, zero_x, name=f"{node.name}/whole")
        total = graph.sum_pool(whole, x.shape[1:3], name=f"{node.name}/sum")
        scale = of_x / (of_y * type(of_x)(pixels))
        return graph.requantize(total, float(scale), zero_y, x.dtype, name=f"{node.name}/nhwc")

    return nhwc(context, node, pooled)


def _scales(context: OnnxContext, node: OnnxNode) -> tuple[Any, float, Any, float]:
    """Scale and zero point of x, and those of y, in float32."""
    x, *names = (*node.inputs, "", "")[:5]
    if node.attrs.get("channels_last", 0):
        raise UnsupportedError("channels_last must be 0")
    narrow(context, x)
    of_x, zero_x, of_y, zero_y = (number(context, name) for name in names)
    return of_x, float(zero_x), of_y, float(zero_y)
