"""Pooling as methods of a graph: `Graph` has them from here. Images are (n, height, width, channels), or, of one line,
signals (n, width, channels)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from minisim.compiler.arguments import Shape, caller, flag, integers, number, paddings, pair
from minisim.compiler.attributes import NeighbourAttributes, PoolAttributes
from minisim.compiler.dtypes import is_integer
from minisim.compiler.geometry import Pair
from minisim.compiler.graph_methods import GraphMethods, T
from minisim.errors import ShapeError

Pads = tuple[int, int, int, int]
Numbers = int | Sequence[int]
"""One for lines and one for columns; one alone stands for both."""


class PoolMethods(GraphMethods[T]):
    """What `Graph` inherits. `kernel`, `strides` (if not given: the kernel) and `dilations` are of lines and columns;
    `pads` as for `conv2d`; with `ceil` a last window that reaches beyond the padding counts, too, if it begins before
    it."""

    def max_pool(
        self, x: T, kernel: Numbers, *, strides: Numbers | None = None, pads: Numbers = 0, dilations: Numbers = 1,
        ceil: bool = False, name: str | None = None,
    ) -> T:  # fmt: skip
        """The greatest under the kernel: NaN if any is; -inf if all is padding, which integers must not have."""
        attributes, _ = self._kernel(x, kernel, strides, pads, dilations, ceil)
        if is_integer(x.dtype) and len(x.shape) in (3, 4) and not _counts(attributes, x.shape, (0, 0, 0, 0)).all():
            raise ShapeError(f"{caller()}of {x.name} ({x.dtype}) a window would have nothing but padding")
        return self.add_node("MaxPool", [x], attributes, name)

    def sum_pool(
        self, x: T, kernel: Numbers, *, strides: Numbers | None = None, pads: Numbers = 0, dilations: Numbers = 1,
        ceil: bool = False, name: str | None = None,
    ) -> T:  # fmt: skip
        """The sum under the kernel."""
        attributes, _ = self._kernel(x, kernel, strides, pads, dilations, ceil)
        return self.add_node("SumPool", [x], attributes, name)

    def average_pool(
        self, x: T, kernel: Numbers, *, strides: Numbers | None = None, pads: Numbers = 0, dilations: Numbers = 1,
        ceil: bool = False, count_pad: bool = False, name: str | None = None,
    ) -> T:  # fmt: skip
        """The sum under the kernel / how many elements are there; `count_pad`: the padding counts, as zeros."""
        attributes, given = self._kernel(x, kernel, strides, pads, dilations, ceil)
        counts = _counts(attributes, x.shape, given if flag("count_pad", count_pad) else (0, 0, 0, 0))
        if not counts.size or np.all(counts == counts[0, 0]):
            divisor = self._operand(int(counts[0, 0]) if counts.size else 1, x)  # 1: what does not fit is refused below
        else:
            column = counts.reshape(1, *(counts.shape if len(x.shape) == 4 else (-1,)), 1)
            divisor = self._column(np.repeat(column, x.shape[0], axis=0), x)
        return self.add_node("AveragePool", [x, divisor], attributes, name)

    def global_max_pool(self, x: T, *, name: str | None = None) -> T:
        """The greatest of each image's channel: (n, 1, 1, channels)."""
        return self.max_pool(x, self._whole(x), name=name)

    def global_average_pool(self, x: T, *, name: str | None = None) -> T:
        """The mean of each image's channel: (n, 1, 1, channels)."""
        return self.average_pool(x, self._whole(x), name=name)

    def channel_sum(self, x: T, before: int, behind: int, *, name: str | None = None) -> T:
        """For each channel the sum of it, of `before` channels before it and `behind` behind it, if they are there."""
        self._own(x)
        attributes = NeighbourAttributes(
            *(integers(what, (n,))[0] for what, n in (("before", before), ("behind", behind)))
        )
        return self.add_node("ChannelSum", [x], attributes, name)

    def lrn(
        self, x: T, size: int, *, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0, name: str | None = None
    ) -> T:
        """Local response normalisation: ``x / (bias + alpha / size * sum)^beta``, the sum that of the squares of `size`
        channels around each."""
        width = integers("size", (size,))[0]
        if width < 1:
            raise ShapeError(f"{caller()}size must be at least 1, not {width}")
        squares = self._named("Mul", [x, x], name, "squares")
        total = self.channel_sum(squares, (width - 1) // 2, width // 2, name=name and f"{name}/sum")
        share = self._named("Mul", [total, self._operand(number("alpha", alpha) / width, x)], name, "share")
        base = self._named("Add", [share, self._operand(number("bias", bias), x)], name, "base")
        power = self._named("Pow", [base, self._operand(number("beta", beta), x)], name, "power")
        return self.add_node("Div", [x, power], name=name)

    # -- internals ---------------------------------------------------------------------------------

    def _named(self, op: str, operands: list[T], name: str | None, part: str) -> T:
        """A node that is a part of the one called `name`."""
        return self.add_node(op, operands, name=name and f"{name}/{part}")

    def _whole(self, x: T) -> Pair:
        """The kernel that covers an image."""
        self._own(x)
        if len(x.shape) not in (3, 4):
            raise ShapeError(
                f"{caller()}images must be (n, height, width, channels), or (n, width, channels), not {x.shape}"
            )
        return (x.shape[1], x.shape[2]) if len(x.shape) == 4 else (1, x.shape[1])

    def _kernel(
        self, x: T, kernel: Numbers, strides: Numbers | None, pads: Numbers, dilations: Numbers, ceil: bool
    ) -> tuple[PoolAttributes, Pads]:
        """The attributes, whose padding is such that all windows fit in; and the padding that was given."""
        self._own(x)
        signal = len(x.shape) == 3

        def of_lines(what: str, value: Numbers) -> Pair:
            lines, columns = pair(what, value)
            return (1, columns) if signal and isinstance(value, int) else (lines, columns)

        given = paddings(pads)
        if signal and isinstance(pads, int):
            given = (0, given[1], 0, given[3])
        size = of_lines("kernel", kernel)
        attributes = PoolAttributes(
            kernel=size,
            strides=size if strides is None else of_lines("strides", strides),
            dilations=of_lines("dilations", dilations),
            pads=given,
        )
        attributes.check()
        if not flag("ceil", ceil) or len(x.shape) not in (3, 4):
            return attributes, given
        return _rounded_up(attributes, x.shape), given


def _rounded_up(attributes: PoolAttributes, shape: Shape) -> PoolAttributes:
    """With as much padding behind each axis as the last window needs that begins before it."""
    geometry, (top, left, bottom, right) = attributes.geometry(shape), attributes.pads
    behind = []
    for axis, (size, before, after) in enumerate(((geometry.height, top, bottom), (geometry.width, left, right))):
        reach = (geometry.kernel[axis] - 1) * geometry.dilations[axis] + 1
        stride = geometry.strides[axis]
        count = -(-(size + before + after - reach) // stride) + 1
        if (count - 1) * stride >= size + before:
            count -= 1
        behind.append(max(0, (count - 1) * stride + reach - size - before))
    return PoolAttributes(
        kernel=attributes.kernel,
        strides=attributes.strides,
        dilations=attributes.dilations,
        pads=(top, left, behind[0], behind[1]),
    )


def _counts(attributes: PoolAttributes, shape: Shape, counted: Pads) -> npt.NDArray[np.float32]:
    """How many taps of each pixel of the output lie in the image, or in the part of its padding that is `counted`:
    float32 of (lines, columns)."""
    geometry, (top, left, bottom, right) = attributes.geometry(shape), counted
    of_axis = []
    for axis, (size, before, after) in enumerate(((geometry.height, top, bottom), (geometry.width, left, right))):
        taps = np.arange(geometry.kernel[axis], dtype=np.int64) * geometry.dilations[axis] - geometry.pads[axis]
        at = np.arange(max(0, geometry.output[axis]), dtype=np.int64)[:, None] * geometry.strides[axis] + taps
        of_axis.append(((at >= -before) & (at < size + after)).sum(axis=1))
    lines, columns = of_axis
    return np.asarray(lines[:, None] * columns, dtype=np.float32)
