"""Floats of 8 bits, as ONNX has them: what their bits stand for, and which are nearest to a float32.

float8_e4m3fn   sign, 4 bits of exponent (bias 7), 3 of the significand; up to 448; no infinities; NaN has all bits set
float8_e5m2     sign, 5 bits of exponent (bias 15), 2 of the significand; up to 57344; infinities and NaNs as fp16

Rounding is to nearest, ties to even. What is nearer to the number that would come behind the largest one than to that
one saturates, or is infinite, or, of a type that has no infinities, NaN.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt


class Format(NamedTuple):
    """Bits of the significand, the exponent's bias; the bits of the largest number, of what is beyond, and of NaN."""

    significand: int
    bias: int
    greatest: int
    beyond: int
    nan: int


FORMATS = {"float8_e4m3fn": Format(3, 7, 0x7E, 0x7F, 0x7F), "float8_e5m2": Format(2, 15, 0x7B, 0x7C, 0x7E)}


@cache
def _magnitudes(dtype: str) -> npt.NDArray[np.float64]:
    """What the numbers from 0 on stand for, and behind the largest one what would be next."""
    form = FORMATS[dtype]
    code = np.arange(form.greatest + 2)
    exponent, part = np.divmod(code, 1 << form.significand)
    normal = np.ldexp(1 + part / (1 << form.significand), exponent - form.bias)
    return np.where(exponent == 0, np.ldexp(code.astype(np.float64), 1 - form.bias - form.significand), normal)


def from_bits(bits: npt.NDArray[np.uint8], dtype: str) -> npt.NDArray[np.float32]:
    """The numbers of these bits."""
    form, of = FORMATS[dtype], np.full(128, np.nan)
    of[: form.greatest + 1] = _magnitudes(dtype)[:-1]
    if form.beyond != form.nan:
        of[form.beyond] = np.inf
    both = np.concatenate([of, -of]).astype(np.float32)
    return np.asarray(both[bits])


def to_bits(values: npt.NDArray[Any], dtype: str, saturate: bool) -> npt.NDArray[np.uint8]:
    """The bits of the numbers nearest to `values`, which are float32 or have its values."""
    form, ends = FORMATS[dtype], _magnitudes(dtype)
    with np.errstate(invalid="ignore"):  # a NaN may be one that signals
        wide = np.asarray(values, dtype=np.float64)
    middles = (ends[:-1] + ends[1:]) / 2
    size = np.abs(wide)
    code = np.searchsorted(middles, size, side="left")
    tied = (code < len(middles)) & (middles[np.minimum(code, len(middles) - 1)] == size)
    code = code + (tied & (code % 2 == 1))
    code = np.where(code > form.greatest, form.greatest if saturate else form.beyond, code)
    code = np.where(np.isnan(wide), form.nan, code)
    return np.asarray(code | np.signbit(wide) << 7, dtype=np.uint8)
