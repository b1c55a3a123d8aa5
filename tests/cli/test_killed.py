"""kill -9 in mid-run, many times: the reports are complete and of one run, or there is no summary.csv."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

MODELS = ("gemm:64x48x40", "gemm:40x8x72")

# Everything is imported once, by a first run; each other is a forked child, whose compiler does not search for long.
# With a slow disk, most of a run is the writing of its reports, which is where a kill would do harm.
KILLER = """import contextlib, io, json, os, random, signal, sys, time
from pathlib import Path
from minisim.cli import main

models, slow_disk, kills = sys.argv[1].split(), float(sys.argv[2]), int(sys.argv[3])
fsync = os.fsync
def slow(handle):
    time.sleep(slow_disk)
    fsync(handle)
os.fsync = slow

def run(model, out):
    main(["run", model, "--no-what-if", "--set", "compiler.effort=0", "--out", out])

def start(model):
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(1, 2)
        run(model, "out")
    return child

def files():
    return {p.name: p.read_text() for p in Path("out").iterdir() if p.suffix in (".csv", ".json")}

with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
    run("gemm:8x8x8", "first")
began = time.perf_counter()
os.waitpid(start(models[0]), 0)
length = time.perf_counter() - began
rng = random.Random(0)
for i in range(kills):
    child = start(models[i % len(models)])
    time.sleep(rng.uniform(0, length))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    print(json.dumps(files()))
os.waitpid(start(models[-1]), 0)
print(json.dumps(files()))
"""


def check_set(files: dict[str, str]) -> None:
    """All tables and what the page is made from, whole, and of one run."""
    assert files.keys() == {"summary.csv", "layers.csv", "units.csv", "energy.csv", "account.csv", "run.json"}
    assert json.loads(files.pop("run.json"))["bound"]
    tables = {name: list(csv.DictReader(text.splitlines())) for name, text in files.items() if name.endswith(".csv")}
    assert all(text.endswith("\n") for text in files.values())
    (summary,) = tables["summary.csv"]
    for column in ("cycles_total", "macs", "dram_read_bytes"):
        assert sum(int(row[column]) for row in tables["layers.csv"]) == int(summary[column])
    *layers, total = tables["energy.csv"]
    assert [row["energy_pj"] for row in layers] == [row["energy_pj"] for row in tables["layers.csv"]]
    assert sum(Decimal(row["energy_pj"]) for row in layers) == Decimal(total["energy_pj"])
    assert float(total["energy_pj"]) / 1e6 == pytest.approx(float(summary["energy_uj"]))
    assert tables["account.csv"][-1]["cycles_total"] == summary["cycles_total"]
    for unit in tables["units.csv"]:
        cycles = sum(int(value) for key, value in unit.items() if key.startswith("cycles_"))
        assert cycles == int(summary["cycles_total"])


@pytest.mark.parametrize("slow_disk", [0.0, 0.004])
def test_a_killed_run_leaves_no_half_written_reports(slow_disk: float, tmp_path: Path) -> None:
    argv = [sys.executable, "-c", KILLER, " ".join(MODELS), str(slow_disk), "40"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=True)
    *after_kills, at_the_end = map(json.loads, done.stdout.splitlines())
    assert len(after_kills) == 40
    for files in after_kills:
        if "summary.csv" in files:
            check_set(files)
    check_set(at_the_end)
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert left == {*at_the_end, "machine.toml", "run.json"}  # nor temporaries
