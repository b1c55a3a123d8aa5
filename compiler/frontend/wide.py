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
    inside = set(_used_inside(model.graph.node))
    results = {info.name for info in model.graph.output}
    int64 = onnx.TensorProto.INT64
    names = [info.name for info in model.graph.input if info.type.tensor_type.elem_type == int64]
    return {name for name in names if name not in results and _is_taken(name, model.graph, inside, moves, compares)}


def _is_taken(
    name: str, graph: onnx.GraphProto, inside: set[str], moves: Collection[str], compares: Collection[str]
) -> bool:
    values = {name}
    for node in graph.node:
        places = [place for place, each in enumerate(node.input) if each in values]
        if node.op_type in FORMS or (node.op_type == "Gather" and places == [1]) or not places:
            continue
        along = node.op_type in moves and (places == [0] or node.op_type == "Concat")
        to_wide = any(each.name == "to" and each.i == onnx.TensorProto.INT64 for each in node.attribute)
        if not along and node.op_type not in compares:
            return False
        if along or (node.op_type == "Cast" and to_wide):
            values.update(node.output)
    return values.isdisjoint(inside)


def _used_inside(nodes: Iterable[onnx.NodeProto]) -> Iterable[str]:
    """The names that bodies of nodes read."""
    for node in nodes:
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs):
                for each in body.node:
                    yield from each.input
                yield from (info.name for info in body.output)
                yield from _used_inside(body.node)
