"""A summary of a run for people: what it took, what bound it, where time and energy went, what to try."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from rich.columns import Columns
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from minisim.hwmodel.isa import Opcode
from minisim.reports.account import Account
from minisim.reports.columns import Column, fitting, table_of
from minisim.reports.hints import MOST_HINTS, Hint, hints, merged
from minisim.reports.run_record import RunRecord
from minisim.reports.tables import layers, summary

TOP = 10
"""Layers shown."""

SHOWN = 0.0005
"""The share from which a cause is in the legend: below it would read 0.0%."""

SIGNS = {"computing": ("█", "green"), "moving data": ("m", "red"), "waiting": ("w", "yellow"),
         "ends of the run": ("e", "blue")}  # fmt: skip
"""One character and colour per group of causes (`account.GROUPS`): the bars can be read without colour."""


def print_summary(record: RunRecord, console: Console, found: Sequence[Hint] | None = None) -> None:
    """Print the summary; it fits any width from 60 columns on.

    Args:
        found: the hints, measured or not; default: those of the record, which are not measured.
    """
    _print_taken(record, summary(record).iloc[0], console)
    _print_bound(record, console)
    _print_layers(record, console)
    _print_energy(record, console)
    found = hints(record)[:MOST_HINTS] if found is None else found
    if found:
        _heading(console, "What to try")
        for hint in merged(found):
            grid = Table.grid(padding=(0, 1))
            grid.add_row("-", Text(advice(hint, record.timeline.cycles)))
            console.print(Padding(grid, (0, 0, 0, 2), expand=False), highlight=False)


def advice(hint: Hint, cycles: int) -> str:
    """The hint's text; below it what to set, and what the run of `cycles` takes with that, if it was measured."""
    if not hint.tries:
        return hint.text
    settings = " ".join(f"--set {key}={value}" for key, value in hint.tries[0].items())
    then = (
        "(not measured)" if hint.then is None else f"{hint.then:,} cycles, {cycles / max(1, hint.then):.2f} x as fast"
    )
    return f"{hint.text}\n{settings}: {then}"


def _print_taken(record: RunRecord, row: pd.Series[int], console: Console) -> None:
    _heading(console, f"{record.model} on {record.config}")
    clock = record.machine.flat()["clock.frequency"]
    reads, writes = f"{row['dram_read_bytes']:,} B read", f"{row['dram_write_bytes']:,} B written"
    walls = f"{record.wall_compile_s:.2f} s to compile, {record.wall_simulate_s:.2f} s to simulate"
    facts = [
        ("time", f"{row['cycles_total']:,} cycles = {scaled(row['time_us'], 's')} at {clock}"),
        ("DRAM", f"{_percent(row['util_dma_pct'])} busy ({reads}, {writes})"),
        ("SRAM", f"peak {row['sram_peak_bytes']:,} of {row['sram_bytes']:,} B{_beside(record)}"),
        (
            "operations",
            f"{row['executes']:,} executes, {row['vector_ops']:,} vector, {row['loads']:,} loads "
            f"({row['loads_eliminated']:,} eliminated), {row['stores']:,} stores",
        ),
    ]
    if row["macs"]:
        used = f"{_percent(row['util_matrix_pct'])} of its MACs used"
        facts.insert(1, ("array", f"{used} ({row['macs']:,} {record.dtypes} MACs)"))
    if record.schedule.cores > 1:
        facts.insert(2, ("cores", f"{record.schedule.cores}: {_share_of_work(record)}"))
    if record.machine.l2.bytes:
        lines = row["l2_hits"] + row["l2_misses"]
        kept = f"{row['l2_write_backs']:,} written back, {row['l2_dirty']:,} left dirty"
        hits = _percent(100 * row["l2_hits"] / max(1, lines))
        facts.insert(-2, ("L2", f"{hits} hits of {lines:,} lines of {record.machine.l2.line_bytes} B ({kept})"))
    if record.energy.total:
        watts = record.energy.total / 1e9 / row["time_us"] if row["time_us"] else math.nan
        facts.append(("energy", f"{scaled(row['energy_uj'], 'J')} ({scaled(1e6 * watts, 'W')} on average)"))
    if record.difference is not None:
        facts.append(("outputs", f"{record.difference.range_text()}, sha256 {record.output_sha256[:12]}"))
        facts.append(("checked", f"{record.difference.error_text()}, against numpy"))
    elif record.output_sha256:
        facts.append(("outputs", f"not checked, sha256 {record.output_sha256[:12]}"))
    if record.given:
        facts.append(("constants", f"{', '.join(record.given)}: known as the model is read, nothing computes them"))
    facts.append(("took", f"{walls} ({record.timing})"))
    grid = Table.grid(padding=(0, 2))
    for name, text in facts:
        grid.add_row(Text(name, style="dim"), Text(text))
    console.print(Padding(grid, (0, 0, 0, 2), expand=False), highlight=False)


def _beside(record: RunRecord) -> str:
    """The memory for partial sums, if there is one."""
    size = record.machine.accumulator.bytes
    return f", beside {size:,} B for partial sums" if size else ""


def _share_of_work(record: RunRecord) -> str:
    """How many cores compute, and how evenly."""
    stream, cycles = record.schedule.stream, record.timeline.cycles
    computes = stream["opcode"] >= Opcode.EXECUTE
    busy = np.bincount(stream["core"][computes], record.costs.busy[computes], record.schedule.cores)
    if not cycles or not busy.any():
        return "none computes"
    working = busy[busy > 0]
    shares = f"{_percent(100 * working.min() / cycles)} to {_percent(100 * working.max() / cycles)}"
    return f"{len(working)} compute, {shares} of the time each"


def _print_bound(record: RunRecord, console: Console) -> None:
    """The roofline: what each unit needs at least, and the run beside it."""
    cycles = record.timeline.cycles
    if not cycles:
        return
    _heading(console, "What bound it")
    least = record.work.bound(record.machine).by_unit()
    limit = max(least, key=lambda unit: least[unit])
    width = max(10, min(50, console.width - 44))
    table = Table.grid(padding=(0, 1))
    table.add_column()
    table.add_column(justify="right")
    for unit, needed in sorted(least.items(), key=lambda item: -item[1]):
        if needed:
            note = "<- the bound" if unit == limit else ""
            bar = _bar(console, {"computing": float(needed)}, cycles, width)
            table.add_row(unit, f"{math.ceil(needed):,}", bar, note)
    over = f"{cycles / math.ceil(least[limit]):.2f} x the bound" if least[limit] else ""
    bar = _bar(console, {"computing": float(cycles)}, cycles, width)
    table.add_row(Text("this run", style="bold"), f"{cycles:,}", bar, over)
    console.print(Padding(table, (0, 0, 0, 2), expand=False), highlight=False)


def _print_layers(record: RunRecord, console: Console) -> None:
    """The layers with the most cycles on the critical path, each with a bar of what they went to."""
    account, everything = Account.of(record), record.timeline.cycles
    cycles = account.by_layer.sum(axis=1)
    top = [layer for layer in np.argsort(-cycles, kind="stable").tolist() if cycles[layer]][:TOP]
    if not top:
        return
    _heading(console, "Where the time went (on its critical path)")
    fill = layers(record)["util_mapping_pct"]
    columns = [Column("layer", left=True, most=24, by=[record.schedule.layer_names[layer] for layer in top]),
               Column("cycles", by=[f"{cycles[layer]:,}" for layer in top]),
               Column("share", by=[f"{100 * cycles[layer] / everything:.1f}%" for layer in top], drop=1)]  # fmt: skip
    if record.work.macs:
        columns.append(Column("array fill", by=[_percent(fill[layer]) for layer in top], drop=2))
    if (rest := int((cycles > 0).sum()) - len(top)) > 0:
        others = everything - int(cycles[top].sum())
        last = {"layer": f"{rest} more layers", "cycles": f"{others:,}", "share": f"{100 * others / everything:.1f}%"}
        columns = [replace(column, by=[*column.by, last.get(column.title, "")]) for column in columns]
    room = max(10, min(60, console.width - 52))
    columns = fitting(columns, console.width - 2 - room - 2)
    width = max(0, min(room, console.width - 4 - sum(column.width + 2 for column in columns)))
    bars = []
    for layer in top:
        bars.append(_bar(console, account.group_cycles(layer), int(cycles[top[0]]), width))
    console.print(Padding(table_of(columns, bars), (0, 0, 0, 2), expand=False), highlight=False)
    _print_legend(account, console)


def _print_legend(account: Account, console: Console) -> None:
    """What the characters of the bars mean, how much of the run each is, and the causes behind them."""
    cycles, everything = account.total(), account.record.timeline.cycles
    legend = [
        Text.assemble((_sign(console, group), SIGNS[group][1]), f" {group} {100 * n / everything:.1f}%")
        for group, causes in account.groups.items()
        if (n := sum(cycles[cause] for cause in causes)) / everything >= SHOWN
    ]
    console.print(Padding(Columns(legend, padding=(0, 2)), (0, 0, 0, 2), expand=False), highlight=False)
    largest = sorted(cycles.items(), key=lambda item: -item[1])[:3]
    mostly = ", ".join(f"{cause} {100 * n / everything:.1f}%" for cause, n in largest if n)
    console.print(Padding(Text(f"mostly {mostly}"), (0, 0, 0, 2), expand=False), highlight=False)


def _print_energy(record: RunRecord, console: Console) -> None:
    """The components' shares, the largest first."""
    total = record.energy.total
    if not total:
        return
    _heading(console, "Where the energy went")
    shares = {name: part / total for name, part in record.energy.by_component().items()}
    largest = sorted(shares.items(), key=lambda item: -item[1])
    texts = [Text(f"{name} {100 * share:.1f}%") for name, share in largest if share >= SHOWN]
    console.print(Padding(Columns(texts, padding=(0, 2)), (0, 0, 0, 2), expand=False), highlight=False)


def _bar(console: Console, parts: Mapping[str, float], whole: float, width: int) -> Text:
    """Parts of `whole` as stretches of characters; rounding is of the edges, so lengths add up."""
    bar, so_far = Text(), 0.0
    for name, cycles in parts.items():
        begin, end = (round(width * point / whole) for point in (so_far, so_far + cycles))
        bar.append(_sign(console, name) * (end - begin), style=SIGNS[name][1])
        so_far += cycles
    return bar


def _sign(console: Console, name: str) -> str:
    return "#" if name == "computing" and console.options.ascii_only else SIGNS[name][0]


def _heading(console: Console, text: str) -> None:
    console.print()
    console.print(Text(text, style="bold"), highlight=False)


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.1f}%"


def scaled(millionths: float, unit: str) -> str:
    """Millionths of a unit (us, uJ, uW) with a prefix that suits them."""
    for prefix, scale in (("", 1e6), ("m", 1e3)):
        if millionths >= scale:
            return f"{millionths / scale:.4g} {prefix}{unit}"
    return f"{millionths:.4g} u{unit}"
