"""Decoders with past inputs: token by token they have the bits of the run without a cache, which is not moved."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from support.decoders import HEADS, KINDS, SIZE, VOCAB, Decoder
from support.machines import machine

import minisim as ms
from minisim.compiler.decoders import OnnxDecoder, Text
from minisim.compiler.frontend import load_model
from minisim.compiler.frontend.pasts import Place
from minisim.decode import decode
from minisim.errors import ModelError, UnsupportedError
from minisim.hwmodel.isa import Opcode, Role
from minisim.lockstep import in_lockstep

PREFILL, TOKENS = 4, 1
END = PREFILL + TOKENS


def text(batch: int) -> np.ndarray:
    return np.random.default_rng([0, zlib.crc32(b"input_ids")]).integers(0, VOCAB, (batch, END))


def uncached(path: Path, ids: np.ndarray, on: ms.Machine) -> np.ndarray:
    batch, count = ids.shape
    values = {"input_ids": ids, "attention_mask": np.ones((batch, count), np.int64),
              "position_ids": np.tile(np.arange(count), (batch, 1))}  # fmt: skip
    graph = load_model(path, values=values)
    return np.asarray(ms.run(graph, on, check=False).outputs["logits"])


TINY = {"sram__bytes": 8 * 1024, "cores__count": 2, "matrix__rows": 8, "matrix__cols": 8}


@pytest.mark.parametrize(
    ("kind", "batch", "keys"),
    [("Concat", 2, {}), ("repeated", 2, TINY), ("Attention", 1, TINY), ("GroupQueryAttention", 2, TINY)],
)
def test_token_by_token_has_the_bits_of_all_at_once(
    kind: str, batch: int, keys: dict[str, object], tmp_path: Path
) -> None:
    on = machine(**keys)
    cached, alone = (Decoder(kind, 1, each).save(tmp_path / f"{each}.onnx") for each in (True, False))
    chunk = 3 if kind == "Concat" else 0
    found = decode(OnnxDecoder(cached), on, Text(PREFILL, TOKENS, batch, chunk))
    expected = uncached(alone, text(batch), on)
    assert [step.tokens // batch for step in found.steps] == ([3, 1, 1] if chunk else [4, 1])
    at = 0
    for output in found.outputs:
        rows = expected[:, at : at + output.shape[1]]
        np.testing.assert_array_equal(output.view(np.uint32), rows.view(np.uint32))
        at += output.shape[1]
    assert at == END and found.difference is not None and found.difference.largest < 1e-5


@pytest.mark.parametrize("cached", [True, False])
def test_a_text_is_one_program(cached: bool, tmp_path: Path) -> None:
    """`--prefill` alone: numbers of tokens are drawn, and what follows from where they stand is bound."""
    graph = OnnxDecoder(Decoder("repeated", 1, cached).save(tmp_path / "model.onnx")).whole(END, 2)
    assert set(graph.outputs) == {"logits"} and graph.bound["input_ids"].shape == (2, END)
    np.testing.assert_array_equal(graph.bound["input_ids"], text(2))
    expected = uncached(Decoder("repeated", 1, False).save(tmp_path / "alone.onnx"), text(2), machine())
    np.testing.assert_array_equal(ms.run(graph, machine(), check=False).outputs["logits"], expected)


def test_it_is_what_onnx_runtime_computes(tmp_path: Path) -> None:
    path = Decoder("repeated").save(tmp_path / "model.onnx")
    ids = text(1)[:, : PREFILL + 1]
    found = decode(OnnxDecoder(path, values={"input_ids": ids}), machine(), Text(PREFILL, 1), check=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    empty = np.zeros((1, KINDS["repeated"], 0, SIZE), np.float32)
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "position_ids": np.arange(PREFILL + 1)[None]}
    pasts = [each.name for each in session.get_inputs() if each.name not in feed]
    (logits,) = session.run(["logits"], {**feed, **dict.fromkeys(pasts, empty)})
    np.testing.assert_allclose(np.concatenate(found.outputs, axis=1), logits, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_reads_the_rows_that_there_are_and_moves_none(kind: str, tmp_path: Path) -> None:
    graph = OnnxDecoder(Decoder(kind).save(tmp_path / "model.onnx")).graph(Place(1, PREFILL, END))
    schedule = ms.compile_graph(graph, machine())
    assert {"Copy", "Transpose", "Concat", "Expand"}.isdisjoint(schedule.layer_ops)
    row = 2 * 2 * KINDS[kind] * SIZE * 4  # keys and values of two layers
    stream, tiles = schedule.stream, schedule.tiles
    for opcode, rows in ((Opcode.LOAD, PREFILL + 1), (Opcode.STORE, 1)):
        moved = schedule.transfers["tile"][stream["row"][stream["opcode"] == opcode]]
        moved = moved[schedule.tensors["role"][tiles["tensor"][moved]] == Role.STATE]
        assert schedule.tile_bytes()[moved].sum() == rows * row


def test_a_stale_row_is_found(tmp_path: Path) -> None:
    """A cache in which the last token was left out, and keys that are read a row too far."""
    graph = OnnxDecoder(Decoder("Concat", 1).save(tmp_path / "model.onnx")).graph(Place(1, PREFILL, END))
    schedule = ms.compile_graph(graph, machine())
    for left_out in (0, 1):
        runtime = ms.Runtime(graph, machine(), schedule)
        for name in graph.inputs:
            held = graph.tensors[name].held
            assert held == PREFILL
            whole = np.zeros(graph.tensors[name].shape, np.float32)
            runtime.set(name, whole)
            if left_out:
                runtime.engine.reset()
                runtime.engine.set_tensor(schedule.tensor_names.index(name), whole[: held - left_out])
        if left_out:
            with pytest.raises(ms.ScheduleHazard, match="never written"):
                in_lockstep(schedule, machine(), runtime.engine, [], "native")
        else:
            in_lockstep(schedule, machine(), runtime.engine, [], "native")


def test_other_names_are_given(tmp_path: Path) -> None:
    names = ("cache.{}.{}", "next.{}.{}")
    path = Decoder("Concat", 1, names=names).save(tmp_path / "model.onnx")
    states = {f"cache.0.{kind}": f"next.0.{kind}" for kind in ("key", "value")}
    assert OnnxDecoder(path, states).graph(Place(1, 3, 5)).tensors["cache.0.key"].shape == (5, HEADS * SIZE)
    with pytest.raises(ModelError, match="no decoder with a cache"):
        OnnxDecoder(path).graph(Place(1, 3, 5))
    with pytest.raises(ModelError, match=r"no output 'next\.0\.keys' to be a state; did you mean 'next\.0\.key'"):
        OnnxDecoder(path, {"cache.0.key": "next.0.keys"}).graph(Place(1, 3, 5))
    with pytest.raises(ModelError, match=r"the output 'next\.0\.value' must be the past 'cache\.0\.key' with new rows"):
        OnnxDecoder(path, {"cache.0.key": "next.0.value", "cache.0.value": "next.0.key"}).graph(Place(1, 3, 5))


def test_a_past_that_is_read_otherwise_is_refused(tmp_path: Path) -> None:
    decoder = Decoder("Concat", 1)
    node = next(node for node in decoder.nodes if "past_key_values.0.key" in node.input)
    node.input[0] = "turned"
    relu = onnx.helper.make_node("Relu", ["past_key_values.0.key"], ["turned"])
    decoder.nodes.insert(decoder.nodes.index(node), relu)
    path = decoder.save(tmp_path / "model.onnx")
    with pytest.raises(UnsupportedError, match=r"the past 'past_key_values\.0\.key' is read by what puts rows behind"):
        OnnxDecoder(path).graph(Place(1, 3, 5))
