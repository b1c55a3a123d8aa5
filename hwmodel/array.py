"""The systolic array: how many cycles an m x k x n block takes on R rows x C columns.

A dataflow says which operand stays in the array while the others stream through it:

    dataflow                 stays            folds                    shifted in   streams
    ws  weight-stationary    k_f x n_f of B   ceil(k/R) x ceil(n/C)    k_f cycles   m rows of A
    is  input-stationary     k_f x m_f of A   ceil(k/R) x ceil(m/C)    k_f cycles   n columns of B
    os  output-stationary    m_f x n_f of C   ceil(m/R) x ceil(n/C)    nothing      k steps of both

A *fold* is one filling of the array. `overlap` says how folds follow each other:

    full    the next stationary operand is shifted in behind the stream (double-buffered), and the drain is
            hidden behind the next fold
    drain   one buffer: shifting in waits for the end of the stream, the drain is hidden
    none    one fold after the other: shift in, stream, drain, and `gap_cycles` of control

A core may have several such arrays. Each then takes a share of a block's folds, and the block takes as long as
the array with the largest share (`Deal`).

Checked to the cycle against the RTL of two designs (benchmarks/fidelity/arrays.py).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from minisim.hwmodel.config import Machine
from minisim.hwmodel.isa import ITEMSIZE
from minisim.hwmodel.sections import Matrix

Cycles = npt.NDArray[np.int64]


class Deal(NamedTuple):
    """How a core with several arrays splits blocks: `across` x `parts` arrays work, the others idle.

    ws and is: the columns of folds (ceil(n/C), or ceil(m/C)) go to `across` arrays, and those of one column of
    folds, which sum up along k, to the same array. If there are fewer columns than arrays, the streamed
    rows (or columns) are cut into `parts`: so many arrays hold the same stationary operand, and each streams
    its part through it. os: every fold is a result of its own, and they are dealt out singly.

    Of the ways to split, the one with the fewest cycles on the busiest array is taken, and of equals the one
    with the fewest parts: each part reads the stationary operand from SRAM once more.
    """

    across: Cycles
    parts: Cycles


class Folds(NamedTuple):
    """The folds of a block on its busiest array, as columns: `full` folds that fill all R rows, `rest` that do not.

    Attributes:
        full, rest: how many.
        shift, rest_shift: cycles to shift the stationary operand in, of a full fold and of one of the rest.
        first_shift: of the first fold.
        stream: cycles that the moving operands stream, of every fold.
    """

    full: Cycles
    rest: Cycles
    shift: Cycles
    rest_shift: Cycles
    first_shift: Cycles
    stream: Cycles


def deal(m: npt.ArrayLike, k: npt.ArrayLike, n: npt.ArrayLike, matrix: Matrix) -> Deal:
    """How `matrix.arrays` arrays share m x k x n blocks."""
    m, k, n = _columns(m, k, n)
    one, all_of_them = np.ones_like(m), np.full_like(m, matrix.arrays)
    if matrix.arrays == 1 or matrix.dataflow == "os":
        return Deal(all_of_them, one)
    columns, stream = (-(-n // matrix.cols), m) if matrix.dataflow == "ws" else (-(-m // matrix.cols), n)
    best = Deal(all_of_them, one)
    fewest = _busiest(columns, stream, k, best, matrix)
    for parts in range(2, matrix.arrays + 1):
        way = Deal(np.full_like(m, matrix.arrays // parts), np.full_like(m, parts))
        cycles = _busiest(columns, stream, k, way, matrix)
        better = cycles < fewest
        best = Deal(*(np.where(better, new, old) for new, old in zip(way, best, strict=True)))
        fewest = np.minimum(cycles, fewest)
    return best


def _busiest(columns: Cycles, stream: Cycles, k: Cycles, way: Deal, matrix: Matrix) -> Cycles:
    """Cycles of the folds on the array with the most of them, before any drain: what `deal` compares."""
    f = _share(columns, stream, k, way, matrix.rows)
    if matrix.timing == "scalesim":
        return (f.full + f.rest) * scalesim_fold_cycles(f.stream, matrix)
    if matrix.overlap == "full":
        return f.full * np.maximum(f.stream, f.shift) + f.rest * np.maximum(f.stream, f.rest_shift)
    return f.full * (f.stream + f.shift) + f.rest * (f.stream + f.rest_shift)


def _share(columns: Cycles, stream: Cycles, k: Cycles, way: Deal, rows: int) -> Folds:
    """The folds of ws and is on the array with the most of them."""
    mine, rest = -(-columns // way.across), k % rows
    shift = np.full_like(k, rows)
    return Folds(mine * (k // rows), mine * (rest > 0), shift, rest, np.minimum(k, rows), -(-stream // way.parts))


def _columns(*sizes: npt.ArrayLike) -> tuple[Cycles, ...]:
    return tuple(np.broadcast_arrays(*(np.asarray(size, dtype=np.int64) for size in sizes)))


def folds(m: npt.ArrayLike, k: npt.ArrayLike, n: npt.ArrayLike, matrix: Matrix) -> Folds:
    """How the dataflow cuts m x k x n blocks into folds; see the module's table."""
    m, k, n = _columns(m, k, n)
    rows, cols = matrix.rows, matrix.cols
    none = np.zeros_like(m)
    way = deal(m, k, n, matrix)
    if matrix.dataflow == "os":
        return Folds(-(-(-(-m // rows) * -(-n // cols)) // way.across), none, none, none, none, k)
    columns, stream = (-(-n // cols), m) if matrix.dataflow == "ws" else (-(-m // cols), n)
    return _share(columns, stream, k, way, rows)


def block_cycles(
    m: npt.ArrayLike, k: npt.ArrayLike, n: npt.ArrayLike, machine: Machine
) -> tuple[Cycles, Cycles, Cycles]:
    """Setup, busy and hold cycles (see `cost.py`) of m x k x n blocks."""
    matrix = machine.matrix
    f = folds(m, k, n, matrix)
    if matrix.timing == "scalesim":
        busy = (f.full + f.rest) * scalesim_fold_cycles(f.stream, matrix)
        return np.zeros_like(busy), busy, busy
    if matrix.overlap == "full":
        periods = f.full * np.maximum(f.stream, f.shift) + f.rest * np.maximum(f.stream, f.rest_shift)
        hold = periods - np.maximum(f.stream, f.first_shift)  # until the last fold begins to stream
        return f.first_shift, hold + f.stream, hold
    after = drain_cycles(machine) + matrix.gap_cycles if matrix.overlap == "none" else 0
    periods = f.full * (f.shift + f.stream + after) + f.rest * (f.rest_shift + f.stream + after)
    hold = periods - f.first_shift
    return f.first_shift, hold - after, hold


def sram_bytes(
    m: npt.ArrayLike, k: npt.ArrayLike, n: npt.ArrayLike, accumulates: npt.ArrayLike, machine: Machine
) -> tuple[Cycles, Cycles]:
    """Bytes that m x k x n blocks read from SRAM and write to it, fold by fold.

    The stationary operand is read once (once by each array that holds a copy, see `Deal`), a moving one once for
    each fold across it. ws and is pass partial
    sums through SRAM between folds along k; os holds them until the block is done. A block that
    `accumulates` also reads the sums that it adds to.
    """
    matrix = machine.matrix
    m, k, n, accumulates = _columns(m, k, n, accumulates)
    rows, cols = matrix.rows, matrix.cols
    copies = deal(m, k, n, matrix).parts
    a_passes, b_passes, c_passes = copies, copies, -(-k // rows)
    if matrix.dataflow != "is":
        a_passes = -(-n // cols)
    if matrix.dataflow == "is":
        b_passes = -(-m // cols)
    if matrix.dataflow == "os":
        b_passes, c_passes = -(-m // rows), np.ones_like(m)
    read = m * k * a_passes + k * n * b_passes + m * n * (c_passes - 1 + (accumulates != 0))
    item = ITEMSIZE[machine.dtype]
    return read * item, m * n * c_passes * item


def drain_cycles(machine: Machine) -> int:
    """From the end of the last fold's stream to its last output.

    ws and is: the last input hops over C - 1 columns, is multiplied, and its sum falls through the adders of
    R rows. os: the array fills along both edges (R + C - 2 hops), finishes the last MAC, and shifts C columns out.
    """
    matrix = machine.matrix
    if matrix.timing == "scalesim":
        return 0  # its folds include it
    if matrix.dataflow == "os":
        return matrix.rows + 2 * matrix.cols - 2 + matrix.multiplier_latency + matrix.adder_latency
    return (matrix.rows - 1) * matrix.adder_latency + matrix.cols - 1 + matrix.multiplier_latency


def scalesim_fold_cycles(stream: Cycles, matrix: Matrix) -> Cycles:
    """Cycles of one fold by SCALE-Sim's formulas (Samajdar et al., ISPASS 2020): folds never overlap.

    os: K + R + C - 2. ws and is: the stationary operand takes R, whatever part of the rows it fills, so
    stream + 2 R + C - 2. SCALE-Sim reports the sum over folds, minus 1.
    """
    shifts = 1 if matrix.dataflow == "os" else 2
    return stream + shifts * matrix.rows + matrix.cols - 2
