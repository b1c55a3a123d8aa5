"""What a graph computes, bit for bit, found without the compiler, the schedule or tiles.

Matmuls and elementwise operations are `minisim._engine`'s scalar reference kernel on whole arrays; all else is numpy
in float32, one rounded operation each. `exact_matmul` in turn is independent of the engine: exact rational arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from minisim import Graph
from minisim import _engine as engine
from minisim.compiler.attributes import (
    AppendAttributes,
    AttentionAttributes,
    ConcatAttributes,
    ConvAttributes,
    InterleaveAttributes,
    MatMulAttributes,
    NeighbourAttributes,
    PoolAttributes,
    ReshapeAttributes,
    SplitAttributes,
    TakeAttributes,
    TransposeAttributes,
)
from minisim.compiler.graph import Node
from minisim.compiler.ops import OPERATORS
from minisim.compiler.ops.elementwise import Elementwise
from minisim.compiler.passes.attend import Attend
from minisim.hwmodel.isa import VectorOp

F32 = np.float32
Array = npt.NDArray[np.float32]
MatMul = Callable[[Array, Array], Array]

NAN = np.array(0x7FC00000, np.uint32).view(np.float32)
"""The one NaN that operations give."""


def evaluate(graph: Graph, inputs: Mapping[str, Array], matmul: MatMul | None = None) -> dict[str, Array]:
    """The outputs of an unfused `graph`, by public name. `matmul`: the engine's reference if not given."""
    graph = Attend().apply(graph)
    weights = {name: tensor.data for name, tensor in graph.tensors.items() if tensor.data is not None}
    values: dict[str, Array] = {**weights, **inputs}
    with np.errstate(all="ignore"):
        for node in graph.nodes:
            operands = [values[i] for i in node.present]
            if node.op == "Split":
                values.update(pieces(node, operands[0]))
            elif node.op == "Conv":
                filters = filters_of(node, graph, values)
                values[node.output] = _one_nan(convolution(node, operands[0], filters, matmul or _reference))
            else:
                values[node.output] = _apply(node, operands, matmul or _reference)
    return {public: values[name].reshape(graph.tensors[name].shape) for public, name in graph.outputs.items()}


def filters_of(node: Node, graph: Graph, values: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """The filters of a convolution as the author of the model gave them, (R, S, channels, filters).

    The graph has a constant a second time, laid out by the compiler, under the name of the first and ``.k``.
    """
    name = node.present[1]
    attributes = node.attributes_as(ConvAttributes)
    given = values[name.removesuffix(".k")] if name.endswith(".k") else values[name]
    return given.reshape(*attributes.kernel, -1, given.shape[-1])


def chain(r: int, s: int, channels: int) -> list[tuple[int, ...]]:
    """(r, s, channel) in the order in which they are summed up."""
    return sorted(np.ndindex(r, s, channels), key=lambda k: (k[2] // 32, k[0], k[1], k[2] % 32))


def convolution(node: Node, x: npt.NDArray[Any], w: npt.NDArray[Any], matmul: Callable[..., Any]) -> npt.NDArray[Any]:
    """Each output a chain over (channel div 32, r, s, channel mod 32), padding as zeros that are multiplied, too; the
    zeros between the pixels of a transposed one are not."""
    attributes = node.attributes_as(ConvAttributes)
    images = x if x.ndim == 4 else x[:, None]
    (kernel_r, kernel_s) = attributes.kernel
    read, lines, columns = (transposed_taps if attributes.transposed else taps)(attributes, images)
    per_group, filters = w.shape[2], w.shape[3] // attributes.groups
    order = chain(kernel_r, kernel_s, per_group)
    y = np.zeros((len(x), lines, columns, w.shape[3]), np.int32 if x.dtype.kind in "iu" else F32)
    for where, mine in chains(attributes, order, lines, columns):
        for g in range(attributes.groups):
            of_group = slice(g * filters, (g + 1) * filters)
            a = np.stack([read(r, s)[:, *where, g * per_group + c].reshape(-1) for r, s, c in mine], axis=1)
            b = np.stack([w[..., of_group][k] for k in mine])
            part = y[:, *where, of_group]
            part[:] = matmul(np.ascontiguousarray(a), np.ascontiguousarray(b)).reshape(part.shape)
    return y if x.ndim == 4 else y[:, 0]


def chains(
    attributes: ConvAttributes, order: list[tuple[int, ...]], lines: int, columns: int
) -> Iterator[tuple[tuple[slice, slice], list[tuple[int, ...]]]]:
    """Pixels of the output, and the elements of `order` that their chains have: all; of a transposed convolution those
    at whose tap no inserted zero is read."""
    if not attributes.transposed:
        yield (slice(None), slice(None)), order
        return
    (down, across), (by_r, by_s) = attributes.strides, attributes.dilations
    top, left, _, _ = attributes.pads
    for a, b in np.ndindex(min(down, lines), min(across, columns)):
        mine = [k for k in order if (a + top - k[0] * by_r) % down == 0 == (b + left - k[1] * by_s) % across]
        if mine:
            yield (slice(a, None, down), slice(b, None, across)), mine


Taps = tuple[Callable[[int, int], npt.NDArray[Any]], int, int]
"""What a kernel reads at line r and column s, an image for each image; and the lines and columns of those."""


def taps(attributes: ConvAttributes, images: npt.NDArray[Any]) -> Taps:
    """Every stride-th pixel of the padded images."""
    top, left, bottom, right = attributes.pads
    padded = np.pad(images, ((0, 0), (top, bottom), (left, right), (0, 0)))
    (kernel_r, kernel_s), (down, across), (by_r, by_s) = attributes.kernel, attributes.strides, attributes.dilations
    lines = range(0, padded.shape[1] - (kernel_r - 1) * by_r, down)
    columns = range(0, padded.shape[2] - (kernel_s - 1) * by_s, across)

    def read(r: int, s: int) -> npt.NDArray[Any]:
        return padded[:, np.add(lines, r * by_r)][:, :, np.add(columns, s * by_s)]

    return read, len(lines), len(columns)


def transposed_taps(attributes: ConvAttributes, images: npt.NDArray[Any]) -> Taps:
    """The images with zeros between their pixels and around them, shifted by the tap; pads are cut off."""
    top, left, bottom, right = attributes.pads
    (down, across), (by_r, by_s) = attributes.strides, attributes.dilations
    count, height, width, channels = images.shape
    size_r, size_s = ((k - 1) * d + 1 for k, d in zip(attributes.kernel, attributes.dilations, strict=True))
    wide = ((height - 1) * down + size_r + max(0, -bottom), (width - 1) * across + size_s + max(0, -right))
    lines, columns = ((height - 1) * down + size_r - bottom - top, (width - 1) * across + size_s - right - left)

    def read(r: int, s: int) -> npt.NDArray[Any]:
        canvas = np.zeros((count, *wide, channels), images.dtype)
        canvas[:, r * by_r :: down, s * by_s :: across][:, :height, :width] = images
        before = np.pad(canvas, ((0, 0), (max(0, -top), 0), (max(0, -left), 0), (0, 0)))
        return before[:, max(0, top) :, max(0, left) :][:, :lines, :columns]

    return read, lines, columns


def pieces(node: Node, x: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
    """The outputs of a Split, by name, one element after the other."""
    attributes, found, begin = node.attributes_as(SplitAttributes), {}, 0
    for name, size in zip(node.outputs, attributes.sizes, strict=True):
        found[name] = np.take(x, range(begin, begin + size), axis=attributes.axis)
        begin += size
    return found


def _apply(node: Node, inputs: list[Array], matmul: MatMul) -> Array:
    if node.op == "MatMul":
        return _one_nan(_matmul(node, *inputs, matmul=matmul))
    if node.op == "Attention":
        return attention(node, inputs, _one_nan, matmul, "float32")
    if node.op in MOVES:
        return moved(node, inputs)
    return vector_operation(node, inputs, _one_nan)


def vector_operation(node: Node, inputs: list[Array], rounded: Callable[[Array], Array]) -> Array:
    """What the vector unit computes; `rounded` is what becomes of each float32 result where it is stored."""
    x, operator = inputs[0], OPERATORS.get(node.op)  # a view has none
    if node.op == "Relu" and x.dtype.kind == "i":
        return rounded(np.maximum(x, 0))
    if isinstance(operator, Elementwise):
        sources = [np.ascontiguousarray(each, dtype=F32) for each in np.broadcast_arrays(*inputs)]
        found = engine.vector(operator.code, sources, "reference")
        truth = operator.code.result == "c" or operator.code.types == ("BOOL",)
        return found != 0 if truth else rounded(found)
    match node.op:
        case "ReduceSum":
            return rounded(reduce_rows(x, adds=True))
        case "ReduceMax":
            return rounded(reduce_rows(x, adds=False))
        case "ReduceMean":
            return rounded(rounded(reduce_rows(x, adds=True)) / inputs[1])
        case "Softmax":
            e = rounded(_exp(rounded(x - rounded(reduce_rows(x, adds=False)))))
            return rounded(e * rounded(F32(1) / rounded(reduce_rows(e, adds=True))))
        case "LogSoftmax":
            shifted = rounded(x - rounded(reduce_rows(x, adds=False)))
            total = rounded(reduce_rows(rounded(_exp(shifted)), adds=True))
            return rounded(shifted - rounded(engine.vector(VectorOp.LOG, [total], "reference")))
        case "RmsNorm":
            count, epsilon, one, *scale = inputs[1:]
            mean = rounded(rounded(reduce_rows(rounded(x * x), adds=True)) / count)
            y = rounded(x * rounded(one / rounded(np.sqrt(rounded(mean + epsilon)))))
            return rounded(y * scale[0]) if scale else y
        case "LayerNorm":
            return _layer_norm(rounded, *inputs)
        case "MaxPool":
            return rounded(pooled(node, x, -128 if x.dtype.kind == "i" else -np.inf, _greater))
        case "SumPool":
            return rounded(pooled(node, x, 0, np.add))
        case "ChannelSum":
            return rounded(_neighbours(x, node.attributes_as(NeighbourAttributes)))
        case "AveragePool":
            return rounded(rounded(pooled(node, x, 0, np.add)) / inputs[1])
        case "Interleave":
            return interleaved(node, inputs)
        case "Reshape":
            return x.reshape(node.attributes_as(ReshapeAttributes).shape)
    raise NotImplementedError(node.op)


def interleaved(node: Node, inputs: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Each pixel by itself: of which image it is, and which pixel of that."""
    attributes, x = node.attributes_as(InterleaveAttributes), inputs[0]
    (lines, columns), (down, across) = attributes.size, attributes.strides
    images = [each if each.ndim == 4 else each[:, None] for each in inputs]
    y = np.empty((len(x), lines, columns, x.shape[-1]), x.dtype)
    for line, column in np.ndindex(lines, columns):
        which = line % down * min(across, columns) + column % across
        y[:, line, column] = images[which][:, line // down, column // across]
    return y if x.ndim == 4 else y[:, 0]


def pooled(
    node: Node, x: npt.NDArray[Any], padding: float, combine: Callable[..., npt.NDArray[Any]]
) -> npt.NDArray[Any]:
    """What lies under a kernel, line by line, each tap taken in by `combine`; a chain that begins with the padding."""
    attributes = node.attributes_as(PoolAttributes)
    top, left, bottom, right = attributes.pads
    images = x if x.ndim == 4 else x[:, None]
    whole = np.pad(images, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=padding)
    (kernel_r, kernel_s), (by_r, by_s) = attributes.kernel, attributes.dilations
    lines = np.arange(0, whole.shape[1] - (kernel_r - 1) * by_r, attributes.strides[0])
    columns = np.arange(0, whole.shape[2] - (kernel_s - 1) * by_s, attributes.strides[1])
    found = np.full((len(x), len(lines), len(columns), x.shape[-1]), padding, x.dtype)
    for r, s in np.ndindex(kernel_r, kernel_s):
        found = combine(found, whole[:, lines + r * by_r][:, :, columns + s * by_s])
    return found if x.ndim == 4 else found[:, 0]


def _neighbours(x: Array, attributes: NeighbourAttributes) -> Array:
    """A chain over the channels of each one's window, from the first on."""
    found = np.zeros_like(x)
    for shift in range(-attributes.before, attributes.behind + 1):
        for c in range(max(0, -shift), min(x.shape[-1], x.shape[-1] - shift)):
            found[..., c] += x[..., c + shift]
    return found


def _greater(x: npt.NDArray[Any], y: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.maximum(x, y) if x.dtype.kind == "i" else maximum(x, y)


MOVES = ("Transpose", "Concat", "Take", "Append")


def moved(node: Node, inputs: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Element by element: for each index of the output, the operand's that it comes from."""
    x = inputs[0]
    if node.op == "Transpose":
        perm = node.attributes_as(TransposeAttributes).perm
        y = np.empty([x.shape[axis] for axis in perm], x.dtype)
        for index in np.ndindex(*y.shape):
            y[index] = x[tuple(index[perm.index(axis)] for axis in range(x.ndim))]
        return y
    if node.op == "Append":
        return np.array([*x[: node.attributes_as(AppendAttributes).held], *inputs[1]])
    if node.op == "Concat":
        axis = node.attributes_as(ConcatAttributes).axis
        rolled = [np.moveaxis(each, axis, 0) for each in inputs]
        return np.ascontiguousarray(np.moveaxis(np.array([row for each in rolled for row in each]), 0, axis))
    attributes = node.attributes_as(TakeAttributes)
    numbers = [
        [None if run.begin is None else run.begin + i * run.step for run in runs for i in range(run.length)]
        for runs in attributes.runs
    ]
    y = np.empty([len(each) for each in numbers], x.dtype)
    for index in np.ndindex(*y.shape):
        of = [each[i] for each, i in zip(numbers, index, strict=True)]
        y[index] = attributes.fill if None in of else x[tuple(of)]
    return y


def _exp(x: Array) -> Array:
    return engine.exp(np.ascontiguousarray(x), kernel="reference")


def _layer_norm(
    rounded: Callable[[Array], Array], x: Array, count: Array, epsilon: Array, one: Array, *affine: Array
) -> Array:
    centred = rounded(x - rounded(rounded(reduce_rows(x, adds=True)) / count))
    variance = rounded(rounded(reduce_rows(rounded(centred * centred), adds=True)) / count)
    y = rounded(centred * rounded(one / rounded(np.sqrt(rounded(variance + epsilon)))))
    if affine:
        y = rounded(y * affine[0])
    return rounded(y + affine[1]) if len(affine) > 1 else y


def _matmul(node: Node, a: Array, b: Array, *, matmul: MatMul) -> Array:
    return products(node.attributes_as(MatMulAttributes), a, b, matmul)


def products(
    attributes: MatMulAttributes, a: npt.NDArray[Any], b: npt.NDArray[Any], matmul: Callable[[Any, Any], Any]
) -> npt.NDArray[Any]:
    """`matmul` of each pair of matrices of a and b, whose leading dimensions are broadcast; or of heads."""
    if attributes.a_heads or attributes.b_heads or attributes.joins:
        left = np.split(a, attributes.a_heads, axis=1) if attributes.a_heads else list(a)
        right = np.split(b, attributes.b_heads, axis=1) if attributes.b_heads else list(b)
        plain = MatMulAttributes(transpose_a=attributes.transpose_a, transpose_b=attributes.transpose_b)
        group = len(left) // len(right)
        heads = [products(plain, x, right[i // group], matmul) for i, x in enumerate(left)]
        return np.concatenate(heads, axis=1) if attributes.joins else np.stack(heads)
    a = np.swapaxes(a, -1, -2) if attributes.transpose_a else a
    b = np.swapaxes(b, -1, -2) if attributes.transpose_b else b
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    left = np.broadcast_to(a, (*batch, *a.shape[-2:])) if a.ndim > 1 else np.broadcast_to(a, (*batch, 1, a.size))
    right = np.broadcast_to(b, (*batch, *b.shape[-2:]))
    found = [
        matmul(np.ascontiguousarray(left[index]), np.ascontiguousarray(right[index])) for index in np.ndindex(batch)
    ]
    return np.array(found).reshape(*batch, *a.shape[-2:-1], b.shape[-1])


LOWEST = {"float32": float(np.finfo(F32).min), "bfloat16": -float(2**128 - 2**120), "float16": -65504.0}
"""The lowest number of each type of floats."""


def attention(
    node: Node, inputs: list[Array], rounded: Callable[[Array], Array], matmul: Callable[..., Any], dtype: str
) -> Array:
    """Block by block of 256 keys: weights by the greatest score and the sum so far, times the values of the block; and
    what there was before, by its share."""
    attributes = node.attributes_as(AttentionAttributes)
    q, k, v = inputs[:3]
    scores = rounded(products(attributes.scores, q, k, matmul))
    shape = scores.shape
    for step in attributes.steps:
        operands = [scores.reshape(step.shape) if place < 0 else inputs[place] for place in step.operands]
        sources = [np.ascontiguousarray(each, dtype=F32) for each in np.broadcast_arrays(*operands)]
        scores = rounded(engine.vector(OPERATORS[step.op].code, sources, "reference"))
    scores = scores.reshape(shape)
    of_heads = replace(attributes.products, joins=False)
    keys_last = of_heads.transpose_b
    greatest, total, y = np.full((*shape[:-1], 1), LOWEST[dtype], F32), np.zeros((*shape[:-1], 1), F32), None
    for first in range(0, shape[-1], 256):
        block, values = scores[..., first : first + 256], v[..., first : first + 256, :]
        if keys_last:
            values = v[..., first : first + 256] if not of_heads.b_heads else _columns(v, of_heads.b_heads, first)
        higher = rounded(maximum(rounded(reduce_rows(block, adds=False)), greatest))
        e = rounded(_exp(rounded(block - higher)))
        added = rounded(reduce_rows(e, adds=True))
        kept = rounded(total * rounded(_exp(rounded(greatest - higher))))
        total = added if y is None else rounded(kept + added)
        greatest = higher
        divisor = rounded(maximum(total, np.ones_like(total)))
        sums = products(of_heads, rounded(e * rounded(F32(1) / divisor)), values, matmul)
        if y is not None:
            sums = sums + rounded(y * rounded(kept / divisor))
        y = rounded(sums)
    assert y is not None
    return np.concatenate(list(y), axis=1) if attributes.products.joins else y


def _columns(v: Array, heads: int, first: int) -> Array:
    """Keys from number `first` on, of values whose heads lie beside each other, a column for each key."""
    return np.concatenate([part[:, first : first + 256] for part in np.split(v, heads, axis=1)], axis=1)


def _reference(a: Array, b: Array) -> Array:
    return engine.matmul(a, b, kernel="reference")


def _one_nan(x: Array) -> Array:
    return np.where(np.isnan(x), NAN, x)


def bits(x: Array) -> npt.NDArray[np.uint32]:
    return np.ascontiguousarray(x, dtype=F32).view(np.uint32)


# -- reductions -------------------------------------------------------------------------------------


def maximum(x: Array, y: Array) -> Array:
    """NaN if either is, and +0 rather than -0."""
    zeros = np.where(np.signbit(x), y, x)
    return _one_nan(np.where(x == y, zeros, np.maximum(x, y)))


def reduce_row(row: Array, adds: bool) -> Array:
    """The sum or maximum of a row, by 32 partial results and a tree: an array of shape (1,)."""
    combine = np.add if adds else maximum
    partial = np.full(32, -0.0 if adds else -np.inf, F32)
    with np.errstate(all="ignore"):
        for begin in range(0, len(row), 32):
            part = row[begin : begin + 32]
            partial[: len(part)] = combine(partial[: len(part)], part)
        while len(partial) > 1:
            partial = combine(*np.split(partial, 2))
    return _one_nan(partial)


def reduce_rows(x: Array, adds: bool) -> Array:
    """Along the last axis, which becomes 1."""
    rows = x.reshape(-1, x.shape[-1])
    return np.array([reduce_row(row, adds) for row in rows]).reshape(*x.shape[:-1], 1)


# -- exact ------------------------------------------------------------------------------------------


def exact_matmul(a: Array, b: Array) -> Array:
    """Each element one chain of `fma`, k ascending, from zero."""
    product = np.zeros((a.shape[0], b.shape[1]), np.float32)
    for (i, j), _ in np.ndenumerate(product):
        total = 0.0
        for x, y in zip(a[i].tolist(), b[:, j].tolist(), strict=True):
            total = fma(x, y, total)
        product[i, j] = total
    return product


def fma(x: float, y: float, z: float) -> float:
    """x y + z of three float32 values, rounded once to float32, to nearest, ties to even."""
    product = x * y  # two significands of 24 bits: exact in double precision
    if not (math.isfinite(product) and math.isfinite(z)):
        return product + z
    exact = Fraction(product) + Fraction(z)
    return round_float32(exact) if exact else product + z  # the sign of a zero sum is IEEE's


def round_float32(x: Fraction) -> float:
    """The float32 nearest to `x`, which is not zero."""
    exponent = math.frexp(float(x))[1] - 1
    if Fraction(2) ** exponent > abs(x):  # the conversion to double rounded up to a power of two
        exponent -= 1
    quantum = Fraction(2) ** (max(exponent, -126) - 23)
    rounded = round(x / quantum) * quantum  # Fraction rounds half to even
    if abs(rounded) >= 2**128:
        return math.copysign(math.inf, x)
    return math.copysign(float(rounded), x)


# -- other types ------------------------------------------------------------------------------------


def round_bf16(x: npt.ArrayLike) -> Array:
    """The bf16 nearest to each value, ties to even, as float32: 8 bits of significand, fp32's exponents."""
    with np.errstate(all="ignore"):
        wide = np.asarray(x).astype(np.float64)
        exponent = np.frexp(wide)[1] - 1
        quantum = np.ldexp(1.0, np.maximum(exponent, -126) - 7)
        rounded = np.rint(wide / quantum) * quantum  # powers of two: the division is exact
        rounded = np.where(np.abs(rounded) >= 2.0**128, np.copysign(np.inf, wide), rounded)
        return _one_nan(np.where(np.isfinite(wide), rounded, wide).astype(np.float32))


def round_fp16(x: npt.ArrayLike) -> npt.NDArray[np.float16]:
    """The fp16 nearest to each value, ties to even: 11 bits of significand, exponents from -14 to 15."""
    with np.errstate(all="ignore"):
        wide = np.asarray(x).astype(np.float64)
        exponent = np.frexp(wide)[1] - 1
        quantum = np.ldexp(1.0, np.maximum(exponent, -14) - 10)
        rounded = np.rint(wide / quantum) * quantum  # powers of two: the division is exact
        rounded = np.where(np.abs(rounded) >= 2.0**16, np.copysign(np.inf, wide), rounded)
        found = np.where(np.isfinite(wide), rounded, wide).astype(np.float16)  # of what it has: nothing is rounded
        return np.where(np.isnan(found), np.array(0x7E00, np.uint16).view(np.float16), found)


def int8_matmul(
    a: npt.NDArray[Any],
    b: npt.NDArray[Any],
    bias: npt.NDArray[np.int32] | None = None,
    *,
    relu: bool = False,
) -> npt.NDArray[np.int32]:
    """Sums of products modulo 2^32, in int64 (which holds 2^48 of them), then the bias, also modulo 2^32."""
    total = a.astype(np.int64) @ b.astype(np.int64)
    if bias is not None:
        total = total + bias
    wrapped = (total + 2**31) % 2**32 - 2**31
    return (np.maximum(wrapped, 0) if relu else wrapped).astype(np.int32)


def requantise(sums: npt.NDArray[np.int32], scale: float, dtype: npt.DTypeLike = np.int8) -> npt.NDArray[Any]:
    """saturate(round(float32(sum) x scale)): two roundings to fp32, one to an integer, ties to even."""
    with np.errstate(over="ignore"):
        scaled = sums.astype(np.float32) * np.float32(scale)
    low, high = (-128, 127) if dtype == np.int8 else (0, 255)
    return np.clip(np.rint(scaled), low, high).astype(dtype)


def integer_operation(op: VectorOp, sources: list[npt.NDArray[Any]], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """A vector operation on integers, one element after the other in whole numbers of any size; then it wraps around.

    Comparisons are bool.
    """
    shape = np.broadcast_shapes(*(x.shape for x in sources))
    found = np.empty(shape, object)
    for index in np.ndindex(*shape):
        found[index] = INTEGERS[op](*(int(np.broadcast_to(x, shape)[index]) for x in sources))
    return found.astype(bool) if op.result == "c" else _wrapped(found, dtype)


def _wrapped(whole: npt.NDArray[Any], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    limits = np.iinfo(np.dtype(dtype))  # type: ignore[arg-type,type-var,unused-ignore]
    span = int(limits.max) - int(limits.min) + 1
    return np.array((whole - int(limits.min)) % span + int(limits.min)).astype(dtype)


def _quotient(x: int, y: int) -> int:
    """Toward zero; 0 where y is 0."""
    if not y:
        return 0
    return abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)


def _power(x: int, y: int) -> int:
    """Of a negative exponent 1 / x^|y| toward zero."""
    return x**y if y >= 0 else _quotient(1, x**-y)


INTEGERS: dict[VectorOp, Callable[..., int]] = {
    VectorOp.RELU: lambda x: max(x, 0),
    VectorOp.ADD: lambda x, y: x + y,
    VectorOp.SUB: lambda x, y: x - y,
    VectorOp.MUL: lambda x, y: x * y,
    VectorOp.DIV: _quotient,
    VectorOp.POW: _power,
    VectorOp.MAX: max,
    VectorOp.MIN: min,
    VectorOp.CLIP: lambda x, low, high: min(max(x, low), high),
    VectorOp.NEG: lambda x: -x,
    VectorOp.ABS: abs,
    VectorOp.SIGN: lambda x: (x > 0) - (x < 0),
    VectorOp.EQUAL: lambda x, y: x == y,
    VectorOp.LESS: lambda x, y: x < y,
    VectorOp.LESS_OR_EQUAL: lambda x, y: x <= y,
    VectorOp.SELECT: lambda c, x, y: x if c else y,
}
"""What operations of the vector unit are on integers."""


def quantised(op: str, x: npt.NDArray[Any], s: npt.NDArray[Any], z: npt.NDArray[Any], dtype: str) -> npt.NDArray[Any]:
    """QUANTIZE, DEQUANTIZE or REQUANTIZE: each step in double precision, and rounded to float32 from there."""
    one = np.ones((), np.float32)
    with np.errstate(all="ignore"):
        wide, scale, zero = (each.astype(np.float32).astype(np.float64) for each in (x, s, z))
        if op == "Dequantize":
            return converted((wide - zero).astype(np.float32), dtype, s)
        ratio = (wide / scale if op == "Quantize" else wide * scale).astype(np.float32)
        return converted((np.rint(ratio.astype(np.float64)) + zero).astype(np.float32), dtype, one)


def converted(x: npt.NDArray[Any], dtype: str, factor: npt.NDArray[Any] | None = None) -> npt.NDArray[Any]:
    """CAST to the type, or with a `factor` RESCALE; bf16 are float32 arrays, and so is what becomes them."""
    with np.errstate(all="ignore"):
        if factor is not None:
            x = x.astype(np.float32) * factor
        if dtype == "bfloat16":
            return round_bf16(x.astype(np.float32))
        if dtype in ("float32", "float16"):
            narrow = x.astype(np.float32)
            return _one_nan(narrow) if dtype == "float32" else round_fp16(narrow)
        if dtype == "bool":
            return x != 0
        if x.dtype.kind != "f":
            return _wrapped(x.astype(object), dtype)
    limits, found = np.iinfo(dtype), np.empty(x.shape, object)
    for index, value in np.ndenumerate(x.astype(np.float64)):
        whole = 0.0 if np.isnan(value) else np.rint(value) if factor is not None else np.trunc(value)
        found[index] = int(min(max(whole, float(limits.min)), float(limits.max)))
    return found.astype(dtype)
