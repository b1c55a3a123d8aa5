"""Slabs: tensors of many dimensions in a memory of rows and columns.

A batch of matrices lies in DRAM as one matrix, the rows of each behind those of the one before. Such a run of rows is a
*slab*. An operator whose operands are broadcast against each other in their leading dimensions works slab by slab: of
each slab of its output it says which slab of an operand it reads (`slab_of`), and no tile reaches from one slab into
the next. So nothing is copied to be broadcast: a slab that many need is read by many.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

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


class Broadcast(NamedTuple):
    """How operands of an elementwise operation lie under its output.

    Attributes:
        rows: of a slab of the output; each operand has as many in each of its slabs, or one that is repeated.
        repeated: of each operand, whether it is one.
        slab_of: of each operand, which of its slabs belongs to each slab of the output.
    """

    rows: int
    repeated: tuple[bool, ...]
    slab_of: tuple[SlabOf, ...]

    @property
    def slabs(self) -> int:
        """How many slabs the output has."""
        return len(self.slab_of[0])

    def apart(self, rows: int) -> Broadcast:
        """This one of a single slab in slabs of so many rows."""
        count = self.rows // rows
        return Broadcast(rows, self.repeated, tuple((0,) * count if r else tuple(range(count)) for r in self.repeated))

    @classmethod
    def of(cls, shape: Shape, operands: Sequence[Shape]) -> Broadcast:
        """The broadcast of `operands` to `shape`, in the fewest slabs.

        A slab is as many of the last of the leading dimensions as each operand has all of, or none of; at the least one
        dimension, of which that is always true.
        """
        batch = shape[:-1]
        leads = [((1,) * (len(shape) - len(x)) + x)[:-1] for x in operands]
        repeated: list[bool | None] = [None] * len(operands)
        while batch:
            ones = [None if batch[-1] == 1 else lead[-1] == 1 for lead in leads]
            if any(None not in (a, b) and a != b for a, b in zip(ones, repeated, strict=True)):
                break
            repeated = [b if a is None else a for a, b in zip(ones, repeated, strict=True)]
            batch, leads = batch[:-1], [lead[:-1] for lead in leads]
        rows = math.prod(shape[len(batch) : -1])
        return cls(rows, tuple(r is not False for r in repeated), tuple(slab_of(batch, lead) for lead in leads))
