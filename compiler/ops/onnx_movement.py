"""How ONNX's nodes that move elements enter the graph, in the forms that each opset gave them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minisim.compiler.arguments import checked_axes
from minisim.compiler.graph import Graph, Tensor
from minisim.compiler.ops.base import OnnxContext, OnnxNode, onnx_import
from minisim.compiler.ops.onnx_past import Past
from minisim.compiler.semantics import Array
from minisim.compiler.values import materialised
from minisim.errors import ShapeError, UnsupportedError, shown


def _input(node: OnnxNode, place: int) -> str:
    return node.inputs[place] if place < len(node.inputs) else ""


def _integers(context: OnnxContext, node: OnnxNode, place: int, attribute: str) -> list[int] | None:
    """What was an attribute in older opsets, and is an operand in newer ones; None if it is left out."""
    if not (name := _input(node, place)):
        given: Sequence[Any] | None = node.attrs.get(attribute)
        return None if given is None else [int(value) for value in given]
    found = context.integers(name)
    if found is None:
        raise UnsupportedError(f"{attribute} that are computed at run time are not supported")
    return found


def _needed(values: list[int] | None, what: str) -> list[int]:
    if values is None:
        raise UnsupportedError(f"{what} must be given")
    return values


@onnx_import("Transpose", attributes=["perm"])
def import_transpose(context: OnnxContext, node: OnnxNode) -> Tensor:
    return context.graph.transpose(context.value(node.inputs[0]), node.attrs.get("perm"), name=node.name)


@onnx_import("Concat", attributes=["axis"])
def import_concat(context: OnnxContext, node: OnnxNode) -> Tensor:
    tensors, axis = [context.value(name) for name in node.inputs], int(node.attrs.get("axis", 1))
    first, *others = tensors
    if isinstance(first, Past):
        if len(others) != 1 or axis not in (2, -2):
            raise UnsupportedError(f"behind the past {first.name!r} {first.shape} come new rows, along axis 2, alone")
        return first.with_rows(others[0], node.name)
    if past := [x.name for x in others if isinstance(x, Past)]:
        raise UnsupportedError(f"the past {past[0]!r} is the first of what is put behind each other")
    return context.graph.concat(tensors, axis, name=node.name)


@onnx_import("Slice", attributes=["starts", "ends", "axes"])
def import_slice(context: OnnxContext, node: OnnxNode) -> Tensor:
    starts = _needed(_integers(context, node, 1, "starts"), "starts")
    ends = _needed(_integers(context, node, 2, "ends"), "ends")
    axes, steps = _integers(context, node, 3, "axes"), _integers(context, node, 4, "steps")
    return context.graph.slice(context.value(node.inputs[0]), starts, ends, axes, steps, name=node.name)


@onnx_import("Pad", attributes=["mode", "pads", "value"])
def import_pad(context: OnnxContext, node: OnnxNode) -> Tensor:
    """The pads of all axes, or (from opset 18) of some: first those before, then those behind."""
    x, pads = context.value(node.inputs[0]), _needed(_integers(context, node, 1, "pads"), "pads")
    value = float(node.attrs.get("value", 0.0))
    if name := _input(node, 2):
        constant = materialised(context.constant(name))
        if constant is None:
            raise UnsupportedError("a value that is computed at run time is not supported")
        value = float(constant.reshape(-1)[0])
    axes = _integers(context, node, 3, "axes")
    chosen = list(range(len(x.shape))) if axes is None else [axis % max(1, len(x.shape)) for axis in axes]
    if len(pads) != 2 * len(chosen):
        raise ShapeError(f"pads must be two numbers for each of {len(chosen)} axes, not {len(pads)}")
    both = [(0, 0)] * len(x.shape)
    for i, axis in enumerate(chosen):
        both[axis] = (pads[i], pads[i + len(chosen)])
    return context.graph.pad(x, both, mode=str(node.attrs.get("mode", "constant")), value=value, name=node.name)


@onnx_import("Expand")
def import_expand(context: OnnxContext, node: OnnxNode) -> Tensor:
    shape = _needed(_integers(context, node, 1, "shape"), "shape")
    return context.graph.expand(context.value(node.inputs[0]), shape, name=node.name)


@onnx_import("Tile")
def import_tile(context: OnnxContext, node: OnnxNode) -> Tensor:
    x, repeats = context.value(node.inputs[0]), _needed(_integers(context, node, 1, "repeats"), "repeats")
    if len(repeats) != len(x.shape) or any(count < 1 for count in repeats):
        raise ShapeError(f"repeats must be a number from 1 for each axis of {x.shape}, not {shown(repeats)}")
    if all(count == 1 for count in repeats):
        return x
    indices = [list(range(d)) * count if count > 1 else None for d, count in zip(x.shape, repeats, strict=True)]
    return context.graph.take(x, indices, kind="Tile", name=node.name)


@onnx_import("Gather", attributes=["axis"])
def import_gather(context: OnnxContext, node: OnnxNode) -> Tensor:
    """By indices of any shape, which stands in place of the axis: constants, or such as are known at run time alone."""
    x, graph = context.value(node.inputs[0]), context.graph
    constant: Array | None = materialised(context.constant(node.inputs[1]))
    (axis,) = checked_axes(x.shape, int(node.attrs.get("axis", 0))) or (0,)
    if constant is None:
        return looked_up(graph, x, context.value(node.inputs[1]), axis, node.name)
    wanted = (*x.shape[:axis], *constant.shape, *x.shape[axis + 1 :])
    flat = [int(i) for i in np.asarray(constant).reshape(-1)]
    name = node.name if constant.ndim == 1 else f"{node.name}/taken"
    if len(flat) == 1 and -x.shape[axis] <= flat[0] < x.shape[axis]:
        at = flat[0] % x.shape[axis]
        found = graph.slice(x, [at], [at + 1], [axis], name=name)
    else:
        indices = [flat if i == axis else None for i in range(len(x.shape))]
        found = graph.take(x, indices, kind="Gather", name=name)
    return found if found.shape == wanted else graph.reshape(found, wanted, name=node.name)


def looked_up(graph: Graph, x: Tensor, indices: Tensor, axis: int, name: str) -> Tensor:
    """Elements of x along an axis by indices that are tensors: rows, of x turned so that this axis is the first."""
    if not axis:
        return graph.gather(x, indices, name=name)
    rank, at = len(x.shape), len(indices.shape)
    first = [axis, *(i for i in range(rank) if i != axis)]
    table = graph.transpose(x, first, name=f"{name}/table")
    rows = graph.gather(table, indices, name=f"{name}/rows")
    return graph.transpose(rows, [*range(at, at + axis), *range(at), *range(at + axis, at + rank - 1)], name=name)


@onnx_import("Squeeze", attributes=["axes"])
def import_squeeze(context: OnnxContext, node: OnnxNode) -> Tensor:
    x, given = context.value(node.inputs[0]), _integers(context, node, 1, "axes")
    axes = [i for i, d in enumerate(x.shape) if d == 1] if given is None else checked_axes(x.shape, given)
    if wrong := [axis for axis in axes if x.shape[axis] != 1]:
        raise ShapeError(f"only an axis of 1 can be squeezed, not axis {wrong[0]} of {x.shape}")
    return context.graph.reshape(x, [d for i, d in enumerate(x.shape) if i not in axes], name=node.name)


@onnx_import("Unsqueeze", attributes=["axes"])
def import_unsqueeze(context: OnnxContext, node: OnnxNode) -> Tensor:
    x, given = context.value(node.inputs[0]), _needed(_integers(context, node, 1, "axes"), "axes")
    rank = len(x.shape) + len(given)
    axes, sizes = checked_axes((1,) * rank, given), iter(x.shape)
    return context.graph.reshape(x, [1 if i in axes else next(sizes) for i in range(rank)], name=node.name)


@onnx_import("DepthToSpace", "SpaceToDepth", attributes=["blocksize", "mode"])
def import_blocks(context: OnnxContext, node: OnnxNode) -> Tensor:
    """Blocks of b x b pixels, which are channels on the other side: a transpose of six axes."""
    x, graph, b = context.value(node.inputs[0]), context.graph, int(node.attrs.get("blocksize", 0))
    to_space = node.op_type == "DepthToSpace"
    if len(x.shape) != 4 or b < 1 or (x.shape[1] % (b * b) if to_space else x.shape[2] % b or x.shape[3] % b):
        raise ShapeError(f"{x.shape} has no blocks of {b} x {b}")
    n, c, h, w = x.shape
    depth_first = node.attrs.get("mode", "DCR") == "DCR"
    if not to_space:
        parts, perm = (n, c, h // b, b, w // b, b), (0, 3, 5, 1, 2, 4) if depth_first else (0, 1, 3, 5, 2, 4)
        wanted = (n, c * b * b, h // b, w // b)
    elif depth_first:
        parts, perm, wanted = (n, b, b, c // b**2, h, w), (0, 3, 4, 1, 5, 2), (n, c // b**2, h * b, w * b)
    else:
        parts, perm, wanted = (n, c // b**2, b, b, h, w), (0, 1, 4, 2, 5, 3), (n, c // b**2, h * b, w * b)
    apart = graph.transpose(graph.reshape(x, parts, name=f"{node.name}/blocks"), perm, name=f"{node.name}/turned")
    return graph.reshape(apart, wanted, name=node.name)
