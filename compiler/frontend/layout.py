"""Layout: a transposition moves behind what does not care for the order of axes, until it meets one that undoes it.

ONNX's images are NCHW, the machine's NHWC, so an importer puts a convolution between two transpositions. Most operators
mean the same of axes in another order: they take the tensor that was to be transposed, and the transposition comes
after them. Two that undo each other are none; what nobody needs is not computed; one that only moves axes of one
element is a view. The others are moved and paid for.

There is a rule for each kind of operator. It appends what a node means of that which its operands are turned from, says
of which tensor the output is a transposition, and returns whether it did; if not, the node is kept as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from minisim.compiler.attributes import (
    ConcatAttributes,
    MatMulAttributes,
    SplitAttributes,
    TakeAttributes,
    TransposeAttributes,
)
from minisim.compiler.frontend.axis_orders import keeps_order, order_between, reshaping
from minisim.compiler.frontend.turned import Layout, Turned
from minisim.compiler.graph import Graph, Node
from minisim.compiler.ops.elementwise import Elementwise
from minisim.compiler.ops.row_strips import RowOperator
from minisim.compiler.semantics import SEMANTICS
from minisim.compiler.values import arranged


def settle(graph: Graph) -> dict[str, Turned]:
    """Move the transpositions of `graph`, in place; return which tensors are others with their axes in another order.

    Outputs keep their names and values; what is not needed any more is left over (`into_weights.forget_unused`)."""
    nodes, graph.nodes = graph.nodes, []
    layout = Layout(graph)
    for node in nodes:
        if not _applied(layout, node):
            layout.keep(node)
    graph.outputs = {public: layout.made_for_output(name) for public, name in graph.outputs.items()}
    return layout.turned


def _applied(layout: Layout, node: Node) -> bool:
    """Whether there was a rule for the node, and it did what the node means."""
    operator = SEMANTICS[node.op]
    if node.op in RULES:
        return RULES[node.op](layout, node)
    if isinstance(operator, Elementwise):
        return _elementwise(layout, node)
    return isinstance(operator, RowOperator) and _along_rows(layout, node)


def _transpose(layout: Layout, node: Node) -> bool:
    source, perm = layout.of(node.present[0])
    layout.set(node.output, source, tuple(perm[axis] for axis in node.attributes_as(TransposeAttributes).perm))
    return True


def _reshape(layout: Layout, node: Node) -> bool:
    """One that only moves axes of one element is a transposition. Any other is a reshape of what the operand is turned
    from, if the axes that become one, or come of one, lie there side by side."""
    (x,) = node.present
    shape, wanted = layout.shape(x), layout.shape(node.output)
    turned = layout.of(x)
    if (order := order_between(shape, wanted)) is not None:
        layout.set(node.output, turned.source, tuple(turned.perm[axis] for axis in order))
        return True
    if not layout.is_turned(x) or (found := reshaping(shape, turned.perm, wanted)) is None:
        return False
    layout.set_reshaped(node.output, turned, found)
    return True


def _elementwise(layout: Layout, node: Node) -> bool:
    """Operands of one element are broadcast as they are; the others are brought into one order."""
    graph, rank = layout.graph, len(layout.shape(node.output))
    large = {name for name in node.present if math.prod(layout.shape(name)) > 1}
    perm = layout.cheapest(sorted(large), rank)
    if perm == tuple(range(rank)):
        return False
    operands = [layout.laid(x, perm) if x in large else layout.tensor(layout.made(x)) for x in node.present]
    y = graph.add_node(node.op, operands, node.attributes, layout.fresh(node.output))
    layout.set(node.output, y.name, perm)
    return True


def _along_rows(layout: Layout, node: Node) -> bool:
    """What works along the last axis does not care for the order of the others. Along pixels whose channels lie behind
    them a reduction is a fold."""
    x, *others = node.present
    source, perm = layout.of(x)
    if perm == (0, 2, 1) and node.op in REDUCTIONS:
        y = REDUCTIONS[node.op](layout.graph, layout.tensor(source), 1, name=layout.fresh(node.output))
        layout.set(node.output, y.name, perm)
        return True
    if not layout.is_turned(x) or perm[-1] != len(perm) - 1:
        return False
    operands = [layout.tensor(source), *(layout.tensor(layout.made(name)) for name in others)]
    y = layout.graph.add_node(node.op, operands, node.attributes, layout.fresh(node.output))
    layout.set(node.output, y.name, perm)
    return True


REDUCTIONS = {"ReduceSum": Graph.reduce_sum, "ReduceMax": Graph.reduce_max, "ReduceMean": Graph.reduce_mean}


def _concat(layout: Layout, node: Node) -> bool:
    rank = len(layout.shape(node.output))
    perm = layout.cheapest(node.present, rank)
    if perm == tuple(range(rank)):
        return False
    axis = perm[node.attributes_as(ConcatAttributes).axis]
    y = layout.graph.concat([layout.laid(x, perm) for x in node.present], axis, name=layout.fresh(node.output))
    layout.set(node.output, y.name, perm)
    return True


def _split(layout: Layout, node: Node) -> bool:
    (x,) = node.present
    if not layout.is_turned(x):
        return False
    (source, perm), attributes = layout.of(x), node.attributes_as(SplitAttributes)
    axis = perm[attributes.axis]  # a negative one, too
    found = layout.graph.split(layout.tensor(source), attributes.sizes, axis=axis, name=layout.fresh(node.name))
    for name, piece in zip(node.outputs, found, strict=True):
        layout.set(name, piece.name, perm)
    return True


def _take(layout: Layout, node: Node) -> bool:
    """A run of elements along one axis is a slice, which in the other order may be a view; a copy is made when somebody
    needs it."""
    (x,) = node.present
    if not layout.is_turned(x):
        return False
    (source, perm), attributes = layout.of(x), node.attributes_as(TakeAttributes)
    graph, tensor = layout.graph, layout.tensor(source)
    runs = tuple(attributes.runs[perm.index(axis)] for axis in range(len(perm)))
    name = layout.fresh(node.output)
    cut = {axis: runs[axis] for axis, size in enumerate(tensor.shape) if runs[axis] != ((0, 1, size),)}
    if not cut:
        y = tensor
    elif all(len(each) == 1 and each[0].step == 1 and each[0].begin is not None for each in cut.values()):
        begins, ends = [each[0].begin or 0 for each in cut.values()], [each[0].last + 1 for each in cut.values()]
        y = graph.slice(tensor, begins, ends, list(cut), name=name)
    else:
        y = graph.add_node("Take", [tensor], TakeAttributes(attributes.kind, runs, attributes.fill), name)
    layout.set(node.output, y.name, perm)
    return True


def _matmul(layout: Layout, node: Node) -> bool:
    """Of a flattened image and constant weights: the weights' rows are brought into the order of the image's elements,
    so that those stay where they are."""
    a, b, *others = node.present
    weights, flat = layout.tensor(b), layout.flat(a)
    attributes = node.attributes_as(MatMulAttributes)
    if flat is None or not weights.is_weight or len(weights.shape) != 2:
        return False
    if attributes.transpose_a or attributes.transpose_b:
        return False
    (source, perm), found = flat
    shape = layout.shape(source)
    *_, last = found.groups
    if last.behind != (len(found.perm) - 1,) or found.perm != tuple(range(len(found.perm))):
        return False
    inside = sorted(perm[i] for i in last.before)
    in_place = (*found.arrangement[: -len(inside)], *inside)
    if not keeps_order(shape, in_place):
        return False
    own = [perm[i] for i in last.before]
    numbers = np.arange(weights.shape[0]).reshape([shape[axis] for axis in own])
    order = numbers.transpose([own.index(axis) for axis in inside]).reshape(-1)
    values = arranged(weights.values, (weights.shape[0], weights.shape[1]), order)
    graph = layout.graph
    w = graph.weight(graph.fresh_name(f"{b}.rows"), values, weights.dtype)
    x = layout.tensor(layout.reshaped(source, found.shape))
    operands = [x, w, *(layout.tensor(layout.made(name)) for name in others)]
    y = graph.add_node(node.op, operands, attributes, layout.fresh(node.output))
    layout.set(node.output, y.name, tuple(range(len(y.shape))))
    return True


RULES: dict[str, Callable[[Layout, Node], bool]] = {
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Concat": _concat,
    "Split": _split,
    "Take": _take,
    "MatMul": _matmul,
}
"""By operator; elementwise ones and those that work along rows have one each as a kind."""
