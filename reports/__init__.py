"""Reports: what a finished run tells, as tables, a terminal summary and a trace.

    record = RunRecord(schedule, timeline, machine, model=..., config=..., timing="simpy", ...)
    write_reports(record, "out")           summary, layers, units, energy and account.csv, machine.toml, run.json
    write_pages("out")                     report.html, from these
    print_summary(record, Console())

A report is made from a record alone; it runs nothing.
"""

from __future__ import annotations

from pathlib import Path

from minisim.reports.account import Account
from minisim.reports.decode import print_decode, write_decode
from minisim.reports.explain import WhatIf, print_account, write_account
from minisim.reports.html import RUN_PAGE, write_pages
from minisim.reports.run_file import FILE as RUN_FILE
from minisim.reports.run_file import Told, write_run_file
from minisim.reports.run_record import RunRecord
from minisim.reports.sweep import print_sweep, write_search, write_sweep
from minisim.reports.tables import energy, layers, summary, timeline, units
from minisim.reports.terminal import print_summary
from minisim.reports.trace import load_protos, write_trace, write_trace_to
from minisim.reports.write import atomic_bytes, atomic_path, make_folder, output_set, write_csv, write_tables

__all__ = [
    "Account",
    "RunRecord",
    "Told",
    "WhatIf",
    "atomic_bytes",
    "atomic_path",
    "energy",
    "layers",
    "load_protos",
    "make_folder",
    "output_set",
    "print_account",
    "print_decode",
    "print_summary",
    "print_sweep",
    "summary",
    "timeline",
    "units",
    "write_account",
    "write_csv",
    "write_decode",
    "write_pages",
    "write_reports",
    "write_search",
    "write_sweep",
    "write_tables",
    "write_trace",
]

TIMELINE_FILE = "timeline.csv"
TRACE_FILE = "trace.perfetto-trace"
MACHINE_FILE = "machine.toml"


def write_reports(
    record: RunRecord,
    out_dir: str | Path,
    trace: bool = False,
    with_timeline: bool = False,
    page: bool = False,
    told: Told | None = None,
) -> list[Path]:
    """Write summary, layers, units, energy and account.csv, machine.toml and run.json into `out_dir`; with `trace` also
    timeline.csv and the trace.

    All of them or none; summary.csv comes last. What was not asked for is removed, if an older run wrote it.

    Args:
        with_timeline: also timeline.csv, which needs no package.
        page: also report.html, made from the other files.
        told: what a page says beside the record.

    Returns:
        the paths of the files.

    Raises:
        MissingExtraError: `trace` without the package perfetto.
        OutputError: the folder cannot be written.
    """
    protos = load_protos() if trace else None
    tables = {"layers": layers(record), "units": units(record), "energy": energy(record)}
    tables["account"] = Account.of(record).table()
    tables["summary"] = summary(record)
    if trace or with_timeline:
        tables["timeline"] = timeline(record)
    with output_set(out_dir, optional=(TIMELINE_FILE, TRACE_FILE, RUN_PAGE)) as staging:
        for name, table in tables.items():
            write_csv(table, staging / f"{name}.csv")
        (staging / MACHINE_FILE).write_text(record.machine.to_toml(), encoding="utf-8")
        write_run_file(record, told or Told(), staging / RUN_FILE)
        if page:
            write_pages(staging, own=True)
        if protos is not None:
            with (staging / TRACE_FILE).open("wb") as file:
                write_trace_to(file, record, protos)
        names = sorted(file.name for file in staging.iterdir())
    return [Path(out_dir) / name for name in names]
