"""Casting: a float32 model for a machine that computes in bfloat16 or float16.

Every float32 tensor takes that type: weights are rounded here, once, inputs when they are set; what an operation
computes is rounded when it leaves the unit. Factors of a Rescale stay as they are. Sums, and all between them and the
end of a fused operation, stay float32.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from minisim.compiler.dtypes import converted
from minisim.compiler.graph import Graph, Tensor
from minisim.compiler.values import mapped


@dataclass(frozen=True)
class Cast:
    """Graph -> Graph."""

    dtype: str
    name: str = "cast"

    def apply(self, graph: Graph) -> Graph:
        result = graph.anew()
        result.inputs, result.outputs, result.nodes = list(graph.inputs), dict(graph.outputs), list(graph.nodes)
        factors = {node.present[1] for node in graph.nodes if node.op == "Rescale"}  # float32 on every machine
        result.tensors = {name: self._cast(tensor, result, name in factors) for name, tensor in graph.tensors.items()}
        return result

    def _cast(self, tensor: Tensor, owner: Graph, stays: bool) -> Tensor:
        if tensor.dtype != "float32" or stays:
            return replace(tensor, graph=owner)
        values = mapped(tensor.values, partial(converted, dtype=self.dtype))
        return replace(tensor, graph=owner, values=values, dtype=self.dtype)
