"""A one-stage detector: YOLOv3-tiny, Redmon and Farhadi, "YOLOv3" (2018).

Its two heads give 85 numbers for each of three boxes (80 classes), as raw activations.
"""

from __future__ import annotations

from minisim.compiler.graph import Tensor
from minisim.compiler.zoo import network
from minisim.compiler.zoo.layers import Layers

BOXES = 3 * (80 + 5)


@network("yolov3_tiny", "a detector with two heads (Redmon and Farhadi 2018)", size=416)
def yolov3_tiny(net: Layers, x: Tensor) -> tuple[Tensor, Tensor]:
    graph = net.graph

    def leaky(y: Tensor) -> Tensor:
        return graph.leaky_relu(y, 0.1)

    def conv(name: str, y: Tensor, channels: int, kernel: int = 3) -> Tensor:
        return net.conv(name, y, net.channels(channels), kernel, activation=leaky)

    y = x
    for i, channels in enumerate((16, 32, 64, 128), 1):
        y = net.max_pool(conv(f"conv{i}", y, channels), 2, 2)
    early = conv("conv5", y, 256)
    y = conv("conv6", net.max_pool(early, 2, 2), 512)
    y = conv("conv7", net.max_pool(y, 2, 1, (0, 0, 1, 1)), 1024)
    neck = conv("conv8", y, 256, 1)
    large = net.conv("large", conv("conv9", neck, 512), BOXES)
    up = net.upsampled(conv("conv10", neck, 128, 1))
    net.same_size(up, early)
    small = net.conv("small", conv("conv11", graph.concat([up, early], name="merged"), 256), BOXES)
    return large, small
