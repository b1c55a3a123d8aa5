"""Heads of a state: a matmul by all of its rows reads them where they lie, beside each other (ADR 47, 54).

An ONNX model has the keys, and the values, of a decoder by heads, (batch, heads, rows, columns), turns them, and
repeats those that several queries share. In the state a token is a row. So b of such a matmul is followed back to the
state; if each of its matrices is one run of the state's columns, the matmul takes the state itself: nothing is moved.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from minisim.compiler.attributes import (
    MatMulAttributes,
    ReshapeAttributes,
    TakeAttributes,
    TransposeAttributes,
)
from minisim.compiler.graph import Graph, Node, Shape, Tensor


@dataclass(frozen=True)
class _Heads:
    """A tensor whose matrices are runs of the columns of a state.

    Attributes:
        rows: the tensor of all rows of the state, (rows, heads x columns).
        numbers: which head each of its matrices is; of the axes of the tensor, those of a head's own rows and columns
            have the size 1.
        row, column: which axes these are.
    """

    rows: Tensor
    numbers: npt.NDArray[np.int64]
    row: int
    column: int

    def sizes(self, size: int) -> Shape:
        """The shape of the tensor, whose heads have so many columns."""
        found = list(self.numbers.shape)
        found[self.row], found[self.column] = self.rows.shape[0], size
        return tuple(found)


def read_beside(graph: Graph) -> None:
    """Let the matmuls of `graph` read states where they can, in place; tensors keep their names and values."""
    known: dict[str, _Heads] = {}
    states = {node.output: node.output for node in graph.nodes if node.op == "Append"}
    nodes, graph.nodes = graph.nodes, []
    reshaped = _reshaped_from(nodes)
    for node in nodes:
        if node.op == "Append" and (rows := node.present[1]) in reshaped:
            shape, name = graph.tensors[rows].shape, graph.fresh_name(f"{rows}/at_once")
            at_once = graph.reshape(graph.tensors[reshaped[rows]], shape, name=name)
            node = replace(node, inputs=(node.present[0], at_once.name))
        x, found = node.present[0], None
        if x in states and _is_copy(node, graph):
            states[node.output] = states[x]
        elif x in states:
            found = _first(graph.tensors[states[x]], node)
        elif x in known:
            found = _followed(known[x], node, graph)
        if found is not None:
            known[node.output] = found
        by_heads = known.get(node.present[1]) if node.op == "MatMul" else None
        if by_heads is None or not _reads(graph, node, by_heads):
            graph.nodes.append(node)
    _drop_unread(graph, {*states, *known, *reshaped} - {*states.values()})


def _reshaped_from(nodes: Sequence[Node]) -> dict[str, str]:
    """Of each tensor that is another shape of another one, of what it is in the end: a token's row goes by heads and
    back, and may yet be made where it belongs."""
    found: dict[str, str] = {}
    for node in nodes:
        if node.op == "Reshape":
            found[node.output] = found.get(node.present[0], node.present[0])
    return found


def _drop_unread(graph: Graph, tensors: set[str]) -> None:
    """Take away the nodes that make these tensors, where nobody reads them any more."""
    read, kept = set(graph.outputs.values()), []
    for node in reversed(graph.nodes):
        if not tensors.isdisjoint(node.outputs) and read.isdisjoint(node.outputs):
            continue
        read.update(node.present)
        kept.append(node)
    graph.nodes = kept[::-1]


def _is_copy(node: Node, graph: Graph) -> bool:
    """Whether a node takes all elements, in their order."""
    whole = tuple(((0, 1, size),) for size in graph.tensors[node.present[0]].shape)
    return isinstance(node.attributes, TakeAttributes) and node.attributes.runs == whole


def _first(rows: Tensor, node: Node) -> _Heads | None:
    """(rows, batch x heads x columns) as (rows, batch, heads, columns): what `Past.with_rows` begins with."""
    if not isinstance(node.attributes, ReshapeAttributes) or len(shape := node.attributes.shape) != 4:
        return None
    return _Heads(rows, np.arange(math.prod(shape[1:3])).reshape(1, *shape[1:3], 1), 0, 3)


def _followed(x: _Heads, node: Node, graph: Graph) -> _Heads | None:
    """What a node makes of it, if it moves whole matrices, or turns them."""
    attributes, numbers = node.attributes, x.numbers
    if isinstance(attributes, TransposeAttributes):
        at = attributes.perm.index
        return _Heads(x.rows, numbers.transpose(attributes.perm), at(x.row), at(x.column))
    if isinstance(attributes, ReshapeAttributes):
        before, after = graph.tensors[node.present[0]].shape, graph.tensors[node.output].shape
        return _reshaped(x, before, after)
    if isinstance(attributes, TakeAttributes):
        for axis, runs in enumerate(attributes.runs):
            own = axis in (x.row, x.column)
            size = graph.tensors[node.present[0]].shape[axis]
            if (own and runs != ((0, 1, size),)) or any(run.begin is None for run in runs):
                return None
            if not own:
                places = [(run.begin or 0) + run.step * i for run in runs for i in range(run.length)]
                numbers = numbers.take(places, axis)
        return replace(x, numbers=numbers)
    return None


def _reshaped(x: _Heads, before: Shape, after: Shape) -> _Heads | None:
    """Under another shape, in which rows and columns are still axes of their own."""

    def places(axis: int) -> list[int]:
        lead = math.prod(before[:axis])
        return [i for i, size in enumerate(after) if size == before[axis] and math.prod(after[:i]) == lead]

    pairs = [(row, column) for row in places(x.row) for column in places(x.column) if row != column]
    order = [pair for pair in pairs if (pair[0] < pair[1]) == (x.row < x.column)]
    if not order:
        return None
    row, column = max(order)
    shape = [1 if axis in (row, column) else size for axis, size in enumerate(after)]
    return _Heads(x.rows, x.numbers.reshape(shape), row, column)


def _reads(graph: Graph, node: Node, b: _Heads) -> bool:
    """Whether the matmul reads the state instead; then what it is now is appended to the graph."""
    x = node.attributes_as(MatMulAttributes)
    shapes = [graph.tensors[name].shape for name in node.present]
    rank = len(shapes[1])
    if len(shapes) != 2 or x.transpose_a or len(shapes[0]) < 2 or sorted((b.row, b.column)) != [rank - 2, rank - 1]:
        return False
    lead, (m, k) = shapes[0][:-2], shapes[0][-2:]
    if np.broadcast_shapes(lead, b.numbers.shape[:-2]) != lead:
        return False
    numbers = np.broadcast_to(b.numbers[..., 0, 0], lead).reshape(-1)
    heads = b.rows.shape[1] // shapes[1][b.column]
    if len(numbers) % heads or (numbers != np.arange(len(numbers)) // (len(numbers) // heads)).any():
        return False
    attributes = replace(x, transpose_b=x.transpose_b != (b.row == rank - 1), b_heads=heads if heads > 1 else 0)
    a = graph.tensors[node.present[0]]
    a = graph.reshape(a, (len(numbers), m, k), name=graph.fresh_name(f"{node.name}/matrices"))
    y = graph.add_node("MatMul", [a, b.rows], attributes, graph.fresh_name(f"{node.name}/by_heads"))
    shape = graph.tensors[node.output].shape
    graph.nodes.append(Node("Reshape", node.name, (y.name,), node.outputs, ReshapeAttributes(shape)))
    return True
