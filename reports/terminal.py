"""A summary of a run for people: what it took, what bound it, where time and energy went, what to try."""

from __future__ import annotations

import math

import pandas as pd
from rich.columns import Columns
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from minisim.reports.attribution import LAYER_CAUSES
from minisim.reports.hints import hints
from minisim.reports.run_record import RunRecord
from minisim.reports.tables import layers, summary, units

TOP = 10
"""Layers shown."""

MOST_HINTS = 5

SHOWN = 0.0005
"""The share from which a cause is in the legend: below it would read 0.0%."""

SIGNS = {
    "compute": ("█", "green"),
    "load": ("l", "red"),
    "store": ("s", "magenta"),
    "dependency": ("d", "yellow"),
    "control": ("c", "blue"),
    "pipeline": ("p", "cyan"),
}
"""One character and colour per cause: the bars can be read without colour."""


def print_summary(record: RunRecord, console: Console) -> None:
    """Print the summary; it fits any width from 60 columns on."""
    by_layer, by_unit = layers(record), units(record)
    _print_taken(record, summary(record).iloc[0], console)
    _print_bound(record, console)
    _print_layers(by_layer, console)
    _print_energy(record, console)
    found = hints(record, by_layer, by_unit)
    if found:
        _heading(console, "What to try")
        for hint in found[:MOST_HINTS]:
            grid = Table.grid(padding=(0, 1))
            grid.add_row("-", Text(hint.text))
            console.print(Padding(grid, (0, 0, 0, 2), expand=False), highlight=False)


def _print_taken(record: RunRecord, row: pd.Series[int], console: Console) -> None:
    _heading(console, f"{record.model} on {record.config}")
    clock = record.machine.flat()["clock.frequency"]
    reads, writes = f"{row['dram_read_bytes']:,} B read", f"{row['dram_write_bytes']:,} B written"
    walls = f"{record.wall_compile_s:.2f} s to compile, {record.wall_simulate_s:.2f} s to simulate"
    facts = [
        ("time", f"{row['cycles_total']:,} cycles = {_scaled(row['time_us'], 's')} at {clock}"),
        (
            "array",
            f"{_percent(row['util_matrix_pct'])} of its MACs used ({row['macs']:,} {f'{record.dtypes} '.lstrip()}MACs)",
        ),
        ("DRAM", f"{_percent(row['util_dma_pct'])} busy ({reads}, {writes})"),
        ("SRAM", f"peak {row['sram_peak_bytes']:,} of {row['sram_bytes']:,} B{_beside(record)}"),
        (
            "operations",
            f"{row['executes']:,} executes, {row['vector_ops']:,} vector, {row['loads']:,} loads "
            f"({row['loads_eliminated']:,} eliminated), {row['stores']:,} stores",
        ),
    ]
    if record.energy.total:
        watts = record.energy.total / 1e9 / row["time_us"] if row["time_us"] else math.nan
        facts.append(("energy", f"{_scaled(row['energy_uj'], 'J')} ({_scaled(1e6 * watts, 'W')} on average)"))
    if record.max_abs_error is not None:
        facts.append(("outputs", f"largest error {record.max_abs_error:.3g}, sha256 {record.output_sha256[:12]}"))
    facts.append(("took", f"{walls} ({record.timing})"))
    grid = Table.grid(padding=(0, 2))
    for name, text in facts:
        grid.add_row(Text(name, style="dim"), Text(text))
    console.print(Padding(grid, (0, 0, 0, 2), expand=False), highlight=False)


def _beside(record: RunRecord) -> str:
    """The memory for partial sums, if there is one."""
    size = record.machine.accumulator.bytes
    return f", beside {size:,} B for partial sums" if size else ""


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
            bar = _bar(console, {"compute": float(needed)}, cycles, width)
            table.add_row(unit, f"{math.ceil(needed):,}", bar, note)
    over = f"{cycles / math.ceil(least[limit]):.2f} x the bound" if least[limit] else ""
    bar = _bar(console, {"compute": float(cycles)}, cycles, width)
    table.add_row(Text("this run", style="bold"), f"{cycles:,}", bar, over)
    console.print(Padding(table, (0, 0, 0, 2), expand=False), highlight=False)


def _print_layers(table: pd.DataFrame, console: Console) -> None:
    """The layers with the most cycles, each with a bar of what they went to."""
    top = table[table["cycles_total"] > 0].sort_values("cycles_total", ascending=False, kind="stable").head(TOP)
    if top.empty:
        return
    _heading(console, "Where the time went")
    longest = int(top["cycles_total"].max())
    width = max(10, min(60, console.width - 52))
    grid = Table.grid(padding=(0, 1))
    grid.add_column(max_width=24, no_wrap=True, overflow="crop" if console.options.ascii_only else "ellipsis")
    for _ in range(3):
        grid.add_column(justify="right", no_wrap=True)
    grid.add_row(*(Text(name, style="dim") for name in ("layer", "cycles", "share", "array", "")))
    everything = int(table["cycles_total"].sum())
    for _, row in top.iterrows():
        parts = {"compute": float(row["cycles_compute"])}
        parts.update({cause: float(row[f"cycles_stall_{cause}"]) for cause in LAYER_CAUSES})
        share = f"{100 * row['cycles_total'] / everything:.1f}%"
        bar = _bar(console, parts, longest, width)
        grid.add_row(Text(row["name"]), f"{row['cycles_total']:,}", share, _percent(row["util_overall_pct"]), bar)
    if (rest := int((table["cycles_total"] > 0).sum()) - len(top)) > 0:
        cycles = everything - int(top["cycles_total"].sum())
        grid.add_row(Text(f"{rest} more layers", style="dim"), f"{cycles:,}", f"{100 * cycles / everything:.1f}%")
    console.print(Padding(grid, (0, 0, 0, 2), expand=False), highlight=False)
    _print_legend(table, everything, console)


def _print_legend(table: pd.DataFrame, everything: int, console: Console) -> None:
    """What the characters of the bars mean, and how much of the run each is."""
    cycles = {"compute": int(table["cycles_compute"].sum())}
    cycles.update({cause: int(table[f"cycles_stall_{cause}"].sum()) for cause in LAYER_CAUSES})
    legend = [
        Text.assemble((_sign(console, name), SIGNS[name][1]), f" {name} {100 * n / everything:.1f}%")
        for name, n in cycles.items()
        if n / everything >= SHOWN
    ]
    console.print(Padding(Columns(legend, padding=(0, 2)), (0, 0, 0, 2), expand=False), highlight=False)


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


def _bar(console: Console, parts: dict[str, float], whole: float, width: int) -> Text:
    """Parts of `whole` as stretches of characters; rounding is of the edges, so lengths add up."""
    bar, so_far = Text(), 0.0
    for name, cycles in parts.items():
        begin, end = (round(width * point / whole) for point in (so_far, so_far + cycles))
        bar.append(_sign(console, name) * (end - begin), style=SIGNS[name][1])
        so_far += cycles
    return bar


def _sign(console: Console, name: str) -> str:
    return "#" if name == "compute" and console.options.ascii_only else SIGNS[name][0]


def _heading(console: Console, text: str) -> None:
    console.print()
    console.print(Text(text, style="bold"), highlight=False)


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.1f}%"


def _scaled(millionths: float, unit: str) -> str:
    """Millionths of a unit (us, uJ, uW) with a prefix that suits them."""
    for prefix, scale in (("", 1e6), ("m", 1e3)):
        if millionths >= scale:
            return f"{millionths / scale:.4g} {prefix}{unit}"
    return f"{millionths:.4g} u{unit}"
