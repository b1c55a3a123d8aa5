"""LeNet-5, LeCun et al., "Gradient-Based Learning" (1998), with ReLU and max pooling; and AlexNet, as Krizhevsky's "One
weird trick" (2014) has it: without groups and local response normalisation."""

from __future__ import annotations

from minisim.compiler.graph import Tensor
from minisim.compiler.zoo import network
from minisim.compiler.zoo.layers import Layers


@network("lenet5", "digits: two convolutions, three dense layers (LeCun et al. 1998)", size=32, channels=1)
def lenet5(net: Layers, x: Tensor) -> Tensor:
    relu = net.graph.relu
    y = net.max_pool(net.conv("c1", x, net.channels(6), 5, pad=0, activation=relu), 2, 2)
    y = net.max_pool(net.conv("c3", y, net.channels(16), 5, pad=0, activation=relu), 2, 2)
    y = net.dense("f6", net.dense("c5", net.flat(y), net.channels(120), relu), net.channels(84), relu)
    return net.dense("output", y, 10)


@network("alexnet", "five convolutions, three dense layers (Krizhevsky 2014)")
def alexnet(net: Layers, x: Tensor) -> Tensor:
    relu = net.graph.relu
    y = net.max_pool(net.conv("conv1", x, net.channels(64), 11, 4, pad=2, activation=relu), 3, 2)
    y = net.max_pool(net.conv("conv2", y, net.channels(192), 5, activation=relu), 3, 2)
    for i, channels in enumerate((384, 256, 256), 3):
        y = net.conv(f"conv{i}", y, net.channels(channels), 3, activation=relu)
    y = net.dense("fc6", net.flat(net.max_pool(y, 3, 2)), net.channels(4096), relu)
    return net.dense("fc8", net.dense("fc7", y, net.channels(4096), relu), net.classes)
