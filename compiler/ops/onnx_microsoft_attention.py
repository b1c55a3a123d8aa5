"""How attention as ONNX Runtime's exporters write it enters the graph: MultiHeadAttention and GroupQueryAttention."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from minisim.compiler.graph import Graph, Tensor
from minisim.compiler.ops.base import OnnxContext, OnnxNode, onnx_import
from minisim.compiler.ops.onnx_attention import (
    Attention,
    Positions,
    behind,
    by_heads,
    constant_integers,
    mask_of,
    side_by_side,
)
from minisim.compiler.ops.onnx_past import Past
from minisim.compiler.ops.onnx_rotary import rotated, rows_at
from minisim.compiler.semantics import Array
from minisim.compiler.values import Lazy, materialised
from minisim.errors import ShapeError, UnsupportedError

Part = Callable[[str], str]


def _part(context: OnnxContext, node: OnnxNode, text: str) -> str:
    return context.graph.fresh_name(f"{node.name}/{text}")


def _operands(node: OnnxNode, count: int) -> tuple[str, ...]:
    """The first so many, "" for those that are left out; more are refused."""
    if more := [name for name in node.inputs[count:] if name]:
        raise UnsupportedError(f"operand {more[0]!r}, of number {node.inputs.index(more[0])}, is not supported")
    return (*node.inputs, *[""] * count)[:count]


@onnx_import(
    "com.microsoft::MultiHeadAttention",
    attributes=["mask_filter_value", "num_heads", "scale", "unidirectional"],
    several_outputs=True,
    needs=(0,),
    most_inputs=10,
)
def import_multi_head(context: OnnxContext, node: OnnxNode) -> tuple[Tensor, ...]:
    graph, part = context.graph, partial(_part, context, node)
    names, heads = _operands(node, 8), int(node.attrs.get("num_heads", 0))
    if len(node.outputs) > 3 and node.outputs[3]:
        raise UnsupportedError("its fourth output, the scores, is not supported")
    if not names[1] or not names[2]:
        raise UnsupportedError("query, key and value in one tensor are not supported")
    q, k, v = _with_bias(context, names, part)
    q, k, v = (x if len(x.shape) == 4 else by_heads(graph, x, heads, part) for x in (q, k, v))
    past_k, past_v = (context.value(name) if name else None for name in names[6:8])
    k, v = behind(graph, past_k, k, part, "keys"), behind(graph, past_v, v, part, "values")
    positions = Positions(q.shape[2], k.shape[2], (0 if past_k is None else past_k.shape[2],))
    if node.attrs.get("unidirectional", 0):
        positions = Positions(q.shape[2], k.shape[2], positions.offsets, right=0)
    scale = float(node.attrs.get("scale", 0.0)) or 1 / math.sqrt(q.shape[3])
    attention = Attention(graph, part, q, k, v, scale, positions, guarded=False)
    shape = (*q.shape[:3], k.shape[2])
    hidden = _padding(context, names[4], shape, float(node.attrs.get("mask_filter_value", -10000.0)), part)
    attention.bias = _sum(graph, mask_of(context, names[5], shape), hidden, part)
    return side_by_side(graph, attention.result(), part, node.name), k, v


def _with_bias(context: OnnxContext, names: tuple[str, ...], part: Part) -> list[Tensor]:
    """Query, key and value, (batch, rows, columns), each plus its piece of the bias."""
    operands = [context.value(name) for name in names[:3]]
    if len(operands[0].shape) != 3 or any(len(x.shape) not in (3, 4) for x in operands):
        shapes = ", ".join(str(x.shape) for x in operands)
        raise UnsupportedError(f"query, key and value must be (batch, rows, columns) each, not {shapes}")
    if not names[3]:
        return operands
    bias, sizes = context.value(names[3]), [x.shape[-1] for x in operands]
    if any(len(x.shape) != 3 for x in operands) or bias.shape != (sum(sizes),):
        raise ShapeError(f"the bias {bias.shape} must have a number for each column of query, key and value, {sizes}")
    pieces = context.graph.split(bias, sizes, name=part("biases"))
    return [context.graph.add(x, each, name=part("biased")) for x, each in zip(operands, pieces, strict=True)]


def _padding(
    context: OnnxContext, name: str, shape: tuple[int, ...], hidden: float, part: Part
) -> Tensor | Array | None:
    """What is added to the scores of keys that are padding, (batch, 1, 1, keys): by a mask of them, or lengths."""
    if not name:
        return None
    batch, keys, graph = shape[0], shape[3], context.graph
    constant = materialised(context.constant(name))
    if constant is not None and constant.dtype.kind in "iu":
        if constant.shape == (batch,):
            constant = np.arange(keys) < constant[:, None]
        if constant.shape != (batch, keys):
            raise UnsupportedError(f"a mask of padding is {(batch, keys)}, or {(batch,)} lengths, not {constant.shape}")
        return np.where(constant[:, None, None, :] > 0, 0.0, hidden).astype(np.float32)
    mask = context.value(name)
    if mask.shape != (batch, keys):
        raise UnsupportedError(f"a mask of padding that is computed must be {(batch, keys)}, not {mask.shape}")
    there = graph.reshape(graph.greater(mask, 0, name=part("there")), (batch, 1, 1, keys), name=part("of_keys"))
    nothing = graph.weight(part("nothing"), np.zeros((), np.float32))
    return graph.select(there, nothing, hidden, name=part("padding"))


def _sum(graph: Graph, a: Tensor | Array | None, b: Tensor | Array | None, part: Part) -> Tensor | Array | None:
    """What both add to the scores."""
    if a is None or b is None:
        return b if a is None else a
    if not isinstance(a, Tensor) and not isinstance(b, Tensor):
        return np.asarray(a + b)
    first, second = (x if isinstance(x, Tensor) else graph.weight(part("constant"), x) for x in (a, b))
    return graph.add(first, second, name=part("biases"))


GROUP_ATTRIBUTES = ["do_rotary", "kv_num_heads", "local_window_size", "num_heads", "rotary_interleaved", "scale",
                    "smooth_softmax", "softcap"]  # fmt: skip


@onnx_import("com.microsoft::GroupQueryAttention", attributes=GROUP_ATTRIBUTES, several_outputs=True, needs=(0, 5, 6),
             most_inputs=14)  # fmt: skip
def import_group_query(context: OnnxContext, node: OnnxNode) -> tuple[Tensor, ...]:
    """Causal attention of decoders, with its cache: `total` keys, of which the last ones are new.

    The past may be a buffer that is longer than what is in it; then the present is, too.
    """
    graph, part, attrs = context.graph, partial(_part, context, node), node.attrs
    names = _operands(node, 11)
    if attrs.get("smooth_softmax", 0) == 1:
        raise UnsupportedError("smooth_softmax must be 0")
    q, k, v = _of_group(context, names, node, part)
    rows, total = q.shape[2], _total(context, names, q)
    if attrs.get("do_rotary", 0):
        q, k = _turned(context, names, node, (q, k), total - rows, part)
    past_k, past_v = (context.value(name) if name else None for name in names[3:5])
    present = [_present(graph, past, x, total, part) for past, x in ((past_k, k), (past_v, v))]
    k, v = (x if x.shape[2] == total else graph.slice(x, [0], [total], [2], name=part("filled")) for x in present)
    window = int(attrs.get("local_window_size", -1))
    positions = Positions(rows, total, (total - rows,), left=window - 1 if window > 0 else -1, right=0)
    scale = float(attrs.get("scale", 0.0)) or 1 / math.sqrt(q.shape[3])
    attention = Attention(graph, part, q, k, v, scale, positions, guarded=False)
    attention.softcap = float(attrs.get("softcap", 0.0))
    attention.bias = mask_of(context, names[10], (*q.shape[:3], total))
    return side_by_side(graph, attention.result(), part, node.name), *present


def _of_group(
    context: OnnxContext, names: tuple[str, ...], node: OnnxNode, part: Part
) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value by heads, whether each is a tensor or they lie side by side in one."""
    graph, heads, kv_heads = context.graph, int(node.attrs.get("num_heads", 0)), int(node.attrs.get("kv_num_heads", 0))
    q = context.value(names[0])
    if len(q.shape) != 3 or heads < 1 or kv_heads < 1:
        raise ShapeError(f"the query must be (batch, rows, columns) of {heads} heads, not {q.shape}")
    if names[1] and names[2]:
        k, v = context.value(names[1]), context.value(names[2])
    elif q.shape[2] % (heads + 2 * kv_heads):
        raise ShapeError(f"{heads} + 2 x {kv_heads} heads must divide the columns of {q.shape} evenly")
    else:
        d = q.shape[2] // (heads + 2 * kv_heads)
        q, k, v = graph.split(q, [heads * d, kv_heads * d, kv_heads * d], name=part("q_k_v"))
    q, k, v = (by_heads(graph, x, n, part) for x, n in ((q, heads), (k, kv_heads), (v, kv_heads)))
    return q, k, v


def _total(context: OnnxContext, names: tuple[str, ...], q: Tensor) -> int:
    """The keys that there are, of all batches alike."""
    last = constant_integers(context, names[5], "the lengths seqlens_k") or ()
    given = constant_integers(context, names[6], "the length total_sequence_length") or ()
    if len(last) != q.shape[0] or len(given) != 1:
        raise ShapeError(f"seqlens_k must be {q.shape[0]} numbers, and total_sequence_length one")
    if any(length + 1 != given[0] for length in last):
        raise UnsupportedError(
            f"every sequence must have all {given[0]} keys: seqlens_k must be {given[0] - 1} for each"
        )
    if given[0] < q.shape[2]:
        raise ShapeError(f"total_sequence_length must be at least {q.shape[2]}, the rows of the query, not {given[0]}")
    return given[0]


def _present(graph: Graph, past: Tensor | None, x: Tensor, total: int, part: Part) -> Tensor:
    """The new rows behind the filled ones of the past, and zeros to the end of its buffer."""
    filled = total - x.shape[2]
    length = 0 if past is None else past.shape[2]
    if isinstance(past, Past):
        if past.held != filled:
            raise UnsupportedError(f"the past {past.name!r} has {past.held} rows, not {filled}, as the lengths say")
        return past.with_rows(x, part("present"), buffered=True)
    if length < filled:
        raise ShapeError(
            f"the past must have {filled} rows or more, not {length}: {total} keys, {x.shape[2]} of them new"
        )
    if past is None or not length:
        return x
    if filled == length:
        return behind(graph, past, x, part, "present")
    pieces = [graph.slice(past, [0], [filled], [2], name=part("before"))] if filled else []
    pieces.append(x)
    if length > total:
        shape = (*x.shape[:2], length - total, x.shape[3])
        pieces.append(graph.weight(part("nothing"), Lazy(shape, partial(np.zeros, shape, np.float32)), x.dtype))
    return graph.concat(pieces, 2, name=part("present")) if len(pieces) > 1 else x


def _turned(
    context: OnnxContext, names: tuple[str, ...], node: OnnxNode, x: tuple[Tensor, Tensor], first: int, part: Part
) -> tuple[Tensor, Tensor]:
    """Query and key with their rotary embedding."""
    batch, _, rows, _ = x[0].shape
    if not names[7] or not names[8]:
        raise ShapeError("do_rotary takes cos_cache and sin_cache")
    positions = constant_integers(context, names[9], "position_ids")
    if positions is None:
        positions = tuple(range(first, first + rows)) * batch
    if len(positions) != batch * rows:
        raise ShapeError(f"position_ids must be {batch * rows} numbers, not {len(positions)}")
    tables = (context.value(name) for name in names[7:9])
    cos, sin = (rows_at(context.graph, table, positions, batch, part) for table in tables)
    interleaved = bool(node.attrs.get("rotary_interleaved", 0))
    q, k = (rotated(context.graph, each, cos, sin, interleaved, part) for each in x)
    return q, k


@onnx_import(
    "com.microsoft::RotaryEmbedding",
    attributes=["interleaved", "is_packed_batching", "num_heads", "rotary_embedding_dim", "scale"],
    needs=(0, 1, 2, 3),
    most_inputs=4,
)
def import_rotary(context: OnnxContext, node: OnnxNode) -> Tensor:
    """x, the positions (of each row, or of the first one), and the tables of cos and sin."""
    graph, part = context.graph, partial(_part, context, node)
    names = _operands(node, 4)
    if node.attrs.get("is_packed_batching", 0) or float(node.attrs.get("scale", 1.0)) != 1.0:
        raise UnsupportedError("is_packed_batching must be 0, and scale 1")
    x, cos, sin = (context.value(names[place]) for place in (0, 2, 3))
    positions = constant_integers(context, names[1], "position_ids") or ()
    flat = len(x.shape) == 3
    if flat:
        columns = int(node.attrs.get("rotary_embedding_dim", 0)) or 2 * cos.shape[-1]
        heads = int(node.attrs.get("num_heads", 0)) or x.shape[2] // max(columns, 1)
        x = by_heads(graph, x, heads, part)
    if len(x.shape) != 4 or len(cos.shape) != 2:
        raise ShapeError(f"x must have three or four dimensions, and cos_cache two, not {x.shape} and {cos.shape}")
    batch, _, rows, _ = x.shape
    if len(positions) == 1:
        positions = tuple(range(positions[0], positions[0] + rows)) * batch
    if len(positions) != batch * rows:
        raise ShapeError(f"position_ids must be 1 or {batch * rows} numbers, not {len(positions)}")
    cos, sin = (rows_at(graph, table, positions, batch, part) for table in (cos, sin))
    y = rotated(graph, x, cos, sin, bool(node.attrs.get("interleaved", 0)), part)
    return side_by_side(graph, y, part, node.name) if flat else y
