"""Attention: a matmul, what becomes of its product, a softmax and another matmul are one operation, if there are more
keys than a block has (`ops/attention.py`).

With so many keys the rows of scores are long, and attention means blocks of keys, on whatever machine: so it is found
by what the graph says alone. The scores must be nobody else's, and of one type with queries, keys and values. Scores of
fewer keys are left as they are: a block by itself is the plain softmax, and a slice keeps them on chip (`slicing.py`).

Keys and values of a cache that keeps them in fewer bits are read as they lie there, also if they are few: attention
makes floats of a tile where it needs it, and no floats of all of them go through DRAM.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from minisim.compiler.attention_plan import KEYS
from minisim.compiler.attributes import SCORES, AttentionAttributes, MatMulAttributes, ScoreStep
from minisim.compiler.dtypes import FLOATS, FLOATS8
from minisim.compiler.graph import Graph, Node
from minisim.compiler.ops import OPERATORS
from minisim.compiler.ops.attention import rows_of
from minisim.compiler.ops.elementwise import Elementwise
from minisim.compiler.ops.matmul import Product


@dataclass(frozen=True)
class Attend:
    """Graph -> Graph."""

    name: str = "attend"

    def apply(self, graph: Graph) -> Graph:
        finder = _Finder(graph)
        softmaxes = (node for node in graph.nodes if node.op == "Softmax")
        found = [group for node in softmaxes if (group := finder.group(node)) is not None]
        if not found:
            return graph
        made = {group.members[-1]: group.node for group in found}
        inside = {name for group in found for name in group.members}
        result = graph.anew()
        result.inputs, result.outputs = list(graph.inputs), dict(graph.outputs)
        for node in graph.nodes:
            if node.name in made:
                result.nodes.append(made[node.name])
            elif node.name not in inside:
                result.nodes.append(node)
        used = {name for node in result.nodes for name in (*node.present, *node.outputs)}
        used |= set(graph.inputs) | set(graph.outputs.values())
        used |= {w.tensor for name in used if (w := graph.tensors[name].window) is not None}
        result.tensors = {name: replace(each, graph=result) for name, each in graph.tensors.items() if name in used}
        return result


@dataclass(frozen=True)
class _Group:
    """Nodes that are one attention, the last one last; and the node that takes their place."""

    members: tuple[str, ...]
    node: Node


class _Finder:
    """Finds attention around a softmax."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.readers: Mapping[str, list[Node]] = graph.consumers()
        self.makers = {name: node for node in graph.nodes for name in node.outputs}
        self.outputs = set(graph.outputs.values())

    def group(self, softmax: Node) -> _Group | None:
        before = self._scores(softmax.present[0], 0)
        behind = self._products(softmax.output)
        if before is None or behind is None:
            return None
        nodes, steps, extra = before
        matmul, last = nodes[0], behind[-1]
        graph = self.graph
        q, k = matmul.present
        v = last.present[1]
        scores, products = (node.attributes_as(MatMulAttributes) for node in (matmul, last))
        shapes = {name: graph.tensors[name].shape for name in (q, k, v, matmul.output, last.present[0])}
        first = Product.of(shapes[q], shapes[k], scores)
        second = Product.of(shapes[last.present[0]], shapes[v], products)
        fits = (first.slabs, first.m, first.n) == (second.slabs, second.m, second.k)
        same = shapes[matmul.output] == shapes[last.present[0]]
        in_order = second.a_slabs == tuple(range(second.slabs))
        if not (fits and same and in_order) or scores.transpose_a or products.transpose_a or scores.joins:
            return None
        dtypes = {graph.tensors[name].dtype for name in (q, k, v, matmul.output, softmax.output, last.output)}
        if len(dtypes) > 1 or not dtypes <= FLOATS:
            return None
        kept = self._kept(k, scores), self._kept(v, products)
        members = (*(node.name for node in nodes), softmax.name, *(node.name for node in behind))
        floats_by, scales = "", []
        lie = scores.transpose_b and not products.transpose_b
        if kept[0] is not None and kept[1] is not None and lie and kept[0].op == kept[1].op:
            members = (*(node.name for node in kept if node is not None), *members)
            (k, *of_k), (v, *of_v) = kept[0].present, kept[1].present
            floats_by, scales = FLOATS_BY[kept[0].op], [*of_k, *of_v]
        elif graph.tensors[softmax.output].shape[-1] <= KEYS:
            return None
        attributes = AttentionAttributes(scores=scores, steps=tuple(steps), products=products, floats_by=floats_by)
        inputs = (q, k, v, *extra, *scales)
        return _Group(members, replace(last, op="Attention", inputs=inputs, attributes=attributes))

    def _kept(self, name: str, product: MatMulAttributes) -> Node | None:
        """What makes floats of keys, or of values, that a cache keeps in fewer bits, for one product alone."""
        node = self.makers.get(name)
        if node is None or node.op not in FLOATS_BY or not self._is_inner(name) or not product.b_heads:
            return None
        kept, *scales = (self.graph.tensors[each] for each in node.present)
        fits = scales[0].shape[1] == product.b_heads if scales else kept.dtype in FLOATS8
        return node if fits else None

    def _is_inner(self, name: str) -> bool:
        """Whether a tensor is nobody's but the one node's that reads it."""
        return name not in self.outputs and len(self.readers[name]) == 1 and self.graph.tensors[name].window is None

    def _scores(self, name: str, depth: int) -> tuple[list[Node], list[ScoreStep], list[str]] | None:
        """From a matmul to the tensor of this name: the nodes, what they do to the scores, and what they read beside
        them."""
        node = self.makers.get(name)
        if node is None or not self._is_inner(name) or depth > LONGEST:
            return None
        if node.op == "MatMul":
            attributes = node.attributes_as(MatMulAttributes)
            plain = len(node.present) == 2 and attributes.activation is None
            return ([node], [], []) if plain else None
        if node.op == "Reshape":
            found = self._scores(node.present[0], depth + 1)
            rows_stay = self.graph.tensors[node.present[0]].shape[-1] == self.graph.tensors[name].shape[-1]
            return ([*found[0], node], *found[1:]) if found and rows_stay else None
        return self._step(node, depth)

    def _step(self, node: Node, depth: int) -> tuple[list[Node], list[ScoreStep], list[str]] | None:
        operator = OPERATORS.get(node.op)
        if (
            not isinstance(operator, Elementwise)
            or operator.code.result != "x"
            or len(set(node.present)) != len(node.present)
        ):
            return None
        shape = self.graph.tensors[node.output].shape
        for place, name in enumerate(node.present):
            if operator.code.kinds[place] != "x" or self.graph.tensors[name].shape != shape:
                continue
            others = [other for other in node.present if other != name]
            fits = all(rows_of(self.graph.tensors[other].shape, shape) is not None for other in others)
            if fits and (found := self._scores(name, depth + 1)) is not None:
                nodes, steps, extra = found
                first = 3 + len(extra)
                places = [SCORES if i == place else first + i - (i > place) for i in range(len(node.present))]
                return [*nodes, node], [*steps, ScoreStep(node.op, tuple(places), shape)], [*extra, *others]
        return None

    def _products(self, name: str) -> list[Node] | None:
        """From behind the softmax to the matmul, whose first operand its result is."""
        found: list[Node] = []
        while self._is_inner(name):
            (node,) = self.readers[name]
            found.append(node)
            if node.op == "MatMul":
                plain = len(node.present) == 2 and node.attributes_as(MatMulAttributes).activation is None
                return found if plain and node.inputs[0] == name and node.inputs[1] != name else None
            if node.op != "Reshape" or self.graph.tensors[node.output].shape[-1] != self.graph.tensors[name].shape[-1]:
                return None
            name = node.output
        return None


FLOATS_BY = {"DequantizeRows": "Rescale", "Cast": "Cast"}
"""What `AttentionAttributes.floats_by` says of the nodes that make floats of a cache."""

LONGEST = 20
"""Operations between scores and their softmax that are looked at."""
