"""How ONNX's elementwise nodes enter the graph. Those that are an operator's of the same name need no word here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minisim.compiler.ops import elementwise
from minisim.compiler.ops.base import OPERATORS, OnnxContext, OnnxNode, onnx_import
from minisim.compiler.values import materialised
from minisim.errors import UnsupportedError

if TYPE_CHECKING:
    from minisim.compiler.graph import Tensor

OTHERS = {"Max", "Pow"}
"""Nodes that are more than an operator, or less."""


def import_same(context: OnnxContext, node: OnnxNode) -> Tensor:
    """The operator of the node's name, on its operands."""
    return context.graph.add_node(node.op_type, [context.value(i) for i in node.inputs], {}, node.name)


SAME = [name for name, op in OPERATORS.items() if isinstance(op, elementwise.Elementwise) and name not in OTHERS]
onnx_import(*SAME)(import_same)


@onnx_import("Pow")
def import_power(context: OnnxContext, node: OnnxNode) -> Tensor:
    exponent = materialised(context.constant(node.inputs[1]))
    if exponent is None or exponent.size != 1 or float(exponent.reshape(-1)[0]) != 2.0:
        raise UnsupportedError("only the constant exponent 2, a square, is supported")
    x = context.value(node.inputs[0])
    if exponent.ndim > len(x.shape):
        raise UnsupportedError(f"an exponent of {exponent.ndim} dimensions, more than the base has, is not supported")
    return context.graph.mul(x, x, name=node.name)


@onnx_import("Max")
def import_max(context: OnnxContext, node: OnnxNode) -> Tensor:
    if len(node.inputs) != 2:
        raise UnsupportedError(f"a maximum of 2 operands is supported, not of {len(node.inputs)}")
    return import_same(context, node)
