"""Folding: factors and summands of channels that follow a convolution or a matmul go into its constant weights.

    (x * w + b) * f + s  =  x * (w * f) + (b * f + s)

The new weights and the new bias are computed in double precision and rounded once, however many were folded (what a
BatchNormalization is made of is not rounded before). They define what the model computes: not the operations that they
stand for, each rounded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from minisim.compiler.attributes import EpilogueAttributes, MatMulAttributes
from minisim.compiler.blocked import Blocked
from minisim.compiler.graph import Graph, Node, view_2d
from minisim.compiler.ops.epilogue import BIAS
from minisim.compiler.semantics import Array
from minisim.compiler.values import Lazy, Precise, exact

Step = tuple[str, Array | Lazy]
"""An operation on the channels of what is there so far, and its other operand."""


def fold_into_weights(graph: Graph) -> None:
    """Fold what can be into the constant weights of `graph`, in place.

    Outputs keep their names; what is not needed any more is left over (`forget_unused`)."""
    consumers, outputs = graph.consumers(), set(graph.outputs.values())
    gone: set[str] = set()
    instead: dict[str, list[Node]] = {}
    for node in graph.nodes:
        if not _has_constant_weights(node, graph):
            continue
        chain, steps = [node], []
        while chain[-1].output not in outputs and len(readers := consumers[chain[-1].output]) == 1:
            step = _step(readers[0], chain[-1].output, graph)
            if step is None:
                break
            chain.append(readers[0])
            steps.append(step)
        if _is_worth_it(steps, graph.tensors[node.output].shape[-1]):
            gone |= {each.name for each in chain}
            instead[node.name] = _folded(chain, steps, graph)
    graph.nodes = [new for node in graph.nodes for new in instead.get(node.name, [] if node.name in gone else [node])]


def _has_constant_weights(node: Node, graph: Graph) -> bool:
    if not isinstance(node.attributes, EpilogueAttributes) or node.operand(BIAS) is not None:
        return False
    w = graph.tensors[node.present[1]]
    is_dense = w.is_weight and not isinstance(w.values, Blocked)  # folding makes floats of weights of 4 bits
    return is_dense and w.dtype == "float32" and len(w.shape) > 1 and node.attributes.scale is None


def _step(node: Node, value: str, graph: Graph) -> Step | None:
    """What `node` does to each channel of the tensor `value`; None if it is something else."""
    if node.op not in ("Add", "Sub", "Mul") or node.inputs[0] == node.inputs[1]:
        return None
    other = next(name for name in node.present if name != value)
    constant, shape = graph.tensors[other], graph.tensors[value].shape
    if not constant.is_weight or constant.values is None or (node.op == "Sub" and node.inputs[0] != value):
        return None
    if graph.tensors[node.output].shape != shape or view_2d(constant.shape) not in ((1, shape[-1]), (1, 1)):
        return None
    return node.op, constant.values


def _is_worth_it(steps: Sequence[Step], channels: int) -> bool:
    """Not of one summand for each channel: that is a bias as it is."""
    return bool(steps) and (len(steps) > 1 or steps[0][0] != "Add" or math.prod(steps[0][1].shape) != channels)


def _folded(chain: list[Node], steps: list[Step], graph: Graph) -> list[Node]:
    """The operation with other weights, and behind it, if anything is added, its new bias."""
    node, last = chain[0], chain[-1]
    w = graph.tensors[node.present[1]]
    channels = graph.tensors[node.output].shape[-1]
    if any(op == "Mul" for op, _ in steps):
        assert w.values is not None
        transposed = isinstance(node.attributes, MatMulAttributes) and node.attributes.transpose_b
        values = Precise(w.shape, partial(_weights, w.values, steps, channels, transposed))
        w = graph.weight(graph.fresh_name(f"{w.name}.folded"), values)
        sums = replace(graph.tensors[node.output], name=graph.fresh_name(f"{node.output}/folded"))
        graph.tensors[sums.name] = sums  # another name: its values are not what the model calls so
        node = replace(node, inputs=(node.inputs[0], w.name, *node.inputs[2:]), outputs=(sums.name,))
    if all(op == "Mul" for op, _ in steps):
        return [replace(node, outputs=last.outputs)]
    bias = graph.weight(graph.fresh_name(f"{last.name}.bias"), Precise((channels,), partial(_bias, steps, channels)))
    return [node, Node("Add", last.name, (node.output, bias.name), last.outputs)]


def _weights(w: Array | Lazy, steps: list[Step], channels: int, transposed: bool) -> Array:
    factor = np.ones(channels)
    for op, values in steps:
        if op == "Mul":
            factor = factor * exact(values).reshape(-1)
    return np.asarray(exact(w) * (factor[:, None] if transposed else factor))


def _bias(steps: list[Step], channels: int) -> Array:
    bias = np.zeros(channels)
    for op, values in steps:
        value = exact(values).reshape(-1)
        bias = bias * value if op == "Mul" else bias + value if op == "Add" else bias - value
    return bias


def forget_unused(graph: Graph) -> None:
    """Drop the tensors that no node computes or reads; the others are put into the order in which nodes name them."""
    named = (name for node in graph.nodes for name in (*node.present, *node.outputs))
    used = dict.fromkeys((*graph.inputs, *named, *graph.outputs.values()))
    graph.tensors = {name: graph.tensors[name] for name in used}
