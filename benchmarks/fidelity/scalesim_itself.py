"""Runs SCALE-Sim 3.0.0 itself on one GEMM and reads what it reports.

It is installed from PyPI into an environment of its own (see peer_scalesim.py), and driven as a library: its
command's `-s` is ignored, and the traces that it then writes take longer than the simulation.
"""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from peer_scalesim import CONFIG, PACKAGES, environment_python

SCRIPT = """
from scalesim.scale_sim import scalesim
scalesim(save_disk_space=True, verbose=False, config="run.cfg", topology="gemm.csv", layout="layout.csv",
         input_type_gemm=True).run_scale(top_path=".")
"""


def report(
    environment: Path, m: int, k: int, n: int, rows: int, cols: int, dataflow: str, pattern: str = ""
) -> dict[str, int]:
    """Cycles that SCALE-Sim reports of one GEMM: in all, and those of stalls among them.

    Args:
        pattern: N:M of the filters, of a layer whose filters are all alike; "" if they are dense.
    """
    python = environment_python(environment.absolute(), PACKAGES)
    config = CONFIG.format(rows=rows, cols=cols, dataflow=dataflow)
    with tempfile.TemporaryDirectory() as folder:
        for name, text in (
            ("run.cfg", config.replace("SparsitySupport: false", "SparsitySupport: true") if pattern else config),
            ("gemm.csv", f"Layer, M, N, K, Sparsity,\ngemm, {m}, {n}, {k}, {pattern or '1:1'},\n"),
            ("layout.csv", "Layer,\ngemm,\n"),
        ):
            (Path(folder) / name).write_text(text)
        subprocess.run([python, "-c", SCRIPT], cwd=folder, check=True, capture_output=True)
        with (Path(folder) / "run" / "COMPUTE_REPORT.csv").open() as file:
            row = next(csv.DictReader(file, skipinitialspace=True))
    return {
        "cycles": int(float(row["Total Cycles"])),
        "stall_cycles": int(float(row["Stall Cycles"])),
    }
