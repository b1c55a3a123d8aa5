"""A whole small NPU against its RTL: loaders, DMA, array, requantisation, writer, one command in flight.

    python benchmarks/fidelity/npu.py [--data FILE.csv]

Each row is a GEMM with bias and requantisation, compiled (`compile_graph`) and simulated (`simulate`) on the preset
mini_tflm_4x4, or on its 8x8. Nothing is calibrated: the machine is read off the RTL, so no row is set apart. Beside
our cycles stand MACs / PEs and the roofline: the busiest unit, with the bytes that the schedule really moves.

Row and column names are the RTL's: `lhs` (rows x inner) times `rhs` (inner x out_cols), lhs int8 or int16, rhs int8.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from minisim.compiler.graph import Graph
from minisim.compiler.pipeline import compile_graph
from minisim.hwmodel.config import Machine
from minisim.hwmodel.cost import costs, roofline
from minisim.hwmodel.isa import Opcode, Schedule
from minisim.hwmodel.simulate import simulate

DATA = Path(__file__).parent / "data" / "npu_gemm_rtl.csv"
PRESET = "mini_tflm_4x4"
IA_CACHE_BLOCKS = 4
OF_8X8 = {
    **dict.fromkeys(("tile.m", "tile.k", "tile.n", "matrix.rows", "matrix.cols"), 8),
    "matrix.epilogue_cycles": 12,
    "accumulator.bytes": "12KiB",
}


@dataclass(frozen=True)
class Case:
    """A row of the data: an array of size x size, a GEMM, and the RTL's cycles from start to ready."""

    size: int
    rows: int
    inner: int
    cols: int
    lhs_bytes: int
    input_stationary: bool
    ia_reuse: int
    w_reuse: int
    truth: int

    @classmethod
    def of(cls, row: dict[str, str]) -> Case:
        size, rows, inner, cols, lhs_bytes, mode, ia_reuse, w_reuse, truth = (int(value) for value in row.values())
        return cls(size, rows, inner, cols, lhs_bytes, mode == 1, ia_reuse, w_reuse, truth)

    def __str__(self) -> str:
        what = f"{self.size}x{self.size} {'is' if self.input_stationary else 'ws'} int{8 * self.lhs_bytes}"
        return f"{what} {self.rows}x{self.inner}x{self.cols} reuse {self.ia_reuse},{self.w_reuse}"

    @cached_property
    def machine(self) -> Machine:
        """The preset in this mode, its blocks as the RTL clamps the two reuse registers."""
        held = -(-(self.rows if self.input_stationary else self.cols) // self.size)
        ia_reuse = min(self.ia_reuse, IA_CACHE_BLOCKS // 2)
        w_reuse = min(self.w_reuse, held)
        if self.input_stationary and held >= ia_reuse:
            w_reuse = max(w_reuse, ia_reuse)
        streamed, stationary = ("n", "m") if self.input_stationary else ("m", "n")
        blocks = {f"compiler.block_{streamed}": ia_reuse, f"compiler.block_{stationary}": w_reuse}
        mode = {"matrix.dataflow": "is" if self.input_stationary else "ws"}
        return Machine.load(PRESET).with_overrides({**(OF_8X8 if self.size == 8 else {}), **mode, **blocks})

    @cached_property
    def schedule(self) -> Schedule:
        graph = Graph("gemm")
        lhs = graph.input("lhs", (self.rows, self.inner), dtype=f"int{8 * self.lhs_bytes}")
        rhs = graph.weight("rhs", np.zeros((self.inner, self.cols)), "int8")
        bias = graph.weight("bias", np.zeros(self.cols), "int32")
        graph.output(graph.matmul(lhs, rhs, bias=bias, scale=1.0), "dst")
        return compile_graph(graph, self.machine)

    @cached_property
    def ours(self) -> int:
        return simulate(self.schedule, self.machine).cycles

    @property
    def macs_per_pe(self) -> float:
        return self.rows * self.inner * self.cols / self.size**2

    @property
    def roofline(self) -> float:
        cost, opcode = costs(self.schedule, self.machine), self.schedule.stream["opcode"]
        read, write = (int(cost.bytes[opcode == op].sum()) for op in (Opcode.LOAD, Opcode.STORE))
        return float(roofline(self.rows * self.inner * self.cols, 0, read, write, self.machine).cycles)

    @property
    def error(self) -> float:
        return self.ours / self.truth - 1


def cases(path: Path = DATA) -> Iterator[Case]:
    with path.open(newline="", encoding="utf-8") as file:
        yield from map(Case.of, csv.DictReader(file))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="a file of the same columns")
    found = list(cases(parser.parse_args().data))
    print(f"{'case':<38} {'truth':>7} {'ours':>7} {'error':>7} {'MACs/PEs':>9} {'roofline':>9}")
    for case in found:
        text = f"{case!s:<38} {case.truth:>7} {case.ours:>7} {case.error:>7.1%}"
        print(f"{text} {case.macs_per_pe:>9.0f} {case.roofline:>9.0f}")
    for name in ("ours", "macs_per_pe", "roofline"):
        errors = [abs(getattr(case, name) / case.truth - 1) for case in found]
        label = {"macs_per_pe": "MACs / PEs"}.get(name, name)
        print(f"{label:<12} mean error {sum(errors) / len(errors):6.1%}, worst {max(errors):6.1%}, {len(found)} cases")


if __name__ == "__main__":
    main()
