"""How a convolution may be cut into tiles: the steps of k, the edges of its tiles, and the order of its panels.

Which tiles and which order are best depends on one another and on the machine. So all that make sense are listed with
an estimate of their cycles (`cuts`); who compiles takes the first, or tries the first few (`passes/choose.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from math import inf

import numpy as np

from minisim.compiler.attributes import ConvAttributes
from minisim.compiler.blocks import BlockPlan
from minisim.compiler.gathering import Cutting, Taps, bytes_gathered, taps_by_column
from minisim.compiler.geometry import CHANNELS, Geometry, Index, Step, step_sizes, steps
from minisim.compiler.graph import Graph, Node
from minisim.compiler.ops.epilogue import MatMulTypes
from minisim.compiler.panels import Budget, Pace, PanelPlan, choose
from minisim.compiler.step_cycles import step_cycles
from minisim.compiler.sweeps import Candidate, Source, Work, sweeps
from minisim.compiler.tiling import Tiling, tile_height
from minisim.hwmodel import cost, isa
from minisim.hwmodel.config import Machine

MOST = 8
"""Tilings that are worth being tried."""

HOPELESS = 2.0
"""Tiles on which the array alone takes so many times as long as others take in all are not looked at."""

LEAST_EDGE = 8
"""Rows, or columns, that no tile is made lower or narrower than to find room."""


@dataclass(frozen=True)
class Convolution:
    """A node's numbers, all that its tiles depend on: equal ones are decided once.

    Attributes:
        geometry: of the images as they are read, `beside` pixels of which are one row of a view (`Geometry.beside`).
        all_channels: of the images; of each of the `groups` there are `channels` of them, and so many `filters`.
        inputs: what its epilogue has, as `Node.inputs`, whatever the names.
        free: whether no other operation leaves its input in SRAM in tiles of its own.
    """

    geometry: Geometry
    groups: int
    all_channels: int
    filters: int
    types: MatMulTypes
    inputs: tuple[str | None, ...]
    free: bool
    beside: int = 1

    @classmethod
    def of(cls, node: Node, graph: Graph, machine: Machine) -> Convolution:
        attributes = node.attributes_as(ConvAttributes)
        x, w = (graph.tensors[name].shape for name in node.present[:2])
        types = MatMulTypes.of(node, graph)
        inputs = tuple(None if name is None else str(place) for place, name in enumerate(node.inputs))
        of = cls(attributes.geometry(x), attributes.groups, x[-1], w[1] // attributes.groups, types, inputs, False)
        if node.present[0] not in graph.inputs and machine.compiler.keep_on_chip:
            return of
        if graph.tensors[node.present[0]].window is not None:  # its rows do not lie behind each other
            return replace(of, free=True)
        return replace(of, free=True, geometry=of.geometry.of_first(), beside=of.geometry.beside())

    @property
    def channels(self) -> int:
        return self.all_channels // self.groups

    @property
    def k(self) -> int:
        """The length of a sum."""
        return self.channels * self.geometry.taps

    @property
    def meaning(self) -> tuple[int, ...]:
        """As `isa.CONVOLUTION_DTYPE` has it, from `images` on."""
        transposed = int(self.geometry.transposed)
        return (*self.geometry.meaning, self.channels, self.groups, self.filters, CHANNELS, transposed)

    def steps(self, size: int) -> tuple[Step, ...]:
        return steps(self.channels, self.geometry.taps, size)

    def source(self, machine: Machine) -> tuple[int, int]:
        """The tiles of the input as all operators cut (`tile_height`): what its producer left in SRAM is found."""
        return tile_height(self.geometry.pixels_in, machine), min(machine.tile.k, self.all_channels)

    def tiling(self, m: int, k: int, n: int, source: tuple[int, int], machine: Machine) -> Tiling:
        """With tiles of these edges, without an order."""
        depth = len(self.steps(k))
        grid = (-(-self.geometry.pixels_out // m), depth, self.groups * -(-self.filters // n))
        blocks = BlockPlan.of(machine) if machine.compiler.order == "blocked" else None
        apart = self.types.sums_apart(machine, depth)
        return Tiling(m, k, n, *grid, panels=None, sums_apart=apart, blocks=blocks, source=source)

    def bytes_needed(self, m: int, k: int, n: int, source: tuple[int, int], machine: Machine) -> int:
        """The most bytes of scratchpad that one operation needs, in steps of k of this size."""
        depth = self.steps(k)
        apart, types = self.types.sums_apart(machine, len(depth)), self.types
        needed = self.gathered(m, k, source)
        for i in range(len(needed)):
            for j, step in enumerate(depth):
                height = min(m, self.geometry.pixels_out - i * m)
                _, b, c, sums, extra = types.footprint(self.inputs, height, step.size, n)
                needed[i, j] += b + (c if j == len(depth) - 1 or not apart else 0)
                needed[i, j] += extra if j == len(depth) - 1 else 0
                needed[i, j] += sums if apart and not machine.accumulator.bytes else 0
        return int(needed.max())

    def gathered(self, m: int, k: int, source: tuple[int, int]) -> Index:
        """The bytes of tiles for each tile of the output and step of k, of the group that needs most."""
        cutting = Cutting(m, *source)
        item = self.types.item(self.types.operands)
        groups = {group * self.channels % cutting.tile_width: group * self.channels for group in range(self.groups)}
        of_groups = [
            bytes_gathered(self.geometry, cutting, self.all_channels, first, self.steps(k), item)
            for first in groups.values()
        ]
        return np.asarray(np.max(of_groups, axis=0))

    def bytes_a_step(self, tiling: Tiling) -> int:
        """The bytes of x that a tile of the output has for a step of k, without a halo."""
        pixels = -(-self.geometry.pixels_in // tiling.m_tiles)
        channels = max(step.channels for step in self.steps(tiling.k))
        return max(1, pixels * channels * self.types.item(self.types.operands))

    def reads(self, tiling: Tiling, pace: Pace, machine: Machine) -> Source:
        """What the tiles of the output read of the input."""
        (height, width), depth = tiling.source, self.steps(tiling.k)
        first, last = _span(self.geometry, tiling.m, 0, self.geometry.taps)
        item = self.types.item(self.types.operands)
        tile = isa.align(height * min(width, self.all_channels) * item)
        read = _share_read(self.geometry, height)
        splits = any(step.taps < self.geometry.taps for step in depth)
        row, step = height * self.channels * item, max(map(len, _columns(self, tiling.k, width))) * tile
        turnaround = _turnaround(tile, pace, machine)
        return Source(first // height, last // height, row * read, step * read, tile, turnaround, splits)


@lru_cache(maxsize=256)
def _span(geometry: Geometry, m: int, t0: int, t1: int) -> tuple[Index, Index]:
    """The first and the last pixel that each tile of m rows of the output reads at taps [t0, t1)."""
    begin = np.arange(0, geometry.pixels_out, m)
    first, last = np.full(len(begin), geometry.pixels_in - 1), np.zeros(len(begin), dtype=np.int64)
    for tap in range(t0, t1):
        source = geometry.source(tap)
        there = np.where(source < 0, geometry.pixels_in - 1, source)
        first = np.minimum(first, np.minimum.reduceat(there, begin))
        last = np.maximum(last, np.maximum.reduceat(source, begin))
    return np.minimum(first, last), last


@lru_cache(maxsize=256)
def _share_read(geometry: Geometry, height: int) -> float:
    """The part of the rows of tiles between the first and the last that any output reads: all but with large steps."""
    read = set()
    for tap in range(geometry.taps):
        read |= set(np.unique(geometry.source(tap) // height).tolist())
    read.discard(-1)  # OUTSIDE
    return len(read) / (max(read) - min(read) + 1) if read else 1.0


@lru_cache(maxsize=512)
def cuts(of: Convolution, machine: Machine) -> tuple[Tiling, ...]:
    """The tilings that the estimate likes best, with their panels, the best one first; none if none is known to fit.

    The estimate compares orders well, and steps of k less so. So the best one of each step comes first, then the second
    ones.
    """
    found: dict[tuple[object, ...], tuple[float, float, int, Tiling]] = {}
    soonest = inf
    for tiling in _tilings(of, machine):
        if tiling.m_tiles * tiling.n_tiles * _execute(of, tiling, machine) > HOPELESS * soonest:
            continue
        whole = (0, tiling.m_tiles, 0, tiling.n_tiles)
        for one in swept(of, tiling, whole, pace(of, tiling, machine), machine):
            key = tiling.m, tiling.k, tiling.n, one.plan.panels
            soonest = min(soonest, one.cycles)
            rank = (one.cycles, one.loaded, -tiling.source[0], replace(tiling, panels=one.plan))
            if key not in found or rank[:3] < found[key][:3]:
                found[key] = rank
    ranks: dict[int, int] = {}
    ordered = []
    for cycles, loaded, _, tiling in sorted(found.values(), key=lambda rank: rank[:3]):
        ranks[tiling.k] = ranks.get(tiling.k, 0) + 1
        ordered.append((ranks[tiling.k], cycles, loaded, tiling))
    return tuple(tiling for *_, tiling in sorted(ordered, key=lambda rank: rank[:3])[:MOST])


def swept(
    of: Convolution, tiling: Tiling, share: tuple[int, int, int, int], pace: Pace, machine: Machine
) -> list[Candidate]:
    """The best sweeps over output tiles [m0, m1) x [n0, n1)."""
    m0, m1, n0, n1 = share
    whole = of.reads(tiling, pace, machine)
    reads = replace(whole, first=whole.first[m0:m1], last=whole.last[m0:m1])
    filters = min(tiling.n, of.filters)
    columns = of.k * filters * of.types.second_item
    stored = (m1 - m0) * (n1 - n0) * tiling.m * filters * of.types.item(of.types.result)
    rows, cols = m1 - m0, n1 - n0
    room = budget(of, tiling, machine)
    turnaround = _turnaround(room.b, pace, machine)
    work = Work(rows, cols, rows * cols * _execute(of, tiling, machine), columns, turnaround, stored)
    return sweeps(work, reads, room, pace, MOST)


def squares(of: Convolution, tiling: Tiling, rows: int, cols: int, pace: Pace, machine: Machine) -> PanelPlan:
    """Panels as those of a matmul."""
    halo = max(0, _most_gathered(of, tiling.m, tiling.k, tiling.source) - of.bytes_a_step(tiling))  # of an operation
    return choose(rows, tiling.k_tiles, cols, budget(of, tiling, machine, min(halo, machine.sram.bytes // 2)), pace)


def budget(of: Convolution, tiling: Tiling, machine: Machine, fixed: int = 0) -> Budget:
    """What a panel may occupy; `fixed` bytes are taken."""
    types = of.types
    _, b, c, sums, extra = types.footprint(of.inputs, tiling.m, tiling.k, tiling.n)
    a = isa.align(of.bytes_a_step(tiling))
    if tiling.sums_apart:
        return Budget(machine.sram.bytes, a, b, c, fixed + extra + c, sums=sums, apart=machine.accumulator.bytes)
    return Budget(machine.sram.bytes, a, b, c, fixed + extra, sums=c)


def pace(of: Convolution, tiling: Tiling, machine: Machine) -> Pace:
    """How fast the machine is at it."""
    types = of.types
    execute = max(_step_cycles(of, tiling, machine))
    dram = float(1 / machine.dram_bytes_per_cycle)
    item, second, stored = types.item(types.operands), types.second_item, types.item(types.result)
    read = tiling.source[0], tiling.source[1] * item
    weights = tiling.k, tiling.n * second
    load_port = max(dram, *(cost.port_pace(*tile, machine, True) for tile in (read, weights)))
    store_port = max(cost.port_pace(tiling.m, tiling.n * stored, machine, False), dram)
    size = max(read[0] * read[1], weights[0] * weights[1])
    load = machine.dma.setup_cycles + size * load_port + machine.dram_latency_cycles
    return Pace(execute, load_port, store_port, dram, load + execute + cost.drain_cycles(machine))


def _turnaround(size: int, pace: Pace, machine: Machine) -> float:
    """As `Pace.turnaround`, of a tile of so many bytes."""
    load = machine.dma.setup_cycles + size * pace.load + machine.dram_latency_cycles
    return load + pace.execute + cost.drain_cycles(machine)


def _step_cycles(of: Convolution, tiling: Tiling, machine: Machine) -> tuple[int, ...]:
    """Cycles of the matrix unit for each step of k of a whole tile, one after the other."""
    n = min(tiling.n, of.filters)
    return step_cycles(machine).of(tiling.m, tiling.k, n, of.channels, of.geometry.taps, of.types.operands)


def _execute(of: Convolution, tiling: Tiling, machine: Machine) -> float:
    """Cycles of the matrix unit for an output tile, of the average size."""
    whole = -(-of.filters // tiling.n) * tiling.n * tiling.m_tiles * tiling.m
    return sum(_step_cycles(of, tiling, machine)) * of.filters * of.geometry.pixels_out / whole


def _tilings(of: Convolution, machine: Machine) -> Iterator[Tiling]:
    """All that fit, as far as tiles below the machine's own may be better."""
    room, sizes = machine.sram.bytes, step_sizes(of.channels, of.geometry.taps, machine.tile.k)
    m0, n0 = tile_height(of.geometry.pixels_out, machine), min(machine.tile.n, of.filters)
    for m in _halves(m0):
        for n in _halves(n0):
            fitting = 0
            for k in sizes:
                for source in _sources(of, k, machine):
                    if _bound(of, m, k, n, source, machine) <= room:
                        fitting += 1
                        yield of.tiling(m, k, n, source, machine)
            if fitting and _bound(of, m, sizes[-1], n, of.source(machine), machine) <= room // 2:
                break
        else:
            continue
        break


def _halves(edge: int) -> list[int]:
    found = [edge]
    while found[-1] // 2 >= LEAST_EDGE:
        found.append(-(-found[-1] // 2))
    return found


def _sources(of: Convolution, k: int, machine: Machine) -> Iterator[tuple[int, int]]:
    """Tiles of the input: as all operators cut it, or lower and narrower ones if they are free."""
    height, width = of.source(machine)
    yield height, width
    if not of.free or of.groups > 1:
        return
    channels = min(width, max(CHANNELS, k // of.geometry.taps))
    heights = _halves(height)[:3]
    if of.geometry.strides[0] > of.geometry.kernel[0]:  # lines that are not read have tiles of their own
        heights += [max(d for d in range(1, height + 1) if of.geometry.width % d == 0)]
    for lower in heights:
        if (lower, channels) != (height, width):
            yield lower, channels


def _bound(of: Convolution, m: int, k: int, n: int, source: tuple[int, int], machine: Machine) -> int:
    """Bytes of scratchpad that no operation needs more than."""
    depth, types = of.steps(k), of.types
    apart = types.sums_apart(machine, len(depth))
    gathered = _most_gathered(of, m, k, source)
    _, b, c, sums, extra = types.footprint(of.inputs, m, max(step.size for step in depth), n)
    return gathered + b + c + extra + (sums if apart and not machine.accumulator.bytes else 0)


def _most_gathered(of: Convolution, m: int, k: int, source: tuple[int, int]) -> int:
    """The most bytes of tiles that an operation gathers its operand from, if it reads all between first and last."""
    height, width = source
    most = max(sum(_most_rows(of.geometry, m, height, taps) for taps in columns) for columns in _columns(of, k, width))
    return most * isa.align(height * min(width, of.all_channels) * of.types.item(of.types.operands))


@lru_cache(maxsize=4096)
def _most_rows(geometry: Geometry, m: int, height: int, taps: Taps) -> int:
    """The most rows of tiles between the first and the last one that a tile of the output reads at these taps."""
    spans = [_span(geometry, m, t0, t1) for t0, t1 in taps]
    first, last = np.minimum.reduce([each[0] for each in spans]), np.maximum.reduce([each[1] for each in spans])
    return int((last // height - first // height).max()) + 1


@lru_cache(maxsize=512)
def _columns(of: Convolution, k: int, width: int) -> frozenset[tuple[Taps, ...]]:
    """What there is among the steps of all groups: the taps that are read in each column of tiles."""
    begins = {group * of.channels % width for group in range(of.groups)}
    return frozenset(
        tuple(taps_by_column(step, first, width).values()) for step in of.steps(k) for first in sorted(begins)
    )
