"""AlexNet and ResNet-18 as GEMMs: the layers that hold weights, a batch of one.

A convolution of r x s filters over c channels is the GEMM of its patches (im2col): M = output pixels,
K = r x s x c, N = filters; a fully connected layer has M = 1. Shapes follow the papers: AlexNet as Krizhevsky,
Sutskever and Hinton (2012) split it in two groups of channels (conv2, conv4, conv5; each group is a GEMM), on
227 x 227 pixels; ResNet-18 as He, Zhang, Ren and Sun (2016), on 224 x 224, projection shortcuts included.
"""

from __future__ import annotations

from typing import NamedTuple


class Gemm(NamedTuple):
    """A layer as a GEMM of m x k x n, of which the network has `count`."""

    layer: str
    m: int
    k: int
    n: int
    count: int = 1


def conv(layer: str, edge: int, kernel: int, channels: int, filters: int, count: int = 1) -> Gemm:
    """`filters` of kernel x kernel x `channels`, whose output has edge x edge pixels."""
    return Gemm(layer, edge * edge, kernel * kernel * channels, filters, count)


def output_edge(edge: int, kernel: int, stride: int, pad: int) -> int:
    """Pixels along an edge of the output of a convolution or pooling."""
    return (edge + 2 * pad - kernel) // stride + 1


def alexnet() -> list[Gemm]:
    first = output_edge(227, 11, stride=4, pad=0)
    second = output_edge(first, 3, stride=2, pad=0)  # pooling
    third = output_edge(second, 3, stride=2, pad=0)
    last = output_edge(third, 3, stride=2, pad=0)
    return [
        conv("conv1", first, 11, 3, 96),
        conv("conv2", second, 5, 48, 128, count=2),
        conv("conv3", third, 3, 256, 384),
        conv("conv4", third, 3, 192, 192, count=2),
        conv("conv5", third, 3, 192, 128, count=2),
        Gemm("fc6", 1, last * last * 256, 4096),
        Gemm("fc7", 1, 4096, 4096),
        Gemm("fc8", 1, 4096, 1000),
    ]


def resnet18() -> list[Gemm]:
    first = output_edge(224, 7, stride=2, pad=3)
    edge, channels = output_edge(first, 3, stride=2, pad=1), 64  # pooling
    layers = [conv("conv1", first, 7, 3, channels), conv("conv2_x", edge, 3, channels, channels, count=4)]
    for stage in (3, 4, 5):
        edge, before, channels = output_edge(edge, 3, stride=2, pad=1), channels, 2 * channels
        layers += [
            conv(f"conv{stage}_1a", edge, 3, before, channels),
            conv(f"conv{stage}_x", edge, 3, channels, channels, count=3),
            conv(f"conv{stage}_shortcut", edge, 1, before, channels),
        ]
    return [*layers, Gemm("fc", 1, channels, 1000)]


NETWORKS = {"alexnet": alexnet, "resnet18": resnet18}
