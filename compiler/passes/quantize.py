"""Quantisation: a float32 model for a machine that computes in int8.

Symmetric, one scale per tensor, after training: a float x is represented by the int8 value q nearest to x / s, with
s = max |x| / 127. For weights the maximum is that of their values; for all else it is taken from one evaluation of
the model, in double precision, on its example inputs (`example_inputs`). A matmul of such values,

    y = relu(A B + bias)  is  s_a s_b relu(A_q B_q + bias_q),  bias_q = round(bias / (s_a s_b)) in int32,

leaves the matrix unit as y_q = saturate(round(sums x s_a s_b / s_y)). Relu, views and movements of one operand keep the
scale of what they are given. (B. Jacob et al., CVPR 2018, have the scheme; theirs has zero points, which are 0 here.)

It comes after fusion, because a scale belongs to what leaves the matrix unit: behind the bias and the relu.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from minisim.compiler.attributes import EpilogueAttributes, TakeAttributes
from minisim.compiler.dtypes import HELD_AS, quantize
from minisim.compiler.example_inputs import example_inputs
from minisim.compiler.graph import Graph, Node
from minisim.compiler.ops.epilogue import BIAS, RESIDUAL
from minisim.compiler.semantics import SEMANTICS
from minisim.compiler.values import mapped
from minisim.errors import ModelError, UnsupportedError

LEVELS = 127
"""The levels of each sign: int8 without -128."""


@dataclass(frozen=True)
class Quantize:
    """Graph -> Graph. What is float32 becomes int8; what the model itself declares in another type stays.

    Args:
        numerics: whether anybody computes with the result. If not, nothing is evaluated, and all scales are 1: time
            does not depend on them.

    Raises:
        UnsupportedError: the model has operations that this scheme does not cover; all of them are named.
        ModelError: a value is not finite.
    """

    numerics: bool = True
    name: str = "quantize"

    def apply(self, graph: Graph) -> Graph:
        if refused := list(_refused(graph)):
            raise UnsupportedError(
                f"model {graph.name!r} cannot be computed in int8 (matrix.dtype): {', '.join(refused)}; "
                "quantisation covers matmuls and convolutions with bias and relu, relu, max pooling, views and "
                "movements of one operand"
            )
        return _Quantizer(graph, self.numerics).run()


def _refused(graph: Graph) -> Iterator[str]:
    """What cannot be quantised, for people."""
    for node in graph.nodes:
        if all(graph.tensors[name].dtype != "float32" for name in (*node.present, *node.outputs)):
            continue
        if not _keeps_scale(node) and not _multiplies(node):
            yield f"{node.op} {node.name!r}"
        elif _multiplies(node):
            activation = node.attributes_as(EpilogueAttributes).activation
            if activation is not None and not activation.on_integers:
                yield f"{activation} after {node.name!r}"
            elif (residual := node.operand(RESIDUAL)) is not None:
                yield f"Add of {residual!r} after {node.name!r}"


def _multiplies(node: Node) -> bool:
    """Whether the array executes it, with an epilogue that requantises."""
    return isinstance(node.attributes, EpilogueAttributes)


def _keeps_scale(node: Node) -> bool:
    """Whether one unit stands for the same in its outputs as in its operand; a fill must be the 0 of both."""
    filled = isinstance(node.attributes, TakeAttributes) and node.attributes.fill != 0
    return (node.op in ("Relu", "Transpose", "Take", "MaxPool") and not filled) or SEMANTICS[node.op].is_view


class _Quantizer:
    """One walk over the nodes: the scale of a tensor is known before those that read it."""

    def __init__(self, graph: Graph, numerics: bool) -> None:
        self.graph = graph
        self.result = Graph(graph.name)
        self.result.inputs, self.result.outputs = list(graph.inputs), dict(graph.outputs)
        self.values = graph.evaluate(example_inputs(graph)) if numerics else None

    def run(self) -> Graph:
        result = self.result
        biases = {node.operand(BIAS) for node in self._matmuls()}
        operands = {name for node in self.graph.nodes for name in self._operands(node)}
        for name, tensor in self.graph.tensors.items():
            if tensor.dtype != "float32":
                result.tensors[name] = replace(tensor, graph=result)
            elif tensor.is_weight and name in biases and name not in operands:
                continue  # it becomes int32, once for each matmul that adds it
            elif name in self.graph.inputs or tensor.is_weight:
                self._add(name, self._scale(name))
        for node in self.graph.nodes:
            result.nodes.append(self._node(node))
        return result

    def _matmuls(self) -> list[Node]:
        return [n for n in self.graph.nodes if _multiplies(n) and self.graph.tensors[n.output].dtype == "float32"]

    def _operands(self, node: Node) -> tuple[str, ...]:
        return node.present[:2] if _multiplies(node) else node.present

    def _node(self, node: Node) -> Node:
        """`node` on quantised tensors; its outputs, and its bias if it has one, are added to the result."""
        tensors = self.result.tensors
        if self.graph.tensors[node.outputs[0]].dtype != "float32":
            for name in node.outputs:
                tensors[name] = replace(self.graph.tensors[name], graph=self.result)
            return node
        if not _multiplies(node):
            for name in node.outputs:
                self._add(name, tensors[node.present[0]].scale or 1.0)
            return node
        a, b = node.present[:2]
        product = (tensors[a].scale or 1.0) * (tensors[b].scale or 1.0)
        bias = node.operand(BIAS)
        inputs = (a, b) if bias is None else (a, b, self._add_bias(bias, product))
        scale = self._scale(node.output)
        self._add(node.output, scale)
        attributes = replace(node.attributes_as(EpilogueAttributes), scale=float(np.float32(product / scale)))
        return replace(node, inputs=inputs, attributes=attributes)

    def _add(self, name: str, scale: float) -> None:
        tensor = self.graph.tensors[name]
        values = mapped(tensor.values, partial(quantize, scale=scale))
        self.result.tensors[name] = replace(tensor, graph=self.result, values=values, dtype="int8", scale=scale)

    def _add_bias(self, bias: str, scale: float) -> str:
        """A weight with the values of `bias` in units of `scale`; its name."""
        taken = {*self.result.tensors, *(self.graph.tensors.keys() - {bias})}
        name = next(n for i in range(len(taken) + 1) if (n := f"{bias}.{i}" if i else bias) not in taken)
        original = self.graph.tensors[bias]
        values = mapped(original.values, partial(_in_units, scale=scale))
        self.result.tensors[name] = replace(
            original, graph=self.result, name=name, values=values, dtype="int32", scale=scale, is_weight=True
        )
        return name

    def _scale(self, name: str) -> float:
        """max |x| / 127; 1 if all values are 0, or nobody computes with them."""
        if self.values is None:
            return 1.0
        largest = _largest(self.values, name)
        if not np.isfinite(largest):
            raise ModelError(f"model {self.graph.name!r}: tensor {name!r} has values that int8 cannot scale: {largest}")
        return largest / LEVELS or 1.0


def _in_units(bias: npt.NDArray[Any], scale: float) -> npt.NDArray[np.int32]:
    """A bias in units of `scale`; beyond int32 it saturates."""
    limits = np.iinfo(HELD_AS["int32"])
    return np.clip(np.rint(bias.astype(np.float64) / scale), limits.min, limits.max).astype(np.int32)


def _largest(values: Mapping[str, npt.NDArray[Any]], name: str) -> float:
    return float(np.abs(values[name]).max())
