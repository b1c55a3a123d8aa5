"""A layered drawing of a graph without circles: who reads stands below who writes, and few edges cross.

Nodes are put on the first level below all that they read (longest path); within a level they are ordered by where
their neighbours stand (barycentres, a few times down and up). An edge over several levels passes places of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

ROUNDS = 6
"""Times that the levels are ordered, down and up in turn."""


@dataclass(frozen=True)
class Layout:
    """Where nodes stand, in columns and levels, and what edges pass.

    Attributes:
        at: of each node its column (which may be a half) and level.
        ways: of each edge the points that it passes, its two ends included.
        columns, levels: the size of the drawing.
    """

    at: list[tuple[float, int]]
    ways: list[list[tuple[float, int]]]
    columns: float
    levels: int


def layout(nodes: int, edges: Sequence[tuple[int, int]]) -> Layout:
    """The drawing of nodes 0 ... nodes - 1; an edge goes from the one that writes to the one that reads."""
    level = _levels(nodes, edges)
    level, chains = _with_places(level, edges)
    count = max(level, default=-1) + 1
    rows: list[list[int]] = [[] for _ in range(count)]
    for node, on in enumerate(level):
        rows[on].append(node)
    above: list[list[int]] = [[] for _ in level]
    below: list[list[int]] = [[] for _ in level]
    for chain in chains:
        for one, other in pairwise(chain):
            below[one].append(other)
            above[other].append(one)
    position = _ordered(rows, above, below)
    widest = max((len(row) for row in rows), default=0)
    at = [(position[node] + (widest - len(rows[level[node]])) / 2, level[node]) for node in range(len(level))]
    return Layout(at[:nodes], [[at[node] for node in chain] for chain in chains], widest, count)


def _levels(nodes: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """The longest path to each node from one that reads nothing. Nodes are taken level by level, so that the last one
    that a node waits for is on the highest level of all that it reads."""
    readers: list[list[int]] = [[] for _ in range(nodes)]
    waits = [0] * nodes
    for one, other in edges:
        readers[one].append(other)
        waits[other] += 1
    level = [0] * nodes
    ready = [node for node in range(nodes) if not waits[node]]
    for node in ready:  # grows while it is walked
        for other in readers[node]:
            waits[other] -= 1
            if not waits[other]:
                level[other] = level[node] + 1
                ready.append(other)
    return level


def _with_places(level: list[int], edges: Sequence[tuple[int, int]]) -> tuple[list[int], list[list[int]]]:
    """Levels with a place more on each one that an edge passes, and of each edge the nodes and places on its way."""
    level, chains = list(level), []
    for one, other in edges:
        chain = [one]
        for on in range(level[one] + 1, level[other]):
            chain.append(len(level))
            level.append(on)
        chains.append([*chain, other])
    return level, chains


def _ordered(rows: list[list[int]], above: list[list[int]], below: list[list[int]]) -> dict[int, int]:
    """The position of each node in its row."""
    position = {node: i for row in rows for i, node in enumerate(row)}
    for turn in range(ROUNDS):
        neighbours = above if turn % 2 == 0 else below
        for row in rows if turn % 2 == 0 else reversed(rows):
            centre = {
                node: sum(position[n] for n in neighbours[node]) / len(neighbours[node])
                if neighbours[node]
                else float(position[node])
                for node in row
            }
            row.sort(key=lambda node: (centre[node], position[node]))
            position.update({node: i for i, node in enumerate(row)})
    return position
