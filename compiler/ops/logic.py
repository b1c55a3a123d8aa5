"""Elementwise operations that make or take truth values (bool)."""

from __future__ import annotations

import numpy as np

from minisim.compiler.ops.base import register
from minisim.compiler.ops.elementwise import Elementwise
from minisim.hwmodel.isa import VectorOp


@register
class Equal(Elementwise):
    name, code, value = "Equal", VectorOp.EQUAL, np.equal


@register
class Less(Elementwise):
    name, code, value = "Less", VectorOp.LESS, np.less


@register
class LessOrEqual(Elementwise):
    name, code, value = "LessOrEqual", VectorOp.LESS_OR_EQUAL, np.less_equal


@register
class IsNaN(Elementwise):
    name, code, value = "IsNaN", VectorOp.IS_NAN, np.isnan


@register
class IsInf(Elementwise):
    name, code, value = "IsInf", VectorOp.IS_INF, np.isinf


@register
class Not(Elementwise):
    name, code, value = "Not", VectorOp.LOGICAL_NOT, np.logical_not


@register
class And(Elementwise):
    name, code, value = "And", VectorOp.LOGICAL_AND, np.logical_and


@register
class Or(Elementwise):
    name, code, value = "Or", VectorOp.LOGICAL_OR, np.logical_or


@register
class Xor(Elementwise):
    name, code, value = "Xor", VectorOp.LOGICAL_XOR, np.logical_xor


@register
class Select(Elementwise):
    name, code, value = "Select", VectorOp.SELECT, staticmethod(np.where)
