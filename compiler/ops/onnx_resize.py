"""How ONNX's Resize and Upsample enter the graph.

The nearest elements are taken, which is a movement (`movement.py`). Linear and cubic interpolation are sums of
neighbours along one axis after the other, from the first on: products with constant matrices, each row of which has the
weights of an element of the output. So no element is moved, and sums have the order of a matmul's; but the array
multiplies the zeros of the matrix, too (of an infinite pixel they make NaN in its line and column).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from minisim.compiler.arguments import checked_axes
from minisim.compiler.graph import Tensor
from minisim.compiler.interpolation import COORDINATES, ROUNDINGS, Axis, cubic, linear, nearest, weights
from minisim.compiler.ops.base import OnnxContext, OnnxNode, onnx_import
from minisim.compiler.values import materialised
from minisim.errors import ModelError, ShapeError, UnsupportedError, shown

Axes = dict[int, Axis]
"""The axes that are resized, by their number."""

CHANNELS_LAST = {3: (0, 2, 1), 4: (0, 2, 3, 1)}
"""How images of so many axes are laid out, if only their pixels are resized."""


@onnx_import("Upsample", attributes=["mode", "scales"])
def import_upsample(context: OnnxContext, node: OnnxNode) -> Tensor:
    """Of opset 7 to 9: scales are an attribute, then an operand."""
    x = context.value(node.inputs[0])
    scales = node.attrs.get("scales") or _floats(context, node, 1, "scales")
    mode = {"bilinear": "linear"}.get(str(node.attrs.get("mode", "nearest")), str(node.attrs.get("mode", "nearest")))
    axes = _scaled(x, range(len(x.shape)), scales, {})
    return _resized(context, node, axes, {"mode": mode, **OLD})


OLD = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
"""What there was no choice of before opset 11."""


@onnx_import("Resize", attributes=["antialias", "axes", "coordinate_transformation_mode", "cubic_coeff_a",
                                   "exclude_outside", "extrapolation_value", "keep_aspect_ratio_policy", "mode",
                                   "nearest_mode"])  # fmt: skip
def import_resize(context: OnnxContext, node: OnnxNode) -> Tensor:
    """By constant scales, or to constant sizes; in opset 10 the scales are the second operand."""
    x = context.value(node.inputs[0])
    if context.opset < 11:
        axes = _scaled(x, range(len(x.shape)), _floats(context, node, 1, "scales"), {})
        return _resized(context, node, axes, {"mode": node.attrs.get("mode", "nearest"), **OLD})
    chosen = [checked_axes(x.shape, axis)[0] for axis in node.attrs.get("axes", range(len(x.shape)))]
    regions = _regions(context, node, chosen)
    if scales := _floats(context, node, 2, "scales"):
        axes = _scaled(x, chosen, scales, regions)
    else:
        axes = _sized(x, chosen, _floats(context, node, 3, "sizes"), regions, node)
    return _resized(context, node, axes, node.attrs)


def _floats(context: OnnxContext, node: OnnxNode, place: int, what: str) -> list[float]:
    """A constant operand; an empty one, and one that is left out, has no numbers."""
    if place >= len(node.inputs) or not node.inputs[place]:
        return []
    found = materialised(context.constant(node.inputs[place]))
    if found is None:
        raise UnsupportedError(f"{what} that are computed at run time are not supported")
    return [float(value) for value in found.reshape(-1)]


def _regions(context: OnnxContext, node: OnnxNode, chosen: Sequence[int]) -> dict[int, tuple[float, float]]:
    if node.attrs.get("coordinate_transformation_mode") != "tf_crop_and_resize":
        return {}
    roi = _floats(context, node, 1, "regions")
    if len(roi) != 2 * len(chosen):
        raise ShapeError(f"roi must have a start and an end for each of {len(chosen)} axes, not {len(roi)} numbers")
    return {axis: (roi[i], roi[i + len(chosen)]) for i, axis in enumerate(chosen)}


def _scaled(x: Tensor, chosen: Sequence[int], scales: Sequence[float], regions: dict[int, tuple[float, float]]) -> Axes:
    if len(scales) != len(chosen) or not all(0 < scale < MOST_TIMES for scale in scales):
        raise ShapeError(
            f"scales must be a number from 0 to {MOST_TIMES} for each of {len(chosen)} axes, not {shown(list(scales))}"
        )
    return {
        axis: Axis(x.shape[axis], math.floor(x.shape[axis] * scale), scale, regions.get(axis, WHOLE))
        for axis, scale in zip(chosen, scales, strict=True)
    }


MOST_TIMES = 2**20
WHOLE = (0.0, 1.0)


def _sized(
    x: Tensor, chosen: Sequence[int], sizes: Sequence[float], regions: dict[int, tuple[float, float]], node: OnnxNode
) -> Axes:
    """To sizes; where the aspect ratio is kept, all axes have one scale: that of the least, or the greatest."""
    if len(sizes) != len(chosen) or not all(1 <= size < MOST_TIMES for size in sizes):
        raise ShapeError(f"sizes must be a number from 1 for each of {len(chosen)} axes, not {shown(list(sizes))}")
    scales = [size / x.shape[axis] for axis, size in zip(chosen, sizes, strict=True)]
    match node.attrs.get("keep_aspect_ratio_policy", "stretch"):
        case "not_larger":
            scales = [min(scales)] * len(scales)
        case "not_smaller":
            scales = [max(scales)] * len(scales)
        case "stretch":
            pass
        case policy:
            known = "stretch, not_larger or not_smaller"
            raise ModelError(f"keep_aspect_ratio_policy must be {known}, not {shown(policy)}")
    return {
        axis: Axis(x.shape[axis], math.floor(scale * x.shape[axis] + 0.5), scale, regions.get(axis, WHOLE))
        for axis, scale in zip(chosen, scales, strict=True)
    }


def _resized(context: OnnxContext, node: OnnxNode, axes: Axes, attrs: Any) -> Tensor:
    """x, resized along `axes`; images are resized with their channels at the end."""
    graph, x = context.graph, context.value(node.inputs[0])
    coordinates = str(attrs.get("coordinate_transformation_mode", "half_pixel"))
    if coordinates not in COORDINATES:
        known = ", ".join(COORDINATES)
        raise ModelError(f"coordinate_transformation_mode must be one of {known}, not {shown(coordinates)}")
    if any(axis.resized < 1 for axis in axes.values()):
        raise ShapeError(f"nothing would be left of {x.shape}")
    cropped = coordinates == "tf_crop_and_resize"
    axes = {i: a for i, a in axes.items() if (a.size, a.scale) != (a.resized, 1.0) or (cropped and a.region != WHOLE)}
    if not axes:
        return graph.reshape(x, x.shape, name=node.name)
    perm = CHANNELS_LAST.get(len(x.shape)) if min(axes) > 1 else None
    if perm is None:
        return _along(context, node, x, axes, coordinates, attrs, node.name)
    images = graph.transpose(x, perm, name=f"{node.name}/in")
    turned = {perm.index(i): axis for i, axis in axes.items()}
    y = _along(context, node, images, turned, coordinates, attrs, f"{node.name}/nhwc")
    return graph.transpose(y, [perm.index(i) for i in range(len(perm))], name=node.name)


def _along(
    context: OnnxContext, node: OnnxNode, x: Tensor, axes: Axes, coordinates: str, attrs: Any, name: str
) -> Tensor:
    mode, fill = str(attrs.get("mode", "nearest")), float(attrs.get("extrapolation_value", 0.0))
    match mode:
        case "nearest":
            rounding = str(attrs.get("nearest_mode", "round_prefer_floor"))
            if rounding not in ROUNDINGS:
                raise ModelError(f"nearest_mode must be one of {', '.join(ROUNDINGS)}, not {shown(rounding)}")
            chosen = [nearest(axes[i], coordinates, rounding) if i in axes else None for i in range(len(x.shape))]
            return context.graph.take(x, chosen, fill=fill, kind="Resize", name=name)
        case "linear":
            kernel, reach = linear, 1
        case "cubic":
            kernel, reach = partial(cubic, a=float(attrs.get("cubic_coeff_a", -0.75))), 2
        case _:
            raise ModelError(f"mode must be nearest, linear or cubic, not {shown(mode)}")
    antialias, exclude = bool(attrs.get("antialias", 0)), bool(attrs.get("exclude_outside", 0))
    graph, y = context.graph, x
    for i, axis in sorted(axes.items()):
        matrix = weights(axis, coordinates, kernel, reach, antialias=antialias, exclude=exclude)
        last = i == max(axes) and not fill
        y = _product(context, y, i, matrix.astype(np.float32), name if last else graph.fresh_name(f"{name}/axis{i}"))
    if not fill:
        return y
    outside = np.zeros(y.shape, dtype=bool)
    for i, axis in axes.items():
        outside |= axis.outside(coordinates).reshape([-1 if j == i else 1 for j in range(len(y.shape))])
    beyond = graph.weight(graph.fresh_name(f"{node.name}/outside"), outside * np.float32(fill))
    return graph.add(y, beyond, name=name)


def _product(context: OnnxContext, x: Tensor, axis: int, matrix: np.ndarray[Any, Any], name: str) -> Tensor:
    """x, each of whose runs along the axis is multiplied by the matrix: the runs are the columns of matrices, or the
    rows of one if the axis is the last."""
    graph = context.graph
    wanted = (*x.shape[:axis], len(matrix), *x.shape[axis + 1 :])
    before, behind = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
    stem = graph.fresh_name(f"{name}/weights")
    if behind == 1:
        rows = graph.reshape(x, (before, x.shape[axis]), name=f"{name}/rows")
        y = graph.matmul(rows, graph.weight(stem, matrix.T), name=f"{name}/product")
    else:
        columns = graph.reshape(x, (before, x.shape[axis], behind), name=f"{name}/columns")
        y = graph.matmul(graph.weight(stem, matrix), columns, name=f"{name}/product")
    return graph.reshape(y, wanted, name=name)
