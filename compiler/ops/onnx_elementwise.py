"""How ONNX's elementwise nodes enter the graph. Those that are an operator's of the same name need no word here."""

from __future__ import annotations

import math

import numpy as np

from minisim.compiler.dtypes import FLOATS, INTEGERS
from minisim.compiler.graph import Tensor
from minisim.compiler.ops import activations, elementwise, functions, logic
from minisim.compiler.ops.base import OPERATORS, OnnxContext, OnnxNode, onnx_import
from minisim.compiler.values import materialised
from minisim.errors import UnsupportedError

FAMILIES = (elementwise, functions, activations, logic)
"""Imported, so that their operators are known here."""

MORE = {"Max", "Min", "Pow", "Clip", "Gelu", "Elu", "Selu", "Celu", "LeakyRelu", "ThresholdedRelu", "HardSigmoid"}
"""Nodes that are more than the operator of their name: attributes, forms of several opsets, any number of operands."""

OTHERS = {
    *("GeluTanh", "Silu", "Select", "IsInf", "MultiplyAdd"),
    *("Cast", "CastBeyond", "Rescale", "Quantize", "Dequantize", "Requantize"),
}
"""Operators whose names are not ONNX's, or mean something else there; or whose files import them."""


GREATEST = float(np.finfo(np.float32).max)
"""The limit of a Clip that has none: an infinity does not pass it."""


def import_same(context: OnnxContext, node: OnnxNode) -> Tensor:
    """The operator of the node's name, on its operands."""
    return context.graph.add_node(node.op_type, [context.value(i) for i in node.inputs], name=node.name)


SAME = [
    name
    for name, operator in OPERATORS.items()
    if isinstance(operator, elementwise.Elementwise) and name not in MORE | OTHERS
]
onnx_import(*SAME)(import_same)


def _number(node: OnnxNode, attribute: str, default: float) -> float:
    return float(node.attrs.get(attribute, default))


@onnx_import("Pow")
def import_power(context: OnnxContext, node: OnnxNode) -> Tensor:
    """Of two types it is computed in a float, and has that of x. A square is a product, which has the same bits."""
    graph, x, constant = context.graph, context.value(node.inputs[0]), context.constant(node.inputs[1])
    if constant is None or math.prod(constant.shape) != 1 or len(constant.shape) > len(x.shape):
        exponent = context.value(node.inputs[1]) if constant is None else _exponents(context, node.inputs[1], x.dtype)
        return _power(context, node, x, exponent)
    values = materialised(constant)
    assert values is not None
    number = values.reshape(-1)[0].item()
    if number == 2:
        return graph.mul(x, x, name=node.name)
    if x.dtype in INTEGERS and number != int(number):
        return _power(context, node, x, graph.weight(graph.fresh_name(node.inputs[1]), np.asarray(number, np.float32)))
    return graph.pow(x, number, name=node.name)


def _exponents(context: OnnxContext, name: str, dtype: str) -> Tensor:
    """A constant as a weight of a type that x can be raised to."""
    values = materialised(context.constant(name))
    assert values is not None
    if values.dtype.kind not in "iu" or dtype not in INTEGERS:
        return context.weight(name, values.astype(np.float32), "float32" if dtype in INTEGERS else dtype)
    return context.weight(name, values, dtype)


def _power(context: OnnxContext, node: OnnxNode, x: Tensor, exponent: Tensor) -> Tensor:
    graph = context.graph
    if x.dtype == exponent.dtype:
        return graph.pow(x, exponent, name=node.name)
    if x.dtype in FLOATS:
        return graph.pow(x, graph.cast(exponent, x.dtype, name=f"{node.name}/exponent"), name=node.name)
    if exponent.dtype in FLOATS:
        base = graph.cast(x, exponent.dtype, name=f"{node.name}/base")
        return graph.cast(graph.pow(base, exponent, name=f"{node.name}/power"), x.dtype, name=node.name)
    return graph.pow(x, graph.cast(exponent, x.dtype, name=f"{node.name}/exponent"), name=node.name)


@onnx_import("Max", "Min", "Sum", "Mean")
def import_variadic(context: OnnxContext, node: OnnxNode) -> Tensor:
    """Of any number of operands, two by two from the first on; a mean is their sum, divided by how many there are."""
    graph, count = context.graph, len(node.inputs)
    first, *others = (context.value(i) for i in node.inputs)
    op = {"Sum": "Add", "Mean": "Add"}.get(node.op_type, node.op_type)
    found = first
    for i, operand in enumerate(others, start=2):
        last = i == count and node.op_type != "Mean"
        name = node.name if last else graph.fresh_name(f"{node.name}/part")
        found = graph.add_node(op, [found, operand], name=name)
    return graph.div(found, float(count), name=node.name) if node.op_type == "Mean" and others else found


@onnx_import("Clip", attributes=["min", "max"])
def import_clip(context: OnnxContext, node: OnnxNode) -> Tensor:
    """The limits are attributes, or (from opset 11 on) operands that may be left out."""
    x = context.value(node.inputs[0])
    floats = x.dtype in FLOATS
    lowest, highest = (-GREATEST, GREATEST) if floats else (np.iinfo(x.dtype).min, np.iinfo(x.dtype).max)
    low: Tensor | float = node.attrs.get("min", lowest)
    high: Tensor | float = node.attrs.get("max", highest)
    _, least, greatest = (*node.inputs, "", "")[:3]
    low = context.value(least) if least else low
    high = context.value(greatest) if greatest else high
    return context.graph.clip(x, low, high, name=node.name)


@onnx_import("Gelu", attributes=["approximate"])
def import_gelu(context: OnnxContext, node: OnnxNode) -> Tensor:
    approximate = str(node.attrs.get("approximate", "none"))
    return context.graph.gelu(context.value(node.inputs[0]), approximate=approximate, name=node.name)


@onnx_import("Swish", attributes=["alpha"])
def import_swish(context: OnnxContext, node: OnnxNode) -> Tensor:
    """x * sigmoid(alpha * x)."""
    graph, x = context.graph, context.value(node.inputs[0])
    if (alpha := _number(node, "alpha", 1.0)) == 1.0:
        return graph.silu(x, name=node.name)
    gate = graph.sigmoid(graph.mul(x, alpha, name=f"{node.name}/scaled"), name=f"{node.name}/gate")
    return graph.mul(x, gate, name=node.name)


@onnx_import("Elu", "Celu", "ThresholdedRelu", attributes=["alpha"])
def import_with_alpha(context: OnnxContext, node: OnnxNode) -> Tensor:
    graph = context.graph
    method = {"Elu": graph.elu, "Celu": graph.celu, "ThresholdedRelu": graph.thresholded_relu}[node.op_type]
    return method(context.value(node.inputs[0]), _number(node, "alpha", 1.0), name=node.name)


@onnx_import("LeakyRelu", attributes=["alpha"])
def import_leaky_relu(context: OnnxContext, node: OnnxNode) -> Tensor:
    return context.graph.leaky_relu(context.value(node.inputs[0]), _number(node, "alpha", 0.01), name=node.name)


@onnx_import("PRelu")
def import_prelu(context: OnnxContext, node: OnnxNode) -> Tensor:
    x, slope = (context.value(i) for i in node.inputs)
    return context.graph.leaky_relu(x, slope, name=node.name)


@onnx_import("Selu", attributes=["alpha", "gamma"])
def import_selu(context: OnnxContext, node: OnnxNode) -> Tensor:
    alpha, gamma = _number(node, "alpha", 1.6732632), _number(node, "gamma", 1.050701)
    return context.graph.selu(context.value(node.inputs[0]), alpha, gamma, name=node.name)


@onnx_import("HardSigmoid", attributes=["alpha", "beta"])
def import_hard_sigmoid(context: OnnxContext, node: OnnxNode) -> Tensor:
    alpha, beta = _number(node, "alpha", 0.2), _number(node, "beta", 0.5)
    return context.graph.hard_sigmoid(context.value(node.inputs[0]), alpha, beta, name=node.name)


@onnx_import("Greater", "GreaterOrEqual")
def import_greater(context: OnnxContext, node: OnnxNode) -> Tensor:
    a, b = (context.value(i) for i in node.inputs)
    method = context.graph.greater if node.op_type == "Greater" else context.graph.greater_or_equal
    return method(a, b, name=node.name)


@onnx_import("IsInf", attributes=["detect_negative", "detect_positive"])
def import_is_inf(context: OnnxContext, node: OnnxNode) -> Tensor:
    x, graph = context.value(node.inputs[0]), context.graph
    match bool(node.attrs.get("detect_negative", 1)), bool(node.attrs.get("detect_positive", 1)):
        case True, True:
            return graph.is_inf(x, name=node.name)
        case False, True:
            return graph.equal(x, math.inf, name=node.name)
        case True, False:
            return graph.equal(x, -math.inf, name=node.name)
        case _:
            raise UnsupportedError("detect_negative and detect_positive must not both be 0")


@onnx_import("Shrink", attributes=["bias", "lambd"])
def import_shrink(context: OnnxContext, node: OnnxNode) -> Tensor:
    """What lies within `lambd` of 0 is 0, and the rest comes nearer to it by `bias`."""
    graph, x = context.graph, context.value(node.inputs[0])
    bias, limit = _number(node, "bias", 0.0), _number(node, "lambd", 0.5)
    below, above = (graph.fresh_name(f"{node.name}/{each}") for each in ("below", "above"))
    right = graph.select(graph.greater(x, limit, name=above), graph.sub(x, bias), 0.0)
    return graph.select(graph.less(x, -limit, name=below), graph.add(x, bias), right, name=node.name)


@onnx_import("Where")
def import_where(context: OnnxContext, node: OnnxNode) -> Tensor:
    condition, a, b = (context.value(i) for i in node.inputs)
    return context.graph.select(condition, a, b, name=node.name)


@onnx_import("Mod", attributes=["fmod"])
def import_mod(context: OnnxContext, node: OnnxNode) -> Tensor:
    """Of integers: what a quotient towards zero leaves, which has the sign of a; without `fmod` it has that of b."""
    graph, (a, b) = context.graph, (context.value(name) for name in node.inputs)
    if a.dtype not in INTEGERS:
        raise UnsupportedError(f"Mod of integers is supported, not of {a.dtype}, whose quotients are rounded")

    def part(text: str) -> str:
        return graph.fresh_name(f"{node.name}/{text}")

    whole = graph.mul(graph.div(a, b, name=part("quotient")), b, name=part("whole"))
    if node.attrs.get("fmod", 0):
        return graph.sub(a, whole, name=node.name)
    rest = graph.sub(a, whole, name=part("rest"))
    signs = graph.logical_xor(graph.less(rest, 0, name=part("below")), graph.less(b, 0, name=part("negative")))
    right = graph.logical_or(graph.equal(rest, 0, name=part("none")), graph.logical_not(signs))
    return graph.select(right, rest, graph.add(rest, b, name=part("moved")), name=node.name)
