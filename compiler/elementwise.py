"""The elementwise operations of a graph as methods: `Graph` has them from here."""

from __future__ import annotations

import math
from collections.abc import Sequence

from minisim.compiler.arguments import caller
from minisim.compiler.attributes import CastAttributes
from minisim.compiler.dtypes import FLOATS8
from minisim.compiler.graph_methods import GraphMethods, T
from minisim.errors import ModelError, shown, truth


class ElementwiseMethods(GraphMethods[T]):
    """What `Graph` inherits. What each operation computes, to the bit, is in docs/vector.md."""

    def exp(self, x: T, *, name: str | None = None) -> T:
        """``e ** x``."""
        return self.add_node("Exp", [x], name=name)

    def sqrt(self, x: T, *, name: str | None = None) -> T:
        """The square root; NaN where x < 0."""
        return self.add_node("Sqrt", [x], name=name)

    def tanh(self, x: T, *, name: str | None = None) -> T:
        """The hyperbolic tangent."""
        return self.add_node("Tanh", [x], name=name)

    def relu(self, x: T, *, name: str | None = None) -> T:
        """``max(x, 0)``."""
        return self.add_node("Relu", [x], name=name)

    def sigmoid(self, x: T, *, name: str | None = None) -> T:
        """``1 / (1 + exp(-x))``."""
        return self.add_node("Sigmoid", [x], name=name)

    def log(self, x: T, *, name: str | None = None) -> T:
        """The natural logarithm; NaN where x < 0."""
        return self.add_node("Log", [x], name=name)

    def erf(self, x: T, *, name: str | None = None) -> T:
        """The error function."""
        return self.add_node("Erf", [x], name=name)

    def sin(self, x: T, *, name: str | None = None) -> T:
        """The sine of an angle in radians."""
        return self.add_node("Sin", [x], name=name)

    def cos(self, x: T, *, name: str | None = None) -> T:
        """The cosine."""
        return self.add_node("Cos", [x], name=name)

    def tan(self, x: T, *, name: str | None = None) -> T:
        """The tangent."""
        return self.add_node("Tan", [x], name=name)

    def asin(self, x: T, *, name: str | None = None) -> T:
        """The inverse of the sine; NaN where |x| > 1."""
        return self.add_node("Asin", [x], name=name)

    def acos(self, x: T, *, name: str | None = None) -> T:
        """The inverse of the cosine; NaN where |x| > 1."""
        return self.add_node("Acos", [x], name=name)

    def atan(self, x: T, *, name: str | None = None) -> T:
        """The inverse of the tangent."""
        return self.add_node("Atan", [x], name=name)

    def sinh(self, x: T, *, name: str | None = None) -> T:
        """The hyperbolic sine."""
        return self.add_node("Sinh", [x], name=name)

    def cosh(self, x: T, *, name: str | None = None) -> T:
        """The hyperbolic cosine."""
        return self.add_node("Cosh", [x], name=name)

    def asinh(self, x: T, *, name: str | None = None) -> T:
        """The inverse of the hyperbolic sine."""
        return self.add_node("Asinh", [x], name=name)

    def acosh(self, x: T, *, name: str | None = None) -> T:
        """The inverse of the hyperbolic cosine; NaN where x < 1."""
        return self.add_node("Acosh", [x], name=name)

    def atanh(self, x: T, *, name: str | None = None) -> T:
        """The inverse of the hyperbolic tangent; NaN where |x| > 1."""
        return self.add_node("Atanh", [x], name=name)

    def neg(self, x: T, *, name: str | None = None) -> T:
        """``-x``."""
        return self.add_node("Neg", [x], name=name)

    def abs(self, x: T, *, name: str | None = None) -> T:
        """``|x|``."""
        return self.add_node("Abs", [x], name=name)

    def sign(self, x: T, *, name: str | None = None) -> T:
        """-1, 0 or 1."""
        return self.add_node("Sign", [x], name=name)

    def floor(self, x: T, *, name: str | None = None) -> T:
        """The greatest whole number that is not above x."""
        return self.add_node("Floor", [x], name=name)

    def ceil(self, x: T, *, name: str | None = None) -> T:
        """The least whole number that is not below x."""
        return self.add_node("Ceil", [x], name=name)

    def round(self, x: T, *, name: str | None = None) -> T:
        """The nearest whole number, of two the even one."""
        return self.add_node("Round", [x], name=name)

    def reciprocal(self, x: T, *, name: str | None = None) -> T:
        """``1 / x``."""
        return self.add_node("Reciprocal", [x], name=name)

    def softplus(self, x: T, *, name: str | None = None) -> T:
        """``log(1 + exp(x))``."""
        return self.add_node("Softplus", [x], name=name)

    def silu(self, x: T, *, name: str | None = None) -> T:
        """``x * sigmoid(x)``, also called swish."""
        return self.add_node("Silu", [x], name=name)

    def mish(self, x: T, *, name: str | None = None) -> T:
        """``x * tanh(softplus(x))``."""
        return self.add_node("Mish", [x], name=name)

    def hard_swish(self, x: T, *, name: str | None = None) -> T:
        """``x * clip(x / 6 + 1/2, 0, 1)``."""
        return self.add_node("HardSwish", [x], name=name)

    def softsign(self, x: T, *, name: str | None = None) -> T:
        """``x / (1 + |x|)``."""
        return self.add_node("Softsign", [x], name=name)

    def is_nan(self, x: T, *, name: str | None = None) -> T:
        """Whether x is NaN: bool."""
        return self.add_node("IsNaN", [x], name=name)

    def is_inf(self, x: T, *, name: str | None = None) -> T:
        """Whether x is infinite: bool."""
        return self.add_node("IsInf", [x], name=name)

    def logical_not(self, x: T, *, name: str | None = None) -> T:
        """Of bool."""
        return self.add_node("Not", [x], name=name)

    def gelu(self, x: T, *, approximate: str = "none", name: str | None = None) -> T:
        """``x / 2 * (1 + erf(x / sqrt(2)))``, or with approximate="tanh" the form with a tanh."""
        if approximate not in ("none", "tanh"):
            raise ModelError(f"{caller()}approximate must be 'none' or 'tanh', not {shown(approximate)}")
        return self.add_node("Gelu" if approximate == "none" else "GeluTanh", [x], name=name)

    def pow(self, a: T | float, b: T | float, *, name: str | None = None) -> T:
        """``a ** b``; NaN where a < 0 and b is not whole."""
        return self._of("Pow", [a, b], name)

    def minimum(self, a: T | float, b: T | float, *, name: str | None = None) -> T:
        """The lesser of `a` and `b`, with the broadcasting of `add`; NaN where either is."""
        return self._of("Min", [a, b], name)

    def equal(self, a: T | float, b: T | float, *, name: str | None = None) -> T:
        """Whether a == b: bool."""
        return self._of("Equal", [a, b], name)

    def less(self, a: T | float, b: T | float, *, name: str | None = None) -> T:
        """Whether a < b: bool."""
        return self._of("Less", [a, b], name)

    def less_or_equal(self, a: T | float, b: T | float, *, name: str | None = None) -> T:
        """Whether a <= b: bool."""
        return self._of("LessOrEqual", [a, b], name)

    def greater(self, a: T | float, b: T | float, *, name: str | None = None) -> T:
        """Whether a > b: bool."""
        return self._of("Less", [b, a], name)

    def greater_or_equal(self, a: T | float, b: T | float, *, name: str | None = None) -> T:
        """Whether a >= b: bool."""
        return self._of("LessOrEqual", [b, a], name)

    def logical_and(self, a: T, b: T, *, name: str | None = None) -> T:
        """Of two bools."""
        return self.add_node("And", [a, b], name=name)

    def logical_or(self, a: T, b: T, *, name: str | None = None) -> T:
        """Of two bools."""
        return self.add_node("Or", [a, b], name=name)

    def logical_xor(self, a: T, b: T, *, name: str | None = None) -> T:
        """Of two bools: whether they differ."""
        return self.add_node("Xor", [a, b], name=name)

    def leaky_relu(self, x: T, alpha: T | float = 0.01, *, name: str | None = None) -> T:
        """``x``, and ``alpha * x`` where x < 0; with a tensor as `alpha` it is known as PRelu."""
        return self._of("LeakyRelu", [x, alpha], name)

    def thresholded_relu(self, x: T, alpha: T | float = 1.0, *, name: str | None = None) -> T:
        """``x``, and 0 where not x > alpha."""
        return self._of("ThresholdedRelu", [x, alpha], name)

    def elu(self, x: T, alpha: T | float = 1.0, *, name: str | None = None) -> T:
        """``x``, and ``alpha * (exp(x) - 1)`` where x < 0."""
        return self._of("Elu", [x, alpha], name)

    def celu(self, x: T, alpha: T | float = 1.0, *, name: str | None = None) -> T:
        """``x``, and ``alpha * (exp(x / alpha) - 1)`` where x < 0."""
        return self._of("Celu", [x, alpha], name)

    def selu(self, x: T, alpha: T | float = 1.6732632, gamma: T | float = 1.0507010, *, name: str | None = None) -> T:
        """``gamma * x``, and ``gamma * alpha * (exp(x) - 1)`` where x <= 0."""
        return self._of("Selu", [x, alpha, gamma], name)

    def hard_sigmoid(self, x: T, alpha: T | float = 0.2, beta: T | float = 0.5, *, name: str | None = None) -> T:
        """``clip(alpha * x + beta, 0, 1)``."""
        return self._of("HardSigmoid", [x, alpha, beta], name)

    def clip(self, x: T, low: T | float = -math.inf, high: T | float = math.inf, *, name: str | None = None) -> T:
        """``minimum(maximum(x, low), high)``."""
        return self._of("Clip", [x, low, high], name)

    def cast(self, x: T, dtype: str, *, saturate: bool = True, name: str | None = None) -> T:
        """The values of x in another type: floats truncated toward zero and saturated as they become integers (NaN is
        0), integers by their lowest bits; what is not 0 is true.

        What is beyond the floats of 8 bits is the largest of them, or with ``saturate=False`` infinite, or NaN where
        there are no infinities.
        """
        beyond = not truth("saturate", saturate) and isinstance(dtype, str) and dtype in FLOATS8
        return self.add_node("CastBeyond" if beyond else "Cast", [x], CastAttributes(dtype), name=name)

    def rescale(self, x: T, factor: T | float, dtype: str, *, name: str | None = None) -> T:
        """``x * factor`` in float32, as `dtype`: an integer is rounded to, ties to even, and saturates.

        So floats are quantised, and integers dequantised. The factor is a number, or a float32 weight.
        """
        return self.add_node("Rescale", [x, self._factor(factor)], CastAttributes(dtype), name=name)

    def quantize(self, x: T, scale: T | float, zero: T | float, dtype: str, *, name: str | None = None) -> T:
        """``round(x / scale) + zero`` in float32, ties to even, saturated to the integers of `dtype`.

        Scale and zero point are numbers, or float32: of one element, or of one for each row or column.
        """
        return self._converted("Quantize", x, scale, zero, dtype, name)

    def dequantize(self, x: T, scale: T | float, zero: T | float = 0.0, *, name: str | None = None) -> T:
        """``(x - zero) * scale`` in float32."""
        return self._converted("Dequantize", x, scale, zero, "float32", name)

    def requantize(self, x: T, scale: T | float, zero: T | float, dtype: str, *, name: str | None = None) -> T:
        """``round(x * scale) + zero`` in float32, ties to even, saturated: int32 sums as narrow integers."""
        return self._converted("Requantize", x, scale, zero, dtype, name)

    def _converted(self, op: str, x: T, scale: T | float, zero: T | float, dtype: str, name: str | None) -> T:
        operands = [self._factor(value) if isinstance(value, (int, float)) else value for value in (scale, zero)]
        return self.add_node(op, [x, *operands], CastAttributes(dtype), name=name)

    def multiply_add(self, a: T | float, b: T | float, c: T | float, *, name: str | None = None) -> T:
        """``a b + c``, rounded once (floats)."""
        return self._of("MultiplyAdd", [a, b, c], name)

    def select(self, condition: T, a: T | float, b: T | float, *, name: str | None = None) -> T:
        """`a` where the condition (bool) is true, else `b`."""
        return self._of("Select", [condition, a, b], name)

    def _of(self, op: str, operands: Sequence[T | float], name: str | None) -> T:
        """The operation, of tensors and numbers."""
        like = next((x for x in operands if not isinstance(x, (int, float)) and getattr(x, "dtype", "") != "bool"), 0.0)
        return self.add_node(op, [self._operand(x, like) for x in operands], name=name)
