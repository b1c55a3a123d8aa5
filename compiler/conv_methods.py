"""Convolutions as methods of a graph: `Graph` has them from here."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from minisim.compiler.arguments import caller, checked_name, integers, number, paddings, pair
from minisim.compiler.attributes import ConvAttributes
from minisim.compiler.dtypes import is_integer
from minisim.compiler.graph_methods import GraphMethods, T
from minisim.errors import ShapeError

Numbers = int | Sequence[int]
"""One for lines and one for columns; one alone stands for both."""


class ConvMethods(GraphMethods[T]):
    """What `Graph` inherits. Images are (images, height, width, channels); or signals (images, width, channels), with
    filters of one line."""

    def conv2d(
        self,
        x: T,
        w: T,
        *,
        bias: T | None = None,
        strides: Numbers = 1,
        pads: Numbers = 0,
        dilations: Numbers = 1,
        groups: int = 1,
        scale: float | None = None,
        narrow: str = "int8",
        name: str | None = None,
    ) -> T:
        """A convolution: x (images, height, width, channels), w (R, S, channels / groups, filters).

        Of signals x (images, width, channels) it is one-dimensional, with w (1, S, channels / groups, filters).

        Args:
            bias: one value for each filter.
            strides, dilations: of lines and columns; one number for both.
            pads: zeros around x: one number, or (lines, columns), or (top, left, bottom, right).
            groups: parts of the channels (and of the filters) that are convolved by themselves.
            scale, narrow: requantise the sums of integers, as those of `matmul` do.
        """
        return self._convolved(x, w, bias, strides, pads, dilations, groups, name, scale, narrow)

    def conv_transpose2d(
        self,
        x: T,
        w: T,
        *,
        bias: T | None = None,
        strides: Numbers = 1,
        pads: Numbers = 0,
        dilations: Numbers = 1,
        groups: int = 1,
        name: str | None = None,
    ) -> T:
        """A transposed convolution: pixel y gives its channels times tap r of w to pixel y * stride + r * dilation.

        Args:
            w: (R, S, channels / groups, filters), as for `conv2d`.
            pads: what is cut off of the result's sides, as `conv2d` has them; below 0 that is added, as zeros.
        """
        return self._convolved(x, w, bias, strides, pads, dilations, groups, name, transposed=True)

    def _convolved(
        self, x: T, w: T, bias: T | None, strides: Numbers, pads: Numbers, dilations: Numbers, groups: int,
        name: str | None, scale: float | None = None, narrow: str = "int8", transposed: bool = False,
    ) -> T:  # fmt: skip
        self._own(x)
        self._own(w)
        if len(w.shape) != 4:
            raise ShapeError(f"{caller()}the filters {w.name} must be (R, S, channels, filters), not {w.shape}")
        attributes = ConvAttributes(
            kernel=(w.shape[0], w.shape[1]),
            strides=pair("strides", strides),
            dilations=pair("dilations", dilations),
            pads=paddings(pads),
            groups=integers("groups", (groups,))[0],
            scale=None if scale is None else number("scale", scale),
            narrow=narrow,
            transposed=transposed,
        )
        operands = [x, self._filters(w)]
        if bias is None:
            return self.add_node("Conv", operands, attributes, name)
        name = name if name is None else checked_name(name, "a node's name")
        if not is_integer(x.dtype) and scale is None:  # an operation of its own, until fusion
            return self.add(self.add_node("Conv", operands, attributes, name and f"{name}/conv"), bias, name=name)
        return self.add_node("Conv", [*operands, bias], attributes, name)

    @abstractmethod
    def _filters(self, w: T) -> T:
        """`w` (R, S, channels, filters) as (k, filters), k in the order of the definition (geometry.py)."""
