"""The loop nest of control that walks a matmul by counters: blocks of output tiles, as the machine file says.

A small accelerator has no compiler that chooses panels, and no table of what lies on the chip. Its loaders walk
nested counters and fetch for each step what that step needs. With blocks of block_m x block_n output tiles, k
outermost within a block, and the operand that stays in the array (`matrix.dataflow`) changing as seldom as it can:

    weight- or output-stationary            input-stationary
    for m in steps of block_m               for n in steps of block_n           a row of blocks
      for n in steps of block_n               for m in steps of block_m         a block
        for k                                   for k                           a step
          for n of the block                      for m of the block
            for m of the block                      for n of the block

A tile of A or B is loaded once for each step that uses it, an operand of the epilogue once for each row of blocks
that does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minisim.compiler.panels import Index
from minisim.hwmodel.config import Machine


@dataclass(frozen=True)
class BlockPlan:
    """Blocks of so many output tiles, smaller at the ends of the output.

    Attributes:
        m, n: tiles of a block along the rows and the columns of C.
        keeps_a: whether A is the operand that stays in the array, or else B (or C).
    """

    m: int
    n: int
    keeps_a: bool

    @classmethod
    def of(cls, machine: Machine) -> BlockPlan:
        return cls(machine.compiler.block_m, machine.compiler.block_n, machine.matrix.dataflow == "is")

    def walk(self, rows: int, cols: int, depth: int) -> tuple[Index, Index, Index]:
        """The executes in order, as columns of tile coordinates m, n, k."""
        m, n, k = (x.reshape(-1) for x in np.mgrid[:rows, :cols, :depth])
        inner, row, block = (n, n // self.n, m // self.m) if self.keeps_a else (m, m // self.m, n // self.n)
        order = np.lexsort((inner, m if self.keeps_a else n, k, block, row))
        return m[order], n[order], k[order]

    def row(self, m: Index, n: Index) -> Index:
        """The row of blocks that each output tile belongs to: 0, 1, ..."""
        return n // self.n if self.keeps_a else m // self.m

    def step(self, m: Index, n: Index, k: Index) -> Index:
        """The step that each execute of the walk belongs to: 0, 1, ..."""
        coordinates = np.stack([m // self.m, n // self.n, k])
        return np.cumsum(np.any(np.diff(coordinates, prepend=-1), axis=0), dtype=np.int64) - 1
