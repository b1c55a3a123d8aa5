"""What is folded into constant weights, and that it is rounded once; and what is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx.helper import make_node
from support.machines import searching_now_and_then

import minisim as ms

Array = np.ndarray


def model(nodes: list[onnx.NodeProto], shape: tuple[int, ...], weights: dict[str, Array], *outputs: str) -> bytes:
    used = {name for node in nodes for name in node.input}
    values = [onnx.numpy_helper.from_array(array, name) for name, array in weights.items() if name in used]
    infos = [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)]
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs or ("y",)]
    graph = helper.make_graph(nodes, "g", infos, ends, values)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8).SerializeToString()


def drawn(*shape: int) -> Array:
    return np.random.default_rng(shape).standard_normal(shape).astype(np.float32)


def run(folder: Path, data: bytes, x: Array) -> ms.Result:
    """A run, whose outputs are ONNX Runtime's."""
    (path := folder / "m.onnx").write_bytes(data)
    result = ms.run(str(path), searching_now_and_then(data), inputs={"x": x})
    session = onnxruntime.InferenceSession(data)
    for found, expected in zip(result.outputs.values(), session.run(None, {"x": x}), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())
    return result


def ops(result: ms.Result) -> list[str]:
    return [node.op for node in result.graph.nodes]


NORM = {"scale": drawn(6), "shift": drawn(6) + 1, "mean": drawn(6) * 2, "var": np.square(drawn(6)) + np.float32(0.1)}


def folded(w: Array, bias: Array, epsilon: float) -> tuple[Array, Array]:
    """The weights (their filters last) and the bias that stand for a batch norm of w and bias: rounded once."""
    scale, shift, mean, var = (each.astype(np.float64) for each in NORM.values())
    factor = scale / np.sqrt(var + epsilon)
    return (w * factor).astype(np.float32), (bias * factor + (shift - mean * factor)).astype(np.float32)


def test_a_batch_norm_is_rounded_once(tmp_path: Path) -> None:
    """To the bit the convolution of the weights and the bias that this test folds."""
    x, w, bias = drawn(2, 3, 7, 5), drawn(6, 3, 3, 3), drawn(6)
    nodes = [make_node("Conv", ["x", "w", "b"], ["c"]), make_node("BatchNormalization", ["c", *NORM], ["y"])]
    result = run(tmp_path, model(nodes, x.shape, {"w": w, "b": bias, **NORM}), x)
    assert not {"Mul", "Div"} & set(ops(result))
    w_folded, bias_folded = folded(w.transpose(2, 3, 1, 0), bias, float(np.float32(1e-5)))
    graph = ms.Graph("folded")
    images = graph.input("x", (2, 7, 5, 3))
    graph.output(graph.conv2d(images, graph.weight("w", w_folded), bias=graph.weight("b", bias_folded)), "y")
    expected = ms.run(graph, inputs={"x": x.transpose(0, 2, 3, 1)}).outputs["y"]
    assert np.array_equal(result.outputs["y"], expected.transpose(0, 3, 1, 2))


@settings(max_examples=25)
@given(st.data())
def test_any_chain(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Behind a convolution or a Gemm: of each step one elementwise operation at most is left, the bias."""
    is_conv = data.draw(st.booleans())
    channel = (6, 1, 1) if is_conv else (6,)
    x, weights = drawn(2, 4, 3, 3) if is_conv else drawn(3, 5), dict(NORM)
    weights["w"] = drawn(6, 4, 1, 1) if is_conv else drawn(6, 5)
    first = make_node("Conv", ["x", "w"], ["v0"]) if is_conv else make_node("Gemm", ["x", "w"], ["v0"], transB=1)
    nodes, steps = [first], data.draw(st.integers(1, 4))
    for i in range(steps):
        op = data.draw(st.sampled_from(["Add", "Sub", "Mul", "BatchNormalization"]))
        shape = data.draw(st.sampled_from([(), (1,), channel, (1, *channel)]))
        operands = [f"v{i}", f"c{i}"]
        weights[f"c{i}"] = drawn(*shape) + np.float32(i)
        if op == "BatchNormalization":
            operands = [f"v{i}", *NORM]
        elif op != "Sub":
            operands = data.draw(st.permutations(operands))
        nodes.append(make_node(op, operands, ["y" if i == steps - 1 else f"v{i + 1}"]))
    result = run(tmp_path_factory.mktemp("m"), model(nodes, x.shape, weights), x)
    assert [op for op in ops(result) if op not in ("Transpose", "Reshape")][1:] in ([], ["Add"])


def refused(kind: str) -> tuple[list[onnx.NodeProto], tuple[str, ...], dict[str, Array]]:
    """Models in which nothing may be folded; and what more they have."""
    conv = make_node("Conv", ["x", "w"], ["c"])
    norm = make_node("BatchNormalization", ["c", *NORM], ["y"])
    match kind:
        case "two readers":
            return [conv, norm, make_node("Relu", ["c"], ["z"])], ("y", "z"), {}
        case "an output":
            return [conv, norm], ("c", "y"), {}
        case "another constant for each pixel":
            return [conv, make_node("Mul", ["c", "m"], ["y"])], ("y",), {"m": drawn(6, 3, 3)}
        case "weights of a batch":
            pool = make_node("Identity", ["x"], ["x1"])
            return [pool, make_node("Conv", ["x1", "w"], ["c"]), make_node("Mul", ["c", "c"], ["y"])], ("y",), {}
        case _:
            return [conv, make_node("Sub", ["m", "c"], ["y"])], ("y",), {"m": drawn(6, 1, 1)}


@pytest.mark.parametrize(
    "kind", ["two readers", "an output", "another constant for each pixel", "weights of a batch", "from a constant"]
)
def test_what_is_not_folded(tmp_path: Path, kind: str) -> None:
    x = drawn(2, 4, 3, 3)
    nodes, outputs, more = refused(kind)
    result = run(tmp_path, model(nodes, x.shape, {"w": drawn(6, 4, 1, 1), **NORM, **more}, *outputs), x)
    assert {"Mul", "Sub"} & set(ops(result))


def test_a_batch_norm_of_tensors_is_computed(tmp_path: Path) -> None:
    """Its statistics come out of the model: nothing is constant, nothing folded."""
    x = drawn(4, 6)
    nodes = [make_node("ReduceMean", ["x"], ["m"], axes=[0], keepdims=0)]
    nodes.append(make_node("BatchNormalization", ["x", "scale", "shift", "m", "var"], ["y"], epsilon=0.01))
    assert "Sqrt" in ops(run(tmp_path, model(nodes, x.shape, NORM), x))


@pytest.mark.parametrize(
    ("given", "message"),
    [({"training_mode": 1}, "training_mode must be 0"), ({"epsilon": 1e-3}, "mean must have a value for each of 5")],
)
def test_what_there_is_not_is_told(tmp_path: Path, given: dict[str, Any], message: str) -> None:
    norm = {name: np.ones(5 if name in ("scale", "shift") else 6, np.float32) for name in NORM}
    nodes = [make_node("BatchNormalization", ["x", *norm], ["y"], **given)]
    (path := tmp_path / "m.onnx").write_bytes(model(nodes, (2, 5, 3), norm))
    with pytest.raises(ms.MinisimError, match=message):
        ms.run(str(path))


def test_without_numerics_nothing_is_read(tmp_path: Path) -> None:
    """The shapes are enough, of weights and of what is folded into them."""
    big = {name: np.ones(5000, np.float32) for name in NORM}
    nodes = [make_node("Conv", ["x", "w"], ["c"]), make_node("BatchNormalization", ["c", *big], ["y"])]
    (path := tmp_path / "m.onnx").write_bytes(
        model(nodes, (1, 2, 2, 2), {"w": np.ones((5000, 2, 1, 1), np.float32), **big})
    )
    result = ms.run(str(path), numerics=False)
    assert result.cycles == ms.run(str(path)).cycles
