"""What operators that fold the pixels under a sliding kernel share: how they are cut, and their operations.

A tile of the output is folded by one operation of the vector unit, which gathers its operand out of the tiles of the
input that lie in SRAM (`compiler/folding.py`). If these are too many, the taps are folded in several steps, each of
which goes on from what the last one has left: one chain, with the same bits.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from minisim.compiler.builder import ProgramBuilder, Slot
from minisim.compiler.folding import Folding, choose, taps_of_step, tiles_read
from minisim.compiler.geometry import Geometry
from minisim.compiler.graph import Graph, Node, view_2d
from minisim.compiler.ops.base import Operator
from minisim.compiler.ops.elementwise import number_of
from minisim.compiler.ops.vector_pace import vector_pace
from minisim.compiler.panels import Index, Pace
from minisim.compiler.program import Ids
from minisim.compiler.semantics import A
from minisim.compiler.tiling import Read, Tiling, tile_height
from minisim.hwmodel import cost, isa
from minisim.hwmodel.config import Machine


class Stage(NamedTuple):
    """An elementwise operation on what a fold gives: it, and further operands, each a number or a column."""

    op: isa.VectorOp
    operands: tuple[str, ...]


class Fold(Operator[A]):
    """An operator that is a fold, and perhaps elementwise operations on what it gives.

    Attributes:
        code: the operation of the vector unit.
    """

    takes_edges = True

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

    def tail(self, node: Node, graph: Graph) -> tuple[Stage, ...]:
        """What is done to the result, tile by tile, in operations of their own."""
        return ()

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
        return Tiling(m, taps, n, *grid, panels=None, source=(read, n))

    def reads(self, node: Node, graph: Graph, tiling: Tiling) -> tuple[Read, ...]:
        """Of x as many rows for each tile of the output as there are for all of them: halos are not counted."""
        pixels = -(-self.geometry(node, graph).pixels_in // tiling.m_tiles)
        found = [Read(node.present[0], ("m", pixels), ("n", tiling.n))]
        if weights := self.weights(node):
            found.append(Read(weights, ("k", tiling.k), ("n", tiling.n)))
        if bias := self.bias(node):
            found.append(Read(bias, ("", 1), ("n", tiling.n)))
        names = [name for stage in self.tail(node, graph) for name in stage.operands]
        found += [Read(n, ("m", tiling.m), ("", 1)) for n in names if number_of(graph.tensors[n]) is None]
        return tuple(found)

    def pace(self, node: Node, graph: Graph, tiling: Tiling, machine: Machine) -> Pace:
        busy = int(cost.vector_cycles(self.code, tiling.m, tiling.n, machine)) * tiling.k
        for stage in self.tail(node, graph):
            busy += int(cost.vector_cycles(stage.op, tiling.m, tiling.n, machine))
        return vector_pace(busy, node, graph, tiling, machine)

    def lower(self, node: Node, graph: Graph, tiling: Tiling, program: ProgramBuilder) -> None:
        """Emit for each step of each tile: LOAD what it is gathered from and what the last step has left, VECTOR;
        behind the last step the stages of its tail; STORE. Columns are outermost, so that what two rows of tiles read
        is still there, unless it is to be in rows."""
        m, n, k = tiling.walk()
        order = np.lexsort((k, *((n, m) if tiling.in_rows else (m, n)), tiling.core_of(m, n)))
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
        self.tail = of.tail(node, graph)
        self.dtype = graph.tensors[node.present[0]].code

    def emit(self) -> None:
        node, program, load = self.node, self.program, isa.Opcode.LOAD
        pieces, loads = self._gathered()
        slots = [Slot(load, ids, there) for ids, there in loads]
        acc, left = self._partials()
        fold: dict[str, npt.ArrayLike] = {"src0_pieces": pieces, "acc": acc, "dst": left, "op": self.of.code}
        if weights := self.of.weights(node):
            ids = program.grid(weights, self.tiling.k, self.tiling.n).ids(self.k, self.n)
            fold["src1"] = ids
            slots.append(Slot(load, ids))
        if bias := self.of.bias(node):
            ids = program.grid(bias, 1, self.tiling.n).ids(0, self.n)
            fold["src2"] = np.where(self.last, ids, isa.NONE)
            slots.append(Slot(load, ids, self.last))
        slots.append(Slot(load, acc, self.k > 0))
        fold["taps"] = np.minimum(self.tiling.k, self.geometry.taps - self.k * self.tiling.k)
        fold["activation"] = np.where(self.last, self.of.activation(node), 0)
        stages = self._stages(left)
        rows = self._vectors([fold, *(columns for columns, _ in stages)])
        slots += [Slot(isa.Opcode.VECTOR, rows[:, 0]), Slot(isa.Opcode.STORE, left)]
        for i, (columns, read) in enumerate(stages, 1):
            slots += [Slot(load, ids, self.last) for ids in read]
            slots.append(Slot(isa.Opcode.VECTOR, rows[:, i], self.last))
            slots.append(Slot(isa.Opcode.STORE, np.asarray(columns["dst"]), self.last))
        program.layer(node.name, node.title, 0, slots, cores=self.tiling.core_of(self.m, self.n))

    def _gathered(self) -> tuple[Ids, list[tuple[Ids, npt.NDArray[np.bool_]]]]:
        tiling, read = self.tiling, self.tiling.source[0]
        ragged = self.channels - (tiling.n_tiles - 1) * tiling.n
        folding = Folding.of(self.geometry, tiling.m, read, tiling.k, (tiling.n, ragged), self.program)
        grid = self.program.grid(self.node.present[0], read, tiling.n)
        at_end = self.n == tiling.n_tiles - 1
        return folding.operands(self.m, self.k, self.n, at_end, grid, self.program)

    def _partials(self) -> tuple[Ids, Ids]:
        """The tile that each operation goes on from, or NONE, and the one that it leaves its result in."""
        tiling = self.tiling
        wide = isa.partial_of(self.dtype)
        end = self._scratch("folded", self.dtype) if self.tail else self.node.output
        left = [self._scratch("partial", wide) for _ in range(tiling.k_tiles - 1)]
        for step, tensor in enumerate([*left, end]):
            self._tell(tensor, taps_of_step(self.geometry, step, tiling.k)[1])
        of_step = np.stack([self._tiles_of(tensor) for tensor in (*left, end)])
        at = np.arange(len(self.k))
        acc = np.where(self.k > 0, of_step[self.k - 1, at], isa.NONE)
        return acc, of_step[self.k, at]

    def _tell(self, folded: str, taps: int) -> None:
        """Say what this tensor is: what is folded of so many taps."""
        x, weights = self.node.present[0], self.of.weights(self.node)
        self.program.convolution(x, weights, folded, *self.geometry.meaning, 1, self.channels, 1, 1,
                                 self.geometry.transposed, taps=taps)  # fmt: skip

    def _scratch(self, what: str, dtype: isa.DType) -> str:
        return self.program.scratch(self.node.name, what, self.geometry.pixels_out, self.channels, dtype)

    def _tiles_of(self, tensor: str) -> Ids:
        return self.program.grid(tensor, self.tiling.m, self.tiling.n, 1).ids(self.m, self.n)

    def _stages(self, folded: Ids) -> list[tuple[dict[str, npt.ArrayLike], list[Ids]]]:
        """Of each stage of the tail its columns of the table, and the tiles that it reads."""
        found: list[tuple[dict[str, npt.ArrayLike], list[Ids]]] = []
        value = folded
        for i, stage in enumerate(self.tail, 1):
            columns: dict[str, npt.ArrayLike] = {"op": stage.op, "src0": value}
            read = [value]
            for place, name in enumerate(stage.operands, 1):
                if (number := number_of(self.graph.tensors[name])) is not None:
                    columns[f"imm{place}"] = number
                    continue
                read.append(self.program.grid(name, self.tiling.m, 1).ids(self.m, 0))
                columns[f"src{place}"] = read[-1]
            last = i == len(self.tail)
            value = self._tiles_of(self.node.output if last else self._scratch("stage", self.dtype))
            columns["dst"] = value
            found.append((columns, read))
        return found

    def _vectors(self, operations: Sequence[Mapping[str, npt.ArrayLike]]) -> Ids:
        """Append the rows of the fold and of the stages behind each last step; shape (folds, operations)."""
        present = np.ones((len(self.m), len(operations)), dtype=bool)
        present[:, 1:] = self.last[:, None]
        rows = np.minimum(self.tiling.m, self.geometry.pixels_out - self.m * self.tiling.m)
        cols = np.minimum(self.tiling.n, self.channels - self.n * self.tiling.n)
        both: dict[str, npt.ArrayLike] = {"rows": rows, "cols": cols, "dtype": self.dtype}
        table: dict[str, npt.ArrayLike] = {}
        for name in isa.VECTOR_DTYPE.names or ():
            if name.endswith("_sram"):
                continue
            missing = isa.NONE if name in (*isa.VECTOR_OPERANDS, "src0_pieces") else 0
            columns = [np.broadcast_to(each.get(name, both.get(name, missing)), len(self.m)) for each in operations]
            table[name] = np.stack(columns, axis=1)[present]
        found = np.zeros(present.shape, dtype=np.int64)
        found[present] = self.program.vectors(int(present.sum()), **table)
        return found


def _channels(node: Node, graph: Graph) -> int:
    return view_2d(graph.tensors[node.present[0]].shape)[1]
