"""Floats of 8 bits: every value, and the rounding of many float32, against ml_dtypes and ONNX's reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx
import onnx.reference
import pytest
from onnx import TensorProto, helper, numpy_helper
from support.machines import machine

import minisim as ms
from minisim.compiler.float8 import from_bits, to_bits
from minisim.errors import MinisimError
from minisim.runtime import Runtime

Array = npt.NDArray[Any]
TYPES = {"float8_e4m3fn": TensorProto.FLOAT8E4M3FN, "float8_e5m2": TensorProto.FLOAT8E5M2}
ALL = np.arange(256, dtype=np.uint8)


def theirs(dtype: str) -> Array:
    """The 256 values of a type, by ml_dtypes."""
    return ALL.view(getattr(ml_dtypes, dtype)).astype(np.float32)


def floats() -> Array:
    """Of all bits some, and what lies at, and just beside, the ends and the middles of the types' numbers."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, 2**32, 40_000, dtype=np.uint64).astype(np.uint32).view(np.float32)
    near = np.exp2(rng.uniform(-20, 20, 40_000)).astype(np.float32) * rng.choice([-1, 1], 40_000).astype(np.float32)
    ends = []
    for dtype in TYPES:
        mine = np.sort(theirs(dtype)[np.isfinite(theirs(dtype))].astype(np.float64))
        ends += [mine, (mine[1:] + mine[:-1]) / 2, mine[[0, -1]] * 1.03, mine[[0, -1]] * 1.0625, mine[[0, -1]] * 1.07]
    exact = np.concatenate([*ends, [464, 480, 61440, 65536, 2**-10, 2**-17]]).astype(np.float32)
    beside = [np.nextafter(exact, np.float32(way)) for way in (-np.inf, np.inf)]
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan], np.float32)
    return np.concatenate([drawn, near, exact, *beside, special])


def same(found: Array, expected: Array) -> bool:
    """Bits, but for which NaN it is."""
    nan = np.isnan(expected)
    bits = [np.where(nan, np.float32(0), x).view(np.uint32) for x in (found, expected)]
    return bool(np.array_equal(np.isnan(found), nan) and np.array_equal(*bits))


def reference(node: onnx.NodeProto, dtype: int, **constants: Array) -> Any:
    """By ONNX's reference implementation: what the node makes of x, as float32."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, None)
    y = helper.make_tensor_value_info("y", dtype, None)
    made = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    model = helper.make_model(
        helper.make_graph([node], "g", [x], [y], made), opset_imports=[helper.make_opsetid("", 21)]
    )
    return onnx.reference.ReferenceEvaluator(model)


def ran(graph: ms.Graph, x: Array) -> Array:
    runtime = Runtime(graph, machine())
    runtime.set("x", x)
    runtime.execute()
    return runtime.get("y")


@pytest.mark.parametrize("dtype", TYPES)
def test_all_values(dtype: str) -> None:
    assert same(from_bits(ALL, dtype), theirs(dtype))
    finite = ~np.isnan(theirs(dtype))
    assert np.array_equal(to_bits(theirs(dtype)[finite], dtype, saturate=False), ALL[finite])
    g = ms.Graph("g")
    g.output(g.cast(g.input("x", (16, 16), dtype=dtype), "float32", name="y"))
    assert same(ran(g, theirs(dtype).reshape(16, 16)), theirs(dtype).reshape(16, 16))


@pytest.mark.parametrize("saturate", [True, False])
@pytest.mark.parametrize("dtype", TYPES)
def test_rounding(dtype: str, saturate: bool) -> None:
    """By the engine and by numpy: as ONNX's Cast, and without saturation as ml_dtypes."""
    x = floats()
    cast = helper.make_node("Cast", ["x"], ["y"], to=TYPES[dtype], saturate=int(saturate))
    with np.errstate(all="ignore"):
        expected = np.asarray(reference(cast, TYPES[dtype]).run(None, {"x": x})[0]).astype(np.float32)
        plain = x.astype(getattr(ml_dtypes, dtype)).astype(np.float32)
    assert same(expected, plain) or saturate
    assert same(from_bits(to_bits(x, dtype, saturate), dtype), expected)
    g = ms.Graph("g")
    g.output(g.cast(g.input("x", (1, len(x))), dtype, saturate=saturate, name="y"))
    assert same(ran(g, x[np.newaxis]), expected[np.newaxis])
    assert same(g.evaluate({"x": x[np.newaxis]}, dtype=np.float32)["y"].astype(np.float32), expected[np.newaxis])


@pytest.mark.parametrize("source", ["float16", "bfloat16", "int8", "uint8", "int16", "int32", "bool"])
@pytest.mark.parametrize("dtype", TYPES)
def test_from_and_to_other_types(dtype: str, source: str) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2, 60) if source in ("bool",) else rng.integers(0 if source == "uint8" else -120, 120, 60)
    x = np.concatenate([values, [0, 1]]).reshape(2, 31)
    g = ms.Graph("g")
    g.output(g.cast(g.cast(g.input("x", x.shape, dtype=source), dtype), source, name="y"))
    expected = x.astype(np.float32).astype(getattr(ml_dtypes, dtype)).astype(np.float32)
    assert np.array_equal(ran(g, x).astype(np.float64), np.trunc(expected) if source != "bool" else expected)


def test_they_are_stored_and_moved() -> None:
    """Bytes in DRAM and SRAM, through a transpose, a concat, a slice and a reshape."""
    x = theirs("float8_e5m2")[:124].reshape(31, 4)
    g = ms.Graph("g")
    a = g.input("x", (31, 4), dtype="float8_e5m2")
    w = g.weight("w", np.full((4, 31), np.inf), "float8_e5m2")
    g.output(g.reshape(g.concat([g.transpose(a, (1, 0)), w], axis=0), (31, 8), name="y"))
    expected = np.concatenate([x.T, np.full((4, 31), np.inf)]).reshape(31, 8).astype(np.float32)
    assert same(ran(g, x), expected)
    schedule = ms.compile_graph(g, machine())
    assert set(schedule.tile_bytes().tolist()) >= {124}
    assert ms.run(g, machine(), inputs={"x": x}).max_abs_error == 0


def test_others_compute_in_float() -> None:
    g = ms.Graph("g")
    x = g.input("x", (4, 4), dtype="float8_e4m3fn")
    for build in (lambda: g.add(x, x), lambda: x @ x, lambda: g.relu(x), lambda: g.softmax(x)):
        with pytest.raises(MinisimError, match="float8_e4m3fn"):
            build()
    with pytest.raises(MinisimError, match="saturate"):
        g.cast(x, "float8_e5m2", saturate="no")  # type: ignore[arg-type]


def linear(path: Path, kind: str, dtype: str, saturate: int = 1, axis: int | None = None, zero: float = 0.0) -> Path:
    """QuantizeLinear of x (6, 5) to a type; and back, if that is wanted, or a matmul with what is dequantised."""
    name = TYPES[dtype]
    scale = np.array([0.3, 7.0, 0.01, 2.0, 1e-3], np.float32) if axis else np.float32(0.3)
    point = np.full(np.shape(scale), zero).astype(getattr(ml_dtypes, dtype))
    more = {} if axis is None else {"axis": axis}
    constants = [numpy_helper.from_array(np.asarray(scale), "s"), numpy_helper.from_array(point, "z")]
    nodes = [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], saturate=saturate, **more)]
    result, of = "q", name
    if kind != "quantize":
        nodes.append(helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], **more))
        result, of = "d", TensorProto.FLOAT
    if kind == "matmul":
        constants.append(numpy_helper.from_array(np.random.default_rng(0).random((5, 7)).astype(np.float32), "w"))
        nodes.append(helper.make_node("MatMul", ["d", "w"], ["y"]))
    else:
        nodes[-1].output[0] = "y"
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [6, 5])],
        [helper.make_tensor_value_info("y", of, None)], constants,
    )  # fmt: skip
    assert result
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    return path


@pytest.mark.parametrize("kind", ["quantize", "back", "matmul"])
@pytest.mark.parametrize(("saturate", "axis"), [(1, None), (0, None), (1, 1)])
@pytest.mark.parametrize("dtype", TYPES)
def test_linear_quantisation_as_onnx_defines_it(
    dtype: str, saturate: int, axis: int | None, kind: str, tmp_path: Path
) -> None:
    path = linear(tmp_path / "m.onnx", kind, dtype, saturate, axis)
    x = np.random.default_rng(1).standard_normal((6, 5)).astype(np.float32) * np.float32(40)
    x[0] = [1e6, -1e6, 0, -0.0, 3]
    with np.errstate(all="ignore"):
        expected = np.asarray(onnx.reference.ReferenceEvaluator(str(path)).run(None, {"x": x})[0]).astype(np.float32)
    found = ms.run(path, machine(), inputs={"x": x}).outputs["y"]
    if kind == "matmul":
        assert np.allclose(found, expected, rtol=1e-5, equal_nan=True)
    else:
        assert same(found, expected)


def test_a_zero_point_of_floats_is_zero(tmp_path: Path) -> None:
    with pytest.raises(MinisimError, match="the zero point of floats of 8 bits must be 0"):
        ms.load_model(linear(tmp_path / "m.onnx", "quantize", "float8_e5m2", zero=1.0))
