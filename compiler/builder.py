"""Building a program: what an operator's `lower` writes to, tiles, rows of operands and uOps, as whole columns.

Operators name tensors and tiles; here these get their numbers, and the tensors their places in DRAM. Equal layers need
not be emitted again: a program of one layer is placed into another one (`ProgramBuilder.place`, `lowered.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from minisim.compiler.columns import Chunks, Run, renumber, rows_of_stacks, windows_of
from minisim.compiler.example_inputs import index_inputs
from minisim.compiler.graph import Graph, Node, view_2d
from minisim.compiler.grids import Grid, Rectangle, edges_of
from minisim.compiler.lookups import indices_of, with_rows
from minisim.compiler.paging import in_pages
from minisim.compiler.placement import Own, buffer_of, placed, tensor_table
from minisim.compiler.program import UOP_DTYPE, Ids, Program
from minisim.compiler.slabs import tiles_apart
from minisim.errors import printable
from minisim.hwmodel import isa
from minisim.hwmodel.config import Machine

AHEAD = 0.25
"""The part of the SRAM that a layer keeps free so that loads can run ahead of need, if it has no plan of its own."""

AT_A_TIME = 1 << 16
"""So many rounds of a layer's pattern are made into uOps at a time: as a whole they would be there twice."""

HORIZON = 64
"""How many of a core's uOps ahead a tile's next use is too near for it to be evicted for that."""


class Slot(NamedTuple):
    """One position in the pattern of uOps that a layer repeats: `refs` where `present`, `fetch` as in UOP_DTYPE."""

    opcode: isa.Opcode
    refs: Ids
    present: npt.NDArray[np.bool_] | bool = True
    fetch: Ids | int = 0


class _Layer(NamedTuple):
    name: str
    op: str
    macs: int
    uops: int
    loads: int
    ahead: Sequence[int]  # by core
    horizon: Sequence[int]


@dataclass
class ProgramBuilder:
    """What an operator's `lower` writes to. Everything is emitted as whole columns."""

    graph: Graph
    machine: Machine
    _tensor_ids: dict[str, int] = field(default_factory=dict)
    _grids: dict[tuple[Rectangle, bytes, bytes], Grid] = field(default_factory=dict)
    _tiles: Chunks = field(default_factory=lambda: Chunks(isa.TILE_DTYPE))
    _uops: Chunks = field(default_factory=lambda: Chunks(UOP_DTYPE))
    _matmuls: Chunks = field(default_factory=lambda: Chunks(isa.MATMUL_DTYPE))
    _vectors: Chunks = field(default_factory=lambda: Chunks(isa.VECTOR_DTYPE))
    _pieces: Chunks = field(default_factory=lambda: Chunks(isa.PIECE_DTYPE))
    _window_runs: dict[Run, int] = field(default_factory=dict)
    _window_count: int = 0
    _convolutions: Chunks = field(default_factory=lambda: Chunks(isa.CONVOLUTION_DTYPE))
    _layers: list[_Layer] = field(default_factory=list)
    _own: list[Own] = field(default_factory=list)
    _views: dict[tuple[str, int], str] = field(default_factory=dict)
    _stacks: dict[int, Grid] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._tensor_ids = {tensor.name: i for i, tensor in enumerate(placed(self.graph))}

    def grid(self, tensor: str, height: int, width: int, final: int = 0, slab: int = 0, across: int = 0) -> Grid:
        """The tiles of `tensor` for a tile of height x width elements (ragged at the ends).

        Asking twice gives the same tiles, so that a consumer finds what its producer left in SRAM. Those of a window
        are tiles of the tensor that it is a part of, the producer's own if they fit.

        Args:
            final: number of writes that complete a tile; passed by the producer.
            slab: so many rows are cut up at a time, and no tile reaches beyond them (`slabs.py`); 0: all at once.
            across: likewise of columns.
        """
        part = self._rectangle(tensor)
        height, width = min(height, slab or part.rows), min(width, across or part.cols)
        slab, across = tiles_apart(slab, part.rows, height), tiles_apart(across, part.cols, width)
        window = self.graph.tensors[tensor].window if tensor in self.graph.tensors else None
        if window is None:
            return self._grid(part, edges_of(part.rows, height, slab), edges_of(part.cols, width, across), final)
        whole = self._rectangle(window.tensor)
        is_of_state = self.graph.tensors[window.tensor].held is not None  # its rows are of several programs
        if slab or across or is_of_state or not part.is_cut_with(whole, height, width):
            return self._grid(part, edges_of(part.rows, height, slab), edges_of(part.cols, width, across), final)
        base, stride = self._grid(whole, edges_of(whole.rows, height), edges_of(whole.cols, width), final)
        return Grid(base + part.row // height * stride + part.col // width, stride)

    def stack(self, whole: Grid, rows: int, writes: int) -> Grid:
        """The tiles of so many `rows` each that those of a grid of `grid` are stacks of, each made by so many writes.

        Their `final` is `writes` times as many as a stack has tiles, if these are written one by one.
        """
        if whole.base in self._stacks:
            return self._stacks[whole.base]
        found = Grid(self._tiles.rows, whole.stride)
        self._tiles.add(rows_of_stacks(self._tiles.at(whole.base), *whole, rows, writes, found.base))
        self._stacks[whole.base] = found
        return found

    def cut(self, tensor: str, rows: Ids, cols: Ids, final: int = 0) -> Grid:
        """The tiles of `tensor` between these edges, from 0 to its size; as `grid` where they are evenly spaced.

        Of a window that is cut unevenly they are its own tiles: what its producer has left in SRAM is not found.
        """
        height, width = int(rows[1]), int(cols[1])
        if np.array_equal(rows, edges_of(int(rows[-1]), height)) and np.array_equal(
            cols, edges_of(int(cols[-1]), width)
        ):
            return self.grid(tensor, height, width, final)
        return self._grid(self._rectangle(tensor), rows, cols, final)

    def _rectangle(self, tensor: str) -> Rectangle:
        """Where `tensor` lies: in itself, or if it is a window, in another one."""
        if tensor not in self.graph.tensors:
            index = self._tensor_ids[tensor]
            own = self._own[index - len(self._tensor_ids)]  # they are the last
            return Rectangle(index, 0, 0, own.rows, own.used or own.cols)
        found = self.graph.tensors[tensor]
        if found.window is None:
            return Rectangle(self._tensor_ids[tensor], 0, 0, *view_2d(found.shape))
        root, row, col = found.window
        return Rectangle(self._tensor_ids[root], row, col, *view_2d(found.shape))

    def scratch(self, node: str, what: str, rows: int, cols: int, dtype: isa.DType) -> str:
        """A tensor between the operations of one node, for `grid`: named ``node/what``, or with a number if that is
        taken.

        Its tiles live in SRAM; its place in DRAM is for those that must make room.
        """
        return self._add_own(Own(node, f"/{what}", rows, cols, dtype))

    def accumulators(self, tensor: str, dtype: isa.DType) -> str:
        """A tensor for the partial sums of `tensor`, of the accumulator's `dtype`, to be cut up as it is.

        It is named ``tensor.acc``: where there is too little room for its tiles, partial sums go through DRAM as
        everything else does. How many steps add up to a sum is the `final` version of its tiles.
        """
        rows, cols = view_2d(self.graph.tensors[tensor].shape)
        return self.sums(tensor, ".acc", rows, cols, dtype)

    def sums(self, tensor: str, what: str, rows: int, cols: int, dtype: isa.DType) -> str:
        """The same for sums on the way to `tensor` that are no part of it: of so many rows and columns."""
        return self._add_own(Own(tensor, what, rows, cols, dtype, sums=True))

    def tiles_at(
        self, tensor: str, pitch: int, first: Ids, rows: npt.ArrayLike, cols: npt.ArrayLike, final: int = 0
    ) -> Ids:
        """Tiles of the packed buffer that `tensor` lies in, seen as rows of `pitch` elements; 0: as a single row.

        Args:
            first: the number of each tile's first element in the buffer.
            rows, cols: of each tile.
        """
        buffer = buffer_of(self.graph.tensors[tensor])
        of = self.graph.tensors[buffer]
        size = math.prod(of.shape)
        pitch = pitch if 0 < pitch < size else size
        if (buffer, pitch) not in self._views:
            view = Own(buffer, f".by{pitch}", size // pitch, pitch, of.code, view_of=buffer)
            self._views[buffer, pitch] = self._add_own(view)
        table = np.zeros(len(first), dtype=isa.TILE_DTYPE)
        table["tensor"], table["final"] = self._tensor_ids[self._views[buffer, pitch]], final
        table["row"], table["col"] = first // pitch, first % pitch
        table["rows"], table["cols"] = rows, cols
        return self._tiles.add(table)

    def gathered(
        self, table: str, indices: str, size: tuple[int, int], at: tuple[Ids, Ids], sizes: tuple[Ids, Ids]
    ) -> Ids:
        """Tiles of rows of `table` that the elements of `indices` say, both packed: "Gathers" in isa.py.

        Args:
            size: how many rows are gathered, and the elements of each.
            at, sizes: of each tile the first row and column; rows and columns.
        """
        of = self.graph.tensors[table]
        column = self._tensor_ids[self._views[buffer_of(self.graph.tensors[indices]), 1]]  # `tiles_at` has cut it up
        own = Own(table, ".gathered", *size, of.code, view_of=table, indices=column, choices=of.shape[0])
        found = np.zeros(len(at[0]), dtype=isa.TILE_DTYPE)
        found["tensor"] = self._tensor_ids[self._add_own(own)]
        (found["row"], found["col"]), (found["rows"], found["cols"]) = at, sizes
        return self._tiles.add(found)

    def beside(self, tensor: str, count: int) -> str:
        """The first of every `count` rows of `tensor`, for `grid`: a view in which so many lie beside each other."""
        of = self.graph.tensors[tensor]
        rows, cols = view_2d(of.shape)
        if (tensor, -count) not in self._views:
            view = Own(tensor, f".every{count}", rows // count, count * cols, of.code, view_of=tensor, used=cols)
            self._views[tensor, -count] = self._add_own(view)
        return self._views[tensor, -count]

    def _add_own(self, own: Own) -> str:
        names = (f"{own.of}{own.more}{i or ''}" for i in range(len(self._tensor_ids) + 1))
        free = next(name for name in names if name not in self._tensor_ids)
        self._tensor_ids[free] = len(self._tensor_ids)
        self._own.append(own)
        return free

    def _grid(self, part: Rectangle, row_edges: Ids, col_edges: Ids, final: int) -> Grid:
        key = (part, row_edges.tobytes(), col_edges.tobytes())
        if key in self._grids:
            return self._grids[key]
        rows, cols = len(row_edges) - 1, len(col_edges) - 1
        grid = Grid(self._tiles.rows, stride=cols)
        table = np.zeros(rows * cols, dtype=isa.TILE_DTYPE)
        row, col = np.repeat(np.arange(rows), cols), np.tile(np.arange(cols), rows)
        table["tensor"], table["final"] = part.tensor, final
        table["row"], table["col"] = part.row + row_edges[row], part.col + col_edges[col]
        table["rows"], table["cols"] = np.diff(row_edges)[row], np.diff(col_edges)[col]
        self._tiles.add(table)
        self._grids[key] = grid
        return grid

    def matmuls(self, count: int, **columns: npt.ArrayLike) -> Ids:
        """Append rows to the matmul table and return their indices."""
        return self._matmuls.fill(count, columns)

    def vectors(self, count: int, **columns: npt.ArrayLike) -> Ids:
        """Append rows to the vector table and return their indices."""
        return self._vectors.fill(count, columns)

    def windows(self, run: Run) -> int:
        """The first row of a run of windows, each a row of `isa.WINDOW_DTYPE` but for `more`; equal runs are one."""
        if run not in self._window_runs:
            self._window_runs[run] = self._window_count
            self._window_count += len(run)
        return self._window_runs[run]

    def convolution(
        self, x: str, filters: str | None, y: str, *geometry: int, taps: int = 0, along_channels: bool = False
    ) -> None:
        """Say what the pieces of a convolution, or a fold, mean: its tensors, then `isa.CONVOLUTION_DTYPE` from
        `images` on; `taps`: those that y is made of, if not all of them."""
        nothing = Rectangle(isa.NONE, 0, 0, 0, 0)
        parts = [nothing if name is None else self._rectangle(name) for name in (x, filters, y)]
        begins = [edge for part in parts for edge in (part.row, part.col)]
        row = (*(part.tensor for part in parts), *begins, *geometry, 0, along_channels)
        table = np.array([row], dtype=isa.CONVOLUTION_DTYPE)
        table["taps"] = taps or table["kernel_lines"] * table["kernel_columns"]
        self._convolutions.add(table)

    def pieces(self, tiles: Ids, windows: Ids, counts: Ids) -> Ids:
        """Append operands made of pieces, and return the first row of each.

        Args:
            tiles, windows: of all pieces, one operand's after the other's: the tile, and the first of its windows.
            counts: how many each operand has, at least one.
        """
        ends = np.cumsum(counts)
        table = np.zeros(len(tiles), dtype=isa.PIECE_DTYPE)
        table["tile"], table["sram"], table["window"], table["more"] = tiles, isa.NONE, windows, 1
        table["more"][ends - 1] = 0
        return np.asarray(self._pieces.add(table)[ends - counts])

    def layer(
        self,
        name: str,
        op: str,
        macs: int,
        slots: Sequence[Slot],
        ahead: Sequence[int] = (),
        horizon: Sequence[int] = (),
        cores: Ids | int = 0,
    ) -> None:
        """Append a layer: for i = 0, 1, ... the i-th uOp of each slot in turn.

        Args:
            ahead, horizon: see `Program`; by core, 0 for those that are left out. A layer that says nothing of them
                keeps `AHEAD` free, and what is used within `HORIZON`.
            cores: which core's each i is.
        """
        count = len(slots[0].refs)
        counts = [int(np.broadcast_to(slot.present, count).sum()) for slot in slots]
        loads = sum(n for slot, n in zip(slots, counts, strict=True) if slot.opcode == isa.Opcode.LOAD)
        uops = np.zeros(sum(counts), dtype=UOP_DTYPE)
        end = 0
        for first in range(0, count, AT_A_TIME):
            part = self._interleaved(slots, slice(first, min(first + AT_A_TIME, count)), cores)
            uops[end : end + len(part)] = part
            end += len(part)
        self._uops.add(uops)
        self._layers.append(_Layer(printable(name), op, macs, len(uops), loads, ahead, horizon))

    def _interleaved(self, slots: Sequence[Slot], at: slice, cores: Ids | int) -> isa.Table:
        """The uOps of a new layer for the i in the range `at`."""

        def part(column: npt.ArrayLike) -> npt.NDArray[Any]:
            whole = np.asarray(column)
            return whole[at] if whole.ndim else whole

        uops = np.zeros((at.stop - at.start, len(slots)), dtype=UOP_DTYPE)
        present = np.empty(uops.shape, dtype=bool)
        for j, slot in enumerate(slots):
            uops["opcode"][:, j], uops["ref"][:, j], present[:, j] = slot.opcode, part(slot.refs), part(slot.present)
            uops["fetch"][:, j] = part(slot.fetch)
        uops["layer"], uops["core"] = len(self._layers), np.reshape(part(cores), (-1, 1))
        kept: isa.Table = uops[present]
        return kept

    def nbytes(self) -> int:
        """Bytes of its tables."""
        tables = (self._tiles, self._uops, self._matmuls, self._vectors, self._pieces)
        return self._window_count * isa.WINDOW_DTYPE.itemsize + sum(table.nbytes for table in tables)

    def settle(self) -> None:
        """Join what was emitted bit by bit, hundreds of bits by attention, before it is placed into programs."""
        for table in (self._matmuls, self._vectors, self._pieces, self._convolutions):
            table.merge()
        self._tiles.merge(apart={grid.base for grid in self._grids.values()})

    def place(self, alone: ProgramBuilder, node: Node) -> None:
        """Append the layer of a program of one, as if `node`, which it is equal to but for names, were lowered here."""
        tensors = self._placed_tensors(alone, node)
        tiles = self._placed_tiles(alone, tensors, self._begins(node))
        pieces = self._placed_pieces(alone, tiles)
        rows = np.zeros(isa.Opcode.VECTOR + 1, dtype=np.int64)
        for opcode, chunks, mine, operands, of_pieces in (
            (isa.Opcode.EXECUTE, alone._matmuls, self._matmuls, isa.MATMUL_OPERANDS, "a_pieces"),
            (isa.Opcode.VECTOR, alone._vectors, self._vectors, isa.VECTOR_OPERANDS, "src0_pieces"),
        ):
            rows[opcode] = mine.rows
            for chunk in chunks:
                table = chunk.copy()
                for name in operands:
                    renumber(table[name], tiles)
                table[of_pieces][table[of_pieces] != isa.NONE] += np.uint32(pieces)
                mine.add(table)
        for chunk in alone._convolutions:
            table = chunk.copy()
            for name in ("x", "filters", "y"):
                renumber(table[name], tensors)
            self._convolutions.add(table)
        (uops,), (layer,) = alone._uops, alone._layers
        uops = uops.copy()
        uops["layer"] = len(self._layers)
        moves = uops["opcode"] <= isa.Opcode.STORE
        uops["ref"][moves] = tiles[uops["ref"][moves]]
        uops["ref"][~moves] += rows[uops["opcode"][~moves]].astype(np.uint32)
        self._uops.add(uops)
        self._layers.append(layer._replace(name=printable(node.name)))

    def _placed_tensors(self, alone: ProgramBuilder, node: Node) -> Ids:
        """By tensor of a program of one layer, which of this one it is; the layer's own ones are added."""
        (lowered,) = alone.graph.nodes
        names = dict(zip((*lowered.present, *lowered.outputs), (*node.present, *node.outputs), strict=True))
        found = [self._rectangle(names[name]).tensor for name in list(alone._tensor_ids)[: len(alone.graph.tensors)]]
        kinds = {name: kind for (_, kind), name in alone._views.items()}
        for name, own in zip(list(alone._tensor_ids)[len(found) :], alone._own, strict=True):
            of = names[own.of] if own.sums or own.view_of else node.name
            column = int(found[own.indices]) if own.indices else 0
            mine = own._replace(of=of, view_of=names.get(own.view_of, ""), indices=column)
            if name not in kinds:
                added = self._add_own(mine)
            elif (of, kinds[name]) in self._views:
                added = self._views[of, kinds[name]]
            else:
                added = self._views[of, kinds[name]] = self._add_own(mine)
            found.append(self._tensor_ids[added])
        return np.array(found, dtype=np.int64)

    def _begins(self, node: Node) -> list[tuple[int, int]]:
        """Where each tensor of a node lies in another one: its first row and column; (0, 0) if in none."""
        names = dict.fromkeys((*node.present, *node.outputs))
        return [(part.row, part.col) for part in map(self._rectangle, names)]

    def _placed_tiles(self, alone: ProgramBuilder, tensors: Ids, begins: Sequence[tuple[int, int]]) -> Ids:
        """By tile of a program of one layer, which of this one it is; those that are not there yet are added."""
        cuts = {grid.base: key for key, grid in alone._grids.items()}
        found: list[Ids] = []
        base = 0
        for chunk in alone._tiles:
            if base in cuts:
                part, row_edges, col_edges = cuts[base]
                row, col = begins[part.tensor] if part.tensor < len(begins) else (0, 0)
                moved = part._replace(tensor=int(tensors[part.tensor]), row=part.row + row, col=part.col + col)
                key = moved, row_edges, col_edges
                if key not in self._grids:
                    table = chunk.copy()
                    table["tensor"] = moved.tensor
                    table["row"] += np.uint32(row)
                    table["col"] += np.uint32(col)
                    self._grids[key] = Grid(self._tiles.rows, alone._grids[cuts[base]].stride)
                    self._tiles.add(table)
                first = self._grids[key].base
            else:
                table = chunk.copy()
                table["tensor"] = tensors[chunk["tensor"]]
                first = self._tiles.rows
                if np.any(chunk["stack"]):
                    stacks = np.arange(base, base + len(chunk)) - chunk["stack"]
                    numbers = np.arange(first, first + len(chunk))
                    table["stack"] = numbers - np.concatenate([*found, numbers])[stacks]
                self._tiles.add(table)
            found.append(np.arange(first, first + len(chunk)))
            base += len(chunk)
        return np.concatenate(found)

    def _placed_pieces(self, alone: ProgramBuilder, tiles: Ids) -> int:
        """Add the pieces of a program of one layer, and return the first one's row."""
        first = self._pieces.rows
        windows = np.zeros(alone._window_count, dtype=np.int64)
        for run, row in alone._window_runs.items():
            windows[row] = self.windows(run)
        for chunk in alone._pieces:
            table = chunk.copy()
            table["tile"], table["window"] = tiles[table["tile"]], windows[table["window"]]
            self._pieces.add(table)
        return first

    def finish(self) -> Program:
        names = tuple(self._tensor_ids)
        layers = np.zeros(len(self._layers), dtype=isa.LAYER_DTYPE)
        for i, layer in enumerate(self._layers):
            layers[i] = (layer.macs, layer.uops, layer.loads, 0, 0, i, 0)
        tensors = tensor_table(self.graph, self._own, self.machine)
        tiles = in_pages(self._tiles.joined(), tensors)
        if np.any(tensors["indices"]):
            tiles = with_rows(tiles, tensors, names, indices_of(self.graph, index_inputs(self.graph)))
        ahead, horizon = (self._by_core([getattr(x, of) for x in self._layers]) for of in ("ahead", "horizon"))
        if self.machine.compiler.order == "auto":  # loop nests stay as written
            says_nothing = ~ahead.any(axis=1, keepdims=True) & ~horizon.any(axis=1, keepdims=True)
            ahead = np.where(says_nothing, int(AHEAD * self.machine.sram.bytes), ahead)
            horizon = np.where(says_nothing, HORIZON, horizon)
        return Program(
            name=self.graph.name,
            uops=self._uops.joined(),
            matmuls=self._matmuls.joined(),
            vectors=self._vectors.joined(),
            pieces=self._pieces.joined(),
            windows=windows_of(self._window_runs),
            convolutions=self._convolutions.joined(),
            tiles=tiles,
            tensors=tensors,
            layers=layers,
            tensor_names=names,
            layer_names=tuple(layer.name for layer in self._layers),
            layer_ops=tuple(layer.op for layer in self._layers),
            resident_ok=self._resident_ok(tensors),
            sums=np.array([False] * (len(names) - len(self._own)) + [own.sums for own in self._own], dtype=np.bool_),
            ahead=ahead,
            horizon=horizon,
            cores=self.machine.cores.count,
        )

    def _by_core(self, rows: Sequence[Sequence[int]]) -> npt.NDArray[np.int64]:
        table = np.zeros((len(rows), self.machine.cores.count), dtype=np.int64)
        for i, row in enumerate(rows):
            table[i, : len(row)] = row
        return table

    def _resident_ok(self, tensors: isa.Table) -> npt.NDArray[np.bool_]:
        """Intermediates that all readers cut up as their producer did, and of which no view of all bytes exists."""
        grids = np.bincount([part.tensor for part, *_ in self._grids], minlength=len(tensors))
        views = np.bincount(tensors["storage"], minlength=len(tensors))[tensors["storage"]]
        ok = (tensors["role"] == isa.Role.INTERMEDIATE) & (grids == 1) & (views == 1)
        return np.asarray(ok)
