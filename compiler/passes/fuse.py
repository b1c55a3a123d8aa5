"""Fusion: a matmul or a convolution takes over the bias, the residual and the activation that follow it.

The fused operation applies them in the same order, each rounded once, so the bits of a float32 model do not change:
what is saved is a trip of the intermediate through SRAM or DRAM for each fused operation. In bfloat16 a fused
operation is computed in float32 up to its one rounding at the end, so fusion is part of what such a model means;
it never depends on the machine.

Before that, a convolution of one tap that reads each pixel once becomes the matmul that it is, of pixels and channels.
For one tap the order of k is that of the channels (`geometry.py`), so its bits are the same; and a matmul reads whole
tiles, where a convolution gathers.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, fields, replace

from minisim.compiler.activations import BY_OPERATOR
from minisim.compiler.attributes import ConvAttributes, EpilogueAttributes, MatMulAttributes
from minisim.compiler.dtypes import is_integer
from minisim.compiler.graph import Graph, Node, Tensor, view_2d
from minisim.compiler.ops.epilogue import BIAS, RESIDUAL


@dataclass(frozen=True)
class Fuse:
    """Graph -> Graph."""

    name: str = "fuse"

    def apply(self, graph: Graph) -> Graph:
        graph = _with_matmuls(graph)
        consumers = graph.consumers()
        members: set[str] = set()
        fused_at: dict[str, Node] = {}  # a fused node stands where its last member stood: operands are ready
        for node in graph.nodes:
            if isinstance(node.attributes, EpilogueAttributes):
                chain, fused = _fuse_from(node, graph, consumers, members)
                members.update(chain)
                fused_at[chain[-1]] = fused
        result = graph.anew()
        result.inputs, result.outputs = list(graph.inputs), dict(graph.outputs)
        for node in graph.nodes:
            if node.name in fused_at:
                result.nodes.append(fused_at[node.name])
            elif node.name not in members:
                result.nodes.append(node)
        result.tensors = _used(result, graph)
        return result


def _with_matmuls(graph: Graph) -> Graph:
    """The graph, in which convolutions that are matmuls are."""
    result = copy(graph)
    result.nodes = [_as_matmul(node) for node in graph.nodes]
    return result


def _as_matmul(node: Node) -> Node:
    if not isinstance(node.attributes, ConvAttributes):
        return node
    epilogue = {each.name: getattr(node.attributes, each.name) for each in fields(EpilogueAttributes)}
    if node.attributes != ConvAttributes(kernel=(1, 1), **epilogue):
        return node
    return replace(node, op="MatMul", attributes=MatMulAttributes(**epilogue))


def _fuse_from(
    matmul: Node, graph: Graph, consumers: Mapping[str, list[Node]], taken: set[str]
) -> tuple[list[str], Node]:
    """Fuse what follows `matmul`, each node the only reader of the one before: their names, and the result.

    Nodes in `taken` are fused into another matmul already (both operands of an Add may be matmuls).
    """
    outputs = set(graph.outputs.values())
    chain, fused = [matmul.name], matmul
    while fused.output not in outputs and len(readers := consumers[fused.output]) == 1:
        node = readers[0]
        longer = _with(fused, node, graph)
        if longer is None or node.name in taken:
            break
        fused = longer
        chain.append(node.name)
    return chain, fused


def _with(fused: Node, node: Node, graph: Graph) -> Node | None:
    """`fused` with `node` behind it taken in; None if it cannot be.

    The array applies bias, residual and activation in that order: a later one closes the earlier ones.
    """
    attributes, value = fused.attributes_as(EpilogueAttributes), fused.output
    biased, has_residual = fused.operand(BIAS) is not None, fused.operand(RESIDUAL) is not None
    if attributes.activation is not None:
        return None
    if node.op in BY_OPERATOR:
        active = replace(attributes, activation=BY_OPERATOR[node.op])
        return replace(fused, outputs=node.outputs, attributes=active)
    if node.op != "Add" or node.inputs[0] == node.inputs[1] or has_residual:
        return None
    a, b = node.present
    other = b if a == value else a
    whole = is_integer(graph.tensors[node.output].dtype)
    if isinstance(attributes, MatMulAttributes) and attributes.joins:
        return None  # its tiles are those of its matrices, which lie beside each other
    if whole and attributes.scale is not None:
        return None  # the array adds to sums alone
    rows, cols = view_2d(graph.tensors[value].shape)
    if graph.tensors[node.output].shape != graph.tensors[value].shape:
        return None
    shape = view_2d(graph.tensors[other].shape)
    if isinstance(attributes, ConvAttributes) and attributes.has_phases:
        whole = True  # its phases have epilogues of their own, and a residual lies as their images together
    if shape == (1, cols) and not biased and graph.tensors[other].is_weight:
        return _adding(fused, BIAS, other, node)
    return _adding(fused, RESIDUAL, other, node) if shape == (rows, cols) and not whole else None


def _adding(fused: Node, place: int, operand: str, add: Node) -> Node:
    """`fused` with the operand of `add` at `place`, where it has none, and the output of `add`."""
    inputs = [*fused.inputs, *[None] * (place + 1 - len(fused.inputs))]
    inputs[place] = operand
    return replace(fused, inputs=tuple(inputs), outputs=add.outputs)


def _used(result: Graph, graph: Graph) -> dict[str, Tensor]:
    """The tensors that fusion did not make internal (inputs stay: the caller provides them)."""
    used = {name for node in result.nodes for name in (*node.present, *node.outputs)}
    used |= set(graph.inputs) | set(graph.outputs.values())
    return {name: tensor for name, tensor in graph.tensors.items() if name in used}
