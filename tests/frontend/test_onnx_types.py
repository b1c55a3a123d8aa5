"""ONNX models in their own types, held to ONNX Runtime; and inputs that are bound as a model is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from support.typed import values_of

import minisim as ms
from minisim.compiler.dtypes import INTEGERS
from minisim.compiler.ops.cast import ONNX_TYPES
from minisim.errors import ModelError, UnsupportedError, UsageError

CODES = {name: code for code, name in ONNX_TYPES.items()}
Save = Any


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def write(
        nodes: list[Any], inputs: list[Any], outputs: list[str], initializers: dict[str, Any] | None = None
    ) -> Path:
        weights = [onnx.numpy_helper.from_array(np.asarray(x), name) for name, x in (initializers or {}).items()]
        results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        for info in results:
            info.type.tensor_type.elem_type = 0
        graph = helper.make_graph(nodes, "g", inputs, results, weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        inferred = onnx.shape_inference.infer_shapes(model)
        onnx.save(inferred, tmp_path / "m.onnx")
        return tmp_path / "m.onnx"

    return write


def by_onnxruntime(path: Path, inputs: dict[str, Any]) -> list[Any]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), options).run(None, inputs)


def info(name: str, dtype: str, shape: tuple[Any, ...]) -> Any:
    return helper.make_tensor_value_info(name, CODES.get(dtype, TensorProto.INT64), shape)


@pytest.mark.parametrize(
    ("op", "dtypes"),
    [
        *((op, ("int32", "float16")) for op in ("Add", "Sub", "Mul")),
        *((op, ("int8", "uint8", "int32", "float16")) for op in ("Min", "Max")),
        *((op, ("int32",)) for op in ("Less", "Greater", "Equal", "LessOrEqual")),
    ],
)
def test_two_operands(op: str, dtypes: tuple[str, ...], save: Save) -> None:
    """In the types that ONNX Runtime has; it wraps around, too."""
    for dtype in dtypes:
        path = save([helper.make_node(op, ["x", "w"], ["y"])], [info("x", dtype, (5, 40))], ["y"],
                    {"w": values_of(np.random.default_rng(1), dtype, (40,))})  # fmt: skip
        x = values_of(np.random.default_rng(2), dtype, (5, 40))
        with np.errstate(over="ignore"):
            (expected,) = by_onnxruntime(path, {"x": x})
        np.testing.assert_array_equal(ms.run(path, inputs={"x": x}, check=False).outputs["y"], expected, strict=True)


@pytest.mark.parametrize("to", ["float32", "float16", "int8", "uint8", "int16", "int32", "bool"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "uint8", "int16", "int32", "bool"])
def test_casts_of_values_that_the_type_has(dtype: str, to: str, save: Save) -> None:
    """Beyond a type's range ONNX says nothing of floats; the engine's own tests do."""
    x = values_of(np.random.default_rng(3), dtype, (3, 50))
    if to not in ("bool", "float32", "float16"):
        x = np.clip(x, 0 if to == "uint8" else -100, 100).astype(x.dtype) if dtype != "bool" else x
    path = save([helper.make_node("Cast", ["x"], ["c"], to=CODES[to]), helper.make_node("Identity", ["c"], ["y"])],
                [info("x", dtype, (3, 50))], ["y"])  # fmt: skip
    if dtype == to:  # nothing is left to run but a copy
        return
    (expected,) = by_onnxruntime(path, {"x": x})
    np.testing.assert_array_equal(ms.run(path, inputs={"x": x}, check=False).outputs["y"], expected, strict=True)


def test_a_quotient_of_integers_is_truncated(save: Save) -> None:
    x, y = np.array([[-7, 7, -7, 7, 5, -5]], np.int32), np.array([[2, 2, -2, -2, 7, 7]], np.int32)
    path = save([helper.make_node("Div", ["x", "w"], ["y"])], [info("x", "int32", (1, 6))], ["y"], {"w": y})
    assert ms.run(path, inputs={"x": x}).outputs["y"].tolist() == by_onnxruntime(path, {"x": x})[0].tolist()
    assert ms.run(path, inputs={"x": x}).outputs["y"].tolist() == [[-3, 3, 3, -3, 0, 0]]


@pytest.mark.parametrize("dtype", sorted(INTEGERS))
@pytest.mark.parametrize("op", ["ReduceMin", "ReduceMax", "ReduceSum"])
def test_reductions_of_integers(op: str, dtype: str, save: Save) -> None:
    axes = {"axes": np.array([1])} if op == "ReduceSum" else {}
    attributes = {} if axes else {"axes": [1]}
    path = save([helper.make_node(op, ["x", *axes], ["y"], **attributes)], [info("x", dtype, (4, 30))], ["y"], axes)
    x = values_of(np.random.default_rng(4), dtype, (4, 30))
    x[0] = np.iinfo(dtype).min
    numpys = {"ReduceMin": np.min, "ReduceMax": np.max, "ReduceSum": np.sum}[op]
    expected = numpys(x.astype(np.int64), axis=1, keepdims=True).astype(dtype)
    np.testing.assert_array_equal(ms.run(path, inputs={"x": x}).outputs["y"], expected, strict=True)


@pytest.mark.parametrize("limits", [{"min": np.int8(-5), "max": np.int8(9)}, {"max": np.int8(3)}, {}])
def test_a_clip_of_integers_without_a_limit_has_the_types_own(limits: dict[str, Any], save: Save) -> None:
    names = [name if name in limits else "" for name in ("min", "max")]
    path = save([helper.make_node("Clip", ["x", *names], ["y"])], [info("x", "int8", (2, 128))], ["y"], limits)
    x = np.arange(-128, 128, dtype=np.int8).reshape(2, 128)
    np.testing.assert_array_equal(
        ms.run(path, inputs={"x": x}).outputs["y"], by_onnxruntime(path, {"x": x})[0], strict=True
    )


# -- bound inputs ----------------------------------------------------------------------------------------


def reshaped(save: Save, *outputs: str) -> Path:
    """y is x in the shape that the input `shape` gives; s is the shape of y."""
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["r"]), helper.make_node("Relu", ["r"], ["y"]),
             helper.make_node("Shape", ["y"], ["s"])]  # fmt: skip
    return save(nodes, [info("x", "float32", (4, 6)), info("shape", "int64", (2,))], [*outputs] or ["y", "s"])


def test_values_are_bound_as_the_model_is_read(save: Save) -> None:
    path, x = reshaped(save), np.linspace(-1, 1, 24, dtype=np.float32).reshape(4, 6)
    graph = ms.load_model(path, values={"shape": [3, 8]})
    assert graph.inputs == ["x"]
    runs = [
        ms.run(graph, inputs={"x": x}),
        ms.run(graph, inputs={"x": x, "shape": np.array([3, 8])}),
        ms.run(path, inputs={"x": x, "shape": np.array([3, 8])}),
    ]
    for result in runs:
        np.testing.assert_array_equal(result.outputs["y"], np.maximum(x, 0).reshape(3, 8))
        np.testing.assert_array_equal(result.outputs["s"], np.array([3, 8]), strict=True)
        assert result.max_abs_error == 0
    with pytest.raises(UsageError, match="input 'shape' was bound to other values when 'm' was read"):
        ms.run(graph, inputs={"x": x, "shape": np.array([8, 3])})
    check = ms.check_onnxruntime(path, inputs={"x": x}, values={"shape": [3, 8]})
    assert not check.deviates and [value.name for value in check.values] == ["y", "s"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {},
            "input 'shape' must be float32, .*, not int64; if it is a shape, .* with --value shape=NUMBER,NUMBER",
        ),
        ({"shap": [3, 8]}, "no input 'shap' to bind to values; did you mean 'shape'"),
        ({"shape": [3, 8, 1]}, r"input 'shape' has shape \[2\], not \[3\]"),
        ({"x": [1]}, "input 'x' is float32: only inputs of integers can be bound to values"),
        ({"shape": [0.5]}, "values must be integers by the names of inputs, not 'shape'"),
        ({"shape": "3,8"}, "values must be integers by the names of inputs, not 'shape'"),
        ([3], "values must be a mapping of inputs to integers"),
    ],
)
def test_values_that_are_refused(values: Any, said: str, save: Save) -> None:
    path = reshaped(save)
    with pytest.raises((ModelError, UsageError), match=said):
        ms.load_model(path, values=values)


def test_a_list_is_laid_out_in_the_shape_of_its_input(save: Save) -> None:
    """Indices of rank 2; and a scalar, which the command line cannot tell from a list of one."""
    path = save(
        [helper.make_node("Gather", ["x", "at"], ["y"])],
        [info("x", "float32", (4, 6)), info("at", "int64", (2, 2))],
        ["y"],
    )
    assert ms.run(ms.load_model(path, values={"at": [0, 3, 1, 1]})).outputs["y"].shape == (2, 2, 6)
    path = save(
        [helper.make_node("Gather", ["x", "at"], ["y"])], [info("x", "float32", (4, 6)), info("at", "int64", ())], ["y"]
    )
    assert ms.run(ms.load_model(path, values={"at": [2]})).outputs["y"].shape == (6,)


def test_an_int64_that_int32_has_not_is_never_wrapped(save: Save) -> None:
    path = save(
        [helper.make_node("Gather", ["x", "at"], ["y"])],
        [info("x", "float32", (4, 6)), info("at", "int64", (1,))],
        ["y"],
    )
    with pytest.raises(ModelError, match=f"{2**32 + 1}"):
        ms.load_model(path, values={"at": [2**32 + 1]})
    small = save([helper.make_node("Reshape", ["x", "at"], ["r"]), helper.make_node("Relu", ["r"], ["y"])],
                 [info("x", "float32", (4, 6)), info("at", "int32", (1,))], ["y"])  # fmt: skip
    with pytest.raises(ModelError, match=f"input 'at' is int32, which has no {2**32 + 1}"):
        ms.load_model(small, values={"at": [2**32 + 1]})


def test_the_command_line_binds_them(save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    from minisim.cli import main

    monkeypatch.chdir(tmp_path)
    reshaped(save)
    for command in (["run"], ["explain", "--no-what-if"], ["sweep", "--jobs", "1", "--param", "matrix.rows=8"]):
        done = CliRunner().invoke(main, [*command, "m.onnx", "--value", "shape=3, 8"])
        assert done.exit_code == 0, done.output
        done = CliRunner().invoke(main, [*command, "m.onnx", "--value", "shape=3,x"])
        assert done.exit_code == 2
        assert "--value shape=3,x: must be INPUT=NUMBER,NUMBER, whole numbers, such as shape=3,4" in done.output


def test_floats_that_are_made_of_bound_integers_are_the_machines(save: Save) -> None:
    """Rows of a table by tokens, and a mask: they are no constants, though all that they are made of is known."""
    table = np.random.default_rng(5).standard_normal((9, 4)).astype(np.float32)
    path = save(
        [helper.make_node("Gather", ["table", "ids"], ["rows"]),
         helper.make_node("Cast", ["mask"], ["factors"], to=TensorProto.FLOAT),
         helper.make_node("Mul", ["rows", "factors"], ["y"])],
        [info("ids", "int64", (1, 3)), info("mask", "int64", (1, 3, 1))],
        ["y"],
        {"table": table},
    )  # fmt: skip
    graph = ms.load_model(path, values={"ids": [7, 0, 2], "mask": [1, 0, 3]})
    assert {node.op for node in graph.nodes} == {"Take", "Cast", "Mul", "Reshape"}
    expected = table[[7, 0, 2]] * np.array([[1], [0], [3]], np.float32)
    np.testing.assert_array_equal(ms.run(graph).outputs["y"][0], expected)
    with pytest.raises(UnsupportedError, match=r"constant 'mask' has the value -2147483649, which is beyond int32"):
        ms.load_model(path, values={"ids": [7, 0, 2], "mask": [1, -(2**31) - 1, 0]})
    graph = ms.load_model(path, values={"ids": [7, 0, 2], "mask": [1, -(2**31), 2**31 - 1]})
    (mask,) = (graph.tensors[node.present[0]].data for node in graph.nodes if node.op == "Cast")
    assert mask is not None and mask.reshape(-1).tolist() == [1, -(2**31), 2**31 - 1]


def test_a_list_of_floats_that_is_made_of_bound_integers_is_a_constant(save: Save) -> None:
    """Scales of a Resize, which have to be known."""
    path = save(
        [helper.make_node("Cast", ["factors"], ["scales"], to=TensorProto.FLOAT),
         helper.make_node("Resize", ["x", "", "scales"], ["y"], mode="nearest")],
        [info("x", "float32", (1, 1, 2, 2)), info("factors", "int64", (4,))],
        ["y"],
    )  # fmt: skip
    graph = ms.load_model(path, values={"factors": [1, 1, 2, 2]})
    assert "Cast" not in {node.op for node in graph.nodes} and graph.tensors[graph.outputs["y"]].shape == (1, 1, 4, 4)
