"""CausalConvWithState of ONNX, held to numpy; and token by token it is the same to the bit."""

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
RNG = np.random.default_rng(71)
BATCH, CHANNELS, LENGTH, KERNEL = 2, 5, 6, 4

pytestmark = pytest.mark.skipif(onnx.defs.onnx_opset_version() < 27, reason="this onnx does not have the operator")


def normal(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


W, BIAS = normal(CHANNELS, 1, KERNEL), normal(CHANNELS)


def save(path: Path, x: Array, past: Array | None, w: Array = W, bias: bool = True, **attributes: Any) -> Path:
    fed = {"x": x} | ({} if past is None else {"p": past})
    inputs = ["x", "w", "b" if bias else "", "p" if past is not None else ""]
    graph = make_graph(
        [make_node("CausalConvWithState", inputs, ["y", "present"], name="node", **attributes)],
        "g",
        [make_tensor_value_info(name, 1, given.shape) for name, given in fed.items()],
        [make_tensor_value_info(name, 1, None) for name in ("y", "present")],
        [onnx.numpy_helper.from_array(w, "w"), *([onnx.numpy_helper.from_array(BIAS, "b")] if bias else [])],
    )
    path.write_bytes(make_model(graph, opset_imports=[make_opsetid("", 27)], ir_version=10).SerializeToString())
    return path


def expected(x: Array, past: Array | None, bias: bool, silu: bool) -> tuple[Array, Array]:
    before = np.zeros((BATCH, CHANNELS, KERNEL - 1)) if past is None else past
    whole = np.concatenate([before, x], axis=2).astype(np.float64)
    length = x.shape[2]
    y = sum(W[:, 0, tap, None] * whole[:, :, tap : tap + length] for tap in range(KERNEL))
    y = y + (BIAS[:, None] if bias else 0)
    return (y / (1 + np.exp(-y)) if silu else y), whole[:, :, length:]


@pytest.mark.parametrize("length", [1, 2, LENGTH])
@pytest.mark.parametrize("with_past", [False, True])
@pytest.mark.parametrize(("bias", "activation"), [(True, "silu"), (False, "none")])
def test_it_sees_what_is_before(length: int, with_past: bool, bias: bool, activation: str, tmp_path: Path) -> None:
    x, past = normal(BATCH, CHANNELS, length), normal(BATCH, CHANNELS, KERNEL - 1) if with_past else None
    graph = load_onnx(save(tmp_path / "m.onnx", x, past, bias=bias, activation=activation))
    found = graph.evaluate({"x": x} | ({} if past is None else {"p": past}))
    for name, wanted in zip(("y", "present"), expected(x, past, bias, activation == "silu"), strict=True):
        np.testing.assert_allclose(found[graph.outputs[name]], wanted, rtol=1e-6, atol=1e-7)


def test_token_by_token_it_has_the_same_bits(tmp_path: Path) -> None:
    x = normal(BATCH, CHANNELS, 3)
    whole = ms.run(save(tmp_path / "m.onnx", x, None), inputs={"x": x}).outputs
    state = np.zeros((BATCH, CHANNELS, KERNEL - 1), np.float32)
    step = load_onnx(save(tmp_path / "s.onnx", x[:, :, :1], state))
    for i in range(3):
        found = ms.run(step, inputs={"x": x[:, :, i : i + 1], "p": state}).outputs
        np.testing.assert_array_equal(found["y"], whole["y"][:, :, i : i + 1])
        state = found["present"]
    np.testing.assert_array_equal(state, whole["present"])


@pytest.mark.parametrize(
    ("past", "w", "attributes", "message"),
    [
        (normal(BATCH, CHANNELS, KERNEL), W, {}, r"past_state must have shape \(2, 5, 3\), not \(2, 5, 4\)"),
        (None, normal(CHANNELS + 1, 1, 2), {}, r"weight \(6, 1, 2\)"),
        (None, W, {"activation": "relu"}, "activation must be none, silu or swish, not 'relu'"),
        (None, normal(CHANNELS, 1, 1), {}, "a kernel of one column has no state"),
    ],
)
def test_what_does_not_fit_is_said(
    past: Array | None, w: Array, attributes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(MinisimError, match=message):
        load_onnx(save(tmp_path / "m.onnx", normal(BATCH, CHANNELS, LENGTH), past, w, **attributes))
