"""Slabs: tensors of many dimensions in a memory of rows and columns.

A batch of matrices lies in DRAM as one matrix, the rows of each behind those of the one before. Such a run of rows is a
*slab*. An operator whose operands are broadcast against each other in their leading dimensions works slab by slab: of
each slab of its output it says which slab of an operand it reads (`slab_of`), and no tile reaches from one slab into
the next. So nothing is copied to be broadcast: a slab that many need is read by many.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from minisim.compiler.arguments import Shape

SlabOf = tuple[int, ...]
"""For each slab of an output, the number of the operand's slab that belongs to it."""


def slab_of(batch: Shape, own: Shape) -> SlabOf:
    """Which slab of an operand with the leading dimensions `own` belongs to each slab of an output with `batch`.

    Dimensions of 1, and those that `own` does not have in front, are repeated, as numpy does.
    """
    numbers: npt.NDArray[np.int64] = np.arange(math.prod(own)).reshape((1,) * (len(batch) - len(own)) + own)
    return tuple(np.broadcast_to(numbers, batch).reshape(-1).tolist())


def tiles_apart(slab: int, rows: int, height: int) -> int:
    """`slab`, the rows of each slab of a tensor of so many `rows`, if tiles of `height` rows lie in its slabs otherwise
    than in the tensor as a whole; else 0, which stands for no slabs."""
    return slab if slab < rows and slab % height else 0
