"""ONNX models that are refused: with all reasons, in words that name the place."""

from __future__ import annotations

import importlib.util
import re
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, TensorProto
from onnx.helper import (
    make_graph,
    make_model,
    make_node,
    make_opsetid,
    make_sequence_type_proto,
    make_tensor_type_proto,
    make_tensor_value_info,
    make_value_info,
)

from minisim.compiler.frontend import load_model
from minisim.compiler.ops import ONNX_IMPORTERS
from minisim.errors import MissingExtraError, ModelError, ShapeError, UnsupportedError, UsageError

Save = Callable[..., ModelProto]

OPENWAKEWORD = importlib.util.find_spec("openwakeword")
SUPPORTED = textwrap.indent(
    "\n".join(textwrap.wrap(f"(supported operators: {', '.join(sorted(ONNX_IMPORTERS))})", 110)), "  "
)


def message(kind: type[Exception] = ModelError, spec: str = "m.onnx") -> str:
    with pytest.raises(kind) as caught:
        load_model(spec)
    assert type(caught.value) is kind
    return str(caught.value)


def refusal(*reasons: str) -> str:
    """With a list of what is supported where it helps: where an operator is not, and nothing else is said of it."""
    listed = [SUPPORTED] if any(re.fullmatch(r"node '.*' \(\S+\)|.* nodes, first: '.*'\)", r) for r in reasons) else []
    return "\n".join(["model 'm.onnx': not supported:", *(f"  {reason}" for reason in reasons), *listed])


# -- the file ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"hello, world", "is not an ONNX file, or is damaged"),
        (b"", "is not valid ONNX: The model does not have an ir_version set properly."),
    ],
)
def test_a_file_that_is_not_onnx(content: bytes, expected: str, folder: Path) -> None:
    (folder / "m.onnx").write_bytes(content)
    assert message() == f"model 'm.onnx': {expected}"


def test_a_file_that_was_cut_off(save: Save, folder: Path) -> None:
    data = save([make_node("Relu", ["x"], ["y"])], initializers={"w": np.ones((8, 8))}).SerializeToString()
    (folder / "m.onnx").write_bytes(data[:300])
    assert message() == "model 'm.onnx': is not an ONNX file, or is damaged"


def test_a_name_that_is_not_text(save: Save, folder: Path) -> None:
    data = save([make_node("Relu", ["x"], ["y"], name="nnnn", slope=0.5)]).SerializeToString()
    (folder / "m.onnx").write_bytes(data.replace(b"nnnn", b"nn\xffn"))
    assert message() == "model 'm.onnx': is damaged: a name in it is not UTF-8"


def test_values_that_do_not_fill_their_shape(save: Save, folder: Path) -> None:
    model = save([make_node("Add", ["x", "w"], ["y"])], initializers={"w": np.ones(3, np.float32)})
    model.graph.initializer[0].raw_data = b"abc"
    onnx.save(model, folder / "m.onnx")
    assert message() == (
        "model 'm.onnx': is not valid ONNX: TensorProto (tensor name: w) raw_data size (3 bytes) is too small for "
        "the declared shape and type (12 bytes required)."
    )


def test_an_old_opset(save: Save) -> None:
    """What is the same in opset 7 is taken; what is not is named."""
    save([make_node("Relu", ["x"], ["z"]), make_node("Concat", ["z", "z"], ["y"], axis=1)], opset=6)
    assert [node.op for node in load_model("m.onnx").nodes] == ["Relu", "Concat"]
    save([make_node("Relu", ["x"], ["z"]), make_node("Add", ["z", "x"], ["y"])], opset=6)
    assert "node 'y' (Add): opset 6 has another Add than opset 7" in message(UnsupportedError)
    save([make_node("Relu", ["x"], ["y"])], opset=5)
    assert "opset 5 has another Relu than opset 6" in message(UnsupportedError)
    save([make_node("Relu", ["x"], ["y"])], opset=0)
    newest = f"{onnx.defs.onnx_opset_version()}, the newest that onnx {onnx.__version__} knows"
    assert message() == f"model 'm.onnx': opset must be from 1 to {newest}, not 0"


def test_an_opset_of_the_future(save: Save) -> None:
    save([make_node("Relu", ["x"], ["y"])], opset=999)
    assert message().endswith(", not 999")


def test_a_graph_that_breaks_onnx_own_rules(save: Save) -> None:
    save([make_node("Relu", ["nothing"], ["y"], name="n")])
    assert message() == (
        "model 'm.onnx': is not valid ONNX: Nodes in a graph must be topologically sorted, however input "
        "'nothing' of node: name: n OpType: Relu is not output of any previous nodes."
    )


def test_an_attribute_that_onnx_does_not_know(save: Save) -> None:
    save([make_node("Relu", ["x"], ["y"], name="n", slope=0.5)])
    assert message() == (
        "model 'm.onnx': is not valid ONNX: Unrecognized attribute: slope for operator Relu ==> Context: Bad "
        "node spec for node. Name: n OpType: Relu"
    )


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (None, "the values of initializer 'w' are missing: no file 'm.bin' beside it"),
        (b"abc", "the values of initializer 'w' end at byte 36 of 'm.bin', which has 3"),
    ],
)
def test_external_data_that_is_missing(data: bytes | None, expected: str, save: Save, folder: Path) -> None:
    model = save([make_node("MatMul", ["x", "w"], ["y"])], initializers={"w": np.ones((3, 3), np.float32)})
    onnx.save(model, folder / "m.onnx", save_as_external_data=True, location="m.bin", size_threshold=0)
    (folder / "m.bin").unlink()
    if data is not None:
        (folder / "m.bin").write_bytes(data)
    assert message() == f"model 'm.onnx': {expected}"


def test_onnx_that_is_not_installed(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    save([make_node("Relu", ["x"], ["y"])])
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.delitem(sys.modules, "minisim.compiler.frontend.onnx_file", raising=False)
    assert message(MissingExtraError) == (
        "reading an ONNX model needs the package 'onnx': pip install 'minisim-npu[onnx]'"
    )


def test_a_model_without_operations_or_outputs(save: Save) -> None:
    save([], outputs=[])
    assert message() == "m.onnx: model 'm' has no output: call graph.output(tensor)"


# -- what minisim does not take ------------------------------------------------------------------------


TYPES = "float32, bfloat16, float16, int8, uint8, int16, int32, bool, float8_e4m3fn or float8_e5m2"


def test_all_refusals_come_in_one_message(save: Save) -> None:
    save(
        [
            make_node("Bernoulli", ["x"], ["a"], name="soft"),
            make_node("Relu", ["a"], ["b"], name="depends on it"),
            make_node("Fused", ["b"], ["c"], name="theirs", domain="com.example"),
            make_node("Reshape", ["x", "shape"], ["d"], name="late shape"),
            make_node("Cast", ["x"], ["e"], name="to int64", to=7),
            make_node("Add", ["x", "double"], ["f"], name="mixed"),
            make_node("Unique", ["c"], ["y", "indices"], name="two"),
        ],
        inputs=[
            "x",
            make_tensor_value_info("shape", TensorProto.INT64, (2,)),
            make_tensor_value_info("words", TensorProto.UINT16, (1, "N", None)),
        ],
        initializers={"v": np.ones(3, np.float32), "double": np.ones(3)},
        domains=["com.example"],
    )
    assert message(UnsupportedError) == refusal(
        f"input 'shape' must be {TYPES}, not int64; if it is a shape, axes, pads or indices, which are bound when the "
        "model is read, give its values with --value shape=NUMBER,NUMBER",
        f"input 'words' must be {TYPES}, not uint16",
        "input 'words': dimension 1 is open, 'N'; bind it with --dim N=SIZE",
        "input 'words': dimension 2 is open, 'words.2'; bind it with --dim words.2=SIZE",
        "node 'soft' (Bernoulli)",
        "node 'theirs' (com.example::Fused)",
        f"node 'to int64' (Cast): a cast to {TYPES} is supported, not to type 7",
        f"node 'mixed' (Add): constant 'double' must be {TYPES}, not float64",
        "node 'two' (Unique)",
    )


def one(node: NodeProto, **also: Any) -> tuple[list[NodeProto], dict[str, Any]]:
    return [node], also


BRANCH = make_graph(
    [make_node("Relu", ["x"], ["r"])], "branch", [], [make_tensor_value_info("r", TensorProto.FLOAT, (2, 3))]
)

REFUSED: dict[str, tuple[tuple[list[NodeProto], dict[str, Any]], str]] = {
    "computed shape": (
        (
            [make_node("ArgMax", ["x"], ["s"], name="m"), make_node("Reshape", ["x", "s"], ["y"], name="n")],
            {},
        ),
        "node 'n' (Reshape): a shape that is computed at run time is not supported",
    ),
    "subgraphs": (
        one(
            make_node("If", ["k"], ["y"], name="n", then_branch=BRANCH, else_branch=BRANCH),
            inputs=["x", make_tensor_value_info("k", TensorProto.BOOL, ())],
        ),
        "node 'n' (If): a condition that is computed at run time is not supported",
    ),
    "random": (one(make_node("RandomNormal", [], ["y"], name="n", shape=[2, 3])), "node 'n' (RandomNormal)"),
    "no such operator": (one(make_node("Frobnicate", ["x"], ["y"], name="n")), "node 'n' (Frobnicate)"),
    "output is a constant": (
        one(make_node("Constant", [], ["y"], value=onnx.numpy_helper.from_array(np.ones(2)))),
        "output 'y' is a constant of float64",
    ),
    "a constant that cannot be computed": (
        (
            [make_node("Reshape", ["w", "s"], ["v"], name="n"), make_node("Add", ["x", "v"], ["y"])],
            {"initializers": {"w": np.ones(4, np.float32), "s": np.array([3, 3])}},
        ),
        "node 'n' (Reshape): its constant value cannot be computed: cannot reshape array of size 4 into shape (3,3)",
    ),
    "a sequence": (
        one(
            make_node("Relu", ["x"], ["y"]),
            inputs=["x", make_value_info("q", make_sequence_type_proto(make_tensor_type_proto(1, (2,))))],
        ),
        "input 'q' must be a tensor, not a sequence_type",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_one_refusal(case: str, save: Save) -> None:
    (nodes, also), expected = REFUSED[case]
    save(nodes, **also)
    assert message(UnsupportedError) == refusal(expected)


def test_a_shape_from_an_input_of_floats_is_still_computed_late(save: Save) -> None:
    nodes = [
        make_node("Relu", ["x"], ["a"], name="fine"),
        make_node("Reshape", ["x", "a"], ["y"], name="n"),  # ill-typed, which only type inference would see
    ]
    save(nodes)
    assert message(UnsupportedError) == refusal(
        "node 'n' (Reshape): a shape that is computed at run time is not supported"
    )


def test_unknown_operators_are_named_with_all_the_others(save: Save) -> None:
    save(
        [
            make_node("Frobnicate", ["x"], ["a"]),
            make_node("Bernoulli", ["a"], ["b"]),
            make_node("Relu", ["b"], ["y"]),
        ]
    )
    assert message(UnsupportedError) == refusal("node 'a' (Frobnicate)", "node 'b' (Bernoulli)")


def test_nodes_of_one_type_are_counted(save: Save) -> None:
    """52 convolutions are one line; so are nodes of which the same is said, and no others."""
    nodes = [make_node("Bernoulli", [f"x{i or ''}"], [f"x{i + 1}"], name=f"cos_{i}") for i in range(52)]
    nodes += [make_node("Relu", ["x"], ["r"]), make_node("LpNormalization", ["r"], ["s"], name="elu")]
    nodes += [make_node("Gemm", ["x", "x"], [f"g{i}"], name=f"gemm_{i}", transB=1, alpha=2.0) for i in range(2)]
    nodes += [make_node("Cast", ["x"], [f"m{i}"], name=f"max_{i}", to=7) for i in range(3)]
    save([*nodes, make_node("Relu", ["x"], ["y"])])
    assert message(UnsupportedError) == refusal(
        "Bernoulli (52 nodes, first: 'cos_0')",
        "node 'elu' (LpNormalization)",
        f"Cast (3 nodes, first: 'max_0'): a cast to {TYPES} is supported, not to type 7",
    )


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        (make_node("Dropout", ["x", "", "yes"], ["y"], name="n"),
         "node 'n' (Dropout): training_mode must be constant, and false: only inference is supported"),
        (make_node("Dropout", ["x"], ["y", "mask"], name="n"),
         "node 'n' (Dropout): its mask, 'mask', is supported from opset 12 on, not of 10"),
    ],
)  # fmt: skip
def test_dropout_that_is_no_identity(node: NodeProto, reason: str, save: Save) -> None:
    outputs = ["y"] + [make_tensor_value_info("mask", TensorProto.BOOL, (2, 3))] * ("mask" in node.output)
    opset = 10 if "mask" in node.output else 17
    save([node], outputs=outputs, initializers={"yes": np.array(True)}, opset=opset)
    assert message(UnsupportedError) == refusal(reason)


OPEN = make_tensor_value_info("x", TensorProto.FLOAT, ("batch", "seq", "my dim"))


@pytest.mark.parametrize(
    ("dims", "said"),
    [
        ({}, ["input 'x': dimension 0 is open, 'batch'; bind it with --dim batch=SIZE",
              "input 'x': dimension 1 is open, 'seq'; bind it with --dim seq=SIZE",
              "input 'x': dimension 2 is open, 'my dim'; bind it with --dim 'my dim'=SIZE"]),
        ({"seq": 3, "my dim": 2}, ["input 'x': dimension 0 is open, 'batch'; bind it with --dim batch=SIZE"]),
    ],
)  # fmt: skip
def test_every_open_dimension_is_named(dims: dict[str, int], said: list[str], save: Save) -> None:
    save([make_node("Relu", ["x"], ["y"])], [OPEN], [make_tensor_value_info("y", TensorProto.FLOAT, None)])
    with pytest.raises(UnsupportedError) as caught:
        load_model("m.onnx", dims=dims)
    assert str(caught.value) == refusal(*said)


@pytest.mark.parametrize(
    ("spec", "dims", "said"),
    [
        ("m.onnx", {"sqe": 3}, "model 'm.onnx': no dimension 'sqe' to bind; did you mean 'seq'? "
                               "(open are 'batch', 'seq', 'my dim')"),
        ("m.onnx", {"seq": 0}, "dimension 'seq' must be a whole number from 1 to 2147483648, not 0"),
        ("m.onnx", {"seq": True}, "dimension 'seq' must be a whole number from 1 to 2147483648, not True"),
        ("m.onnx", {"seq": "4"}, "dimension 'seq' must be a whole number from 1 to 2147483648, not '4'"),
        ("m.onnx", ["seq"], "dims must be a mapping of names to sizes, such as {'seq': 128}, not ['seq']"),
        ("gemm:8x8x8", {"seq": 4}, "model 'gemm:8x8x8': no dimension 'seq' to bind: only ONNX files leave "
                                   "dimensions open"),
    ],
)  # fmt: skip
def test_what_cannot_be_bound(spec: str, dims: Any, said: str, save: Save) -> None:
    save([make_node("Relu", ["x"], ["y"])], [OPEN], [make_tensor_value_info("y", TensorProto.FLOAT, None)])
    with pytest.raises((ModelError, UsageError)) as caught:
        load_model(spec, dims=dims)
    assert str(caught.value) == said


def test_a_file_without_open_dimensions_says_so(save: Save) -> None:
    save([make_node("Relu", ["x"], ["y"])])
    with pytest.raises(ModelError, match=r"no dimension 'seq' to bind \(the file leaves none open\)$"):
        load_model("m.onnx", dims={"seq": 4})


def test_names_are_escaped_and_cut_in_every_message(save: Save) -> None:
    ugly, long = "a\n\x1b[31m", "n" * 100_000
    nodes = [
        make_node("Bernoulli", ["x"], ["b"], name=ugly),
        make_node("Det", ["b"], ["c"], name=long),
    ]
    nodes += [
        make_node("LpNormalization", ["c"], ["y"], name=long),
        make_node("Cast", ["x"], ["d"], name=long + "2", to=7),
    ]
    save(nodes)
    text = message(UnsupportedError)
    assert r"node 'a\n\x1b[31m' (Bernoulli)" in text and text.replace("\n", "").isprintable()
    assert max(map(len, text.splitlines())) < 250 and text.count("\n") == 5 + SUPPORTED.count("\n")


def test_a_sparse_initializer(save: Save, folder: Path) -> None:
    model = save([make_node("Add", ["x", "w"], ["y"])])
    values = onnx.numpy_helper.from_array(np.ones(1, np.float32), "w")
    indices = onnx.numpy_helper.from_array(np.array([0]), "w_indices")
    model.graph.sparse_initializer.append(onnx.helper.make_sparse_tensor(values, indices, [3]))
    onnx.save(model, folder / "m.onnx")
    assert message(UnsupportedError) == refusal("sparse initializer 'w'")


# -- shapes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (
            make_node("MatMul", ["x", "w"], ["y"], name="n"),
            "node 'n' (MatMul of x (2, 3), w (4, 5)): inner dimensions must be equal, not 3 and 4",
        ),
        (
            make_node("Gemm", ["x", "w"], ["y"], name="n"),
            "node 'n' (Gemm): node 'n' (MatMul of x (2, 3), w (4, 5)): inner dimensions must be equal, not 3 and 4",
        ),
        (
            make_node("Gemm", ["x", "w3"], ["y"], name="n"),
            "node 'n' (Gemm): Gemm takes 2-D operands, not (2, 3) and (3, 1, 1)",
        ),
        (
            make_node("Add", ["x", "w"], ["y"], name="n"),
            "node 'n' (Add of x (2, 3), w (4, 5)): shapes (2, 3) and (4, 5) do not broadcast",
        ),
        (make_node("Flatten", ["x"], ["y"], name="n", axis=3), "node 'n' (Flatten): axis must lie in [-2, 2], not 3"),
        (make_node("Split", ["x"], ["y", ""], name="n", axis=2), "node 'n' (Split): axis must lie in [-2, 1], not 2"),
        (
            make_node("Split", ["x", "s"], ["y", "", ""], name="n"),
            "node 'n' (Split): it has 3 outputs, but 2 sizes",
        ),
        (
            make_node("Reshape", ["x", "s"], ["y"], name="n"),
            "node 'n' (Reshape of x (2, 3)): 6 elements do not fill shape (4, -1)",
        ),
        (
            make_node("Reshape", ["x", "z"], ["y"], name="n", allowzero=1),
            "node 'n' (Reshape of x (2, 3)): shape must have positive dimensions and at most one -1, not (0, 6)",
        ),
    ],
)
def test_shapes_that_do_not_fit(node: NodeProto, expected: str, save: Save) -> None:
    w, w3 = np.ones((4, 5), np.float32), np.ones((3, 1, 1), np.float32)
    save([node], initializers={"w": w, "w3": w3, "s": np.array([4, -1]), "z": np.array([0, 6])})
    assert message(ShapeError) == f"model 'm.onnx': {expected}"


def test_an_input_without_elements(save: Save) -> None:
    save([make_node("Relu", ["x"], ["y"])], inputs=[make_tensor_value_info("x", TensorProto.FLOAT, (0, 3))])
    expected = "model 'm.onnx': tensor 'x': every dimension must be at least 1, not (0, 3)"
    assert message(ShapeError) == expected


def test_an_output_that_is_declared_twice(save: Save) -> None:
    save([make_node("Relu", ["x"], ["y"])], outputs=["y", "y"])
    assert message() == "model 'm.onnx': output 'y' is declared twice"


def test_an_attribute_that_an_importer_does_not_honour(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    from minisim.compiler.ops.base import ONNX_IMPORTERS, OnnxImporter

    monkeypatch.setitem(ONNX_IMPORTERS, "Flatten", OnnxImporter(ONNX_IMPORTERS["Flatten"].build, frozenset()))
    save([make_node("Flatten", ["x"], ["y"], name="n", axis=0)])
    assert message(UnsupportedError) == refusal("node 'n' (Flatten): attribute 'axis' is not supported")


@pytest.mark.parametrize(
    ("op", "operands", "attributes"),
    [
        ("Resize", ["x", "", "", "many"], {}),
        ("Resize", ["x", "", "numbers"], {}),
        ("Resize", ["x", "", "two"], {"mode": "n" * 5000}),
        ("Tile", ["x", "many"], {}),
        ("MaxPool", ["x"], {"kernel_shape": [2] * 5000}),
        ("MaxPool", ["x"], {"kernel_shape": [2, 2], "auto_pad": "S" * 5000}),
        ("Conv", ["x", "w"], {"kernel_shape": [2] * 5000}),
        ("Conv", ["x", "w"], {"auto_pad": "SAME_UPPER", "strides": [0] * 5000}),
        ("Transpose", ["x"], {"perm": [0] * 5000}),
        ("Squeeze", ["x", "many"], {}),
        ("ReduceSum", ["x", "many"], {}),
        ("Pad", ["x", "many"], {}),
        ("Slice", ["x", "many", "many"], {}),
        ("Split", ["x", "many"], {}),
        ("Expand", ["x", "many"], {}),
        ("Reshape", ["x", "many"], {}),
        ("Gather", ["x", "many"], {}),
    ],
)
def test_of_many_numbers_a_message_repeats_a_few(
    tmp_path: Path, op: str, operands: list[str], attributes: dict[str, object]
) -> None:
    values = {
        "many": np.arange(-900, 4100, dtype=np.int64),
        "numbers": np.linspace(-1, 1, 5000, dtype=np.float32),
        "two": np.array([1, 1, 2, 2], np.float32),
        "w": np.ones((2, 2, 2, 2), np.float32),
    }
    weights = [onnx.numpy_helper.from_array(values[name], name) for name in operands if name in values]
    infos = [
        make_tensor_value_info("x", onnx.TensorProto.FLOAT, (1, 2, 6, 6)),
        make_tensor_value_info("y", onnx.TensorProto.FLOAT, None),
    ]
    graph = make_graph([make_node(op, operands, ["y"], **attributes)], "g", infos[:1], infos[1:], weights)
    model = make_model(graph, opset_imports=[make_opsetid("", 18)], ir_version=8)
    (path := tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError) as caught:
        load_model(path)
    assert max(map(len, str(caught.value).splitlines())) < 1000
