"""Elementwise operations that are a mathematical function: logarithms, powers, angles, rounding."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minisim.compiler.ops.base import register
from minisim.compiler.ops.elementwise import Elementwise
from minisim.compiler.semantics import Array
from minisim.hwmodel.isa import VectorOp


def erf(x: Array) -> Array:
    """The error function, which numpy does not have."""
    return np.asarray(np.vectorize(math.erf, otypes=[x.dtype])(x))


def sign(x: Array) -> Array:
    """+0 of both zeros."""
    return np.asarray(np.sign(x) + x.dtype.type(0))


def power(x: Array, y: Any) -> Array:
    with np.errstate(divide="ignore"):
        return np.asarray(np.power(x, y))


def whole_power(x: Array, y: Array) -> Array:
    """Modulo 2^64; of a negative exponent 1 / x^|y|, truncated toward zero, and 0 where x is 0."""
    found = np.power(x, np.maximum(y, 0))
    return np.asarray(np.where(y >= 0, found, np.where(np.abs(x) == 1, np.where(y % 2 == 0, 1, x), 0)))


@register
class Tanh(Elementwise):
    name, code, value = "Tanh", VectorOp.TANH, np.tanh


@register
class Sinh(Elementwise):
    name, code, value = "Sinh", VectorOp.SINH, np.sinh


@register
class Cosh(Elementwise):
    name, code, value = "Cosh", VectorOp.COSH, np.cosh


@register
class Log(Elementwise):
    name, code, value = "Log", VectorOp.LOG, np.log


@register
class Asinh(Elementwise):
    name, code, value = "Asinh", VectorOp.ASINH, np.arcsinh


@register
class Acosh(Elementwise):
    name, code, value = "Acosh", VectorOp.ACOSH, np.arccosh


@register
class Atanh(Elementwise):
    name, code, value = "Atanh", VectorOp.ATANH, np.arctanh


@register
class Erf(Elementwise):
    name, code, value = "Erf", VectorOp.ERF, staticmethod(erf)


@register
class Sin(Elementwise):
    name, code, value = "Sin", VectorOp.SIN, np.sin


@register
class Cos(Elementwise):
    name, code, value = "Cos", VectorOp.COS, np.cos


@register
class Tan(Elementwise):
    name, code, value = "Tan", VectorOp.TAN, np.tan


@register
class Asin(Elementwise):
    name, code, value = "Asin", VectorOp.ASIN, np.arcsin


@register
class Acos(Elementwise):
    name, code, value = "Acos", VectorOp.ACOS, np.arccos


@register
class Atan(Elementwise):
    name, code, value = "Atan", VectorOp.ATAN, np.arctan


@register
class Pow(Elementwise):
    name, code, value, whole = "Pow", VectorOp.POW, staticmethod(power), staticmethod(whole_power)


@register
class Neg(Elementwise):
    name, code, value = "Neg", VectorOp.NEG, np.negative


@register
class Abs(Elementwise):
    name, code, value = "Abs", VectorOp.ABS, np.abs


@register
class Sign(Elementwise):
    name, code, value = "Sign", VectorOp.SIGN, staticmethod(sign)


@register
class Floor(Elementwise):
    name, code, value = "Floor", VectorOp.FLOOR, np.floor


@register
class Ceil(Elementwise):
    name, code, value = "Ceil", VectorOp.CEIL, np.ceil


@register
class Round(Elementwise):
    name, code, value = "Round", VectorOp.ROUND, np.rint


@register
class Reciprocal(Elementwise):
    name, code, value = "Reciprocal", VectorOp.RECIPROCAL, np.reciprocal


@register
class Min(Elementwise):
    name, code, value = "Min", VectorOp.MIN, np.minimum
