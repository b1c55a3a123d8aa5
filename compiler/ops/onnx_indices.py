"""How ONNX's nodes that gather or scatter by constant indices enter the graph, and OneHot, whose may be computed.

What is gathered are rows: elements where indices reach the last axis. What is scattered is gathered into the places of
the result, and chosen there by a constant mask, or (with a reduction) added, multiplied or compared with what is there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from minisim.compiler.arguments import checked_axes
from minisim.compiler.dtypes import INTEGERS
from minisim.compiler.graph import Graph, Tensor
from minisim.compiler.ops.base import OnnxContext, OnnxNode, onnx_import
from minisim.compiler.semantics import Array
from minisim.compiler.values import materialised
from minisim.errors import ShapeError, UnsupportedError, shown

MOST_INDICES = 1 << 20
"""The places that are listed one by one."""


def _constant(context: OnnxContext, name: str, what: str = "indices") -> Array:
    values = materialised(context.constant(name))
    if values is None:
        raise UnsupportedError(f"{what} that are computed at run time are not supported")
    if values.size > MOST_INDICES:
        raise UnsupportedError(f"up to {MOST_INDICES} {what} are supported, not {values.size}")
    return values


def _within(indices: Array, size: int) -> Array:
    """Counted from the front."""
    if ((indices < -size) | (indices >= size)).any():
        wrong = int(indices[(indices < -size) | (indices >= size)].reshape(-1)[0])
        raise ShapeError(f"an index must lie in [-{size}, {size - 1}], not {wrong}")
    return np.where(indices < 0, indices + size, indices)


def _elements(indices: Array, shape: Sequence[int], axis: int) -> Array:
    """The number of each element of a tensor that has these indices along the axis, and its own place along others."""
    fits = [a <= b for i, (a, b) in enumerate(zip(indices.shape, shape, strict=False)) if i != axis]
    if indices.ndim != len(shape) or not all(fits):
        raise ShapeError(f"the indices {indices.shape} must have the dimensions of {tuple(shape)}, or less")
    places: list[Array] = list(np.indices(indices.shape))
    places[axis] = _within(indices, shape[axis])
    return np.asarray(np.ravel_multi_index(places, tuple(shape))).reshape(-1)


def _rows(indices: Array, shape: Sequence[int], batch: int) -> Array:
    """The number of each row that the last axis of `indices` gives the first places of, behind those of a batch."""
    depth = indices.shape[-1] if indices.ndim else 0
    if not depth or batch + depth > len(shape) or indices.shape[:batch] != tuple(shape[:batch]):
        raise ShapeError(f"indices {indices.shape}, each of which is a row of the last axis, do not fit {tuple(shape)}")
    lead = indices.shape[:-1]
    places = [*np.indices(lead)[:batch], *(_within(indices[..., i], shape[batch + i]) for i in range(depth))]
    return np.asarray(np.ravel_multi_index(places, tuple(shape[: batch + depth]))).reshape(-1)


def _as_rows(graph: Graph, x: Tensor, rows: int, name: str) -> Tensor:
    """x as so many rows, each of which is one place; where they are elements as one row of them."""
    elements = math.prod(x.shape)
    return graph.reshape(x, (rows,) if elements == rows else (rows, elements // rows), name=name)


def _taken(graph: Graph, x: Tensor, places: Sequence[int | None], kind: str, name: str, fill: float = 0.0) -> Tensor:
    return graph.take(x, [list(places), *[None] * (len(x.shape) - 1)], fill=fill, kind=kind, name=name)


@onnx_import("GatherElements", attributes=["axis"])
def import_gather_elements(context: OnnxContext, node: OnnxNode) -> Tensor:
    graph, x, indices = context.graph, context.value(node.inputs[0]), _constant(context, node.inputs[1])
    (axis,) = checked_axes(x.shape, int(node.attrs.get("axis", 0)))
    places = _elements(indices, x.shape, axis).tolist()
    flat = _as_rows(graph, x, math.prod(x.shape), graph.fresh_name(f"{node.name}/elements"))
    taken = _taken(graph, flat, places, "Gather", graph.fresh_name(f"{node.name}/taken"))
    return graph.reshape(taken, indices.shape, name=node.name)


@onnx_import("GatherND", attributes=["batch_dims"])
def import_gather_nd(context: OnnxContext, node: OnnxNode) -> Tensor:
    graph, x, indices = context.graph, context.value(node.inputs[0]), _constant(context, node.inputs[1])
    batch = int(node.attrs.get("batch_dims", 0))
    if not 0 <= batch < min(len(x.shape), max(indices.ndim, 1)):
        raise ShapeError(f"batch_dims must be less than the dimensions of {x.shape} and {indices.shape}, not {batch}")
    places = _rows(indices, x.shape, batch).tolist()
    behind = batch + indices.shape[-1]
    rows = _as_rows(graph, x, math.prod(x.shape[:behind]), graph.fresh_name(f"{node.name}/rows"))
    taken = _taken(graph, rows, places, "Gather", graph.fresh_name(f"{node.name}/taken"))
    return graph.reshape(taken, (*indices.shape[:-1], *x.shape[behind:]), name=node.name)


@onnx_import("Compress", attributes=["axis"])
def import_compress(context: OnnxContext, node: OnnxNode) -> Tensor:
    """Where the condition holds, along an axis, or of all elements."""
    graph, x, chosen = context.graph, context.value(node.inputs[0]), _constant(context, node.inputs[1], "conditions")
    if (given := node.attrs.get("axis")) is None:
        x = _as_rows(graph, x, math.prod(x.shape), graph.fresh_name(f"{node.name}/elements"))
    (axis,) = checked_axes(x.shape, int(given or 0))
    places = np.flatnonzero(chosen[: x.shape[axis]]).tolist()
    if not places:
        raise UnsupportedError("nothing is left of x")
    return graph.take(x, [places if i == axis else None for i in range(len(x.shape))], kind="Gather", name=node.name)


@onnx_import("ScatterElements", "Scatter", attributes=["axis", "reduction"])
def import_scatter_elements(context: OnnxContext, node: OnnxNode) -> Tensor:
    x, indices = context.value(node.inputs[0]), _constant(context, node.inputs[1])
    (axis,) = checked_axes(x.shape, int(node.attrs.get("axis", 0)))
    return _scattered(context, node, _elements(indices, x.shape, axis), math.prod(x.shape))


@onnx_import("ScatterND", attributes=["reduction"])
def import_scatter_nd(context: OnnxContext, node: OnnxNode) -> Tensor:
    x, indices = context.value(node.inputs[0]), _constant(context, node.inputs[1])
    places = _rows(indices, x.shape, 0)
    return _scattered(context, node, places, math.prod(x.shape[: indices.shape[-1]]))


def _scattered(context: OnnxContext, node: OnnxNode, places: Array, rows: int) -> Tensor:
    """x, of so many rows, with those of the updates at these places; of two at the same place the last one, or (with a
    reduction) one after the other."""
    graph, x, updates = context.graph, context.value(node.inputs[0]), context.value(node.inputs[2])
    columns = math.prod(x.shape) // rows
    if math.prod(updates.shape) != len(places) * columns:
        raise ShapeError(f"updates {updates.shape} must have {len(places)} x {columns} elements, as the indices say")

    def part(text: str) -> str:
        return graph.fresh_name(f"{node.name}/{text}")

    found = _as_rows(graph, x, rows, part("rows"))
    new = graph.reshape(updates, (len(places), *found.shape[1:]), name=part("updates"))
    reduction = str(node.attrs.get("reduction", "none"))
    if reduction == "none":
        source: list[int | None] = [None] * rows
        for i, place in enumerate(places.tolist()):
            source[place] = i
        spread = _taken(graph, new, source, "Scatter", part("spread"))
        mask = np.array([i is not None for i in source]).reshape(rows, *[1] * (len(found.shape) - 1))
        found = graph.select(graph.weight(part("mask"), mask, "bool"), spread, found, name=part("scattered"))
        return graph.reshape(found, x.shape, name=node.name)
    operation = {"add": graph.add, "mul": graph.mul, "max": graph.maximum, "min": graph.minimum}.get(reduction)
    if operation is None or x.dtype == "bool":
        raise UnsupportedError(f"reduction {shown(reduction)} of {x.dtype} is not supported")
    for source in _rounds(places, rows):
        spread = _taken(graph, new, source, "Scatter", part("spread"), _neutral(reduction, x.dtype))
        found = operation(found, spread, name=part(reduction))
    return graph.reshape(found, x.shape, name=node.name)


MOST_ROUNDS = 64
"""The updates of one place, each of which takes an operation on all of x."""


def _rounds(places: Array, rows: int) -> list[list[int | None]]:
    """Which update each row gets: in the first round the first one of its place, in the next one the second."""
    rounds: list[list[int | None]] = []
    seen = [0] * rows
    for i, place in enumerate(places.tolist()):
        if seen[place] == len(rounds):
            if len(rounds) == MOST_ROUNDS:
                raise UnsupportedError(f"up to {MOST_ROUNDS} updates of the same place are supported")
            rounds.append([None] * rows)
        rounds[seen[place]][place] = i
        seen[place] += 1
    return rounds


def _neutral(reduction: str, dtype: str) -> float:
    """What changes nothing: -0, as a sum of -0 and 0 is 0."""
    if reduction in ("add", "mul"):
        return 1.0 if reduction == "mul" else (0.0 if dtype in INTEGERS else -0.0)
    if dtype in INTEGERS:
        return float(np.iinfo(dtype).min if reduction == "max" else np.iinfo(dtype).max)
    return -math.inf if reduction == "max" else math.inf


@onnx_import("OneHot", attributes=["axis"])
def import_one_hot(context: OnnxContext, node: OnnxNode) -> Tensor:
    """`on` where the place along a new axis is the index (a negative one counts from the end), `off` elsewhere."""
    graph, indices, values = context.graph, context.value(node.inputs[0]), context.value(node.inputs[2])
    depth = _constant(context, node.inputs[1], "depths")
    if depth.size != 1 or values.shape != (2,) or int(depth.reshape(-1)[0]) < 1:
        raise ShapeError(f"depth must be one number from 1, and values two numbers, not of shape {values.shape}")
    count, rank = int(depth.reshape(-1)[0]), len(indices.shape) + 1
    axis = int(node.attrs.get("axis", -1))
    if not -rank <= axis < rank:
        raise ShapeError(f"axis must lie in [-{rank}, {rank - 1}], not {axis}")
    axis %= rank

    def part(text: str) -> str:
        return graph.fresh_name(f"{node.name}/{text}")

    at = graph.reshape(indices, (*indices.shape[:axis], 1, *indices.shape[axis:]), name=part("at"))
    below = graph.less(at, 0, name=part("below"))
    at = graph.select(below, graph.add(at, count, name=part("from_end")), at, name=part("from_front"))
    steps = np.arange(count).reshape(-1, *[1] * (rank - 1 - axis))
    hot = graph.equal(at, graph.weight(part("places"), steps, at.dtype), name=part("hot"))
    off, on = (graph.reshape(each, (1,), name=part("value")) for each in graph.split(values, 2, name=part("values")))
    return graph.select(hot, on, off, name=node.name)
