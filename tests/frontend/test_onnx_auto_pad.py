"""Which pixels auto_pad means, where ONNX Runtime and ONNX's text or reference implementation say different things.

docs/onnx.md says what is followed. So ONNX Runtime is no judge here: the windows are written out, or ONNX's reference
implementation is asked.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx.reference import ReferenceEvaluator
from support.machines import searching_now_and_then

import minisim as ms


def model(op: str, x: np.ndarray, weights: dict[str, np.ndarray], **attributes: object) -> onnx.ModelProto:
    infos = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, dims)
        for name, dims in (("x", x.shape), ("y", None))
    ]
    node = helper.make_node(op, ["x", *weights], ["y"], **attributes)
    values = [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph([node], "g", infos[:1], infos[1:], values)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def computed(folder: Path, made: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    """What the engine makes of it."""
    (path := folder / "m.onnx").write_bytes(data := made.SerializeToString())
    return ms.run(str(path), searching_now_and_then(data), inputs={"x": x}).outputs["y"]


def windows(size: int, kernel: int, stride: int, dilation: int, auto: str) -> list[list[int]]:
    """Of each output along an axis the pixels that it is of, by ONNX's text: as many outputs as strides begin within
    the image, and padding for all of the last one's kernel, the odd one behind it if SAME_UPPER, else before it."""
    count = -(-size // stride)
    padding = max(0, (count - 1) * stride + (kernel - 1) * dilation + 1 - size)
    before = padding // 2 if auto == "SAME_UPPER" else padding - padding // 2
    reads = [[i * stride + tap * dilation - before for tap in range(kernel)] for i in range(count)]
    return [[at for at in each if 0 <= at < size] for each in reads]


@settings(max_examples=60)
@given(st.data(), st.sampled_from(["MaxPool", "AveragePool", "LpPool", "Conv"]))
def test_same_is_of_the_kernel_with_its_dilations(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, op: str
) -> None:
    """And where a stride is longer than that, the kernel stands at its beginning: there is no padding below 0."""
    size, kernel, stride = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 4)), data.draw(st.integers(1, 6))
    dilation, auto = data.draw(st.integers(1, 3)), data.draw(st.sampled_from(["SAME_UPPER", "SAME_LOWER"]))
    x = np.random.default_rng(size).integers(1, 99, (1, 1, size)).astype(np.float32)
    weights = {"w": np.ones((1, 1, kernel), np.float32)} if op == "Conv" else {}
    given_: dict[str, object] = {"p": 1} if op == "LpPool" else {}
    if op != "Conv" and data.draw(st.booleans()):
        given_["ceil_mode"] = 1  # as many outputs either way
    made = model(op, x, weights, kernel_shape=[kernel], strides=[stride], dilations=[dilation], auto_pad=auto, **given_)
    reads = windows(size, kernel, stride, dilation, auto)
    if not all(reads):
        return  # of nothing but padding: no question of shape
    of = {"MaxPool": np.max, "AveragePool": np.mean}.get(op, np.sum)
    found = computed(tmp_path_factory.mktemp("same"), made, x)
    np.testing.assert_allclose(found, [[[of(x[0, 0, each]) for each in reads]]], rtol=1e-6)


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool", "LpPool"])
def test_valid_rounds_down_with_ceil_mode_too(tmp_path: Path, op: str) -> None:
    """ceil((9 - 4 + 1) / 2) = floor((9 - 4) / 2) + 1 = 3."""
    x = np.arange(9, dtype=np.float32).reshape(1, 1, 9)
    attributes = {"kernel_shape": [4], "strides": [2], "auto_pad": "VALID"}
    floor, ceil = (computed(tmp_path, model(op, x, {}, **attributes, **more), x) for more in ({}, {"ceil_mode": 1}))
    assert ceil.shape == (1, 1, 3)
    np.testing.assert_array_equal(floor, ceil)


@settings(max_examples=60)
@given(st.data(), st.sampled_from([1, 2]))
def test_a_transposed_convolution_has_strides_times_its_pixels(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, dims: int
) -> None:
    """If the kernel is shorter than a stride, pixels are missing: half of them before it. Or its shape is given."""

    def drawn(low: int, high: int) -> list[int]:
        return [data.draw(st.integers(low, high)) for _ in range(dims)]

    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    size, kernel, strides, dilations = drawn(1, 4), drawn(1, 3), drawn(1, 5), drawn(1, 2)
    x = rng.integers(-9, 9, (1, 2, *size)).astype(np.float32)
    weights = {
        "w": rng.integers(-9, 9, (2, 3, *kernel)).astype(np.float32),
        "b": rng.integers(-9, 9, 3).astype(np.float32),
    }
    auto = data.draw(st.sampled_from(["SAME_UPPER", "SAME_LOWER"]))
    attributes: dict[str, object] = {"kernel_shape": kernel, "strides": strides, "dilations": dilations}
    if data.draw(st.booleans()):
        attributes["output_padding"] = [data.draw(st.integers(0, stride - 1)) for stride in strides]
    wanted = [n * stride for n, stride in zip(size, strides, strict=True)]
    if data.draw(st.booleans()):
        wanted = [n + data.draw(st.integers(0, 3)) for n in wanted]
        attributes["output_shape"] = wanted
    made = model("ConvTranspose", x, weights, auto_pad=auto, **attributes)
    found = computed(tmp_path_factory.mktemp("same"), made, x)
    assert found.shape == (1, 3, *wanted)
    np.testing.assert_array_equal(found, ReferenceEvaluator(made).run(None, {"x": x})[0])
