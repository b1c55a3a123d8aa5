"""Conv from ONNX, against ONNX Runtime; and that nothing is transposed between layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx.helper import make_node
from support.machines import searching_now_and_then

import minisim as ms
from minisim.errors import MinisimError


def model(
    nodes: list[onnx.NodeProto], shape: tuple[int, ...], weights: dict[str, np.ndarray], opset: int = 13
) -> bytes:
    values = [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()]
    info = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, dims) for name, dims in (("x", shape), ("y", None))
    ]
    graph = helper.make_graph(nodes, "g", info[:1], info[1:], values)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7).SerializeToString()


def same_as_onnx_runtime(folder: Path, data: bytes, x: np.ndarray) -> ms.Result:
    (path := folder / "m.onnx").write_bytes(data)
    (expected,) = onnxruntime.InferenceSession(data).run(None, {"x": x})
    result = ms.run(str(path), searching_now_and_then(data), inputs={"x": x})
    assert result.outputs["y"].shape == expected.shape
    np.testing.assert_allclose(result.outputs["y"], expected, rtol=1e-3, atol=1e-5 * max(1.0, np.abs(expected).max()))
    return result


@settings(max_examples=40)
@given(st.data(), st.sampled_from([1, 2]), st.sampled_from([9, 13, 17]))
def test_any_conv(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, dims: int, opset: int) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))

    def drawn(low: int, high: int) -> list[int]:
        return [data.draw(st.integers(low, high)) for _ in range(dims)]

    group = data.draw(st.sampled_from([1, 1, 2, 3]))
    channels, filters = group * data.draw(st.integers(1, 12)), group * data.draw(st.integers(1, 9))
    size, kernel, strides, dilations = drawn(1, 11), drawn(1, 4), drawn(1, 3), drawn(1, 2)
    attributes: dict[str, object] = {"strides": strides, "group": group}
    auto = data.draw(st.sampled_from(["", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    if auto:
        attributes["auto_pad"] = auto
        dilations = [1] * dims  # with others ONNX Runtime pads by another rule
    else:
        attributes["pads"] = drawn(0, 2) + drawn(0, 2)
    attributes["dilations"] = dilations
    if data.draw(st.booleans()):
        attributes["kernel_shape"] = kernel
    if not auto.startswith("SAME"):
        pads = attributes.get("pads", [0] * 2 * dims)
        for i in range(dims):
            assume(size[i] + pads[i] + pads[i + dims] >= (kernel[i] - 1) * dilations[i] + 1)
    weights = {"w": rng.standard_normal((filters, channels // group, *kernel)).astype(np.float32)}
    if data.draw(st.booleans()):
        weights["b"] = rng.standard_normal(filters).astype(np.float32)
    nodes = [make_node("Conv", ["x", *weights], ["y"], name="conv", **attributes)]
    shape = (data.draw(st.integers(1, 2)), channels, *size)
    same_as_onnx_runtime(
        tmp_path_factory.mktemp("m"), model(nodes, shape, weights, opset), rng.standard_normal(shape).astype(np.float32)
    )


@settings(max_examples=40)
@given(st.data(), st.sampled_from([1, 2]), st.sampled_from([9, 13, 17]))
def test_any_conv_transpose(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, dims: int, opset: int
) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))

    def drawn(low: int, high: int) -> list[int]:
        return [data.draw(st.integers(low, high)) for _ in range(dims)]

    group = data.draw(st.sampled_from([1, 1, 2, 3]))
    channels, filters = group * data.draw(st.integers(1, 12)), data.draw(st.integers(1, 9))
    size, kernel, strides = drawn(1, 9), drawn(1, 4), drawn(1, 3)
    attributes: dict[str, object] = {"strides": strides, "group": group}
    how = data.draw(st.sampled_from(["pads", "pads", "SAME_UPPER", "SAME_LOWER", "VALID", "output_shape"]))
    dilations = drawn(1, 2) if how == "pads" else [1] * dims
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    whole = [(n - 1) * s + r for n, s, r in zip(size, strides, reach, strict=True)]
    if how == "pads":
        attributes["pads"] = [data.draw(st.integers(0, min(2, (n - 1) // 2))) for n in whole + whole]
        attributes["output_padding"] = [data.draw(st.integers(0, s - 1)) for s in strides]
    elif how == "output_shape":
        attributes["output_shape"] = [data.draw(st.integers(max(1, n - r + 1), n)) for n, r in zip(whole, reach)]  # noqa: B905
    else:  # of kernels that are shorter than their stride ONNX Runtime makes less than the standard says
        assume(how == "VALID" or all(n >= s for n, s in zip(kernel, strides, strict=True)))
        attributes["auto_pad"] = how
    attributes["dilations"] = dilations
    weights = {"w": rng.standard_normal((channels, filters, *kernel)).astype(np.float32)}
    if data.draw(st.booleans()):
        weights["b"] = rng.standard_normal(filters * group).astype(np.float32)
    nodes = [make_node("ConvTranspose", ["x", *weights], ["y"], name="up", **attributes)]
    shape = (data.draw(st.integers(1, 2)), channels, *size)
    same_as_onnx_runtime(
        tmp_path_factory.mktemp("m"), model(nodes, shape, weights, opset), rng.standard_normal(shape).astype(np.float32)
    )


def small_net() -> tuple[bytes, np.ndarray]:
    """A residual block: two layers with a Relu between, x added, and a Relu; then a matmul of what was flattened."""
    rng = np.random.default_rng(0)
    weights = {f"w{i}": rng.standard_normal((8, 8, 3, 3)).astype(np.float32) * np.float32(0.1) for i in range(2)}
    weights["m"] = rng.standard_normal((8 * 6 * 5, 4)).astype(np.float32) * np.float32(0.1)
    pads = {"pads": [1, 1, 1, 1]}
    nodes = [
        make_node("Relu", ["x"], ["x0"]),
        make_node("Conv", ["x0", "w0"], ["c0"], **pads),
        make_node("Relu", ["c0"], ["r0"]),
        make_node("Conv", ["r0", "w1"], ["c1"], **pads),
        make_node("Add", ["c1", "x0"], ["s"]),
        make_node("Relu", ["s"], ["r1"]),
        make_node("Flatten", ["r1"], ["f"]),
        make_node("Gemm", ["f", "m"], ["y"]),
    ]
    return model(nodes, (2, 8, 6, 5), weights), rng.standard_normal((2, 8, 6, 5)).astype(np.float32)


def test_nothing_is_transposed_between_layers(tmp_path: Path) -> None:
    """x is turned, and what is added and flattened is turned back."""
    data, x = small_net()
    result = same_as_onnx_runtime(tmp_path, data, x)
    ops = [node.op for node in result.graph.nodes]
    assert ops.count("Conv") == 2
    between = ops[ops.index("Conv") : len(ops) - ops[::-1].index("Conv")]
    assert "Transpose" not in between
    assert ops.count("Transpose") <= 3


def test_what_there_is_not_is_told(tmp_path: Path) -> None:
    nodes = [make_node("Conv", ["x", "w"], ["y"], name="c")]
    (path := tmp_path / "m.onnx").write_bytes(
        model(nodes, (1, 2, 4, 4, 4), {"w": np.ones((2, 2, 1, 1, 1), np.float32)})
    )
    with pytest.raises(MinisimError, match="Conv in one or two dimensions is supported"):
        ms.run(str(path))
    nodes = [make_node("Conv", ["x", "w"], ["y"], name="c", kernel_shape=[2, 2])]
    path.write_bytes(model(nodes, (1, 2, 4, 4), {"w": np.ones((2, 2, 1, 1), np.float32)}))
    with pytest.raises(MinisimError, match="kernel_shape must be"):
        ms.run(str(path))
