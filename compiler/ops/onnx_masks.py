"""ONNX's nodes that select by a mask: Trilu, whose mask is a constant, and Hardmax, whose mask is computed."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from minisim.compiler.graph import Tensor
from minisim.compiler.ops.base import OnnxContext, OnnxNode, onnx_import
from minisim.compiler.semantics import Array
from minisim.compiler.values import Lazy
from minisim.errors import ShapeError, UnsupportedError

MOST_RANKS = 1 << 24
"""The elements of which Hardmax finds the first: float32 counts no further one by one."""


@onnx_import("Trilu", attributes=["upper"])
def import_trilu(context: OnnxContext, node: OnnxNode) -> Tensor:
    """The triangle of each matrix above (or below) diagonal k; what lies outside is +0, whatever x has there."""
    graph, x = context.graph, context.value(node.inputs[0])
    if len(x.shape) < 2:
        raise ShapeError(f"x must have two dimensions or more, not shape {x.shape}")
    k = [0]
    if len(node.inputs) > 1 and node.inputs[1]:
        given = context.integers(node.inputs[1])
        if given is None:
            raise UnsupportedError("a k that is computed at run time is not supported")
        if len(given) != 1:
            raise ShapeError(f"k must be one number, not {len(given)}")
        k = given
    mask_of = partial(_triangle, x.shape[-2], x.shape[-1], k[0], bool(node.attrs.get("upper", 1)))
    mask = graph.weight(graph.fresh_name(f"{node.name}/mask"), Lazy(x.shape[-2:], mask_of), "bool")
    if x.dtype == "bool":
        return graph.logical_and(mask, x, name=node.name)
    return graph.select(mask, x, 0.0, name=node.name)


def _triangle(rows: int, columns: int, k: int, upper: bool) -> Array:
    """Whether each element of a matrix lies on the diagonal k or on the wanted side of it."""
    k = min(max(k, -rows), columns)  # one beyond the matrix means all of it, or nothing; int64 would overflow
    along, across = np.arange(rows)[:, None] + k, np.arange(columns)[None, :]
    return np.asarray(across >= along if upper else across <= along)


@onnx_import("Hardmax", attributes=["axis"])
def import_hardmax(context: OnnxContext, node: OnnxNode) -> Tensor:
    """1 at the first of the greatest elements (at the first NaN, if there is one, as numpy's argmax), elsewhere 0.

    The first one is that of the highest rank, and ranks fall along the axes. Before opset 13 all axes from `axis` on
    (then 1 if not given) were one.
    """
    graph, x, name = context.graph, context.value(node.inputs[0]), node.name
    rank = len(x.shape)
    axis = int(node.attrs.get("axis", -1 if context.opset >= 13 else 1))
    if not rank:
        raise ShapeError("a scalar has no axis")
    if not -rank <= axis < rank:
        raise ShapeError(f"axis must lie in [-{rank}, {rank - 1}], not {axis}")
    axes = [axis % rank] if context.opset >= 13 else list(range(axis % rank, rank))
    shape = [d if i in axes else 1 for i, d in enumerate(x.shape)]
    if (count := math.prod(shape)) >= MOST_RANKS:
        raise UnsupportedError(f"of fewer than {MOST_RANKS} elements it is supported, not of {count}")
    falling = np.arange(count, 0, -1, dtype=np.float32).reshape(shape)
    ranks = graph.weight(graph.fresh_name(f"{name}/ranks"), falling)
    greatest = graph.reduce_max(x, axes, name=f"{name}/greatest")
    equal = graph.equal(x, greatest, name=f"{name}/equal")
    chosen = graph.logical_or(equal, graph.is_nan(x, name=f"{name}/nan"), name=f"{name}/chosen")
    found = graph.select(chosen, ranks, 0.0, name=f"{name}/found")
    first = graph.equal(found, graph.reduce_max(found, axes, name=f"{name}/highest"), name=f"{name}/first")
    return graph.cast(first, x.dtype, name=name)
