"""A comparison for people: the ratios, where cycles and energy went, the keys that differ, the layers that moved."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from minisim.reports.columns import Column, fitting, table_of
from minisim.reports.compare import Comparison, times
from minisim.reports.compare_sweeps import SweepComparison

TOP = 10
"""Layers, and points of a sweep, that are shown."""

SMALL = 0.005
"""Of the larger run: changes below this share are one line of the waterfall."""

TITLES = {"time_us": ("time", "us"), "cycles": ("cycles", ""), "energy_uj": ("energy", "uJ"),
          "edp_uj_us": ("EDP", "uJ us"), "dram_bytes": ("DRAM traffic", "B")}  # fmt: skip
"""What the rows of `Comparison.ratios` are called, and their units."""

WHERE = {"both": "", "a": "only in A", "b": "only in B"}


def print_comparison(found: Comparison, console: Console) -> None:
    """Print all of it; it fits any width from 60 columns on."""
    a, b = found.a, found.b
    _heading(console, f"A: {a.model} on {a.name}, B: {b.model} on {b.name}: {times(a.time_us, b.time_us)}")
    table = found.ratios
    numbers = table.to_dict("records")
    columns = [
        Column("", [TITLES[row["metric"]][0] for row in numbers], left=True),
        *(Column(side.upper(), [_number(row[side]) for row in numbers]) for side in ("a", "b")),
        Column("", [TITLES[row["metric"]][1] for row in numbers], left=True),
        Column("B / A", [_ratio(row["ratio"]) for row in numbers]),
    ]
    _print(columns, console)
    _heading(console, "Where the cycles went, from A to B")
    causes = found.causes
    _print_waterfall(("cause", "cycles"), causes["cause"].tolist(), causes["change"].tolist(), a.cycles, console)
    if a.femtojoules or b.femtojoules:
        _heading(console, "Where the energy went, from A to B")
        parts = found.components
        changes, energy = [round(change) for change in parts["change_pj"]], round(a.femtojoules / 1000)
        _print_waterfall(("component", "pJ"), parts["component"].tolist(), changes, energy, console)
    _print_keys(found.keys, console)
    _print_layers(found.layers, console)


def print_sweep_comparison(found: SweepComparison, console: Console) -> None:
    """Print the ranges of the ratios, and the points that moved most."""
    _heading(console, f"A: {found.a.name}, B: {found.b.name}: {len(found.points):,} points in both")
    rows = found.ratios.to_dict("records")
    ranges = [Column(title, [_ratio(row[title]) for row in rows]) for title in ("least", "mean", "most")]
    _print([Column("B / A", [row["metric"] for row in rows], left=True), *ranges], console)
    if not found.unmatched.empty:
        lines = found.unmatched.head(TOP).to_dict("records")
        _heading(console, f"Not compared: {len(found.unmatched):,} points")
        sides = [Column(side.upper(), [row[side] for row in lines], left=True) for side in ("a", "b")]
        _print([Column("point", [row["point"] for row in lines], left=True), *sides], console)
    _print_fronts(found, console)
    _heading(console, f"Points by change, the first {min(TOP, len(found.points))} of {len(found.points):,}")
    points = found.points.head(TOP).to_dict("records")
    params = [Column(name, [row[name] for row in points]) for name in found.a.params]
    cycles = [Column(side.upper(), [f"{row[f'cycles_{side}']:,}" for row in points]) for side in ("a", "b")]
    others = [Column(name, [_ratio(row[f"{name}_ratio"]) for row in points], drop=1 + i)
              for i, name in enumerate(("energy", "DRAM traffic"))]  # fmt: skip
    _print([*params, *cycles, Column("B / A", [_ratio(row["cycles_ratio"]) for row in points]), *others], console)


def _print_fronts(found: SweepComparison, console: Console) -> None:
    """How many points each front has, and how many of them a point of the other sweep beats."""
    fronts = found.fronts
    if fronts.empty:
        return
    _heading(console, "The fronts of time against a cost: points, and those that the other sweep beats")
    costs = list(dict.fromkeys(fronts["against"]))
    columns = [Column("against", costs, left=True)]
    for side in ("a", "b"):
        beaten = [fronts.loc[(fronts["against"] == cost) & (fronts["sweep"] == side), "beaten"] for cost in costs]
        columns.append(Column(side.upper(), [f"{len(each):,}" for each in beaten]))
        columns.append(Column("beaten", [f"{int(each.sum()):,}" for each in beaten]))
    _print(columns, console)


def _print_waterfall(
    titles: tuple[str, str], names: Sequence[str], changes: Sequence[int], a: int, console: Console
) -> None:
    """A's sum, the changes one after the other (the largest first, small ones together), and B's sum."""
    what, unit = titles
    b = a + sum(changes)
    least = SMALL * max(a, b)
    order = sorted((i for i, n in enumerate(changes) if abs(n) >= least and n), key=lambda i: -abs(changes[i]))
    steps = [(names[i], changes[i]) for i in order]
    if rest := b - a - sum(n for _, n in steps):
        steps.append(("all others", rest))
    room = max(10, min(60, console.width - 40))
    level, highest = a, max(a, b)
    for _, change in steps:
        level += change
        highest = max(highest, level)
    lines, bars, level = [("A", f"{a:,}")], [_bar(console, 0, a, highest, room, "=")], a
    for name, change in steps:
        lines.append((name, f"{change:+,}"))
        bars.append(_bar(console, level, level + change, highest, room, "+" if change > 0 else "-"))
        level += change
    lines.append(("B", f"{b:,}"))
    bars.append(_bar(console, 0, b, highest, room, "="))
    columns = [Column(what, [name for name, _ in lines], left=True), Column(unit, [text for _, text in lines])]
    table = table_of(columns, bars)
    console.print(Padding(table, (0, 0, 0, 2), expand=False), highlight=False)


def _bar(console: Console, begin: int, end: int, whole: int, width: int, sign: str) -> Text:
    """From `begin` to `end` of `whole`: a solid bar of a run, or one of pluses or minuses of a change."""
    low, high = (round(width * point / whole) if whole else 0 for point in sorted((begin, end)))
    solid = "#" if console.options.ascii_only else "█"
    style = {"=": "", "+": "red", "-": "green"}[sign]
    return Text(" " * low).append((solid if sign == "=" else sign) * max(high - low, begin != end), style=style)


def _print_keys(keys: pd.DataFrame, console: Console) -> None:
    if keys.empty:
        _heading(console, "The machines are the same")
        return
    _heading(console, "The keys that differ")
    rows = keys.to_dict("records")
    values = [Column(side.upper(), [row[side] for row in rows], most=30) for side in ("a", "b")]
    _print([Column("key", [row["key"] for row in rows], left=True), *values], console)


def _print_layers(layers: pd.DataFrame, console: Console) -> None:
    """The largest movers; a line for the rest."""
    if layers.empty:
        return
    top = layers.head(TOP).to_dict("records")
    _heading(console, "Layers by change (of their cycles on the critical path)")
    cycles = [Column(side.upper(), [f"{row[f'cycles_{side}']:,}" for row in top]) for side in ("a", "b")]
    energy = [f"{(row['energy_b_pj'] - row['energy_a_pj']) / 1e6:+,.4g}" for row in top]
    columns = [
        Column("layer", [row["name"] for row in top], left=True, most=24),
        *cycles,
        Column("change", [f"{row['change']:+,}" for row in top]),
        Column("mostly", [f"{row['mostly']} {row['mostly_change']:+,}".strip() if row["mostly"] else "" for row in top],
               left=True, drop=2),
        Column("uJ", energy, drop=4),
        Column("", [WHERE[row["where"]] for row in top], left=True, drop=1),
    ]  # fmt: skip
    _print(columns, console)
    if len(rest := layers.iloc[TOP:]):
        line = f"{len(rest):,} more layers: {int(rest['change'].sum()):+,} cycles"
        console.print(Padding(Text(line, style="dim"), (0, 0, 0, 2), expand=False), highlight=False)


def _print(columns: Sequence[Column], console: Console) -> None:
    table = table_of(fitting(columns, console.width - 2))
    console.print(Padding(table, (0, 0, 0, 2), expand=False), highlight=False)


def _number(value: float) -> str:
    """Counts and what is large whole, all else with four digits."""
    return f"{value:,.0f}" if isinstance(value, int) or abs(value) >= 1000 else f"{value:.4g}"


def _ratio(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3g}"


def _heading(console: Console, text: str) -> None:
    console.print()
    console.print(Text(text, style="bold"), highlight=False)
