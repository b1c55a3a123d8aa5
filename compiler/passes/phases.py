"""Phases: a transposed convolution with strides becomes the convolutions that it consists of, and their interleaving.

Every stride-th pixel of its output has the same taps (`Geometry.phases`). They are a convolution of their own, of those
taps, without strides: so the array multiplies no zero that only stands between two pixels. Each has the bias, the
activation and the scale of the whole. Where the slices walk them together, their images do not leave the SRAM.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from minisim.compiler.attributes import ConvAttributes, InterleaveAttributes, Run, TakeAttributes
from minisim.compiler.geometry import Phase, order_of_k
from minisim.compiler.graph import Graph, Node, Tensor
from minisim.compiler.semantics import Array
from minisim.compiler.values import Lazy, rows_of


@dataclass(frozen=True)
class Phases:
    """Graph -> Graph."""

    name: str = "phases"

    def apply(self, graph: Graph) -> Graph:
        if not any(_has_phases(node) for node in graph.nodes):
            return graph
        result = graph.anew()
        result.inputs, result.outputs = list(graph.inputs), dict(graph.outputs)
        result.tensors = {name: replace(each, graph=result) for name, each in graph.tensors.items()}
        for node in graph.nodes:
            result.nodes += _in_phases(node, result) if _has_phases(node) else [node]
        used = {name for node in result.nodes for name in (*node.present, *node.outputs)}
        used |= set(graph.inputs) | set(graph.outputs.values())
        result.tensors = {name: each for name, each in result.tensors.items() if name in used}
        return result


def _has_phases(node: Node) -> bool:
    return isinstance(node.attributes, ConvAttributes) and node.attributes.has_phases


def _in_phases(node: Node, graph: Graph) -> Iterator[Node]:
    """The convolutions of its phases, whose tensors are added to `graph`, and their interleaving."""
    attributes, y = node.attributes_as(ConvAttributes), graph.tensors[node.output]
    x = graph.tensors[node.present[0]]
    geometry, made = attributes.geometry(x.shape), []
    for phase in geometry.phases():
        stem = f"{node.name}/phase{'.'.join(map(str, phase.first))}"
        filters, moves = _filters(node, phase, stem, graph)
        yield from moves
        of = phase.geometry
        size = of.output if len(y.shape) == 4 else of.output[1:]
        part = replace(y, name=_fresh(stem, graph), shape=(y.shape[0], *size, y.shape[-1]))
        graph.tensors[part.name] = part
        made.append(part.name)
        said = replace(attributes, kernel=of.kernel, strides=(1, 1), dilations=of.dilations, pads=of.pads)
        inputs = (node.inputs[0], filters, *node.inputs[2:])
        yield replace(node, name=part.name, inputs=inputs, outputs=(part.name,), attributes=said)
    yield Node("Interleave", node.name, tuple(made), node.outputs,
               InterleaveAttributes(geometry.output, attributes.strides))  # fmt: skip


def _filters(node: Node, phase: Phase, stem: str, graph: Graph) -> tuple[str, list[Node]]:
    """The rows of the filters that belong to a phase; of filters that are computed, moved there by the nodes."""
    w, attributes = graph.tensors[node.present[1]], node.attributes_as(ConvAttributes)
    taps = attributes.kernel[0] * attributes.kernel[1]
    channels = w.shape[0] // taps
    rows = np.flatnonzero(np.isin(order_of_k(channels, taps) // channels, phase.taps))
    found = replace(w, name=_fresh(f"{stem}.w", graph), shape=(len(rows) or channels, w.shape[1]))
    graph.tensors[found.name] = found
    if not len(rows):
        zeros = Lazy(found.shape, _Zeros(found.shape, w))
        graph.tensors[found.name] = replace(found, values=zeros, is_weight=True)
        return found.name, []
    if w.is_weight:
        graph.tensors[found.name] = replace(found, values=None if w.values is None else rows_of(w.values, rows))
        return found.name, []
    begins = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
    lengths = np.diff(np.append(begins, len(rows)))
    down = tuple(Run(int(rows[begin]), 1, int(length)) for begin, length in zip(begins, lengths, strict=True))
    chosen = TakeAttributes("Slice", (down, (Run(0, 1, w.shape[1]),)))
    return found.name, [Node("Take", found.name, (w.name,), (found.name,), chosen)]


@dataclass(frozen=True)
class _Zeros:
    """A recipe of zeros, of the type in which a tensor has its values."""

    shape: tuple[int, ...]
    like: Tensor

    def __call__(self) -> Array:
        data = self.like.data
        return np.zeros(self.shape, np.float32 if data is None else data.dtype)


def _fresh(stem: str, graph: Graph) -> str:
    """A name that no tensor of the graph has."""
    names = (f"{stem}_{i}" if i else stem for i in range(len(graph.tensors) + 1))
    return next(name for name in names if name not in graph.tensors)
