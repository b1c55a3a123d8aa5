"""ONNX files that a stranger damaged on purpose, or a tool wrote wrongly: each is refused in one message."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto
from onnx.helper import make_function, make_node, make_opsetid, make_tensor_value_info

from minisim.compiler.frontend import load_model
from minisim.errors import ModelError

Save = Callable[..., ModelProto]
ONES = np.ones(3, np.float32)
NAN = np.array([np.nan], np.float32)
OF_W = "the values of initializer 'w'"


def message() -> str:
    with pytest.raises(ModelError) as caught:
        load_model("m.onnx")
    return str(caught.value).removeprefix("model 'm.onnx': ").removeprefix("not supported:\n  ").splitlines()[0]


def external(save: Save, folder: Path, **entries: str) -> None:
    """A model whose weight w, three floats, lies where `entries` say; w.bin holds four."""
    model = save([make_node("Add", ["x", "w"], ["y"])], initializers={"w": ONES})
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        weight.external_data.add(key=key, value=value)
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    (folder / "w.bin").write_bytes(np.arange(4, dtype=np.float32).tobytes())


@pytest.mark.parametrize(
    ("entries", "first"),
    [
        ({}, 0.0),
        ({"offset": "0", "length": "12"}, 0.0),
        ({"offset": "4"}, 1.0),
        ({"offset": "4", "length": "12"}, 1.0),
    ],
)
def test_external_data(entries: dict[str, str], first: float, save: Save, folder: Path) -> None:
    external(save, folder, location="w.bin", **entries)
    data = load_model("m.onnx").tensors["w"].data
    assert data is not None and data[0] == first and data.shape == (3,)


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ({"length": "-1"}, f"{OF_W}: their length must be a whole number of bytes from 0, not '-1'"),
        ({"offset": "-5"}, f"{OF_W}: their offset must be a whole number of bytes from 0, not '-5'"),
        ({"offset": "abc"}, f"{OF_W}: their offset must be a whole number of bytes from 0, not 'abc'"),
        ({"length": "9" * 19}, f"{OF_W}: their length must be a whole number of bytes from 0, not '{'9' * 19}'"),
        ({"length": "8"}, "the values of initializer 'w' take 12 bytes, but their length is given as 8"),
        ({"length": "16"}, "the values of initializer 'w' take 12 bytes, but their length is given as 16"),
        ({"offset": "8"}, "the values of initializer 'w' end at byte 20 of 'w.bin', which has 16"),
        ({"offset": "8", "length": "12"}, "the values of initializer 'w' end at byte 20 of 'w.bin', which has 16"),
        ({"location": ""}, "the values of initializer 'w' are missing: no file '' beside it"),
        ({"location": "."}, "the values of initializer 'w' are missing: no file '.' beside it"),
        ({"location": "a\0b"}, r"the values of initializer 'w' are missing: 'a\x00b' is no file's name"),
        ({"location": "x" * 5000}, f"the values of initializer 'w' are missing: '{'x' * 56}... is no file's name"),
        ({"location": "../w.bin"}, "the values of initializer 'w' must lie in the model's folder, not in '../w.bin'"),
        ({"location": "/dev/zero"}, "the values of initializer 'w' must lie in the model's folder, not in '/dev/zero'"),
        ({"location": "link"}, "the values of initializer 'w' must lie in the model's folder, not in 'link'"),
    ],
)  # fmt: skip
def test_external_data_that_cannot_be(entries: dict[str, str], expected: str, save: Save, folder: Path) -> None:
    (folder.parent / "w.bin").write_bytes(b"\0" * 64)
    (folder / "link").symlink_to(folder.parent / "w.bin")
    external(save, folder, **{"location": "w.bin", **entries})
    assert message() == expected


def test_external_data_of_a_constant_node(save: Save, folder: Path) -> None:
    value = onnx.numpy_helper.from_array(ONES)
    value.ClearField("raw_data")
    value.data_location = TensorProto.EXTERNAL
    value.external_data.add(key="location", value="nothing.bin")
    save([make_node("Constant", [], ["c"], value=value), make_node("Add", ["x", "c"], ["y"])])
    assert message() == "the values of a constant are missing: no file 'nothing.bin' beside it"


@pytest.mark.parametrize("code", [29, 99, 2**31 - 1, -1])
def test_a_data_type_that_onnx_does_not_know(code: int, save: Save, folder: Path) -> None:
    model = save([make_node("Add", ["x", "w"], ["y"])], initializers={"w": ONES})
    model.graph.initializer[0].data_type = code
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    assert message() == f"initializer 'w' has a data type that onnx does not know: {code}"


def test_a_constant_without_a_value(save: Save) -> None:
    save([make_node("Constant", [], ["c"]), make_node("Add", ["x", "c"], ["y"])])
    assert message() == (
        "node 'c' (Constant): its constant value cannot be computed: [ShapeInferenceError] One and only one of the "
        "attributes 'value', 'value_*' or 'sparse_value' must be specified for a Constant node."  # onnx's words
    )


def test_a_constant_of_a_type_that_onnx_does_not_know(save: Save) -> None:
    save([make_node("Cast", ["w"], ["c"], to=99), make_node("Add", ["x", "c"], ["y"])], initializers={"w": ONES})
    assert message() == (
        "node 'c' (Cast): its constant value cannot be computed: [TypeInferenceError] Attribute to does not specify "
        "a valid type in node Cast."
    )


@pytest.mark.parametrize(
    ("op", "values", "expected"),
    [
        ("Reshape", NAN, "node 'y' (Reshape): constant 'c' must be integers, not float32"),
        ("Reshape", np.array([3.0, 2.0], np.float64), "node 'y' (Reshape): constant 'c' must be integers, not float64"),
        ("Reshape", np.array(["a"], object), "node 'y' (Reshape): constant 'c' must be real numbers, not object"),
        ("Reshape", np.ones(33, np.int64), "node 'y' (Reshape): constant 'c' must have at most 32 values, not 33"),
        ("Reshape", np.array([2**62, 2**62]), "node 'y' (Reshape of x (2, 3)): 6 elements do not fill shape "
         "(4611686018427387904, 4611686018427387904)"),
        ("ReduceSum", NAN, "node 'y' (ReduceSum): constant 'c' must be integers, not float32"),
        ("ReduceSum", np.array(["a"], object), "node 'y' (ReduceSum): constant 'c' must be real numbers, not object"),
        ("Pow", np.array(["a"], object), "node 'y' (Pow): constant 'c' must be real numbers, not object"),
        ("Pow", np.array([2j], np.complex64), "node 'y' (Pow): constant 'c' must be real numbers, not complex64"),
    ],
)  # fmt: skip
def test_constants_that_are_no_dimensions_or_numbers(op: str, values: Any, expected: str, save: Save) -> None:
    save([make_node(op, ["x", "c"], ["y"])], initializers={"c": values})
    assert message() == expected


@pytest.mark.parametrize(
    ("shape", "rule"),
    [
        ((0, 2), "every dimension must be at least 1, not (0, 2)"),
        ((2**62, 2), "(4611686018427387904, 2) would have 9223372036854775808 elements; the most is 2147483648"),
        ((65536, 65536), "(65536, 65536) would have 4294967296 elements; the most is 2147483648"),
        ((1,) * 33, "a tensor has at most 32 dimensions, not 33"),
    ],
)
def test_shapes_that_no_tensor_has(shape: tuple[int, ...], rule: str, save: Save) -> None:
    save([make_node("Relu", ["x"], ["y"])], inputs=[make_tensor_value_info("x", TensorProto.FLOAT, shape)])
    assert message() == f"tensor 'x': {rule}"


def test_a_result_that_is_too_large(save: Save) -> None:
    tall = make_tensor_value_info("x", TensorProto.FLOAT, (2**20, 1))
    wide = make_tensor_value_info("z", TensorProto.FLOAT, (1, 2**20))
    save([make_node("MatMul", ["x", "z"], ["y"])], inputs=[tall, wide])
    assert message() == (
        "node 'y' (MatMul of x (1048576, 1), z (1, 1048576)): (1048576, 1048576) would have 1099511627776 elements; "
        "the most is 2147483648"
    )


def damage(save: Save, folder: Path, change: Callable[[ModelProto], object]) -> None:
    model = save([make_node("Relu", ["x"], ["y"], name="n")])
    change(model)
    (folder / "m.onnx").write_bytes(model.SerializeToString())


def test_an_output_that_nothing_computes(save: Save, folder: Path) -> None:
    """A function's output that none of its nodes makes is gone once the function is expanded."""
    body = [make_node("Relu", ["p"], ["q"])]
    function = make_function("mine", "lazy", ["p"], ["r"], body, [make_opsetid("", 17)])
    save([make_node("lazy", ["x"], ["y"], domain="mine")], functions=[function], domains=["mine"])
    assert message() == "output 'y' is computed by no node"


def test_operators_without_an_opset(save: Save, folder: Path) -> None:
    damage(save, folder, lambda model: setattr(model.opset_import[0], "domain", "mine"))
    assert message() == "is not valid ONNX: it has operators of ONNX, but does not import their opset"


def test_an_attribute_of_a_function_outside_of_one(save: Save, folder: Path) -> None:
    def change(model: ModelProto) -> None:
        model.graph.node[0].op_type = "Softmax"
        model.graph.node[0].attribute.add(name="axis", ref_attr_name="other", type=onnx.AttributeProto.INT)

    damage(save, folder, change)
    assert "attribute 'axis'" in message()


def test_text_that_is_not_utf8_in_any_field(save: Save, folder: Path) -> None:
    model = save([make_node("Relu", ["x"], ["y"], name="n")])
    model.graph.initializer.add(name="w", data_type=1, data_location=TensorProto.EXTERNAL).external_data.add(
        key="offset", value="qqqq"
    )
    (folder / "m.onnx").write_bytes(model.SerializeToString().replace(b"qqqq", b"q\xffqq"))
    assert message() == "is damaged: a name in it is not UTF-8"
