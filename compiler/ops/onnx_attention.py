"""How ONNX's Attention enters the graph: matmuls, a mask, and a softmax of rows of scores.

    y = softmax(softcap(q * scale k^T) + bias) v     for each head, (queries, keys) at a time

Queries that share the keys of a head lie one below the other, so that they are the rows of one matmul: nothing is
repeated for them. What may be seen from positions alone is one constant mask for all heads. A query that sees no key at
all has zeros as its result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from minisim.compiler.dtypes import FLOATS
from minisim.compiler.graph import Graph, Tensor
from minisim.compiler.ops.base import OnnxContext, OnnxNode, onnx_import
from minisim.compiler.ops.cast import ONNX_TYPES
from minisim.compiler.ops.onnx_past import Past
from minisim.compiler.semantics import Array
from minisim.compiler.values import Lazy, materialised
from minisim.errors import ShapeError, UnsupportedError

RAW, CAPPED, BIASED, PROBABILITIES = range(4)
"""The scores that somebody may want: what `qk_matmul_output_mode` calls 0 to 3."""


@dataclass(frozen=True)
class Positions:
    """Which keys a query may see, as far as it follows from where they stand.

    Attributes:
        queries, keys: how many there are.
        offsets: for each batch, or one for all: the number of the key that stands where query 0 does.
        left, right: so many keys before and behind it may be seen; -1 means all.
        valid: for each batch how many keys are there at all; None if all are.
    """

    queries: int
    keys: int
    offsets: tuple[int, ...] = (0,)
    left: int = -1
    right: int = -1
    valid: tuple[int, ...] | None = None

    def limits(self) -> tuple[Array, Array]:
        """The first key that each query sees, and the first one behind that it does not: (batch or 1, queries)."""
        at = np.asarray(self.offsets)[:, None] + np.arange(self.queries)
        first = np.maximum(at - self.left, 0) if self.left >= 0 else np.zeros_like(at)
        behind = at + self.right + 1 if self.right >= 0 else np.full_like(at, self.keys)
        valid = np.full((1, 1), self.keys) if self.valid is None else np.asarray(self.valid)[:, None]
        behind = np.clip(behind, 0, np.minimum(valid, self.keys))
        shape = np.broadcast_shapes(first.shape, behind.shape)
        return np.broadcast_to(first, shape), np.broadcast_to(behind, shape)

    @property
    def free(self) -> bool:
        """Whether every query sees every key."""
        first, behind = self.limits()
        return bool((first == 0).all() and (behind == self.keys).all())

    def seen(self) -> Array:
        """Whether each query sees each key: bool, (batch or 1, 1, queries, keys)."""
        first, behind = (each[:, None, :, None] for each in self.limits())
        key = np.arange(self.keys)
        return np.asarray((key >= first) & (key < behind))

    def some(self) -> Array:
        """Whether each query sees any key: bool, (batch or 1, 1, queries, 1)."""
        first, behind = self.limits()
        return np.asarray(first < behind)[:, None, :, None]


@dataclass
class Attention:
    """One attention, by heads.

    Attributes:
        part: a name for one of its operations, of what it does.
        q, k, v: (batch, heads, queries, d), (batch, kv heads, keys, d) and (batch, kv heads, keys, dv).
        bias: what is added to the scores, in a shape that broadcasts to (batch, heads, queries, keys); or a mask of
            bools. A constant, or a tensor; None if there is none.
        precision: the type of the softmax, if it is another one than that of the operands.
        guarded: whether a query that a computed bias lets see no key has zeros; else that has no meaning.
        scores: those of the four stages that there are, (batch, heads, queries, keys).
    """

    graph: Graph
    part: Callable[[str], str]
    q: Tensor
    k: Tensor
    v: Tensor
    scale: float
    positions: Positions
    bias: Tensor | Array | None = None
    softcap: float = 0.0
    precision: str = ""
    guarded: bool = True
    scores: dict[int, Tensor] = field(default_factory=dict)
    _some: Tensor | None = None

    def __post_init__(self) -> None:
        (batch, heads, _, d), (_, kv_heads, keys, _) = self.q.shape, self.k.shape
        if self.k.shape != (batch, kv_heads, keys, d) or self.v.shape[:3] != (batch, kv_heads, keys):
            shapes = f"q {self.q.shape}, k {self.k.shape} and v {self.v.shape}"
            raise ShapeError(f"{shapes} do not fit: each must be (batch, heads, rows, columns)")
        if heads % kv_heads:
            raise ShapeError(f"{kv_heads} heads of keys must divide {heads} heads of queries evenly")

    def result(self) -> Tensor:
        """(batch, heads, queries, dv); the scores on the way are left in `scores`."""
        graph, part = self.graph, self.part
        q, k = self._scaled()
        found = self.scores[RAW] = self._by_heads(self._of_group(q), k, True, "scores")
        if self.softcap > 0:
            inner = graph.tanh(graph.div(found, self.softcap, name=part("within")), name=part("tanh"))
            found = graph.mul(inner, self.softcap, name=part("capped"))
        self.scores[CAPPED] = found
        found, some = self._masked(found)
        self.scores[BIASED] = found
        if self.precision and self.precision != found.dtype:
            wide = graph.softmax(graph.cast(found, self.precision, name=part("wide")), name=part("softmax"))
            found = graph.cast(wide, self.q.dtype, name=part("probabilities"))
        else:
            found = graph.softmax(found, name=part("softmax"))
        self.scores[PROBABILITIES] = found
        y = self._by_heads(self._of_group(found), self.v, False, "weighted")
        return y if some is None else graph.select(some, y, 0.0, name=part("seen"))

    def probabilities(self) -> Tensor:
        """The softmax, in which a query that sees no key has zeros."""
        found = self.scores[PROBABILITIES]
        some = self._some
        return found if some is None else self.graph.select(some, found, 0.0, name=self.part("of_seen"))

    def _scaled(self) -> tuple[Tensor, Tensor]:
        """q and k, whose products are scaled. Of types with few digits ONNX's definition counts: each by the root."""
        graph, part = self.graph, self.part
        if self.scale == 1.0:
            return self.q, self.k
        if self.q.dtype == "float32" or self.scale <= 0:
            return graph.mul(self.q, self.scale, name=part("scaled")), self.k
        root = math.sqrt(self.scale)
        return graph.mul(self.q, root, name=part("scaled")), graph.mul(self.k, root, name=part("scaled_keys"))

    def _of_group(self, x: Tensor) -> Tensor:
        """(batch, heads, queries, n) with the queries of all heads that share keys below each other."""
        batch, heads, queries, columns = x.shape
        shared = heads // self.k.shape[1]
        if shared == 1:
            return x
        return self.graph.reshape(x, (batch, heads // shared, shared * queries, columns), name=self.part("groups"))

    def _by_heads(self, a: Tensor, b: Tensor, transposed: bool, text: str) -> Tensor:
        batch, heads, queries, _ = self.q.shape
        found = self.graph.matmul(a, b, transpose_b=transposed, name=self.part(text))
        wanted = (batch, heads, queries, found.shape[-1])
        return found if found.shape == wanted else self.graph.reshape(found, wanted, name=self.part("heads"))

    def _masked(self, scores: Tensor) -> tuple[Tensor, Tensor | None]:
        """The scores with what hides keys; and whether each query sees any, where there may be one that does not."""
        graph, positions = self.graph, self.positions
        if self.bias is None:
            if positions.free:
                return scores, None
            seen = self._constant(positions.seen, "mask")
            found = graph.select(seen, scores, -math.inf, name=self.part("masked"))
            if not positions.some().all():
                self._some = self._constant(positions.some, "some")
            return found, self._some
        if isinstance(self.bias, Tensor):
            bias, self._some = self._computed_bias(self.bias)
        else:
            values = _as_bias(self.bias, positions)
            bias = graph.weight(self.part("bias"), values, scores.dtype)
            some = ~np.isneginf(values.max(axis=-1, keepdims=True))
            if not some.all():
                self._some = graph.weight(self.part("some"), some, "bool")
        return graph.add(scores, bias, name=self.part("masked")), self._some

    def _computed_bias(self, bias: Tensor) -> tuple[Tensor, Tensor | None]:
        graph, positions = self.graph, self.positions
        if (missing := positions.keys - bias.shape[-1]) > 0:
            pads = [*[(0, 0)] * (len(bias.shape) - 1), (0, missing)]
            nothing = 0.0 if bias.dtype == "bool" else -math.inf
            bias = graph.pad(bias, pads, value=nothing, name=self.part("padded"))
        if bias.dtype == "bool":
            nothing_hidden = graph.weight(self.part("zero"), np.zeros((), np.float32), self.q.dtype)
            bias = graph.select(bias, nothing_hidden, -math.inf, name=self.part("bias"))
        if not positions.free:
            bias = graph.select(self._constant(positions.seen, "mask"), bias, -math.inf, name=self.part("both"))
        if not self.guarded:
            return bias, None
        greatest = graph.reduce_max(bias, name=self.part("greatest"))
        return bias, graph.greater(greatest, -math.inf, name=self.part("some"))

    def _constant(self, recipe: Callable[[], Array], text: str) -> Tensor:
        """A mask of bools by its recipe: it may be as large as the scores of a head."""
        positions = self.positions
        batch = np.broadcast_shapes((len(positions.offsets),), (len(positions.valid or (0,)),))[0]
        shape = (batch, 1, positions.queries, positions.keys if recipe == positions.seen else 1)
        return self.graph.weight(self.part(text), Lazy(shape, recipe), "bool")


def _as_bias(mask: Array, positions: Positions) -> Array:
    """A constant mask, or bias, as what is added to the scores: float32."""
    if mask.dtype == np.bool_:
        mask = np.where(mask, 0.0, -np.inf)
    missing = positions.keys - mask.shape[-1] if mask.shape else 0
    if missing > 0:
        mask = np.pad(mask, [*[(0, 0)] * (mask.ndim - 1), (0, missing)], constant_values=-np.inf)
    if not positions.free:
        mask = np.where(positions.seen(), mask, -np.inf)
    return mask.astype(np.float32)


def by_heads(graph: Graph, x: Tensor, heads: int, part: Callable[[str], str]) -> Tensor:
    """(batch, rows, heads * columns) as (batch, heads, rows, columns)."""
    batch, rows, width = x.shape
    if heads < 1 or width % heads:
        raise ShapeError(f"{heads} heads must divide the columns of {x.name} {x.shape} evenly")
    apart = graph.reshape(x, (batch, rows, heads, width // heads), name=part("columns"))
    return graph.transpose(apart, (0, 2, 1, 3), name=part("by_heads"))


def side_by_side(graph: Graph, x: Tensor, part: Callable[[str], str], name: str) -> Tensor:
    """(batch, heads, rows, columns) as (batch, rows, heads * columns)."""
    batch, heads, rows, columns = x.shape
    turned = graph.transpose(x, (0, 2, 1, 3), name=part("by_rows"))
    return graph.reshape(turned, (batch, rows, heads * columns), name=name)


def behind(graph: Graph, past: Tensor | None, x: Tensor, part: Callable[[str], str], text: str) -> Tensor:
    """What is new, (batch, heads, rows, columns), behind the past rows, if there are any."""
    if past is None:
        return x
    if isinstance(past, Past):
        return past.with_rows(x, part(text))
    if len(past.shape) != 4 or (*past.shape[:2], past.shape[3]) != (*x.shape[:2], x.shape[3]):
        raise ShapeError(f"the past {past.shape} must have the batch, heads and columns of {x.shape}")
    return graph.concat([past, x], 2, name=part(text))


def constant_integers(context: OnnxContext, name: str, what: str) -> tuple[int, ...] | None:
    """The numbers of an operand that must be known; None if it is left out."""
    if not name:
        return None
    values = materialised(context.constant(name))
    if values is None or values.dtype.kind not in "iu":
        raise UnsupportedError(f"{what} that are computed at run time are not supported: bind the input to its values")
    return tuple(int(value) for value in values.reshape(-1))


def mask_of(context: OnnxContext, name: str, shape: Sequence[int]) -> Tensor | Array | None:
    """A mask or bias, which must broadcast to this shape, but for fewer keys; constant if it is."""
    if not name:
        return None
    constant = materialised(context.constant(name))
    known = constant is not None and constant.dtype.kind in "bf"
    found: Tensor | Array = constant if constant is not None and known else context.value(name)
    given = tuple(found.shape)
    keys = given[-1] if given else 0
    padded = (*given[:-1], shape[-1]) if 1 < keys < shape[-1] else given
    if not given or len(given) > 4 or not _broadcasts(padded, shape):
        raise ShapeError(f"the mask {given} must broadcast to {tuple(shape)}")
    if isinstance(found, Tensor) and found.dtype != "bool" and found.dtype not in FLOATS:
        raise UnsupportedError(f"a mask must be bool or of floats, not {found.dtype}")
    return found


def _broadcasts(given: Sequence[int], shape: Sequence[int]) -> bool:
    return all(a in (1, b) for a, b in zip(reversed(given), reversed(shape), strict=False))


ATTRIBUTES = ["is_causal", "kv_num_heads", "q_num_heads", "qk_matmul_output_mode", "scale", "softcap",
              "softmax_precision", "left_window_size", "right_window_size"]  # fmt: skip


@onnx_import("Attention", attributes=ATTRIBUTES, several_outputs=True)
def import_attention(context: OnnxContext, node: OnnxNode) -> tuple[Tensor, ...]:
    graph, attrs = context.graph, node.attrs
    names = (*node.inputs, *[""] * (7 - len(node.inputs)))
    q, k, v = (context.value(name) for name in names[:3])

    def part(text: str) -> str:
        return graph.fresh_name(f"{node.name}/{text}")

    if flat := len(q.shape) == 3:
        q_heads, kv_heads = int(attrs.get("q_num_heads", 0)), int(attrs.get("kv_num_heads", 0))
        if not len(k.shape) == len(v.shape) == 3:
            raise ShapeError(f"Q, K and V must have as many dimensions, not {q.shape}, {k.shape} and {v.shape}")
        q, k, v = (by_heads(graph, x, n, part) for x, n in ((q, q_heads), (k, kv_heads), (v, kv_heads)))
    if not len(q.shape) == len(k.shape) == len(v.shape) == 4:
        raise ShapeError(f"Q, K and V must have three or four dimensions, not {q.shape}, {k.shape} and {v.shape}")
    past_k, past_v = (context.value(name) if name else None for name in names[4:6])
    if (past_k is None) != (past_v is None):
        raise ShapeError("past_key and past_value must be given together")
    k, v = behind(graph, past_k, k, part, "keys"), behind(graph, past_v, v, part, "values")
    scale = float(attrs.get("scale", 1 / math.sqrt(q.shape[3])))
    attention = Attention(graph, part, q, k, v, scale, _positions(context, node, names[6], q, k, past_k))
    attention.bias = mask_of(context, names[3], (*q.shape[:3], k.shape[2]))
    attention.softcap = float(attrs.get("softcap", 0.0))
    if (code := attrs.get("softmax_precision")) is not None:
        attention.precision = _precision(int(code))
    y = attention.result()
    result = side_by_side(graph, y, part, node.name) if flat else y
    wanted = (*node.outputs, *[""] * (4 - len(node.outputs)))
    return result, k, v, _scores(attention, int(attrs.get("qk_matmul_output_mode", 0))) if wanted[3] else result


def _positions(
    context: OnnxContext, node: OnnxNode, lengths: str, q: Tensor, k: Tensor, past: Tensor | None
) -> Positions:
    valid = constant_integers(context, lengths, "the lengths nonpad_kv_seqlen")
    if valid is not None and (len(valid) != q.shape[0] or past is not None):
        raise ShapeError(f"nonpad_kv_seqlen must be {q.shape[0]} numbers, and there must be no past_key beside it")
    offsets: tuple[int, ...] = (0 if past is None else past.shape[2],)
    if valid is not None:
        offsets = tuple(length - q.shape[2] for length in valid)
    left, right = (int(node.attrs.get(f"{side}_window_size", -1)) for side in ("left", "right"))
    if node.attrs.get("is_causal", 0):
        right = 0
    return Positions(q.shape[2], k.shape[2], offsets, left, right, valid)


def _precision(code: int) -> str:
    if (found := ONNX_TYPES.get(code)) not in FLOATS:
        raise UnsupportedError(f"softmax_precision must be {', '.join(sorted(FLOATS))}, not type {code}")
    assert found is not None
    return found


def _scores(attention: Attention, mode: int) -> Tensor:
    if mode not in range(4):
        raise UnsupportedError(f"qk_matmul_output_mode must lie in [0, 3], not {mode}")
    return attention.probabilities() if mode == PROBABILITIES else attention.scores[mode]
