"""How long does a new user take? From a clean clone to the first report and the first sweep, step by step.

    python benchmarks/first_use.py [--source .] [--python python3]

Clones the repository (what is committed) into an empty folder, makes a virtual environment, installs with pip, and
types what the first page of the documentation says. Prints the seconds of each step. What pip has to download counts,
and depends on the network; a compiler cache, if there is one, is not used.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

SWEEP = ("--param", "sram.bytes=64KiB,256KiB,1MiB", "--param", "dram.bandwidth=12.8GB/s,25.6GB/s")


def steps(source: str, python: str) -> list[tuple[str, list[str]]]:
    """What is typed, with a name each; the first in an empty folder, all others in it as well."""
    minisim = str(Path("venv/bin/minisim"))
    return [
        ("clone", ["git", "clone", "-q", source, "clone"]),
        ("virtual environment", [python, "-m", "venv", "venv"]),
        ("install", ["venv/bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check", "./clone[plot]"]),
        ("first report", [minisim, "run", "clone/examples/mlp.py", "--out", "out"]),
        ("a network", [minisim, "run", "resnet18:size=64", "--no-numerics", "--out", "network"]),
        ("first sweep", [minisim, "sweep", "clone/examples/mlp.py", *SWEEP, "--out", "sweep"]),
        ("first picture", ["venv/bin/python", "-c", PICTURE]),
    ]


PICTURE = """
import minisim as ms
result = ms.run("clone/examples/mlp.py")
result.plot().figure.savefig("account.png")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--source", default=str(ROOT), help="what is cloned")
    parser.add_argument("--python", default=sys.executable)
    options = parser.parse_args()
    environment = {**os.environ, "CCACHE_DISABLE": "1", "MINISIM_CACHE": "cache"}
    total = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for name, command in steps(options.source, options.python):
            began = time.perf_counter()
            done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
            took = time.perf_counter() - began
            total += took
            print(f"  {name:<20} {took:7.1f} s", flush=True)
            if done.returncode:
                sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        made = [
            name for name in ("out/summary.csv", "sweep/sweep.csv", "account.png") if (Path(folder) / name).exists()
        ]
    print(f"  {'in all':<20} {total:7.1f} s; made {', '.join(made)}")


if __name__ == "__main__":
    main()
