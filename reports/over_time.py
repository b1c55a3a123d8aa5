"""Amounts over time: in steps of a run, and as a level that rises and falls."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Column = npt.NDArray[np.int64]


def step_edges(cycles: int, steps: int, shortest: int = 1) -> Column:
    """The cycles at which the steps of a run begin, and its end: so many steps, none shorter than `shortest`."""
    return np.unique(np.linspace(0, cycles, min(steps, max(1, cycles // shortest)) + 1).astype(np.int64))


def passed(begin: Column, end: Column, amount: Column, edges: Column) -> npt.NDArray[np.float64]:
    """Of amounts, each spread evenly over [begin, end), what has passed until each edge; without time, nothing."""
    taken = end > begin
    begin, end, amount = begin[taken], end[taken], amount[taken]
    rate = amount / (end - begin)
    at = np.concatenate([begin, end])
    order = np.argsort(at, kind="stable")
    at, rates = at[order], np.cumsum(np.concatenate([rate, -rate])[order])
    until = np.concatenate([[0.0], np.cumsum(rates[:-1] * np.diff(at))])[: len(at)]
    sums = np.interp(edges, at, until, left=0.0) if len(at) else np.zeros(len(edges))
    sums[-1:] = amount.sum()
    return np.asarray(sums)


def level(begin: Column, end: Column, amount: Column) -> tuple[Column, Column]:
    """When the sum of all amounts that there are in [begin, end) changes, and to what."""
    at = np.concatenate([begin, end])
    order = np.argsort(at, kind="stable")
    at, total = at[order], np.cumsum(np.concatenate([amount, -amount])[order])
    last = np.append(at[1:] != at[:-1], True)[: len(at)]  # what ends at a moment makes room at once
    at, total = at[last], total[last]
    changed = np.diff(total, prepend=0) != 0
    return at[changed], total[changed]
