"""Layers as papers draw them: a convolution with bias and activation, under the network's own name for it.

Weights are seeded by their names, normal, and scaled so that activations neither vanish nor grow through many layers
(He et al., "Delving Deep into Rectifiers", 2015). They are drawn when somebody computes with them, not before.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from functools import partial

from minisim.compiler.graph import Graph, Tensor
from minisim.compiler.values import Array, Lazy, drawn_normal
from minisim.errors import ShapeError

SEED = 0
Activation = Callable[[Tensor], Tensor]


class Layers:
    """What networks are put together from. Images are (n, height, width, channels).

    Args:
        width: what the numbers of channels are multiplied by.
        classes: of the last layer.
    """

    def __init__(self, graph: Graph, width: float = 1.0, classes: int = 1000) -> None:
        self.graph, self.width, self.classes = graph, width, classes

    def channels(self, count: int) -> int:
        """`count` times the width, as a multiple of 8 that is not 10 % too small (Sandler et al., MobileNet v2)."""
        if self.width == 1.0:
            return count
        wanted = count * self.width
        near = max(8, int(wanted + 4) // 8 * 8)
        return near + 8 if near < 0.9 * wanted else near

    def conv(
        self,
        name: str,
        x: Tensor,
        filters: int,
        kernel: int | tuple[int, int] = 1,
        stride: int = 1,
        *,
        pad: int | tuple[int, int] | None = None,
        groups: int = 1,
        bias: bool = True,
        damped: float = 1.0,
        activation: Activation | None = None,
    ) -> Tensor:
        """A convolution. `pad` keeps the size of the image (at stride 1) unless it is given; `filters` is
        taken as it is (`channels`). Weights are `damped` where their sums are added to what went around them."""
        rows, cols = (kernel, kernel) if isinstance(kernel, int) else kernel
        pads = ((rows - 1) // 2, (cols - 1) // 2) if pad is None else pad
        inner = x.shape[-1] // groups
        deviation = damped * math.sqrt(2 / (rows * cols * inner))
        w = self.drawn(f"{name}.w", (rows, cols, inner, filters), deviation)
        added = self.drawn(f"{name}.b", (filters,), 0.1) if bias else None
        last = name if activation is None else f"{name}.sum"
        y = self.graph.conv2d(x, w, bias=added, strides=stride, pads=pads, groups=groups, name=last)
        return y if activation is None else activation(y)

    def depthwise(
        self, name: str, x: Tensor, kernel: int = 3, stride: int = 1, activation: Activation | None = None
    ) -> Tensor:
        """A filter for each channel."""
        channels = x.shape[-1]
        return self.conv(name, x, channels, kernel, stride, groups=channels, activation=activation)

    def dense(self, name: str, x: Tensor, units: int, activation: Activation | None = None) -> Tensor:
        """A fully connected layer with bias, of rows (n, features)."""
        features = x.shape[-1]
        w = self.drawn(f"{name}.w", (features, units), math.sqrt(2 / features))
        y = self.graph.matmul(x, w, bias=self.drawn(f"{name}.b", (units,), 0.1), name=name)
        return y if activation is None else activation(y)

    def flat(self, x: Tensor) -> Tensor:
        """Images as rows, (n, height x width x channels)."""
        return self.graph.reshape(x, (x.shape[0], -1))

    def classified(self, x: Tensor, name: str = "fc") -> Tensor:
        """The usual end: the mean over each image, and a layer of as many units as there are classes."""
        return self.dense(name, self.flat(self.graph.global_average_pool(x)), self.classes)

    def max_pool(self, x: Tensor, kernel: int, stride: int, pad: int | Sequence[int] = 0, ceil: bool = False) -> Tensor:
        return self.graph.max_pool(x, kernel, strides=stride, pads=pad, ceil=ceil)

    def normalised(self, name: str, x: Tensor) -> Tensor:
        """Batch normalisation that no convolution before it can take in: a scale and a shift of each channel."""
        channels = x.shape[-1]
        scale = Lazy((channels,), partial(_around_one, f"{name}.scale", channels))
        y = self.graph.mul(x, self.graph.weight(f"{name}.scale", scale), name=f"{name}.scaled")
        return self.graph.add(y, self.drawn(f"{name}.shift", (channels,), 0.1), name=name)

    def upsampled(self, x: Tensor, factor: int = 2) -> Tensor:
        """Each pixel `factor` times in lines and columns (nearest neighbour)."""
        lines, columns = ([i // factor for i in range(size * factor)] for size in x.shape[1:3])
        return self.graph.take(x, [None, lines, columns, None])

    def same_size(self, x: Tensor, other: Tensor) -> None:
        """Raises ShapeError if the images do not fit each other: the network's own are of another size."""
        if x.shape[:-1] != other.shape[:-1]:
            raise ShapeError(f"images of this size do not fit the network: {x.shape} beside {other.shape}")

    def drawn(self, name: str, shape: tuple[int, ...], scale: float) -> Tensor:
        """A weight, normal with deviation `scale`."""
        return self.graph.weight(name, Lazy(shape, self.recipe(name, shape, scale)))

    @staticmethod
    def recipe(name: str, shape: tuple[int, ...], scale: float) -> Callable[[], Array]:
        """What makes the weights of that name, normal with deviation `scale`."""
        return partial(drawn_normal, _seeds(name), shape, scale=scale)

    def relu6(self, x: Tensor) -> Tensor:
        return self.graph.clip(x, 0.0, 6.0)


def _seeds(name: str) -> list[int]:
    return [SEED, zlib.crc32(name.encode())]


def _around_one(name: str, count: int) -> Array:
    return 1 + drawn_normal(_seeds(name), (count,))
