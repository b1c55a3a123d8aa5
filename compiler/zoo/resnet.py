"""Residual networks: He et al., "Deep Residual Learning for Image Recognition" (2015), with the stride in the 3x3
convolution of a bottleneck, as later ones have it; and ResNeXt, Xie et al. (2016)."""

from __future__ import annotations

from functools import partial

from minisim.compiler.graph import Tensor
from minisim.compiler.zoo import network
from minisim.compiler.zoo.layers import Layers

EXPANSION = 4
"""The channels of a bottleneck's output by those inside it."""

DAMPED = 0.3
"""Of the weights that end a block: what is added 50 times shall not grow out of all measure."""


def _basic(net: Layers, name: str, x: Tensor, channels: int, stride: int) -> Tensor:
    relu = net.graph.relu
    y = net.conv(f"{name}.conv1", x, channels, 3, stride, activation=relu)
    y = net.conv(f"{name}.conv2", y, channels, 3, damped=DAMPED)
    if stride != 1 or x.shape[-1] != channels:
        x = net.conv(f"{name}.downsample", x, channels, 1, stride)
    return relu(net.graph.add(y, x))


def _bottleneck(net: Layers, name: str, x: Tensor, inside: int, outside: int, stride: int, groups: int = 1) -> Tensor:
    relu = net.graph.relu
    y = net.conv(f"{name}.conv1", x, inside, activation=relu)
    y = net.conv(f"{name}.conv2", y, inside, 3, stride, groups=groups, activation=relu)
    y = net.conv(f"{name}.conv3", y, outside, damped=DAMPED)
    if stride != 1 or x.shape[-1] != outside:
        x = net.conv(f"{name}.downsample", x, outside, 1, stride)
    return relu(net.graph.add(y, x))


def _dividing(channels: int, most: float) -> int:
    """The greatest number of groups, of at most so many, that the channels can be cut into evenly."""
    return max(groups for groups in range(1, max(1, int(most)) + 1) if channels % groups == 0)


def _stem(net: Layers, x: Tensor) -> Tensor:
    y = net.conv("conv1", x, net.channels(64), 7, 2, activation=net.graph.relu)
    return net.max_pool(y, 3, 2, 1)


def _resnet(
    net: Layers, x: Tensor, depths: tuple[int, ...], bottleneck: bool, groups: int = 1, inside: int = 1
) -> Tensor:
    """`groups` and `inside` (times the channels of a bottleneck) are ResNeXt's."""
    y = _stem(net, x)
    for stage, depth in enumerate(depths):
        channels = 64 * 2**stage
        for block in range(depth):
            name, stride = f"layer{stage + 1}.{block}", 2 if stage and not block else 1
            if bottleneck:
                wide = net.channels(channels * inside), net.channels(channels * EXPANSION)
                y = _bottleneck(net, name, y, *wide, stride, _dividing(wide[0], groups * net.width))
            else:
                y = _basic(net, name, y, net.channels(channels), stride)
    return net.classified(y)


DEPTHS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
"""Of each residual network, by its layers, the blocks of its stages; from 50 layers on they are bottlenecks."""

for _layers, _depths in DEPTHS.items():
    network(f"resnet{_layers}", f"residual network of {_layers} layers (He et al. 2015)")(
        partial(_resnet, depths=_depths, bottleneck=_layers >= 50)
    )


@network("resnext50", "residual network of 50 layers in 32 groups (Xie et al. 2016)")
def resnext50(net: Layers, x: Tensor) -> Tensor:
    return _resnet(net, x, DEPTHS[50], bottleneck=True, groups=32, inside=2)
