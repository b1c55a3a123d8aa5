"""minisim explain, from end to end."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from minisim.compiler.frontend import load_model
from minisim.hwmodel.config import Machine
from minisim.reports import Account
from minisim.run import run
from minisim.what_if import FACTORS, changes, what_ifs

MODEL, OVERRIDES = "gemm:96x64x80", ["dram.latency=13ns", "tile.m=16"]

PLAIN = [name for name in FACTORS if name not in ("twice the bursts in flight", "twice the accumulator memory")]
"""The changes to a machine without a limit on bursts."""


def test_the_answer_has_a_tree_a_path_and_what_ifs(minisim: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    machine = Machine.load("npu_32x32", OVERRIDES)
    cycles = run(load_model(MODEL), machine, numerics=False).cycles
    out = minisim("explain", MODEL, *(f"--set={o}" for o in OVERRIDES)).stdout
    assert f"gemm on npu_32x32: {cycles:,} cycles" in out
    for part in ("all cycles", "moving data", "load_port", "tail", "longest", "LOAD a[0:16,0:32]", *PLAIN):
        assert part in out
    assert "dram.latency=6.5ns" in out
    assert not list(Path().iterdir())


def test_with_out_it_writes_the_account(minisim: Any) -> None:
    result = minisim("explain", "gemm:96x64x80", "--out", "deep/er", "--no-what-if")
    assert "What if" not in result.stdout and "deep/er/account.csv" in result.stdout
    with Path("deep/er/account.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    expected = Account.of(run(load_model(MODEL), Machine(), numerics=False).record()).table()
    assert [list(row.values())[3:] for row in rows] == expected.iloc[:, 3:].astype(str).to_numpy().tolist()
    assert [(row["layer_id"], row["name"], row["op"]) for row in rows] == [("0", "c", "MatMul"), ("", "total", "")]


@pytest.mark.parametrize("jobs", [1, 2])
def test_each_what_if_is_a_run_with_its_settings(jobs: int) -> None:
    graph, machine = load_model("gemm:128x96x160"), Machine.load("npu_32x32", ["control.queue_depth=2"])
    found = what_ifs(graph, machine, jobs=jobs)
    assert [w.name for w in found] == list(changes(machine)) == PLAIN
    for w in found:
        changed = Machine.load("npu_32x32", ["control.queue_depth=2", *(f"{k}={v}" for k, v in w.settings.items())])
        assert w.cycles == run(graph, changed, numerics=False).cycles
        assert changed != machine


def test_the_tile_grows_with_the_array_where_it_must() -> None:
    fits, short = (Machine.load("npu_32x32", [f"tile.k={edge}"]) for edge in (64, 32))
    assert changes(short)["twice the array's rows"] == {"matrix.rows": "64", "tile.k": "64"}
    assert changes(fits)["twice the array's rows"] == {"matrix.rows": "64"}
    assert changes(Machine())["twice the array's rows"] == {"matrix.rows": "64"}  # what is not written follows
    pair = Machine.load("npu_32x32", ["matrix.arrays=2", "tile.n=100"])
    assert changes(pair)["twice the array's columns"] == {"matrix.cols": "64", "tile.n": "128"}
    assert changes(pair)["twice the arrays"] == {"matrix.arrays": "4", "tile.n": "128"}
    other = Machine.load("npu_32x32", ["matrix.dataflow=is", "tile.m=32", "tile.n=32"])
    assert changes(other)["twice the array's columns"] == {"matrix.cols": "64", "tile.m": "64"}


def test_half_of_no_latency_is_no_change() -> None:
    assert "twice the bursts in flight" not in changes(Machine())
    bursts = Machine.load("npu_32x32", ["dma.outstanding_bursts=2"])
    assert changes(bursts)["twice the bursts in flight"] == {"dma.outstanding_bursts": "4"}
    assert "half the DRAM latency" not in changes(Machine.load("npu_32x32", ["dram.latency=0ns"]))


def test_a_machine_that_cannot_be_has_its_reason(minisim: Any) -> None:
    """Tiles of a larger array that do not fit the SRAM, and a value beyond its bound."""
    out = minisim("explain", "gemm:64x64x64", "--set=sram.bytes=12KiB", "--set=dma.bytes_per_cycle=65536").stdout
    text = " ".join(out.split())
    assert "infeasible: " in text
    assert "no machine has that: " in text and "must be at most 65536, not 131072" in text


def test_a_narrow_terminal_cuts_operations_not_numbers(minisim: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = minisim("explain", MODEL, "--no-what-if").stdout
    assert "from cycle" in out and max(len(line.rstrip()) for line in out.splitlines()) <= 80
