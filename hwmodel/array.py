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

**Data types.** A processing element does `matrix.<type>_rate` MACs of a type per cycle. At a rate of p > 1 it
multiplies p consecutive steps of k at once and adds the products to one sum, as the narrow modes of wide
multipliers do: an array of R rows then works on p R steps, and k counts as ceil(k / p). At a rate of 1/q it
takes q cycles for a MAC, so the moving operands stream q cycles an element; shifting in and draining move data,
an element a cycle, whatever the type.

**Taps.** The A of a convolution is gathered from SRAM, k = taps x channels. An address generator that packs taps
(`matrix.packs_taps`) fills the array's rows with whatever comes next in k; another one takes each tap by itself, so a
block is so many blocks of k / taps steps (`Block`).

Checked to the cycle against the RTL of two designs (benchmarks/fidelity/arrays.py).
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from minisim.errors import UnsupportedError
from minisim.hwmodel.config import Machine
from minisim.hwmodel.isa import ACCUMULATOR, SECOND_SIZE, DType, by_dtype, item_sizes
from minisim.hwmodel.sections import LIES_ALONG, Matrix

Cycles = npt.NDArray[np.int64]


class Rates(NamedTuple):
    """Rates in whole numbers, as columns: `packed` steps of k at once, `passes` cycles for a MAC; one of them is 1."""

    packed: Cycles
    passes: Cycles


def rates(dtype: npt.ArrayLike, matrix: Matrix) -> Rates:
    """Of operands of these types (DType codes).

    Raises:
        UnsupportedError: the array does not have one of the types.
    """
    dtype = np.asarray(dtype, dtype=np.int64)
    packed, passes = (table[dtype] for table in _rate_tables(tuple(matrix.rate(each) for each in ACCUMULATOR)))
    if np.any(passes == 0):
        name = DType(int(dtype[passes == 0].flat[0])).name.lower()
        raise UnsupportedError(f"the array has no {name} (matrix.{name}_rate is 0)")
    return Rates(packed, passes)


@lru_cache(maxsize=256)
def _rate_tables(rates: tuple[Fraction, ...]) -> Rates:
    """Of all types by their codes: 0 and 0 of a type that the array does not have."""
    each = dict(zip(ACCUMULATOR, rates, strict=True))
    return Rates(
        by_dtype({dtype: rate.numerator for dtype, rate in each.items() if rate}),
        by_dtype({dtype: rate.denominator for dtype, rate in each.items() if rate}),
    )


@cache
def accumulator_sizes() -> Cycles:
    """Bytes per sum of a matmul, indexed by the code of its operands' type; to be read only."""
    return by_dtype({operands: int(item_sizes()[sums]) for operands, sums in ACCUMULATOR.items()})


@cache
def second_sizes() -> Cycles:
    """Bytes per element of B, indexed by the code of A's type; to be read only."""
    return by_dtype(SECOND_SIZE)


class Block(NamedTuple):
    """m x k x n blocks as the array takes them, as columns: `taps` times k steps, at `passes` cycles a step."""

    m: Cycles
    k: Cycles
    n: Cycles
    passes: Cycles
    taps: Cycles

    @classmethod
    def of(
        cls,
        m: npt.ArrayLike,
        k: npt.ArrayLike,
        n: npt.ArrayLike,
        matrix: Matrix,
        dtype: npt.ArrayLike,
        taps: npt.ArrayLike,
    ) -> Block:
        """Of blocks of these sizes in elements: k is cut into taps, and counts as the steps left at the type's rate."""
        packed, passes = rates(dtype, matrix)
        columns = np.broadcast_arrays(m, k, n, packed, passes, 1 if matrix.packs_taps else taps)
        m, k, n, packed, passes, taps = (np.asarray(x, dtype=np.int64) for x in columns)
        return cls(m, -(-(k // taps) // packed), n, passes, taps)


class Deal(NamedTuple):
    """How a core with several arrays splits blocks: `across` x `parts` arrays work, the others idle.

    ws and is: the columns of folds (ceil(n/C), or ceil(m/C)) go to `across` arrays, and those of one column of
    folds, which sum up along k, to the same array. If there are fewer columns than arrays, the streamed
    rows (or columns) are cut into `parts`: so many arrays hold the same stationary operand, and each streams
    its part through it. os: every fold is a result of its own, and they are dealt out singly.

    Of the ways to split, the one with the shortest period on the busiest array is taken: so many cycles after this
    block a next one like it follows. Of equals it is the one with the fewest parts, as each part reads the
    stationary operand from SRAM once more.
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


def deal(block: Block, matrix: Matrix) -> Deal:
    """How `matrix.arrays` arrays share blocks."""
    m = block.m
    best = Deal(np.full_like(m, matrix.arrays), np.ones_like(m))
    if matrix.arrays == 1 or matrix.dataflow == "os":
        return best
    shortest = _period(_share(block, best, matrix), matrix)
    for parts in range(2, matrix.arrays + 1):
        way = Deal(np.full_like(m, matrix.arrays // parts), np.full_like(m, parts))
        period = _period(_share(block, way, matrix), matrix)
        best = Deal(*(np.where(period < shortest, new, old) for new, old in zip(way, best, strict=True)))
        shortest = np.minimum(period, shortest)
    return best


def folds(
    m: npt.ArrayLike,
    k: npt.ArrayLike,
    n: npt.ArrayLike,
    matrix: Matrix,
    dtype: npt.ArrayLike = 0,
    taps: npt.ArrayLike = 1,
    kept: npt.ArrayLike = 0,
) -> Folds:
    """How the dataflow cuts m x k x n blocks of operands of `dtype` into folds; see the module's table."""
    block = Block.of(m, steps(k, kept, taps, matrix), n, matrix, dtype, taps)
    return _share(block, deal(block, matrix), matrix)


def steps(k: npt.ArrayLike, kept: npt.ArrayLike, taps: npt.ArrayLike, matrix: Matrix) -> Cycles:
    """The steps of k that an array works through: those that a compressed B keeps (0: it is not compressed), unless it
    is A that stands in the array. Of taps that are taken one by one each has its equal part."""
    k, kept, taps = (np.asarray(x, dtype=np.int64) for x in (k, kept, taps))
    if matrix.dataflow == "is":
        kept = np.zeros_like(kept)
    parts = np.int64(1) if matrix.packs_taps else taps
    return np.asarray(np.where(kept > 0, -(-kept // parts) * parts, k))


def _share(block: Block, way: Deal, matrix: Matrix) -> Folds:
    """The folds of the array with the most of them."""
    m, k, n, passes, taps = block
    rows, cols = matrix.rows, matrix.cols
    none = np.zeros_like(m)
    size = {"m": m, "k": k, "n": n}
    on_rows, on_cols = LIES_ALONG[matrix.dataflow]
    (streamed,) = size.keys() - {on_rows, on_cols}
    stream, columns = size[streamed], -(-size[on_cols] // cols)
    if streamed == "k":
        return Folds(-(-(-(-m // rows) * columns) // way.across), none, none, none, none, taps * k * passes)
    mine, rest = taps * -(-columns // way.across), k % rows
    return Folds(
        full=mine * (k // rows),
        rest=mine * (rest > 0),
        shift=np.full_like(m, rows),
        rest_shift=rest,
        first_shift=np.minimum(k, rows),
        stream=-(-stream // way.parts) * passes,
    )


def _period(f: Folds, matrix: Matrix) -> Cycles:
    """From the first shift of a block to that of the next one, but for drains and gaps: what `deal` compares."""
    if matrix.model == "scalesim":
        return (f.full + f.rest) * scalesim_fold_cycles(f.stream, matrix)
    if matrix.overlap == "full":
        return f.full * np.maximum(f.stream, f.shift) + f.rest * np.maximum(f.stream, f.rest_shift)
    return f.full * (f.stream + f.shift) + f.rest * (f.stream + f.rest_shift)


def block_cycles(
    m: npt.ArrayLike,
    k: npt.ArrayLike,
    n: npt.ArrayLike,
    machine: Machine,
    dtype: npt.ArrayLike | None = None,
    taps: npt.ArrayLike = 1,
    kept: npt.ArrayLike = 0,
) -> tuple[Cycles, Cycles, Cycles]:
    """Setup, busy and hold cycles (see `cost.py`) of m x k x n blocks, of `dtype` (default: the machine's)."""
    matrix = machine.matrix
    f = folds(m, k, n, matrix, machine.dtype if dtype is None else dtype, taps, kept)
    if matrix.model == "scalesim":
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


class PortBytes(NamedTuple):
    """What blocks move through the array's ports, as columns of bytes.

    Attributes:
        a, b: operands.
        written: results.
        sums_read, sums_written: partial sums, which the block adds to, or leaves for another fold or step.
    """

    a: Cycles
    b: Cycles
    written: Cycles
    sums_read: Cycles
    sums_written: Cycles

    @property
    def read(self) -> Cycles:
        """Of both operands."""
        return self.a + self.b


def port_bytes(
    m: npt.ArrayLike,
    k: npt.ArrayLike,
    n: npt.ArrayLike,
    machine: Machine,
    *,
    step: npt.ArrayLike = 0,
    result: npt.ArrayLike = 0,
    dtype: npt.ArrayLike | None = None,
    taps: npt.ArrayLike = 1,
    kept: npt.ArrayLike = 0,
    packed: npt.ArrayLike = 0,
) -> PortBytes:
    """Bytes of m x k x n blocks, fold by fold.

    The stationary operand is read once (once by each array that holds a copy, see `Deal`), a moving one once for
    each fold across it. ws and is pass partial sums through memory between folds along k; os holds them until the
    block is done. A block of a `step` after the first also reads the sums that it adds to.

    Args:
        result: bytes per element of the result that the block writes; 0: it leaves its sums for another step.
        dtype: of the operands; default: the machine's.
        taps: equal parts of k, see `Block`.
        kept: steps of k that B keeps, if it is compressed, else 0. A is read whole.
        packed: bytes of B, if the array unpacks it as it reads it, else 0.
    """
    matrix = machine.matrix
    code = np.asarray(machine.dtype if dtype is None else dtype, dtype=np.int64)
    of_types = (item_sizes()[code], second_sizes()[code], accumulator_sizes()[code])
    m, k, n, step, result, a_item, b_item, sums, kept, packed = (
        np.asarray(x, dtype=np.int64) for x in np.broadcast_arrays(m, k, n, step, result, *of_types, kept, packed)
    )
    rows, cols = matrix.rows, matrix.cols
    block = Block.of(m, steps(k, kept, taps, matrix), n, matrix, code, taps)
    copies = deal(block, matrix).parts
    a_passes, b_passes, c_passes = copies, copies, block.taps * -(-block.k // rows)
    if matrix.dataflow != "is":
        a_passes = -(-n // cols)
    if matrix.dataflow == "is":
        b_passes = -(-m // cols)
    if matrix.dataflow == "os":
        b_passes, c_passes = -(-m // rows), np.ones_like(m)
    metadata = -(-kept * n * machine.sparsity.bits // 8) * b_passes
    return PortBytes(
        a=m * k * a_passes * a_item,
        b=np.where(packed > 0, packed, np.where(kept > 0, kept, k) * n * b_item) * b_passes + metadata,
        written=m * n * result,
        sums_read=m * n * (c_passes - 1 + (step != 0)) * sums,
        sums_written=m * n * (c_passes - (result > 0)) * sums,
    )


def drain_cycles(machine: Machine) -> int:
    """From the end of the last fold's stream to its last output.

    ws and is: the last input hops over C - 1 columns, is multiplied, and its sum falls through the adders of
    R rows. os: the array fills along both edges (R + C - 2 hops), finishes the last MAC, and shifts C columns out.
    """
    matrix = machine.matrix
    if matrix.model == "scalesim":
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
