"""Results in all types depend on the model, its inputs and the type alone: never on the machine.

As test_bits.py does for float32: random graphs on random machines, memories from the least upwards, with and
without an accumulator memory, against an oracle that knows nothing of tiles.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.graphs import graphs, inputs_of
from support.machines import machine, with_memories
from support.oracle import Array
from support.typed import evaluate, int8_graphs, int8_inputs, mixed_graphs, typed_machines, values_of

import minisim as ms
from minisim.compiler.example_inputs import example_inputs
from minisim.compiler.pipeline import computed_graph
from minisim.errors import ModelError

SEEDS = st.integers(0, 2**32 - 1)
SLACKS = (1.0, 1.0, 1.3, 2.0, 10.0)


def bits(outputs: dict[str, Array]) -> dict[str, tuple[str, bytes]]:
    return {name: (array.dtype.str, np.ascontiguousarray(array).tobytes()) for name, array in outputs.items()}


@st.composite
def tight_machines(draw: st.DrawFn, graph: ms.Graph, dtype: str) -> ms.Machine:
    return with_memories(draw, graph, draw(typed_machines(dtype)), SLACKS)


@settings(max_examples=60)
@given(st.data(), st.one_of(graphs(), graphs(special=0.02)), SEEDS, st.sampled_from(["bf16", "fp16"]))
def test_narrow_floats(data: st.DataObject, graph: ms.Graph, seed: int, dtype: str) -> None:
    inputs = inputs_of(graph, seed, special=data.draw(st.sampled_from([0.0, 0.02])))
    expected = evaluate(computed_graph(graph, machine(matrix__dtype=dtype)), inputs)
    for _ in range(2):
        result = ms.run(graph, data.draw(tight_machines(graph, dtype)), inputs=inputs)
        assert bits(dict(result.outputs)) == bits(expected)


@settings(max_examples=60)
@given(st.data(), mixed_graphs(), SEEDS, st.sampled_from(["fp32", "bf16", "fp16"]))
def test_mixed_types(data: st.DataObject, graph: ms.Graph, seed: int, dtype: str) -> None:
    """All types in one model, which stay what they are; but float32 is what the machine computes in."""
    assume(graph.outputs)
    rng = np.random.default_rng(seed)
    inputs = {name: values_of(rng, graph.tensors[name].dtype, graph.tensors[name].shape) for name in graph.inputs}
    found = evaluate(computed_graph(graph, machine(matrix__dtype=dtype)), inputs)
    expected = {
        public: array.astype(np.float16) if graph.tensors[graph.outputs[public]].dtype == "float16" else array
        for public, array in found.items()
    }
    result = ms.run(graph, data.draw(tight_machines(graph, dtype)), inputs=inputs)
    assert bits(dict(result.outputs)) == bits(expected)


@settings(max_examples=60)
@given(st.data(), int8_graphs(), SEEDS, st.sampled_from(["fp32", "bf16", "int8"]))
def test_int8(data: st.DataObject, graph: ms.Graph, seed: int, dtype: str) -> None:
    """An int8 model is int8 on every machine that has the type, whatever that computes float models in."""
    assume(graph.outputs)
    inputs = int8_inputs(graph, seed)
    expected = evaluate(graph, inputs)
    for _ in range(2):
        result = ms.run(graph, data.draw(tight_machines(graph, dtype)), inputs=inputs)
        assert bits(dict(result.outputs)) == bits(expected)
        assert result.max_abs_error == 0


@settings(max_examples=60)
@given(st.data(), graphs(), SEEDS)
def test_quantised(data: st.DataObject, graph: ms.Graph, seed: int) -> None:
    """A float model on an int8 machine: the bits of the quantised graph, in integers and in floats between them."""
    inputs, on = inputs_of(graph, seed), machine(matrix__dtype="int8")
    try:
        computed = computed_graph(graph, on)
    except ModelError:  # drawn values may overflow, and have no scale
        assert not all(np.isfinite(x).all() for x in graph.evaluate(example_inputs(graph)).values())
        return
    fed = dict(inputs)
    for name, array in inputs.items():
        if (scale := computed.tensors[name].scale) is not None:
            fed[name] = np.clip(np.rint(array.astype(np.float64) / scale), -127, 127).astype(np.int8)
    expected = evaluate(computed, fed)
    for public, name in computed.outputs.items():
        if (scale := computed.tensors[name].scale) is not None:
            expected[public] = (expected[public] * np.float64(scale)).astype(np.float32)
    result = ms.run(graph, data.draw(tight_machines(graph, "int8")), inputs=inputs)
    assert bits(dict(result.outputs)) == bits(expected)


@pytest.mark.parametrize(("dtype", "error"), [("fp32", 1e-6), ("bf16", 0.01), ("fp16", 0.002), ("int8", 0.05)])
@pytest.mark.parametrize("accumulator", [0, 2**14])
def test_the_error_of_each_type(dtype: str, error: float, accumulator: int) -> None:
    """A three-layer perceptron, relative to its largest output: 24, 8, 11 and about 7 bits."""
    graph = ms.Graph("mlp")
    rng = np.random.default_rng(5)
    h = graph.input("x", (40, 96), data=rng.standard_normal((40, 96)))
    for i, (k, n) in enumerate([(96, 64), (64, 33), (33, 10)]):
        w, b = rng.standard_normal((k, n)) / np.sqrt(k), 0.1 * rng.standard_normal(n)
        h = h @ graph.weight(f"w{i}", w) + graph.weight(f"b{i}", b)
        h = graph.relu(h) if i < 2 else h
    graph.output(h, "y")
    result = ms.run(graph, machine(matrix__dtype=dtype, accumulator__bytes=accumulator))
    largest = float(np.abs(result.outputs["y"]).max())
    assert result.max_abs_error is not None
    assert 0 < result.max_abs_error < error * largest
    if dtype != "fp32":
        assert result.max_abs_error > 1e-4 * largest  # it is not float32 in disguise
