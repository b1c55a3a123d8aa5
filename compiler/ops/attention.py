"""Attention: softmax(steps(q k^T)) v of each head, over blocks of a constant number of keys.

What it means is said in terms of the vector unit and the array, each operation rounded once (ADR 53). Block b has the
keys [KEYS b, KEYS (b + 1)). With m the greatest score so far, l the sum of the weights so far, y the result so far:

    m' = max(m, max of the scores s of the block)                  m is the lowest number before the first block
    e  = exp(s - m')                                               of each key
    w  = l exp(m - m')       l' = w + sum(e)       c = max(l', 1)  before the first block l = 0, w = 0
    y' = (e (1 / c)) v + y (w / c)                                 the product is one chain of sums, y (w / c) behind it

So attention of one block is the plain softmax, and a block that is masked away changes nothing: its weights are 0, m
and l stay, and w / c is 1. A row that sees no key at all has zeros. The pass `attend` makes this of a matmul, what
follows it, a softmax and a matmul, if there are more keys than one block.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minisim.compiler.attention_plan import KEYS, AttentionSizes, best_plans
from minisim.compiler.attributes import SCORES, AttentionAttributes
from minisim.compiler.builder import ProgramBuilder
from minisim.compiler.dtypes import FLOATS, one_of
from minisim.compiler.graph import Graph, Node, Shape, view_2d
from minisim.compiler.ops.attention_kept import UNPACKING
from minisim.compiler.ops.attention_walk import Walk
from minisim.compiler.ops.base import OPERATORS, Operator, register
from minisim.compiler.ops.dequantize_rows import floats_of
from minisim.compiler.ops.elementwise import Elementwise, number_of
from minisim.compiler.ops.matmul import Product
from minisim.compiler.ops.vector_pace import vector_pace
from minisim.compiler.panels import Pace
from minisim.compiler.semantics import SEMANTICS, Array
from minisim.compiler.tiling import BESIDE, Read, Tiling
from minisim.errors import ShapeError, UnsupportedError
from minisim.hwmodel import cost, isa
from minisim.hwmodel.config import Machine

Q, K, V = range(3)
"""The places of queries, keys and values; behind them are the operands of the steps."""


@register
class Attention(Operator[AttentionAttributes]):
    """Inputs q, k, v, and what the operations on the scores read beside them: numbers, masks. Behind them are scales of
    keys and values, if these are integers that have any."""

    name = "Attention"
    by_grids = True
    operands = range(3, 64)
    attributes = AttentionAttributes

    def infer(self, shapes: Sequence[Shape], attributes: AttentionAttributes) -> tuple[Shape, ...]:
        matmul = SEMANTICS["MatMul"]
        (shape,) = matmul.infer(shapes[:V], attributes.scores)
        for step in attributes.steps:
            if math.prod(step.shape) != math.prod(shape) or step.shape[-1] != shape[-1]:
                raise ShapeError(f"scores of shape {shape} cannot be taken as {step.shape}")
            for place in step.operands:
                if place != SCORES and rows_of(shapes[place], step.shape) is None:
                    raise ShapeError(f"an operand {shapes[place]} of {step.op} does not lie under scores {step.shape}")
        return tuple(matmul.infer([shape, shapes[V]], attributes.products))

    def infer_dtypes(self, dtypes: Sequence[str], attributes: AttentionAttributes) -> tuple[str, ...]:
        kinds: dict[int, str] = {}
        for step in attributes.steps:
            kinds.update(zip(step.operands, _code(step.op).kinds, strict=True))
        others = {K, V, len(dtypes) - 2, len(dtypes) - 1} if attributes.floats_by == "Rescale" else {K, V}
        others = others if attributes.floats_by else set()
        wanted = [dtype for place, dtype in enumerate(dtypes) if kinds.get(place) != "c" and place not in others]
        if len(set(wanted)) != 1 or wanted[0] not in FLOATS:
            raise UnsupportedError(f"attention must be of one type, {one_of(sorted(FLOATS))}")
        return (wanted[0],)

    def macs(self, shapes: Sequence[Shape | None], attributes: AttentionAttributes) -> int:
        q, k, v = (shape or () for shape in shapes[:3])
        (scores,) = SEMANTICS["MatMul"].infer([q, k], attributes.scores)
        both = (([q, k], attributes.scores), ([scores, v], attributes.products))
        return sum(SEMANTICS["MatMul"].macs(operands, how) for operands, how in both)

    def evaluate(self, inputs: Sequence[Array], attributes: AttentionAttributes) -> tuple[Array, ...]:
        matmul = SEMANTICS["MatMul"]
        if attributes.floats_by == "Rescale":
            q, k, v, *_, of_k, of_v = inputs
            inputs = [q, floats_of(k, of_k), floats_of(v, of_v), *inputs[3:]]
        (scores,) = matmul.evaluate(inputs[:V], attributes.scores)
        shape = scores.shape
        for step in attributes.steps:
            scores = scores.reshape(step.shape)
            operands = [scores if place == SCORES else inputs[place] for place in step.operands]
            (scores,) = SEMANTICS[step.op].evaluate(operands, SEMANTICS[step.op].attributes())
        return tuple(matmul.evaluate([_weights(scores.reshape(shape)), inputs[V]], attributes.products))

    def tile(self, node: Node, graph: Graph, machine: Machine) -> Tiling:
        return self.candidates(node, graph, machine)[0]

    def candidates(self, node: Node, graph: Graph, machine: Machine) -> tuple[Tiling, ...]:
        whole = Heads.of(node, graph)
        sizes, joins = whole.sizes, whole.attributes.products.joins
        slab = whole.rows if sizes.units > 1 else 0
        return tuple(
            Tiling(plan.tall, plan.keys, sizes.values, sizes.units * -(-sizes.rows // plan.rows) // plan.stack,
                   -(-sizes.keys // plan.keys), 1, panels=None, slab=slab if plan.stack == 1 else 0, joins=joins,
                   attention=plan)
            for plan in best_plans(sizes, machine)
        )  # fmt: skip

    def slab(self, node: Node, graph: Graph) -> int:
        whole = Heads.of(node, graph)
        return whole.products.m if whole.products.slabs > 1 and not whole.attributes.products.joins else 0

    def reads(self, node: Node, graph: Graph, tiling: Tiling) -> tuple[Read, ...]:
        whole = Heads.of(node, graph)
        q, k, v = node.present[:3]
        rows = ("", 1) if whole.attributes.scores.a_heads else ("m", tiling.m)
        of_q = Read(q, rows, ("", whole.sizes.inner), apart=BESIDE)
        beside = node.present[-2:] if whole.attributes.floats_by == "Rescale" else ()
        return (of_q, *(Read(name, ("k", tiling.k), ("", view_2d(graph.tensors[name].shape)[1]), apart=BESIDE)
                        for name in (k, v, *beside)))  # fmt: skip

    def pace(self, node: Node, graph: Graph, tiling: Tiling, machine: Machine) -> Pace:
        busy = 8 * int(cost.vector_cycles(isa.VectorOp.MUL, tiling.m, tiling.k, machine))
        return vector_pace(busy, node, graph, tiling, machine)

    def lower(self, node: Node, graph: Graph, tiling: Tiling, program: ProgramBuilder) -> None:
        whole = Heads.of(node, graph)
        macs = self.macs([graph.tensors[name].shape for name in node.present], whole.attributes)
        Walk(node, graph, tiling, program, whole.scores, whole.products, whole.rows).emit(macs)


def _code(op: str) -> isa.VectorOp:
    operator = OPERATORS[op]
    assert isinstance(operator, Elementwise)
    return operator.code


def rows_of(operand: Shape, scores: Shape) -> int | None:
    """How many rows an operand has under scores of this shape: row i of the scores, in the order in which they lie,
    has its row i modulo that many; 1 if it is one row, or a number. None if it does not lie so."""
    if math.prod(operand) == 1:
        return 1
    if len(operand) > len(scores) or operand[-1:] != scores[-1:]:
        return None
    lead = ((1,) * (len(scores) - len(operand)) + operand)[:-1]
    first = next((i for i, size in enumerate(lead) if size != 1), len(lead))
    return math.prod(lead[first:]) if lead[first:] == scores[first:-1] else None


@dataclass(frozen=True)
class Heads:
    """The products of an attention, and how its rows lie.

    Attributes:
        rows: of queries that lie together, under one mask; no strip reaches beyond them.
    """

    attributes: AttentionAttributes
    scores: Product
    products: Product
    rows: int
    sizes: AttentionSizes

    @classmethod
    def of(cls, node: Node, graph: Graph) -> Heads:
        attributes = node.attributes_as(AttentionAttributes)
        q, k, v = (graph.tensors[name].shape for name in node.present[:3])
        (shape,) = SEMANTICS["MatMul"].infer([q, k], attributes.scores)
        scores = Product.of(q, k, attributes.scores)
        products = Product.of(shape, v, attributes.products)
        rows, mask, owns = min(scores.m, products.m), 0, []
        for step in attributes.steps:
            for place in step.operands:
                if place == SCORES or number_of(graph.tensors[node.present[place]]) is not None:
                    continue
                tensor = graph.tensors[node.present[place]]
                own = rows_of(tensor.shape, step.shape) or 1
                owns += [own] if own > 1 else []
                mask += isa.ITEMSIZE[tensor.code] if own > 1 else 0
        rows = math.gcd(rows, *owns)
        period = math.gcd(*(own // rows for own in owns))
        dtype = graph.tensors[node.output].code
        sizes = AttentionSizes(rows, scores.slabs * scores.m // rows, scores.n, scores.k, products.n, dtype,
                               tuple(_code(step.op) for step in attributes.steps), mask, period,
                               graph.tensors[node.present[K]].code, UNPACKING.get(attributes.floats_by))  # fmt: skip
        return cls(attributes, scores, products, rows, sizes)


def _weights(scores: Array) -> Array:
    """What each value counts, in the end: its weight in its block, times what later blocks have left of that."""
    dtype = scores.dtype
    weights = np.empty_like(scores)
    greatest = np.full((*scores.shape[:-1], 1), np.finfo(dtype).min, dtype)
    total, left = np.zeros_like(greatest), []
    blocks = [slice(first, first + KEYS) for first in range(0, scores.shape[-1], KEYS)]
    with np.errstate(all="ignore"):
        for block in blocks:
            higher = np.maximum(greatest, scores[..., block].max(axis=-1, keepdims=True))
            e = np.exp(scores[..., block] - higher)
            kept = total * np.exp(greatest - higher)
            greatest, total = higher, kept + e.sum(axis=-1, keepdims=True)
            weights[..., block] = e / np.maximum(total, 1)
            left.append(kept / np.maximum(total, 1))
        share = np.ones_like(greatest)
        for block, kept in zip(reversed(blocks), reversed(left), strict=True):
            weights[..., block] *= share
            share = share * kept
    return weights
