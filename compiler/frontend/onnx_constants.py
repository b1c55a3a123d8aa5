"""The constants of an ONNX model: initializers, and what nodes compute of them. Sizes are known before values.

A node that reads constants only is computed here, with ONNX's own reference implementation. How large its result will
be is asked of ONNX's shape inference first, and held against the limit of memory: a file of 200 bytes may ask for
gigabytes. Without numerics nothing is computed, or read, but what shapes and axes are made of.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.reference
import onnx.shape_inference
from onnx.external_data_helper import load_external_data_for_tensor

from minisim.compiler.dtypes import FLOATS
from minisim.compiler.frontend.external_data import check_tensor
from minisim.compiler.graph import Array
from minisim.compiler.memory import Budget
from minisim.compiler.values import Lazy
from minisim.errors import ModelError, UnsupportedError

SMALL = 4096
"""The elements up to which a constant is computed at once, also without numerics: a shape, axes, a scale."""

BOUNDED = {"Constant", "Compress", "NonMaxSuppression", "NonZero", "Unique", "SequenceAt", "SequenceConstruct",
           "SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceLength", "SplitToSequence",
           "ConcatFromSequence", "Optional", "OptionalGetElement", "OptionalHasElement"}  # fmt: skip
"""Operators whose results' sizes depend on values, but are at most a few times what they read."""


@dataclass(frozen=True)
class Constant:
    """A constant: its numpy type, and its values or the way to them."""

    dtype: np.dtype[Any]
    values: Lazy | Array

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    @property
    def at_hand(self) -> bool:
        return not isinstance(self.values, Lazy)

    def array(self) -> Array:
        return self.values.array() if isinstance(self.values, Lazy) else self.values


def initializer(tensor: onnx.TensorProto, folder: Path, budget: Budget, numerics: bool) -> Constant:
    """A tensor of the file. Without numerics only its shape counts; its values may be elsewhere, or missing."""
    if tensor.data_type not in onnx.TensorProto.DataType.values() or tensor.data_type == onnx.TensorProto.UNDEFINED:
        raise ModelError(f"initializer {tensor.name!r} has a data type that onnx does not know: {tensor.data_type}")
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    shape, read = tuple(tensor.dims), partial(_values, tensor, folder)
    if not numerics and (is_absent(tensor) or math.prod(shape) > SMALL):
        return Constant(dtype, Lazy(shape, read))
    budget.take(math.prod(shape) * dtype.itemsize, f"initializer {tensor.name!r} {shape}")
    return Constant(dtype, read())


def is_absent(tensor: onnx.TensorProto) -> bool:
    """Whether the values are not in the model's own file."""
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        return True
    fields = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")
    return math.prod(tensor.dims) > 0 and not any(getattr(tensor, name) for name in fields)


def _values(tensor: onnx.TensorProto, folder: Path) -> Array:
    about = f"the values of initializer {tensor.name!r}"
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        held, tensor = tensor, onnx.TensorProto()
        tensor.CopyFrom(held)
        check_tensor(tensor, folder)
        load_external_data_for_tensor(tensor, str(folder))
    elif is_absent(tensor):
        raise ModelError(f"{about} are missing")
    try:
        return onnx.numpy_helper.to_array(tensor)
    except (TypeError, ValueError) as e:
        raise ModelError(f"{about} cannot be read: {' '.join(str(e).split())}") from None


def folded(
    proto: onnx.NodeProto, operands: dict[str, Constant], opsets: dict[str, int], budget: Budget, numerics: bool
) -> dict[str, Constant]:
    """What a node computes of constants, by the names of its outputs.

    Raises:
        MemoryLimitError: it would take more memory than there may be.
        ModelError: how much it would take cannot be known, or it cannot be computed; whatever the package onnx raises.
    """
    forms = output_forms(proto, operands, opsets)
    outputs = [name for name in proto.output if name]
    sizes = [_size(forms.get(name)) for name in outputs]
    compute = partial(_computed, proto, operands, opsets)
    late = any(size is None or size > SMALL for size in sizes) or not all(c.at_hand for c in operands.values())
    if not numerics and late and None not in sizes:
        run = _Once(compute)
        return {n: Constant(_dtype(forms[n]), Lazy(_shape(forms[n]), partial(run.output, n))) for n in outputs}
    if None in sizes and proto.op_type not in BOUNDED:
        raise ModelError("how large its constant value is cannot be known before it is computed")
    read = sum(math.prod(c.shape) * c.dtype.itemsize for c in operands.values())
    needed = sum(4 * read if s is None else s * _dtype(forms[n]).itemsize for n, s in zip(outputs, sizes, strict=True))
    shapes = ", ".join(str(_shape(forms[n])) for n, s in zip(outputs, sizes, strict=True) if s is not None)
    budget.take(needed, f"node {proto.name or outputs[0]!r} ({proto.op_type}): its constant value {shapes}")
    return {name: Constant(array.dtype, array) for name, array in compute().items()}


class _Once:
    """Several outputs of one computation."""

    def __init__(self, compute: Callable[[], dict[str, Array]]) -> None:
        self.compute = compute

    def output(self, name: str) -> Array:
        return self.compute()[name]


def _computed(proto: onnx.NodeProto, operands: dict[str, Constant], opsets: dict[str, int]) -> dict[str, Array]:
    """By a model of this node alone: of a mere node the evaluator takes the newest version, whatever it is told."""
    graph = onnx.helper.make_graph(
        [proto],
        "constant",
        [onnx.ValueInfoProto(name=name) for name in operands],
        [onnx.ValueInfoProto(name=name) for name in proto.output if name],
    )
    versions = [onnx.helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    evaluator = onnx.reference.ReferenceEvaluator(onnx.helper.make_model(graph, opset_imports=versions))
    with np.errstate(all="ignore"):
        values = evaluator.run(None, {name: constant.array() for name, constant in operands.items()})
    return dict(zip(filter(None, proto.output), map(np.asarray, values), strict=True))


def output_forms(
    proto: onnx.NodeProto, operands: dict[str, Constant], opsets: dict[str, int]
) -> dict[str, onnx.TypeProto]:
    """The types and shapes of the outputs, as far as ONNX can tell from the operands' and from small values."""
    schema = onnx.defs.get_schema(proto.op_type, opsets[""], "")
    types = {
        name: onnx.helper.make_tensor_type_proto(onnx.helper.np_dtype_to_tensor_dtype(c.dtype), c.shape)
        for name, c in operands.items()
        if c.dtype.kind not in "OSU"
    }
    data = {
        name: onnx.numpy_helper.from_array(c.array(), name)
        for name, c in operands.items()
        if name in types and c.at_hand and math.prod(c.shape) <= SMALL
    }
    if len(types) < len(operands):  # text, sequences: not for numbers' operators, and never large
        return {}
    imports = [onnx.helper.make_opsetid(domain, number) for domain, number in opsets.items()]
    return onnx.shape_inference.infer_node_outputs(schema, proto, types, data, opset_imports=imports)


def is_float_tensor(form: onnx.TypeProto, beyond: int) -> bool:
    """Whether a value of this form is of floats, and more than a list of `beyond` of them."""
    if not form.HasField("tensor_type") or _dtype(form).name not in FLOATS:
        return False
    size = _size(form)
    return size is None or size > beyond or len(form.tensor_type.shape.dim) > 1


def check_int32(name: str, values: Lazy | Array) -> None:
    """Raise UnsupportedError if a value of this constant, which is int64, is beyond int32."""
    found = values.array() if isinstance(values, Lazy) else values
    limits = np.iinfo(np.int32)
    beyond = found[(found < limits.min) | (found > limits.max)]
    if beyond.size:
        raise UnsupportedError(f"constant {name!r} has the value {beyond[0]}, which is beyond int32")


def _size(form: onnx.TypeProto | None) -> int | None:
    """The number of elements, or None if that is not known."""
    if form is None or not form.HasField("tensor_type") or not form.tensor_type.HasField("shape"):
        return None
    dims = form.tensor_type.shape.dim
    return math.prod(_shape(form)) if all(d.HasField("dim_value") for d in dims) else None


def _shape(form: onnx.TypeProto) -> tuple[int, ...]:
    return tuple(d.dim_value for d in form.tensor_type.shape.dim)


def _dtype(form: onnx.TypeProto) -> np.dtype[Any]:
    return onnx.helper.tensor_dtype_to_np_dtype(form.tensor_type.elem_type)
