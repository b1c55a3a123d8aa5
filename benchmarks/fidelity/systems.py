"""Whole machines against measurements: what gemmini.py and tpu.py share.

A case is a built-in model on a shipped preset, compiled by our compiler and timed by the event model. Beside it
stand the two baselines: MACs / peak, and the roofline of our own schedule (which also knows its bytes).
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import minisim as ms

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Case:
    """A built-in model (``gemm:64x64x64``) on a machine, and the cycles that somebody measured."""

    name: str
    machine: ms.Machine
    model: str
    truth: int

    @cached_property
    def result(self) -> ms.Result:
        names = {"fp32": "float32", "bf16": "bfloat16", "int8": "int8"}
        return ms.run(ms.load_model(self.model, names[self.machine.matrix.dtype]), self.machine, numerics=False)

    @property
    def ours(self) -> int:
        return self.result.cycles

    @property
    def peak(self) -> float:
        """Cycles of all multipliers working all the time; 0 if the model has no matmul."""
        return self.result.record().work.macs / self.machine.matrix.elements

    @property
    def roofline(self) -> float:
        return float(self.result.record().work.bound(self.machine).cycles)

    def error(self, cycles: float) -> float:
        return cycles / self.truth - 1


def rows(name: str) -> Iterator[dict[str, str]]:
    """The rows of a file of ground truth."""
    with (DATA / name).open() as file:
        yield from csv.DictReader(file)


def print_table(cases: Sequence[Case]) -> None:
    """A line a case, and one a predictor with its mean and worst error."""
    print(f"{'case':<34} {'truth':>7} {'ours':>7} {'error':>7} {'MACs/peak':>9} {'roofline':>9}")
    for case in cases:
        print(
            f"{case.name:<34} {case.truth:>7} {case.ours:>7} {case.error(case.ours):>+7.1%} "
            f"{case.peak:>9.0f} {case.roofline:>9.0f}"
        )
    for name in ("ours", "peak", "roofline"):
        errors = [abs(case.error(getattr(case, name))) for case in cases]
        label = "MACs / peak" if name == "peak" else name
        print(f"{label:<12} mean error {sum(errors) / len(errors):6.1%}, worst {max(errors):6.1%}, {len(cases)} cases")
