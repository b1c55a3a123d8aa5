"""Runs held against ONNX Runtime: what is said where they agree, and where one of them is wrong."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

import minisim as ms
from minisim.cli import main
from minisim.errors import MissingExtraError, UsageError
from minisim.onnx_check import OnnxCheck, compare

F32 = np.float32
RNG = np.random.default_rng(0)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A model of two matmuls, the first with a bias and a relu that are fused; the batch is open."""
    monkeypatch.chdir(tmp_path)
    nodes = [
        make_node("MatMul", ["x", "w"], ["m"]),
        make_node("Add", ["m", "b"], ["biased"]),
        make_node("Relu", ["biased"], ["h"]),
        make_node("Identity", ["h"], ["same"]),
        make_node("MatMul", ["same", "v"], ["y"]),
        make_node("Softmax", ["y"], ["p"]),
    ]
    weights = {"w": RNG.standard_normal((8, 6)), "b": RNG.standard_normal(6), "v": RNG.standard_normal((6, 4))}
    graph = make_graph(
        nodes,
        "g",
        [make_tensor_value_info("x", TensorProto.FLOAT, ("batch", 8))],
        [make_tensor_value_info("y", TensorProto.FLOAT, None), make_tensor_value_info("p", TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(values.astype(F32), name) for name, values in weights.items()],
    )
    onnx.save(make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=8), "m.onnx")
    return "m.onnx"


def test_outputs_that_agree(path: str) -> None:
    found = ms.check_onnxruntime(path, dims={"batch": 3})
    assert not found.deviates
    assert [(v.name, v.shape, v.operation, v.first) for v in found.values] == [
        ("y", (3, 4), "", None),
        ("p", (3, 4), "", None),
    ]
    assert all(0 <= v.largest < 1e-6 for v in found.values)
    first, *rest = found.lines()
    assert first.startswith("against ONNX Runtime ") and "all values are within tolerance (rtol 0.001" in first
    assert rest[0].startswith("  output 'y' [3, 4]: largest difference ") and rest[0].endswith(", within tolerance")


def test_borders_of_fused_operations(path: str) -> None:
    """Of names of one value the first; what fusion swallowed has no border."""
    found = ms.check_onnxruntime(path, dims={"batch": 3}, borders=True)
    assert [(v.name, v.operation) for v in found.values] == [("h", "FusedMatMulBiasReLU"), ("y", ""), ("p", "")]
    assert not found.deviates and "border 'h' (FusedMatMulBiasReLU) [3, 6]: " in str(found.values[0])


def test_inputs_are_those_that_are_given(path: str) -> None:
    given = np.zeros((3, 8), F32)
    found = ms.check_onnxruntime(
        path, inputs={"x": given}, dims={"batch": 3}, outputs={"y": given[:, :4], "p": given[:, :4]}
    )
    assert found.deviates  # zeros are no outputs of this model, whatever its inputs


def test_where_a_wrong_value_is_found(path: str) -> None:
    """In row-major order: a later one may be farther off."""
    result = ms.run(ms.load_model(path, dims={"batch": 3}))
    y = result.outputs["y"].copy()
    right = float(y[1, 2])
    y[1, 2] += 0.5
    y[2, 0] += 4
    found = ms.check_onnxruntime(path, dims={"batch": 3}, outputs={**result.outputs, "y": y})
    (wrong, fine) = found.values
    assert found.deviates and fine.first is None
    assert (wrong.first, wrong.largest) == ((1, 2), pytest.approx(4, rel=1e-5))
    assert (wrong.found, wrong.expected) == (pytest.approx(right + 0.5), pytest.approx(right, rel=1e-4))
    assert "1 of 2 values deviate" in next(found.lines())
    assert f"first beyond tolerance at [1, 2]: {wrong.found:.3g}, not {wrong.expected:.3g}" in str(wrong)


def test_the_tolerance_is_of_the_value_and_of_the_largest() -> None:
    expected = np.array([100.0, 1.0, 0.0])
    for off, beyond in [([0.1009, 0, 0], None), ([0.102, 0, 0], (0,)), ([0, 0.00199, 0], None), ([0, 0.00201, 0], (1,)),
                        ([0, 0, 0.00099], None), ([0, 0, 0.00101], (2,))]:  # fmt: skip
        assert compare("y", expected + off, expected).first == beyond, off


def test_what_is_no_number_is_beyond_every_tolerance() -> None:
    inf, nan = math.inf, math.nan
    assert compare("y", np.array([nan, inf, 1]), np.array([nan, inf, 1])) == compare("y", np.ones(3), np.ones(3))
    assert compare("y", np.array([1, nan]), np.array([1, 1])).first == (1,)
    assert compare("y", np.array([1, 1]), np.array([1, nan])).first == (1,)
    found = compare("y", np.array([1, -inf]), np.array([1, inf]))
    assert (found.first, found.largest) == ((1,), inf)
    assert compare("y", np.array([True, False]), np.array([True, True])).first == (1,)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_another_shape_is_a_deviation(dtype: str) -> None:
    found = OnnxCheck((compare("y", np.ones((2, 3)), np.ones((3, 2))),), "1", dtype)
    assert found.deviates
    assert list(found.lines())[-1] == "  output 'y' [2, 3]: there it has shape [3, 2]"


def test_another_type_than_float32_has_no_tolerance(path: str) -> None:
    on = ms.Machine.load("npu_32x32").with_overrides({"matrix.dtype": "bf16", "matrix.bf16_rate": "1"})
    found = ms.check_onnxruntime(path, on, dims={"batch": 3})
    assert found.values[0].largest > 1e-4 and not found.deviates
    first, second, _ = found.lines()
    assert first.endswith("which computes in float32 and not in bfloat16:")
    assert "tolerance" not in second


def test_the_command(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    argv = ["run", path, "--dim", "batch=3", "--check", "onnxruntime", "--check-borders", "--no-what-if"]
    result = CliRunner().invoke(main, argv)
    assert result.exit_code == 0, result.output
    assert "all values are within tolerance" in result.output and "border 'h'" in result.output
    monkeypatch.setattr("minisim.onnx_check.RTOL", 0.0)
    monkeypatch.setattr("minisim.onnx_check.ATOL", 1e-12)
    result = CliRunner().invoke(main, argv)
    assert result.exit_code == 3
    assert "values deviate" in result.output and "first beyond tolerance at" in result.output


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["gemm:8x8x8", "--check", "onnxruntime"], "--check onnxruntime: needs an ONNX file, not 'gemm:8x8x8'"),
        (["m.onnx", "--check", "onnxruntime", "--no-numerics"], "needs values to compare, so not --no-numerics"),
        (["m.onnx", "--check-borders"], "--check-borders: goes with --check onnxruntime"),
    ],
)
def test_what_cannot_be_checked(argv: list[str], message: str, path: str) -> None:
    result = CliRunner().invoke(main, ["run", *argv])
    assert result.exit_code == 2 and message in result.output and "Traceback" not in result.output


def test_onnxruntime_is_optional(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"needs the package 'onnxruntime': pip install 'minisim-npu\[onnxrun"):
        ms.check_onnxruntime(path, dims={"batch": 3})
    monkeypatch.setattr("minisim.cli.find_spec", lambda name: None)
    result = CliRunner().invoke(main, ["run", path, "--dim", "batch=3", "--check", "onnxruntime"])
    assert result.exit_code == 2 and "--check onnxruntime needs the package 'onnxruntime'" in result.output


def test_what_onnxruntime_cannot_compute(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("no such kernel")

    monkeypatch.setattr("onnxruntime.InferenceSession", fails)
    with pytest.raises(UsageError, match=r"ONNX Runtime .* cannot compute 'm.onnx': .*no such kernel"):
        ms.check_onnxruntime(path, dims={"batch": 3})


def test_only_onnx_files() -> None:
    with pytest.raises(UsageError, match="only an ONNX file can be checked against ONNX Runtime"):
        ms.check_onnxruntime("model.py")
