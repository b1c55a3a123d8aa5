"""A sweep on a dask cluster of separate processes, of which some are killed in mid-run, against the local one.

    python benchmarks/cluster.py [--workers 4] [--kills 2] [--seed 0]

Starts a scheduler and workers, each in a folder of its own, sweeps on them, and kills (SIGKILL) workers one after the
other while they compute; then compares the rows with those of the same sweep in this computer's own processes (but for
the seconds that points took). A worker of another version is refused; that is tried, too.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import minisim

WALL = ("wall_compile_s", "wall_simulate_s")
SWEEP = ["sweep", "model.py", "--set", "compiler.effort=0", "--param", "sram.bytes=4KiB:256KiB:x2",
         "--param", "dma.channels=1,2", "--param", "dram.latency=20ns:100ns:+20ns"]  # fmt: skip
MODEL = """import numpy as np
import minisim as ms


def model():
    graph = ms.Graph("layer")
    x = graph.input("x", (256, 96))
    graph.output(graph.relu(x @ graph.weight("w", np.random.default_rng(0).normal(size=(96, 256)))), "y")
    return graph
"""
"""It lies where the driver is, and nowhere else."""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


def dask(folder: Path, *argv: str, path: Path | None = None) -> subprocess.Popen[bytes]:
    """Start one of dask's commands in a folder of its own; `path` is where it looks for minisim first."""
    folder.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, "MINISIM_CACHE": "off", **({"PYTHONPATH": str(path)} if path else {})}
    log = (folder / "log.txt").open("wb")
    return subprocess.Popen([sys.executable, "-m", "dask", *argv], cwd=folder, env=env, stdout=log, stderr=log)


@contextmanager
def cluster(base: Path, count: int, path: Path | None = None) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler and so many workers, with the address of the first; they end with it."""
    address = f"tcp://127.0.0.1:{free_port()}"
    started = [dask(base / "scheduler", "scheduler", "--host", address, "--no-dashboard", "--no-show")]
    try:
        options = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--memory-limit", "0")
        workers = [dask(base / f"worker{i}", "worker", address, *options, path=path) for i in range(count)]
        started += workers
        until = time.monotonic() + 60
        while sum("Registered to" in (base / f"worker{i}" / "log.txt").read_text() for i in range(count)) < count:
            assert time.monotonic() < until, "the workers do not come"
            time.sleep(0.1)
        yield address, workers
    finally:
        for process in started:
            process.kill()
        for process in started:
            process.wait()


def start(folder: Path, *more: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "minisim", *SWEEP, *more]
    env = {**os.environ, "MINISIM_CACHE": "off"}
    return subprocess.Popen(argv, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def rows(path: Path) -> list[dict[str, str]]:
    with (path / "sweep.csv").open(newline="") as file:
        return [{name: value for name, value in row.items() if name not in WALL} for row in csv.DictReader(file)]


def known(folder: Path) -> int:
    import sqlite3

    try:
        with sqlite3.connect(folder / "ledger.sqlite") as base:
            count: int = base.execute("SELECT count(*) FROM points").fetchone()[0]
    except sqlite3.Error:
        return 0
    return count


def other_version(base: Path) -> Path:
    """A copy of minisim, of which a file is another one."""
    shutil.copytree(Path(minisim.__file__).parent, base / "minisim")
    shutil.copytree(Path(minisim.minisim_start.__file__).parent, base / "minisim_start")
    with (base / "minisim" / "errors.py").open("a") as file:
        file.write("# another version\n")
    return base


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        (base / "driver").mkdir()
        (base / "driver" / "model.py").write_text(MODEL)
        local = start(base / "driver", "--jobs", "2", "--out", "local")
        _, err = local.communicate()
        assert local.returncode == 0, err
        expected = rows(base / "driver" / "local")
        with cluster(base, args.workers) as (address, workers):
            process = start(base / "driver", "--cluster", address, "--out", "far")
            for kill, victim in enumerate(rng.sample(workers, args.kills)):
                while known(base / "driver" / "far") <= kill * len(expected) // 4 + 2 and process.poll() is None:
                    time.sleep(0.02)
                assert process.poll() is None, "the sweep ended before a worker was killed"
                os.kill(victim.pid, signal.SIGKILL)
                print(f"worker killed at {known(base / 'driver' / 'far')} of {len(expected)} points", flush=True)
            out, err = process.communicate()
            assert process.returncode == 0, out + err
        assert rows(base / "driver" / "far") == expected
        print(f"{len(expected)} rows equal the local run's")
        with cluster(base / "other", 1, other_version(base / "copy")) as (address, _):
            process = start(base / "driver", "--cluster", address, "--out", "refused")
            _, err = process.communicate()
            assert process.returncode == 2 and "has another minisim" in err, err
            print(err.strip())


if __name__ == "__main__":
    main()
