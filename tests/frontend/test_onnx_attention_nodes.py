"""Attention and RotaryEmbedding of ONNX, held to ONNX's reference implementation; and whole, through the engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.reference
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
from minisim.compiler.graph import Graph
from minisim.errors import MinisimError

Array = npt.NDArray[Any]
RNG = np.random.default_rng(23)
NEWEST = onnx.defs.onnx_opset_version()


def normal(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def model(
    path: Path, op: str, operands: dict[str, Array], outputs: int, constants: str = "", **attributes: Any
) -> tuple[Graph, dict[str, Array], list[Any]]:
    """The graph of one node, what to feed it, and what ONNX's reference implementation says.

    Args:
        operands: by place; an empty name is one that is left out.
        constants: the names of those that are constants, one letter each; integers are so, too.
    """
    fixed = {name for name, x in operands.items() if name and (name in constants or x.dtype.kind in "iu")}
    inputs = [name if x.size else "" for name, x in operands.items()]
    results = [f"y{i}" for i in range(outputs)]
    graph = make_graph(
        [make_node(op, inputs, results, name="node", **attributes)],
        "g",
        [make_tensor_value_info(name, np_dtype_to_tensor_dtype(operands[name].dtype), operands[name].shape)
         for name in inputs if name and name not in fixed],
        [make_tensor_value_info(name, 1, None) for name in results],
        [onnx.numpy_helper.from_array(operands[name], name) for name in inputs if name and name in fixed],
    )  # fmt: skip
    made = make_model(graph, opset_imports=[make_opsetid("", NEWEST)], ir_version=10)
    onnx.save(made, path)
    fed = {name: operands[name] for name in inputs if name and name not in fixed}
    with np.errstate(invalid="ignore"):
        expected = onnx.reference.ReferenceEvaluator(made).run(None, fed)
    return load_onnx(path), fed, list(expected)


NOTHING = np.zeros(0, np.float32)
B, H, S, T, D = 2, 4, 3, 5, 8


def attention(
    path: Path,
    *,
    kv_heads: int = H,
    mask: Array = NOTHING,
    past: int = 0,
    lengths: tuple[int, ...] = (),
    flat: bool = False,
    outputs: int = 1,
    constants: str = "",
    **attributes: Any,
) -> tuple[Graph, dict[str, Array], list[Any]]:
    values = D // 2
    if flat:
        q, k, v = normal(B, S, H * D), normal(B, T, kv_heads * D), normal(B, T, kv_heads * values)
        attributes |= {"q_num_heads": H, "kv_num_heads": kv_heads}
    else:
        q, k, v = normal(B, H, S, D), normal(B, kv_heads, T, D), normal(B, kv_heads, T, values)
    before = [normal(B, kv_heads, past, width) if past else NOTHING for width in (D, values)]
    operands = {"q": q, "k": k, "v": v, "m": mask, "p": before[0], "w": before[1], "n": np.array(lengths, np.int64)}
    while not list(operands.values())[-1].size:
        operands.popitem()
    return model(path, "Attention", operands, outputs, constants, **attributes)


BOOLS = RNG.random((S, T)) < 0.6
HIDING = np.zeros((S, T), bool)  # the second query sees nothing
HIDING[0, :3], HIDING[2, 1] = True, True
FORMS: list[dict[str, Any]] = [
    {},
    {"flat": True, "scale": 0.7},
    {"kv_heads": 2, "softcap": 1.5},
    {"kv_heads": 1, "flat": True, "is_causal": 1, "past": 2, "outputs": 3},
    {"mask": normal(B, 1, S, T)},
    {"mask": normal(S, T), "constants": "m", "is_causal": 1},
    {"mask": BOOLS, "outputs": 4, "qk_matmul_output_mode": 2},
    {"mask": HIDING, "outputs": 4, "qk_matmul_output_mode": 3},
    {"mask": HIDING, "constants": "m", "kv_heads": 2},
    {"mask": normal(H, S, T - 2)},
    {"mask": BOOLS[:, :4], "past": 1, "is_causal": 1},
    {"left_window_size": 1, "right_window_size": 1, "kv_heads": 2},
    {"left_window_size": 2, "is_causal": 1, "past": 3, "softcap": 2.0, "outputs": 4, "qk_matmul_output_mode": 1},
    {"lengths": (4, 2), "is_causal": 1, "outputs": 4, "qk_matmul_output_mode": 3},
    {"lengths": (5, 3), "mask": normal(S, T)},
    {"outputs": 4, "qk_matmul_output_mode": 0, "flat": True},
]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: "-".join(form) or "plain")
def test_attention_means_what_onnx_says(form: dict[str, Any], tmp_path: Path) -> None:
    graph, fed, expected = attention(tmp_path / "m.onnx", **form)
    found = graph.evaluate(fed)
    for i, wanted in enumerate(expected):
        got = found[graph.outputs[f"y{i}"]]
        assert got.shape == wanted.shape
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("form", [FORMS[3], FORMS[7], FORMS[13]], ids=lambda form: "-".join(form))
def test_the_engine_computes_it(form: dict[str, Any], tmp_path: Path) -> None:
    graph, fed, expected = attention(tmp_path / "m.onnx", **form)
    found = ms.run(graph, inputs=fed).outputs
    for i, wanted in enumerate(expected):
        np.testing.assert_allclose(found[f"y{i}"], wanted, rtol=1e-5, atol=1e-6)


def test_queries_that_share_keys_are_rows_of_one_matmul(tmp_path: Path) -> None:
    graph, _, _ = attention(tmp_path / "m.onnx", kv_heads=2)
    shapes = [graph.tensors[node.output].shape for node in graph.nodes if node.op == "MatMul"]
    assert shapes == [(B, 2, 2 * S, T), (B, 2, 2 * S, D // 2)]
    assert {node.op for node in graph.nodes} == {"Mul", "Reshape", "MatMul", "Softmax"}


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"kv_heads": 3}, "3 heads of keys must divide 4 heads of queries evenly"),
        ({"mask": normal(3, S, T)}, r"the mask \(3, 3, 5\) must broadcast to \(2, 4, 3, 5\)"),
        ({"softmax_precision": 11}, "softmax_precision must be bfloat16, float16, float32, not type 11"),
        ({"qk_matmul_output_mode": 4, "outputs": 4}, r"qk_matmul_output_mode must lie in \[0, 3\], not 4"),
    ],
)
def test_what_does_not_fit_is_said(
    form: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx.reference.ReferenceEvaluator, "run", lambda *_: [])  # it has errors of its own
    with pytest.raises(MinisimError, match=message):
        attention(tmp_path / "m.onnx", **form)


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("columns", [0, 4])
@pytest.mark.parametrize("positions", [None, [[2, 3, 4], [2, 3, 4]], [[0, 7, 1], [5, 5, 2]]])
def test_rotary_embedding(interleaved: int, columns: int, positions: Any, tmp_path: Path) -> None:
    half = (columns or D) // 2
    flat = interleaved == 0
    tables = [normal(9, half) if positions else normal(B, S, half) for _ in range(2)]
    operands = {"x": normal(B, S, H * D) if flat else normal(B, H, S, D), "c": tables[0], "s": tables[1]}
    if positions:
        operands["n"] = np.array(positions, np.int64)
    graph, fed, (expected,) = model(
        tmp_path / "m.onnx", "RotaryEmbedding", operands, 1, "cs" if flat else "",
        interleaved=interleaved, rotary_embedding_dim=columns, num_heads=H,
    )  # fmt: skip
    np.testing.assert_allclose(graph.evaluate(fed)[graph.outputs["y0"]], expected, rtol=1e-6, atol=1e-6)
    if columns and positions:
        np.testing.assert_allclose(ms.run(graph, inputs=fed).outputs["y0"], expected, rtol=1e-5, atol=1e-6)
