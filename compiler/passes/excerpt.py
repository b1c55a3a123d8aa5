"""Excerpts: some nodes of a graph by themselves, to be tried out before something is decided about them."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace

from minisim.compiler.graph import Graph, Node


class Excerpt:
    """Nodes of a graph by themselves, equal to others if all is equal but names: so what was found out is kept.

    Attributes:
        graph: of these nodes alone. Their operands are inputs, or weights, where none of them makes them; their results
            are outputs where anyone else reads them. It has no values and knows nothing of the graph that it is of:
            weights are large.
    """

    def __init__(self, nodes: Sequence[Node], graph: Graph) -> None:
        self.graph = _by_themselves(nodes, graph)
        names = {name: i for i, name in enumerate(self.graph.tensors)}
        wiring = []
        for x in nodes:
            inputs, outputs = ([names.get(name or "") for name in found] for found in (x.inputs, x.outputs))
            wiring.append((x.op, x.attributes, inputs, outputs))
        outputs_of = self.graph.outputs
        tensors = [
            (x.shape, x.dtype, x.is_weight, x.slab, x.kept, x.packed, x.page, x.name in outputs_of)
            for x in self.graph.tensors.values()
        ]
        self._key = wiring, tensors

    def __hash__(self) -> int:
        return hash(repr([wires[0] for wires in self._key[0]]) + repr(self._key[1]))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Excerpt) and self._key == other._key


def _by_themselves(nodes: Sequence[Node], graph: Graph) -> Graph:
    result = copy(graph)
    made = {name for node in nodes for name in node.outputs}
    names = dict.fromkeys(name for node in nodes for name in (*node.present, *node.outputs))
    result.tensors = {name: replace(graph.tensors[name], graph=result, window=None, values=None) for name in names}
    result.nodes = list(nodes)
    result.inputs = [name for name in names if name not in made and not graph.tensors[name].is_weight]
    inner = made & {name for node in nodes for name in node.present}
    if inner:  # else no need to look through the whole graph
        inside = {node.name for node in nodes}
        inner -= {name for node in graph.nodes if node.name not in inside for name in node.present}
        inner -= set(graph.outputs.values())
    result.outputs = {name: name for name in names if name in made and name not in inner}
    return result
