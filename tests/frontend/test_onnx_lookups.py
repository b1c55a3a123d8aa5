"""ONNX's Gather by indices that are inputs or computed, and inputs of int64 that are tokens, positions or masks."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from support.machines import machine

import minisim as ms
from minisim.compiler.frontend.wide import wide_inputs_of
from minisim.errors import IndexRangeError, MinisimError, UnsupportedError

FLOAT, INT32, INT64 = TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64
RNG = np.random.default_rng(0)


def written(
    path: Path, nodes: list[Any], inputs: list[Any], constants: dict[str, Any], outputs: tuple[Any, ...]
) -> Path:
    values = [helper.make_tensor_value_info(*each) for each in inputs]
    results = [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs]
    initial = [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", values, results, initial)
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())
    return path


def node(op: str, inputs: str, output: str, **attributes: Any) -> Any:
    return helper.make_node(op, inputs.split(), [output], name=f"n_{output}", **attributes)


@pytest.mark.parametrize("kind", [INT32, INT64])
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("shape", [(), (4,), (2, 3)])
def test_values_are_those_of_onnx(tmp_path: Path, kind: int, axis: int, shape: tuple[int, ...]) -> None:
    x = RNG.normal(size=(5, 4, 6)).astype(np.float32)
    nodes = [node("Gather", "x i", "y", axis=axis)]
    path = written(tmp_path / "m.onnx", nodes, [("x", FLOAT, (5, 4, 6)), ("i", kind, shape)], {}, (("y", FLOAT),))
    size = x.shape[axis]
    given = {"x": x, "i": RNG.integers(-size, size, shape)}
    expected = ReferenceEvaluator(str(path)).run(None, {**given, "i": given["i"].astype(np.int64)})[0]
    graph = ms.load_model(path)
    assert graph.inputs == ["x", "i"]
    found = ms.run(graph, machine(), inputs=given).outputs["y"]
    assert found.shape == expected.shape and np.array_equal(found, expected)


def language_model(path: Path) -> Path:
    """Tokens and positions by an addition of two lookups, a mask of int64, a layer, and the tokens that are likeliest,
    looked up once more."""
    constants = {
        "wte": RNG.normal(size=(50, 24)).astype(np.float32),
        "wpe": RNG.normal(size=(9, 24)).astype(np.float32),
        "w": RNG.normal(size=(24, 24)).astype(np.float32),
        "head": RNG.normal(size=(24, 50)).astype(np.float32),
        "axes": np.array([2]),
    }
    nodes = [
        node("Gather", "wte input_ids", "tokens"),
        node("Gather", "wpe position_ids", "places"),
        node("Add", "tokens places", "x"),
        node("Unsqueeze", "attention_mask axes", "wide"),
        node("Cast", "wide", "mask", to=FLOAT),
        node("Mul", "x mask", "kept"),
        node("MatMul", "kept w", "h"),
        node("Tanh", "h", "t"),
        node("MatMul", "t head", "logits"),
        node("ArgMax", "logits", "best", axis=-1, keepdims=0),
        node("Gather", "wte best", "next"),
    ]
    inputs = [(name, INT64, (2, 7)) for name in ("input_ids", "position_ids", "attention_mask")]
    return written(path, nodes, inputs, constants, (("logits", FLOAT), ("best", INT64), ("next", FLOAT)))


def test_tokens_are_inputs_of_a_language_model(tmp_path: Path) -> None:
    path = language_model(tmp_path / "lm.onnx")
    graph = ms.load_model(path)
    assert set(graph.inputs) == {"input_ids", "position_ids", "attention_mask"}
    given = {
        "input_ids": RNG.integers(0, 50, (2, 7)),
        "position_ids": np.tile(np.arange(7), (2, 1)),
        "attention_mask": np.array([[1] * 7, [1] * 4 + [0] * 3]),
    }
    expected = ReferenceEvaluator(str(path)).run(None, given)
    result = ms.run(graph, machine(), inputs=given)
    for name, values in zip(("logits", "best", "next"), expected, strict=True):
        assert result.outputs[name].dtype == values.dtype
        np.testing.assert_allclose(result.outputs[name], values, rtol=1e-4, atol=1e-5)
    bound = ms.run(str(path), machine(), inputs=given)  # compiled for these tokens
    for name in ("logits", "best", "next"):
        assert np.array_equal(bound.outputs[name], result.outputs[name])


def test_tokens_beyond_the_table_or_int32_are_told(tmp_path: Path) -> None:
    graph = ms.load_model(language_model(tmp_path / "lm.onnx"))
    mask = {"position_ids": np.zeros((2, 7), int), "attention_mask": np.ones((2, 7), int)}
    with pytest.raises(
        IndexRangeError, match=r"node 'n_tokens' \(Gather\): index \[0, 0\] must lie in \[-50, 49\], not be 50"
    ):
        ms.run(graph, machine(), inputs={**mask, "input_ids": np.full((2, 7), 50)})
    with pytest.raises(MinisimError, match=r"input .input_ids. is .*, not 1099511627776"):
        ms.run(graph, machine(), inputs={**mask, "input_ids": np.full((2, 7), 2**40)})


def test_against_onnxruntime(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    found = ms.check_onnxruntime(language_model(tmp_path / "lm.onnx"), machine())
    assert not found.deviates


@pytest.mark.parametrize(
    ("nodes", "text"),
    [
        ([("Reshape", "x i", "y")], "with --value i=NUMBER,NUMBER"),  # a shape
        ([("Add", "i i", "j"), ("Gather", "x j", "y")], "with --value i=NUMBER,NUMBER"),  # computed with
        ([("Concat", "i i", "j"), ("Expand", "x j", "y")], "with --value i=NUMBER,NUMBER"),
    ],
)
def test_an_int64_input_that_says_more_is_bound(tmp_path: Path, nodes: list[Any], text: str) -> None:
    made = [node(*each, **({"axis": 0} if each[0] == "Concat" else {})) for each in nodes]
    path = written(tmp_path / "m.onnx", made, [("x", FLOAT, (4, 4)), ("i", INT64, (2,))], {}, (("y", FLOAT),))
    with pytest.raises(UnsupportedError, match=text):
        ms.load_model(path)


def test_many_inputs_of_int64_are_looked_at_once() -> None:
    """A file of 200 KB, with a node for each: as often as there are pairs, that took 40 seconds."""
    count = 4000
    nodes = [helper.make_node("Cast", [f"i{i}"], [f"o{i}"], to=FLOAT) for i in range(count)]
    nodes.append(helper.make_node("Add", ["i7", "i8"], ["y"]))
    inputs = [helper.make_tensor_value_info(f"i{i}", INT64, [1]) for i in range(count)]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info("y", FLOAT, [1])])
    begin = time.process_time()
    found = wide_inputs_of(helper.make_model(graph), {"Identity"}, {"Cast"})
    assert time.process_time() - begin < 5
    assert found == {f"i{i}" for i in range(count)} - {"i7", "i8"}
