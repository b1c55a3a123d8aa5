"""minisim sweep, again: what is known is not computed, what stopped goes on, and the plan is told first."""

from __future__ import annotations

import csv
import re
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest

from minisim import sweep_command
from minisim.sweeps import driver, work
from minisim.sweeps.ledger import Ledger
from minisim.sweeps.work import Computer, Outcome

SWEEP = ("sweep", "gemm:32x32x32", "--jobs", "1",
         "--param", "dma.channels=1,2", "--param", "sram.bytes=64KiB:256KiB:x2")  # fmt: skip


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of the points that are computed."""
    keys: list[str] = []
    compute = Computer.compute

    def counted(self: Computer, task: Any, how: Any) -> Outcome:
        keys.append(task.key)
        return compute(self, task, how)

    monkeypatch.setattr(Computer, "compute", counted)
    return keys


def rows(folder: str = "out") -> list[dict[str, str]]:
    with (Path(folder) / "sweep.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_nothing_is_computed_twice(minisim: Any, computed: list[str]) -> None:
    minisim(*SWEEP)
    first = Path("out/sweep.csv").read_bytes()
    again = minisim(*SWEEP)
    assert len(computed) == 6 and Path("out/sweep.csv").read_bytes() == first
    assert "  6 known (out/ledger.sqlite)\n" in again.stdout
    minisim(*SWEEP[:-2], "--param", "sram.bytes=128KiB:512KiB:x2")
    assert len(computed) == 8


def test_sweeps_may_share_a_ledger(minisim: Any, computed: list[str]) -> None:
    minisim(*SWEEP, "--ledger", "mine", "--out", "a")
    minisim(*SWEEP, "--ledger", "mine", "--out", "b")
    assert len(computed) == 6 and rows("a") == rows("b")
    assert not list(Path().rglob("ledger*"))


def test_equal_points_are_computed_once(minisim: Any, computed: list[str], folder: Path) -> None:
    (folder / "same.toml").write_text('name = "same"\n')
    (folder / "sweep.toml").write_text(
        'models = ["gemm:32x32x32"]\nconfigs = ["npu_32x32", "same.toml"]\nparam.dma.channels = [1, 2]\n'
    )
    out = minisim("sweep", "sweep.toml", "--jobs", "1").stdout
    assert out.startswith("4 points: 1 model x 2 machines x 2 settings\n  2 equal to others\n")
    assert [(row["config"], row["dma.channels"]) for row in rows()] == [
        ("npu_32x32", "1"), ("npu_32x32", "2"), ("same", "1"), ("same", "2"),
    ]  # fmt: skip
    assert len(computed) == 2 and rows()[0]["cycles_total"] == rows()[2]["cycles_total"]


def test_several_models_have_a_table_each(minisim: Any) -> None:
    out = minisim("sweep", "gemm:32x32x32", "softmax:8x8", *SWEEP[2:]).stdout
    assert out.startswith("12 points: 2 models x 1 machine x 6 settings\n") and out.count("fewest cycles") == 2
    assert [row["model"] for row in rows()] == ["gemm"] * 6 + ["softmax"] * 6
    assert list(rows()[0])[:4] == ["model", "dma.channels", "sram.bytes", "status"]


def test_a_dry_run_computes_and_writes_nothing(minisim: Any, computed: list[str], folder: Path) -> None:
    out = minisim(*SWEEP, "--dry-run", "--where", "sram.bytes < 256KiB").stdout
    assert out.splitlines() == [
        "4 points: 1 model x 1 machine x 4 settings",
        "  2 dropped by sram.bytes < 256KiB",
        "  models: gemm",
        "  machines: npu_32x32",
        "  dma.channels: 1, 2",
        "  sram.bytes: 64KiB, 128KiB, 256KiB",
    ]
    assert not computed and not list(folder.iterdir())
    minisim(*SWEEP)
    before = Path("out/ledger.sqlite").read_bytes()
    assert "  6 known (out/ledger.sqlite)\n" in minisim(*SWEEP, "--dry-run").stdout
    assert Path("out/ledger.sqlite").read_bytes() == before


def test_what_was_interrupted_goes_on(minisim: Any, computed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    compute = Computer.compute

    def stopped(self: Computer, task: Any, how: Any) -> Outcome:
        if len(computed) == 3:
            raise KeyboardInterrupt
        return compute(self, task, how)

    monkeypatch.setattr(driver, "WORTH", 0)
    with monkeypatch.context() as patch:
        patch.setattr(Computer, "compute", stopped)
        err = minisim(*SWEEP, code=130).stderr
    assert err.startswith("minisim: 3 of 6 points are kept; to go on: minisim sweep --resume --out out\n")
    minisim("sweep", "--resume", "--jobs", "1")
    resumed = rows()
    minisim(*SWEEP)
    assert len(computed) == 6 and rows() == resumed


def test_to_resume_takes_the_last_sweep_and_its_folder(minisim: Any, computed: list[str], folder: Path) -> None:
    (folder / "m.py").write_text(
        'import minisim as ms\n\n\ndef model(n=8):\n    g = ms.Graph("m")\n'
        '    g.output(g.relu(g.input("x", (n, 8))), "y")\n    return g\n'
    )
    minisim(*SWEEP, "--ledger", "mine", "--out", "a")
    other = ("sweep", "m.py", "--dim", "n=4", "--jobs", "1", "--param", "dma.channels=1,2")
    minisim(*other, "--ledger", "mine", "--out", "b")
    (folder / "b" / "sweep.csv").unlink()
    (folder / "a" / "sweep.csv").unlink()
    assert minisim("sweep", "--resume", "--ledger", "mine").stdout.endswith("reports: b/sweep.csv\n")
    assert minisim("sweep", "--resume", "--ledger", "mine", "--out", "a").stdout.endswith("reports: a/sweep.csv\n")
    assert len(computed) == 8 and len(rows("a")) == 6 and len(rows("b")) == 2


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--resume",), "--resume: there is no ledger out/ledger.sqlite: nothing was begun, or it lies elsewhere "
                        "(--out, --ledger)"),
        (("--resume", "m.py"), "--resume: knows what was asked, so it does not go with MODEL"),
        (("--resume", "--param", "a=1"), "--resume: knows what was asked, so it does not go with --param"),
        (("s.toml", "--no-numerics"), "--no-numerics: goes into s.toml"),
        (("s.toml",), "s.toml: there is no such file"),
        (("gemm:8x8x8", "--param", "tile.m=8", "--ledger", "mine"), "mine: is no ledger of minisim's"),
        (("gemm:8x8x8", "--param", "tile.m=8", "--where", "tile.m > 8"),
         "no point is left: tile.m > 8 drops all of them"),
        (("gemm:8x8x8", "--param", "tile.m=8", "--where", "tile.m >"),
         "--where tile.m >: is no expression such as matrix.rows * matrix.cols == 1024 (invalid syntax)"),
        (("gemm:8x8x8", "--param", "tile.m=8", "--link", "tile.m,tile.n"),
         "--link tile.m,tile.n: tile.n is no parameter here"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(argv: tuple[str, ...], message: str, minisim: Any, folder: Path) -> None:
    (folder / "mine").write_text("a,b\n1,2\n" * 100)
    assert minisim("sweep", *argv, code=2).stderr == f"minisim: error: {message}\n"


def test_failures_are_computed_again(minisim: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(work, "run", lambda *_, **__: 1 / 0)
        minisim(*SWEEP)
    assert {row["status"] for row in rows()} == {"failed"}
    minisim(*SWEEP)
    assert {row["status"] for row in rows()} == {"ok"}


def test_a_cluster_needs_its_extra(minisim: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "minisim.sweeps.cluster", raising=False)
    monkeypatch.setitem(sys.modules, "distributed", None)
    err = minisim(*SWEEP[:2], *SWEEP[4:], "--cluster", "a:1", code=2).stderr
    needs = "--cluster needs the package 'distributed': pip install 'minisim-npu[cluster]'"
    assert err == f"minisim: error: {needs}\n"
    assert "--jobs: goes without --cluster" in minisim(*SWEEP, "--cluster", "a:1", code=2).stderr


def test_another_seed_draws_other_inputs(minisim: Any, folder: Path) -> None:
    found = []
    for seed in (0, 1):
        (folder / "s.toml").write_text(f"models = 'gemm:8x8x8'\nparam.dma.channels = [1]\nseed = {seed}\n")
        minisim("sweep", "s.toml", "--jobs", "1")
        found += rows()
    assert found[0]["cycles_total"] == found[1]["cycles_total"]
    assert found[0]["output_sha256"] != found[1]["output_sha256"]


def test_a_sweep_of_another_minisim_is_not_resumed(minisim: Any, folder: Path) -> None:
    minisim(*SWEEP)
    with sqlite3.connect("out/ledger.sqlite") as base:
        base.execute("UPDATE sweeps SET specification = '{\"models\": 3}'")
    base.close()
    assert "was asked by another minisim" in minisim("sweep", "--resume", code=2).stderr


def test_a_full_disk_costs_a_note(minisim: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(Ledger):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self._base.execute("PRAGMA max_page_count = 1")

    monkeypatch.setattr(sweep_command, "Ledger", Full)
    result = minisim(*SWEEP)
    assert len(rows()) == 6 and {row["status"] for row in rows()} == {"ok"}
    first, last = result.stderr.splitlines()
    full = "cannot be written (database or disk is full): the sweep goes on, and tries again"
    assert first == f"minisim: note: out/ledger.sqlite: {full}"
    assert re.fullmatch(r"minisim: note: out/ledger\.sqlite: \d points are not in it", last)
