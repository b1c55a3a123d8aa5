"""``minisim compare``: what it takes as A and B, and what it says; and tab completion."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

import minisim as ms
from minisim.cli import main
from minisim.reports.compare import Comparison
from minisim.reports.compare_sweeps import SweepComparison

from .conftest import Minisim

MODEL = "gemm:64x64x64"


def test_two_folders_two_machines_and_one_of_each(minisim: Minisim) -> None:
    minisim("run", MODEL, "--out", "a", "--no-numerics")
    minisim("run", MODEL, "--out", "b", "--no-numerics", "--set", "sram.bytes=64KiB", "--set", "dram.latency=500ns")
    read = minisim("compare", "a", "b", "--out", "from_folders").stdout
    changes = ("--change", "sram.bytes=64KiB", "--change", "dram.latency=500ns")
    timed = minisim("compare", "npu_32x32", "--model", MODEL, *changes, "--out", "from_machines").stdout
    below = "Where the cycles went"
    assert timed.partition(below)[2].splitlines()[:-1] == read.partition(below)[2].splitlines()[:-1]
    for name in ("compare_causes.csv", "compare_energy.csv", "compare_keys.csv", "compare_layers.csv"):
        assert Path("from_folders", name).read_text() == Path("from_machines", name).read_text()
    mixed = minisim("compare", "a/summary.csv", "npu_32x32", "--model", MODEL).stdout
    assert "as fast" in mixed and "The machines are the same" in mixed
    both = minisim("compare", "npu_32x32", "edge_8x8", "--model", MODEL, "--set", "vector.lanes=3").stdout
    assert "vector.lanes" not in both and "matrix.rows" in both


def test_two_sweeps(minisim: Minisim) -> None:
    for folder, width in (("a", 16), ("b", 32)):
        params = ("--param", "sram.bytes=16KiB,64KiB", "--param", "dma.channels=1,2")
        minisim("sweep", MODEL, *params, "--set", f"dma.bytes_per_cycle={width}", "--no-numerics", "--jobs", "1",
                "--out", folder)  # fmt: skip
    text = minisim("compare", "a", "b/sweep.csv", "--out", "c").stdout
    assert "4 points in both" in text and "compare_points.csv" in text
    found = ms.compare("a", "b")
    assert isinstance(found, SweepComparison) and len(found.points) == 4
    minisim("compare", "a", "b", "--report")
    names = {"compare.csv", "compare_points.csv", "compare_unmatched.csv", "compare_fronts.csv", "compare.html"}
    assert {path.name for path in Path("out").iterdir()} == names
    fronts = pd.read_csv("out/compare_fronts.csv")
    assert set(fronts["against"]) == {"area", "energy"} and set(fronts["sweep"]) == {"a", "b"}
    text = Path("out/compare.html").read_text("utf-8").replace("\u00a0", " ")
    assert "minisim compare a b --report" in text and "B takes <strong>" in text
    assert "of 4 points</strong>, more at" in text
    minisim("compare", "a", "b", "--out", "out")
    assert not Path("out/compare.html").exists()
    for side in ("a", "b"):  # of another version: what its machines were is not known
        Path(side, "sweep.json").write_text(Path(side, "sweep.json").read_text().replace('"format":1', '"format":7'))
    minisim("compare", "a", "b", "--out", "out")
    assert set(pd.read_csv("out/compare_fronts.csv")["against"]) == {"energy"}
    refused = minisim("compare", "a", "b", "--out", "a/sweep.csv", code=2)
    assert "--out a/sweep.csv: must be a folder, not a file" in refused.stderr and not refused.stdout


def test_a_folder_of_both_asks_for_a_name(minisim: Minisim) -> None:
    minisim("run", MODEL, "--out", "a", "--no-numerics")
    minisim("sweep", MODEL, "--param", "dma.channels=1", "--no-numerics", "--jobs", "1", "--out", "a")
    refused = minisim("compare", "a", "a", code=2).stderr
    assert "has a run and a sweep; name one: a/summary.csv or a/sweep.csv" in refused
    assert "as fast" in minisim("compare", "a/summary.csv", "a/summary.csv").stdout
    refused = minisim("compare", "a/summary.csv", "a/sweep.csv", code=2).stderr
    assert "a sweep can be compared with a sweep, not with 'a/summary.csv'" in refused


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("npu_32x32", "needs B, or --change of machine A"),
        ("npu_32x32 edge_8x8", "npu_32x32 is a machine: a comparison needs the model that runs on it (--model)"),
        ("npu_32 edge_8x8 --model gemm:8x8x8", "neither a folder of reports nor a machine file nor a preset; did you"),
        ("empty edge_8x8 --model gemm:8x8x8", "empty: has neither summary.csv of a run nor sweep.csv of a sweep"),
        ("npu_32x32 edge_8x8 --model gemm:8x8", "model 'gemm:8x8'"),
        ("npu_32x32 --change sram.byte=3 --model gemm:8x8x8", "did you mean"),
        ("run run --model gemm:8x8x8", "--model: goes with a machine, and both sides are reports"),
        ("run run --change sram.bytes=1MiB", "--change: goes with a machine as B"),
        ("gone/summary.csv run", "gone: has no summary.csv"),
        ("hw.toml run --model gemm:8x8x8", "hw.toml"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_one_message(minisim: Minisim, command: str, message: str) -> None:
    Path("empty").mkdir()
    minisim("run", "gemm:8x8x8", "--out", "run", "--no-numerics")
    refused = minisim("compare", *command.split(), code=2)
    assert message in refused.stderr and len(refused.stderr.splitlines()) == 1 and not refused.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_script(minisim: Minisim, shell: str) -> None:
    script = minisim("completion", shell).stdout
    assert "_MINISIM_COMPLETE" in script and f"{shell}_complete" in script and "minisim" in script


@pytest.mark.parametrize(
    ("words", "proposed"),
    [
        ("minisim com", {"compare", "completion"}),
        ("minisim run --config npu_", {"npu_32x32"}),
        ("minisim run resnet18", {"resnet18"}),
        ("minisim sweep x --set dma.ch", {"dma.channels="}),
        ("minisim compare edge", {"edge_8x8"}),
    ],
)
def test_what_a_shell_may_propose(monkeypatch: pytest.MonkeyPatch, words: str, proposed: set[str]) -> None:
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    monkeypatch.setenv("_MINISIM_COMPLETE", "bash_complete")
    result = CliRunner().invoke(main, prog_name="minisim")
    assert proposed == {line.partition(",")[2] for line in result.stdout.splitlines() if line.startswith("plain")}


def test_python_compares_the_same(minisim: Minisim) -> None:
    minisim("run", MODEL, "--out", "a", "--no-numerics")
    other = ms.run(MODEL, "edge_8x8", numerics=False)
    by_name, by_result = ms.compare("a", "edge_8x8", model=MODEL), ms.compare("a", other)
    assert isinstance(by_name, Comparison) and isinstance(by_result, Comparison)
    assert by_name.causes.equals(by_result.causes) and by_name.b.cycles == other.cycles
    assert by_name.verdict.startswith("a -> edge_8x8: ")
