"""Matrices that lie beside each other, as the heads of attention do: nothing is moved, and the bits are the same."""

from __future__ import annotations

import re

import numpy as np
import pytest
from support.machines import machine
from support.oracle import evaluate

import minisim as ms
from minisim.compiler.example_inputs import example_inputs
from minisim.hwmodel.isa import Opcode, Role

HEADS, GROUPS, D = 6, 2, 20


def attention(m: int = 40, rows: int = 70) -> ms.Graph:
    g = ms.Graph("heads")
    q, k, v = g.input("q", (m, HEADS * D)), g.input("k", (rows, GROUPS * D)), g.input("v", (rows, GROUPS * D))
    scores = g.matmul_of_heads(q, k, a_heads=HEADS, b_heads=GROUPS, transpose_b=True, name="scores")
    y = g.matmul_of_heads(g.softmax(scores), v, b_heads=GROUPS, joins=True, name="y")
    g.output(g.relu(g.matmul(y, g.weight("w", shape=(HEADS * D, 33)))), "o")
    return g


@pytest.mark.parametrize("keys", [{}, {"sram__bytes": 32 * 1024}, {"cores__count": 4}, {"tile__n": 8, "tile__k": 8}])
def test_the_bits_are_those_of_the_definition_on_every_machine(keys: dict[str, object]) -> None:
    graph = attention()
    inputs = example_inputs(graph)
    found = ms.run(graph, machine(**keys), inputs=inputs).outputs["o"]
    np.testing.assert_array_equal(found.view(np.uint32), evaluate(graph, inputs)["o"].view(np.uint32))


def test_numpy_means_the_same() -> None:
    graph = attention()
    inputs = example_inputs(graph)
    values = graph.evaluate(inputs)
    q, k, v = (inputs[name].astype(np.float64) for name in "qkv")
    for head in range(HEADS):
        mine, shared = (slice(i * D, i * D + D) for i in (head, head * GROUPS // HEADS))
        scores = q[:, mine] @ k[:, shared].T
        np.testing.assert_allclose(values["scores"][head], scores, rtol=1e-12)
        weights = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(values["y"][:, mine], weights @ v[:, shared], rtol=1e-12)


def test_nothing_is_moved_for_it() -> None:
    """Each input is loaded once, as it lies, and copied by nobody."""
    schedule = ms.compile_graph(attention(), machine(sram__bytes=2**20))
    loads = schedule.stream["opcode"] == Opcode.LOAD
    tiles = schedule.transfers["tile"][schedule.stream["row"][loads]]
    given = np.isin(schedule.tensors["role"][schedule.tiles["tensor"][tiles]], (Role.INPUT, Role.WEIGHT))
    moved = int(schedule.tile_bytes()[tiles[given]].sum())
    assert moved == 4 * (40 * HEADS * D + 2 * 70 * GROUPS * D + HEADS * D * 33)
    assert set(schedule.layer_ops) == {"MatMul", "Softmax", "FusedMatMulReLU"}


@pytest.mark.parametrize(
    ("shapes", "heads", "message"),
    [
        (((4, 10), (3, 8)), (3, 1), "an operand of 3 heads must have two dimensions, the second a multiple of 3, not "
         "shape (4, 10)"),
        (((4, 12), (5, 18)), (2, 3), "the heads of (2, 4, 6) must be a multiple of those of (3, 5, 6)"),
        (((4, 12), (5, 6)), (2, 2), "inner dimensions must be equal, not 6 and 3"),
        (((4, 12), (5, 6)), (2, 0), "the heads of (2, 4, 6) must be a multiple of those of (5, 6)"),
        (((4, 12), (5, 6)), (-1, 0), "heads must be from 1, not -1"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told(shapes: tuple[tuple[int, ...], ...], heads: tuple[int, int], message: str) -> None:
    g = ms.Graph()
    a, b = (g.input(name, shape) for name, shape in zip("ab", shapes, strict=True))
    with pytest.raises(ms.MinisimError, match=re.escape(message)):
        g.matmul_of_heads(a, b, a_heads=heads[0], b_heads=heads[1], transpose_b=True)


def test_what_follows_joined_products_is_not_fused_into_them() -> None:
    """Their tiles are those of the heads: a bias or a residual is cut otherwise."""
    g = ms.Graph()
    p, v = g.input("p", (2, 5, 7)), g.input("v", (7, 2 * 9))
    y = g.matmul_of_heads(p, v, b_heads=2, joins=True)
    g.output(g.add(g.add(y, g.weight("b", shape=(18,))), g.input("r", (5, 18))), "o")
    inputs = example_inputs(g)
    np.testing.assert_array_equal(ms.run(g, machine()).outputs["o"], evaluate(g, inputs)["o"])
