"""How ONNX's RotaryEmbedding enters the graph: pairs of columns turned by an angle that grows with the position.

    y1 = cos * x1 - sin * x2,  y2 = sin * x1 + cos * x2

A pair is a column of the first half and one of the second half, or (interleaved) two neighbours. The rows of the tables
that positions ask for are gathered.
"""

from __future__ import annotations

from collections.abc import Callable

from minisim.compiler.graph import Graph, Tensor
from minisim.compiler.ops.base import OnnxContext, OnnxNode, onnx_import
from minisim.compiler.ops.onnx_attention import by_heads, constant_integers, side_by_side
from minisim.errors import ShapeError


def rotated(graph: Graph, x: Tensor, cos: Tensor, sin: Tensor, interleaved: bool, part: Callable[[str], str]) -> Tensor:
    """x (batch, heads, rows, d) with its first columns turned: twice as many as cos and sin have.

    cos and sin are (batch or 1, 1, rows, columns)."""
    half, d = cos.shape[-1], x.shape[-1]
    if cos.shape != sin.shape or 2 * half > d:
        raise ShapeError(f"cos {cos.shape} and sin {sin.shape} must be alike, of at most half of {d} columns")
    turned, rest = (x, None) if 2 * half == d else graph.split(x, [2 * half, d - 2 * half], name=part("columns"))
    if interleaved:
        first, second = (
            graph.slice(turned, [at], [2 * half], [3], [2], name=part(text)) for at, text in ((0, "even"), (1, "odd"))
        )
    else:
        first, second = graph.split(turned, 2, name=part("halves"))
    real = graph.sub(
        graph.mul(first, cos, name=part("cos_first")), graph.mul(second, sin, name=part("sin_second")), name=part("y1")
    )
    imaginary = graph.add(
        graph.mul(first, sin, name=part("sin_first")), graph.mul(second, cos, name=part("cos_second")), name=part("y2")
    )
    parts = [real, imaginary]
    if interleaved:
        pairs = [graph.reshape(each, (*each.shape, 1), name=part("single")) for each in parts]
        joined = graph.concat(pairs, 4, name=part("pairs"))
        parts = [graph.reshape(joined, turned.shape, name=part("turned"))]
    if rest is not None:
        parts.append(rest)
    return parts[0] if len(parts) == 1 else graph.concat(parts, 3, name=part("turned"))


def rows_at(graph: Graph, table: Tensor, positions: tuple[int, ...], batch: int, part: Callable[[str], str]) -> Tensor:
    """Rows of a table (positions, columns), as (batch or 1, 1, rows, columns); those of one batch may be for all."""
    count = len(positions) // batch
    each = [positions[at * count : (at + 1) * count] for at in range(batch)]
    if all(one == each[0] for one in each):
        positions, batch = each[0], 1
    begin = positions[0]
    if positions == tuple(range(begin, begin + len(positions))) and begin + len(positions) <= table.shape[0]:
        found = graph.slice(table, [begin], [begin + len(positions)], [0], name=part("angles"))
    else:
        found = graph.take(table, [list(positions), None], kind="Gather", name=part("angles"))
    return graph.reshape(found, (batch, 1, len(positions) // batch, table.shape[1]), name=part("of_rows"))


@onnx_import("RotaryEmbedding", attributes=["interleaved", "num_heads", "rotary_embedding_dim"])
def import_rotary(context: OnnxContext, node: OnnxNode) -> Tensor:
    graph, names = context.graph, (*node.inputs, "")
    x, cos, sin = (context.value(name) for name in names[:3])

    def part(text: str) -> str:
        return graph.fresh_name(f"{node.name}/{text}")

    if flat := len(x.shape) == 3:
        x = by_heads(graph, x, int(node.attrs.get("num_heads", 0)), part)
    if len(x.shape) != 4:
        raise ShapeError(f"X must have three or four dimensions, not shape {x.shape}")
    batch, _, rows, d = x.shape
    columns = int(node.attrs.get("rotary_embedding_dim", 0)) or d
    positions = constant_integers(context, names[3], "position_ids")
    wanted = 2 if positions is not None else 3
    if len(cos.shape) != wanted or cos.shape != sin.shape or 2 * cos.shape[-1] != columns:
        raise ShapeError(f"cos_cache {cos.shape} and sin_cache {sin.shape} must have {wanted} dimensions, the last one "
                         f"half of {columns} columns")  # fmt: skip
    if positions is not None:
        if len(positions) != batch * rows:
            raise ShapeError(f"position_ids must be {batch * rows} numbers, not {len(positions)}")
        cos, sin = (rows_at(graph, table, positions, batch, part) for table in (cos, sin))
    else:
        if cos.shape[:2] != (batch, rows):
            raise ShapeError(f"cos_cache must have shape {(batch, rows, columns // 2)}, not {cos.shape}")
        cos, sin = (graph.reshape(each, (batch, 1, *each.shape[1:]), name=part("of_rows")) for each in (cos, sin))
    y = rotated(graph, x, cos, sin, bool(node.attrs.get("interleaved", 0)), part)
    return side_by_side(graph, y, part, node.name) if flat else y
