"""Resize and Upsample as ONNX's own reference implementation has them, and group and instance norms as ONNX Runtime."""

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
from onnx.reference import ReferenceEvaluator
from support.machines import searching_now_and_then

import minisim as ms
from minisim.compiler.interpolation import COORDINATES, ROUNDINGS
from minisim.errors import MinisimError

Array = np.ndarray


def model(nodes: list[onnx.NodeProto], shape: tuple[int, ...], constants: dict[str, Array], opset: int) -> bytes:
    values = [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()]
    infos = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, dims) for name, dims in (("x", shape), ("y", None))
    ]
    graph = helper.make_graph(nodes, "g", infos[:1], infos[1:], values)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8).SerializeToString()


def run(folder: Path, data: bytes, x: Array) -> ms.Result:
    (path := folder / "m.onnx").write_bytes(data)
    return ms.run(str(path), searching_now_and_then(data), inputs={"x": x})


@settings(max_examples=60)
@given(st.data())
def test_any_resize(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """By scales or to sizes, of all axes or some, of images or of anything else."""
    drawn = data.draw
    shape = tuple(drawn(st.lists(st.integers(1, 6), min_size=1, max_size=4)))
    images = len(shape) > 2 and drawn(st.booleans())
    axes = list(range(2 if images else 0, len(shape)))
    axes = sorted(drawn(st.sets(st.sampled_from(axes), min_size=1)))
    mode = drawn(st.sampled_from(["nearest", "linear", "cubic"]))
    attributes: dict[str, Any] = {"mode": mode, "axes": axes}
    modes = [mode for mode in COORDINATES if mode != "tf_half_pixel_for_nn"]  # ONNX has withdrawn it
    attributes["coordinate_transformation_mode"] = drawn(st.sampled_from(modes))
    attributes["nearest_mode"] = drawn(st.sampled_from(list(ROUNDINGS)))
    constants: dict[str, Array] = {}
    if attributes["coordinate_transformation_mode"] == "tf_crop_and_resize":
        attributes["extrapolation_value"] = drawn(st.sampled_from([0.0, 7.5]))
        ends = [drawn(st.sampled_from([(0.0, 1.0), (0.25, 0.75), (-0.25, 1.125)])) for _ in axes]
        constants["roi"] = np.array([*(a for a, _ in ends), *(b for _, b in ends)], np.float32)
    elif mode != "nearest":
        attributes["antialias"] = drawn(st.integers(0, 1))
    if mode == "cubic":
        attributes["exclude_outside"] = drawn(st.integers(0, 1))
        attributes["cubic_coeff_a"] = drawn(st.sampled_from([-0.75, -0.5]))
    if drawn(st.booleans()):
        constants["scales"] = np.array(
            [drawn(st.sampled_from([1.0, 2.0, 3.0, 0.5, 1.5, 0.625, 2.25])) for _ in axes], np.float32
        )
        if any(shape[a] * s < 1 for a, s in zip(axes, constants["scales"], strict=True)):
            return
        inputs = ["x", "roi" if "roi" in constants else "", "scales"]
    else:
        constants["sizes"] = np.array([drawn(st.integers(1, 9)) for _ in axes], np.int64)
        attributes["keep_aspect_ratio_policy"] = drawn(st.sampled_from(["stretch", "not_larger", "not_smaller"]))
        scales = [n / shape[a] for a, n in zip(axes, constants["sizes"], strict=True)]
        if min(scales) * min(shape[a] for a in axes) < 0.5 and attributes["keep_aspect_ratio_policy"] == "not_larger":
            return
        inputs = ["x", "roi" if "roi" in constants else "", "", "sizes"]
    if attributes.get("antialias") and attributes["coordinate_transformation_mode"] == "pytorch_half_pixel":
        resized = [n * s for n, s in zip((shape[a] for a in axes), constants.get("scales", []), strict=False)]
        if min([*resized, *constants.get("sizes", [])]) < 2:
            return  # the reference looks at -0.5 where ONNX says 0, as ONNX Runtime does (a clamp hides it elsewhere)
    data_of = model([make_node("Resize", inputs, ["y"], **attributes)], shape, constants, 19)
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    (expected,) = ReferenceEvaluator(onnx.load_from_string(data_of)).run(None, {"x": x})
    found = run(tmp_path_factory.mktemp("m"), data_of, x).outputs["y"]
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("op", "opset", "attributes", "operands"),
    [
        ("Upsample", 7, {"mode": "nearest", "scales": [1.0, 1.0, 2.0, 3.0]}, ["x"]),
        ("Upsample", 9, {"mode": "linear"}, ["x", "scales"]),
        ("Resize", 10, {"mode": "nearest"}, ["x", "scales"]),
        ("Resize", 10, {"mode": "linear"}, ["x", "scales"]),
        ("Resize", 11, {"mode": "linear", "coordinate_transformation_mode": "asymmetric"}, ["x", "roi", "scales"]),
        ("Resize", 13, {"mode": "cubic"}, ["x", "", "scales"]),
        ("Resize", 18, {"mode": "linear", "antialias": 1}, ["x", "", "", "sizes"]),
    ],
)
def test_as_onnx_runtime(tmp_path: Path, op: str, opset: int, attributes: dict[str, Any], operands: list[str]) -> None:
    """In the forms of each opset."""
    constants = {
        "roi": np.zeros(0, np.float32), "scales": np.array([1, 1, 2, 3], np.float32), "sizes": np.array([2, 3, 3, 9])
    }  # fmt: skip
    given = {name: array for name, array in constants.items() if name in operands}
    data = model([make_node(op, operands, ["y"], **attributes)], (2, 3, 5, 4), given, opset)
    x = np.random.default_rng(1).standard_normal((2, 3, 5, 4)).astype(np.float32)
    (expected,) = onnxruntime.InferenceSession(data).run(None, {"x": x})
    np.testing.assert_allclose(run(tmp_path, data, x).outputs["y"], expected, rtol=1e-4, atol=1e-5)


@settings(max_examples=30)
@given(st.data())
def test_any_group_norm(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Between two convolutions nothing is transposed for it."""
    groups, together = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 3))
    channels, dims = groups * together, data.draw(st.integers(1, 2))
    shape = (data.draw(st.integers(1, 2)), channels, *(data.draw(st.integers(2, 5)) for _ in range(dims)))
    rng, instance = np.random.default_rng(3), data.draw(st.booleans())
    constants = {name: rng.standard_normal(channels).astype(np.float32) for name in "sb"}
    constants["w"] = rng.standard_normal((channels, channels, *(1,) * dims)).astype(np.float32)
    attributes = {"epsilon": 0.01} if data.draw(st.booleans()) else {}
    norm = make_node("InstanceNormalization", ["c", "s", "b"], ["n"], **attributes)
    if not instance:
        norm = make_node("GroupNormalization", ["c", "s", "b"], ["n"], num_groups=groups, **attributes)
    nodes = [make_node("Conv", ["x", "w"], ["c"]), norm, make_node("Conv", ["n", "w"], ["y"])]
    data_of = model(nodes, shape, constants, 21)
    x = rng.standard_normal(shape).astype(np.float32)
    (expected,) = ReferenceEvaluator(onnx.load_from_string(data_of)).run(None, {"x": x})
    result = run(tmp_path_factory.mktemp("m"), data_of, x)
    np.testing.assert_allclose(result.outputs["y"], expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    assert sum(node.op == "Transpose" for node in result.graph.nodes) <= 2


@pytest.mark.parametrize(("scales", "biases"), [(3, 4), (4, 3)])
def test_a_group_norm_has_a_scale_and_a_bias_for_each_channel(tmp_path: Path, scales: int, biases: int) -> None:
    constants = {"s": np.ones(scales, np.float32), "b": np.ones(biases, np.float32)}
    node = make_node("GroupNormalization", ["x", "s", "b"], ["y"], num_groups=2)
    with pytest.raises(MinisimError, match="scale and bias must have 4 values"):
        run(tmp_path, model([node], (1, 4, 2), constants, 21), np.ones((1, 4, 2), np.float32))


@pytest.mark.parametrize(
    ("attributes", "operands", "message"),
    [
        ({"mode": "linear"}, ["x", "", "w"], "scales must be a number"),
        ({"mode": "linear", "axes": [4]}, ["x", "", "one"], "must lie in"),
        ({"mode": "linear"}, ["x"], "sizes must be a number"),
        ({"mode": "spline"}, ["x", "", "scales"], "mode must be nearest, linear or cubic"),
        ({"nearest_mode": "up"}, ["x", "", "scales"], "nearest_mode must be one of"),
        ({"coordinate_transformation_mode": "mine"}, ["x", "", "scales"], "coordinate_transformation_mode must be"),
        ({"keep_aspect_ratio_policy": "mine"}, ["x", "", "", "sizes"], "keep_aspect_ratio_policy must be"),
    ],
)
def test_what_there_is_not_is_told(
    tmp_path: Path, attributes: dict[str, Any], operands: list[str], message: str
) -> None:
    constants = {
        "w": np.array([1, 1, -2, 1], np.float32), "one": np.array([2], np.float32),
        "scales": np.array([1, 1, 2, 3], np.float32), "sizes": np.array([2, 3, 3, 9]),
    }  # fmt: skip
    given = {name: array for name, array in constants.items() if name in operands}
    data = model([make_node("Resize", operands, ["y"], **attributes)], (2, 3, 5, 4), given, 19)
    with pytest.raises(MinisimError, match=message):
        run(tmp_path, data, np.zeros((2, 3, 5, 4), np.float32))
