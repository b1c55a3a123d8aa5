"""A transposed convolution with strides is the convolutions of its phases: no zero between two pixels is multiplied."""

from __future__ import annotations

import numpy as np
import pytest
from support.graphs import inputs_of, values
from support.machines import machine
from support.oracle import bits, evaluate

import minisim as ms
from minisim.compiler.geometry import Geometry
from minisim.compiler.pipeline import computed_graph


def up(
    size: tuple[int, ...], kernel: tuple[int, int], strides: tuple[int, int], special: float = 0.0, **more: object
) -> ms.Graph:
    """Two images of 9 channels to 5."""
    rng, g = np.random.default_rng(0), ms.Graph()
    x, w = g.input("x", (2, *size, 9)), g.weight("w", values(rng, (*kernel, 9, 5), special))
    b = g.weight("b", values(rng, (5,)))
    g.output(g.relu(g.conv_transpose2d(x, w, bias=b, strides=strides, **more)), "y")  # type: ignore[arg-type]
    return g


def test_macs_are_those_of_the_taps_of_each_phase() -> None:
    """Of 2x2 taps and strides of 2 each of 6 x 5 pixels gives four products for each channel and filter. Of 4x4 taps
    each phase has 2x2, and a line and a column more, where some lie in the padding: (6 + 1) x (5 + 1) pixels."""
    for kernel, pairs in (((2, 2), 4 * 6 * 5), ((4, 4), 4 * 7 * 6 * 4)):
        schedule = ms.compile_graph(up((6, 5), kernel, (2, 2)), machine())
        assert schedule.layers["macs"].sum() == 2 * 9 * 5 * pairs


@pytest.mark.parametrize(
    ("size", "kernel", "strides", "more"),
    [
        ((4, 5), (3, 3), (2, 2), {"pads": 1}),
        ((4, 5), (1, 2), (2, 3), {}),  # phases without a tap
        ((7,), (1, 4), (1, 3), {"pads": (0, 2, 0, -1)}),
        ((3, 2), (3, 2), (2, 2), {"dilations": (3, 2)}),  # one phase begins beyond its first pixel, others have no tap
        ((1, 1), (1, 1), (4, 4), {"pads": (0, 0, -2, -3)}),
    ],
)
def test_the_bits_are_those_of_the_definition(
    size: tuple[int, ...], kernel: tuple[int, int], strides: tuple[int, int], more: dict[str, object]
) -> None:
    """Infinite filters tell a zero that is multiplied from one that is not."""
    g = up(size, kernel, strides, special=0.05, **more)
    inputs = inputs_of(g, 1, special=0.05)
    expected = bits(evaluate(g, inputs)["y"])
    for there in (machine(tile__m=8, tile__k=8, tile__n=4), machine(cores__count=3, tile__m=4)):
        assert np.array_equal(bits(ms.run(g, there, inputs=inputs).outputs["y"]), expected)


def test_a_zero_between_pixels_is_not_multiplied() -> None:
    g = ms.Graph()
    x, w = g.input("x", (1, 2, 2, 1)), g.weight("w", np.array([1, np.inf, 1, 1]).reshape(2, 2, 1, 1))
    g.output(g.conv_transpose2d(x, w, strides=2), "y")
    y = ms.run(g, machine(), inputs={"x": np.ones((1, 2, 2, 1), np.float32)}).outputs["y"]
    assert np.array_equal(np.isinf(y[0, :, :, 0]), [[False, True] * 2, [False] * 4] * 2) and not np.isnan(y).any()


def test_filters_that_are_computed_a_residual_and_integers() -> None:
    g = ms.Graph()
    x, w = g.input("x", (1, 3, 4, 30)), g.input("w", (3, 2, 30, 6))
    y = g.conv_transpose2d(x, g.relu(w), strides=2)
    g.output(g.relu(g.add(y, g.input("r", y.shape))), "y")
    inputs = inputs_of(g)
    found = ms.run(g, machine(), inputs=inputs).outputs["y"]
    assert np.array_equal(bits(found), bits(_with_filters(inputs)))
    titles = [node.op for node in computed_graph(g, machine()).nodes]
    assert titles.count("Conv") == titles.count("Take") == 4 and titles[-3:] == ["Interleave", "Add", "Relu"]


def test_in_integers() -> None:
    """Each phase has the units of the whole: of 6 x 5 x 9 numbers of one size the error is that of eight bits."""
    g, rng = ms.Graph(), np.random.default_rng(0)
    x, w = g.input("x", (1, 6, 5, 9)), g.weight("w", rng.normal(size=(3, 2, 9, 4)))
    g.output(g.conv_transpose2d(x, w, strides=2), "y")
    on = machine(matrix__dtype="int8")
    assert "Interleave" in [node.op for node in computed_graph(g, on).nodes]
    difference = ms.run(g, on).difference
    assert difference is not None and difference.sqnr_db > 30


def _with_filters(inputs: dict[str, np.ndarray]) -> np.ndarray:
    """The same with filters that are constants."""
    g = ms.Graph()
    x, w = g.input("x", (1, 3, 4, 30)), g.weight("w", np.maximum(inputs["w"], 0))
    y = g.conv_transpose2d(x, w, strides=2)
    g.output(g.relu(g.add(y, g.input("r", y.shape))), "y")
    return evaluate(g, {name: inputs[name] for name in ("x", "r")})["y"]


def test_where_the_array_is_the_limit_a_decoder_layer_takes_a_quarter() -> None:
    """16x16x1024 -> 512 with 2x2 taps on 128x128: of the cycles that the dense operand takes, 4 passes for each."""
    g = ms.Graph()
    x, w = g.input("x", (1, 16, 16, 1024)), g.weight("w", shape=(2, 2, 1024, 512))
    g.output(g.conv_transpose2d(x, w, strides=2), "y")
    dense = 32 * 32 * 4 * 1024 * 512 // (128 * 128)
    assert ms.run(g, "tpu_like_128x128", numerics=False).cycles < 0.3 * dense


@pytest.mark.parametrize("strides", [(1, 2), (3, 2), (2, 4)])
@pytest.mark.parametrize("dilations", [(1, 1), (2, 3)])
def test_phases_read_what_the_whole_kernel_reads(strides: tuple[int, int], dilations: tuple[int, int]) -> None:
    """Tap by tap, each phase's pixels: what `source` says of the whole, where the tap belongs to the pixel's chain."""
    whole = Geometry(2, 3, 4, (3, 4), strides, dilations, (1, 0, -1, 2), transposed=True)
    lines, columns = whole.output
    seen = np.zeros((whole.taps, 2, lines, columns), dtype=bool)
    for (a, b), taps, geometry in whole.phases():
        mine = np.s_[:, a :: strides[0], b :: strides[1]]
        for i, tap in enumerate(taps):
            expected = whole.source(tap).reshape(2, lines, columns)[mine]
            assert np.array_equal(geometry.source(i).reshape(expected.shape), expected)
            seen[tap][mine] = True
        if not taps:
            assert geometry.taps == 1 and (geometry.source(0) < 0).all()
    assert all(np.array_equal(seen[tap].reshape(-1), whole.meets(tap)) for tap in range(whole.taps))
