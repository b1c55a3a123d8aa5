"""Arguments of a graph's methods, as the author of a model passes them: checked, and refused with the line in question.

Every function returns what it was given in the form that the graph keeps, or raises a ModelError (of shapes: a
ShapeError), whose message begins with the file and line of the model.
"""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Iterable, Mapping, Sequence
from types import FrameType
from typing import Any

import numpy as np
import numpy.typing as npt

from minisim.compiler.dtypes import FLOATS8, converted, is_integer, known
from minisim.errors import ModelError, ShapeError, UsageError, one_line, shown

Shape = tuple[int, ...]
Array = npt.NDArray[Any]

MAX_RANK = 32
"""The most dimensions of a tensor: numpy has no more."""

MAX_ELEMENTS = 2**31
"""The most elements of a tensor: 8 GiB of float32. More is a slip of the keyboard, and would not fit the schedule's
columns."""

_PACKAGE_NAME = __name__.split(".")[0]

_READERS = tuple(f"{_PACKAGE_NAME}.compiler.{room}." for room in ("frontend", "transformers", "zoo"))
"""Where models come from that have no lines of Python."""


def caller() -> str:
    """``file:line: `` of the innermost frame outside minisim: the line of the model; or an empty string,
    also where a front end reads the model from something that has no lines (ONNX, a built-in shape, a network)."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if f"{module}.".startswith(_READERS):
            return ""  # the frames beyond are those of whoever asked for the model to be loaded
        if module.split(".")[0] != _PACKAGE_NAME and not frame.f_code.co_filename.startswith("<"):
            return f"{frame.f_code.co_filename}:{frame.f_lineno}: "
        frame = frame.f_back
    return ""


def checked_values(name: str, data: Array, dtype: str) -> Array:
    checked_dtype(name, dtype)
    try:
        return converted(data, dtype)
    except (TypeError, ValueError, OverflowError) as e:
        if is_integer(dtype):
            raise ModelError(f"{caller()}tensor {name!r}: {one_line(e)}") from None
        raise ModelError(f"{caller()}tensor {name!r}: its data is not an array of numbers ({one_line(e)})") from None


def checked_name(name: object, what: str) -> str:
    """`name`, if it can be the name of something, and be written to a file."""
    if not isinstance(name, str) or not name:
        raise ModelError(f"{caller()}{what} must be a text that is not empty, not {shown(name)}")
    if any("\ud800" <= c <= "\udfff" for c in name):  # halves of characters, which UTF-8 cannot encode
        raise ModelError(f"{caller()}{what} must be text that UTF-8 can encode, not {shown(name)}")
    return name


def checked_dtype(name: str, dtype: str) -> None:
    try:
        known(dtype)
    except ModelError as e:
        raise ModelError(f"{caller()}tensor {name!r}: {e}") from None


def checked_shape(name: str, shape: Sequence[int]) -> Shape:
    checked = integers(f"tensor {name!r}: shape", shape, ShapeError)
    if any(d < 1 for d in checked):
        raise ShapeError(f"{caller()}tensor {name!r}: every dimension must be at least 1, not {shown(checked)}")
    try:
        check_size(checked)
    except ShapeError as e:
        raise ShapeError(f"{caller()}tensor {name!r}: {e}") from None
    return checked


def check_size(shape: Shape) -> None:
    """Raises ShapeError, without naming the place, if no tensor can have this shape."""
    if len(shape) > MAX_RANK:
        raise ShapeError(f"a tensor has at most {MAX_RANK} dimensions, not {len(shape)}")
    if (size := math.prod(shape)) > MAX_ELEMENTS:
        raise ShapeError(f"{shown(shape)} would have {shown(size)} elements; the most is {MAX_ELEMENTS}")


def integers(what: str, values: Iterable[int], error: type[ModelError] = ModelError) -> tuple[int, ...]:
    """`values` as integers; no text, and nothing with a fraction."""
    try:
        if isinstance(values, (str, bytes, Mapping)):
            raise TypeError
        return tuple(operator.index(value) for value in values)
    except TypeError:
        raise error(f"{caller()}{what} must be a sequence of integers, not {shown(values)}") from None


def checked_axes(shape: Shape, axes: int | Sequence[int] | None) -> tuple[int, ...]:
    """`axes` of a tensor of this shape, counted from the front and ascending; None: all of them.

    A scalar has none, whatever is asked for: what to do with it is for the operator to say.
    """
    rank = len(shape)
    if axes is None or not rank:
        return tuple(range(rank))
    given = integers("axes", (axes,) if isinstance(axes, (int, np.integer)) else axes)
    if wrong := [axis for axis in given if not -rank <= axis < rank]:
        raise ShapeError(f"{caller()}an axis of {shape} must lie in [-{rank}, {rank - 1}], not {shown(wrong[0])}")
    if not given:
        raise ShapeError(f"{caller()}axes must be at least one")
    found = sorted(axis % rank for axis in given)
    if len(set(found)) < len(found):
        raise ShapeError(f"{caller()}axes must differ, not {shown(given)}")
    return tuple(found)


def sequence(what: str, values: Iterable[Any]) -> tuple[Any, ...]:
    """`values` as a tuple; no text, and no mapping."""
    try:
        if isinstance(values, (str, bytes, Mapping)):
            raise TypeError
        return tuple(values)
    except TypeError:
        raise ModelError(f"{caller()}{what} must be a sequence of tensors, not {shown(values)}") from None


def float_type(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """`dtype` as numpy's type of floats.

    Raises:
        UsageError: it names none.
    """
    try:
        found = np.dtype(dtype)
        if found.kind == "f":
            return found
    except Exception:  # numpy has one of its own for each kind of nonsense
        pass
    raise UsageError(f"dtype must be a type of floats such as numpy.float64, not {shown(dtype)}")


def input_array(name: str, values: object, shape: Shape) -> Array:
    """What a user gives for input `name`, as an array of its shape.

    Raises:
        UsageError: it is not an array of numbers, or of another shape.
    """
    try:
        array = np.asarray(values)
        if array.dtype.name in ("bfloat16", *FLOATS8):  # of ml_dtypes, which is not asked for: exact in these
            array = array.astype(np.float32)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"numbers are needed, not {array.dtype}")
    except (TypeError, ValueError) as e:  # lists of different lengths, say
        raise UsageError(f"input {name!r} is not an array of numbers ({one_line(e)})") from None
    if array.shape != shape:
        raise UsageError(f"input {name!r} must have shape {shape}, not {array.shape}")
    return array


def number(what: str, value: object) -> float:
    try:
        if isinstance(value, (int, float, np.floating, np.integer)):
            return float(value)
    except OverflowError:
        pass
    raise ModelError(f"{caller()}{what} must be a number, not {shown(value)}")


def pair(what: str, value: int | Sequence[int]) -> tuple[int, int]:
    """A number of lines and one of columns; one number stands for both."""
    found = integers(what, (value, value) if isinstance(value, (int, np.integer)) else value)
    if len(found) != 2:
        raise ShapeError(f"{caller()}{what} must be a number or a pair, not {shown(value)}")
    return found[0], found[1]


def paddings(value: int | Sequence[int]) -> tuple[int, int, int, int]:
    """At the top, left, bottom and right; a pair is of lines and columns, one number of all sides."""
    found = integers("pads", (value,) if isinstance(value, (int, np.integer)) else value)
    if len(found) not in (1, 2, 4):
        raise ShapeError(f"{caller()}pads must be a number, a pair or four numbers, not {shown(value)}")
    top, left, bottom, right = found * (4 // len(found))
    return top, left, bottom, right


def flag(what: str, value: object) -> bool:
    if not isinstance(value, (bool, np.bool_, int)):
        raise ModelError(f"{caller()}{what} must be true or false, not {shown(value)}")
    return bool(value)
