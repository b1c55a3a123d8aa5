"""Built-in shapes, and how a spec finds its front end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from minisim.compiler.frontend import builtin, load_model
from minisim.compiler.graph import Graph
from minisim.errors import ModelError


def test_gemm_has_its_names_and_shapes() -> None:
    graph = load_model("gemm:2x3x4")
    assert list(graph.lines()) == [
        "graph gemm",
        "  input  a [2, 3]",
        "  weight b [3, 4]",
        "  c [2, 4] = MatMul(a, b)",
        "  output c = c",
    ]


def test_gemm_is_the_same_each_time_and_of_the_order_of_a_tenth() -> None:
    first, second = (load_model("gemm:8x64x64").tensors["b"].data for _ in range(2))
    assert first is not None and second is not None
    assert first.dtype == np.float32
    assert first.std() == pytest.approx(0.1, rel=0.05)
    np.testing.assert_array_equal(first, second)


def test_softmax_and_layernorm_are_one_operation_each() -> None:
    assert list(load_model("softmax:2x3").lines())[-2:] == ["  y [2, 3] = Softmax(x, scalar)", "  output y = y"]
    graph = load_model("layernorm:2x300")
    node = "  y [2, 300] = LayerNorm(x, scalar, scalar_1, scalar_2, scale, bias)"
    assert list(graph.lines())[-2:] == [node, "  output y = y"]
    scale, bias = graph.tensors["scale"].data, graph.tensors["bias"].data
    assert scale is not None and bias is not None
    assert (scale.mean(), bias.mean()) == pytest.approx((1, 0), abs=0.02)
    assert scale.std() == pytest.approx(0.1, rel=0.1)


def test_conv_is_one_operation() -> None:
    lines = list(load_model("conv:1x16x12x3,8x5x3,2,1").lines())
    assert lines[-2:] == ["  y [1, 7, 6, 8] = Conv(x, filters.k) kernel=(5, 3) pads=(1, 1, 1, 1) strides=(2, 2)",
                          "  output y = y"]  # fmt: skip
    with pytest.raises(ModelError, match=r"model 'conv:1x2x2x1,1x3x3,1,0': .*does not fit into the padded image"):
        load_model("conv:1x2x2x1,1x3x3,1,0")
    with pytest.raises(ModelError, match="strides must be from 1 to"):
        load_model("conv:1x4x4x1,1x3x3,0,0")


def test_attention_is_what_numpy_says() -> None:
    graph = load_model("attention:2x5x3")
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((2, 5, 3)) for _ in range(3))
    scores = np.exp(q @ k.swapaxes(1, 2) / np.sqrt(3))
    expected = scores / scores.sum(axis=-1, keepdims=True) @ v
    assert graph.evaluate({"q": q, "k": k, "v": v})["y"] == pytest.approx(expected, rel=1e-6)
    with pytest.raises(ModelError, match="tensor 'scores'"):
        load_model("attention:8x65536x1")


FORM = "must have the form gemm:MxKxN"
BUILT_IN = "gemm:MxKxN, conv:NxHxWxC,KxRxS,stride,pad, softmax:RxC, layernorm:RxC, attention:HxSxD"
LISTED = "be a network (minisim models lists them)"
ENDINGS = f"must end in .py, .onnx, .pt2 or .csv, {LISTED}, or a built-in shape ({BUILT_IN})"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "gem:2x2x2",
            f"unknown built-in 'gem'; did you mean 'gemm'? (built-in: {BUILT_IN})",
        ),
        (
            "tralala:2",
            f"unknown built-in 'tralala'; (built-in: {BUILT_IN})",
        ),
        ("gemm:12x", FORM),
        ("gemm:", FORM),
        ("gemm:2x2x2x2", FORM),
        ("gemm:2,2,2", FORM),
        ("gemm:2x2x", "N must be a whole number from 1 to 2147483648, not ''"),
        ("gemm:2x2x2.5", "N must be a whole number from 1 to 2147483648, not '2.5'"),
        ("gemm:0x2x2", "M must be a whole number from 1 to 2147483648, not '0'"),
        ("gemm:2x-2x2", "K must be a whole number from 1 to 2147483648, not '-2'"),
        ("gemm:1_0x2x2", "M must be a whole number from 1 to 2147483648, not '1_0'"),
        ("gemm:٣x2x2", "M must be a whole number from 1 to 2147483648, not '٣'"),
        ("gemm:65536x65536x1", "tensor 'a' (65536, 65536) would have 4294967296 elements; the most is 2147483648"),
        ("gemm:1x65536x65536", "tensor 'b' (65536, 65536) would have 4294967296 elements; the most is 2147483648"),
        ("gemm:65536x1x65536", "tensor 'c' (65536, 65536) would have 4294967296 elements; the most is 2147483648"),
        ("softmax:3", "must have the form softmax:RxC"),
        ("layernorm:3x0", "C must be a whole number from 1 to 2147483648, not '0'"),
        ("softmax:65536x65536", "tensor 'x' (65536, 65536) would have 4294967296 elements; the most is 2147483648"),
        ("", ENDINGS),
        ("resnet", ENDINGS + "; did you mean 'resnet50'?"),
        ("gemmm", ENDINGS + "; did you mean 'gemm'?"),
        ("mlp.onx", ENDINGS + "; did you mean 'mlp.onnx'?"),
        ("mpl.py", "no such file; did you mean 'mlp.py'?"),
        ("elsewhere/mlp.py", "no such file"),
        ("folder.py", "is a directory, not a file"),
        ("folder.onnx", "is a directory, not a file"),
    ],
)
def test_what_a_spec_may_not_be(spec: str, message: str, folder: Path) -> None:
    for name in ("mlp.py", "mlp.onnx"):
        (folder / name).touch()
    for name in ("folder.py", "folder.onnx"):
        (folder / name).mkdir()
    with pytest.raises(ModelError) as caught:
        load_model(spec)
    assert str(caught.value) == f"model {spec!r}: {message}"


def test_a_number_of_a_million_digits_is_refused_as_any_other() -> None:
    with pytest.raises(ModelError, match="M must be a whole number from 1 to 2147483648, not '9999"):
        load_model(f"gemm:{'9' * 1_000_000}x1x1")


def test_a_new_built_in_is_one_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builtin, "BUILTINS", dict(builtin.BUILTINS))
    received: list[tuple[int, ...]] = []

    @builtin.builtin("pool:NxHxWxC,KxRxS,stride,pad")
    def pool(*numbers: int) -> Graph:
        received.append(numbers)
        return builtin.gemm(1, 1, 1)

    builtin.load_builtin("pool:1x8x8x3,16x3x3,2,0")
    assert received == [(1, 8, 8, 3, 16, 3, 3, 2, 0)]
    with pytest.raises(ModelError, match="C must be a whole number from 1"):
        builtin.load_builtin("pool:1x8x8x0,16x3x3,2,0")
    with pytest.raises(ValueError, match="registered twice"):
        builtin.builtin("pool:N")(pool)
