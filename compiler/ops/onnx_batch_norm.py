"""How ONNX's BatchNormalization enters the graph: in inference it is a factor and a summand for each channel."""

from __future__ import annotations

from functools import partial

import numpy as np

from minisim.compiler.graph import Shape, Tensor
from minisim.compiler.ops.base import OnnxContext, OnnxNode, onnx_import
from minisim.compiler.semantics import Array
from minisim.compiler.values import Lazy, Precise, exact
from minisim.errors import ShapeError, UnsupportedError


@onnx_import("BatchNormalization", attributes=["epsilon", "momentum", "spatial", "training_mode"], several_outputs=True)
def import_batch_norm(context: OnnxContext, node: OnnxNode) -> Tensor:
    """y = x * f + s with f = scale / sqrt(var + epsilon) and s = bias - mean * f.

    Of constants f and s are computed in double precision and rounded once; behind a convolution or a matmul of constant
    weights they are folded into those before they are rounded (`frontend/into_weights.py`). Of tensors they are
    computed as written, each operation rounded.
    """
    if node.attrs.get("training_mode", 0):
        raise UnsupportedError("training_mode must be 0: only inference is supported")
    if any(node.outputs[1:]):
        raise UnsupportedError(
            "the mean and variance that training goes on with are not supported: only the first output"
        )
    if not node.attrs.get("spatial", 1):
        raise UnsupportedError("spatial must be 1: one mean and variance for each channel")
    graph, x = context.graph, context.value(node.inputs[0])
    epsilon = float(np.float32(node.attrs.get("epsilon", 1e-5)))
    constants = [context.constant(name) for name in node.inputs[1:5]]
    channels = x.shape[1] if len(x.shape) > 1 else 1
    shape = (channels, *(1,) * (len(x.shape) - 2))
    known = [each for each in constants if each is not None]
    if len(known) == len(constants) == 4:
        _check(channels, *(each.shape for each in known))
        factor = context.weight(node.inputs[1], Precise(shape, partial(_factor, known, epsilon, shape)))
        summand = context.weight(node.inputs[2], Precise(shape, partial(_summand, known, epsilon, shape)))
    else:
        scale, bias, mean, var = (context.value(name) for name in node.inputs[1:5])
        _check(channels, scale.shape, bias.shape, mean.shape, var.shape)
        root = graph.sqrt(graph.add(var, epsilon, name=f"{node.name}/steady"), name=f"{node.name}/deviation")
        ratio = graph.div(scale, root, name=f"{node.name}/factor")
        moved = graph.mul(mean, ratio, name=f"{node.name}/moved")
        factor = graph.reshape(ratio, shape)
        summand = graph.reshape(graph.sub(bias, moved, name=f"{node.name}/summand"), shape)
    return graph.add(graph.mul(x, factor, name=f"{node.name}/scaled"), summand, name=node.name)


def _check(channels: int, *shapes: Shape) -> None:
    for what, shape in zip(("scale", "bias", "mean", "var"), shapes, strict=True):
        if shape != (channels,):
            raise ShapeError(f"{what} must have a value for each of {channels} channels, not shape {shape}")


def _factor(constants: list[Array | Lazy], epsilon: float, shape: Shape) -> Array:
    scale, _, _, var = (exact(each) for each in constants)
    return np.asarray(scale / np.sqrt(var + epsilon)).reshape(shape)


def _summand(constants: list[Array | Lazy], epsilon: float, shape: Shape) -> Array:
    _, bias, mean, _ = (exact(each).reshape(shape) for each in constants)
    return np.asarray(bias - mean * _factor(constants, epsilon, shape))
