"""Inputs of int64 that a graph can have: as int32, of all whose values that is enough.

A machine computes no int64. Tokens, positions and masks are inputs of that type all the same; what is made of them are
rows of tables, comparisons and other types. An input that says more (a shape, axes, pads) is bound when the model is
read instead (`bound.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import onnx

FORMS = {"Shape", "Size"}
"""Operators that read no values."""


def wide_inputs_of(model: onnx.ModelProto, moves: Collection[str], compares: Collection[str]) -> set[str]:
    """The int64 inputs of `model` that nobody computes with.

    Args:
        moves, compares: types of nodes that take int64 values along, and that make another type of them.
    """
    results = {info.name for info in model.graph.output}
    int64 = onnx.TensorProto.INT64
    names = {info.name for info in model.graph.input if info.type.tensor_type.elem_type == int64}
    return names - results - _computed_with(model.graph, moves, compares)


def _computed_with(graph: onnx.GraphProto, moves: Collection[str], compares: Collection[str]) -> set[str]:
    """The names whose values, if they are int64, somebody computes with, or a body reads: as they are, or moved.

    From the last node to the first, so that it is known of what a node makes when the node itself is looked at.
    """
    found = set(_used_inside(graph.node))
    for node in reversed(graph.node):
        to_wide = any(each.name == "to" and each.i == onnx.TensorProto.INT64 for each in node.attribute)
        is_lost = not found.isdisjoint(node.output)
        for place, name in enumerate(node.input):
            if node.op_type in FORMS or (node.op_type == "Gather" and place == 1):
                continue
            along = node.op_type in moves and (place == 0 or node.op_type == "Concat")
            if along or (node.op_type == "Cast" and to_wide):
                is_taken = not is_lost
            else:
                is_taken = node.op_type in compares
            if not is_taken:
                found.add(name)
    return found


def _used_inside(nodes: Iterable[onnx.NodeProto]) -> Iterable[str]:
    """The names that bodies of nodes read."""
    for node in nodes:
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs):
                for each in body.node:
                    yield from each.input
                yield from (info.name for info in body.output)
                yield from _used_inside(body.node)
