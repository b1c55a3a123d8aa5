"""The page of two sweeps: the ratios over all points; both fronts; every point; and those that only one sweep has."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from minisim.reports.html.page import page
from minisim.reports.html.sweep_folder import value_of
from minisim.reports.html.tables_section import Cell, Line
from minisim.reports.html.words import times, whole

if TYPE_CHECKING:
    from minisim.reports.compare_sweeps import Ran, SweepComparison

SCRIPTS = ("compare_sweeps.js",)

MOST = 2_000
"""Points in the table, those that changed most, and points of each sweep in the chart, the fastest; CSVs have all."""

UNMATCHED = 200
"""Points of one sweep alone in the table."""


def compare_sweeps_page(found: SweepComparison, command: Sequence[str] = ()) -> str:
    """The page as HTML."""
    points, unmatched = found.points, found.unmatched
    numeric = {name: all(not math.isnan(value_of(str(v))) for v in points[name]) for name in found.a.params}
    heads = [*((name, "n" if numeric[name] else "") for name in found.a.params), ("Cycles A", "n"), ("Cycles B", "n"),
             ("B / A", "n"), ("Energy", "n"), ("DRAM", "n")]  # fmt: skip
    return page(
        "compare_sweeps.html",
        SCRIPTS,
        _data(found),
        title=f"{found.a.name} → {found.b.name}",
        a=f"{found.a.name}, {len(found.a.rows):,} points",
        b=f"{found.b.name}, {len(found.b.rows):,} points",
        pieces=list(_sentence(found)),
        facts=[_card(row) for row in found.ratios.to_dict("records")],
        fronts=list(_told_fronts(found)),
        second=next(iter(found.fronts["against"]), "energy"),
        heads=heads,
        lines=[_line(i, row, numeric) for i, row in enumerate(points.head(MOST).to_dict("records"))],
        left_out=max(0, len(points) - MOST),
        unmatched=unmatched.head(UNMATCHED).to_dict("records"),
        unmatched_more=max(0, len(unmatched) - UNMATCHED),
        command=shlex.join(command),
    )


def _sentence(found: SweepComparison) -> Iterator[tuple[str, bool]]:
    """How much B takes on average, and at how many points it takes less."""
    cycles = found.points["cycles_ratio"]
    ratios = found.ratios.iloc[0]
    less, more = int((cycles < 1).sum()), int((cycles > 1).sum())
    yield "B takes ", False
    yield f"{times(float(ratios['mean']))} the cycles", True
    yield f" of A on average, {times(float(ratios['least']))} to {times(float(ratios['most']))}: fewer at ", False
    yield f"{less:,} of {len(cycles):,} points", True
    yield f", more at {more:,}.", False


def _card(row: Mapping[Any, Any]) -> tuple[str, str, str]:
    """A metric: its mean ratio, and the range."""
    least, mean, most = (float(row[name]) for name in ("least", "mean", "most"))
    return str(row["metric"]), times(mean), f"{times(least)} to {times(most)}"


def _told_fronts(found: SweepComparison) -> Iterator[str]:
    """Of each front how many points it has, and how many the other sweep beats."""
    fronts = found.fronts
    for cost in dict.fromkeys(fronts["against"]):
        sides = []
        for side in ("a", "b"):
            beaten = fronts.loc[(fronts["against"] == cost) & (fronts["sweep"] == side), "beaten"]
            sides.append(
                f"{side.upper()} has {len(beaten):,} points, of which the other one beats {int(beaten.sum()):,}"
            )
        yield f"Time against {cost}: {'; '.join(sides)}."


def _line(i: int, row: Mapping[Any, Any], numeric: Mapping[str, bool]) -> Line:
    params = [Cell(str(row[name]), value_of(str(row[name])) if is_number else str(row[name]))
              for name, is_number in numeric.items()]  # fmt: skip
    cycles = [Cell(whole(row[name]), row[name]) for name in ("cycles_a", "cycles_b")]
    ratios = [_ratio(row[f"{metric}_ratio"]) for metric in ("cycles", "energy", "DRAM traffic")]
    return Line(i, [*params, *cycles, *ratios])


def _ratio(value: float) -> Cell:
    return Cell(times(value), -1.0 if math.isnan(value) else float(f"{value:.9g}"))


def _data(found: SweepComparison) -> dict[str, Any]:
    """The points of both sweeps, and which of them are on the fronts."""
    sides = {"a": found.ran(found.a), "b": found.ran(found.b)}
    fronts = found.fronts.to_dict("records")
    on = {(row["sweep"], row["against"], *(row[name] for name in found.a.params)): row["knee"] for row in fronts}
    return {
        "kind": "compare sweeps",
        "against": list(dict.fromkeys(row["against"] for row in fronts)),
        "names": {"a": found.a.name, "b": found.b.name},
        "models": list(dict.fromkeys(each.model for ran in sides.values() for each in ran)),
        "points": {side: [_point(each, side, on) for each in _fastest(ran)] for side, ran in sides.items()},
    }


def _fastest(ran: Sequence[Ran]) -> list[Ran]:
    return sorted(ran, key=lambda each: each.measured()["time_us"])[:MOST]


def _point(each: Ran, side: str, on: Mapping[tuple[Any, ...], bool]) -> dict[str, Any]:
    measured, values = each.measured(), tuple(each.params.values())
    fronts = {cost: on[side, cost, *values] for cost in ("area", "energy") if (side, cost, *values) in on}
    return {
        "name": "\n".join(f"{name} = {value}" for name, value in each.params.items()),
        "model": each.model,
        "time": measured["time_us"] / 1e6,
        "energy": measured["energy_uj"] / 1e6,
        "area": None if math.isnan(each.area) else each.area,
        "fronts": fronts,
    }
