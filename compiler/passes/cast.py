"""Casting: a float32 model for a machine that computes in bfloat16 or float16.

Every float32 tensor takes that type: weights are rounded here, once, inputs when they are set; what an operation
computes is rounded when it leaves the unit. Factors, scales and zero points of conversions stay as they are, and so do
scales of rows (`RowScales`), in the states that keep them, too; others that
are computed become float32 again before the conversion. Sums, and all between them and the
end of a fused operation, stay float32.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from minisim.compiler.attributes import CastAttributes
from minisim.compiler.blocked import Blocked
from minisim.compiler.dtypes import converted
from minisim.compiler.graph import Graph, Node, Tensor
from minisim.compiler.quantising import CONVERSIONS
from minisim.compiler.semantics import SEMANTICS
from minisim.compiler.values import mapped


@dataclass(frozen=True)
class Cast:
    """Graph -> Graph."""

    dtype: str
    name: str = "cast"

    def apply(self, graph: Graph) -> Graph:
        result = graph.anew()
        result.inputs, result.outputs = list(graph.inputs), dict(graph.outputs)
        scales = {name for node in graph.nodes if node.op in CONVERSIONS for name in node.present[1:]}
        kept = {name for name in scales if graph.tensors[name].is_weight} | _scales_of_rows(graph)
        result.tensors = {name: self._cast(tensor, result, name in kept) for name, tensor in graph.tensors.items()}
        for node in graph.nodes:
            computed = [name for name in node.present[1:] if node.op in CONVERSIONS and name not in kept]
            wide = {name: self._widened(name, result) for name in dict.fromkeys(computed)}
            first, *others = node.inputs
            result.nodes.append(replace(node, inputs=(first, *(wide.get(name or "", name) for name in others))))
        return result

    @staticmethod
    def _widened(name: str, result: Graph) -> str:
        """A tensor in float32 again, made here; its name."""
        wide = result.fresh_name(f"{name}/float32")
        narrow = result.tensors[name]
        result.tensors[wide] = replace(narrow, name=wide, dtype="float32", window=None)
        result.nodes.append(Node("Cast", wide, (name,), (wide,), CastAttributes("float32")))
        return wide

    def _cast(self, tensor: Tensor, owner: Graph, stays: bool) -> Tensor:
        if tensor.dtype != "float32" or stays:
            return replace(tensor, graph=owner)
        if tensor.packed and isinstance(tensor.values, Blocked):
            return replace(tensor, graph=owner, values=tensor.values.as_type(self.dtype), dtype=self.dtype)
        values = mapped(tensor.values, partial(converted, dtype=self.dtype))
        return replace(tensor, graph=owner, values=values, dtype=self.dtype)


def _scales_of_rows(graph: Graph) -> set[str]:
    """The scales of rows, their views, and the states that they are appended to: float32 on every machine."""
    found: set[str] = set()
    for node in graph.nodes:
        if node.op == "RowScales":
            found.update(node.outputs)
        elif SEMANTICS[node.op].is_view and node.present[-1] in found:
            found.update((*node.present, *node.outputs))
    return found
