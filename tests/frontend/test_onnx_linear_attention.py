"""LinearAttention of ONNX, held to its recurrence in numpy; and token by token it is the same to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

import minisim as ms
from minisim.compiler.frontend.onnx_file import load_onnx
from minisim.errors import MinisimError

Array = npt.NDArray[Any]
RNG = np.random.default_rng(73)
B, T, DK, DV = 2, 3, 4, 5

pytestmark = pytest.mark.skipif(onnx.defs.onnx_opset_version() < 27, reason="this onnx does not have the operator")


def operands(rule: str, heads: int, kv: int, past: bool, per_column: bool, one_rate: bool) -> dict[str, Array]:
    shapes: dict[str, tuple[int, ...]] = {"q": (B, T, heads * DK), "k": (B, T, kv * DK), "v": (B, T, kv * DV)}
    if past:
        shapes["s"] = (B, kv, DK, DV)
    if "gated" in rule:
        shapes["g"] = (B, T, kv * (DK if per_column else 1))
    if "delta" in rule:
        shapes["b"] = (B, T, 1 if one_rate else kv)
    return {name: RNG.standard_normal(shape).astype(np.float32) / 2 for name, shape in shapes.items()}


def save(path: Path, fed: dict[str, Array], rule: str, heads: int, kv: int, **attributes: Any) -> Path:
    inputs = [name if name in fed else "" for name in "qkvsgb"]
    node = make_node("LinearAttention", inputs, ["y", "present"], name="node",
                     **{"update_rule": rule, "q_num_heads": heads, "kv_num_heads": kv} | attributes)  # fmt: skip
    graph = make_graph(
        [node],
        "g",
        [make_tensor_value_info(name, 1, fed[name].shape) for name in inputs if name],
        [make_tensor_value_info(name, 1, None) for name in ("y", "present")],
    )
    path.write_bytes(make_model(graph, opset_imports=[make_opsetid("", 27)], ir_version=10).SerializeToString())
    return path


def expected(fed: dict[str, Array], heads: int, kv: int) -> tuple[Array, Array]:
    """One head of one batch after the other, in double precision."""
    y, states = np.zeros((B, T, heads, DV)), np.zeros((B, kv, DK, DV))
    for batch in range(B):
        for head in range(kv):
            state = fed["s"][batch, head].astype(float) if "s" in fed else np.zeros((DK, DV))
            for t in range(T):
                k, v = (fed[name][batch, t].reshape(kv, -1)[head].astype(float) for name in "kv")
                if "g" in fed:
                    state = state * np.exp(fed["g"][batch, t].reshape(kv, -1)[head].astype(float))[:, None]
                if "b" in fed:
                    rates = fed["b"][batch, t]
                    v = rates[head if len(rates) > 1 else 0] * (v - state.T @ k)
                state = state + np.outer(k, v)
                for query in range(head * heads // kv, (head + 1) * heads // kv):
                    q = fed["q"][batch, t].reshape(heads, -1)[query]
                    y[batch, t, query] = (state.T @ q) / np.sqrt(DK)
            states[batch, head] = state
    return y.reshape(B, T, -1), states


@pytest.mark.parametrize("rule", ["linear", "gated", "delta", "gated_delta"])
@pytest.mark.parametrize(
    ("heads", "kv", "past", "per_column", "one_rate"),
    [(2, 2, False, False, False), (4, 2, True, True, True), (3, 1, True, False, False)],
)
def test_it_is_its_recurrence(
    rule: str, heads: int, kv: int, past: bool, per_column: bool, one_rate: bool, tmp_path: Path
) -> None:
    fed = operands(rule, heads, kv, past, per_column, one_rate)
    graph = load_onnx(save(tmp_path / "m.onnx", fed, rule, heads, kv))
    found = graph.evaluate(fed)
    for name, wanted in zip(("y", "present"), expected(fed, heads, kv), strict=True):
        np.testing.assert_allclose(found[graph.outputs[name]], wanted, rtol=1e-6, atol=1e-7)


def test_token_by_token_it_has_the_same_bits(tmp_path: Path) -> None:
    fed = operands("gated_delta", 4, 2, True, True, False)
    whole = ms.run(save(tmp_path / "m.onnx", fed, "gated_delta", 4, 2), inputs=fed).outputs
    state = fed.pop("s")
    for i in range(T):
        now = {name: x[:, i : i + 1] for name, x in fed.items()} | {"s": state}
        found = ms.run(save(tmp_path / "s.onnx", now, "gated_delta", 4, 2), inputs=now).outputs
        np.testing.assert_array_equal(found["y"], whole["y"][:, i : i + 1])
        state = found["present"]
    np.testing.assert_array_equal(state, whole["present"])


@pytest.mark.parametrize(
    ("changed", "attributes", "message"),
    [
        ({}, {"update_rule": "other"}, "update_rule must be linear, gated, delta, gated_delta, not 'other'"),
        ({}, {"update_rule": "gated"}, "update_rule gated takes decay and no beta"),
        ({}, {"kv_num_heads": 3}, "3 heads of keys must divide 4 heads of queries evenly"),
        (
            {"b": np.ones((B, T, 3), np.float32)},
            {},
            r"beta must have shape \(2, 3, 2\) or \(2, 3, 1\), not \(2, 3, 3\)",
        ),
        ({"s": np.ones((B, 2, DV, DK), np.float32)}, {}, r"past_state must have shape \(2, 2, 4, 5\)"),
        ({"k": np.ones((B, T, 7), np.float32)}, {}, r"key \(2, 3, 7\) and value \(2, 3, 10\) do not fit 4 and 2 heads"),
    ],
)
def test_what_does_not_fit_is_said(
    changed: dict[str, Array], attributes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    fed = operands("gated_delta", 4, 2, True, True, False) | changed
    with pytest.raises(MinisimError, match=message):
        load_onnx(save(tmp_path / "m.onnx", fed, "gated_delta", 4, 2, **attributes))
