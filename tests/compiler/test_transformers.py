"""Transformers by name: as many weights as the published ones, the definition's values, a clear word for mistakes."""

from __future__ import annotations

import re

import numpy as np
import pytest
from support.machines import machine
from support.oracle import evaluate

import minisim as ms
from minisim.compiler.example_inputs import example_inputs
from minisim.compiler.frontend import load_model
from minisim.compiler.transformers import TRANSFORMERS, built, load_transformer, transformer
from minisim.errors import ModelError
from minisim.models import weights

SMALL = "layers=2,hidden=48,heads=4,ffn=40,prefill=7"

# Millions of parameters as the models' cards and papers have them. Of ours there is no table of embeddings, which has
# vocab x hidden; tied logits (qwen2 0.5b and 1.5b, gpt2) are that table. BERT has two more rows of types and a pooler,
# ViT a head and its patches: they are told apart in the test.
PUBLISHED = {
    "llama:7b": 6_738_415_616 - 32000 * 4096,
    "llama:13b": 13_015_864_320 - 32000 * 5120,
    "llama3:8b": 8_030_261_248 - 128256 * 4096,
    "qwen2:0.5b": 494_032_768,
    "qwen2:1.5b": 1_543_714_304,
    "qwen2:7b": 7_615_616_512 - 152064 * 3584,
    "gpt2:small": 124_439_808,
    "gpt2:medium": 354_823_168,
    "gpt2:large": 774_030_080,
    "gpt2:xl": 1_557_611_200,
    "bert:base": 109_482_240 - 30522 * 768 - 2 * 768 - 2 * 768 - 768 * 769,
    "bert:large": 335_141_888 - 30522 * 1024 - 2 * 1024 - 2 * 1024 - 1024 * 1025,
    "vit:base": 86_567_656 - 768 * (16 * 16 * 3 + 1) - 768 - 1000 * 769,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_model_has_the_published_weights(name: str) -> None:
    assert TRANSFORMERS[name].weights == PUBLISHED[name]


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_the_weights_that_are_told_are_those_of_the_graph(name: str) -> None:
    model = transformer(f"{name},layers=2,prefill=3")
    graph = built(model, 60 if model.experts else 3)  # all experts are taken by any
    tables = [n for n in graph.tensors if n.startswith(("cos", "sin", "seen")) or "taken" in n]  # of positions, routes
    assert weights(graph) - sum(int(np.prod(graph.tensors[n].shape)) for n in tables) == model.weights


FAMILIES = ("llama:7b", "llama3:8b,kv_heads=2", "qwen2:0.5b,kv_heads=1", "gpt2:small", "bert:base", "vit:base")


@pytest.mark.parametrize("name", FAMILIES)
def test_a_model_has_the_bits_of_the_definition(name: str) -> None:
    more = "" if name.startswith(("bert", "vit")) else ",vocab=50"
    graph = load_model(f"{name},{SMALL}{more}")
    inputs = example_inputs(graph)
    for keys in ({}, {"sram__bytes": 24 * 1024, "cores__count": 2}):
        result = ms.run(graph, machine(**keys), inputs=inputs)
        assert result.max_abs_error is not None and result.max_abs_error < 1e-4
        for public, expected in evaluate(graph, inputs).items():
            np.testing.assert_array_equal(result.outputs[public], expected)


def attention(model: str, x: np.ndarray) -> np.ndarray:
    """The output of a model, in double precision."""
    graph = load_transformer(model, len(x))
    (name,) = graph.outputs.values()
    return np.asarray(graph.evaluate({"tokens": x})[name])


@pytest.mark.parametrize("name", ["llama:7b", "gpt2:small"])
def test_a_token_sees_none_behind_it_and_each_before_it(name: str) -> None:
    model, rng = f"{name},{SMALL},vocab=0", np.random.default_rng(3)
    x = rng.normal(size=(7, 48))
    whole = attention(model, x)
    np.testing.assert_allclose(whole[:5], attention(model, x[:5]), rtol=1e-9, atol=1e-12)
    other = x.copy()
    other[2] += rng.normal(size=48)
    moved = np.abs(attention(model, other) - whole).max(axis=1)
    assert (moved[:2] == 0).all() and (moved[2:] > 1e-6).all()


def test_rotary_positions_are_relative() -> None:
    """Scores depend on how far apart two tokens are, not on where they stand: checked on the tables themselves."""
    graph = load_transformer(f"llama:7b,{SMALL},vocab=0", 9)
    cos, sin = (np.asarray(graph.tensors[f"{kind}4"].data, dtype=np.float64)[:, :12] for kind in ("cos", "sin"))
    q, k = np.random.default_rng(1).normal(size=(2, 12))

    def at(x: np.ndarray, position: int) -> np.ndarray:
        return x * cos[position] + np.roll(x, 6) * sin[position]

    scores = [at(q, i + 3) @ at(k, i) for i in range(6)]
    np.testing.assert_allclose(scores, scores[0], rtol=1e-6)
    assert abs(at(q, 4) @ at(k, 0) - scores[0]) > 1e-3
    np.testing.assert_allclose(at(q, 0), q)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("llama:8b", "model 'llama:8b': there is no transformer 'llama:8b'; did you mean 'llama"),
        ("gpt2:smal", "did you mean 'gpt2:small'?"),
        ("gpt2:small,layer=2", "'layer=2' is no parameter of a transformer (layers=, hidden=, heads=, kv_heads=, ffn=, "
         "vocab=, experts=, top=, routing=, popularity=, window=, prefill=, weights=, block=, kv_type=); did you mean "
         "'layers'?"),
        ("gpt2:small,layers=0", "layers (layers) must be a whole number from 1, not '0'"),
        ("gpt2:small,layers=1,layers=1", "layers is given twice"),
        ("gpt2:small,heads=7", "7 heads do not share 768 elements of a token in equal, even parts"),
        ("llama:7b,hidden=96,heads=32", "32 heads do not share 96 elements of a token in equal, even parts"),
        ("llama3:8b,kv_heads=5", "heads (32) must be a multiple of kv_heads (5)"),
        ("gpt2:small,prefill=1025", "has positions for 1024 tokens, not for 1025"),
    ],
)  # fmt: skip
def test_mistakes_are_told(spec: str, message: str) -> None:
    with pytest.raises(ms.MinisimError, match=re.escape(message)):
        load_model(spec)


def test_a_slip_of_the_keyboard_is_told_at_once() -> None:
    with pytest.raises(ModelError, match=r"^model 'llama:7b,layers=1001': layers must be 1000 at most, not 1001$"):
        transformer("llama:7b,layers=1001")
    assert transformer("llama:7b,layers=1000").layers == 1000
    model = transformer("llama:7b,layers=1")
    with pytest.raises(ModelError, match=r"^tensor 'layer0\.keys\.cache': \(10000000, 4096\) would have"):
        built(model, 1, 0, 10**7)  # where nobody's lines are to blame
