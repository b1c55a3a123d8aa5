"""Trilu, Hardmax, the mask of Dropout, and ReduceProd: whole, through the engine, equal to numpy element by element."""

from __future__ import annotations

from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx.helper import (
    make_graph,
    make_model,
    make_node,
    make_opsetid,
    make_tensor_value_info,
    np_dtype_to_tensor_dtype,
)

import minisim as ms
from minisim.compiler.frontend.onnx_file import load_onnx
from minisim.errors import MinisimError

Array = npt.NDArray[Any]
RNG = np.random.default_rng(36)


def computed(path: Path, op: str, x: Array, opset: int, constant: Array | None = None, **attributes: Any) -> Array:
    """What the engine makes of x, held to `evaluate`."""
    kind = np_dtype_to_tensor_dtype(x.dtype)
    inputs, constants = ["x"], []
    if constant is not None:
        inputs.append("c")
        constants.append(onnx.numpy_helper.from_array(constant, "c"))
    graph = make_graph(
        [make_node(op, inputs, ["y"], **attributes)],
        "g",
        [make_tensor_value_info("x", kind, x.shape)],
        [make_tensor_value_info("y", kind, None)],
        constants,
    )
    onnx.save(make_model(graph, opset_imports=[make_opsetid("", opset)], ir_version=8), path)
    loaded = load_onnx(path)
    found = ms.run(loaded, inputs={"x": x}).outputs["y"]
    np.testing.assert_array_equal(found, loaded.evaluate({"x": x}, np.float32)[loaded.outputs["y"]])
    return found


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int8, np.int32, np.bool_])
@pytest.mark.parametrize(("upper", "k"), [(1, None), (1, 2), (1, -1), (0, 0), (0, -2), (0, 2**63 - 1), (1, -(2**63))])
def test_trilu(dtype: Any, upper: int, k: int | None, tmp_path: Path) -> None:
    x = RNG.integers(-9, 9, (2, 5, 7)).astype(dtype)
    if x.dtype.kind == "f":
        x[:, 0, 0], x[:, 4, 0] = np.nan, np.inf
    constant = None if k is None else np.array(k, np.int64)
    found = computed(tmp_path / "m.onnx", "Trilu", x, 14, constant, upper=upper)
    rows, columns = np.indices((5, 7)).astype(object)  # whole numbers without bound
    inside = (columns >= rows + (k or 0) if upper else columns <= rows + (k or 0)).astype(bool)
    np.testing.assert_array_equal(found, np.where(inside, x, x.dtype.type(0)))
    assert not (found.dtype.kind == "f" and np.signbit(found[:, ~inside]).any())


def test_k_of_trilu_is_one_constant_number(tmp_path: Path) -> None:
    with pytest.raises(MinisimError, match="k must be one number, not 2"):
        computed(tmp_path / "m.onnx", "Trilu", np.ones((3, 3), np.float32), 14, np.array([0, 1], np.int64))
    with pytest.raises(MinisimError, match="x must have two dimensions or more"):
        computed(tmp_path / "m.onnx", "Trilu", np.ones(3, np.float32), 14)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize(("opset", "axis"), [(13, None), (13, 0), (13, 1), (11, None), (11, 0), (11, 2), (11, -1)])
def test_hardmax(dtype: Any, opset: int, axis: int | None, tmp_path: Path) -> None:
    """Many elements are alike, one row is -inf, and some hold NaN: the first one counts, as numpy's argmax says."""
    x = RNG.integers(-2, 3, (3, 4, 5)).astype(dtype)
    x[0, 0], x[1, 2, 3], x[1, 2, 1] = -np.inf, np.nan, np.nan
    attributes: dict[str, Any] = {} if axis is None else {"axis": axis}
    found = computed(tmp_path / "m.onnx", "Hardmax", x, opset, **attributes)
    axis = (-1 if opset >= 13 else 1) if axis is None else axis
    first = axis % 3
    moved = np.moveaxis(x, axis, -1) if opset >= 13 else x.reshape(*x.shape[:first], -1)
    expected = np.zeros_like(moved)
    np.put_along_axis(expected, moved.argmax(-1)[..., None], np.array(1, dtype), axis=-1)
    np.testing.assert_array_equal(found, np.moveaxis(expected, -1, axis) if opset >= 13 else expected.reshape(x.shape))


def test_the_mask_of_dropout_is_true_everywhere(tmp_path: Path) -> None:
    """As an output, and as an operand of another node."""
    x = np.array([[1, -2], [np.nan, 0]], np.float32)
    inputs = [make_tensor_value_info("x", np_dtype_to_tensor_dtype(x.dtype), x.shape)]
    outputs = [make_tensor_value_info(name, np_dtype_to_tensor_dtype(np.dtype(np.bool_)), x.shape) for name in "mn"]
    nodes = [make_node("Dropout", ["x"], ["y", "m"]), make_node("Not", ["m"], ["n"])]
    path = tmp_path / "m.onnx"
    proto = make_graph(nodes, "g", inputs, outputs)
    onnx.save(make_model(proto, opset_imports=[make_opsetid("", 13)], ir_version=8), path)
    found = ms.run(load_onnx(path), inputs={"x": x}).outputs
    assert found["m"].dtype == found["n"].dtype == np.bool_
    assert (found["m"].tolist(), found["n"].tolist()) == ([[True] * 2] * 2, [[False] * 2] * 2)


def by_halves(x: Array, axis: int) -> Array:
    """The definition: the first half times the second until one is left, then times the odd ones."""
    parts: list[Array] = list(np.moveaxis(x, axis, 0))
    odd: list[Array] = []
    while (half := len(parts) // 2) > 0:
        odd += parts[2 * half :]
        parts = [parts[i] * parts[half + i] for i in range(half)]
    return np.expand_dims(reduce(np.multiply, odd, parts[0]), axis)


@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.int32])
@pytest.mark.parametrize("axes", [[0], [1], [2], [0, 2], [2, 1], None])
@pytest.mark.parametrize("keep", [0, 1])
def test_reduce_prod(dtype: Any, axes: list[int] | None, keep: int, tmp_path: Path) -> None:
    """To the bit; integers wrap around."""
    x = (RNG.uniform(-2, 2, (3, 7, 13)) * (1 if dtype is np.float32 else 30)).astype(dtype)
    constant = None if axes is None else np.array(axes, np.int64)
    found = computed(tmp_path / "m.onnx", "ReduceProd", x, 18, constant, keepdims=keep)
    chosen = sorted(axes or [0, 1, 2])
    with np.errstate(over="ignore"):
        expected = reduce(by_halves, chosen, x)
    expected = expected if keep else expected.reshape([d for i, d in enumerate(x.shape) if i not in chosen])
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == x.dtype


@pytest.mark.parametrize("axis", [0, -1, 1])
@pytest.mark.parametrize("opset", [12, 17])
def test_a_scalar_has_no_greatest_element_along_an_axis(axis: int, opset: int, tmp_path: Path) -> None:
    with pytest.raises(MinisimError, match="a scalar has no axis"):
        computed(tmp_path / "m.onnx", "Hardmax", np.array(1, np.float32), opset, axis=axis)
