"""Row operators on the tiles of their neighbours: what is between stays on chip, and no bit changes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.graphs import inputs_of
from support.machines import machine
from support.oracle import bits, evaluate

import minisim as ms
from minisim import Graph, Machine
from minisim.compiler import builder
from minisim.compiler.ops import row_strips
from minisim.compiler.passes.tile import Tile, with_slabs
from minisim.compiler.pipeline import computed_graph


def attention(heads: int, rows: int, keys: int, width: int, masked: bool = False) -> Graph:
    g = Graph("attention")
    q, k, v = (g.input(name, (heads, size, width)) for name, size in (("q", rows), ("k", keys), ("v", keys)))
    scores = g.matmul(q, k, transpose_b=True, name="scores")
    if masked:
        scores = g.add(g.mul(scores, 0.125, name="scaled"), g.input("mask", (rows, keys)), name="masked")
    g.output(g.matmul(g.softmax(scores, name="softmax"), v, name="out"), "y")
    return g


def moved(schedule: ms.Schedule) -> dict[str, int]:
    """How often tiles of each tensor are loaded or stored."""
    tensors = schedule.tiles["tensor"][schedule.transfers["tile"]]
    return {schedule.tensor_names[i]: int((tensors == i).sum()) for i in np.unique(tensors)}


@pytest.mark.parametrize("rows", [128, 197, 77])
@pytest.mark.parametrize("masked", [False, True])
def test_scores_never_leave_the_chip(rows: int, masked: bool) -> None:
    """Of a head they are 152 KiB, and as much again what softmax makes of them: it goes through SRAM strip by strip."""
    schedule = ms.compile_graph(attention(4, rows, rows, 64, masked), machine(sram__bytes="512KiB"))
    assert moved(schedule).keys() == {"q", "k", "v", "out"} | ({"mask"} if masked else set())
    strips = rows // 32  # a thin last one is dealt out to the others
    assert moved(schedule)["q"] == moved(schedule)["out"] == 4 * strips * 2


def test_it_is_a_third_of_the_cycles() -> None:
    graph = attention(12, 128, 128, 64)
    together = ms.run(graph, "npu_32x32", numerics=False)
    apart = ms.run(graph, machine(compiler__slices=False, compiler__keep_on_chip=False), numerics=False)
    moves = (3 * 12 * 128 * 64 + 12 * 128 * 64) * 4 / 25.6
    assert moves < together.cycles < 0.4 * apart.cycles


@settings(max_examples=25)
@given(st.data())
def test_the_bits_are_those_of_whole_rows(data: st.DataObject) -> None:
    heads, rows, keys, width = (
        data.draw(st.integers(low, high)) for low, high in ((1, 3), (1, 90), (33, 150), (1, 40))
    )
    graph = attention(heads, rows, keys, width, data.draw(st.booleans()))
    inputs = inputs_of(graph, data.draw(st.integers(0, 99)), 0.0)
    there = machine(
        sram__bytes=data.draw(st.sampled_from(["48KiB", "96KiB", "256KiB", "2MiB"])),
        cores__count=data.draw(st.sampled_from([1, 1, 2, 3])),
        tile__m=data.draw(st.sampled_from([8, 32])),
        vector__lanes=data.draw(st.sampled_from([4, 32])),
    )
    found = ms.run(graph, there, inputs=inputs).outputs["y"]
    assert np.array_equal(bits(found), bits(evaluate(graph, inputs)["y"]))


@settings(max_examples=15)
@given(st.data())
def test_of_parts_and_whole_rows_the_sooner_is_taken(data: st.DataObject) -> None:
    g = Graph("norm")
    rows, cols = data.draw(st.integers(1, 200)), data.draw(st.integers(33, 300))
    x = g.matmul(g.input("x", (rows, 40)), g.weight("w", shape=(40, cols)))
    g.output(g.matmul(g.layer_norm(x), g.weight("w1", shape=(cols, 32))))
    there = machine(sram__bytes=data.draw(st.sampled_from(["64KiB", "256KiB", "1MiB"])))
    taken = ms.run(g, there, numerics=False).cycles
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_strips, "tile_as_neighbours", lambda *_: None)
        whole = ms.run(g, there, numerics=False).cycles
    assert taken <= 1.03 * whole


def test_what_is_done_to_a_batch_is_cut_as_the_batch_is() -> None:
    """Tiles of 32 rows do not end where a matrix of 50 rows does, and those of 50 columns are cut anyway."""
    graph = computed_graph(attention(3, 50, 50, 16, masked=True), machine())
    cut = with_slabs(graph, machine())
    slabs = {name: tensor.slab for name, tensor in cut.tensors.items() if tensor.slab}
    assert slabs == dict.fromkeys(["scores", "scaled", "masked", "softmax", "out"], 50)
    assert not any(tensor.slab for tensor in with_slabs(attention(3, 64, 64, 16), machine()).tensors.values())
    tilings = Tile(machine(sram__bytes="1MiB")).apply(graph).tilings
    assert {tiling.slab for tiling in tilings.values()} == {50}


def test_a_row_operator_alone_is_in_whole_rows() -> None:
    g = Graph("alone")
    g.output(g.softmax(g.input("x", (64, 500))))
    assert ms.compile_graph(g, machine(sram__bytes="4MiB")).vectors["cols"].max() == 500


@pytest.mark.parametrize("key", ["compiler__keep_on_chip", "compiler__order"])
def test_machines_that_keep_nothing_have_whole_rows(key: str) -> None:
    there = machine(sram__bytes="1MiB", **{key: "mnk" if key.endswith("order") else False})
    schedule = ms.compile_graph(attention(2, 64, 128, 32), there)
    assert schedule.vectors["cols"].max() == 128


def test_loads_run_ahead_of_elementwise_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results stay on chip for their readers. Were all of the SRAM full of them, each load would wait for a store."""
    g = Graph("elementwise")
    x, y = g.input("x", (2048, 512)), g.input("y", (2048, 512))
    g.output(g.mul(g.add(g.relu(x), g.sigmoid(y)), g.tanh(g.exp(x))))
    there = Machine.of("tpu_like_128x128").replace("sram.bytes=1MiB", "compiler.slices=false")
    ahead = ms.run(g, there, numerics=False).cycles
    monkeypatch.setattr(builder, "AHEAD", 0.0)
    assert ahead < 0.75 * ms.run(g, there, numerics=False).cycles
