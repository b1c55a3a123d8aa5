"""Layers that are lowered once (`lowered.py`): what is put into a program is what would have been lowered there."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings, target
from hypothesis import strategies as st
from support.graphs import graphs
from support.machines import machines_for

import minisim as ms
from minisim.compiler import lowered
from minisim.compiler.builder import ProgramBuilder
from minisim.compiler.decoders import TransformerDecoder
from minisim.compiler.frontend.pasts import Place
from minisim.compiler.ops import OPERATORS
from minisim.compiler.ops.attention import Attention
from minisim.compiler.passes.lower import Lower
from minisim.compiler.passes.slice import Slice
from minisim.compiler.passes.tile import Tile
from minisim.compiler.pipeline import computed_graph
from minisim.compiler.program import Program
from minisim.compiler.tiling import TiledGraph
from minisim.compiler.transformers import transformer
from minisim.errors import CapacityError


@pytest.fixture(autouse=True)
def _nothing_is_kept() -> None:
    lowered._KEPT.clear()


def directly(tiled: TiledGraph, machine: ms.Machine) -> Program:
    """All layers lowered in their place."""
    program = ProgramBuilder(tiled.graph, machine)
    for node in tiled.executed():
        OPERATORS[node.op].lower(node, tiled.graph, tiled.tilings[node.name], program)
    return program.finish()


def assert_equal(one: Program, other: Program) -> None:
    for field in fields(Program):
        mine, its = getattr(one, field.name), getattr(other, field.name)
        if isinstance(mine, np.ndarray):
            assert (mine.dtype, mine.tobytes()) == (its.dtype, its.tobytes()), field.name
        else:
            assert mine == its, field.name


def tiled_for(graph: ms.Graph, machine: ms.Machine) -> TiledGraph:
    return Tile(machine).apply(computed_graph(graph, machine, numerics=False))


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_a_program_is_the_same_whether_its_layers_are_lowered_there_or_kept_from_before(data: st.DataObject) -> None:
    graph = data.draw(graphs())
    machine = data.draw(machines_for(graph)).replace("compiler.effort=0")
    tiled = tiled_for(graph, machine)
    expected = directly(tiled, machine)
    for _ in range(2):  # lowered, and kept
        assert_equal(lowered.lower(tiled, machine).finish(), expected)


@pytest.mark.parametrize("network", ["lenet5", "mobilenet_v3_small:size=32", "attention:3x70x16"])
def test_networks_are_the_same(network: str) -> None:
    machine = ms.Machine.load("npu_32x32").replace("compiler.effort=0")
    tiled = tiled_for(ms.load_model(network), machine)
    for _ in range(2):
        assert_equal(lowered.lower(tiled, machine).finish(), directly(tiled, machine))


@pytest.mark.parametrize("past", [0, 37, 300])
@pytest.mark.parametrize("name", ["gpt2:small", "llama3:8b,kv_heads=2", "llama:7b"])
def test_layers_that_read_a_part_of_a_state_are_the_same_and_lowered_once(
    name: str, past: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = ms.Machine.load("npu_32x32").replace("compiler.effort=0")
    model = TransformerDecoder(transformer(f"{name},layers=3,hidden=64,heads=4,ffn=96,vocab=50"))
    graph = model.graph(Place(1, past, past + 3, 2))
    tiled = Tile(machine).apply(computed_graph(graph, machine, numerics=False))
    expected = directly(tiled, machine)
    calls: list[str] = []
    lower = Attention.lower
    monkeypatch.setattr(
        Attention, "lower", lambda self, node, *more: calls.append(node.name) or lower(self, node, *more)
    )
    for _ in range(2):
        assert_equal(lowered.lower(tiled, machine).finish(), expected)
    attentions = [node for node in tiled.executed() if node.op == "Attention"]
    assert len(calls) == len({tiled.tilings[node.name] for node in attentions})
    assert attentions or past < 300


@settings(deadline=None, max_examples=20)
@given(st.data())
def test_what_slicing_has_lowered_is_what_would_be_lowered(data: st.DataObject) -> None:
    """And it is handed over once, to a machine that differs in speed alone: scheduling writes to it."""
    graph = data.draw(graphs())
    machine = data.draw(machines_for(graph)).replace("compiler.effort=0", "compiler.order=auto")
    tiled = tiled_for(graph, machine)
    try:
        sliced = Slice(machine).apply(tiled)
    except CapacityError:
        return
    plain = TiledGraph(sliced.graph, sliced.tilings, sliced.slices, sliced.edges)
    expected = Lower(machine).apply(plain)
    is_at_hand = bool(sliced.at_hand)
    target(float(is_at_hand))
    larger = machine.replace(f"sram.bytes={2 * machine.sram.bytes}")
    assert_equal(Lower(larger).apply(sliced), Lower(larger).apply(plain))
    assert bool(sliced.at_hand) is is_at_hand and sliced == plain
    faster = machine.replace(f"vector.lanes={2 * machine.vector.lanes}")
    for on in (faster, machine):
        assert_equal(Lower(on).apply(sliced), expected)
        assert not sliced.at_hand


def test_a_graph_without_slices_is_lowered_twice_and_not_three_times(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    finish = ProgramBuilder.finish
    monkeypatch.setattr(ProgramBuilder, "finish", lambda self: made.append(1) or finish(self))
    machine = ms.Machine().replace("compiler.effort=0")
    ms.compile_graph(of_constants(2.0, 3.0), machine)
    assert len(made) == 2  # as it is, and in rows of tiles


def of_constants(*constants: float, dtype: str = "float32") -> ms.Graph:
    graph = ms.Graph()
    x = graph.input("x", (3, 5), dtype=dtype)
    for i, constant in enumerate(constants):
        graph.output(graph.mul(x, constant), f"y{i}")
    return graph


def test_numbers_that_are_equal_but_other_bits_make_layers_of_their_own() -> None:
    result = ms.run(of_constants(0.0, -0.0, 0.0), inputs={"x": np.ones((3, 5), np.float32)})
    assert [np.signbit(y).all() for y in result.outputs.values()] == [False, True, False]


def test_equal_layers_are_lowered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = ms.Machine()
    tiled = tiled_for(of_constants(2.0, 3.0, 2.0, 2.0), machine)
    calls: list[str] = []
    multiplies = type(OPERATORS["Mul"])
    lower = multiplies.lower
    monkeypatch.setattr(
        multiplies, "lower", lambda self, node, *more: calls.append(node.name) or lower(self, node, *more)
    )
    Lower(machine).apply(tiled)
    assert len(calls) == 2
    Lower(machine).apply(tiled)  # another program of the same layers
    assert len(calls) == 2
    Lower(machine.replace("sram.bytes=1MiB")).apply(tiled)
    assert len(calls) == 4


def test_what_is_kept_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    machine, tiled = ms.Machine(), tiled_for(of_constants(*range(2, 12)), ms.Machine())
    Lower(machine).apply(tiled)
    each = lowered._KEPT.nbytes() // 10
    lowered._KEPT.clear()
    monkeypatch.setattr(lowered._KEPT, "room", 3 * each)
    Lower(machine).apply(tiled)
    assert len(lowered._KEPT) == 3
    assert lowered._KEPT.nbytes() == 3 * each
    lowered._KEPT.clear()
    monkeypatch.setattr(lowered._KEPT, "most", each - 1)
    Lower(machine).apply(tiled)
    assert not len(lowered._KEPT)


def test_an_input_and_what_is_made_are_layers_of_their_own() -> None:
    """Of two equal convolutions, with a stride that leaves pixels out, the input's may be cut so that these are not
    read."""
    graph = ms.Graph()
    x, w = graph.input("x", (1, 8, 8, 4)), graph.weight("w", shape=(1, 1, 4, 8))
    graph.output(graph.conv2d(x, w, strides=2), "of_input")
    graph.output(graph.conv2d(graph.relu(x), w, strides=2), "of_made")
    machine = ms.Machine.load("npu_32x32").replace("compiler.effort=0")
    tiled = tiled_for(graph, machine)
    convolutions = [node for node in tiled.executed() if node.op == "Conv"]
    (one, other) = (lowered.Layer(node, tiled.graph, tiled.tilings[convolutions[0].name], machine)
                    for node in convolutions)  # fmt: skip
    assert one.excerpt == other.excerpt and one != other
    assert_equal(lowered.lower(tiled, machine).finish(), directly(tiled, machine))
