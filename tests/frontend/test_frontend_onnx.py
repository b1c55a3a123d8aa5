"""ONNX models: what is read, and that it means what ONNX Runtime says it means."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, ValueInfoProto
from onnx.helper import make_function, make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

import minisim as ms
from minisim.compiler.frontend import load_model
from minisim.compiler.graph import Graph
from minisim.errors import ModelError

Save = Callable[..., ModelProto]

RNG = np.random.default_rng(0)
W = RNG.standard_normal((3, 3), dtype=np.float32)
OPENWAKEWORD = importlib.util.find_spec("openwakeword")


def agree(path: Path | str, graph: Graph) -> None:
    """Every output of the graph is ONNX Runtime's, for random inputs."""
    session = onnxruntime.InferenceSession(path)
    inputs = {n: RNG.standard_normal(graph.tensors[n].shape).astype(np.float32) for n in graph.inputs}
    values = graph.evaluate(inputs)
    for output, expected in zip(session.get_outputs(), session.run(None, inputs), strict=True):
        np.testing.assert_allclose(values[graph.outputs[output.name]], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(OPENWAKEWORD is None, reason="the models come with openwakeword")
@pytest.mark.parametrize("name", ["alexa_v0.1", "weather_v0.1"])
def test_trained_networks(name: str) -> None:
    assert OPENWAKEWORD is not None and OPENWAKEWORD.origin is not None
    path = Path(OPENWAKEWORD.origin).parent / "resources" / "models" / f"{name}.onnx"
    graph = load_model(str(path))
    assert graph.name == name
    assert graph.inputs == ["onnx::Flatten_0"]
    assert list(graph.outputs) == ["13"]
    assert sum(t.is_weight for t in graph.tensors.values()) == 6  # transposed copies replace the originals
    agree(path, graph)


@pytest.mark.skipif(OPENWAKEWORD is None, reason="the model comes with openwakeword")
def test_a_trained_network_with_layer_norms_of_single_operations() -> None:
    assert OPENWAKEWORD is not None and OPENWAKEWORD.origin is not None
    path = Path(OPENWAKEWORD.origin).parent / "resources" / "models" / "hey_mycroft_v0.1.onnx"
    graph = load_model(str(path))
    assert {"ReduceMean", "Sub", "Sqrt", "Div"} <= {node.op for node in graph.nodes}
    agree(path, graph)


def test_names_of_inputs_outputs_and_nodes(save: Save) -> None:
    save(
        [
            make_node("Relu", ["x"], ["a"], name="n"),
            make_node("Relu", ["a"], ["b:0/?"], name="n"),  # a name that is taken
            make_node("Relu", ["b:0/?"], ["c"]),  # none
            make_node("Add", ["c", "w"], ["y"], name="w"),  # a weight's
        ],
        initializers={"w": W[0], "unused": W},
    )
    assert list(load_model("m.onnx").lines()) == [
        "graph m",
        "  input  x [2, 3]",
        "  weight w [3]",
        "  n [2, 3] = Relu(x)",
        "  b:0/? [2, 3] = Relu(n)",
        "  c [2, 3] = Relu(b:0/?)",
        "  w_1 [2, 3] = Add(c, w)",
        "  output y = w_1",
    ]


def test_names_of_nodes_that_are_those_of_inputs_and_later_weights(save: Save) -> None:
    save(
        [
            make_node("Relu", ["x"], ["a"], name="x"),
            make_node("Relu", ["a"], ["b"], name="w"),
            make_node("Add", ["b", "w"], ["y"], name="scalar"),
        ],
        initializers={"w": W[0]},
    )
    agree("m.onnx", load_model("m.onnx"))


def test_the_parts_of_a_gemm_are_named_after_it(save: Save) -> None:
    gemm = make_node("Gemm", ["x", "b", "c"], ["y"], name="fc", alpha=0.5, beta=2.0)
    save([gemm], inputs=["x", make_tensor_value_info("b", TensorProto.FLOAT, (3, 3)), "c"])
    graph = load_model("m.onnx")
    assert [node.name for node in graph.nodes] == ["fc/matmul", "fc/alpha", "fc/beta", "fc"]
    agree("m.onnx", graph)


def test_an_initializer_that_is_listed_as_an_input_is_a_weight(save: Save) -> None:
    w = make_tensor_value_info("w", TensorProto.FLOAT, (3, 3))
    save([make_node("MatMul", ["x", "w"], ["y"])], inputs=["x", w], initializers={"w": W})
    graph = load_model("m.onnx")
    assert graph.inputs == ["x"]
    agree("m.onnx", graph)


def test_constants_are_folded_through_any_operator(save: Save) -> None:
    save(
        [
            make_node("Constant", [], ["sizes"], value_ints=[3, 3]),
            make_node("Identity", ["w"], ["w1"]),
            make_node("Flatten", ["w1"], ["w2"], axis=0),
            make_node("Reshape", ["w2", "sizes"], ["w3"]),
            make_node("Transpose", ["w3"], ["w4"], perm=[1, 0]),
            make_node("Split", ["w4"], ["s1", "s2", "s3"], axis=0),
            make_node("Concat", ["s3", "s1", "s2"], ["w5"], axis=0),
            make_node("MatMul", ["x", "w5"], ["y"], name="product"),
        ],
        initializers={"w": W},
    )
    graph = load_model("m.onnx")
    assert [node.name for node in graph.nodes] == ["product"]
    assert sorted(graph.tensors) == ["product", "w5", "x"]
    agree("m.onnx", graph)


def test_a_shape_may_be_put_together_from_constants(save: Save) -> None:
    save(
        [
            make_node("Cast", ["float"], ["int"], to=TensorProto.INT64),
            make_node("Concat", ["int", "minus"], ["shape"], axis=0),
            make_node("Reshape", ["x", "shape"], ["y"]),
        ],
        outputs=[make_tensor_value_info("y", TensorProto.FLOAT, (3, 2))],
        initializers={"float": np.array([3], np.float32), "minus": np.array([-1])},
    )
    agree("m.onnx", load_model("m.onnx"))


def test_identities_between_operations_vanish(save: Save) -> None:
    save(
        [make_node("Identity", ["x"], ["a"]), make_node("Relu", ["a"], ["b"]), make_node("Identity", ["b"], ["y"])],
        outputs=["y", "b"],
    )
    graph = load_model("m.onnx")
    assert (len(graph.nodes), graph.outputs) == (1, {"y": "b", "b": "b"})
    agree("m.onnx", graph)


@pytest.mark.parametrize(("first", "name"), [("N", "N"), (None, "x.0")])
def test_an_open_dimension_is_bound(first: str | None, name: str, save: Save) -> None:
    x, y = (make_tensor_value_info(name, TensorProto.FLOAT, (first, 3)) for name in "xy")
    save([make_node("MatMul", ["x", "w"], ["y"])], [x], [y], {"w": W})
    for size in (1, 5):
        graph = load_model("m.onnx", dims={name: size})
        assert graph.tensors["x"].shape == (size, 3)
        agree("m.onnx", graph)


def test_a_name_is_bound_wherever_it_stands(save: Save) -> None:
    infos = [make_tensor_value_info(name, TensorProto.FLOAT, ("seq", "seq", 3)) for name in ("x", "z", "y")]
    save([make_node("Add", ["x", "z"], ["y"])], infos[:2], infos[2:])
    graph = load_model("m.onnx", dims={"seq": 4})
    assert [graph.tensors[name].shape for name in ("x", "z", "y")] == 3 * [(4, 4, 3)]
    agree("m.onnx", graph)


@pytest.mark.parametrize("typed", [True, False])
def test_an_output_needs_no_shape(typed: bool, save: Save) -> None:
    bare = make_tensor_value_info("y", TensorProto.FLOAT, None) if typed else ValueInfoProto(name="y")
    save([make_node("MatMul", ["x", "w"], ["y"])], outputs=[bare], initializers={"w": W})
    graph = load_model("m.onnx")
    assert graph.tensors[graph.outputs["y"]].shape == (2, 3)
    save([make_node("MatMul", ["x", "w"], ["y"])], initializers={"w": W})  # ONNX Runtime asks for the form, too
    agree("m.onnx", graph)


DROPOUTS = {
    "opset 9": (9, make_node("Dropout", ["a"], ["b"], ratio=0.5)),
    "opset 10 with a mask that nothing reads": (10, make_node("Dropout", ["a"], ["b", "mask"], ratio=0.5)),
    "a ratio": (17, make_node("Dropout", ["a", "ratio"], ["b"], seed=3)),
    "not training": (17, make_node("Dropout", ["a", "", "no"], ["b", "mask"])),
}


@pytest.mark.parametrize("case", DROPOUTS)
def test_dropout_drops_nothing_in_inference(case: str, save: Save) -> None:
    opset, node = DROPOUTS[case]
    constants = {"ratio": np.array(0.9, np.float32), "no": np.array(False)} if opset > 11 else {}
    save([make_node("Relu", ["x"], ["a"]), node, make_node("Sigmoid", ["b"], ["y"])], opset=opset,
         initializers=constants)  # fmt: skip
    graph = load_model("m.onnx")
    assert [n.op for n in graph.nodes] == ["Relu", "Sigmoid"]
    agree("m.onnx", graph)


def test_scalars(save: Save) -> None:
    scalar = make_tensor_value_info("s", TensorProto.FLOAT, ())
    save(
        [make_node("Mul", ["s", "x"], ["a"]), make_node("Add", ["a", "k"], ["y"])],
        ["x", scalar],
        initializers={"k": np.array(2, np.float32)},
    )
    agree("m.onnx", load_model("m.onnx"))


def test_local_functions_are_expanded_also_where_they_hide_a_standard_operator(save: Save) -> None:
    double = make_function(
        "mine", "Double", ["a"], ["b"], [make_node("Add", ["a", "a"], ["b"])], [make_opsetid("", 17)]
    )
    relu = make_function("", "Relu", ["a"], ["b"], [make_node("Sigmoid", ["a"], ["b"])], [make_opsetid("", 17)])
    nodes = [make_node("Double", ["x"], ["d"], domain="mine"), make_node("Relu", ["d"], ["y"])]
    save(nodes, functions=[double, relu], domains=["mine"])
    graph = load_model("m.onnx")
    assert [node.op for node in graph.nodes] == ["Add", "Sigmoid"]


def test_weights_in_a_file_of_their_own(save: Save, folder: Path) -> None:
    model = save([make_node("MatMul", ["x", "w"], ["y"])], initializers={"w": W})
    onnx.save(model, folder / "m.onnx", save_as_external_data=True, location="m.bin", size_threshold=0)
    assert (folder / "m.bin").is_file()
    graph = load_model("m.onnx")
    np.testing.assert_array_equal(graph.tensors["w"].data, W)


@pytest.mark.parametrize(
    ("opset", "attributes", "sizes"),
    [
        (11, {"axis": 1, "split": [1, 4, 2]}, None),
        (13, {"axis": -1}, [1, 4, 2]),
        (18, {"axis": 1, "num_outputs": 3}, None),  # 3, 3 and 1
    ],
)
def test_a_split(opset: int, attributes: dict[str, Any], sizes: list[int] | None, save: Save) -> None:
    """One of its three outputs is not used."""
    x = make_tensor_value_info("x", TensorProto.FLOAT, (2, 7))
    outputs = [make_tensor_value_info(name, TensorProto.FLOAT, (2, None)) for name in ("y", "z")]
    nodes = [
        make_node("Split", ["x"] if sizes is None else ["x", "sizes"], ["a", "b", "c"], name="n", **attributes),
        make_node("Relu", ["a"], ["y"]),
        make_node("Exp", ["c"], ["z"]),
    ]
    initializers = {} if sizes is None else {"sizes": np.array(sizes)}
    save(nodes, inputs=[x], outputs=outputs, initializers=initializers, opset=opset)
    graph = load_model("m.onnx")
    assert graph.nodes[0].outputs == ("n.0", "n.1", "n.2")
    agree("m.onnx", graph)


# -- shapes, conditions, outputs that are given ---------------------------------------------------------------


def test_a_shape_binds_all_dimensions_of_an_input(tmp_path: Path) -> None:
    infos = [
        make_tensor_value_info("x", TensorProto.FLOAT, ("n", 3, None)),
        make_tensor_value_info("y", TensorProto.FLOAT, ("n", 3, 1)),
    ]
    graph = make_graph([make_node("Add", ["x", "y"], ["z"])], "g", infos,
                       [make_tensor_value_info("z", TensorProto.FLOAT, None)])  # fmt: skip
    path = tmp_path / "m.onnx"
    onnx.save(make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=8), path)
    assert load_model(path, dims={"x": (2, 3, 5)}).tensors["y"].shape == (2, 3, 1)  # of its name in y, too
    for dims, said in [
        ({"x": (2, 4, 5)}, "input 'x': dimension 1 is 3, not 4"),
        ({"x": (2, 3)}, "input 'x' has 3 dimensions, not 2"),
        ({"x": (2, 3, 5), "n": 4}, "dimension 'n' cannot be 4 and 2"),
        ({"w": (2, 3, 5)}, "no input 'w' to give a shape"),
    ]:
        with pytest.raises(ModelError, match=said):
            load_model(path, dims=dims)


@pytest.mark.parametrize("condition", [True, False])
def test_an_if_of_a_known_condition_is_one_branch(condition: bool, tmp_path: Path) -> None:
    branches = {
        name: make_graph(
            [make_node(op, ["h", f"{name}_c"], [f"{name}_y"])], name, [],
            [make_tensor_value_info(f"{name}_y", TensorProto.FLOAT, None)],
            [onnx.numpy_helper.from_array(np.float32([2]), f"{name}_c")],
        )
        for name, op in (("then_branch", "Mul"), ("else_branch", "Sub"))
    }  # fmt: skip
    nodes = [make_node("Relu", ["x"], ["h"]), make_node("If", ["c"], ["y"], **branches)]
    graph = make_graph(nodes, "g", [make_tensor_value_info("x", TensorProto.FLOAT, (2, 3))],
                       [make_tensor_value_info("y", TensorProto.FLOAT, None)],
                       [onnx.numpy_helper.from_array(np.array(condition), "c")])  # fmt: skip
    onnx.save(make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    loaded = load_model(tmp_path / "m.onnx")
    assert [node.op for node in loaded.nodes] == ["Relu", "Mul" if condition else "Sub"]
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert loaded.evaluate({"x": x})[loaded.outputs["y"]].tolist() == (x * 2 if condition else x - 2).tolist()


def test_outputs_that_are_given_are_copied(tmp_path: Path) -> None:
    nodes = [make_node("Identity", ["x"], ["same"]), make_node("Relu", ["x"], ["r"])]
    outputs = [make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("same", "c", "r")]
    graph = make_graph(nodes, "g", [make_tensor_value_info("x", TensorProto.FLOAT, (2, 3))], outputs,
                       [onnx.numpy_helper.from_array(np.float32([[1, 2]]), "c")])  # fmt: skip
    onnx.save(make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    x = np.float32([[1, -2, 3], [4, 5, -6]])
    result = ms.run(load_model(tmp_path / "m.onnx"), inputs={"x": x})
    assert result.outputs["same"].tolist() == x.tolist() and result.outputs["c"].tolist() == [[1, 2]]


def test_shapes_are_known_as_a_model_is_read(tmp_path: Path) -> None:
    """As exporters write a flatten: the batch from Shape, put together with -1."""
    nodes = [
        make_node("Shape", ["x"], ["s"]),
        make_node("Gather", ["s", "zero"], ["n"], axis=0),
        make_node("Unsqueeze", ["n", "axes"], ["n1"]),
        make_node("Concat", ["n1", "rest"], ["shape"], axis=0),
        make_node("Reshape", ["x", "shape"], ["y"]),
    ]
    constants = {"zero": np.array(0), "axes": np.array([0]), "rest": np.array([-1])}
    graph = make_graph(nodes, "g", [make_tensor_value_info("x", TensorProto.FLOAT, (2, 3, 4))],
                       [make_tensor_value_info("y", TensorProto.FLOAT, None)],
                       [onnx.numpy_helper.from_array(v.astype(np.int64), k) for k, v in constants.items()])  # fmt: skip
    onnx.save(make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    loaded = load_model(tmp_path / "m.onnx")
    assert loaded.tensors[loaded.outputs["y"]].shape == (2, 12)


def test_a_constant_is_computed_by_the_rules_of_the_models_opset(tmp_path: Path) -> None:
    """Up to opset 12 the axes of an Unsqueeze were an attribute; from 13 on they are an operand."""
    nodes = [make_node("Unsqueeze", ["c"], ["column"], axes=[1, 2]), make_node("Mul", ["x", "column"], ["y"])]
    infos = [make_tensor_value_info(name, TensorProto.FLOAT, (2, 3, 4)) for name in "xy"]
    c = onnx.numpy_helper.from_array(np.float32([1, 2]), "c")
    onnx.save(
        make_model(
            make_graph(nodes, "g", infos[:1], infos[1:], [c]), opset_imports=[make_opsetid("", 9)], ir_version=4
        ),
        tmp_path / "m.onnx",
    )
    y = ms.run(load_model(tmp_path / "m.onnx"), inputs={"x": np.ones((2, 3, 4), np.float32)}).outputs["y"]
    assert y[:, 0, 0].tolist() == [1, 2]


def test_opset_7_is_the_oldest(tmp_path: Path) -> None:
    nodes = [make_node("And", ["a", "a"], ["b"]), make_node("Not", ["b"], ["y"])]
    infos = [make_tensor_value_info(name, TensorProto.BOOL, (2, 2)) for name in "ay"]
    graph = make_graph(nodes, "g", infos[:1], infos[1:])
    onnx.save(make_model(graph, opset_imports=[make_opsetid("", 7)], ir_version=3), tmp_path / "m.onnx")
    given = np.array([[True, False], [False, True]])
    found = ms.run(load_model(tmp_path / "m.onnx"), inputs={"a": given}).outputs["y"]
    assert found.tolist() == (~given).tolist()
