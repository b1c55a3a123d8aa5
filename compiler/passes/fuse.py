"""Fusion: a matmul takes over the bias, the residual and the activation that follow it.

The fused operation applies them in the same order, each rounded once, so the bits of a float32 model do not change:
what is saved is a trip of the intermediate through SRAM or DRAM for each fused operation. In bfloat16 a fused
operation is computed in float32 up to its one rounding at the end, so fusion is part of what such a model means;
it never depends on the machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from minisim.compiler.graph import Graph, Node, Tensor, view_2d

ACTIVATIONS = {"Relu": "ReLU", "Sigmoid": "Sigmoid"}
EPILOGUE = ("bias", "residual", "activation")
"""The order in which the matrix unit applies the stages: a later one closes the earlier ones."""


@dataclass(frozen=True)
class Fuse:
    """Graph -> Graph."""

    name: str = "fuse"

    def apply(self, graph: Graph) -> Graph:
        consumers = graph.consumers()
        members: set[str] = set()
        fused_at: dict[str, Node] = {}  # a fused node stands where its last member stood: operands are ready
        for node in graph.nodes:
            if node.op == "MatMul":
                chain, fused = _fuse_from(node, graph, consumers, members)
                members.update(chain)
                fused_at[chain[-1]] = fused
        result = Graph(graph.name)
        result.inputs, result.outputs = list(graph.inputs), dict(graph.outputs)
        for node in graph.nodes:
            if node.name in fused_at:
                result.nodes.append(fused_at[node.name])
            elif node.name not in members:
                result.nodes.append(node)
        result.tensors = _used(result, graph)
        return result


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
        stage = _stage(fused, node, graph)
        if stage is None or node.name in taken:
            break
        operands, attrs = stage
        fused = Node("MatMul", matmul.name, fused.inputs + operands, node.output, {**fused.attrs, **attrs})
        chain.append(node.name)
    return chain, fused


def _stage(fused: Node, node: Node, graph: Graph) -> tuple[tuple[str, ...], Mapping[str, Any]] | None:
    """The inputs and attributes that `node` adds to the matmul before it; None if it cannot be fused."""
    value = fused.output
    reached = max((i for i, stage in enumerate(EPILOGUE) if stage in fused.attrs), default=-1)
    if node.op in ACTIVATIONS and reached < 2:
        return (), {"activation": ACTIVATIONS[node.op]}
    if node.op != "Add" or node.inputs[0] == node.inputs[1]:
        return None
    other = node.inputs[1] if node.inputs[0] == value else node.inputs[0]
    rows, cols = view_2d(graph.tensors[value].shape)
    if graph.tensors[node.output].shape != graph.tensors[value].shape:
        return None
    shape = view_2d(graph.tensors[other].shape)
    if shape == (1, cols) and reached < 0 and graph.tensors[other].is_weight:
        return (other,), {"bias": "Bias"}
    if shape == (rows, cols) and reached < 1:
        return (other,), {"residual": "Residual"}
    return None


def _used(result: Graph, graph: Graph) -> dict[str, Tensor]:
    """The tensors that fusion did not make internal (inputs stay: the caller provides them)."""
    used = {name for node in result.nodes for name in (*node.inputs, node.output)}
    used |= set(graph.inputs) | set(graph.outputs.values())
    return {name: tensor for name, tensor in graph.tensors.items() if name in used}
