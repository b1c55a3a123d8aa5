"""Transpose, Concat, and Take, which is every choice of elements along axes: slices, pads, gathers, repetitions.

They cost what they move: each element is read once and written once. What a view can do is a view (`split.py`,
`reshape.py`); the methods of `Graph` choose (`movement_methods.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, product

import numpy as np

from minisim.compiler.attributes import ConcatAttributes, TakeAttributes, TransposeAttributes
from minisim.compiler.boxes import Along, Piece
from minisim.compiler.dtypes import CODE, is_immediate
from minisim.compiler.graph import Shape
from minisim.compiler.ops.base import register
from minisim.compiler.ops.move import Move, strides
from minisim.compiler.semantics import Array, one_dtype
from minisim.errors import ShapeError, UnsupportedError


@register
class Transpose(Move[TransposeAttributes]):
    """The axes in another order."""

    name = "Transpose"
    attributes = TransposeAttributes

    def infer(self, shapes: Sequence[Shape], attributes: TransposeAttributes) -> tuple[Shape, ...]:
        (x,) = shapes
        if sorted(attributes.perm) != list(range(len(x))):
            raise ShapeError(f"perm must have each axis of {x} once, not be {attributes.perm}")
        return (tuple(x[axis] for axis in attributes.perm),)

    def evaluate(self, inputs: Sequence[Array], attributes: TransposeAttributes) -> tuple[Array, ...]:
        return (np.ascontiguousarray(inputs[0].transpose(attributes.perm)),)

    def pieces(self, shapes: Sequence[Shape], attributes: TransposeAttributes) -> list[Piece]:
        (x,) = shapes
        (y,) = self.infer(shapes, attributes)
        steps, targets = strides(x), strides(y)
        axes = (Along(y[i], steps[axis], targets[i]) for i, axis in enumerate(attributes.perm))
        return [Piece(0, 0, 0, tuple(axes))]


@register
class Concat(Move[ConcatAttributes]):
    """Tensors one behind the other along an axis."""

    name = "Concat"
    operands = range(1, 2**16)
    attributes = ConcatAttributes

    def check_operands(self, present: Sequence[bool]) -> None:
        if not present or not all(present):
            raise ShapeError("must have one operand or more")

    def infer(self, shapes: Sequence[Shape], attributes: ConcatAttributes) -> tuple[Shape, ...]:
        first, axis = shapes[0], attributes.axis
        if not 0 <= axis < len(first):
            raise ShapeError(f"a tensor of shape {first} has no axis {axis}")
        for other in shapes[1:]:
            if len(other) != len(first) or any(a != b for i, (a, b) in enumerate(zip(first, other)) if i != axis):  # noqa: B905
                raise ShapeError(f"shapes must be equal but for axis {axis}, not {first} and {other}")
        return ((*first[:axis], sum(x[axis] for x in shapes), *first[axis + 1 :]),)

    def infer_dtypes(self, dtypes: Sequence[str], attributes: ConcatAttributes) -> tuple[str, ...]:
        return (one_dtype(dtypes, self.dtypes),)

    def evaluate(self, inputs: Sequence[Array], attributes: ConcatAttributes) -> tuple[Array, ...]:
        return (np.concatenate(inputs, axis=attributes.axis),)

    def pieces(self, shapes: Sequence[Shape], attributes: ConcatAttributes) -> list[Piece]:
        (y,) = self.infer(shapes, attributes)
        targets, axis = strides(y), attributes.axis
        begins = accumulate((x[axis] for x in shapes), initial=0)
        return [
            Piece(i, 0, begin * targets[axis], tuple(Along(*each) for each in zip(x, strides(x), targets, strict=True)))
            for i, (x, begin) in enumerate(zip(shapes, begins, strict=False))
        ]


@register
class Take(Move[TakeAttributes]):
    """Elements of x along each axis, in any order and any number of times, and a number where there are none."""

    name = "Take"
    attributes = TakeAttributes
    dtypes = frozenset(CODE)

    def title(self, inputs: Sequence[str | None], attributes: TakeAttributes) -> str:
        return attributes.kind

    def infer(self, shapes: Sequence[Shape], attributes: TakeAttributes) -> tuple[Shape, ...]:
        (x,) = shapes
        if len(x) != len(attributes.runs):
            raise ShapeError(f"{len(attributes.runs)} axes are chosen from, but {x} has {len(x)}")
        for axis, (size, runs) in enumerate(zip(x, attributes.runs, strict=True)):
            if any(run.begin is not None and not 0 <= run.last < size for run in runs):
                raise ShapeError(f"an element is chosen that axis {axis} of {x} does not have")
        return (tuple(sum(run.length for run in runs) for runs in attributes.runs),)

    def infer_dtypes(self, dtypes: Sequence[str], attributes: TakeAttributes) -> tuple[str, ...]:
        (dtype,) = super().infer_dtypes(dtypes, attributes)
        if not is_immediate(attributes.fill, dtype):
            raise UnsupportedError(
                f"{attributes.fill!r} is no number of {dtype} that an operation can have as a float32"
            )
        return (dtype,)

    def evaluate(self, inputs: Sequence[Array], attributes: TakeAttributes) -> tuple[Array, ...]:
        (y,) = inputs
        for axis, runs in enumerate(attributes.runs):
            y = np.concatenate(
                [
                    np.full((*y.shape[:axis], run.length, *y.shape[axis + 1 :]), self.filled_with(attributes), y.dtype)
                    if run.begin is None
                    else np.take(y, run.begin + run.step * np.arange(run.length), axis=axis)
                    for run in runs
                ],
                axis=axis,
            )
        return (np.asarray(y),)

    def filled_with(self, attributes: TakeAttributes) -> float:
        return attributes.fill

    def pieces(self, shapes: Sequence[Shape], attributes: TakeAttributes) -> list[Piece]:
        (x,) = shapes
        (y,) = self.infer(shapes, attributes)
        if (count := math.prod(len(runs) for runs in attributes.runs)) > MOST_PIECES:
            raise UnsupportedError(f"{count} pieces that do not follow each other are more than {MOST_PIECES}")
        steps, targets = strides(x), strides(y)
        begins = [list(accumulate((run.length for run in runs), initial=0)) for runs in attributes.runs]
        found = []
        for chosen in product(*(enumerate(runs) for runs in attributes.runs)):
            filled = any(run.begin is None for _, run in chosen)
            axes = tuple(
                Along(run.length, 0 if filled else run.step * steps[axis], targets[axis])
                for axis, (_, run) in enumerate(chosen)
            )
            source = 0 if filled else sum((run.begin or 0) * steps[axis] for axis, (_, run) in enumerate(chosen))
            target = sum(begins[axis][i] * targets[axis] for axis, (i, _) in enumerate(chosen))
            found.append(Piece(None if filled else 0, source, target, axes))
        return found


MOST_PIECES = 100_000
"""The pieces of one node: a gather of so many rows, or a reversal of so many elements."""
