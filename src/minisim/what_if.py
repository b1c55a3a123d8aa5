"""What if the machine were larger? Each change is a machine, compiled for and simulated, never an estimate."""

from __future__ import annotations

from fractions import Fraction

from minisim.compiler.graph import Graph
from minisim.compiler.passes.tile import MAX_OPERATIONS
from minisim.errors import ConfigError
from minisim.hwmodel.config import Machine, as_written, keys, parse_value
from minisim.hwmodel.sections import LIES_ALONG
from minisim.reports.explain import WhatIf
from minisim.sweep import Point, Progress, sweep

FACTORS = {
    "twice the DMA width": ("dma.bytes_per_cycle", Fraction(2)),
    "twice the DRAM bandwidth": ("dram.bandwidth", Fraction(2)),
    "half the DRAM latency": ("dram.latency", Fraction(1, 2)),
    "twice the SRAM": ("sram.bytes", Fraction(2)),
    "twice the accumulator memory": ("accumulator.bytes", Fraction(2)),
    "twice the array's rows": ("matrix.rows", Fraction(2)),
    "twice the array's columns": ("matrix.cols", Fraction(2)),
    "twice the arrays": ("matrix.arrays", Fraction(2)),
    "queues twice as deep": ("control.queue_depth", Fraction(2)),
    "twice the transfers in flight": ("dma.max_outstanding", Fraction(2)),
    "twice the bursts in flight": ("dma.outstanding_bursts", Fraction(2)),
    "twice the cores": ("cores.count", Fraction(2)),
}
"""The changes, each of one key by a factor."""

SIDE = {"matrix.rows": 0, "matrix.cols": 1, "matrix.arrays": 1}
"""The keys that make the array larger, and along which of its sides (`LIES_ALONG`); arrays lie side by side. An edge of
tiles that was written grows with it, or the array would stay empty; what was not written follows it anyway."""


def changes(machine: Machine) -> dict[str, dict[str, str]]:
    """The settings of each change, as `--set` takes them. A change that changes nothing is left out."""
    found = {}
    for name, (key, factor) in FACTORS.items():
        old = value_of(machine, key)
        if not old or (key == "dram.bandwidth" and machine.dram.model != "ideal"):
            continue  # a banked DRAM is as fast as its part
        new = type(old)(old * factor)
        settings = {key: as_written(keys()[key], new)}
        if key in SIDE:
            wide = machine.with_overrides({key: new})
            edge = LIES_ALONG[wide.matrix.dataflow][SIDE[key]]
            if getattr(wide.tile, edge) < wide.matrix.edges[edge]:
                settings[f"tile.{edge}"] = str(wide.matrix.edges[edge])
        found[name] = settings
    return found


def what_ifs(
    graph: Graph,
    machine: Machine,
    *,
    jobs: int | None = None,
    progress: Progress | None = None,
    max_operations: int = MAX_OPERATIONS,
) -> list[WhatIf]:
    """Time `graph` on every changed machine, in the order of FACTORS.

    Args:
        jobs: processes; default: one per CPU. 1 works in this process.
        max_operations: as for `compile_graph`.
    """
    names = changes(machine)
    refused: dict[str, WhatIf] = {}
    points: dict[str, Point] = {}
    for name, settings in names.items():
        try:
            values = {key: parse_value(text) for key, text in settings.items()}
            points[name] = Point(len(points), settings, machine.with_overrides(values))
        except ConfigError as e:
            refused[name] = WhatIf(name, settings, None, "no machine has that: " + str(e).splitlines()[0])
    found = list(points.values())
    rows = (
        sweep(graph, found, numerics=False, jobs=jobs, progress=progress, max_operations=max_operations)
        if found
        else []
    )
    ran = {
        name: WhatIf(name, names[name], row.get("cycles_total"), f"{row['status']}: {row['reason']}")
        for name, row in zip(points, rows, strict=True)
    }
    return [(ran | refused)[name] for name in names]


def value_of(machine: Machine, dotted: str) -> int | Fraction:
    """The value of a numeric key, in base units."""
    section, key = dotted.split(".")
    value: int | Fraction = getattr(getattr(machine, section), key)
    return value
