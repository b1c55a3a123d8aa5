"""What a bfloat16 or int8 graph computes, bit for bit, found without the compiler's lowering or tiles; and such graphs.

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
from minisim.compiler.graph import Node
from minisim.compiler.ops import OPERATORS
from support.machines import machines
from support.oracle import (
    MOVES,
    chain,
    convolution,
    int8_matmul,
    moved,
    pieces,
    products,
    requantise,
    round_bf16,
    vector_operation,
)

Array = npt.NDArray[Any]

RATES = ("1", "2", "8", "1/2", "1/3")


def evaluate(graph: Graph, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs by public name. Floats are given as float32 arrays; inputs are rounded to their type here."""
    values = {name: t.data for name, t in graph.tensors.items() if t.is_weight and t.data is not None}
    for name, array in inputs.items():
        if name in graph.tensors:
            of = graph.tensors[name].dtype
            values[name] = round_bf16(array) if of == "bfloat16" else np.asarray(array)
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
            rounded = round_bf16 if dtype == "bfloat16" else np.asarray
            if node.op == "DepthwiseConv":
                values[node.output] = _depthwise(node, operands, rounded)
                continue
            of_array = {"MatMul": _matmul, "Conv": _conv}.get(node.op)
            found = of_array(node, operands) if of_array else vector_operation(node, operands, rounded)
            values[node.output] = rounded(found)
    return {public: values[name].reshape(graph.tensors[name].shape) for public, name in graph.outputs.items()}


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
    return int8_matmul(a, b) if a.dtype == np.int8 else engine.matmul(a, b, kernel="reference")


def _finished(y: Array, epilogue: list[Array], attributes: EpilogueAttributes) -> Array:
    """What the epilogue makes of sums."""
    activation = str(attributes.activation)
    if y.dtype == np.int32:
        for bias in epilogue:
            total = y.astype(np.int64) + bias.reshape(-1)
            y = ((total + 2**31) % 2**32 - 2**31).astype(np.int32)
        y = np.maximum(y, 0) if activation == "ReLU" else y
        return y if attributes.scale is None else requantise(y, attributes.scale)
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
    return [y] if y.dtype == "int8" else []


def int8_inputs(graph: Graph, seed: int) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {name: rng.integers(-128, 128, graph.tensors[name].shape, dtype=np.int8) for name in graph.inputs}
