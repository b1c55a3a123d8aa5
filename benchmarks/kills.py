"""Kill sweeps at random moments, and see whether the ledger is in the end what it is when nobody is killed.

    python benchmarks/kills.py [--kills 100] [--seed 0] [--jobs 2]

Each round a sweep is begun, with one ledger, and its driver or one of its workers is killed (SIGKILL) at a random
moment from its first microseconds on, inside commits too; after each death the ledger must be whole, and must have
nothing that the undisturbed one has not. When a sweep has come to its end, its ledger and its sweep.csv are compared
with the undisturbed run's, row for row (but for the seconds that a point took), and the next ledger is begun.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

WALL = ("wall_compile_s", "wall_simulate_s")
SWEEP = ["sweep", "gemm:64x64x48", "--set", "compiler.effort=0", "--param", "sram.bytes=4KiB:64KiB:x2",
         "--param", "dma.channels=1,2", "--param", "vector.lanes=8,16"]  # fmt: skip
"""20 points, of which those with the smallest memory have no room."""


def begin(folder: Path, jobs: int) -> subprocess.Popen[bytes]:
    """Start the sweep; with its workers it is a group of processes."""
    argv = [sys.executable, "-m", "minisim", *SWEEP, "--jobs", str(jobs), "--out", str(folder)]
    return subprocess.Popen(
        argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ, "MINISIM_CACHE": "off"}
    )


def kept(folder: Path) -> dict[str, tuple[str, str, str]]:
    """What a ledger has, without the seconds that points took; it must be whole."""
    path = folder / "ledger.sqlite"
    if not path.exists() or not path.stat().st_size:
        return {}
    base = sqlite3.connect(path)
    assert base.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    if not base.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        return {}
    rows = base.execute("SELECT key, status, reason, columns FROM points").fetchall()
    base.close()
    found = {key: (status, reason, _timeless(columns)) for key, status, reason, columns in rows}
    assert len(found) == len(rows), "a row is doubled"
    return found


def _timeless(columns: str) -> str:
    row = json.loads(columns) if columns else {}
    return json.dumps({name: value for name, value in row.items() if name not in WALL})


def table(folder: Path) -> list[dict[str, str]]:
    """The rows of sweep.csv, without the seconds."""
    with (folder / "sweep.csv").open(newline="") as file:
        return [{name: value for name, value in row.items() if name not in WALL} for row in csv.DictReader(file)]


def workers_of(process: int) -> list[int]:
    """The workers of a driver: its children that are Python processes of its own kind."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            _, parent = path.read_text().rpartition(")")[2].split()[:2]
            command = (path.parent / "cmdline").read_bytes()
        except OSError:  # it ended meanwhile
            continue
        if int(parent) == process and b"spawn_main" in command:
            found.append(int(path.parent.name))
    return found


def run(kills: int, seed: int, jobs: int, base: Path) -> Counter[str]:
    """Kill so many times; what was killed, and when."""
    rng, counts = random.Random(seed), Counter[str]()
    began = time.perf_counter()
    whole = begin(base / "whole", jobs)
    assert whole.wait() == 0
    took = time.perf_counter() - began
    expected, rows = kept(base / "whole"), table(base / "whole")
    assert len(expected) == len(rows) == 20
    folder = base / "killed"
    while counts["kills"] < kills:
        process = begin(folder, jobs)
        moment = rng.uniform(0, took) if rng.random() < 0.2 else rng.uniform(0.4 * took, took)
        victim = "worker" if jobs > 1 and rng.random() < 0.3 else "driver"
        time.sleep(moment)
        there = [process.pid] if victim == "driver" else workers_of(process.pid)
        if process.poll() is None and there:
            os.kill(rng.choice(there), signal.SIGKILL)
            counts.update(["kills", victim])
        _, err = process.communicate()
        if process.returncode not in (0, -signal.SIGKILL):
            raise AssertionError(err.decode())
        inside = (folder / "ledger.sqlite-journal").exists()
        counts["inside a commit"] += inside
        found = kept(folder)
        assert found.items() <= expected.items(), "a row is not the undisturbed run's"
        counts["points found after a death"] += len(found) if process.returncode else 0
        if process.returncode == 0:
            assert found == expected, "the ledger is not the undisturbed run's"
            assert table(folder) == rows, "sweep.csv is not the undisturbed run's"
            counts["whole sweeps"] += 1
            shutil.rmtree(folder)
    for _ in range(2):  # what is left comes to its end; and then all is known
        assert begin(folder, jobs).wait() == 0
        assert kept(folder) == expected and table(folder) == rows
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        counts = run(args.kills, args.seed, args.jobs, Path(folder))
    print(", ".join(f"{counts[name]} {name}" for name in counts))
    print("the ledger and sweep.csv equal the undisturbed run's, row for row")


if __name__ == "__main__":
    main()
