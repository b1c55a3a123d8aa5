"""Weights of 4 bits from ONNX files: MatMulNBits, and DequantizeLinear in blocks, held to ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from support.machines import machine
from support.oracle import bits

import minisim as ms
from minisim.errors import MinisimError

Array = npt.NDArray[Any]
RNG = np.random.default_rng(0)


def saved(path: Path, nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto], k: int, dtype: Any) -> Path:
    """A model of a (3, k) that gives y."""
    code = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("a", code, [3, k])],
        [helper.make_tensor_value_info("y", code, None)], constants,
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


def nbits(path: Path, k: int = 40, n: int = 24, block: int = 16, zeros: bool = False, bias: bool = False,
          dtype: Any = np.float32, without: str = "", **changed: Any) -> Path:  # fmt: skip
    """A MatMulNBits; what is `without` is an input of the model."""
    count = -(-k // block)
    made = {
        "b": RNG.integers(0, 256, (n, count, block // 2)).astype(np.uint8),
        "s": (RNG.random((n, count)) * 0.1).astype(dtype),
        "z": RNG.integers(0, 256, (n, -(-count // 2))).astype(np.uint8) if zeros else None,
        "g": np.zeros(k, np.int32) if changed.pop("order", False) else None,
        "bias": RNG.random(n).astype(dtype) if bias else None,
    } | changed.pop("instead", {})
    names = ["a", *(name if made[name] is not None else "" for name in made)]
    attributes = {"K": k, "N": n, "bits": 4, "block_size": block} | changed
    node = helper.make_node("MatMulNBits", names, ["y"], "product", domain="com.microsoft", **attributes)
    constants = [numpy_helper.from_array(x, name) for name, x in made.items() if x is not None and name != without]
    found = saved(path, [node], constants, k, dtype)
    if without:
        model = onnx.load(found)
        model.graph.input.append(helper.make_tensor_value_info(without, TensorProto.UINT8, made[without].shape))
        onnx.save(model, found)
    return found


def blocks(path: Path, kind: int, axis: int, zeros: bool, dtype: Any = np.float32, behind: str = "MatMul") -> Path:
    """DequantizeLinear of weights (40, 24), or their transpose, in blocks of 16, and what multiplies with them."""
    k, n, block = 40, 24, 16
    shape = [n, k] if axis else [k, n]
    of_scales = [-(-size // block) if at == axis else size for at, size in enumerate(shape)]
    low, high = (-8, 8) if kind == TensorProto.INT4 else (0, 16)

    def drawn(name: str, shape: list[int]) -> onnx.TensorProto:
        return helper.make_tensor(name, kind, shape, RNG.integers(low, high, shape).reshape(-1).tolist())

    constants = [drawn("q", shape), numpy_helper.from_array((RNG.random(of_scales) * 0.1).astype(dtype), "s")]
    constants += [drawn("z", of_scales)] if zeros else []
    nodes = [helper.make_node("DequantizeLinear", ["q", "s", *["z"] * zeros], ["w"], axis=axis, block_size=block)]
    if behind == "Gemm":
        nodes.append(helper.make_node("Gemm", ["a", "w"], ["y"], transB=axis))
    else:
        nodes += [helper.make_node("Transpose", ["w"], ["t"], perm=[1, 0])] if axis else []
        nodes.append(helper.make_node("MatMul", ["a", "t" if axis else "w"], ["y"]))
    return saved(path, nodes, constants, k, dtype)


def check(path: Path, dtype: Any = np.float32, packs: int = 16) -> None:
    """Against ONNX Runtime without its optimiser, which computes such products in int8; and bits, whoever unpacks."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    a = RNG.standard_normal((3, session.get_inputs()[0].shape[1])).astype(dtype)
    expected = session.run(None, {"a": a})[0].astype(np.float64)
    found = []
    for by in ("none", "dma", "array"):
        result = ms.run(path, machine(unpack__by=by), inputs={"a": a})
        assert result.schedule.tensors["packs"].max() == (0 if by == "none" else packs)
        found.append(result.outputs["y"])
    assert np.array_equal(bits(found[0]), bits(found[1])) and np.array_equal(bits(found[0]), bits(found[2]))
    tolerance = 1e-5 if dtype == np.float32 else 5e-3
    assert np.abs(found[0] - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize(("k", "block"), [(64, 16), (40, 32), (129, 128)])
@pytest.mark.parametrize("zeros", [False, True])
def test_matmul_nbits(k: int, block: int, zeros: bool, tmp_path: Path) -> None:
    check(nbits(tmp_path / "m.onnx", k, 24, block, zeros, bias=zeros), packs=block)


def test_matmul_nbits_in_half_precision(tmp_path: Path) -> None:
    check(nbits(tmp_path / "m.onnx", zeros=True, dtype=np.float16), np.float16)


@pytest.mark.parametrize("kind", [TensorProto.INT4, TensorProto.UINT4])
@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize(("axis", "behind"), [(0, "MatMul"), (1, "MatMul"), (0, "Gemm"), (1, "Gemm")])
def test_dequantised_in_blocks(kind: int, zeros: bool, axis: int, behind: str, tmp_path: Path) -> None:
    check(blocks(tmp_path / "m.onnx", kind, axis, zeros, behind=behind))


def test_dequantised_in_half_precision(tmp_path: Path) -> None:
    check(blocks(tmp_path / "m.onnx", TensorProto.INT4, 0, True, np.float16), np.float16)


def test_timing_needs_no_values(tmp_path: Path) -> None:
    """Those of 129 x 512 weights are in no file; and the cycles are those with them."""
    path = nbits(tmp_path / "m.onnx", 129, 512, 32)
    expected = ms.run(path, machine(), numerics=False).cycles
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="weights", size_threshold=1024)
    (tmp_path / "weights").unlink()
    assert ms.run(path, machine(), numerics=False).cycles == expected


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"bits": 8}, "bits must be 4, not 8"),
        ({"order": True}, "g_idx, the order of its rows, is not supported"),
        ({"weight_prepacked": 1}, "weight_prepacked, an order of a processor's own, is not supported"),
        ({"without": "b"}, "its weights must be constant"),
        ({"block": 24}, "block_size a power of 2 from 16, not 40, 24 and 24"),
        ({"instead": {"b": np.zeros((24, 3, 7), np.uint8)}}, r"its weights must have the shape \(24, 3, 8\)"),
        ({"instead": {"b": np.zeros((24, 3, 8), np.int8)}}, "its weights must be uint8, not int8"),
        ({"instead": {"s": np.zeros((24, 2), np.float32)}}, r"its scales must have the shape \(24, 3\)"),
        ({"instead": {"s": np.zeros((24, 3), np.float16)}}, "must be of one type, not float32 and float16"),
        ({"instead": {"z": np.zeros((24, 3), np.float32)}}, "its zero points must be uint8, not float32"),
    ],
)
def test_what_is_refused(changed: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(MinisimError, match=message):
        ms.load_model(nbits(tmp_path / "m.onnx", **changed))
