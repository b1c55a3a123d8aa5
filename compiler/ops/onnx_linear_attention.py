"""How ONNX's LinearAttention enters the graph: unrolled, token by token, a state of a matrix for each head.

    S' = exp(g) S + k^T v             "gated"; without g "linear"
    S' = exp(g) S + k^T b (v - k exp(g) S)      "gated_delta"; without g "delta"
    y  = scale q S'

Queries that share a state are rows of one matmul. All is computed in float32, whatever the operands are. Without a past
the first token finds no state: what would be made of its zeros is left out.
"""

from __future__ import annotations

import math

from minisim.compiler.graph import Tensor
from minisim.compiler.ops.base import OnnxContext, OnnxNode, onnx_import
from minisim.errors import ShapeError, UnsupportedError, shown

MOST_TOKENS = 1 << 14
"""The tokens that are unrolled."""

RULES = {"linear": (False, False), "gated": (True, False), "delta": (False, True), "gated_delta": (True, True)}
"""For each rule whether it has a decay g, and whether a rate b."""


@onnx_import(
    "LinearAttention",
    attributes=["chunk_size", "kv_num_heads", "q_num_heads", "scale", "update_rule"],
    several_outputs=True,
)
def import_linear_attention(context: OnnxContext, node: OnnxNode) -> tuple[Tensor, ...]:
    layer = _LinearAttention(context, node)
    graph, state, rows = context.graph, layer.past, list[Tensor]()
    for at in range(layer.tokens):
        state = layer.next_state(at, state)
        rows.append(layer.read(at, state))
    assert state is not None  # there is a token
    whole = rows[0] if len(rows) == 1 else graph.concat(rows, 1, name=layer.part("tokens"))
    return layer.as_given(whole, node.name), layer.as_given(state, layer.part("present"))


class _LinearAttention:
    """One node: its operands, token by token.

    Attributes:
        q, k, v: (batch, 1, heads * columns) for each token; q is scaled.
        decay, rate: (batch, 1, ...) for each token; none if the rule has none.
        past: (batch, kv heads, dk, dv); None if there is none.
    """

    def __init__(self, context: OnnxContext, node: OnnxNode) -> None:
        self.context, self.node, self.graph = context, node, context.graph
        names = (*node.inputs, *[""] * 6)[:6]
        rule = str(node.attrs.get("update_rule", "gated_delta"))
        if rule not in RULES:
            raise UnsupportedError(f"update_rule must be {', '.join(RULES)}, not {shown(rule)}")
        if (bool(names[4]), bool(names[5])) != RULES[rule]:
            has, rates = (("" if each else "no ") for each in RULES[rule])
            raise ShapeError(f"update_rule {rule} takes {has}decay and {rates}beta")
        q, k, v = (context.value(name) for name in names[:3])
        self.dtype = q.dtype
        heads, kv = (int(node.attrs.get(f"{which}_num_heads", 0)) for which in ("q", "kv"))
        self._check(q, k, v, heads, kv)
        self.batch, self.tokens, width = q.shape
        if self.tokens > MOST_TOKENS:
            raise UnsupportedError(f"up to {MOST_TOKENS} tokens are unrolled, not {self.tokens}")
        self.heads, self.kv, self.dk, self.dv = heads, kv, width // heads, v.shape[2] // kv
        scale = float(node.attrs.get("scale", 0.0)) or 1 / math.sqrt(self.dk)
        self.q = self._tokens(self.graph.mul(self._wide(q), scale, name=self.part("scaled")))
        self.k, self.v = self._tokens(self._wide(k)), self._tokens(self._wide(v))
        self.decay = self._tokens(self._rates(names[4], (kv, kv * self.dk), "decay")) if names[4] else ()
        self.rate = self._tokens(self._rates(names[5], (kv, 1), "beta")) if names[5] else ()
        self.past = self._wide(context.value(names[3])) if names[3] else None
        wanted = (self.batch, kv, self.dk, self.dv)
        if self.past is not None and self.past.shape != wanted:
            raise ShapeError(f"past_state must have shape {wanted}, not {self.past.shape}")

    def part(self, text: str) -> str:
        return self.graph.fresh_name(f"{self.node.name}/{text}")

    def next_state(self, at: int, state: Tensor | None) -> Tensor:
        """The state behind a token."""
        graph, batch, kv = self.graph, self.batch, self.kv
        k = graph.reshape(self.k[at], (batch, kv, 1, self.dk), name=self.part("k"))
        v = graph.reshape(self.v[at], (batch, kv, 1, self.dv), name=self.part("v"))
        if state is not None and self.decay:
            of_rows = self.decay[at].shape[2] // kv
            factor = graph.exp(self.decay[at], name=self.part("factor"))
            factor = graph.reshape(factor, (batch, kv, of_rows, 1), name=self.part("factors"))
            state = graph.mul(state, factor, name=self.part("decayed"))
        if state is not None and self.rate:
            v = graph.sub(v, graph.matmul(k, state, name=self.part("known")), name=self.part("news"))
        if self.rate:
            rate = graph.reshape(self.rate[at], (batch, self.rate[at].shape[2], 1, 1), name=self.part("rate"))
            v = graph.mul(v, rate, name=self.part("learnt"))
        new = graph.matmul(k, v, transpose_a=True, name=self.part("new"))
        return new if state is None else graph.add(new, state, name=self.part("state"))

    def read(self, at: int, state: Tensor) -> Tensor:
        """What the queries of a token find, (batch, 1, heads * dv)."""
        shape = (self.batch, self.kv, self.heads // self.kv, self.dk)
        q = self.graph.reshape(self.q[at], shape, name=self.part("q"))
        found = self.graph.matmul(q, state, name=self.part("read"))
        return self.graph.reshape(found, (self.batch, 1, self.heads * self.dv), name=self.part("row"))

    def as_given(self, x: Tensor, name: str) -> Tensor:
        """In the type of the operands."""
        if self.dtype == x.dtype:
            return self.graph.reshape(x, x.shape, name=name)
        return self.graph.cast(x, self.dtype, name=name)

    # -- internals ---------------------------------------------------------------------------------

    def _check(self, q: Tensor, k: Tensor, v: Tensor, heads: int, kv: int) -> None:
        if heads < 1 or kv < 1 or heads % kv:
            raise ShapeError(f"{kv} heads of keys must divide {heads} heads of queries evenly")
        if not len(q.shape) == len(k.shape) == len(v.shape) == 3:
            raise ShapeError(f"query, key and value must have three dimensions, not {q.shape}, {k.shape} and {v.shape}")
        wanted = (*q.shape[:2], q.shape[2] // heads * kv)
        if q.shape[2] % heads or k.shape != wanted or v.shape[:2] != wanted[:2] or v.shape[2] % kv:
            raise ShapeError(f"query {q.shape}, key {k.shape} and value {v.shape} do not fit {heads} and {kv} heads")

    def _wide(self, x: Tensor) -> Tensor:
        return x if x.dtype == "float32" else self.graph.cast(x, "float32", name=self.part("wide"))

    def _rates(self, name: str, widths: tuple[int, int], what: str) -> Tensor:
        x = self._wide(self.context.value(name))
        if len(x.shape) != 3 or x.shape[:2] != (self.batch, self.tokens) or x.shape[2] not in widths:
            wanted = " or ".join(str((self.batch, self.tokens, width)) for width in widths)
            raise ShapeError(f"{what} must have shape {wanted}, not {x.shape}")
        return x

    def _tokens(self, x: Tensor) -> tuple[Tensor, ...]:
        return (x,) if self.tokens == 1 else self.graph.split(x, self.tokens, axis=1, name=self.part("tokens"))
