"""The graph: what a model computes, before any machine is thought of.

    Graph  = tensors (by name), nodes (in topological order), inputs, outputs
    Tensor = name, shape, dtype, values   the array of a weight (or of an example input), or the way to it
    Node   = op, name, inputs, output, attrs

A model is written by calling the methods of a `Graph`, or with operators on its tensors:

    g = Graph("mlp")
    x = g.input("x", (128, 128))
    h = g.relu(x @ g.weight("w1", w1))
    g.output(h + g.weight("b", b), "y")

Shapes and types are checked as each node is added, so an error names the line of the model that caused it.
A tensor is float32 unless it says otherwise; what the types are is in `dtypes.py`. Float32 stands for "in
whatever type the machine computes" (its key matrix.dtype); a model in another type is computed in that.
What the operations mean (shape rule, numpy value, lowering) is in `compiler/ops/`, one file each.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from minisim.compiler.arguments import (
    Array,
    Shape,
    caller,
    check_size,
    checked_dtype,
    checked_name,
    checked_shape,
    checked_values,
    flag,
    integers,
    number,
)
from minisim.compiler.dtypes import CODE, is_integer
from minisim.compiler.elementwise import Elementwise
from minisim.compiler.values import Lazy, Values, example_values, materialised
from minisim.errors import ModelError, ShapeError, UnsupportedError, UsageError, did_you_mean, printable, shown
from minisim.hwmodel.isa import DType

__all__ = ["Array", "Graph", "Node", "Shape", "Tensor", "view_2d"]


@dataclass(frozen=True, eq=False)
class Tensor:
    """A value of the graph: an input, a weight, or a node's output.

    Attributes:
        shape: any rank; the machine sees `view_2d(shape)`.
        values: of a weight, or the example values of an input (or None); those that only numerics needs may be `Lazy`.
        is_weight: constant, known to the compiler.
        dtype: a name of `dtypes.CODE`.
        scale: what one unit stands for, where an integer stands for a float; else None.
    """

    graph: Graph = field(repr=False)
    name: str
    shape: Shape
    values: Values = field(default=None, repr=False)
    is_weight: bool = False
    dtype: str = "float32"
    scale: float | None = None

    __array_ufunc__ = (
        None  # an array beside an operator leaves it to the tensor, and does not take it element by element
    )

    @property
    def data(self) -> Array | None:
        """The values as an array, made now if they have not been; None if there are none."""
        return materialised(self.values)

    @property
    def code(self) -> DType:
        """What the machine calls its type."""
        return CODE[self.dtype]

    def __matmul__(self, other: Tensor) -> Tensor:
        return self.graph.matmul(self, other)

    def __rmatmul__(self, other: object) -> Tensor:
        self.graph._own(other)  # the left one was no tensor
        raise NotImplementedError

    def __add__(self, other: Tensor | float) -> Tensor:
        return self.graph.add(self, other)

    def __mul__(self, other: Tensor | float) -> Tensor:
        return self.graph.mul(self, other)

    def __sub__(self, other: Tensor | float) -> Tensor:
        return self.graph.sub(self, other)

    def __rsub__(self, other: float) -> Tensor:
        return self.graph.sub(other, self)

    def __truediv__(self, other: Tensor | float) -> Tensor:
        return self.graph.div(self, other)

    def __rtruediv__(self, other: float) -> Tensor:
        return self.graph.div(other, self)

    def __pow__(self, other: Tensor | float) -> Tensor:
        return self.graph.pow(self, other)

    def __neg__(self) -> Tensor:
        return self.graph.neg(self)

    __radd__ = __add__
    __rmul__ = __mul__


@dataclass(frozen=True)
class Node:
    """One operation. `op` is a name of `compiler.ops.OPERATORS`; tensors are referred to by name."""

    op: str
    name: str
    inputs: tuple[str, ...]
    output: str
    attrs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The operation for people: ``MatMul``, ``FusedMatMulBiasReLU``."""
        fused = [str(self.attrs[key]) for key in ("bias", "residual", "activation") if self.attrs.get(key)]
        return f"Fused{self.op}{''.join(fused)}" if fused else self.op


class Graph(Elementwise):
    """A model under construction, and the compiler's first IR.

    Args:
        name: of the model, for reports.
    """

    def __init__(self, name: str = "model") -> None:
        self.name = printable(checked_name(name, "a model's name"))
        self.tensors: dict[str, Tensor] = {}
        self.nodes: list[Node] = []
        self.inputs: list[str] = []
        self.outputs: dict[str, str] = {}  # public name -> tensor name

    def __repr__(self) -> str:
        return f"<Graph {self.name}: {len(self.nodes)} operations, {len(self.tensors)} tensors>"

    # -- building ----------------------------------------------------------------------------------

    def input(self, name: str, shape: Sequence[int], data: Array | None = None, dtype: str = "float32") -> Tensor:
        """Declare an input. `data` (same shape, converted to `dtype`) is what `run` feeds it; without
        it, `run` draws seeded random values (`example_inputs`)."""
        checked_name(name, "an input's name")
        values = None if data is None else checked_values(name, data, dtype)
        checked = checked_shape(name, shape)
        if values is not None and values.shape != checked:
            raise ShapeError(f"{caller()}input {name!r}: data must have shape {checked}, not {values.shape}")
        checked_dtype(name, dtype)
        tensor = self._add_tensor(Tensor(self, name, checked, values, dtype=dtype))
        self.inputs.append(name)
        return tensor

    def weight(
        self, name: str, data: Array | Lazy | None = None, dtype: str = "float32", *, shape: Sequence[int] | None = None
    ) -> Tensor:
        """Declare a constant.

        Args:
            data: its values, converted to `dtype`; or, `Lazy`, a recipe of values of that type.
            shape: instead of `data`: values are drawn as those of inputs are (`example_inputs`), when they are needed.
        """
        checked_name(name, "a weight's name")
        if (data is None) == (shape is None):
            raise ModelError(f"{caller()}weight {name!r} must have either data or a shape")
        checked_dtype(name, dtype)
        if data is None:
            checked = checked_shape(name, () if shape is None else shape)
            values: Values = Lazy(checked, partial(example_values, name, checked, dtype))
        else:
            values = data if isinstance(data, Lazy) else checked_values(name, data, dtype)
            checked = checked_shape(name, values.shape)
        return self._add_tensor(Tensor(self, name, checked, values, is_weight=True, dtype=dtype))

    def matmul(
        self,
        a: Tensor,
        b: Tensor,
        *,
        bias: Tensor | None = None,
        scale: float | None = None,
        transpose_a: bool = False,
        transpose_b: bool = False,
        name: str | None = None,
    ) -> Tensor:
        """``a @ b``: (..., k) x (k, n) -> (..., n). A transposed operand must be 2-D.

        Of int8 operands, or int16 a and int8 b, the sums are int32. `bias` (int32, n values) is added to them;
        with `scale` they are requantised to int8: ``saturate(round(sum * scale))``.
        """
        flags = {"transpose_a": transpose_a, "transpose_b": transpose_b}
        attrs: dict[str, Any] = {what: True for what, given in flags.items() if flag(what, given)}
        scale = None if scale is None else number("scale", scale)
        if bias is None:
            return self.add_node("MatMul", [a, b], {**attrs, **({} if scale is None else {"scale": scale})}, name)
        name = name if name is None else checked_name(name, "a node's name")
        self._own(a)
        if not is_integer(a.dtype) and scale is None:  # an operation of its own, until fusion
            return self.add(self.add_node("MatMul", [a, b], attrs, name and f"{name}/matmul"), bias, name=name)
        typed = {**attrs, "bias": "Bias", **({} if scale is None else {"scale": scale})}
        return self.add_node("MatMul", [a, b, bias], typed, name)

    def add(self, a: Tensor, b: Tensor | float, *, name: str | None = None) -> Tensor:
        """``a + b``, elementwise; `b` may be a scalar, a row (bias), a column, or of a's shape."""
        return self.add_node("Add", [a, self._operand(b, a)], {}, name)

    def mul(self, a: Tensor, b: Tensor | float, *, name: str | None = None) -> Tensor:
        """``a * b``, elementwise, with the broadcasting of `add`."""
        return self.add_node("Mul", [a, self._operand(b, a)], {}, name)

    def sub(self, a: Tensor | float, b: Tensor | float, *, name: str | None = None) -> Tensor:
        """``a - b``, elementwise, with the broadcasting of `add` for either operand."""
        return self.add_node("Sub", [self._operand(a, b), self._operand(b, a)], {}, name)

    def div(self, a: Tensor | float, b: Tensor | float, *, name: str | None = None) -> Tensor:
        """``a / b``, elementwise, with the broadcasting of `add` for either operand."""
        return self.add_node("Div", [self._operand(a, b), self._operand(b, a)], {}, name)

    def maximum(self, a: Tensor, b: Tensor | float, *, name: str | None = None) -> Tensor:
        """The greater of `a` and `b`, elementwise, with the broadcasting of `add`; NaN where either is."""
        return self.add_node("Max", [a, self._operand(b, a)], {}, name)

    def reduce_sum(self, x: Tensor, *, name: str | None = None) -> Tensor:
        """The sum along the last axis, which becomes 1: (..., n) -> (..., 1)."""
        return self.add_node("ReduceSum", [x], {}, name)

    def reduce_max(self, x: Tensor, *, name: str | None = None) -> Tensor:
        """The maximum along the last axis, which becomes 1."""
        return self.add_node("ReduceMax", [x], {}, name)

    def reduce_mean(self, x: Tensor, *, name: str | None = None) -> Tensor:
        """The mean along the last axis, which becomes 1: the sum / n."""
        return self.add_node("ReduceMean", [x, self._operand(_last_of(x), x)], {}, name)

    def softmax(self, x: Tensor, *, name: str | None = None) -> Tensor:
        """``exp(x - max) / sum(exp(x - max))`` along the last axis."""
        return self.add_node("Softmax", [x, self._operand(1.0, x)], {}, name)

    def layer_norm(
        self,
        x: Tensor,
        scale: Tensor | None = None,
        bias: Tensor | None = None,
        *,
        epsilon: float = 1e-5,
        name: str | None = None,
    ) -> Tensor:
        """``(x - mean) / sqrt(variance + epsilon) * scale + bias`` along the last axis, of n elements.

        Args:
            scale, bias: of n elements, or one; no bias without scale.
        """
        if bias is not None and scale is None:
            raise ModelError(f"{caller()}layer_norm takes a bias only with a scale")
        constants = [self._operand(value, x) for value in (_last_of(x), epsilon, 1.0)]
        affine = [tensor for tensor in (scale, bias) if tensor is not None]
        return self.add_node("LayerNorm", [x, *constants, *affine], {}, name)

    def reshape(self, x: Tensor, shape: Sequence[int], *, name: str | None = None) -> Tensor:
        """The same elements in row-major order under another shape; one dimension may be -1."""
        return self.add_node("Reshape", [x], {"shape": integers("the new shape", shape)}, name)

    def output(self, x: Tensor, name: str | None = None) -> Tensor:
        """Mark `x` as a result of the model, under `name` (its own name if not given)."""
        self._own(x)
        public = x.name if name is None else checked_name(name, "an output's name")
        if public in self.outputs:
            raise ModelError(f"{caller()}output {public!r} is declared twice")
        self.outputs[public] = x.name
        return x

    def add_node(self, op: str, inputs: Sequence[Tensor], attrs: Mapping[str, Any], name: str | None = None) -> Tensor:
        """Append an operation of `compiler.ops` and return its output; the named methods call this.

        Raises:
            ShapeError: the operands' shapes do not fit `op`.
            UnsupportedError: they fit, but minisim does not implement that case.
        """
        from minisim.compiler.ops import OPERATORS  # the operators speak about graphs: imported late

        if not isinstance(op, str) or op not in OPERATORS:
            raise UnsupportedError(f"{caller()}there is no operation {shown(op)}{did_you_mean(op, OPERATORS)}")
        name = self.fresh_name(op.lower() if name is None else checked_name(name, "a node's name"))
        for x in inputs:
            self._own(x)
        try:
            OPERATORS[op].check_count(len(inputs))
            shape = OPERATORS[op].infer([x.shape for x in inputs], attrs)
            dtype = OPERATORS[op].infer_dtype([x.dtype for x in inputs], attrs)
            check_size(shape)
        except ModelError as e:
            operands = ", ".join(f"{x.name} {x.shape}{_unless_float32(x.dtype)}" for x in inputs)
            raise type(e)(f"{caller()}node {name!r} ({op} of {operands}): {e}") from None
        self.nodes.append(Node(op, name, tuple(x.name for x in inputs), name, dict(attrs)))
        return self._add_tensor(Tensor(self, name, shape, dtype=dtype))

    def fresh_name(self, stem: str) -> str:
        """`stem`, or the first of stem_1, stem_2, ... that no tensor has."""
        if stem not in self.tensors:
            return stem
        return next(name for i in range(1, sys.maxsize) if (name := f"{stem}_{i}") not in self.tensors)

    # -- reading -----------------------------------------------------------------------------------

    def consumers(self) -> dict[str, list[Node]]:
        """The nodes that read each tensor, by tensor name."""
        readers: dict[str, list[Node]] = {name: [] for name in self.tensors}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                readers[name].append(node)
        return readers

    def evaluate(
        self, inputs: Mapping[str, Array], dtype: npt.DTypeLike = np.float64, outputs_only: bool = False
    ) -> dict[str, Array]:
        """Compute all tensors with plain numpy: the independent check of a run.

        Floats are computed in `dtype`, without rounding to their own types; integers exactly, as int64.

        Args:
            inputs: an array for each of `self.inputs`.
            outputs_only: return the outputs alone, and hold no tensor longer than until its last use.
        """
        from minisim.compiler.ops import OPERATORS

        if missing := [name for name in self.inputs if name not in inputs]:
            raise UsageError(f"input {missing[0]!r} has no values")

        def wide(name: str, array: npt.ArrayLike) -> Array:
            return np.asarray(array, dtype=np.int64 if is_integer(self.tensors[name].dtype) else dtype)

        last = {name: i for i, node in enumerate(self.nodes) for name in node.inputs}
        kept = set(self.outputs.values()) if outputs_only else set(self.tensors)
        values: dict[str, Array] = {}
        given = [name for name, tensor in self.tensors.items() if tensor.is_weight or name in self.inputs]

        def value(name: str) -> Array:
            """What has been computed, or is given: that is widened when it is needed, and not before."""
            if name not in values:
                data = inputs[name] if name in self.inputs else self.tensors[name].data
                assert data is not None  # only timing does without
                values[name] = wide(name, data)
            return values[name]

        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            for i, node in enumerate(self.nodes):
                values[node.output] = OPERATORS[node.op].evaluate([value(name) for name in node.inputs], node.attrs)
                for name in node.inputs:
                    if last[name] == i and name not in kept:
                        values.pop(name, None)
        return {name: value(name) if name in given else values[name] for name in self.tensors if name in kept}

    def lines(self) -> Iterator[str]:
        """The text form, for dumps."""
        yield f"graph {self.name}"
        for name in self.inputs:
            yield f"  input  {name} {self._form(name)}"
        for t in self.tensors.values():
            if t.is_weight:
                yield f"  weight {t.name} {self._form(t.name)}"
        for node in self.nodes:
            attrs = "".join(f" {k}={v}" for k, v in sorted(node.attrs.items()))
            yield f"  {node.output} {self._form(node.output)} = {node.title}({', '.join(node.inputs)}){attrs}"
        for public, name in self.outputs.items():
            yield f"  output {public} = {name}"

    def verify(self) -> None:
        """Check what every pass relies on.

        Raises:
            ModelError: there is no output, or nothing to compute.
        """
        if not self.outputs:
            raise ModelError(f"model {self.name!r} has no output: call graph.output(tensor)")
        known = set(self.inputs) | {t.name for t in self.tensors.values() if t.is_weight}
        for node in self.nodes:
            if missing := [i for i in node.inputs if i not in known]:
                raise ModelError(f"node {node.name!r} reads {missing[0]!r} before it is computed")
            known.add(node.output)
        if missing := [o for o in self.outputs.values() if o not in known]:
            raise ModelError(f"output {missing[0]!r} is never computed")
        if not self.nodes:
            raise ModelError(f"model {self.name!r} has no operations")

    # -- internals ---------------------------------------------------------------------------------

    def _add_tensor(self, tensor: Tensor) -> Tensor:
        if tensor.name in self.tensors:
            raise ModelError(f"{caller()}the name {tensor.name!r} is used twice in model {self.name!r}")
        self.tensors[tensor.name] = tensor
        return tensor

    def _form(self, name: str) -> str:
        """Shape, and type and scale if they are not float32 and none, for dumps."""
        t = self.tensors[name]
        return f"{list(t.shape)}{_unless_float32(t.dtype)}{'' if t.scale is None else f' x {t.scale:.6g}'}"

    def _operand(self, value: Tensor | float, other: Tensor | float) -> Tensor:
        """`value`, or the number as a weight of the type of `other`."""
        if isinstance(value, Tensor):
            return value
        if isinstance(value, (int, float, np.floating, np.integer)):
            dtype = other.dtype if isinstance(other, Tensor) else "float32"
            return self.weight(self.fresh_name("scalar"), np.asarray(value), dtype)
        raise ModelError(f"{caller()}an operand must be a tensor of the graph or a number, not {shown(value)}")

    def _own(self, x: object) -> None:
        if not isinstance(x, Tensor):
            raise ModelError(f"{caller()}an operand must be a tensor of the graph, not {type(x).__name__}")
        if self.tensors.get(x.name) is not x:
            raise ModelError(f"{caller()}tensor {x.name!r} does not belong to graph {self.name!r}")


def _last_of(x: Tensor) -> int:
    """The length of the last axis; what is no tensor, or has no axis, `add_node` refuses."""
    return x.shape[-1] if isinstance(x, Tensor) and x.shape else 1


def view_2d(shape: Shape) -> tuple[int, int]:
    """How the machine stores a tensor: all but the last dimension are rows. () -> (1, 1), (n,) -> (1, n)."""
    if not shape:
        return 1, 1
    rows = 1
    for d in shape[:-1]:
        rows *= d
    return rows, shape[-1]


def _unless_float32(dtype: str) -> str:
    return "" if dtype == "float32" else f" {dtype}"
