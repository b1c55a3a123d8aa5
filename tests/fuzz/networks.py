"""Whole networks of the zoo as ONNX, an eighth as wide and of small images, with a few things wrong in each."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from typing import Any

import numpy as np
from fuzz.messages import FLOATS, INTEGERS, OPERATORS, TEXTS, mutate_bytes, mutate_message
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto
from onnx.helper import make_attribute
from support.zoo_onnx import zoo_onnx

from minisim import load_model

NETWORKS = ("lenet5", "alexnet", "densenet121", "mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large",
            "mobilenet_v3_small", "efficientnet_lite0", "inception_v3", "resnet18", "resnet50", "resnext50",
            "squeezenet1_1", "unet", "vgg11", "yolov3_tiny")  # fmt: skip
SIZES = {"inception_v3": 96, "alexnet": 80}
"""Pixels each way, where 32 are not enough."""


@functools.cache
def network(name: str) -> ModelProto:
    """The scaled network of this name, undamaged."""
    return zoo_onnx(load_model(f"{name}:size={SIZES.get(name, 32)},width=0.125,classes=10"))


def damaged_network(rng: random.Random) -> bytes:
    """The file of a network, drawn, after one to four mutations; of one in twenty the bytes are damaged, too."""
    model = ModelProto()
    model.CopyFrom(network(rng.choice(NETWORKS)))
    for _ in range(rng.choice([1, 1, 1, 1, 2, 4])):
        if rng.random() < 0.15:
            mutate_message(model, rng)
        elif model.graph.node:
            rng.choice(MUTATIONS)(model.graph, rng)
    data = model.SerializeToString()
    return mutate_bytes(data, rng) if rng.random() < 0.05 else data


# -- of the graph: each changes one thing, if there is one --------------------------------------------------------


def _rewired(graph: GraphProto, rng: random.Random) -> None:
    """A node reads another value: mostly one that is there before it."""
    at = rng.randrange(len(graph.node))
    before = [graph.input[0].name, *(each.output[0] for each in graph.node[:at] if each.output)] if graph.input else []
    if (node := graph.node[at]).input:
        names = before if before and rng.random() < 0.8 else _names(graph)
        node.input[0 if rng.random() < 0.8 else rng.randrange(len(node.input))] = rng.choice(names)


def _renamed(graph: GraphProto, rng: random.Random) -> None:
    """An input or output of a node, of the model, or a weight is called otherwise, or as another one."""
    name = rng.choice([*TEXTS, *_names(graph)])
    node = rng.choice(graph.node)
    match rng.randrange(4):
        case 0 if node.output:
            node.output[0] = name
        case 1 if node.input:
            node.input[rng.randrange(len(node.input))] = name
        case 2 if graph.initializer:
            rng.choice(graph.initializer).name = name
        case _:
            rng.choice([*graph.input, *graph.output, node]).name = name


def _dropped(graph: GraphProto, rng: random.Random) -> None:
    del graph.node[rng.randrange(len(graph.node))]


def _bypassed(graph: GraphProto, rng: random.Random) -> None:
    """A node is taken out, and who read its output reads its operand."""
    at = rng.randrange(len(graph.node))
    node = NodeProto()
    node.CopyFrom(graph.node[at])
    del graph.node[at]
    if node.input and node.output:
        for other in graph.node:
            other.input[:] = [node.input[0] if name == node.output[0] else name for name in other.input]


def _repeated(graph: GraphProto, rng: random.Random) -> None:
    """A node twice, the second one perhaps with a name of its own, somewhere."""
    copy = NodeProto()
    copy.CopyFrom(rng.choice(graph.node))
    if copy.output and rng.random() < 0.5:
        copy.output[0] += "_2"
    graph.node.insert(rng.randrange(len(graph.node) + 1), copy)


def _moved(graph: GraphProto, rng: random.Random) -> None:
    copy = NodeProto()
    copy.CopyFrom(graph.node[at := rng.randrange(len(graph.node))])
    del graph.node[at]
    graph.node.insert(max(0, at + rng.randrange(-3, 4)), copy)


def _other_operator(graph: GraphProto, rng: random.Random) -> None:
    rng.choice(graph.node).op_type = rng.choice([*OPERATORS, *(node.op_type for node in graph.node)])


def _attribute(graph: GraphProto, rng: random.Random) -> None:
    """A number of an attribute is another, or there is one more or less of them."""
    attributes = [attribute for node in graph.node for attribute in node.attribute]
    if not attributes:
        return
    attribute = rng.choice(attributes)
    near = rng.choice([0, 1, 2, 2, 3, 4, 5, 7, -1, rng.choice(INTEGERS[:-2])])
    if rng.random() < 0.1:
        attribute.name = rng.choice(["group", "pads", "auto_pad", "ceil_mode", "dilations", "axis", *TEXTS])
    elif attribute.type == AttributeProto.INT:
        attribute.i = near
    elif attribute.type == AttributeProto.FLOAT:
        attribute.f = rng.choice(FLOATS)
    elif attribute.ints:
        at = rng.randrange(len(attribute.ints))
        if rng.random() < 0.1:
            attribute.ints.append(near)
        else:
            attribute.ints[at] = near


def _added_attribute(graph: GraphProto, rng: random.Random) -> None:
    """An attribute that windows may have, and this one did not."""
    node = rng.choice([node for node in graph.node if "Conv" in node.op_type or "Pool" in node.op_type] or graph.node)
    drawn = rng.choice([1, 1, 2, 3])
    own: list[tuple[str, Any]] = [("group", drawn)]
    if "Pool" in node.op_type:
        own = [("ceil_mode", 1), ("count_include_pad", 1), ("storage_order", 1)]
    elif node.op_type == "ConvTranspose":
        own = [("output_padding", [1, drawn]), ("output_shape", [drawn, drawn])]
    pad, dilations = (
        rng.choice(["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET", "same"]),
        [drawn, rng.choice([1, drawn])],
    )
    name, value = rng.choice([("auto_pad", pad), ("dilations", dilations), *own])
    node.attribute.append(make_attribute(name, value))


def _dimension(graph: GraphProto, rng: random.Random) -> None:
    """A size of the images, or of an output: another number, a name, or nothing."""
    infos = [*graph.input, *graph.output]
    dims = rng.choice(infos).type.tensor_type.shape.dim if infos else []
    if not dims:
        return
    dim = rng.choice(list(dims))
    match rng.randrange(4):
        case 0:
            dim.dim_param = rng.choice(TEXTS)
        case 1:
            dim.Clear()
        case _:
            dim.dim_value = rng.choice([1, 2, 3, 5, 17, 31, 33, 64, rng.choice(INTEGERS[:-2])])


def _weight(change: Callable[[TensorProto, random.Random], None]) -> Callable[[GraphProto, random.Random], None]:
    def changed(graph: GraphProto, rng: random.Random) -> None:
        if graph.initializer:
            change(rng.choice(graph.initializer), rng)

    return changed


def _resized(tensor: TensorProto, rng: random.Random) -> None:
    """Other dimensions, with their data or without."""
    dims = [*tensor.dims, 1]
    dims[rng.randrange(len(dims))] = rng.choice([0, 1, 2, 3, 8, 16, rng.choice(INTEGERS[:-2])])
    tensor.dims[:] = dims[:-1] if rng.random() < 0.7 else dims
    count = np.prod(np.array(tensor.dims, float))
    if rng.random() < 0.5 and 0 <= count < 10**6:
        tensor.raw_data = np.full(int(count), 0.1, np.float32).tobytes()


def _shuffled(tensor: TensorProto, rng: random.Random) -> None:
    dims = list(tensor.dims)
    rng.shuffle(dims)
    tensor.dims[:] = dims


def _retyped(tensor: TensorProto, rng: random.Random) -> None:
    tensor.data_type = rng.choice(list(TensorProto.DataType.values()))


def _cut(tensor: TensorProto, rng: random.Random) -> None:
    """Data truncated, or with bytes behind it."""
    data = tensor.raw_data
    tensor.raw_data = data[: rng.randrange(len(data) + 1)] if rng.random() < 0.7 else data + rng.randbytes(5)


def _odd_values(tensor: TensorProto, rng: random.Random) -> None:
    """NaN, infinity, subnormal or huge numbers in it: all, or some."""
    if tensor.data_type != TensorProto.FLOAT or len(tensor.raw_data) % 4 or not tensor.raw_data:
        return
    values = np.frombuffer(tensor.raw_data, np.float32).copy()
    values[:: rng.choice([1, 3, len(values)])] = np.float32(rng.choice(FLOATS))
    tensor.raw_data = values.tobytes()


def _names(graph: GraphProto) -> list[str]:
    weights = [tensor.name for tensor in graph.initializer]
    values = [name for node in graph.node for name in node.output]
    return [*weights, *values, *(info.name for info in graph.input), ""]


MUTATIONS = (_rewired, _rewired, _renamed, _dropped, _bypassed, _bypassed, _repeated, _moved, _other_operator,
             _attribute, _attribute, _added_attribute, _added_attribute, _dimension, _dimension, _weight(_resized),
             _weight(_shuffled), _weight(_retyped), _weight(_cut), *[_weight(_odd_values)] * 2)  # fmt: skip
"""What is more likely to be found out late stands there twice."""
