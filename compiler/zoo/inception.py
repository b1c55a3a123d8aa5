"""Inception v3: Szegedy et al., "Rethinking the Inception Architecture" (2015), without its auxiliary classifier."""

from __future__ import annotations

from minisim.compiler.graph import Tensor
from minisim.compiler.zoo import network
from minisim.compiler.zoo.layers import Layers

Layer = tuple[int, int | tuple[int, int], int]
"""Filters, kernel and stride: a layer with a stride is not padded."""


@network("inception_v3", "factorised convolutions side by side (Szegedy et al. 2015)", size=299)
def inception_v3(net: Layers, x: Tensor) -> Tensor:
    y = _stem(net, x)
    for name, pooled in (("5b", 32), ("5c", 64), ("5d", 64)):
        dbl: list[Layer] = [(64, 1, 1), (96, 3, 1), (96, 3, 1)]
        y = _joined(net, f"mixed{name}", y, [[(64, 1, 1)], [(48, 1, 1), (64, 5, 1)], dbl], pooled)
    y = _reduced(net, "mixed6a", y, [[(384, 3, 2)], [(64, 1, 1), (96, 3, 1), (96, 3, 2)]])
    for name, c in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
        once: list[Layer] = [(c, 1, 1), (c, (1, 7), 1), (192, (7, 1), 1)]
        twice: list[Layer] = [(c, 1, 1), (c, (7, 1), 1), (c, (1, 7), 1), (c, (7, 1), 1), (192, (1, 7), 1)]
        y = _joined(net, f"mixed{name}", y, [[(192, 1, 1)], once, twice], 192)
    seven: list[Layer] = [(192, 1, 1), (192, (1, 7), 1), (192, (7, 1), 1), (192, 3, 2)]
    y = _reduced(net, "mixed7a", y, [[(192, 1, 1), (320, 3, 2)], seven])
    for name in ("mixed7b", "mixed7c"):
        y = _forked(net, name, y)
    return net.classified(y)


def _stem(net: Layers, x: Tensor) -> Tensor:
    relu = net.graph.relu
    y = net.conv("conv1a", x, net.channels(32), 3, 2, pad=0, activation=relu)
    y = net.conv("conv2a", y, net.channels(32), 3, pad=0, activation=relu)
    y = net.max_pool(net.conv("conv2b", y, net.channels(64), 3, activation=relu), 3, 2)
    y = net.conv("conv3b", y, net.channels(80), activation=relu)
    return net.max_pool(net.conv("conv4a", y, net.channels(192), 3, pad=0, activation=relu), 3, 2)


def _chain(net: Layers, name: str, x: Tensor, layers: list[Layer]) -> Tensor:
    for i, (filters, kernel, stride) in enumerate(layers, 1):
        pad = 0 if stride > 1 else None
        x = net.conv(f"{name}.{i}", x, net.channels(filters), kernel, stride, pad=pad, activation=net.graph.relu)
    return x


def _pooled(net: Layers, name: str, x: Tensor, filters: int) -> Tensor:
    y = net.graph.average_pool(x, 3, strides=1, pads=1, count_pad=True)
    return net.conv(f"{name}.pooled", y, net.channels(filters), activation=net.graph.relu)


def _joined(net: Layers, name: str, x: Tensor, branches: list[list[Layer]], pooled: int) -> Tensor:
    sides = [_chain(net, f"{name}.branch{i}", x, layers) for i, layers in enumerate(branches, 1)]
    return net.graph.concat([*sides, _pooled(net, name, x, pooled)], name=name)


def _reduced(net: Layers, name: str, x: Tensor, branches: list[list[Layer]]) -> Tensor:
    sides = [_chain(net, f"{name}.branch{i}", x, layers) for i, layers in enumerate(branches, 1)]
    return net.graph.concat([*sides, net.max_pool(x, 3, 2)], name=name)


def _forked(net: Layers, name: str, x: Tensor) -> Tensor:
    """The last modules: two branches end in a 1x3 beside a 3x1 convolution."""
    sides = [_chain(net, f"{name}.branch1", x, [(320, 1, 1)])]
    for i, layers in enumerate(([(384, 1, 1)], [(448, 1, 1), (384, 3, 1)]), 2):
        y = _chain(net, f"{name}.branch{i}", x, list(layers))
        sides += [_chain(net, f"{name}.branch{i}.{k[0]}x{k[1]}", y, [(384, k, 1)]) for k in ((1, 3), (3, 1))]
    return net.graph.concat([*sides, _pooled(net, name, x, 192)], name=name)
