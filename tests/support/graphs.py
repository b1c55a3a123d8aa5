"""Random graphs, and the few named ones that many tests use."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from minisim import Graph, Tensor, load_model
from minisim.compiler.blocked import blocked
from support.paths import EXAMPLES

Array = npt.NDArray[np.float32]
Draw = st.DrawFn

SIZES = (1, 2, 5, 8, 16, 17, 31, 40, 48, 65)
"""Of dimensions: ones, multiples of most tiles, and ragged ones."""

LARGEST = 4000
"""Elements of what may still be multiplied by a batch of matrices: one step of a few makes thrice as many of it."""

SPECIAL = np.array([0.0, -0.0, 1e-45, -3e-39, 1.1754944e-38, 3.4e38, -3.4e38, np.inf, -np.inf, np.nan], np.float32)
"""Signed zeros, denormals, the smallest normal number, near overflow, infinities, NaN."""


def values(rng: np.random.Generator, shape: tuple[int, ...], special: float = 0.0) -> Array:
    """Normal values, of which the share `special` is replaced by SPECIAL ones."""
    array = rng.standard_normal(shape, dtype=np.float32)
    replaced = rng.random(shape) < special
    array[replaced] = rng.choice(SPECIAL, int(replaced.sum()))
    return array


def inputs_of(graph: Graph, seed: int = 0, special: float = 0.0) -> dict[str, Array]:
    """Values for all inputs of `graph`."""
    rng = np.random.default_rng(seed)
    return {name: values(rng, graph.tensors[name].shape, special) for name in graph.inputs}


# -- named ------------------------------------------------------------------------------------------


def example(name: str) -> Graph:
    """A model of the folder `examples`."""
    return load_model(str(EXAMPLES / f"{name}.py"))


def gemm(m: int, k: int, n: int, seed: int = 0) -> Graph:
    """y = x w + b, with relu."""
    rng = np.random.default_rng(seed)
    g = Graph(f"gemm_{m}x{k}x{n}")
    product = g.input("x", (m, k)) @ g.weight("w", values(rng, (k, n)))
    g.output(g.relu(product + g.weight("b", values(rng, (n,)))), "y")
    return g


def small_mlp() -> Graph:
    """The shape of examples/mlp.py, ragged, on tiles of 32: 2 x 2 tiles at most."""
    rng = np.random.default_rng(0)
    g = Graph("small_mlp")
    h = g.relu(g.input("x", (50, 48)) @ g.weight("w1", values(rng, (48, 33))))
    g.output(h @ g.weight("w2", values(rng, (33, 8))), "y")
    return g


UNARY = (
    *(
        "exp",
        "sqrt",
        "tanh",
        "log",
        "erf",
        "sin",
        "cos",
        "tan",
        "asin",
        "acos",
        "atan",
        "sinh",
        "cosh",
        "asinh",
        "acosh",
    ),
    *("atanh", "neg", "abs", "sign", "floor", "ceil", "round", "reciprocal", "softplus", "silu", "mish", "gelu"),
    *("hard_swish", "softsign"),
)
"""Methods of a graph that take a tensor alone."""


# -- random -----------------------------------------------------------------------------------------


class GraphBuilder:
    """A graph that grows by random steps; each takes its operands from the tensors there are."""

    def __init__(self, draw: Draw, special: float) -> None:
        self.draw = draw
        self.special = special
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        self.graph = Graph("random")
        for i in range(draw(st.integers(1, 2))):
            self.graph.input(f"x{i}", (self.size(), self.size()))

    def size(self) -> int:
        return self.draw(st.sampled_from(SIZES))

    def weight(self, *shape: int) -> Tensor:
        name = self.graph.fresh_name("w")
        return self.graph.weight(name, values(self.rng, shape, self.special))

    def values(self, like: Tensor | None = None) -> list[Tensor]:
        """Inputs and computed tensors (no weights, states, truth values), of the shape of `like` if given; the last
        is the newest."""
        tensors = [t for t in self.graph.tensors.values() if not t.is_weight and t.held is None and t.dtype != "bool"]
        return [t for t in tensors if like is None or t.shape == like.shape]

    def pick(self, tensors: list[Tensor]) -> Tensor:
        """One of them, mostly the newest: chains are the rule."""
        newest = self.draw(st.integers(0, 2)) > 0
        return tensors[-1] if newest else self.draw(st.sampled_from(tensors))

    # each step adds one operation on `x`

    def linear(self, x: Tensor) -> None:
        n, k = self.size(), x.shape[-1]
        across = self.draw(st.booleans())
        if self.draw(st.integers(0, 3)) == 0:
            w = self.of_four_bits(k, n, across)
        else:
            w = self.weight(n, k) if across else self.weight(k, n)
        self.graph.matmul(x, w, transpose_b=across)

    def of_four_bits(self, k: int, n: int, across: bool) -> Tensor:
        """A weight in blocks of any length."""
        block = self.draw(st.sampled_from([2, 5, 16, 32]))
        scales = values(self.rng, (-(-k // block), n)) * np.float32(0.1)
        zeros = self.rng.integers(0, 16, scales.shape) if self.draw(st.booleans()) else None
        w = blocked(self.rng.integers(0, 16, (k, n)), scales, zeros, block=block, across=across)
        return self.graph.weight(self.graph.fresh_name("w"), w)

    def batches(self, x: Tensor) -> None:
        """Of matrices that are broadcast against each other; x may be either side, or both."""
        g, shape = self.graph, x.shape
        if len(shape) == 2 and shape[0] % 2 == 0 and self.draw(st.booleans()):
            x = g.reshape(x, (2, shape[0] // 2, shape[1]))
        lead = x.shape[:-2]
        if math.prod(x.shape) > LARGEST:
            self.relu(x)
            return
        batch = self.draw(st.sampled_from([(2,), (2, 1), (3, *(1 for _ in lead)), lead, ()]))
        batch = batch if all(a == b or 1 in (a, b) for a, b in zip(batch[::-1], lead[::-1], strict=False)) else ()
        n, transposed, kind = self.size(), self.draw(st.booleans()), self.draw(st.integers(0, 3))
        if kind == 0 and len(x.shape) > 1:  # x on the right: stored (k, n), or (n, k)
            k = x.shape[-1 if transposed else -2]
            g.matmul(self.weight(*batch, n, k), x, transpose_b=transposed)
        elif kind == 1 and len(x.shape) > 1:  # stored (k, m)
            g.matmul(x, self.weight(*batch, x.shape[-2], n), transpose_a=True)
        elif kind == 2:  # by itself
            g.matmul(x, x, transpose_b=True) if len(x.shape) > 1 else self.linear(x)
        else:
            k = x.shape[-1]
            g.matmul(x, self.weight(*batch, *((n, k) if transposed else (k, n))), transpose_b=transposed)

    def heads(self, x: Tensor) -> None:
        """Of matrices that lie beside each other on either side, or are to; fewer on the right."""
        wide = [count for count in (1, 2, 3, 4) if x.shape[-1] % count == 0]
        if len(x.shape) != 2 or math.prod(x.shape) > LARGEST:
            self.linear(x)
            return
        count = self.draw(st.sampled_from(wide))
        fewer = self.draw(st.sampled_from([i for i in range(1, count + 1) if count % i == 0]))
        n, k, joins, transposed = self.size(), x.shape[1] // count, self.draw(st.booleans()), self.draw(st.booleans())
        matrix = (n, k) if transposed else (k, n)
        beside = self.draw(st.booleans())
        w = self.weight(matrix[0], fewer * matrix[1]) if beside else self.weight(fewer, *matrix)
        self.graph.matmul_of_heads(
            x, w, a_heads=count, b_heads=fewer if beside else 0, joins=joins, transpose_b=transposed
        )

    def remember(self, x: Tensor) -> None:
        """x behind the rows of a state, which has room for more or has not."""
        if len(x.shape) != 2:
            self.relu(x)
            return
        held, more = self.draw(st.integers(0, 40)), self.draw(st.integers(0, 3))
        state = self.graph.state(self.graph.fresh_name("state"), (held + x.shape[0] + more, x.shape[1]), held, x.dtype)
        self.graph.append_rows(state, x)

    def vector(self, x: Tensor) -> None:
        """A product with a vector, which loses a dimension."""
        if len(x.shape) < 2:
            self.relu(x)
        elif self.draw(st.booleans()) or math.prod(x.shape) > LARGEST:
            self.graph.matmul(x, self.weight(x.shape[-1]))
        else:
            self.graph.matmul(self.weight(x.shape[-2]), x)

    def product(self, x: Tensor) -> None:
        """Of two computed tensors, or of one with itself."""
        if len(x.shape) != 2:
            self.linear(x)
        elif self.draw(st.booleans()):
            others = [t for t in self.values() if len(t.shape) == 2 and t.shape[0] == x.shape[0]]
            self.graph.matmul(x, self.pick(others), transpose_a=True)
        else:
            others = [t for t in self.values() if len(t.shape) == 2 and t.shape[1] == x.shape[1]]
            self.graph.matmul(x, self.pick(others), transpose_b=True)

    def bias(self, x: Tensor) -> None:
        self.graph.add(x, self.weight(x.shape[-1]))

    def residual(self, x: Tensor) -> None:
        """Of x and: a weight, a product that nobody else reads, or any tensor of its shape (x, too)."""
        kind = self.draw(st.integers(0, 3))
        if kind == 0:
            other = self.draw(st.sampled_from(self.values(like=x)))
        elif kind == 1:
            other = self.graph.matmul(x, self.weight(x.shape[-1], x.shape[-1]))
        else:
            other = self.weight(*x.shape)
        self.graph.add(*((x, other) if self.draw(st.booleans()) else (other, x)))

    def branches(self, x: Tensor) -> None:
        """The sum of two products."""
        n, k = self.size(), x.shape[-1]
        self.graph.add(self.graph.matmul(x, self.weight(k, n)), self.graph.matmul(x, self.weight(k, n)))

    def broadcast(self, x: Tensor) -> None:
        column = (*x.shape[:-1], 1)
        other = self.weight(*self.draw(st.sampled_from([(1,), column, (1,) * len(x.shape), x.shape])))
        operands = (x, other) if self.draw(st.booleans()) else (other, x)
        g = self.graph
        self.draw(st.sampled_from([g.add, g.mul, g.sub, g.div, g.maximum]))(*operands)

    def cast_anyhow(self, x: Tensor) -> None:
        """Against a tensor of any rank, in which any dimension may be one, or x be repeated along it."""
        g, shape = self.graph, x.shape
        if shape[0] % 2 == 0 and len(shape) == 2 and self.draw(st.booleans()):
            x = g.reshape(x, self.draw(st.sampled_from([(2, shape[0] // 2, shape[1]), (shape[0] // 2, 2, shape[1])])))
        room = LARGEST // math.prod(x.shape)
        wanted = [
            self.draw(st.sampled_from([1, d] if d > 1 else [1, min(2, max(1, room))]))
            for d in (1, *x.shape)[self.draw(st.integers(0, 1)) :]
        ]
        if math.prod(np.broadcast_shapes(x.shape, tuple(wanted))) > LARGEST:
            wanted = [1] * len(wanted)
        operands = self.draw(st.permutations([x, self.weight(*wanted)]))
        self.draw(st.sampled_from([g.add, g.mul, g.sub, g.maximum, g.minimum]))(*operands)

    def multiply(self, x: Tensor) -> None:
        self.graph.mul(x, self.pick(self.values(like=x)))

    def relu(self, x: Tensor) -> None:
        self.graph.relu(x)

    def sigmoid(self, x: Tensor) -> None:
        self.graph.sigmoid(x)

    def unary(self, x: Tensor) -> None:
        getattr(self.graph, self.draw(st.sampled_from(UNARY)))(x)

    def scalar(self, x: Tensor) -> None:
        """With a number on either side, which is part of the operation."""
        g, number = self.graph, self.draw(st.floats(-4, 4, width=32))
        operands = (x, number) if self.draw(st.booleans()) else (number, x)
        self.draw(st.sampled_from([g.sub, g.div, g.pow, g.minimum]))(*operands)

    def parameters(self, x: Tensor) -> None:
        """Numbers of an activation; the slope of one may be a row."""
        g = self.graph
        steps = [g.leaky_relu, g.thresholded_relu, g.elu, g.celu, g.selu, g.hard_sigmoid, g.clip]
        step = self.draw(st.sampled_from(steps))
        step(x, *([self.draw(st.sampled_from([0.5, self.weight(x.shape[-1])]))] if self.draw(st.booleans()) else []))

    def choice(self, x: Tensor) -> None:
        """Of x and something else, by a truth value of one of them; a choice is three operands."""
        g, other = self.graph, self.weight(*self.draw(st.sampled_from([(1,), (x.shape[-1],), x.shape])))
        compare = self.draw(st.sampled_from([g.less, g.less_or_equal, g.greater, g.greater_or_equal, g.equal]))
        condition = compare(x, other)
        if self.draw(st.booleans()):
            logic = self.draw(st.sampled_from([g.logical_and, g.logical_or, g.logical_xor]))
            condition = logic(condition, g.logical_not(self.draw(st.sampled_from([g.is_nan, g.is_inf]))(x)))
        if self.draw(st.booleans()):
            x = g.multiply_add(*self.draw(st.permutations([x, other, 0.75])))
        g.select(condition, *self.draw(st.permutations([x, self.draw(st.sampled_from([other, 0.25]))])))

    def rows(self, x: Tensor) -> None:
        """What needs whole rows: those of the last axis, of several at the end, or of any."""
        g, axes = self.graph, self.trailing(x)
        if self.draw(st.integers(0, 3)) == 0:
            axes = self.draw(st.lists(st.integers(0, len(x.shape) - 1), min_size=1, unique=True))
        if self.draw(st.booleans()):
            self.draw(st.sampled_from([g.softmax, g.log_softmax]))(x, axes)
        else:
            reduce = self.draw(st.sampled_from([g.reduce_sum, g.reduce_max, g.reduce_mean]))
            reduce(x, axes, keepdims=len(x.shape) == len(axes) or self.draw(st.booleans()))

    def layer_norm(self, x: Tensor) -> None:
        """With one affine part after the other, or none."""
        axes = self.trailing(x)
        affine = (self.weight(*x.shape[axes[0] :]) for _ in range(self.draw(st.integers(0, 2))))
        if self.draw(st.integers(0, 3)):
            self.graph.layer_norm(x, *affine, axes=axes)
        else:
            self.graph.rms_norm(x, *list(affine)[:1], axes=axes)

    def trailing(self, x: Tensor) -> list[int]:
        """The last axis, or some before it, too."""
        last = len(x.shape) - 1
        first = self.draw(st.integers(0, last))
        return list(range(first, last + 1))

    def epilogue(self, x: Tensor) -> None:
        """A matmul and a chain behind it, in any order and with repetitions: fusion takes what it may."""
        self.linear(x)
        stages = (GraphBuilder.bias, GraphBuilder.residual, GraphBuilder.relu, GraphBuilder.sigmoid)
        for stage in self.draw(st.lists(st.sampled_from(stages), min_size=1, max_size=4)):
            stage(self, self.values()[-1])

    def pool(self, x: Tensor) -> None:
        """Of x as an image of as many lines and columns as there are factors for, or as a signal."""
        rows, cols = math.prod(x.shape[:-1]), x.shape[-1]
        height = self.draw(st.sampled_from([n for n in (1, 2, 3, 5, 8) if rows % n == 0]))
        signal = height == 1 and self.draw(st.booleans())
        image = self.graph.reshape(x, (1, rows, cols) if signal else (1, height, rows // height, cols))
        limits = (1, rows) if signal else (height, rows // height)
        size = [self.draw(st.integers(1, min(n, 4))) for n in limits]
        g = self.graph
        step = self.draw(st.sampled_from([g.max_pool, g.average_pool, g.sum_pool]))
        pads = (0, size[1] // 2) if signal else (size[0] // 2, size[1] // 2)
        strides = [1 if signal else self.draw(st.integers(1, 2)), self.draw(st.integers(1, 2))]
        y = step(image, size, strides=strides, pads=pads, ceil=self.draw(st.booleans()))
        if self.draw(st.booleans()):
            y = self.draw(st.sampled_from([g.global_max_pool, g.global_average_pool]))(y)
        if self.draw(st.integers(0, 3)) == 0:
            y = self.draw(st.sampled_from([g.lrn, lambda x, n: g.channel_sum(x, 0, n)]))(
                y, self.draw(st.integers(1, 5))
            )
        g.reshape(y, (math.prod(y.shape[:-1]), cols))

    def reshape(self, x: Tensor) -> None:
        rows, cols = int(np.prod(x.shape[:-1])), x.shape[-1]
        shapes = [(rows, cols), (1, rows, cols), (cols, rows), (rows * cols,)]
        if rows % 2 == 0:
            shapes.append((2, rows // 2, cols))
        self.graph.reshape(x, self.draw(st.sampled_from(shapes)))

    def transpose(self, x: Tensor) -> None:
        shape = x.shape
        if shape[0] % 2 == 0 and self.draw(st.booleans()):
            x = self.graph.reshape(x, (2, shape[0] // 2, *shape[1:]))
        if len(x.shape) == 1:
            self.relu(x)  # every step adds an operation
        self.graph.transpose(x, self.draw(st.permutations(range(len(x.shape)))))

    def concat(self, x: Tensor) -> None:
        """Of x, something like it, and x again; an axis need not be of one length."""
        axis = self.draw(st.integers(0, len(x.shape) - 1))
        if math.prod(x.shape) > LARGEST:
            self.relu(x)
            return
        other = self.weight(*(self.draw(st.integers(1, 3)) if i == axis else d for i, d in enumerate(x.shape)))
        self.graph.concat(self.draw(st.sampled_from([[x], [x, other], [other, x], [x, other, x]])), axis)

    def take(self, x: Tensor) -> None:
        """Slices, pads, gathers, repetitions: numbers of each axis in any order, in runs or not, and nothing."""
        chosen: list[list[int | None] | None] = []
        left = LARGEST // math.prod(x.shape)
        for size in x.shape:
            index = st.one_of(st.none(), st.integers(0, size - 1))
            most = max(1, min(6, size * max(1, left)))
            first, step = self.draw(st.integers(0, size - 1)), self.draw(st.integers(1, 3))
            steps = st.just(list(range(first, size, step)))
            chosen.append(self.draw(st.one_of(st.none(), steps, st.lists(index, min_size=1, max_size=most))))
        self.graph.take(x, chosen, fill=self.draw(st.sampled_from([0.0, -1.5])))

    def split(self, x: Tensor) -> None:
        """Into two or three pieces, along the last axis or the first, where tiles begin or anywhere."""
        axis = self.draw(st.sampled_from([-1, 0]))
        if x.shape[axis] == 1:
            self.relu(x)  # every step adds an operation
        for _ in range(self.draw(st.integers(1, 2))):
            length = x.shape[axis]
            if length == 1:
                return
            at = self.draw(st.one_of(st.integers(1, length - 1), st.sampled_from([n for n in SIZES if n < length])))
            *_, x = self.graph.split(x, (at, length - at), axis=axis)


STEPS: tuple[Callable[[GraphBuilder, Tensor], None], ...] = (
    GraphBuilder.linear,
    GraphBuilder.epilogue,
    GraphBuilder.epilogue,
    GraphBuilder.branches,
    GraphBuilder.bias,
    GraphBuilder.residual,
    GraphBuilder.relu,
    GraphBuilder.sigmoid,
    GraphBuilder.product,
    GraphBuilder.batches,
    GraphBuilder.batches,
    GraphBuilder.heads,
    GraphBuilder.remember,
    GraphBuilder.vector,
    GraphBuilder.broadcast,
    GraphBuilder.cast_anyhow,
    GraphBuilder.cast_anyhow,
    GraphBuilder.multiply,
    GraphBuilder.reshape,
    GraphBuilder.split,
    GraphBuilder.transpose,
    GraphBuilder.transpose,
    GraphBuilder.concat,
    GraphBuilder.take,
    GraphBuilder.unary,
    GraphBuilder.unary,
    GraphBuilder.scalar,
    GraphBuilder.parameters,
    GraphBuilder.choice,
    GraphBuilder.rows,
    GraphBuilder.layer_norm,
    GraphBuilder.pool,
)


@st.composite
def graphs(draw: Draw, max_steps: int = 6, special: float = 0.0) -> Graph:
    """Chains of matmuls and whatever may stand between them: epilogues that fuse and some that do not,
    broadcasts, reshapes, transposed operands, shared inputs, several outputs, some of which are read on.

    Args:
        special: share of the weights' elements that are denormal, infinite, NaN and the like.
    """
    builder = GraphBuilder(draw, special)
    for _ in range(draw(st.integers(1, max_steps))):
        step = draw(st.sampled_from(STEPS))
        step(builder, builder.pick(builder.values()))
    graph = builder.graph
    computed = [graph.tensors[name] for node in graph.nodes for name in node.outputs]
    last = computed.pop()
    extra = draw(st.lists(st.sampled_from(computed), unique_by=id, max_size=2)) if computed else []
    for tensor in (*extra, last):
        graph.output(tensor)
    return graph
