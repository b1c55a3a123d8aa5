"""What operators mean: shapes, types and values, before any machine is thought of.

This is all that a graph needs to know of them (`graph.py`). An operator that a machine executes says in `compiler/ops/`
how (`ops/base.py`); one that moves nothing, because it only names again what is there, is a `View`. The table
`SEMANTICS` is filled by the files of `compiler/ops/`, which the package `minisim.compiler` imports as a whole.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import numpy.typing as npt

from minisim.compiler.arguments import Shape
from minisim.compiler.attributes import Attributes
from minisim.compiler.dtypes import CODE, FLOATS
from minisim.errors import ModelError, UnsupportedError

Array = npt.NDArray[Any]
A = TypeVar("A", bound=Attributes)


class Semantics(ABC, Generic[A]):
    """The meaning of one kind of node.

    The methods take a shape, type or array for each operand, and return one for each output. An operand that is absent
    is None; only an operator that has `optional` ones has to expect that, and its methods say so in their types.

    Attributes:
        name: the operator's name, as nodes and dumps have it.
        operands: how many it may have; those behind its start may be left out at the end.
        optional: the places of operands that may be absent although one behind them is there.
        dtypes: the types that they may have.
        attributes: the class of its nodes' attributes.
    """

    name: ClassVar[str]
    operands: ClassVar[range] = range(1, 2)
    optional: ClassVar[frozenset[int]] = frozenset()
    dtypes: ClassVar[frozenset[str]] = FLOATS
    attributes: ClassVar[type[Attributes]] = Attributes

    @property
    def is_view(self) -> bool:
        """Whether its outputs are bytes of its operand under other names, so that nothing is executed."""
        return isinstance(self, View)

    def check_operands(self, present: Sequence[bool]) -> None:
        """Raises ModelError, without naming the node, if it cannot have so many operands, or needs an absent one.

        Args:
            present: whether each operand is there.
        """
        if len(present) not in self.operands:
            raise ModelError(f"must have {' or '.join(map(str, self.operands))} operands, not {len(present)}")
        for place, there in enumerate(present):
            if not there and place not in self.optional:
                raise ModelError(f"its operand {place + 1} must not be left out")

    def title(self, inputs: Sequence[str | None], attributes: A) -> str:
        """The operation for people, such as ``FusedMatMulBiasReLU``."""
        return self.name

    @abstractmethod
    def infer(self, shapes: Sequence[Shape], attributes: A) -> tuple[Shape, ...]:
        """The outputs' shapes. Raises ShapeError or UnsupportedError without naming the node."""

    def infer_dtypes(self, dtypes: Sequence[str], attributes: A) -> tuple[str, ...]:
        """The outputs' types: one output, of the operands' type, unless overridden.

        Raises UnsupportedError without naming the node.
        """
        return (one_dtype(dtypes, self.dtypes),)

    @abstractmethod
    def evaluate(self, inputs: Sequence[Array], attributes: A) -> tuple[Array, ...]:
        """The outputs by plain numpy: floats in the dtype of the inputs, integers (int64) exactly."""

    def macs(self, shapes: Sequence[Shape | None], attributes: A) -> int:
        """Multiply-accumulates of the array, for roofline and utilization."""
        return 0


class Origin(NamedTuple):
    """Where a rectangle begins, in rows and columns of the 2-D view of a tensor."""

    row: int
    col: int


class View(Semantics[A]):
    """An operator whose outputs are bytes of its only operand, so that nothing is executed and nothing is moved.

    What a view costs is paid where it arises: a consumer that cuts the bytes into other rectangles than their producer
    finds none of its tiles in SRAM, so the producer stores them, and the consumer loads what it needs.
    """

    def origins(self, shape: Shape, attributes: A) -> tuple[Origin, ...] | None:
        """Where each output begins in the operand of this `shape`, if the outputs are rectangles of it.

        None (a reshape): the one output has all bytes of the operand, under another number of rows and columns.
        """
        return None


SEMANTICS: dict[str, Semantics[Any]] = {}
"""All operators, by name."""


def one_dtype(dtypes: Sequence[str], allowed: frozenset[str]) -> str:
    """The type that all operands have; UnsupportedError if they differ or it is not `allowed`."""
    if len(set(dtypes)) > 1:
        raise UnsupportedError(f"operands must be of one type, not {' and '.join(dict.fromkeys(dtypes))}")
    if dtypes[0] not in allowed:
        raise UnsupportedError(f"operands must be {' or '.join(d for d in CODE if d in allowed)}, not {dtypes[0]}")
    return dtypes[0]
