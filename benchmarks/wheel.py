"""The wheel in an empty environment: built, installed, and run where nothing of the sources is.

    python benchmarks/wheel.py

Prints the wheel's size and the seconds of each step; fails if a step does, or if the wheel lacks a file of some kind.
What it depends on comes from the index that pip uses.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = "minisim/reports/html"
NEEDED = (
    "minisim/configs/npu_32x32.toml",
    f"{PAGES}/templates/run.html",
    f"{PAGES}/js/timeline.js",
    "minisim/py.typed",
)


def step(name: str, *command: str, cwd: Path) -> str:
    """Run a command in a folder of its own, without this environment's variables of Python; return what it printed."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
    began = time.perf_counter()
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{name} failed ({done.returncode}):\n{done.stdout}{done.stderr}")
    print(f"{name:<24}{time.perf_counter() - began:7.1f} s", flush=True)
    return done.stdout


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        step("pip wheel", sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", name, str(ROOT), cwd=folder)
        (wheel,) = folder.glob("*.whl")
        held = zipfile.ZipFile(wheel).namelist()
        if missing := [file for file in NEEDED if file not in held]:
            sys.exit(f"{wheel.name} does not hold {', '.join(missing)}")
        print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB, {len(held)} files")
        step("an empty environment", sys.executable, "-m", "venv", "env", cwd=folder)
        programs = folder / "env" / "bin"
        step("pip install", str(programs / "pip"), "install", "-q", str(wheel), cwd=folder)
        (folder / "work").mkdir()
        minisim, work = str(programs / "minisim"), folder / "work"
        print(step("minisim --version", minisim, "--version", cwd=work).strip())
        out = step("minisim run", minisim, "run", "gemm:64x64x64", "--report", cwd=work)
        assert "cycles" in out and "checked" in out, out
        for file in ("summary.csv", "report.html"):
            assert (work / "out" / file).stat().st_size > 100, file
        swept = ("--no-numerics", "--param", "sram.bytes=64KiB,1MiB", "--out", "swept", "--report")
        step("minisim sweep", minisim, "sweep", "gemm:64x64x64", *swept, cwd=work)
        assert (work / "swept" / "sweep.html").stat().st_size > 10_000


if __name__ == "__main__":
    main()
