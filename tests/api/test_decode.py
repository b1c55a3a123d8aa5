"""Decoding, token by token: the numbers of each program, the values of the run without a cache, and the reports."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from support.machines import machine
from support.paths import ROOT

import minisim as ms
from minisim.compiler.attention_plan import KEYS
from minisim.compiler.decoders import Text, TransformerDecoder
from minisim.compiler.decoding import TokenPrograms
from minisim.compiler.example_inputs import example_inputs
from minisim.compiler.frontend.pasts import Place
from minisim.compiler.transformers import Transformer, built, transformer
from minisim.compiler.transformers.experts import gates, mixed
from minisim.compiler.transformers.routing import routed
from minisim.compiler.values import example_values
from minisim.decode import decode
from minisim.reports import print_decode, write_decode
from minisim.reports.decode import decode_table

SMALL = "layers=3,hidden=32,heads=2,ffn=40,vocab=40"
PREFILL, TOKENS = 4, 2


@pytest.mark.parametrize("name", ["gpt2:small", "llama3:8b,kv_heads=1"])
def test_tokens_have_the_values_of_the_run_without_a_cache(name: str) -> None:
    model, on = transformer(f"{name},{SMALL}"), machine()
    found = decode(TransformerDecoder(model), on, Text(PREFILL, TOKENS))
    assert found.difference is not None and found.difference.largest < 1e-5
    tokens = example_inputs(built(model, PREFILL + TOKENS))["tokens"]
    assert len(found.outputs) == 1 + TOKENS
    for output, count in zip(found.outputs, range(PREFILL, PREFILL + TOKENS + 1), strict=True):
        alone = ms.run(built(model, count), on, inputs={"tokens": tokens[:count]}).outputs["logits"]
        np.testing.assert_array_equal(output.view(np.uint32), alone.view(np.uint32))


@pytest.mark.parametrize(("name", "keys"), [("gpt2:small", {}), ("llama3:8b,kv_heads=1", {"sram__bytes": 16 * 1024})])
def test_sequences_together_have_the_values_of_each_alone(name: str, keys: dict[str, object]) -> None:
    """Also when the cache is filled in chunks; the weights are read once for all."""
    model, on, batch = transformer(f"{name},{SMALL}"), machine(cores__count=2, **keys), 2
    found = decode(TransformerDecoder(model), on, Text(3, 1, batch, chunk=2), check=False)
    tokens = example_values("tokens", (batch * 4, model.hidden), "float32")
    assert [(step.phase, step.position, step.tokens) for step in found.steps] == [
        ("prefill", 2, 4), ("prefill", 3, 2), ("decode", 4, 2)]  # fmt: skip
    for i, own in enumerate(found.outputs[-1]):
        alone = ms.run(built(model, 4), on, inputs={"tokens": tokens[i::batch]}, check=False)
        np.testing.assert_array_equal(own.view(np.uint32), alone.outputs["logits"][0].view(np.uint32))
    assert found.outputs[-1].shape == (batch, model.vocab)
    assert found.steps[-1].kv_read_bytes == batch * 4 * 2 * model.layers * model.kv * 4
    (alone_,) = decode(TransformerDecoder(model), on, Text(3, 1), numerics=False).steps[1:]
    assert abs(found.steps[-1].weight_bytes - alone_.weight_bytes) < 0.1 * alone_.weight_bytes  # tables of positions


def logits(model: Transformer, on: ms.Machine, tokens: np.ndarray) -> np.ndarray:
    """Of the last token, without a cache."""
    return np.asarray(ms.run(built(model, len(tokens)), on, inputs={"tokens": tokens}, check=False).outputs["logits"])


def test_a_window_reads_the_rows_that_are_seen() -> None:
    """From the begin of a block of keys on, so that it has the bits of the whole band."""
    model, on = transformer("llama3:8b,kv_heads=1,layers=1,hidden=16,heads=2,ffn=16,vocab=8,window=5"), machine()
    past = KEYS + 5
    found = decode(TransformerDecoder(model), on, Text(past, 1), check=False)
    expected = logits(model, on, example_values("tokens", (past + 1, model.hidden), "float32"))
    np.testing.assert_array_equal(found.outputs[-1].view(np.uint32), expected.view(np.uint32))
    assert found.steps[-1].kv_read_bytes == (past + 1 - KEYS) * 2 * model.kv * 4


@pytest.mark.parametrize("name", ["gpt2:small", "llama3:8b,kv_heads=2"])
def test_a_token_sees_a_window(name: str) -> None:
    """Five tokens, itself the last: what is before them does not change it."""
    model, on = transformer(f"{name},layers=1,hidden=32,heads=4,ffn=40,vocab=40,window=5"), machine()
    tokens = example_values("tokens", (8, model.hidden), "float32")
    for changed, is_seen in ((2, False), (3, True)):
        other = tokens.copy()
        other[changed] += 1
        assert np.array_equal(logits(model, on, other), logits(model, on, tokens)) != is_seen


@pytest.mark.parametrize(("batch", "layers", "popularity"), [(1, 3, ""), (2, 1, ",popularity=6x1x1x1x1")])
def test_experts_are_read_when_they_are_taken(batch: int, layers: int, popularity: str, tmp_path: Path) -> None:
    name = f"mixtral:8x7b,layers={layers},hidden=32,heads=4,kv_heads=2,ffn=40,vocab=40,experts=5"
    model, on = transformer(f"{name},routing=3{popularity}"), machine(cores__count=2, sram__bytes=16 * 1024)
    found = decode(TransformerDecoder(model), on, Text(3, 1, batch), check=False)
    tokens = example_values("tokens", (batch * 4, model.hidden), "float32")
    whole = ms.run(built(model, 4, batch=batch), on, inputs={"tokens": tokens}, check=False).outputs["logits"]
    np.testing.assert_array_equal(found.outputs[-1].view(np.uint32), whole.view(np.uint32))
    expert = 3 * 32 * 40
    for step in found.steps:
        assert len(step.taken) == layers * step.tokens and {len(set(numbers)) for *_, numbers in step.taken} == {2}
        assert step.experts == len({(x[2], e) for x in step.taken for e in x[3]})
        others = step.weight_bytes - step.experts * expert * 4
        assert 0 < others < 4 * (model.weights - layers * 5 * expert) + 4000  # rotations and masks
    write_decode(found.steps, on, tmp_path)
    rows = list(csv.DictReader((tmp_path / "experts.csv").read_text("utf-8").splitlines()))
    assert len(rows) == layers * batch * 4 and rows[-1]["position"] == "4"
    assert rows[-1]["experts"] == " ".join(map(str, found.steps[-1].taken[-1][3]))
    other = TransformerDecoder(transformer(f"{name},routing=4{popularity}"))
    assert found.steps[0].routing.startswith("seed 3")
    assert other.taken(Place(3, 0, 9, batch)) != found.steps[0].taken


@pytest.mark.parametrize("tokens", [1, 5])
def test_experts_are_weighed_by_their_gates(tokens: int) -> None:
    """Of three experts of four the sum, in double precision, and written otherwise."""
    random = np.random.default_rng(2)
    x, scores, w = (random.normal(size=shape) for shape in ((tokens, 6), (tokens, 4), (4, 6, 6)))
    taken = np.sort([random.permutation(4)[:3] for _ in range(tokens)], axis=1)
    graph = ms.Graph()
    gate = gates(graph, graph.input("scores", scores.shape), taken, "router")
    weights = [graph.weight(f"w{i}", each) for i, each in enumerate(w)]
    y = mixed(graph, graph.input("x", x.shape), gate, taken, lambda x, i, name: graph.matmul(x, weights[i]), "mixed")
    graph.output(y, "y")
    expected = np.zeros_like(x)
    for t in range(tokens):
        e = np.exp(scores[t, taken[t]])
        expected[t] = sum(share * (x[t] @ w[i]) for i, share in zip(taken[t], e / e.sum(), strict=True))
    found = ms.run(graph, machine(), inputs={"x": x, "scores": scores}).outputs["y"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_popular_experts_are_taken_more_often() -> None:
    model = transformer("mixtral:8x7b,popularity=12x1x1x1x1x1x1x1,top=1")
    taken = routed(model, 0, 4000).reshape(-1)
    assert abs((taken == 0).mean() - 12 / 19) < 0.03 and abs((taken == 5).mean() - 1 / 19) < 0.01
    np.testing.assert_array_equal(routed(model, 0, 10, 90).reshape(-1), taken[90:100])
    assert not np.array_equal(routed(model, 1, 4000).reshape(-1), taken)


def test_steps_say_what_each_program_moves() -> None:
    model, on = transformer(f"gpt2:small,{SMALL}"), machine(dram__bandwidth="8GB/s", sram__bytes="1MiB")
    steps = decode(TransformerDecoder(model), on, Text(PREFILL, TOKENS), numerics=False).steps
    row = 2 * model.layers * model.kv * 4
    first, *others = steps
    assert (first.phase, first.position, first.tokens) == ("prefill", PREFILL, PREFILL)
    assert first.kv_written_bytes == PREFILL * row
    weights = 4 * (model.weights - model.hidden * (model.positions - 1))  # of the positions one row
    for i, step in enumerate(others, 1):
        assert (step.phase, step.position, step.tokens) == ("decode", PREFILL + i, 1)
        assert step.kv_read_bytes == (PREFILL + i) * row and step.kv_written_bytes == row
        assert weights <= step.weight_bytes <= 1.01 * weights + 64
        assert step.bound == pytest.approx((step.weight_bytes + step.kv_read_bytes + row) / 8)
        assert step.bound < step.cycles < 2 * step.bound


def test_timing_alone_has_the_cycles_of_computing() -> None:
    model, on = transformer(f"llama:7b,{SMALL}"), machine(cores__count=2)
    decoder, text = TransformerDecoder(model), Text(PREFILL, 2)
    timed, computed = (decode(decoder, on, text, numerics=each, check=False).steps for each in (False, True))
    assert [step.cycles for step in timed] == [step.cycles for step in computed]


def test_layers_decided_on_two_are_those_of_the_whole_model() -> None:
    """The first of two layers stands for all but the last: each layer has the operations of the one it stands for."""
    model = transformer(f"llama:7b,{SMALL}")

    def operations(layers: int) -> dict[str, int]:
        programs = TokenPrograms(TransformerDecoder(replace(model, layers=layers)), machine(), PREFILL + TOKENS)
        schedule = programs.schedule(PREFILL)
        counts = np.bincount(schedule.stream["layer"], minlength=len(schedule.layers))
        return dict(zip(schedule.layer_names, counts.tolist(), strict=True))

    two, four = operations(2), operations(4)
    for name, count in four.items():
        of = name if not name.startswith("layer") else f"layer{0 if name[5] in '012' else 1}.{name.partition('.')[2]}"
        assert abs(count - two[of]) <= 2, name  # loads that are eliminated depend on what is there


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_first_and_last_layers_are_decided_as_such(layers: int) -> None:
    """What a short model is decided on is what it is: its tiles are those of its own program."""
    model, on = transformer(f"gpt2:small,layers={layers},hidden=32,heads=2,ffn=40,vocab=40"), machine()
    decoder = TransformerDecoder(model)
    stands_for = {name: decoder.stands_for(f"layer{name}.o") for name in range(layers)}
    assert stands_for == {1: {0: "layer0.o"}, 2: {0: "layer0.o", 1: "layer1.o"},
                          3: {0: "layer0.o", 1: "layer0.o", 2: "layer1.o"}}[layers]  # fmt: skip
    assert decoder.stands_for("logits") == "logits"
    assert (decoder.short(1) == decoder) == (layers < 3)
    schedule = TokenPrograms(decoder, on, PREFILL + 1, edges=(32, 32, 32)).schedule(PREFILL)
    assert {name.partition(".")[0] for name in schedule.layer_names} >= {f"layer{i}" for i in range(layers)}
    if layers < 3:
        quick = on.model_copy(update={"compiler": on.compiler.model_copy(update={"slices": False})})
        assert len(schedule) == len(ms.compile_graph(decoder.graph(Place(1, PREFILL, PREFILL + 1)), quick))


def test_a_token_that_is_late_is_tried_with_other_edges() -> None:
    on = machine(sram__bytes="1MiB")
    model = TransformerDecoder(transformer("gpt2:small,layers=1,hidden=64,heads=4,ffn=96,vocab=50"))
    good, bad = (32, 32, 32), (8, 8, 8)
    cycles = {e: ms.simulate(TokenPrograms(model, on, 40, edges=e).schedule(20), on).cycles for e in (good, bad)}
    assert cycles[bad] > 1.1 * cycles[good]
    programs = TokenPrograms(model, on, 40, edges=bad)
    assert ms.simulate(programs.schedule(20), on).cycles == cycles[bad]
    programs._others = [good]
    assert ms.simulate(programs.schedule(20), on).cycles == cycles[bad]  # it is no later than the best so far
    programs._slack /= 1.1
    assert ms.simulate(programs.schedule(20), on).cycles == cycles[good]


def test_edges_are_chosen_once_by_timing() -> None:
    on = machine(compiler__effort=1, sram__bytes="1MiB")
    model = TransformerDecoder(transformer("gpt2:small,layers=2,hidden=256,heads=4,ffn=512,vocab=50"))
    programs = TokenPrograms(model, on, 40)
    sooner = programs.schedule(20)
    chosen = programs.edges
    assert chosen is not None and chosen != (on.tile.m, on.tile.k, on.tile.n)
    programs.schedule(21)
    assert programs.edges == chosen
    usual = TokenPrograms(programs.model, on, 40, edges=(on.tile.m, on.tile.k, on.tile.n)).schedule(20)
    assert ms.simulate(sooner, on).cycles <= 1.01 * ms.simulate(usual, on).cycles
    assert len(sooner) < len(usual) / 2  # of about equal ones those with the fewest operations


def test_the_table_and_the_file(tmp_path: Path) -> None:
    model, on = transformer(f"gpt2:small,{SMALL}"), machine()
    found = decode(TransformerDecoder(model), on, Text(PREFILL, 10), numerics=False)
    (path, *_) = write_decode(found.steps, on, tmp_path)
    rows = list(csv.DictReader(path.read_text("utf-8").splitlines()))
    assert [row["phase"] for row in rows] == ["prefill"] + ["decode"] * 10
    for row, step in zip(rows, found.steps, strict=True):
        assert int(row["cycles"]) == step.cycles
        assert float(row["tokens_per_s"]) == pytest.approx(step.tokens * 1e9 / step.cycles)
        assert float(row["cycles_over_bound"]) == pytest.approx(step.cycles / step.bound)
    console = Console(width=100, record=True, file=io.StringIO())
    print_decode(model.name, found.steps, on, console)
    text = console.export_text()
    total = sum(step.cycles for step in found.steps[1:])
    assert f"10 tokens decoded in {total:,} cycles: {10 * 1e9 / total:,.2f} tokens/s" in text
    assert text.count("decode ") == 8  # the first and the last four


def test_every_column_is_explained() -> None:
    section = (ROOT / "docs/reports.md").read_text("utf-8").partition("## decode.csv")[2].partition("\n## ")[0]
    model = TransformerDecoder(transformer("gpt2:small,layers=1,hidden=48,heads=4,ffn=40,vocab=50"))
    steps = decode(model, machine(), Text(1, 1), numerics=False).steps
    named = [line.split("`")[1] for line in section.splitlines() if line.startswith("| `")]
    assert named == list(decode_table(steps, machine()).columns)
