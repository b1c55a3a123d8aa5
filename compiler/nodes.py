"""Nodes: one operation of a graph, what its outputs are, and where those lie that are pieces of another tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar, cast

from minisim.compiler.arguments import Shape, check_size
from minisim.compiler.attributes import NO_ATTRIBUTES, Attributes
from minisim.compiler.semantics import SEMANTICS, Semantics, View
from minisim.errors import ModelError, UnsupportedError, shown

A = TypeVar("A", bound=Attributes)


@dataclass(frozen=True)
class Node:
    """One operation. Tensors are referred to by name.

    Attributes:
        op: a name of `semantics.SEMANTICS`.
        inputs: the names of its operands; None where one is absent before one that is there. The last one is there.
        outputs: the tensors that it computes, at least one.
        attributes: an instance of the operator's own class.
    """

    op: str
    name: str
    inputs: tuple[str | None, ...]
    outputs: tuple[str, ...]
    attributes: Attributes = NO_ATTRIBUTES

    @property
    def present(self) -> tuple[str, ...]:
        """The inputs that are there: all of them, but for operators that have optional ones."""
        return tuple(name for name in self.inputs if name is not None)

    @property
    def output(self) -> str:
        """The output of an operator that has but one."""
        (name,) = self.outputs
        return name

    def operand(self, place: int) -> str | None:
        """The input at `place`; None if it is absent."""
        return self.inputs[place] if place < len(self.inputs) else None

    def attributes_as(self, kind: type[A]) -> A:
        """The attributes, for an operator whose class of them is `kind`."""
        assert isinstance(self.attributes, kind)
        return self.attributes

    @property
    def title(self) -> str:
        """The operation for people: ``MatMul``, ``FusedMatMulBiasReLU``."""
        return SEMANTICS[self.op].title(self.inputs, self.attributes)


class Window(NamedTuple):
    """The place of a tensor that is a rectangle of another one.

    Attributes:
        tensor: the name of the other one, which is no window itself.
        row, col: where the rectangle begins in the other one's 2-D view.
    """

    tensor: str
    row: int
    col: int


class Operand(NamedTuple):
    """What a node needs to know of a tensor that it reads, and says of one that it computes."""

    name: str
    shape: Shape
    dtype: str
    window: Window | None


def outcome(
    operator: Semantics[Attributes], operands: Sequence[Operand | None], attributes: Attributes
) -> list[Operand]:
    """What the outputs of a node are; they have no names yet.

    Args:
        operands: by place; None where one is left out.

    Raises:
        ModelError: there can be no such node; without naming it.
    """
    if not isinstance(attributes, operator.attributes):
        raise ModelError(f"attributes must be {operator.attributes.__name__}, not {shown(attributes)}")
    operator.check_operands([x is not None for x in operands])
    attributes.check()
    # None for an absent operand: only an operator that has optional ones is given any
    shapes = operator.infer(cast("list[Shape]", [x and x.shape for x in operands]), attributes)
    dtypes = operator.infer_dtypes(cast("list[str]", [x and x.dtype for x in operands]), attributes)
    for shape in shapes:
        check_size(shape)
    windows: Sequence[Window | None] = [None] * len(shapes)
    if isinstance(operator, View) and operands[0] is not None:
        windows = _windows(operator, operands[0], attributes, shapes)
    return [Operand("", *each) for each in zip(shapes, dtypes, windows, strict=True)]


def _windows(
    view: View[Attributes], x: Operand, attributes: Attributes, shapes: Sequence[Shape]
) -> Sequence[Window | None]:
    """Where each output of these `shapes` lies: in another tensor if the view gives rectangles of its operand `x`.

    Raises:
        UnsupportedError: `x` is itself a rectangle, and its rows and columns do not stay.
    """
    whole = Window(x.name, 0, 0) if x.window is None else x.window
    origins = view.origins(x.shape, attributes)
    if origins is not None:
        return [Window(whole.tensor, whole.row + row, whole.col + col) for row, col in origins]
    if x.window is not None and any(view_2d(shape) != view_2d(x.shape) for shape in shapes):
        raise UnsupportedError(
            f"{x.name} is a piece of {whole.tensor}, whose rows lie apart in memory: it can only be reshaped if the "
            f"last dimension stays {view_2d(x.shape)[1]}"
        )
    return [x.window] * len(shapes)


def view_2d(shape: Shape) -> tuple[int, int]:
    """How the machine stores a tensor: all but the last dimension are rows. () -> (1, 1), (n,) -> (1, n)."""
    if not shape:
        return 1, 1
    rows = 1
    for d in shape[:-1]:
        rows *= d
    return rows, shape[-1]
