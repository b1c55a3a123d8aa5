"""The elementwise operations of a graph as methods: `Graph` has them from here."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Union

from minisim.compiler.arguments import caller
from minisim.errors import ModelError, shown

if TYPE_CHECKING:
    from minisim.compiler.graph import Tensor

Operand = Union["Tensor", float]


class Elementwise(ABC):
    """What `Graph` inherits. What each operation computes, to the bit, is in docs/vector.md."""

    @abstractmethod
    def add_node(self, op: str, inputs: Sequence[Tensor], attrs: Mapping[str, Any], name: str | None = None) -> Tensor:
        """Append an operation and return its output."""

    @abstractmethod
    def _operand(self, value: Operand, other: Operand) -> Tensor:
        """`value`, or the number as a weight of the type of `other`."""

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

    def log(self, x: Tensor, *, name: str | None = None) -> Tensor:
        """The natural logarithm; NaN where x < 0."""
        return self.add_node("Log", [x], {}, name)

    def erf(self, x: Tensor, *, name: str | None = None) -> Tensor:
        """The error function."""
        return self.add_node("Erf", [x], {}, name)

    def sin(self, x: Tensor, *, name: str | None = None) -> Tensor:
        """The sine of an angle in radians."""
        return self.add_node("Sin", [x], {}, name)

    def cos(self, x: Tensor, *, name: str | None = None) -> Tensor:
        """The cosine."""
        return self.add_node("Cos", [x], {}, name)

    def tan(self, x: Tensor, *, name: str | None = None) -> Tensor:
        """The tangent."""
        return self.add_node("Tan", [x], {}, name)

    def asin(self, x: Tensor, *, name: str | None = None) -> Tensor:
        """The inverse of the sine; NaN where |x| > 1."""
        return self.add_node("Asin", [x], {}, name)

    def acos(self, x: Tensor, *, name: str | None = None) -> Tensor:
        """The inverse of the cosine; NaN where |x| > 1."""
        return self.add_node("Acos", [x], {}, name)

    def atan(self, x: Tensor, *, name: str | None = None) -> Tensor:
        """The inverse of the tangent."""
        return self.add_node("Atan", [x], {}, name)

    def sinh(self, x: Tensor, *, name: str | None = None) -> Tensor:
        """The hyperbolic sine."""
        return self.add_node("Sinh", [x], {}, name)

    def cosh(self, x: Tensor, *, name: str | None = None) -> Tensor:
        """The hyperbolic cosine."""
        return self.add_node("Cosh", [x], {}, name)

    def asinh(self, x: Tensor, *, name: str | None = None) -> Tensor:
        """The inverse of the hyperbolic sine."""
        return self.add_node("Asinh", [x], {}, name)

    def acosh(self, x: Tensor, *, name: str | None = None) -> Tensor:
        """The inverse of the hyperbolic cosine; NaN where x < 1."""
        return self.add_node("Acosh", [x], {}, name)

    def atanh(self, x: Tensor, *, name: str | None = None) -> Tensor:
        """The inverse of the hyperbolic tangent; NaN where |x| > 1."""
        return self.add_node("Atanh", [x], {}, name)

    def neg(self, x: Tensor, *, name: str | None = None) -> Tensor:
        """``-x``."""
        return self.add_node("Neg", [x], {}, name)

    def abs(self, x: Tensor, *, name: str | None = None) -> Tensor:
        """``|x|``."""
        return self.add_node("Abs", [x], {}, name)

    def sign(self, x: Tensor, *, name: str | None = None) -> Tensor:
        """-1, 0 or 1."""
        return self.add_node("Sign", [x], {}, name)

    def floor(self, x: Tensor, *, name: str | None = None) -> Tensor:
        """The greatest whole number that is not above x."""
        return self.add_node("Floor", [x], {}, name)

    def ceil(self, x: Tensor, *, name: str | None = None) -> Tensor:
        """The least whole number that is not below x."""
        return self.add_node("Ceil", [x], {}, name)

    def round(self, x: Tensor, *, name: str | None = None) -> Tensor:
        """The nearest whole number, of two the even one."""
        return self.add_node("Round", [x], {}, name)

    def reciprocal(self, x: Tensor, *, name: str | None = None) -> Tensor:
        """``1 / x``."""
        return self.add_node("Reciprocal", [x], {}, name)

    def softplus(self, x: Tensor, *, name: str | None = None) -> Tensor:
        """``log(1 + exp(x))``."""
        return self.add_node("Softplus", [x], {}, name)

    def silu(self, x: Tensor, *, name: str | None = None) -> Tensor:
        """``x * sigmoid(x)``, also called swish."""
        return self.add_node("Silu", [x], {}, name)

    def mish(self, x: Tensor, *, name: str | None = None) -> Tensor:
        """``x * tanh(softplus(x))``."""
        return self.add_node("Mish", [x], {}, name)

    def hard_swish(self, x: Tensor, *, name: str | None = None) -> Tensor:
        """``x * clip(x / 6 + 1/2, 0, 1)``."""
        return self.add_node("HardSwish", [x], {}, name)

    def softsign(self, x: Tensor, *, name: str | None = None) -> Tensor:
        """``x / (1 + |x|)``."""
        return self.add_node("Softsign", [x], {}, name)

    def is_nan(self, x: Tensor, *, name: str | None = None) -> Tensor:
        """Whether x is NaN: bool."""
        return self.add_node("IsNaN", [x], {}, name)

    def is_inf(self, x: Tensor, *, name: str | None = None) -> Tensor:
        """Whether x is infinite: bool."""
        return self.add_node("IsInf", [x], {}, name)

    def logical_not(self, x: Tensor, *, name: str | None = None) -> Tensor:
        """Of bool."""
        return self.add_node("Not", [x], {}, name)

    def gelu(self, x: Tensor, *, approximate: str = "none", name: str | None = None) -> Tensor:
        """``x / 2 * (1 + erf(x / sqrt(2)))``, or with approximate="tanh" the form with a tanh."""
        if approximate not in ("none", "tanh"):
            raise ModelError(f"{caller()}approximate must be 'none' or 'tanh', not {shown(approximate)}")
        return self.add_node("Gelu" if approximate == "none" else "GeluTanh", [x], {}, name)

    def pow(self, a: Operand, b: Operand, *, name: str | None = None) -> Tensor:
        """``a ** b``; NaN where a < 0 and b is not whole."""
        return self._of("Pow", [a, b], name)

    def minimum(self, a: Operand, b: Operand, *, name: str | None = None) -> Tensor:
        """The lesser of `a` and `b`, with the broadcasting of `add`; NaN where either is."""
        return self._of("Min", [a, b], name)

    def equal(self, a: Operand, b: Operand, *, name: str | None = None) -> Tensor:
        """Whether a == b: bool."""
        return self._of("Equal", [a, b], name)

    def less(self, a: Operand, b: Operand, *, name: str | None = None) -> Tensor:
        """Whether a < b: bool."""
        return self._of("Less", [a, b], name)

    def less_or_equal(self, a: Operand, b: Operand, *, name: str | None = None) -> Tensor:
        """Whether a <= b: bool."""
        return self._of("LessOrEqual", [a, b], name)

    def greater(self, a: Operand, b: Operand, *, name: str | None = None) -> Tensor:
        """Whether a > b: bool."""
        return self._of("Less", [b, a], name)

    def greater_or_equal(self, a: Operand, b: Operand, *, name: str | None = None) -> Tensor:
        """Whether a >= b: bool."""
        return self._of("LessOrEqual", [b, a], name)

    def logical_and(self, a: Tensor, b: Tensor, *, name: str | None = None) -> Tensor:
        """Of two bools."""
        return self.add_node("And", [a, b], {}, name)

    def logical_or(self, a: Tensor, b: Tensor, *, name: str | None = None) -> Tensor:
        """Of two bools."""
        return self.add_node("Or", [a, b], {}, name)

    def logical_xor(self, a: Tensor, b: Tensor, *, name: str | None = None) -> Tensor:
        """Of two bools: whether they differ."""
        return self.add_node("Xor", [a, b], {}, name)

    def leaky_relu(self, x: Tensor, alpha: Operand = 0.01, *, name: str | None = None) -> Tensor:
        """``x``, and ``alpha * x`` where x < 0; with a tensor as `alpha` it is known as PRelu."""
        return self._of("LeakyRelu", [x, alpha], name)

    def thresholded_relu(self, x: Tensor, alpha: Operand = 1.0, *, name: str | None = None) -> Tensor:
        """``x``, and 0 where not x > alpha."""
        return self._of("ThresholdedRelu", [x, alpha], name)

    def elu(self, x: Tensor, alpha: Operand = 1.0, *, name: str | None = None) -> Tensor:
        """``x``, and ``alpha * (exp(x) - 1)`` where x < 0."""
        return self._of("Elu", [x, alpha], name)

    def celu(self, x: Tensor, alpha: Operand = 1.0, *, name: str | None = None) -> Tensor:
        """``x``, and ``alpha * (exp(x / alpha) - 1)`` where x < 0."""
        return self._of("Celu", [x, alpha], name)

    def selu(
        self, x: Tensor, alpha: Operand = 1.6732632, gamma: Operand = 1.0507010, *, name: str | None = None
    ) -> Tensor:
        """``gamma * x``, and ``gamma * alpha * (exp(x) - 1)`` where x <= 0."""
        return self._of("Selu", [x, alpha, gamma], name)

    def hard_sigmoid(self, x: Tensor, alpha: Operand = 0.2, beta: Operand = 0.5, *, name: str | None = None) -> Tensor:
        """``clip(alpha * x + beta, 0, 1)``."""
        return self._of("HardSigmoid", [x, alpha, beta], name)

    def clip(self, x: Tensor, low: Operand = -math.inf, high: Operand = math.inf, *, name: str | None = None) -> Tensor:
        """``minimum(maximum(x, low), high)``."""
        return self._of("Clip", [x, low, high], name)

    def select(self, condition: Tensor, a: Operand, b: Operand, *, name: str | None = None) -> Tensor:
        """`a` where the condition (bool) is true, else `b`."""
        return self._of("Select", [condition, a, b], name)

    def _of(self, op: str, operands: Sequence[Operand], name: str | None) -> Tensor:
        """The operation, of tensors and numbers."""
        like = next((x for x in operands if not isinstance(x, (int, float)) and getattr(x, "dtype", "") != "bool"), 0.0)
        return self.add_node(op, [self._operand(x, like) for x in operands], {}, name)
