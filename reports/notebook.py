"""What a prompt and a notebook show of a run or a comparison: the verdict, and small tables as HTML."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import pandas as pd

from minisim.reports.account import Account
from minisim.reports.html.verdict import unit_words
from minisim.reports.run_file.header import keys_of
from minisim.reports.run_record import RunRecord
from minisim.reports.tables import summary, units
from minisim.reports.terminal import scaled

TOP = 10
"""Layers that a notebook shows."""

CAUSES = 2
"""Causes that the verdict names."""


def verdict(record: RunRecord) -> str:
    """What it took, what bound it, and where most cycles went, in one line."""
    row, cycles = summary(record).iloc[0], record.timeline.cycles
    took = f"{cycles:,} cycles = {scaled(row['time_us'], 's')}"
    if not row["bound_by"]:
        return f"{took}, no work"
    # a prompt may have ASCII alone
    unit = unit_words(str(row["bound_by"]), keys_of(record.machine)).replace(" \u00d7 ", "x")
    bound = f"bound by {unit}, {row['cycles_over_roofline']:.2f} x its bound"
    largest = sorted(Account.of(record).total().items(), key=lambda item: -item[1])[:CAUSES]
    mostly = ", ".join(f"{cause} {100 * n / cycles:.0f}%" for cause, n in largest if n)
    return f"{took}, {bound}; {mostly}"


def run_html(record: RunRecord) -> str:
    """The verdict, the units, and the layers that took most."""
    account = Account.of(record).table()
    layers = account[:-1].sort_values("cycles_total", ascending=False, kind="stable").head(TOP)
    spent = layers[[column for column in layers.columns[3:] if layers[column].any()]]
    title = f"{record.model} on {record.config}: {verdict(record)}"
    largest = pd.concat([layers[["name", "op"]], spent], axis=1)
    return tables_html(title, {"units": units(record)[["unit", "operations", "cycles_busy", "busy_pct"]],
                               "layers, by cycles on the critical path": largest})  # fmt: skip


def tables_html(title: str, tables: Mapping[str, pd.DataFrame]) -> str:
    """A sentence, and under a title each the tables that have rows; every text is escaped."""
    parts = [f"<p><strong>{escape(title)}</strong></p>"]
    for name, table in tables.items():
        if not table.empty:
            parts.append(f"<p>{escape(name)}</p>{table.to_html(index=False, border=0, escape=True)}")
    return f"<div>{''.join(parts)}</div>"
