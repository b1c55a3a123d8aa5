"""minisim explain, from end to end."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support.paths import ROOT

from minisim import what_if
from minisim.compiler.frontend import load_model
from minisim.hwmodel.config import Machine
from minisim.reports import Account, WhatIf, print_account
from minisim.reports.hints import Hint, hints, merged
from minisim.reports.terminal import advice, print_summary
from minisim.run import Result, run
from minisim.what_if import NAMES, changes, measured, what_ifs

MODEL, OVERRIDES = "gemm:96x64x80", ["dram.latency=13ns", "tile.m=16"]

NOT_IN_EACH = ("twice the bursts in flight", "twice the accumulator memory", "twice the vector lanes", "twice the L2",
               "twice the L2's port", "twice the network", "twice each core's link")  # fmt: skip
PLAIN = [*(name for name in NAMES.values() if name not in NOT_IN_EACH), "bf16 instead of fp32", "int8 instead of fp32"]
"""The single changes of a matmul on a machine with no limit on bursts, and neither an L2 nor a network."""


def timed(spec: str, *overrides: str, preset: str = "npu_32x32") -> Result:
    return run(load_model(spec), Machine.load(preset, overrides), numerics=False)


def changes_of(spec: str, *overrides: str) -> dict[str, dict[str, str]]:
    return changes(timed(spec, *overrides).record())


def test_the_answer_has_a_tree_a_path_and_what_ifs(minisim: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    machine = Machine.load("npu_32x32", OVERRIDES)
    cycles = run(load_model(MODEL), machine, numerics=False).cycles
    out = minisim("explain", MODEL, *(f"--set={o}" for o in OVERRIDES)).stdout
    assert f"gemm on npu_32x32: {cycles:,} cycles" in out
    for part in ("all cycles", "moving data", "load_port", "tail", "longest", *PLAIN):
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
    result = timed("gemm:128x96x160", "control.queue_depth=2")
    found = what_ifs(result, jobs=jobs)
    assert [w.name for w in found][: len(PLAIN)] == list(changes(result.record())) == PLAIN
    for w in found:
        changed = Machine.load("npu_32x32", ["control.queue_depth=2", *(f"{k}={v}" for k, v in w.settings.items())])
        assert w.cycles == run(result.graph, changed, numerics=False).cycles
        assert changed != result.machine


def test_the_best_changes_are_tried_two_at_a_time() -> None:
    result = timed("gemm:8x512x256", preset="edge_8x8")
    found = what_ifs(result, jobs=1)
    pairs = {w.name: w for w in found if ", " in w.name}
    assert "twice the DMA width, twice the DRAM bandwidth" in pairs  # its load port and its DRAM bind together
    single = sorted((w for w in found if w.name not in pairs), key=lambda w: w.cycles or result.cycles)
    together = {frozenset(name.split(", ")) for name in pairs}
    assert frozenset((single[0].name, single[1].name)) in together or set(single[0].settings) & set(single[1].settings)
    for name, w in pairs.items():
        parts = [other.settings for other in single if other.name in name.split(", ")]
        assert len(parts) == 2 and w.settings == {**parts[0], **parts[1]}


def test_what_the_model_does_not_use_is_not_tried() -> None:
    vector, matrix = changes_of("softmax:32x32"), changes_of("gemm:32x32x32", "accumulator.bytes=64KiB")
    assert not any(key.startswith("matrix.") for s in vector.values() for key in s if key != "matrix.dtype")
    assert vector["twice the vector lanes"] == {"vector.lanes": "64"}
    assert "twice the vector lanes" not in matrix
    assert matrix["twice the accumulator memory"] == {"accumulator.bytes": "128KiB"}
    assert "twice the accumulator memory" not in changes_of("softmax:32x32", "accumulator.bytes=64KiB")


def test_types_and_residency_are_tried_where_there_is_a_choice() -> None:
    assert changes_of("gemm:32x32x32")["int8 instead of fp32"] == {"matrix.dtype": "int8"}
    assert "bf16 instead of fp32" not in changes_of("gemm:32x32x32", "matrix.bf16_rate=0")
    graph = load_model("gemm:32x32x32", "int8")
    eight_bit = run(graph, Machine.load("npu_32x32", ["matrix.dtype=int8"]), numerics=False)
    assert not any("instead" in name for name in changes(eight_bit.record()))
    mlp = run(load_model(str(ROOT / "examples/mlp.py")), Machine(), numerics=False)
    assert changes(mlp.record())["nothing kept on chip"] == {"compiler.keep_on_chip": "false"}
    spilled = run(mlp.graph, Machine.load("npu_32x32", ["compiler.keep_on_chip=false"]), numerics=False)
    assert changes(spilled.record())["intermediates kept on chip"] == {"compiler.keep_on_chip": "true"}
    assert not any("on chip" in name for name in changes_of("gemm:32x32x32"))


def test_the_tile_grows_with_the_array_where_it_must() -> None:
    rows, gemm = "twice the array's rows", "gemm:32x32x32"
    assert changes_of(gemm, "tile.k=32")[rows] == {"matrix.rows": "64", "tile.k": "64"}
    assert changes_of(gemm)[rows] == changes_of(gemm, "tile.k=64")[rows] == {"matrix.rows": "64"}
    assert changes_of(gemm, "matrix.dataflow=os", "tile.m=32")[rows] == {"matrix.rows": "64", "tile.m": "64"}
    pair = changes_of(gemm, "matrix.arrays=2", "tile.n=100")
    assert pair["twice the array's columns"] == {"matrix.cols": "64", "tile.n": "128"}
    assert pair["twice the arrays"] == {"matrix.arrays": "4", "tile.n": "128"}


def test_half_of_no_latency_is_no_change_and_a_banked_dram_is_as_fast_as_its_part() -> None:
    gemm = "gemm:32x32x32"
    assert "twice the bursts in flight" not in changes_of(gemm)
    assert changes_of(gemm, "dma.outstanding_bursts=2")["twice the bursts in flight"] == {"dma.outstanding_bursts": "4"}
    assert "half the DRAM latency" not in changes_of(gemm, "dram.latency=0ns")
    assert "twice the DRAM bandwidth" in changes_of(gemm)
    assert "twice the DRAM bandwidth" not in changes_of(gemm, "dram.model=banked")


def test_what_ifs_are_printed_the_fastest_first() -> None:
    cycles = [300, 100, None, 200]
    those = [WhatIf(f"change {n}", {"tile.m": "1"}, n, "it cannot be") for n in cycles]
    file = io.StringIO()
    print_account(Account.of(timed("gemm:32x32x32").record()), those, Console(file=file, width=100))
    assert re.findall(r"change (\w+)", file.getvalue()) == ["100", "200", "300", "None"]


@pytest.mark.parametrize("width", [60, 70, 80, 100, 120])
def test_tables_lose_columns_before_numbers(width: int) -> None:
    """No number is cut or folded, however narrow the terminal: whole columns go, what says least first."""
    result = timed("gemm:512x512x512", "cores.count=3", "dram.model=banked")
    account = Account.of(result.record())
    pair = WhatIf("twice the transfers in flight, queues twice as deep",
                  {"dma.max_outstanding": "32", "control.queue_depth": "32"}, 12_345_678)  # fmt: skip
    those = [pair, WhatIf("nothing kept on chip", {"compiler.keep_on_chip": "false"}, 87_654_321)]
    file = io.StringIO()
    print_account(account, those, Console(file=file, width=width))
    lines = [line.rstrip() for line in file.getvalue().splitlines()]
    assert max(map(len, lines)) <= width
    longest = sorted(sorted(account.stretches(), key=lambda s: -s.cycles)[:10], key=lambda s: s.begin)
    head = next(i for i, line in enumerate(lines) if line.startswith("  from cycle"))
    columns = re.split("  +", lines[head].strip())
    assert columns == ["from cycle", "cycles", "mostly", "layer", "unit", "operations", "the first"][: len(columns)]
    assert len(columns) == {60: 5, 70: 5, 80: 6, 100: 7, 120: 7}[width]
    for line, s in zip(lines[head + 1 :], longest, strict=False):
        unit = result.schedule.lane_name(s.lane) if s.lane < 12 else "dram"
        row = [f"{s.begin:,}", f"{s.cycles:,}", f"{s.cause} {100 * s.share:.0f}%", "c", unit, f"{s.ops:,}",
               result.schedule.title(s.op)]  # fmt: skip
        assert re.split("  +", line.strip()) == row[: len(columns)]
    rows = [re.split("  +", line.strip()) for line in lines[lines.index("What if (each compiled for and simulated)") :]]
    name = [["machine"], ["twice the transfers in flight,"], ["queues twice as deep"], ["nothing kept on chip"]]
    if width < 82:
        name = [[]] * 4
    assert rows[1:5] == [
        [*name[0], "cycles", "speed-up", "change"],
        [*name[1], "12,345,678", f"{result.cycles / 12_345_678:.2f}x", "dma.max_outstanding=32"],
        [*name[2], "control.queue_depth=32"],
        [*name[3], "87,654,321", f"{result.cycles / 87_654_321:.2f}x", "compiler.keep_on_chip=false"],
    ]


# -- hints are measured ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("spec", "overrides"), [
    ("gemm:96x512x128", ["sram.bytes=24KiB"]), ("softmax:128x256", []), ("gemm:64x64x64", ["control.issue_cycles=64"]),
    ("gemm:256x256x64", ["cores.count=2"]), ("gemm:64x512x256", ["dram.latency=400ns", "dma.max_outstanding=1"]),
])  # fmt: skip
def test_each_hint_ends_with_settings_and_a_run_with_them(spec: str, overrides: list[str]) -> None:
    result = timed(spec, *overrides)
    found = [hint for hint in measured(result, hints(result.record()), 9) if hint.tries]
    assert found
    for hint in found:
        (settings,) = hint.tries
        changed = Machine.load("npu_32x32", [*overrides, *(f"{key}={value}" for key, value in settings.items())])
        assert hint.then == run(result.graph, changed, numerics=False).cycles < result.cycles
        options = " ".join(f"--set {key}={value}" for key, value in settings.items())
        assert advice(hint, result.cycles).endswith(
            f"\n{options}: {hint.then:,} cycles, {result.cycles / hint.then:.2f} x as fast"
        )


def test_what_gains_nothing_is_not_advised() -> None:
    """Of the tries of a hint the best is told; a hint whose tries all gain nothing goes."""
    result = timed("gemm:96x64x80")
    slower, no_gain = {"dma.bytes_per_cycle": "1"}, {"sram.bytes": "512KiB"}
    wider, impossible = {"dma.bytes_per_cycle": "32"}, {"sram.bytes": "1KiB"}
    told = [Hint(9, "a", (no_gain,)), Hint(8, "b", (slower, wider, no_gain)), Hint(7, "c"), Hint(6, "d", (impossible,))]
    assert timed("gemm:96x64x80", "sram.bytes=512KiB").cycles >= result.cycles
    faster = timed("gemm:96x64x80", "dma.bytes_per_cycle=32").cycles
    assert measured(result, told, 9) == [Hint(8, "b", (wider,), faster), Hint(7, "c")]
    assert measured(result, [Hint(9, "a", (no_gain,), stands=True)], 9) == [Hint(9, "a", stands=True)]
    assert measured(result, told, 1) == [Hint(8, "b", (wider,), faster)]


def test_hints_with_the_same_settings_are_one() -> None:
    """A user who reads the same --set twice takes it for two things to do."""
    one, other = {"sram.bytes": "1MiB"}, {"dma.channels": "2"}
    found = [Hint(9, "a", (one, other), 50), Hint(8, "b", (other,)), Hint(7, "c"), Hint(6, "d", (dict(one),)),
             Hint(5, "e"), Hint(4, "f", (other,), 70)]  # fmt: skip
    assert merged(found) == [
        Hint(9, "a\nd", (one, other), 50), Hint(8, "b\nf", (other,), 70), Hint(7, "c"), Hint(5, "e"),
    ]  # fmt: skip
    file = io.StringIO()
    print_summary(timed("gemm:96x64x80").record(), Console(file=file, width=80), found)
    lines = [line.strip() for line in file.getvalue().partition("What to try")[2].splitlines()]
    cycles = timed("gemm:96x64x80").cycles
    assert lines[1:] == [
        "- a", "d", f"--set sram.bytes=1MiB: 50 cycles, {cycles / 50:.2f} x as fast",
        "- b", "f", f"--set dma.channels=2: 70 cycles, {cycles / 70:.2f} x as fast", "- c", "- e",
    ]  # fmt: skip


def test_what_a_large_run_does_not_measure_it_says(minisim: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    result = timed("gemm:512x256x128")
    found = hints(result.record())[:5]
    monkeypatch.setattr(what_if, "MOST_OPERATIONS", len(result.schedule) - 1)
    assert measured(result, found, 5) == found and all(hint.then is None for hint in found)
    assert advice(next(hint for hint in found if hint.tries), result.cycles).endswith("(not measured)")
    out = minisim("run", "gemm:64x256x128", "--no-numerics", "--no-what-if").stdout
    assert "(not measured)" in out and "x as fast" not in out
    assert "x as fast" in minisim("run", "gemm:64x256x128", "--no-numerics").stdout


def test_a_machine_that_cannot_be_has_its_reason(minisim: Any) -> None:
    """Tiles of a larger array that do not fit the SRAM, and a value beyond its bound."""
    out = minisim(
        "explain",
        "gemm:64x64x64",
        "--set=sram.bytes=12KiB",
        "--set=compiler.order=mnk",  # all edges stay as they are
        "--set=dma.bytes_per_cycle=65536",
    ).stdout
    text = " ".join(out.split())
    assert "infeasible: " in text
    assert "no machine has that: " in text and "must be at most 65536, not 131072" in text


def test_a_narrow_terminal_cuts_operations_not_numbers(minisim: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = minisim("explain", MODEL, "--no-what-if").stdout
    assert "from cycle" in out and max(len(line.rstrip()) for line in out.splitlines()) <= 80
