"""How ONNX's ArgMax, ArgMin and TopK enter the graph: reductions, and masks of what they find.

The greatest element is found by a reduction; where it stands, by a second one over ranks, whole numbers that fall along
the axis (or rise, if the last of equal elements counts). NaN counts as the greatest. The next one is found where the
ranks of those before it are gone.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from minisim.compiler.arguments import checked_axes
from minisim.compiler.dtypes import FLOATS, INTEGERS
from minisim.compiler.graph import Graph, Tensor
from minisim.compiler.ops.base import OnnxContext, OnnxNode, onnx_import
from minisim.errors import ShapeError, UnsupportedError

MOST = 64
"""The elements that a TopK finds one by one, each by two reductions of all."""

Part = Callable[[str], str]


@onnx_import("ArgMax", "ArgMin", attributes=["axis", "keepdims", "select_last_index"], int64_outputs=[0])
def import_arg(context: OnnxContext, node: OnnxNode) -> Tensor:
    graph, x = context.graph, context.value(node.inputs[0])

    def part(text: str) -> str:
        return graph.fresh_name(f"{node.name}/{text}")

    (axis,) = _axis(x, int(node.attrs.get("axis", 0)))
    rows = _along_rows(graph, x, axis, part)
    if node.op_type == "ArgMin":
        rows = _reversed(graph, rows, part)
    last, size = bool(node.attrs.get("select_last_index", 0)), x.shape[axis]
    ranks = _ranks(graph, size, last, part)
    _, rank = _greatest(graph, rows, ranks, part)
    at = graph.sub(rank, 1, name=part("at")) if last else graph.sub(size, rank, name=part("at"))
    wanted = [1 if i == axis else d for i, d in enumerate(x.shape) if i != axis or node.attrs.get("keepdims", 1)]
    return graph.reshape(at, wanted, name=node.name)


@onnx_import("TopK", attributes=["axis", "k", "largest", "sorted"], several_outputs=True, int64_outputs=[1])
def import_top_k(context: OnnxContext, node: OnnxNode) -> tuple[Tensor, ...]:
    """The values, in falling order (of the smallest in rising order), and where they stand."""
    graph, x = context.graph, context.value(node.inputs[0])

    def part(text: str) -> str:
        return graph.fresh_name(f"{node.name}/{text}")

    older = len(node.inputs) < 2  # then k is an attribute
    given = [int(node.attrs.get("k", 0))] if older else context.integers(node.inputs[1])
    if given is None:
        raise UnsupportedError("a k that is computed at run time is not supported")
    (axis,) = _axis(x, int(node.attrs.get("axis", -1)))
    size = x.shape[axis]
    if len(given) != 1 or not 1 <= given[0] <= size:
        raise ShapeError(f"k must be a number from 1 to {size}, not {', '.join(map(str, given))}")
    if (k := given[0]) > MOST:
        raise UnsupportedError(f"up to {MOST} elements are found, not {k}")
    rows = _along_rows(graph, x, axis, part)
    largest = bool(node.attrs.get("largest", 1))
    rows = rows if largest else _reversed(graph, rows, part)
    ranks = _ranks(graph, size, False, part)
    lowest = graph.weight(part("lowest"), np.asarray(_lowest(x.dtype)), x.dtype)
    nothing = graph.weight(part("nothing"), np.zeros((), np.int32), "int32")
    values, found = [], []
    for i in range(k):
        value, rank = _greatest(graph, rows, ranks, part)
        values.append(value)
        found.append(rank)
        if i < k - 1:
            hit = graph.equal(ranks, rank, name=part("hit"))
            rows = graph.select(hit, lowest, rows, name=part("others"))
            ranks = graph.select(hit, nothing, ranks, name=part("ranks"))
    whole = _joined(graph, values, part)
    whole = whole if largest else _reversed(graph, whole, part)
    at = graph.sub(size, _joined(graph, found, part), name=part("at"))
    return _back(graph, whole, x, axis, node.name), _back(graph, at, x, axis, part("indices"))


def _axis(x: Tensor, axis: int) -> tuple[int, ...]:
    if not x.shape:
        raise ShapeError("a scalar has no axis")
    if x.dtype == "bool":
        raise UnsupportedError("of numbers it is supported, not of bool")
    return checked_axes(x.shape, axis)


def _along_rows(graph: Graph, x: Tensor, axis: int, part: Part) -> Tensor:
    """x with this axis at the end."""
    if axis == len(x.shape) - 1:
        return x
    order = [*(i for i in range(len(x.shape)) if i != axis), axis]
    return graph.transpose(x, order, name=part("rows"))


def _back(graph: Graph, rows: Tensor, x: Tensor, axis: int, name: str) -> Tensor:
    """With the last axis where it was in x."""
    rank = len(x.shape)
    if axis == rank - 1:
        return graph.reshape(rows, rows.shape, name=name)
    order = [*range(axis), rank - 1, *range(axis, rank - 1)]
    return graph.transpose(rows, order, name=name)


def _reversed(graph: Graph, x: Tensor, part: Part) -> Tensor:
    """In the opposite order: exact, and its own inverse."""
    if x.dtype in FLOATS:
        return graph.neg(x, name=part("reversed"))
    return graph.sub(255 if x.dtype == "uint8" else -1, x, name=part("reversed"))


def _lowest(dtype: str) -> float:
    return float(np.iinfo(dtype).min) if dtype in INTEGERS else -math.inf


def _ranks(graph: Graph, size: int, rising: bool, part: Part) -> Tensor:
    """From `size` down to 1, or up to it."""
    ranks = np.arange(1, size + 1, dtype=np.int32)
    return graph.weight(part("ranks"), ranks if rising else ranks[::-1].copy(), "int32")


def _greatest(graph: Graph, x: Tensor, ranks: Tensor, part: Part) -> tuple[Tensor, Tensor]:
    """The greatest element of each row, and the highest rank of those that it equals: (..., 1) each."""
    greatest = graph.reduce_max(x, name=part("greatest"))
    chosen = graph.equal(x, greatest, name=part("equal"))
    if x.dtype in FLOATS:
        chosen = graph.logical_or(chosen, graph.is_nan(x, name=part("nan")), name=part("chosen"))
    return greatest, graph.reduce_max(graph.select(chosen, ranks, 0, name=part("of_these")), name=part("rank"))


def _joined(graph: Graph, parts: list[Tensor], part: Part) -> Tensor:
    return parts[0] if len(parts) == 1 else graph.concat(parts, -1, name=part("joined"))
