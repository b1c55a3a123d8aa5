"""Edges of tiles that are chosen by measuring (`passes/edges.py`, ADR 41)."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from support.networks import network

import minisim as ms
from minisim.compiler.mapping import ALL
from minisim.compiler.passes import edges_alone, edges_search
from minisim.compiler.passes.excerpt import Excerpt
from minisim.compiler.passes.measure import NEVER, Measured, best
from minisim.compiler.passes.tile import Tile
from minisim.compiler.pipeline import compile_graph, computed_graph, schedule_key, tiled_graph
from minisim.compiler.scales import USUAL, Scale, with_edges
from minisim.compiler.tiling import Tiling, tile_height
from minisim.errors import CapacityError
from minisim.hwmodel.array import block_cycles
from minisim.hwmodel.cost import array_bound
from minisim.hwmodel.native import simulate_native

SMALL = "sram.bytes=24KiB"


def tilings(model: str | ms.Graph, *keys: str, preset: str = "npu_32x32") -> list[Tiling]:
    on = ms.Machine.load(preset).replace(*keys)
    graph = ms.load_model(model) if isinstance(model, str) else model
    return list(Tile(on).apply(computed_graph(graph, on)).tilings.values())


def cut(tiling: Tiling) -> tuple[int, int, int]:
    return tiling.m, tiling.k, tiling.n


def cycles(model: str, *keys: str, preset: str = "npu_32x32") -> int:
    return ms.run(ms.load_model(model), ms.Machine.load(preset).replace(*keys), numerics=False).cycles


def test_in_a_small_sram_smaller_tiles_take_half_the_cycles() -> None:
    """Six tiles of 32 x 32 floats have room: nothing is loaded ahead."""
    assert cycles("gemm:324x56x64", SMALL) < 0.55 * cycles("gemm:324x56x64", SMALL, "compiler.effort=0")


def test_a_layer_that_no_tile_of_the_arrays_size_has_room_for_runs() -> None:
    """A tile of 128 x 128 floats takes 64 KiB. Without a search the largest halves are taken that have room."""
    model = "gemm:200x300x260"
    quick = cycles(model, "sram.bytes=64KiB", "compiler.effort=0", preset="tpu_like_128x128")
    assert 0 < cycles(model, "sram.bytes=64KiB", preset="tpu_like_128x128") <= quick


def test_edges_that_are_written_stay() -> None:
    (free,), (written,) = (tilings("gemm:324x56x64", SMALL, *keys) for keys in ((), ("tile.m=32", "tile.k=32")))
    assert free.m < 32 and (written.m, written.k) == (32, 32)
    assert {cut(*tilings("gemm:324x56x64", SMALL, "tile.m=32", "tile.k=32", "tile.n=32"))} == {(32, 32, 32)}


def test_edges_keep_to_what_a_command_may_carry() -> None:
    machine = ms.Machine().replace("tile.max_m=40", "tile.multiple_k=24", "tile.multiple_n=8")
    assert [with_edges(machine, scale).tile.m for scale in ((1, 1, 1), (2, 1, 1), (0.5, 1, 1))] == [32, 40, 16]
    assert [with_edges(machine, scale).tile.k for scale in ((1, 0.5, 1), (1, 2, 1), (1, 1, 0.5))] == [24, 48, 24]
    assert with_edges(machine, (1, 1, 0.1)).tile.n == 8


@pytest.mark.parametrize("order", ["mnk", "blocked"])
def test_loop_nests_keep_the_arrays_tiles(order: str) -> None:
    keys = (f"compiler.order={order}", "compiler.keep_on_chip=false")
    assert cut(*tilings("gemm:324x56x64", SMALL, *keys)) == (32, 32, 32)


def test_scalesims_tiles_are_its_layers() -> None:
    assert cut(*tilings("gemm:324x56x64", "sram.bytes=1MiB", "matrix.model=scalesim")) == (324, 56, 64)


@pytest.mark.parametrize("seed", range(100, 112))
def test_more_effort_is_never_slower(seed: int) -> None:
    """By more than what a tiling of fewer operations is preferred for: the usual edges are always among those
    measured."""
    case = network(seed)
    found = [ms.run(case.graph, case.machine.replace(f"compiler.effort={x}"), numerics=False).cycles for x in (0, 1)]
    assert found[1] <= 1.005 * found[0], case


def test_a_decision_is_the_same_whether_it_is_remembered_or_not() -> None:
    case = network(19)
    remembered = [compile_graph(case.graph, case.machine, numerics=False) for _ in range(2)]
    edges_alone.tried_alone.cache_clear()
    anew = compile_graph(case.graph, case.machine, numerics=False)
    for schedule in remembered:
        assert list(schedule.lines()) == list(anew.lines())


def test_outputs_have_the_same_bits_whatever_is_tried() -> None:
    graph = network(19).graph
    outputs = [
        next(iter(ms.run(graph, network(19).machine.replace(f"compiler.effort={effort}")).outputs.values()))
        for effort in (0, 1, 2)
    ]
    assert np.array_equal(outputs[0], outputs[1]) and np.array_equal(outputs[0], outputs[2])


def tried(model: str, *keys: str, preset: str = "npu_32x32") -> edges_alone.Tried:
    machine = ms.Machine.load(preset).replace(*keys)
    graph = computed_graph(ms.load_model(model), machine)
    return edges_alone.tried_alone(Excerpt([next(node for node in graph.nodes if node.op == "MatMul")], graph), machine)


def test_a_layer_near_its_bound_is_not_tried_any_further() -> None:
    assert list(tried("gemm:1x768x3072")) == [USUAL]


def test_wide_effort_tries_a_hundred_schedules_of_a_layer() -> None:
    assert len(tried("gemm:160x150x140", "sram.bytes=20KiB", "compiler.effort=2")) > 100
    assert 4 < len(tried("gemm:160x150x140", "sram.bytes=20KiB")) <= 13


def test_the_beginning_of_a_layer_tells_of_the_rest() -> None:
    """Of 16,384 operations of the array the first panels are tried: what they say is close to what the whole takes."""
    keys = ("sram.bytes=96KiB", "compiler.effort=0")
    said = tried("gemm:1024x512x1024", *keys)[USUAL]
    assert said.cycles == pytest.approx(cycles("gemm:1024x512x1024", *keys), rel=0.02)


def test_of_about_equal_ones_the_fewest_operations_are_taken() -> None:
    fine, coarse, slow = Measured(1000, 10, 90), Measured(1004, 20, 30), Measured(1006, 1, 1)
    assert best([fine, coarse, slow, NEVER]) == 1
    assert best([NEVER, Measured(5, 2, 7), Measured(5, 1, 7)]) == 2


def test_what_works_on_a_matmuls_result_takes_its_edges() -> None:
    graph = ms.Graph()
    x, w = graph.input("x", (324, 56)), graph.weight("w", np.zeros((56, 64)))
    graph.output(graph.sigmoid(graph.tanh(graph.matmul(x, w))), "y")
    matmul, *others = tilings(graph, "sram.bytes=12KiB")
    assert (matmul.m, matmul.n) != (32, 32) and others
    assert {(other.m, other.n) for other in others} == {(matmul.m, matmul.n)}


def test_other_edges_take_no_more_operations_than_are_allowed() -> None:
    graph, small = ms.load_model("gemm:324x56x64"), ms.Machine().replace(SMALL)
    usual = len(ms.compile_graph(graph, small.replace("compiler.effort=0")).matmuls)
    assert len(ms.compile_graph(graph, small).matmuls) > usual
    assert len(ms.compile_graph(graph, small, max_operations=usual).matmuls) <= usual


def test_a_try_takes_no_more_operations_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 11 x 2 x 2 usual tiles: finer ones are not tried where a try may have 50, and nothing where it may have 40."""
    edges_alone.tried_alone.cache_clear()
    monkeypatch.setattr(edges_alone, "TRIAL", 50)
    finer = [scale for scale in tried("gemm:324x56x64", SMALL) if min(scale) < 1 and max(scale) <= 1]
    monkeypatch.setattr(edges_alone, "TRIAL", 40)
    edges_alone.tried_alone.cache_clear()
    none = tried("gemm:324x56x64", SMALL)
    edges_alone.tried_alone.cache_clear()
    assert not finer and not none


def test_a_large_layer_is_not_cut_into_many_times_as_many_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    edges_alone.tried_alone.cache_clear()
    monkeypatch.setattr(edges_alone, "PART", 1)
    monkeypatch.setattr(edges_alone, "LARGE", 100)
    found = tried("gemm:324x56x64", SMALL)
    edges_alone.tried_alone.cache_clear()
    assert len(found) > 1
    for m, k, n in found:
        assert -(-324 // int(32 * m)) * -(-56 // int(32 * k)) * -(-64 // int(32 * n)) <= 100


def test_a_thin_last_row_makes_no_tile_that_a_command_does_not_carry() -> None:
    roomy = ms.Machine.load("tpu_like_128x128")
    found = [tile_height(129, roomy.replace(*keys)) for keys in ((), ("tile.multiple_m=8",), ("tile.max_m=128",))]
    assert found == [129, 128, 128]


def test_the_key_of_a_schedule_has_what_tiles_a_producers_results_have() -> None:
    """Interleaved images are read in those, whatever the tiles that they are put together in."""
    on = ms.Machine()
    tiled = tiled_graph(ms.load_model("gemm:8x8x8"), on)
    assert schedule_key(tiled, on) != schedule_key(tiled, on.replace("tile.m=16"))
    assert schedule_key(tiled, on) == schedule_key(tiled, on.replace("dram.bandwidth=1GB/s"))


CONVS = ("tpu_like_128x128", "sram.bytes=256KiB")


def convs() -> ms.Graph:
    """Convolutions, a pool between them, and a matmul: of which only the last one's edges are chosen by itself."""
    graph = ms.Graph()
    x = graph.input("x", (1, 28, 28, 96))
    y = graph.relu(graph.conv2d(x, graph.weight("a", shape=(3, 3, 96, 128)), pads=1, name="first"))
    y = graph.max_pool(y, 2, strides=2, name="pool")
    y = graph.conv2d(y, graph.weight("b", shape=(3, 3, 128, 64)), pads=1, name="second")
    graph.output(graph.matmul(graph.reshape(y, (196, 64)), graph.weight("c", shape=(64, 256)), name="last"), "y")
    return graph


def test_convolutions_and_pools_take_the_scale_that_suits_the_network() -> None:
    machine = ms.Machine.load(CONVS[0]).replace(CONVS[1])
    usual, chosen = (
        compile_graph(convs(), machine.replace(f"compiler.effort={effort}"), numerics=False) for effort in (0, 1)
    )
    assert simulate_native(chosen, machine).cycles < 0.8 * simulate_native(usual, machine).cycles
    assert tiled_graph(convs(), machine, numerics=False).edges == (128, 64, 64)


def test_what_fits_on_smaller_tiles_alone_is_compiled() -> None:
    machine = ms.Machine.load(CONVS[0]).replace("sram.bytes=40KiB")
    tile = machine.tile
    with pytest.raises(CapacityError):
        compile_graph(convs(), machine, numerics=False, mapping={ALL: (tile.m, tile.k, tile.n)})
    for effort in (0, 1):
        assert len(compile_graph(convs(), machine.replace(f"compiler.effort={effort}"), numerics=False))


@pytest.mark.parametrize("scale", [(1, 1, 1), (0.5, 1, 1), (2, 1, 1), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)])
def test_any_scale_of_a_whole_network_gives_the_same_bits(scale: Scale) -> None:
    rng, graph = np.random.default_rng(3), ms.Graph()
    x = graph.input("x", (2, 9, 10, 20))
    y = graph.conv2d(graph.tanh(x), graph.weight("a", rng.standard_normal((3, 3, 20, 24))), pads=1)
    y = graph.add(graph.max_pool(y, 3, strides=1, pads=1), y)
    y = graph.conv_transpose2d(y, graph.weight("t", rng.standard_normal((3, 3, 24, 40))), strides=2)
    rows = graph.reshape(y, (2, -1, 40))
    y = graph.softmax(graph.matmul(rows, graph.transpose(rows, (0, 2, 1))))
    graph.output(graph.matmul(y, rows), "y")
    machine = ms.Machine().replace("compiler.effort=0", "sram.bytes=2MiB")
    all_of = {ALL: (with_edges(machine, scale).tile.m, *(int(32 * part) for part in scale[1:]))}
    inputs = {"x": rng.standard_normal((2, 9, 10, 20)).astype(np.float32)}
    plain, scaled = (ms.run(graph, machine, inputs=inputs, mapping=mapping) for mapping in (None, all_of))
    assert plain.outputs["y"].tobytes() == scaled.outputs["y"].tobytes()
    tiled = tiled_graph(graph, machine, mapping=all_of)
    highest = max(tiling.m for tiling in tiled.tilings.values() if not tiling.attention)  # which has its own
    assert all_of[ALL][0] <= highest <= 1.1 * all_of[ALL][0]  # a thin last row is dealt out to the others
    assert (scaled.schedule.stream.tobytes() == plain.schedule.stream.tobytes()) == (scale == (1, 1, 1))


@pytest.mark.parametrize(("height", "slab"), [(32, 48), (16, 0)])
def test_a_batch_is_cut_slab_by_slab_where_the_networks_tiles_would_reach_across(height: int, slab: int) -> None:
    graph = ms.Graph()
    y = graph.matmul(graph.input("a", (2, 48, 20)), graph.input("b", (2, 20, 24)), name="scores")
    graph.output(graph.relu(graph.softmax(y)), "y")
    tiled = tiled_graph(graph, ms.Machine().replace("compiler.effort=0"), mapping={ALL: (height, 32, 32)})
    (scores, *_) = (node.output for node in tiled.graph.nodes)
    assert tiled.graph.tensors[scores].slab == slab


def plans(monkeypatch: pytest.MonkeyPatch) -> list[edges_search.Plan]:
    """Those that are tried for `convs`, in a small SRAM."""
    found: list[edges_search.Plan] = []
    is_best = edges_search.Search.is_best

    def told(search: edges_search.Search, plan: edges_search.Plan, *most: float) -> bool:
        before = len(search.known)
        best = is_best(search, plan, *most)
        found.extend([plan] if len(search.known) > before and search.known[-1] is not NEVER else [])
        return best

    monkeypatch.setattr(edges_search.Search, "is_best", told)
    tiled_graph(convs(), ms.Machine.load(CONVS[0]).replace(CONVS[1]), numerics=False)
    return found


def test_matmuls_own_edges_are_tried_inside_the_best_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edges_search, "TIMES", (0, 0, 0))  # not one after the other
    monkeypatch.setattr(edges_search, "WORTH", 0.0)
    assert any(plan.whole != USUAL and plan.own for plan in plans(monkeypatch))


def test_own_edges_that_could_save_next_to_nothing_are_not_tried_in_a_network_of_one_scale(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert not any(plan.own for plan in plans(monkeypatch))


def test_edges_that_give_the_same_tiles_are_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edges_search, "WORTH", 0.0)
    timed: list[object] = []
    measured = edges_search.measured
    monkeypatch.setattr(
        edges_search, "measured", lambda tiled, *a, **k: timed.append(tiled.tilings) or measured(tiled, *a, **k)
    )
    plans(monkeypatch)
    whole = [tilings for tilings in timed if len(tilings) > 1]
    assert len(whole) > 3
    assert all(tilings not in whole[:i] for i, tilings in enumerate(whole))


@pytest.mark.parametrize("preset", ["npu_32x32", "tpu_like_128x128"])
@pytest.mark.parametrize("sizes", [(7, 5, 3), (64, 70, 1), (33, 128, 300)])
def test_what_the_array_takes_is_a_sum_over_tiles_and_below_any_run(preset: str, sizes: tuple[int, int, int]) -> None:
    machine = ms.Machine.load(preset)
    m, k, n = sizes
    tiles = product(*(range(0, size, edge) for size, edge in zip(sizes, (32, 32, 64), strict=True)))
    blocks = [block_cycles(min(32, m - i), min(32, k - j), min(64, n - h), machine, 0) for i, j, h in tiles]
    assert array_bound(sizes, (32, 32, 64), machine, 0) == sum(max(setup + hold, busy) for setup, busy, hold in blocks)
    name = f"gemm:{m}x{k}x{n}"
    (tiling,) = tilings(name, preset=preset)
    cycles = ms.run(name, machine, numerics=False).cycles
    assert 0 < array_bound(sizes, (tiling.m, tiling.k, tiling.n), machine, 0) <= cycles


@pytest.mark.parametrize("sizes", [(200, 250, 64), (64, 96, 130)])
def test_of_a_compressed_weight_the_array_takes_what_is_kept(sizes: tuple[int, int, int]) -> None:
    """And no less than the bounds that other edges are left out by, which of the dense weight are above it."""
    m, k, n = sizes
    machine = ms.Machine.load("npu_32x32").replace(
        "sparsity.pattern=1:8", "sparsity.prune=true", "dma.bytes_per_cycle=4096"
    )
    machine = machine.replace("dram.bandwidth=4000GB/s", "sram.bytes=4MiB", "dram.latency=0ns")
    graph = ms.Graph("g")
    graph.output(graph.input("x", (m, k)) @ graph.weight("w", np.random.default_rng(0).standard_normal((k, n))))
    tiled = tiled_graph(graph, machine)
    ((name, tiling),) = tiled.tilings.items()
    node, edges = tiled.graph.nodes[-1], (tiling.m, tiling.k, tiling.n)
    assert node.name == name
    cycles = ms.run(graph, machine, numerics=False).cycles
    assert 0 < edges_alone.array_cycles(node, tiled.graph, edges, machine) <= cycles
    assert 0 < edges_alone._bound(Excerpt([node], tiled.graph), machine) <= cycles
    assert cycles < array_bound(sizes, edges, machine, 0)


def test_plans_that_the_array_alone_makes_slower_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a deep network that the array bounds, tiles of half the rows, each of which waits for its weights."""
    timed: list[int] = []
    measured = edges_search.measured
    monkeypatch.setattr(edges_search, "measured", lambda *a, **k: timed.append(1) or measured(*a, **k))
    tried = plans(monkeypatch)
    some = len(timed)
    monkeypatch.setattr(edges_search, "array_cycles", lambda *_: 1e18)
    timed.clear()
    plans(monkeypatch)
    assert 0 < len(timed) < some <= len(tried)


@pytest.mark.parametrize(("most", "count"), [(0, 0), (700, 1), (2400, 2)])
def test_scales_are_tried_within_a_bound(most: int, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edges_search, "WHOLE", (0, most, 0))
    monkeypatch.setattr(edges_search, "WHOLES", (0, 0, 0))
    assert sum(plan.whole != USUAL and not plan.own for plan in plans(monkeypatch)) == count
