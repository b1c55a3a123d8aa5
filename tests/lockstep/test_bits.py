"""Results depend on the model and its inputs alone: never on the machine.

Random graphs on random machines, from the least SRAM that can hold one operation upwards, against an
oracle that knows nothing of tiles; and that oracle, in turn, against exact rational arithmetic.
"""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from support.graphs import SPECIAL, graphs, inputs_of
from support.machines import machines, machines_for
from support.oracle import Array, evaluate, exact_matmul, fma

import minisim as ms

SEEDS = st.integers(0, 2**32 - 1)


def bits(outputs: dict[str, Array]) -> dict[str, bytes]:
    return {name: np.ascontiguousarray(array, dtype=np.float32).tobytes() for name, array in outputs.items()}


def check_bits(data: st.DataObject, graph: ms.Graph, inputs: dict[str, Array], machines: int) -> None:
    expected = evaluate(graph, inputs)
    for _ in range(machines):
        machine = data.draw(machines_for(graph))
        result = ms.run(graph, machine, inputs=inputs)
        assert {name: array.shape for name, array in result.outputs.items()} == {
            name: array.shape for name, array in expected.items()
        }
        assert bits(dict(result.outputs)) == bits(expected)


@settings(max_examples=60)
@given(st.data(), graphs(), SEEDS)
def test_every_machine_gives_the_bits_of_the_definition(data: st.DataObject, graph: ms.Graph, seed: int) -> None:
    check_bits(data, graph, inputs_of(graph, seed), machines=3)


@settings(max_examples=40)
@given(st.data(), graphs(), SEEDS)
def test_any_number_of_cores_gives_them(data: st.DataObject, graph: ms.Graph, seed: int) -> None:
    """k is never split, and what travels between cores travels through DRAM unchanged."""
    inputs = inputs_of(graph, seed)
    expected, machine = bits(evaluate(graph, inputs)), data.draw(machines_for(graph))
    for count in (1, data.draw(st.sampled_from([2, 3, 4])), 16):
        result = ms.run(graph, machine.with_overrides({"cores.count": count}), inputs=inputs)
        assert bits(dict(result.outputs)) == expected


@settings(max_examples=40)
@given(st.data(), graphs(special=0.02), SEEDS, st.sampled_from([0.001, 0.05, 0.5]))
def test_so_they_do_on_special_values(data: st.DataObject, graph: ms.Graph, seed: int, share: float) -> None:
    check_bits(data, graph, inputs_of(graph, seed, special=share), machines=2)


# -- against exact arithmetic -----------------------------------------------------------------------

FLOATS = st.one_of(st.floats(width=32), st.floats(-2, 2, width=32), st.sampled_from(SPECIAL.tolist()))


@st.composite
def matrices(draw: st.DrawFn, rows: int, cols: int) -> Array:
    return np.array(draw(st.lists(FLOATS, min_size=rows * cols, max_size=rows * cols)), np.float32).reshape(rows, cols)


@settings(max_examples=60)
@given(st.data(), st.integers(1, 3), st.integers(1, 11), st.integers(1, 3))
def test_a_matmul_is_one_exact_chain_per_element(data: st.DataObject, m: int, k: int, n: int) -> None:
    graph = ms.Graph()
    x = graph.input("x", (m, k))
    graph.output(x @ graph.weight("w", data.draw(matrices(k, n))), "y")
    inputs = {"x": data.draw(matrices(m, k))}
    result = ms.run(graph, data.draw(machines(smallest_tile=1, largest_tile=4)), inputs=inputs)
    assert bits(dict(result.outputs)) == bits(evaluate(graph, inputs, matmul=exact_matmul))


@given(st.floats(width=32, allow_nan=False), st.floats(width=32, allow_nan=False))
def test_the_exact_oracle_rounds_as_numpy_does_where_numpy_can_tell(x: float, y: float) -> None:
    """A product alone, and a sum alone, are one rounding in numpy, too."""
    with np.errstate(all="ignore"):
        product, total = np.float32(x) * np.float32(y), np.float32(x) + np.float32(y)
    assert np.array_equal(np.float32(fma(x, y, -0.0 if np.signbit(product) else 0.0)), product, equal_nan=True)
    assert np.array_equal(np.float32(fma(x, 1.0, y)), total, equal_nan=True)


def test_the_exact_oracle_rounds_once() -> None:
    """(1 + 2^-12)^2 - 1 - 2^-11 is 2^-24: a product that is rounded before the sum gives 0."""
    x = 1 + 2.0**-12
    assert fma(x, x, -1 - 2.0**-11) == 2.0**-24
