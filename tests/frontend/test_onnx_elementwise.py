"""Every elementwise ONNX node, in the forms that its opsets gave it, means what ONNX Runtime says it means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import TensorProto
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

import minisim as ms
from minisim.compiler.frontend.onnx_file import load_onnx
from minisim.compiler.ops import ONNX_IMPORTERS
from minisim.errors import UnsupportedError

Array = npt.NDArray[Any]
F32 = np.float32

UNARY = [
    "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Cos", "Cosh", "Elu", "Erf", "Exp", "Floor",
    "HardSigmoid", "LeakyRelu", "Log", "Neg", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Sin",
    "Sinh", "Softplus", "Softsign", "Sqrt", "Tan", "Tanh", "ThresholdedRelu",
]  # fmt: skip
LATER = {"Celu": 12, "HardSwish": 14, "Mish": 18, "Gelu": 20, "IsNaN": 9, "IsInf": 10, "Round": 11}
BINARY = ["Add", "Div", "Max", "Min", "Mul", "Pow", "PRelu", "Sub"]
COMPARISONS = {"Equal": 11, "Less": 9, "Greater": 9, "LessOrEqual": 12, "GreaterOrEqual": 12}
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "Elu": [{"alpha": 0.3}],
    "Celu": [{"alpha": 0.7}],
    "Selu": [{"alpha": 1.5, "gamma": 0.8}],
    "LeakyRelu": [{"alpha": 0.3}],
    "Shrink": [{"bias": 0.2, "lambd": 0.6}],
    "ThresholdedRelu": [{"alpha": 0.4}],
    "HardSigmoid": [{"alpha": 0.4, "beta": 0.3}],
    "Gelu": [{"approximate": "tanh"}],
    "IsInf": [{"detect_negative": 0}, {"detect_positive": 0}],
}
X = F32([[0.0, -0.0, 0.3, -0.7], [1.0, -1.0, 2.5, -3.5], [11.0, -25.0, np.inf, -np.inf], [np.nan, 0.49, 1e-6, -1e-6]])
OTHER = F32([[0.0, 1.0, 0.3, -0.7], [1.5, -1.0, -2.0, 3.0], [0.0, 2.0, 1.0, 2.0], [1.0, np.nan, 0.5, -2.0]])


def model(nodes: list[Any], opset: int, boolean: bool = False, **constants: Array) -> onnx.ModelProto:
    inputs = [make_tensor_value_info("x", TensorProto.FLOAT, X.shape)]
    kind = TensorProto.BOOL if boolean else TensorProto.FLOAT
    initializers = [onnx.numpy_helper.from_array(values, name) for name, values in constants.items()]
    graph = make_graph(nodes, "g", inputs, [make_tensor_value_info("y", kind, None)], initializers)
    return make_model(graph, opset_imports=[make_opsetid("", opset)], ir_version=8)


def check(proto: onnx.ModelProto, path: Path) -> None:
    onnx.save(proto, path)
    graph = load_onnx(path)
    result = ms.run(graph, inputs={"x": X})
    (expected,) = onnxruntime.InferenceSession(str(path)).run(None, {"x": X})
    found, truth = result.outputs["y"], np.asarray(graph.evaluate({"x": X})["y" if "y" in graph.tensors else "x"])
    if expected.dtype == np.bool_:
        assert found.dtype == np.bool_
        assert found.tolist() == expected.tolist() == truth.tolist()
        return
    np.testing.assert_allclose(found, expected, rtol=3e-6, atol=2e-6)
    np.testing.assert_allclose(found, truth, rtol=3e-6, atol=2e-6)


@pytest.mark.parametrize("name", [*UNARY, *LATER])
@pytest.mark.parametrize("options", [0, 1, 2])
def test_of_one_operand(name: str, options: int, tmp_path: Path) -> None:
    forms = [{}, *OPTIONS.get(name, [])]
    if options >= len(forms):
        pytest.skip("it has no such form")
    opset = max(13, LATER.get(name, 9)) if name != "IsInf" else 20
    node = make_node(name, ["x"], ["y"], **forms[options])
    check(model([node], opset, boolean=name in ("IsNaN", "IsInf")), tmp_path / "m.onnx")


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("shape", [(4, 4), (4,), (4, 1), (1,), ()])
def test_of_two_operands(name: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    if name == "PRelu" and shape == (4, 1):
        shape = (1, 4)  # it broadcasts one way only
    other = np.abs(OTHER).reshape(-1)[: int(np.prod(shape))].reshape(shape) if name == "Pow" else OTHER
    other = np.ascontiguousarray(other.reshape(-1)[: int(np.prod(shape))].reshape(shape))
    check(model([make_node(name, ["x", "c"], ["y"])], 13, c=other), tmp_path / "m.onnx")


@pytest.mark.parametrize("exponent", [2.0, 1.5, 3.0, -1.0, 0.0])
def test_powers_of_a_number(exponent: float, tmp_path: Path) -> None:
    check(model([make_node("Pow", ["x", "c"], ["y"])], 13, c=F32(exponent)), tmp_path / "m.onnx")


@pytest.mark.parametrize("name", COMPARISONS)
def test_comparisons(name: str, tmp_path: Path) -> None:
    node = make_node(name, ["x", "c"], ["y"])
    check(model([node], max(13, COMPARISONS[name]), boolean=True, c=OTHER), tmp_path / "m.onnx")


def test_truth_values_and_choices(tmp_path: Path) -> None:
    nodes = [
        make_node("Less", ["x", "c"], ["a"]),
        make_node("IsNaN", ["x"], ["b"]),
        make_node("Not", ["b"], ["nb"]),
        make_node("And", ["a", "nb"], ["both"]),
        make_node("Xor", ["both", "mask"], ["other"]),
        make_node("Or", ["other", "b"], ["condition"]),
        make_node("Where", ["condition", "c", "x"], ["z"]),
        make_node("Cast", ["condition"], ["f"], to=TensorProto.FLOAT),
        make_node("Cast", ["f"], ["g"], to=TensorProto.BOOL),
        make_node("Where", ["g", "z", "half"], ["y"]),
    ]
    mask = np.arange(16).reshape(4, 4) % 3 == 0
    check(model(nodes, 16, c=OTHER, mask=mask, half=F32([0.5])), tmp_path / "m.onnx")


@pytest.mark.parametrize("limits", [{}, {"min": -1.0}, {"max": 2.0}, {"min": -1.0, "max": 2.0}])
def test_clip_in_both_forms(limits: dict[str, float], tmp_path: Path) -> None:
    check(model([make_node("Clip", ["x"], ["y"], **limits)], 10), tmp_path / "old.onnx")
    names = ["x", "low" if "min" in limits else "", "high" if "max" in limits else ""]
    constants = {"low": F32(-1.0), "high": F32(2.0)}
    used = {name: values for name, values in constants.items() if name in names}
    check(model([make_node("Clip", names, ["y"])], 13, **used), tmp_path / "new.onnx")


def test_of_many_operands(tmp_path: Path) -> None:
    nodes = [make_node("Max", ["x", "c", "d"], ["m"]), make_node("Min", ["m", "x", "d", "c"], ["y"])]
    check(model(nodes, 13, c=OTHER, d=F32([0.25])), tmp_path / "m.onnx")
    nodes = [make_node("Sum", ["x", "c", "d"], ["s"]), make_node("Mean", ["s", "x", "d", "c"], ["y"])]
    check(model(nodes, 13, c=OTHER, d=F32([0.25])), tmp_path / "n.onnx")


@pytest.mark.parametrize("name", ["Max", "Min", "Sum", "Mean"])
def test_of_one_operand_it_is_that(name: str, tmp_path: Path) -> None:
    nodes = [make_node("Relu", ["x"], ["r"]), make_node(name, ["r"], ["s"]), make_node("Neg", ["s"], ["y"])]
    check(model(nodes, 13), tmp_path / "m.onnx")


@pytest.mark.parametrize("alpha", [1.0, 0.5, -2.0])
def test_swish(alpha: float, tmp_path: Path) -> None:
    onnx.save(model([make_node("Swish", ["x"], ["y"], alpha=alpha)], 24), tmp_path / "m.onnx")
    found = ms.run(load_onnx(tmp_path / "m.onnx"), inputs={"x": X}).outputs["y"]
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(found, X / (1 + np.exp(-alpha * X.astype(float))), rtol=1e-6, atol=1e-7)


def test_an_input_may_be_bool(tmp_path: Path) -> None:
    inputs = [
        make_tensor_value_info("x", TensorProto.FLOAT, (2, 2)),
        make_tensor_value_info("c", TensorProto.BOOL, (2, 2)),
    ]
    nodes = [make_node("Where", ["c", "x", "zero"], ["y"])]
    zero = onnx.numpy_helper.from_array(F32([0.0]), "zero")
    graph = make_graph(nodes, "g", inputs, [make_tensor_value_info("y", TensorProto.FLOAT, None)], [zero])
    onnx.save(make_model(graph, opset_imports=[make_opsetid("", 16)], ir_version=8), tmp_path / "m.onnx")
    given = {"x": F32([[1, 2], [3, 4]]), "c": np.array([[True, False], [False, True]])}
    assert ms.run(load_onnx(tmp_path / "m.onnx"), inputs=given).outputs["y"].tolist() == [[1, 0], [0, 4]]


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (
            make_node("Cast", ["x"], ["y"], to=TensorProto.INT64),
            "int32, bool, float8_e4m3fn or float8_e5m2 is supported, not to type 7",
        ),
        (make_node("And", ["x", "x"], ["y"]), "operands must be bool, not float32"),
        (make_node("IsInf", ["x"], ["y"], detect_negative=0, detect_positive=0), "must not both be 0"),
    ],
)
def test_what_is_refused(node: Any, message: str, tmp_path: Path) -> None:
    proto = model([node], 13)
    onnx.save(proto, tmp_path / "m.onnx")
    with pytest.raises(UnsupportedError, match="not supported") as refused:
        load_onnx(tmp_path / "m.onnx")
    assert message in str(refused.value)


def test_this_file_knows_every_importer_of_its_family() -> None:
    tested = {*UNARY, *LATER, *BINARY, *COMPARISONS, "Not", "And", "Or", "Xor", "Where", "Clip", "Swish"}
    tested |= {"Sum", "Mean", "Mod"}
    family = {
        name for name, x in ONNX_IMPORTERS.items() if x.build.__module__ == "minisim.compiler.ops.onnx_elementwise"
    }
    assert family == tested


def of_two(folder: Path, node: Any, dtype: str, **operands: Array) -> Array:
    """What a node makes of these operands of one type, and that ONNX Runtime makes the same."""
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    inputs = [make_tensor_value_info(name, kind, x.shape) for name, x in operands.items()]
    graph = make_graph([node], "g", inputs, [make_tensor_value_info("y", kind, None)])
    onnx.save(make_model(graph, opset_imports=[make_opsetid("", 13)], ir_version=8), path := folder / "m.onnx")
    (expected,) = onnxruntime.InferenceSession(str(path)).run(None, operands)
    found = ms.run(str(path), inputs=operands).outputs["y"]
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    return np.asarray(found)


@pytest.mark.parametrize("fmod", [0, 1])
@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "uint8"])
def test_mod_of_integers(tmp_path: Path, dtype: str, fmod: int) -> None:
    """All pairs of some numbers of both signs, the greatest and the least among them."""
    limits = np.iinfo(dtype)
    numbers = np.array([n for n in (limits.min, -7, -3, -1, 0, 1, 2, 5, 6, limits.max) if n >= limits.min], dtype)
    divisors = np.array([n for n in numbers if n not in (0, -1)], dtype)  # by -1 the least is beyond ONNX Runtime
    a, b = (np.ascontiguousarray(x) for x in np.broadcast_arrays(numbers[:, None], divisors))
    found = of_two(tmp_path, make_node("Mod", ["a", "b"], ["y"], fmod=fmod), dtype, a=a, b=b)
    assert np.array_equal(found, np.fmod(a, b) if fmod else np.mod(a, b))


@pytest.mark.parametrize("axes", [None, [1], [0, 2, 3]])
def test_mean_variance_normalization(tmp_path: Path, axes: list[int] | None) -> None:
    x = np.random.default_rng(0).normal(3, 2, (2, 5, 4, 6)).astype(np.float32)
    of_two(tmp_path, make_node("MeanVarianceNormalization", ["x"], ["y"], **({"axes": axes} if axes else {})),
           "float32", x=x)  # fmt: skip
