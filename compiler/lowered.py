"""Layers that are lowered once: equal ones, and one that is tried in several surroundings, differ in names alone.

What an operator emits depends on its node, on the shapes and types around it, on its tiling and on the machine; not on
the rest of the network. So a layer is lowered by itself, and what that gave is put into the programs of all equal
ones: its tiles, rows and tensors have other numbers there (`ProgramBuilder.place`).
"""

from __future__ import annotations

import math
from collections import Counter

from minisim.compiler.builder import ProgramBuilder
from minisim.compiler.graph import Graph, Node
from minisim.compiler.kept import Kept
from minisim.compiler.ops import OPERATORS
from minisim.compiler.ops.elementwise import number_of
from minisim.compiler.passes.excerpt import Excerpt
from minisim.compiler.tiling import TiledGraph, Tiling
from minisim.hwmodel.config import Machine

ROOM = 1 << 26
"""Bytes of lowered layers that are kept for later programs."""

LARGE = 1 << 22
"""Bytes of a layer that is not kept: it takes long to be compiled whoever lowers it."""

SMALL = 20_000
"""Operations of the array and the vector unit of a layer that is not lowered by itself for later programs alone."""


class Layer:
    """All that what a node emits depends on; layers are equal if all but names is."""

    def __init__(self, node: Node, graph: Graph, tiling: Tiling, machine: Machine) -> None:
        self.excerpt, self.tiling, self.machine = Excerpt([node], graph), tiling, machine
        tensors = [graph.tensors[name] for name in self.excerpt.graph.tensors]
        self.numbers = [tensor.name for tensor in tensors if tensor.is_weight and math.prod(tensor.shape) == 1]
        self.is_input = tuple(tensor.name in graph.inputs for tensor in tensors)
        exact = [number_of(graph.tensors[name]) for name in self.numbers]
        self._key = tiling, self.is_input, repr((node.attributes, exact))  # 0 and -0 are equal, and other bits

    def lowered(self, graph: Graph) -> ProgramBuilder:
        """The layer by itself; `graph` is the one that it is of."""
        alone = self.excerpt.graph
        alone.inputs = [name for name, is_input in zip(alone.tensors, self.is_input, strict=True) if is_input]
        alone.tensors.update((name, graph.tensors[name]) for name in self.numbers)  # their values are looked at
        (node,) = alone.nodes
        program = ProgramBuilder(alone, self.machine)
        OPERATORS[node.op].lower(node, alone, self.tiling, program)
        program.settle()
        return program

    def __hash__(self) -> int:
        return hash((self.excerpt, self._key))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Layer)
            and self._key == other._key
            and self.excerpt == other.excerpt
            and self.machine == other.machine
        )


def lower(tiled: TiledGraph, machine: Machine) -> ProgramBuilder:
    """All layers of a graph, in one program."""
    program, graph, nodes = ProgramBuilder(tiled.graph, machine), tiled.graph, tiled.executed()
    layers: list[Layer | None] = [None] * len(nodes)
    if len(nodes) > 1:  # else it is there once, and is likely a try
        layers = [Layer(node, graph, tiled.tilings[node.name], machine) if _stands_alone(node, graph) else None
                  for node in nodes]  # fmt: skip
    left = Counter(layer for layer in layers if layer)
    here: dict[Layer, ProgramBuilder] = {}
    for node, layer in zip(nodes, layers, strict=True):
        found = None
        if layer:
            left[layer] -= 1
            found = here.pop(layer, None) or _KEPT.get(layer)
            if not found and (left[layer] or _is_small(layer.tiling)):
                found = layer.lowered(graph)
                _KEPT.put(layer, found)
            if found and left[layer]:
                here[layer] = found
        if found:
            program.place(found, node)
        else:
            OPERATORS[node.op].lower(node, graph, tiled.tilings[node.name], program)
    return program


def _stands_alone(node: Node, graph: Graph) -> bool:
    """Whether none of its tensors is a piece of another one, whose other readers cut it up, too; of a state each cuts
    up its own part."""
    windows = [window for name in (*node.present, *node.outputs) if (window := graph.tensors[name].window)]
    return not windows or (
        OPERATORS[node.op].by_grids and all(graph.tensors[x.tensor].held is not None for x in windows)
    )


def _is_small(tiling: Tiling) -> bool:
    return tiling.m_tiles * tiling.k_tiles * tiling.n_tiles <= SMALL


_KEPT: Kept[Layer, ProgramBuilder] = Kept(ROOM, LARGE)
