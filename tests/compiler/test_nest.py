"""What a poorer machine would do is tried on the whole one (`passes/nest.py`, ADR 42)."""

from __future__ import annotations

from itertools import pairwise

import pytest
from support.paths import EXAMPLES

import minisim as ms
from minisim.compiler.passes import nest
from minisim.compiler.passes.measure import Measured, timed
from minisim.compiler.pipeline import tiled_graph
from minisim.compiler.tiling import TiledGraph

MLP = str(EXAMPLES / "mlp.py")


def cycles(model: str, machine: ms.Machine) -> int:
    return ms.simulate(ms.compile_graph(model, machine, numerics=False), machine).cycles


@pytest.mark.parametrize(
    ("model", "preset", "keys", "more"),
    [  # where estimates alone choose worse on the better machine, by 13 % and 1.1 %
        ("softmax:15x15", "edge_8x8", ("sram.bytes=5952", "dram.model=banked", "dram.preset=lpddr4-2400"),
         "sram.bytes=11904"),
        ("gemm:1x4x130", "npu_32x32", ("sram.bytes=12096", "dram.model=banked"), "cores.count=2"),
    ],
)  # fmt: skip
def test_twice_as_much_is_not_slower(model: str, preset: str, keys: tuple[str, ...], more: str) -> None:
    machine = ms.Machine.load(preset).replace(*keys)
    assert cycles(model, machine.replace(more)) <= cycles(model, machine)


def test_more_cores_than_a_banked_dram_feeds_are_left_idle() -> None:
    """Each core that reads between the others' rows closes them: 3 are about as quick as more; 6 try what 4 do."""
    machine = ms.Machine.load("gemmini_16x16").replace("dram.bandwidth=51.2GB/s", "dram.model=banked")
    took = [cycles("gemm:200x100x200", machine.replace(f"cores.count={count}", "compiler.effort=1"))
            for count in (1, 3, 4, 6)]  # fmt: skip
    assert all(more <= 1.01 * fewer for fewer, more in pairwise(took)), took
    assert took[1] < 0.6 * took[0]


@pytest.mark.parametrize(
    ("cores", "fewer"), [(1, []), (2, [1]), (3, [1, 2]), (4, [2]), (6, [3, 4]), (7, [3, 4]), (8, [4])]
)
def test_so_many_cores_are_tried(cores: int, fewer: list[int]) -> None:
    assert nest._fewer(cores) == fewer


def test_plans_of_which_the_same_comes_are_timed_once(tried: list[TiledGraph]) -> None:
    decided("gemm:100x300x200", "cores.count=2")
    done = {str((tiled.slices, [(t.walk(), t.shares and t.ahead_and_horizon()) for t in tiled.tilings.values()]))
            for tiled in tried}  # fmt: skip
    assert len(done) == len(tried) > 2


@pytest.mark.parametrize("key", ["matrix.rows=64", "matrix.cols=64", "matrix.arrays=2"])
def test_a_network_on_a_larger_array_keeps_what_its_layers_pass_each_other(key: str) -> None:
    """All that it takes longer is the way through the array, of each layer once. Not so on the larger array's tiles."""
    machine = ms.Machine.load("npu_32x32")
    assert cycles(MLP, machine.replace(key)) <= cycles(MLP, machine) + 3 * 32


def test_smaller_strips_pass_through_a_large_sram_sooner() -> None:
    """In an SRAM that has room for all of it the estimate takes a few strips, and nothing overlaps."""
    machine = ms.Machine.load("tpu_like_128x128")
    assert cycles("softmax:300x384", machine) < 0.7 * cycles("softmax:300x384", machine.replace("compiler.effort=0"))


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[TiledGraph]:
    """What is timed, in turn."""
    found: list[TiledGraph] = []

    def noted(tiled: TiledGraph, machine: ms.Machine) -> Measured:
        found.append(tiled)
        return timed(tiled, machine)

    monkeypatch.setattr(nest, "timed", noted)
    return found


def decided(model: str, *keys: str, mapping: dict[str, tuple[int, int, int]] | None = None) -> TiledGraph:
    machine = ms.Machine().replace(*keys)
    return tiled_graph(ms.load_model(model), machine, numerics=False, mapping=mapping)


@pytest.mark.parametrize("key", ["compiler.effort=0", "compiler.order=mnk", "matrix.model=scalesim"])
def test_nothing_is_tried_where_the_compiler_is_told(key: str, tried: list[TiledGraph]) -> None:
    decided("gemm:100x300x200", key)
    assert not tried


def test_tries_end_when_enough_was_scheduled(tried: list[TiledGraph], monkeypatch: pytest.MonkeyPatch) -> None:
    decided("gemm:100x300x200")
    assert len(tried) > 3
    tried.clear()
    monkeypatch.setattr(nest, "OPERATIONS", (0, nest.LAYER + 1, 0))
    decided("gemm:100x300x200")
    assert len(tried) == 2  # its own, and one other


@pytest.mark.parametrize(("model", "layer", "m"), [("gemm:100x300x200", "c", 25), (MLP, "matmul", 16)])
def test_every_plan_has_the_edges_that_are_given(model: str, layer: str, m: int, tried: list[TiledGraph]) -> None:
    decided(model, mapping={layer: (m, 40, 56)})
    assert len(tried) > 2
    assert {(t.tilings[layer].m, t.tilings[layer].k, t.tilings[layer].n) for t in tried} == {(m, 40, 56)}


def test_of_about_equal_plans_its_own_is_taken(tried: list[TiledGraph], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        nest, "timed", lambda tiled, machine: tried.append(tiled) or Measured(1000 - len(tried) / 10, 1, 1)
    )
    assert decided("gemm:100x300x200") is tried[0]
    assert len(tried) > 3


@pytest.mark.parametrize(
    ("model", "key"),
    [
        (MLP, "cores.count=2"),
        ("attention:2x40x16", "sram.bytes=32KiB"),
        ("conv:1x8x8x16,8x3x3,1,1", "sram.bytes=16KiB"),
    ],
)
def test_every_plan_computes_the_same_bits(
    model: str, key: str, tried: list[TiledGraph], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever is tried last is taken."""
    machine = ms.Machine().replace(key)
    usual = ms.run(model, machine.replace("compiler.effort=0")).outputs
    monkeypatch.setattr(nest, "timed", lambda tiled, on: tried.append(tiled) or Measured(0.5 ** len(tried), 1, 1))
    found = ms.run(model, machine).outputs
    assert len(tried) > 1
    assert all(found[name].tobytes() == value.tobytes() for name, value in usual.items())


def test_nothing_is_planned_that_is_too_large_to_be_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The two schedules would have 128 operations of the array."""
    planned: list[object] = []
    monkeypatch.setattr(nest.Nest, "_planned", lambda _, plan, __: planned.append(plan))
    monkeypatch.setattr(nest, "LAYER", 1)
    for most, tries in ((127, False), (128, True)):
        monkeypatch.setattr(nest, "OPERATIONS", (0, most, 0))
        ms.compile_graph("gemm:128x128x128", ms.Machine().replace("tile.m=32", "tile.k=32", "tile.n=32"))
        assert bool(planned) is tries
