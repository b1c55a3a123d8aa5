"""Small faults of front ends and passes by which a user would get other numbers than the model's, without a word."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

import minisim as ms
from minisim.compiler.passes.fuse import Fuse
from minisim.compiler.pipeline import computed_graph

INT8 = ms.Machine().replace("matrix.dtype=int8")
Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Write one ONNX node that reads x (of this shape) and constants; returns the file."""

    def save(op: str, shape: tuple[int, ...], opset: int = 17, **constants: np.ndarray) -> Path:
        infos = [make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in (("x", shape), ("y", None))]
        values = [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()]
        graph = make_graph([make_node(op, ["x", *constants], ["y"], name="n")], "g", infos[:1], infos[1:], values)
        path = tmp_path / "m.onnx"
        onnx.save(make_model(graph, opset_imports=[make_opsetid("", opset)], ir_version=8), path)
        return path

    return save


def run_one(graph: ms.Graph, values: np.ndarray, machine: ms.Machine | None = None) -> np.ndarray:
    (output,) = ms.run(graph, machine, inputs={graph.inputs[0]: values}).outputs.values()
    return output


# -- quantisation --------------------------------------------------------------------------------------------------


def test_a_bias_beyond_int32_saturates_and_does_not_change_its_sign() -> None:
    """In units of the products' scale, 1e-9 / 127 x 1e-3 / 127, a bias of 1 is 1.6e16: the most that int32 holds."""
    g = ms.Graph()
    x = g.input("x", (4, 4), data=np.full((4, 4), 1e-9, np.float32))
    bias = np.array([1, -1, 0, 1e-13], np.float32)
    g.output(x @ g.weight("w", np.full((4, 4), 1e-3)) + g.weight("b", bias))
    (data,) = (t.data for t in computed_graph(g, INT8).tensors.values() if t.dtype == "int32")
    assert data is not None and data.tolist() == [2**31 - 1, -(2**31), 0, round(1e-13 / (1e-12 / 127**2))]


@pytest.mark.parametrize("source", ["input", "computed"])
def test_a_row_that_is_no_constant_is_not_baked_in_as_a_bias(source: str) -> None:
    """A bias is quantised with its value; a row that the run computes has none before."""
    g = ms.Graph()
    x, row = g.input("x", (1, 8)), g.input("row", (1, 8))
    added = row if source == "input" else g.relu(row)
    g.output(g.add(x @ g.weight("w", np.eye(8)), added), "y")
    assert not any("Bias" in node.title for node in Fuse().apply(g).nodes)
    values = {"x": np.ones((1, 8), np.float32), "row": np.arange(8, dtype=np.float32).reshape(1, 8)}
    np.testing.assert_allclose(ms.run(g, inputs=values).outputs["y"], values["x"] + values["row"])
    assert "Add" in [node.op for node in computed_graph(g, INT8).nodes]


def test_a_constant_row_is_a_bias() -> None:
    """The other side: of a weight the same model fuses, so that the test above is about what it says."""
    g = ms.Graph()
    g.output(g.add(g.input("x", (1, 8)) @ g.weight("w", np.eye(8)), g.weight("row", np.arange(8.0).reshape(1, 8))))
    assert [node.title for node in Fuse().apply(g).nodes] == ["FusedMatMulBias"]


# -- defaults that every other test sets -----------------------------------------------------------------------------

SMALL = (np.arange(12, dtype=np.float32).reshape(2, 6) - 6) * np.float32(1e-3)
"""Rows whose variance, 2.9e-6, is less than the default epsilon: another one gives other values."""


def normalised(epsilon: float) -> np.ndarray:
    x = SMALL.astype(np.float64)
    return (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + epsilon)


def test_layer_norms_default_epsilon() -> None:
    g = ms.Graph()
    ones, zeros = g.weight("s", np.ones(6)), g.weight("b", np.zeros(6))
    g.output(g.layer_norm(g.input("x", (2, 6)), ones, zeros))
    np.testing.assert_allclose(run_one(g, SMALL), normalised(1e-5), rtol=1e-4)
    assert np.abs(normalised(1e-6) / normalised(1e-5)).min() > 1.5


def test_layer_norms_default_epsilon_in_onnx(save: Save) -> None:
    path = save("LayerNormalization", (2, 6), scale=np.ones(6, np.float32), bias=np.zeros(6, np.float32))
    (expected,) = onnxruntime.InferenceSession(path).run(None, {"x": SMALL})
    np.testing.assert_allclose(expected, normalised(1e-5), rtol=1e-4)
    np.testing.assert_allclose(run_one(ms.load_model(str(path)), SMALL), expected, rtol=1e-4)


def test_a_softmax_without_an_axis(save: Save) -> None:
    """Up to opset 12 it is over all axes from 1 on, since then over the last."""
    for shape in ((2, 6), (2, 3, 4)):
        values = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        for opset in (12, 13):
            path = save("Softmax", shape, opset=opset)
            (expected,) = onnxruntime.InferenceSession(path).run(None, {"x": values})
            np.testing.assert_allclose(run_one(ms.load_model(str(path)), values), expected, rtol=1e-5)


@pytest.mark.parametrize("rank", [0, 1, 2, 3])
def test_the_exponent_of_a_square_does_not_change_the_shape(rank: int, save: Save) -> None:
    """ONNX broadcasts: an exponent of three dimensions makes (2, 3) a (1, 2, 3)."""
    path = save("Pow", (2, 3), exponent=np.full((1,) * rank, 2, np.float32))
    (expected,) = onnxruntime.InferenceSession(path).run(None, {"x": np.ones((2, 3), np.float32)})
    assert expected.shape == (1, 2, 3)[rank < 3 :]
    found = run_one(ms.load_model(str(path)), np.full((2, 3), 3, np.float32))
    assert found.shape == expected.shape and (found == 9).all()
