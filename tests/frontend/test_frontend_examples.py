"""The examples do what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from minisim.compiler.frontend import load_model

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_mlp_is_the_reference_case() -> None:
    graph = load_model(str(EXAMPLES / "mlp.py"))
    assert [node.op for node in graph.nodes] == ["MatMul", "Relu", "MatMul", "Relu", "MatMul"]
    assert {name: graph.tensors[name].shape for name in ("x", "w1", "w2", "w3")} == {
        "x": (128, 128),
        "w1": (128, 64),
        "w2": (64, 32),
        "w3": (32, 32),
    }
    assert len(graph.tensors) == 9
    assert list(graph.outputs) == ["y"]


def test_mlp_computes_its_formula() -> None:
    graph = load_model(str(EXAMPLES / "mlp.py"))
    x, w1, w2, w3 = (np.asarray(graph.tensors[name].data, np.float64) for name in ("x", "w1", "w2", "w3"))
    expected = np.maximum(np.maximum(x @ w1, 0) @ w2, 0) @ w3
    np.testing.assert_allclose(graph.evaluate({"x": x})[graph.outputs["y"]], expected, rtol=1e-12)


def test_residual_block_computes_its_formula() -> None:
    graph = load_model(str(EXAMPLES / "residual_block.py"))
    x = np.random.default_rng(1).standard_normal((2, 48, 64))
    w = {name: np.asarray(t.data, np.float64) for name, t in graph.tensors.items() if t.is_weight}
    gate = 1 / (1 + np.exp(-(x @ w["gate.w"] + w["gate.b"])))
    hidden = np.maximum(x @ w["expand.w"] + w["expand.b"], 0)
    expected = x + gate * (hidden @ w["project.w"] + w["project.b"])
    np.testing.assert_allclose(graph.evaluate({"x": x})[graph.outputs["y"]], expected, rtol=1e-9)
