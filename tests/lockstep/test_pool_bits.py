"""Poolings have the bits of their definition on every machine, and each tap's pixel is read where it lies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.graphs import inputs_of, values
from support.machines import machine, machines_for, with_memories
from support.oracle import Array, bits, evaluate
from support.pools import pools
from support.typed import evaluate as evaluate_typed
from support.typed import typed_machines

import minisim as ms
from minisim.compiler.pipeline import computed_graph
from minisim.errors import ModelError
from minisim.hwmodel.energy import accesses
from minisim.hwmodel.isa import NONE
from minisim.hwmodel.native import simulate_native
from minisim.hwmodel.simulate import simulate

SEEDS = st.integers(0, 2**32 - 1)


def same(found: dict[str, Array], expected: dict[str, Array]) -> bool:
    return all(np.array_equal(bits(found[name]), bits(expected[name])) for name in expected)


@settings(max_examples=50)
@given(st.data(), pools(), SEEDS, st.sampled_from([0.0, 0.05]))
def test_every_machine_gives_the_bits_of_the_definition(
    data: st.DataObject, graph: ms.Graph, seed: int, special: float
) -> None:
    inputs = inputs_of(graph, seed, special)
    expected, base = evaluate(graph, inputs), data.draw(machines_for(graph))
    cores = data.draw(st.sampled_from([2, 3]))
    for there in (base, base.with_overrides({"cores.count": cores})):
        assert same(dict(ms.run(graph, there, inputs=inputs).outputs), expected)


@settings(max_examples=20)
@given(st.data(), pools())
def test_the_engine_counts_what_energy_and_both_timings_are_told(data: st.DataObject, graph: ms.Graph) -> None:
    there = data.draw(machines_for(graph))
    schedule = ms.compile_graph(graph, there)
    runtime = ms.Runtime(graph, there, schedule)
    for name, array in inputs_of(graph).items():
        runtime.set(name, array)
    runtime.execute()
    moved = accesses(schedule)
    assert runtime.stats.sram_read_bytes == moved.sram_read.sum()
    assert runtime.stats.sram_write_bytes == moved.sram_write.sum()
    definition, native = simulate(schedule, there), simulate_native(schedule, there)
    assert all(np.array_equal(getattr(definition, c), getattr(native, c)) for c in ("issue", "start", "end", "gate"))


@settings(max_examples=20)
@given(st.data(), st.sampled_from(["bf16", "int8"]), SEEDS)
def test_in_bf16_and_int8(data: st.DataObject, dtype: str, seed: int) -> None:
    """Of int8 there are maxima, and relu."""
    graph = data.draw(pools() if dtype == "bf16" else pools(kinds=("max_pool",)))
    inputs = inputs_of(graph, seed)
    try:
        there = with_memories(data.draw, graph, data.draw(typed_machines(dtype)), (1.0, 1.5, 4.0))
    except ModelError:  # no scale covers what padding alone gives
        assume(dtype != "int8")
        raise
    computed = computed_graph(graph, there, numerics=dtype == "bf16")
    runtime = ms.Runtime(computed, there)
    for name, array in inputs.items():
        values = array if dtype == "bf16" else np.clip(40 * array, -128, 127).astype(np.int8)
        inputs[name] = values
        runtime.set(name, values)
    runtime.execute()
    assert np.array_equal(bits(runtime.get("y")), bits(evaluate_typed(computed, inputs)["y"]))


def test_a_fold_in_steps_goes_on_from_what_it_left() -> None:
    """A pooling of all of an image that no scratchpad here holds: the same bits as in one operation."""
    g = ms.Graph()
    x = g.input("x", (2, 30, 30, 40))
    g.output(g.global_average_pool(x), "mean")
    g.output(g.global_max_pool(x), "greatest")
    inputs = inputs_of(g, special=0.0001)
    results = [ms.run(g, machine(sram__bytes=size), inputs=inputs) for size in ("64KiB", "4MiB")]
    for result in results:
        assert same(dict(result.outputs), evaluate(g, inputs))
    steps = [(result.schedule.vectors["acc"] != NONE).sum() for result in results]
    assert steps[0] > 10 and steps[1] == 0
    small, large = (accesses(result.schedule).dram_read.sum() for result in results)
    assert large == 4 * 2 * 900 * 40 <= small <= 2 * large  # for two readers, each image at most once


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_windows_of_padding_alone(dtype: str) -> None:
    g = ms.Graph()
    x = g.input("x", (1, 2, 5, 3))
    g.output(g.max_pool(x, 2, strides=1, pads=(7, 0, 9, 0)), "greatest")
    g.output(g.sum_pool(x, 2, strides=1, pads=(7, 0, 9, 0)), "sum")
    result = ms.run(g, machine(matrix__dtype=dtype, tile__m=4, tile__n=4))
    assert (result.schedule.vectors["src0_pieces"] == NONE).any()
    assert np.all(result.outputs["greatest"][0, :6] == -np.inf) and np.all(result.outputs["sum"][0, 9:] == 0)


@pytest.mark.parametrize("cores", [1, 2])
def test_between_convolutions_in_a_slice(cores: int) -> None:
    """Layers walked together: operands made of pieces are the array's and the vector unit's in turns."""
    rng, g = np.random.default_rng(0), ms.Graph()
    x = g.input("x", (1, 30, 33, 24))
    y = g.relu(g.conv2d(x, g.weight("w0", values(rng, (3, 3, 24, 24))), pads=1))
    y = g.average_pool(g.max_pool(y, 3, strides=1, pads=1), 2, strides=1, pads=1)
    g.output(g.conv2d(y, g.weight("w1", values(rng, (1, 1, 24, 24)))), "y")
    inputs = inputs_of(g)
    result = ms.run(g, machine(sram__bytes="64KiB", cores__count=cores), inputs=inputs)
    first = result.schedule.layers["slice"]
    assert cores > 1 or any((first == i).sum() > 2 for i in first)
    assert same(dict(result.outputs), evaluate(g, inputs))
