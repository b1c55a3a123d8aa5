"""U-Net: Ronneberger et al. (2015), with padded convolutions, so that the mask has the size of the image."""

from __future__ import annotations

import math

from minisim.compiler.graph import Tensor
from minisim.compiler.zoo import network
from minisim.compiler.zoo.layers import Layers

STAGES = (64, 128, 256, 512, 1024)


@network("unet", "segmentation: down, and up again beside it (Ronneberger et al. 2015)", size=256)
def unet(net: Layers, x: Tensor) -> Tensor:
    graph, sides = net.graph, []
    y = x
    for i, channels in enumerate(STAGES):
        y = _twice(net, f"down{i}", net.max_pool(y, 2, 2) if i else y, channels)
        sides.append(y)
    for i, channels in reversed(list(enumerate(STAGES[:-1]))):
        up, side = _up(net, f"up{i}.sampled", y, net.channels(channels)), sides[i]
        net.same_size(up, side)
        y = _twice(net, f"up{i}", graph.concat([side, up], name=f"up{i}.merged"), channels)
    return net.conv("mask", y, 2)


def _twice(net: Layers, name: str, x: Tensor, channels: int) -> Tensor:
    for i in (1, 2):
        x = net.conv(f"{name}.conv{i}", x, net.channels(channels), 3, activation=net.graph.relu)
    return x


def _up(net: Layers, name: str, x: Tensor, filters: int) -> Tensor:
    """A transposed convolution of 2x2 taps and stride 2."""
    w = net.drawn(f"{name}.w", (2, 2, x.shape[-1], filters), math.sqrt(2 / x.shape[-1]))
    return net.graph.conv_transpose2d(x, w, bias=net.drawn(f"{name}.b", (filters,), 0.1), strides=2, name=name)
