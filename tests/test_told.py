"""What a user would be told wrongly: small truths without which some mutant survived (docs/mutation.md)."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import pytest

import minisim as ms
from minisim.compiler.example_inputs import example_inputs
from minisim.compiler.frontend import builtin


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(spec: str) -> str:
    with pytest.raises(ms.MinisimError) as caught:
        ms.load_model(spec)
    return str(caught.value)


# -- models ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "low", "high"), [("int16", -(2**15), 2**15 - 1), ("int32", -1000, 1000)])
def test_example_inputs_are_uniform_over_what_docs_say(dtype: str, low: int, high: int) -> None:
    graph = ms.Graph()
    graph.input("x", (400, 400), dtype=dtype)
    values = example_inputs(graph)["x"]
    assert low <= values.min() <= low + (high - low) / 1000 and high - (high - low) / 1000 <= values.max() <= high
    assert abs(values.mean()) < (high - low) / 200


@pytest.mark.parametrize("k", [1, 64, 500])
def test_a_built_in_of_int8_has_results_of_the_deviation_it_says(k: int) -> None:
    (node,) = builtin.gemm(8, k, 8, "int8").nodes
    variance = float(np.var(np.arange(-128, 128)))
    assert node.attrs["scale"] == pytest.approx(builtin.RESULT_DEVIATION / (variance * math.sqrt(k)), rel=1e-9)


def test_an_error_in_code_made_from_text_is_located_in_the_model(folder: Path) -> None:
    (folder / "m.py").write_text("def model():\n    exec('1 / 0')\n")
    assert refusal("m.py") == "m.py:2: ZeroDivisionError: division by zero"


def test_an_error_in_a_package_of_an_environment_below_the_model_is_located_in_the_model(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = folder / "env" / "site-packages" / "package_that_fails.py"
    package.parent.mkdir(parents=True)
    package.write_text("def fails():\n    raise ValueError('no')\n")
    monkeypatch.syspath_prepend(str(package.parent))
    (folder / "m.py").write_text("import package_that_fails\n\ndef model():\n    package_that_fails.fails()\n")
    assert refusal("m.py") == "m.py:4: ValueError: no"


def test_a_reduction_that_cannot_be_names_the_axis_that_can(folder: Path) -> None:
    info = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (4, 2, 3))
    out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, (4, 1, 3))
    node = onnx.helper.make_node("ReduceMax", ["x"], ["y"], axes=[1])
    graph = onnx.helper.make_graph([node], "g", [info], [out])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)]), folder / "m.onnx")
    assert "only the last axis, 2 of (4, 2, 3), can be reduced, not [1]" in refusal("m.onnx")
