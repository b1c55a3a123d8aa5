"""Transformers as graphs: norms, projections, attention of heads that lie beside each other, feed-forward layers.

A token comes as its row of the table of embeddings: the model's input are `tokens` rows of `hidden` elements, which is
what a lookup would read. Weights are seeded by their names, normal, and drawn when somebody computes with them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from minisim.compiler.attention_plan import KEYS
from minisim.compiler.attributes import Run, TakeAttributes
from minisim.compiler.blocked import Blocked, Form, in_blocks
from minisim.compiler.graph import Graph, Tensor
from minisim.compiler.movement_methods import runs_of
from minisim.compiler.transformers.experts import gates, mixed
from minisim.compiler.transformers.routing import routed
from minisim.compiler.transformers.table import KV_TYPES, Transformer
from minisim.compiler.values import Array, Lazy
from minisim.compiler.zoo.layers import Layers
from minisim.errors import ModelError


def built(model: Transformer, tokens: int, past: int = 0, capacity: int = 0, batch: int = 1, page: int = 0) -> Graph:
    """The graph of a model of so many new tokens.

    Its output are the logits of the last token, (batch, vocab), or the tokens themselves, (tokens x batch, hidden).

    Args:
        past: tokens before them, whose keys and values are in the cache.
        capacity: tokens that there is room for in the cache: each layer has two states, to which the new tokens' keys
            and values are appended. 0: there is none.
        batch: sequences of so many tokens each. A row of the input is a token: first those of all sequences that come
            first, then the next ones. So weights are read once for all, and a row of the cache is a token of each.
        page: tokens of a page of the cache; 0: it lies as a whole.

    Raises:
        ModelError: it has no positions for so many, or no cache.
    """
    _check_positions(model, past + tokens)
    if capacity and not model.causal:
        raise ModelError(f"model {model.name!r} is no decoder: its tokens see those behind them, too")
    graph = Graph(model.name)
    x = graph.input("tokens", (tokens * batch, model.hidden))
    return _Builder(model, graph, tokens, past, capacity, batch, page).whole(x)


def _check_positions(model: Transformer, tokens: int) -> None:
    if model.positions and tokens > model.positions:
        raise ModelError(f"model {model.name!r} has positions for {model.positions} tokens, not for {tokens}")


class _Builder:
    """What a graph is put together by.

    Args:
        tokens, past, capacity, batch, page: as of `built`.
    """

    def __init__(
        self, model: Transformer, graph: Graph, tokens: int, past: int, capacity: int, batch: int, page: int
    ) -> None:
        self.model, self.graph, self.tokens, self.past, self.capacity = model, graph, tokens, past, capacity
        self.batch, self.rows, self.page = batch, tokens * batch, page
        self.drawn = Layers(graph).drawn
        if not model.positions:
            of = model.head, model.theta
            heads = sorted({batch * model.heads, batch * model.kv_heads})
            self.rotations = {count: self._rotation(count, *of) for count in heads}
            self.swaps = {count: self._swap(count, model.head) for count in heads}
        # attention goes by blocks of keys, counted from key 0: a few rows more are read, for the same bits
        nearest = max(0, past + 1 - model.window) if model.window else 0
        self.first = nearest - nearest % KEYS
        self.mask = self._mask() if model.causal and (tokens > 1 or self.first < nearest) else None

    def whole(self, x: Tensor) -> Graph:
        model, graph = self.model, self.graph
        if model.positions:
            table = self.drawn("positions", (model.positions, model.hidden), 0.1)
            own = graph.slice(table, [self.past], [self.past + self.tokens], [0])
            x = self._with_positions(x, own) if self.batch > 1 else graph.add(x, own, name="embedded")
        for layer in range(model.layers):
            x = self._layer(x, f"layer{layer}")
        if not model.vocab:
            graph.output(x if model.post else self._norm(x, "norm"), "y")
            return graph
        last = graph.slice(x, [self.rows - self.batch], [self.rows], [0])
        last = last if model.post else self._norm(last, "norm")
        graph.output(self._projected(last, "logits", model.hidden, model.vocab, False), "logits")
        return graph

    def _with_positions(self, x: Tensor, own: Tensor) -> Tensor:
        """x plus its positions, which are the same for all sequences."""
        graph, (count, hidden) = self.graph, own.shape
        x = graph.reshape(x, (count, self.batch, hidden))
        return graph.reshape(graph.add(x, graph.reshape(own, (count, 1, hidden)), name="embedded"), (-1, hidden))

    def _layer(self, x: Tensor, name: str) -> Tensor:
        last = self._experts if self.model.experts else self._feed_forward
        parts: tuple[tuple[Callable[[Tensor, str], Tensor], str, str], ...]
        parts = ((self._attention, "norm1", "attended"), (last, "norm2", "out"))
        for part, before, ends in parts:
            norm = f"{name}.{before}"
            if self.model.post:
                x = self._norm(self.graph.add(x, part(x, name), name=f"{norm}.sum"), norm)
            else:
                x = self.graph.add(x, part(self._norm(x, norm), name), name=f"{name}.{ends}")
        return x

    def _norm(self, x: Tensor, name: str) -> Tensor:
        size, epsilon = self.model.hidden, self.model.epsilon
        scale = self.graph.weight(f"{name}.scale", Lazy((size,), partial(np.ones, size, np.float32)))
        if self.model.norm == "rms":
            return self.graph.rms_norm(x, scale, epsilon=epsilon, name=name)
        return self.graph.layer_norm(x, scale, self.drawn(f"{name}.bias", (size,), 0.1), epsilon=epsilon, name=name)

    def _projected(self, x: Tensor, name: str, inner: int, outer: int, bias: bool, weights: str = "") -> Tensor:
        of = weights or name
        w = self._matrix(f"{of}.w", (inner, outer), 1 / math.sqrt(inner))
        return self.graph.matmul(x, w, bias=self.drawn(f"{of}.b", (outer,), 0.1) if bias else None, name=name)

    def _matrix(self, name: str, shape: tuple[int, int], scale: float) -> Tensor:
        """Drawn weights; as floats, or in the nearest blocks of 4 bits."""
        if not self.model.bits:
            return self.drawn(name, shape, scale)
        block = self.model.block
        parts = partial(in_blocks, Layers.recipe(name, shape, scale), block)
        return self.graph.weight(name, Blocked(shape, parts, Form(block, "float16", zeros=False, across=False)))

    def _by(self, name: str, layer: str, x: Tensor, weights: str = "") -> Tensor:
        """x through the projection of this name of a layer, or of an expert, whose weights may be called otherwise."""
        return self._projected(x, f"{layer}.{name}", *self.model.projections[name], weights and f"{weights}.{name}")

    def _attention(self, x: Tensor, name: str) -> Tensor:
        """softmax(q k^T / sqrt(d)) v of each head, in the order in which a cache wants it: keys and values first."""
        graph, model = self.graph, self.model
        heads, of = self.batch * model.heads, self.batch * model.kv_heads
        k, v, q = (self._beside(self._by(part, name, x), f"{name}.{part}.beside") for part in "kvq")
        keys = self._remembered(self._rotated(k, of, f"{name}.k"), f"{name}.keys")
        values = self._remembered(v, f"{name}.values")
        queries = self._rotated(q, heads, f"{name}.q")
        scores = graph.matmul_of_heads(
            queries, keys, a_heads=heads, b_heads=of, transpose_b=True, name=f"{name}.scores"
        )
        scores = graph.mul(scores, 1 / math.sqrt(model.head), name=f"{name}.scaled")
        if self.mask is not None:
            scores = graph.select(self.mask, scores, -math.inf, name=f"{name}.masked")
        weights = graph.softmax(scores, name=f"{name}.softmax")
        joined = graph.matmul_of_heads(weights, values, b_heads=of, joins=True, name=f"{name}.heads")
        if self.batch > 1:
            joined = graph.reshape(joined, (self.rows, model.hidden), name=f"{name}.heads.apart")
        return self._by("o", name, joined)

    def _beside(self, rows: Tensor, name: str) -> Tensor:
        """Rows of tokens as rows of the cache: a token of each sequence beside each other, as heads are."""
        return rows if self.batch == 1 else self.graph.reshape(rows, (self.tokens, -1), name=name)

    def _remembered(self, rows: Tensor, name: str) -> Tensor:
        """The keys, or the values, of all tokens that the new ones see: those in the cache, and these behind them."""
        if not self.capacity:
            return self._as_kept(rows, name)
        heads, dtype = self.batch * self.model.kv_heads, KV_TYPES[self.model.kv_type]
        shape = (self.capacity, self.batch * self.model.kv)
        state = self.graph.state(
            f"{name}.cache", shape, self.past, dtype, page=self.page, heads=heads if dtype == "int8" else None
        )
        return self.graph.append_rows(state, rows, first=self.first, name=name)

    def _as_kept(self, rows: Tensor, name: str) -> Tensor:
        """The same without a cache: with what one would have kept of them, so that the bits are those with it."""
        graph, kept = self.graph, self.model.kv_type
        if kept == "float":
            return rows
        if kept == "int8":
            heads = self.batch * self.model.kv_heads
            return graph.dequantize_rows(*graph.quantize_rows(rows, heads, name=name), name=name)
        narrow = graph.cast(rows, KV_TYPES[kept], name=f"{name}/narrow")
        return graph.cast(narrow, "float32", name=name)

    def _experts(self, x: Tensor, name: str) -> Tensor:
        """The experts of a layer, of which each token takes its own."""
        model = self.model
        taken = routed(model, int(name.removeprefix("layer")), self.tokens, self.past, self.batch)
        scores = self._projected(x, f"{name}.router", model.hidden, model.experts, False)
        gate = gates(self.graph, scores, taken, f"{name}.router")

        def expert(tokens: Tensor, number: int, nodes: str) -> Tensor:
            return self._feed_forward(tokens, nodes, f"{name}.expert{number}")

        return mixed(self.graph, x, gate, taken, expert, name)

    def _feed_forward(self, x: Tensor, name: str, weights: str = "") -> Tensor:
        graph, kind = self.graph, self.model.activation
        up = self._by("up", name, x, weights)
        if kind == "swiglu":
            gate = graph.silu(self._by("gate", name, x, weights), name=f"{name}.silu")
            inner = graph.mul(gate, up, name=f"{name}.gated")
        else:
            inner = graph.gelu(up, approximate="tanh" if kind == "gelu_tanh" else "none", name=f"{name}.gelu")
        return self._by("down", name, inner, weights)

    # -- positions -----------------------------------------------------------------------------------------

    def _mask(self) -> Tensor:
        shape = (self.tokens, self.past + self.tokens - self.first)
        recipe = partial(_seen, shape, self.past - self.first, self.model.window)
        return self.graph.weight("seen", Lazy(shape, recipe), "bool")

    def _rotation(self, heads: int, size: int, theta: float) -> tuple[Tensor, Tensor]:
        """Cosines and sines of all positions, for so many heads beside each other."""
        shape = (self.tokens, heads * size)
        made = (partial(_angles, kind, self.past, self.tokens, heads, size, theta) for kind in ("cos", "sin"))
        cos, sin = (self.graph.weight(f"{kind}{heads}", Lazy(shape, make))
                    for kind, make in zip(("cos", "sin"), made, strict=True))  # fmt: skip
        return cos, sin

    def _swap(self, heads: int, size: int) -> TakeAttributes:
        """Which elements come when the halves of each head change places."""
        order = [head * size + (i + size // 2) % size for head in range(heads) for i in range(size)]
        return TakeAttributes("RotateHalf", ((Run(0, 1, self.tokens),), runs_of(order)))

    def _rotated(self, x: Tensor, heads: int, name: str) -> Tensor:
        """Rotary positions: of each head ``x cos + (-second half, first half) sin``; the sign is in the sines."""
        if self.model.positions:
            return x
        cos, sin = self.rotations[heads]
        graph = self.graph
        swapped = graph.add_node("Take", [x], self.swaps[heads], f"{name}.swapped")
        return graph.add(graph.mul(x, cos, name=f"{name}.cos"), graph.mul(swapped, sin, name=f"{name}.sin"),
                         name=f"{name}.rotated")  # fmt: skip


def _angles(kind: str, first: int, count: int, heads: int, size: int, theta: float) -> Array:
    """(count, heads x size): of each position from `first` on, element i of a head turns by position / theta^(2 j /
    size), with j = i mod (size / 2); the sines of the first halves are negative."""
    half = size // 2
    turns = np.outer(np.arange(first, first + count), theta ** (-np.arange(half) / half))
    parts = (np.cos(turns), np.cos(turns)) if kind == "cos" else (-np.sin(turns), np.sin(turns))
    return np.tile(np.concatenate(parts, axis=1), (1, heads)).astype(np.float32)


def _seen(shape: tuple[int, int], offset: int, window: int) -> Array:
    """Whether each new token sees each row: bool, of this shape. Row i + offset is the new token i itself; `window`
    rows up to it are seen, or all (0)."""
    found = np.tri(*shape, offset, np.bool_)
    return found & ~np.tri(*shape, offset - window, np.bool_) if window else found
