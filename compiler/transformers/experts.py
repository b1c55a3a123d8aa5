"""Experts: several feed-forward layers beside each other, of which a token takes a few.

    y[t] = sum over the experts e that t takes, ascending: gate[t, e] ffn_e(x[t]),    gate = softmax of their scores

The tokens of an expert are gathered as rows of one matrix, so its weights are read once for all of them, and those of
an expert that nobody takes are not. Which expert a token takes is given (`routing.py`); how much it counts is computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from minisim.compiler.graph import Graph, Tensor
from minisim.compiler.transformers.routing import Experts

Expert = Callable[[Tensor, int, str], Tensor]
"""The feed-forward layer of an expert: of some tokens, its number, and a name for its nodes."""


def gates(graph: Graph, scores: Tensor, taken: Experts, name: str) -> Tensor:
    """How much each expert counts for each token, (tokens, experts): 0 of those that it does not take."""
    mask = np.zeros(scores.shape, np.bool_)
    np.put_along_axis(mask, taken, True, axis=1)
    seen = graph.weight(f"{name}.taken", mask, "bool")
    return graph.softmax(graph.select(seen, scores, -math.inf, name=f"{name}.masked"), name=f"{name}.gates")


def mixed(graph: Graph, x: Tensor, gate: Tensor, taken: Experts, expert: Expert, name: str) -> Tensor:
    """What the tokens x (tokens, hidden) get of the experts that they take."""
    if len(taken) == 1:
        return _of_one(graph, x, gate, taken[0].tolist(), expert, name)
    parts, order = [], []
    for number in np.unique(taken).tolist():
        rows = np.flatnonzero((taken == number).any(axis=1)).tolist()
        own = graph.take(x, [rows, None], kind="Gather", name=f"{name}.expert{number}.tokens")
        share = graph.take(gate, [rows, [number]], kind="Gather", name=f"{name}.expert{number}.gate_of")
        part = expert(own, number, f"{name}.expert{number}")
        parts.append(graph.mul(part, share, name=f"{name}.expert{number}.weighed"))
        order += [(row, number) for row in rows]
    together = graph.concat(parts, 0, name=f"{name}.together") if len(parts) > 1 else parts[0]
    place = {pair: i for i, pair in enumerate(order)}
    slots = [
        graph.take(together, [[place[row, number] for row, number in enumerate(column)], None], kind="Gather",
                   name=f"{name}.back{i}")
        for i, column in enumerate(taken.T.tolist())
    ]  # fmt: skip
    return _sum(graph, slots, name)


def _of_one(graph: Graph, x: Tensor, gate: Tensor, taken: Sequence[int], expert: Expert, name: str) -> Tensor:
    """Of one token nothing is gathered. Nodes are called by their place, so that layers are equal whoever is taken."""
    parts = []
    for i, number in enumerate(taken):
        share = graph.slice(gate, [number], [number + 1], [1], name=f"{name}.taken{i}.gate_of")
        part = expert(x, number, f"{name}.taken{i}")
        parts.append(graph.mul(part, share, name=f"{name}.taken{i}.weighed"))
    return _sum(graph, parts, name)


def _sum(graph: Graph, parts: Sequence[Tensor], name: str) -> Tensor:
    found = parts[0]
    for i, part in enumerate(parts[1:], 1):
        found = graph.add(found, part, name=f"{name}.sum{i}")
    return found
