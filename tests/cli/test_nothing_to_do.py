"""A model that only reshapes computes nothing and moves nothing: it costs its launch, and no report breaks on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import minisim as ms
from minisim.reports import Account, RunRecord, energy, layers, summary, units
from minisim.reports.cause import Cause
from minisim.reports.hints import hints

LAUNCH = 500


def reshapes() -> ms.Graph:
    g = ms.Graph("reshapes")
    g.output(g.reshape(g.reshape(g.input("x", (2, 8)), (4, 4)), (16,)))
    return g


@pytest.fixture(params=[0, LAUNCH])
def record(request: pytest.FixtureRequest) -> RunRecord:
    return ms.run(reshapes(), ms.Machine().replace(f"control.launch_cycles={request.param}", "cores.count=2")).record()


def test_it_costs_its_launch(record: RunRecord) -> None:
    launch = record.machine.control.launch_cycles
    assert record.timeline.cycles == launch
    row = summary(record).iloc[0]
    assert row["cycles_total"] == launch and row["max_abs_error"] == 0
    assert Account.of(record).total() == {cause: launch * (cause == Cause.LAUNCH) for cause in Cause}
    assert Account.of(record).table()["cycles_launch"].tolist() == [launch]
    table = units(record)
    assert (table.filter(regex="^cycles_").sum(axis=1) == launch).all()
    assert not len(layers(record)) and not hints(record)


def test_it_leaks_meanwhile(record: RunRecord) -> None:
    """No other energy: 1,024 PEs x 0.05 mW + 0.25 MiB x 20 mW of each core, and 30 mW of DRAM; 1 mW is 1 pJ a cycle."""
    leaked = record.machine.control.launch_cycles * (2 * (1024 * 0.05 + 5) + 30)
    assert summary(record)["energy_uj"].iloc[0] == pytest.approx(leaked / 1e6)
    assert energy(record)["leakage_pj"].astype(float).tolist() == pytest.approx([leaked])


def test_a_run_with_a_layer_has_no_launch_beside_it() -> None:
    record = ms.run(ms.load_model("gemm:8x8x8"), ms.Machine().replace("control.launch_cycles=500")).record()
    assert record.energy.launch == 0 and record.energy.total == sum(record.energy.by_layer())


def test_no_command_prints_nan(minisim: Any, folder: Path) -> None:
    (folder / "model.py").write_text(
        'import minisim as ms\n\n\ndef model():\n    g = ms.Graph("r")\n'
        '    g.output(g.reshape(g.input("x", (2, 8)), (4, 4)))\n    return g\n'
    )
    texts = [
        minisim("run", "model.py", "--set", "control.launch_cycles=500").stdout,
        minisim("explain", "model.py", "--set", "control.launch_cycles=500").stdout,
        minisim("sweep", "model.py", "--jobs", "1", "--param", "control.launch_cycles=0,5").stdout,
    ]
    assert "500 cycles" in texts[0] and "launch" in texts[1] and not any("nan" in text.lower() for text in texts)
    assert [line.split() for line in texts[2].splitlines()[2:4]] == [
        ["0", "*", "0", "-", "0", "-", "ok"], ["5", "5", "-", "0", "-", "ok"],
    ]  # fmt: skip
    assert pd.read_csv("out/sweep.csv")["cycles_total"].tolist() == [0, 5]
