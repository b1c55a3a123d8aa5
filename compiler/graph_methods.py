"""What the mixins that `Graph` is put together from need of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar

import numpy.typing as npt

from minisim.compiler.arguments import Shape
from minisim.compiler.attributes import NO_ATTRIBUTES, Attributes


class Shaped(Protocol):
    """What a graph's tensor has that matters to them."""

    @property
    def name(self) -> str: ...

    @property
    def shape(self) -> Shape: ...

    @property
    def dtype(self) -> str: ...

    @property
    def window(self) -> object: ...


T = TypeVar("T", bound=Shaped)
"""The graph's tensors."""


class GraphMethods(ABC, Generic[T]):
    """The methods that `Graph` has, and that others are made of."""

    @abstractmethod
    def add_node(
        self, op: str, inputs: Sequence[T | None], attributes: Attributes = NO_ATTRIBUTES, name: str | None = None
    ) -> T:
        """Append an operation and return its output."""

    @abstractmethod
    def add(self, a: T, b: T | float, *, name: str | None = None) -> T:
        """``a + b``, elementwise."""

    @abstractmethod
    def reshape(self, x: T, shape: Sequence[int], *, name: str | None = None) -> T:
        """The same elements under another shape."""

    @abstractmethod
    def transpose(self, x: T, perm: Sequence[int] | None = None, *, name: str | None = None) -> T:
        """The axes in another order."""

    @abstractmethod
    def split(self, x: T, sizes: int | Sequence[int], *, axis: int = -1, name: str | None = None) -> tuple[T, ...]:
        """Pieces of x along an axis."""

    @abstractmethod
    def _column(self, values: npt.NDArray[Any], other: T) -> T:
        """These numbers as a weight of the type of `other`."""

    @abstractmethod
    def _operand(self, value: T | float, other: T | float) -> T:
        """`value`, or the number as a weight of the type of `other`."""

    @abstractmethod
    def _factor(self, value: T | float) -> T:
        """`value`, a float32 weight, or the number as one."""

    @abstractmethod
    def _own(self, x: object) -> None:
        """Raises ModelError if `x` is no tensor of this graph."""
