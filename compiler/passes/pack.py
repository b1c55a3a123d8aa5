"""Weights of 4 bits: which of them lie in memory in blocks.

How they do, and who unpacks them, is in hwmodel/packing.py. A weight that a model has in blocks (`blocked.py`) is
packed if it is the second operand of matmuls, and of nothing else, and its blocks lie along k. Others are floats, like
all weights; so are all of them on a machine that has no unpacker, or that quantises float32 weights to int8.

It comes before cast and quantize, behind which they are in blocks no longer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod

from minisim.compiler.attributes import MatMulAttributes
from minisim.compiler.blocked import Blocked
from minisim.compiler.dtypes import one_of
from minisim.compiler.graph import Graph, Node, Tensor, view_2d
from minisim.hwmodel.config import Machine
from minisim.hwmodel.isa import ITEMSIZE, DType
from minisim.hwmodel.packing import MOST


def is_blocked(graph: Graph) -> bool:
    """Whether a weight of the graph has 4 bits."""
    return any(isinstance(tensor.values, Blocked) for tensor in graph.tensors.values())


@dataclass(frozen=True)
class Pack:
    """Graph -> Graph, in which weights say how they are packed."""

    machine: Machine
    name: str = "pack"

    def apply(self, graph: Graph) -> Graph:
        consumers = graph.consumers()
        result = graph.anew()
        result.inputs, result.outputs, result.nodes = list(graph.inputs), dict(graph.outputs), list(graph.nodes)
        for name, tensor in graph.tensors.items():
            readers = consumers.get(name, ())
            free = name not in graph.outputs.values()
            result.tensors[name] = replace(self._packed(tensor, readers) if free else tensor, graph=result)
        return result

    def _packed(self, tensor: Tensor, readers: list[Node] | tuple[()]) -> Tensor:
        values, by = tensor.values, self.machine.unpack.by
        if not isinstance(values, Blocked) or by == "none" or not tensor.is_weight or tensor.window is not None:
            return tensor
        if tensor.dtype == "float32" and self.machine.dtype == DType.INT8:
            return tensor
        along_k = all(_across(node, tensor.name) == values.form.across for node in readers)
        fits = readers and along_k and values.form.block <= MOST
        return replace(tensor, packed=values.form.packed(by)) if fits else tensor


def _across(node: Node, weight: str) -> bool | None:
    """Whether k of the matmul whose second operand `weight` is runs across its columns; None if it is another one."""
    if node.op != "MatMul" or node.inputs[1] != weight or node.inputs.count(weight) > 1:
        return None
    attributes = node.attributes_as(MatMulAttributes)
    return None if attributes.has_heads else attributes.transpose_b


# -- for people ------------------------------------------------------------------------------------------


def stored(graph: Graph, machine: Machine, computed: Graph) -> Iterator[str]:
    """Lines on the weights of 4 bits of a graph: which of them are packed, and why others are not."""
    names = [name for name, tensor in graph.tensors.items() if isinstance(tensor.values, Blocked)]
    found = computed.tensors
    packed = [found[name] for name in names if name in found and found[name].packed]
    if packed:
        size, wide = sum(map(_bytes, packed)), sum(prod(x.shape) * ITEMSIZE[x.code] for x in packed)
        types = one_of(dict.fromkeys(x.dtype for x in packed))
        yield (
            f"{len(packed)} weights of 4 bits lie in DRAM in {size:,} bytes with their scales, where {types} would "
            f"take {wide:,}; the {machine.unpack.by.replace('dma', 'DMA')} unpacks them (unpack.by)"
        )
    if others := len(names) - len(packed):
        reason = "other operators than matmuls along k read them"
        if machine.dtype == DType.INT8:
            reason = "they are quantised to int8 (matrix.dtype)"
        elif machine.unpack.by == "none":
            reason = "unpack.by is 'none'"
        yield f"{others} weights of 4 bits lie in DRAM as numbers: {reason}"


def _bytes(tensor: Tensor) -> int:
    assert tensor.packed is not None
    return tensor.packed.bytes(*view_2d(tensor.shape))
