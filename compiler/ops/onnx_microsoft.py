"""How what ONNX Runtime's optimiser writes enters the graph: operators of com.microsoft that are several of ONNX's."""

from __future__ import annotations

from minisim.compiler.graph import Tensor
from minisim.compiler.ops.base import OnnxContext, OnnxNode, onnx_import
from minisim.errors import ShapeError, UnsupportedError


@onnx_import("com.microsoft::BiasGelu", "com.microsoft::FastGelu", "com.microsoft::Gelu", needs=(0,), most_inputs=2)
def import_gelu(context: OnnxContext, node: OnnxNode) -> Tensor:
    """Of x, or x + bias; FastGelu is the form with a tanh."""
    graph, (x, *bias) = context.graph, (context.value(name) for name in node.inputs if name)
    if bias:
        x = graph.add(x, bias[0], name=graph.fresh_name(f"{node.name}/biased"))
    approximate = "tanh" if node.op_type.endswith("FastGelu") else "none"
    return graph.gelu(x, approximate=approximate, name=node.name)


@onnx_import("com.microsoft::QuickGelu", attributes=["alpha"], needs=(0,), most_inputs=1)
def import_quick_gelu(context: OnnxContext, node: OnnxNode) -> Tensor:
    """x * sigmoid(alpha * x)."""
    graph, x = context.graph, context.value(node.inputs[0])
    if (alpha := float(node.attrs.get("alpha", 1.702))) == 1.0:
        return graph.silu(x, name=node.name)
    scaled = graph.mul(x, alpha, name=graph.fresh_name(f"{node.name}/scaled"))
    return graph.mul(x, graph.sigmoid(scaled, name=graph.fresh_name(f"{node.name}/gate")), name=node.name)


@onnx_import("com.microsoft::FusedMatMul", needs=(0, 1), most_inputs=2,
             attributes=["alpha", "transA", "transB", "transBatchA", "transBatchB"])  # fmt: skip
def import_fused_matmul(context: OnnxContext, node: OnnxNode) -> Tensor:
    """alpha A' B'."""
    graph, (a, b) = context.graph, (context.value(name) for name in node.inputs)
    if node.attrs.get("transBatchA", 0) or node.attrs.get("transBatchB", 0):
        raise UnsupportedError("transBatchA and transBatchB must be 0")
    alpha = float(node.attrs.get("alpha", 1.0))
    turned_a, turned_b = (bool(node.attrs.get(f"trans{x}", 0)) for x in "AB")
    inner = node.name if alpha == 1.0 else graph.fresh_name(f"{node.name}/matmul")
    product = graph.matmul(a, b, transpose_a=turned_a, transpose_b=turned_b, name=inner)
    return product if alpha == 1.0 else graph.mul(product, alpha, name=node.name)


@onnx_import("com.microsoft::SimplifiedLayerNormalization", needs=(0, 1), most_inputs=2,
             attributes=["axis", "epsilon", "stash_type"])  # fmt: skip
def import_simplified(context: OnnxContext, node: OnnxNode) -> Tensor:
    """What ONNX calls RMSNormalization."""
    x, scale = (context.value(name) for name in node.inputs)
    axis, rank = int(node.attrs.get("axis", -1)), len(x.shape)
    if not -rank <= axis < rank:
        raise ShapeError(f"axis must lie in [-{rank}, {rank - 1}], not {axis}")
    epsilon = float(node.attrs.get("epsilon", 1e-5))
    return context.graph.rms_norm(x, scale, axes=range(axis % rank, rank), epsilon=epsilon, name=node.name)


SKIPS = ["com.microsoft::SkipLayerNormalization", "com.microsoft::SkipSimplifiedLayerNormalization"]


@onnx_import(*SKIPS, attributes=["epsilon"], several_outputs=True, needs=(0, 1, 2), most_inputs=5)
def import_skip(context: OnnxContext, node: OnnxNode) -> tuple[Tensor, ...]:
    """The normalised sum of x, what goes past it and a bias; and, as the fourth output, that sum.

    Beside scale and bias of its channels the simplified form has no bias.
    """
    graph, names = context.graph, (*node.inputs, "", "")
    if any(node.outputs[1:3]):
        raise UnsupportedError("its second and third output, the mean and the deviation, are not supported")
    simplified = node.op_type == SKIPS[1]
    x, skip, scale = (context.value(name) for name in names[:3])
    beta, bias = ("", names[3]) if simplified else names[3:5]

    def part(text: str) -> str:
        return graph.fresh_name(f"{node.name}/{text}")

    total = graph.add(x, skip, name=part("sum"))
    if total.shape != x.shape:
        raise ShapeError(f"skip {skip.shape} must broadcast to the shape of x, {x.shape}")
    if bias:
        total = graph.add(total, context.value(bias), name=part("biased"))
    epsilon = float(node.attrs.get("epsilon", 1e-12))
    if simplified:
        y = graph.rms_norm(total, scale, epsilon=epsilon, name=node.name)
    else:
        shift = context.value(beta) if beta else None
        y = graph.layer_norm(total, scale, shift, epsilon=epsilon, name=node.name)
    return y, total, total, total
