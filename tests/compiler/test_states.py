"""States: what programs share that run one after the other. Appended rows are written where they belong, token t reads
t rows, and whoever reads a row that is not there yet is found out."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
from support.machines import machine

import minisim as ms
from minisim.compiler.transformers import Transformer, built, transformer
from minisim.hwmodel.config import Machine
from minisim.hwmodel.isa import Opcode, Queue, Role
from minisim.lockstep import in_lockstep

HIDDEN, CAPACITY = 48, 12
MODELS = tuple(
    transformer(f"{name},layers=2,hidden={HIDDEN},heads=4,ffn=40,vocab=50")
    for name in ("gpt2:small", "llama3:8b,kv_heads=2")
)
TOKENS = np.random.default_rng(0).normal(size=(CAPACITY, HIDDEN)).astype(np.float32)


class Cached:
    """A model's programs one after the other, with the cache between them."""

    def __init__(self, model: Transformer, on: Machine) -> None:
        self.model, self.machine, self.past = model, on, 0
        self.cache: dict[str, np.ndarray] = {}

    def step(self, count: int, kernel: str = "auto") -> np.ndarray:
        """The logits after so many more tokens."""
        graph = built(self.model, count, self.past, CAPACITY)
        runtime = ms.Runtime(graph, self.machine, kernel=kernel)
        runtime.set("tokens", TOKENS[self.past : self.past + count])
        states = [name for name in graph.inputs if name != "tokens"]
        for name in states:
            whole = np.full(graph.tensors[name].shape, np.nan, np.float32)
            whole[: self.past] = self.cache.get(name, whole[:0])
            runtime.set(name, whole)
        runtime.execute()
        once = runtime.get("logits")
        runtime.execute()  # a run leaves what was given as it was
        np.testing.assert_array_equal(runtime.get("logits"), once)
        self.past += count
        self.cache = {name: runtime.state(name) for name in states}
        assert all(len(rows) == self.past for rows in self.cache.values())
        return once


def uncached(model: Transformer, count: int, on: Machine) -> np.ndarray:
    return np.asarray(ms.run(built(model, count), on, inputs={"tokens": TOKENS[:count]}).outputs["logits"])


MACHINES = ({}, {"sram__bytes": 16 * 1024, "cores__count": 2}, {"matrix__dtype": "bf16", "tile__n": 8})


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
@pytest.mark.parametrize("keys", MACHINES)
def test_token_by_token_has_the_bits_of_all_at_once(model: Transformer, keys: dict[str, object]) -> None:
    on = machine(**keys)
    cached = Cached(model, on)
    for count in (4, 1, 3, 1, 1):  # also several behind those in the cache
        found = cached.step(count)
        np.testing.assert_array_equal(found.view(np.uint32), uncached(model, cached.past, on).view(np.uint32))


def bytes_of(schedule: ms.Schedule, opcode: Opcode, role: Role) -> int:
    rows = schedule.stream["row"][schedule.stream["opcode"] == opcode]
    tiles = schedule.transfers["tile"][rows]
    is_of = schedule.tensors["role"][schedule.tiles["tensor"][tiles]] == role
    return int(schedule.tile_bytes()[tiles[is_of]].sum())


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_token_t_reads_t_rows_and_writes_one(model: Transformer) -> None:
    for past in (1, 7, 11):
        schedule = ms.compile_graph(built(model, 1, past, CAPACITY), machine())
        row = 2 * model.layers * model.kv * 4
        assert bytes_of(schedule, Opcode.LOAD, Role.STATE) == (past + 1) * row
        assert bytes_of(schedule, Opcode.STORE, Role.STATE) == row
        assert "Copy" not in schedule.layer_ops


def first_load_of_keys(schedule: ms.Schedule) -> int:
    """The first LOAD of a cache."""
    for op in np.flatnonzero(schedule.stream["opcode"] == Opcode.LOAD).tolist():
        tensor = schedule.tiles["tensor"][schedule.transfers["tile"][schedule.stream["row"][op]]]
        if schedule.tensors["role"][tensor] == Role.STATE:
            return op
    raise AssertionError


def test_a_cache_of_too_few_rows_is_a_hazard() -> None:
    """A token was left out: whatever an older program has left in its row, it is not what is meant."""
    graph = built(MODELS[0], 1, 6, CAPACITY)
    schedule = ms.compile_graph(graph, machine())
    runtime = ms.Runtime(graph, machine(), schedule)
    index = {name: i for i, name in enumerate(schedule.tensor_names)}
    for held, fails in ((5, True), (6, False)):
        runtime.engine.reset()
        runtime.set("tokens", TOKENS[:1])
        for name in graph.inputs[1:]:
            runtime.engine.set_tensor(index[name], np.zeros((held, graph.tensors[name].shape[1]), np.float32))
        if fails:
            with pytest.raises(ms.ScheduleHazard, match="never written"):
                runtime.engine.run()
        else:
            runtime.engine.run()


def test_a_row_that_is_not_there_yet_is_a_hazard() -> None:
    """Keys that are read one row too far end in one that nobody has written."""
    graph = built(MODELS[0], 1, 6, CAPACITY)
    schedule = ms.compile_graph(graph, machine())
    op = first_load_of_keys(schedule)
    assert schedule.stream["wait"][op][Queue.STORE] > 0  # for the new row
    tiles = schedule.tiles.copy()
    tiles["row"][schedule.transfers["tile"][schedule.stream["row"][op]]] += 1
    for found, fails in ((schedule, False), (dataclasses.replace(schedule, tiles=tiles), True)):
        runtime = ms.Runtime(graph, machine(), found)
        runtime.set("tokens", TOKENS[6:7])
        for name in graph.inputs[1:]:
            runtime.set(name, np.zeros(graph.tensors[name].shape, np.float32))
        if fails:
            with pytest.raises(ms.ScheduleHazard, match="never written"):
                in_lockstep(found, machine(), runtime.engine, [], "native")
        else:
            in_lockstep(found, machine(), runtime.engine, [], "native")


def test_rows_that_cannot_be_made_in_a_state_are_copied() -> None:
    g = ms.Graph()
    x = g.input("x", (3, 8))
    y, viewed, shown = g.relu(x), g.relu(x), g.relu(x)
    g.output(g.relu(g.reshape(viewed, (6, 4))), "of another view")
    g.output(shown, "itself")
    given = {
        name: g.append_rows(g.state(name, (9, 8), 4), rows)
        for name, rows in (
            ("a", x),
            ("b", y),
            ("c", y),
            ("d", g.weight("w", np.ones((3, 8)))),
            ("e", g.reshape(g.relu(g.reshape(g.relu(x), (6, 4))), (3, 8))),
            ("f", g.reshape(g.relu(y), (3, 8))),
            ("g", viewed),
            ("h", shown),
        )
    }
    for name, all_rows in given.items():
        g.output(g.relu(all_rows), f"{name}.out")
    inputs = {"x": TOKENS[:3, :8], **{name: TOKENS[:9, 8 + i : 16 + i] for i, name in enumerate(given)}}
    outputs = ms.run(g, machine(), inputs=inputs).outputs
    expected = g.evaluate(inputs)
    for name in given:
        np.testing.assert_array_equal(outputs[f"{name}.out"], expected[g.outputs[f"{name}.out"]].astype(np.float32))
    assert ms.compile_graph(g, machine()).layer_ops.count("Copy") == 6  # b and f are made where they belong


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda g, s, x: g.state("t", (4, 8), 4), "must have two dimensions, and more rows than are held (4)"),
        (lambda g, s, x: g.state("t", (4, 2, 8), 1), "must have two dimensions, and more rows than are held (1)"),
        (lambda g, s, x: g.append_rows(x, x), "rows are appended to a state, once in a program, not to 'x'"),
        (lambda g, s, x: [g.append_rows(s, x), g.append_rows(s, x)], "once in a program, not to 's'"),
        (lambda g, s, x: g.append_rows(s, g.input("y", (3, 9))), "a state (6, 8) that holds 4 rows has no room for"),
        (lambda g, s, x: g.append_rows(s, g.input("y", (3, 8))), "that holds 4 rows has no room for rows (3, 8)"),
        (lambda g, s, x: g.relu(s), "a state (s) is read by append_rows, and by nothing else"),
        (lambda g, s, x: g.output(s), "a state (s) is no output of the model"),
    ],
)  # fmt: skip
def test_mistakes_are_told(wrong: object, message: str) -> None:
    g = ms.Graph()
    state, x = g.state("s", (6, 8), 4), g.input("x", (2, 8))
    with pytest.raises(ms.MinisimError, match=re.escape(message)):
        wrong(g, state, x)  # type: ignore[operator]
