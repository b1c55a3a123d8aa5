"""The three-layer MLP, on one fixed machine: the figures that a correct compiler and engine give."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from support.graphs import example
from support.machines import machine

import minisim as ms
from minisim.compiler.passes.fuse import Fuse
from minisim.hwmodel.isa import Opcode

TILE_BYTES = 32 * 32 * 4


def run(order: str = "mnk", keep_on_chip: bool = False, padding: str = "row") -> ms.Result:
    chosen = machine(compiler__order=order, compiler__keep_on_chip=keep_on_chip, dram__padding=padding)
    return ms.run(example("mlp"), chosen)


@pytest.fixture(scope="module", params=["row", "tile"])
def plain(request: pytest.FixtureRequest) -> ms.Result:
    return run(padding=request.param)


def test_the_graph_before_and_after_fusion() -> None:
    graph = example("mlp")
    assert (len(graph.nodes), len(graph.tensors)) == (5, 9)
    fused = Fuse().apply(graph)
    assert [node.title for node in fused.nodes] == ["FusedMatMulReLU", "FusedMatMulReLU", "MatMul"]


def test_operations(plain: ms.Result) -> None:
    assert int(plain.schedule.layers["uops"].sum()) == 148
    assert len(plain.schedule) == 99
    assert plain.schedule.counts() == {Opcode.LOAD: 39, Opcode.STORE: 16, Opcode.EXECUTE: 44, Opcode.VECTOR: 0}


def test_loads(plain: ms.Result) -> None:
    layers = plain.schedule.layers
    eliminated, asked = int(layers["loads_eliminated"].sum()), int(layers["loads"].sum())
    assert (eliminated, asked) == (49, 88)
    assert round(100 * eliminated / asked, 1) == 55.7
    loaded = plain.schedule.transfers["tile"][plain.schedule.stream["row"][plain.schedule.stream["opcode"] == 0]]
    assert len(np.unique(loaded)) == 39  # each tile once


@pytest.mark.parametrize(("opcode", "counts"), [(Opcode.EXECUTE, [32, 8, 4]), (Opcode.STORE, [8, 4, 4])])
def test_operations_of_each_layer(plain: ms.Result, opcode: Opcode, counts: list[int]) -> None:
    stream = plain.schedule.stream
    assert np.bincount(stream["layer"][stream["opcode"] == opcode]).tolist() == counts


def test_memory(plain: ms.Result) -> None:
    assert int(plain.schedule.layers["sram_peak"].max()) == 13 * TILE_BYTES == 53248
    assert plain.schedule.sram_final_live_bytes == 0


def test_values(plain: ms.Result) -> None:
    assert plain.max_abs_error is not None
    assert 0 < plain.max_abs_error < 4e-8


def test_keeping_intermediates_on_chip_saves_their_loads(plain: ms.Result) -> None:
    kept = run(keep_on_chip=True)
    assert kept.schedule.counts()[Opcode.LOAD] == 27
    assert kept.schedule.counts()[Opcode.STORE] == 4
    assert kept.output_sha256 == plain.output_sha256


def test_the_default_is_the_best() -> None:
    default = ms.run(example("mlp"))
    assert default.schedule.counts()[Opcode.LOAD] <= 27
    for order, keep in product(("mnk", "auto"), (False, True)):
        assert default.cycles <= run(order, keep).cycles


# -- lessons of an earlier build --------------------------------------------------------------------


def test_the_first_step_clears_an_accumulator_that_is_used_again() -> None:
    """One accumulator's place in SRAM, many output tiles: sums of the last tile must not leak into the next."""
    g = ms.Graph()
    g.output(g.input("x", (128, 64)) @ g.weight("w", np.ones((64, 96), np.float32)), "y")
    result = ms.run(g, machine(sram__bytes=3 * TILE_BYTES, compiler__order="mnk"), inputs={"x": np.ones((128, 64))})
    places = result.schedule.matmuls["c_sram"][result.schedule.matmuls["step"] == 0]
    assert len(np.unique(places)) < len(places) == 12
    assert np.array_equal(result.outputs["y"], np.full((128, 96), 64, np.float32))


def test_a_tile_is_copied_row_by_row() -> None:
    """A tile's rows are one pitch apart in a padded row-major tensor, and adjacent in SRAM."""
    x = np.arange(40 * 70, dtype=np.float32).reshape(40, 70)
    g = ms.Graph()
    g.output(g.input("x", x.shape) @ g.weight("w", np.eye(70, dtype=np.float32)), "y")
    result = ms.run(g, inputs={"x": x})
    tensors = result.schedule.tensors
    assert np.all(tensors["pitch"] > 32 * 4)
    assert np.any(tensors["pitch"] > tensors["cols"] * 4)
    assert np.array_equal(result.outputs["y"], x)
