"""How ONNX's products of integers enter the graph: MatMulInteger, ConvInteger, QLinearMatMul, QLinearConv, QGemm.

Of integers that stand for (q - z) s the array multiplies the q alone. With constant weights the zero point of the other
operand is a part of the int32 bias, -z times the sum of each filter; a zero point of weights is subtracted from them
here where int8 or uint8 still holds them, and else corrected by the sums of the other operand's rows. Padding stands
for 0, so it is the zero point. Sums become narrow integers in the array's epilogue, if one factor without a zero point
does it, and else in the vector unit (Requantize): saturate(round(float32(sum) x s) + z), s = (sx sw) / sy in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from minisim.compiler.graph import Tensor
from minisim.compiler.ops.base import OnnxContext, OnnxNode, onnx_import
from minisim.compiler.ops.onnx_conv import window
from minisim.compiler.ops.quantization import integer_type, type_of
from minisim.compiler.values import materialised
from minisim.errors import ShapeError, UnsupportedError

Array = npt.NDArray[Any]
Zero = int | Tensor
"""A zero point: a number, or computed, in int32."""

BYTES = ("int8", "uint8")
OF_CONVOLUTIONS = ["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"]


@dataclass(frozen=True)
class Narrow:
    """What int32 sums become: `dtype`, by a factor (or one for each column) and a zero point."""

    factor: npt.NDArray[np.float32]
    zero: int
    dtype: str

    def finish(
        self, context: OnnxContext, name: str, multiply: Callable[..., Tensor], after: Callable[[Tensor], Tensor] | None
    ) -> Tensor:
        """The sums that `multiply` makes, with what comes `after`, narrow; by the array itself if it can."""
        graph, factor = context.graph, self.factor.reshape(-1)
        uniform = bool(np.all(factor == factor[0]))
        if after is None and uniform and self.zero == 0 and self.dtype in BYTES and 0 < factor[0] < np.inf:
            return multiply(name=name, scale=float(factor[0]), narrow=self.dtype)
        sums = multiply(name=f"{name}/sums")
        if after is not None:
            sums = after(sums)
        factors = graph.weight(graph.fresh_name(f"{name}/factor"), factor[:1] if uniform else factor)
        return graph.requantize(sums, factors, float(self.zero), self.dtype, name=name)


@onnx_import("MatMulInteger")
def import_matmul_integer(context: OnnxContext, node: OnnxNode) -> Tensor:
    """int32 sums of (a - za)(b - zb)."""
    a, b, za, zb = (*node.inputs, "", "")[:4]
    return _matmul(context, node, a, b, za, zb, None)


@onnx_import("QLinearMatMul")
def import_qlinear_matmul(context: OnnxContext, node: OnnxNode) -> Tensor:
    a, sa, za, b, sb, zb, sy, zy = node.inputs
    return _matmul(context, node, a, b, za, zb, _narrow(context, (sa, sb), sy, zy))


@onnx_import("com.microsoft::QGemm", attributes=["alpha", "transA", "transB"], needs=(0, 1, 2, 3, 4, 5),
             most_inputs=9)  # fmt: skip
def import_qgemm(context: OnnxContext, node: OnnxNode) -> Tensor:
    """A matmul with a bias in int32; b may be stored transposed."""
    a, sa, za, b, sb, zb, bias, sy, zy = (*node.inputs, *[""] * 9)[:9]
    if node.attrs.get("transA", 0) or float(node.attrs.get("alpha", 1.0)) != 1.0 or not sy:
        raise UnsupportedError("transA must be 0, alpha 1, and y quantised")
    narrow = _narrow(context, (sa, sb), sy, zy)
    return _matmul(context, node, a, b, za, zb, narrow, bias, transposed=bool(node.attrs.get("transB", 0)))


@onnx_import("ConvInteger", attributes=OF_CONVOLUTIONS)
def import_conv_integer(context: OnnxContext, node: OnnxNode) -> Tensor:
    """int32 sums of (x - zx)(w - zw)."""
    x, w, zx, zw = (*node.inputs, "", "")[:4]
    return _conv(context, node, x, w, zx, zw, None)


@onnx_import("QLinearConv", attributes=OF_CONVOLUTIONS)
def import_qlinear_conv(context: OnnxContext, node: OnnxNode) -> Tensor:
    x, sx, zx, w, sw, zw, sy, zy, bias = (*node.inputs, "")[:9]
    return _conv(context, node, x, w, zx, zw, _narrow(context, (sx, sw), sy, zy), bias)


# -- matmuls ---------------------------------------------------------------------------------------------


def _matmul(
    context: OnnxContext, node: OnnxNode, a_name: str, b_name: str, za_name: str, zb_name: str,
    narrow: Narrow | None, bias_name: str = "", *, transposed: bool = False,
) -> Tensor:  # fmt: skip
    graph, a, given = context.graph, context.value(a_name), context.constant(b_name)
    za = _zero(context, za_name)
    zb: Zero | Array | None
    later: list[Callable[[Tensor], Tensor]] = []
    bias = _constant(context, bias_name, "the bias").reshape(-1) if bias_name else None
    if given is None:
        if transposed:
            raise UnsupportedError("b must be constant where it is stored transposed")
        b, zb, columns = context.value(b_name), _zero(context, zb_name) or None, None
        _check(a.dtype, b.dtype, a.shape, b.shape)
    else:
        values = _constant(context, b_name, "b")
        of_b = type_of(context, b_name)
        _check(a.dtype, of_b, a.shape, values.shape)
        values = values.T if transposed else values
        b, shifted, zb = integer_weights(context, b_name, values, _constant_zero(context, zb_name, "b"), of_b)
        columns = shifted.sum(axis=-2)
        if isinstance(za, int) and columns.ndim == 1 and za:
            bias = (0 if bias is None else bias) - za * columns
            za = 0
    k = a.shape[-1]
    if (left := zb) is not None:
        later.append(lambda sums: _less(context, node, sums, left, graph.matmul(a, ones(context, node, (k, 1)))))
    if isinstance(za, Tensor) or za:
        if columns is not None:
            of_columns = graph.weight(graph.fresh_name(f"{node.name}/columns"), _int32(columns)[..., None, :], "int32")
        else:
            of_columns = graph.matmul(ones(context, node, (1, k)), b)
        later.append(lambda sums: _less(context, node, sums, za, of_columns))
        if columns is None and zb is not None:
            both = graph.mul(_as_tensor(context, node, za), _as_tensor(context, node, zb))
            later.append(lambda sums: graph.add(sums, graph.mul(both, _as_tensor(context, node, k))))
    of_bias = None if bias is None else graph.weight(graph.fresh_name(f"{node.name}/bias"), _int32(bias), "int32")

    def multiply(**how: Any) -> Tensor:
        return graph.matmul(a, b, bias=of_bias, **how)

    return _finished(context, node.name, multiply, later, narrow)


def _check(a: str, b: str, of_a: Sequence[int], of_b: Sequence[int]) -> None:
    if a not in BYTES or b not in BYTES:
        raise UnsupportedError(f"operands must be int8 or uint8, not {a} and {b}")
    if len(of_a) < 2 or len(of_b) < 2:
        raise ShapeError(f"operands must have two dimensions at least, not shapes {tuple(of_a)} and {tuple(of_b)}")


# -- convolutions ----------------------------------------------------------------------------------------


def _conv(
    context: OnnxContext, node: OnnxNode, x_name: str, w_name: str, zx_name: str, zw_name: str,
    narrow: Narrow | None, bias_name: str = "",
) -> Tensor:  # fmt: skip
    graph, x, zx = context.graph, context.value(x_name), _zero(context, zx_name)
    values = _constant(context, w_name, "the filters")
    of_w = type_of(context, w_name)
    if x.dtype not in BYTES or of_w not in BYTES:
        raise UnsupportedError(f"operands must be int8 or uint8, not {x.dtype} and {of_w}")
    if len(x.shape) not in (3, 4) or values.ndim != len(x.shape):
        raise UnsupportedError(
            f"{node.op_type} in one or two dimensions is supported, not of {x.shape} and {values.shape}"
        )
    dims, groups = len(x.shape) - 2, int(node.attrs.get("group", 1))
    strides, dilations, pads = window(node, x.shape[2:], values.shape[2:])
    filters = values.transpose((*range(2, dims + 2), 1, 0))
    filters = filters[None] if dims == 1 else filters
    zero = _constant_zero(context, zw_name, "the filters")
    w, shifted, zw = integer_weights(context, w_name, filters, zero, of_w)
    images = graph.transpose(x, (0, *range(2, dims + 2), 1), name=f"{node.name}/in")
    bias = _constant(context, bias_name, "the bias").reshape(-1) if bias_name else None
    later: list[Callable[[Tensor], Tensor]] = []
    if isinstance(zx, int):
        if zx:
            bias = (0 if bias is None else bias) - zx * shifted.sum(axis=(0, 1, 2))
        if zx and any(pads) and min(pads) >= 0:
            sides = [(pads[0], pads[2]), (pads[1], pads[3])][2 - dims :]
            images = graph.pad(images, [(0, 0), *sides, (0, 0)], value=zx, name=f"{node.name}/padded")
            pads = (0, 0, 0, 0)
    else:
        computed, size = zx, (1, *x.shape[2:])[-2:]

        def less_covered(sums: Tensor) -> Tensor:
            covered = _covered(shifted, size, strides, dilations, pads).reshape((1, *sums.shape[1:]))
            of_filters = graph.weight(graph.fresh_name(f"{node.name}/covered"), _int32(covered), "int32")
            return _less(context, node, sums, computed, of_filters)

        later.append(less_covered)
    how: dict[str, Any] = {"strides": strides, "dilations": dilations, "pads": pads, "groups": groups}
    if (left := zw) is not None:
        all_taps = ones(context, node, (*shifted.shape[:3], shifted.shape[3] if groups > 1 else 1))
        later.append(lambda sums: _less(context, node, sums, left, graph.conv2d(images, all_taps, **how)))
    of_bias = None if bias is None else graph.weight(graph.fresh_name(f"{node.name}/bias"), _int32(bias), "int32")

    def multiply(**more: Any) -> Tensor:
        return graph.conv2d(images, w, bias=of_bias, **how, **more)

    y = _finished(context, f"{node.name}/nhwc", multiply, later, narrow)
    return graph.transpose(y, (0, dims + 1, *range(1, dims + 1)), name=node.name)


def _covered(
    w: Array, size: Sequence[int], strides: Sequence[int], dilations: Sequence[int], pads: Sequence[int]
) -> Array:
    """For each pixel of the output the sum of each filter (R, S, channels, filters) over the taps inside the image."""
    inside = []
    for axis in (0, 1):
        taps = w.shape[axis]
        reach = (taps - 1) * dilations[axis] + 1
        count = max(0, (size[axis] + pads[axis] + pads[axis + 2] - reach) // strides[axis] + 1)
        at = np.arange(count)[:, None] * strides[axis] + np.arange(taps) * dilations[axis] - pads[axis]
        inside.append(((at >= 0) & (at < size[axis])).astype(np.int64))
    return np.asarray(np.einsum("yr,xs,rsf->yxf", *inside, w.sum(axis=2)))


# -- what they share -------------------------------------------------------------------------------------


def _finished(
    context: OnnxContext,
    name: str,
    multiply: Callable[..., Tensor],
    later: Sequence[Callable[[Tensor], Tensor]],
    narrow: Narrow | None,
) -> Tensor:
    def after(sums: Tensor) -> Tensor:
        for correct in later:
            sums = correct(sums)
        return sums

    if narrow is not None:
        return narrow.finish(context, name, multiply, after if later else None)
    return after(multiply(name=f"{name}/sums" if later else name))


def _less(context: OnnxContext, node: OnnxNode, sums: Tensor, zero: Zero | Array, of: Tensor) -> Tensor:
    """sums - zero x of, in int32."""
    graph = context.graph
    return graph.sub(sums, graph.mul(of, _as_tensor(context, node, zero)))


def _as_tensor(context: OnnxContext, node: OnnxNode, zero: Zero | Array) -> Tensor:
    if isinstance(zero, Tensor):
        return zero
    graph = context.graph
    return graph.weight(graph.fresh_name(f"{node.name}/zero"), _int32(np.asarray(zero)), "int32")


def ones(context: OnnxContext, node: OnnxNode, shape: tuple[int, ...]) -> Tensor:
    return context.graph.weight(context.graph.fresh_name(f"{node.name}/ones"), np.ones(shape, np.int8), "int8")


def integer_weights(
    context: OnnxContext, name: str, values: Array, zero: Array, dtype: str
) -> tuple[Tensor, Array, Array | None]:
    """The weight, the values that it stands for (less the zero point of each column), and what zero point is left."""
    if not values.size:
        raise ShapeError(f"weights must have elements, not shape {values.shape}")
    columns = int(np.prod(zero.shape))
    if columns not in (1, values.shape[-1]):
        raise ShapeError(f"the zero point must be one number, or one for each of {values.shape[-1]}, not {zero.shape}")
    zero = zero.reshape(-1)
    shifted = values - zero
    for narrow in dict.fromkeys((dtype, *BYTES)):
        limits = np.iinfo(narrow)
        if limits.min <= shifted.min() and shifted.max() <= limits.max:
            return context.weight(name, shifted.astype(narrow), narrow), shifted, None
    return context.weight(name, values.astype(dtype), dtype), shifted, zero


def _int32(values: Array) -> npt.NDArray[np.int32]:
    """As the sums are: the lowest 32 bits."""
    return np.asarray(values).astype(np.int32)


def _constant(context: OnnxContext, name: str, what: str) -> Array:
    values = materialised(context.constant(name))
    if values is None:
        raise UnsupportedError(f"{what} must be constant")
    return values.astype(np.int64)


def _constant_zero(context: OnnxContext, name: str, what: str) -> Array:
    return _constant(context, name, f"the zero point of {what}") if name else np.zeros(1, np.int64)


def _zero(context: OnnxContext, name: str) -> Zero:
    """The zero point of an operand as a whole."""
    if not name:
        return 0
    values = materialised(context.constant(name))
    shape = context.value(name).shape if values is None else values.shape
    if math.prod(shape) != 1:
        raise UnsupportedError(
            f"the zero point of an operand that is no constant weight must be one number, not {shape}"
        )
    if values is not None:
        return int(values.reshape(-1)[0])
    return context.graph.cast(context.value(name), "int32")


def _narrow(context: OnnxContext, factors: Sequence[str], scale: str, zero: str) -> Narrow:
    """The scales of the operands and of the result as one factor, each step in float32, as ONNX Runtime has them."""
    found = []
    for name in (*factors, scale):
        values = materialised(context.constant(name))
        if values is None:
            raise UnsupportedError("scales must be constant")
        found.append(values.astype(np.float32).reshape(-1))
    of_a, of_b, of_y = found
    if of_a.size != 1 or of_y.size != 1:
        raise UnsupportedError("only weights may have more than one scale")
    number = _constant_zero(context, zero, "the result").reshape(-1)
    if number.size != 1:
        raise UnsupportedError("the result must have one zero point")
    return Narrow((of_a * of_b) / of_y, int(number[0]), integer_type(context, [zero], "uint8"))
