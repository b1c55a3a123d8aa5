"""Two sweeps, point by point: over their whole range, how much more or less does B take than A?

Points are matched by their parameters. One that a sweep has with a single value, and the other one not at all, does not
keep points apart: it is left out. Whatever the points in common say, the best of each sweep may be others: both fronts
are told, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from minisim.errors import UsageError, shown
from minisim.reports.compare import ratio, write_comparison
from minisim.reports.html.pareto import front, knee
from minisim.reports.html.sweep_folder import read_sweep
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
    """A sweep: its name, the names of its parameters, and its rows by the values of those.

    Attributes:
        areas: of the points whose machines are known, the proxy of `hwmodel.area`.
    """

    name: str
    params: tuple[str, ...]
    rows: Mapping[tuple[str, ...], Row]
    areas: Mapping[tuple[str, ...], float] = field(default_factory=dict)

    @staticmethod
    def read(path: str | Path, name: str = "") -> Points:
        """The sweep of a folder, or of its sweep.csv itself.

        Raises:
            UsageError: there is none, or it is not the table of a sweep.
        """
        path = Path(path)
        file = path if path.suffix else path / SWEEP_FILE
        found = Points.of(read_rows(file), name or str(path), str(file))
        if file.name != SWEEP_FILE:
            return found
        try:
            points = read_sweep(file.parent).points
        except UsageError:  # what is known of its machines is another version's, or damaged
            return found
        areas = {tuple(point.params.values()): point.area for point in points}
        return replace(found, areas={values: area for values, area in areas.items() if not math.isnan(area)})

    @staticmethod
    def of(rows: list[dict[str, str]], name: str, place: str = "sweep") -> Points:
        """The rows of a sweep, in the order of its table."""
        columns = list(rows[0]) if rows else []
        if STATUS in columns and not any(row[STATUS] == "ok" for row in rows):
            raise UsageError(f"{place}: no point of this sweep ran: there is nothing to compare")
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

    def without(self, names: set[str]) -> Points:
        """The same points, not told apart by these parameters, of which each has one value."""
        kept = [i for i, param in enumerate(self.params) if param not in names]

        def short(values: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(values[i] for i in kept)

        rows = {short(key): row for key, row in self.rows.items()}
        areas = {short(key): area for key, area in self.areas.items()}
        return replace(self, params=short(self.params), rows=rows, areas=areas)

    def constant(self) -> set[str]:
        """The parameters that have one value in all points."""
        return {name for i, name in enumerate(self.params) if len({values[i] for values in self.rows}) == 1}


@dataclass(frozen=True)
class Ran:
    """A point that ran: its parameters by name, its row, and its area (NaN: not known)."""

    params: Mapping[str, str]
    row: Row
    area: float

    @property
    def model(self) -> str:
        return self.params.get("model", "")

    def measured(self) -> dict[str, float]:
        """What it took, by column."""
        return {"time_us": _value(self.row, "time"), "energy_uj": _value(self.row, "energy"), "area_mm2": self.area}

    def costs(self, cost: str) -> tuple[float, float]:
        """The cost, area or energy, and time."""
        measured = self.measured()
        return measured["area_mm2" if cost == "area" else "energy_uj"], measured["time_us"]


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
        shared = set(self.a.params) & set(self.b.params)
        for side, points in (("a", self.a), ("b", self.b)):
            if shared and (alone := points.constant() - shared):
                object.__setattr__(self, side, points.without(alone))
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

    @cached_property
    def fronts(self) -> pd.DataFrame:
        """A row per point on a front: of which sweep, against which cost (energy, and area where machines are known),
        its parameters, time and costs, whether it is the knee, and whether a point of the other sweep beats it."""
        areas = all(values in points.areas for points in (self.a, self.b) for values in points.rows)
        rows = [row for cost in (*(("area",) if areas else ()), "energy") for row in self._fronts_of(cost)]
        names = ["sweep", "against", *self.a.params, "time_us", "energy_uj", "area_mm2", "knee", "beaten"]
        return pd.DataFrame(rows, columns=names)

    def _fronts_of(self, cost: str) -> Iterator[dict[str, Any]]:
        """The rows of both fronts against a cost, of each model for itself."""
        sides = {side: self.ran(points) for side, points in (("a", self.a), ("b", self.b))}
        models = dict.fromkeys(each.model for ran in sides.values() for each in ran)
        for model in models:
            of_model = {side: [each for each in ran if each.model == model] for side, ran in sides.items()}
            for side, other in (("a", "b"), ("b", "a")):
                costs = [each.costs(cost) for each in of_model[side]]
                best = front(costs)
                at = knee([costs[i] for i in best])
                others = [each.costs(cost) for each in of_model[other]]
                for i in best:
                    each = of_model[side][i]
                    beaten = any(x <= costs[i][0] and y <= costs[i][1] and (x, y) != costs[i] for x, y in others)
                    yield {"sweep": side, "against": cost, **each.params, **each.measured(),
                           "knee": at is not None and best[at] == i, "beaten": beaten}  # fmt: skip

    def ran(self, points: Points) -> list[Ran]:
        """The points of a sweep that ran, with the parameters in A's order."""
        order = [points.params.index(param) for param in self.a.params]
        return [
            Ran({param: values[i] for param, i in zip(self.a.params, order, strict=True)}, row,
                points.areas.get(values, math.nan))
            for values, row in points.rows.items() if row[STATUS] == "ok"
        ]  # fmt: skip

    def write(self, out_dir: str | Path, page: bool = False, command: Sequence[str] = ()) -> list[Path]:
        """Write compare.csv, a row per metric, compare_points.csv, compare_unmatched.csv and compare_fronts.csv, and a
        page: all or none."""
        tables = {"points": self.points, "unmatched": self.unmatched, "fronts": self.fronts}
        return write_comparison(out_dir, self.ratios, tables, self.page(command) if page else "")

    def page(self, command: Sequence[str] = ()) -> str:
        """The comparison as an HTML page; with the `command` that made it, if there was one."""
        from minisim.reports.html.compare_sweeps_page import compare_sweeps_page

        return compare_sweeps_page(self, command)

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
