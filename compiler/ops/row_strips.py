"""What operators that need whole rows share: a chain of vector operations on one strip of rows after the other.

A strip is a few whole rows of each operand, so all that lies between the chain's operations stays in SRAM: the
source is read from DRAM once, the result written once. Two strips are in flight at a time, in turns:

    max of strip 0, max of strip 1, x - max of strip 0, x - max of strip 1, ...

so that an operation need not wait for the latency of the one before it, whose result it reads. Rows are cut into
parts (`row_parts.py`) where the SRAM is too small for them, and where the parts are the tiles of the operators before
and behind: these then find in SRAM what they need.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from minisim.compiler.attributes import Attributes
from minisim.compiler.builder import ProgramBuilder, Slot
from minisim.compiler.dtypes import FLOATS
from minisim.compiler.graph import Graph, Node, Shape, view_2d
from minisim.compiler.ops.base import OPERATORS, Operator
from minisim.compiler.ops.elementwise import number_of
from minisim.compiler.ops.row_parts import Operand, Step, Value, emit_parts
from minisim.compiler.ops.vector_pace import vector_pace
from minisim.compiler.panels import Pace
from minisim.compiler.program import Ids
from minisim.compiler.tiling import Read, Tiling, tile_height
from minisim.errors import ShapeError
from minisim.hwmodel import cost, isa
from minisim.hwmodel.config import Machine

IN_FLIGHT = 2
"""Strips whose chains take turns."""

WIDE_TILES = 10
"""Strips of whole rows for which the SRAM is to have room: of each of two chains a source and a target, of two
strips to come the loads, of two done the stores; and as much as two for rows and columns beside them. With fewer
it works as well, but tiles between the operations may go to DRAM and back."""


PART_TILES = 2.5
"""Strips of whole rows for which the SRAM is to have room if they are in parts: one that is worked on, the next one's
loads, and the stores. What lies between the operations takes the place of what they have read."""

ROOMY = 4.0
"""Strips for which it must have room for parts to be taken where it is not tried out which of the two is better."""

FEWEST_ROWS = 3
"""Rows that must have room for rows to be taken as a whole: of two sources and a target."""

WORTH = 8
"""A strip is large enough if its passes take so many times the vector unit's start-up and latency, and its transfer
so many times the DMA's. Larger ones only lengthen the run's start and end, where one unit waits for the other."""


def tile_rows(node: Node, graph: Graph, machine: Machine) -> Tiling:
    """Strips of `tile_height` rows if a row is one tile wide, as neighbours have them; otherwise of fewer, if those are
    large enough. And never of more than the SRAM has room for `WIDE_TILES` of, but of one row at least.

    That even one row does not fit is for the scheduler to say, which knows what the operations need.
    """
    rows, cols = view_2d(graph.tensors[node.present[0]].shape)
    row_bytes = isa.align(cols * isa.ITEMSIZE[graph.tensors[node.output].code])
    m = min(tile_height(rows, machine), machine.sram.bytes // (WIDE_TILES * row_bytes))
    if cols > machine.tile.n:
        vector, dma = machine.vector, machine.dma
        elements = WORTH * (vector.setup_cycles + vector.latency_cycles) * vector.lanes
        size = WORTH * dma.setup_cycles * dma.bytes_per_cycle
        m = min(m, max(-(-elements // cols), -(-size // row_bytes)))
    m = max(1, m)
    if FEWEST_ROWS * row_bytes > machine.sram.bytes and graph.tensors[node.output].dtype in FLOATS:
        width = part_of_row(graph.tensors[node.output].code, machine)
        return Tiling(1, width, cols, rows, -(-cols // width), 1, panels=None)
    return Tiling(m, 1, cols, -(-rows // m), 1, 1, panels=None)


def tile_as_neighbours(node: Node, graph: Graph, machine: Machine, strips: float = PART_TILES) -> Tiling | None:
    """Parts of rows that are the tiles of whoever makes the source, and of whoever reads the result; None if there is
    no such neighbour, a row is but one tile wide, or the SRAM has no room for so many `strips`."""
    x = node.present[0]
    rows, cols = view_2d(graph.tensors[x].shape)
    passed_on = graph.tensors[node.output].dtype in FLOATS and machine.compiler.keep_on_chip
    if not passed_on or machine.compiler.order != "auto":
        return None
    executed = [each for each in graph.nodes if each.op in OPERATORS]
    if not any(x in each.outputs or node.output in each.present for each in executed):
        return None
    slab, width = graph.tensors[x].slab, machine.tile.n
    m = tile_height(slab or rows, machine)
    row_bytes = isa.align(cols * isa.ITEMSIZE[graph.tensors[node.output].code])
    if cols <= width or width % isa.REDUCE_WIDTH or strips * m * row_bytes > machine.sram.bytes:
        return None
    tall = rows // slab * -(-slab // m) if slab else -(-rows // m)
    return Tiling(m, width, cols, tall, -(-cols // width), 1, panels=None, slab=slab)


def part_of_row(dtype: isa.DType, machine: Machine) -> int:
    """The columns of the parts into which rows are cut that the SRAM is too small for: whole groups of the partial
    results, so that a reduction can go on."""
    width = machine.sram.bytes // (WIDE_TILES * isa.ITEMSIZE[dtype])
    return max(width // isa.REDUCE_WIDTH, 1) * isa.REDUCE_WIDTH


class RowOperator(Operator[Attributes]):
    """An operator that is a chain of vector operations on whole rows; rows are what cores share."""

    takes_edges = True

    @abstractmethod
    def chain(self, node: Node, strips: RowStrips) -> None:
        """Append the operations to `strips`; the last one's result is the node's."""

    def tile(self, node: Node, graph: Graph, machine: Machine) -> Tiling:
        return tile_as_neighbours(node, graph, machine, ROOMY) or tile_rows(node, graph, machine)

    def slab(self, node: Node, graph: Graph) -> int:
        return graph.tensors[node.present[0]].slab

    def in_context(self, node: Node, graph: Graph, machine: Machine) -> tuple[Tiling, ...]:
        found = tile_as_neighbours(node, graph, machine), tile_rows(node, graph, machine)
        return tuple(tiling for tiling in found if tiling is not None)

    def reads(self, node: Node, graph: Graph, tiling: Tiling) -> tuple[Read, ...]:
        first, *others = node.present
        names = [first, *(name for name in others if number_of(graph.tensors[name]) is None)]
        shapes = [view_2d(graph.tensors[name].shape) for name in names]
        return tuple(
            Read(name, ("m", tiling.m) if rows > 1 else ("", 1), ("", cols), apart=tiling.apart if rows > 1 else 0)
            for name, (rows, cols) in zip(names, shapes, strict=True)
        )

    def pace(self, node: Node, graph: Graph, tiling: Tiling, machine: Machine) -> Pace:
        strips = RowStrips(node, graph, tiling, ProgramBuilder(graph, machine))
        self.chain(node, strips)
        return vector_pace(-(-strips.cycles(machine) // tiling.k_tiles), node, graph, tiling, machine)

    def lower(self, node: Node, graph: Graph, tiling: Tiling, program: ProgramBuilder) -> None:
        strips = RowStrips(node, graph, tiling, program)
        self.chain(node, strips)
        strips.emit()


def last_axis_to_one(shape: Shape) -> Shape:
    """The shape of a reduction's result."""
    if not shape:
        raise ShapeError("a scalar has no axis to reduce")
    return (*shape[:-1], 1)


Column = Callable[[Sequence[npt.ArrayLike], npt.DTypeLike], npt.NDArray[Any]]
"""Makes a column of the table out of one value for each step."""


@dataclass
class RowStrips:
    """The chain of `node` under construction: `apply` appends an operation, `emit` writes the layer."""

    node: Node
    graph: Graph
    tiling: Tiling
    program: ProgramBuilder
    _steps: list[Step] = field(default_factory=list)

    @property
    def _rows(self) -> int:
        return view_2d(self.graph.tensors[self.node.present[0]].shape)[0]

    def source(self, name: str) -> Value:
        """An input of the node: whole rows, strip by strip; one that has a single row has it for all strips."""
        rows, cols = view_2d(self.graph.tensors[name].shape)
        return self._value(name, cols, rows == 1, final=0)

    def operand(self, name: str) -> Operand:
        """An input of the node, or its number if it is one."""
        number = number_of(self.graph.tensors[name])
        return self.source(name) if number is None else number

    def apply(self, op: isa.VectorOp, *sources: Operand, into: str = "", out: str = "") -> Value:
        """Append `op`. Its result is a scratch tensor with `into` in its name, or the graph's tensor `out`."""
        cols = 1 if op.is_reduction else max(source.cols for source in sources if isinstance(source, Value))
        dtype = self.graph.tensors[self.node.output].code
        name = out or self.program.scratch(self.node.name, into, self._rows, cols, dtype)
        result = self._value(name, cols, False, final=1)
        self._steps.append(Step(op, sources, result))
        return result

    def emit(self) -> None:
        """Emit for each operation of each strip: LOAD its sources, VECTOR, STORE its result."""
        if self.tiling.k_tiles > 1:
            emit_parts(self.node, self.tiling, self._rows, self._steps, self.program)
            return
        count, steps = self.tiling.m_tiles, len(self._steps)
        strip = self._turns()
        present = np.repeat(strip[:, None] < count, steps, axis=1)
        strip = np.minimum(strip, count - 1)

        def column(of_steps: Sequence[npt.ArrayLike], dtype: npt.DTypeLike = np.int64) -> npt.NDArray[Any]:
            """The numbers of all steps in the order of the stream; each step has one number, or one for each strip."""
            whole = np.array([np.broadcast_to(x, count) for x in of_steps], dtype=dtype)
            return np.asarray(whole[:, strip].swapaxes(0, 1)[present])

        first = np.arange(count) * self.tiling.m
        vectors = np.zeros(present.shape, dtype=np.int64)
        vectors[present] = self.program.vectors(
            int(present.sum()),
            op=column([step.op for step in self._steps]),
            dtype=self.graph.tensors[self.node.output].code,
            **self._source_columns(column),
            dst=column([step.result.tiles for step in self._steps]),
            rows=column([np.minimum(self.tiling.m, self._rows - first)] * steps),
            cols=column([step.result.cols for step in self._steps]),
        )
        slots = []
        for (step, j), turn in ((s, t) for s in zip(self._steps, range(steps), strict=True) for t in range(IN_FLIGHT)):
            here = present[:, j, turn]
            mine = strip[:, turn]
            slots += [Slot(isa.Opcode.LOAD, source.tiles[mine], here) for source in step.values]
            slots.append(Slot(isa.Opcode.VECTOR, vectors[:, j, turn], here))
            slots.append(Slot(isa.Opcode.STORE, step.result.tiles[mine], here))
        cores = self.tiling.core_of(strip[:, 0], 0 * strip[:, 0])
        self.program.layer(self.node.name, self.node.title, 0, slots, cores=cores)

    def _source_columns(
        self, column: Callable[[Sequence[npt.ArrayLike], npt.DTypeLike], npt.NDArray[Any]]
    ) -> dict[str, npt.ArrayLike]:
        """The tiles and the numbers of all steps."""
        found: dict[str, npt.ArrayLike] = {}
        for i, name in enumerate(isa.VECTOR_SOURCES):
            mine = [step.sources[i] if i < len(step.sources) else 0.0 for step in self._steps]
            found[name] = column([each.tiles if isinstance(each, Value) else isa.NONE for each in mine], np.int64)
            found[f"imm{i}"] = column([0.0 if isinstance(each, Value) else each for each in mine], np.float32)
        return found

    def _turns(self) -> Ids:
        """The strips that take turns, all of one core: shape (turns, IN_FLIGHT); the count of all stands for none."""
        count = self.tiling.m_tiles
        turns = []
        for m0, m1 in [(share.m0, share.m1) for share in self.tiling.shares] or [(0, count)]:
            mine = np.full(-(-(m1 - m0) // IN_FLIGHT) * IN_FLIGHT, count, dtype=np.int64)
            mine[: m1 - m0] = np.arange(m0, m1)
            turns.append(mine.reshape(-1, IN_FLIGHT))
        return np.concatenate(turns)

    def cycles(self, machine: Machine) -> int:
        """Busy cycles of the vector unit for one strip, and the start-ups that nothing hides."""
        rows, total = self.tiling.m, 0
        for step in self._steps:
            cols = step.values[0].cols if step.op.is_reduction else step.result.cols
            total += max(int(cost.vector_cycles(step.op, rows, cols, machine)), machine.vector.setup_cycles)
        return total

    def _value(self, name: str, cols: int, one_row: bool, final: int) -> Value:
        strips = np.arange(self.tiling.m_tiles)
        if self.tiling.k_tiles > 1:
            parts = np.arange(self.tiling.k_tiles if cols > 1 else 1)
            height, slab = (1, 0) if one_row else (self.tiling.m, self.tiling.slab)
            grid = self.program.grid(name, height, self.tiling.k, final, slab)
            return Value(grid.ids((0 * strips if one_row else strips)[:, None], parts), cols)
        grid = self.program.grid(name, 1 if one_row else self.tiling.m, cols, final)
        return Value(grid.ids(0 * strips if one_row else strips, 0), cols)
