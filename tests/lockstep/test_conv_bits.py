"""Convolutions have the bits of their definition on every machine, and each tap's pixel is read where it lies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.convs import convs
from support.graphs import inputs_of, values
from support.machines import machine, machines, machines_for, with_memories
from support.oracle import Array, bits, evaluate, exact_matmul
from support.typed import evaluate as evaluate_typed
from support.typed import typed_machines

import minisim as ms
from minisim.compiler.pipeline import computed_graph
from minisim.errors import UnsupportedError
from minisim.hwmodel.energy import accesses
from minisim.hwmodel.isa import NONE
from minisim.hwmodel.native import simulate_native
from minisim.hwmodel.simulate import simulate

SEEDS = st.integers(0, 2**32 - 1)


def same(found: dict[str, Array], expected: dict[str, Array]) -> bool:
    return all(np.array_equal(bits(found[name]), bits(expected[name])) for name in expected)


@settings(max_examples=30)
@given(st.data(), convs(), SEEDS)
def test_every_machine_gives_the_bits_of_the_definition(data: st.DataObject, graph: ms.Graph, seed: int) -> None:
    inputs = inputs_of(graph, seed)
    expected, base = evaluate(graph, inputs), data.draw(machines_for(graph))
    cores = data.draw(st.sampled_from([2, 3]))
    for there in (base, data.draw(machines_for(graph)), base.with_overrides({"cores.count": cores})):
        result = ms.run(graph, there, inputs=inputs)
        assert same(dict(result.outputs), expected)


@settings(max_examples=20)
@given(st.data(), convs())
def test_the_engine_counts_what_energy_and_both_timings_are_told(data: st.DataObject, graph: ms.Graph) -> None:
    there = data.draw(machines_for(graph)).with_overrides({"matrix.packs_taps": data.draw(st.booleans())})
    schedule = ms.compile_graph(graph, there)
    runtime = ms.Runtime(graph, there, schedule)
    for name, array in inputs_of(graph).items():
        runtime.set(name, array)
    runtime.execute()
    moved = accesses(schedule)
    assert runtime.stats.sram_read_bytes == moved.sram_read.sum()
    assert runtime.stats.sram_write_bytes == moved.sram_write.sum()
    assert runtime.stats.macs == schedule.layers["macs"].sum()
    definition, native = simulate(schedule, there), simulate_native(schedule, there)
    assert all(np.array_equal(getattr(definition, c), getattr(native, c)) for c in ("issue", "start", "end", "gate"))


@settings(max_examples=14)
@given(st.data(), convs(special=0.02), SEEDS)
def test_so_they_do_on_special_values(data: st.DataObject, graph: ms.Graph, seed: int) -> None:
    inputs = inputs_of(graph, seed, special=0.05)
    expected = evaluate(graph, inputs)
    assert same(dict(ms.run(graph, data.draw(machines_for(graph)), inputs=inputs).outputs), expected)


@settings(max_examples=16)
@given(st.data(), convs(), SEEDS)
def test_in_bf16_and_int8(data: st.DataObject, graph: ms.Graph, seed: int) -> None:
    """What fusion leaves for int8 to refuse (a residual, a sigmoid) is computed in bf16 alone."""
    inputs = inputs_of(graph, seed)
    for dtype in ("bf16", "int8"):
        there = data.draw(typed_machines(dtype))
        try:
            there = with_memories(data.draw, graph, there, (1.0, 1.5, 4.0))
            runtime = ms.Runtime(graph, there)
        except UnsupportedError:
            assert dtype == "int8"
            continue
        for name, array in inputs.items():
            runtime.set(name, array)
        runtime.execute()
        computed = computed_graph(graph, there)
        given_ = {
            name: array if dtype == "bf16" else _quantised(array, computed.tensors[name].scale)
            for name, array in inputs.items()
        }
        expected = evaluate_typed(computed, given_)["y"]
        scale = computed.tensors[computed.outputs["y"]].scale
        found = runtime.get("y")
        if scale is not None:
            expected = (expected * np.float64(scale)).astype(np.float32)
        assert np.array_equal(bits(found), bits(expected))


def _quantised(x: Array, scale: float | None) -> Array:
    assert scale is not None
    return np.clip(np.rint(x.astype(np.float64) / scale), -127, 127).astype(np.int8)


@settings(max_examples=15)
@given(st.data(), st.integers(1, 3), st.integers(1, 3), SEEDS)
def test_a_convolution_is_one_exact_chain_per_element(data: st.DataObject, r: int, s: int, seed: int) -> None:
    """Against rational arithmetic, with channels on both sides of a block."""
    rng = np.random.default_rng(seed)
    channels = data.draw(st.sampled_from([2, 33, 34]))
    g = ms.Graph()
    x = g.input("x", (1, 3, 4, channels))
    g.output(g.conv2d(x, g.weight("w", values(rng, (r, s, channels, 2))), pads=1), "y")
    inputs = inputs_of(g, seed)
    expected = evaluate(g, inputs, matmul=exact_matmul)
    found = ms.run(g, data.draw(machines(smallest_tile=1, largest_tile=16)), inputs=inputs).outputs
    assert same(dict(found), expected)


@pytest.mark.parametrize(("sram", "packs"), [("256KiB", False), ("384KiB", True)])
def test_steps_of_k_that_cross_from_block_to_block(sram: str, packs: bool) -> None:
    """128 steps of k fill the rows of the array: four of the nine taps of a block, or the last one and three more; so
    do 256 that are computed by one operation."""
    g = ms.Graph()
    x = g.input("x", (1, 11, 12, 96))
    w = values(np.random.default_rng(1), (3, 3, 96, 72))
    g.output(g.relu(g.conv2d(x, g.weight("w", w), pads=1, name="y")), "y")
    there = machine(matrix__rows=128, matrix__cols=32, sram__bytes=sram, matrix__packs_taps=packs)
    inputs = inputs_of(g)
    result = ms.run(g, there, inputs=inputs)
    assert set(result.schedule.matmuls["k"]) in ({128, 9 * 96 - 6 * 128}, {256, 9 * 96 - 3 * 256})
    assert same(dict(result.outputs), evaluate(g, inputs))


def test_filters_that_are_computed() -> None:
    """With few channels they lie as the order of k wants them; with more they are refused."""
    g = ms.Graph()
    x, w = g.input("x", (2, 6, 5, 7)), g.input("w", (3, 3, 7, 5))
    g.output(g.conv2d(x, g.relu(w), pads=(0, 1)), "y")
    inputs = inputs_of(g)
    assert same(dict(ms.run(g, machine(), inputs=inputs).outputs), evaluate(g, inputs))
    with pytest.raises(UnsupportedError, match="at most 32 channels, not 33"):
        g.conv2d(g.input("x2", (1, 6, 5, 33)), g.input("w2", (3, 3, 33, 5)))


def test_the_input_is_loaded_once_where_it_fits() -> None:
    """Bytes from DRAM are the union of what is read: no tap is a load of its own, and no halo either."""
    g = ms.Graph()
    x = g.input("x", (2, 20, 24, 40))
    g.output(g.conv2d(x, g.weight("w", shape=(5, 5, 40, 24)), pads=2, name="y"))
    result = ms.run(g, machine(sram__bytes="4MiB"), numerics=False)
    assert accesses(result.schedule).dram_read.sum() == 4 * (2 * 20 * 24 * 40 + 25 * 40 * 24)


@pytest.mark.parametrize(
    ("kernel", "strides", "pads", "lines", "columns"),
    [
        ((1, 1), (2, 2), 0, 5, 6),
        ((1, 1), (1, 3), 0, 10, 4),
        ((3, 1), (2, 2), (1, 0), 10, 6),
        ((2, 1), (4, 4), (0, 0), 6, 3),
        ((1, 1), (2, 5), 0, 5, 12),  # 5 does not divide the line: all of it is loaded
    ],
)
def test_of_a_line_the_columns_that_no_tap_reads_are_not_loaded(
    kernel: tuple[int, int], strides: tuple[int, int], pads: tuple[int, int] | int, lines: int, columns: int
) -> None:
    g = ms.Graph()
    x = g.input("x", (2, 10, 12, 40))
    w = values(np.random.default_rng(2), (*kernel, 40, 24))
    g.output(g.conv2d(x, g.weight("w", w), strides=strides, pads=pads), "y")
    g.output(g.relu(x), "z")  # who reads it all is not disturbed
    inputs = inputs_of(g)
    result = ms.run(g, machine(sram__bytes="1MiB"), inputs=inputs)
    assert same(dict(result.outputs), evaluate(g, inputs))
    taken = 2 * lines * columns * 40
    assert accesses(result.schedule).dram_read.sum() == 4 * (2 * 10 * 12 * 40 + taken + w.size)


def test_lines_that_only_padding_lies_under_are_not_read() -> None:
    g = ms.Graph()
    x = g.input("x", (1, 2, 8, 4))
    g.output(g.conv2d(x, g.weight("w", shape=(1, 1, 4, 4)), pads=(40, 0), name="y"))
    result = ms.run(g, machine())
    assert (result.schedule.matmuls["a_pieces"] == NONE).any()
    assert np.all(result.outputs["y"][0, :40] == 0)
