"""Split: a tensor cut into pieces along an axis. No data moves: each piece is a rectangle of the tensor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from minisim.compiler.attributes import SplitAttributes
from minisim.compiler.dtypes import CODE
from minisim.compiler.graph import Shape, Tensor
from minisim.compiler.ops.base import OnnxContext, OnnxNode, onnx_import, register
from minisim.compiler.semantics import Array, Origin, View
from minisim.errors import ShapeError, UnsupportedError, shown


@register
class Split(View[SplitAttributes]):
    """Pieces of x, one behind the other along `axis`.

    A consumer loads its tiles out of x, whose rows lie farther apart than a piece is long: the DMA and the DRAM see the
    rows of x. Tiles that are those of x's producer, because the piece begins and ends where they do, may stay in SRAM.
    """

    name = "Split"
    dtypes = frozenset(CODE)
    attributes = SplitAttributes

    def infer(self, shapes: Sequence[Shape], attributes: SplitAttributes) -> tuple[Shape, ...]:
        x, sizes = shapes[0], attributes.sizes
        axis = _axis(x, attributes.axis)
        if sum(sizes) != x[axis]:
            raise ShapeError(
                f"sizes {shown(sizes)} must add up to {x[axis]}, the length of axis {axis}, not to {sum(sizes)}"
            )
        if axis < len(x) - 1 and math.prod(x[:axis]) > 1:
            raise UnsupportedError(
                f"axis {axis} of {x} cannot be split: its pieces are no rectangles of rows; the last axis can, and any "
                "that has no longer ones than 1 before it"
            )
        return tuple((*x[:axis], size, *x[axis + 1 :]) for size in sizes)

    def infer_dtypes(self, dtypes: Sequence[str], attributes: SplitAttributes) -> tuple[str, ...]:
        return super().infer_dtypes(dtypes, attributes) * len(attributes.sizes)

    def evaluate(self, inputs: Sequence[Array], attributes: SplitAttributes) -> tuple[Array, ...]:
        return tuple(np.split(inputs[0], list(accumulate(attributes.sizes))[:-1], axis=attributes.axis))

    def origins(self, shape: Shape, attributes: SplitAttributes) -> tuple[Origin, ...]:
        axis = _axis(shape, attributes.axis)
        begins = list(accumulate(attributes.sizes, initial=0))[:-1]
        if axis == len(shape) - 1:
            return tuple(Origin(0, begin) for begin in begins)
        rows = math.prod(shape[axis + 1 : -1])  # of the 2-D view, for each element of the axis
        return tuple(Origin(begin * rows, 0) for begin in begins)


def _axis(shape: Shape, axis: int) -> int:
    """`axis` counted from the front; ShapeError if a tensor of this shape does not have it."""
    rank = len(shape)
    if not rank:
        raise ShapeError("a scalar has no axis to split")
    if not -rank <= axis < rank:
        raise ShapeError(f"axis must lie in [-{rank}, {rank - 1}], not {axis}")
    return axis % rank


@onnx_import("Split", attributes=["axis", "split", "num_outputs"], several_outputs=True)
def import_split(context: OnnxContext, node: OnnxNode) -> tuple[Tensor, ...]:
    """The sizes are an attribute, or (from opset 13) a second input, or follow from the number of outputs.

    From opset 18 on the last piece may then be shorter than the others.
    """
    x = context.value(node.inputs[0])
    axis, count = int(node.attrs.get("axis", 0)), len(node.outputs)
    sizes: Sequence[int] | None = node.attrs.get("split")
    if len(node.inputs) > 1 and node.inputs[1]:
        sizes = context.integers(node.inputs[1])
        if sizes is None:
            raise UnsupportedError("sizes that are computed at run time are not supported")
    if sizes is None:
        length = x.shape[_axis(x.shape, axis)]
        each = -(-length // count)
        sizes = [each] * (count - 1) + [length - each * (count - 1)]
    if len(sizes) != count or int(node.attrs.get("num_outputs", count)) != count:
        given = f"{len(sizes)} sizes" if len(sizes) != count else f"num_outputs {node.attrs['num_outputs']}"
        raise ShapeError(f"it has {count} outputs, but {given}")
    return context.graph.split(x, [int(size) for size in sizes], axis=axis, name=node.name)
