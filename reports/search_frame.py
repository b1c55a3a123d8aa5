"""A search as a script and a notebook have it: the points that were timed, and the front of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from minisim.reports.compare_sweeps import STATUS
from minisim.reports.notebook import tables_html
from minisim.reports.sweep import sweep_table
from minisim.reports.sweep_frame import Sweep


@dataclass(frozen=True, repr=False)
class Search(Sweep):
    """The points of a search, in the order in which they were taken.

    Attributes:
        best_rows: those that no other one beats in all objectives, by the first of them.
        objectives: what was made small; the column of one is called ``objective_NAME``.
        most: points of the whole grid.
    """

    best_rows: Sequence[Mapping[str, Any]]
    objectives: Sequence[str]
    most: int

    def __repr__(self) -> str:
        return f"<Search for {self.name!r}: {self.verdict}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: the front."""
        columns = [*self.params, *(f"objective_{name}" for name in self.objectives)]
        shown = self.front[columns] if self.best_rows else self.points[[*self.params, STATUS]]
        return tables_html(f"{self.name}: {self.verdict}", {"front": shown})

    @property
    def verdict(self) -> str:
        """One line: how much of the grid was timed, and how many points are best."""
        wanted = ", ".join(self.objectives)
        return f"{len(self.rows)} of {self.most:,} points, {len(self.best_rows)} on the front of {wanted}"

    @cached_property
    def front(self) -> pd.DataFrame:
        """A row per point of the front, with the columns of `points`."""
        return sweep_table(self.best_rows)
