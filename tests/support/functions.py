"""The elementary functions of the vector unit, by mpmath."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath

from minisim.hwmodel.isa import VectorOp

FUNCTIONS: dict[VectorOp, Callable[[Any], Any]] = {
    VectorOp.EXP: mpmath.exp,
    VectorOp.SIGMOID: lambda x: 1 / (1 + mpmath.exp(-x)),
    VectorOp.TANH: mpmath.tanh,
    VectorOp.SINH: mpmath.sinh,
    VectorOp.COSH: mpmath.cosh,
    VectorOp.LOG: lambda x: -mpmath.inf if x == 0 else mpmath.log(x),
    VectorOp.ASINH: mpmath.asinh,
    VectorOp.ACOSH: mpmath.acosh,
    VectorOp.ATANH: lambda x: mpmath.sign(x) * mpmath.inf if abs(x) == 1 else mpmath.atanh(x),
    VectorOp.SOFTPLUS: lambda x: x if x > 1000 else mpmath.log1p(mpmath.exp(x)),
    VectorOp.ERF: mpmath.erf,
    VectorOp.SIN: mpmath.sin,
    VectorOp.COS: mpmath.cos,
    VectorOp.TAN: mpmath.tan,
    VectorOp.ASIN: mpmath.asin,
    VectorOp.ACOS: mpmath.acos,
    VectorOp.ATAN: mpmath.atan,
}
"""Each is real where it has a value, and no value but an exact one lies in the middle between two floats."""

PERIODIC = (mpmath.sin, mpmath.cos, mpmath.tan)
"""They have no value at infinity."""
