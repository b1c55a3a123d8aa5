"""What operators share that move elements and compute nothing: LOAD, a copy in SRAM (turned, if need be), STORE."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np

from minisim.compiler.boxes import Boxes, Piece, boxes_of, edges_of, tiles_of
from minisim.compiler.builder import ProgramBuilder, Slot
from minisim.compiler.dtypes import CODE
from minisim.compiler.graph import Graph, Node, Shape, Tensor, view_2d
from minisim.compiler.lookups import LOOKUP
from minisim.compiler.memory import in_units
from minisim.compiler.ops.base import Operator
from minisim.compiler.ops.vector_pace import vector_pace
from minisim.compiler.panels import Pace
from minisim.compiler.semantics import SEMANTICS, A
from minisim.compiler.tiling import Read, Tiling
from minisim.hwmodel import cost, isa
from minisim.hwmodel.config import Machine


class Move(Operator[A]):
    """An operator whose output is made of its operands' elements: read from DRAM once, written there once.

    It says by `pieces` which elements go where. Both ends are packed buffers in DRAM (as those of a reshape are).
    """

    dtypes = frozenset(CODE)
    through_dram: ClassVar[bool] = True

    @abstractmethod
    def pieces(self, shapes: Sequence[Shape], attributes: A) -> list[Piece]:
        """What goes where; each element of the output is in one piece, and operands are packed."""

    def filled_with(self, attributes: A) -> float:
        """The number of pieces that have no operand."""
        return 0.0

    def tile(self, node: Node, graph: Graph, machine: Machine) -> Tiling:
        boxes = self._boxes(node, graph)
        m, n = machine.tile.m, machine.tile.n
        count = 0
        for each in boxes:
            height, width = _edges(node, graph, each, m, n)
            count += len(each.targets) * -(-each.rows // height) * -(-each.cols // width)
        return Tiling(m, 1, n, count, 1, 1, panels=None)

    def reads(self, node: Node, graph: Graph, tiling: Tiling) -> tuple[Read, ...]:
        return (Read(node.present[0], ("m", tiling.m), ("", tiling.n)),)  # of a mean tile; none is found in SRAM

    def pace(self, node: Node, graph: Graph, tiling: Tiling, machine: Machine) -> Pace:
        busy = int(cost.vector_cycles(isa.VectorOp.COPY, tiling.m, tiling.n, machine))
        return vector_pace(busy, node, graph, tiling, machine)

    def lower(self, node: Node, graph: Graph, tiling: Tiling, program: ProgramBuilder) -> None:
        """Emit for each tile: LOAD it as it lies, VECTOR, STORE it where it goes."""
        loads, targets, vectors = [], [], []
        for boxes in self._boxes(node, graph):
            tiles = tiles_of(boxes, *_edges(node, graph, boxes, tiling.m, tiling.n))
            pitch, begin = of_target(node, graph, boxes.target_pitch)
            target = program.tiles_at(node.output, pitch, begin + tiles.targets, tiles.rows, tiles.cols, final=1)
            source = np.full(len(target), isa.NONE, dtype=np.int64)
            if boxes.operand is not None:
                rows, cols = (tiles.cols, tiles.rows) if boxes.turned else (tiles.rows, tiles.cols)
                height = np.where(boxes.source_rows > 1, rows, 1)
                width = np.where(boxes.source_cols > 1, cols, 1)
                name = node.present[boxes.operand]
                source = program.tiles_at(name, boxes.source_pitch, tiles.sources, height, width)
            op = isa.VectorOp.TRANSPOSE if boxes.turned else isa.VectorOp.COPY
            fill = 0.0 if boxes.operand is not None else self.filled_with(node.attributes)  # type: ignore[arg-type]
            dtype = graph.tensors[node.output].code
            rows, cols = tiles.rows, tiles.cols
            found = program.vectors(
                len(target), op=op, dtype=dtype, src0=source, dst=target, rows=rows, cols=cols, imm0=fill
            )
            vectors.append(found)
            loads.append(source)
            targets.append(target)
        source, target, rows = (np.concatenate(each) for each in (loads, targets, vectors))
        slots = [
            Slot(isa.Opcode.LOAD, source, source != isa.NONE),
            Slot(isa.Opcode.VECTOR, rows),
            Slot(isa.Opcode.STORE, target),
        ]
        order = np.arange(len(target))
        program.layer(node.name, node.title, 0, slots, cores=tiling.core_of(order, 0 * order))

    def _boxes(self, node: Node, graph: Graph) -> list[Boxes]:
        operands = [graph.tensors[name] for name in node.present]
        size = math.prod(graph.tensors[node.output].shape)
        found = []
        for piece in self.pieces([x.shape for x in operands], node.attributes):  # type: ignore[arg-type]
            if piece.operand is None:
                found.append(boxes_of(piece, size, size))
                continue
            x = operands[piece.operand]
            found.append(boxes_of(_in_buffer(piece, x, graph), _buffer_size(x, graph), size))
        return found


def _edges(node: Node, graph: Graph, boxes: Boxes, m: int, n: int) -> tuple[int, int]:
    """As `edges_of`; of what lies in a state (`passes/place.py`) each row is a tile, or some: a run of the state's
    elements, whatever the rows of the view that the boxes are of."""
    height, width = edges_of(boxes, m, n)
    return (height, width) if graph.tensors[node.output].window is None else (1, width)


def of_target(node: Node, graph: Graph, pitch: int) -> tuple[int, int]:
    """Elements from row to row of the output, `pitch` by itself, and the number of its first one in the buffer that it
    lies in. A state is a buffer of a single row."""
    window = graph.tensors[node.output].window
    if window is None:
        return pitch, 0
    return 0, window.row * view_2d(graph.tensors[window.tensor].shape)[1]


def _buffer_size(x: Tensor, graph: Graph) -> int:
    whole = x if x.window is None else graph.tensors[x.window.tensor]
    return math.prod(whole.shape)


def _in_buffer(piece: Piece, x: Tensor, graph: Graph) -> Piece:
    """The piece, of the buffer that `x` lies in: a window's rows are as far apart as those of the whole."""
    if x.window is None:
        return piece
    cols, width = view_2d(x.shape)[1], view_2d(graph.tensors[x.window.tensor].shape)[1]

    def apart(step: int) -> int:
        return step // cols * width if step % cols == 0 else step

    row, col = divmod(piece.source, cols)
    first = (x.window.row + row) * width + x.window.col + col
    return piece._replace(source=first, axes=tuple(a._replace(source=apart(a.source)) for a in piece.axes))


def strides(shape: Shape) -> tuple[int, ...]:
    """The elements from one to the next along each axis of a packed tensor."""
    return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))


def movements(graph: Graph) -> Iterator[str]:
    """For people: which of the graph's nodes move nothing, because they are views, and which move how much."""
    views = [f"{node.name} ({node.title})" for node in graph.nodes if SEMANTICS[node.op].is_view]
    moved = [
        f"{node.name} ({node.title}, {in_units(_bytes_moved(node, graph))})"
        for node in graph.nodes
        if isinstance(SEMANTICS[node.op], Move) or node.op == LOOKUP
    ]
    for what, names in (("views, which move nothing", views), ("moved, read and written", moved)):
        if names:
            more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
            yield f"{what}: {', '.join(names[:MOST_NAMES])}{more}"


MOST_NAMES = 8
"""Nodes that are named in a line."""


def _bytes_moved(node: Node, graph: Graph) -> int:
    y = graph.tensors[node.output]
    return math.prod(y.shape) * isa.ITEMSIZE[y.code]
