"""Reductions and normalisations of a graph as methods: `Graph` has them from here.

The machine works along rows (`ops/row_strips.py`). Other axes become rows: those at the end, however many, by a view;
what is along axes between others is transposed, and back. A reduction over the pixels of images is a pooling.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from minisim.compiler.arguments import Shape, caller, checked_axes, flag
from minisim.compiler.attributes import MOST_PIXELS, PoolAttributes
from minisim.compiler.dtypes import is_integer
from minisim.compiler.geometry import Pair
from minisim.compiler.graph_methods import GraphMethods, T
from minisim.errors import ModelError

Axes = int | Sequence[int] | None
"""One axis, several, or all of them; a negative one counts from the end."""


class RowMethods(GraphMethods[T]):
    """What `Graph` inherits. What each operation computes, to the bit, is in docs/vector.md."""

    def reduce_sum(self, x: T, axes: Axes = -1, *, keepdims: bool = True, name: str | None = None) -> T:
        """The sum along `axes`, each of which becomes 1, or without `keepdims` vanishes."""
        return self._reduced("ReduceSum", x, axes, keepdims, name)

    def reduce_max(self, x: T, axes: Axes = -1, *, keepdims: bool = True, name: str | None = None) -> T:
        """The maximum along `axes`."""
        return self._reduced("ReduceMax", x, axes, keepdims, name)

    def reduce_mean(self, x: T, axes: Axes = -1, *, keepdims: bool = True, name: str | None = None) -> T:
        """The mean along `axes`: the sum / the number of elements."""
        return self._reduced("ReduceMean", x, axes, keepdims, name)

    def softmax(self, x: T, axes: Axes = -1, *, name: str | None = None) -> T:
        """``exp(x - max) / sum(exp(x - max))`` along `axes`."""
        return self._normalised("Softmax", x, axes, name, lambda rows: [self._operand(1.0, rows)])

    def log_softmax(self, x: T, axes: Axes = -1, *, name: str | None = None) -> T:
        """``x - max - log(sum(exp(x - max)))`` along `axes`."""
        return self._normalised("LogSoftmax", x, axes, name, lambda rows: [])

    def layer_norm(
        self,
        x: T,
        scale: T | None = None,
        bias: T | None = None,
        *,
        axes: Axes = -1,
        epsilon: float = 1e-5,
        name: str | None = None,
    ) -> T:
        """``(x - mean) / sqrt(variance + epsilon) * scale + bias`` along `axes`, of n elements together.

        Args:
            scale, bias: tensors of n elements, or one; no bias without scale.
        """
        if bias is not None and scale is None:
            raise ModelError(f"{caller()}layer_norm takes a bias only with a scale")

        def operands(rows: T) -> list[T]:
            count = rows.shape[-1] if rows.shape else 1
            constants = [self._operand(value, rows) for value in (count, epsilon, 1.0)]
            return [*constants, *(self._as_row(each, count) for each in (scale, bias) if each is not None)]

        return self._normalised("LayerNorm", x, axes, name, operands)

    def rms_norm(
        self, x: T, scale: T | None = None, *, axes: Axes = -1, epsilon: float = 1e-5, name: str | None = None
    ) -> T:
        """``x / sqrt(mean(x * x) + epsilon) * scale`` along `axes`, of n elements together."""

        def operands(rows: T) -> list[T]:
            count = rows.shape[-1] if rows.shape else 1
            constants = [self._operand(value, rows) for value in (count, epsilon, 1.0)]
            return constants if scale is None else [*constants, self._as_row(scale, count)]

        return self._normalised("RmsNorm", x, axes, name, operands)

    # -- internals ---------------------------------------------------------------------------------

    def _reduced(self, op: str, x: T, axes: Axes, keepdims: bool, name: str | None) -> T:
        self._own(x)
        along = checked_axes(x.shape, axes)
        keeps = flag("keepdims", keepdims)
        wanted = tuple(1 if i in along else d for i, d in enumerate(x.shape) if keeps or i not in along)
        if (kernel := _pixels(x.shape, along)) and not (is_integer(x.dtype) and op != "ReduceMax"):
            count = [self._operand(math.prod(kernel), x)] if op == "ReduceMean" else []
            inner = name if len(wanted) == len(x.shape) else _part(name, "reduced")
            found = self.add_node(FOLDS[op], [x, *count], PoolAttributes(kernel=kernel), inner)
            return found if found.shape == wanted else self.reshape(found, wanted, name=name)
        rows = self._rows(x, along, name)
        mean = [self._operand(rows.shape[-1] if rows.shape else 1, rows)] if op == "ReduceMean" else []
        if not rows.shape or (*rows.shape[:-1], 1) == wanted:  # add_node refuses a scalar
            return self.add_node(op, [rows, *mean], name=name)
        return self.reshape(self.add_node(op, [rows, *mean], name=_part(name, "reduced")), wanted, name=name)

    def _normalised(self, op: str, x: T, axes: Axes, name: str | None, operands: Callable[[T], list[T]]) -> T:
        """`op` on x and what `operands` makes for its rows."""
        self._own(x)
        along = checked_axes(x.shape, axes)
        rows = self._rows(x, along, name)
        if rows.shape == x.shape and (not x.shape or _are_last(x.shape, along)):
            return self.add_node(op, [rows, *operands(rows)], name=name)
        found = self.add_node(op, [rows, *operands(rows)], name=_part(name, "normalised"))
        if _are_last(x.shape, along):
            return self.reshape(found, x.shape, name=name)
        order = _behind_the_others(x.shape, along)
        whole = self.reshape(found, tuple(x.shape[axis] for axis in order), name=_part(name, "unfolded"))
        return self.transpose(whole, [order.index(axis) for axis in range(len(order))], name=name)

    def _rows(self, x: T, along: tuple[int, ...], name: str | None) -> T:
        """x with `along` as its last axis: a view, if no other axis lies behind them, else transposed."""
        if not x.shape or along == (len(x.shape) - 1,):
            return x
        if not _are_last(x.shape, along):
            x = self.transpose(x, _behind_the_others(x.shape, along), name=_part(name, "transposed"))
            along = tuple(range(len(x.shape) - len(along), len(x.shape)))
        long = [i for i in along if x.shape[i] > 1]
        first = long[0] if long else len(x.shape)
        if (*x.shape[:first], math.prod(x.shape[first:])) == x.shape:
            return x
        return self.reshape(x, (*x.shape[:first], math.prod(x.shape[first:])), name=_part(name, "rows"))

    def _as_row(self, x: T, count: int) -> T:
        """A row of `count` elements, if x has so many; else x."""
        self._own(x)
        return self.reshape(x, (count,)) if math.prod(x.shape) == count and len(x.shape) > 1 else x


FOLDS = {"ReduceSum": "SumPool", "ReduceMax": "MaxPool", "ReduceMean": "AveragePool"}
"""What a reduction over all pixels of an image is: a pooling whose kernel covers it."""


def _pixels(shape: Shape, along: tuple[int, ...]) -> Pair | None:
    """The lines and columns of images (n, height, width, channels), or signals (n, width, channels), if `along` is all
    of their axes; None if not, or if no kernel is as large."""
    if (len(shape), along) == (4, (1, 2)):
        kernel = shape[1], shape[2]
    elif (len(shape), along) == (3, (1,)):
        kernel = 1, shape[1]
    else:
        return None
    return kernel if max(kernel) <= MOST_PIXELS else None


def _are_last(shape: Shape, along: tuple[int, ...]) -> bool:
    """Whether none but axes of one element lie between these axes, or behind them."""
    first = next((i for i in along if shape[i] > 1), len(shape))
    return all(d == 1 for i, d in enumerate(shape) if i > first and i not in along)


def _behind_the_others(shape: Shape, along: tuple[int, ...]) -> list[int]:
    """All axes, these as the last ones."""
    return [*(i for i in range(len(shape)) if i not in along), *along]


def _part(name: str | None, part: str) -> str | None:
    """The name of one of the operations that make up the one called `name`."""
    return name and f"{name}/{part}"
