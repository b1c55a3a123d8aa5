"""minisim sweep: the grid, its rows, and points that fail without stopping the others."""

from __future__ import annotations

import csv
import dataclasses
import importlib
from pathlib import Path
from typing import Any

import pytest

from minisim.compiler.frontend import load_model
from minisim.compiler.pipeline import compile_graph
from minisim.errors import UsageError
from minisim.hwmodel.config import Machine
from minisim.run import Result, run
from minisim.sweeps import work
from minisim.sweeps.grid import Point, grid
from minisim.sweeps.ranges import parse_param
from minisim.sweeps.rows import Row, point_rows

GEMM = "gemm:96x64x48"
WALL = ("wall_compile_s", "wall_simulate_s")


def points(*params: str) -> list[Point]:
    return grid(Machine(), [parse_param(text) for text in params])


def read_rows() -> list[dict[str, str]]:
    with Path("out/sweep.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def timeless(rows: list[Row]) -> list[Row]:
    return [{key: value for key, value in row.items() if key not in WALL} for row in rows]


# -- the grid ------------------------------------------------------------------------------------------------


def test_the_last_parameter_varies_fastest() -> None:
    found = points("sram.bytes=64KiB,128KiB", "dma.bytes_per_cycle=8,16,32")
    assert [tuple(p.params.values()) for p in found] == [
        ("64KiB", "8"), ("64KiB", "16"), ("64KiB", "32"), ("128KiB", "8"), ("128KiB", "16"), ("128KiB", "32"),
    ]  # fmt: skip
    assert [p.index for p in found] == list(range(6))
    assert [(p.machine.sram.bytes, p.machine.dma.bytes_per_cycle) for p in found[::4]] == [(2**16, 8), (2**17, 16)]


def test_spaces_around_values_are_no_part_of_them() -> None:
    assert parse_param(" tile.m = 8 , 16 ") == ("tile.m", ["8", "16"])


def test_a_parameter_given_twice_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^--param tile\.m: given twice"):
        points("tile.m=8", "tile.k=8", "tile.m=8")


# -- the rows ------------------------------------------------------------------------------------------------


def test_each_row_is_what_a_run_alone_gives() -> None:
    graph = load_model(GEMM)
    found = points("sram.bytes=32KiB,64KiB", "dram.latency=0ns,200ns")
    for point, row in zip(found, point_rows(graph, found, jobs=1), strict=True):
        alone = run(graph, point.machine)
        assert (row["status"], row["reason"]) == ("ok", "")
        assert (row["cycles_total"], row["output_sha256"]) == (alone.cycles, alone.output_sha256)


def test_processes_give_the_same_rows() -> None:
    graph = load_model(GEMM)
    found = points("sram.bytes=4KiB,32KiB,64KiB", "dram.bandwidth=1GB/s,25.6GB/s")
    one, two = point_rows(graph, found, jobs=1), point_rows(graph, found, jobs=2)
    assert [list(row) for row in one] == [list(row) for row in two]
    assert timeless(one) == timeless(two)


def test_a_point_without_room_keeps_its_reason() -> None:
    rows = point_rows(load_model(GEMM), points("sram.bytes=512B,64KiB", "compiler.effort=0"), jobs=1, numerics=False)
    assert [row["status"] for row in rows] == ["infeasible", "ok"]
    least = 3 * 4 * 8 * 8  # a tile of each operand
    assert str(least) in rows[0]["reason"] and rows[0]["reason"].startswith("sram.bytes: layer 'c' needs at least")
    assert "cycles_total" not in rows[0]


def test_a_point_that_fails_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def sometimes(graph: Any, machine: Machine, **options: Any) -> Result:
        if machine.dma.setup_cycles == 9:
            raise ZeroDivisionError("of\nall things")
        return run(graph, machine, **options)

    monkeypatch.setattr(work, "run", sometimes)
    rows = point_rows(load_model(GEMM), points("dma.setup_cycles=8,9,10"), jobs=1, numerics=False)
    assert [row["status"] for row in rows] == ["ok", "failed", "ok"]
    assert rows[1]["reason"] == "a bug in minisim: ZeroDivisionError: of all things"


def test_a_compiler_that_fails_fails_its_points(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a bug of ours")

    monkeypatch.setattr(work, "compile_tiled", broken)
    rows = point_rows(load_model(GEMM), points("dma.setup_cycles=8,9"), jobs=1)
    assert [(row["status"], row["reason"]) for row in rows] == [
        ("failed", "a bug in minisim: RuntimeError: a bug of ours")
    ] * 2


def test_points_of_one_schedule_are_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []
    compile_once = work.compile_tiled

    def counted(tiled: Any, machine: Machine) -> Any:
        compiled.append(machine)
        return compile_once(tiled, machine)

    monkeypatch.setattr(work, "compile_tiled", counted)
    rows = point_rows(
        load_model(GEMM), points("vector.lanes=8,16,32", "sram.bytes=32KiB,64KiB"), jobs=1, numerics=False
    )
    assert [row["status"] for row in rows] == ["ok"] * 6
    assert len(compiled) == 2


def test_progress_counts_every_point() -> None:
    seen: list[tuple[int, int]] = []
    found = points("tile.m=16,32", "vector.lanes=8,16")
    point_rows(load_model(GEMM), found, jobs=1, numerics=False, progress=lambda *counts: seen.append(counts))
    assert seen == sorted(seen) and seen[-1] == (4, 4)


# -- a process that dies -------------------------------------------------------------------------------------

DEADLY = """import multiprocessing, os, signal
from minisim.hwmodel.config import Machine

class Deadly(Machine):
    @property
    def dram_latency_cycles(self):
        if multiprocessing.parent_process() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().dram_latency_cycles
"""


def test_a_process_that_is_killed_costs_its_point_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "deadly.py").write_text(DEADLY)
    monkeypatch.syspath_prepend(folder)
    found = points("dma.setup_cycles=8,9,10")
    deadly = importlib.import_module("deadly").Deadly.model_validate(found[1].machine.model_dump(mode="json"))
    found[1] = dataclasses.replace(found[1], machine=deadly)
    rows = point_rows(load_model(GEMM), found, jobs=2, numerics=False)
    assert [row["status"] for row in rows] == ["ok", "failed", "ok"]
    assert rows[1]["reason"] == "the process died (out of memory?)"


# -- the command ---------------------------------------------------------------------------------------------


def test_the_command_writes_a_row_for_each_point_in_grid_order(minisim: Any) -> None:
    result = minisim("sweep", GEMM, "--jobs", "1", "--no-numerics",
                     "--set", "compiler.effort=0",
                     "--param", "sram.bytes=512B,64KiB", "--param", "tile.m=16,32")  # fmt: skip
    rows = read_rows()
    assert list(rows[0])[:4] == ["sram.bytes", "tile.m", "status", "reason"]
    assert [(row["sram.bytes"], row["tile.m"]) for row in rows] == [
        ("512B", "16"), ("512B", "32"), ("64KiB", "16"), ("64KiB", "32"),
    ]  # fmt: skip
    assert [row["status"] for row in rows] == ["infeasible", "infeasible", "ok", "ok"]
    assert [bool(row["reason"]) for row in rows] == [True, True, False, False]
    assert [row["cycles_total"].isdigit() for row in rows] == [False, False, True, True]
    assert "out/sweep.csv" in result.stdout
    assert {path.name for path in Path("out").iterdir()} == {"sweep.csv", "sweep.json", "ledger.sqlite"}


def test_the_rows_have_the_columns_of_a_run(minisim: Any) -> None:
    minisim("sweep", GEMM, "--jobs", "1", "--param", "tile.m=32")
    minisim("run", GEMM, "--set", "tile.m=32")
    with Path("out/summary.csv").open(newline="") as file:
        (summary,) = csv.DictReader(file)
    (row,) = read_rows()
    assert list(row)[3:] == list(summary)
    assert all(row[key] == value for key, value in summary.items() if key not in WALL)


def test_a_point_that_takes_too_many_operations_is_infeasible() -> None:
    """Also where workers compile: what was allowed is compiled, whatever the usual limit is."""
    graph, found = load_model(GEMM), points("tile.m=8,64", "compiler.effort=0")
    operations = [len(compile_graph(graph, point.machine).matmuls) for point in found]
    rows = point_rows(graph, found, jobs=1, numerics=False, max_operations=operations[1])
    assert operations[0] > operations[1]
    assert [row["status"] for row in rows] == ["infeasible", "ok"]
    assert f"at least {operations[0]} operations" in rows[0]["reason"]
    assert [
        row["status"] for row in point_rows(graph, found, jobs=2, numerics=False, max_operations=operations[0])
    ] == ["ok"] * 2


def dtypes(folder: Path) -> list[tuple[str, str, str]]:
    with (folder / "out" / "sweep.csv").open(encoding="utf-8") as file:
        return [(row["matrix.dtype"], row["status"], row["dtype"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize("base", ["fp32", "bf16", "int8"])
def test_a_sweep_over_types_computes_each_point_in_its_own(base: str, minisim: Any, folder: Path) -> None:
    """Whatever the machine's own type is: a built-in that was loaded in that would be in it at every point."""
    minisim("sweep", "gemm:32x32x32", "--jobs", "1", "--set", f"matrix.dtype={base}",
            "--param", "matrix.dtype=int8,bf16,fp32")  # fmt: skip
    assert dtypes(folder) == [(dtype, "ok", dtype) for dtype in ("int8", "bf16", "fp32")]


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_type_that_the_model_cannot_have_is_infeasible(jobs: str, minisim: Any, folder: Path) -> None:
    """It is no failure: no machine without the type computes the model."""
    (folder / "m.py").write_text(
        'import numpy as np\nimport minisim as ms\n\n\ndef model():\n    g = ms.Graph("m")\n'
        '    x = g.input("x", (2, 2), dtype="int16")\n'
        '    g.output(x @ g.weight("w", np.eye(2), "int8"), "y")\n    return g\n'
    )
    out = minisim("sweep", "m.py", "--jobs", jobs, "--param", "matrix.int16_rate=1,0").stdout
    with (folder / "out" / "sweep.csv").open(encoding="utf-8") as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["ok", "infeasible"]
    assert "infeasible: node 'matmul': the array has no int16" in " ".join(out.split())


def test_a_sweep_over_the_array_has_tiles_that_fill_it(minisim: Any, folder: Path) -> None:
    """With memory that is never the limit each doubling of both edges is nearly four times as fast."""
    fast = ["--set", "sram.bytes=16MiB", "--set", "dma.bytes_per_cycle=4096", "--set", "dram.bandwidth=4096GB/s"]
    cycles = []
    for edge in (16, 32, 64):
        minisim("sweep", "gemm:512x512x512", "--jobs", "1", "--no-numerics", *fast,
                "--set", f"matrix.cols={edge}", "--param", f"matrix.rows={edge}")  # fmt: skip
        with (folder / "out" / "sweep.csv").open(encoding="utf-8") as file:
            cycles.append(int(next(csv.DictReader(file))["cycles_total"]))
    assert 3.5 < cycles[0] / cycles[1] <= 4 and 3.5 < cycles[1] / cycles[2] <= 4
