"""A chain of vector operations on rows in parts: as they are longer than the SRAM, or as others have cut them.

What stands between two reductions is done to one part of a row after the other; a reduction goes on from the partial
results that the part before it left (`isa.py`, Rows in parts), so the bits are those of a whole row. Of softmax:

    for each part  max so far;    for each part  x - max, exp, sum so far;    1 / sum;    for each part  times that

What one pass over a row leaves for the next one goes to DRAM and comes back where there is no room for it.

The first pass of a strip takes turns with the others of the strip before it: its loads come early enough, and each part
of a reduction, which goes on from the part before it, need not wait for the latency of that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from minisim.compiler.builder import ProgramBuilder, Slot
from minisim.compiler.graph import Node
from minisim.compiler.program import Ids
from minisim.compiler.tiling import Tiling
from minisim.hwmodel import isa


class Value(NamedTuple):
    """An operand or result of a chain: the tile of each strip, and the columns of all.

    Of rows in parts, the tiles of each strip (row) and part (column); of what has one column, only one.
    """

    tiles: Ids
    cols: int


Operand = Value | float
"""What an operation of a chain reads: tiles, or a number."""


class Step(NamedTuple):
    op: isa.VectorOp
    sources: tuple[Operand, ...]
    result: Value

    @property
    def values(self) -> list[Value]:
        """The sources that have tiles."""
        return [source for source in self.sources if isinstance(source, Value)]


def emit_parts(node: Node, tiling: Tiling, rows: int, steps: Sequence[Step], program: ProgramBuilder) -> None:
    """Emit for each operation on each part of each strip: LOAD its sources, VECTOR, STORE its result."""
    dtype = program.graph.tensors[node.output].code
    parts = _Parts(node.name, rows, tiling, dtype, program)
    for group in _passes(steps):
        for step in group:
            if step.result.cols == 1 and not step.op.is_reduction:
                parts.add(step, 0)
        for part in range(tiling.k_tiles):
            for step in group:
                if step.result.cols > 1 or step.op.is_reduction:
                    parts.add(step, part)
        parts.passes.append(len(parts.operations))
    parts.emit(node)


def _passes(steps: Sequence[Step]) -> list[list[Step]]:
    """The steps by how many reductions must be complete before them."""
    passes: list[list[Step]] = []
    known: dict[int, int] = {}  # by the identity of a result
    for step in steps:
        before = max((known.get(id(value.tiles), 0) for value in step.values), default=0)
        known[id(step.result.tiles)] = before + step.op.is_reduction
        passes += [[] for _ in range(before + 1 - len(passes))]
        passes[before].append(step)
    return passes


class _Parts:
    """The operations of one strip: columns of the table of vectors, each a number or one for each strip."""

    def __init__(self, node: str, rows: int, tiling: Tiling, dtype: isa.DType, program: ProgramBuilder) -> None:
        self.node, self.rows, self.tiling, self.dtype, self.program = node, rows, tiling, dtype, program
        self.passes: list[int] = []  # behind each pass, how many operations there are
        self.operations: list[dict[str, npt.ArrayLike]] = []
        self.partial: dict[int, Ids] = {}  # by the identity of a reduction's result, what its last part has left

    def add(self, step: Step, part: int) -> None:
        width = min(self.tiling.k, self.tiling.n - part * self.tiling.k)
        found: dict[str, npt.ArrayLike] = {"op": step.op, "cols": width if step.result.cols > 1 else 1}
        for i, source in enumerate(step.sources):
            if isinstance(source, Value):
                found[f"src{i}"] = source.tiles[:, part if source.cols > 1 else 0]
            else:
                found[f"imm{i}"] = source
        found["dst"] = step.result.tiles[:, part if step.result.cols > 1 else 0]
        if step.op.is_reduction:
            key = id(step.result.tiles)
            if part:
                found["acc"] = self.partial[key]
            if part < self.tiling.k_tiles - 1:
                found["dst"] = self.partial[key] = self._left()
                found["cols"] = isa.REDUCE_WIDTH
        self.operations.append(found)

    def _left(self) -> Ids:
        """A tile for the partial results of each strip."""
        name = self.program.scratch(self.node, "partial", self.rows, isa.REDUCE_WIDTH, isa.partial_of(self.dtype))
        grid = self.program.grid(name, self.tiling.m, isa.REDUCE_WIDTH, 1, self.tiling.slab)
        return grid.ids(np.arange(self.tiling.m_tiles), 0)

    def emit(self, node: Node) -> None:
        """All operations of the strips, in turns."""
        count, each = self.tiling.m_tiles, len(self.operations)
        order = self._turns()
        strip = np.repeat(np.arange(count), each)[order]
        height = self.tiling.heights(self.rows)[strip]
        columns: dict[str, npt.NDArray[np.float64 | np.int64]] = {}
        for name in ("op", "cols", *isa.VECTOR_OPERANDS, "imm0", "imm1", "imm2"):
            missing = isa.NONE if name in isa.VECTOR_OPERANDS else 0
            whole = [np.broadcast_to(np.asarray(of.get(name, missing)), count) for of in self.operations]
            columns[name] = np.stack(whole, axis=1).reshape(-1)[order]
        vectors = self.program.vectors(count * each, dtype=self.dtype, rows=height, **columns)
        self._layer(node, vectors, columns, strip)

    def _turns(self) -> Ids:
        """The order of the operations, numbered strip by strip: the first pass of each strip is dealt out evenly among
        those of the strip before it."""
        first, each = self.passes[0], len(self.operations)
        if first == each:
            return np.arange(self.tiling.m_tiles * each)
        ahead = np.arange(first) / first - 1
        when = np.concatenate([ahead, np.arange(each - first) / (each - first)])
        return np.argsort((np.arange(self.tiling.m_tiles)[:, None] + when).reshape(-1), kind="stable")

    def _layer(self, node: Node, vectors: Ids, columns: Mapping[str, npt.NDArray[np.generic]], strip: Ids) -> None:
        slots = []
        for name in (*isa.VECTOR_SOURCES, "acc"):
            tiles = columns[name].astype(np.int64)
            slots.append(Slot(isa.Opcode.LOAD, tiles, tiles != isa.NONE))
        slots.append(Slot(isa.Opcode.VECTOR, vectors))
        slots.append(Slot(isa.Opcode.STORE, columns["dst"].astype(np.int64)))
        self.program.layer(node.name, node.title, 0, slots, cores=self.tiling.core_of(strip, 0 * strip))
