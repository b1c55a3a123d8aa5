"""The elementwise operations of a graph as methods: `Graph` has them from here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minisim.compiler.graph import Tensor


class Elementwise(ABC):
    """What `Graph` inherits. What each operation computes, to the bit, is in docs/vector.md."""

    @abstractmethod
    def add_node(self, op: str, inputs: Sequence[Tensor], attrs: Mapping[str, Any], name: str | None = None) -> Tensor:
        """Append an operation and return its output."""

    def exp(self, x: Tensor, *, name: str | None = None) -> Tensor:
        """``e ** x``."""
        return self.add_node("Exp", [x], {}, name)

    def sqrt(self, x: Tensor, *, name: str | None = None) -> Tensor:
        """The square root; NaN where x < 0."""
        return self.add_node("Sqrt", [x], {}, name)

    def tanh(self, x: Tensor, *, name: str | None = None) -> Tensor:
        """The hyperbolic tangent."""
        return self.add_node("Tanh", [x], {}, name)

    def relu(self, x: Tensor, *, name: str | None = None) -> Tensor:
        """``max(x, 0)``."""
        return self.add_node("Relu", [x], {}, name)

    def sigmoid(self, x: Tensor, *, name: str | None = None) -> Tensor:
        """``1 / (1 + exp(-x))``."""
        return self.add_node("Sigmoid", [x], {}, name)
