"""A cache that keeps keys and values in fewer bits: its bits are those of the definition, token by token those of all
at once, and only its bytes go through DRAM."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.machines import machine

import minisim as ms
from minisim.compiler.decoders import Text, TransformerDecoder
from minisim.compiler.frontend.pasts import Place
from minisim.compiler.pipeline import computed_graph
from minisim.compiler.transformers import built, transformer
from minisim.decode import Decoded, decode
from minisim.hwmodel.isa import DType, Opcode, Role, Schedule, VectorOp
from minisim.hwmodel.native import simulate_native
from minisim.hwmodel.simulate import simulate
from minisim.hwmodel.sparsity import moved_bytes

SMALL = "layers=1,hidden=32,heads=4,ffn=24,vocab=8"
MODELS = (f"gpt2:small,{SMALL}", f"llama3:8b,kv_heads=2,{SMALL}", f"mistral:7b,kv_heads=1,window=7,{SMALL}")
TYPES = ("int8", "fp8")


def decoder(model: str, kv_type: str) -> TransformerDecoder:
    return TransformerDecoder(transformer(f"{model},kv_type={kv_type}"))


# -- bits --------------------------------------------------------------------------------------------------


def quantised(rows: np.ndarray, heads: int) -> tuple[np.ndarray, np.ndarray]:
    """The recipe of ADR 78, element by element."""
    q, scales = np.zeros(rows.shape, np.int8), np.zeros((len(rows), heads), np.float32)
    size = rows.shape[1] // heads
    for i in range(len(rows)):
        for h in range(heads):
            x = rows[i, h * size : (h + 1) * size].astype(np.float32)
            scales[i, h] = np.float32(np.max(np.abs(x))) / np.float32(127)
            for j, each in enumerate(x):
                with np.errstate(all="ignore"):
                    of = np.float32(each) / scales[i, h]
                q[i, h * size + j] = 0 if np.isnan(of) else np.clip(np.rint(of), -128, 127)
    return q, scales


def kept_rows(rows: np.ndarray, heads: int, on: ms.Machine, page: int = 0, held: int = 0) -> dict[str, np.ndarray]:
    """What a state keeps of rows behind `held` others; and all of it as floats."""
    g = ms.Graph("kept")
    x = g.input("x", rows.shape)
    state = g.state("s", (held + len(rows) + 1, rows.shape[1]), held, "int8", page=page, heads=heads)
    g.output(g.append_rows(state, g.mul(x, 1.0)), "floats")
    runtime = ms.Runtime(g, on)
    runtime.set("x", rows)
    runtime.set("s", np.full(g.tensors["s"].shape, 3, np.int8))
    runtime.set("s.scales", np.full(g.tensors["s.scales"].shape, 0.25, np.float32))
    runtime.execute()
    return {"q": runtime.state("s")[held:], "scales": runtime.state("s.scales")[held:],
            "floats": runtime.get("floats")}  # fmt: skip


ODD = np.array([0, -0.0, 1e-45, 3e-38, 1, -1, 0.5, 63.5, 127, -127, 3.4e38, -3.4e38, np.inf, -np.inf, np.nan])
"""Zeros, the least numbers, halves of a unit, the greatest; and none."""


@settings(max_examples=8)
@given(st.data())
def test_rows_have_the_bits_of_the_definition(data: st.DataObject) -> None:
    """Ragged heads of one column and more, one row and many, few bytes of SRAM, odd values: rows of zeros too."""
    draw = data.draw
    heads, size, count = draw(st.sampled_from([1, 2, 5])), draw(st.sampled_from([1, 3, 8, 70])), draw(st.integers(1, 9))
    keys: dict[str, Any] = {
        "cores__count": draw(st.sampled_from([1, 3])),
        "sram__bytes": draw(st.sampled_from([4 << 10, 1 << 20])),
        "matrix__dtype": draw(st.sampled_from(["fp32", "bf16", "fp16"])),
    }
    on = machine(**keys)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    rows = (rng.normal(size=(count, heads * size)) * 10.0 ** rng.integers(-3, 3, (count, 1))).astype(np.float16)
    rows[rng.random(count) < 0.2] = 0
    rows = rows.astype(np.float32)
    if on.dtype == DType.FP32:
        few = rng.random(rows.shape) < 0.05
        rows[few] = rng.choice(ODD, int(few.sum()))
    elif on.dtype == DType.BF16:
        rows = (rows.view(np.uint32) & 0xFFFF0000).view(np.float32)  # what the machine has of them
    page, held = draw(st.sampled_from([0, 1, 4])), draw(st.sampled_from([0, 3]))
    found, (q, scales) = kept_rows(rows, heads, on, page, held), quantised(rows, heads)
    np.testing.assert_array_equal(found["q"], q)
    np.testing.assert_array_equal(found["scales"], scales)
    with np.errstate(all="ignore"):
        floats = (q.reshape(count, heads, -1).astype(np.float32) * scales[..., np.newaxis]).reshape(rows.shape)
    if on.dtype == DType.FP32:
        np.testing.assert_array_equal(found["floats"][held:], floats)
        np.testing.assert_array_equal(found["floats"][:held], np.float32(0.75))
    g = ms.Graph("reference")
    parts = g.quantize_rows(g.input("x", rows.shape), heads, name="of x")
    for part, name in zip(parts, ("q", "s"), strict=True):
        g.output(part, name)
    defined = g.evaluate({"x": rows})
    np.testing.assert_array_equal(defined[g.outputs["q"]], q)
    np.testing.assert_array_equal(defined[g.outputs["s"]].astype(np.float32), scales)


def test_what_is_no_number_makes_its_head_none_and_no_other() -> None:
    rows = np.array([[1, 2, np.nan, 4], [1, 2, np.inf, 4], [0, 0, 5, -127]], np.float32)
    found = kept_rows(rows, 2, machine())
    np.testing.assert_array_equal(np.isnan(found["floats"]), [[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0]])
    np.testing.assert_array_equal(found["q"], [[64, 127, 0, 0], [64, 127, 0, 0], [0, 0, 5, -127]])
    np.testing.assert_array_equal(found["scales"][:, 1], np.float32([np.nan, np.inf, 1]))


def test_floats_of_8_bits_are_a_cast() -> None:
    g = ms.Graph("fp8")
    x = g.input("x", (2, 6))
    g.output(g.append_rows(g.state("s", (4, 6), 1, "float8_e4m3fn"), g.mul(x, 1.0)), "floats")
    rows = np.array([[0.3, -1.07, 448, 1e9, -np.inf, np.nan], [1e-9, 2**-9, 17, 18, -19, 0]], np.float32)
    before = np.full((4, 6), 1.5, np.float32)
    runtime = ms.Runtime(g, machine())
    for name, values in (("x", rows), ("s", before)):
        runtime.set(name, values)
    runtime.execute()
    kept = np.array([[0.3125, -1.125, 448, 448, -448, np.nan], [0, 2**-9, 16, 18, -20, 0]], np.float32)
    np.testing.assert_array_equal(runtime.get("floats"), np.concatenate([before[:1], kept]))
    np.testing.assert_array_equal(runtime.state("s"), np.concatenate([before[:1], kept]))


# -- tokens ------------------------------------------------------------------------------------------------


@settings(max_examples=3)
@given(st.data())
def test_token_by_token_has_the_bits_of_all_at_once(data: st.DataObject) -> None:
    """With pages, chunks, windows, several sequences, grouped queries, on each type of machine; all at once is a model
    without any cache, which makes of keys and values what one would have kept."""
    draw = data.draw
    model = decoder(draw(st.sampled_from(MODELS)), draw(st.sampled_from(TYPES)))
    keys: dict[str, Any] = {
        "compiler__effort": 0,
        "cores__count": draw(st.sampled_from([1, 2])),
        "matrix__dtype": draw(st.sampled_from(["fp32", "bf16"])),
        "sram__bytes": draw(st.sampled_from([24 << 10, 1 << 20])),
        "compiler__slices": draw(st.booleans()),
    }
    text = Text(draw(st.sampled_from([1, 5, 9])), 1, draw(st.sampled_from([1, 2])), draw(st.sampled_from([0, 4])),
                draw(st.sampled_from([0, 1, 3, 16])))  # fmt: skip
    same_as_at_once(model, machine(**keys), text)


def test_blocks_of_keys() -> None:
    """More than 256 keys, a window that leaves a block out, and a chunk of the prefill."""
    model = decoder("mistral:7b,kv_heads=1,window=5,layers=1,hidden=8,heads=2,ffn=4,vocab=4", "int8")
    on = machine(compiler__effort=0, compiler__slices=False, cores__count=2, matrix__dtype="bf16")
    same_as_at_once(model, on, Text(264, 1, chunk=259, page=64))


def same_as_at_once(model: TransformerDecoder, on: ms.Machine, text: Text) -> None:
    found = decode(model, on, text, check=False)
    graph = built(model.model, text.capacity, batch=text.batch)
    tokens = model.inputs(graph, Place(text.capacity, 0, text.capacity, text.batch))
    alone = ms.run(graph, on, inputs=tokens, check=False).outputs["logits"]
    np.testing.assert_array_equal(found.outputs[-1].view(np.uint32), alone.view(np.uint32))


@pytest.mark.parametrize("kv_type", TYPES)
def test_numpy_says_the_same(kv_type: str) -> None:
    """On the cache that the machine has left, to what float32 rounds; and that cache is the one that numpy makes."""
    found = decode(decoder(MODELS[1], kv_type), machine(compiler__effort=0), Text(5, 1, 2))
    assert found.difference is not None and found.difference.largest < 1e-5


def test_what_it_costs_in_bits_is_little_and_not_nothing() -> None:
    text, on = Text(6, 1), machine(compiler__effort=0, compiler__slices=False)
    floats, *others = (decode(decoder(MODELS[0], kv_type), on, text, check=False) for kv_type in ("float", *TYPES))
    apart = [error(each, floats) for each in others]
    assert 1e-4 < apart[0] < apart[1] < 0.05


def error(found: Decoded, floats: Decoded) -> float:
    """Of the last token's logits, relative to these."""
    mine, truth = found.outputs[-1], floats.outputs[-1]
    return float(np.linalg.norm(mine - truth) / np.linalg.norm(truth))


# -- bytes and cycles --------------------------------------------------------------------------------------


def step(model: str, kv_type: str, past: int, on: ms.Machine, batch: int = 1, page: int = 0) -> Schedule:
    return ms.compile_graph(built(decoder(model, kv_type).model, 1, past, past + 3, batch, page), on)


def kv_bytes(schedule: Schedule, opcode: Opcode) -> int:
    """The bytes of states that such operations move."""
    tiles = schedule.transfers["tile"][schedule.stream["row"][schedule.stream["opcode"] == opcode]]
    mine = schedule.tensors["role"][schedule.tensors["storage"][schedule.tiles["tensor"][tiles]]] == Role.STATE
    return int(schedule.tile_bytes()[tiles[mine]].sum())


@pytest.mark.parametrize("model", MODELS[:2])
@pytest.mark.parametrize(("past", "batch", "page"), [(1, 1, 0), (40, 3, 16)])
def test_only_the_kept_bytes_go_through_dram(model: str, past: int, batch: int, page: int) -> None:
    """A byte for each element, and for int8 four more for each token and head; reads of all rows, writes of one."""
    of, on = transformer(model), machine(sram__bytes=1 << 20, compiler__effort=0)
    for kv_type, of_head in (("float", 4 * of.head), ("int8", of.head + 4), ("fp8", of.head)):
        schedule, row = step(model, kv_type, past, on, batch, page), 2 * batch * of.kv_heads * of_head
        assert (kv_bytes(schedule, Opcode.LOAD), kv_bytes(schedule, Opcode.STORE)) == ((past + 1) * row, row)


@pytest.mark.parametrize(("batch", "kv_type"), [(1, "int8"), (2, "int8"), (2, "float")])
def test_reports_count_them(batch: int, kv_type: str) -> None:
    """The scales too, and what a batch copies into its place."""
    on, of = machine(sram__bytes=1 << 20, compiler__effort=0), transformer(MODELS[0])
    (_, last) = decode(decoder(MODELS[0], kv_type), on, Text(1, 1, batch), numerics=False).steps
    row = 2 * batch * of.kv_heads * (of.head + 4 if kv_type == "int8" else 4 * of.head)
    assert (last.kv_read_bytes, last.kv_written_bytes) == (2 * row, row)
    assert last.bound == (3 * row + last.weight_bytes) / float(on.memory_bytes_per_cycle)


def vectors(schedule: Schedule, op: VectorOp) -> np.ndarray:
    return np.asarray(schedule.vectors[schedule.vectors["op"] == op])


@pytest.mark.parametrize(("model", "past", "batch"), [(MODELS[0], 30, 2), (MODELS[1], 300, 1)])
def test_every_element_is_unpacked_once_and_every_new_one_quantised(model: str, past: int, batch: int) -> None:
    """By vector operations, which take their passes."""
    on = machine(sram__bytes=1 << 20, compiler__effort=0)
    kv = batch * transformer(model).kv
    for kv_type, op, of in (("int8", VectorOp.RESCALE, DType.INT8), ("fp8", VectorOp.CAST, DType.FP8E4M3)):
        schedule = step(model, kv_type, past, on, batch)
        work = vectors(schedule, op)
        unpacked = work[work["dtype"] == of]
        assert int((unpacked["rows"].astype(int) * unpacked["cols"]).sum()) == 2 * (past + 1) * kv
        assert "DequantizeRows" not in schedule.layer_ops
        if kv_type == "int8":
            made = vectors(schedule, VectorOp.QUANTIZE)
            assert int((made["rows"].astype(int) * made["cols"]).sum()) == 2 * kv


def test_floats_of_the_cache_stay_on_chip() -> None:
    schedule = step(MODELS[0], "int8", 300, machine(sram__bytes=1 << 20, compiler__effort=0))
    stream, tiles = schedule.stream, schedule.transfers["tile"]
    stored = schedule.tiles["tensor"][tiles[stream["row"][stream["opcode"] == Opcode.STORE]]]
    names = {schedule.tensor_names[i] for i in stored}
    assert not any("/keys" in name or "/values" in name for name in names), names
    assert {"layer0.keys.cache", "layer0.keys.cache.scales", "layer0.values.cache"} <= names
    roles = {schedule.tensor_names[i]: Role(role) for i, role in enumerate(schedule.tensors["role"])}
    assert roles["layer0.keys.cache.scales"] == Role.STATE


def test_scales_lie_in_pages_too() -> None:
    """Each page of a state of scales is a transfer, as are those of the rows that they are of."""
    on = machine(sram__bytes=1 << 20, compiler__effort=0)
    schedule = step(MODELS[1], "int8", 30, on, page=4)
    of_states = schedule.tensors["role"] == Role.STATE
    assert np.count_nonzero(of_states) == 4 and (schedule.tensors["page"][of_states] == 4).all()
    stream, tiles = schedule.stream, schedule.transfers["tile"]
    loads = schedule.tiles["tensor"][tiles[stream["row"][stream["opcode"] == Opcode.LOAD]]]
    heads, pages = transformer(MODELS[1]).kv_heads, -(-31 // 4)
    assert [int((loads == i).sum()) for i in np.flatnonzero(of_states)] == [heads * pages] * 4


def test_a_slow_dram_gives_back_what_fewer_bytes_take() -> None:
    """Where the DRAM is all that counts, cycles are less by what is not moved."""
    on = machine(sram__bytes=1 << 20, compiler__effort=0, dram__bandwidth="0.25GB/s")
    cycles, moved = [], []
    for kv_type in ("float", "int8"):
        schedule = step(MODELS[0], kv_type, 250, on, batch=4)
        cycles.append(simulate_native(schedule, on).cycles)
        moved.append(int(moved_bytes(schedule)[schedule.transfers["tile"]].sum()))
    saved = (moved[0] - moved[1]) / float(on.memory_bytes_per_cycle)
    assert moved[1] < 0.5 * moved[0] and abs((cycles[0] - cycles[1]) / saved - 1) < 0.03


def test_a_slow_vector_unit_is_what_unpacking_waits_for() -> None:
    """It is not free: with few lanes the token takes at least the passes of all of its keys and values."""
    on = machine(sram__bytes=1 << 20, compiler__effort=0, vector__lanes=1, vector__mul_cost=7)
    elements = 2 * 301 * transformer(MODELS[0]).kv
    cycles = {kind: simulate_native(step(MODELS[0], kind, 300, on), on).cycles for kind in ("float", "int8", "fp8")}
    assert cycles["int8"] > cycles["float"] + 0.9 * elements * 8  # a multiplication, and the conversion
    assert cycles["fp8"] > cycles["float"] + 0.8 * elements  # a pass each, some behind what is loaded


@pytest.mark.parametrize("kv_type", TYPES)
def test_both_event_models_time_it_alike(kv_type: str) -> None:
    on = machine(sram__bytes=48 << 10, cores__count=2, dram__model="banked", compiler__effort=0)
    schedule = step(MODELS[1], kv_type, 300, on, page=16)
    mine, other = simulate_native(schedule, on), simulate(schedule, on)
    assert mine.cycles == other.cycles and np.array_equal(mine.end, other.end)


# -- who reads it ------------------------------------------------------------------------------------------


def test_what_else_reads_a_cache_has_its_floats() -> None:
    """Keys that two products read, or with heads of another size, are made floats of as a whole; the bits are the
    definition's."""
    rng, found = np.random.default_rng(0), []
    for absorbed, shared, heads in ((True, False, 2), (False, True, 2), (False, False, 4)):
        g = ms.Graph("readers")
        q, x = g.input("q", (1, 24)), g.input("x", (1, 24))
        k, v = (g.append_rows(g.state(name, (9, 24), 6, "int8", heads=heads), g.mul(x, 2.0)) for name in "kv")
        scores = g.matmul_of_heads(q, k, a_heads=2, b_heads=2, transpose_b=True)
        g.output(g.matmul_of_heads(g.softmax(scores), v, b_heads=2, joins=True), "y")
        if shared:
            g.output(g.relu(k), "again")
        on = machine(sram__bytes=64 << 10)
        assert (computed_graph(g, on).nodes[-1].op == "Attention") is absorbed
        rng = np.random.default_rng(1)
        inputs = {name: rng.normal(size=(1, 24)).astype(np.float32) for name in "qx"}
        for name in "kv":
            inputs[name] = rng.integers(-127, 128, (9, 24)).astype(np.int8)
            inputs[f"{name}.scales"] = np.repeat(rng.random((9, 2)).astype(np.float32) / 100, heads // 2, axis=1)
        result = ms.run(g, on, inputs=inputs)
        assert result.difference is not None and result.difference.largest < 1e-5
        found.append(result.outputs["y"])
    np.testing.assert_array_equal(found[0], found[1])
    assert np.abs(found[2] - found[0]).max() < 0.05


# -- mistakes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda g, x: g.state("t", (4, 8), 1, heads=2), "state 't': rows of heads with scales are int8, not float32"),
        (lambda g, x: g.state("t", (4, 8), 1, "int8", heads=3), "(4, 8): its columns are not those of 3 heads"),
        (lambda g, x: g.state("t", (4, 8), 1, "int8", heads=0), "its columns are not those of 0 heads"),
        (lambda g, x: g.state("t", (4, 8), 1, "int8", heads=1.5), "heads"),
        (lambda g, x: g.quantize_rows(x, 3), "rows (2, 8) are not those of 3 heads that lie beside each other"),
        (lambda g, x: g.quantize_rows(x, 0), "heads must be from 1, not 0"),
        (lambda g, x: g.append_rows(g.state("t", (4, 8), 1), x, first=3), "must be one of the rows of 't', not 3"),
        (lambda g, x: g.append_rows(g.state("t", (4, 8), 1), x, first=-1), "first must be one of the rows of 't'"),
        (lambda g, x: g.append_rows(g.state("t", (4, 8), 3, "int8", heads=2), x), "has no room for rows (2, 8)"),
        (lambda g, x: g.dequantize_rows(x, x), "rows must be int8 and scales float32, not float32 and float32"),
        (lambda g, x: g.dequantize_rows(g.quantize_rows(x)[0], g.input("s", (3, 2))),
         "rows (2, 8) have one scale for each head, not scales (3, 2)"),
        (lambda g, x: transformer("gpt2:small,kv_type=int9"), "float, int8, fp8, not 'int9'; did you mean 'int8'?"),
        (lambda g, x: transformer("gpt2:small,kv_type=int8,kv_type=int8"), "kv_type is given twice"),
        (lambda g, x: transformer("bert:base,kv_type=fp8"), "an encoder has no cache: it has no kv_type"),
    ],
)  # fmt: skip
def test_mistakes_are_told(wrong: Any, message: str) -> None:
    g = ms.Graph()
    with pytest.raises(ms.MinisimError, match=re.escape(message)):
        wrong(g, g.input("x", (2, 8)))


@pytest.mark.parametrize("kv_type", TYPES)
def test_a_machine_that_quantises_says_so(kv_type: str) -> None:
    model = decoder(MODELS[0], kv_type)
    with pytest.raises(ms.MinisimError, match=r"fewer bits \(kv_type, heads\); a machine that quantises"):
        decode(model, machine(matrix__dtype="int8"), Text(3, 1), numerics=False)
    floats = TransformerDecoder(replace(model.model, kv_type="float"))
    assert decode(floats, machine(matrix__dtype="int8"), Text(3, 1), numerics=False).steps
