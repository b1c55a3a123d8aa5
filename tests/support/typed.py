"""What a graph of any types computes, bit for bit, found without the compiler's lowering or tiles; and such graphs.

The oracle takes the graph that is computed (fused, cast or quantised): there a matmul is one operation with one
rounding. It shares its arithmetic with `oracle.py` alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from minisim import Graph, Machine, Tensor
from minisim import _engine as engine
from minisim.compiler.attributes import ConvAttributes, DepthwiseAttributes, EpilogueAttributes, MatMulAttributes
from minisim.compiler.dtypes import CODE, FLOATS8, HELD_AS, NAME, NUMBERS
from minisim.compiler.dtypes import INTEGERS as INTEGER_TYPES
from minisim.compiler.graph import Node
from minisim.compiler.ops import OPERATORS
from minisim.hwmodel.isa import PAIRS
from support.machines import machines
from support.oracle import (
    INTEGERS,
    MOVES,
    attention,
    chain,
    converted,
    convolution,
    int8_matmul,
    integer_operation,
    moved,
    pieces,
    products,
    quantised,
    requantise,
    round_bf16,
    round_fp16,
    vector_operation,
)

Array = npt.NDArray[Any]

RATES = ("1", "2", "8", "1/2", "1/3")

PLAIN = sorted(frozenset(CODE) - FLOATS8)
"""Types that operations have; those that are only stored have a test of their own (test_float8.py)."""


ROUNDED: dict[str, Callable[[Array], Array]] = {
    "bfloat16": round_bf16,
    "float16": lambda x: round_fp16(x).astype(np.float32),
}
"""Of narrow floats, which are float32 arrays here."""


def evaluate(graph: Graph, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs by public name. Floats are float32 arrays; inputs are rounded to their type here."""
    values = {name: t.data for name, t in graph.tensors.items() if t.is_weight and t.data is not None}
    values.update((name, array) for name, array in inputs.items() if name in graph.tensors)
    for name, array in values.items():
        dtype = graph.tensors[name].dtype
        values[name] = ROUNDED[dtype](array) if dtype in ROUNDED else np.asarray(array)
    with np.errstate(all="ignore"):
        for node in graph.nodes:
            operands = [values[i] for i in node.present]
            if node.op == "Split":
                values.update(pieces(node, operands[0]))
                continue
            if node.op in MOVES:
                values[node.output] = moved(node, operands)
                continue
            dtype = graph.tensors[node.output].dtype
            rounded = ROUNDED.get(dtype, np.asarray)
            values[node.output] = rounded(_operation(node, operands, dtype, rounded))
    return {public: values[name].reshape(graph.tensors[name].shape) for public, name in graph.outputs.items()}


def _operation(node: Node, operands: list[Array], dtype: str, rounded: Callable[[Array], Array]) -> Array:
    code = getattr(OPERATORS.get(node.op), "code", None)
    whole = operands[-1].dtype.kind in "iu"  # the last one is an x of each operation on integers
    match node.op:
        case "MatMul":
            return _matmul(node, operands)
        case "Attention":
            return attention(node, operands, rounded, _product, dtype)
        case "Conv":
            return _conv(node, operands)
        case "DepthwiseConv":
            return _depthwise(node, operands, rounded)
        case "Cast":
            return converted(operands[0], dtype)
        case "Rescale":
            return converted(operands[0], dtype, operands[1])
        case "Quantize" | "Dequantize" | "Requantize":
            x, scale, zero = operands
            return quantised(node.op, x, scale, zero, dtype)
        case "ReduceSum" if whole:
            return operands[0].sum(axis=-1, keepdims=True, dtype=np.int64).astype(operands[0].dtype)
        case "ReduceMax" if whole:
            return operands[0].max(axis=-1, keepdims=True)
    if whole and code in INTEGERS:
        return integer_operation(code, operands, operands[-1].dtype)
    return vector_operation(node, operands, rounded)


def _matmul(node: Node, operands: list[Array]) -> Array:
    a, b, *epilogue = operands
    attributes = node.attributes_as(MatMulAttributes)
    return _finished(products(attributes, a, b, _product), epilogue, attributes)


def _conv(node: Node, operands: list[Array]) -> Array:
    """Of filters (k, filters), whose rows are those of the chain in `oracle.convolution`."""
    attributes = node.attributes_as(ConvAttributes)
    x, w, *epilogue = operands
    r, s = attributes.kernel
    channels = len(w) // (r * s)
    filters = np.empty((r, s, channels, w.shape[1]), w.dtype)
    for row, (tap_r, tap_s, c) in zip(w, chain(r, s, channels), strict=True):
        filters[tap_r, tap_s, c] = row
    return _finished(convolution(node, x, filters, _product), epilogue, attributes)


def _depthwise(node: Node, operands: list[Array], rounded: Callable[[Array], Array]) -> Array:
    """As a convolution of the array; then the elementwise operations of its tail, each rounded."""
    attributes = node.attributes_as(DepthwiseAttributes)
    x, w, *rest = operands
    bias, numbers = (rest[:1], rest[1:]) if node.operand(2) is not None else ([], rest)
    filters = w.reshape(*attributes.kernel, 1, w.shape[1])
    y = rounded(_finished(convolution(node, x, filters, _product), bias, attributes))
    for name in attributes.tail:
        code = OPERATORS[name].code
        mine, numbers = numbers[: code.sources - 1], numbers[code.sources - 1 :]
        sources = [np.ascontiguousarray(each, dtype=np.float32) for each in np.broadcast_arrays(y, *mine)]
        y = rounded(engine.vector(code, sources, "reference"))
    return y


def _product(a: Array, b: Array) -> Array:
    return int8_matmul(a, b) if a.dtype.kind in "iu" else engine.matmul(a, b, kernel="reference")


def _finished(y: Array, epilogue: list[Array], attributes: EpilogueAttributes) -> Array:
    """What the epilogue makes of sums."""
    activation = str(attributes.activation)
    if y.dtype == np.int32:
        for bias in epilogue:
            total = y.astype(np.int64) + bias.reshape(-1)
            y = ((total + 2**31) % 2**32 - 2**31).astype(np.int32)
        y = np.maximum(y, 0) if activation == "ReLU" else y
        return y if attributes.scale is None else requantise(y, attributes.scale, np.dtype(attributes.narrow))
    for operand in epilogue:
        y = y + operand.reshape(y.shape if operand.size == y.size else (-1,))
    if activation == "ReLU":
        y = np.where(y <= 0, np.float32(0), y)
    if activation == "Sigmoid":
        y = engine.sigmoid(np.ascontiguousarray(y), kernel="reference")
    return y


@st.composite
def typed_machines(draw: st.DrawFn, dtype: str) -> Machine:
    """A random machine that computes float models in `dtype`, at some rate; its memories are ample."""
    return draw(machines()).with_overrides(
        {"matrix.dtype": dtype, f"matrix.{dtype}_rate": draw(st.sampled_from(RATES))}
    )


SIZES = (1, 3, 8, 17, 40, 65)

LARGEST = 5000
"""Elements of what may still be multiplied by a batch of weights."""


@st.composite
def int8_graphs(draw: st.DrawFn) -> Graph:
    """Chains and branches of int8 matmuls with and without bias, relu and requantisation, and reshapes."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size = st.sampled_from(SIZES)
    g = Graph("int8")
    x = g.input("x", (draw(size), draw(size)), dtype="int8")
    narrow: list[Tensor] = [x]
    for i in range(draw(st.integers(1, 4))):
        x = draw(st.sampled_from([narrow[-1], narrow[-1], *narrow]))
        kind = draw(st.sampled_from(["matmul", "matmul", "matmul", "relu", "reshape", "split"]))
        if kind == "relu":
            narrow.append(g.relu(x))
        elif kind == "split" and x.shape[-1] > 1:
            at = draw(st.integers(1, x.shape[-1] - 1))
            narrow += g.split(x, (at, x.shape[-1] - at))
        elif kind == "reshape" and x.window is None:
            narrow.append(g.reshape(x, (-1, x.shape[0])))
        else:
            narrow += _int8_matmul(draw, g, x, rng, i)
    read = {name for node in g.nodes for name in node.present}
    for tensor in list(g.tensors.values()):
        if not tensor.is_weight and tensor.name not in read and tensor.name not in g.inputs:
            g.output(tensor)
    return g


def _int8_matmul(draw: st.DrawFn, g: Graph, x: Tensor, rng: np.random.Generator, i: int) -> list[Tensor]:
    """A matmul on x, with what may follow it; its result, if that is int8."""
    k, n = x.shape[-1], draw(st.sampled_from(SIZES))
    transposed = draw(st.booleans())
    batch = draw(st.sampled_from([(), (), (2,)])) if math.prod(x.shape) < LARGEST else ()
    w = g.weight(f"w{i}", rng.integers(-128, 128, (*batch, *((n, k) if transposed else (k, n)))), "int8")
    bias = g.weight(f"b{i}", rng.integers(-(2**31), 2**31, n), "int32") if draw(st.booleans()) else None
    scale = float(rng.choice([1e-3, 0.004, 1e-9])) if draw(st.integers(0, 3)) else None
    y = g.matmul(x, w, bias=bias, scale=scale, transpose_b=transposed)
    y = g.relu(y) if draw(st.booleans()) else y
    if y.dtype == "int32" and draw(st.booleans()):
        factors = g.weight(g.fresh_name("factors"), rng.uniform(1e-4, 1e-2, y.shape[-1:]).astype(np.float32))
        y = g.requantize(y, factors, float(rng.integers(-128, 128)), "int8")
    return [y] if y.dtype == "int8" else []


def int8_inputs(graph: Graph, seed: int) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {name: rng.integers(-128, 128, graph.tensors[name].shape, dtype=np.int8) for name in graph.inputs}


def values_of(rng: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> Array:
    """Values of a type: of integers all, the ends more often; of floats normal ones, some of them large or tiny."""
    if dtype == "bool":
        return rng.random(shape) < 0.5
    if dtype in INTEGER_TYPES:
        limits = np.iinfo(dtype)
        drawn = rng.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
        return np.where(rng.random(shape) < 0.3, rng.choice([limits.min, limits.max, 0, 1, 3], shape), drawn).astype(
            dtype
        )
    drawn = rng.standard_normal(shape) * 10.0 ** rng.integers(-5, 6, shape)
    with np.errstate(over="ignore"):
        return drawn.astype(HELD_AS[dtype])


BINARY = ("add", "sub", "mul", "div", "maximum", "minimum", "pow", "less", "less_or_equal", "equal")
UNARY = ("neg", "abs", "sign", "relu", "reduce_sum", "reduce_max")


class _Mixed:
    """A graph of all types that grows by random steps; each takes its operands from the tensors there are."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw, self.g = draw, Graph("mixed")
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        self.rows, self.cols = (draw(st.sampled_from((1, 3, 17, 40))) for _ in range(2))
        for i in range(draw(st.integers(1, 3))):
            self.g.input(f"x{i}", (self.rows, self.cols), dtype=draw(st.sampled_from(PLAIN)))

    def pick(self, dtypes: frozenset[str] = frozenset(PLAIN)) -> Tensor:
        """A tensor of one of these types: one that there is, mostly the newest, else a cast of it."""
        there = [t for t in self.g.tensors.values() if not t.is_weight and t.shape[0] == self.rows]
        found = [t for t in there if t.dtype in dtypes]
        if not found:
            return self.g.cast(self.draw(st.sampled_from(there)), self.draw(st.sampled_from(sorted(dtypes))))
        return found[-1] if self.draw(st.booleans()) else self.draw(st.sampled_from(found))

    def other(self, x: Tensor) -> Tensor | float:
        """A second operand: a weight of any of the shapes that are repeated, a number, or a cast."""
        dtype = x.dtype
        match self.draw(st.integers(0, 2)):
            case 0:
                shape = self.draw(st.sampled_from([x.shape, (1, x.shape[1]), (x.shape[0], 1), (1, 1)]))
                values = values_of(self.rng, dtype, shape)
                return self.g.weight(self.g.fresh_name("w"), values, dtype)
            case 1:
                return 3 if dtype in INTEGER_TYPES else 0.75
        alike = [t for t in self.g.tensors.values() if t.shape == x.shape]
        return self.g.cast(self.draw(st.sampled_from(alike)), dtype)

    def step(self) -> None:
        g, draw = self.g, self.draw
        kind = draw(
            st.sampled_from(
                ["binary", "binary", "unary", "cast", "cast", "rescale", "select", "clip", "matmul", "move"]
            )
        )
        if kind == "cast":
            g.cast(self.pick(), draw(st.sampled_from(PLAIN)))
        elif kind == "select":
            x = self.pick(NUMBERS)
            g.select(g.less(x, self.other(x)), x, self.other(x))
        elif kind == "move":
            x = self.pick()
            g.concat([x, x], axis=1)
        elif kind == "matmul":
            a = self.pick(frozenset(NAME[a] for a, _ in PAIRS))
            of = draw(st.sampled_from([NAME[b] for of_a, b in PAIRS if NAME[of_a] == a.dtype]))
            w = g.weight(g.fresh_name("w"), values_of(self.rng, of, (a.shape[1], 9)), of)
            narrow = {"scale": 1e-4, "narrow": draw(st.sampled_from(["int8", "uint8"]))} if draw(st.booleans()) else {}
            g.matmul(a, w, **(narrow if a.dtype in INTEGER_TYPES else {}))
        elif kind == "rescale":
            x = self.pick(NUMBERS)
            factor = draw(st.sampled_from([0.5, 1 / 3, np.float32(self.rng.random((1, x.shape[1])))]))
            given = factor if isinstance(factor, float) else g.weight(g.fresh_name("w"), factor)
            g.rescale(x, given, draw(st.sampled_from(sorted(NUMBERS))))
        else:
            self.compute(kind, self.pick(NUMBERS))

    def compute(self, kind: str, x: Tensor) -> None:
        g, draw = self.g, self.draw
        if kind == "unary":
            getattr(g, draw(st.sampled_from(UNARY)))(x)
        elif kind == "clip":
            g.clip(x, 1, 100)
        else:
            method = draw(st.sampled_from(BINARY))
            exponents = method == "pow" and x.dtype in INTEGER_TYPES
            getattr(g, method)(x, draw(st.sampled_from([0, 1, 2, 3, 5])) if exponents else self.other(x))


@st.composite
def mixed_graphs(draw: st.DrawFn) -> Graph:
    """Elementwise operations, conversions, matmuls, reductions and movements on tensors of all types."""
    mixed = _Mixed(draw)
    for _ in range(draw(st.integers(1, 6))):
        mixed.step()
    g = mixed.g
    read = {name for node in g.nodes for name in node.present}
    for tensor in list(g.tensors.values()):
        if not tensor.is_weight and tensor.name not in read and tensor.name not in g.inputs:
            g.output(tensor)
    return g
