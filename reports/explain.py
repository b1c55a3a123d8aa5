"""The account of a run for people: a tree of causes, the critical path's longest stretches, and what-ifs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.text import Text
from rich.tree import Tree

from minisim.hwmodel.isa import Queue, Schedule
from minisim.reports.account import Account
from minisim.reports.columns import Column, fitting, table_of
from minisim.reports.write import output_set, write_csv

ACCOUNT_FILE, MAPPING_FILE = "account.csv", "mapping.toml"

TOP = 10
"""Stretches shown."""

WIDE = 80
"""Columns of a terminal from which on causes are explained in the tree."""

LAYER_WIDTH = 16
"""Characters of a layer's name."""

INDENT = 2
"""Columns of space before each line below a heading."""

NAME_WIDTH = 17
"""Columns for the names of causes and groups, so that numbers stand below each other."""


@dataclass(frozen=True)
class WhatIf:
    """One changed machine, compiled for and simulated.

    Attributes:
        name: of the change, such as "twice the SRAM".
        settings: what `--set` would have to be given, by dotted key.
        cycles: of the run on it; None if there is no such run, and `reason` says why.
    """

    name: str
    settings: Mapping[str, str]
    cycles: int | None
    reason: str = ""


def write_account(account: Account, out_dir: str | Path, mapping: str | None = None) -> list[Path]:
    """Write account.csv into `out_dir`, and `mapping` as mapping.toml: all of it or nothing.

    Returns:
        the paths of the files.

    Raises:
        OutputError: the folder cannot be written.
    """
    with output_set(out_dir, last=ACCOUNT_FILE) as staging:
        write_csv(account.table(), staging / ACCOUNT_FILE)
        if mapping is not None:
            (staging / MAPPING_FILE).write_text(mapping, encoding="utf-8")
    return [Path(out_dir) / name for name in (ACCOUNT_FILE, MAPPING_FILE)[: 1 if mapping is None else 2]]


def print_account(account: Account, what_ifs: Sequence[WhatIf], console: Console) -> None:
    """Print all of it; it fits any width from 60 columns on."""
    record = account.record
    _heading(console, f"{record.model} on {record.config}: {record.timeline.cycles:,} cycles")
    _print_tree(account, console)
    _print_stretches(account, console)
    _print_what_ifs(record.timeline.cycles, what_ifs, console)


def _print_tree(account: Account, console: Console) -> None:
    """Groups and causes that have cycles, in the order of the table's columns."""
    cycles, total = account.total(), account.record.timeline.cycles
    latency = account.exposed_latency()
    tree = Tree(_branch("all cycles", total, total, NAME_WIDTH + 8))
    for group, causes in account.groups.items():
        here = sum(cycles[cause] for cause in causes)
        if not here:
            continue
        branch = tree.add(_branch(group, here, total, NAME_WIDTH + 4))
        for cause in sorted(causes, key=lambda cause: -cycles[cause]):
            if cycles[cause]:
                line = _branch(cause, cycles[cause], total, NAME_WIDTH)
                if console.width >= WIDE:
                    line.append(f"  {account.meaning(cause)}", style="dim")
                leaf = branch.add(line)
                if latency.get(cause):
                    leaf.add(_branch("DRAM latency", latency[cause], total, NAME_WIDTH - 4))
    console.print(Padding(tree, (0, 0, 0, INDENT), expand=False), highlight=False, no_wrap=True, crop=True)


def _branch(name: str, cycles: int, total: int, width: int) -> Text:
    return Text(f"{name:<{width}}{cycles:>12,}{100 * cycles / total if total else 0:>6.1f}%")


def _print_stretches(account: Account, console: Console) -> None:
    """The longest stretches of the path, in order of time."""
    stretches, schedule = account.stretches(), account.record.schedule
    if not stretches:
        return
    longest = sorted(sorted(stretches, key=lambda s: -s.cycles)[:TOP], key=lambda s: s.begin)
    shown = sum(s.cycles for s in longest)
    share = 100 * shown / account.record.timeline.cycles
    _heading(console, f"Critical path: the longest {len(longest)} of {len(stretches)} stretches ({share:.0f}%)")
    layers = [schedule.layer_names[s.layer] for s in longest]
    columns = [Column("from cycle", by=[f"{s.begin:,}" for s in longest]),
               Column("cycles", by=[f"{s.cycles:,}" for s in longest]),
               Column("mostly", left=True, by=[f"{s.cause} {100 * s.share:.0f}%" for s in longest]),
               Column("layer", left=True, most=LAYER_WIDTH, drop=1, by=layers),
               Column("unit", left=True, drop=2, by=[_unit(schedule, s.lane) for s in longest]),
               Column("operations", drop=3, by=[f"{s.ops:,}" for s in longest]),
               Column("the first", left=True, drop=4, by=[schedule.title(s.op) for s in longest])]  # fmt: skip
    _print_table(columns, console)


def _print_table(columns: Sequence[Column], console: Console) -> None:
    """The columns for which there is room."""
    table = table_of(fitting(columns, console.width - INDENT))
    console.print(Padding(table, (0, 0, 0, INDENT), expand=False), highlight=False)


def _unit(schedule: Schedule, lane: int) -> str:
    return schedule.lane_name(lane) if lane < schedule.cores * len(Queue) else "dram"


def _print_what_ifs(cycles: int, what_ifs: Sequence[WhatIf], console: Console) -> None:
    """Every changed machine, the fastest first."""
    if not what_ifs:
        return
    _heading(console, "What if (each compiled for and simulated)")
    lines: list[tuple[str, ...]] = []
    for w in sorted((w for w in what_ifs if w.cycles is not None), key=lambda w: w.cycles or 0):
        speed_up = f"{cycles / w.cycles:.2f}x" if w.cycles else "-"
        parts = w.name.replace(", ", ",\n").splitlines()  # of a pair of changes, each on a line, as its settings are
        lines += zip_longest(parts, [f"{w.cycles:,}"], [speed_up], _settings(w), fillvalue="")
    machines, taken, gained, changed = ([line[i] for line in lines] for i in range(4))
    _print_table([Column("machine", left=True, drop=1, by=machines), Column("cycles", by=taken),
                  Column("speed-up", by=gained), Column("change", left=True, by=changed)], console)  # fmt: skip
    failed: dict[str, list[WhatIf]] = {}
    for w in what_ifs:
        if w.cycles is None:
            failed.setdefault(w.reason, []).append(w)
    for reason, those in failed.items():
        names = "; ".join(f"{w.name} ({' '.join(_settings(w))})" for w in those)
        console.print(Padding(Text(f"{names}: {reason}"), (0, 0, 0, INDENT), expand=False), highlight=False)


def _settings(what_if: WhatIf) -> list[str]:
    return [f"{key}={value}" for key, value in what_if.settings.items()]


def _heading(console: Console, text: str) -> None:
    console.print()
    console.print(Text(text, style="bold"), highlight=False)
