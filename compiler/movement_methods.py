"""Movements of a graph as methods: `Graph` has them from here. Each is a view where it can be one, and else moves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minisim.compiler.arguments import Shape, caller, checked_axes, integers, number, sequence
from minisim.compiler.attributes import (
    ConcatAttributes,
    Run,
    TakeAttributes,
    TransposeAttributes,
)
from minisim.compiler.graph_methods import GraphMethods, T
from minisim.errors import ModelError, ShapeError, shown

Indices = Sequence[int | None]

PAD_MODES = ("constant", "edge", "reflect", "wrap")


class MovementMethods(GraphMethods[T]):
    """What `Graph` inherits."""

    def transpose(self, x: T, perm: Sequence[int] | None = None, *, name: str | None = None) -> T:
        """The axes in the order of `perm`, or reversed: axis i of the result is axis perm[i] of x.

        It moves all elements, unless those axes that are longer than 1 stay in their order: then it is a view.
        """
        self._own(x)
        rank = len(x.shape)
        given = tuple(range(rank))[::-1] if perm is None else integers("perm", perm)
        axes = tuple(axis + rank if axis < 0 else axis for axis in given)
        if sorted(axes) != list(range(rank)):
            raise ShapeError(f"{caller()}perm must have each axis of {x.name} {x.shape} once, not be {shown(given)}")
        long = [axis for axis in axes if x.shape[axis] > 1]
        if long == sorted(long):
            return self.reshape(x, tuple(x.shape[axis] for axis in axes), name=name)
        return self.add_node("Transpose", [x], TransposeAttributes(axes), name)

    def concat(self, tensors: Sequence[T], axis: int = -1, *, name: str | None = None) -> T:
        """`tensors` one behind the other along `axis`; all are moved."""
        given = sequence("the tensors of a concat", tensors)
        for x in given:
            self._own(x)
        if not given:
            raise ModelError(f"{caller()}a concat must have one tensor or more")
        if not given[0].shape:
            raise ShapeError(f"{caller()}a scalar has no axis to be put behind another's")
        (at,) = checked_axes(given[0].shape, axis)
        return self.add_node("Concat", list(given), ConcatAttributes(at), name)

    def take(
        self, x: T, indices: Sequence[Indices | None], *, fill: float = 0.0, kind: str = "Take", name: str | None = None
    ) -> T:
        """Elements of x, chosen for each axis by their numbers: None for all of an axis, and in place of a number for
        `fill`. All that is taken is moved.
        """
        self._own(x)
        given = sequence("indices", indices)
        if len(given) != len(x.shape):
            raise ShapeError(f"{caller()}indices must be of {len(x.shape)} axes, not {len(given)}")
        runs = [
            (Run(0, 1, size),) if chosen is None else runs_of([_number(i, size) for i in chosen])
            for size, chosen in zip(x.shape, given, strict=True)
        ]
        return self.add_node("Take", [x], TakeAttributes(kind, tuple(runs), number("fill", fill)), name)

    def gather(self, table: T, indices: T, *, name: str | None = None) -> T:
        """Rows of `table` by `indices`, int32 of any shape, which are known at run time only: ``table[indices]``, as
        embeddings are looked up. They lie in [-rows, rows), and count from the last row on if they are negative.

        Each row is loaded by itself, and no others are. By numbers that are known now it is `take`.
        """
        self._own(table)
        self._own(indices)
        whole = [self._apart(x, what, name) for x, what in ((table, "table"), (indices, "indices"))]
        return self.add_node("Gather", whole, name=name)

    def _apart(self, x: T, what: str, name: str | None) -> T:
        """`x`, or a copy of it if it is a part of another tensor."""
        if x.window is None:
            return x
        return self.take(x, [None] * len(x.shape), kind="Copy", name=name and f"{name}/{what}")

    def slice(
        self,
        x: T,
        starts: Sequence[int],
        ends: Sequence[int],
        axes: Sequence[int] | None = None,
        steps: Sequence[int] | None = None,
        *,
        name: str | None = None,
    ) -> T:
        """``x[starts[0]:ends[0]:steps[0], ...]`` along `axes`, with Python's rules for what is negative or too large.

        A run of whole rows, or of columns, is a view; all else is moved.
        """
        self._own(x)
        starts, ends = integers("starts", starts), integers("ends", ends)
        axes = tuple(range(len(starts))) if axes is None else tuple(integers("axes", axes))
        steps = (1,) * len(starts) if steps is None else integers("steps", steps)
        if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
            raise ShapeError(f"{caller()}a slice must have a start, an end and a step that is not 0 for each axis")
        chosen = [range(size) for size in x.shape]
        rank = len(x.shape)
        for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
            if not -rank <= axis < rank:
                raise ShapeError(f"{caller()}an axis of {x.shape} must lie in [-{rank}, {rank - 1}], not {axis}")
            chosen[axis % rank] = range(x.shape[axis])[start:end:step]
        if not all(chosen):
            raise ShapeError(f"{caller()}nothing is left of {x.name} {x.shape}")
        cut = [axis for axis, (each, size) in enumerate(zip(chosen, x.shape, strict=True)) if each != range(size)]
        if not cut:
            return self.reshape(x, x.shape, name=name)
        if len(cut) == 1 and chosen[cut[0]].step == 1 and is_rectangle(x.shape, cut[0]):
            return self._piece(x, cut[0], chosen[cut[0]], name)
        return self.take(x, [None if each == range(size) else each for each, size in zip(chosen, x.shape, strict=True)],
                         kind="Slice", name=name)  # fmt: skip

    def pad(
        self,
        x: T,
        pads: Sequence[tuple[int, int]],
        *,
        mode: str = "constant",
        value: float = 0.0,
        name: str | None = None,
    ) -> T:
        """So many elements before and behind, for each axis; fewer than none take some away.

        Args:
            mode: what they are: "constant" (`value`), "edge", "reflect" or "wrap", as numpy.pad has them.
        """
        self._own(x)
        if mode not in PAD_MODES:
            raise ModelError(f"{caller()}mode must be one of {', '.join(PAD_MODES)}, not {shown(mode)}")
        both = [integers("pads", each) for each in sequence("pads", pads)]
        if len(both) != len(x.shape) or any(len(each) != 2 for each in both):
            raise ShapeError(f"{caller()}pads must be two numbers for each axis of {x.shape}, not {shown(pads)}")
        indices: list[Indices | None] = []
        for size, (before, behind) in zip(x.shape, both, strict=True):
            if max(before, behind) > MOST_PADDING or (mode == "reflect" and size == 1 and max(before, behind) > 0):
                raise ShapeError(f"{caller()}an axis of {size} cannot be padded by {(before, behind)}, mode {mode}")
            numbers = [_padded(i, size, mode) for i in range(-before, size + behind)]
            indices.append(None if (before, behind) == (0, 0) else numbers)
        return self.take(x, indices, fill=value, kind="Pad", name=name)

    def expand(self, x: T, shape: Sequence[int], *, name: str | None = None) -> T:
        """Broadcast to `shape`, as numpy does, in memory; an elementwise operation does without."""
        self._own(x)
        wanted = integers("the shape", shape, ShapeError)
        try:
            full = np.broadcast_shapes(x.shape, wanted)
        except ValueError:
            raise ShapeError(f"{caller()}{x.name} {x.shape} cannot be expanded to {shown(wanted)}") from None
        padded = (1,) * (len(full) - len(x.shape)) + x.shape
        whole = x if padded == x.shape else self.reshape(x, padded, name=name and f"{name}/rank")
        if padded == full:
            return whole
        indices = [None if a == b else [0] * b for a, b in zip(padded, full, strict=True)]
        return self.take(whole, indices, kind="Expand", name=name)

    def _piece(self, x: T, axis: int, chosen: range, name: str | None) -> T:
        """The run of elements along an axis, as a window of x."""
        sizes = [chosen.start, len(chosen), x.shape[axis] - chosen.stop]
        pieces = self.split(x, [size for size in sizes if size], axis=axis, name=name)
        return pieces[1 if sizes[0] else 0]


MOST_PADDING = 2**20
"""Elements that are added at one end of an axis."""


def is_rectangle(shape: Shape, axis: int) -> bool:
    """Whether a run of elements along the axis is a rectangle of the rows and columns of such a tensor."""
    return axis == len(shape) - 1 or all(d == 1 for d in shape[:axis])


def _number(index: int | None, size: int) -> int | None:
    """Of an element, from the front."""
    if index is None:
        return None
    (i,) = integers("an index", (index,))
    if not -size <= i < size:
        raise ShapeError(f"{caller()}an index must lie in [-{size}, {size - 1}], not {i}")
    return i % size


def _padded(i: int, size: int, mode: str) -> int | None:
    """Which element of an axis stands at place i of the padded one, counted from where the axis begins."""
    if 0 <= i < size:
        return i
    match mode:
        case "edge":
            return 0 if i < 0 else size - 1
        case "wrap":
            return i % size
        case "reflect":
            period = 2 * size - 2
            return min(i % period, period - i % period)
    return None


def runs_of(indices: Sequence[int | None]) -> tuple[Run, ...]:
    """Elements of an axis by their numbers (None: the fill), as the fewest runs that a greedy search finds."""
    found: list[Run] = []
    for index in indices:
        last = found[-1] if found else None
        if last is None or (last.begin is None) != (index is None):
            found.append(Run(index, 0 if index is None else 1, 1))
        elif index is None or (last.length > 1 and index == last.last + last.step):
            found[-1] = last._replace(length=last.length + 1)
        elif last.length == 1 and index >= last.last:
            found[-1] = Run(last.begin, index - last.last, 2)
        else:
            found.append(Run(index, 1, 1))
    return tuple(found)
