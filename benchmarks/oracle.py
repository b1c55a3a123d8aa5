"""The least DRAM traffic of a GEMM, and how near the compiler comes to it.

    python benchmarks/oracle.py [--machine npu_32x32]

`least_traffic` is exhaustive: all uniform tilings m x k x n, ragged at the ends, each operand kept in SRAM in turn:

    outputs   mn + m + n <= S    K (N ceil(M / m) + M ceil(N / n)) + MN         a column of A and a row of B pass by
    weights   kn + k + n <= S    MK ceil(N / n) + KN + MN (2 ceil(K / k) - 1)    a row of A, and one of sums, pass by
    inputs    mk + m + k <= S    KN ceil(M / m) + MK + MN (2 ceil(K / k) - 1)    a column of B, and one of sums

Blocks of a real schedule may be of several sizes and live on from one to the next, so it can move less than that.
What no schedule undercuts is `bound`: each element once, and 2 MNK / sqrt(S) - 2 S (Smith, Lowery, Langou and van de
Geijn 2019; the last term is what the SRAM may hold at the start and the end). All in elements, of an SRAM of S
elements. Convolutions: `conv_oracle.py`.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

import minisim as ms

SHAPES = ((512, 512, 512), (1024, 1024, 1024), (2048, 2048, 2048), (8192, 128, 128), (128, 8192, 1024))
"""M, K, N."""

Traffic = Callable[[npt.NDArray[np.int64], npt.NDArray[np.int64]], npt.NDArray[np.int64]]
"""Elements moved, by how many blocks there are one below the other and side by side."""

KI = 1024
SRAM = (4 * KI, 16 * KI, 64 * KI, 256 * KI, 1024 * KI)
"""Elements."""


def compulsory(m: int, k: int, n: int) -> int:
    """Each element once."""
    return m * k + k * n + m * n


def bound(m: int, k: int, n: int, sram: int) -> float:
    """What no schedule undercuts."""
    return max(compulsory(m, k, n), 2 * m * n * k / math.sqrt(sram) - 2 * sram)


def least_traffic(m: int, k: int, n: int, sram: int) -> int:
    """The least of all uniform tilings; `sram` is at least 3 elements."""
    outputs = _least(m, n, sram, lambda rows, cols: k * (n * rows + m * cols) + m * n)
    weights = _least(k, n, sram, lambda rows, cols: m * k * cols + k * n + m * n * (2 * rows - 1))
    inputs = _least(m, k, sram, lambda rows, cols: k * n * rows + m * k + m * n * (2 * cols - 1))
    return min(outputs, weights, inputs)


def _least(rows: int, cols: int, sram: int, traffic: Traffic) -> int:
    """The least of blocks of so many rows and columns out of a matrix, with a row and a column beside it. For each
    height the widest block that fits is best, as less is moved the fewer blocks there are."""
    heights: npt.NDArray[np.int64] = np.arange(1, min(rows, sram - 2) + 1)
    widths = np.minimum((sram - heights) // (heights + 1), cols)
    heights, widths = heights[widths > 0], widths[widths > 0]
    return int(np.min(traffic(-(-rows // heights), -(-cols // widths))))


def measured(shape: tuple[int, int, int], sram: int, machine: ms.Machine) -> tuple[int, float]:
    """Elements that the compiler's schedule moves, and its cycles over those of what must move or be computed."""
    m, k, n = shape
    result = ms.run(f"gemm:{m}x{k}x{n}", machine.replace(f"sram.bytes={4 * sram}"), numerics=False)
    moved = int(result.schedule.tile_bytes()[result.schedule.transfers["tile"]].sum()) // 4
    array = m * k * n / (machine.matrix.rows * machine.matrix.cols)
    roof = max(array, 4 * (m * k + k * n) / machine.dma.bytes_per_cycle)
    return moved, result.cycles / roof


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--machine", default="npu_32x32", help="an fp32 machine; its sram.bytes is set")
    parser.add_argument("--effort", default="1", help="0: on the array's tiles; 1 or 2: on those found by measuring")
    args = parser.parse_args()
    machine = ms.Machine.of(args.machine).replace(f"compiler.effort={args.effort}")
    heads = ("SRAM Ki", "bound M", "oracle M", "ours M", "ours/oracle", "cycles/roof")
    print(f"{'M x K x N':>16}" + "".join(f"{head:>12}" for head in heads))
    shares = []
    for shape in SHAPES:
        for sram in SRAM:
            least, (moved, over) = least_traffic(*shape, sram), measured(shape, sram, machine)
            shares.append(moved / least)
            print(
                f"{'x'.join(map(str, shape)):>16}{sram // KI:>12}{bound(*shape, sram) / 1e6:>12.3f}{least / 1e6:>12.3f}"
                f"{moved / 1e6:>12.3f}{shares[-1]:>12.3f}{over:>12.3f}",
                flush=True,
            )
    print(f"ours/oracle: mean {np.mean(shares):.3f}, worst {max(shares):.3f}")


if __name__ == "__main__":
    main()
