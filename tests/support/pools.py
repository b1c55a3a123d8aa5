"""Random poolings, alone and in chains."""

from __future__ import annotations

from hypothesis import assume
from hypothesis import strategies as st

from minisim import Graph, Tensor

CHANNELS = (1, 3, 8, 17, 40, 70)


@st.composite
def pools(draw: st.DrawFn, kinds: tuple[str, ...] = ("max_pool", "average_pool", "sum_pool")) -> Graph:
    """One to three poolings, perhaps with a relu between, of images or signals; the last one may be of whole images."""
    g = Graph("pools")
    signal = draw(st.integers(0, 3)) == 0
    size = (draw(st.integers(1, 60)),) if signal else (draw(st.integers(1, 14)), draw(st.integers(1, 14)))
    x = g.input("x", (draw(st.sampled_from([1, 1, 2, 3])), *size, draw(st.sampled_from(CHANNELS))))
    for _ in range(draw(st.sampled_from([1, 1, 2, 3]))):
        x = pool(draw, g, x, draw(st.sampled_from(kinds)))
        if draw(st.integers(0, 3)) == 0:
            x = g.relu(x)
    if draw(st.integers(0, 2)) == 0:
        whole = {"max_pool": g.global_max_pool, "average_pool": g.global_average_pool}
        x = draw(st.sampled_from([whole[kind] for kind in kinds if kind in whole]))(x)
    g.output(x, "y")
    return g


def pool(draw: st.DrawFn, g: Graph, x: Tensor, kind: str) -> Tensor:
    """One that fits, kernels larger than the image, and windows of padding alone, among them."""
    signal = len(x.shape) == 3
    pair = st.tuples(st.just(1) if signal else st.integers(1, 3), st.integers(1, 3))
    kernel = draw(st.tuples(st.just(1) if signal else st.integers(1, 5), st.integers(1, 5)))
    strides, dilations = draw(pair), draw(pair)
    sides = [draw(st.integers(0, 4)) for _ in range(4)]
    pads = [0, sides[1], 0, sides[3]] if signal else sides
    height, width = (1, x.shape[1]) if signal else x.shape[1:3]
    reach = [(n - 1) * d + 1 for n, d in zip(kernel, dilations, strict=True)]
    assume(reach[0] <= height + pads[0] + pads[2] and reach[1] <= width + pads[1] + pads[3])
    options: dict[str, bool] = {"ceil": draw(st.booleans())}
    if kind == "average_pool":
        options["count_pad"] = draw(st.booleans())
    return getattr(g, kind)(x, kernel, strides=strides, pads=pads, dilations=dilations, **options)
