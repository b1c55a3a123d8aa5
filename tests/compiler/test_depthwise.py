"""Depthwise convolution: on the vector unit or on the array, of the same bits; what it takes in, and what it takes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.graphs import inputs_of, values
from support.machines import machine
from support.oracle import bits

import minisim as ms
from minisim.compiler.pipeline import computed_graph
from minisim.hwmodel import cost
from minisim.hwmodel.energy import accesses, operation_energy
from minisim.hwmodel.isa import NONE, Opcode


def depthwise(channels: int = 40, size: tuple[int, int] = (9, 11), kernel: tuple[int, int] = (3, 3), **options: object):
    """A graph, and its convolution of each channel by itself, with a bias."""
    rng, g = np.random.default_rng(0), ms.Graph("depthwise")
    x = g.input("x", (1, *size, channels))
    w, b = g.weight("w", values(rng, (*kernel, 1, channels))), g.weight("b", values(rng, (channels,)))
    return g, g.conv2d(x, w, bias=b, groups=channels, **options)


def ops(graph: ms.Graph, there: ms.Machine) -> list[str]:
    return [node.title for node in computed_graph(graph, there).nodes]


@settings(max_examples=25)
@given(st.data(), st.sampled_from(["fp32", "bf16"]), st.sampled_from([2, 17, 40]), st.sampled_from([0.0, 0.02]))
def test_array_and_vector_unit_give_the_same_bits(
    data: st.DataObject, dtype: str, channels: int, special: float
) -> None:
    """In steps of taps, too, where the scratchpad is small; of infinities, NaN and denormals, padding included."""
    kernel = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 5)))
    size = data.draw(st.tuples(st.integers(4, 12), st.integers(5, 12)))
    g, y = depthwise(
        channels, size, kernel,
        strides=data.draw(st.integers(1, 2)), pads=data.draw(st.integers(0, 3)), dilations=1,
    )  # fmt: skip
    for name in data.draw(st.lists(st.sampled_from(["relu", "sigmoid", "hard_swish", "abs"]), max_size=2)):
        y = getattr(g, name)(y)
    if data.draw(st.booleans()):
        y = g.clip(y, -0.5, 1.0)
    g.output(y, "y")
    inputs, found = inputs_of(g, special=special), []
    tile = data.draw(st.sampled_from([8, 32]))
    for on_vector in (True, False):
        there = machine(
            matrix__dtype=dtype,
            vector__depthwise=on_vector,
            tile__m=tile,
            tile__n=tile,
            tile__k=tile,
            sram__bytes="24KiB",
        )
        result = ms.run(g, there, inputs=inputs)
        assert (len(result.schedule.matmuls) == 0) == on_vector
        found.append(bits(result.outputs["y"]))
    assert np.array_equal(*found)


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_in_steps_the_bias_is_added_and_the_sum_rounded_once(dtype: str) -> None:
    """81 taps, of which the scratchpad has the pixels of a few at a time."""
    g, y = depthwise(32, (30, 30), (9, 9))
    g.output(g.relu(y), "y")
    inputs = inputs_of(g)
    small, large, array = (
        ms.run(g, machine(matrix__dtype=dtype, sram__bytes=size, vector__depthwise=on), inputs=inputs)
        for size, on in (("28KiB", True), ("4MiB", True), ("4MiB", False))
    )
    assert (small.schedule.vectors["acc"] != NONE).any() and (large.schedule.vectors["acc"] == NONE).all()
    assert np.array_equal(bits(small.outputs["y"]), bits(array.outputs["y"]))
    assert np.array_equal(bits(large.outputs["y"]), bits(array.outputs["y"]))


def test_what_follows_of_elementwise_operations_is_its_tail() -> None:
    g, y = depthwise()
    g.output(g.clip(y, 0.0, 6.0), "y")
    assert ops(g, machine()) == ["FusedDepthwiseConvBiasClip"]
    assert ops(g, machine(vector__depthwise=False)) == ["FusedConvBias", "Clip"]
    g, y = depthwise()
    g.output(g.mul(g.relu(y), g.input("z", y.shape)), "y")
    assert ops(g, machine()) == ["FusedDepthwiseConvBiasReLU", "Mul"]


def test_what_others_read_or_see_stays_a_tensor() -> None:
    g, y = depthwise()
    g.output(y, "seen")
    g.output(g.clip(y, 0.0, 6.0), "y")
    assert ops(g, machine()) == ["FusedDepthwiseConvBias", "Clip"]
    g, y = depthwise()
    g.output(g.mul(y, g.hard_sigmoid(y)), "y")
    assert ops(g, machine()) == ["FusedDepthwiseConvBias", "HardSigmoid", "Mul"]


def test_what_stays_on_the_array() -> None:
    """Several filters of a channel, several channels of a group, a residual, and integers."""
    g = ms.Graph()
    x = g.input("x", (1, 5, 5, 8))
    g.output(g.conv2d(x, g.weight("w", shape=(3, 3, 1, 16)), groups=8), "multiplier")
    g.output(g.conv2d(x, g.weight("v", shape=(3, 3, 2, 4)), groups=4), "groups")
    g.output(g.add(g.conv2d(x, g.weight("u", shape=(1, 1, 1, 8)), groups=8), x), "residual")
    assert ops(g, machine()) == ["Conv", "Conv", "FusedConvResidual"]
    g, y = depthwise()
    g.output(y, "y")
    assert ops(g, machine(matrix__dtype="int8")) == ["FusedConvBias", "Rescale"]


def test_its_cycles_and_its_energy() -> None:
    """Of 8 x 8 x 32 elements: 9 taps, a bias, a relu, a pass of the 32 lanes each; then a clip of two passes."""
    g, y = depthwise(32, (8, 8), pads=1)
    g.output(g.clip(g.relu(y), 0.0, 6.0), "y")
    prices = {
        "energy.vector_fma": "1pJ",
        "energy.vector_add": "2pJ",
        "energy.vector_relu": "4pJ",
        "energy.vector_max": "8pJ",
    }
    there = machine(vector__lanes=32, vector__fma_cost=3).with_overrides(prices)
    schedule = ms.compile_graph(g, there)
    vector = schedule.stream["opcode"] == Opcode.VECTOR
    assert cost.costs(schedule, there).busy[vector].sum() == 64 * (9 * 3 + 1 + 1) + 64 * 2
    assert operation_energy(schedule, there)["vector"].sum() == 64 * 32 * (9 * 1000 + 2000 + 4000 + 2 * 8000)
    moved = accesses(schedule)
    assert moved.dram_read.sum() == 4 * (64 * 32 + 9 * 32 + 32)
    assert schedule.layers["macs"].tolist() == [0]  # the array has none


def test_it_is_faster_than_a_column_of_the_array_for_each_channel() -> None:
    g, y = depthwise(64, (28, 28), pads=1)
    g.output(y)
    vector, array = (ms.run(g, machine(vector__depthwise=on), numerics=False).cycles for on in (True, False))
    assert 2 * vector < array


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pads"), [((5, 6), 4, 2, 1), ((1, 1), 5, 1, 2), ((3, 1), 3, 3, 0)]
)
def test_transposed_ones_have_the_same_bits(size: tuple[int, int], kernel: int, stride: int, pads: int) -> None:
    """Also where a line of the kernel is longer than one of the output."""
    g = ms.Graph()
    x, w = g.input("x", (2, *size, 12)), g.weight("w", values(np.random.default_rng(0), (kernel, kernel, 1, 12)))
    g.output(g.conv_transpose2d(x, w, strides=stride, pads=pads, groups=12), "y")
    inputs = inputs_of(g)
    found = [ms.run(g, machine(vector__depthwise=on, tile__m=8), inputs=inputs) for on in (True, False)]
    assert [len(result.schedule.matmuls) > 0 for result in found] == [False, True]
    assert np.array_equal(*(bits(result.outputs["y"]) for result in found))


def test_filters_that_are_computed() -> None:
    g = ms.Graph()
    x, w = g.input("x", (1, 6, 6, 12)), g.input("w", (3, 3, 1, 12))
    g.output(g.conv2d(x, g.relu(w), pads=1, groups=12), "y")
    inputs = inputs_of(g)
    found = [ms.run(g, machine(vector__depthwise=on), inputs=inputs).outputs["y"] for on in (True, False)]
    assert np.array_equal(bits(found[0]), bits(found[1]))


def test_a_scratchpad_that_is_too_small_is_told() -> None:
    g, y = depthwise()
    g.output(y, "y")
    with pytest.raises(ms.errors.CapacityError, match="needs at least"):
        ms.compile_graph(g, machine(sram__bytes=256))
