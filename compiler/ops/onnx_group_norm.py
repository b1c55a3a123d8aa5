"""How ONNX's InstanceNormalization, GroupNormalization and MeanVarianceNormalization enter the graph.

The first two normalise groups of channels over all pixels. The channels stay at the end: sums over the pixels are
folds of the vector unit (`fold.py`), those over the channels of a group are of a few numbers.
"""

from __future__ import annotations

import math

import numpy as np

from minisim.compiler.arguments import checked_axes
from minisim.compiler.graph import Tensor
from minisim.compiler.ops.base import OnnxContext, OnnxNode, onnx_import
from minisim.errors import ShapeError, UnsupportedError


@onnx_import("InstanceNormalization", attributes=["epsilon"])
def import_instance_norm(context: OnnxContext, node: OnnxNode) -> Tensor:
    x = context.value(node.inputs[0])
    return _normalised(context, node, x.shape[1] if len(x.shape) > 1 else 1)


@onnx_import("GroupNormalization", attributes=["epsilon", "num_groups", "stash_type"])
def import_group_norm(context: OnnxContext, node: OnnxNode) -> Tensor:
    """Since opset 21: what opset 18 called so, with a scale and bias for each group, ONNX has withdrawn."""
    if node.attrs.get("stash_type", 1) != 1:
        raise UnsupportedError("stash_type must be 1, float32")
    return _normalised(context, node, int(node.attrs.get("num_groups", 0)))


def _normalised(context: OnnxContext, node: OnnxNode, groups: int) -> Tensor:
    """y = d * (scale / sqrt(v + epsilon)) + bias with d = x - sum(x) / n and v = sum(d * d) / n, sums over n elements
    of a group: first of each channel over its pixels, then over the channels; each operation rounded."""
    graph, (x, scale, bias) = context.graph, (context.value(name) for name in node.inputs)
    if len(x.shape) < 2 or groups < 1 or x.shape[1] % groups:
        raise ShapeError(f"{groups} groups must divide the channels of {x.shape} evenly")
    images, channels, pixels = x.shape[0], x.shape[1], math.prod(x.shape[2:])
    together, epsilon = channels // groups, float(np.float32(node.attrs.get("epsilon", 1e-5)))
    if scale.shape != (channels,) or bias.shape != (channels,):
        raise ShapeError(f"scale and bias must have {channels} values, not shapes {scale.shape} and {bias.shape}")

    def part(text: str) -> str:
        return graph.fresh_name(f"{node.name}/{text}")

    def mean(of: Tensor, what: str) -> Tensor:
        """Of each group, for each of its channels: (images, 1, channels)."""
        total = graph.reduce_sum(of, 1, name=part(f"sum_of_{what}"))
        if together == 1:
            return graph.div(total, float(pixels), name=part(f"mean_of_{what}"))
        of_groups = graph.reshape(total, (images, groups, together), name=part(f"groups_of_{what}"))
        whole = graph.reduce_sum(of_groups, -1, name=part(f"whole_of_{what}"))
        found = graph.div(whole, float(pixels * together), name=part(f"mean_of_{what}"))
        each = graph.expand(found, (images, groups, together), name=part(f"each_of_{what}"))
        return graph.reshape(each, (images, 1, channels), name=part(f"channels_of_{what}"))

    lines = graph.reshape(x, (images, channels, pixels), name=part("lines"))
    rows = graph.transpose(lines, (0, 2, 1), name=part("in"))
    centred = graph.sub(rows, mean(rows, "x"), name=part("centred"))
    variance = mean(graph.mul(centred, centred, name=part("squares")), "squares")
    deviation = graph.sqrt(graph.add(variance, epsilon, name=part("steady")), name=part("deviation"))
    factor = graph.div(scale, deviation, name=part("factor"))
    y = graph.add(graph.mul(centred, factor, name=part("scaled")), bias, name=part("rows"))
    back = graph.transpose(y, (0, 2, 1), name=part("out"))
    return graph.reshape(back, x.shape, name=node.name)


@onnx_import("MeanVarianceNormalization", attributes=["axes"])
def import_mean_variance(context: OnnxContext, node: OnnxNode) -> Tensor:
    """y = d / (sqrt(v) + 1e-9) with d = x - mean(x) and v = mean(d * d), along `axes`; each operation rounded."""
    graph, x = context.graph, context.value(node.inputs[0])
    axes = checked_axes(x.shape, [int(axis) for axis in node.attrs.get("axes", (0, 2, 3))])

    def part(text: str) -> str:
        return graph.fresh_name(f"{node.name}/{text}")

    centred = graph.sub(x, graph.reduce_mean(x, axes, name=part("mean")), name=part("centred"))
    squares = graph.mul(centred, centred, name=part("squares"))
    deviation = graph.sqrt(graph.reduce_mean(squares, axes, name=part("variance")), name=part("deviation"))
    return graph.div(centred, graph.add(deviation, 1e-9, name=part("steady")), name=node.name)
