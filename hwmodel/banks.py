"""The banks of the SRAM: how long they are taken by operands that are read and written in some order.

B banks of w bytes a cycle: word i lies in bank i mod B, and each bank reads or writes one word in a cycle. Along
a row neighbouring words lie in neighbouring banks, and all of them work: B x w bytes a cycle. Who walks down a
column of a tile whose rows are P bytes long meets the same banks again and again. A walk with stride P visits the
multiples of G = gcd(P, B w), modulo B w, all equally often. Therefore

    G >= w   B w / G banks serve one element a cycle each (for P = s w that is B / gcd(s, B))
    G < w    all B banks do

and an element holds the memory for max(G, w) bytes' time of its bandwidth B w. A stride that is shorter than a word
uses several elements of each: max(G, min(P, w)), which for P = one element is the row again.

    cycles = ceil(elements x max(G, min(P, w)) / (B w))

**Which operand is walked how** is the dataflow's: the array takes a vector a cycle, along k or m of A, along n or k
of B, and what lies the other way in SRAM is walked down its columns.

    dataflow   A is taken along   strided if stored   B is taken along   strided if stored
    ws         k                  (k, m)              n                  (n, k)
    os         m                  (m, k)              n                  (n, k)
    is         m                  (m, k)              k                  (k, n)

C, its partial sums and the vector unit's operands go by rows, but for the source of a TRANSPOSE (`cost.py`). Taken as
given: the vectors of a walk follow each other without gaps, so that conflicts even out between them, and banks serve
one unit at a time.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from minisim.hwmodel.array import accumulator_sizes, port_bytes, second_sizes
from minisim.hwmodel.config import Machine
from minisim.hwmodel.isa import item_sizes
from minisim.hwmodel.sections import Sram

Column = npt.NDArray[np.int64]


def walk_bytes(elements: npt.ArrayLike, stride: npt.ArrayLike, item: npt.ArrayLike, sram: Sram) -> Column:
    """What a walk takes of the banks, as bytes of their whole bandwidth.

    Args:
        elements: how many are read or written, of `item` bytes.
        stride: bytes from one to the next; `item` along a row.
    """
    elements, stride = (np.asarray(x, dtype=np.int64) for x in (elements, stride))
    word = sram.bank_bytes_per_cycle
    conflicts = np.gcd(stride, sram.banks * word)
    return np.asarray(elements * np.maximum(np.maximum(conflicts, np.minimum(stride, word)), item))


def bank_cycles(taken: npt.ArrayLike, sram: Sram) -> Column:
    """Cycles in which the banks serve walks that take so many bytes; 0 if they never bind."""
    taken = np.asarray(taken, dtype=np.int64)
    bandwidth = sram.banks * sram.bank_bytes_per_cycle
    return -(-taken // bandwidth) if bandwidth else np.zeros_like(taken)


def matmul_bank_cycles(
    m: npt.ArrayLike,
    k: npt.ArrayLike,
    n: npt.ArrayLike,
    step: npt.ArrayLike,
    a_transposed: npt.ArrayLike,
    b_transposed: npt.ArrayLike,
    machine: Machine,
    *,
    result: npt.ArrayLike | None = None,
    dtype: npt.ArrayLike | None = None,
    taps: npt.ArrayLike = 1,
    pitch: npt.ArrayLike = 0,
    kept: npt.ArrayLike = 0,
    packed: npt.ArrayLike = 0,
) -> Column:
    """Cycles for which m x k x n blocks hold the banks; an operand is transposed if it is stored (k, m), (n, k).

    Args:
        step, result, dtype, taps, pitch, kept, packed: as `cost.matmul_cycles` takes them.
    """
    code = np.asarray(machine.dtype if dtype is None else dtype, dtype=np.int64)
    result = accumulator_sizes()[code] if result is None else result
    moved = port_bytes(m, k, n, machine, step=step, result=result, dtype=code, taps=taps, kept=kept, packed=packed)
    m, k, n, a_transposed, b_transposed = (np.asarray(x, dtype=np.int64) for x in (m, k, n, a_transposed, b_transposed))
    a_item, b_item = item_sizes()[code], second_sizes()[code]
    dataflow, sram = machine.matrix.dataflow, machine.sram
    a_along, b_along = k if dataflow == "ws" else m, k if dataflow == "is" else n
    a_strided = ((a_transposed != 0) == (dataflow == "ws")) & (a_along > 1)
    b_strided = ((b_transposed != 0) == (dataflow != "is")) & (b_along > 1)
    a_row = np.where(np.asarray(pitch) > 0, pitch, np.where(a_transposed, m, k))
    a_pitch, b_pitch = a_row * a_item, np.where(b_transposed, k, n) * b_item
    taken = walk_bytes(moved.a // a_item, np.where(a_strided, a_pitch, a_item), a_item, sram)
    of_b = walk_bytes(moved.b // b_item, np.where(b_strided, b_pitch, b_item), b_item, sram)
    taken = taken + np.where(np.asarray(packed) > 0, moved.b, of_b) + moved.written  # blocks are walked byte by byte
    if not machine.accumulator.bytes:
        taken = taken + moved.sums_read + moved.sums_written
    return bank_cycles(taken, sram)
