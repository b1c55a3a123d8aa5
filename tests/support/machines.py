"""Random machines, and the least SRAM that a graph needs."""

from __future__ import annotations

import functools
import zlib

from hypothesis import strategies as st

from minisim import Graph, Machine
from minisim.compiler.passes.lower import Lower
from minisim.compiler.passes.schedule import Needed
from minisim.compiler.passes.tile import Tile
from minisim.compiler.pipeline import computed_graph, schedule_key, tiled_graph
from minisim.compiler.program import Program
from minisim.hwmodel.isa import ALIGNMENT, align

AMPLE = 16 * 2**20
"""Bytes of SRAM in which every test's graph fits as a whole."""


def machine(**overrides: object) -> Machine:
    """The reference machine with some keys changed: ``machine(sram__bytes=4096)``. Its tiles are as the array has them
    (`compiler.effort` is 0): what a test reckons with."""
    changed = {key.replace("__", "."): value for key, value in overrides.items()}
    return Machine().with_overrides({"compiler.effort": 0, **changed})


def searching_now_and_then(model: bytes) -> Machine:
    """The reference machine, with a compiler that searches for one model in four, which its bytes say: that takes most
    of a small model's time, and says nothing of what the model means."""
    return machine(compiler__effort=int(zlib.crc32(model) % 4 == 0))


def with_sram(base: Machine, size: int) -> Machine:
    return base.with_overrides({"sram.bytes": size})


def least_sram(graph: Graph, base: Machine) -> int:
    """Bytes for the operands of the greediest operation of `graph`, tiled as the array is (the smallest SRAM
    there can be if nothing is executed). Some operators choose smaller tiles for a smaller SRAM."""

    @functools.cache
    def needed_in(size: int) -> int:
        return _needed(graph, base, size)

    size = AMPLE
    while (needed := needed_in(size)) < size:
        size = needed
    while (needed := needed_in(size)) > size:  # tiles that are higher in an ample SRAM (`tile_height`)
        size = needed
    while (needed := needed_in(less := max(ALIGNMENT, size - ALIGNMENT))) <= less < size:  # rows in parts
        size = needed if needed_in(needed) <= needed else less
    return size


def _needed(graph: Graph, base: Machine, size: int) -> int:
    return max(ALIGNMENT, Needed.of(lowered(graph, base, size), base.accumulator.bytes > 0).scratchpad)


def least_accumulator(graph: Graph, base: Machine) -> int:
    """The same of the accumulator memory, which `base` has."""
    return max(ALIGNMENT, Needed.of(lowered(graph, base), True).accumulator)


def lowered(graph: Graph, base: Machine, sram: int = AMPLE) -> Program:
    """The program of `graph` for `base` with an SRAM of this size, in tiles of the array's edges."""
    base = base.with_overrides({"sram.bytes": sram, "compiler.effort": 0})
    return Lower(base).apply(Tile(base).apply(computed_graph(graph, base)))


def key(graph: Graph, on: Machine) -> str:
    """The key of what `graph` is compiled to on a machine before dispatch."""
    return schedule_key(tiled_graph(graph, on, numerics=False), on)


@st.composite
def orders(draw: st.DrawFn) -> dict[str, object]:
    """How matmuls are walked."""
    order = draw(st.sampled_from(["auto", "auto", "mnk", "blocked"]))
    if order != "blocked":
        slices = draw(st.booleans())
        return {"compiler__order": order, "compiler__keep_on_chip": draw(st.booleans()), "compiler__slices": slices}
    m, n = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    return {"compiler__order": order, "compiler__keep_on_chip": False, "compiler__block_m": m, "compiler__block_n": n}


@st.composite
def edges(draw: st.DrawFn, smallest: int, largest: int, all_written: bool) -> dict[str, object]:
    """Those of tiles: written, or the compiler's, within what a command carries."""
    found: dict[str, object] = {"compiler__effort": draw(st.sampled_from([0, 0, 1]))}
    for edge in "mkn":
        if all_written or draw(st.booleans()):
            found[f"tile__{edge}"] = draw(st.integers(smallest, largest))
        else:
            found[f"tile__max_{edge}"] = draw(st.sampled_from([largest, 4096]))
            found[f"tile__multiple_{edge}"] = draw(st.sampled_from([1, 1, 8]))
    return found


@st.composite
def machines(draw: st.DrawFn, smallest_tile: int = 8, largest_tile: int = 64) -> Machine:
    """Everything that may change cycles and must not change results; its SRAM is ample."""
    rows, cols = (draw(st.sampled_from([1, 4, 8, 16, 32, 128])) for _ in range(2))
    return machine(
        **draw(edges(smallest_tile, largest_tile, all_written=min(rows, cols) < max(32, smallest_tile))),
        matrix__rows=rows,
        matrix__cols=cols,
        matrix__arrays=draw(st.sampled_from([1, 1, 2, 3])),
        matrix__dataflow=draw(st.sampled_from(["ws", "os", "is"])),
        matrix__overlap=draw(st.sampled_from(["full", "drain", "none"])),
        matrix__model=draw(st.sampled_from(["pipelined", "pipelined", "scalesim"])),
        vector__lanes=draw(st.sampled_from([1, 8, 32])),
        sram__bytes=AMPLE,
        sram__read_bytes_per_cycle=draw(st.sampled_from([0, 0, 5, 64])),
        sram__write_bytes_per_cycle=draw(st.sampled_from([0, 0, 8])),
        accumulator__bytes=draw(st.sampled_from([0, AMPLE])),
        accumulator__read_bytes_per_cycle=draw(st.sampled_from([0, 16])),
        sram__banks=draw(st.sampled_from([1, 6, 16])),
        sram__bank_bytes_per_cycle=draw(st.sampled_from([0, 0, 4, 16])),
        dma__bytes_per_cycle=draw(st.sampled_from([1, 7, 16, 256])),
        dma__setup_cycles=draw(st.sampled_from([0, 1, 8, 100])),
        dma__max_outstanding=draw(st.sampled_from([1, 2, 16])),
        dma__shared=draw(st.sampled_from([False, False, True])),
        dram__bandwidth=draw(st.sampled_from(["0.3GB/s", "7GB/s", "25.6GB/s", "1000GB/s"])),
        dram__latency=draw(st.sampled_from(["0ns", "13ns", "60ns", "900ns"])),
        dram__padding=draw(st.sampled_from(["row", "row", "tile"])),
        control__queue_depth=draw(st.sampled_from([1, 2, 3, 16, 1000])),
        control__issue_cycles=draw(st.sampled_from([1, 1, 5])),
        **draw(orders()),
    )


@st.composite
def machines_for(draw: st.DrawFn, graph: Graph, slacks: tuple[float, ...] = (1.0, 1.0, 1.2, 1.7, 3.0, 10.0)) -> Machine:
    """A random machine whose SRAM is the least for `graph`, times one of `slacks`; so is its accumulator memory."""
    return with_memories(draw, graph, draw(machines()), slacks)


def with_memories(draw: st.DrawFn, graph: Graph, base: Machine, slacks: tuple[float, ...]) -> Machine:
    """`base` with memories of the least sizes for `graph`, times some of `slacks`."""
    if base.accumulator.bytes:
        size = align(int(least_accumulator(graph, base) * draw(st.sampled_from(slacks))))
        base = base.with_overrides({"accumulator.bytes": size})
    return with_sram(base, align(int(least_sram(graph, base) * draw(st.sampled_from(slacks)))))
