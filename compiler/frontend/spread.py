"""The operators of com.microsoft on quantised values that are computed in float32: QLinearSigmoid and its like.

Each is written out as what its definition says: DequantizeLinear of its operands, the operator, QuantizeLinear.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import NodeProto

ONE = {
    "QLinearSigmoid": "Sigmoid",
    "QLinearLeakyRelu": "LeakyRelu",
    "QLinearSoftmax": "Softmax",
}
"""Of one operand x, its scale, its zero point; then scale and zero point of the result."""


def spread_quantised(model: onnx.ModelProto) -> None:
    """Write these operators out, in place; one without the zero point that says the result's type is left as it is."""
    nodes = list(model.graph.node)
    if not any(node.domain == "com.microsoft" and node.op_type.startswith("QLinear") for node in nodes):
        return
    taken = {name for node in nodes for name in (*node.input, *node.output)}
    del model.graph.node[:]
    model.graph.node.extend(new for node in nodes for new in _written_out(node, taken))


def _written_out(node: NodeProto, taken: set[str]) -> Sequence[NodeProto]:
    inputs, op = [*node.input], node.op_type
    if node.domain != "com.microsoft" or not node.output or _attribute(node, "channels_last", 0):
        return [node]
    if op in ONE and len(inputs) == 5:
        name, operands, result = ONE[op], [inputs[:3]], inputs[3:]
    elif op == "QLinearConcat" and len(inputs) % 3 == 2:
        name, result = "Concat", inputs[:2]
        operands = [inputs[i : i + 3] for i in range(2, len(inputs), 3)]
    else:
        return [node]
    if not result[1] or (op == "QLinearSoftmax" and _attribute(node, "opset", 13) < 13):
        return [node]

    def fresh(text: str) -> str:
        stem = f"{node.name or node.output[0]}/{text}"
        found = next(name for i in range(len(taken) + 1) if (name := f"{stem}_{i}" if i else stem) not in taken)
        taken.add(found)
        return found

    floats = [fresh("float") for _ in operands]
    made = [onnx.helper.make_node("DequantizeLinear", of, [to], to) for of, to in zip(operands, floats, strict=True)]
    y = fresh("result")
    core = onnx.helper.make_node(name, floats, [y], y)
    core.attribute.extend(a for a in node.attribute if a.name not in ("channels_last", "opset"))
    last = onnx.helper.make_node("QuantizeLinear", [y, *result], [node.output[0]], node.name or node.output[0])
    return [*made, core, last]


def _attribute(node: NodeProto, name: str, missing: int) -> int:
    return next((int(a.i) for a in node.attribute if a.name == name), missing)
