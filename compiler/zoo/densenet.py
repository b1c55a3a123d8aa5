"""DenseNet: Huang et al., "Densely Connected Convolutional Networks" (2016)."""

from __future__ import annotations

from functools import partial

from minisim.compiler.graph import Tensor
from minisim.compiler.zoo import network
from minisim.compiler.zoo.layers import Layers

GROWTH = 32
"""The channels that each layer adds to all before it."""

BOTTLENECK = 4
"""The channels between a layer's two convolutions, by GROWTH."""


def _densenet(net: Layers, x: Tensor, depths: tuple[int, ...]) -> Tensor:
    graph, growth = net.graph, net.channels(GROWTH)
    relu = graph.relu
    y = net.max_pool(net.conv("conv0", x, net.channels(64), 7, 2, activation=relu), 3, 2, 1)
    for number, depth in enumerate(depths, 1):
        for layer in range(1, depth + 1):
            name = f"block{number}.{layer}"
            z = relu(net.normalised(f"{name}.norm1", y))
            z = net.conv(f"{name}.conv1", z, growth * BOTTLENECK, activation=relu)
            y = graph.concat([y, net.conv(f"{name}.conv2", z, growth, 3, bias=False)], name=name)
        y = relu(net.normalised(f"norm{number}", y))
        if number < len(depths):
            y = net.conv(f"transition{number}", y, y.shape[-1] // 2, bias=False)
            y = graph.average_pool(y, 2, strides=2)
    return net.classified(y)


for _depth, _blocks in {121: (6, 12, 24, 16), 169: (6, 12, 32, 32), 201: (6, 12, 48, 32)}.items():
    network(f"densenet{_depth}", f"each layer reads all before it, {_depth} layers (Huang et al. 2016)")(
        partial(_densenet, depths=_blocks)
    )
