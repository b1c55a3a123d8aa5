"""Typed graphs, what a machine's type makes of a float model, and where partial sums live."""

from __future__ import annotations

import numpy as np
import pytest
from support.graphs import example, gemm, small_mlp, values
from support.machines import key, least_accumulator, least_sram, lowered, machine
from support.oracle import round_bf16

import minisim as ms
from minisim.compiler.dtypes import converted, quantize, requantize, round_bfloat16
from minisim.compiler.example_inputs import example_inputs
from minisim.compiler.passes.schedule import Allocate
from minisim.compiler.pipeline import compile_undispatched, computed_graph
from minisim.errors import CapacityError, ModelError, ShapeError, UnsupportedError, UsageError
from minisim.hwmodel.isa import NONE, DType, Opcode, touches

BF16, INT8 = machine(matrix__dtype="bf16"), machine(matrix__dtype="int8")


def int8_graph(k: int = 8, n: int = 4) -> tuple[ms.Graph, ms.Tensor, ms.Tensor]:
    g = ms.Graph("m")
    return g, g.input("x", (6, k), dtype="int8"), g.weight("w", np.ones((k, n)), "int8")


# -- values --------------------------------------------------------------------------------------------------


def test_rounding_to_bfloat16_is_to_nearest_even() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2**32, 20_000, dtype=np.uint32).view(np.float32)
    ties = (rng.integers(0, 2**16, 2000, dtype=np.uint32) << 16 | 0x8000).view(np.float32)
    for x in (values, ties, np.array([np.inf, -np.inf, np.nan, 0.0, -0.0, 3.4e38], np.float32)):
        assert round_bfloat16(x).tobytes() == round_bf16(x).tobytes()


def test_quantised_values_are_symmetric_and_saturate() -> None:
    assert quantize([-300, -2, -1.5, -0.5, 0.5, 1.5, 300, np.nan], 1.0).tolist() == [-127, -2, -2, 0, 0, 2, 127, 0]
    assert requantize(np.array([-9999, -3, -1, 1, 3, 5, 9999]), 0.5).tolist() == [-128, -2, 0, 0, 2, 2, 127]


@pytest.mark.parametrize("wrong", [0.5, 128, -129, np.inf, np.nan])
def test_what_is_no_int8(wrong: float) -> None:
    with pytest.raises(ValueError, match="a value must be an integer from -128 to 127, not"):
        converted([0, wrong], "int8")
    g, x, w = int8_graph()
    g.output(g.matmul(x, w))
    with pytest.raises(UsageError, match="input 'x' is INT8: a value must be an integer"):
        ms.run(g, inputs={"x": np.full((6, 8), wrong)})
    with pytest.raises(ModelError, match="tensor 'v': a value must be an integer from -128 to 127"):
        g.weight("v", np.full((2, 2), wrong), "int8")


def test_example_inputs_have_their_type() -> None:
    g = ms.Graph()
    for dtype in ("float32", "bfloat16", "int8", "int32"):
        g.input(dtype, (64, 64), dtype=dtype)
    found = example_inputs(g)
    assert {name: x.dtype.name for name, x in found.items()} == {
        "float32": "float32", "bfloat16": "float32", "int8": "int8", "int32": "int32"
    }  # fmt: skip
    assert found["bfloat16"].tobytes() == round_bf16(found["bfloat16"]).tobytes()
    assert (found["int8"].min(), found["int8"].max()) == (-128, 127)


# -- graphs --------------------------------------------------------------------------------------------------


def test_types_go_from_operands_to_results() -> None:
    g, x, w = int8_graph()
    assert g.matmul(x, w).dtype == "int32"
    assert g.relu(g.matmul(x, w, scale=0.1)).dtype == "int8"
    b = g.input("b", (6, 8), dtype="bfloat16")
    assert (b * 2.0 + b).dtype == g.sigmoid(b).dtype == "bfloat16"
    assert g.reshape(x, (8, 6)).dtype == "int8"


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda g, x, w: g.sigmoid(x), "operands must be float32 or bfloat16 or float16, not int8"),
        (lambda g, x, w: g.add(x, g.cast(x, "int16")), "operands must be of one type, not int8 and int16"),
        (lambda g, x, w: g.mul(x, 300), "a value must be an integer from -128 to 127, not 300"),
        (lambda g, x, w: g.matmul(x, g.weight("f", np.ones((8, 2)))), "or int16 by int8, not int8 by float32"),
        (lambda g, x, w: g.matmul(x, w, scale=0.1, narrow="int16"), "requantised to int8 or uint8, not 'int16'"),
        (lambda g, x, w: g.cast(x, "float64"), "dtype must be float32, .*, not 'float64'"),
        (lambda g, x, w: g.rescale(x, g.cast(x, "float32"), "int8"), "a factor must be a number or a float32 weight"),
        (lambda g, x, w: g.rescale(x, 0.5, "bool"), "operands must be .*, not bool"),
        (lambda g, x, w: g.matmul(g.matmul(x, w), g.weight("v", np.ones((4, 2)), "int32")), "not int32"),
        (lambda g, x, w: g.matmul(x, w, bias=g.weight("f", np.ones(4))), "bias of an int8 matmul must be int32"),
        (lambda g, x, w: g.matmul(x, w, scale=0.0), "scale must be a positive float32, not 0.0"),
        (lambda g, x, w: g.matmul(x, w, scale=1e-50), "scale must be a positive float32, not 1e-50"),
        (lambda g, x, w: g.matmul(*[g.input(n, (2, 2)) for n in "ab"], scale=0.5), "sums of integers, not of float32"),
    ],
)  # fmt: skip
def test_what_int8_does_not_have(build: object, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build(*int8_graph())  # type: ignore[operator]


def test_a_bias_of_another_length() -> None:
    g, x, w = int8_graph()
    with pytest.raises(ShapeError, match="the bias must have 4 values, not shape"):
        g.matmul(x, w, bias=g.weight("b", np.ones(5), "int32"))


def test_an_unknown_type() -> None:
    with pytest.raises(ModelError, match=r"tensor 'x': dtype must be float32, .*, not 'int9'; did you mean 'int8'"):
        ms.Graph().input("x", (2, 2), dtype="int9")


def test_a_type_that_the_array_does_not_have() -> None:
    g, x, w = int8_graph()
    g.output(g.matmul(x, w, name="y"))
    with pytest.raises(UnsupportedError, match=r"node 'y': the array has no int8 \(matrix\.int8_rate is 0\)"):
        ms.compile_graph(g, machine(matrix__int8_rate=0))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_gemm_is_built_in_any_type(dtype: str) -> None:
    g = ms.load_model("gemm:40x300x50", dtype)
    assert {t.dtype for t in g.tensors.values()} == {dtype}
    y = g.evaluate(example_inputs(g))["c"]
    if dtype == "int8":
        assert 25 < y.std() < 40  # of all 256 values, and few of them saturate
        assert (np.abs(y) >= 127).mean() < 1e-3


# -- cast and quantize ---------------------------------------------------------------------------------------


def test_a_cast_model_has_rounded_weights_and_the_same_operations() -> None:
    graph = example("mlp")
    cast = computed_graph(graph, BF16)
    assert {t.dtype for t in cast.tensors.values()} == {"bfloat16"}
    assert [node.title for node in cast.nodes] == [node.title for node in computed_graph(graph, machine()).nodes]
    for name in ("w1", "w2", "w3"):
        assert cast.tensors[name].data.tobytes() == round_bf16(graph.tensors[name].data).tobytes()
    assert graph.tensors["w1"].dtype == "float32"  # a pass never changes its input


def test_quantisation_by_hand() -> None:
    """x of 0..10, w of -1..1: scales are max / 127, the bias is in units of their product."""
    g = ms.Graph()
    x = g.input("x", (2, 2), data=np.array([[0, 10], [5, 2.5]]))
    w, b = g.weight("w", np.array([[1, -0.5], [0.25, 0]])), g.weight("b", np.array([1, -20]))
    g.output(g.relu(x @ w + b), "y")
    found = computed_graph(g, INT8)
    (node,), t = found.nodes, found.tensors
    assert (t["x"].scale, t["w"].scale, t["relu"].scale) == pytest.approx((10 / 127, 1 / 127, 6.625 / 127))
    assert t["w"].data.tolist() == [[127, -64], [32, 0]]
    assert t["b"].data.tolist() == [round(127 * 127 / 10), round(-20 * 127 * 127 / 10)]
    assert (t["b"].dtype, t["b"].scale) == ("int32", pytest.approx(10 / 127 / 127))
    assert node.attributes.scale == np.float32(t["b"].scale / t["relu"].scale)


def test_a_bias_that_two_layers_share_is_quantised_for_each() -> None:
    g = ms.Graph()
    w, b = g.weight("w", np.eye(8)), g.weight("b", np.arange(8))
    h = g.input("x", (4, 8), data=np.ones((4, 8))) @ w + b
    g.output(h @ w + b, "y")
    biases = [t for t in computed_graph(g, INT8).tensors.values() if t.dtype == "int32"]
    assert [t.name for t in biases] == ["b", "b.1"]
    assert biases[0].scale != biases[1].scale
    assert ms.run(g, INT8).max_abs_error < 0.2


def titles(graph: ms.Graph) -> list[str]:
    return [node.title for node in computed_graph(graph, INT8).nodes]


def test_what_integers_do_not_have_is_computed_in_floats_between_conversions() -> None:
    """A sigmoid behind a matmul; what lies between float operations alone stays float32, and so does their output."""
    g = ms.Graph("net")
    h = g.sigmoid(g.input("x", (4, 4)) @ g.weight("w", np.eye(4)), name="gate")
    s = g.add(g.mul(h, h, name="square"), h, name="sum")
    g.output(s, "y")
    assert titles(g) == ["MatMul", "Rescale", "Sigmoid", "Mul", "Add"]
    g.output(s @ g.weight("v", np.eye(4)), "z")  # now integers read the sum
    assert titles(g) == ["MatMul", "Rescale", "Sigmoid", "Mul", "Add", "Rescale", "MatMul"]
    computed = computed_graph(g, INT8)
    assert [computed.tensors[n.output].dtype for n in computed.nodes] == ["int8", *["float32"] * 4, "int8", "int8"]
    assert ms.run(g, INT8).max_abs_error < 0.02


def test_a_residual_is_added_in_floats_and_lies_in_memory_as_int8() -> None:
    g = ms.Graph("block")
    x = g.input("x", (6, 8))
    h = g.relu(x @ g.weight("w", np.eye(8)), name="h")
    r = g.relu(g.add(h @ g.weight("v", 2 * np.eye(8)), h), name="r")
    g.output(g.relu(g.add(r @ g.weight("u", np.eye(8)), r)), "y")
    computed = computed_graph(g, INT8)
    back, add = ["Rescale", "Rescale"], ["Add", "Relu"]
    assert titles(g) == ["FusedMatMulReLU", "MatMul", *back, *add, "Rescale", "MatMul", *back, *add]
    factors = [computed.tensors[n.present[1]].data.item() for n in computed.nodes if n.op == "Rescale"]
    of = {name: tensor.scale for name, tensor in computed.tensors.items()}
    expected = [of["r/sums"], of["h"], 1 / of["r/int8"], of["relu/sums"], of["r/int8"]]
    assert factors == [np.float32(scale) for scale in expected]


def test_what_is_concatenated_has_one_scale() -> None:
    g = ms.Graph("concat")
    x = g.input("x", (6, 8), data=np.ones((6, 8)))
    parts = [x @ g.weight(f"w{i}", (i + 1) * np.eye(8)) for i in range(3)]
    g.output(g.concat(parts, axis=1) @ g.weight("v", np.ones((24, 1))), "y")
    computed = computed_graph(g, INT8)
    assert [computed.tensors[name].scale for name in ("matmul", "matmul_1", "matmul_2", "concat")] == [3 / 127] * 4
    assert ms.run(g, INT8).max_abs_error < 1


def test_a_clip_behind_a_matmul_is_where_int8_saturates() -> None:
    """A ReLU6: the greatest value stands for what calibration saw behind the clip, 6 or less."""
    g = ms.Graph("clip")
    x = g.input("x", (2, 3), data=np.array([[1.0, 5, 9], [-4, 6.5, 3]]))
    g.output(g.clip(x @ g.weight("w", np.eye(3)), 0, 6), "y")
    assert titles(g) == ["FusedMatMulReLU"]
    found = ms.run(g, INT8)
    assert found.outputs["y"].max() == np.float32(6) and found.max_abs_error < 9 / 127
    h = ms.Graph("other")
    x = h.input("x", (2, 3), data=np.ones((2, 3)))
    h.output(h.clip(x @ h.weight("w", np.eye(3)), -1, 1), "y")
    assert titles(h) == ["MatMul", "Rescale", "Clip"]


def test_the_filters_of_a_grouped_convolution_have_a_scale_each() -> None:
    """Of two channels a hundredfold apart neither is lost, as one of them is with one scale."""
    g = ms.Graph("depthwise")
    x = g.input("x", (1, 6, 6, 2))
    w = np.random.default_rng(0).standard_normal((3, 3, 1, 2)) * [1, 0.01]
    bias = g.weight("b", np.array([0.1, 0.001]))
    g.output(g.relu(g.conv2d(x, g.weight("w", w), bias=bias, groups=2)), "y")
    computed = computed_graph(g, INT8)
    assert titles(g) == ["FusedConvBiasReLU", "Rescale"]
    conv, rescale = computed.nodes
    assert (computed.tensors[conv.output].dtype, conv.attributes.scale) == ("int32", None)
    assert computed.tensors[rescale.present[1]].shape == (1, 2)
    filters = computed.tensors[conv.present[1]].data
    assert np.abs(filters).max(axis=0).tolist() == [127, 127]
    result = ms.run(g, INT8)
    plain = ms.run(g).outputs["y"]
    assert np.abs(result.outputs["y"] - plain)[..., 1].max() < 0.02 * plain[..., 0].max()
    alone = ms.Graph("alone")  # a convolution that has the name of its output
    alone.output(alone.conv2d(alone.input("x", (1, 9, 9, 8)), alone.weight("w", shape=(3, 3, 1, 8)), groups=8))
    names = [node.name for node in computed_graph(alone, INT8).nodes]
    assert names == ["conv/sums", "conv/requantised"]
    assert ms.run(alone, "gemmini_16x16").max_abs_error < 0.05


def test_values_that_no_scale_covers() -> None:
    g = ms.Graph("net")
    g.output(g.input("x", (2, 2), data=np.array([[1, np.inf], [0, 0]])) @ g.weight("w", np.eye(2)))
    with pytest.raises(ModelError, match="tensor 'x' has values that int8 cannot scale: inf"):
        ms.compile_graph(g, INT8)


def test_a_model_of_zeros_stays_one() -> None:
    g = ms.Graph()
    g.output(g.input("x", (4, 4), data=np.zeros((4, 4))) @ g.weight("w", np.zeros((4, 4))), "y")
    assert ms.run(g, INT8).max_abs_error == 0


def test_the_perceptron_in_int8() -> None:
    """examples/mlp.py: within a few of the 127 steps of the largest output, and in a quarter of the bytes."""
    plain, found = ms.run(example("mlp")), ms.run(example("mlp"), INT8)
    assert 0 < found.max_abs_error < 0.04 * np.abs(plain.outputs["y"]).max()
    assert found.outputs["y"].dtype == np.float32
    moved = [r.record().work.bytes for r in (plain, found)]
    assert moved[1] * 4 == moved[0]
    assert found.cycles < plain.cycles / 2


# -- where sums live -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("memory", ["0", "16KiB"])
@pytest.mark.parametrize("k", [32, 96])
def test_sums_have_tiles_only_where_they_must(dtype: str, memory: str, k: int) -> None:
    """Several steps, and a result of another type or memory."""
    schedule = ms.compile_graph(ms.load_model(f"gemm:64x{k}x64", dtype), machine(accumulator__bytes=memory))
    x = schedule.matmuls
    apart = k > 32 and (dtype != "float32" or memory != "0")
    assert schedule.tensor_names == ("a", "b", "c", "c.acc")[: 4 if apart else 3]
    assert np.all((x["acc"] != NONE) == apart)
    if apart:
        sums = schedule.tensors[3]
        assert sums["dtype"] == (DType.INT32 if dtype == "int8" else DType.FP32)
        used = x["acc_sram"][touches(x, "acc")]
        assert np.all((used >= schedule.sram_bytes) == (memory != "0"))
    for name in ("a", "b", "c"):
        addresses = x[f"{name}_sram"]
        assert np.all(addresses[addresses != NONE] < schedule.sram_bytes)
    assert schedule.sram_final_live_bytes == 0


DEEP = "gemm:128x512x128"
"""8 x 32 x 8 tiles of 16: operands of 64 KiB each in int8, sums of 1 KiB a tile."""


def deep(sram: str, accumulator: str) -> ms.Machine:
    edges = {f"tile__{edge}": 16 for edge in "mkn"}
    return machine(matrix__dtype="int8", sram__bytes=sram, accumulator__bytes=accumulator, **edges)


@pytest.mark.parametrize("tiles", [1, 4, 16])
def test_panels_fit_into_the_accumulator_memory(tiles: int) -> None:
    """More sums live at once in a larger one, never more than it holds, and none of them is ever spilled."""
    schedule = compile_undispatched(ms.load_model(DEEP, "int8"), deep("16KiB", f"{tiles}KiB"))
    x = schedule.matmuls[schedule.stream["row"][schedule.stream["opcode"] == Opcode.EXECUTE]]
    live = np.cumsum(x["step"] == 0).astype(int) - np.cumsum(x["last"]).astype(int)
    assert tiles / 2 <= live.max() <= tiles
    moved = schedule.tiles["tensor"][schedule.transfers["tile"]]
    assert "c.acc" not in {schedule.tensor_names[i] for i in np.unique(moved)}


def test_a_larger_accumulator_memory_means_less_traffic() -> None:
    moved = [
        int(np.sum(ms.compile_graph(ms.load_model(DEEP, "int8"), deep("16KiB", size)).layers["loads"]))
        - int(np.sum(ms.compile_graph(ms.load_model(DEEP, "int8"), deep("16KiB", size)).layers["loads_eliminated"]))
        for size in ("1KiB", "4KiB", "16KiB", "64KiB")
    ]
    assert moved == sorted(moved, reverse=True)
    assert moved[0] > 3 * moved[-1]


@pytest.mark.parametrize("memory", ["scratchpad", "accumulator"])
def test_sums_that_do_not_fit_are_spilled(memory: str) -> None:
    """Panels cut for much room, on a machine with little: sums go through DRAM and come back, to the bit."""
    graph, apart = ms.load_model(DEEP, "int8"), memory == "accumulator"
    ample = deep("32KiB", "64KiB" if apart else "0")
    tight = deep("8KiB", "3KiB" if apart else "0")
    schedule = Allocate(tight).apply(lowered(graph, ample, ample.sram.bytes))
    schedule.verify()
    loads = schedule.transfers[schedule.stream["row"][schedule.stream["opcode"] == Opcode.LOAD]]
    assert (schedule.tiles["tensor"][loads["tile"]] == schedule.tensor_names.index("c.acc")).sum() > 10
    found, plain = ms.run(graph, tight, schedule=schedule), ms.run(graph, ample)
    assert found.output_sha256 == plain.output_sha256
    assert found.max_abs_error == 0


@pytest.mark.parametrize("k", [32, 96])
def test_an_accumulator_memory_that_is_too_small(k: int) -> None:
    """It has to hold the sums of one operation, also of an only step."""
    graph = ms.load_model(f"gemm:40x{k}x32", "int8")
    base = machine(accumulator__bytes="4KiB", matrix__dtype="int8", tile__m=32, tile__k=32, tile__n=32)
    assert least_accumulator(graph, base) == 4096
    ms.compile_graph(graph, base)
    with pytest.raises(CapacityError, match=r"accumulator\.bytes: layer 'c' needs at least 4096 bytes .*, not 4032"):
        ms.compile_graph(graph, base.with_overrides({"accumulator.bytes": 4032}))


def test_sums_apart_leave_the_scratchpad_to_operands() -> None:
    graph = gemm(64, 96, 64)
    without, beside = machine(matrix__dtype="bf16"), machine(matrix__dtype="bf16", accumulator__bytes="4KiB")
    tile = 32 * 32 * 2
    assert least_sram(graph, beside) == 3 * tile + 64  # a, b, c and a row of bias
    assert least_sram(graph, without) == 3 * tile + 64 + 2 * tile  # and the sums, in fp32


def test_what_a_machine_computes_in_is_part_of_the_key() -> None:
    keys = {key(small_mlp(), machine(matrix__dtype=dtype)) for dtype in ("fp32", "bf16", "int8")}
    assert len(keys) == 3


def test_what_is_moved_keeps_its_scale() -> None:
    """A transpose and a pad of zeros between two matmuls, in int8."""
    rng = np.random.default_rng(0)
    g = ms.Graph("moved")
    h = g.transpose(g.input("x", (24, 16)) @ g.weight("w", values(rng, (16, 20))))
    g.output(g.pad(h, [(0, 0), (0, 8)]) @ g.weight("v", values(rng, (32, 8))), "y")
    on = INT8
    computed = computed_graph(g, on)
    scales = [computed.tensors[name].scale for name in ("matmul", "transpose", "take")]
    assert scales[0] and len(set(scales)) == 1
    result = ms.run(g, on)
    assert result.difference is not None and result.difference.sqnr_db > 25
    g.output(g.pad(h, [(0, 0), (0, 8)], value=1, name="ones"), "z")  # a fill that no scale has: in floats
    assert titles(g).count("Rescale") == 1


def test_what_is_added_to_integers_behind_the_array_is_added_there_alone() -> None:
    """An int32 residual, and a row behind a requantisation: the epilogue of integers has neither."""
    rng = np.random.default_rng(2)
    a, w = rng.integers(-128, 128, (6, 8), dtype=np.int8), rng.integers(-128, 128, (8, 4), dtype=np.int8)
    more, row = rng.integers(-(2**30), 2**30, (6, 4), dtype=np.int32), rng.integers(-128, 128, (1, 4), dtype=np.int8)
    g = ms.Graph()
    x, weight = g.input("x", a.shape, dtype="int8"), g.weight("w", w, "int8")
    g.output(g.add(x @ weight, g.input("more", more.shape, dtype="int32")), "residual")
    g.output(g.add(g.matmul(x, weight, scale=0.01), g.weight("row", row, "int8")), "row")
    result = ms.run(g, inputs={"x": a, "more": more})
    np.testing.assert_array_equal(result.outputs["residual"], a.astype(np.int32) @ w.astype(np.int32) + more)
    sums = requantize(a.astype(np.int64) @ w.astype(np.int64), 0.01)
    np.testing.assert_array_equal(result.outputs["row"], (sums + row).astype(np.int8))


def test_an_integer_that_float32_has_not_is_no_immediate() -> None:
    g = ms.Graph()
    x = g.input("x", (2, 3), dtype="int32")
    g.output(g.add(x, 2**24 + 1), "odd")
    g.output(g.add(x, 2**24), "even")
    result = ms.run(g, inputs={"x": np.zeros((2, 3), np.int32)})
    assert (result.outputs["odd"] == 2**24 + 1).all() and (result.outputs["even"] == 2**24).all()
    assert [int(row["src1"]) == NONE for row in result.schedule.vectors] == [False, True]
