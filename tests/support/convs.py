"""Random convolutions, alone and in chains."""

from __future__ import annotations

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from minisim import Graph, Tensor
from support.graphs import values

CHANNELS = (1, 2, 3, 8, 17, 31, 32, 33, 40, 64, 70)
"""Around the 32 that the order of k keeps together."""

MOST = 2**16
"""Elements of an operand that the oracle lays out: kernels, images and channels are not all large at once."""


@st.composite
def convs(draw: st.DrawFn, special: float = 0.0) -> Graph:
    """One to three convolutions one after the other, each with some of bias, residual and activation."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    g = Graph("convs")
    if draw(st.booleans()):
        size: tuple[int, ...] = (draw(st.integers(1, 14)), draw(st.integers(1, 14)))
    else:
        size = (draw(st.integers(1, 40)),)
    x = g.input("x", (draw(st.sampled_from([1, 1, 2, 3])), *size, draw(st.sampled_from(CHANNELS))))
    for i in range(draw(st.sampled_from([1, 1, 2, 3]))):
        x = conv(draw, g, x, rng, f"{i}", special)
    g.output(x, "y")
    return g


def conv(draw: st.DrawFn, g: Graph, x: Tensor, rng: np.random.Generator, name: str, special: float) -> Tensor:
    """A convolution on x, and perhaps what fusion takes into it."""
    signal = len(x.shape) == 3
    pair = st.tuples(st.just(1) if signal else st.integers(1, 3), st.integers(1, 3))
    kernel = draw(st.tuples(st.just(1) if signal else st.integers(1, 4), st.integers(1, 5)))
    strides, dilations = draw(pair), draw(pair)
    sides = [draw(st.integers(0, 3)) for _ in range(4)]
    pads = [0, sides[1], 0, sides[3]] if signal else sides
    height, width = (1, x.shape[1]) if signal else x.shape[1:3]
    reach = [(n - 1) * d + 1 for n, d in zip(kernel, dilations, strict=True)]
    assume(reach[0] <= height + pads[0] + pads[2] and reach[1] <= width + pads[1] + pads[3])
    channels = x.shape[-1]
    groups = draw(st.sampled_from([n for n in (1, 1, 1, 2, 3, channels) if channels % n == 0]))
    filters = groups * draw(st.sampled_from([1, 3, 16] if groups > 1 else CHANNELS))
    assume(height * width * kernel[0] * kernel[1] * channels <= MOST and filters <= 80)
    w = g.weight(f"w{name}", values(rng, (*kernel, channels // groups, filters), special))
    bias = g.weight(f"b{name}", values(rng, (filters,))) if draw(st.booleans()) else None
    convolve = g.conv2d
    if draw(st.integers(0, 3)) == 0 and height * width * strides[0] * strides[1] <= 200:
        size = [(n - 1) * s + r for n, s, r in zip((height, width), strides, reach, strict=True)]
        most = [min(3, (size[i % 2] - 1) // 2) for i in range(4)]
        pads = [0 if signal and i % 2 == 0 else draw(st.integers(-2, most[i])) for i in range(4)]
        convolve = g.conv_transpose2d
    y = convolve(x, w, bias=bias, strides=strides, pads=pads, dilations=dilations, groups=groups)
    if draw(st.integers(0, 3)) == 0:
        y = g.add(y, g.weight(f"r{name}", values(rng, y.shape)))
    y = draw(st.sampled_from([g.relu, g.relu, g.sigmoid, lambda t: t]))(y)
    return draw(st.sampled_from([lambda t: t, lambda t: t, g.hard_swish, lambda t: g.clip(t, -1.0, 2.0)]))(y)
