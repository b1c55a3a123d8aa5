"""Small decoders as ONNX files, as exporters write them: with the keys and values of the past as inputs, or without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HIDDEN, HEADS, SIZE, VOCAB, POSITIONS = 24, 4, 6, 40, 32

KINDS = {
    "Concat": 4,  # rows are put behind the past by Concat, and all of them turned for the matmul
    "repeated": 2,  # and repeated for the queries that share them
    "Attention": 2,  # ONNX's operator does it
    "GroupQueryAttention": 2,  # ONNX Runtime's does
}
"""How attention is written, and the heads of keys and values."""


class Decoder:
    """What the file is put together by.

    Args:
        kind: one of `KINDS`.
        cached: whether it has pasts.
        names: of the pairs of a layer's inputs and outputs, to be formatted with the layer and "key" or "value".
    """

    def __init__(
        self,
        kind: str,
        layers: int = 2,
        cached: bool = True,
        names: tuple[str, str] = ("past_key_values.{}.{}", "present.{}.{}"),
    ) -> None:
        self.kind, self.cached, self.names, self.kv_heads = kind, cached, names, KINDS[kind]
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs = [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", length])
            for name, length in (("input_ids", "sequence"), ("attention_mask", "total"), ("position_ids", "sequence"))
        ]
        self.outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "sequence", VOCAB])]
        self._random = np.random.default_rng(1)
        self._build(layers)

    def save(self, path: Path) -> Path:
        opsets = [helper.make_opsetid("", 23), helper.make_opsetid("com.microsoft", 1)]
        graph = helper.make_graph(self.nodes, "decoder", self.inputs, self.outputs, self.constants)
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
        return path

    def op(self, op: str, *inputs: str, domain: str = "", outputs: int = 1, **attributes: object) -> str:
        names = [f"{op}_{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, names[0], domain=domain, **attributes))
        return names[0]

    def constant(self, value: object, dtype: str = "int64") -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), f"constant_{len(self.constants)}"))
        return self.constants[-1].name

    def drawn(self, *shape: int) -> str:
        return self.constant(self._random.normal(0, shape[0] ** -0.5, shape), "float32")

    def _build(self, layers: int) -> None:
        x = self.op("Gather", self.drawn(VOCAB, HIDDEN), "input_ids")
        x = self.op("Add", x, self.op("Gather", self.drawn(POSITIONS, HIDDEN), "position_ids"))
        self.mask = self._mask()
        for layer in range(layers):
            x = self.op("Add", x, self._attention(self._norm(x), layer))
            inner = self.op("Gelu", self.op("MatMul", self._norm(x), self.drawn(HIDDEN, 40)))
            x = self.op("Add", x, self.op("MatMul", inner, self.drawn(40, HIDDEN)))
        y = self.op("MatMul", self._norm(x), self.drawn(HIDDEN, VOCAB))
        self.nodes.append(helper.make_node("Identity", [y], ["logits"]))

    def _norm(self, x: str) -> str:
        return self.op("LayerNormalization", x, self.constant(np.ones(HIDDEN), "float32"))

    def _mask(self) -> str:
        """What is added to the scores: (batch, 1, queries, keys)."""
        total = self.op("Gather", self.op("Shape", "attention_mask"), self.constant(1))
        keys = self.op("Range", self.constant(0), total, self.constant(1))
        behind = self.op("LessOrEqual", keys, self.op("Unsqueeze", "position_ids", self.constant([1, 3])))
        there = self.op("Cast", self.op("Unsqueeze", "attention_mask", self.constant([1, 2])), to=TensorProto.BOOL)
        seen = self.op("And", behind, there)
        least = self.constant(np.finfo(np.float32).min, "float32")
        return self.op("Where", seen, self.constant(0, "float32"), least)

    def _pair(self, layer: int, kind: str) -> tuple[str, str]:
        """The names of the rows before, and of all rows; both are declared."""
        past, present = (text.format(layer, kind) for text in self.names)
        for name, length, infos in ((past, "past", self.inputs), (present, "total", self.outputs)):
            form = ["batch", self.kv_heads, length, SIZE]
            infos.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, form))
        return past, present

    def _behind(self, layer: int, kind: str, new: str) -> str:
        """The new rows behind the past ones."""
        if not self.cached:
            return new
        past, present = self._pair(layer, kind)
        self.nodes.append(helper.make_node("Concat", [past, new], [present], axis=2))
        return present

    def _attention(self, x: str, layer: int) -> str:
        width = self.kv_heads * SIZE
        q, k, v = (self.op("MatMul", x, self.drawn(HIDDEN, n)) for n in (HEADS * SIZE, width, width))
        if self.kind == "Attention":
            y = self._as_one(q, k, v, layer, "Attention", "")
        elif self.kind == "GroupQueryAttention":
            y = self._as_one(q, k, v, layer, "GroupQueryAttention", "com.microsoft")
        else:
            y = self._apart(q, k, v, layer)
        return self.op("MatMul", y, self.drawn(HEADS * SIZE, HIDDEN))

    def _apart(self, q: str, k: str, v: str, layer: int) -> str:
        q, k, v = (self._by_heads(x, n) for x, n in ((q, HEADS), (k, self.kv_heads), (v, self.kv_heads)))
        k, v = (self._repeated(self._behind(layer, kind, x)) for kind, x in (("key", k), ("value", v)))
        scores = self.op("MatMul", q, self.op("Transpose", k, perm=[0, 1, 3, 2]))
        scores = self.op("Add", self.op("Mul", scores, self.constant(SIZE**-0.5, "float32")), self.mask)
        y = self.op("MatMul", self.op("Softmax", scores, axis=-1), v)
        return self.op("Reshape", self.op("Transpose", y, perm=[0, 2, 1, 3]), self.constant([0, 0, HEADS * SIZE]))

    def _by_heads(self, x: str, heads: int) -> str:
        apart = self.op("Reshape", x, self.constant([0, 0, heads, SIZE]))
        return self.op("Transpose", apart, perm=[0, 2, 1, 3])

    def _repeated(self, x: str) -> str:
        """For each query its keys: heads beside each other are repeated, (batch, heads, rows, columns)."""
        if self.kv_heads == HEADS:
            return x
        apart = self.op("Unsqueeze", x, self.constant([2]))
        more = self.op("Expand", apart, self.constant([1, 1, HEADS // self.kv_heads, 1, 1]))
        wanted = self.op("Concat", self.constant([0, HEADS, -1, SIZE]), axis=0)
        return self.op("Reshape", more, wanted)

    def _as_one(self, q: str, k: str, v: str, layer: int, op: str, domain: str) -> str:
        """Attention as one node, which returns the present, too."""
        pairs = [self._pair(layer, kind) if self.cached else ("", "") for kind in ("key", "value")]
        pasts, outputs = [past for past, _ in pairs], [f"{op}_{layer}", *(present for _, present in pairs if present)]
        if domain:
            lengths = self.op("ReduceSum", "attention_mask", self.constant([1]), keepdims=0)
            last = self.op("Cast", self.op("Sub", lengths, self.constant(1)), to=TensorProto.INT32)
            total = self.op("Gather", self.op("Shape", "attention_mask"), self.constant(1))
            inputs = [q, k, v, *pasts, last, self.op("Cast", total, to=TensorProto.INT32)]
            attributes = {"num_heads": HEADS, "kv_num_heads": self.kv_heads}
        else:
            inputs = [q, k, v, self.mask, *pasts]
            attributes = {"q_num_heads": HEADS, "kv_num_heads": self.kv_heads}
        self.nodes.append(helper.make_node(op, inputs, outputs, domain=domain, **attributes))
        return outputs[0]
