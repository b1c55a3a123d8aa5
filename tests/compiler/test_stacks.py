"""Heads of few queries are tiles in a stack: one vector operation for all of them, with the bits of each alone."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.graphs import inputs_of
from support.machines import machine
from support.typed import evaluate

import minisim as ms
from minisim.compiler import attention_plan
from minisim.compiler.attention_plan import COLUMN_PASSES, FULL_PASSES, KEYS
from minisim.compiler.pipeline import computed_graph
from minisim.errors import ScheduleError
from minisim.hwmodel.isa import Opcode, Schedule


def heads(rows: int, queries: int, kv: int, keys: int, size: int, mask: str = "none") -> ms.Graph:
    """So many queries that share heads of keys; perhaps with a mask for all, or of a row for each head."""
    g, rng = ms.Graph("heads"), np.random.default_rng(3)
    q, k, v = g.input("q", (rows, queries * size)), g.input("k", (keys, kv * size)), g.input("v", (keys, kv * size))
    x = g.mul(g.matmul_of_heads(q, k, a_heads=queries, b_heads=kv, transpose_b=True), 0.3)
    if mask != "none":
        shape = (keys,) if mask == "row" else (queries, rows, keys)
        x = g.select(g.weight("seen", rng.random(shape) < 0.7, "bool"), x, -math.inf)
    g.output(g.matmul_of_heads(g.softmax(x), v, b_heads=kv, joins=True), "y")
    return g


NOTHING_STAYS = {"compiler__keep_on_chip": False}
"""All that is made goes to DRAM, and comes back."""


def vectors(schedule: Schedule) -> int:
    return int((schedule.stream["opcode"] == Opcode.VECTOR).sum())


def run(graph: ms.Graph, on: ms.Machine) -> ms.Result:
    """Its run, whose bits are those of the definition."""
    inputs = inputs_of(graph, special=0.0)
    result = ms.run(graph, on, inputs=inputs, check=False)
    expected = evaluate(computed_graph(graph, on), inputs)["y"]
    found = np.ascontiguousarray(result.outputs["y"], np.float32)
    np.testing.assert_array_equal(found.view(np.uint32), np.ascontiguousarray(expected, np.float32).view(np.uint32))
    return result


@settings(max_examples=12)
@given(st.data())
def test_bits_are_those_of_each_head_alone(data: st.DataObject) -> None:
    """Any number of heads, a last block of any length, rows of which a tile in a stack begins nowhere near 64 bytes."""
    draw = data.draw
    kv, shared = draw(st.sampled_from([(1, 4), (2, 2), (3, 2), (4, 1), (6, 2)]))
    keys, size = draw(st.integers(KEYS + 1, 2 * KEYS + 3)), draw(st.sampled_from([1, 3, 8, 33]))
    graph = heads(draw(st.sampled_from([1, 1, 2])), kv * shared, kv, keys, size,
                  draw(st.sampled_from(["none", "row", "each"])))  # fmt: skip
    memory = draw(st.sampled_from([{}, {"accumulator__bytes": "16KiB"}, {"cores__count": 2}, NOTHING_STAYS]))
    keys_of: dict[str, Any] = {"matrix__dtype": draw(st.sampled_from(["fp32", "bf16", "fp16"])), **memory}
    run(graph, machine(sram__bytes=draw(st.sampled_from([128 << 10, 1 << 20])), **keys_of))


@pytest.mark.parametrize(("mask", "cores"), [("none", 1), ("each", 1), ("row", 2)])
def test_vector_operations_are_of_stacks(mask: str, cores: int) -> None:
    """As many as the recipe has for each stack and block, in tiles of all its heads; each head has its own matmuls."""
    keys, queries = 2 * KEYS + 5, 12
    result = run(heads(1, queries, 4, keys, 16, mask), machine(sram__bytes=1 << 20, cores__count=cores, tile__k=KEYS,
                                                               tile__n=KEYS))  # fmt: skip
    schedule, blocks = result.schedule, -(-keys // KEYS)
    per = int(schedule.vectors["rows"].max())
    assert queries % per == 0 and per >= 2
    of_scores = len(FULL_PASSES) + 1 + (mask != "none")
    of_rows = len(COLUMN_PASSES) * blocks - 5  # before the first block is nothing: to lower (two), keep, add or share
    assert vectors(schedule) == queries // per * (blocks * of_scores + of_rows + blocks - 1)
    assert int((schedule.stream["opcode"] == Opcode.EXECUTE).sum()) == 2 * queries * blocks
    assert schedule.held()[schedule.matmuls["a"]].tolist() != schedule.matmuls["a"].tolist()


def test_masks_that_do_not_repeat_with_the_heads_keep_heads_apart() -> None:
    """A row of a mask for each query: a stack would need it once for each head."""
    g = ms.Graph("queries")
    q, k, v = g.input("q", (3, 4 * 8)), g.input("k", (300, 4 * 8)), g.input("v", (300, 4 * 8))
    x = g.matmul_of_heads(q, k, a_heads=4, b_heads=4, transpose_b=True)
    x = g.select(g.weight("seen", np.arange(300) < [[100], [200], [300]], "bool"), x, -math.inf)
    g.output(g.matmul_of_heads(g.softmax(x), v, b_heads=4, joins=True), "y")
    assert not run(g, machine(sram__bytes=1 << 20)).schedule.tiles["stack"].any()


def test_stacks_in_as_little_memory_as_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a plan would not have them, as there is no room for loads that run ahead."""
    monkeypatch.setattr(attention_plan, "STACKED", 3.0)
    schedule = run(heads(1, 5, 5, 300, 40), machine(sram__bytes=20 << 10)).schedule
    assert schedule.tiles["stack"].any() and (schedule.transfers["version"] > 0).any()  # complete ones went to DRAM


def test_what_is_no_stack_is_refused() -> None:
    graph, on = heads(1, 4, 4, 300, 16), machine(sram__bytes=1 << 20)
    some = ms.run(graph, on).schedule
    with pytest.raises(ScheduleError, match="stack of tiles must be a tile before them"):
        changed(some, "stack", len(some.tiles) + 1).verify()
    inside = int(np.flatnonzero(some.tiles["stack"])[0])
    transfers = some.transfers.copy()
    transfers["tile"][0] = inside
    wrong = some.replace(transfers=transfers)
    with pytest.raises(ScheduleError, match="must be a tile by itself, not one in a stack"):
        ms.run(graph, on, schedule=wrong)


def changed(schedule: Schedule, column: str, value: int) -> Schedule:
    tiles = schedule.tiles.copy()
    tiles[column][np.flatnonzero(tiles["stack"])[-1]] = value
    return schedule.replace(tiles=tiles)


def test_a_schedule_with_stacks_is_saved_and_run(tmp_path: Path) -> None:
    graph, on = heads(1, 4, 4, 300, 16), machine(sram__bytes=1 << 20)
    result = ms.run(graph, on)
    result.schedule.save(tmp_path / "schedule")
    again = ms.run(graph, on, schedule=Schedule.load(tmp_path / "schedule"))
    assert again.output_sha256 == result.output_sha256 and again.cycles == result.cycles
    assert any("[1:2,0:256]" in line for line in result.schedule.lines())  # a head's row of the scores


def test_a_stack_is_stored_once_all_its_heads_are_there() -> None:
    """Where nothing stays on chip: the version that is stored counts the writes of all its tiles."""
    on = machine(sram__bytes=1 << 20, **NOTHING_STAYS)
    schedule = run(heads(1, 6, 3, 300, 16), on).schedule
    stacks = np.unique(schedule.held()[schedule.tiles["stack"] != 0])
    stored = schedule.transfers[schedule.stream["row"][schedule.stream["opcode"] == Opcode.STORE]]
    mine = stored[np.isin(stored["tile"], stacks)]
    assert len(mine) and np.array_equal(mine["version"], schedule.tiles["final"][mine["tile"]])
