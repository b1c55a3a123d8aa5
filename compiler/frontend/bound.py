"""Values of inputs that are bound when a model is read: shapes, axes, pads and indices.

A machine computes no int64. An ONNX file may still have inputs of it, on which the shapes of its tensors, or what is
gathered, depend: ``--value shape=3,4`` on the command line, ``values={"shape": [3, 4]}`` of `load_model`, or such an
array among the inputs of `run`. What is bound is a constant from there on.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from minisim.errors import ModelError, UsageError, did_you_mean, printable, shown

if TYPE_CHECKING:
    import onnx

Array = npt.NDArray[Any]
Values = Mapping[str, npt.ArrayLike]

MOST_VALUES = 2**16
"""So many values an option may list: more is no shape, and belongs into a file."""


def parse_values(texts: Sequence[str]) -> dict[str, Array]:
    """``shape=3,4`` -> name and integers, of each of the options as typed.

    Raises:
        UsageError: one is no NAME=NUMBER,NUMBER..., or an input is given twice.
    """
    found: dict[str, Array] = {}
    for text in texts:
        name, equals, numbers = (part.strip() for part in text.rpartition("="))
        if not equals or not name or not re.fullmatch(r"-?[0-9]{1,19}( *, *-?[0-9]{1,19})*", numbers):
            raise UsageError(f"--value {text}: must be INPUT=NUMBER,NUMBER, whole numbers, such as shape=3,4")
        if name in found:
            raise UsageError(f"--value {text}: {shown(name)} is given twice")
        values = [int(number) for number in numbers.split(",")]
        if len(values) > MOST_VALUES or not all(-(2**63) <= value < 2**63 for value in values):
            raise UsageError(f"--value {shown(text)}: must be at most {MOST_VALUES} numbers of int64")
        found[name] = np.array(values, np.int64)
    return found


def check_values(values: object) -> dict[str, Array]:
    """`values` as arrays of whole numbers by the names of inputs; else a UsageError."""
    if not isinstance(values, Mapping):
        raise UsageError(f"values must be a mapping of inputs to integers, not {shown(values)}")
    found = {}
    for name, value in values.items():
        try:
            found[name] = np.asarray(value)
        except ValueError:  # lists of different lengths
            found[name] = np.empty(0, object)
        if not isinstance(name, str) or found[name].dtype.kind not in "biu":
            raise UsageError(f"values must be integers by the names of inputs, not {shown(name)}: {shown(value)}")
    return found


def wide_inputs(values: Mapping[str, npt.ArrayLike] | None) -> dict[str, Array]:
    """Those of the inputs of a run that are int64: they are bound if the model has such inputs."""
    arrays = {name: value for name, value in (values or {}).items() if isinstance(value, np.ndarray)}
    return {name: array for name, array in arrays.items() if array.dtype == np.int64}


def bound_value(info: onnx.ValueInfoProto, dtype: np.dtype[Any], value: Array) -> Array:
    """`value` as the input has it: of its type, and its shape; a list is laid out in it.

    Raises:
        ModelError: it is none of the input's; without naming the file.
    """
    about = f"input {shown(info.name)}"
    if dtype.kind not in "biu":
        raise ModelError(f"{about} is {dtype}: only inputs of integers can be bound to values")
    limits = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    if wrong := [int(each) for each in value.reshape(-1) if not limits[0] <= int(each) <= limits[1]]:
        raise ModelError(f"{about} is {dtype}, which has no {wrong[0]}")
    if not info.type.tensor_type.HasField("shape"):
        return value.astype(dtype)
    shape = [dim.dim_value if dim.HasField("dim_value") else None for dim in info.type.tensor_type.shape.dim]
    if value.ndim == len(shape) and all(size in (None, d) for size, d in zip(shape, value.shape, strict=True)):
        return value.astype(dtype)
    known = math.prod(size for size in shape if size is not None)
    if (
        value.ndim > 1
        or shape.count(None) > 1
        or (value.size != known and not (None in shape and value.size % known == 0))
    ):
        raise ModelError(f"{about} has shape {[size or '?' for size in shape]}, not {shown(list(value.shape))}")
    return value.reshape([-1 if size is None else size for size in shape]).astype(dtype)


def how_to_bind_value(info: onnx.ValueInfoProto) -> str:
    """What to do about an input of integers that no machine computes with, to follow the message that says so."""
    return (
        "; if it is a shape, axes, pads or indices, which are bound when the model is read, give its values with "
        f"--value {shlex.quote(printable(info.name))}=NUMBER,NUMBER"
    )


def unknown_value(names: Sequence[str], given: str) -> ModelError:
    """That there is no such input."""
    return ModelError(f"no input {shown(given)} to bind to values{did_you_mean(given, names)}")
