"""Dimensions that an ONNX file leaves open, and the sizes that the user binds them to.

``--dim seq=128`` binds one by its name, ``--shape input=1x3x224x224`` all of an input. An open dimension has a name in
the file, or else is called as its input and its position: ``x.0``. One that is not bound is refused by name: any size
that was taken for it would be an answer to another question.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING

from minisim.errors import ModelError, UsageError, did_you_mean, printable, shown

if TYPE_CHECKING:
    import onnx

MAX_SIZE = 2**31

Dims = Mapping[str, int | Sequence[int]]
"""Sizes by the names of dimensions, and shapes by the names of inputs."""


def parse_dims(texts: Sequence[str]) -> dict[str, int]:
    """``seq=128`` -> name and size, of each of the options as typed.

    Raises:
        UsageError: one is no NAME=SIZE, or a name is given twice.
    """
    found: dict[str, int] = {}
    for text in texts:
        name, equals, size = (part.strip() for part in text.rpartition("="))
        if not equals or not name or not (size.isascii() and size.isdigit() and len(size) < 11):
            raise UsageError(f"--dim {text}: must be NAME=SIZE, such as seq=128")
        if name in found:
            raise UsageError(f"--dim {text}: {shown(name)} is given twice")
        found[name] = int(size)
    check_dims(found)
    return found


def parse_shapes(texts: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """``input=1x3x224x224`` -> name and shape, of each of the options as typed.

    Raises:
        UsageError: one is no NAME=SIZExSIZE..., or an input is given twice.
    """
    found: dict[str, tuple[int, ...]] = {}
    for text in texts:
        name, equals, sizes = (part.strip() for part in text.rpartition("="))
        if not equals or not name or not re.fullmatch("[0-9]{1,10}(x[0-9]{1,10})*", sizes):
            raise UsageError(f"--shape {text}: must be INPUT=SIZExSIZE, such as x=1x3x224x224")
        if name in found:
            raise UsageError(f"--shape {text}: {shown(name)} is given twice")
        found[name] = tuple(int(size) for size in sizes.split("x"))
    check_dims(found)
    return found


def check_dims(dims: Dims) -> dict[str, int | Sequence[int]]:
    """`dims` as a dict of sizes, or shapes, that dimensions, or inputs, can have; else a UsageError."""
    if not isinstance(dims, Mapping):
        raise UsageError(f"dims must be a mapping of names to sizes, such as {{'seq': 128}}, not {shown(dims)}")
    for name, size in dims.items():
        sizes = size if isinstance(size, (list, tuple)) else [size]
        for each in sizes:
            if isinstance(each, bool) or not isinstance(each, int) or not 1 <= each <= MAX_SIZE:
                raise UsageError(
                    f"dimension {shown(name)} must be a whole number from 1 to {MAX_SIZE}, not {shown(each)}"
                )
    return dict(dims)


def bind(inputs: Sequence[onnx.ValueInfoProto], dims: Dims) -> None:
    """Give the open dimensions of `inputs` their sizes, where `dims` has them. One below 0 is open: so some exporters
    say that they do not know it.

    Raises:
        ModelError: `dims` has a name that no open dimension, and no input, has; or a shape that the input cannot have.
    """
    by_name: dict[str, int] = {name: size for name, size in dims.items() if isinstance(size, int)}
    shapes = {name: size for name, size in dims.items() if not isinstance(size, int)}
    for info in inputs:
        for dim in info.type.tensor_type.shape.dim:
            if dim.dim_value < 0:
                dim.ClearField("dim_value")
        if info.name in shapes:
            for name, size in _take_shape(info, shapes.pop(info.name)).items():
                if by_name.setdefault(name, size) != size:
                    raise ModelError(f"dimension {shown(name)} cannot be {by_name[name]} and {size}")
    if shapes:
        names = [info.name for info in inputs]
        unknown = next(iter(shapes))
        raise ModelError(f"no input {shown(unknown)} to give a shape{did_you_mean(unknown, names)}")
    _bind_names(inputs, by_name, {name for name in by_name if name in dims})


def _take_shape(info: onnx.ValueInfoProto, shape: Sequence[int]) -> dict[str, int]:
    """Give an input its shape; return the sizes of its dimensions that have names."""
    tensor = info.type.tensor_type
    if not tensor.HasField("shape"):
        for size in shape:
            tensor.shape.dim.add().dim_value = size
    if len(tensor.shape.dim) != len(shape):
        raise ModelError(f"input {shown(info.name)} has {len(tensor.shape.dim)} dimensions, not {len(shape)}")
    found = {}
    for index, (dim, size) in enumerate(zip(tensor.shape.dim, shape, strict=True)):
        if dim.HasField("dim_value") and dim.dim_value != size:
            raise ModelError(f"input {shown(info.name)}: dimension {index} is {dim.dim_value}, not {size}")
        if dim.dim_param:
            found[dim.dim_param] = size
        dim.dim_value = size
    return found


def _bind_names(inputs: Sequence[onnx.ValueInfoProto], dims: Mapping[str, int], wanted: Set[str]) -> None:
    """Give the dimensions that are still open their sizes by name; those that are `wanted` must be there."""
    open_dims: dict[str, None] = {}
    for info in inputs:
        for index, dim in enumerate(info.type.tensor_type.shape.dim):
            if dim.HasField("dim_value"):
                continue
            name = name_of(info, index)
            open_dims[name] = None
            if name in dims:
                dim.dim_value = dims[name]
    if unknown := [name for name in dims if name in wanted and name not in open_dims]:
        there = f"open are {', '.join(map(shown, open_dims))}" if open_dims else "the file leaves none open"
        nearest = did_you_mean(unknown[0], open_dims)
        raise ModelError(f"no dimension {shown(unknown[0])} to bind{nearest} ({there})")


def name_of(info: onnx.ValueInfoProto, index: int) -> str:
    """What a dimension that is open is called."""
    return info.type.tensor_type.shape.dim[index].dim_param or f"{info.name}.{index}"


def how_to_bind(info: onnx.ValueInfoProto, index: int) -> str:
    """The problem of an open dimension, to follow its input's name."""
    name = name_of(info, index)
    return f": dimension {index} is open, {shown(name)}; bind it with --dim {shlex.quote(printable(name))}=SIZE"
