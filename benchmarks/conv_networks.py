"""The convolutions of classic networks, batch 1: what benchmarks/conv_layers.py measures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Layer(NamedTuple):
    """A convolution: an image of `size` x `size` pixels, square kernels, padding on all sides."""

    network: str
    size: int
    channels: int
    filters: int
    kernel: int
    stride: int
    pad: int
    groups: int = 1

    @property
    def output(self) -> int:
        """Pixels of a line of the output."""
        return (self.size + 2 * self.pad - self.kernel) // self.stride + 1

    @property
    def depth(self) -> int:
        """Products that add up to one output."""
        return self.kernel**2 * self.channels // self.groups

    @property
    def macs(self) -> int:
        return self.output**2 * self.depth * self.filters

    @property
    def elements(self) -> tuple[int, int, int]:
        """Of the input, as far as a window reaches, of the filters, and of the output: what must move at least."""
        lines = len({y for y, _ in self._read()})
        return lines * lines * self.channels, self.depth * self.filters, self.output**2 * self.filters

    def _read(self) -> Iterator[tuple[int, int]]:
        """Each line that is read, and by which line of the output."""
        for out in range(self.output):
            for tap in range(self.kernel):
                if 0 <= (line := out * self.stride + tap - self.pad) < self.size:
                    yield line, out

    def __str__(self) -> str:
        text = f"{self.size}x{self.size}x{self.channels} -> {self.filters}, {self.kernel}x{self.kernel}"
        return text + f" / {self.stride}" * (self.stride > 1) + f", {self.groups} groups" * (self.groups > 1)


def resnet50(size: int = 224) -> Iterator[Layer]:
    yield Layer("resnet50", size, 3, 64, 7, 2, 3)
    size, channels = size // 4, 64
    for width, blocks, first in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for block in range(blocks):
            stride = first if block == 0 else 1
            yield Layer("resnet50", size, channels, width, 1, 1, 0)
            yield Layer("resnet50", size, width, width, 3, stride, 1)
            if block == 0:
                yield Layer("resnet50", size, channels, 4 * width, 1, stride, 0)
            size //= stride
            yield Layer("resnet50", size, width, 4 * width, 1, 1, 0)
            channels = 4 * width


def mobilenet_v2(size: int = 224) -> Iterator[Layer]:
    yield Layer("mobilenet_v2", size, 3, 32, 3, 2, 1)
    size, channels = size // 2, 32
    blocks = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for expansion, filters, repeats, first in blocks:
        for repeat in range(repeats):
            stride, hidden = first if repeat == 0 else 1, expansion * channels
            if expansion > 1:
                yield Layer("mobilenet_v2", size, channels, hidden, 1, 1, 0)
            yield Layer("mobilenet_v2", size, hidden, hidden, 3, stride, 1, groups=hidden)
            size //= stride
            yield Layer("mobilenet_v2", size, hidden, filters, 1, 1, 0)
            channels = filters
    yield Layer("mobilenet_v2", size, channels, 1280, 1, 1, 0)


def vgg16(size: int = 224) -> Iterator[Layer]:
    channels = 3
    for width, repeats in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(repeats):
            yield Layer("vgg16", size, channels, width, 3, 1, 1)
            channels = width
        size //= 2


def layers() -> list[Layer]:
    """The distinct ones of each network, in its order."""
    return list(dict.fromkeys([*resnet50(), *mobilenet_v2(), *vgg16()]))
