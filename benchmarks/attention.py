"""Attention against what must move: DRAM traffic over that of an oracle, cycles over the roofline (docs/schedules.md).

    python benchmarks/attention.py [--longest 32768]

softmax(Q K^T / sqrt(d)) V of one head: Nq rows of queries pass by Nkv keys and values in groups of Br rows, which with
their results stay in the SRAM while keys and values pass by, one row of each at a time; so of an SRAM of S elements

    2 Nq d + 2 Nkv d ceil(Nq / Br)        with 2 Br d + 2 d + Br <= S

elements move at the least that such a schedule can (`least_traffic`). The roofline is the busiest of: the array's
multiplications, the vector unit's passes over the scores, and each operand once through the load port. Only timed.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import minisim as ms
from minisim.hwmodel.cost import vector_cycles
from minisim.hwmodel.isa import VectorOp

PASSES = (VectorOp.MUL, VectorOp.REDUCE_MAX, VectorOp.SUB, VectorOp.EXP, VectorOp.REDUCE_SUM, VectorOp.MUL)
"""Of each score, whatever the form: the scale, and the softmax."""

ROOFS = (
    ("12x128x64", "npu_32x32", "256KiB"),
    ("12x64x64", "npu_32x32", "256KiB"),
    ("12x256x64", "npu_32x32", "1MiB"),
    ("12x512x64", "npu_32x32", "2MiB"),
    ("12x128x64", "tpu_like_128x128", "16MiB"),
    ("8x2048x128", "tpu_like_128x128", "16MiB"),
)
"""Heads x rows x columns, machine, SRAM."""


def least_traffic(queries: int, keys: int, d: int, sram: int) -> int:
    """Elements that the oracle moves for a head; `sram` in elements."""
    rows = max(1, (sram - 2 * d) // (2 * d + 1))
    return 2 * queries * d + 2 * keys * d * -(-queries // rows)


def roofline(heads: int, rows: int, d: int, machine: ms.Machine) -> float:
    """Cycles of the busiest unit, or of the load port."""
    array = 2 * heads * rows * rows * d / (machine.matrix.rows * machine.matrix.cols)
    vector = heads * sum(int(vector_cycles(op, rows, rows, machine)) for op in PASSES)
    load = 3 * heads * rows * d * 4 / machine.dma.bytes_per_cycle
    return max(array, vector, load)


def run(spec: str, machine: ms.Machine) -> tuple[int, int, float]:
    """Cycles, bytes to and from DRAM, seconds."""
    begin = time.perf_counter()
    result = ms.run(f"attention:{spec}", machine, numerics=False)
    reads, writes = result.record().dram_moved
    return result.cycles, int(np.sum(reads)) + int(np.sum(writes)), time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--longest", type=int, default=32768, help="tokens, at most")
    longest = parser.parse_args().longest
    print(f"{'attention':>12}{'machine':>18}{'SRAM':>8}{'cycles':>12}{'roofline':>12}{'ratio':>8}")
    for spec, name, sram in ROOFS:
        machine = ms.Machine.load(name, [f"sram.bytes={sram}"])
        cycles, _, _ = run(spec, machine)
        roof = roofline(*map(int, spec.split("x")), machine)
        print(f"{spec:>12}{name:>18}{sram:>8}{cycles:>12,}{roof:>12,.0f}{cycles / roof:>8.3f}", flush=True)
    heads = ("tokens", "SRAM", "oracle MB", "ours MB", "ours/oracle", "cycles", "cycles/roof", "seconds")
    print("".join(f"{head:>13}" for head in heads))
    for sram in ("256KiB", "2MiB"):
        machine = ms.Machine.load("npu_32x32", [f"sram.bytes={sram}"])
        tokens = 1024
        while tokens <= longest:
            cycles, moved, seconds = run(f"1x{tokens}x64", machine)
            least = 4 * least_traffic(tokens, tokens, 64, machine.sram.bytes // 4)
            roof = roofline(1, tokens, 64, machine)
            print(f"{tokens:>13,}{sram:>13}{least / 1e6:>13.1f}{moved / 1e6:>13.1f}{moved / least:>13.2f}{cycles:>13,}"
                  f"{cycles / roof:>13.3f}{seconds:>13.1f}", flush=True)  # fmt: skip
            tokens *= 2


if __name__ == "__main__":
    main()
