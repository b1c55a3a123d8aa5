"""int16 activations, int8 weights: what is computed, what is moved, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from support.machines import machine

import minisim as ms
from minisim.errors import UnsupportedError
from minisim.hwmodel.array import port_bytes
from minisim.hwmodel.isa import DType, Opcode


def product(graph: ms.Graph, a: str, b: str) -> ms.Tensor:
    return graph.matmul(graph.input("a", (40, 70), dtype=a), graph.weight("b", np.ones((70, 33)), b))


@pytest.mark.parametrize("order", ["auto", "mnk"])
def test_sums_are_int32_and_exact(order: str) -> None:
    graph = ms.Graph()
    graph.output(product(graph, "int16", "int8"), "c")
    runtime = ms.Runtime(graph, machine(compiler__order=order, sram__bytes="32KiB"))
    a = np.random.default_rng(1).integers(-(2**15), 2**15, (40, 70), dtype=np.int16)
    runtime.set("a", a)
    runtime.execute()
    assert runtime.get("c").dtype == np.int32
    assert np.array_equal(runtime.get("c"), np.repeat(a.sum(axis=1, dtype=np.int64)[:, None], 33, axis=1))


def test_a_takes_two_bytes_an_element_and_b_one() -> None:
    graph = ms.Graph()
    graph.output(product(graph, "int16", "int8"))
    schedule = ms.compile_graph(graph, machine())
    loaded = schedule.transfers["tile"][schedule.stream["row"][schedule.stream["opcode"] == Opcode.LOAD]]
    assert schedule.tile_bytes()[loaded].sum() == 2 * 40 * 70 + 70 * 33
    moved = port_bytes(8, 16, 4, machine(), dtype=DType.INT16)
    assert moved.read == 2 * 8 * 16 + 16 * 4


@pytest.mark.parametrize(
    ("a", "b", "rule"),
    [
        ("int16", "int16", r"operands must be float32, .* or int16 by int8, not int16 by int16"),
        ("int8", "int16", r"or int16 by int8, not int8 by int16"),
    ],
)
def test_other_pairs_are_refused(a: str, b: str, rule: str) -> None:
    with pytest.raises(UnsupportedError, match=rule):
        product(ms.Graph(), a, b)


def test_an_array_without_int16_refuses_it() -> None:
    graph = ms.Graph()
    graph.output(product(graph, "int16", "int8"))
    with pytest.raises(UnsupportedError, match=r"the array has no int16 \(matrix.int16_rate is 0\)"):
        ms.compile_graph(graph, machine(matrix__int16_rate=0))
