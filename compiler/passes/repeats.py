"""Repeats: a deep network is often one block of layers many times, and what suits two of them suits all.

So where something is tried out, a graph is tried in which a block that comes three times or more is there twice: once
as it is followed by the next one, and once as it is followed by what comes behind the last. What was found is then
carried over to the blocks that were left out.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from minisim.compiler.graph import Graph
from minisim.compiler.passes.excerpt import Excerpt
from minisim.compiler.semantics import SEMANTICS

LONGEST = 400
"""Nodes of a block that is looked for, at most."""

SMALL = 250_000
"""Operations of the array and the vector unit up to which a graph is tried as it is: of small blocks it counts what is
around them."""

KEPT = 2
"""Times that a block is kept."""


@dataclass(frozen=True)
class Run:
    """A block of nodes that comes many times: `period` nodes from number `first` on, `times` times."""

    first: int
    period: int
    times: int

    @property
    def end(self) -> int:
        """The number behind its last node."""
        return self.first + self.period * self.times


def runs(graph: Graph, apart: Collection[str] = ()) -> list[Run]:
    """The runs of a graph's nodes, one behind the other: of blocks that come three times or more.

    Nodes are equal if all but their names is. Those whose names are in `apart` are like no others.
    """
    numbers: dict[object, int] = {}
    keys = [node.name if node.name in apart else Excerpt([node], graph) for node in graph.nodes]
    which = np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)
    found, begin = [], 0
    for run in _longest(which):
        if run.first >= begin:
            found.append(run)
            begin = run.end
    return found


def _left_out(run: Run) -> int:
    """How many nodes need not be looked at."""
    return (run.times - KEPT) * run.period


def _longest(which: np.ndarray[tuple[int], np.dtype[np.int64]]) -> list[Run]:
    """Runs in the order of their first nodes; of those that begin with one node that which leaves out the most."""
    best: dict[int, Run] = {}
    for period in range(1, min(LONGEST, len(which) // (KEPT + 1)) + 1):
        same = np.concatenate([[False], which[:-period] == which[period:], [False]])
        edges = np.flatnonzero(same[1:] != same[:-1])
        for begin, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            run = Run(begin, period, (end - begin) // period + 1)
            if run.times > KEPT and (begin not in best or _left_out(run) > _left_out(best[begin])):
                best[begin] = run
    return [best[begin] for begin in sorted(best)]


class Short:
    """A graph without its repeats: of each run the first two blocks are kept.

    Attributes:
        graph: of the nodes that are kept. What they read of others are its inputs.
        stands: by the name of each node that of the kept one which it is decided as. The second block that is kept
            stands for the last one, which is followed by the same, and the first for all others.
        more: of each run, its second block, as a range of the graph's executed nodes, and how many blocks were left
            out: as many times more than it takes here it takes in the whole.
    """

    def __init__(self, graph: Graph, apart: Collection[str], operations: int) -> None:
        """Of a graph of so many operations on its tiles; a small one (`SMALL`) has no repeats."""
        self._runs = runs(graph, apart) if operations > SMALL else []
        stands = list(range(len(graph.nodes)))
        kept = [True] * len(stands)
        for run in self._runs:
            for at in range(run.first, run.end):
                is_last = at >= run.end - run.period
                stands[at] = run.first + run.period * is_last + (at - run.first) % run.period
                kept[at] = at < run.first + KEPT * run.period
        self.graph = graph
        if self._runs:
            self.graph = Excerpt(
                [node for node, is_kept in zip(graph.nodes, kept, strict=True) if is_kept], graph
            ).graph
        self.stands = {node.name: graph.nodes[at].name for node, at in zip(graph.nodes, stands, strict=True)}
        is_executed = [not SEMANTICS[node.op].is_view for node in graph.nodes]
        self._before = np.concatenate([[0], np.cumsum(is_executed)]).tolist()  # executed nodes before each node
        before = np.concatenate([[0], np.cumsum(np.logical_and(is_executed, kept))]).tolist()  # of those that are kept
        self.more = tuple(
            (range(before[run.first + run.period], before[run.first + KEPT * run.period]), run.times - KEPT)
            for run in self._runs
        )

    def __bool__(self) -> bool:
        """Whether there are repeats."""
        return bool(self._runs)

    def whole(self, slices: Sequence[range]) -> tuple[range, ...] | None:
        """Slices of the short graph's executed nodes as those of the whole graph's; None, if one of them takes all
        that is kept of a run, of which it is not known how it would go on."""
        found = list(slices)
        for run in self._runs:
            begin, second = self._before[run.first], self._before[run.first + run.period]
            period, more = second - begin, run.times - KEPT
            moved: list[range] = []
            for each in found:
                if each.start <= begin and each.stop >= begin + KEPT * period:
                    return None
                times = [0] if each.start < begin else range(more + 1) if each.start < second else [more]
                moved += [range(each.start + i * period, each.stop + i * period) for i in times]
            found = moved
        apart: list[range] = []
        for each in sorted(found, key=lambda each: each.start):
            if not apart or each.start >= apart[-1].stop:
                apart.append(each)
        return tuple(apart)
