"""Placing: rows that are appended to a state are made where they belong, so that appending moves nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from minisim.compiler.attributes import AppendAttributes, Run, TakeAttributes
from minisim.compiler.graph import Graph, Node, view_2d
from minisim.compiler.lookups import LOOKUP
from minisim.compiler.nodes import Window
from minisim.compiler.ops.move import Move
from minisim.compiler.semantics import SEMANTICS


@dataclass(frozen=True)
class Place:
    """Graph -> Graph, in which the operand `rows` of each Append is a window of its state.

    Rows that lie elsewhere already, or must, are copied: inputs and weights, views that have other rows than what they
    are of, and what has other views, what is moved (in another order than rows have), outputs of the model, and what
    was appended to another state.
    """

    name: str = "place"

    def apply(self, graph: Graph) -> Graph:
        result = graph.anew()
        result.inputs, result.outputs = list(graph.inputs), dict(graph.outputs)
        result.tensors = {name: replace(tensor, graph=result) for name, tensor in graph.tensors.items()}
        fixed, views = _fixed(graph), _views(graph)
        placed = set(graph.outputs.values())
        makers = {name: node for node in graph.nodes for name in node.outputs}
        for node in graph.nodes:
            if node.op == "Append":
                state, rows = node.present
                same = _same_rows(rows, graph, makers)
                others = set().union(*(views[x] for x in same)) - set(same)
                if same[-1] in fixed or others or not placed.isdisjoint(same):
                    result.nodes.append(_copy(rows, result))
                    rows = result.nodes[-1].output
                    same = [rows]
                placed.update(same)
                window = Window(state, node.attributes_as(AppendAttributes).held, 0)
                result.tensors.update((x, replace(result.tensors[x], window=window)) for x in same)
                node = replace(node, inputs=(state, rows))
            result.nodes.append(node)
        return result


def _same_rows(rows: str, graph: Graph, makers: Mapping[str, Node]) -> list[str]:
    """`rows`, and what it is but another shape of, back to what is computed: all have the same rows and columns."""
    found = [rows]
    while (maker := makers.get(found[-1])) is not None and maker.op == "Reshape":
        (source,) = maker.present
        if view_2d(graph.tensors[source].shape) != view_2d(graph.tensors[rows].shape):
            break
        found.append(source)
    return found


def has_states(graph: Graph) -> bool:
    """Whether rows are appended to any state."""
    return any(node.op == "Append" for node in graph.nodes)


def _fixed(graph: Graph) -> set[str]:
    """The tensors that cannot be made elsewhere."""
    found = set(graph.inputs) | {
        name for name, tensor in graph.tensors.items() if tensor.is_weight or tensor.window is not None
    }
    for node in graph.nodes:
        if SEMANTICS[node.op].is_view or isinstance(SEMANTICS[node.op], Move):
            found.update(node.outputs)
        elif node.op == LOOKUP:  # its table and its indices are buffers of their own
            found.update((*node.present, *node.outputs))
    return found


def _views(graph: Graph) -> dict[str, set[str]]:
    """The views of each tensor, but for the states that it is appended to."""
    found: dict[str, set[str]] = {name: set() for name in graph.tensors}
    for node in graph.nodes:
        if SEMANTICS[node.op].is_view and node.op != "Append":
            for name in node.present:
                found[name].update(node.outputs)
    return found


def _copy(rows: str, graph: Graph) -> Node:
    """A node that copies `rows`; its output is added."""
    tensor = graph.tensors[rows]
    name = graph.fresh_name(f"{rows}/copy")
    graph.tensors[name] = replace(tensor, name=name, values=None, is_weight=False, window=None, held=None)
    return Node(
        "Take", name, (rows,), (name,), TakeAttributes("Copy", tuple((Run(0, 1, size),) for size in tensor.shape))
    )
