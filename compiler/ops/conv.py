"""Conv: images (n, height, width, channels), or signals (n, width, channels), and filters -> images of the filters.

Nobody lays the windows of the kernel out in memory. The input is cut into tiles as every tensor is, and the array's
address generator gathers its operand out of those that lie in SRAM (`compiler/gathering.py`): a halo is a part of the
neighbouring tile, which is not loaded again while it is there, and padding is not read at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from minisim.compiler import panels
from minisim.compiler.attributes import ConvAttributes
from minisim.compiler.builder import ProgramBuilder, Slot
from minisim.compiler.gathering import Cutting, Gathering
from minisim.compiler.geometry import order_of_k, step_sizes
from minisim.compiler.graph import Graph, Node, Shape, view_2d
from minisim.compiler.grids import edges_of
from minisim.compiler.layer_tile import Edges, matmul_edges
from minisim.compiler.ops.base import register
from minisim.compiler.ops.conv_cuts import Convolution, cuts, pace, squares, swept
from minisim.compiler.ops.epilogue import Multiplication, by_place, finished, multiplied
from minisim.compiler.semantics import Array
from minisim.compiler.tiling import PARTS, Read, Share, Tiling, chooses
from minisim.errors import ShapeError
from minisim.hwmodel import isa
from minisim.hwmodel.config import Machine


@register
class Conv(Multiplication[ConvAttributes]):
    """Inputs x, filters (k, filters) with k in the order of `geometry.py`, and the operands of the epilogue.

    The bias has a value for each filter, the residual the shape of the output. Groups of channels are operations of
    their own: tiles of the output do not reach from one group into the next.
    """

    name = "Conv"
    what = "convolution"
    attributes = ConvAttributes

    def infer(self, shapes: Sequence[Shape | None], attributes: ConvAttributes) -> tuple[Shape, ...]:
        x, w, bias, _ = by_place(shapes)
        if len(x) not in (3, 4) or len(w) != 2:
            raise ShapeError("a convolution is of (images, height, width, channels), or (images, width, channels)")
        if len(x) == 3 and (attributes.kernel[0], *attributes.pads[::2]) != (1, 0, 0):
            raise ShapeError(f"a kernel over signals {x} must have one line, and no padding above or below it")
        geometry, channels, filters = attributes.geometry(x), x[-1], w[1]
        groups = attributes.groups
        if channels % groups or filters % groups:
            raise ShapeError(f"{groups} groups must divide the {channels} channels and the {filters} filters evenly")
        if w[0] != geometry.taps * (channels // groups):
            per_filter = w[0] // geometry.taps
            raise ShapeError(f"the filters must have {channels // groups} channels, not {per_filter}")
        if why := geometry.misfit():
            raise ShapeError(why)
        if bias is not None and view_2d(bias) != (1, filters):
            raise ShapeError(f"the bias must have {filters} values, not shape {bias}")
        size = geometry.output if len(x) == 4 else geometry.output[1:]
        return ((x[0], *size, filters),)

    def title(self, inputs: Sequence[str | None], attributes: ConvAttributes) -> str:
        found = super().title(inputs, attributes)
        return found.replace(self.name, "ConvTranspose") if attributes.transposed else found

    def macs(self, shapes: Sequence[Shape | None], attributes: ConvAttributes) -> int:
        """Those of every tap, also where it lies in the padding."""
        x, w, _, _ = by_place(shapes)
        return attributes.geometry(x).pixels_out * w[0] * w[1]

    def evaluate(self, inputs: Sequence[Array | None], attributes: ConvAttributes) -> tuple[Array, ...]:
        x, w, bias, residual = by_place(inputs)
        geometry, groups = attributes.geometry(x.shape), attributes.groups
        channels, filters = x.shape[-1] // groups, w.shape[1] // groups
        taps = np.empty_like(w)
        taps[order_of_k(channels, geometry.taps)] = w
        pixels = np.concatenate([x.reshape(-1, x.shape[-1]), np.zeros((1, x.shape[-1]), x.dtype)])  # the last: OUTSIDE
        sums = np.zeros((geometry.pixels_out, w.shape[1]), x.dtype)
        for tap in range(geometry.taps):
            there = geometry.meets(tap) if geometry.transposed else slice(None)
            read = pixels[geometry.source(tap)[there]]
            if channels == filters == 1:
                sums[there] += read * taps[tap]
                continue
            for g in range(groups):
                mine, of = slice(g * filters, (g + 1) * filters), slice(g * channels, (g + 1) * channels)
                sums[there, mine] += multiplied(read[:, of], taps[tap * channels : (tap + 1) * channels, mine])
        shape = self.infer([x.shape, w.shape], attributes)[0]
        return (finished(sums.reshape(shape), bias, residual, attributes),)

    def fewest(self, node: Node, graph: Graph, machine: Machine) -> int:
        """No tile is twice as high as the machine's, or wider; but for SCALE-Sim's, which are of whole layers."""
        if machine.matrix.model == "scalesim":
            return 1
        of = Convolution.of(node, graph, machine)
        return -(-of.geometry.pixels_out // (2 * machine.tile.m)) * of.groups * -(-of.filters // machine.tile.n)

    def cut(self, node: Node, graph: Graph, machine: Machine) -> Tiling:
        return replace(self.candidates(node, graph, machine)[0], panels=None)

    def tile(self, node: Node, graph: Graph, machine: Machine) -> Tiling:
        found = self.candidates(node, graph, machine)[0]
        return replace(found, panels=None) if machine.cores.count > 1 else found

    def candidates(self, node: Node, graph: Graph, machine: Machine) -> tuple[Tiling, ...]:
        of = Convolution.of(node, graph, machine)
        of.types.check(node, machine)
        found = cuts(of, machine) if chooses(machine) else ()
        return found or (self._as_written(of, machine),)

    @staticmethod
    def _as_written(of: Convolution, machine: Machine) -> Tiling:
        """The tiles that the machine file writes, where nothing is chosen, or where nothing is known to fit."""
        whole_layer = machine.matrix.model == "scalesim"  # its tiles are of whole layers (layer_tile.py)
        sizes = step_sizes(of.channels, of.geometry.taps, of.channels if whole_layer else machine.tile.k)
        source = of.source(machine)

        def needed(edges: Edges, size: int) -> int:
            return of.bytes_needed(edges["m"], size, edges["n"], source, machine)

        def step_within(k: int) -> int:
            return next((size for size in sizes if size <= k), sizes[-1])

        layer = {"m": of.geometry.pixels_out, "k": of.k, "n": of.filters}
        edges = matmul_edges(layer, machine, lambda edges: needed(edges, step_within(edges["k"])))
        if whole_layer:
            k = step_within(edges["k"])
        else:
            k = largest_that_fits(sizes, lambda size: needed(edges, size), machine.sram.bytes)
        tiling = of.tiling(edges["m"], k, edges["n"], source, machine)
        if machine.compiler.order != "auto":
            return tiling
        return replace(
            tiling, panels=squares(of, tiling, tiling.m_tiles, tiling.n_tiles, pace(of, tiling, machine), machine)
        )

    def plan(
        self, node: Node, graph: Graph, tiling: Tiling, share: Share, machine: Machine, sharing: int = 1
    ) -> panels.PanelPlan | None:
        if machine.compiler.order != "auto":
            return None
        of = Convolution.of(node, graph, machine)
        slower = pace(of, tiling, machine).among(sharing)
        found = swept(of, tiling, (share.m0, share.m1, share.n0, share.n1), slower, machine) if chooses(machine) else ()
        return found[0].plan if found else squares(of, tiling, *share.shape, slower, machine)

    def pace(self, node: Node, graph: Graph, tiling: Tiling, machine: Machine) -> panels.Pace:
        return pace(Convolution.of(node, graph, machine), tiling, machine)

    def reads(self, node: Node, graph: Graph, tiling: Tiling) -> tuple[Read, ...]:
        """Of x as many rows for each tile of the output as there are for all of them: halos are not counted."""
        x = graph.tensors[node.present[0]].shape
        geometry = node.attributes_as(ConvAttributes).geometry(x)
        pixels, channels = -(-geometry.pixels_in // tiling.m_tiles), -(-x[-1] // tiling.k_tiles)
        m, n = ("m", tiling.m), ("n", tiling.n)
        axes = ((("m", pixels), ("k", channels)), (("k", tiling.k), n), (("", 1), n), (m, n))
        return tuple(
            Read(name, rows, cols) for name, (rows, cols) in zip(node.inputs, axes, strict=False) if name is not None
        )

    def lower(self, node: Node, graph: Graph, tiling: Tiling, program: ProgramBuilder) -> None:
        """Emit for each step: LOAD the tiles that a is gathered from, LOAD b, at the last step the epilogue's operands,
        EXECUTE, STORE."""
        of, attributes = Convolution.of(node, graph, program.machine), node.attributes_as(ConvAttributes)
        types = of.types
        x, filters, of_bias, of_residual = by_place(node.inputs)
        if of.beside > 1:
            x = program.beside(x, of.beside)
        depth = of.steps(tiling.k)
        m_edges = edges_of(of.geometry.pixels_out, tiling.m)
        k_edges = np.array([*(step.first for step in depth), of.k], dtype=np.int64)
        inside = edges_of(of.filters, tiling.n)[:-1]
        n_edges = np.append((np.arange(of.groups)[:, None] * of.filters + inside).reshape(-1), of.groups * of.filters)

        m, n, k = tiling.walk()
        group, last = n // len(inside), k == tiling.k_tiles - 1
        cutting = Cutting(tiling.m, *tiling.source)
        gathering = Gathering.of(of.geometry, cutting, of.channels, of.groups, depth, program, x)
        program.convolution(x, filters, node.output, *of.meaning)
        which = (group * tiling.m_tiles + m) * tiling.k_tiles + k
        b_ids = program.cut(filters, k_edges, n_edges).ids(k, n)
        bias_ids = program.cut(of_bias, np.array([0, 1]), n_edges).ids(0, n) if of_bias else None
        residual_ids = program.cut(of_residual, m_edges, n_edges).ids(m, n) if of_residual else None
        final = 1 if tiling.sums_apart else tiling.k_tiles
        c_ids = program.cut(node.output, m_edges, n_edges, final).ids(m, n)
        acc_ids = None
        if tiling.sums_apart:
            sums = program.accumulators(node.output, types.sums)
            acc_ids = program.cut(sums, m_edges, n_edges, tiling.k_tiles).ids(m, n)
        rows = program.matmuls(
            len(m),
            a=isa.NONE,
            b=b_ids,
            c=c_ids,
            bias=isa.NONE if bias_ids is None else np.where(last, bias_ids, isa.NONE),
            residual=isa.NONE if residual_ids is None else np.where(last, residual_ids, isa.NONE),
            acc=isa.NONE if acc_ids is None else acc_ids,
            a_pieces=gathering.emit(which, program),
            m=np.diff(m_edges)[m],
            k=np.diff(k_edges)[k],
            n=np.diff(n_edges)[n],
            taps=np.array([step.taps for step in depth])[k],
            step=k,
            last=last,
            activation=np.where(last, attributes.activation.code if attributes.activation else isa.Activation.NONE, 0),
            dtype=types.operands,
            scale=np.where(last, np.float32(attributes.scale or 0), np.float32(0)),
        )
        step, row = tiling.fetches(m, n, k)
        slots = [Slot(isa.Opcode.LOAD, ids, there, fetch=step) for ids, there in gathering.loads(which)]
        slots.append(Slot(isa.Opcode.LOAD, b_ids, fetch=step))
        slots += [Slot(isa.Opcode.LOAD, ids, last, fetch=row) for ids in (bias_ids, residual_ids) if ids is not None]
        slots += [Slot(isa.Opcode.EXECUTE, rows), Slot(isa.Opcode.STORE, c_ids, last)]
        macs = self.kept_macs(node, graph, attributes)
        ahead, horizon = tiling.ahead_and_horizon()
        program.layer(node.name, node.title, macs, slots, ahead, horizon, cores=tiling.core_of(m, n))


def largest_that_fits(sizes: Sequence[int], needed: Callable[[int], int], room: int) -> int:
    """The step of k to take, of `sizes` in descending order: the first that needs no more than the first of the parts
    (`PARTS`) of the room that any is content with; if none is, the one that needs least."""
    known: dict[int, int] = {}
    for part in PARTS:
        for size in sizes:
            if size not in known:
                known[size] = needed(size)
            if known[size] <= part * room:
                return size
    return min(known, key=lambda size: known[size])
