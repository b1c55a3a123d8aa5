"""DepthwiseConv: a convolution of each channel by itself, as the vector unit computes it.

A fold of fused multiply-adds: row t of the filters is multiplied with tap t, from +0, in the order in which the array
would do it; then come the bias and the activation of the epilogue. So the bits are those of the convolution that it
was (`passes/depthwise.py`). Elementwise operations behind it, its tail, follow on each tile.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minisim.compiler.attributes import DepthwiseAttributes
from minisim.compiler.geometry import Geometry
from minisim.compiler.graph import Graph, Node, Shape
from minisim.compiler.ops.base import OPERATORS, register
from minisim.compiler.ops.conv import Conv
from minisim.compiler.ops.elementwise import Elementwise
from minisim.compiler.ops.epilogue import BIAS, finished, has
from minisim.compiler.ops.fold import Fold, Stage
from minisim.compiler.semantics import Array, one_dtype
from minisim.hwmodel import isa
from minisim.hwmodel.isa import VectorOp


@register
class DepthwiseConv(Fold[DepthwiseAttributes]):
    """Inputs x, filters (taps, channels), a bias or none, and the numbers of the operators of its tail, one after the
    other."""

    name, code = "DepthwiseConv", VectorOp.FOLD_FMA
    attributes = DepthwiseAttributes
    operands = range(2, 64)
    optional = frozenset({BIAS})

    def title(self, inputs: Sequence[str | None], attributes: DepthwiseAttributes) -> str:
        fused = "Bias" * has(inputs, BIAS) + str(attributes.activation or "") + "".join(attributes.tail)
        return f"Fused{self.name}{fused}" if fused else self.name

    def infer(self, shapes: Sequence[Shape | None], attributes: DepthwiseAttributes) -> tuple[Shape, ...]:
        return Conv().infer(shapes[: BIAS + 1], attributes)

    def infer_dtypes(self, dtypes: Sequence[str | None], attributes: DepthwiseAttributes) -> tuple[str, ...]:
        return (one_dtype([dtype for dtype in dtypes if dtype is not None], self.dtypes),)

    def evaluate(self, inputs: Sequence[Array | None], attributes: DepthwiseAttributes) -> tuple[Array, ...]:
        x, w, bias, *numbers = [*inputs, None][: max(3, len(inputs))]
        assert x is not None
        assert w is not None
        geometry, channels = attributes.geometry(x.shape), x.shape[-1]
        pixels = np.concatenate([x.reshape(-1, channels), np.zeros((1, channels), x.dtype)])  # the last: OUTSIDE
        sums = np.zeros((geometry.pixels_out, channels), x.dtype)
        for tap in range(geometry.taps):
            sums += pixels[geometry.source(tap)] * w[tap]
        y = finished(sums.reshape(self.infer([x.shape, w.shape], attributes)[0]), bias, None, attributes)
        for name in attributes.tail:
            operator = _elementwise(name)
            mine, numbers = numbers[: operator.code.sources - 1], numbers[operator.code.sources - 1 :]
            (y,) = operator.evaluate([y, *(each for each in mine if each is not None)], attributes)
        return (y,)

    def geometry(self, node: Node, graph: Graph) -> Geometry:
        return node.attributes_as(DepthwiseAttributes).geometry(graph.tensors[node.present[0]].shape)

    def weights(self, node: Node) -> str | None:
        return node.inputs[1]

    def bias(self, node: Node) -> str | None:
        return node.operand(BIAS)

    def activation(self, node: Node) -> isa.Activation:
        activation = node.attributes_as(DepthwiseAttributes).activation
        return activation.code if activation else isa.Activation.NONE

    def tail(self, node: Node, graph: Graph) -> tuple[Stage, ...]:
        numbers = [name for name in node.inputs[BIAS + 1 :] if name is not None]
        stages = []
        for name in node.attributes_as(DepthwiseAttributes).tail:
            code = _elementwise(name).code
            stages.append(Stage(code, tuple(numbers[: code.sources - 1])))
            numbers = numbers[code.sources - 1 :]
        return tuple(stages)


def _elementwise(name: str) -> Elementwise:
    operator = OPERATORS[name]
    assert isinstance(operator, Elementwise)
    return operator
