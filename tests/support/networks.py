"""Networks of the sizes that people type, on every preset, and two properties that their cycles should have.

*Padding*: M rows take no longer than M rounded up to whole tiles: one could always pad. *More*: more SRAM, bandwidth,
lanes or DMA channels make nothing slower.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from minisim import Graph, Machine, MinisimError, compile_graph, simulate
from support.machines import least_sram, with_sram

PRESETS = ("npu_32x32", "edge_8x8", "tpu_like_128x128", "gemmini_16x16", "tpu_v3")
POPULAR = (1, 2, 3, 4, 8, 16, 32, 64, 100, 128, 256, 512, 768, 1000, 1024, 2048, 3072, 4096, 5000)
LARGEST = 5000
MOST_STEPS = 2000
"""Executes of one network, about: what a test has time for."""

MORE = {
    "sram.bytes": (1.0625, 1.25, 1.5, 2, 4, 16),
    "dma.bytes_per_cycle": (2, 4),
    "dma.channels": (2, 4),
    "dram.bandwidth": (1.5, 2, 4),
    "vector.lanes": (2, 4),
}
"""What there can be more of, and by which factors."""


@dataclass(frozen=True)
class Network:
    """A chain of layers y = activation(x w + bias + residual) and the machine for it.

    Attributes:
        rows, widths: x is (rows, widths[0]), the i-th layer's w (widths[i], widths[i + 1]).
        residual: whether the first layer adds one.
    """

    rows: int
    widths: tuple[int, ...]
    bias: bool
    residual: bool
    relu: bool
    machine: Machine

    def __str__(self) -> str:
        parts = "".join(f" {name}" for name in ("bias", "residual", "relu") if getattr(self, name))
        shape = "x".join(str(size) for size in (self.rows, *self.widths))
        return f"{shape}{parts} on {self.machine.name}, sram.bytes {self.machine.sram.bytes}"

    @property
    def graph(self) -> Graph:
        """The weights are zeros that take no memory."""
        g = Graph(str(self))
        y = g.input("x", (self.rows, self.widths[0]))
        for i, shape in enumerate(pairwise(self.widths)):
            y = y @ g.weight(f"w{i}", np.broadcast_to(np.float32(0), shape))
            if self.bias:
                y = y + g.weight(f"b{i}", np.zeros(shape[1], dtype=np.float32))
            if self.residual and i == 0:
                y = y + g.input("r", (self.rows, shape[1]))
            if self.relu:
                y = g.relu(y)
        g.output(y, "y")
        return g

    @property
    def padded(self) -> Network:
        """Its rows rounded up to whole tiles."""
        edge = self.machine.tile.m
        return replace(self, rows=-(-self.rows // edge) * edge)

    def cycles(self) -> int:
        return simulate(compile_graph(self.graph, self.machine), self.machine).cycles


def networks(seed: int) -> Iterator[Network]:
    """Endlessly many, which can all be computed, padded or not."""
    draw = random.Random(seed)
    while True:
        machine = Machine.load(draw.choice(PRESETS))
        tile, floats = machine.tile, machine.matrix.dtype != "int8"
        rows = _size(draw, tile.m)
        widths = tuple(_size(draw, tile.n) for _ in range(draw.choice((2, 2, 2, 3, 4))))
        steps = sum(-(-rows // tile.m) * -(-k // tile.k) * -(-n // tile.n) for k, n in pairwise(widths))
        if steps > MOST_STEPS:
            continue
        network = Network(rows, widths, draw.random() < 0.6, floats and draw.random() < 0.25, False, machine)
        network = replace(network, relu=floats and draw.random() < 0.4)
        if draw.random() < 0.7:
            size = int(least_sram(network.padded.graph, machine) * 2 ** draw.uniform(0, 8)) // 64 * 64
            network = replace(network, machine=with_sram(machine, min(size, 2**24)))
        try:
            compile_graph(network.padded.graph, network.machine)
        except MinisimError:  # the least SRAM of some operators depends on how much there is
            continue
        yield network


def _size(draw: random.Random, edge: int) -> int:
    """A popular number, a multiple of the tile's edge or one beside it, or any."""
    kind = draw.random()
    if kind < 0.35:
        return draw.choice(POPULAR)
    if kind < 0.75:
        return min(LARGEST, max(1, edge * draw.randint(1, 40) + draw.choice((-1, 0, 0, 1))))
    return int(2 ** draw.uniform(0, 12.28))


def with_more(network: Network, seed: int) -> tuple[str, Network]:
    """One of MORE, drawn: its text, and the network on a machine that has it."""
    draw = random.Random(seed)
    key = draw.choice(list(MORE))
    section, name = key.split(".")
    factor = draw.choice(MORE[key])
    now = getattr(getattr(network.machine, section), name)
    value: object = int(now * factor) // 64 * 64 if key == "sram.bytes" else now * factor
    if key == "dram.bandwidth":
        value = f"{float(now) * factor:.0f}B/s"
    return f"{key} x {factor}", replace(network, machine=network.machine.with_overrides({key: value}))
