"""Placing: rows that are appended to a state are made where they belong, so that appending moves nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace

from minisim.compiler.attributes import AppendAttributes, Run, TakeAttributes
from minisim.compiler.graph import Graph, Node
from minisim.compiler.nodes import Window
from minisim.compiler.ops.move import Move
from minisim.compiler.semantics import SEMANTICS


@dataclass(frozen=True)
class Place:
    """Graph -> Graph, in which the operand `rows` of each Append is a window of its state.

    Rows that lie elsewhere already, or must, are copied: inputs and weights, views and what has views, what is moved
    (in another order than rows have), outputs of the model, and what was appended to another state.
    """

    name: str = "place"

    def apply(self, graph: Graph) -> Graph:
        result = graph.anew()
        result.inputs, result.outputs = list(graph.inputs), dict(graph.outputs)
        result.tensors = {name: replace(tensor, graph=result) for name, tensor in graph.tensors.items()}
        fixed = _fixed(graph)
        for node in graph.nodes:
            if node.op == "Append":
                state, rows = node.present
                if rows in fixed:
                    result.nodes.append(_copy(rows, result))
                    rows = result.nodes[-1].output
                fixed.add(rows)
                window = Window(state, node.attributes_as(AppendAttributes).held, 0)
                result.tensors[rows] = replace(result.tensors[rows], window=window)
                node = replace(node, inputs=(state, rows))
            result.nodes.append(node)
        return result


def has_states(graph: Graph) -> bool:
    """Whether rows are appended to any state."""
    return any(node.op == "Append" for node in graph.nodes)


def _fixed(graph: Graph) -> set[str]:
    """The tensors that cannot be made elsewhere."""
    found = set(graph.inputs) | set(graph.outputs.values())
    found |= {name for name, tensor in graph.tensors.items() if tensor.is_weight or tensor.window is not None}
    for node in graph.nodes:
        if SEMANTICS[node.op].is_view:
            found.update(node.outputs)
            found.update(node.present if node.op != "Append" else ())
        elif isinstance(SEMANTICS[node.op], Move):
            found.update(node.outputs)
    return found


def _copy(rows: str, graph: Graph) -> Node:
    """A node that copies `rows`; its output is added."""
    tensor = graph.tensors[rows]
    name = graph.fresh_name(f"{rows}/copy")
    graph.tensors[name] = replace(tensor, name=name, values=None, is_weight=False, window=None, held=None)
    return Node(
        "Take", name, (rows,), (name,), TakeAttributes("Copy", tuple((Run(0, 1, size),) for size in tensor.shape))
    )
