"""Attention of more keys than a block: its bits depend on the model and its inputs alone, in whatever form it comes.

Random heads, rows, columns and masks on random machines, memories from the least upwards, against an oracle that knows
blocks and no tiles.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.graphs import inputs_of
from support.machines import AMPLE, machine, machines
from support.typed import evaluate, typed_machines

import minisim as ms
from minisim.compiler.attention_plan import KEYS
from minisim.compiler.passes.attend import Attend
from minisim.compiler.pipeline import computed_graph
from minisim.compiler.transformers import built, transformer

Array = npt.NDArray[Any]

ROWS, COLUMNS = (1, 2, 7, 16, 33, 40), (1, 3, 8, 24, 33)
LONG = (257, 300, 512, 513, 700)
"""Keys: of two blocks and of three, the last one whole, or of a single key."""


class Drawn:
    """A graph of one attention, with what may be done to scores, on heads behind or beside each other."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw, self.g = draw, ms.Graph("attention")
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        self.rows, self.keys = draw(st.sampled_from(ROWS)), draw(st.sampled_from(LONG))
        self.inner, self.values = draw(st.sampled_from(COLUMNS)), draw(st.sampled_from(COLUMNS))
        self.kv, self.shared = draw(st.sampled_from([(1, 1), (1, 3), (2, 1), (2, 2), (3, 1)]))
        self.heads = self.kv * self.shared
        build = draw(st.sampled_from([self.behind, self.beside, self.grouped]))
        self.g.output(build(), "y")

    def behind(self) -> ms.Tensor:
        """As numpy has batches; keys and values stored either way."""
        g, d, dv = self.g, self.inner, self.values
        k_turned, v_turned = self.draw(st.booleans()), self.draw(st.booleans())
        q = g.input("q", (self.heads, self.rows, d))
        k = g.input("k", (self.heads, self.keys, d) if k_turned else (self.heads, d, self.keys))
        v = g.input("v", (self.heads, dv, self.keys) if v_turned else (self.heads, self.keys, dv))
        scores = self.masked(g.matmul(q, k, transpose_b=k_turned))
        return g.matmul(g.softmax(scores), v, transpose_b=v_turned)

    def beside(self) -> ms.Tensor:
        """As projections leave heads."""
        g, d, dv = self.g, self.inner, self.values
        q, k = g.input("q", (self.rows, self.heads * d)), g.input("k", (self.keys, self.kv * d))
        v = g.input("v", (self.keys, self.kv * dv))
        scores = g.matmul_of_heads(q, k, a_heads=self.heads, b_heads=self.kv, transpose_b=True)
        return g.matmul_of_heads(g.softmax(self.masked(scores)), v, b_heads=self.kv, joins=self.draw(st.booleans()))

    def grouped(self) -> ms.Tensor:
        """As ONNX's Attention has it: queries that share keys lie below each other."""
        g, rows = self.g, self.shared * self.rows
        q = g.input("q", (1, self.kv, rows, self.inner))
        k, v = g.input("k", (1, self.kv, self.keys, self.inner)), g.input("v", (1, self.kv, self.keys, self.values))
        scores = g.reshape(g.matmul(q, k, transpose_b=True), (1, self.heads, self.rows, self.keys))
        weights = g.reshape(g.softmax(self.masked(scores)), (1, self.kv, rows, self.keys))
        return g.matmul(weights, v)

    def masked(self, x: ms.Tensor) -> ms.Tensor:
        """Scaled, capped, masked by truth values, by sums that are constant or computed."""
        g, draw = self.g, self.draw
        for kind in draw(st.lists(st.sampled_from(["scale", "cap", "select", "add", "computed"]), max_size=3)):
            if kind == "scale":
                x = g.mul(x, 1 / math.sqrt(self.inner))
            elif kind == "cap":
                x = g.mul(g.tanh(g.div(x, 3.0)), 3.0)
            elif kind == "select":
                x = g.select(g.weight(g.fresh_name("seen"), self.seen(x.shape), "bool"), x, -math.inf)
            elif kind == "add":
                mask = np.where(self.seen(x.shape), 0, draw(st.sampled_from([-np.inf, np.finfo(np.float16).min, -5])))
                x = g.add(g.weight(g.fresh_name("mask"), mask.astype(np.float32)), x)
            else:
                shape = draw(st.sampled_from([x.shape[-1:], x.shape[-2:], x.shape]))
                x = g.add(x, g.input(g.fresh_name("bias"), shape))
        return x

    def seen(self, shape: tuple[int, ...]) -> Array:
        """Which keys which row sees: up to a diagonal, a window, anything; some rows nothing of the first block."""
        shape = self.draw(st.sampled_from([shape[-1:], shape[-2:], (1, *shape[-2:]), shape]))
        rows, key = shape[-2] if len(shape) > 1 else 1, np.arange(self.keys)
        diagonal = self.keys - rows + np.arange(rows)[:, None] - self.draw(st.sampled_from([0, 0, 3, self.keys // 2]))
        kind = self.draw(st.integers(0, 2))
        found = key <= diagonal if kind else self.rng.random((rows, self.keys)) < 0.5
        found = found & (key > diagonal - 40) if kind == 2 else found
        found[self.rng.random(rows) < 0.2, : self.draw(st.sampled_from([KEYS, self.keys]))] = False
        return np.broadcast_to(found.reshape((*(1 for _ in shape[:-2]), *found.shape))[..., :rows, :], shape) \
            if len(shape) > 1 else found[0]  # fmt: skip


@st.composite
def attentions(draw: st.DrawFn) -> ms.Graph:
    return Drawn(draw).g


def bits(outputs: dict[str, Array]) -> dict[str, bytes]:
    return {name: np.ascontiguousarray(array, np.float32).tobytes() for name, array in outputs.items()}


@settings(max_examples=15)
@given(st.data(), attentions(), st.integers(0, 2**32 - 1), st.sampled_from(["fp32", "fp32", "bf16", "fp16"]))
def test_attention(data: st.DataObject, graph: ms.Graph, seed: int, dtype: str) -> None:
    on = machine(matrix__dtype=dtype)
    computed = computed_graph(graph, on)
    assert [node.op for node in computed.nodes].count("Attention") == 1
    inputs = inputs_of(graph, seed, special=data.draw(st.sampled_from([0.0, 0.002])))
    expected = evaluate(computed, inputs)
    result = ms.run(graph, data.draw(tight(dtype)), inputs=inputs)
    assert bits(dict(result.outputs)) == bits(expected)


@st.composite
def tight(draw: st.DrawFn, dtype: str) -> ms.Machine:
    """Any machine, whose memories hold a few tiles or everything."""
    base = draw(machines()) if dtype == "fp32" else draw(typed_machines(dtype))
    found = base.with_overrides(
        {
            "cores.count": draw(st.sampled_from([1, 1, 1, 2, 3])),
            "sram.bytes": draw(st.sampled_from([24 << 10, 48 << 10, 100 << 10, AMPLE])),
        }
    )
    apart = draw(st.sampled_from([16 << 10, AMPLE]))
    return found.with_overrides({"accumulator.bytes": apart}) if base.accumulator.bytes else found


@pytest.mark.parametrize(("dtype", "sram"), [("fp32", 24 << 10), ("fp32", AMPLE), ("bf16", AMPLE), ("fp16", 40 << 10)])
def test_rows_that_see_nothing_for_a_while(dtype: str, sram: int) -> None:
    """Scores below zero, rows that see nothing of the first blocks, or of all, in a mask for each of two heads that
    share keys: sums that begin late, weights that are far from the first maximum."""
    g, rng = ms.Graph("late"), np.random.default_rng(7)
    seen = np.ones((4, 9, 700), bool)
    for head, row, end in ((0, 1, 256), (0, 2, 512), (1, 3, 700), (2, 0, 257), (3, 8, 511)):
        seen[head, row, :end] = False
    seen[1, 5:, 300:] = False
    q, k, v = g.input("q", (9, 4 * 33)), g.input("k", (700, 2 * 33)), g.input("v", (700, 2 * 40))
    scores = g.matmul_of_heads(q, k, a_heads=4, b_heads=2, transpose_b=True)
    weights = g.softmax(g.select(g.weight("seen", seen, "bool"), scores, -math.inf))
    g.output(g.matmul_of_heads(weights, v, b_heads=2, joins=True), "y")
    inputs = {"q": -rng.random((9, 132), np.float32), "k": rng.random((700, 66), np.float32)}
    inputs["k"][512:] *= 0.2  # the greatest score comes late
    inputs["v"] = rng.standard_normal((700, 80), np.float32)
    on = machine(matrix__dtype=dtype, sram__bytes=sram, cores__count=2 if sram == AMPLE else 1)
    expected = evaluate(computed_graph(g, on), inputs)
    assert bits(dict(ms.run(g, on, inputs=inputs).outputs)) == bits(expected)
    assert not expected["y"][3, 40:80].any() and np.isfinite(expected["y"]).all()


def test_queries_below_each_other_under_one_mask() -> None:
    """Three heads of seven queries share keys, and a mask has a row for each query."""
    g, rng = ms.Graph("grouped"), np.random.default_rng(8)
    q, k, v = g.input("q", (1, 2, 21, 20)), g.input("k", (1, 2, 300, 20)), g.input("v", (1, 2, 300, 9))
    scores = g.reshape(g.matmul(q, k, transpose_b=True), (1, 6, 7, 300))
    masked = g.select(g.weight("seen", rng.random((7, 300)) < 0.5, "bool"), scores, -math.inf)
    g.output(g.matmul(g.reshape(g.softmax(masked), (1, 2, 21, 300)), v), "y")
    inputs = inputs_of(g)
    for sram in (24 << 10, AMPLE):
        on = machine(sram__bytes=sram)
        expected = evaluate(computed_graph(g, on), inputs)
        assert bits(dict(ms.run(g, on, inputs=inputs).outputs)) == bits(expected)


def one_head(rows: int, keys: int) -> ms.Graph:
    g = ms.Graph("head")
    q, k, v = g.input("q", (1, rows, 8)), g.input("k", (1, keys, 8)), g.input("v", (1, keys, 8))
    g.output(g.matmul(g.softmax(g.mul(g.matmul(q, k, transpose_b=True), 0.5)), v), "y")
    return g


def test_a_block_by_itself_is_the_plain_softmax() -> None:
    """Keys that are hidden behind the first block, and keys that are not there, are the same."""
    inputs = inputs_of(one_head(5, 400))
    g = ms.Graph("hidden")
    q, k, v = g.input("q", (1, 5, 8)), g.input("k", (1, 400, 8)), g.input("v", (1, 400, 8))
    x = g.select(
        g.weight("seen", np.arange(400) < KEYS, "bool"), g.mul(g.matmul(q, k, transpose_b=True), 0.5), -math.inf
    )
    g.output(g.matmul(g.softmax(x), v), "y")
    cut = {name: array[:, :KEYS] if name != "q" else array for name, array in inputs.items()}
    assert not any(node.op == "Attention" for node in Attend().apply(one_head(5, KEYS)).nodes)
    plain = ms.run(one_head(5, KEYS), inputs=cut).outputs["y"]
    assert plain.tobytes() == ms.run(g, inputs=inputs).outputs["y"].tobytes()


def test_scores_stay_on_chip_but_on_a_machine_that_materialises() -> None:
    """What moves, and in which order; the bits are the same."""
    graph, inputs = one_head(512, 512), inputs_of(one_head(512, 512))
    on_chip, materialised = (
        ms.run(graph, machine(sram__bytes=96 << 10, compiler__slices=slices), inputs=inputs) for slices in (True, False)
    )
    assert on_chip.outputs["y"].tobytes() == materialised.outputs["y"].tobytes()
    scores = 4 * 512 * 512
    assert sum(int(x.sum()) for x in on_chip.record().dram_moved) < scores / 4
    assert sum(int(x.sum()) for x in materialised.record().dram_moved) > 3 * scores


def test_scores_that_stay_on_chip_take_no_memory() -> None:
    """But in the check by numpy, and on a machine that materialises them."""
    spec, limit = "attention:1x1024x8", 4 << 20
    assert ms.run(spec, machine(), check=False, memory_limit=limit).cycles
    with pytest.raises(ms.MinisimError, match="scores"):
        ms.run(spec, machine(), memory_limit=limit)
    with pytest.raises(ms.MinisimError, match="scores"):
        ms.run(spec, machine(compiler__slices=False), check=False, memory_limit=limit)


def test_attention_in_decode_windows_begins_at_a_block() -> None:
    """A window reads from where a block begins, so that the bits are those of all keys."""
    model = transformer("mistral:7b,layers=1,window=100")
    graph = built(model, 1, past=500, capacity=600)
    read = next(node for node in graph.nodes if node.name == "layer0.scores")
    assert graph.tensors[read.output].shape[-1] == 501 - KEYS


@pytest.mark.parametrize("change", ["output", "reader", "narrow", "turned"])
def test_what_is_no_attention_stays_as_it_is(change: str) -> None:
    """Scores or weights that somebody else reads, a few keys, a product of weights that are turned."""
    g = ms.Graph("other")
    keys = KEYS if change == "narrow" else 300
    q, k, v = g.input("q", (4, 8)), g.input("k", (keys, 8)), g.input("v", (keys, 8))
    scores = g.matmul(q, k, transpose_b=True)
    weights = g.softmax(scores)
    g.output(g.matmul(weights, q, transpose_a=True) if change == "turned" else g.matmul(weights, v), "y")
    if change == "output":
        g.output(weights, "weights")
    if change == "reader":
        g.output(g.relu(scores), "again")
    assert Attend().apply(g) is g
