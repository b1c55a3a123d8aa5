"""External data: which bytes of which file beside the model's hold the values of an ONNX tensor."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx

from minisim.errors import ModelError, shown


def check_external_data(tensors: Iterable[onnx.TensorProto], folder: Path) -> None:
    """Confirm that the external data of `tensors`, of a model in `folder`, can be read, before any of it is.

    Where the model gives no length, that of the values is written into it: what follows them in the file is others'.

    Raises:
        ModelError: naming the tensor whose data lies outside the folder, in no file, or beyond its end.
    """
    for tensor in tensors:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            check_tensor(tensor, folder)


def check_tensor(tensor: onnx.TensorProto, folder: Path) -> None:
    about = f"the values of initializer {tensor.name!r}" if tensor.name else "the values of a constant"
    entries = {entry.key: entry.value for entry in tensor.external_data}
    offset, length = (_number(entries, key, about) for key in ("offset", "length"))
    size = _size_of_file(entries.get("location", ""), folder, about)
    needed = _bytes_needed(tensor)
    if length is not None and needed is not None and length != needed:
        raise ModelError(f"{about} take {needed} bytes, but their length is given as {length}")
    if length is None and needed is not None:
        tensor.external_data.add(key="length", value=str(needed))
    end = (offset or 0) + (length or needed or 0)
    if end > size:
        raise ModelError(f"{about} end at byte {end} of {shown(entries['location'])}, which has {size}")


def _size_of_file(location: str, folder: Path, about: str) -> int:
    """The bytes of the file, which must lie in `folder`."""
    try:
        path = (folder / location).resolve()
        if not path.is_relative_to(folder.resolve()) or Path(location).is_absolute():
            raise ModelError(f"{about} must lie in the model's folder, not in {shown(location)}")
        if not location or not path.is_file():
            raise ModelError(f"{about} are missing: no file {shown(location)} beside it")
        return path.stat().st_size
    except (OSError, ValueError):  # a name that is too long, or has a zero byte
        raise ModelError(f"{about} are missing: {shown(location)} is no file's name") from None


def _number(entries: dict[str, str], key: str, about: str) -> int | None:
    """The number under `key`, or None if there is none."""
    text = entries.get(key)
    if text is None:
        return None
    if not re.fullmatch("[0-9]{1,18}", text):  # more digits than any file has bytes
        raise ModelError(f"{about}: their {key} must be a whole number of bytes from 0, not {shown(text)}")
    return int(text)


def _bytes_needed(tensor: onnx.TensorProto) -> int | None:
    """What the values take; None for types that pack several into a byte, or that onnx does not know."""
    if tensor.data_type not in _WHOLE_BYTES:
        return None
    return math.prod(tensor.dims) * int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)


_WHOLE_BYTES = {
    onnx.TensorProto.DataType.Value(name)
    for name in ("FLOAT", "DOUBLE", "FLOAT16", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
}


def all_tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """All that may have external data: initializers, and values of attributes, also in graphs inside nodes."""
    yield from graph.initializer
    yield from attributes_of(graph)


def attributes_of(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """The tensors that are values of nodes' attributes."""
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for inner in (attribute.g, *attribute.graphs):
                yield from all_tensors(inner)
