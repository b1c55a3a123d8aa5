"""A sweep as a script and a notebook have it: a table of points, the best of them, a picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pandas as pd

from minisim.errors import UsageError, did_you_mean, shown
from minisim.reports.compare_sweeps import STATUS, Points, SweepComparison
from minisim.reports.notebook import tables_html
from minisim.reports.plot import plot_lines
from minisim.reports.sweep import sweep_table
from minisim.reports.write import FLOAT_FORMAT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TIME = "cycles_total"
"""What points are compared by, if nothing else is said."""


@dataclass(frozen=True, repr=False)
class Sweep:
    """The points of a sweep.

    Attributes:
        name: of the model.
        rows: those of sweep.csv, as `minisim.sweeps.rows` gives them.
    """

    name: str
    rows: Sequence[Mapping[str, Any]]

    def __repr__(self) -> str:
        return f"<Sweep of {self.name!r}: {self.verdict}>"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        ran = [column for column in (TIME, "cycles_over_roofline", "bound_by", "energy_uj") if column in self.points]
        return tables_html(f"{self.name}: {self.verdict}", {"points": self.points[[*self.params, STATUS, *ran]]})

    @property
    def verdict(self) -> str:
        """One line: how many points there are, and which takes the fewest cycles."""
        counts = Counter(str(row[STATUS]) for row in self.rows)
        told = f"{len(self.rows)} points ({', '.join(f'{n} {status}' for status, n in counts.items())})"
        if not counts["ok"]:
            return told
        best = self.best()
        where = " ".join(f"{param}={best[param]}" for param in self.params)
        return f"{told}, fewest cycles {best[TIME]:,} at {where}"

    @property
    def params(self) -> list[str]:
        """The keys that vary."""
        return list(self.rows[0])[: list(self.rows[0]).index(STATUS)] if self.rows else []

    @cached_property
    def points(self) -> pd.DataFrame:
        """A row per point: its parameters, status and reason, then the columns of summary.csv, as in sweep.csv."""
        return sweep_table(self.rows)

    def best(self, metric: str = TIME) -> pd.Series[Any]:
        """The row of the point with the least of a column; of several the first."""
        ran = self.points[self.points[STATUS] == "ok"]
        if ran.empty:
            raise UsageError("best: no point of the sweep ran")
        values = pd.to_numeric(ran[self._metric(metric)])
        row: pd.Series[Any] = ran.loc[values[values == values.min()].index[0]]
        return row

    def plot(self, over: str | None = None, metric: str = TIME, ax: Axes | None = None) -> Axes:
        """Draw a column over one parameter, a line for each combination of the others (extra `[plot]`).

        Args:
            over: the parameter; default: the first one that takes several values.
            metric: the column, such as "energy_uj".
        """
        several = [param for param in self.params if self.points[param].nunique() > 1]
        over = over or (several or self.params or [""])[0]
        if over not in self.params:
            raise UsageError(f"plot: {shown(over)} is no parameter of the sweep{did_you_mean(over, self.params)}")
        others = [param for param in several if param != over]
        ticks = list(dict.fromkeys(str(row[over]) for row in self.rows))
        lines: dict[str, list[tuple[int, float]]] = {}
        column = self._metric(metric)
        for row in self.rows:
            if row[STATUS] == "ok":
                label = " ".join(f"{param}={row[param]}" for param in others)
                lines.setdefault(label, []).append((ticks.index(str(row[over])), float(row[column])))
        return plot_lines(self.name, over, ticks, column, lines, ax)

    def compare(self, other: Sweep) -> SweepComparison:
        """Point by point, how much more or less the other one takes."""
        if not isinstance(other, Sweep):
            raise UsageError(f"a sweep is compared with a sweep, not with {shown(other)}")
        return SweepComparison(*(Points.of(each.texts(), each.name) for each in (self, other)))

    def texts(self) -> list[dict[str, str]]:
        """The rows as sweep.csv has them."""
        columns = [str(name) for name in self.points]
        return [{name: _text(row.get(name)) for name in columns} for row in self.rows]

    def _metric(self, name: str) -> str:
        columns = [str(c) for c in self.points if c not in (*self.params, STATUS)]
        numbers = [c for c in columns if pd.api.types.is_numeric_dtype(self.points[c])]
        if name not in numbers:
            raise UsageError(f"{shown(name)} is no column of numbers of a sweep{did_you_mean(name, numbers)}")
        return name


def _text(value: object) -> str:
    if value is None:
        return ""
    return FLOAT_FORMAT % value if isinstance(value, float) else str(value)
