"""minisim run, from end to end."""

from __future__ import annotations

import csv
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from minisim.compiler.frontend import load_model
from minisim.compiler.graph import Graph
from minisim.errors import ScheduleHazard
from minisim.hwmodel.config import Machine
from minisim.run import run

SUMMARY = [
    "model", "config", "timing", "cycles_total", "time_us", "macs", "util_matrix_pct", "util_dma_pct", "uops", "loads",
    "loads_eliminated", "load_reuse_pct", "executes", "stores", "vector_ops", "dram_read_bytes", "dram_write_bytes",
    "sram_peak_bytes", "sram_bytes", "sram_final_live_bytes", "energy_uj", "output_sha256", "max_abs_error",
    "wall_compile_s", "wall_simulate_s",
]  # fmt: skip
"""Columns of summary.csv that users count on, in this order; others may come between."""

TABLES = {"summary.csv", "layers.csv", "units.csv", "energy.csv", "account.csv", "machine.toml"}
FILES = TABLES | {"run.json"}
STAGES = ["00-import.txt", "05-attend.txt", "10-fuse.txt", "16-phases.txt", "17-depthwise.txt", "20-tile.txt",
          "25-slice.txt",
          "30-lower.txt", "40-schedule.txt", "50-dispatch.txt"]  # fmt: skip
MODEL = """import minisim as ms

def model():
    g = ms.Graph('tiny')
    x = g.input('x', (40, 24))
    g.output(g.relu(x @ g.weight('w', [[0.5] * 16] * 24)), 'y')
    return g
"""


def read(path: str) -> list[dict[str, str]]:
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def names(folder: str) -> set[str]:
    return {path.name for path in Path(folder).iterdir()}


def test_a_run_writes_its_tables_and_says_where(minisim: Any, folder: Path) -> None:
    result = minisim("run", "gemm:64x48x40", "--config", "edge_8x8", "--out", "deep/er")
    assert names("deep/er") == FILES
    for name in TABLES:
        assert f"deep/er/{name}" in result.stdout
    (row,) = read("deep/er/summary.csv")
    assert [column for column in row if column in SUMMARY] == SUMMARY
    assert (row["model"], row["config"], row["timing"], row["macs"]) == (
        "gemm",
        "edge_8x8",
        "native",
        str(64 * 48 * 40),
    )


def test_the_table_says_what_the_function_returns(minisim: Any) -> None:
    minisim("run", "gemm:64x48x40", "--set", "dram.latency=13ns", "--set", "tile.m=16")
    (row,) = read("out/summary.csv")
    machine = Machine.load("npu_32x32", ["dram.latency=13ns", "tile.m=16"])
    expected = run(load_model("gemm:64x48x40"), machine)
    assert int(row["cycles_total"]) == expected.cycles
    assert row["output_sha256"] == expected.output_sha256
    assert float(row["max_abs_error"]) == pytest.approx(expected.max_abs_error)


def test_a_model_file_and_a_machine_file(minisim: Any, folder: Path) -> None:
    (folder / "tiny.py").write_text(MODEL)
    (folder / "hw.toml").write_text('name = "mine"\n[tile]\nm = 8\n')
    minisim("run", "--config", "hw.toml", "tiny.py")
    (row,) = read("out/summary.csv")
    assert (row["model"], row["config"], row["executes"]) == ("tiny", "mine", "5")
    assert [layer["op"] for layer in read("out/layers.csv")] == ["FusedMatMulReLU"]


def test_without_numerics_the_cycles_are_the_same(minisim: Any) -> None:
    minisim("run", "gemm:64x48x40", "--out", "a")
    minisim("run", "gemm:64x48x40", "--out", "b", "--no-numerics")
    ((with_values,), (without,)) = read("a/summary.csv"), read("b/summary.csv")
    assert without["cycles_total"] == with_values["cycles_total"]
    assert (without["output_sha256"], without["max_abs_error"]) == ("", "")
    assert len(with_values["output_sha256"]) == 64


def test_a_second_run_replaces_the_reports_of_the_first(minisim: Any, folder: Path) -> None:
    minisim("run", "gemm:64x48x40")
    (folder / "out" / "notes.txt").write_text("mine")
    minisim("run", "gemm:8x8x8")
    assert read("out/summary.csv")[0]["macs"] == "512"
    assert names("out") == FILES | {"notes.txt"}


def test_dump_ir_writes_every_level(minisim: Any) -> None:
    minisim("run", "gemm:64x48x40", "--set", "compiler.effort=0", "--dump-ir", "ir")
    assert sorted(names("ir")) == STAGES
    first, last = (Path("ir", name).read_text() for name in (STAGES[0], STAGES[-1]))
    assert first.startswith("graph gemm\n") and "LOAD a[0:32,0:32] -> 0x" in last
    assert Path("ir", "30-lower.txt").read_text().count("EXECUTE") == last.count("EXECUTE") == 2 * 2 * 2


def test_dump_ir_of_a_run_that_fails_shows_how_far_it_came(minisim: Any) -> None:
    Path("ir").mkdir()
    for name in (*STAGES, "notes.txt"):
        Path("ir", name).write_text("of an older dump")
    minisim("run", "gemm:64x48x40", "--set", "sram.bytes=64", "--dump-ir", "ir", code=2)
    assert Path("ir", "notes.txt").exists()
    Path("ir", "notes.txt").unlink()
    assert sorted(names("ir")) == STAGES[:8]
    assert not Path("out").exists()


def test_trace_writes_a_row_for_each_operation(minisim: Any) -> None:
    minisim("run", "gemm:64x48x40", "--trace")
    assert names("out") == FILES | {"timeline.csv", "trace.perfetto-trace"}
    (row,) = read("out/summary.csv")
    operations = read("out/timeline.csv")
    assert len(operations) == sum(int(row[kind]) for kind in ("loads", "executes", "stores", "vector_ops"))
    assert Path("out/trace.perfetto-trace").stat().st_size > 1000


def test_a_hazard_is_not_the_users_mistake(minisim: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def hazard(*_: object, **__: object) -> None:
        raise ScheduleHazard("read of nothing", 3)

    monkeypatch.setattr("minisim.cli.run", hazard)
    result = minisim("run", "gemm:8x8x8", code=1)
    assert result.stderr.strip() == "minisim: schedule hazard: read of nothing"
    assert not Path("out").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(minisim: Any, folder: Path) -> None:
    (folder / "locked").mkdir(mode=0o500)
    result = minisim("run", "gemm:8x8x8", "--out", "locked/out", code=2)
    assert result.stderr == (
        "minisim: error: --out locked/out: must be a folder that you may write; locked is not (Permission denied)\n"
    )


# -- as a process --------------------------------------------------------------------------------------------

COMMAND = [sys.executable, "-m", "minisim"]


def test_the_process_ends_with_the_right_code_and_on_the_right_stream(folder: Path) -> None:
    good = subprocess.run([*COMMAND, "run", "gemm:8x8x8"], capture_output=True, text=True)
    assert (good.returncode, good.stderr) == (0, "") and "cycles" in good.stdout
    bad = subprocess.run([*COMMAND, "run", "nothing.py"], capture_output=True, text=True)
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr == "minisim: error: model 'nothing.py': no such file\n"


SLOW = """import time
import minisim as ms
from minisim import progress

def model():
    g = ms.Graph('slow')
    g.output(g.relu(g.input('x', (4, 4))))
    return g

def slow(graph):
    time.sleep(0.1)

progress.PATIENCE_S = 0.0
ms.Graph.verify = slow
"""


def terminal_output(argv: list[str]) -> str:
    """What a command writes when standard error is a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=theirs, env={**os.environ, "TERM": "xterm"}) as p:
        os.close(theirs)
        chunks = []
        try:
            while chunk := os.read(ours, 65536):
                chunks.append(chunk)
        except OSError:  # how Linux says that the other side is closed
            pass
        os.close(ours)
        assert p.wait() == 0
    return b"".join(chunks).decode()


def test_a_slow_run_shows_its_progress_on_a_terminal_only(folder: Path) -> None:
    (folder / "slow.py").write_text(SLOW)
    argv = [*COMMAND, "run", "slow.py", "--no-what-if"]
    assert "compiling" in terminal_output(argv)
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stderr == ""


def test_a_quick_run_shows_no_progress(folder: Path) -> None:
    assert terminal_output([*COMMAND, "run", "gemm:8x8x8"]) == ""


def test_a_missing_package_is_said_before_the_run(minisim: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not after minutes of it; and the timeline needs no package."""
    monkeypatch.setitem(sys.modules, "perfetto.protos.perfetto.trace.perfetto_trace_pb2", None)
    with monkeypatch.context() as patch:
        patch.setattr("minisim.cli.run", lambda *args, **keys: pytest.fail("it ran"))
        result = minisim("run", "gemm:8x8x8", "--trace", code=2)
    assert "needs the package 'perfetto'" in result.stderr and "timeline.csv needs none" in result.stderr
    minisim("run", "gemm:8x8x8", "--timeline")
    assert names("out") == FILES | {"timeline.csv"}


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="a folder in which nobody may make one")
@pytest.mark.parametrize("command", [["run"], ["explain"], ["sweep", "--param=tile.m=8"]])
def test_an_out_that_cannot_be_made_is_said_before_the_run(
    command: list[str], minisim: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its mode allows it, and root may write everywhere: only trying shows it."""
    for name in ("cli.run", "sweep_command.explored"):
        monkeypatch.setattr(f"minisim.{name}", lambda *args, **keys: pytest.fail("it ran"))
    result = minisim(command[0], "gemm:8x8x8", *command[1:], "--out", "/proc/minisim/out", code=2)
    assert result.stderr.startswith("minisim: error: --out /proc/minisim/out: must be a folder that you may write")


def test_no_check_computes_and_does_not_compare(minisim: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    checked = minisim("run", "gemm:8x8x8").output
    monkeypatch.setattr(Graph, "evaluate", None)
    unchecked = minisim("run", "gemm:8x8x8", "--no-check").output
    assert "not checked, sha256" in unchecked
    assert re.findall("sha256 ([0-9a-f]+)", unchecked) == re.findall("sha256 ([0-9a-f]+)", checked)
