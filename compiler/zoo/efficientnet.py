"""EfficientNet-Lite: Tan and Le (2019), without squeeze and excitation, with ReLU6 (the "lite" models of 2020)."""

from __future__ import annotations

import math
from functools import partial

from minisim.compiler.graph import Tensor
from minisim.compiler.zoo import network
from minisim.compiler.zoo.layers import Layers
from minisim.compiler.zoo.mobilenet import inverted

STAGES = ((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5),
          (6, 320, 1, 1, 3))  # fmt: skip
"""Of each stage expansion, channels, blocks, stride and kernel."""


def _lite(net: Layers, x: Tensor, width: float, depth: float) -> Tensor:
    """The variants scale channels and blocks; stem, head, and the number of blocks of the first and last stage stay."""
    scaled = Layers(net.graph, net.width * width, net.classes)
    y = net.conv("stem", x, net.channels(32), 3, 2, activation=net.relu6)
    for stage, (expand, channels, blocks, first, kernel) in enumerate(STAGES):
        fixed = stage in (0, len(STAGES) - 1)
        for block in range(blocks if fixed else math.ceil(blocks * depth)):
            name, stride = f"block{stage + 1}.{block}", 1 if block else first
            y = inverted(net, name, y, scaled.channels(channels), expand * y.shape[-1], kernel, stride, net.relu6)
    return net.classified(net.conv("head", y, net.channels(1280), activation=net.relu6))


VARIANTS = {0: (1.0, 1.0, 224), 1: (1.0, 1.1, 240), 2: (1.1, 1.2, 260), 3: (1.2, 1.4, 280), 4: (1.4, 1.8, 300)}
"""Of each variant the factors of channels and of blocks, and the size of its images."""

for _number, (_width, _depth, _size) in VARIANTS.items():
    network(f"efficientnet_lite{_number}", f"EfficientNet-Lite{_number} (Tan and Le 2019)", _size)(
        partial(_lite, width=_width, depth=_depth)
    )
