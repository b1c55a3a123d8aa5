"""Two sweeps, point by point: over their whole range, how much more or less does B take than A?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from minisim.errors import UsageError, shown
from minisim.reports.compare import ratio, write_comparison
from minisim.reports.notebook import tables_html
from minisim.reports.read import read_rows
from minisim.reports.sweep import SWEEP_FILE

STATUS = "status"
"""The column behind the parameters."""

METRICS = {
    "cycles": ("cycles_total",),
    "time": ("time_us",),
    "energy": ("energy_uj",),
    "EDP": ("time_us", "energy_uj"),
    "DRAM traffic": ("dram_read_bytes", "dram_write_bytes"),
}
"""What is compared, and from which columns of sweep.csv: of traffic their sum, of EDP their product."""

Row = Mapping[str, object]


@dataclass(frozen=True, repr=False)
class Points:
    """A sweep: its name, the names of its parameters, and its rows by the values of those."""

    name: str
    params: tuple[str, ...]
    rows: Mapping[tuple[str, ...], Row]

    @staticmethod
    def read(path: str | Path, name: str = "") -> Points:
        """The sweep of a folder, or of its sweep.csv itself.

        Raises:
            UsageError: there is none, or it is not the table of a sweep.
        """
        path = Path(path)
        file = path if path.suffix else path / SWEEP_FILE
        return Points.of(read_rows(file), name or str(path), str(file))

    @staticmethod
    def of(rows: list[dict[str, str]], name: str, place: str = "sweep") -> Points:
        """The rows of a sweep, in the order of its table."""
        columns = list(rows[0]) if rows else []
        needed = {STATUS, *(column for columns in METRICS.values() for column in columns)}
        if STATUS not in columns or needed - set(columns):
            missing = sorted(needed - set(columns))[0]
            raise UsageError(f"{place}: has no column {shown(missing)}, or no points: it is not the table of a sweep")
        params = tuple(columns[: columns.index(STATUS)])
        found: dict[tuple[str, ...], Row] = {}
        for row in rows:
            values = tuple(str(row[param]) for param in params)
            if values in found:
                raise UsageError(f"{place}: has the point {_text(params, values)} twice")
            found[values] = row
        return Points(name, params, found)


def _text(params: tuple[str, ...], values: tuple[str, ...]) -> str:
    return " ".join(f"{param}={value}" for param, value in zip(params, values, strict=True)) or "of no parameters"


@dataclass(frozen=True, repr=False)
class SweepComparison:
    """Two sweeps of the same parameters. Ratios are B / A: below 1, B takes less.

    Attributes:
        a, b: before and after.
    """

    a: Points
    b: Points

    def __post_init__(self) -> None:
        if set(self.a.params) != set(self.b.params):
            names = [" ".join(points.params) or "none" for points in (self.a, self.b)]
            raise UsageError(f"sweeps of the same parameters can be compared: {self.a.name} has {names[0]}, "
                             f"{self.b.name} has {names[1]}")  # fmt: skip
        if not len(self.points):
            raise UsageError(f"{self.a.name} and {self.b.name} have no point in common that ran in both")

    def __repr__(self) -> str:
        return f"<SweepComparison {self.verdict}>"

    def _repr_html_(self) -> str:
        return tables_html(self.verdict, {"ratios": self.ratios, "points": self.points.head(10)})

    @property
    def verdict(self) -> str:
        """One sentence: the range of the ratio of cycles."""
        row = self.ratios.iloc[0]
        ratios = f"cycles {row['least']:.3g} to {row['most']:.3g} x, {row['mean']:.3g} x on average"
        return f"{self.a.name} -> {self.b.name}: {row['points']} points, {ratios}"

    @cached_property
    def points(self) -> pd.DataFrame:
        """A row per point that ran in both, the largest movers first: its parameters, cycles, and all ratios."""
        rows: list[dict[str, Any]] = []
        for values, row, other in self._pairs():
            if row[STATUS] == other[STATUS] == "ok":
                ratios = {f"{metric}_ratio": ratio(_value(row, metric), _value(other, metric)) for metric in METRICS}
                cycles = {"cycles_a": int(_value(row, "cycles")), "cycles_b": int(_value(other, "cycles"))}
                rows.append({**dict(zip(self.a.params, values, strict=True)), **cycles, **ratios})
        rows.sort(key=lambda row: -abs(math.log(row["cycles_ratio"])) if row["cycles_ratio"] > 0 else 0.0)
        return pd.DataFrame(rows)

    @cached_property
    def ratios(self) -> pd.DataFrame:
        """A row per metric: over all points the least, the geometric mean and the most of B / A."""
        rows = []
        for metric in METRICS:
            found = [r for r in self.points[f"{metric}_ratio"].tolist() if r > 0]
            mean = math.exp(sum(map(math.log, found)) / len(found)) if found else math.nan
            rows.append((metric, len(found), min(found, default=math.nan), mean, max(found, default=math.nan)))
        return pd.DataFrame(rows, columns=["metric", "points", "least", "mean", "most"])

    @cached_property
    def unmatched(self) -> pd.DataFrame:
        """A row per point that only one sweep has, or that did not run in both: what it is in A and in B."""
        rows = []
        for values, row, other in self._pairs(everywhere=True):
            if (states := (row.get(STATUS, "not there"), other.get(STATUS, "not there"))) != ("ok", "ok"):
                rows.append((_text(self.a.params, values), *states))
        return pd.DataFrame(rows, columns=["point", "a", "b"])

    def write(self, out_dir: str | Path) -> list[Path]:
        """Write compare.csv, a row per metric, and compare_points.csv: both or none."""
        return write_comparison(out_dir, self.ratios, {"points": self.points})

    def _pairs(self, everywhere: bool = False) -> Iterator[tuple[tuple[str, ...], Row, Row]]:
        """The values of a point's parameters, as A has their order, with its rows; `everywhere`: also of one sweep."""
        order = [self.b.params.index(param) for param in self.a.params]
        others = {tuple(values[i] for i in order): row for values, row in self.b.rows.items()}
        for values in dict.fromkeys([*self.a.rows, *others]):
            row, other = self.a.rows.get(values, {}), others.get(values, {})
            if everywhere or (row and other):
                yield values, row, other


def _value(row: Row, metric: str) -> float:
    try:
        values = [float(str(row[column])) for column in METRICS[metric]]
    except ValueError as e:
        raise UsageError(f"a point's {metric} is no number: {shown(str(e))}") from None
    return math.prod(values) if metric == "EDP" else sum(values)
