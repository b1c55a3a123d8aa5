"""Depthwise: a convolution of each channel by itself becomes the vector unit's, if the machine says so
(`vector.depthwise`).

On the array each channel is a product with a single column of filters, whatever the array's width. As a fold of the
vector unit (`ops/depthwise.py`) it has the same bits. What follows of elementwise operations with numbers (the clip
of a ReLU6, a hard swish) is done to each tile while it is there. Sums of integers stay the array's, and so does a
residual.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from minisim.compiler.attributes import ConvAttributes, DepthwiseAttributes
from minisim.compiler.dtypes import FLOATS
from minisim.compiler.graph import Graph, Node
from minisim.compiler.ops import OPERATORS
from minisim.compiler.ops.elementwise import Elementwise, number_of
from minisim.compiler.ops.epilogue import BIAS, RESIDUAL


@dataclass(frozen=True)
class Depthwise:
    """Graph -> Graph."""

    name: str = "depthwise"

    def apply(self, graph: Graph) -> Graph:
        consumers = graph.consumers()
        result, inside = graph.anew(), set[str]()
        result.inputs, result.outputs = list(graph.inputs), dict(graph.outputs)
        for node in graph.nodes:
            if node.name in inside:
                continue
            if _is_depthwise(node, graph):
                chain, node = _with_tail(node, graph, consumers)
                inside.update(chain)
            result.nodes.append(node)
        if not inside and result.nodes == graph.nodes:
            return graph
        used = {name for node in result.nodes for name in (*node.present, *node.outputs)}
        used |= set(graph.inputs) | set(graph.outputs.values())
        result.tensors = {name: replace(each, graph=result) for name, each in graph.tensors.items() if name in used}
        return result


def _is_depthwise(node: Node, graph: Graph) -> bool:
    """Whether it is a convolution of as many groups as channels and filters, of floats, without a residual."""
    if not isinstance(node.attributes, ConvAttributes) or node.op != "Conv":
        return False
    x, w = (graph.tensors[name] for name in node.present[:2])
    alone = node.attributes.groups == x.shape[-1] == w.shape[1] > 1
    return alone and x.dtype in FLOATS and node.operand(RESIDUAL) is None


def _with_tail(conv: Node, graph: Graph, consumers: Mapping[str, list[Node]]) -> tuple[list[str], Node]:
    """The node that takes the place of `conv` and of what it takes in behind it, whose names are returned."""
    numbers: list[str] = []
    tail: list[str] = []
    names: list[str] = []
    output, outputs = conv.output, set(graph.outputs.values())
    while output not in outputs and len(readers := consumers[output]) == 1:
        (node,) = readers
        if not _is_stage(node, output, graph):
            break
        tail.append(node.op)
        numbers += node.present[1:]
        names.append(node.name)
        output = node.output
    said = {each.name: getattr(conv.attributes, each.name) for each in fields(conv.attributes)}
    inputs = [*conv.inputs, None][: BIAS + 1] if numbers else conv.inputs[: BIAS + 1]
    attributes = DepthwiseAttributes(**said, tail=tuple(tail))
    made = replace(conv, op="DepthwiseConv", inputs=(*inputs, *numbers), outputs=(output,), attributes=attributes)
    return names, made


def _is_stage(node: Node, value: str, graph: Graph) -> bool:
    """Whether it is an elementwise operation on `value` alone, with numbers beside it."""
    operator = OPERATORS.get(node.op)
    if not isinstance(operator, Elementwise) or {*operator.code.kinds, operator.code.result} != {"x"}:
        return False
    first, *others = node.present
    same = graph.tensors[node.output].shape == graph.tensors[value].shape
    return first == value and same and all(number_of(graph.tensors[name]) is not None for name in others)
