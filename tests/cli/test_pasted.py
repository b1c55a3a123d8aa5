"""The command that the page of a sweep gives for a point, pasted into a shell, gives that point's row."""

from __future__ import annotations

import csv
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

import minisim as ms

from .conftest import Minisim

MODEL = """import numpy as np
import minisim as ms


def model(rows=8):
    graph = ms.Graph("layer")
    x = graph.input("x", (rows, 24))
    graph.output(graph.relu(x @ graph.weight("w", np.random.default_rng(0).normal(size=(24, 40)))), "y")
    return graph
"""

TAKES_TIME = re.compile("wall_")


def points() -> list[dict[str, str]]:
    with Path("out", "sweep.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def commands() -> list[str]:
    """Of each point what its dialog shows: as sweep.js puts it together."""
    text = Path("out", "sweep.html").read_text("utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    told = []
    for i, which in enumerate(data["command"]):
        typed = {each["name"]: each["values"][each["at"][i]] for each in data["params"]}
        varied = [f"--set {shlex.quote(f'{k}={v}')}" for k, v in typed.items() if k not in ("model", "config")]
        told.append(" ".join([data["commands"][which], *varied]))
    return told


def check(minisim: Minisim, *which: int) -> None:
    """Paste the commands of these points, and compare the summary of each run with the point's row."""
    for i in which:
        row = points()[i]
        program, *words = shlex.split(commands()[i])
        assert program == "minisim" and row["status"] == "ok"
        minisim(*words, "--out", "alone")
        with Path("alone", "summary.csv").open(newline="") as file:
            (summary,) = csv.DictReader(file)
        # by the sweep's names, of which two machines or models of one name have others
        told = {name: value for name, value in summary.items() if not TAKES_TIME.match(name)}
        assert {name: row[name] for name in told} == told
        assert Path("alone", "report.html").exists()


def test_a_model_with_parameters_on_machine_files(minisim: Minisim) -> None:
    """Names with blanks and quotes, dimensions, keys, a mapping, inputs of another seed, and numerics."""
    Path("my model's.py").write_text(MODEL)
    Path("some machine.toml").write_text(ms.Machine.load("edge_8x8").to_toml().replace("edge_8x8", "small"))
    minisim("explain", "my model's.py", "--config", "some machine.toml", "--mapping", "--out", "the edges")
    asked = ("my model's.py", "--dim", "rows=12", "--config", "some machine.toml", "--set", "vector.lanes=4", "--set",
             "compiler.effort=0", "--seed", "7", "--memory-limit", "1GiB", "--max-operations", "5000", "--jobs", "1",
             "--report", "--mapping", "the edges/mapping.toml")  # fmt: skip
    minisim("sweep", *asked, "--param", "sram.bytes=32KiB,64KiB", "--param", "compiler.effort=0,1")
    limits = "--max-operations 5000 --memory-limit 1GiB"
    assert f"--mapping 'the edges/mapping.toml' --seed 7 {limits} --report" in commands()[0]
    assert "--seed 7" in commands()[0] and "--set compiler.effort=0 --set" not in commands()[0]
    check(minisim, 0, 3)
    minisim("sweep", *asked, "--param", "sram.bytes=32KiB", "--no-numerics")
    assert "--no-numerics" in commands()[0] and "--seed" not in commands()[0]
    check(minisim, 0)


def test_a_file_of_models_and_machines(minisim: Minisim) -> None:
    Path("m.py").write_text(MODEL)
    Path("it.toml").write_text(
        'models = [{model = "m.py", dim = {rows = 12}}, "gemm:16x16x16"]\n'
        'configs = ["edge_8x8", "npu_32x32"]\neffort = 0\nnumerics = false\n'
        '[set]\n"dram.latency" = "80ns"\n[param]\n"dma.channels" = [1, 2]\n'
    )
    minisim("sweep", "it.toml", "--jobs", "1", "--report")
    assert len(points()) == 8 and not any("--m" in command or "--seed" in command for command in commands())
    check(minisim, 1, 7)
    minisim("report", "out")  # made anew from what stands there
    check(minisim, 2)


@pytest.mark.parametrize("other", ["--check onnxruntime", "--no-numerics"])
def test_a_seed_goes_with_inputs_that_are_drawn(minisim: Minisim, other: str) -> None:
    refused = minisim("run", "gemm:8x8x8", "--seed", "1", *other.split(), code=2).stderr
    assert f"--seed: draws other inputs, and goes without {other.split()[0]}" in refused
    digests = set()
    for seed in ("0", "1"):
        minisim("run", "gemm:8x8x8", "--seed", seed, "--no-what-if")
        with Path("out", "summary.csv").open(newline="") as file:
            digests.add(next(csv.DictReader(file))["output_sha256"])
    assert len(digests) == 2
