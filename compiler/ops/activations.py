"""Elementwise operations that networks have between their layers. To the bit they are chains, in docs/vector.md."""

from __future__ import annotations

import numpy as np

from minisim.compiler.activations import sigmoid
from minisim.compiler.ops.base import register
from minisim.compiler.ops.elementwise import Elementwise
from minisim.compiler.ops.functions import erf
from minisim.compiler.semantics import Array
from minisim.hwmodel.isa import VectorOp


def softplus(x: Array) -> Array:
    """log(1 + exp(x)) without overflow."""
    return np.asarray(np.logaddexp(x, 0))


@register
class Softplus(Elementwise):
    name, code, value = "Softplus", VectorOp.SOFTPLUS, staticmethod(softplus)


@register
class Clip(Elementwise):
    name, code = "Clip", VectorOp.CLIP

    @staticmethod
    def value(x: Array, low: Array, high: Array) -> Array:
        """The limit `high` wins where `low` is above it."""
        return np.asarray(np.minimum(np.maximum(x, low), high))


@register
class MultiplyAdd(Elementwise):
    """x y + z: one rounding, not two."""

    name, code = "MultiplyAdd", VectorOp.MULTIPLY_ADD

    @staticmethod
    def value(x: Array, y: Array, z: Array) -> Array:
        return np.asarray(x * y + z)


@register
class Silu(Elementwise):
    name, code = "Silu", VectorOp.SILU

    @staticmethod
    def value(x: Array) -> Array:
        return np.asarray(x * sigmoid(x))


@register
class Mish(Elementwise):
    name, code = "Mish", VectorOp.MISH

    @staticmethod
    def value(x: Array) -> Array:
        return np.asarray(x * np.tanh(softplus(x)))


@register
class Gelu(Elementwise):
    name, code = "Gelu", VectorOp.GELU

    @staticmethod
    def value(x: Array) -> Array:
        return np.asarray(x * (1 + erf(x / np.sqrt(2))) / 2)


@register
class GeluTanh(Elementwise):
    name, code = "GeluTanh", VectorOp.GELU_TANH

    @staticmethod
    def value(x: Array) -> Array:
        return np.asarray(x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2)


@register
class HardSigmoid(Elementwise):
    name, code = "HardSigmoid", VectorOp.HARD_SIGMOID

    @staticmethod
    def value(x: Array, alpha: Array, beta: Array) -> Array:
        return np.asarray(np.clip(alpha * x + beta, 0, 1))


@register
class HardSwish(Elementwise):
    name, code = "HardSwish", VectorOp.HARD_SWISH

    @staticmethod
    def value(x: Array) -> Array:
        return np.asarray(x * np.clip(x / 6 + 0.5, 0, 1))


@register
class Softsign(Elementwise):
    name, code = "Softsign", VectorOp.SOFTSIGN

    @staticmethod
    def value(x: Array) -> Array:
        return np.asarray(x / (1 + np.abs(x)))


@register
class LeakyRelu(Elementwise):
    name, code = "LeakyRelu", VectorOp.LEAKY_RELU

    @staticmethod
    def value(x: Array, alpha: Array) -> Array:
        return np.asarray(np.where(x < 0, alpha * x, x))


@register
class ThresholdedRelu(Elementwise):
    name, code = "ThresholdedRelu", VectorOp.THRESHOLDED_RELU

    @staticmethod
    def value(x: Array, alpha: Array) -> Array:
        return np.asarray(np.where(x > alpha, x, 0))


@register
class Elu(Elementwise):
    name, code = "Elu", VectorOp.ELU

    @staticmethod
    def value(x: Array, alpha: Array) -> Array:
        return np.asarray(np.where(x < 0, alpha * np.expm1(x), x))


@register
class Selu(Elementwise):
    name, code = "Selu", VectorOp.SELU

    @staticmethod
    def value(x: Array, alpha: Array, gamma: Array) -> Array:
        return np.asarray(gamma * np.where(x <= 0, alpha * np.expm1(x), x))


@register
class Celu(Elementwise):
    name, code = "Celu", VectorOp.CELU

    @staticmethod
    def value(x: Array, alpha: Array) -> Array:
        return np.asarray(np.where(x < 0, alpha * np.expm1(x / alpha), x))
