"""What operators that fold the pixels under a sliding kernel share: how they are cut, and their operations.

A tile of the output is folded by one operation of the vector unit, which gathers its operand out of the tiles of the
input that lie in SRAM (`compiler/folding.py`). If these are too many, the taps are folded in several steps, each of
which goes on from what the last one has left: one chain, with the same bits.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from minisim.compiler.folding import Folding, choose, tiles_read
from minisim.compiler.geometry import Geometry
from minisim.compiler.graph import Graph, Node, view_2d
from minisim.compiler.ops.base import Operator
from minisim.compiler.ops.elementwise import number_of
from minisim.compiler.panels import Index, Pace
from minisim.compiler.program import Ids, ProgramBuilder, Slot
from minisim.compiler.semantics import A
from minisim.compiler.tiling import Read, Tiling, tile_height
from minisim.hwmodel import cost, isa
from minisim.hwmodel.config import Machine


class Fold(Operator[A]):
    """An operator that is a fold, and perhaps a division of what it gives.

    Attributes:
        code: the operation of the vector unit.
    """

    code: ClassVar[isa.VectorOp]

    @abstractmethod
    def geometry(self, node: Node, graph: Graph) -> Geometry:
        """The kernel over the images, the node's first operand."""

    def weights(self, node: Node) -> str | None:
        """The operand with a row for each tap, if the fold multiplies."""
        return None

    def bias(self, node: Node) -> str | None:
        """The operand, a row, that is added at the end."""
        return None

    def activation(self, node: Node) -> isa.Activation:
        return isa.Activation.NONE

    def divisor(self, node: Node) -> str | None:
        """The operand, a number or a column, by which the result is divided, in an operation of its own."""
        return None

    def tile(self, node: Node, graph: Graph, machine: Machine) -> Tiling:
        geometry, channels = self.geometry(node, graph), _channels(node, graph)
        n, read = min(machine.tile.n, channels), tile_height(geometry.pixels_in, machine)
        item = isa.ITEMSIZE[graph.tensors[node.output].code]

        def needed(height: int, taps: int) -> int:
            size = tiles_read(geometry, height, read, taps) * isa.align(min(read, geometry.pixels_in) * n * item)
            size += isa.align(height * n * PARTIAL_BYTES) * (1 if taps == geometry.taps else 2)
            size += isa.align(taps * n * item) if self.weights(node) else 0
            return size + (isa.align(n * item) if self.bias(node) else 0)

        whole = tile_height(geometry.pixels_out, machine)
        m, taps = choose(geometry, whole, read, needed, machine.sram.bytes)
        grid = (-(-geometry.pixels_out // m), -(-geometry.taps // taps), -(-channels // n))
        return Tiling(m, taps, n, *grid, panels=None)

    def reads(self, node: Node, graph: Graph, tiling: Tiling) -> tuple[Read, ...]:
        """Of x as many rows for each tile of the output as there are for all of them: halos are not counted."""
        pixels = -(-self.geometry(node, graph).pixels_in // tiling.m_tiles)
        found = [Read(node.present[0], ("m", pixels), ("n", tiling.n))]
        if weights := self.weights(node):
            found.append(Read(weights, ("k", tiling.k), ("n", tiling.n)))
        if bias := self.bias(node):
            found.append(Read(bias, ("", 1), ("n", tiling.n)))
        if (divisor := self.divisor(node)) and number_of(graph.tensors[divisor]) is None:
            found.append(Read(divisor, ("m", tiling.m), ("", 1)))
        return tuple(found)

    def pace(self, node: Node, graph: Graph, tiling: Tiling, machine: Machine) -> Pace:
        busy = int(cost.vector_cycles(self.code, tiling.m, tiling.n, machine)) * tiling.k
        if self.divisor(node):
            busy += int(cost.vector_cycles(isa.VectorOp.DIV, tiling.m, tiling.n, machine))
        dram = float(1 / machine.memory_bytes_per_cycle)
        row = tiling.n * isa.ITEMSIZE[graph.tensors[node.output].code]
        load, store = (max(cost.port_pace(tiling.m, row, machine, way), dram) for way in (True, False))
        turnaround = machine.dma.setup_cycles + machine.dram_latency_cycles + busy + machine.vector.latency_cycles
        return Pace(max(busy, machine.vector.setup_cycles), load, store, dram, turnaround)

    def lower(self, node: Node, graph: Graph, tiling: Tiling, program: ProgramBuilder) -> None:
        """Emit for each step of each tile: LOAD what it is gathered from and what the last step has left, VECTOR;
        behind the last step the division; STORE. Columns are outermost, so that what two rows of tiles read is still
        there, unless it is to be in rows."""
        m, n, k = tiling.walk()
        order = np.lexsort((k, n, m) if tiling.in_rows else (k, m, n, tiling.core_of(m, n)))
        steps = _Steps(self, node, graph, tiling, program, m[order], n[order], k[order])
        steps.emit()


PARTIAL_BYTES = 4
"""The bytes of an element that a fold leaves for the next one, at most."""


class _Steps:
    """The operations of one node, in the order of the stream: columns of their tiles m, n and steps k."""

    def __init__(
        self, of: Fold[Any], node: Node, graph: Graph, tiling: Tiling, program: ProgramBuilder, m: Index, n: Index,
        k: Index,
    ) -> None:  # fmt: skip
        self.of, self.node, self.graph, self.tiling, self.program = of, node, graph, tiling, program
        self.m, self.n, self.k = m, n, k
        self.geometry = of.geometry(node, graph)
        self.channels = _channels(node, graph)
        self.last = k == tiling.k_tiles - 1
        self.dtype = graph.tensors[node.present[0]].code

    def emit(self) -> None:
        node, program, slots = self.node, self.program, list[Slot]()
        pieces, loads = self._gathered()
        slots += [Slot(isa.Opcode.LOAD, ids, there) for ids, there in loads]
        acc, left = self._partials()
        folds: dict[str, npt.ArrayLike] = {"src0_pieces": pieces, "acc": acc, "dst": left}
        if weights := self.of.weights(node):
            folds["src1"] = program.grid(weights, self.tiling.k, self.tiling.n).ids(self.k, self.n)
            slots.append(Slot(isa.Opcode.LOAD, np.asarray(folds["src1"])))
        if bias := self.of.bias(node):
            ids = program.grid(bias, 1, self.tiling.n).ids(0, self.n)
            folds["src2"] = np.where(self.last, ids, isa.NONE)
            slots.append(Slot(isa.Opcode.LOAD, ids, self.last))
        slots.append(Slot(isa.Opcode.LOAD, acc, self.k > 0))
        divisor = self.of.divisor(node)
        fold_rows, div_rows = self._vectors(folds, divisor)
        slots += [Slot(isa.Opcode.VECTOR, fold_rows), Slot(isa.Opcode.STORE, left)]
        if divisor:
            slots.append(Slot(isa.Opcode.LOAD, left, self.last))
            if number_of(self.graph.tensors[divisor]) is None:
                slots.append(Slot(isa.Opcode.LOAD, self._column(divisor), self.last))
            slots.append(Slot(isa.Opcode.VECTOR, div_rows, self.last))
            slots.append(Slot(isa.Opcode.STORE, self._result(), self.last))
        program.layer(node.name, node.title, 0, slots, cores=self.tiling.core_of(self.m, self.n))

    def _gathered(self) -> tuple[Ids, list[tuple[Ids, npt.NDArray[np.bool_]]]]:
        tiling, read = self.tiling, tile_height(self.geometry.pixels_in, self.program.machine)
        ragged = self.channels - (tiling.n_tiles - 1) * tiling.n
        folding = Folding.of(self.geometry, tiling.m, read, tiling.k, (tiling.n, ragged), self.program)
        grid = self.program.grid(self.node.present[0], read, tiling.n)
        at_end = self.n == tiling.n_tiles - 1
        return folding.operands(self.m, self.k, self.n, at_end, grid, self.program)

    def _partials(self) -> tuple[Ids, Ids]:
        """The tile that each operation goes on from, or NONE, and the one that it leaves its result in."""
        tiling, name = self.tiling, self.node.name
        wide = isa.DType.INT8 if self.dtype == isa.DType.INT8 else isa.DType.FP32
        if self.of.divisor(self.node):
            end = self._scratch(f"{name}/sum", self.dtype)
        else:
            end = self._result()
        steps = [self._scratch(f"{name}/partial", wide) for _ in range(tiling.k_tiles - 1)]
        of_step = np.stack([*steps, end])
        at = np.arange(len(self.k))
        acc = np.where(self.k > 0, of_step[self.k - 1, at], isa.NONE)
        return acc, of_step[self.k, at]

    def _scratch(self, name: str, dtype: isa.DType) -> Ids:
        tensor = self.program.scratch(name, self.geometry.pixels_out, self.channels, dtype)
        return self.program.grid(tensor, self.tiling.m, self.tiling.n, 1).ids(self.m, self.n)

    def _result(self) -> Ids:
        return self.program.grid(self.node.output, self.tiling.m, self.tiling.n, 1).ids(self.m, self.n)

    def _column(self, divisor: str) -> Ids:
        return self.program.grid(divisor, self.tiling.m, 1).ids(self.m, 0)

    def _vectors(self, folds: Mapping[str, npt.ArrayLike], divisor: str | None) -> tuple[Ids, Ids]:
        """Append the rows of the folds, and of the divisions behind the last steps."""
        present = np.ones((len(self.m), 2 if divisor else 1), dtype=bool)
        present[:, 1:] = self.last[:, None]
        tiling = self.tiling
        columns: dict[str, tuple[npt.ArrayLike, npt.ArrayLike]] = {
            "op": (self.of.code, isa.VectorOp.DIV),
            "dtype": (self.dtype, self.dtype),
            "activation": (np.where(self.last, self.of.activation(self.node), 0), 0),
            "rows": (rows := np.minimum(tiling.m, self.geometry.pixels_out - self.m * tiling.m), rows),
            "cols": (cols := np.minimum(tiling.n, self.channels - self.n * tiling.n), cols),
            "taps": (np.minimum(tiling.k, self.geometry.taps - self.k * tiling.k), 0),
            **{name: (folds.get(name, isa.NONE), isa.NONE) for name in ("src0_pieces", "src1", "src2", "acc", "dst")},
            "src0": (isa.NONE, isa.NONE),
        }
        if divisor:
            number = number_of(self.graph.tensors[divisor])
            columns["src0"] = isa.NONE, folds["dst"]
            columns["dst"] = folds["dst"], self._result()
            columns["imm1"] = 0.0, number or 0.0
            if number is None:
                columns["src1"] = folds.get("src1", isa.NONE), self._column(divisor)
        rows_of = np.zeros(present.shape, dtype=np.int64)
        rows_of[present] = self.program.vectors(
            int(present.sum()),
            **{
                name: np.stack([np.broadcast_to(x, len(self.m)) for x in each[: present.shape[1]]], axis=1)[present]
                for name, each in columns.items()
            },
        )
        return rows_of[:, 0], rows_of[:, -1]


def _channels(node: Node, graph: Graph) -> int:
    return view_2d(graph.tensors[node.present[0]].shape)[1]
