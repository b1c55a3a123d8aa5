"""Quantised models in ONNX, held to ONNX Runtime to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper
from support.machines import machine

import minisim as ms
from minisim.errors import MinisimError, ModelError

SMALL = machine(sram__bytes=16 * 1024)


def saved(
    path: Path, nodes: list[Any], inputs: dict[str, Any], weights: dict[str, Any], outputs: tuple[str, ...]
) -> Path:
    """A model of these nodes, whose inputs have the types and shapes of these arrays."""

    def infos(arrays: dict[str, Any]) -> list[Any]:
        return [
            helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
            for k, v in arrays.items()
        ]

    made = [onnx.numpy_helper.from_array(np.asarray(x), name) for name, x in weights.items()]
    graph = helper.make_graph(nodes, "g", infos(inputs), [onnx.ValueInfoProto(name=name) for name in outputs], made)
    opsets = [helper.make_opsetid("", 19), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    onnx.save(model, path / "m.onnx")
    return path / "m.onnx"


def by_onnxruntime(path: Path, inputs: dict[str, Any], *, optimised: bool = False) -> list[Any]:
    """As the model is written; or with ONNX Runtime's own fusion of quantised nodes."""
    options, levels = onnxruntime.SessionOptions(), onnxruntime.GraphOptimizationLevel
    options.log_severity_level = 4
    options.graph_optimization_level = levels.ORT_ENABLE_EXTENDED if optimised else levels.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(str(path), options).run(None, inputs)


def held(path: Path, inputs: dict[str, Any], outputs: tuple[str, ...] = ("y",), **of_onnxruntime: bool) -> None:
    """Both have the same bits, on a machine with room and on one without."""
    expected = by_onnxruntime(path, inputs, **of_onnxruntime)
    for config in (machine(), SMALL):
        found = ms.run(path, config, inputs=inputs, check=False).outputs
        for name, wanted in zip(outputs, expected, strict=True):
            np.testing.assert_array_equal(found[name], wanted, strict=True)


def node(op: str, inputs: str, outputs: str = "y", **attributes: Any) -> Any:
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(op, names, outputs.split(), **attributes)


FLOATS = np.random.default_rng(0).standard_normal((2, 5, 7, 9)).astype(np.float32) * 4
FLOATS[0, 0, 0] = [0.5, 1.5, 2.5, -0.5, -1.5, 1e9, -1e9, 127.5, 3e38]


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_quantise_and_dequantise(axis: int | None, dtype: Any, tmp_path: Path) -> None:
    """Whole tensors and along an axis; ties, and what saturates."""
    rng, size = np.random.default_rng(1), () if axis is None else FLOATS.shape[axis]
    scale = np.asarray(rng.uniform(0.02, 0.5, size), np.float32) if axis is not None else np.float32(1)
    limits = np.iinfo(dtype)
    zero = np.asarray(rng.integers(limits.min, limits.max, size, endpoint=True), dtype)
    attributes = {} if axis is None else {"axis": axis}
    nodes = [node("QuantizeLinear", "x s z", "q", **attributes), node("DequantizeLinear", "q s z", **attributes)]
    path = saved(tmp_path, nodes, {"x": FLOATS}, {"s": scale, "z": zero}, ("q", "y"))
    held(path, {"x": FLOATS}, ("q", "y"))


def test_without_zero_points(tmp_path: Path) -> None:
    """uint8 then; and int32, as biases are, whose float32 is rounded."""
    b = np.array([[2**24 + 1, -(2**31), 7]], np.int32)
    nodes = [node("QuantizeLinear", "x s", "q"), node("DequantizeLinear", "b s")]
    path = saved(tmp_path, nodes, {"x": FLOATS, "b": b}, {"s": np.float32(0.3)}, ("q", "y"))
    held(path, {"x": FLOATS, "b": b}, ("q", "y"))


@pytest.mark.parametrize("x", [FLOATS[1], np.abs(FLOATS[1]), -np.abs(FLOATS[1, 0, 0]), np.zeros((3, 5), np.float32)])
def test_dynamic(x: Any, tmp_path: Path) -> None:
    """Ranges on both sides of 0, on one, and of zeros alone."""
    outputs = ("y", "s", "z", "f")
    nodes = [node("DynamicQuantizeLinear", "x", "y s z"), node("DequantizeLinear", "y s z", "f")]
    path = saved(tmp_path, nodes, {"x": x}, {}, outputs)
    held(path, {"x": x}, outputs)


def test_mistakes(tmp_path: Path) -> None:
    for weights, attributes, message in (
        ({"s": np.ones(3, np.float32), "z": np.zeros(3, np.uint8)}, {"axis": 1}, "one for each of axis 1"),
        ({"s": np.ones((2, 5, 7, 3), np.float32), "z": np.zeros((2, 5, 7, 3), np.uint8)}, {"axis": 3}, "one for each"),
    ):
        path = saved(tmp_path, [node("QuantizeLinear", "x s z", **attributes)], {"x": FLOATS}, weights, ("y",))
        with pytest.raises(ModelError, match=message):
            ms.load_model(path)


# -- products of integers --------------------------------------------------------------------------------

RNG = np.random.default_rng(7)


def drawn(dtype: Any, *shape: int) -> Any:
    """All values of a type."""
    limits = np.iinfo(dtype)
    return RNG.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def weights(dtype: Any, *shape: int) -> Any:
    """Of seven bits: then no sum of two products saturates in ONNX Runtime, as it may on processors without VNNI."""
    return (
        RNG.integers(0, 127, shape).astype(dtype) if dtype == np.uint8 else RNG.integers(-64, 64, shape).astype(dtype)
    )


U, S = np.uint8, np.int8


@pytest.mark.parametrize(("a", "b"), [(U, U), (U, S), (S, S)])
@pytest.mark.parametrize("zeros", ["", "a", "a b", "b"])
@pytest.mark.parametrize("constant", [True, False])
def test_matmul_integer(a: Any, b: Any, zeros: str, constant: bool, tmp_path: Path) -> None:
    x, w = drawn(a, 2, 13, 37), weights(b, 37, 21)
    zero = {"za": a(5), "zb": b(200 if b is U else -3)}
    names = [f"z{name}" if name in zeros else "-" for name in "ab"]
    inputs = {"x": x} if constant else {"x": x, "w": w}
    path = saved(tmp_path, [node("MatMulInteger", f"x w {' '.join(names)}".rstrip(" -"))], inputs,
                 zero | ({"w": w} if constant else {}), ("y",))  # fmt: skip
    held(path, inputs)


@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize(("zx", "zw", "zy"), [(0, 0, 0), (128, 0, 0), (3, 200, 7), (3, 100, 7)])
def test_qlinear_matmul(columns: bool, zx: int, zw: int, zy: int, tmp_path: Path) -> None:
    x, w = drawn(U, 9, 50), weights(U, 50, 33)
    sw = RNG.uniform(0.001, 0.01, 33).astype(np.float32) if columns else np.float32(0.003)
    of_w = np.full(33, zw, U) if columns else U(zw)
    values = {"w": w, "sx": np.float32(0.02), "zx": U(zx), "sw": sw, "zw": of_w, "sy": np.float32(0.05), "zy": U(zy)}
    path = saved(tmp_path, [node("QLinearMatMul", "x sx zx w sw zw sy zy")], {"x": x}, values, ("y",))
    held(path, {"x": x})


GEOMETRIES = [
    {"pads": [1, 0, 2, 1], "strides": [2, 1]},
    {"pads": [0, 1, 0, 1], "dilations": [1, 2]},
    {"group": 3},
    {"group": 6, "pads": [1, 1, 1, 1]},
]


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize(("zx", "zw", "zy"), [(0, 0, 0), (131, 0, 9), (7, 200, 128)])
@pytest.mark.parametrize("channels", [False, True])
def test_qlinear_conv(geometry: dict[str, Any], zx: int, zw: int, zy: int, channels: bool, tmp_path: Path) -> None:
    """Padding is the zero point; filters have scales of their own; bias."""
    groups = geometry.get("group", 1)
    x, kind = drawn(U, 2, 6, 9, 11), U if zw else S
    w = weights(kind, 12, 6 // groups, 3, 2)
    w.reshape(-1)[0] = 0
    sw = RNG.uniform(0.001, 0.01, 12).astype(np.float32) if channels else np.float32(0.004)
    of_w = np.full(12, zw, kind) if channels else kind(zw)
    values = {"w": w, "sx": np.float32(0.03), "zx": U(zx), "sw": sw, "zw": of_w, "sy": np.float32(0.07), "zy": U(zy),
              "b": RNG.integers(-5000, 5000, 12).astype(np.int32)}  # fmt: skip
    path = saved(tmp_path, [node("QLinearConv", "x sx zx w sw zw sy zy b", **geometry)], {"x": x}, values, ("y",))
    held(path, {"x": x})


@pytest.mark.parametrize("geometry", GEOMETRIES[:3])
def test_conv_integer(geometry: dict[str, Any], tmp_path: Path) -> None:
    x, w = drawn(U, 1, 6, 8, 9), weights(U, 6, 6 // geometry.get("group", 1), 3, 2)
    path = saved(tmp_path, [node("ConvInteger", "x w zx zw", **geometry)], {"x": x},
                 {"w": w, "zx": U(77), "zw": U(60)}, ("y",))  # fmt: skip
    held(path, {"x": x})


def test_dynamic_products(tmp_path: Path) -> None:
    """As dynamic quantisation writes them: zero points that are computed, padding included."""
    x, w, m = FLOATS[:1, :, :, :], weights(U, 4, 5, 3, 3), weights(U, 9, 6)
    x = np.clip(x, -9, 9)
    nodes = [
        node("DynamicQuantizeLinear", "x", "q s z"),
        node("ConvInteger", "q w z zw", "y", pads=[1, 1, 1, 1], strides=[2, 2]),
        node("MatMulInteger", "q m z zw", "u"),
    ]
    path = saved(tmp_path, nodes, {"x": x}, {"w": w, "m": m, "zw": U(60)}, ("y", "u"))
    held(path, {"x": x}, ("y", "u"))


# -- floats between DequantizeLinear and QuantizeLinear ---------------------------------------------------


def scales(name: str, size: int, low: float) -> Any:
    return RNG.uniform(low, 4 * low, size or ()).astype(np.float32) if size else np.float32(low)


@pytest.mark.parametrize("channels", [0, 8])
def test_qdq_convolutions(channels: int, tmp_path: Path) -> None:
    """Conv, Relu and Conv in floats are two of integers: ONNX Runtime's own fusion has the same bits."""
    x = drawn(U, 1, 5, 9, 8)
    sw, sv = scales("w", channels, 0.002), scales("v", channels, 0.003)
    values = {
        "sx": np.float32(0.02), "zx": U(130), "w": weights(S, 8, 5, 3, 3), "sw": sw, "zw": np.zeros(channels or (), S),
        "b": RNG.integers(-900, 900, 8).astype(np.int32), "sb": np.float32(0.02) * sw,
        "zb": np.zeros(channels or (), np.int32),
        "sh": np.float32(0.03), "zh": U(0), "v": weights(S, 8, 8, 1, 1), "sv": sv, "sy": np.float32(0.04), "zy": U(99),
    }  # fmt: skip
    axis = {"axis": 0}
    nodes = [
        node("DequantizeLinear", "x sx zx", "xf"),
        node("DequantizeLinear", "w sw zw", "wf", **axis),
        node("DequantizeLinear", "b sb zb", "bf", **axis),
        node("Conv", "xf wf bf", "c", pads=[1, 1, 1, 1]),
        node("Relu", "c", "r"),
        node("QuantizeLinear", "r sh zh", "h"),
        node("DequantizeLinear", "h sh zh", "hf"),
        node("DequantizeLinear", "v sv zw", "vf", **axis),
        node("Conv", "hf vf", "d"),
        node("QuantizeLinear", "d sy zy", "y"),
    ]
    path = saved(tmp_path, nodes, {"x": x}, values, ("y",))
    assert [each.op for each in ms.load_model(path).nodes if each.op == "Conv"] == ["Conv", "Conv"]
    assert not [each for each in ms.load_model(path).nodes if each.op in ("Quantize", "Dequantize", "Relu")]
    held(path, {"x": x}, optimised=True)


@pytest.mark.parametrize("turned", [0, 1])
def test_qdq_matmuls_and_sums(turned: int, tmp_path: Path) -> None:
    """MatMul and Gemm are fused; an Add is three operations of floats, as it is written."""
    x, w, v = drawn(S, 7, 30), weights(S, 30, 12), weights(S, *((16, 12) if turned else (12, 16)))
    values = {
        "sx": np.float32(0.02), "zx": S(-5), "w": w, "sw": np.float32(0.004), "zw": S(0), "sh": np.float32(0.05),
        "zh": S(11), "v": v, "b": RNG.integers(-900, 900, 16).astype(np.int32), "sb": np.float32(0.0002),
        "sy": np.float32(0.06), "zy": S(3), "zb": np.int32(0),
    }  # fmt: skip
    nodes = [
        node("DequantizeLinear", "x sx zx", "xf"),
        node("DequantizeLinear", "w sw zw", "wf"),
        node("MatMul", "xf wf", "m"),
        node("QuantizeLinear", "m sh zh", "h"),
        node("DequantizeLinear", "h sh zh", "hf"),
        node("DequantizeLinear", "v sw zw", "vf"),
        node("DequantizeLinear", "b sb zb", "bf"),
        node("Gemm", "hf vf bf", "g", transB=turned),
        node("QuantizeLinear", "g sy zy", "q"),
        node("DequantizeLinear", "q sy zy", "qf"),
        node("Add", "qf qf", "s"),
        node("QuantizeLinear", "s sy zy", "y"),
    ]
    path = saved(tmp_path, nodes, {"x": x}, values, ("q", "y"))
    ops = [each.op for each in ms.load_model(path).nodes]
    assert ops.count("Requantize") == 2
    assert ops.count("Quantize") == ops.count("Dequantize") == 1
    held(path, {"x": x}, ("q", "y"), optimised=True)


# -- com.microsoft's, in floats --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "inputs", "attributes"),
    [
        ("QLinearAdd", "x sx zx u su zu sy zy", {}),
        ("QLinearMul", "x sx zx u su zu sy zy", {}),
        ("QLinearSigmoid", "x sx zx s1 z1", {}),
        ("QLinearLeakyRelu", "x sx zx sy zy", {"alpha": 0.1}),
        ("QLinearAveragePool", "x sx zx sy zy", {"kernel_shape": [3, 2], "pads": [1, 0, 1, 1], "strides": [2, 1]}),
        ("QLinearGlobalAveragePool", "x sx zx sy zy", {}),
        ("QLinearConcat", "sy zy x sx zx u su zu", {"axis": 1}),
        ("QLinearSoftmax", "x sx zx s1 z1", {"axis": -1, "opset": 13}),
    ],
)
@pytest.mark.parametrize("dtype", [U, S])
def test_of_microsoft(op: str, inputs: str, attributes: dict[str, Any], dtype: Any, tmp_path: Path) -> None:
    given = {"x": drawn(dtype, 2, 6, 8, 9), "u": drawn(dtype, 2, 6, 8, 9)}
    given = {name: x for name, x in given.items() if name in inputs.split()}
    low = np.iinfo(dtype).min
    values = {
        "sx": np.float32(0.02), "zx": dtype(low + 120), "su": np.float32(0.031), "zu": dtype(low + 3),
        "sy": np.float32(0.045), "zy": dtype(low + 77), "s1": np.float32(1 / 256), "z1": dtype(low),
    }  # fmt: skip
    path = saved(tmp_path, [node(op, inputs, domain="com.microsoft", **attributes)], given, values, ("y",))
    held(path, given)


EVERY = np.arange(256, dtype=U)
ALL_PAIRS = np.repeat(EVERY[:, None], 256, axis=1)
FUSES = " fma " in Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else False


@pytest.mark.parametrize("second", ["all", "one", "of each row", "first"])
@pytest.mark.parametrize("op", ["QLinearAdd", "QLinearMul"])
def test_sums_of_all_pairs(op: str, second: str, tmp_path: Path) -> None:
    """Scales of which many sums are ties. Of "first" it is x that is one number to each row of the other."""
    if op == "QLinearAdd" and not FUSES:
        pytest.skip("ONNX Runtime adds without fused multiplications here")
    others = {"all": ALL_PAIRS.T, "one": EVERY[77:78], "of each row": EVERY[::-1, None], "first": EVERY[:, None]}
    given = {"x": ALL_PAIRS.T if second != "all" else ALL_PAIRS, "u": others[second]}
    if second == "first":
        given = {"x": given["u"], "u": given["x"]}
    scales = (0.02, 0.02, 0.04), (0.025, 0.00615, 0.0075), (0.007 / 4, 0.03, 0.02)
    for s, t, v in scales[: 3 if op == "QLinearAdd" else 2]:
        last = {"zx": U(180), "zu": U(6), "zy": U(80)} if v == 0.0075 else {"zx": U(11), "zu": U(200), "zy": U(77)}
        values = {"sx": np.float32(s), "su": np.float32(t), "sy": np.float32(v), **last}
        path = saved(tmp_path, [node(op, "x sx zx u su zu sy zy", domain="com.microsoft")], given, values, ("y",))
        found = ms.run(path, machine(), inputs=given, check=False).outputs["y"]
        np.testing.assert_array_equal(found, by_onnxruntime(path, given)[0], strict=True)


@pytest.mark.parametrize("op", ["QLinearAveragePool", "QLinearGlobalAveragePool"])
def test_averages_with_ties(op: str, tmp_path: Path) -> None:
    """Of whole and half units, and an odd zero point: where it is added decides where ties go."""
    x = np.random.default_rng(3).integers(0, 256, (1, 64, 4, 4), U)
    values = {"sx": np.float32(0.5), "zx": U(7), "sy": np.float32(1), "zy": U(3)}
    attributes = {"kernel_shape": [2, 2], "strides": [2, 2]} if op == "QLinearAveragePool" else {}
    path = saved(tmp_path, [node(op, "x sx zx sy zy", domain="com.microsoft", **attributes)], {"x": x}, values, ("y",))
    held(path, {"x": x})


def test_averages_that_are_refused(tmp_path: Path) -> None:
    values = {"sx": np.float32(1), "zx": U(0), "sy": np.float32(1), "zy": U(0)}
    for shape, attributes, message in (
        ((1, 2, 2, 1), {"channels_last": 1}, "channels_last must be 0"),
        ((1, 1, 300, 300), {}, "at most 65,793 pixels, not 90,000"),
    ):
        x = np.zeros(shape, U)
        nodes = [node("QLinearGlobalAveragePool", "x sx zx sy zy", domain="com.microsoft", **attributes)]
        with pytest.raises(MinisimError, match=message):
            ms.load_model(saved(tmp_path, nodes, {"x": x}, values, ("y",)))


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "int8"])
def test_bits_do_not_depend_on_what_the_machine_computes_floats_in(dtype: str, tmp_path: Path) -> None:
    x, w = drawn(U, 1, 5, 6, 7), weights(S, 8, 5, 3, 3)
    values = {"w": w, "sx": np.float32(0.03), "zx": U(9), "sw": scales("w", 8, 0.002), "zw": np.zeros(8, S),
              "sy": np.float32(0.07), "zy": U(40)}  # fmt: skip
    path = saved(tmp_path, [node("QLinearConv", "x sx zx w sw zw sy zy")], {"x": x}, values, ("y",))
    found = ms.run(path, machine(matrix__dtype=dtype), inputs={"x": x}).outputs["y"]
    np.testing.assert_array_equal(found, by_onnxruntime(path, {"x": x})[0], strict=True)


def test_scales_that_are_computed_are_float32_again_on_a_machine_of_bfloat16(tmp_path: Path) -> None:
    """The scale is rounded as every result there; what is quantised with it is not far away."""
    x, outputs = FLOATS[1], ("y", "s", "z")
    path = saved(tmp_path, [node("DynamicQuantizeLinear", "x", "y s z")], {"x": x}, {}, outputs)
    found = ms.run(path, machine(matrix__dtype="bf16"), inputs={"x": x}, check=False).outputs
    y, scale, _ = by_onnxruntime(path, {"x": x})
    assert abs(found["s"] / scale - 1) < 2**-7
    assert np.abs(found["y"].astype(int) - y).max() <= 3


def test_a_machine_without_integers_refuses_them_by_name(tmp_path: Path) -> None:
    x, w = drawn(U, 3, 8), weights(S, 8, 5)
    path = saved(tmp_path, [node("MatMulInteger", "x w")], {"x": x}, {"w": w}, ("y",))
    with pytest.raises(MinisimError, match="uint8"):
        ms.run(path, machine(matrix__uint8_rate=0), inputs={"x": x})


def test_the_factor_is_rounded_step_by_step(tmp_path: Path) -> None:
    a, b, y = np.float32(0.004999999888241291), np.float32(0.0689999982714653), np.float32(0.05000000074505806)
    assert (a * b) / y != a * (b / y)
    values = {"w": weights(S, 8, 5), "sx": a, "zx": U(0), "sw": b, "zw": S(0), "sy": y, "zy": U(0)}
    path = saved(tmp_path, [node("QLinearMatMul", "x sx zx w sw zw sy zy")], {"x": drawn(U, 3, 8)}, values, ("y",))
    (matmul,) = ms.load_model(path).nodes
    assert np.float32(matmul.attributes.scale) == (a * b) / y


@pytest.mark.parametrize(("zero", "also"), [(7, False), (0, True), (0, False)])
def test_what_is_not_fused(zero: int, also: bool, tmp_path: Path) -> None:
    """A Relu before a zero point that is not the least integer, and one that somebody else reads."""
    values = {"w": weights(S, 8, 5), "sx": np.float32(0.02), "zx": U(3), "sw": np.float32(0.01), "zw": S(0),
              "sy": np.float32(0.1), "zy": U(zero)}  # fmt: skip
    nodes = [
        node("DequantizeLinear", "x sx zx", "f"),
        node("DequantizeLinear", "w sw zw", "g"),
        node("MatMul", "f g", "m"),
        node("Relu", "m", "r"),
        node("QuantizeLinear", "r sy zy", "y"),
        *([node("Neg", "r", "n")] if also else []),
    ]
    path = saved(tmp_path, nodes, {"x": drawn(U, 3, 8)}, values, ("y", "n") if also else ("y",))
    assert any(each.op == "Quantize" for each in ms.load_model(path).nodes) == (zero != 0 or also)


@pytest.mark.parametrize("of_columns", [False, True])
@pytest.mark.parametrize("dtype", [U, S])
def test_lstm_whose_products_are_of_integers(dtype: Any, of_columns: bool, tmp_path: Path) -> None:
    """Both directions, of unlike scales and zero points; floats differ by last bits, integers would by more."""
    rng, hidden = np.random.default_rng(7), 6
    sizes = (2, 4 * hidden) if of_columns else (2,)
    zeros = {name: np.full(sizes, 0 if dtype is S else z, dtype) for name, z in (("wz", 97), ("rz", 131))}
    values = {
        "W": weights(dtype, 2, 5, 4 * hidden), "R": weights(dtype, 2, hidden, 4 * hidden), **zeros,
        "B": rng.standard_normal((2, 8 * hidden)).astype(np.float32) * 0.3,
        **{name: rng.uniform(0.002, 0.01, sizes).astype(np.float32) for name in ("ws", "rs")},
    }  # fmt: skip
    given = {name: rng.standard_normal(shape).astype(np.float32)
             for name, shape in (("X", (5, 1, 5)), ("h", (2, 1, hidden)), ("c", (2, 1, hidden)))}  # fmt: skip
    names = "X W R B - h c - ws wz rs rz"
    of_node = {"domain": "com.microsoft", "hidden_size": hidden, "direction": "bidirectional"}
    path = saved(tmp_path, [node("DynamicQuantizeLSTM", names, "y yh yc", **of_node)], given, values, ("y", "yh", "yc"))
    found = ms.run(path, machine(), inputs=given)
    for name, expected in zip(("y", "yh", "yc"), by_onnxruntime(path, given), strict=True):
        np.testing.assert_allclose(found.outputs[name], expected, atol=1e-6)
    small = ms.run(path, SMALL, inputs=given, check=False).outputs
    assert {name: y.tobytes() for name, y in small.items()} == {name: y.tobytes() for name, y in found.outputs.items()}


def test_lstm_of_integers_that_is_refused(tmp_path: Path) -> None:
    of_node = {"domain": "com.microsoft", "hidden_size": 2}
    nodes = [node("DynamicQuantizeLSTM", "X W R - - - - - ws wz rs rz", **of_node)]
    values = {"W": drawn(U, 1, 3, 8), "R": drawn(U, 1, 2, 8), "wz": U([1]), "rz": U([1]),
              "ws": np.float32([1]), "rs": np.float32([1])}  # fmt: skip
    x = {"X": np.zeros((2, 1, 3), np.float32)}
    for wrong, message in (
        ({"ws": np.ones((1, 5), np.float32)}, r"a scale must have shape \(1,\) or \(1, 8\), not \(1, 5\)"),
        ({"W": drawn(U, 1, 8, 3)}, r"W must have shape \(1, 3, 8\), not \(1, 8, 3\)"),
        ({"W": np.zeros((1, 3, 8), np.float32)}, "W and R must be int8 or uint8, not float32"),
    ):
        with pytest.raises(MinisimError, match=message):
            ms.load_model(saved(tmp_path, nodes, x, values | wrong, ("y",)))


def test_convolution_of_integers_with_two_zero_points_of_which_one_is_computed(tmp_path: Path) -> None:
    """And filters that no byte holds less theirs; padding counts as 0 of both."""
    nodes = [
        node("DynamicQuantizeLinear", "x", "q s z"),
        node("ConvInteger", "q w z wz", pads=[1, 0, 1, 2], strides=[1, 2]),
    ]
    path = saved(tmp_path, nodes, {"x": FLOATS[:, :, :, :8] % 5}, {"w": drawn(U, 4, 5, 3, 3), "wz": U(97)}, ("y",))
    held(path, {"x": FLOATS[:, :, :, :8] % 5})
