"""Convolutional networks on machines of integers: the same bits on all of them, and a stated error."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from support.machines import machine
from support.typed import evaluate

import minisim as ms
from minisim.compiler.example_inputs import example_inputs
from minisim.compiler.pipeline import computed_graph
from minisim.compiler.quantising import in_floats
from minisim.hwmodel.config import presets

PRESETS = [name for name in presets() if ms.Machine.load(name).matrix.int8_rate]


class Layers:
    """A small network under construction: images of 3 channels, and seeded weights of He's size."""

    def __init__(self, name: str) -> None:
        self.rng, self.g = np.random.default_rng(3), ms.Graph(name)
        self.x = self.g.input("x", (1, 8, 8, 3))

    def conv(self, x: ms.Tensor, filters: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> ms.Tensor:
        shape = (kernel, kernel, x.shape[-1] // groups, filters)
        w = self.rng.standard_normal(shape) * (2 / np.prod(shape[:3])) ** 0.5
        g, bias = self.g, self.g.weight(self.g.fresh_name("b"), 0.1 * self.rng.standard_normal(filters))
        of = g.weight(g.fresh_name("w"), w)
        return g.conv2d(x, of, bias=bias, strides=stride, pads=kernel // 2, groups=groups)

    def classified(self, x: ms.Tensor) -> ms.Graph:
        g = self.g
        mean = g.reshape(g.global_average_pool(x), (1, x.shape[-1]))
        g.output(mean @ g.weight("fc", self.rng.standard_normal((x.shape[-1], 10)) / x.shape[-1] ** 0.5), "y")
        return g


def resnet_like() -> ms.Graph:
    """A stem with a maximum, and two residual blocks, one of which has a convolution beside it."""
    net = Layers("resnet_like")
    g = net.g
    h = g.max_pool(g.relu(net.conv(net.x, 16, 3, 2)), 3, strides=2, pads=1)
    h = g.relu(g.add(net.conv(g.relu(net.conv(h, 16, 3)), 16, 3), h))
    h = g.relu(g.add(net.conv(g.relu(net.conv(h, 24, 3, 2)), 24, 3), net.conv(h, 24, 1, 2)))
    return net.classified(h)


def mobilenet_like() -> ms.Graph:
    """Inverted residuals: depthwise convolutions, ReLU6, hard swish, a gate by sigmoid, and linear bottlenecks."""
    net = Layers("mobilenet_like")
    g = net.g
    h = g.hard_swish(net.conv(net.x, 8, 3, 2))
    for stride, out in ((1, 8), (2, 12)):
        y = g.clip(net.conv(h, 24), 0, 6)
        y = g.clip(net.conv(y, 24, 3, stride, groups=24), 0, 6)
        y = g.mul(y, g.sigmoid(net.conv(g.global_average_pool(y), 24)))
        y = net.conv(y, out)
        h = g.add(y, h) if stride == 1 and out == h.shape[-1] else y
    return net.classified(h)


def concatenating() -> ms.Graph:
    """Branches of an inception, and an average, side by side."""
    net = Layers("concatenating")
    g = net.g
    h = g.relu(net.conv(net.x, 16, 3, 2))
    branches = [g.relu(net.conv(h, 8)), g.relu(net.conv(h, 8, 3)), g.max_pool(h, 3, strides=1, pads=1)]
    h = g.concat([*branches, g.average_pool(h, 3, strides=1, pads=1)], axis=3)
    return net.classified(g.relu(net.conv(h, 16, 3, 2)))


NETWORKS = {build.__name__: build for build in (resnet_like, mobilenet_like, concatenating)}


@cache
def expected(name: str) -> Any:
    return by_oracle(NETWORKS[name]())


def by_oracle(graph: ms.Graph, **keys: Any) -> Any:
    """The output of the quantised graph."""
    computed, inputs = computed_graph(graph, machine(matrix__dtype="int8", **keys)), example_inputs(graph)
    scale = computed.tensors["x"].scale
    assert scale is not None
    fed = {"x": np.clip(np.rint(inputs["x"].astype(np.float64) / scale), -127, 127).astype(np.int8)}
    found, of_y = evaluate(computed, fed), computed.tensors[computed.outputs["y"]].scale
    assert of_y is not None
    return (found["y"] * np.float64(of_y)).astype(np.float32)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("preset", PRESETS)
def test_a_network_has_the_same_bits_on_every_preset(name: str, preset: str) -> None:
    result = ms.run(NETWORKS[name](), ms.Machine.load(preset).with_overrides({"matrix.dtype": "int8"}))
    assert result.outputs["y"].tobytes() == expected(name).tobytes()
    assert result.difference is not None and result.difference.sqnr_db > 25


@pytest.mark.parametrize("name", NETWORKS)
def test_and_on_narrow_ones(name: str) -> None:
    """Little memory, three cores, an accumulator memory, small tiles."""
    small = {"sram__bytes": "8KiB", "tile__m": 8, "tile__k": 8, "tile__n": 8}
    for keys in (small, {**small, "cores__count": 3}, {**small, "accumulator__bytes": "4KiB"}):
        result = ms.run(NETWORKS[name](), machine(matrix__dtype="int8", **keys))
        assert result.outputs["y"].tobytes() == expected(name).tobytes()


def mixed() -> ms.Graph:
    """A convolution, a matrix and a transposed one, whose channels differ in size by powers of two."""
    rng, g = np.random.default_rng(4), ms.Graph("mixed")
    sizes = 2.0 ** -rng.integers(0, 6, 24)
    x = g.input("x", (1, 6, 6, 8))
    h = g.relu(g.conv2d(x, g.weight("f", rng.standard_normal((3, 3, 8, 24)) * sizes), pads=1))
    h = g.matmul(g.reshape(h, (36, 24)), g.weight("w", rng.standard_normal((24, 24)) / sizes[:, None] * sizes))
    other = g.weight("t", (rng.standard_normal((24, 24)) / sizes[:, None] * sizes).T)
    g.output(g.matmul(h, other, bias=g.weight("b", sizes), transpose_b=True), "y")
    return g


def test_channels_with_scales_of_their_own_are_nearer() -> None:
    """And have the oracle's bits on every machine; each result is requantised by its channel's factor."""
    found = {}
    for scales in ("tensor", "channel"):
        keys = {"matrix__dtype": "int8", "compiler__weight_scales": scales}
        graph = computed_graph(mixed(), machine(**keys))
        factors = [node.op for node in graph.nodes].count("Rescale")
        assert factors == (3 if scales == "channel" else 0)
        weights = [t.data for t in graph.tensors.values() if t.dtype == "int8" and t.is_weight and t.data is not None]
        full = [np.count_nonzero((np.abs(w) == 127).any(axis=a)) for w in weights for a in range(2)]
        assert (24 in full) == (scales == "channel")
        results = [
            ms.run(mixed(), machine(**keys, **more))
            for more in ({}, {"sram__bytes": "8KiB", "tile__m": 8, "tile__n": 8}, {"cores__count": 2})
        ]
        bits = by_oracle(mixed(), compiler__weight_scales=scales).tobytes()
        assert {result.outputs["y"].tobytes() for result in results} == {bits}
        assert results[0].difference is not None
        found[scales] = results[0].difference.sqnr_db
        timed = ms.run(mixed(), machine(**keys), numerics=False)
        assert timed.cycles == results[0].cycles
    assert found["channel"] > found["tensor"] + 3


def test_what_is_not_in_integers_is_told() -> None:
    on = machine(matrix__dtype="int8")
    (line,) = in_floats(computed_graph(resnet_like(), on, numerics=False))
    assert line == (
        "computed in float32 by the vector unit, as int8 has no such operation: 2 Add, 2 Relu, 1 AveragePool, 1 Reshape"
    )
    g = ms.Graph()
    g.output(g.input("x", (4, 4)) @ g.weight("w", np.eye(4)))
    assert list(in_floats(computed_graph(g, on))) == []


@pytest.mark.parametrize("name", NETWORKS)
def test_timing_alone_takes_the_same_time(name: str) -> None:
    """Nothing is calibrated then, and no scale matters."""
    on = ms.Machine.load("gemmini_16x16")
    assert ms.run(NETWORKS[name](), on, numerics=False).cycles == ms.run(NETWORKS[name](), on, check=False).cycles
