"""When it is whose turn in attention: a number for each operation of each strip, by which all are sorted in the end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minisim.compiler.attention_plan import MANY_TURNS, AttentionPlan
from minisim.compiler.program import Ids

SCORING, WEIGHING, MULTIPLYING = range(3)
"""The stages of a strip's way."""

MOST, MOST_OPERATIONS = 1 << 28, 1 << 20
"""Turns of a core, and operations of a strip and block: more than there can be."""


@dataclass(frozen=True)
class Order:
    """When it is whose turn: of each strip, in the order of rows.

    Attributes:
        core: whose it is.
        first, size: turns before those of its group, of all blocks and groups of its core; strips of its group.
        within: its number in the group.
        turns: strips of the group that take turns.
    """

    core: Ids
    first: Ids
    size: Ids
    within: Ids
    turns: Ids

    @classmethod
    def of(cls, cores: Ids, plan: AttentionPlan, blocks: int) -> Order:
        """The order of strips, given whose they are: those of a core stand behind each other."""
        begins = np.flatnonzero(np.diff(cores, prepend=-1))
        first_of_core = np.repeat(begins, np.diff(begins, append=len(cores)))
        at = np.arange(len(cores)) - first_of_core
        within = at % plan.group
        which = np.cumsum((within == 0).astype(np.int64)) - 1
        sizes = np.bincount(which)
        turns = np.minimum(plan.turns, sizes)
        length = -(-sizes * blocks // turns)
        before = np.cumsum(length) - length
        return cls(cores, before[which], sizes[which], within, turns[which])

    def repeated(self, times: int) -> Order:
        """The same of so many parts of each strip, one behind the other."""
        return Order(*(np.repeat(x, times) for x in (self.core, self.first, self.size, self.within, self.turns)))

    def keys(self, block: int, stage: int, operation: int | Ids, on_chip: bool) -> Ids:
        """Numbers by which the operations of a stage of a block are sorted, those of one strip at a time ascending:
        scores come a turn early, so that they are there when it is the vector unit's turn."""
        at = block * self.size + self.within
        turn = self.first + at // self.turns + (stage != SCORING)
        phase = 0 if on_chip else stage
        found = self.core * 3 + phase
        found = (found * MOST + turn) * 3 + stage
        if stage == WEIGHING:
            found = (found * MOST_OPERATIONS + operation) * MANY_TURNS + at % self.turns
        else:
            found = (found * MANY_TURNS + at % self.turns) * MOST_OPERATIONS + operation
        return np.asarray(found, dtype=np.int64)

    @staticmethod
    def core_of(keys: Ids) -> Ids:
        """The cores that such numbers are of."""
        return keys // (3 * MOST * 3 * MANY_TURNS * MOST_OPERATIONS)
