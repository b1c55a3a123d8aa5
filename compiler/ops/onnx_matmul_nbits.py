"""How com.microsoft's MatMulNBits enters the graph: a matmul whose weights have 4 bits, in blocks."""

from __future__ import annotations

from functools import partial

import numpy as np

from minisim.compiler.blocked import Blocked, Form, Parts
from minisim.compiler.dtypes import FLOATS
from minisim.compiler.graph import Tensor
from minisim.compiler.ops.base import OnnxContext, OnnxNode, onnx_import
from minisim.compiler.values import Array, Lazy, materialised
from minisim.errors import ShapeError, UnsupportedError


@onnx_import("com.microsoft::MatMulNBits", needs=(0, 1, 2), most_inputs=6,
             attributes=["K", "N", "accuracy_level", "bits", "block_size", "weight_prepacked"])  # fmt: skip
def import_matmul_nbits(context: OnnxContext, node: OnnxNode) -> Tensor:
    """a (..., K) times the transpose of weights (N, K), plus a bias.

    `accuracy_level` lets a processor compute in less than the type of `a`; here it is computed in that.
    """
    a, (_, b, scale, zero, order, bias) = context.value(node.inputs[0]), (*node.inputs, "", "", "")[:6]
    k, n, block = (int(node.attrs.get(name, 0)) for name in ("K", "N", "block_size"))
    if (bits := int(node.attrs.get("bits", 4))) != 4:
        raise UnsupportedError(f"bits must be 4, not {bits}")
    if order or int(node.attrs.get("weight_prepacked", 0)):
        what = "g_idx, the order of its rows, is" if order else "weight_prepacked, an order of a processor's own, is"
        raise UnsupportedError(f"{what} not supported")
    if k < 1 or n < 1 or block < 16 or block & (block - 1):
        raise ShapeError(f"K and N must be from 1, and block_size a power of 2 from 16, not {k}, {n} and {block}")
    count = -(-k // block)
    weights = _constant(context, b, "its weights", (n, count, block // 2), "uint8")
    scales = _constant(context, scale, "its scales", (n, count))
    dtype = context.constant_dtype(scale)
    if dtype is None or dtype != a.dtype or dtype not in FLOATS:
        raise UnsupportedError(f"its first operand and its scales must be of one type, not {a.dtype} and {dtype}")
    zeros = _constant(context, zero, "its zero points", (n, -(-count // 2)), "uint8") if zero else None
    form = Form(block, dtype, zeros is not None, across=True)
    values = Blocked((n, k), partial(_parts, weights, scales, zeros, k), form, dtype)
    w = context.weight(b, values, dtype)
    graph = context.graph
    product = graph.matmul(a, w, transpose_b=True, name=graph.fresh_name(f"{node.name}/matmul") if bias else node.name)
    return graph.add(product, context.value(bias), name=node.name) if bias else product


def _constant(context: OnnxContext, name: str, what: str, shape: tuple[int, ...], dtype: str = "") -> Array | Lazy:
    """The constant of this name, which has as many elements as this shape; it may be written in fewer dimensions."""
    found = context.constant(name)
    if found is None:
        raise UnsupportedError(f"{what} must be constant")
    if dtype and context.constant_dtype(name) != dtype:
        raise UnsupportedError(f"{what} must be {dtype}, not {context.constant_dtype(name)}")
    if np.prod(found.shape) != np.prod(shape):
        raise ShapeError(f"{what} must have the shape {shape}, not {found.shape}")
    return found


def _parts(weights: Array | Lazy, scales: Array | Lazy, zeros: Array | Lazy | None, k: int) -> Parts:
    """The numbers, k down the rows. Two of them are a byte, the first one its lower half."""
    of_scales, packed = materialised(scales), materialised(weights)
    assert of_scales is not None and packed is not None
    n = len(packed)
    of_scales = of_scales.reshape(n, -1)
    zero = materialised(zeros)
    points = None if zero is None else _halves(zero.reshape(n, -1))[:, : of_scales.shape[1]].T
    return Parts(_halves(packed.reshape(n, -1))[:, :k].T, of_scales.T, points)


def _halves(packed: Array) -> Array:
    """The two numbers of each byte, beside each other."""
    return np.stack([packed & 15, packed >> 4], axis=-1).reshape(len(packed), -1)
