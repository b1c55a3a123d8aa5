"""How ONNX's Conv and ConvTranspose enter the graph: their images are NCHW, ours are NHWC.

The node becomes a convolution between two transpositions; those between layers cancel out (`frontend/layout.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from minisim.compiler.graph import Tensor
from minisim.compiler.ops.base import OnnxContext, OnnxNode, onnx_import
from minisim.compiler.semantics import Array
from minisim.compiler.values import Lazy, materialised
from minisim.errors import ModelError, ShapeError, UnsupportedError, shown


@onnx_import("Conv", attributes=["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"])
def import_conv(context: OnnxContext, node: OnnxNode) -> Tensor:
    """Of images (n, c, h, w) or signals (n, c, w), and filters (m, c / group, ...)."""
    x, shape = context.value(node.inputs[0]), _kernel_shape(context, node)
    strides, dilations, pads = window(node, x.shape[2:], shape[2:])
    w = filters(context, node, (*range(2, len(shape)), 1, 0), (*shape[2:], shape[1], shape[0]))
    return _nhwc(context, node, context.graph.conv2d, w, strides=strides, dilations=dilations, pads=pads)


@onnx_import(
    "ConvTranspose",
    attributes=["auto_pad", "dilations", "group", "kernel_shape", "output_padding", "output_shape", "pads", "strides"],
)
def import_conv_transpose(context: OnnxContext, node: OnnxNode) -> Tensor:
    """Filters are (c, m / group, ...): of each group its channels and its filters."""
    x, shape = context.value(node.inputs[0]), _kernel_shape(context, node)
    dims, groups = len(x.shape) - 2, int(node.attrs.get("group", 1))
    if groups < 1 or shape[0] % groups:
        raise ShapeError(f"{groups} groups must divide the {shape[0]} channels evenly")
    strides, dilations, pads = transposed_window(node, x.shape[2:], shape[2:])
    apart = (groups, shape[0] // groups, *shape[1:])  # then the filters of all groups one behind the other
    perm = (*range(3, 3 + dims), 1, 0, 2)
    w = filters(context, node, perm, (*shape[2:], shape[0] // groups, groups * shape[1]), apart)
    return _nhwc(context, node, context.graph.conv_transpose2d, w, strides=strides, dilations=dilations, pads=pads)


def _kernel_shape(context: OnnxContext, node: OnnxNode) -> tuple[int, ...]:
    """The shape of the filters, of as many dimensions as the images have."""
    x, given = context.value(node.inputs[0]), context.constant(node.inputs[1])
    shape = context.value(node.inputs[1]).shape if given is None else given.shape
    if len(x.shape) not in (3, 4) or len(shape) != len(x.shape):
        raise UnsupportedError(f"{node.op_type} in one or two dimensions is supported, not of {x.shape} and {shape}")
    return tuple(shape)


def filters(
    context: OnnxContext, node: OnnxNode, perm: Sequence[int], wanted: Sequence[int], apart: Sequence[int] = ()
) -> Tensor:
    """The filters, reshaped to `apart` and transposed by `perm`, as `wanted`; over signals they are of one line."""
    name, arranged = node.inputs[1], (*((1,) if len(wanted) == 3 else ()), *wanted)
    given = context.constant(name)
    if given is not None:
        return context.weight(name, Lazy(arranged, partial(_arranged, given, tuple(apart), tuple(perm), arranged)))
    graph, w = context.graph, context.value(name)
    w = graph.reshape(w, apart) if apart else w
    turned = graph.transpose(w, perm)
    return turned if turned.shape == arranged else graph.reshape(turned, arranged)


def _nhwc(context: OnnxContext, node: OnnxNode, convolve: Callable[..., Tensor], w: Tensor, **window: Any) -> Tensor:
    """The convolution of images with the channels at the end, between two transpositions."""
    graph, x = context.graph, context.value(node.inputs[0])
    dims = len(x.shape) - 2
    bias = context.value(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
    images = graph.transpose(x, (0, *range(2, dims + 2), 1), name=f"{node.name}/in")
    groups = int(node.attrs.get("group", 1))
    y = convolve(images, w, bias=bias, groups=groups, **window, name=f"{node.name}/nhwc")
    return graph.transpose(y, (0, dims + 1, *range(1, dims + 1)), name=node.name)


def _arranged(values: Array | Lazy, apart: tuple[int, ...], perm: tuple[int, ...], shape: tuple[int, ...]) -> Array:
    found = materialised(values)
    assert found is not None
    return np.ascontiguousarray(found.reshape(apart or found.shape).transpose(perm).reshape(shape))


def window(
    node: OnnxNode, size: Sequence[int], kernel: Sequence[int]
) -> tuple[Sequence[int], Sequence[int], Sequence[int]]:
    """Strides, dilations and pads (top, left, bottom, right) over images of this size; a signal is one line."""

    strides, dilations = _steps(node, size, kernel)
    before, behind = _pads(node, size, kernel, strides, dilations)
    return _in_two(strides, 1), _in_two(dilations, 1), _in_two(before, 0) + _in_two(behind, 0)


def transposed_window(
    node: OnnxNode, size: Sequence[int], kernel: Sequence[int]
) -> tuple[Sequence[int], Sequence[int], Sequence[int]]:
    """Strides, dilations and what is cut off of the output (top, left, bottom, right; below 0: added)."""
    strides, dilations = _steps(node, size, kernel)
    more = _numbers(node, "output_padding", len(size), 0)
    whole = [
        (n - 1) * stride + (k - 1) * dilation + 1 + extra
        for n, k, stride, dilation, extra in zip(size, kernel, strides, dilations, more, strict=True)
    ]
    auto = _auto_pad(node)
    same = auto.startswith("SAME")
    if "output_shape" in node.attrs or same:
        given = [int(value) for value in node.attrs.get("output_shape", [])][-len(size) :]
        wanted = given or [n * stride for n, stride in zip(size, strides, strict=True)]
        if len(wanted) != len(size):
            raise ShapeError(f"output_shape must have {len(size)} values, not {len(wanted)}")
        total = [a - b for a, b in zip(whole, wanted, strict=True)]  # below 0 where pixels are missing
        half = [n // 2 for n in total]  # rounded down, as ONNX's reference implementation does
        rest = [n - h for n, h in zip(total, half, strict=True)]
        before, behind = (half, rest) if auto == "SAME_UPPER" else (rest, half)
    else:
        before, behind = _pads(node, size, kernel, strides, dilations)
    behind = [b - extra for b, extra in zip(behind, more, strict=True)]
    return _in_two(strides, 1), _in_two(dilations, 1), _in_two(before, 0) + _in_two(behind, 0)


def _in_two(values: list[int], of_a_line: int) -> list[int]:
    """Of lines and columns: a signal is one line."""
    return [of_a_line] * (2 - len(values)) + values


def _numbers(node: OnnxNode, name: str, count: int, missing: int) -> list[int]:
    values = [int(value) for value in node.attrs.get(name, [missing] * count)]
    if len(values) != count:
        raise ShapeError(f"{name} must have {count} values, not {len(values)}")
    return values


def _steps(node: OnnxNode, size: Sequence[int], kernel: Sequence[int]) -> tuple[list[int], list[int]]:
    """Strides and dilations, once the kernel is what it is said to be."""
    if (named := [int(value) for value in node.attrs.get("kernel_shape", kernel)]) != list(kernel):
        raise ShapeError(f"kernel_shape must be {shown(list(kernel))}, that of the filters, not {shown(named)}")
    return _numbers(node, "strides", len(size), 1), _numbers(node, "dilations", len(size), 1)


def _auto_pad(node: OnnxNode) -> str:
    auto = node.attrs.get("auto_pad", "NOTSET")
    return auto.decode() if isinstance(auto, bytes) else str(auto)


def _pads(
    node: OnnxNode, size: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[list[int], list[int]]:
    """What is padded before and behind each axis. SAME pads what the kernel with its dilations needs, and where it is
    shorter than a stride, nothing: as ONNX's text has it for pools and its reference implementation for Conv."""
    auto = _auto_pad(node)
    if auto == "VALID":
        return [0] * len(size), [0] * len(size)
    if auto == "NOTSET":
        pads = [int(value) for value in node.attrs.get("pads", [0] * 2 * len(size))]
        if len(pads) != 2 * len(size):
            raise ShapeError(f"pads must have {2 * len(size)} values, not {len(pads)}")
        return pads[: len(size)], pads[len(size) :]
    if auto not in ("SAME_UPPER", "SAME_LOWER"):
        raise ModelError(f"auto_pad must be NOTSET, VALID, SAME_UPPER or SAME_LOWER, not {shown(auto)}")
    if min(strides) < 1:
        raise ShapeError(f"strides must be at least 1, not {shown(list(strides))}")
    whole = [
        max(0, (-(-n // stride) - 1) * stride + (k - 1) * dilation + 1 - n)
        for n, k, stride, dilation in zip(size, kernel, strides, dilations, strict=True)
    ]
    less, more = [n // 2 for n in whole], [n - n // 2 for n in whole]
    return (less, more) if auto == "SAME_UPPER" else (more, less)
