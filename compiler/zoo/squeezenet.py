"""SqueezeNet: Iandola et al. (2016), and its version 1.1 of the same authors."""

from __future__ import annotations

from minisim.compiler.graph import Tensor
from minisim.compiler.zoo import network
from minisim.compiler.zoo.layers import Layers


def _fire(net: Layers, name: str, x: Tensor, squeeze: int, expand: int) -> Tensor:
    relu = net.graph.relu
    y = net.conv(f"{name}.squeeze", x, net.channels(squeeze), activation=relu)
    sides = [net.conv(f"{name}.expand{k}", y, net.channels(expand), k, activation=relu) for k in (1, 3)]
    return net.graph.concat(sides, name=name)


def _squeezenet(net: Layers, y: Tensor, pooled_before: tuple[int, int, int]) -> Tensor:
    """The fire modules behind the first convolution, with max pooling before those of these numbers."""
    sizes = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))
    for i, (squeeze, expand) in enumerate(sizes, 2):
        if i in pooled_before:
            y = net.max_pool(y, 3, 2, ceil=True)
        y = _fire(net, f"fire{i}", y, squeeze, expand)
    y = net.conv("conv10", y, net.classes, activation=net.graph.relu)
    return net.flat(net.graph.global_average_pool(y))


@network("squeezenet", "fire modules: 1x1 beside 3x3 (Iandola et al. 2016)")
def squeezenet(net: Layers, x: Tensor) -> Tensor:
    return _squeezenet(net, net.conv("conv1", x, net.channels(96), 7, 2, pad=0, activation=net.graph.relu), (2, 5, 9))


@network("squeezenet1_1", "SqueezeNet with 2.4 times less to compute (Iandola et al. 2016)")
def squeezenet1_1(net: Layers, x: Tensor) -> Tensor:
    return _squeezenet(net, net.conv("conv1", x, net.channels(64), 3, 2, pad=0, activation=net.graph.relu), (2, 4, 6))
