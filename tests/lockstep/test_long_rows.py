"""Rows that are longer than the SRAM are worked on in parts, with the bits of whole rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.graphs import inputs_of, values
from support.machines import machine
from support.oracle import bits, evaluate
from support.typed import evaluate as evaluate_typed

import minisim as ms
from minisim.compiler.pipeline import computed_graph
from minisim.hwmodel.energy import accesses
from minisim.hwmodel.isa import NONE, REDUCE_WIDTH
from minisim.hwmodel.native import simulate_native
from minisim.hwmodel.simulate import simulate

CHAINS: dict[str, Callable[[ms.Graph, ms.Tensor, list[ms.Tensor]], ms.Tensor]] = {
    "softmax": lambda g, x, _: g.softmax(x),
    "log_softmax": lambda g, x, _: g.log_softmax(x),
    "layer_norm": lambda g, x, affine: g.layer_norm(x, *affine),
    "rms_norm": lambda g, x, affine: g.rms_norm(x, affine[0]),
    "sum": lambda g, x, _: g.reduce_sum(x),
    "max": lambda g, x, _: g.reduce_max(x),
    "mean": lambda g, x, _: g.reduce_mean(x),
}


def chain(name: str, rows: int, cols: int) -> ms.Graph:
    g, rng = ms.Graph(name), np.random.default_rng(0)
    x = g.input("x", (rows, cols))
    affine = [g.weight(f"w{i}", values(rng, (cols,))) for i in range(2)]
    g.output(CHAINS[name](g, x, affine), "y")
    return g


@settings(max_examples=30)
@given(st.data(), st.sampled_from(list(CHAINS)), st.sampled_from(["fp32", "bf16"]))
def test_the_bits_of_whole_rows(data: st.DataObject, name: str, dtype: str) -> None:
    rows, cols = data.draw(st.integers(1, 4)), data.draw(st.sampled_from([3000, 4096, 4127, 6001]))
    graph, special = chain(name, rows, cols), data.draw(st.sampled_from([0.0, 0.0002]))
    inputs = inputs_of(graph, data.draw(st.integers(0, 99)), special)
    there = machine(
        matrix__dtype=dtype, sram__bytes=data.draw(st.sampled_from(["8KiB", "16KiB"])),
        cores__count=data.draw(st.sampled_from([1, 2])),
    )  # fmt: skip
    result = ms.run(graph, there, inputs=inputs)
    vectors = result.schedule.vectors
    if cols * (4 if dtype == "fp32" else 2) * 3 > there.sram.bytes:
        assert (vectors["acc"] != NONE).any() and (vectors["cols"] == REDUCE_WIDTH).any()
    computed = computed_graph(graph, there)
    expected = evaluate(graph, inputs) if dtype == "fp32" else evaluate_typed(computed, inputs)
    assert np.array_equal(bits(result.outputs["y"]), bits(expected["y"]))


def test_minus_zeros_stay_what_they_are() -> None:
    graph = chain("sum", 2, 5000)
    inputs = {"x": np.full((2, 5000), -0.0, np.float32)}
    found = ms.run(graph, machine(sram__bytes="8KiB"), inputs=inputs).outputs["y"]
    assert np.signbit(found).all() and (found == 0).all()


@pytest.mark.parametrize("name", list(CHAINS))
def test_the_engine_counts_what_energy_and_both_timings_are_told(name: str) -> None:
    graph, there = chain(name, 3, 5000), machine(sram__bytes="16KiB")
    schedule = ms.compile_graph(graph, there)
    runtime = ms.Runtime(graph, there, schedule)
    runtime.set("x", inputs_of(graph)["x"])
    runtime.execute()
    moved = accesses(schedule)
    assert runtime.stats.sram_read_bytes == moved.sram_read.sum()
    assert runtime.stats.sram_write_bytes == moved.sram_write.sum()
    definition, native = simulate(schedule, there), simulate_native(schedule, there)
    assert all(np.array_equal(getattr(definition, c), getattr(native, c)) for c in ("issue", "start", "end", "gate"))


def test_a_softmax_over_a_vocabulary_reads_each_part_as_often_as_it_must() -> None:
    """128 k words on the default machine: x for its greatest, again for the exponentials, which come back once."""
    g = ms.Graph("vocabulary")
    g.output(g.softmax(g.input("x", (1, 131072))), "y")
    result = ms.run(g, machine(sram__bytes="256KiB"), numerics=False)
    moved, row = accesses(result.schedule), 4 * 131072
    assert 2 * row <= moved.dram_read.sum() <= 3.1 * row and moved.dram_write.sum() <= 2.1 * row
