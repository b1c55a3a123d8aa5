"""MaxPool, AveragePool, SumPool: images (n, height, width, channels), or signals (n, width, channels), and a kernel.

Each is a fold of the vector unit over the taps of the kernel, line by line: one chain for each pixel and channel. A
mean is the sum, divided by the number of taps; where that is not the same everywhere, it is a column with a number
for each pixel of the output.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from minisim.compiler.attributes import PoolAttributes
from minisim.compiler.dtypes import FLOATS
from minisim.compiler.geometry import Geometry
from minisim.compiler.graph import Graph, Node, Shape
from minisim.compiler.ops.base import register
from minisim.compiler.ops.fold import Fold, Stage
from minisim.compiler.semantics import Array
from minisim.errors import ShapeError
from minisim.hwmodel.isa import VectorOp


class Pool(Fold[PoolAttributes]):
    """One fold; what stands outside of the image is `padding`.

    Attributes:
        combine: what takes in a tap, of numpy arrays.
    """

    attributes = PoolAttributes
    combine: ClassVar[Callable[..., Any]]

    def geometry(self, node: Node, graph: Graph) -> Geometry:
        return node.attributes_as(PoolAttributes).geometry(graph.tensors[node.present[0]].shape)

    def infer(self, shapes: Sequence[Shape], attributes: PoolAttributes) -> tuple[Shape, ...]:
        x = shapes[0]
        if len(x) not in (3, 4):
            raise ShapeError("a pooling is of (images, height, width, channels), or (images, width, channels)")
        if len(x) == 3 and (attributes.kernel[0], *attributes.pads[::2]) != (1, 0, 0):
            raise ShapeError(f"a kernel over signals {x} must have one line, and no padding above or below it")
        geometry = attributes.geometry(x)
        if why := geometry.misfit():
            raise ShapeError(why)
        size = geometry.output
        return ((x[0], *(size if len(x) == 4 else size[1:]), x[-1]),)

    def evaluate(self, inputs: Sequence[Array], attributes: PoolAttributes) -> tuple[Array, ...]:
        x = inputs[0]
        geometry, padding = attributes.geometry(x.shape), self.padding(x)
        pixels = np.concatenate([x.reshape(-1, x.shape[-1]), np.full((1, x.shape[-1]), padding, x.dtype)])
        found = pixels[geometry.source(0)]  # OUTSIDE is the last row
        for tap in range(1, geometry.taps):
            found = self.combine(found, pixels[geometry.source(tap)])
        return (found.reshape(self.infer([x.shape], attributes)[0]),)

    def padding(self, x: Array) -> float:
        return 0


@register
class MaxPool(Pool):
    name, code = "MaxPool", VectorOp.FOLD_MAX
    dtypes = FLOATS | {"int8", "uint8", "int16", "int32"}
    combine = staticmethod(np.maximum)

    def padding(self, x: Array) -> float:
        return np.iinfo(x.dtype).min if np.issubdtype(x.dtype, np.integer) else -np.inf


@register
class SumPool(Pool):
    """The sum of what lies under the kernel."""

    name, code = "SumPool", VectorOp.FOLD_SUM
    combine = staticmethod(np.add)


@register
class AveragePool(SumPool):
    """Inputs x, and by what each sum is divided: a number, or a column with one for each pixel of the output."""

    name = "AveragePool"
    operands = range(2, 3)

    def tail(self, node: Node, graph: Graph) -> tuple[Stage, ...]:
        return (Stage(VectorOp.DIV, (node.present[1],)),)

    def infer(self, shapes: Sequence[Shape], attributes: PoolAttributes) -> tuple[Shape, ...]:
        (y,) = super().infer(shapes[:1], attributes)
        if len(shapes) > 1 and math.prod(shapes[1]) != 1 and shapes[1] != (*y[:-1], 1):
            raise ShapeError(f"the divisors of {y} must be a number or a column {(*y[:-1], 1)}, not {shapes[1]}")
        return (y,)

    def evaluate(self, inputs: Sequence[Array], attributes: PoolAttributes) -> tuple[Array, ...]:
        (total,) = super().evaluate(inputs[:1], attributes)
        with np.errstate(invalid="ignore"):
            return (total / inputs[1],)
