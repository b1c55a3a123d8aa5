"""Quantised models in ONNX, held to ONNX Runtime to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper
from support.machines import machine

import minisim as ms
from minisim.errors import ModelError

SMALL = machine(sram__bytes=16 * 1024)


def saved(
    path: Path, nodes: list[Any], inputs: dict[str, Any], weights: dict[str, Any], outputs: tuple[str, ...]
) -> Path:
    """A model of these nodes, whose inputs have the types and shapes of these arrays."""

    def infos(arrays: dict[str, Any]) -> list[Any]:
        return [
            helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
            for k, v in arrays.items()
        ]

    made = [onnx.numpy_helper.from_array(np.asarray(x), name) for name, x in weights.items()]
    graph = helper.make_graph(nodes, "g", infos(inputs), [onnx.ValueInfoProto(name=name) for name in outputs], made)
    opsets = [helper.make_opsetid("", 19), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    onnx.save(model, path / "m.onnx")
    return path / "m.onnx"


def by_onnxruntime(path: Path, inputs: dict[str, Any], *, optimised: bool = False) -> list[Any]:
    """As the model is written; or with ONNX Runtime's own fusion of quantised nodes."""
    options, levels = onnxruntime.SessionOptions(), onnxruntime.GraphOptimizationLevel
    options.log_severity_level = 4
    options.graph_optimization_level = levels.ORT_ENABLE_EXTENDED if optimised else levels.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(str(path), options).run(None, inputs)


def held(path: Path, inputs: dict[str, Any], outputs: tuple[str, ...] = ("y",), **of_onnxruntime: bool) -> None:
    """Both have the same bits, on a machine with room and on one without."""
    expected = by_onnxruntime(path, inputs, **of_onnxruntime)
    for config in (machine(), SMALL):
        found = ms.run(path, config, inputs=inputs, check=False).outputs
        for name, wanted in zip(outputs, expected, strict=True):
            np.testing.assert_array_equal(found[name], wanted, strict=True)


def node(op: str, inputs: str, outputs: str = "y", **attributes: Any) -> Any:
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(op, names, outputs.split(), **attributes)


FLOATS = np.random.default_rng(0).standard_normal((2, 5, 7, 9)).astype(np.float32) * 4
FLOATS[0, 0, 0] = [0.5, 1.5, 2.5, -0.5, -1.5, 1e9, -1e9, 127.5, 3e38]


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_quantise_and_dequantise(axis: int | None, dtype: Any, tmp_path: Path) -> None:
    """Whole tensors and along an axis; ties, and what saturates."""
    rng, size = np.random.default_rng(1), () if axis is None else FLOATS.shape[axis]
    scale = np.asarray(rng.uniform(0.02, 0.5, size), np.float32) if axis is not None else np.float32(1)
    limits = np.iinfo(dtype)
    zero = np.asarray(rng.integers(limits.min, limits.max, size, endpoint=True), dtype)
    attributes = {} if axis is None else {"axis": axis}
    nodes = [node("QuantizeLinear", "x s z", "q", **attributes), node("DequantizeLinear", "q s z", **attributes)]
    path = saved(tmp_path, nodes, {"x": FLOATS}, {"s": scale, "z": zero}, ("q", "y"))
    held(path, {"x": FLOATS}, ("q", "y"))


def test_without_zero_points(tmp_path: Path) -> None:
    """uint8 then; and int32, as biases are, whose float32 is rounded."""
    b = np.array([[2**24 + 1, -(2**31), 7]], np.int32)
    nodes = [node("QuantizeLinear", "x s", "q"), node("DequantizeLinear", "b s")]
    path = saved(tmp_path, nodes, {"x": FLOATS, "b": b}, {"s": np.float32(0.3)}, ("q", "y"))
    held(path, {"x": FLOATS, "b": b}, ("q", "y"))


@pytest.mark.parametrize("x", [FLOATS[1], np.abs(FLOATS[1]), -np.abs(FLOATS[1]), np.zeros((3, 5), np.float32)])
def test_dynamic(x: Any, tmp_path: Path) -> None:
    """Ranges on both sides of 0, on one, and of zeros alone."""
    outputs = ("y", "s", "z")
    path = saved(tmp_path, [node("DynamicQuantizeLinear", "x", "y s z")], {"x": x}, {}, outputs)
    held(path, {"x": x}, outputs)


def test_mistakes(tmp_path: Path) -> None:
    for weights, attributes, message in (
        ({"s": np.ones(3, np.float32), "z": np.zeros(3, np.uint8)}, {"axis": 1}, "one for each of axis 1"),
        ({"s": np.ones((2, 5, 7, 3), np.float32), "z": np.zeros((2, 5, 7, 3), np.uint8)}, {"axis": 3}, "one for each"),
    ):
        path = saved(tmp_path, [node("QuantizeLinear", "x s z", **attributes)], {"x": FLOATS}, weights, ("y",))
        with pytest.raises(ModelError, match=message):
            ms.load_model(path)
