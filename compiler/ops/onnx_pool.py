"""How ONNX's poolings enter the graph: their images are NCHW, ours NHWC, so each stands between two transpositions,
which cancel out between layers (`frontend/layout.py`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minisim.compiler.graph import Tensor
from minisim.compiler.ops.base import OnnxContext, OnnxNode, onnx_import
from minisim.compiler.ops.onnx_conv import window
from minisim.errors import ShapeError, UnsupportedError, shown

WINDOW = ("auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "strides")


@onnx_import("MaxPool", attributes=[*WINDOW, "storage_order"])  # of the indices, which are another output
def import_max_pool(context: OnnxContext, node: OnnxNode) -> Tensor:
    def pooled(x: Tensor) -> Tensor:
        return context.graph.max_pool(x, **window_of(node, x), name=f"{node.name}/nhwc")

    return nhwc(context, node, pooled)


@onnx_import("AveragePool", attributes=[*WINDOW, "count_include_pad"])
def import_average_pool(context: OnnxContext, node: OnnxNode) -> Tensor:
    def pooled(x: Tensor) -> Tensor:
        count_pad = bool(node.attrs.get("count_include_pad", 0))
        return context.graph.average_pool(x, **window_of(node, x), count_pad=count_pad, name=f"{node.name}/nhwc")

    return nhwc(context, node, pooled)


@onnx_import("GlobalMaxPool", "GlobalAveragePool")
def import_global_pool(context: OnnxContext, node: OnnxNode) -> Tensor:
    def pooled(x: Tensor) -> Tensor:
        graph, name = context.graph, f"{node.name}/nhwc"
        of = graph.global_max_pool if node.op_type == "GlobalMaxPool" else graph.global_average_pool
        return of(x, name=name)

    return nhwc(context, node, pooled)


@onnx_import("LpPool", attributes=[*WINDOW, "p"])
def import_lp_pool(context: OnnxContext, node: OnnxNode) -> Tensor:
    return nhwc(context, node, lambda x: _norm(context, node, x, **window_of(node, x)))


@onnx_import("GlobalLpPool", attributes=["p"])
def import_global_lp_pool(context: OnnxContext, node: OnnxNode) -> Tensor:
    return nhwc(context, node, lambda x: _norm(context, node, x, kernel=x.shape[1:3]))


@onnx_import("LRN", attributes=["alpha", "beta", "bias", "size"])
def import_lrn(context: OnnxContext, node: OnnxNode) -> Tensor:
    """Over the channels of (n, c, ...), in as many dimensions as there are."""
    graph, x = context.graph, context.value(node.inputs[0])
    rank = len(x.shape)
    if rank < 2:
        raise ShapeError(f"LRN is of (n, c, ...), not of {x.shape}")
    y = graph.lrn(
        graph.transpose(x, (0, *range(2, rank), 1), name=f"{node.name}/in"),
        int(node.attrs["size"]),
        **{key: float(node.attrs[key]) for key in ("alpha", "beta", "bias") if key in node.attrs},
        name=f"{node.name}/nhwc",
    )
    return graph.transpose(y, (0, rank - 1, *range(1, rank - 1)), name=node.name)


def _norm(context: OnnxContext, node: OnnxNode, x: Tensor, **window: Any) -> Tensor:
    """The p-th root of the sum of |x| to the power p."""
    graph, p = context.graph, float(node.attrs.get("p", 2))

    def part(text: str) -> str:
        return f"{node.name}/{text}"

    if p == 1:
        return graph.sum_pool(graph.abs(x, name=part("abs")), **window, name=part("nhwc"))
    if p == 2:
        total = graph.sum_pool(graph.mul(x, x, name=part("squares")), **window, name=part("sum"))
        return graph.sqrt(total, name=part("nhwc"))
    powers = graph.pow(graph.abs(x, name=part("abs")), p, name=part("powers"))
    return graph.pow(graph.sum_pool(powers, **window, name=part("sum")), 1 / p, name=part("nhwc"))


def nhwc(context: OnnxContext, node: OnnxNode, pooled: Callable[[Tensor], Tensor]) -> Tensor:
    """`pooled` of images (n, height, width, channels), between transpositions; a signal is an image of one line."""
    graph, x = context.graph, context.value(node.inputs[0])
    dims = len(x.shape) - 2
    if dims not in (1, 2):
        raise UnsupportedError(f"{node.op_type} in one or two dimensions is supported, not of {x.shape}")
    kernel = list(node.attrs.get("kernel_shape", [1] * dims))
    if len(kernel) != dims or min(kernel) < 1:
        raise ShapeError(
            f"kernel_shape must have a positive number for each axis of an image {x.shape[2:]}, not {shown(kernel)}"
        )
    images = graph.transpose(x, (0, *range(2, dims + 2), 1), name=f"{node.name}/in")
    if dims == 1:
        images = graph.reshape(images, (images.shape[0], 1, *images.shape[1:]), name=f"{node.name}/lines")
    y = pooled(images)
    if dims == 1:
        y = graph.reshape(y, (y.shape[0], *y.shape[2:]), name=f"{node.name}/signals")
    return graph.transpose(y, (0, dims + 1, *range(1, dims + 1)), name=node.name)


def window_of(node: OnnxNode, x: Tensor) -> dict[str, Any]:
    """The arguments of a pooling of images x. With auto_pad ceil_mode changes nothing, by ONNX's text: for VALID
    it rounds (n - k + 1) / stride up, which is as much as (n - k) / stride rounded down, and 1."""
    kernel = [int(value) for value in node.attrs["kernel_shape"]]
    strides, dilations, pads = window(node, x.shape[3 - len(kernel) : 3], kernel)
    return {
        "kernel": [1] * (2 - len(kernel)) + kernel,
        "strides": strides,
        "dilations": dilations,
        "pads": pads,
        "ceil": bool(node.attrs.get("ceil_mode", 0)) and node.attrs.get("auto_pad", "NOTSET") in ("NOTSET", b"NOTSET"),
    }
