"""Keys and values that a cache keeps in fewer bits: each tile becomes floats just before the array reads it.

The vector unit does it, with the scales of the tile's rows beside it (RESCALE), or without any (CAST), once for all
strips that pass by a block together. The floats never leave the chip unless room is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from minisim.compiler.attributes import AttentionAttributes
from minisim.compiler.builder import ProgramBuilder
from minisim.compiler.graph import Graph, Node
from minisim.compiler.ops.attention_order import Order
from minisim.compiler.ops.matmul import Matrices
from minisim.compiler.program import Ids
from minisim.hwmodel import isa
from minisim.hwmodel.isa import VectorOp

UNPACKING = {"Rescale": VectorOp.RESCALE, "Cast": VectorOp.CAST}
"""The operation on each tile, by `AttentionAttributes.floats_by`."""


@dataclass(frozen=True)
class Kept:
    """Keys, or values, that are kept in fewer bits, seen by an attention that is put together.

    Attributes:
        op, dtype: what makes floats of a tile, and the type that it has in memory.
        source: the tiles in memory; `scales` one column for each head, if there are any.
        floats: tiles of floats: for each pass those of one head, behind each other.
        head, passes: of each part of a strip which head it reads, and in which pass: one for each head of each group.
        first: of each pass the first part that reads it.
    """

    op: VectorOp
    dtype: isa.DType
    source: Matrices
    scales: Matrices | None
    floats: Matrices
    head: Ids
    passes: Ids
    first: Ids

    @classmethod
    def of(
        cls,
        node: Node,
        graph: Graph,
        program: ProgramBuilder,
        place: int,
        edges: tuple[int, int],
        head: Ids,
        order: Order,
    ) -> Kept | None:
        """The operand at `place` (1: keys, 2: values) of an attention, in tiles of `edges`; None if it is floats.

        Args:
            head, order: of each part of a strip, which head it reads, and when it is whose turn.
        """
        attributes, tensor = node.attributes_as(AttentionAttributes), graph.tensors[node.present[place]]
        if not attributes.floats_by:
            return None
        heads, rows = (attributes.scores, attributes.products)[place - 1].b_heads, tensor.shape[0]
        size = (rows, tensor.shape[1] // heads)
        groups = np.stack([order.core, order.first, head], axis=1)
        _, first, passes = np.unique(groups, axis=0, return_index=True, return_inverse=True)
        floats = program.scratch(node.name, ("keys", "values")[place - 1], len(first) * rows, size[1],
                                 graph.tensors[node.output].code)  # fmt: skip
        scales = None
        if attributes.floats_by == "Rescale":
            scales = Matrices.of(program, node.present[place - 3], (edges[0], 1), (rows, 1), heads)
        down = -(-rows // edges[0])
        return cls(
            UNPACKING[attributes.floats_by], tensor.code, Matrices.of(program, tensor.name, edges, size, heads), scales,
            Matrices(program.grid(floats, *edges, 1, rows), down, 0), head, passes.reshape(-1), first,
        )  # fmt: skip

    def ids(self, row: int, col: int) -> Ids:
        """The tile of floats that each part reads."""
        return self.floats.ids(self.passes, 0 * self.passes + row, 0 * self.passes + col)

    def made(self, row: int, col: int) -> tuple[dict[str, npt.NDArray[Any]], list[Ids]]:
        """Operands of the operations, one for each pass, that make these tiles; and what they load."""
        zero, head = 0 * self.first, self.head[self.first]
        loads = [self.source.ids(head, zero + row, zero + col)]
        if self.scales is not None:
            loads.append(self.scales.ids(head, zero + row, zero))
        operands = {f"src{i}": tiles for i, tiles in enumerate(loads)}
        operands["dst"] = self.ids(row, col)[self.first]
        return operands, loads
