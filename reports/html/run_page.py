"""The page of a run: the verdict, one account, what to change; then what they rest on."""

from __future__ import annotations

import shlex
from typing import Any

from minisim.reports.html.account_section import SHOWN, accounts
from minisim.reports.html.changes_section import changes
from minisim.reports.html.folder import RunFolder, number
from minisim.reports.html.graph_section import graph
from minisim.reports.html.page import page
from minisim.reports.html.tables_section import LAYER_HEADS, energy, layer_lines, machine_keys, traffic
from minisim.reports.html.verdict import unit_words, verdict
from minisim.reports.html.words import of_bytes, percent, scaled, whole

SCRIPTS = ("unpack.js", "layers.js", "roofline.js", "over_time.js", "timeline.js", "run.js")


def run_page(run: RunFolder) -> str:
    """The page as HTML."""
    total_energy, components = energy(run)
    lines, left_out = layer_lines(run)
    return page(
        "run.html",
        SCRIPTS,
        _data(run),
        title=f"{run.summary['model']} on {run.summary['config']}",
        model=run.summary["model"],
        config=run.summary["config"],
        verdict=verdict(run),
        facts=_facts(run, total_energy),
        accounts=accounts(run),
        shown=SHOWN,
        changes=changes(run),
        heads=LAYER_HEADS,
        lines=lines,
        left_out=left_out,
        operators=sorted({row["op"] for row in run.layers}),
        graph=graph(run),
        traffic=traffic(run),
        energy=components,
        total_energy=total_energy,
        keys=machine_keys(run.machine),
        command=shlex.join(run.file["command"]),
    )


def _facts(run: RunFolder, energy_text: str) -> list[tuple[str, str, str]]:
    """Numbers below the verdict: what, how much, and a word more."""
    row = run.summary
    moved = number(row["dram_read_bytes"]) + number(row["dram_write_bytes"])
    seconds = number(row["time_us"]) / 1e6
    found = [("cycles", whole(run.cycles), f"at {run.machine['clock.frequency']}")]
    if int(row["macs"]):
        found.append(("array", percent(number(row["util_matrix_pct"]) / 100), f"{scaled(int(row['macs']))} MACs used"))
    found.append(("DRAM", percent(number(row["util_dma_pct"]) / 100), f"busy, {of_bytes(moved)}"))
    peak, size = number(row["sram_peak_bytes"]), number(row["sram_bytes"])
    found.append(("SRAM", percent(peak / size), f"of {run.machine['sram.bytes']} at peak"))
    if number(row["energy_uj"]):
        watts = number(row["energy_uj"]) / 1e6 / seconds if seconds else float("nan")
        found.append(("energy", energy_text, f"{scaled(watts, 'W')} on average"))
    if row["max_abs_error"]:
        found.append(("largest error", f"{number(row['max_abs_error']):.2g}", "against numpy"))
    return found


def _data(run: RunFolder) -> dict[str, Any]:
    """What the scripts read: columns, never an object per operation."""
    file = run.file
    groups = [group for _, group, _ in file["causes"]]
    order = list(dict.fromkeys(groups))
    names = [cause for cause, _, _ in file["causes"]]
    main = []
    for i in range(len(run.layers)):
        mine = run.causes_of(i)
        most = max(mine, key=lambda cause: mine[cause], default="")
        main.append(order.index(groups[names.index(most)]) if most else -1)
    return {
        "kind": "run",
        "hertz": run.hertz,
        "cycles": run.cycles,
        "layers": {
            "name": [row["name"] for row in run.layers],
            "op": [row["op"] for row in run.layers],
            "interval": [int(row["cycles_total"]) for row in run.layers],
            "macs": [int(row["macs"]) for row in run.layers],
            "bytes": [int(row["dram_read_bytes"]) + int(row["dram_write_bytes"]) for row in run.layers],
            "group": main,
        },
        "groups": order,
        "roofs": {"macs": file["roofs"]["macs"], "dram": file["roofs"]["dram"], "load": file["roofs"]["load"],
                  "dram_name": unit_words("dram", run.machine), "load_name": unit_words("load", run.machine),
                  "macs_name": unit_words("matrix", run.machine)},
        "bandwidth": file["bandwidth"],
        "occupancy": file["occupancy"],
        "bars": file["bars"],
        "tensors": file["tensors"],
    }  # fmt: skip
