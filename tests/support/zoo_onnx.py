"""Networks of the zoo as ONNX models: images as ONNX has them, (n, channels, height, width)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, numpy_helper
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

from minisim import Graph
from minisim.compiler.attributes import ConvAttributes, PoolAttributes, TakeAttributes
from minisim.compiler.geometry import order_of_k
from minisim.compiler.nodes import Node
from minisim.compiler.values import Array


def zoo_onnx(graph: Graph) -> ModelProto:
    """The model of which `graph` is the network: the same operators, names and values.

    Raises:
        KeyError: it has an operator that no network of the zoo had.
    """
    weights: dict[str, Array] = {}
    nodes = [_NODES.get(node.op, _plain)(graph, node, weights) for node in graph.nodes]
    shapes = {name: graph.tensors[name].shape for name in (*graph.inputs, *graph.outputs)}
    infos = {
        name: make_tensor_value_info(name, onnx.TensorProto.FLOAT, _turned(shape)) for name, shape in shapes.items()
    }
    body = make_graph(
        nodes,
        graph.name,
        [infos[name] for name in graph.inputs],
        [infos[name] for name in graph.outputs],
        [numpy_helper.from_array(np.ascontiguousarray(values), name) for name, values in weights.items()],
    )
    return make_model(body, opset_imports=[make_opsetid("", 17)], ir_version=8)


def _turned(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[0], shape[3], *shape[1:3]) if len(shape) == 4 else shape


def _plain(graph: Graph, node: Node, weights: dict[str, Array]) -> NodeProto:
    """An elementwise operator. What is added to images has one value for each channel."""
    rank = len(graph.tensors[node.outputs[0]].shape)
    for name in node.inputs:
        if (tensor := graph.tensors[name]).is_weight:
            values = _values(graph, name)
            weights[name] = values.reshape(-1, 1, 1) if rank == 4 and tensor.shape else values
    return make_node(node.op, list(node.inputs), list(node.outputs), name=node.name)


def _conv(graph: Graph, node: Node, weights: dict[str, Array]) -> NodeProto:
    x, w = node.inputs
    attributes = node.attributes
    assert isinstance(attributes, ConvAttributes)
    stored, (lines, columns) = _values(graph, w), attributes.kernel
    inner, filters = graph.tensors[x].shape[-1] // attributes.groups, graph.tensors[node.outputs[0]].shape[-1]
    by_tap = np.empty((lines * columns * inner, filters), np.float32)
    by_tap[order_of_k(inner, lines * columns)] = stored
    axes, op = ((2, 3, 0, 1), "ConvTranspose") if attributes.transposed else ((3, 2, 0, 1), "Conv")
    weights[w] = by_tap.reshape(lines, columns, inner, filters).transpose(axes)
    return make_node(op, [x, w], list(node.outputs), name=node.name, group=attributes.groups, **_window(attributes))


def _pool(graph: Graph, node: Node, weights: dict[str, Array]) -> NodeProto:
    attributes = node.attributes
    assert isinstance(attributes, PoolAttributes)
    counted = {}
    if node.op == "AveragePool":
        counted = {"count_include_pad": int(graph.tensors[node.inputs[1]].shape == () and any(attributes.pads))}
    return make_node(node.op, node.inputs[:1], list(node.outputs), name=node.name, **_window(attributes), **counted)


def _window(attributes: PoolAttributes) -> dict[str, tuple[int, ...]]:
    return {"kernel_shape": attributes.kernel, "strides": attributes.strides, "pads": attributes.pads}


def _matmul(graph: Graph, node: Node, weights: dict[str, Array]) -> NodeProto:
    """If its rows are images, they have their channels first in ONNX, and so have the weights."""
    rows, w = node.inputs
    images = next((graph.tensors[each.inputs[0]].shape for each in graph.nodes if rows in each.outputs), ())
    values = _values(graph, w)
    if len(images) == 4:
        values = values.reshape(*images[1:], -1).transpose(2, 0, 1, 3).reshape(values.shape)
    weights[w] = values
    return make_node("MatMul", list(node.inputs), list(node.outputs), name=node.name)


def _concat(graph: Graph, node: Node, weights: dict[str, Array]) -> NodeProto:
    return make_node("Concat", list(node.inputs), list(node.outputs), name=node.name, axis=1)


def _flatten(graph: Graph, node: Node, weights: dict[str, Array]) -> NodeProto:
    return make_node("Flatten", list(node.inputs), list(node.outputs), name=node.name)


def _upsampled(graph: Graph, node: Node, weights: dict[str, Array]) -> NodeProto:
    attributes = node.attributes
    assert isinstance(attributes, TakeAttributes)
    sizes = f"{node.name}.sizes"
    weights[sizes] = np.array(_turned(graph.tensors[node.outputs[0]].shape), np.int64)
    told = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return make_node("Resize", [*node.inputs, "", "", sizes], list(node.outputs), name=node.name, **told)


def _values(graph: Graph, name: str) -> Array:
    values = graph.tensors[name].data
    assert values is not None
    return values


_NODES: dict[str, Callable[[Graph, Node, dict[str, Array]], NodeProto]] = {
    "Conv": _conv,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "MatMul": _matmul,
    "Concat": _concat,
    "Reshape": _flatten,
    "Take": _upsampled,
    "LeakyRelu": lambda graph, node, weights: make_node(
        "LeakyRelu",
        node.inputs[:1],
        list(node.outputs),
        name=node.name,
        alpha=float(_values(graph, node.inputs[1])),
    ),
    "HardSigmoid": lambda graph, node, weights: make_node(
        "HardSigmoid",
        node.inputs[:1],
        list(node.outputs),
        name=node.name,
        alpha=float(_values(graph, node.inputs[1])),
        beta=float(_values(graph, node.inputs[2])),
    ),
}
