"""The types of a graph's tensors: their names, what the machine calls them, and how values become them.

name        in the machine   as numpy array                     values
float32     FP32             float32
bfloat16    BF16             float32, numpy has no bfloat16     float32 whose lower 16 bits are zero
float16     FP16             float16
int8        INT8             int8
uint8       UINT8            uint8
int16       INT16            int16                              wide activations, for int8 weights
int32       INT32            int32                              biases and sums of integer matmuls
bool        BOOL             bool                               what comparisons make, and conditions
float8_e4m3fn, float8_e5m2   FP8E4M3, FP8E5M2   float32        stored, moved and cast: `float8.py` rounds to them
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from minisim.compiler.float8 import from_bits, to_bits
from minisim.errors import ModelError, did_you_mean, shown
from minisim.hwmodel.isa import DType

Array = npt.NDArray[Any]

CODE = {
    "float32": DType.FP32,
    "bfloat16": DType.BF16,
    "float16": DType.FP16,
    "int8": DType.INT8,
    "uint8": DType.UINT8,
    "int16": DType.INT16,
    "int32": DType.INT32,
    "bool": DType.BOOL,
    "float8_e4m3fn": DType.FP8E4M3,
    "float8_e5m2": DType.FP8E5M2,
}
"""The machine's types by name."""

NAME = {code: name for name, code in CODE.items()}

HELD_AS: dict[str, np.dtype[Any]] = {
    "float32": np.dtype(np.float32),
    "bfloat16": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "int8": np.dtype(np.int8),
    "uint8": np.dtype(np.uint8),
    "int16": np.dtype(np.int16),
    "int32": np.dtype(np.int32),
    "bool": np.dtype(np.bool_),
    "float8_e4m3fn": np.dtype(np.float32),
    "float8_e5m2": np.dtype(np.float32),
}
"""The numpy type of the arrays that hold their values."""

FLOATS = frozenset({"float32", "bfloat16", "float16"})

FLOATS8 = frozenset({"float8_e4m3fn", "float8_e5m2"})
"""Floats that are stored, moved and cast, and not computed with."""

INTEGERS = frozenset({"int8", "uint8", "int16", "int32"})

NUMBERS = FLOATS | INTEGERS


def is_integer(dtype: str) -> bool:
    """Whether its values are computed exactly: of the integers, and of bool, whose values are 0 and 1."""
    return dtype not in FLOATS | FLOATS8


def known(dtype: str) -> str:
    """`dtype`, if it is one; ModelError otherwise, without naming the place."""
    if not isinstance(dtype, str) or dtype not in CODE:
        raise ModelError(f"dtype must be {', '.join(CODE)}, not {shown(dtype)}{did_you_mean(dtype, CODE)}")
    return dtype


def one_of(dtypes: Iterable[str]) -> str:
    """For people: ``float32, int8 or bool``."""
    *others, last = dtypes
    return f"{', '.join(others)} or {last}" if others else last


def converted(data: npt.ArrayLike, dtype: str) -> Array:
    """`data` as values of `dtype`: floats are rounded to it, integers have to be whole and in range.

    Raises:
        TypeError, ValueError: they are not, or `data` is no array of numbers.
    """
    held_as = HELD_AS[dtype]
    if dtype in FLOATS | FLOATS8:
        with np.errstate(over="ignore"):  # what is beyond a type is infinite in it, or NaN
            array = np.ascontiguousarray(data, dtype=held_as).reshape(np.shape(data))
        if dtype in FLOATS8:
            return from_bits(to_bits(array, dtype, saturate=False), dtype)
        return round_bfloat16(array) if dtype == "bfloat16" else array
    given = np.asarray(data)
    if given.dtype == held_as:
        return np.ascontiguousarray(given).reshape(given.shape)
    least, greatest = (0, 1) if dtype == "bool" else (np.iinfo(held_as).min, np.iinfo(held_as).max)
    with np.errstate(invalid="ignore"):
        fits = (given == np.floor(given)) & (given >= least) & (given <= greatest)
    if not fits.all():
        rule = f"a value must be an integer from {least} to {greatest}"
        raise ValueError(f"{rule}, not {given[~fits].flat[0]}")
    return np.ascontiguousarray(given.astype(held_as)).reshape(given.shape)


def is_immediate(value: float, dtype: str) -> bool:
    """Whether a number of type `dtype` can be an operation's immediate, which is a float32.

    Of whole numbers exactly this one; floats are rounded, but none becomes infinite.
    """
    with np.errstate(over="ignore"):
        immediate = float(np.asarray(value, HELD_AS[dtype] if dtype in FLOATS else np.float32))
    if not is_integer(dtype):
        return bool(np.isfinite(immediate) or not np.isfinite(value))
    low, high = (0, 1) if dtype == "bool" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return immediate == value == np.trunc(value) and low <= value <= high


def round_bfloat16(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The nearest bfloat16 values, ties to even; beyond the largest to infinity; NaNs become the quiet one."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) & np.uint32(0xFFFF0000)
    return np.where(np.isnan(values), np.uint32(0x7FC00000), rounded).view(np.float32).reshape(np.shape(values))


def wrapped(values: Array, dtype: str) -> Array:
    """Whole numbers (int64) as `dtype` has them: of an integer its lowest bits are kept; again as int64."""
    return np.asarray(values.astype(HELD_AS[dtype]).astype(np.int64))


def requantize(sums: Array, scale: float, dtype: str = "int8") -> Array:
    """int8 or uint8 results of int32 sums: saturate(round(float32(sum) x scale)), in float32, ties to even."""
    scaled = sums.astype(np.int32).astype(np.float32) * np.float32(scale)
    limits = np.iinfo(HELD_AS[dtype])
    return np.asarray(np.clip(np.rint(scaled), limits.min, limits.max).astype(HELD_AS[dtype]))


def quantize(values: npt.ArrayLike, scale: float | Array) -> npt.NDArray[np.int8]:
    """The int8 values nearest to `values` / `scale`, symmetric: from -127 to 127; columns may have a scale each.

    NaN has none, and becomes 0.
    """
    ratio = np.nan_to_num(np.asarray(values, dtype=np.float64) / scale, nan=0.0)
    return np.asarray(np.clip(np.rint(ratio), -127, 127).astype(np.int8))
