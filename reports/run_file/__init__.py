"""run.json: what a page shows of a run and no CSV holds. Each part is bounded, however many operations ran.

bound, roofs      the least cycles of each unit; what no layer can surpass
causes            groups and meanings of the columns of account.csv
bars              the timeline, a bar per operation or, of very many, per cell of cycles (`bars.py`)
bandwidth, occupancy, edges, traffic      over time, between layers, by tensor (`series.py`, `flow.py`)
what_if           other machines: what was simulated, and what was not
command           how to run it again
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minisim.hwmodel.isa import DType
from minisim.reports.account import Account
from minisim.reports.explain import WhatIf
from minisim.reports.run_file.bars import timeline_bars
from minisim.reports.run_file.flow import edges, traffic
from minisim.reports.run_file.header import FORMAT, write_json
from minisim.reports.run_file.series import bandwidth, occupancy
from minisim.reports.run_record import RunRecord

FILE = "run.json"


@dataclass(frozen=True)
class Told:
    """What a run's page is told beside the record.

    Attributes:
        command: that made the run, word by word; empty if it was not the command line.
        what_ifs: of other machines; one without cycles has the reason in words.
    """

    command: Sequence[str] = ()
    what_ifs: Sequence[WhatIf] = ()


def run_file(record: RunRecord, told: Told) -> dict[str, Any]:
    """The content of run.json."""
    account, machine = Account.of(record), record.machine
    least = record.work.bound(machine).by_unit()
    return {
        "format": FORMAT,
        "command": list(told.command),
        "bound": {unit: math.ceil(cycles) for unit, cycles in least.items() if cycles},
        "roofs": _roofs(record),
        "causes": [[cause, group, account.meaning(cause)] for group, causes in account.groups.items()
                   for cause in causes],
        "what_if": [[w.name, dict(w.settings), w.cycles, w.reason] for w in told.what_ifs],
        "edges": edges(record.schedule),
        "traffic": traffic(record),
        "bandwidth": bandwidth(record),
        "occupancy": occupancy(record),
        "bars": timeline_bars(record),
        "tensors": list(record.schedule.tensor_names),
    }  # fmt: skip


def _roofs(record: RunRecord) -> dict[str, float]:
    """What no layer can surpass: MACs a cycle of the array, and bytes a cycle of the DRAM and the load ports."""
    machine = record.machine
    used = {DType[name.upper()] for name in record.dtypes.split("+") if name}
    rate = max((machine.matrix.rate(dtype) for dtype in used), default=0)
    dma = machine.dma
    return {
        "macs": float(machine.matrix.elements * machine.cores.count * rate),
        "dram": float(machine.dram_bytes_per_cycle),
        "load": float(dma.bytes_per_cycle * dma.channels * machine.cores.count / dma.beat_cycles),
    }


def write_run_file(record: RunRecord, told: Told, path: Path) -> None:
    """Write run.json."""
    write_json(path, run_file(record, told))
