"""Plain networks of 3x3 convolutions: Simonyan and Zisserman, "Very Deep Convolutional Networks" (2014)."""

from __future__ import annotations

from functools import partial

from minisim.compiler.graph import Tensor
from minisim.compiler.zoo import network
from minisim.compiler.zoo.layers import Layers

STAGES = (64, 128, 256, 512, 512)
HIDDEN = 4096


def _vgg(net: Layers, x: Tensor, depths: tuple[int, ...]) -> Tensor:
    relu = net.graph.relu
    for stage, (channels, depth) in enumerate(zip(STAGES, depths, strict=True), 1):
        for layer in range(1, depth + 1):
            x = net.conv(f"conv{stage}_{layer}", x, net.channels(channels), 3, activation=relu)
        x = net.max_pool(x, 2, 2)
    y = net.dense("fc6", net.flat(x), net.channels(HIDDEN), relu)
    return net.dense("fc8", net.dense("fc7", y, net.channels(HIDDEN), relu), net.classes)


DEPTHS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Of each network, by its layers, the convolutions of its stages."""

for _layers, _depths in DEPTHS.items():
    network(f"vgg{_layers}", f"3x3 convolutions, {_layers} layers (Simonyan and Zisserman 2014)")(
        partial(_vgg, depths=_depths)
    )
