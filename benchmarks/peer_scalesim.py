"""minisim beside SCALE-Sim on one 512x512x512 GEMM and a 32x32 weight-stationary array.

    python benchmarks/peer_scalesim.py [--environment DIR] [--runs 3]

SCALE-Sim 3.0.0 (MIT) is installed from PyPI into an environment of its own (it needs numpy 1.26). Both are
timed as whole processes, in turn. They do not compute the same: SCALE-Sim models SRAM and DRAM accesses of
an ideal array and computes no values; minisim times a schedule on a machine, and computes and checks the
values.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

PACKAGES = ("scalesim==3.0.0", "numpy==1.26.4", "pandas==2.3.3")

CONFIG = """[general]
run_name = run
[architecture_presets]
ArrayHeight: {rows}
ArrayWidth: {cols}
IfmapSramSzkB: 85
FilterSramSzkB: 85
OfmapSramSzkB: 86
IfmapOffset: 0
FilterOffset: 10000000
OfmapOffset: 20000000
Bandwidth: 16
Dataflow: {dataflow}
MemoryBanks: 1
ReadRequestBuffer: 32
WriteRequestBuffer: 32
[layout]
IfmapCustomLayout: False
IfmapSRAMBankBandwidth: 10
IfmapSRAMBankNum: 10
IfmapSRAMBankPort: 2
FilterCustomLayout: False
FilterSRAMBankBandwidth: 10
FilterSRAMBankNum: 10
FilterSRAMBankPort: 2
[sparsity]
SparsitySupport: false
SparseRep: ellpack_block
OptimizedMapping: false
BlockSize: 8
RandomNumberGeneratorSeed: 40
[run_presets]
InterfaceBandwidth: CALC
UseRamulatorTrace: False
"""
TOPOLOGY = "Layer, M, N, K,\ngemm, 512, 512, 512,\n"
LAYOUT = "Layer,\ngemm,\n"


class Run(NamedTuple):
    """What a run printed, and its seconds."""

    output: str
    wall: float
    cpu: float


def measured(command: list[str]) -> Run:
    """Run it."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Run(output, wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def environment_python(environment: Path, packages: Sequence[str]) -> Path:
    """The interpreter of an environment that has these packages; made if need be."""
    python = environment / "bin" / "python"
    if not python.exists():
        venv.create(environment, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=True)
    return python


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environment", type=Path, default=Path("build/scalesim"))
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    python = environment_python(args.environment.absolute(), PACKAGES)
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        config = CONFIG.format(rows=32, cols=32, dataflow="ws")
        for name, text in (("peer.cfg", config), ("peer.csv", TOPOLOGY), ("layout.csv", LAYOUT)):
            paths[name] = Path(folder) / name
            paths[name].write_text(text)
        theirs = [str(python), "-m", "scalesim.scale", "-c", str(paths["peer.cfg"]), "-t", str(paths["peer.csv"]),
                  "-l", str(paths["layout.csv"]), "-p", folder, "-i", "gemm"]  # fmt: skip
        ours = [sys.executable, "-m", "minisim", "run", "gemm:512x512x512", "--out", f"{folder}/ours"]
        pairs = [(measured(theirs), measured(ours)) for _ in range(args.runs)]
    for name, side in (("SCALE-Sim 3.0.0", 0), ("minisim", 1)):
        wall, cpu = (statistics.median(getattr(pair[side], what) for pair in pairs) for what in ("wall", "cpu"))
        print(f"{name:<16} {wall:7.2f} s wall {cpu:7.2f} s CPU (medians of {args.runs})")
    ratio = statistics.median(theirs.cpu / ours.cpu for theirs, ours in pairs)
    print(f"CPU time of SCALE-Sim / minisim, median of pairs: {ratio:.0f}")


if __name__ == "__main__":
    main()
