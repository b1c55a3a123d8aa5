"""TPU v3: GEMMs, softmax and layer norm against measured hardware.

    python benchmarks/fidelity/tpu.py [--rows]

The preset tpu_v3 as it ships, uncalibrated. How wide the operands were is not recorded with the measurements, so each
row stands twice: bf16 in HBM (the preset), and fp32 in HBM with one bf16 product each, which is how XLA computes
an fp32 matmul by default.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # so that this folder runs as it is

from systems import Case, print_table, rows

from minisim.hwmodel.config import Machine

FP32_IN_HBM = {"matrix.dtype": "fp32", "matrix.fp32_rate": 1}


def cases(dtype: str, matmuls: bool = True) -> Iterator[Case]:
    """The GEMMs, or the rows that the vector unit alone computes."""
    machine = Machine.load("tpu_v3")
    if dtype == "fp32":
        machine = machine.with_overrides(FP32_IN_HBM)
    for row in rows("tpuv3_measured.csv"):
        operator, _, shape = row["workload"].partition("_")
        if (operator == "gemm") == matmuls:
            size = "x".join([shape] * 3) if matmuls else shape
            name = size if matmuls else f"{operator} {size}"
            yield Case(f"tpu_v3 {name}, {dtype} in HBM", machine, f"{operator}:{size}", int(row["tpuv3_cycles"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", action="store_true", help="softmax and layer norm instead of GEMMs")
    matmuls = not parser.parse_args().rows
    for dtype in ("bf16", "fp32"):
        print_table(list(cases(dtype, matmuls)))


if __name__ == "__main__":
    main()
