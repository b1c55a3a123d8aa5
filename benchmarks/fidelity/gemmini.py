"""Gemmini: whole GEMMs, from the call of the driver to its return, against the RTL.

    python benchmarks/fidelity/gemmini.py

The preset gemmini_16x16 as it ships: read off the generator's and the driver's sources, uncalibrated.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # so that this folder runs as it is

from systems import Case, print_table, rows

from minisim.hwmodel.config import Machine


def cases() -> Iterator[Case]:
    machine = Machine.load("gemmini_16x16")
    for row in rows("gemmini_gemm_rtl.csv"):
        m, k, n = (int(row[name]) for name in "mkn")
        yield Case(f"gemmini {m}x{k}x{n}", machine, f"gemm:{m}x{k}x{n}", int(row["rtl_cycles"]))


def main() -> None:
    print_table(list(cases()))


if __name__ == "__main__":
    main()
