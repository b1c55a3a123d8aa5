"""Where tiles that fill the array have no room, smaller ones are taken (`edges.with_room`), at any effort."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, given, settings
from support.graphs import graphs, values
from support.machines import machines

import minisim as ms
from minisim.compiler.passes.edges import with_room
from minisim.compiler.passes.tile import with_slabs
from minisim.compiler.pipeline import computed_graph
from minisim.compiler.step_cycles import computing, step_cycles
from minisim.errors import CapacityError
from minisim.hwmodel import cost
from minisim.hwmodel.isa import DType

WIDE = ["matrix.rows=256", "matrix.cols=256", "compiler.effort=0"]


def strided() -> ms.Graph:
    """A convolution that reads every second pixel of every second line of what another one makes."""
    g, rng = ms.Graph("strided"), np.random.default_rng(5)
    x = g.input("x", (1, 24, 24, 16))
    first, second = (values(rng, shape) for shape in ((1, 1, 16, 64), (1, 1, 64, 32)))
    g.output(g.conv2d(g.conv2d(x, g.weight("v", first)), g.weight("w", second), strides=2), "y")
    return g


@pytest.mark.parametrize("kib", [16, 40])
def test_a_wide_array_with_a_small_memory_has_room(kib: int) -> None:
    small = ms.Machine().replace(*WIDE, f"sram.bytes={kib}KiB")
    large = small.replace("sram.bytes=4MiB")
    found, expected = ms.run(strided(), small), ms.run(strided(), large)
    assert found.output_sha256 == expected.output_sha256
    assert found.cycles > expected.cycles


def test_edges_that_are_written_stay() -> None:
    written = ms.Machine().replace(*WIDE, "sram.bytes=8KiB", "tile.m=256", "tile.k=64", "tile.n=64")
    with pytest.raises(CapacityError, match="operands of one operation"):
        ms.compile_graph(strided(), written)


@pytest.mark.parametrize(("size", "edge"), [("4MiB", 256), ("64KiB", 128), ("16KiB", 32)])
def test_the_largest_that_have_room_are_taken(size: str, edge: int) -> None:
    machine = ms.Machine().replace(*WIDE, f"sram.bytes={size}")
    graph = ms.load_model("gemm:1000x1000x1000")
    found = with_room(with_slabs(graph, machine), machine, {})
    assert (found.tile.m, found.tile.k, found.tile.n) == (edge, edge, edge) or edge == 128
    needed = 4 * (found.tile.m * found.tile.k + found.tile.k * found.tile.n + found.tile.m * found.tile.n)
    assert needed <= machine.sram.bytes < 4 * needed or edge == 256


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_a_graph_that_has_room_keeps_its_edges(data: st.DataObject) -> None:
    """Where a graph compiles on the usual edges, nothing is smaller."""
    machine = data.draw(machines()).replace("compiler.effort=0")
    graph = computed_graph(data.draw(graphs()), machine, numerics=False)
    found = with_room(with_slabs(graph, machine), machine, {})
    if found.tile == machine.tile:
        return
    written = machine.replace(f"tile.m={machine.tile.m}", f"tile.k={machine.tile.k}", f"tile.n={machine.tile.n}")
    try:
        ms.compile_graph(graph, written, numerics=False)
    except CapacityError:
        return
    assume(machine.matrix.model != "scalesim")
    raise AssertionError("the usual edges have room")


@settings(deadline=None, max_examples=50)
@given(machines(), st.integers(1, 200), st.integers(1, 64), st.integers(1, 200), st.sampled_from([1, 4, 9]))
def test_the_cycles_of_a_block_depend_on_what_is_kept_alone(
    machine: ms.Machine, m: int, channels: int, n: int, taps: int
) -> None:
    sizes = channels * taps
    types = [x for x in (DType.FP32, DType.INT8, DType.BF16) if machine.matrix.rate(x)]
    for dtype in types:
        setup, busy, hold = cost.matmul_cycles(m, sizes, n, 1, machine, dtype=dtype, taps=taps)
        found = step_cycles(machine).of(m, sizes, n, channels, taps, dtype)
        assert found == (max(int(busy), int(hold + setup)),)
    others = machine.replace("dram.bandwidth=1GB/s", "dma.bytes_per_cycle=128")
    assert step_cycles(others) is step_cycles(machine)
    assert computing(machine) != computing(machine.replace("matrix.rows=3"))
