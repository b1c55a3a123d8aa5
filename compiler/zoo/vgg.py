"""Plain networks of 3x3 convolutions: Simonyan and Zisserman, "Very Deep Convolutional Networks" (2014)."""

from __future__ import annotations

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


@network("vgg11", "3x3 convolutions, 11 layers (Simonyan and Zisserman 2014)")
def vgg11(net: Layers, x: Tensor) -> Tensor:
    return _vgg(net, x, (1, 1, 2, 2, 2))


@network("vgg13", "3x3 convolutions, 13 layers (Simonyan and Zisserman 2014)")
def vgg13(net: Layers, x: Tensor) -> Tensor:
    return _vgg(net, x, (2, 2, 2, 2, 2))


@network("vgg16", "3x3 convolutions, 16 layers (Simonyan and Zisserman 2014)")
def vgg16(net: Layers, x: Tensor) -> Tensor:
    return _vgg(net, x, (2, 2, 3, 3, 3))


@network("vgg19", "3x3 convolutions, 19 layers (Simonyan and Zisserman 2014)")
def vgg19(net: Layers, x: Tensor) -> Tensor:
    return _vgg(net, x, (2, 2, 4, 4, 4))
