"""Layout: a transposition moves behind what does not care for the order of axes, until it meets one that undoes it.

ONNX's images are NCHW, the machine's NHWC, so an importer puts a convolution between two transpositions. What is
elementwise gives the same elements in any order: it takes the tensor that was to be transposed, and the transposition
comes after it. Two that undo each other are none; what nobody needs is not computed. The others are moved and paid for.
"""

from __future__ import annotations

import math
from dataclasses import replace

from minisim.compiler.attributes import TransposeAttributes
from minisim.compiler.graph import Graph, Node
from minisim.compiler.ops.elementwise import Elementwise
from minisim.compiler.semantics import SEMANTICS

Perm = tuple[int, ...]


def settle(graph: Graph) -> None:
    """Move the transpositions of `graph`, in place. Outputs keep their names and values."""
    _Settling(graph).run()


class _Settling:
    """The walk. A tensor in `turned` is the transposition of another one, and is made when somebody needs it."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[Node] = []
        self.turned: dict[str, tuple[str, Perm]] = {}
        self.made: set[str] = set()

    def run(self) -> None:
        graph = self.graph
        if not any(node.op == "Transpose" for node in graph.nodes):
            return
        for node in graph.nodes:
            self._node(node)
        graph.outputs = {public: self._make(name) for public, name in graph.outputs.items()}
        graph.nodes = self.nodes
        self._forget_unused()

    def _forget_unused(self) -> None:
        graph = self.graph
        used = {name for node in graph.nodes for name in (*node.present, *node.outputs)}
        used |= set(graph.inputs) | set(graph.outputs.values())
        gone = [name for name, tensor in graph.tensors.items() if name not in used and not tensor.is_weight]
        for name in gone:
            del graph.tensors[name]

    def _node(self, node: Node) -> None:
        if node.op == "Transpose":
            source, perm = self._source(node.present[0])
            axes = node.attributes_as(TransposeAttributes).perm
            self.turned[node.output] = source, (tuple(perm[axis] for axis in axes) if perm else axes)
        elif (perms := self._perms(node)) is not None:
            self._behind(node, perms)
        else:
            inputs = tuple(None if name is None else self._make(name) for name in node.inputs)
            self.nodes.append(replace(node, inputs=inputs))

    def _source(self, name: str) -> tuple[str, Perm]:
        return self.turned.get(name, (name, ()))

    def _perms(self, node: Node) -> Perm | None:
        """The one transposition that all operands of an elementwise node have, numbers aside; else None."""
        if not isinstance(SEMANTICS[node.op], Elementwise) or len(node.outputs) != 1:
            return None
        rank = len(self.graph.tensors[node.output].shape)
        large = [name for name in node.present if math.prod(self.graph.tensors[name].shape) > 1]
        perms = {self._source(name)[1] for name in large}
        alike = len({self.graph.tensors[name].shape for name in large}) == 1
        if not alike or len(perms) != 1 or len(perm := perms.pop()) != rank:
            return None
        return perm

    def _behind(self, node: Node, perm: Perm) -> None:
        """Append the elementwise `node` on what was to be transposed; its output is to be transposed instead."""
        tensors, output = self.graph.tensors, node.output
        inputs = [self._source(name)[0] if name in self.turned else name for name in node.present]
        source = next(name for name in inputs if math.prod(tensors[name].shape) > 1)
        name = self.graph.fresh_name(f"{output}/turned")
        tensors[name] = replace(tensors[output], name=name, shape=tensors[source].shape)
        self.nodes.append(replace(node, inputs=tuple(inputs), outputs=(name,)))
        self.turned[output] = name, perm

    def _make(self, name: str) -> str:
        """The tensor to read instead of `name`: what it is a transposition of, if that moves nothing; else itself, once
        the transposition is appended."""
        if name not in self.turned:
            return name
        source, perm = self.turned[name]
        if perm == tuple(range(len(perm))):
            return source
        if name not in self.made:
            self.made.add(name)
            node = self.graph.fresh_name(f"{name}/transpose")
            self.nodes.append(Node("Transpose", node, (source,), (name,), TransposeAttributes(perm)))
        return name
