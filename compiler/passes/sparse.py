"""Structured sparsity: which weights are N:M, and such made of others.

What a machine makes of it is in hwmodel/sparsity.py. A weight is compressed if it is the second operand of matmuls and
convolutions, and of nothing else, and each block of M steps of k, in the order in which it lies in memory, has N values
at most, in every column, that are not zero. Of one whose blocks all have fewer, so many are kept: 1:4 on a machine of
2:4. Blocks are counted from the first step; the order of k of a convolution is (channel div block, tap, channel mod
block), so they are of neighbouring channels. Not compressed are the filters of convolutions with groups, those of
transposed ones that are cut into phases, and weights of 4 bits, which are packed instead (`pack.py`).

It comes before cast and quantize, which leave zeros where they are: what is found does not depend on the type, nor on
whether anybody computes with the weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from minisim.compiler.attributes import ConvAttributes, MatMulAttributes
from minisim.compiler.blocked import Blocked
from minisim.compiler.dtypes import FLOATS
from minisim.compiler.graph import Array, Graph, Node, Tensor, view_2d
from minisim.compiler.values import mapped
from minisim.hwmodel.config import Machine
from minisim.hwmodel.isa import ITEMSIZE
from minisim.hwmodel.sparsity import Kept


@dataclass(frozen=True)
class Sparse:
    """Graph -> Graph, in which weights say how they are compressed. With `sparsity.prune` float weights are made N:M:
    of each block the N of the largest magnitude stay, of equals the first."""

    machine: Machine
    name: str = "sparse"

    def apply(self, graph: Graph) -> Graph:
        changed = {tensor.name: self._sparse(tensor, across) for tensor, across in _weights(graph)}
        result = graph.anew()
        result.inputs, result.outputs, result.nodes = list(graph.inputs), dict(graph.outputs), list(graph.nodes)
        result.tensors = {name: replace(changed.get(name, each), graph=result) for name, each in graph.tensors.items()}
        return result

    def _sparse(self, tensor: Tensor, across: bool) -> Tensor:
        sparsity, is_float = self.machine.sparsity, tensor.dtype in FLOATS
        if sparsity.numbers is None or isinstance(tensor.values, Blocked):
            return tensor
        most, block = sparsity.numbers
        rows, cols = view_2d(tensor.shape)
        item = ITEMSIZE[self.machine.dtype if tensor.dtype == "float32" else tensor.code]
        kept = Kept(most, block, sparsity.bits, across)
        if kept.bytes(rows, cols, item) >= rows * cols * item:  # with its metadata
            return tensor
        if sparsity.prune and is_float:
            prune = partial(pruned, values=most, block=block, across=across)
            return replace(tensor, values=mapped(tensor.values, prune), kept=kept)
        if (values := tensor.data) is None:
            return tensor
        found = max(1, int(_counts(values, block, across).max()))
        return replace(tensor, kept=kept._replace(values=found)) if found <= most else tensor


def pruned(weight: Array, values: int, block: int, across: bool) -> Array:
    """`weight` with zeros in the place of all but the `values` of the largest magnitude of each block of k."""
    blocks = _blocks(weight, block, across)
    magnitude = np.abs(blocks.astype(np.float64))
    rank = np.argsort(np.argsort(-magnitude, axis=1, kind="stable"), axis=1, kind="stable")
    kept = np.where(rank < values, blocks, np.zeros((), weight.dtype))
    found = kept.reshape(-1, kept.shape[-1])[: weight.shape[1 if across else 0]]
    return np.ascontiguousarray(found.T if across else found).reshape(weight.shape)


def _counts(weight: Array, block: int, across: bool) -> Array:
    """The values that are not zero of each block and column."""
    return np.asarray(np.count_nonzero(_blocks(weight, block, across), axis=1))


def _blocks(weight: Array, block: int, across: bool) -> Array:
    """As (blocks, block, columns), the last block filled up with zeros."""
    down = weight.T if across else weight
    steps, cols = down.shape
    filled = np.zeros((-(-steps // block) * block, cols), weight.dtype)
    filled[:steps] = down
    return filled.reshape(-1, block, cols)


def _weights(graph: Graph) -> Iterator[tuple[Tensor, bool]]:
    """The weights that can be compressed, each with whether k runs across its columns."""
    consumers = graph.consumers()
    for tensor in graph.tensors.values():
        if not tensor.is_weight or tensor.window is not None or len(tensor.shape) != 2:
            continue
        ways = {_across(node, tensor.name) for node in consumers.get(tensor.name, ())}
        if len(ways) == 1 and (across := ways.pop()) is not None:
            yield tensor, across


def _across(node: Node, weight: str) -> bool | None:
    """Whether k of the node's second operand, which `weight` is, runs across its columns; None if it is another one, or
    the node is none whose second operand can be compressed."""
    if len(node.inputs) < 2 or node.inputs[1] != weight or node.inputs.count(weight) > 1:
        return None
    match node.attributes:
        case MatMulAttributes() if node.op == "MatMul":
            return None if node.attributes.has_heads else node.attributes.transpose_b
        case ConvAttributes() if node.op == "Conv":
            return None if node.attributes.groups > 1 or node.attributes.has_phases else False
    return None
