"""Blocks that come many times: found, and decided as two of them are (`passes/repeats.py`)."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minisim as ms
from minisim.compiler.passes import repeats
from minisim.compiler.passes.repeats import Run, Short, runs
from minisim.compiler.passes.slice import Slice
from minisim.compiler.pipeline import computed_graph, tiled_graph

LARGE = repeats.SMALL + 1


def network(blocks: int, width: int = 64, rows: int = 96) -> ms.Graph:
    """A matmul, so many blocks of two layers with a norm, and a matmul."""
    graph, rng = ms.Graph(), np.random.default_rng(0)

    def weight(name: str, *shape: int) -> ms.Tensor:
        return graph.weight(name, (rng.standard_normal(shape) / shape[0] ** 0.5).astype(np.float32))

    x = graph.matmul(graph.input("x", (rows, 40)), weight("first", 40, width))
    for i in range(blocks):
        y = graph.layer_norm(x, weight(f"s{i}", width), weight(f"b{i}", width))
        y = graph.relu(graph.matmul(y, weight(f"u{i}", width, 2 * width)))
        x = graph.matmul(graph.reshape(y, (rows, 2 * width)), weight(f"d{i}", 2 * width, width))
    graph.output(graph.matmul(x, weight("last", width, 24)), "y")
    return graph


def of_letters(text: str) -> ms.Graph:
    """A chain of operations, of which equal letters are equal."""
    graph = ms.Graph()
    x = graph.input("x", (4, 4))
    for letter in text:
        x = {"a": graph.relu, "b": graph.sigmoid, "c": graph.tanh}[letter](x)
    graph.output(x)
    return graph


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("abc", []),
        ("abab", []),
        ("ababab", [Run(0, 2, 3)]),
        ("cabababc", [Run(1, 2, 3)]),
        ("aaaa", [Run(0, 1, 4)]),
        ("abcabcabcabba", [Run(0, 3, 3)]),
        ("aaabbbabcabcabc", [Run(0, 1, 3), Run(3, 1, 3), Run(6, 3, 3)]),
        ("aabaabaabaab", [Run(0, 3, 4)]),  # and not two of a, again and again
    ],
)
def test_runs_are_found(text: str, found: list[Run]) -> None:
    assert runs(of_letters(text)) == found


@given(st.text("abc", min_size=1, max_size=40))
def test_a_run_is_what_it_says_and_none_is_left(text: str) -> None:
    found = runs(of_letters(text))
    for run in found:
        block = text[run.first : run.first + run.period]
        assert text[run.first : run.end] == block * run.times and run.times > 2
    for one, other in pairwise(found):
        assert one.end <= other.first
    rest = [text[a.end : b.first] for a, b in zip([Run(0, 0, 0), *found], [*found, Run(len(text), 0, 0)], strict=True)]
    assert all(not runs(of_letters(part)) for part in rest if part)


def test_nodes_apart_are_like_no_others() -> None:
    graph = of_letters("ababab")
    assert runs(graph, {graph.nodes[2].name}) == []


def test_two_blocks_are_kept_and_stand_for_the_others() -> None:
    graph = of_letters("cabababab")
    short, names = Short(graph, (), LARGE), [node.name for node in graph.nodes]
    assert [node.name for node in short.graph.nodes] == names[:5]
    assert [names.index(short.stands[name]) for name in names] == [0, 1, 2, 1, 2, 1, 2, 3, 4]
    assert not Short(graph, (), repeats.SMALL)


def test_slices_are_carried_over() -> None:
    short = Short(of_letters("cababababc"), (), LARGE)  # kept: c ab ab c
    assert short.whole([]) == ()
    assert short.whole([range(1, 3), range(3, 5)]) == (range(1, 3), range(3, 5), range(5, 7), range(7, 9))
    assert short.whole([range(2, 4)]) == (range(2, 4), range(4, 6), range(6, 8))
    assert short.whole([range(4, 6)]) == (range(8, 10),)
    assert short.whole([range(2), range(2, 5)]) == (range(2), range(2, 5), range(6, 9))  # one overlaps
    assert short.whole([range(5)]) is None


def test_blocks_of_a_deep_network_have_the_same_tiles_but_for_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats, "SMALL", 0)
    machine = ms.Machine().replace("sram.bytes=40KiB")
    tiled = tiled_graph(network(6), machine, numerics=False)
    assert len(Short(computed_graph(network(6), machine), (), 1).graph.nodes) == len(network(2).nodes) - 2  # fused
    cut = [(tiling.m, tiling.k, tiling.n) for tiling in tiled.tilings.values()]
    block = (len(cut) - 2) // 6
    assert cut[1 : 1 + 5 * block] == 5 * cut[1 : 1 + block]
    sliced = {each.start: each.stop for each in Slice(machine).apply(tiled).slices}
    assert all(sliced.get(begin + block) == end + block for begin, end in sliced.items() if end <= 1 + 3 * block)


def test_its_numbers_are_those_of_the_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, inputs = network(5), {"x": np.ones((96, 40), np.float32)}
    machine = ms.Machine().replace("sram.bytes=40KiB")
    monkeypatch.setattr(repeats, "SMALL", 0)
    found = ms.run(graph, machine, inputs=inputs).outputs["y"]
    assert np.array_equal(found, ms.run(graph, ms.Machine().replace("compiler.effort=0"), inputs=inputs).outputs["y"])
    assert np.isfinite(found).all()


@pytest.mark.parametrize("blocks", [3, 5])
def test_what_is_left_out_is_counted_as_the_second_block(blocks: int) -> None:
    graph = of_letters("c" + "ab" * blocks + "c")
    short = Short(graph, (), LARGE)
    assert len(short.graph.nodes) == 6
    assert short.more == ((range(3, 5), blocks - 2),)
