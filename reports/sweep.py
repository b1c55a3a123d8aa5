"""The result of a sweep: sweep.csv, a row per point, and its table on the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from minisim.reports.write import output_set, write_csv

SWEEP_FILE = "sweep.csv"

STATUS_STYLE = {"ok": "green", "infeasible": "yellow", "failed": "red"}


def sweep_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The parameters, status and reason, then the columns of summary.csv (empty where the status is not ok).

    Counts stay whole numbers in a column that has empty fields.
    """
    width = max(rows, key=len, default={})
    return pd.DataFrame([dict(row) for row in rows], columns=list(width)).convert_dtypes()


def write_sweep(rows: Sequence[Mapping[str, Any]], out_dir: str | Path) -> Path:
    """Write sweep.csv into `out_dir`: all of it or nothing.

    Raises:
        OutputError: the folder cannot be written.
    """
    with output_set(out_dir, last=SWEEP_FILE) as staging:
        write_csv(sweep_table(rows), staging / SWEEP_FILE)
    return Path(out_dir) / SWEEP_FILE


def print_sweep(rows: Sequence[Mapping[str, Any]], console: Console) -> None:
    """A line per point: its parameters, and what came of it; the fastest is marked."""
    if not rows:
        return
    params = list(rows[0])[: list(rows[0]).index("status")]
    cycles = [row["cycles_total"] for row in rows if row["status"] == "ok"]
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in params:
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("cycles", "of roofline", "bound by", "DRAM MB", "reuse", "status"):
        table.add_column(name, justify="left" if name in ("bound by", "status") else "right")
    for row in rows:
        values = [str(row[name]) for name in params]
        if row["status"] != "ok":
            table.add_row(*values, "", "", "", "", "", Text(row["status"], style=STATUS_STYLE[row["status"]]))
            continue
        best = row["cycles_total"] == min(cycles)
        table.add_row(
            *values,
            f"{row['cycles_total']:,}{' *' if best else '  '}",
            _unless_nan(row["cycles_over_roofline"], "{:.2f}x"),
            str(row["bound_by"]),
            f"{(row['dram_read_bytes'] + row['dram_write_bytes']) / 1e6:.3g}",
            _unless_nan(row["load_reuse_pct"], "{:.0f}%"),
            Text("ok", style=STATUS_STYLE["ok"]),
        )
    console.print(table)
    if cycles:
        console.print("* fewest cycles", style="dim")
    reasons = dict.fromkeys((row["status"], row["reason"]) for row in rows if row["status"] != "ok")
    for status, reason in reasons:
        console.print(Text(f"{status}: {reason}", style=STATUS_STYLE[status]))


def _unless_nan(value: float, form: str) -> str:
    """A ratio in its form, or "-" where there is none: nothing was moved, or nothing computed."""
    return "-" if math.isnan(value) else form.format(value)
