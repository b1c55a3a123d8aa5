"""Operators of com.microsoft, held to ONNX Runtime, whose they are; and whole, through the engine."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx.helper import (
    make_graph,
    make_model,
    make_node,
    make_opsetid,
    make_tensor_value_info,
    np_dtype_to_tensor_dtype,
)

import minisim as ms
from minisim.compiler.frontend.onnx_file import load_onnx
from minisim.compiler.ops.base import ONNX_IMPORTERS
from minisim.errors import MinisimError

Array = npt.NDArray[Any]
RNG = np.random.default_rng(29)
Operands = dict[str, Array | None]


def normal(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def model(
    path: Path, op: str, operands: Operands, outputs: int, fixed: str, domain: str, **attributes: Any
) -> dict[str, Array]:
    """Write one node; return what to feed it. Integers are constants, and the operands that `fixed` has a letter of."""
    given = {name: x for name, x in operands.items() if x is not None}
    fed = {name: x for name, x in given.items() if x.dtype != np.int32 and x.dtype != np.int64 and name not in fixed}
    results = [f"y{i}" if i != 1 or not op.startswith("Skip") else "" for i in range(outputs)]
    if op.startswith("Skip") and outputs == 4:
        results[2] = ""
    graph = make_graph(
        [make_node(op, [name if x is not None else "" for name, x in operands.items()], results, "node",
                   domain=domain, **attributes)],
        "g",
        [make_tensor_value_info(name, np_dtype_to_tensor_dtype(x.dtype), x.shape) for name, x in fed.items()],
        [make_tensor_value_info(name, 1, None) for name in results if name],
        [onnx.numpy_helper.from_array(x, name) for name, x in given.items() if name not in fed],
    )  # fmt: skip
    opsets = [make_opsetid("", 20), make_opsetid("com.microsoft", 1)]
    path.write_bytes(make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())
    return fed


def held(
    path: Path,
    op: str,
    operands: Operands,
    outputs: int = 1,
    *,
    fixed: str = "",
    engine: bool = False,
    domain: str = "com.microsoft",
    **attributes: Any,
) -> None:
    """What the graph means, or the engine computes, is what ONNX Runtime does."""
    fed = model(path, op, operands, outputs, fixed, domain, **attributes)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [info.name for info in session.get_outputs()]
    expected = session.run(None, fed)
    graph = load_onnx(path)
    values = ms.run(graph, inputs=fed).outputs if engine else graph.evaluate(fed)
    for name, wanted in zip(names, expected, strict=True):
        got = values[name if engine else graph.outputs[name]]
        assert got.shape == wanted.shape
        np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(
    ("op", "operands", "attributes"),
    [
        ("Gelu", {"x": normal(3, 8)}, {}),
        ("BiasGelu", {"x": normal(3, 8), "b": normal(8)}, {}),
        ("FastGelu", {"x": normal(3, 8), "b": normal(8)}, {}),
        ("FastGelu", {"x": normal(3, 8)}, {}),
        ("QuickGelu", {"x": normal(3, 8)}, {}),
        ("QuickGelu", {"x": normal(3, 8)}, {"alpha": 1.0}),
        ("FusedMatMul", {"a": normal(2, 5, 3), "b": normal(2, 4, 5)}, {"alpha": 0.5, "transA": 1, "transB": 1}),
        ("FusedMatMul", {"a": normal(2, 3, 5), "b": normal(5, 4)}, {}),
    ],
)
def test_fused_operators(op: str, operands: Operands, attributes: dict[str, Any], tmp_path: Path) -> None:
    held(tmp_path / "m.onnx", op, operands, **attributes)


def test_simplified_layer_norm_is_of_onnx_s_own_domain(tmp_path: Path) -> None:
    operands: Operands = {"x": normal(2, 3, 8), "s": normal(8)}
    held(tmp_path / "m.onnx", "SimplifiedLayerNormalization", operands, domain="", axis=-1, epsilon=0.1)


@pytest.mark.parametrize("outputs", [1, 4])
@pytest.mark.parametrize("simplified", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_skip_layer_norm(outputs: int, simplified: bool, bias: bool, tmp_path: Path) -> None:
    operands: Operands = {"x": normal(2, 3, 8), "skip": normal(2, 3, 8), "s": normal(8)}
    if not simplified:
        operands["t"] = normal(8)
    operands["b"] = normal(8) if bias else None
    op = "SkipSimplifiedLayerNormalization" if simplified else "SkipLayerNormalization"
    held(tmp_path / "m.onnx", op, operands, outputs, epsilon=0.1)


B, S, H, D = 2, 3, 4, 8
MASK = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], np.int32)


@pytest.mark.parametrize(
    ("operands", "fixed", "attributes"),
    [
        ({}, "", {"scale": 0.4}),
        ({"b": normal(2 * H * D + H * 4)}, "b", {"unidirectional": 1}),
        ({"m": MASK}, "", {"mask_filter_value": -3.0}),
        ({"m": np.array([3, 5], np.int32), "a": normal(1, H, S, 5)}, "", {}),
        ({"m": MASK, "a": normal(B, H, S, 5)}, "a", {}),
        ({"p": normal(B, H, 2, D), "w": normal(B, H, 2, D)}, "", {"unidirectional": 1}),
    ],
)
def test_multi_head_attention(operands: Operands, fixed: str, attributes: dict[str, Any], tmp_path: Path) -> None:
    whole: Operands = {"q": normal(B, S, H * D), "k": normal(B, 5, H * D), "v": normal(B, 5, H * 4)}
    if "unidirectional" in attributes:
        whole["k"], whole["v"] = normal(B, S, H * D), normal(B, S, H * (D if "p" in operands else 4))
    whole |= {name: operands.get(name) for name in "bmapw"}
    outputs = 3 if "p" in operands else 1
    held(tmp_path / "m.onnx", "MultiHeadAttention", whole, outputs, fixed=fixed, num_heads=H, **attributes,
         engine="m" in operands)  # fmt: skip


def group(past: int = 0, filled: int | None = None, packed: bool = False, rotary: bool = False) -> Operands:
    """The operands: a past of a buffer of so many rows, `filled` of them with something in it."""
    d, kv, filled = 16, 2, past if filled is None else filled  # ONNX Runtime turns multiples of 16 columns
    batch = 1 if past else B  # and takes no more with a past
    if packed:
        whole: Operands = {"q": normal(batch, S, (H + 2 * kv) * d), "k": None, "v": None}
    else:
        whole = {"q": normal(batch, S, H * d), "k": normal(batch, S, kv * d), "v": normal(batch, S, kv * d)}
    buffers = [normal(batch, kv, past, d) if past else None for _ in range(2)]
    whole |= {"p": buffers[0], "w": buffers[1]}
    whole |= {"l": np.full(batch, filled + S - 1, np.int32), "t": np.array(filled + S, np.int32)}
    if rotary:
        angles = np.outer(np.arange(20), 1 / np.arange(1, 1 + d // 2)).astype(np.float32)
        whole |= {"c": np.cos(angles), "s": np.sin(angles)}
    return whole


@pytest.mark.parametrize(
    ("operands", "attributes"),
    [
        (group(), {"scale": 0.3}),
        (group(past=4), {}),
        (group(packed=True, rotary=True), {"do_rotary": 1}),
        (group(past=2, rotary=True), {"do_rotary": 1, "rotary_interleaved": 1}),
        (group(past=9, filled=4, rotary=True), {"do_rotary": 1, "softcap": 2.0}),
        (group(past=6), {"local_window_size": 3}),
        (group(), {"local_window_size": 1}),
    ],
)
def test_group_query_attention(operands: Operands, attributes: dict[str, Any], tmp_path: Path) -> None:
    held(tmp_path / "m.onnx", "GroupQueryAttention", operands, 3, fixed="cs", num_heads=H, kv_num_heads=2, **attributes)


def test_the_engine_computes_group_query_attention(tmp_path: Path) -> None:
    operands = group(past=9, filled=4, rotary=True)
    held(tmp_path / "m.onnx", "GroupQueryAttention", operands, 3, engine=True, num_heads=H, kv_num_heads=2, do_rotary=1)


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("positions", [[[4, 5, 6], [0, 2, 2]], [3]])
def test_rotary_embedding(flat: bool, positions: Any, tmp_path: Path) -> None:
    x = normal(B, S, H * D) if flat else normal(B, H, S, D)
    operands: Operands = {"x": x, "n": np.array(positions, np.int64), "c": normal(9, D // 2), "s": normal(9, D // 2)}
    held(tmp_path / "m.onnx", "RotaryEmbedding", operands, fixed="cs")


@pytest.mark.parametrize(
    ("op", "operands", "attributes", "message"),
    [
        ("GroupQueryAttention", group() | {"l": np.array([1, 2], np.int32)}, {"num_heads": 4, "kv_num_heads": 2},
         "every sequence must have all 3 keys: seqlens_k must be 2 for each"),
        ("GroupQueryAttention", group() | {"l": normal(B)}, {"num_heads": 4, "kv_num_heads": 2},
         "the lengths seqlens_k that are computed at run time are not supported"),
        ("GroupQueryAttention", group(past=2, filled=4), {"num_heads": 4, "kv_num_heads": 2},
         "the past must have 4 rows or more, not 2"),
        ("MultiHeadAttention", {"q": normal(B, S, 3, H, D)}, {"num_heads": 4},
         "query, key and value in one tensor are not supported"),
        ("FusedMatMul", {"a": normal(2, 3), "b": normal(3, 4)}, {"transBatchA": 1}, "transBatchA and transBatchB must"),
        ("SkipLayerNormalization", {"x": normal(2, 8), "k": normal(3, 8), "s": normal(8)}, {}, r"\(2, 8\)"),
        ("NGramRepeatBlock", {"x": normal(2, 8)}, {}, "node 'node' .com.microsoft::NGramRepeatBlock."),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said(
    op: str, operands: Operands, attributes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    model(tmp_path / "m.onnx", op, operands, 1, "", "com.microsoft", **attributes)
    with pytest.raises(MinisimError, match=message):
        load_onnx(tmp_path / "m.onnx")


@pytest.mark.parametrize("op", sorted(name for name in ONNX_IMPORTERS if "::" in name))
def test_inputs_that_must_be_there_are_told(op: str, tmp_path: Path) -> None:
    """ONNX has no schema of these: a node with too few or too many is refused, and no bug."""
    importer, path = ONNX_IMPORTERS[op], tmp_path / "m.onnx"
    most = importer.most_inputs
    assert most is not None and importer.needs
    for count in range(most + 2):
        names = [f"a{i}" for i in range(count)]
        node = make_node(op.partition("::")[2], names, ["y"], "node", domain="com.microsoft")
        infos = [make_tensor_value_info(name, 1, (2, 3)) for name in names]
        graph = make_graph([node], "g", infos, [make_tensor_value_info("y", 1, None)])
        opsets = [make_opsetid("", 17), make_opsetid("com.microsoft", 1)]
        onnx.save(make_model(graph, opset_imports=opsets, ir_version=8), path)
        if count > most:
            with pytest.raises(MinisimError, match=f"it takes {most} inputs at most, not {count}"):
                load_onnx(path)
        elif missing := [place for place in importer.needs if place >= count]:
            with pytest.raises(MinisimError, match=f"its input {missing[0] + 1} must be there"):
                load_onnx(path)
        else:
            with suppress(MinisimError):  # of another shape, or type
                load_onnx(path)
