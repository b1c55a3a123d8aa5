"""The array's cycles against the RTL of two systolic arrays.

    python benchmarks/fidelity/arrays.py

Each case is one block on an array of the design's shape, with the design's overlap and latencies read off
its description; nothing is calibrated. Beside it the two baselines: MACs / (R x C), which is also the
array's roofline, and SCALE-Sim's formula.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from minisim.hwmodel.array import block_cycles, drain_cycles
from minisim.hwmodel.config import Machine

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Case:
    """One measured block of m x k x n on a machine, and its cycles."""

    name: str
    machine: Machine
    m: int
    k: int
    n: int
    truth: int

    def ours(self, machine: Machine | None = None) -> int:
        """First input to last output."""
        machine = machine or self.machine
        setup, busy, _ = block_cycles(self.m, self.k, self.n, machine)
        return int(setup) + int(busy) + drain_cycles(machine)

    def roofline(self) -> float:
        return self.m * self.k * self.n / (self.machine.matrix.rows * self.machine.matrix.cols)

    def scalesim(self) -> int:
        """What SCALE-Sim would report."""
        return self.ours(self.machine.with_overrides({"matrix.model": "scalesim"})) - 1


def _rows(name: str) -> Iterator[dict[str, int]]:
    with (DATA / name).open() as file:
        for row in csv.DictReader(file):
            yield {key: int(value) for key, value in row.items()}


def output_stationary() -> Iterator[Case]:
    """Folds back to back, the drain of all but the last hidden."""
    for row in _rows("array_os_rtl.csv"):
        r, c, k, count = (row[key] for key in ("rows_R", "cols_C", "K", "back_to_back_folds"))
        machine = Machine().with_overrides(
            {
                "matrix.rows": r,
                "matrix.cols": c,
                "matrix.dataflow": "os",
                "matrix.multiplier_latency": row["mult_latency_LM"],
                "matrix.adder_latency": row["acc_latency_LA"],
            }
        )
        truth = row["cycles_first_in_to_last_out"]
        yield Case(f"os {r}x{c} K={k} folds={count}", machine, count * r, k, c, truth)


def weight_stationary() -> Iterator[Case]:
    """One weight buffer; a tile begins one cycle after the last output of the one before."""
    for row in _rows("array_ws_rtl.csv"):
        size, m, tiles = (row[key] for key in ("SIZE", "M_rows_streamed", "weight_tiles"))
        settings = {"matrix.rows": size, "matrix.cols": size, "matrix.overlap": "none", "matrix.gap_cycles": 1}
        truth = row["cycles_first_weight_in_to_last_psum_out"]
        yield Case(
            f"ws {size}x{size} M={m} tiles={tiles}", Machine().with_overrides(settings), m, tiles * size, size, truth
        )


def main() -> None:
    cases = [*output_stationary(), *weight_stationary()]
    print(f"{'case':<28} {'truth':>7} {'ours':>7} {'error':>7} {'MACs/PEs':>9} {'SCALE-Sim':>9}")
    for case in cases:
        error = case.ours() / case.truth - 1
        print(
            f"{case.name:<28} {case.truth:>7} {case.ours():>7} {error:>7.1%} {case.roofline():>9.0f} "
            f"{case.scalesim():>9}"
        )
    for name, predicted in (("ours", Case.ours), ("MACs / PEs", Case.roofline), ("SCALE-Sim", Case.scalesim)):
        errors = [abs(predicted(case) / case.truth - 1) for case in cases]
        print(f"{name:<12} mean error {sum(errors) / len(errors):6.1%}, worst {max(errors):6.1%}, {len(cases)} cases")


if __name__ == "__main__":
    main()
