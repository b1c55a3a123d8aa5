"""The result of a sweep: sweep.csv, a row per point, and its table on the terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.text import Text

from minisim.hwmodel.config import Machine
from minisim.hwmodel.variants import LARGER, value_of, with_settings
from minisim.reports.columns import Column, fitting, table_of, width_of
from minisim.reports.html import SWEEP_PAGE, write_pages
from minisim.reports.run_file.header import write_bases
from minisim.reports.write import output_set, write_csv

SWEEP_FILE, SWEEP_HEADER = "sweep.csv", "sweep.json"

SEARCH_FILE, FRONT_FILE = "search.csv", "front.csv"

STATUS_STYLE = {"ok": "green", "infeasible": "yellow", "failed": "red"}


def sweep_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The parameters, status and reason, then the columns of summary.csv (empty where the status is not ok).

    Counts stay whole numbers in a column that has empty fields.
    """
    width = max(rows, key=len, default={})
    return pd.DataFrame([dict(row) for row in rows], columns=list(width)).convert_dtypes()


def write_sweep(
    rows: Sequence[Mapping[str, Any]],
    out_dir: str | Path,
    *,
    runs: Mapping[str, Any] | None = None,
    machines: Mapping[str, Machine] | None = None,
    command: Sequence[str] = (),
    page: bool = False,
) -> Path:
    """Write sweep.csv into `out_dir`, and sweep.json with the machines that the points change: all of it or nothing.

    Args:
        runs: how a point is run alone, for the page (`sweeps.alone`).
        command: as it was typed, for the page.
        machines: by what the column `config` calls them; without any there is no sweep.json.
        page: also sweep.html.

    Raises:
        OutputError: the folder cannot be written.
    """
    with output_set(out_dir, last=SWEEP_FILE, optional=[SWEEP_HEADER, SWEEP_PAGE]) as staging:
        write_csv(sweep_table(rows), staging / SWEEP_FILE)
        if machines:
            write_bases(staging / SWEEP_HEADER, runs=runs or {}, machines=machines, command=command)
        if page:
            write_pages(staging, own=True)
    return Path(out_dir) / SWEEP_FILE


def write_search(
    rows: Sequence[Mapping[str, Any]], front: Sequence[Mapping[str, Any]], out_dir: str | Path
) -> list[Path]:
    """Write search.csv, the points that a search computed in order, and front.csv, the best of them: both or nothing.

    Raises:
        OutputError: the folder cannot be written.
    """
    with output_set(out_dir, last=SEARCH_FILE) as staging:
        write_csv(sweep_table(front), staging / FRONT_FILE)
        write_csv(sweep_table(rows), staging / SEARCH_FILE)
    return [Path(out_dir) / name for name in (SEARCH_FILE, FRONT_FILE)]


def print_sweep(rows: Sequence[Mapping[str, Any]], console: Console) -> None:
    """A line per point: its parameters, and what came of it; of the fastest those with the least hardware are marked.

    Of several models each has a table. Where the terminal is narrow, columns are left out; no number is cut.
    """
    if rows and next(iter(rows[0])) == "model":
        for model in dict.fromkeys(row["model"] for row in rows):
            console.print(Text(model, style="bold"))
            of_model = [row for row in rows if row["model"] == model]
            _print_points(of_model, _params(rows[0])[1:], console)
            console.print()
    elif rows:
        _print_points(rows, _params(rows[0]), console)


def _params(row: Mapping[str, Any]) -> list[str]:
    """The columns of a row that are parameters: those before its status."""
    return list(row)[: list(row).index("status")]


def _print_points(rows: Sequence[Mapping[str, Any]], params: Sequence[str], console: Console) -> None:
    marked = _best(rows, params)

    def cells(write: Callable[[Mapping[str, Any]], str]) -> list[str]:
        return [write(row) if row["status"] == "ok" else "" for row in rows]

    columns = [Column(name, [str(row[name]) for row in rows]) for name in params]
    columns += [
        Column("cycles", [f"{'* ' * (i in marked)}{row['cycles_total']:,}" if row["status"] == "ok" else ""
                          for i, row in enumerate(rows)]),
        Column("of roofline", cells(lambda row: _unless_nan(row["cycles_over_roofline"], "{:.2f}x")), drop=2),
        Column("bound by", cells(lambda row: str(row["bound_by"])), left=True, drop=3),
        Column("DRAM MB", cells(lambda row: f"{(row['dram_read_bytes'] + row['dram_write_bytes']) / 1e6:.3g}"), drop=4),
        Column("reuse", cells(lambda row: _unless_nan(row["load_reuse_pct"], "{:.0f}%")), drop=5),
        Column("status", [row["status"] for row in rows], left=True, drop=1,
               style=[STATUS_STYLE[row["status"]] for row in rows]),
    ]  # fmt: skip
    shown = fitting(columns, console.width)
    if width_of(shown) <= console.width:
        console.print(table_of(shown), highlight=False)
    else:  # the parameters alone are too wide: a sentence for each point
        for i, row in enumerate(rows):
            point = " ".join(f"{name}={row[name]}" for name in params)
            console.print(Text(f"{point}: {columns[len(params)].by[i] or row['status']}"), highlight=False)
    if len(shown) < len(columns):
        left_out = ", ".join(column.title for column in columns if column not in shown)
        console.print(Text(f"no room for: {left_out} (all are in {SWEEP_FILE})", style="dim"))
    if marked:
        console.print("* fewest cycles", style="dim")
    reasons = dict.fromkeys((row["status"], row["reason"]) for row in rows if row["status"] != "ok")
    for status, reason in reasons:
        console.print(Text(f"{status}: {reason}", style=STATUS_STYLE[status]))


def _best(rows: Sequence[Mapping[str, Any]], params: Sequence[str]) -> set[int]:
    """The points with the fewest cycles, without those that others reach with less hardware."""
    cycles = {i: row["cycles_total"] for i, row in enumerate(rows) if row["status"] == "ok"}
    fastest = [i for i, n in cycles.items() if n == min(cycles.values())]
    return {i for i in fastest if not any(_is_less(rows[j], rows[i], params) for j in fastest)}


def _is_less(row: Mapping[str, Any], other: Mapping[str, Any], params: Sequence[str]) -> bool:
    """Whether the first point's machine has less hardware (`variants.LARGER`), and is like the other's otherwise."""
    pairs = {name: (row[name], other[name]) for name in params if row[name] != other[name]}
    return bool(pairs) and all(name in LARGER and _costs_less(name, a, b) for name, (a, b) in pairs.items())


def _costs_less(key: str, value: str, than: str) -> bool:
    a, b = (value_of(with_settings(Machine(), {key: text}), key) for text in (value, than))
    return a < b if LARGER[key] > 1 else a > b


def _unless_nan(value: float, form: str) -> str:
    """A ratio in its form, or "-" where there is none: nothing was moved, or nothing computed."""
    return "-" if math.isnan(value) else form.format(value)
