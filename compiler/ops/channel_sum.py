"""ChannelSum: for each channel the sum of its neighbours, as local response normalisation needs it.

A fold whose taps are shifted columns of whole rows: a window takes the columns that are there, and what lies beyond the
first or the last channel is padding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minisim.compiler.attributes import NeighbourAttributes
from minisim.compiler.builder import ProgramBuilder, Slot
from minisim.compiler.columns import Run
from minisim.compiler.graph import Graph, Node, Shape, view_2d
from minisim.compiler.ops.base import Operator, register
from minisim.compiler.ops.row_strips import tile_rows
from minisim.compiler.ops.vector_pace import vector_pace
from minisim.compiler.panels import Pace
from minisim.compiler.semantics import Array
from minisim.compiler.tiling import Read, Tiling
from minisim.errors import ShapeError
from minisim.hwmodel import cost, isa
from minisim.hwmodel.config import Machine
from minisim.hwmodel.isa import VectorOp


@register
class ChannelSum(Operator[NeighbourAttributes]):
    """One fold for each strip of whole rows."""

    name = "ChannelSum"
    attributes = NeighbourAttributes

    def infer(self, shapes: Sequence[Shape], attributes: NeighbourAttributes) -> tuple[Shape, ...]:
        if not shapes[0]:
            raise ShapeError("a scalar has no channels")
        return (shapes[0],)

    def evaluate(self, inputs: Sequence[Array], attributes: NeighbourAttributes) -> tuple[Array, ...]:
        x = inputs[0]
        padded = np.pad(x, (*((0, 0),) * (x.ndim - 1), (attributes.before, attributes.behind)))
        channels = x.shape[-1]
        windows = (padded[..., tap : tap + channels] for tap in range(_taps(attributes)))
        return (np.asarray(sum(windows)),)

    def tile(self, node: Node, graph: Graph, machine: Machine) -> Tiling:
        return tile_rows(node, graph, machine)

    def reads(self, node: Node, graph: Graph, tiling: Tiling) -> tuple[Read, ...]:
        return (Read(node.present[0], ("m", tiling.m), ("", tiling.n)),)

    def pace(self, node: Node, graph: Graph, tiling: Tiling, machine: Machine) -> Pace:
        taps = _taps(node.attributes_as(NeighbourAttributes))
        busy = taps * int(cost.vector_cycles(VectorOp.FOLD_SUM, tiling.m, tiling.n, machine))
        return vector_pace(busy, node, graph, tiling, machine)

    def lower(self, node: Node, graph: Graph, tiling: Tiling, program: ProgramBuilder) -> None:
        """Emit for each strip: LOAD, VECTOR, STORE."""
        attributes, (x,) = node.attributes_as(NeighbourAttributes), node.present
        rows, channels = view_2d(graph.tensors[x].shape)
        strip = np.arange(tiling.m_tiles, dtype=np.int64)
        height = np.minimum(tiling.m, rows - strip * tiling.m)
        sources, targets = (program.grid(t, tiling.m, channels, f).ids(strip, 0) for t, f in ((x, 0), (node.output, 1)))
        taps = _taps(attributes)
        sizes = (rows, 1, 1, 1, 1, 1, taps, 1, 1, 1, 1, 0, attributes.before)
        program.convolution(x, None, node.output, *sizes, 1, channels, 1, 1, 0, along_channels=True)
        runs = {h: program.windows(_windows(attributes, h, channels)) for h in np.unique(height).tolist()}
        windows = np.array([runs[h] for h in height.tolist()], dtype=np.int64)
        vectors = program.vectors(
            len(strip),
            op=VectorOp.FOLD_SUM,
            dtype=graph.tensors[x].code,
            src0=isa.NONE,
            src1=isa.NONE,
            src2=isa.NONE,
            acc=isa.NONE,
            src0_pieces=program.pieces(sources, windows, np.ones_like(strip)),
            dst=targets,
            rows=height,
            cols=channels,
            taps=taps,
        )
        slots = [Slot(isa.Opcode.LOAD, sources), Slot(isa.Opcode.VECTOR, vectors), Slot(isa.Opcode.STORE, targets)]
        program.layer(node.name, node.title, 0, slots, cores=tiling.core_of(strip, 0 * strip))


def _taps(attributes: NeighbourAttributes) -> int:
    return attributes.before + 1 + attributes.behind


def _windows(attributes: NeighbourAttributes, rows: int, channels: int) -> Run:
    """Of each tap that any channel has the columns, `shift` of them further on, that are there."""
    found = []
    for tap in range(_taps(attributes)):
        shift = tap - attributes.before
        if (width := channels - abs(shift)) > 0:
            at, begin = max(0, -shift), max(0, shift)
            found.append((1, rows, width, tap, at, 0, _taps(attributes), 0, begin, 0, 1))
    return tuple(found)
