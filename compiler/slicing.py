"""Slices: layers that follow each other are walked together, strip by strip, so that what passes between them stays on
chip.

Layer by layer, a tensor that is larger than the SRAM goes to DRAM and comes back. But a row of tiles of the next layer
needs a few rows of tiles of this one: once those are there it can be computed, and they can go. So the operations of a
*slice*, a run of layers, are put in the order in which their operands are finished: each as soon as it can be, those
of later layers first. A convolution then follows the one before it by the lines of its kernel. Nothing else changes:
the operations are the same, and so are their sums.

Each layer of a slice is walked in rows of tiles, all its weights stay in SRAM for all of them. So a slice is as long
as there is room for the weights of its layers and for what is alive between them, which is counted here, tile by tile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from minisim._engine import place_sizes
from minisim.compiler.program import Ids, Program
from minisim.hwmodel import isa
from minisim.hwmodel.isa import Opcode

NOBODY = -1
"""Instead of an operation: none that has to come before."""

LAG = 4
"""Operations of the first layer between a result and who reads it: the array's pipeline has room for as many."""

Progress = npt.NDArray[np.float64]
"""By operation: how many operations of the first layer of a slice, on the same core, come before it."""

Layers = range
"""Layers of a program that are walked together."""


@dataclass(frozen=True)
class Operations:
    """The operations of a program, in its order: an EXECUTE or VECTOR with the LOADs before it and the STOREs behind.

    Attributes:
        of_uop: the operation that each uOp belongs to.
        layer, core: of each operation.
        first: the first operation of each layer; behind them, how many there are.
        reads: operation and tile of each LOAD; `after`: the operation that it has to come after, or NOBODY; `behind`:
            if it reads another cut of what is computed, the storage all of which it has to come after, or NOBODY.
        writes: likewise of each operation the tile that it writes; `stored`: the storage that that lies in.
        sizes: the bytes that each tile takes in SRAM.
    """

    of_uop: Ids
    layer: Ids
    core: Ids
    first: Ids
    reads: tuple[Ids, Ids]
    after: Ids
    behind: Ids
    writes: tuple[Ids, Ids]
    stored: Ids
    sizes: Ids

    @classmethod
    def of(cls, program: Program) -> Operations:
        opcode, ref = program.uops["opcode"], program.uops["ref"].astype(np.int64)
        computes = opcode >= Opcode.EXECUTE
        of_uop = np.cumsum(computes) - (opcode != Opcode.LOAD)
        layer, core = (program.uops[name][computes].astype(np.int64) for name in ("layer", "core"))
        loads = opcode == Opcode.LOAD
        reads = of_uop[loads], ref[loads]
        target = np.where(isa.touches(program.matmuls, "c"), program.matmuls["c"], program.matmuls["acc"])
        written = np.where(opcode[computes] == Opcode.EXECUTE, _at(target, ref[computes]),
                           _at(program.vectors["dst"], ref[computes]))  # fmt: skip
        writes = np.arange(len(layer), dtype=np.int64), written.astype(np.int64)
        storage = program.tensors["storage"][program.tiles["tensor"]].astype(np.int64)
        last = np.full(len(program.tiles), NOBODY, dtype=np.int64)
        np.maximum.at(last, writes[1], writes[0])
        after, stored = last[reads[1]], storage[writes[1]]
        another_cut = (after < 0) & np.isin(storage[reads[1]], stored)
        return cls(
            of_uop=of_uop,
            layer=layer,
            core=core,
            first=np.searchsorted(layer, np.arange(len(program.layers) + 1)),
            reads=reads,
            after=after,
            behind=np.where(another_cut, storage[reads[1]], NOBODY),
            writes=writes,
            stored=stored,
            sizes=place_sizes(program),
        )

    def order(self, layers: Layers) -> Ids:
        """The operations of `layers` as a slice walks them: by how far the first layer must have come for each."""
        *_, come = self._progresses(layers)
        return self._by(come, layers)

    def orders(self, layers: Layers) -> Iterator[Ids]:
        """`order` of the first of `layers`, of the first two of them, and so on."""
        return (self._by(come, layers) for come in self._progresses(layers))

    def _by(self, come: Progress, layers: Layers) -> Ids:
        begin, _ = self._bounds(layers)
        return begin + np.lexsort((self.layer[begin : begin + len(come)], come))

    def _progresses(self, layers: Layers) -> Iterator[Progress]:
        """The progress of the operations of the first of `layers`, of those of the first two, and so on."""
        begin, end = self._bounds(layers)
        come = np.zeros(end - begin)
        for layer in layers:
            mine = slice(self.first[layer] - begin, self.first[layer + 1] - begin)
            come[mine] = self._progress(layer, layers, come, begin)
            yield come[: mine.stop]

    def all_of(self, layers: Layers) -> Ids:
        """The operations of `layers`, one layer after the other."""
        return np.arange(*self._bounds(layers), dtype=np.int64)

    def _progress(self, layer: int, layers: Layers, come: Progress, begin: int) -> Progress:
        """For each operation of `layer` how far the first of `layers` must have come; later ones are never less far."""
        first, last = int(self.first[layer]), int(self.first[layer + 1])
        core = self.core[first:last]
        needed = np.full(last - first, float(NOBODY))
        if layer > layers[0]:
            mine = slice(*np.searchsorted(self.reads[0], (first, last)))
            at, after, behind = (each[mine] for each in (self.reads[0] - first, self.after, self.behind))
            inside = (after >= begin) & (after < first)
            np.maximum.at(needed, at[inside], LAG + come[after[inside] - begin])
            for storage in np.unique(behind[behind >= 0]):  # several cores write it, and not in the order of the layer
                writers = come[: first - begin][self.stored[begin:first] == storage]
                np.maximum.at(needed, at[behind == storage], LAG + writers.max(initial=NOBODY - LAG))
        bound = (needed >= 0).any()  # else it needs nothing of the others, and keeps step with them
        most = come.max(initial=0.0)
        for each in np.unique(core):
            own = np.flatnonzero(core == each)
            steps = np.arange(len(own), dtype=np.float64)
            if layer == layers[0]:
                needed[own] = steps
            else:
                needed[own] = np.maximum.accumulate(needed[own]) if bound else steps * (most / len(own))
        return np.asarray(np.maximum(needed, 0.0))

    def peak(self, order: Ids, tiles: npt.NDArray[np.bool_] | None = None) -> int:
        """The most bytes of a core's SRAM that are alive at once if operations are walked in this order and each tile
        is there from its first use to its last: of all tiles that they use, or of those that `tiles` says."""
        begin, end = int(order.min()), int(order.max()) + 1
        place = np.empty(end - begin, dtype=np.int64)
        place[order - begin] = np.arange(len(order))
        touched = self._within(self.reads, begin, end), self._within(self.writes, begin, end)
        ops, used = (np.concatenate(pair) for pair in zip(*touched, strict=True))
        if tiles is not None:
            ops, used = ops[tiles[used]], used[tiles[used]]
        if not len(ops):
            return 0
        first, span = int(used.min()), int(np.ptp(used)) + 1
        copy = self.core[ops] * span + used - first  # each core has its own of a tile
        since, until = (np.full(int(copy.max()) + 1, nowhere) for nowhere in (len(order), NOBODY))
        np.minimum.at(since, copy, place[ops - begin])
        np.maximum.at(until, copy, place[ops - begin])
        (there,) = np.nonzero(until != NOBODY)
        row, sizes = there // span * (len(order) + 1), self.sizes[first + there % span]
        rows = int(row[-1]) + len(order) + 1
        alive = np.bincount(row + since[there], sizes, rows) - np.bincount(row + until[there] + 1, sizes, rows)
        return int(np.cumsum(alive.reshape(-1, len(order) + 1), axis=1).max())

    def between(self, layers: Layers) -> npt.NDArray[np.bool_]:
        """Whether each tile is written by one of `layers` and read by a later one of them."""
        begin, end = self._bounds(layers)
        made = np.full(len(self.sizes), NOBODY, dtype=np.int64)
        ops, tiles = self._within(self.writes, begin, end)
        made[tiles] = self.layer[ops]
        ops, tiles = self._within(self.reads, begin, end)
        found = np.zeros(len(self.sizes), dtype=bool)
        found[tiles[(made[tiles] >= 0) & (made[tiles] < self.layer[ops])]] = True
        return found

    def _bounds(self, layers: Layers) -> tuple[int, int]:
        return int(self.first[layers.start]), int(self.first[layers.stop])

    @staticmethod
    def _within(pairs: tuple[Ids, Ids], begin: int, end: int) -> tuple[Ids, Ids]:
        ops, tiles = pairs
        mine = slice(*np.searchsorted(ops, (begin, end)))
        return ops[mine], tiles[mine]


def _at(table: npt.NDArray[np.uint32], rows: Ids) -> npt.NDArray[np.uint32]:
    """Rows of a column, or anything where it has no such row: it is the other table's, then."""
    return table[np.minimum(rows, len(table) - 1)] if len(table) else np.zeros(len(rows), np.uint32)


def interleaved(program: Program, slices: Sequence[Layers]) -> Program:
    """`program` with the operations of each slice in the slice's order."""
    operations = Operations.of(program)
    order = np.arange(len(operations.layer), dtype=np.int64)
    layers = program.layers.copy()
    for each in slices:
        begin, end = operations.first[each.start], operations.first[each.stop]
        order[begin:end] = operations.order(each)
        layers["slice"][each.start : each.stop] = each.start
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return replace(_with_uops(program, np.argsort(rank[operations.of_uop], kind="stable")), layers=layers)


def part(program: Program, layers: Layers) -> Program:
    """`layers` alone, as if what they read of others lay in DRAM."""
    layer = program.uops["layer"]
    return _with_uops(program, np.flatnonzero((layer >= layers.start) & (layer < layers.stop)))


def _with_uops(program: Program, which: Ids) -> Program:
    """`program` with these of its uOps, in this order; the tables of operands have their rows in the same order."""
    uops, tables = program.uops[which], {}
    read: list[tuple[Ids, Ids]] = []  # uOp and row of each piece
    for name, code in PIECES:
        mine = np.flatnonzero(uops["opcode"] == code)
        table = tables[name] = getattr(program, name)[uops["ref"][mine]]
        uops["ref"][mine] = np.arange(len(mine))
        owner, rows = isa.pieces_of(program.pieces, table)
        read.append((mine[owner], rows))
    at, rows = (np.concatenate(columns) for columns in zip(*read, strict=True))
    order = np.argsort(at, kind="stable")
    for ((name, code), column), (owners, _) in zip(PIECES.items(), read, strict=True):
        table, mine = tables[name], np.flatnonzero(uops["opcode"] == code)
        known = np.unique(owners)
        table[column][np.searchsorted(mine, known)] = np.searchsorted(at[order], known)
    return replace(program, uops=uops, pieces=program.pieces[rows[order]], **tables)


PIECES = {("matmuls", Opcode.EXECUTE): "a_pieces", ("vectors", Opcode.VECTOR): "src0_pieces"}
"""The tables of operands, whose rows are operations of this kind, and their column of pieces."""
