"""What finds, gathers or scatters by indices, and cumulative sums: held to numpy or to ONNX's reference; and int64."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.reference
import pytest
from onnx import NodeProto, TensorProto
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
RNG = np.random.default_rng(53)


def save(path: Path, nodes: list[NodeProto], fed: dict[str, Array], constants: dict[str, Array], *outputs: str) -> Path:
    graph = make_graph(
        nodes,
        "g",
        [make_tensor_value_info(name, np_dtype_to_tensor_dtype(x.dtype), x.shape) for name, x in fed.items()],
        [make_tensor_value_info(name, 1, None) for name in outputs],
        [onnx.numpy_helper.from_array(x, name) for name, x in constants.items()],
    )
    path.write_bytes(make_model(graph, opset_imports=[make_opsetid("", 26)], ir_version=10).SerializeToString())
    return path


def evaluated(path: Path, op: str, fed: dict[str, Array], constants: dict[str, Array], outputs: int = 1,
              engine: bool = False, **attributes: Any) -> list[Array]:  # fmt: skip
    """What one node gives, as the graph means it; or as the engine computes it, held to that."""
    names = [f"y{i}" for i in range(outputs)]
    node = make_node(op, [*fed, *constants], names, name="node", **attributes)
    graph = load_onnx(save(path, [node], fed, constants, *names))
    found = graph.evaluate(fed)
    values = [found[graph.outputs[name]] for name in names]
    if engine:
        result = ms.run(graph, inputs=fed).outputs
        for name, value in zip(names, values, strict=True):
            np.testing.assert_allclose(result[name], value, rtol=1e-6)
        return [result[name] for name in names]
    return values


def ties(dtype: Any, *shape: int) -> Array:
    """Few different values, the lowest of the type among them; of floats infinities and NaN, too."""
    x = RNG.integers(0, 4, shape).astype(dtype)
    x.flat[1] = -np.inf if x.dtype.kind == "f" else np.iinfo(dtype).min
    x.flat[4] = np.inf if x.dtype.kind == "f" else np.iinfo(dtype).max
    if x.dtype.kind == "f":
        x.flat[7] = np.nan
    return x


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int8, np.uint8, np.int32])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("last", [0, 1])
def test_arg_max_and_arg_min(dtype: Any, axis: int, last: int, tmp_path: Path) -> None:
    """NaN counts as the greatest, and as the least, as numpy has it."""
    x = ties(dtype, 3, 4, 5)
    for op, numpys in (("ArgMax", np.argmax), ("ArgMin", np.argmin)):
        engine = axis == 1 and last == 0 and dtype in (np.float32, np.uint8)
        (found,) = evaluated(tmp_path / "m.onnx", op, {"x": x}, {}, engine=engine,
                             axis=axis, keepdims=0, select_last_index=last)  # fmt: skip
        expected = numpys(np.flip(x, axis), axis=axis) if last else numpys(x, axis=axis)
        expected = x.shape[axis] - 1 - expected if last else expected
        np.testing.assert_array_equal(found, expected)
        assert not engine or found.dtype == np.int64


@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.uint8, np.int32])
@pytest.mark.parametrize(("axis", "k", "largest"), [(1, 3, 1), (-1, 6, 1), (0, 1, 0), (1, 5, 0)])
def test_top_k(dtype: Any, axis: int, k: int, largest: int, tmp_path: Path) -> None:
    """Of equal ones the first comes first: also of those that are as low as what hides the ones before."""
    x = RNG.integers(0, 3, (3, 5, 6)).astype(dtype)
    x[0, :, 0] = -np.inf if x.dtype.kind == "f" else np.iinfo(dtype).min
    x[1, 2, 3] = np.inf if x.dtype.kind == "f" else np.iinfo(dtype).max
    values, indices = evaluated(tmp_path / "m.onnx", "TopK", {"x": x}, {"k": np.array([k])}, 2,
                                engine=k == 3 and dtype == np.float32, axis=axis, largest=largest)  # fmt: skip
    keys = x.astype(np.float64)
    order = np.argsort(-keys if largest else keys, axis=axis, kind="stable").take(range(k), axis)
    np.testing.assert_array_equal(indices, order)
    np.testing.assert_array_equal(values, np.take_along_axis(x, order, axis))


@pytest.mark.parametrize("op", ["CumSum", "CumProd"])
@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("reverse", [0, 1])
@pytest.mark.parametrize("size", [1, 2, 7, 8])
def test_cumulative(op: str, exclusive: int, reverse: int, size: int, tmp_path: Path) -> None:
    x = RNG.integers(1, 4, (2, size, 3)).astype(np.int32)
    constants = {"axis": np.array(1)}
    (found,) = evaluated(tmp_path / "m.onnx", op, {"x": x}, constants, exclusive=exclusive, reverse=reverse,
                         engine=size == 7 and op == "CumSum")  # fmt: skip
    way = np.flip(x, 1) if reverse else x
    expected = (np.cumsum if op == "CumSum" else np.cumprod)(way, axis=1)
    if exclusive:
        first = np.full((2, 1, 3), op == "CumProd", np.int32)
        expected = np.concatenate([first, expected[:, :-1]], axis=1)
    np.testing.assert_array_equal(found, np.flip(expected, 1) if reverse else expected)


def test_a_cumulative_sum_takes_nothing_from_elsewhere(tmp_path: Path) -> None:
    x = np.array([[1, -0.0, np.inf, 2, np.nan, 3]], np.float32)
    (found,) = evaluated(tmp_path / "m.onnx", "CumSum", {"x": x}, {"axis": np.array(1)}, engine=True)
    np.testing.assert_array_equal(found, [[1, 1, np.inf, np.inf, np.nan, np.nan]])


X = RNG.integers(-9, 9, (3, 4, 5)).astype(np.float32)
NEW = RNG.integers(-9, 9, (3, 2, 5)).astype(np.float32)
BY_ELEMENTS = RNG.integers(-4, 4, (3, 2, 5))
BY_ROWS = np.array([[[2, 3], [0, -1]], [[2, 3], [1, 1]], [[2, -1], [0, 0]]])


@pytest.mark.parametrize(
    ("op", "constants", "more", "attributes"),
    [
        ("GatherElements", {"i": BY_ELEMENTS}, {}, {"axis": 1}),
        ("GatherElements", {"i": RNG.integers(-3, 3, (2, 4, 5))}, {}, {"axis": -3}),
        ("GatherND", {"i": BY_ROWS}, {}, {}),
        ("GatherND", {"i": BY_ROWS}, {}, {"batch_dims": 1}),
        ("GatherND", {"i": np.array([[0, 1, 2], [-1, -1, -1]])}, {}, {}),
        ("Compress", {"i": np.array([True, False, True])}, {}, {"axis": 1}),
        ("Compress", {"i": np.array([False, True, True])}, {}, {}),
        ("ScatterElements", {"i": BY_ELEMENTS}, {"u": NEW}, {"axis": 1}),
        *[("ScatterElements", {"i": BY_ELEMENTS}, {"u": NEW}, {"axis": 1, "reduction": each})
          for each in ("add", "mul", "max", "min")],
        ("ScatterND", {"i": BY_ROWS}, {"u": RNG.standard_normal((3, 2, 5)).astype(np.float32)}, {}),
        ("ScatterND", {"i": BY_ROWS}, {"u": RNG.integers(-9, 9, (3, 2, 5)).astype(np.float32)}, {"reduction": "add"}),
        ("ScatterND", {"i": np.array([[1], [1], [-1]])}, {"u": RNG.random((3, 4, 5)).astype(np.float32)}, {}),
    ],
)  # fmt: skip
def test_gathered_and_scattered(
    op: str, constants: dict[str, Array], more: dict[str, Array], attributes: dict[str, Any], tmp_path: Path
) -> None:
    """The expected values are those of ONNX's reference implementation, one update after the other."""
    fed = {"x": X, **more}
    path = save(
        tmp_path / "m.onnx", [make_node(op, ["x", *constants, *more], ["y"], **attributes)], fed, constants, "y"
    )
    (expected,) = onnx.reference.ReferenceEvaluator(onnx.load(path)).run(None, fed)
    graph = load_onnx(path)
    np.testing.assert_array_equal(graph.evaluate(fed)[graph.outputs["y"]], expected.astype(np.float64))
    if attributes in ({"batch_dims": 1}, {"reduction": "add"}, {"axis": 1}):
        np.testing.assert_array_equal(ms.run(graph, inputs=fed).outputs["y"], expected)


def test_untouched_elements_keep_their_sign(tmp_path: Path) -> None:
    x, new = np.array([-0.0, -0.0, 1], np.float32), np.array([2], np.float32)
    path = save(tmp_path / "m.onnx", [make_node("ScatterElements", ["x", "i", "u"], ["y"], reduction="add")],
                {"x": x, "u": new}, {"i": np.array([2])}, "y")  # fmt: skip
    found = ms.run(path, inputs={"x": x, "u": new}).outputs["y"]
    assert np.signbit(found).tolist() == [True, True, False] and found[2] == 3


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_one_hot(axis: int, tmp_path: Path) -> None:
    indices = np.array([[0, 3, -1], [-4, 7, -9]], np.int32)
    constants = {"depth": np.array(4), "values": np.array([2, 5], np.float32)}
    (found,) = evaluated(tmp_path / "m.onnx", "OneHot", {"x": indices}, constants, engine=axis == 0, axis=axis)
    places = np.where(indices < 0, indices + 4, indices)
    expected = np.where(places[..., None] == np.arange(4), 5.0, 2.0)
    np.testing.assert_array_equal(found, np.moveaxis(expected, -1, axis))


# -- int64 that is computed --------------------------------------------------------------------------------


def chain(path: Path, *nodes: NodeProto, **constants: Any) -> Path:
    x = np.array([[1, 5, 2], [7, 0, 3]], np.float32)
    arrays = {name: np.asarray(value) for name, value in constants.items()}
    return save(path, [make_node("ArgMax", ["x"], ["at"], axis=1), *nodes], {"x": x}, arrays, "y")


def test_indices_are_int64_for_the_user_and_int32_on_the_machine(tmp_path: Path) -> None:
    path = chain(tmp_path / "m.onnx", make_node("Concat", ["c", "at"], ["y"], axis=0), c=[[9]])
    x = np.array([[1, 5, 2], [7, 0, 3]], np.float32)
    found = ms.run(path, inputs={"x": x}).outputs["y"]
    np.testing.assert_array_equal(found, np.array([[9], [1], [0]], np.int64), strict=True)
    graph = load_onnx(path)
    assert graph.tensors[graph.outputs["y"]].dtype == "int32"


def test_they_are_compared_and_cast(tmp_path: Path) -> None:
    x = np.array([[1, 5, 2], [7, 0, 3]], np.float32)
    for op, expected in (("Equal", [[True], [False]]), ("Less", [[False], [True]])):
        path = chain(tmp_path / "m.onnx", make_node(op, ["at", "c"], ["y"]), c=[1])
        assert ms.run(path, inputs={"x": x}).outputs["y"].tolist() == expected
    path = chain(tmp_path / "m.onnx", make_node("Cast", ["at"], ["y"], to=TensorProto.FLOAT))
    np.testing.assert_array_equal(ms.run(path, inputs={"x": x}).outputs["y"], np.array([[1], [0]], np.float32))


@pytest.mark.parametrize(
    ("node", "constants", "message"),
    [
        (make_node("Mul", ["at", "c"], ["y"]), {"c": [2]}, "operand 'at' is int64, which is moved, compared and cast"),
        (make_node("Mul", ["at", "at"], ["y"]), {}, "operand 'at' is int64"),
        (make_node("Less", ["at", "c"], ["y"]), {"c": [2**31]}, "constant 'c' has the value 2147483648, which"),
        (make_node("Concat", ["at", "c"], ["y"], axis=0), {"c": [[-(2**40)]]}, "-1099511627776, which is beyond int32"),
        (make_node("TopK", ["x", "k"], ["v", "y"]), {"k": [4]}, "k must be a number from 1 to 3, not 4"),
        (make_node("GatherElements", ["x", "i"], ["y"]), {"i": [[2]]}, r"an index must lie in \[-2, 1\], not 2"),
        (make_node("GatherElements", ["x", "at"], ["y"]), {}, "operand 'at' is int64"),
        (make_node("ScatterND", ["x", "i", "u"], ["y"]), {"i": [[0]], "u": np.ones((2, 3), np.float32)},
         r"updates \(2, 3\) must have 1 x 3 elements"),
    ],
)  # fmt: skip
def test_what_is_refused(node: NodeProto, constants: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(MinisimError, match=message):
        load_onnx(chain(tmp_path / "m.onnx", node, **constants))


def test_more_than_are_found_one_by_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MinisimError, match="up to 64 elements are found, not 65"):
        evaluated(tmp_path / "m.onnx", "TopK", {"x": np.zeros((1, 70), np.float32)}, {"k": np.array([65])}, 2)
