"""How ONNX's Conv enters the graph: its images are NCHW, ours are NHWC.

The node becomes a convolution between two transpositions; those between layers cancel out (`frontend/layout.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from minisim.compiler.graph import Tensor
from minisim.compiler.ops.base import OnnxContext, OnnxNode, onnx_import
from minisim.compiler.semantics import Array
from minisim.compiler.values import Lazy, materialised
from minisim.errors import ModelError, ShapeError, UnsupportedError


@onnx_import("Conv", attributes=["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"])
def import_conv(context: OnnxContext, node: OnnxNode) -> Tensor:
    """Of images (n, c, h, w) or signals (n, c, w), and filters (m, c / group, ...)."""
    graph, x = context.graph, context.value(node.inputs[0])
    given = context.constant(node.inputs[1])
    shape = context.value(node.inputs[1]).shape if given is None else given.shape
    dims = len(x.shape) - 2
    if dims not in (1, 2) or len(shape) != len(x.shape):
        raise UnsupportedError(f"Conv in one or two dimensions is supported, not of {x.shape} and {shape}")
    strides, dilations, pads = window(node, x.shape[2:], shape[2:])
    arranged = (*((1,) * (2 - dims)), *shape[2:], shape[1], shape[0])
    if given is None:
        turned = graph.transpose(context.value(node.inputs[1]), (*range(2, len(shape)), 1, 0))
        w = turned if dims == 2 else graph.reshape(turned, arranged)
    else:
        w = context.weight(node.inputs[1], Lazy(arranged, partial(_filters, given, arranged)))
    bias = context.value(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
    y = graph.conv2d(
        graph.transpose(x, (0, *range(2, dims + 2), 1), name=f"{node.name}/in"),
        w,
        bias=bias,
        strides=strides,
        pads=pads,
        dilations=dilations,
        groups=int(node.attrs.get("group", 1)),
        name=f"{node.name}/nhwc",
    )
    return graph.transpose(y, (0, dims + 1, *range(1, dims + 1)), name=node.name)


def _filters(values: Array | Lazy, shape: tuple[int, ...]) -> Array:
    found = materialised(values)
    assert found is not None
    return np.ascontiguousarray(np.moveaxis(found, (0, 1), (-1, -2)).reshape(shape))


def window(
    node: OnnxNode, size: Sequence[int], kernel: Sequence[int]
) -> tuple[Sequence[int], Sequence[int], Sequence[int]]:
    """Strides, dilations and pads (top, left, bottom, right) over images of this size; a signal is one line."""

    def pair(name: str, missing: int) -> list[int]:
        values = [int(value) for value in node.attrs.get(name, [missing] * len(size))]
        if len(values) != len(size):
            raise ShapeError(f"{name} must have {len(size)} values, not {len(values)}")
        return values

    if (named := [int(value) for value in node.attrs.get("kernel_shape", kernel)]) != list(kernel):
        raise ShapeError(f"kernel_shape must be {list(kernel)}, that of the filters, not {named}")
    strides, dilations = pair("strides", 1), pair("dilations", 1)
    before, behind = _pads(node, size, kernel, strides, dilations)
    lead = 2 - len(size)
    return (
        [1] * lead + strides,
        [1] * lead + dilations,
        [0] * lead + before + [0] * lead + behind,
    )


def _pads(
    node: OnnxNode, size: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[list[int], list[int]]:
    """What is padded before and behind each axis."""
    auto = node.attrs.get("auto_pad", "NOTSET")
    auto = auto.decode() if isinstance(auto, bytes) else auto
    if auto == "VALID":
        return [0] * len(size), [0] * len(size)
    if auto == "NOTSET":
        pads = [int(value) for value in node.attrs.get("pads", [0] * 2 * len(size))]
        if len(pads) != 2 * len(size):
            raise ShapeError(f"pads must have {2 * len(size)} values, not {len(pads)}")
        return pads[: len(size)], pads[len(size) :]
    if auto not in ("SAME_UPPER", "SAME_LOWER"):
        raise ModelError(f"auto_pad must be NOTSET, VALID, SAME_UPPER or SAME_LOWER, not {auto}")
    if min(strides) < 1:
        raise ShapeError(f"strides must be at least 1, not {list(strides)}")
    whole = [
        max(0, (-(-n // stride) - 1) * stride + (k - 1) * dilation + 1 - n)
        for n, k, stride, dilation in zip(size, kernel, strides, dilations, strict=True)
    ]
    less, more = [n // 2 for n in whole], [n - n // 2 for n in whole]
    return (less, more) if auto == "SAME_UPPER" else (more, less)
