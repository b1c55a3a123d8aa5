"""How ONNX's Einsum enters the graph: as the matmul that it is, between what brings axes into its order.

Of two operands each axis is one of four: in both and in the result (a batch), in both alone (it is summed over: k), or
in one of them and in the result (m or n). An axis that one operand alone has is summed over first. The chain of a
product runs over the axes of k in the order of the first operand; without such axes there is but an elementwise
product. What an operand's axes need to be moved for that is a Transpose: nothing, for the orders that a matmul takes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from minisim.compiler.dtypes import FLOATS
from minisim.compiler.graph import Graph, Tensor
from minisim.compiler.ops.base import OnnxContext, OnnxNode, onnx_import
from minisim.compiler.values import reordered
from minisim.errors import ModelError, ShapeError, UnsupportedError

Axes = tuple[str, ...]
"""The letter of each axis; those of an ellipsis are numbered from the last on: ``.1``, ``.0``."""


@onnx_import("Einsum", attributes=["equation"])
def import_einsum(context: OnnxContext, node: OnnxNode) -> Tensor:
    given = node.attrs["equation"]
    equation = "".join((given.decode() if isinstance(given, bytes) else str(given)).split())
    shapes = [context.value(name).shape for name in node.inputs]
    *operands, result = _axes(equation, [len(shape) for shape in shapes])
    if len(operands) > 2:
        raise UnsupportedError(f"{len(operands)} operands are not supported, only one or two")
    if any(len(set(axes)) < len(axes) for axes in operands):
        raise UnsupportedError(f"a diagonal, an axis that one operand has twice, is not supported: {equation}")
    sizes: dict[str, int] = {}
    for axes, shape in zip(operands, shapes, strict=True):
        for axis, size in zip(axes, shape, strict=True):
            if sizes.setdefault(axis, size) != size:
                raise ShapeError(f"axis {axis} of {equation} must have one size, not {sizes[axis]} and {size}")
    if (dtype := context.value(node.inputs[0]).dtype) not in FLOATS:
        raise UnsupportedError(f"Einsum of floats is supported, not of {dtype}")
    summands = _Summands(context, node, sizes)
    if len(operands) == 1:
        x, axes = summands.reduced(0, operands[0], result)
        return summands.in_order(x, axes, result)
    return _product(summands, operands[0], operands[1], result)


def _axes(equation: str, ranks: Sequence[int]) -> list[Axes]:
    """Those of each operand, and of the result: where it is not given, the letters that stand once, in their order."""
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        raise ModelError(f"{equation} must have a term for each of {len(ranks)} operands, not {len(terms)}")
    found = [_term(term, rank, equation) for term, rank in zip(terms, ranks, strict=True)]
    dots = max((axes for term in found if (axes := _dots(term))), key=len, default=())
    if not arrow:
        letters = left.replace(",", "").replace(".", "")
        return [*found, (*dots, *sorted(letter for letter in set(letters) if letters.count(letter) == 1))]
    result = _term(right, len(right.replace("...", "")) + (len(dots) if "..." in right else 0), equation)
    known = {axis for term in found for axis in term}
    if len(set(result)) < len(result) or not set(result) <= known:
        raise ModelError(f"the result of {equation} must have each of its axes once, and from an operand")
    return [*found, result]


def _term(term: str, rank: int, equation: str) -> Axes:
    before, dots, behind = term.partition("...")
    letters = before + behind
    if any(not (letter.isascii() and letter.isalpha()) for letter in letters):
        raise ModelError(f"{equation!r} is no equation: axes are letters, or '...'")
    more = rank - len(letters)
    if more < 0 or (more and not dots):
        raise ShapeError(f"{term!r} of {equation} does not fit an operand of {rank} axes")
    return (*before, *(f".{i}" for i in reversed(range(more))), *behind)


def _dots(axes: Axes) -> Axes:
    return tuple(axis for axis in axes if axis.startswith("."))


class _Summands:
    """The operands of one Einsum, brought into shape."""

    def __init__(self, context: OnnxContext, node: OnnxNode, sizes: dict[str, int]) -> None:
        self.context, self.node, self.sizes = context, node, sizes
        self.graph: Graph = context.graph

    def shape(self, axes: Sequence[str]) -> tuple[int, ...]:
        return tuple(self.sizes[axis] for axis in axes)

    def count(self, axes: Sequence[str]) -> int:
        return math.prod(self.shape(axes))

    def part(self, text: str) -> str:
        return self.graph.fresh_name(f"{self.node.name}/{text}")

    def reduced(self, place: int, axes: Axes, others: Sequence[str]) -> tuple[Tensor, Axes]:
        """An operand, summed over the axes that nobody else has."""
        x, kept = self.context.value(self.node.inputs[place]), tuple(axis for axis in axes if axis in others)
        if kept == axes:
            return x, axes
        gone = [i for i, axis in enumerate(axes) if axis not in others]
        return self.graph.reduce_sum(x, gone, keepdims=False, name=self.part("sum")), kept

    def in_order(self, x: Tensor, axes: Axes, wanted: Axes) -> Tensor:
        if axes == wanted:
            return x
        return self.graph.transpose(x, [axes.index(axis) for axis in wanted], name=self.part("turned"))

    def laid_out(self, place: int, x: Tensor, axes: Axes, wanted: Axes, shape: Sequence[int]) -> Tensor:
        """An operand with its axes as wanted, in this shape; a constant is laid out so once for all."""
        name, order = self.node.inputs[place], [axes.index(axis) for axis in wanted]
        constant = self.context.constant(name)
        if axes != wanted and constant is not None and constant.shape == self.shape(axes):
            x = self.context.weight(name, reordered(constant, constant.shape, order))
        else:
            x = self.in_order(x, axes, wanted)
        return x if x.shape == tuple(shape) else self.graph.reshape(x, shape, name=self.part("matrices"))


def _product(of: _Summands, first: Axes, second: Axes, result: Axes) -> Tensor:
    a, first = of.reduced(0, first, (*second, *result))
    b, second = of.reduced(1, second, (*first, *result))
    batch = tuple(axis for axis in result if axis in first and axis in second)
    k = tuple(axis for axis in first if axis in second and axis not in result)
    m, n = (tuple(axis for axis in result if axis in mine and axis not in batch) for mine in (first, second))
    lead, rows, depth, cols = of.shape(batch), of.count(m), of.count(k), of.count(n)
    found = (*batch, *m, *n)
    if k:
        turned_a, turned_b = first == (*batch, *k, *m) and bool(m), second != (*batch, *k, *n)
        left = (*batch, *k, *m) if turned_a else (*batch, *m, *k)
        right = (*batch, *n, *k) if turned_b else (*batch, *k, *n)
        y = of.graph.matmul(
            of.laid_out(0, a, first, left, (*lead, depth, rows) if turned_a else (*lead, rows, depth)),
            of.laid_out(1, b, second, right, (*lead, cols, depth) if turned_b else (*lead, depth, cols)),
            transpose_a=turned_a,
            transpose_b=turned_b,
            name=of.part("matmul"),
        )
    else:
        y = of.graph.mul(
            of.laid_out(0, a, first, (*batch, *m), (*lead, rows, 1)),
            of.laid_out(1, b, second, (*batch, *n), (*lead, 1, cols)),
            name=of.part("product"),
        )
    whole = of.shape(found)
    apart = y if y.shape == whole else of.graph.reshape(y, whole, name=of.part("axes"))
    return of.in_order(apart, found, result)
