"""What of a float model an integer machine computes in integers: the plan that `passes/quantize.py` carries out.

A node is computed in int8 if it multiplies on the array, or if one unit stands for the same in its operands and its
outputs (`same_unit`). All others are float operations of the vector unit. Tensors that integers are made of, or read
by, lie in memory as int8; what lies between two float operations alone stays float32.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from minisim.compiler.activations import RELU
from minisim.compiler.attributes import ConvAttributes, EpilogueAttributes, MatMulAttributes, TakeAttributes
from minisim.compiler.graph import Graph, Node
from minisim.compiler.ops.elementwise import number_of
from minisim.compiler.ops.epilogue import RESIDUAL
from minisim.compiler.semantics import SEMANTICS

SAME_UNIT = frozenset({"Relu", "Transpose", "Take", "MaxPool", "Concat"})
"""Operators, beside views, that are the same on integers: of operands in one unit they make results in it."""


CONVERSIONS = frozenset({"Rescale", "Quantize", "Dequantize", "Requantize"})
"""Operators that stand between integers and floats; their scales and zero points are float32 on every machine."""


def multiplies(node: Node) -> bool:
    """Whether the array executes it, with an epilogue that requantises."""
    return isinstance(node.attributes, EpilogueAttributes)


def same_unit(node: Node) -> bool:
    """Whether one unit stands for the same in its outputs as in its operands; a fill must be the 0 of both."""
    filled = isinstance(node.attributes, TakeAttributes) and node.attributes.fill != 0
    return (node.op in SAME_UNIT and not filled) or SEMANTICS[node.op].is_view


def is_float(node: Node, graph: Graph) -> bool:
    """Whether it has to do with float32 at all: what the model declares in other types stays as it is."""
    return any(graph.tensors[name].dtype == "float32" for name in (*node.present, *node.outputs))


# -- the epilogue ----------------------------------------------------------------------------------------


def separated(graph: Graph) -> Graph:
    """`graph` with nothing in the epilogues of its matmuls that integers have not: a residual, and an activation other
    than relu, become nodes behind it."""
    result = _copy(graph)
    for node in graph.nodes:
        result.nodes += _apart(node, result) if multiplies(node) and is_float(node, graph) else (node,)
    return result


def without_clips(graph: Graph) -> Graph:
    """A separated graph in which a clip between 0 and a number behind a matmul is its relu.

    It is not the same of floats. But int8 saturates at the greatest value that calibration saw behind the clip, which
    is not above that number.
    """
    result, consumers, taken = _copy(graph), graph.consumers(), set[str]()
    for node in graph.nodes:
        clip = None
        if multiplies(node) and is_float(node, graph):
            clip = _clip_behind(node, graph, consumers[node.output])
        if clip is not None:
            taken.add(clip.name)
            del result.tensors[node.output]
            attributes = replace(node.attributes_as(EpilogueAttributes), activation=RELU)
            result.nodes.append(replace(node, outputs=clip.outputs, attributes=attributes))
        elif node.name not in taken:
            result.nodes.append(node)
    return result


def _copy(graph: Graph) -> Graph:
    """The graph without its nodes."""
    result = graph.anew()
    result.inputs, result.outputs = list(graph.inputs), dict(graph.outputs)
    result.tensors = {name: replace(tensor, graph=result) for name, tensor in graph.tensors.items()}
    return result


def _clip_behind(node: Node, graph: Graph, readers: Sequence[Node]) -> Node | None:
    """The clip between 0 and a number that is all that reads `node`, if its epilogue has room for a relu."""
    attributes = node.attributes_as(EpilogueAttributes)
    if attributes.activation is not None or node.operand(RESIDUAL) is not None or len(readers) != 1:
        return None
    (clip,) = readers
    if clip.op != "Clip" or node.output in graph.outputs.values() or clip.present[0] != node.output:
        return None
    low, high = (number_of(graph.tensors[name]) for name in clip.present[1:])
    return clip if low == 0 and high is not None else None


def _apart(node: Node, result: Graph) -> Iterator[Node]:
    """`node` with what an integer epilogue has; and behind it, as nodes, what it has not."""
    attributes, residual = node.attributes_as(EpilogueAttributes), node.operand(RESIDUAL)
    activation = attributes.activation
    later = activation if activation is not None and (residual is not None or not activation.on_integers) else None
    if residual is None and later is None:
        yield node
        return
    value = _fresh(node.output, "sums", result)
    kept = None if later is not None else activation
    yield replace(
        node, inputs=node.inputs[:RESIDUAL], outputs=(value,), attributes=replace(attributes, activation=kept)
    )
    if residual is not None:
        output = node.output if later is None else _fresh(node.output, "added", result)
        yield Node("Add", output, (value, residual), (output,))
        value = output
    if later is not None:
        yield Node(later.operator, node.output, (value,), node.outputs)


def _fresh(name: str, what: str, graph: Graph) -> str:
    """The name of a new tensor like `name`, which is added."""
    found = graph.fresh_name(f"{name}/{what}")
    graph.tensors[found] = replace(graph.tensors[name], graph=graph, name=found)
    return found


# -- the plan --------------------------------------------------------------------------------------------


class Plan:
    """Which float32 tensors of a separated graph lie in memory as int8, and which of them in one unit.

    Args:
        channels: whether each channel of a constant matrix has a scale of its own.

    Attributes:
        whole: the names of tensors that integers make, and of inputs that they read.
        needed: the names of tensors that integers read, or make: all that have an int8 form.
    """

    def __init__(self, graph: Graph, channels: bool = False) -> None:
        self.graph, self.channels = graph, channels
        self._unit: dict[str, str] = {}
        self.integer_nodes: set[str] = set()
        self.whole = set(self._inputs())
        self.needed = set(self.whole)
        for node in graph.nodes:
            if is_float(node, graph) and self._computes(node):
                self.integer_nodes.add(node.name)
                self.whole.update(node.outputs)
                self.needed.update((*self.read(node), *node.outputs))
                if not multiplies(node):
                    self._join((*node.present, *node.outputs))

    def _inputs(self) -> Iterator[str]:
        """Inputs that a node reads as integers, or may."""
        for node in self.graph.nodes:
            if multiplies(node) or same_unit(node):
                yield from (x for x in self.read(node) if x in self.graph.inputs and self._is_float32(x))

    def _computes(self, node: Node) -> bool:
        """Whether integers compute it: the array, or a node of one unit if an operand of it is whole."""
        if multiplies(node):
            return True
        constant = all(self.graph.tensors[name].is_weight for name in node.present)
        return same_unit(node) and (constant or any(name in self.whole for name in node.present))

    def _is_float32(self, name: str) -> bool:
        return self.graph.tensors[name].dtype == "float32"

    @staticmethod
    def read(node: Node) -> tuple[str, ...]:
        """The operands that are int8 where integers compute the node: not a matmul's bias."""
        return node.present[:2] if multiplies(node) else node.present

    def by_channel(self, node: Node) -> bool:
        """Whether each filter, or column of a matrix, has a scale of its own: the filters of grouped convolutions,
        whose channels have little to do with each other, and all constant ones if so asked for. The vector unit
        requantises their sums."""
        attributes = node.attributes
        weights = self.graph.tensors[node.present[1]]
        if not weights.is_weight:
            return False
        if isinstance(attributes, MatMulAttributes):
            return self.channels and len(weights.shape) == 2 and not attributes.has_heads
        return isinstance(attributes, ConvAttributes) and (self.channels or attributes.groups > 1)

    def alike(self, name: str) -> list[str]:
        """All tensors that have one unit with this one."""
        root = self._root(name)
        return [other for other in (*self._unit, name) if self._root(other) == root]

    def _root(self, name: str) -> str:
        while (parent := self._unit.get(name, name)) != name:
            name = parent
        return name

    def _join(self, names: Iterable[str]) -> None:
        first, *others = (self._root(name) for name in names)
        self._unit.setdefault(first, first)
        for other in others:
            self._unit[other] = first


# -- for people ------------------------------------------------------------------------------------------

MOST_NAMES = 8
"""Nodes that are named in a line."""


def in_floats(computed: Graph) -> Iterator[str]:
    """A line on the operations of a quantised graph that are no integers'; none if there is none."""
    kinds = Counter(
        node.op
        for node in computed.nodes
        if node.op not in CONVERSIONS and any(computed.tensors[name].dtype == "float32" for name in node.present)
    )
    if kinds:
        named = [f"{count} {op}" for op, count in kinds.most_common(MOST_NAMES)]
        more = sum(kinds.values()) - sum(count for _, count in kinds.most_common(MOST_NAMES))
        rest = f" and {more} others" if more else ""
        yield f"computed in float32 by the vector unit, as int8 has no such operation: {', '.join(named)}{rest}"
