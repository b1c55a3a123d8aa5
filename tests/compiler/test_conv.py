"""Convolution by hand: MACs, bytes and cycles of small layers, derived beside each; what is refused; what fits."""

from __future__ import annotations

import gc
import itertools
import weakref
from dataclasses import replace

import numpy as np
import pytest
from support.machines import machine

import minisim as ms
from minisim.compiler.geometry import OUTSIDE, Geometry, order_of_k, parts, step_sizes, steps
from minisim.compiler.ops import OPERATORS
from minisim.compiler.ops.conv import largest_that_fits
from minisim.compiler.ops.conv_cuts import cuts
from minisim.compiler.passes.choose import ABOUT, PART, _best, _Tried
from minisim.compiler.passes.dispatch import Dispatch
from minisim.compiler.passes.excerpt import Excerpt
from minisim.compiler.passes.lower import Lower
from minisim.compiler.passes.schedule import Allocate
from minisim.compiler.passes.tile import Tile
from minisim.compiler.pipeline import computed_graph
from minisim.compiler.tiling import TiledGraph, Tiling
from minisim.errors import CapacityError, ShapeError
from minisim.hwmodel import cost
from minisim.hwmodel.array import block_cycles
from minisim.hwmodel.energy import accesses

# -- conv2d 3x3, 16x16x16 -> 14x14x32, valid ----------------------------------------------------------

PIXELS, K, FILTERS = 14 * 14, 3 * 3 * 16, 32
INPUT, WEIGHTS, OUTPUT = 4 * 16 * 16 * 16, 4 * K * FILTERS, 4 * PIXELS * FILTERS


@pytest.fixture(scope="module")
def by_hand() -> ms.Result:
    """In the tiles that the machine file writes: seven of 32 pixels, or less, and one step of k."""
    return ms.run("conv:1x16x16x16,32x3x3,1,0", machine(compiler__order="mnk"))


def test_its_macs(by_hand: ms.Result) -> None:
    assert by_hand.schedule.layers["macs"].tolist() == [PIXELS * K * FILTERS] == [903_168]


def test_its_bytes_are_the_compulsory_ones(by_hand: ms.Result) -> None:
    """Input, filters and output once, although nine taps read the input."""
    moved = accesses(by_hand.schedule)
    assert moved.dram_read.sum() == INPUT + WEIGHTS == 16_384 + 18_432
    assert moved.dram_write.sum() == OUTPUT == 25_088
    chosen = accesses(ms.compile_graph("conv:1x16x16x16,32x3x3,1,0", machine()))
    assert (chosen.dram_read.sum(), chosen.dram_write.sum()) == (moved.dram_read.sum(), moved.dram_write.sum())


def test_the_address_generator_reads_each_tap(by_hand: ms.Result) -> None:
    """Of SRAM it reads all of A, without a copy of it anywhere: no output pixel lies at a border (valid)."""
    moved, executes = accesses(by_hand.schedule), len(by_hand.schedule.matmuls)
    stored = OUTPUT
    assert moved.sram_read.sum() == 4 * PIXELS * K + executes * WEIGHTS + stored
    assert moved.sram_write.sum() == INPUT + WEIGHTS + OUTPUT  # loads, and each output once


@pytest.mark.parametrize(
    ("dataflow", "folds", "stream", "shifts"),
    [
        ("ws", 5 * 1, PIXELS, 2),  # ceil(144 / 32) x ceil(32 / 32) folds; all pixels stream through each
        ("is", 5 * 7, FILTERS, 2),  # ceil(144 / 32) x ceil(196 / 32)
        ("os", 7 * 1, K, 1),  # ceil(196 / 32) x ceil(32 / 32); k streams
    ],
)
def test_its_cycles_by_scalesims_formulas(dataflow: str, folds: int, stream: int, shifts: int) -> None:
    """A fold takes stream + shifts x R + C - 2 cycles, one after the other."""
    there = machine(matrix__model="scalesim", matrix__dataflow=dataflow)
    schedule = ms.compile_graph("conv:1x16x16x16,32x3x3,1,0", there)
    assert schedule.matmuls[["m", "k", "n"]].tolist() == [(PIXELS, K, FILTERS)]
    busy = cost.costs(schedule, there).busy[schedule.stream["queue"] == 2]
    assert busy.tolist() == [folds * (stream + shifts * 32 + 32 - 2)]


def test_200_random_convolutions_by_scalesims_formulas() -> None:
    """One layer, one operation. ws: ceil(k / R) ceil(n / C) folds of m + 2 R + C - 2 cycles; is: with m for n; os: with
    m for k, and R but once."""
    rng = np.random.default_rng(0)
    for i in range(200):
        h, w, c, k, r, s, stride, pad = (int(rng.integers(low, high)) for low, high in (
            (4, 20), (4, 20), (1, 70), (1, 70), (1, 5), (1, 5), (1, 4), (0, 3)))  # fmt: skip
        rows, cols = (int(x) for x in rng.choice([4, 8, 16, 32], 2))
        dataflow = ("ws", "is", "os")[i % 3]
        there = machine(matrix__model="scalesim", matrix__dataflow=dataflow, matrix__rows=rows, matrix__cols=cols,
                        sram__bytes="16MiB")  # fmt: skip
        schedule = ms.compile_graph(f"conv:1x{h}x{w}x{c},{k}x{r}x{s},{stride},{pad}", there, numerics=False)
        pixels = ((h + 2 * pad - r) // stride + 1) * ((w + 2 * pad - s) // stride + 1)
        depth = r * s * c
        expected = {
            "ws": -(-depth // rows) * -(-k // cols) * (pixels + 2 * rows + cols - 2),
            "is": -(-depth // rows) * -(-pixels // cols) * (k + 2 * rows + cols - 2),
            "os": -(-pixels // rows) * -(-k // cols) * (depth + rows + cols - 2),
        }
        assert cost.costs(schedule, there).busy[schedule.stream["queue"] == 2].tolist() == [expected[dataflow]]


def test_strided_and_dilated_ones_are_the_plain_definition() -> None:
    """y[line, column, filter] = sum over taps and channels, one by one, in double precision."""
    rng = np.random.default_rng(2)
    for _ in range(12):
        h, w, c, k, r, s, sy, sx, dy, dx = (int(rng.integers(low, high)) for low, high in (
            (7, 12), (7, 12), (1, 40), (1, 20), (1, 4), (1, 4), (1, 4), (1, 4), (1, 3), (1, 3)))  # fmt: skip
        x, f = rng.standard_normal((1, h, w, c)).astype("f4"), rng.standard_normal((r, s, c, k)).astype("f4")
        g = ms.Graph()
        g.output(g.conv2d(g.input("x", x.shape), g.weight("w", f), strides=(sy, sx), dilations=(dy, dx)), "y")
        found = ms.run(g, machine(), inputs={"x": x}).outputs["y"][0]
        assert found.shape == ((h - (r - 1) * dy - 1) // sy + 1, (w - (s - 1) * dx - 1) // sx + 1, k)
        for line, column in np.ndindex(found.shape[:2]):
            seen = x[0, line * sy : line * sy + r * dy : dy, column * sx : column * sx + s * dx : dx].astype(np.float64)
            expected = np.einsum("rsc,rsck->k", seen[:r, :s], f)
            assert np.allclose(found[line, column], expected, rtol=1e-4, atol=1e-4)


def test_taps_that_are_not_packed_have_passes_of_their_own() -> None:
    """The first layer of a network: 3 channels fill 3 of 32 rows, or 27 of them at once."""
    packs, apart = machine(), machine(matrix__packs_taps=False)
    assert block_cycles(64, 27, 32, packs, taps=9) == block_cycles(64, 27, 32, packs)
    one = [int(x) for x in block_cycles(64, 3, 32, apart)]
    setup, busy, hold = (int(x) for x in block_cycles(64, 27, 32, apart, taps=9))
    assert (setup, busy, hold) == (one[0], 9 * 64, 8 * 64)
    times = [ms.run("conv:1x16x16x3,32x3x3,1,1", there, numerics=False).cycles for there in (packs, apart)]
    assert times[1] > times[0]


# -- geometry ------------------------------------------------------------------------------------------


def test_the_order_of_k_is_that_of_the_definition() -> None:
    for channels, taps in itertools.product((1, 31, 32, 33, 70), (1, 4, 9)):
        of = [(c // 32, tap, c % 32) for tap in range(taps) for c in range(channels)]
        assert order_of_k(channels, taps).tolist() == sorted(range(len(of)), key=of.__getitem__)


def test_steps_cover_k_without_a_gap_whatever_their_size() -> None:
    crossing = 0
    for channels, taps, wanted in itertools.product((1, 31, 33, 64, 70, 96), (1, 6, 9), (1, 24, 40, 96, 128)):
        order = order_of_k(channels, taps).tolist()
        for size in step_sizes(channels, taps, wanted):
            found = []
            for step in steps(channels, taps, size):
                assert step.first == len(found) and 0 < step.size <= size and step.size % step.taps == 0
                assert step.c0 == min(unit.channel for unit in step.units())
                assert step.c0 + step.channels == max(unit.channel + unit.width for unit in step.units())
                crossing += len(step.spans) > 1
                for unit in step.units():
                    assert unit.at == len(found) - step.first
                    found += [unit.tap * channels + unit.channel + i for i in range(unit.width)]
            assert found == order
    assert crossing > 10


def test_the_parts_of_a_line_are_what_is_read() -> None:
    rng = np.random.default_rng(1)
    for _ in range(300):
        n, h, w, r, s = (int(x) for x in rng.integers(1, 7, 5))
        step, by, pads = (int(rng.integers(1, 4)) for _ in range(2)), (1, 2), tuple(rng.integers(0, 4, 4).tolist())
        geometry = Geometry(n, h, w, (r, s), tuple(step), by, pads)
        if min(geometry.output) < 1:
            continue
        height, tile_height = (int(x) for x in rng.integers(1, 20, 2))
        for tap in range(geometry.taps):
            source = geometry.source(tap)
            read = np.full(len(source), OUTSIDE)
            for i, found in enumerate(parts(source, height, tile_height, geometry.strides[1])):
                for part in found:
                    for y, x in np.ndindex(part.outer, part.inner):
                        at = i * height + part.at_row + y * part.at_outer + x * part.at_inner
                        row = part.from_row + y * part.from_outer + x * part.from_inner
                        assert row < tile_height and read[at] == OUTSIDE
                        read[at] = part.tile * tile_height + row
            assert np.array_equal(read, source)


# -- what is refused, and what fits -----------------------------------------------------------------------


def test_what_has_no_meaning_is_refused() -> None:
    g = ms.Graph()
    x = g.input("x", (1, 8, 8, 6))
    for shape, options, text in (
        ((3, 3, 6, 8), {"groups": 4}, "4 groups must divide the 6 channels and the 8 filters evenly"),
        ((3, 3, 5, 8), {}, "the filters must have 6 channels, not 5"),
        ((9, 3, 6, 8), {}, "does not fit into the padded image"),
        ((3, 3, 6, 8), {"strides": 0}, "strides must be from 1 to 1048576, not"),
        ((3, 3, 6, 8), {"pads": (1, 2, 3)}, "pads must be a number, a pair or four numbers"),
    ):
        with pytest.raises(ShapeError, match=text):
            g.conv2d(x, g.weight(g.fresh_name("w"), shape=shape), **options)
    with pytest.raises(ShapeError, match="the filters reshape must be"):
        g.conv2d(x, g.reshape(x, (8, 48)))
    signal = g.input("signal", (1, 8, 6))
    with pytest.raises(ShapeError, match="must have one line"):
        g.conv2d(signal, g.weight("w2", shape=(3, 3, 6, 8)))


def test_the_step_of_k_is_the_largest_that_leaves_room() -> None:
    needed = {288: 700, 160: 500, 96: 300}
    assert largest_that_fits([288, 160, 96], needed.__getitem__, 1400) == 288
    assert largest_that_fits([288, 160, 96], needed.__getitem__, 1000) == 160
    assert largest_that_fits([288, 160, 96], needed.__getitem__, 300) == 96
    assert largest_that_fits([288, 160, 96], {288: 90, 160: 99, 96: 95}.__getitem__, 10) == 288


def test_a_scratchpad_that_is_too_small_is_told() -> None:
    with pytest.raises(CapacityError, match="layer 'y' needs at least"):
        ms.compile_graph("conv:1x16x16x64,64x3x3,1,1", machine(sram__bytes=1024))


# -- convolutions that are matmuls ---------------------------------------------------------------------------


def test_a_convolution_of_one_tap_that_reads_each_pixel_once_is_a_matmul() -> None:
    g = ms.Graph()
    x = g.input("x", (2, 5, 7, 40))
    y = g.relu(g.conv2d(x, g.weight("w", shape=(1, 1, 40, 24)), name="conv") + g.weight("b", shape=(24,)))
    g.output(y, "y")
    schedule = ms.compile_graph(g, machine())
    assert schedule.layer_ops == ("FusedMatMulBiasReLU",) and not len(schedule.pieces)
    for options in ({"strides": 2}, {"pads": 1}, {"strides": (1, 2)}, {"groups": 2}):
        g = ms.Graph()
        w = g.weight("w", shape=(1, 1, 40 // options.get("groups", 1), 24))
        g.output(g.conv2d(g.input("x", (2, 5, 7, 40)), w, **options), "y")
        assert ms.compile_graph(g, machine()).layer_ops == ("Conv",)


# -- what is chosen --------------------------------------------------------------------------------------------


def test_of_the_tilings_that_are_tried_the_fastest_is_taken() -> None:
    """No other one ends earlier by more than is taken as equal, in the event model either."""
    there = machine(sram__bytes="64KiB")
    graph = computed_graph(ms.load_model("conv:1x20x20x64,64x3x3,1,1"), there)
    (node,) = graph.nodes
    found = OPERATORS["Conv"].candidates(node, graph, there)
    assert len({(tiling.k, tiling.panels) for tiling in found}) == len(found) > 4
    taken = Tile(there).apply(graph).tilings["y"]

    def cycles(tiling: Tiling) -> int:
        program = Lower(there).apply(TiledGraph(graph, {"y": tiling}))
        return ms.simulate(Dispatch(there).apply(Allocate(there).apply(program)), there).cycles

    assert cycles(taken) <= 1.04 * min(cycles(tiling) for tiling in found) < max(cycles(tiling) for tiling in found)


def test_on_two_cores_as_well() -> None:
    there = machine(sram__bytes="128KiB", cores__count=2)
    graph = computed_graph(ms.load_model("conv:1x28x28x64,96x3x3,1,1"), there)
    (node,) = graph.nodes
    found = [replace(tiling, panels=None) for tiling in OPERATORS["Conv"].candidates(node, graph, there)]
    ends = [_Tried.of(Excerpt([node], graph), there, tiling).end for tiling in found]
    taken = replace(Tile(there).apply(graph).tilings["y"], shares=())
    assert ends[found.index(taken)] <= ABOUT * min(ends) < ends[0]


def test_of_a_large_layer_the_first_panels_are_tried_and_stand_for_the_rest() -> None:
    there = machine(sram__bytes="256KiB")
    graph = computed_graph(ms.load_model("conv:1x56x56x128,256x3x3,1,1"), there)
    first = OPERATORS["Conv"].candidates(graph.nodes[0], graph, there)[0]
    program = Lower(there).apply(TiledGraph(graph, {"y": first}))
    whole = Allocate(there).apply(program)
    tried = _Tried.of(Excerpt(graph.nodes[:1], graph), there, first)
    assert len(program.matmuls) > 1.5 * PART and tried.operations == pytest.approx(len(whole.stream), rel=0.2)
    assert tried.end == pytest.approx(ms.simulate(Dispatch(there).apply(whole), there).cycles, rel=0.1)
    assert tried.moved == pytest.approx(accesses(whole).dram_read.sum() + accesses(whole).dram_write.sum(), rel=0.1)


@pytest.mark.parametrize(("sram", "k"), [("8MiB", 288), ("2MiB", 64)])
def test_of_equally_good_tilings_that_with_fewest_operations_is_taken(sram: str, k: int) -> None:
    """Of those whose tiles are small beside the SRAM: the filters of 288 steps of k take 36 KiB, of 64 take 8 KiB."""
    there = machine(sram__bytes=sram)
    graph = computed_graph(ms.load_model("conv:1x56x56x64,64x3x3,1,1"), there)
    assert Tile(there).apply(graph).tilings["y"].k == k


@pytest.mark.parametrize(("sram", "reads"), [("256KiB", 1.0), ("128KiB", 2.0), ("64KiB", 7.3)])
def test_traffic_beside_the_input_once(sram: str, reads: float) -> None:
    """256 KiB hold all filters, 147,456 bytes, and the lines that a strip reads; 128 KiB half of the
    filters with these lines, so the input is read twice."""
    schedule = ms.compile_graph("conv:1x56x56x64,64x3x3,1,1", machine(sram__bytes=sram))
    once, filters = 4 * 56 * 56 * 64, 4 * 9 * 64 * 64
    read = accesses(schedule).dram_read.sum()
    assert read == once + filters if reads == 1 else read <= reads * once + filters


def test_what_was_chosen_for_a_layer_keeps_no_model_alive() -> None:
    g = ms.Graph()
    w = g.weight("w", np.ones((3, 3, 64, 48), np.float32))
    g.output(g.conv2d(g.input("x", (1, 21, 23, 64)), w, pads=1))
    kept = weakref.ref(g)
    _best.cache_clear()
    before = _best.cache_info().currsize
    ms.compile_graph(g, machine(sram__bytes=96 * 1024))
    assert _best.cache_info().currsize == before + 1
    del g, w
    gc.collect()
    assert kept() is None


def test_a_layer_of_too_many_operations_is_refused_before_it_is_cut() -> None:
    """To look for the tiles of two million pixels would take a minute."""
    g = ms.Graph()
    g.output(g.conv2d(g.input("x", (1, 4, 500_000, 8)), g.weight("w", shape=(3, 3, 8, 8)), pads=1))
    before = cuts.cache_info().misses
    with pytest.raises(CapacityError, match=r"takes at least 31,250 operations .* more than 5,000"):
        ms.compile_graph(g, max_operations=5000)
    assert cuts.cache_info().misses == before
