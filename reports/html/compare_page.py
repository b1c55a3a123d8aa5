"""The page of a comparison: the ratios; waterfalls of cycles and energy from A to B; keys that differ, and layers."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from minisim.reports.html.page import page
from minisim.reports.html.tables_section import Cell, Line
from minisim.reports.html.words import of_bytes, percent, scaled, times, whole, width

if TYPE_CHECKING:
    from minisim.reports.compare import Comparison

SCRIPTS = ("compare.js",)

CARDS = {"time_us": ("time", 1e-6, "s"), "cycles": ("cycles", 1, ""), "energy_uj": ("energy", 1e-6, "J"),
         "edp_uj_us": ("energy × time", 1e-12, "Js"), "dram_bytes": ("DRAM traffic", 1, "B")}  # fmt: skip
"""Of each metric its name, and how its numbers are told."""

STEPS = 12
"""Steps of a waterfall; smaller ones are one step together."""

MOST = 1_000
"""Layers in the table; compare_layers.csv has all."""

HEADS = (("Layer", ""), ("Operator", ""), ("Cycles A", "n"), ("Cycles B", "n"), ("Change", "n"), ("Mostly", ""),
         ("Energy A", "n"), ("Energy B", "n"), ("DRAM A", "n"), ("DRAM B", "n"))  # fmt: skip


@dataclass(frozen=True)
class Step:
    """A line of a waterfall: where its bar begins, how wide it is, and by how much it goes up or down.

    Attributes:
        kind: "end" (A or B itself), "less" or "more".
        of_run: the change beside A's whole, in words.
    """

    kind: str
    name: str
    begin: str
    width: str
    text: str
    of_run: str = ""


def compare_page(comparison: Comparison, command: Sequence[str] = ()) -> str:
    """The page as HTML."""
    a, b = comparison.a, comparison.b
    layers = comparison.layers
    components = comparison.components
    return page(
        "compare.html",
        SCRIPTS,
        {"kind": "compare"},
        title=f"{a.name} → {b.name}",
        a=f"{a.model} on {a.config} ({a.name})",
        b=f"{b.model} on {b.config} ({b.name})",
        pieces=list(_sentence(comparison)),
        facts=[_card(row) for row in comparison.ratios.to_dict("records")],
        cycles=waterfall(comparison.causes, "cause", "", 1),
        energy=waterfall(components.rename(columns=lambda name: name.removesuffix("_pj")), "component", "J", 1e-12),
        keys=comparison.keys.to_dict("records"),
        heads=HEADS,
        lines=[_line(i, row) for i, row in enumerate(layers.head(MOST).to_dict("records"))],
        left_out=max(0, len(layers) - MOST),
        command=shlex.join(command),
    )


def _sentence(comparison: Comparison) -> Iterator[tuple[str, bool]]:
    a, b = comparison.a, comparison.b
    if a.time_us == b.time_us:
        yield "as fast", True
    elif b.time_us < a.time_us:
        yield f"{times(a.time_us / b.time_us)} as fast" if b.time_us else "nothing left to do", True
    else:
        yield f"{times(b.time_us / a.time_us)} the time" if a.time_us else "nothing to compare", True
    yield f" from {scaled(a.time_us / 1e6, 's')} to {scaled(b.time_us / 1e6, 's')}", False
    moved = [row for row in comparison.causes.to_dict("records") if row["change"]]
    if moved:
        most = max(moved, key=lambda row: abs(row["change"]))
        yield ", mostly ", False
        yield str(most["cause"]), True
        yield f" ({most['change']:+,} cycles)", False
    if a.energy and b.energy and sum(a.energy.values()):
        yield f"; {times(sum(b.energy.values()) / sum(a.energy.values()))} the energy", False
    yield ".", False


def _card(row: Mapping[Any, Any]) -> tuple[str, str, str]:
    """A metric, its ratio, and both values."""
    name, scale, unit = CARDS[str(row["metric"])]
    return name, times(float(row["ratio"])), f"{scaled(row['a'] * scale, unit)} → {scaled(row['b'] * scale, unit)}"


def waterfall(table: pd.DataFrame, what: str, unit: str, scale: float) -> list[Step]:
    """From A's whole to B's, a step per row of the table that changes, the largest first.

    Args:
        table: columns `what`, "a", "b" and "change".
        unit, scale: how its numbers are told.
    """
    rows = sorted(zip(table[what], table["change"], strict=True), key=lambda each: -abs(each[1]))
    changed = [(str(name), float(change)) for name, change in rows if change]
    steps, small = changed[:STEPS], changed[STEPS:]
    if small:
        steps.append((f"{len(small)} smaller ones", sum(change for _, change in small)))
    start, end = float(table["a"].sum()), float(table["b"].sum())
    levels = [start]
    for _, change in steps:
        levels.append(levels[-1] + change)
    widest = max(*levels, end, 0.0) or 1.0
    found = [Step("end", "A", width(0), width(start / widest), _told(start, unit, scale))]
    for (name, change), level in zip(steps, levels, strict=False):
        begin = min(level, level + change) / widest
        sign = "+" if change > 0 else "−"
        of_run = f"{sign}{percent(abs(change) / start)}" if start else ""
        found.append(Step("more" if change > 0 else "less", name, width(max(0.0, begin)), width(abs(change) / widest),
                          f"{sign}{_told(abs(change), unit, scale)}", of_run))  # fmt: skip
    return [*found, Step("end", "B", width(0), width(end / widest), _told(end, unit, scale))]


def _told(amount: float, unit: str, scale: float) -> str:
    """Counts below a thousand have no decimals."""
    return whole(amount) if not unit and amount < 1000 else scaled(amount * scale, unit)


def _line(i: int, row: Mapping[Any, Any]) -> Line:
    def number(name: str) -> float:
        return float(str(row[name]))

    def joules(name: str) -> Cell:
        return Cell(scaled(number(name) / 1e12, "J"), number(name))

    def moved(name: str) -> Cell:
        return Cell(of_bytes(number(name)), number(name))

    name, where = str(row["name"]), str(row["where"])
    told = name if where == "both" else f"{name} (only {where.upper()})"
    change = number("change")
    return Line(i, [Cell(told, name), Cell(str(row["op"]), ""), Cell(whole(number("cycles_a")), number("cycles_a")),
                    Cell(whole(number("cycles_b")), number("cycles_b")), Cell(f"{change:+,.0f}", change),
                    Cell(str(row["mostly"]), ""), joules("energy_a_pj"), joules("energy_b_pj"),
                    moved("dram_bytes_a"), moved("dram_bytes_b")])  # fmt: skip
