"""Quantised models that are written in floats: DequantizeLinear, an operator, QuantizeLinear.

Such a model says with floats what is meant of integers. A Conv, MatMul or Gemm between them is the QLinearConv,
QLinearMatMul or QGemm of the same operands, and becomes it here, as in ONNX Runtime's optimiser: its int32 sums are
exact, where those of floats are rounded. A Relu between operator and QuantizeLinear is the saturation of a type whose
least integer is the zero point. Everything else stays as it is written, in float32.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import onnx
import onnx.numpy_helper
from onnx import NodeProto, TensorProto

from minisim.compiler.graph import Array

NAMED = {"Conv": ("QLinearConv", ""), "MatMul": ("QLinearMatMul", ""), "Gemm": ("QGemm", "com.microsoft")}
"""What becomes of which operators, and the domain of that."""

BYTES = (TensorProto.INT8, TensorProto.UINT8)


class Quantised(NamedTuple):
    """A value as the integers that stand for it: the names of these, of their scale and of their zero point."""

    value: str
    scale: str
    zero: str


def fuse_quantised(model: onnx.ModelProto) -> None:
    """Write the operators between DequantizeLinear and QuantizeLinear as those of integers, in place."""
    if any(node.op_type == "QuantizeLinear" and node.domain in ("", "ai.onnx") for node in model.graph.node):
        _Fusion(model).run()


class _Fusion:
    def __init__(self, model: onnx.ModelProto) -> None:
        self.model, self.nodes = model, list(model.graph.node)
        self.producers = {name: node for node in self.nodes for name in node.output}
        self.readers = Counter(name for node in self.nodes for name in _read(node))
        self.outputs = {info.name for info in model.graph.output}
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        for node in self.nodes:
            if node.op_type == "Constant":
                self.constants.update((node.output[0], a.t) for a in node.attribute if a.name == "value")

    def run(self) -> None:
        gone: set[str] = set()
        instead: dict[str, NodeProto] = {}
        for node in self.nodes:
            if node.op_type == "QuantizeLinear" and node.output and (found := self._fused(node)) is not None:
                fused, between = found
                instead[node.output[0]] = fused
                gone |= {name for each in between for name in each.output}
        if not instead:
            return
        firsts = [node.output[0] if node.output else "" for node in self.nodes]
        kept = [instead.get(first, node) for first, node in zip(firsts, self.nodes, strict=True) if first not in gone]
        used = self.outputs | {name for node in kept for name in _read(node)}
        del self.model.graph.node[:]
        self.model.graph.node.extend(
            node for node in kept if node.op_type != "DequantizeLinear" or not used.isdisjoint(node.output)
        )
        if not any(opset.domain == "com.microsoft" for opset in self.model.opset_import):
            self.model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))

    def _fused(self, last: NodeProto) -> tuple[NodeProto, list[NodeProto]] | None:
        """The node of integers that ends with this QuantizeLinear, and the nodes before it that it stands for."""
        of_y = self._of(last)
        between: list[NodeProto] = []
        node = self._only(last.input[0])
        if of_y is None or node is None or not self._is_number(of_y.scale) or not self._is_number(of_y.zero):
            return None
        if node.op_type == "Relu":
            between.append(node)
            zero = self.constants[of_y.zero]
            if _array(zero).item() != (0 if zero.data_type == TensorProto.UINT8 else -128):
                return None
            node = self._only(node.input[0])
        if node is None or node.op_type not in NAMED or node.domain not in ("", "ai.onnx"):
            return None
        inputs = self._inputs(node, of_y)
        if inputs is None:
            return None
        op, domain = NAMED[node.op_type]
        fused = onnx.helper.make_node(op, inputs, [last.output[0]], node.name or last.name, domain=domain)
        fused.attribute.extend(a for a in node.attribute if a.name != "beta")
        return fused, [*between, node]

    def _inputs(self, node: NodeProto, of_y: Quantised) -> Sequence[str] | None:
        """The operands of the node of integers, if all of these are quantised as it takes them."""
        given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        a, b = (self._dequantised(name) for name in node.input[:2])
        if a is None or b is None or not self._is_number(a[0].scale) or not self._is_number(a[0].zero):
            return None
        (of_a, _), (of_b, axis) = a, b
        per_column = not self._is_number(of_b.scale)
        bias = self._bias(node, of_a, of_b)
        if bias is None or (per_column and of_b.value not in self.constants):
            return None
        if node.op_type == "Conv":
            fits = not per_column or axis == 0
            return (*of_a, *of_b, *of_y[1:], *([bias] if bias else [])) if fits else None
        if node.op_type == "Gemm":
            plain = float(given.get("alpha", 1)) == float(given.get("beta", 1)) == 1 and not given.get("transA", 0)
            constant = of_b.value in self.constants
            fits = not per_column or axis % 2 == (0 if given.get("transB", 0) else 1)
            return (*of_a, *of_b, bias, *of_y[1:]) if plain and constant and fits else None
        dims = len(self.constants[of_b.value].dims) if per_column else 2
        return (*of_a, *of_b, *of_y[1:]) if not per_column or (dims == 2 and axis % 2 == 1) else None

    def _bias(self, node: NodeProto, of_a: Quantised, of_b: Quantised) -> str | None:
        """The int32 bias in units of both scales; "" if there is none, None if it is another one."""
        if len(node.input) < 3 or not node.input[2]:
            return ""
        found = self.producers.get(node.input[2])
        if found is None or found.op_type != "DequantizeLinear":
            return None
        value, scale, zero = (*found.input, "")[:3]
        if value not in self.constants or scale not in self.constants:
            return None
        if self.constants[value].data_type != TensorProto.INT32 or (zero and zero not in self.constants):
            return None
        if any(self.constants[name].data_location == TensorProto.EXTERNAL for name in (scale, zero) if name):
            return None
        if zero and np.any(_array(self.constants[zero])):
            return None
        wanted = _array(self.constants[of_a.scale]) * _array(self.constants[of_b.scale])
        return value if np.allclose(_array(self.constants[scale]), wanted, rtol=1e-5, atol=0) else None

    def _dequantised(self, name: str) -> tuple[Quantised, int] | None:
        """The integers that a float is made of, and the axis of their scales."""
        node = self.producers.get(name)
        if node is None or node.op_type != "DequantizeLinear" or (found := self._of(node)) is None:
            return None
        attributes = {a.name: a.i for a in node.attribute}
        return None if attributes.get("block_size", 0) else (found, attributes.get("axis", 1))

    def _of(self, node: NodeProto) -> Quantised | None:
        """The integers of a QuantizeLinear or a DequantizeLinear, if they are bytes whose scale is constant."""
        value, scale, zero = (*node.input, "")[:3]
        if node.op_type == "QuantizeLinear":
            value = node.output[0]
        if scale not in self.constants or zero not in self.constants:
            return None
        if any(self.constants[name].data_location == TensorProto.EXTERNAL for name in (scale, zero)):
            return None  # nobody computes with the model
        is_float = self.constants[scale].data_type == TensorProto.FLOAT
        return Quantised(value, scale, zero) if is_float and self.constants[zero].data_type in BYTES else None

    def _only(self, name: str) -> NodeProto | None:
        """The node that makes a value which only one node reads."""
        return self.producers.get(name) if self.readers[name] == 1 and name not in self.outputs else None

    def _is_number(self, name: str) -> bool:
        return int(np.prod(self.constants[name].dims)) == 1


def _read(node: NodeProto) -> Iterator[str]:
    """What a node reads, and what its subgraphs do."""
    yield from node.input
    for graph in (a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH):
        yield from (info.name for info in graph.output)
        for inner in graph.node:
            yield from _read(inner)


def _array(tensor: TensorProto) -> Array:
    return onnx.numpy_helper.to_array(tensor)
