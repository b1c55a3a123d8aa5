"""How ONNX's CausalConvWithState enters the graph: a depthwise convolution that sees what is before it alone."""

from __future__ import annotations

from minisim.compiler.graph import Tensor
from minisim.compiler.ops.base import OnnxContext, OnnxNode, onnx_import
from minisim.compiler.ops.onnx_conv import filters
from minisim.errors import ShapeError, UnsupportedError, shown


@onnx_import("CausalConvWithState", attributes=["activation"], several_outputs=True)
def import_causal_conv(context: OnnxContext, node: OnnxNode) -> tuple[Tensor, ...]:
    """x (batch, channels, length) behind the last k - 1 columns of the past, or zeros; and its own last k - 1."""
    graph, x, names = context.graph, context.value(node.inputs[0]), (*node.inputs, "", "")
    shape = context.value(names[1]).shape
    if len(x.shape) != 3 or len(shape) != 3 or shape[:2] != (x.shape[1], 1):
        raise ShapeError(f"input {x.shape} must be (batch, channels, length), and weight {shape} (channels, 1, k)")
    (batch, channels, length), k = x.shape, shape[2]
    activation = str(node.attrs.get("activation", "none"))
    if activation not in ("none", "silu", "swish"):
        raise UnsupportedError(f"activation must be none, silu or swish, not {shown(activation)}")

    def part(text: str) -> str:
        return graph.fresh_name(f"{node.name}/{text}")

    whole = x
    if names[3]:
        past = context.value(names[3])
        if past.shape != (batch, channels, k - 1):
            raise ShapeError(f"past_state must have shape {(batch, channels, k - 1)}, not {past.shape}")
        whole = graph.concat([past, x], 2, name=part("behind_past"))
    elif k > 1:
        whole = graph.pad(x, [(0, 0), (0, 0), (k - 1, 0)], name=part("behind_zeros"))
    rows = graph.transpose(whole, (0, 2, 1), name=part("in"))
    w = filters(context, node, (2, 1, 0), (k, 1, channels))
    bias = context.value(names[2]) if names[2] else None
    y = graph.conv2d(rows, w, bias=bias, groups=channels, name=part("conv"))
    if activation != "none":
        y = graph.silu(y, name=part("silu"))
    result = graph.transpose(y, (0, 2, 1), name=node.name)
    if len(node.outputs) < 2 or not node.outputs[1]:
        return (result,)
    if k == 1:
        raise UnsupportedError("a kernel of one column has no state")
    return result, graph.slice(whole, [length], [length + k - 1], [2], name=part("present"))
