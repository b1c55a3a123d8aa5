"""Weights of 4 bits in an ONNX file: a DequantizeLinear of constants in blocks, and its transpose.

It is not computed as other constants are: a matmul may read it in its blocks (`compiler/blocked.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from minisim.compiler.blocked import Blocked, Form, Parts
from minisim.compiler.dtypes import FLOATS
from minisim.compiler.frontend.onnx_constants import Constant
from minisim.compiler.ops.base import OnnxNode
from minisim.compiler.values import Array
from minisim.hwmodel.packing import MIDDLE

BITS = ("int4", "uint4")


def blocked_weight(node: OnnxNode, operands: Mapping[str, Constant]) -> Constant | None:
    """What the node makes of constants if that is a matrix of weights of 4 bits in blocks; else None.

    Args:
        operands: the node's, by name.
    """
    if not node.inputs or node.inputs[0] not in operands:
        return None
    x = operands[node.inputs[0]]
    if node.op_type == "Transpose" and isinstance(x.values, Blocked):
        turned = node.attrs.get("perm", [1, 0]) == [1, 0]
        return Constant(x.dtype, x.values.turned()) if turned else None
    if node.op_type != "DequantizeLinear" or x.dtype.name not in BITS or len(node.inputs) < 2:
        return None
    scales = operands[node.inputs[1]]
    zeros = operands[node.inputs[2]] if len(node.inputs) > 2 and node.inputs[2] else None
    return _dequantised(node, x, scales, zeros)


def _dequantised(node: OnnxNode, x: Constant, scales: Constant, zeros: Constant | None) -> Constant | None:
    block, axis = int(node.attrs.get("block_size", 0)), int(node.attrs.get("axis", 1))
    if block < 2 or len(x.shape) != 2 or not -2 <= axis < 2 or int(node.attrs.get("output_dtype", 0)):
        return None
    across = axis % 2 == 1
    wanted = [*x.shape]
    wanted[axis] = -(-wanted[axis] // block)
    fits = scales.shape == tuple(wanted) and (zeros is None or (zeros.shape, zeros.dtype) == (scales.shape, x.dtype))
    if not fits or scales.dtype.name not in FLOATS:
        return None  # onnx says what is wrong with it
    signed = x.dtype.name == "int4"
    form = Form(block, scales.dtype.name, zeros is not None or not signed, across)
    recipe = partial(_parts, x, scales, zeros, MIDDLE if signed else 0, form)
    return Constant(scales.dtype, Blocked((x.shape[0], x.shape[1]), recipe, form, scales.dtype.name))


def _parts(x: Constant, scales: Constant, zeros: Constant | None, offset: int, form: Form) -> Parts:
    """The numbers; those with a sign are counted from 0 on, as they lie in memory."""

    def counted(values: Array) -> Array:
        found = (values.astype(np.int16) + offset).astype(np.uint8)
        return found.T if form.across else found

    of_blocks = scales.array().T if form.across else scales.array()
    if not form.zeros:
        return Parts(counted(x.array()), of_blocks, None)
    zero = np.zeros(of_blocks.shape, np.uint8) if zeros is None else counted(zeros.array())
    return Parts(counted(x.array()), of_blocks, zero)
