"""Networks of depthwise separable convolutions: MobileNet v1 (Howard et al. 2017), v2 (Sandler et al. 2018) and v3
(Howard et al. 2019)."""

from __future__ import annotations

from minisim.compiler.graph import Tensor
from minisim.compiler.zoo import network
from minisim.compiler.zoo.layers import Activation, Layers


@network("mobilenet_v1", "depthwise separable convolutions (Howard et al. 2017)")
def mobilenet_v1(net: Layers, x: Tensor) -> Tensor:
    relu = net.graph.relu
    y = net.conv("conv0", x, net.channels(32), 3, 2, activation=relu)
    blocks = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
    for i, (channels, stride) in enumerate(blocks, 1):
        y = net.depthwise(f"conv{i}.depthwise", y, 3, stride, relu)
        y = net.conv(f"conv{i}.pointwise", y, net.channels(channels), activation=relu)
    return net.classified(y)


@network("mobilenet_v2", "inverted residuals (Sandler et al. 2018)")
def mobilenet_v2(net: Layers, x: Tensor) -> Tensor:
    y = net.conv("stem", x, net.channels(32), 3, 2, activation=net.relu6)
    stages = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for stage, (expand, channels, depth, first) in enumerate(stages, 1):
        for block in range(depth):
            name, stride = f"block{stage}.{block}", 1 if block else first
            y = inverted(net, name, y, net.channels(channels), expand * y.shape[-1], 3, stride, net.relu6)
    head = max(1280, net.channels(1280))  # a network narrower than 1 keeps its last layer
    return net.classified(net.conv("head", y, head, activation=net.relu6))


@network("mobilenet_v3_large", "inverted residuals with squeeze and excitation (Howard et al. 2019)")
def mobilenet_v3_large(net: Layers, x: Tensor) -> Tensor:
    blocks = (
        (3, 16, 16, False, False, 1), (3, 64, 24, False, False, 2), (3, 72, 24, False, False, 1),
        (5, 72, 40, True, False, 2), (5, 120, 40, True, False, 1), (5, 120, 40, True, False, 1),
        (3, 240, 80, False, True, 2), (3, 200, 80, False, True, 1), (3, 184, 80, False, True, 1),
        (3, 184, 80, False, True, 1), (3, 480, 112, True, True, 1), (3, 672, 112, True, True, 1),
        (5, 672, 160, True, True, 2), (5, 960, 160, True, True, 1), (5, 960, 160, True, True, 1),
    )  # fmt: skip
    return _v3(net, x, blocks, 960, 1280)


@network("mobilenet_v3_small", "inverted residuals with squeeze and excitation (Howard et al. 2019)")
def mobilenet_v3_small(net: Layers, x: Tensor) -> Tensor:
    blocks = (
        (3, 16, 16, True, False, 2), (3, 72, 24, False, False, 2), (3, 88, 24, False, False, 1),
        (5, 96, 40, True, True, 2), (5, 240, 40, True, True, 1), (5, 240, 40, True, True, 1),
        (5, 120, 48, True, True, 1), (5, 144, 48, True, True, 1), (5, 288, 96, True, True, 2),
        (5, 576, 96, True, True, 1), (5, 576, 96, True, True, 1),
    )  # fmt: skip
    return _v3(net, x, blocks, 576, 1024)


Blocks = tuple[tuple[int, int, int, bool, bool, int], ...]
"""Of each block kernel, expanded channels, channels, squeeze and excitation, hard swish or else ReLU, stride."""


def _v3(net: Layers, x: Tensor, blocks: Blocks, last: int, hidden: int) -> Tensor:
    hard_swish, relu = net.graph.hard_swish, net.graph.relu
    y = net.conv("stem", x, net.channels(16), 3, 2, activation=hard_swish)
    for i, (kernel, expanded, channels, squeeze, swish, stride) in enumerate(blocks):
        wide, activation = net.channels(expanded), hard_swish if swish else relu
        y = inverted(net, f"block{i}", y, net.channels(channels), wide, kernel, stride, activation, squeeze)
    y = net.conv("head", y, net.channels(last), activation=hard_swish)
    y = net.dense("hidden", net.flat(net.graph.global_average_pool(y)), net.channels(hidden), hard_swish)
    return net.dense("fc", y, net.classes)


def inverted(
    net: Layers,
    name: str,
    x: Tensor,
    channels: int,
    expanded: int,
    kernel: int,
    stride: int,
    activation: Activation,
    squeeze: bool = False,
) -> Tensor:
    """An inverted residual: expand, filter each channel, project; plus x, where that has the same shape."""
    y = x if expanded == x.shape[-1] else net.conv(f"{name}.expand", x, expanded, activation=activation)
    y = net.depthwise(f"{name}.depthwise", y, kernel, stride, activation)
    if squeeze:
        y = _excited(net, f"{name}.se", y)
    y = net.conv(f"{name}.project", y, channels)
    return net.graph.add(x, y) if y.shape == x.shape else y


def _excited(net: Layers, name: str, x: Tensor) -> Tensor:
    """Squeeze and excitation: each channel times what a small network makes of all channels' means."""
    channels, graph = x.shape[-1], net.graph
    inside = max(8, (channels // 4 + 4) // 8 * 8)
    inside += 8 * (inside < 0.9 * channels / 4)
    y = net.conv(f"{name}.reduce", graph.global_average_pool(x), inside, activation=graph.relu)
    y = net.conv(f"{name}.expand", y, channels, activation=lambda z: graph.hard_sigmoid(z, 1 / 6, 0.5))
    return graph.mul(x, y)
