"""Poolings from ONNX, against ONNX Runtime; and that nothing is transposed between layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from frontend.test_onnx_conv import model, same_as_onnx_runtime
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx.helper import make_node

import minisim as ms
from minisim.errors import MinisimError


@settings(max_examples=60)
@given(st.data(), st.sampled_from(["MaxPool", "AveragePool", "LpPool"]), st.sampled_from([1, 2]))
def test_any_pool(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, op: str, dims: int) -> None:
    def drawn(low: int, high: int) -> list[int]:
        return [data.draw(st.integers(low, high)) for _ in range(dims)]

    size, kernel = drawn(1, 12), drawn(1, 4)
    attributes: dict[str, object] = {"kernel_shape": kernel, "strides": drawn(1, 3)}
    auto = data.draw(st.sampled_from(["", "", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    pads = [0] * 2 * dims
    if auto:
        attributes["auto_pad"] = auto
    else:
        pads = [data.draw(st.integers(0, kernel[i % dims] - 1)) for i in range(2 * dims)]
        attributes |= {"pads": pads, "dilations": drawn(1, 2)}
        if op != "LpPool":  # of it ONNX Runtime has no rounding up
            attributes["ceil_mode"] = data.draw(st.integers(0, 1))
    dilations = attributes.get("dilations", [1] * dims)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]  # type: ignore[call-overload]
    assume(all(r <= n + a + b for r, n, a, b in zip(reach, size, pads[:dims], pads[dims:], strict=True)))
    if op == "AveragePool":
        attributes["count_include_pad"] = data.draw(st.integers(0, 1))
    if op == "LpPool":
        attributes["p"] = data.draw(st.integers(1, 3))
    shape = (data.draw(st.integers(1, 2)), data.draw(st.integers(1, 9)), *size)
    x = np.random.default_rng(data.draw(st.integers(0, 999))).standard_normal(shape).astype(np.float32)
    folder = tmp_path_factory.mktemp("pool")
    same_as_onnx_runtime(folder, model([make_node(op, ["x"], ["y"], **attributes)], shape, {}, opset=19), x)


def test_where_padding_is_found_nothing_is_rounded_up(tmp_path: Path) -> None:
    """As ONNX defines it; ONNX Runtime rounds up here as well."""
    node = make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2], auto_pad="VALID", ceil_mode=1)
    (tmp_path / "m.onnx").write_bytes(model([node], (1, 1, 5, 5), {}, opset=19))
    graph = ms.load_model(tmp_path / "m.onnx")
    assert graph.tensors[graph.outputs["y"]].shape == (1, 1, 2, 2)


@pytest.mark.parametrize("op", ["GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool"])
@pytest.mark.parametrize("size", [(7,), (1, 1), (9, 13)])
def test_of_whole_images(tmp_path: Path, op: str, size: tuple[int, ...]) -> None:
    shape = (2, 5, *size)
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    same_as_onnx_runtime(tmp_path, model([make_node(op, ["x"], ["y"])], shape, {}), x)


def test_between_convolutions_nothing_is_transposed(tmp_path: Path) -> None:
    w = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)
    nodes = [
        make_node("Conv", ["x", "w"], ["a"]),
        make_node("Relu", ["a"], ["b"]),
        make_node("MaxPool", ["b"], ["c"], kernel_shape=[2, 2], strides=[2, 2]),
        make_node("AveragePool", ["c"], ["d"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        make_node("GlobalAveragePool", ["d"], ["e"]),
        make_node("Flatten", ["e"], ["y"]),
    ]
    data = model(nodes, (1, 3, 10, 10), {"w": w})
    x = np.random.default_rng(1).standard_normal((1, 3, 10, 10)).astype(np.float32)
    same_as_onnx_runtime(tmp_path, data, x)
    ops = [node.op for node in ms.load_model(tmp_path / "m.onnx").nodes]
    assert ops.count("Transpose") == 1  # of the input


@pytest.mark.parametrize("op", ["ReduceMean", "ReduceMax", "ReduceL2", "ReduceMin"])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_of_reductions_over_the_pixels_neither(tmp_path: Path, op: str, keepdims: int) -> None:
    """As squeeze and excitation has them."""
    rng = np.random.default_rng(0)
    w, v = (rng.standard_normal(shape).astype(np.float32) for shape in ((8, 3, 3, 3), (8, 8, 1, 1)))
    nodes = [
        make_node("Conv", ["x", "w"], ["a"]),
        make_node("Relu", ["a"], ["b"]),
        make_node(op, ["b"], ["m" if keepdims else "y"], axes=[2, 3], keepdims=keepdims),
    ]
    if keepdims:
        nodes += [make_node("Conv", ["m", "v"], ["s"]), make_node("Mul", ["b", "s"], ["y"])]
    weights = {"w": w, "v": v} if keepdims else {"w": w}
    x = rng.standard_normal((2, 3, 9, 7)).astype(np.float32)
    same_as_onnx_runtime(tmp_path, model(nodes, x.shape, weights, opset=11), x)
    found = [node.op for node in ms.load_model(tmp_path / "m.onnx").nodes]
    assert found.count("Transpose") == 1 + keepdims  # of the input, and of an output that is an image


@settings(max_examples=15)
@given(st.data(), st.integers(1, 9))
def test_any_lrn(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, size: int) -> None:
    shape = (data.draw(st.integers(1, 2)), data.draw(st.integers(1, 12)), data.draw(st.integers(1, 6)), 5)
    given_ = {key: data.draw(st.sampled_from([0.1, 0.5, 2.0])) for key in ("alpha", "beta", "bias")}
    attributes = {key: value for key, value in given_.items() if data.draw(st.booleans())}
    odd = size | 1  # ONNX Runtime has no even ones
    x = np.random.default_rng(data.draw(st.integers(0, 99))).standard_normal(shape).astype(np.float32)
    node = make_node("LRN", ["x"], ["y"], size=odd, **attributes)
    same_as_onnx_runtime(tmp_path_factory.mktemp("lrn"), model([node], shape, {}), x)


@pytest.mark.parametrize(
    ("node", "shape", "text"),
    [
        (make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2, 2]), (1, 2, 4, 4, 4), "in one or two dimensions"),
        (make_node("MaxPool", ["x"], ["y"], kernel_shape=[2]), (1, 2, 4, 4), "a positive number for each axis"),
        (make_node("MaxPool", ["x"], ["y"], kernel_shape=[9, 9]), (1, 2, 4, 4), "does not fit"),
        (make_node("AveragePool", ["x"], ["y"]), (1, 2, 4, 4), "'kernel_shape' is missing"),
        (make_node("AveragePool", ["x"], ["y"], kernel_shape=[2, 2], strides=[1]), (1, 2, 4, 4), "strides must have 2"),
    ],
)
def test_what_is_refused_by_name(tmp_path: Path, node: object, shape: tuple[int, ...], text: str) -> None:
    (tmp_path / "m.onnx").write_bytes(model([node], shape, {}))  # type: ignore[list-item]
    with pytest.raises(MinisimError, match=text):
        ms.load_model(tmp_path / "m.onnx")
