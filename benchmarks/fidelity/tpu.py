"""TPU v3: GEMMs against measured hardware.

    python benchmarks/fidelity/tpu.py

The preset tpu_v3 as it ships, uncalibrated. How wide the operands were is not recorded with the measurements, so each
row stands twice: bf16 in HBM (the preset), and fp32 in HBM with one bf16 product each, which is how XLA computes
an fp32 matmul by default. The rows that are not GEMMs wait for their operators.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # so that this folder runs as it is

from systems import Case, print_table, rows

from minisim.hwmodel.config import Machine

FP32_IN_HBM = {"matrix.dtype": "fp32", "matrix.fp32_rate": 1}


def cases(dtype: str) -> Iterator[Case]:
    machine = Machine.load("tpu_v3")
    if dtype == "fp32":
        machine = machine.with_overrides(FP32_IN_HBM)
    for row in rows("tpuv3_measured.csv"):
        kind, _, size = row["workload"].partition("_")
        if kind == "gemm":
            n = int(size)
            yield Case(f"tpu_v3 {n}x{n}x{n}, {dtype} in HBM", machine, n, n, n, int(row["tpuv3_cycles"]))


def main() -> None:
    for dtype in ("bf16", "fp32"):
        print_table(list(cases(dtype)))


if __name__ == "__main__":
    main()
