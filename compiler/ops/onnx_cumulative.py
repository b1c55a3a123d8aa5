"""How ONNX's CumSum and CumProd enter the graph: in log2(n) steps, each of which adds what lies twice as far back.

After step i an element holds the sum of the 2^i elements up to itself (Hillis and Steele, 1986): so its terms are added
in the order of that tree, on every machine.
"""

from __future__ import annotations

from minisim.compiler.arguments import checked_axes
from minisim.compiler.graph import Tensor
from minisim.compiler.ops.base import OnnxContext, OnnxNode, onnx_import
from minisim.errors import ShapeError, UnsupportedError


@onnx_import("CumSum", "CumProd", attributes=["exclusive", "reverse"])
def import_cumulative(context: OnnxContext, node: OnnxNode) -> Tensor:
    graph, x = context.graph, context.value(node.inputs[0])
    given = context.integers(node.inputs[1])
    if given is None:
        raise UnsupportedError("an axis that is computed at run time is not supported")
    if len(given) != 1 or not x.shape:
        raise ShapeError(f"x {x.shape} must have an axis, and axis must be one number")
    (axis,) = checked_axes(x.shape, given[0])
    product, backward, size = node.op_type == "CumProd", bool(node.attrs.get("reverse", 0)), x.shape[axis]

    def behind(y: Tensor, distance: int) -> Tensor:
        """For each place the element so far before it (going backward: behind it), or what changes nothing."""
        pads = [(0, 0)] * len(x.shape)
        pads[axis] = (-distance, distance) if backward else (distance, -distance)
        return graph.pad(y, pads, value=float(product), name=graph.fresh_name(f"{node.name}/from_{distance}"))

    found, distance = x, 1
    if node.attrs.get("exclusive", 0):
        if size == 1:
            return graph.take(x, [[None] * d if i == axis else None for i, d in enumerate(x.shape)],
                              fill=float(product), name=node.name)  # fmt: skip
        found = behind(x, 1)
    while distance < size:
        name = node.name if 2 * distance >= size else graph.fresh_name(f"{node.name}/step")
        operation = graph.mul if product else graph.add
        found = operation(found, behind(found, distance), name=name)
        distance *= 2
    return found
