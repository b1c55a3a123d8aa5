"""What a node says beside its operands: one frozen dataclass for each operator that has anything to say.

A field is typed, and has the default that the dump of a graph leaves out. `check` has the rules that no operand's shape
or type takes part in; the graph calls it where the node is added. All other rules are the operator's (`infer`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields, replace
from typing import NamedTuple

import numpy as np

from minisim.compiler.activations import Activation
from minisim.compiler.arguments import Shape
from minisim.compiler.dtypes import known
from minisim.compiler.geometry import Geometry, Pair
from minisim.errors import ShapeError, UnsupportedError, shown


@dataclass(frozen=True)
class Attributes:
    """The attributes of an operator that has none; those of others are subclasses."""

    def check(self) -> None:
        """Raises a ModelError, without naming the node, if a value is none that the attribute can have."""

    def text(self) -> str:
        """`` key=value`` of each attribute that is not at its default, by name, for dumps."""
        return "".join(f" {key}={value}" for key, value in sorted(self._given()))

    def _given(self) -> Iterator[tuple[str, object]]:
        for each in fields(self):
            value = getattr(self, each.name)
            if each.default is MISSING or value != each.default:
                yield each.name, value


NO_ATTRIBUTES = Attributes()


@dataclass(frozen=True, kw_only=True)
class EpilogueAttributes(Attributes):
    """What becomes of the array's sums.

    Attributes:
        activation: the last stage of the epilogue, which fusion sets.
        scale: what integer sums are multiplied by as they become narrow, a positive float32; None if they stay int32.
        narrow: the type that they become so: int8, or uint8.
    """

    activation: Activation | None = None
    scale: float | None = None
    narrow: str = "int8"

    def check(self) -> None:
        if not isinstance(self.narrow, str) or self.narrow not in ("int8", "uint8"):
            raise UnsupportedError(f"sums are requantised to int8 or uint8, not {shown(self.narrow)}")
        if self.scale is not None and not 0 < np.float32(self.scale) < np.inf:
            raise UnsupportedError(f"scale must be a positive float32, not {self.scale!r}")


@dataclass(frozen=True, kw_only=True)
class MatMulAttributes(EpilogueAttributes):
    """How a matmul reads its operands.

    Attributes:
        transpose_a, transpose_b: whether one is stored transposed.
        a_heads, b_heads: of an operand whose matrices lie beside each other, as the heads of attention do: how many
            there are in its columns. 0: they lie behind each other, as numpy has them.
        joins: whether the matrices of the product shall lie beside each other.
    """

    transpose_a: bool = False
    transpose_b: bool = False
    a_heads: int = 0
    b_heads: int = 0
    joins: bool = False

    @property
    def has_heads(self) -> bool:
        """Whether any matrices lie beside each other."""
        return bool(self.a_heads or self.b_heads or self.joins)

    def check(self) -> None:
        super().check()
        if min(self.a_heads, self.b_heads) < 0:
            raise ShapeError(f"heads must be from 1, not {shown(min(self.a_heads, self.b_heads))}")


class ScoreStep(NamedTuple):
    """An elementwise operation on the scores of attention.

    Attributes:
        op: the operator.
        operands: places among the inputs of the attention; SCORES stands for the scores so far.
        shape: of the scores to this operation, whose last dimension are the keys; other operands are broadcast to it.
    """

    op: str
    operands: tuple[int, ...]
    shape: Shape


SCORES = -1
"""In place of an operand's place: the scores."""


@dataclass(frozen=True, kw_only=True)
class AttentionAttributes(Attributes):
    """How attention reads queries, keys and values, and what it does to its scores before they become weights.

    Attributes:
        scores: of the product of queries and keys.
        steps: what is done to the scores: scaled, masked.
        products: of the product of weights and values.
        floats_by: the conversion that makes floats of keys and values as they are read: "Cast", or "Rescale", by scales
            of rows of heads, those of keys and of values, which are the last two operands; "" if they are floats.
    """

    scores: MatMulAttributes
    steps: tuple[ScoreStep, ...]
    products: MatMulAttributes
    floats_by: str = ""

    def text(self) -> str:
        """The operations in their order, and how operands lie."""
        inner = " ".join(step.op for step in self.steps)
        kept = f" keys, values by {self.floats_by}" if self.floats_by else ""
        return f" scores({self.scores.text().strip()}) {inner} products({self.products.text().strip()}){kept}"


@dataclass(frozen=True)
class RowScalesAttributes(Attributes):
    """The heads that lie beside each other in a row, each of which has a scale."""

    heads: int

    def check(self) -> None:
        if self.heads < 1:
            raise ShapeError(f"heads must be from 1, not {shown(self.heads)}")


@dataclass(frozen=True)
class AppendAttributes(Attributes):
    """Behind how many rows of a state others are appended."""

    held: int


@dataclass(frozen=True, kw_only=True)
class PoolAttributes(Attributes):
    """How a kernel slides over images.

    Attributes:
        kernel, strides, dilations: of lines and columns.
        pads: lines and columns of padding at the top, left, bottom and right.
    """

    kernel: Pair
    strides: Pair = (1, 1)
    dilations: Pair = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)

    def check(self) -> None:
        for what, pair in (("kernel", self.kernel), ("strides", self.strides), ("dilations", self.dilations)):
            if min(pair) < 1 or max(pair) > MOST_PIXELS:
                raise ShapeError(f"{what} must be from 1 to {MOST_PIXELS}, not {shown(pair)}")
        if min(self.pads) < 0 or max(self.pads) > MOST_PIXELS:
            raise ShapeError(f"pads must be from 0 to {MOST_PIXELS}, not {shown(self.pads)}")

    def geometry(self, images: Shape) -> Geometry:
        """Over images of this shape: (images, height, width, channels), or (images, width, channels) of one line."""
        count, *size, _ = images
        height, width = size if len(size) == 2 else (1, *size)
        return Geometry(count, height, width, self.kernel, self.strides, self.dilations, self.pads, self.is_transposed)

    @property
    def is_transposed(self) -> bool:
        """Whether the kernel slides over the output."""
        return False


@dataclass(frozen=True)
class NeighbourAttributes(Attributes):
    """How many channels before each one, and behind it, belong to its window."""

    before: int
    behind: int

    def check(self) -> None:
        if min(self.before, self.behind) < 0 or self.before + self.behind >= MOST_PIXELS:
            raise ShapeError(f"a window of channels must have from 1 to {MOST_PIXELS} of them")


@dataclass(frozen=True, kw_only=True)
class ConvAttributes(EpilogueAttributes, PoolAttributes):
    """How the kernel of a convolution slides over its images.

    Attributes:
        groups: parts of the channels, each with filters of its own.
        transposed: whether it slides over the output (`geometry.py`). Then `pads` cut off of the output; or they are
            below 0, and add to it.
    """

    groups: int = 1
    transposed: bool = False

    def check(self) -> None:
        EpilogueAttributes.check(self)
        top, left, bottom, right = map(abs, self.pads)
        added = (top, left, bottom, right)
        PoolAttributes.check(replace(self, pads=added) if self.transposed else self)
        if self.groups < 1:
            raise ShapeError(f"groups must be at least 1, not {shown(self.groups)}")

    @property
    def is_transposed(self) -> bool:
        return self.transposed

    @property
    def has_phases(self) -> bool:
        """Whether its output consists of several convolutions' (`Geometry.phases`)."""
        return self.transposed and self.strides != (1, 1)


@dataclass(frozen=True)
class InterleaveAttributes(Attributes):
    """The size of images that are put together of every stride-th line and column; how far these lie apart."""

    size: Pair
    strides: Pair


@dataclass(frozen=True, kw_only=True)
class DepthwiseAttributes(ConvAttributes):
    """A convolution of the vector unit; `tail`: the elementwise operators behind it, on each tile."""

    tail: tuple[str, ...] = ()


MOST_PIXELS = 2**20
"""The most that a kernel, a step or a padding may count: more is a slip of the keyboard."""


@dataclass(frozen=True)
class CastAttributes(Attributes):
    """The type that a conversion makes, a name of `dtypes.CODE`."""

    to: str

    def check(self) -> None:
        known(self.to)


@dataclass(frozen=True)
class ReshapeAttributes(Attributes):
    """The shape that a reshape gives: positive dimensions, of which one may be -1, which stands for the rest."""

    shape: Shape

    def check(self) -> None:
        if self.shape.count(-1) > 1 or any(d < 1 and d != -1 for d in self.shape):
            raise ShapeError(f"shape must have positive dimensions and at most one -1, not {shown(self.shape)}")


@dataclass(frozen=True)
class TransposeAttributes(Attributes):
    """Of each axis of the output the axis of the operand."""

    perm: tuple[int, ...]


@dataclass(frozen=True)
class ConcatAttributes(Attributes):
    """The axis along which tensors lie one behind the other, from the front."""

    axis: int


class Run(NamedTuple):
    """Elements of an axis: the first one, how far apart they are (0: it is repeated), how many. None: the fill."""

    begin: int | None
    step: int
    length: int

    @property
    def last(self) -> int:
        """The number of the last element; there is one."""
        return (self.begin or 0) + self.step * (self.length - 1)

    def __str__(self) -> str:
        if self.begin is None:
            return f"fill*{self.length}"
        return f"{self.begin}*{self.length}" if self.step == 0 else f"{self.begin}:{self.last + 1}:{self.step}"


@dataclass(frozen=True)
class TakeAttributes(Attributes):
    """Which elements are taken.

    Attributes:
        kind: what it is for people: Slice, Pad, Gather and so on.
        runs: of each axis, one run behind the other.
        fill: the number in place of what is not taken from the operand.
    """

    kind: str
    runs: tuple[tuple[Run, ...], ...]
    fill: float = 0.0

    def check(self) -> None:
        if any(run.length < 1 for runs in self.runs for run in runs) or not all(self.runs):
            raise ShapeError("an axis would have no elements")

    def text(self) -> str:
        """The axes, a run of which is ``first:end:step``, ``element*times`` or ``fill*times``."""
        axes = ", ".join("+".join(map(str, runs)) for runs in self.runs)
        return f" [{axes}]" + (f" fill={self.fill:g}" if self.fill else "")


@dataclass(frozen=True)
class SplitAttributes(Attributes):
    """The axis along which a tensor is split, and the lengths of the pieces; a negative axis counts from the end."""

    axis: int
    sizes: tuple[int, ...]

    def check(self) -> None:
        if not self.sizes or any(size < 1 for size in self.sizes):
            raise ShapeError(f"sizes must be at least one, each of at least 1, not {shown(self.sizes)}")
