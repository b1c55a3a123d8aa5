"""The graph: what a model computes, before any machine is thought of.

    Graph  = tensors (by name), nodes (in topological order), inputs, outputs
    Tensor = name, shape, dtype, values   the array of a weight (or of an example input), or the way to it
    Node   = op, name, inputs, outputs, attributes

A model is written by calling the methods of a `Graph`, or with operators on its tensors:

    g = Graph("mlp")
    x = g.input("x", (128, 128))
    h = g.relu(x @ g.weight("w1", w1))
    g.output(h + g.weight("b", b), "y")

Shapes and types are checked as each node is added, so an error names the line of the model that caused it.
A tensor is float32 unless it says otherwise; what the types are is in `dtypes.py`. Float32 stands for "in
whatever type the machine computes" (its key matrix.dtype); a model in another type is computed in that.
What the operations mean (shape rule, numpy value) the graph asks of `semantics.py`; they stand in `compiler/ops/`, one
file each, with what a machine does to execute them.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import accumulate
from typing import cast

import numpy as np
import numpy.typing as npt

from minisim.compiler.arguments import (
    Array,
    Shape,
    caller,
    checked_dtype,
    checked_name,
    checked_shape,
    checked_values,
    flag,
    float_type,
    input_array,
    integers,
    number,
    sequence,
)
from minisim.compiler.attention_methods import AttentionMethods
from minisim.compiler.attributes import (
    NO_ATTRIBUTES,
    AppendAttributes,
    Attributes,
    MatMulAttributes,
    ReshapeAttributes,
    SplitAttributes,
)
from minisim.compiler.conv_methods import ConvMethods
from minisim.compiler.dtypes import CODE, FLOATS, FLOATS8, INTEGERS, is_integer, wrapped
from minisim.compiler.elementwise import ElementwiseMethods
from minisim.compiler.geometry import CHANNELS, order_of_k
from minisim.compiler.movement_methods import MovementMethods, is_rectangle
from minisim.compiler.nodes import Node, Operand, Window, outcome, view_2d
from minisim.compiler.pool_methods import PoolMethods
from minisim.compiler.row_methods import RowMethods
from minisim.compiler.semantics import SEMANTICS
from minisim.compiler.state_methods import StateMethods
from minisim.compiler.values import Lazy, Values, arranged, example_values, materialised
from minisim.errors import ModelError, ShapeError, UnsupportedError, UsageError, did_you_mean, printable, shown, truth
from minisim.hwmodel.isa import ITEMSIZE, TENSOR_DTYPE, DType, align
from minisim.hwmodel.packing import Packed
from minisim.hwmodel.sparsity import Kept

MOST_IN_A_PAGE = int(np.iinfo(TENSOR_DTYPE["page"]).max)
"""Rows of a page of a state: what a schedule can say (`isa.TENSOR_DTYPE`)."""

__all__ = ["Array", "Graph", "Node", "Shape", "Tensor", "Window", "view_2d"]


@dataclass(frozen=True, eq=False)
class Tensor:
    """A value of the graph: an input, a weight, or a node's output.

    Attributes:
        shape: any rank; the machine sees `view_2d(shape)`.
        values: those of a weight, or the example values of an input (or None); `Lazy` where only numerics needs them.
        is_weight: constant, known to the compiler.
        dtype: a name of `dtypes.CODE`.
        scale: what one unit stands for, where an integer stands for a float; else None.
        window: the rectangle of another tensor that it is, if it has no place of its own in memory; else None.
        held: of a state, how many of its rows the programs before have left; None of all else.
        page: of a state whose rows lie in pages, how many in each; else 0.
        slab: the rows of its slabs (`slabs.py`), if who makes it cuts it slab by slab and its tiles lie otherwise than
            in the tensor as a whole; else 0. The pass `tile` finds it.
        kept: of a weight that is compressed how (`hwmodel/sparsity.py`). The pass `sparse` finds it.
        packed: of a weight of 4 bits how it lies in memory (`hwmodel/packing.py`). The pass `pack` finds it.
        scales: of a state whose rows are quantised, the name of the state of their scales; else "".
    """

    graph: Graph = field(repr=False)
    name: str
    shape: Shape
    values: Values = field(default=None, repr=False)
    is_weight: bool = False
    dtype: str = "float32"
    scale: float | None = None
    window: Window | None = None
    held: int | None = None
    page: int = 0
    slab: int = 0
    kept: Kept | None = None
    packed: Packed | None = None
    scales: str = ""

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

    def tile_bytes(self, rows: int, cols: int) -> int:
        """The bytes of SRAM that a tile of so many elements takes, in whole granules, wherever it begins."""
        if self.packed and self.packed.on_chip:
            k, n = (cols, rows) if self.packed.across else (rows, cols)
            return align(self.packed.tile_bytes(k, n))
        return align(ITEMSIZE[self.code] * rows * cols)

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


class Graph(
    ElementwiseMethods["Tensor"],
    MovementMethods["Tensor"],
    RowMethods["Tensor"],
    ConvMethods["Tensor"],
    PoolMethods["Tensor"],
    AttentionMethods["Tensor"],
    StateMethods["Tensor"],
):
    """A model under construction, and the compiler's first IR.

    Args:
        name: the name of the model, for reports.
    """

    def __init__(self, name: str = "model") -> None:
        self.name = printable(checked_name(name, "a model's name"))
        self.tensors: dict[str, Tensor] = {}
        self.nodes: list[Node] = []
        self.inputs: list[str] = []
        self.outputs: dict[str, str] = {}  # public name -> tensor name
        self.bound: dict[str, Array] = {}  # values of inputs that the model was read with: none of `inputs`
        self.given: dict[str, Array] = {}  # outputs that nothing computes, in types that no tensor has: shapes
        self.wide: set[str] = set()  # outputs that are int32 here, and int64 in the file that the model was read from
        self._node_names: set[str] = set()  # of those that no output shares its name with

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

    def state(
        self,
        name: str,
        shape: Sequence[int],
        held: int,
        dtype: str = "float32",
        *,
        page: int = 0,
        heads: int | None = None,
    ) -> Tensor:
        """Declare a state (rows, columns): what programs share that run one after the other, as a cache of keys.

        It is an input, of whose values the first `held` rows count; `append_rows` adds rows behind them.

        Args:
            page: its rows lie in pages of so many, each anywhere in DRAM; 0: all behind each other.
            heads: a state of int8 keeps floats: of each row, each of so many equal runs of columns has a scale. These
                are a second state, ``name.scales``, float32 (rows, heads).
        """
        held, page = integers("held", (held,))[0], integers("page", (page,))[0]
        if not 0 <= page <= MOST_IN_A_PAGE:
            raise ShapeError(f"{caller()}state {name!r}: page must be from 0 to {MOST_IN_A_PAGE} rows, not {page}")
        tensor = self.input(name, shape, dtype=dtype)
        if len(tensor.shape) != 2 or not 0 <= held < tensor.shape[0]:
            rule = f"must have two dimensions, and more rows than are held ({held})"
            raise ShapeError(f"{caller()}state {name!r} {tensor.shape} {rule}")
        scales = "" if heads is None else f"{name}.scales"
        self.tensors[name] = replace(tensor, held=held, page=page, scales=scales)
        if heads is not None:
            (heads,) = integers("heads", (heads,))
            if dtype != "int8":
                raise UnsupportedError(f"{caller()}state {name!r}: rows of heads with scales are int8, not {dtype}")
            if heads < 1 or tensor.shape[1] % heads:
                raise ShapeError(f"{caller()}state {name!r} {tensor.shape}: its columns are not those of {heads} heads")
            self.state(scales, (tensor.shape[0], heads), held, page=page)
        return self.tensors[name]

    def append_rows(self, state: Tensor, rows: Tensor, *, first: int = 0, name: str | None = None) -> Tensor:
        """All rows that a state holds, with `rows` (n, columns) behind them; these lie in the state from now on.

        Whoever makes `rows` writes them there, and nothing is moved; but what lies elsewhere already, or must, is
        copied: constants, inputs, views, outputs of the model. Floats become what the state keeps, and what is
        returned is floats again: of int8 with scales (`quantize_rows`), of floats of 8 bits by a cast.

        Args:
            first: rows before that one are left out of what is returned.
        """
        self._own(state)
        self._own(rows)
        taken = any(node.op == "Append" and node.present[0] == state.name for node in self.nodes)
        if state.held is None or taken:
            raise ModelError(f"{caller()}rows are appended to a state, once in a program, not to {state.name!r}")
        (first,) = integers("first", (first,))
        if not 0 <= first < state.held + view_2d(rows.shape)[0]:
            raise ShapeError(f"{caller()}first must be one of the rows of {state.name!r}, not {first}")
        if state.scales:
            scales = self.tensors[state.scales]
            parts = zip((state, scales), self.quantize_rows(rows, scales.shape[1], name=name), strict=True)
            found = [self._appended(to, part, first, name and f"{name}/{to.dtype}") for to, part in parts]
            return self.dequantize_rows(*found, name=name)
        if state.dtype in FLOATS8 and rows.dtype in FLOATS:
            narrow = self.cast(rows, state.dtype, name=name and f"{name}/narrow")
            whole = self._appended(state, narrow, first, name and f"{name}/{state.dtype}")
            return self.cast(whole, rows.dtype, name=name)
        return self._appended(state, rows, first, name)

    def _appended(self, state: Tensor, rows: Tensor, first: int, name: str | None) -> Tensor:
        """The rows of a state from `first` on, these behind them."""
        assert state.held is not None
        found = self.add_node("Append", [state, rows], AppendAttributes(state.held), name)
        return self.slice(found, [first], [found.shape[0]], [0], name=name and f"{name}.seen") if first else found

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
        narrow: str = "int8",
        name: str | None = None,
    ) -> Tensor:
        """``a @ b``, as numpy has it: (..., m, k) x (..., k, n) -> (..., m, n), leading dimensions broadcast.

        Either may be a vector, (k,), which is a row on the left and a column on the right; that dimension is not in
        the result. A transposed operand is one of matrices stored (k, m), or (n, k). Nothing is copied to be broadcast.

        Of integers (int8 and uint8 by either, int16 by int8) the sums are int32. `bias` (int32, n values) is added to
        them; with `scale` they are requantised to `narrow`, int8 or uint8: ``saturate(round(sum * scale))``.
        """
        attributes = MatMulAttributes(
            transpose_a=flag("transpose_a", transpose_a),
            transpose_b=flag("transpose_b", transpose_b),
            scale=None if scale is None else number("scale", scale),
            narrow=narrow,
        )
        if isinstance(b, Tensor) and len(b.shape) == 1 and not attributes.transpose_b:
            self._own(b)
            row, part = self.reshape(b, (1, *b.shape), name=name and f"{name}/row"), name and f"{name}/column"
            column = self.matmul(
                a, row, bias=bias, scale=scale, transpose_a=transpose_a, transpose_b=True, narrow=narrow, name=part
            )
            return self.reshape(column, column.shape[:-1], name=name)
        if bias is None:
            return self.add_node("MatMul", [a, b], attributes, name)
        name = name if name is None else checked_name(name, "a node's name")
        self._own(a)
        if not is_integer(a.dtype) and scale is None:  # an operation of its own, until fusion
            return self.add(self.add_node("MatMul", [a, b], attributes, name and f"{name}/matmul"), bias, name=name)
        return self.add_node("MatMul", [a, b, bias], attributes, name)

    def _filters(self, w: Tensor) -> Tensor:
        """`w` (R, S, channels, filters) as (k, filters), k in the order of the definition (geometry.py).

        A constant is laid out so once for all; what is computed must lie so by itself, as few channels do.
        """
        r, s, channels, filters = w.shape
        shape = (r * s * channels, filters)
        if w.is_weight:
            values = arranged(w.values, shape, order_of_k(channels, r * s))
            return self.weight(self.fresh_name(f"{w.name}.k"), values, w.dtype)
        if channels > CHANNELS and r * s > 1:
            raise UnsupportedError(
                f"{caller()}filters that are no constants ({w.name}) have at most {CHANNELS} channels, not {channels}"
            )
        return self.reshape(w, shape)

    def add(self, a: Tensor, b: Tensor | float, *, name: str | None = None) -> Tensor:
        """``a + b``, elementwise; shapes are broadcast as in numpy, without a copy."""
        return self.add_node("Add", [a, self._operand(b, a)], name=name)

    def mul(self, a: Tensor, b: Tensor | float, *, name: str | None = None) -> Tensor:
        """``a * b``, elementwise, with the broadcasting of `add`."""
        return self.add_node("Mul", [a, self._operand(b, a)], name=name)

    def sub(self, a: Tensor | float, b: Tensor | float, *, name: str | None = None) -> Tensor:
        """``a - b``, elementwise, with the broadcasting of `add` for either operand."""
        return self.add_node("Sub", [self._operand(a, b), self._operand(b, a)], name=name)

    def div(self, a: Tensor | float, b: Tensor | float, *, name: str | None = None) -> Tensor:
        """``a / b``, elementwise, with the broadcasting of `add` for either operand."""
        return self.add_node("Div", [self._operand(a, b), self._operand(b, a)], name=name)

    def maximum(self, a: Tensor, b: Tensor | float, *, name: str | None = None) -> Tensor:
        """The greater of `a` and `b`, elementwise, with the broadcasting of `add`; NaN where either is."""
        return self.add_node("Max", [a, self._operand(b, a)], name=name)

    def reshape(self, x: Tensor, shape: Sequence[int], *, name: str | None = None) -> Tensor:
        """The same elements in row-major order under another shape; one dimension may be -1.

        It is a view; but of a piece of another tensor, whose rows lie apart, a copy is made if they do not stay.
        """
        attributes = ReshapeAttributes(integers("the new shape", shape))
        if isinstance(x, Tensor) and x.window is not None:
            self._own(x)
            attributes.check()
            (wanted,) = SEMANTICS["Reshape"].infer([x.shape], attributes)
            if view_2d(wanted) != view_2d(x.shape):
                x = self.take(x, [None] * len(x.shape), kind="Copy", name=name and f"{name}/copy")
        return self.add_node("Reshape", [x], attributes, name)

    def split(
        self, x: Tensor, sizes: int | Sequence[int], *, axis: int = -1, name: str | None = None
    ) -> tuple[Tensor, ...]:
        """Pieces of x, one behind the other along `axis`.

        Along the last axis, or one with nothing but 1 before it, nothing is copied: a piece is a rectangle of x. Along
        another one they are moved.

        Args:
            sizes: the length of each piece; or a number of equal pieces.
            name: the pieces are called ``name.0``, ``name.1`` and so on.
        """
        self._own(x)
        (axis,) = integers("axis", (axis,))
        if isinstance(sizes, np.integer):
            sizes = int(sizes)
        if isinstance(sizes, int) and x.shape and -len(x.shape) <= axis < len(x.shape):
            length = x.shape[axis]
            if sizes < 1 or length % sizes:
                raise ShapeError(f"{caller()}axis {axis} of {x.name} {x.shape} has no {sizes} equal pieces")
            sizes = (length // sizes,) * sizes
        lengths = (sizes,) if isinstance(sizes, int) else integers("sizes", sizes)
        there = -len(x.shape) <= axis < len(x.shape) and sum(lengths) == x.shape[axis] and min(lengths) > 0
        if there and not is_rectangle(x.shape, axis % len(x.shape)):
            return self._moved_pieces(x, lengths, axis % len(x.shape), name)
        return self.append("Split", [x], SplitAttributes(axis, lengths), name)

    def output(self, x: Tensor, name: str | None = None) -> Tensor:
        """Mark `x` as a result of the model, under `name` (its own name if not given)."""
        self._own(x)
        if x.held is not None:
            raise ModelError(f"{caller()}a state ({x.name}) is no output of the model")
        public = x.name if name is None else checked_name(name, "an output's name")
        if public in self.outputs:
            raise ModelError(f"{caller()}output {public!r} is declared twice")
        self.outputs[public] = x.name
        return x

    def add_node(
        self,
        op: str,
        inputs: Sequence[Tensor | None],
        attributes: Attributes = NO_ATTRIBUTES,
        name: str | None = None,
    ) -> Tensor:
        """Append an operation that has one output, and return that; `append` says what it raises."""
        outputs = self.append(op, inputs, attributes, name)
        if len(outputs) != 1:
            raise ModelError(f"{caller()}a {op} of {len(outputs)} outputs is added by append, not by add_node")
        return outputs[0]

    def append(
        self,
        op: str,
        inputs: Sequence[Tensor | None],
        attributes: Attributes = NO_ATTRIBUTES,
        name: str | None = None,
    ) -> tuple[Tensor, ...]:
        """Append an operation of `compiler.ops` and return its outputs; the named methods call this.

        Args:
            inputs: the operands; None where one is left out.
            name: the name of the node. A single output has it, too; several have their number behind it: ``name.0``.

        Raises:
            ShapeError: the operands' shapes do not fit `op`.
            UnsupportedError: they fit, but minisim does not implement that case.
            ModelError: an operand is missing, or the attributes are not those of `op`.
        """
        if not isinstance(op, str) or op not in SEMANTICS:
            raise UnsupportedError(f"{caller()}there is no operation {shown(op)}{did_you_mean(op, SEMANTICS)}")
        name = self.fresh_name(op.lower() if name is None else checked_name(name, "a node's name"))
        inputs = sequence("a node's operands", inputs)
        while inputs and inputs[-1] is None:
            inputs = inputs[:-1]
        for x in inputs:
            if x is not None:
                self._own(x)
                if x.held is not None and op != "Append":
                    raise ModelError(f"{caller()}a state ({x.name}) is read by append_rows, and by nothing else")
        try:
            operands = [None if x is None else Operand(x.name, x.shape, x.dtype, x.window) for x in inputs]
            results = outcome(SEMANTICS[op], operands, attributes)
        except ModelError as e:
            given = ", ".join(f"{x.name} {x.shape}{_unless_float32(x.dtype)}" for x in inputs if x is not None)
            raise type(e)(f"{caller()}node {name!r} ({op} of {given}): {e}") from None
        names: tuple[str, ...] = (name,)
        if len(results) > 1:
            self._node_names.add(name)
            names = tuple(self.fresh_name(f"{name}.{i}") for i in range(len(results)))
        self.nodes.append(Node(op, name, tuple(None if x is None else x.name for x in inputs), names, attributes))
        return tuple(
            self._add_tensor(Tensor(self, output, x.shape, dtype=x.dtype, window=x.window))
            for output, x in zip(names, results, strict=True)
        )

    def fresh_name(self, stem: str) -> str:
        """`stem`, or the first of stem_1, stem_2, ... that neither a tensor nor a node has."""
        checked_name(stem, "a name")
        names = (f"{stem}_{i}" if i else stem for i in range(sys.maxsize))
        return next(name for name in names if name not in self.tensors and name not in self._node_names)

    # -- reading -----------------------------------------------------------------------------------

    def consumers(self) -> dict[str, list[Node]]:
        """The nodes that read each tensor, by tensor name."""
        readers: dict[str, list[Node]] = {name: [] for name in self.tensors}
        for node in self.nodes:
            for name in dict.fromkeys(node.present):
                readers[name].append(node)
        return readers

    def evaluate(
        self, inputs: Mapping[str, Array], dtype: npt.DTypeLike = np.float64, outputs_only: bool = False
    ) -> dict[str, Array]:
        """Compute all tensors with plain numpy: the independent check of a run.

        Floats are computed in `dtype`, without rounding to their own types; integers exactly, as int64, of which each
        node's result keeps what its type has.

        Args:
            inputs: an array for each of `self.inputs`.
            outputs_only: return the outputs alone, and hold no tensor longer than until its last use.

        Raises:
            UsageError: an input has no values, or none of its shape; `dtype` is no type of floats.
        """
        if not isinstance(inputs, Mapping):
            raise UsageError(f"inputs must be a mapping of names to arrays, not {shown(inputs)}")
        outputs_only, dtype = truth("outputs_only", outputs_only), float_type(dtype)
        if missing := [name for name in self.inputs if name not in inputs]:
            raise UsageError(f"input {missing[0]!r} has no values")
        inputs = {name: input_array(name, inputs[name], self.tensors[name].shape) for name in self.inputs}

        def wide(name: str, array: npt.ArrayLike) -> Array:
            return np.asarray(array, dtype=np.int64 if is_integer(self.tensors[name].dtype) else dtype)

        last = {name: i for i, node in enumerate(self.nodes) for name in (*node.outputs, *node.present)}
        kept = set(self.outputs.values()) if outputs_only else set(self.tensors)
        values: dict[str, Array] = {}

        def value(name: str) -> Array:
            """What has been computed, or is given: that is widened when it is needed, and not before."""
            if name not in values:
                data = inputs[name] if name in self.inputs else self.tensors[name].data
                assert data is not None  # only timing does without
                values[name] = wide(name, data)
            return values[name]

        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            for i, node in enumerate(self.nodes):
                operands = [None if name is None else value(name) for name in node.inputs]
                found = SEMANTICS[node.op].evaluate(cast("list[Array]", operands), node.attributes)
                values.update((name, self._wrapped(name, x)) for name, x in zip(node.outputs, found, strict=True))
                for name in (*node.outputs, *node.present):
                    if last[name] == i and name not in kept:
                        values.pop(name, None)
        return {name: value(name) for name in self.tensors if name in kept}

    def _wrapped(self, name: str, array: Array) -> Array:
        """What of an integer tensor's exact values its type has."""
        dtype = self.tensors[name].dtype
        return wrapped(array, dtype) if dtype in INTEGERS else array

    def lines(self) -> Iterator[str]:
        """The text form, for dumps."""
        yield f"graph {self.name}"
        for name in self.inputs:
            yield f"  input  {name} {self._form(name)}"
        for t in self.tensors.values():
            if t.is_weight:
                yield f"  weight {t.name} {self._form(t.name)}"
        for node in self.nodes:
            outputs = ", ".join(f"{name} {self._form(name)}" for name in node.outputs)
            operands = ", ".join("-" if name is None else name for name in node.inputs)
            yield f"  {outputs} = {node.title}({operands}){node.attributes.text()}"
        for public, name in self.outputs.items():
            yield f"  output {public} = {name}"

    def anew(self) -> Graph:
        """An empty graph for what a pass makes of this one: of its name, and with the outputs that nothing computes."""
        graph = Graph(self.name)
        graph.given = self.given
        return graph

    def verify(self) -> None:
        """Check what every pass relies on.

        Raises:
            ModelError: there is no output, or something is read that nobody computes.
        """
        if not self.outputs and not self.given:
            raise ModelError(f"model {self.name!r} has no output: call graph.output(tensor)")
        known = set(self.inputs) | {t.name for t in self.tensors.values() if t.is_weight}
        for node in self.nodes:
            if missing := [i for i in node.present if i not in known]:
                raise ModelError(f"node {node.name!r} reads {missing[0]!r} before it is computed")
            known.update(node.outputs)
        if missing := [o for o in self.outputs.values() if o not in known]:
            raise ModelError(f"output {missing[0]!r} is never computed")
        if not self.nodes and self.outputs:
            raise ModelError(f"model {self.name!r} has no operations")
        if twice := [name for name, count in Counter(node.name for node in self.nodes).items() if count > 1]:
            raise ModelError(f"model {self.name!r} has two nodes of the name {twice[0]!r}")

    # -- internals ---------------------------------------------------------------------------------

    def _add_tensor(self, tensor: Tensor) -> Tensor:
        if tensor.name in self.tensors:
            raise ModelError(f"{caller()}the name {tensor.name!r} is used twice in model {self.name!r}")
        self.tensors[tensor.name] = tensor
        return tensor

    def _form(self, name: str) -> str:
        """Shape, and type, scale and how it is stored if they are not float32, none and dense, for dumps."""
        t = self.tensors[name]
        stored = "".join(f" {each}" for each in (t.kept, t.packed) if each)
        stored += f" in pages of {t.page}" if t.page else ""
        return f"{list(t.shape)}{_unless_float32(t.dtype)}{'' if t.scale is None else f' x {t.scale:.6g}'}{stored}"

    def _operand(self, value: Tensor | float, other: Tensor | float) -> Tensor:
        """`value`, or the number as a weight of the type of `other`."""
        if isinstance(value, Tensor):
            return value
        if isinstance(value, (int, float, np.floating, np.integer)):
            dtype = other.dtype if isinstance(other, Tensor) else "float32"
            return self.weight(self.fresh_name("scalar"), np.asarray(value), dtype)
        raise ModelError(f"{caller()}an operand must be a tensor of the graph or a number, not {shown(value)}")

    def _factor(self, value: Tensor | float) -> Tensor:
        """`value`, a float32 weight that nothing else reads, or the number as one: no pass converts it."""
        if not isinstance(value, Tensor):
            return self.weight(self.fresh_name("factor"), np.asarray(number("a factor", value)))
        self._own(value)
        if not value.is_weight or value.dtype != "float32":
            raise UnsupportedError(f"{caller()}a factor must be a number or a float32 weight, not {value.name!r}")
        return value

    def _column(self, values: Array, other: Tensor) -> Tensor:
        return self.weight(self.fresh_name("column"), values, other.dtype)

    def _moved_pieces(self, x: Tensor, sizes: Sequence[int], axis: int, name: str | None) -> tuple[Tensor, ...]:
        """Pieces that are no rectangles of x, each a tensor of its own."""
        begins = accumulate(sizes, initial=0)
        chosen = [[*[None] * axis, range(at, at + size), *[None] * (len(x.shape) - axis - 1)]
                  for at, size in zip(begins, sizes, strict=False)]  # fmt: skip
        names = [name and f"{name}.{i}" for i in range(len(chosen))]
        return tuple(self.take(x, each, kind="Split", name=part) for each, part in zip(chosen, names, strict=True))

    def _own(self, x: object) -> None:
        if not isinstance(x, Tensor):
            raise ModelError(f"{caller()}an operand must be a tensor of the graph, not {type(x).__name__}")
        if self.tensors.get(x.name) is not x:
            raise ModelError(f"{caller()}tensor {x.name!r} does not belong to graph {self.name!r}")


def _unless_float32(dtype: str) -> str:
    return "" if dtype == "float32" else f" {dtype}"
