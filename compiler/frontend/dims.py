"""Dimensions that an ONNX file leaves open, and the sizes that the user binds them to (``--dim seq=128``).

An open dimension has a name in the file, or else is called as its input and its position: ``x.0``. One that is not
bound is refused by name: any size that was taken for it would be an answer to another question.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from minisim.errors import ModelError, UsageError, did_you_mean, printable, shown

if TYPE_CHECKING:
    import onnx

MAX_SIZE = 2**31


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
    return check_dims(found)


def check_dims(dims: Mapping[str, int]) -> dict[str, int]:
    """`dims` as a dict of sizes that a dimension can have; else a UsageError."""
    if not isinstance(dims, Mapping):
        raise UsageError(f"dims must be a mapping of names to sizes, such as {{'seq': 128}}, not {shown(dims)}")
    for name, size in dims.items():
        if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= MAX_SIZE:
            raise UsageError(f"dimension {shown(name)} must be a whole number from 1 to {MAX_SIZE}, not {shown(size)}")
    return dict(dims)


def bind(inputs: Sequence[onnx.ValueInfoProto], dims: Mapping[str, int]) -> None:
    """Give the open dimensions of `inputs` their sizes, where `dims` has them.

    Raises:
        ModelError: `dims` has a name that no open dimension has.
    """
    open_dims: dict[str, None] = {}
    for info in inputs:
        for index, dim in enumerate(info.type.tensor_type.shape.dim):
            if dim.HasField("dim_value"):
                continue
            name = name_of(info, index)
            open_dims[name] = None
            if name in dims:
                dim.dim_value = dims[name]
    if unknown := [name for name in dims if name not in open_dims]:
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
