"""MatMul: (..., k) x (k, n) -> (..., n), after fusion with bias, residual and activation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from minisim.compiler import panels
from minisim.compiler.blocks import BlockPlan
from minisim.compiler.dtypes import is_integer, requantize
from minisim.compiler.graph import view_2d
from minisim.compiler.layer_tile import Edges, matmul_edges
from minisim.compiler.ops.base import (
    Array,
    Attrs,
    OnnxContext,
    OnnxNode,
    Operator,
    one_dtype,
    onnx_import,
    register,
    sigmoid,
)
from minisim.compiler.program import ProgramBuilder, Slot
from minisim.compiler.split import Read
from minisim.compiler.tiling import Tiling
from minisim.errors import ShapeError, UnsupportedError
from minisim.hwmodel import cost, isa

if TYPE_CHECKING:
    from minisim.compiler.graph import Graph, Node, Shape, Tensor
    from minisim.hwmodel.config import Machine

ACTIVATIONS = {"": isa.Activation.NONE, "ReLU": isa.Activation.RELU, "Sigmoid": isa.Activation.SIGMOID}


@register
class MatMul(Operator):
    """Inputs a, b, then `bias` (1, n) and `residual` (m, n) if the attributes of those names are set.

    Attributes of the node: transpose_a, transpose_b; set by fusion: bias ("Bias"), residual
    ("Residual"), activation ("ReLU" or "Sigmoid"). The epilogue runs in that order. Of int8 operands
    (or int16 a and int8 b) only bias (int32) and "ReLU", and then `scale`: the sums are requantised to int8, else
    the output is int32.
    """

    name = "MatMul"
    operands = range(2, 5)
    dtypes = frozenset({"float32", "bfloat16", "int8"})

    def infer(self, shapes: Sequence[Shape], attrs: Attrs) -> Shape:
        a, b = shapes[:2]
        if len(a) < 1 or len(b) < 1:
            raise ShapeError("an operand of a matmul must have at least one dimension")
        if len(b) != 2:
            raise UnsupportedError(
                f"the second operand of a matmul must be 2-D, not {b} (batched matmul is not supported)"
            )
        if attrs.get("transpose_a") and len(a) != 2:
            raise ShapeError("a transposed first operand must be 2-D")
        m_dims, k = a[:-1], a[-1]
        if attrs.get("transpose_a"):
            m_dims, k = (a[1],), a[0]
        kb, n = reversed(b) if attrs.get("transpose_b") else b
        if k != kb:
            raise ShapeError(f"inner dimensions must be equal, not {k} and {kb}")
        if "bias" in attrs and view_2d(shapes[2]) != (1, n):
            raise ShapeError(f"the bias must have {n} values, not shape {shapes[2]}")
        return (*m_dims, n)

    def infer_dtype(self, dtypes: Sequence[str], attrs: Attrs) -> str:
        wide = tuple(dtypes[:2]) == ("int16", "int8")
        operands, scale = "int16" if wide else one_dtype(dtypes[:2], self.dtypes), attrs.get("scale")
        if not is_integer(operands):
            if scale is not None:
                raise UnsupportedError(f"scale requantises the sums of int8 operands, not of {operands}")
            return operands
        if len(dtypes) > 2 and dtypes[2] != "int32":
            raise UnsupportedError(f"the bias of an {operands} matmul must be int32, not {dtypes[2]}")
        if scale is not None and not (isinstance(scale, (int, float)) and 0 < np.float32(scale) < np.inf):
            raise UnsupportedError(f"scale must be a positive float32, not {scale!r}")
        return "int32" if scale is None else "int8"

    def macs(self, shapes: Sequence[Shape], attrs: Attrs) -> int:
        rows, n = view_2d(self.infer(shapes, attrs))
        k = shapes[0][0] if attrs.get("transpose_a") else shapes[0][-1]
        return rows * k * n

    def evaluate(self, inputs: Sequence[Array], attrs: Attrs) -> Array:
        a, b, *epilogue = inputs
        if np.issubdtype(a.dtype, np.integer):
            return _evaluate_integers(a, b, epilogue, attrs)
        y: Array = (a.T if attrs.get("transpose_a") else a) @ (b.T if attrs.get("transpose_b") else b)
        for operand in epilogue:
            y = y + operand.reshape(y.shape if operand.size == y.size else (-1,))
        match attrs.get("activation", ""):
            case "ReLU":
                return np.asarray(np.maximum(y, 0))
            case "Sigmoid":
                return sigmoid(y)
        return y

    def tile(self, node: Node, graph: Graph, machine: Machine) -> Tiling:
        tiling = self.cut(node, graph, machine)
        if machine.cores.count > 1:
            return tiling  # the panels are those of each core's share (split.py)
        return replace(tiling, panels=self.plan(node, graph, tiling, tiling.m_tiles, tiling.n_tiles, machine))

    def cut(self, node: Node, graph: Graph, machine: Machine) -> Tiling:
        m_size, n_size = view_2d(graph.tensors[node.output].shape)
        sizes = {"m": m_size, "k": self.depth(node, graph), "n": n_size}
        types = MatMulTypes.of(node, graph)
        if not machine.matrix.rate(types.operands):
            name = types.operands.name.lower()
            raise UnsupportedError(f"node {node.name!r}: the array has no {name} (matrix.{name}_rate is 0)")

        def needed(edges: Edges) -> int:
            apart = types.sums_apart(machine, -(-sizes["k"] // edges["k"]))
            return types.footprint(node, **edges).needed(apart, machine)

        edges = matmul_edges(sizes, machine, needed)
        m, k, n = edges["m"], edges["k"], edges["n"]
        grid = (-(-sizes["m"] // m), -(-sizes["k"] // k), -(-sizes["n"] // n))
        blocks = BlockPlan.of(machine) if machine.compiler.order == "blocked" else None
        apart = types.sums_apart(machine, steps=grid[1])
        return Tiling(m, k, n, *grid, panels=None, sums_apart=apart, blocks=blocks)

    def plan(
        self, node: Node, graph: Graph, tiling: Tiling, rows: int, cols: int, machine: Machine, sharing: int = 1
    ) -> panels.PanelPlan | None:
        if machine.compiler.order != "auto":
            return None
        a, b, c, sums, extra = MatMulTypes.of(node, graph).footprint(node, tiling.m, tiling.k, tiling.n)
        if tiling.sums_apart:  # the sums take what c takes otherwise, and the result stands beside them
            budget = panels.Budget(machine.sram.bytes, a, b, c, extra + c, sums=sums, apart=machine.accumulator.bytes)
        else:
            budget = panels.Budget(machine.sram.bytes, a, b, c, extra, sums=c)
        return panels.choose(rows, tiling.k_tiles, cols, budget, self.pace(node, graph, tiling, machine).among(sharing))

    def pace(self, node: Node, graph: Graph, tiling: Tiling, machine: Machine) -> panels.Pace:
        transposed = bool(node.attrs.get("transpose_a")), bool(node.attrs.get("transpose_b"))
        return pace(tiling.m, tiling.k, tiling.n, machine, MatMulTypes.of(node, graph), transposed)

    def reads(self, node: Node, graph: Graph, tiling: Tiling) -> tuple[Read, ...]:
        transpose_a, transpose_b = bool(node.attrs.get("transpose_a")), bool(node.attrs.get("transpose_b"))
        m, k, n = (("m", tiling.m), ("k", tiling.k), ("n", tiling.n))
        places = [tiling.flip(m, k, transpose_a), tiling.flip(k, n, transpose_b)]
        places += [(("", 1), n)] * ("bias" in node.attrs) + [(m, n)] * ("residual" in node.attrs)
        return tuple(Read(name, *place) for name, place in zip(node.inputs, places, strict=True))

    def lower(self, node: Node, graph: Graph, tiling: Tiling, program: ProgramBuilder) -> None:
        """For each tile step: LOAD a, LOAD b, at the last step the epilogue's operands, EXECUTE, STORE."""
        transpose_a, transpose_b = bool(node.attrs.get("transpose_a")), bool(node.attrs.get("transpose_b"))
        operands = iter(node.inputs)
        a = program.grid(next(operands), *tiling.flip(tiling.m, tiling.k, transpose_a))
        b = program.grid(next(operands), *tiling.flip(tiling.k, tiling.n, transpose_b))
        bias = program.grid(next(operands), 1, tiling.n) if "bias" in node.attrs else None
        residual = program.grid(next(operands), tiling.m, tiling.n) if "residual" in node.attrs else None
        types = MatMulTypes.of(node, graph)
        c = program.grid(node.output, tiling.m, tiling.n, final=1 if tiling.sums_apart else tiling.k_tiles)
        acc = None
        if tiling.sums_apart:
            acc = program.accumulators(node.output, types.sums, tiling.m, tiling.n, tiling.k_tiles)

        m, n, k = tiling.walk()
        last = k == tiling.k_tiles - 1
        a_ids = a.ids(*tiling.flip(m, k, transpose_a))
        b_ids = b.ids(*tiling.flip(k, n, transpose_b))
        bias_ids = bias.ids(0, n) if bias else None
        residual_ids = residual.ids(m, n) if residual else None
        m_size, n_size = view_2d(graph.tensors[node.output].shape)
        rows = program.matmuls(
            len(m),
            a=a_ids,
            b=b_ids,
            c=c.ids(m, n),
            bias=isa.NONE if bias_ids is None else np.where(last, bias_ids, isa.NONE),
            residual=isa.NONE if residual_ids is None else np.where(last, residual_ids, isa.NONE),
            acc=isa.NONE if acc is None else acc.ids(m, n),
            m=np.minimum(tiling.m, m_size - m * tiling.m),
            k=np.minimum(tiling.k, self.depth(node, graph) - k * tiling.k),
            n=np.minimum(tiling.n, n_size - n * tiling.n),
            step=k,
            last=last,
            activation=np.where(last, ACTIVATIONS[node.attrs.get("activation", "")], 0),
            a_transposed=transpose_a,
            b_transposed=transpose_b,
            dtype=types.operands,
            scale=np.where(last, np.float32(node.attrs.get("scale", 0)), np.float32(0)),
        )
        step, row = tiling.fetches(m, n, k)
        slots = [Slot(isa.Opcode.LOAD, a_ids, fetch=step), Slot(isa.Opcode.LOAD, b_ids, fetch=step)]
        slots += [Slot(isa.Opcode.LOAD, ids, last, fetch=row) for ids in (bias_ids, residual_ids) if ids is not None]
        slots += [Slot(isa.Opcode.EXECUTE, rows), Slot(isa.Opcode.STORE, c.ids(m, n), last)]
        shapes = [graph.tensors[name].shape for name in node.inputs]
        ahead, horizon = tiling.ahead_and_horizon()
        program.layer(
            node.name, node.title, self.macs(shapes, node.attrs), slots, ahead, horizon, cores=tiling.core_of(m, n)
        )

    @staticmethod
    def depth(node: Node, graph: Graph) -> int:
        """K: the length of each accumulation."""
        shape = graph.tensors[node.inputs[0]].shape
        return shape[0] if node.attrs.get("transpose_a") else shape[-1]


class Footprint(NamedTuple):
    """Bytes of a matmul's tiles, whole granules: operands, result, partial sums, and operands of the epilogue."""

    a: int
    b: int
    c: int
    sums: int
    extra: int

    def needed(self, sums_apart: bool, machine: Machine) -> int:
        """Of scratchpad; sums that are apart lie in the accumulator memory, if there is one."""
        return self.a + self.b + self.c + self.extra + self.sums * (sums_apart and not machine.accumulator.bytes)


@dataclass(frozen=True)
class MatMulTypes:
    """The types of a matmul: of A (the operands'), B, its sums, its bias and its result."""

    operands: isa.DType
    sums: isa.DType
    bias: isa.DType
    result: isa.DType

    @classmethod
    def of(cls, node: Node, graph: Graph) -> MatMulTypes:
        operands = graph.tensors[node.inputs[0]].code
        sums = isa.ACCUMULATOR[operands]
        bias = graph.tensors[node.inputs[2]].code if "bias" in node.attrs else sums
        return cls(operands, sums, bias, graph.tensors[node.output].code)

    @property
    def second(self) -> isa.DType:
        """Of B."""
        return isa.SECOND[self.operands]

    @staticmethod
    def item(dtype: isa.DType) -> int:
        """Bytes per element."""
        return isa.ITEMSIZE[dtype]

    def footprint(self, node: Node, m: int, k: int, n: int) -> Footprint:
        """Bytes of the tiles of an operation on m x k x n elements."""
        c = isa.align(self.item(self.result) * m * n)
        return Footprint(
            a=isa.align(self.item(self.operands) * m * k),
            b=isa.align(self.item(self.second) * k * n),
            c=c,
            sums=isa.align(self.item(self.sums) * m * n),
            extra=isa.align(self.item(self.bias) * n) * ("bias" in node.attrs) + c * ("residual" in node.attrs),
        )

    def sums_apart(self, machine: Machine, steps: int) -> bool:
        """Whether partial sums have tiles of their own: the result's are too narrow, or lie in the wrong memory."""
        return steps > 1 and (self.sums != self.result or machine.accumulator.bytes > 0)


def _evaluate_integers(a: Array, b: Array, epilogue: Sequence[Array], attrs: Attrs) -> Array:
    """Exactly: sums of products up to 2^22 are whole in double precision up to k = 2^31, then wrap to int32."""
    a, b = (a.T if attrs.get("transpose_a") else a), (b.T if attrs.get("transpose_b") else b)
    sums = (a.astype(np.float64) @ b.astype(np.float64)).astype(np.int64)
    for bias in epilogue:
        sums = sums + bias.reshape(-1)
    sums = sums.astype(np.int32)
    if attrs.get("activation") == "ReLU":
        sums = np.maximum(sums, 0)
    return (requantize(sums, attrs["scale"]) if "scale" in attrs else sums).astype(np.int64)


def pace(
    m: int, k: int, n: int, machine: Machine, types: MatMulTypes, transposed: tuple[bool, bool] = (False, False)
) -> panels.Pace:
    """What the panels' estimate needs to know of a machine, for tiles of m x k x n elements."""
    found = cost.matmul_cycles(
        m, k, n, 1, machine, a_transposed=transposed[0], b_transposed=transposed[1], dtype=types.operands
    )
    setup, busy, hold = (int(x) for x in found)
    execute = max(busy, hold + setup)
    dram = float(1 / machine.dram_bytes_per_cycle)
    a, b, stored = (types.item(t) for t in (types.operands, types.second, types.result))
    load_port = max(cost.port_pace(m, k * a, machine, True), cost.port_pace(k, n * b, machine, True), dram)
    store_port = max(cost.port_pace(m, n * stored, machine, False), dram)
    load = machine.dma.setup_cycles + max(m * k * a, k * n * b) * load_port + machine.dram_latency_cycles
    turnaround = load + setup + execute + cost.drain_cycles(machine)
    return panels.Pace(execute, load_port, store_port, dram, turnaround)


@onnx_import("MatMul")
def import_matmul(context: OnnxContext, node: OnnxNode) -> Tensor:
    a, b = (context.value(name) for name in node.inputs)
    return context.graph.matmul(a, b, name=node.name)


@onnx_import("Gemm", attributes=["alpha", "beta", "transA", "transB"])
def import_gemm(context: OnnxContext, node: OnnxNode) -> Tensor:
    """Y = alpha A' B' + beta C. Factors on constants are folded into them; others become a Mul."""
    alpha, beta = float(node.attrs.get("alpha", 1.0)), float(node.attrs.get("beta", 1.0))
    transpose_a, transpose_b = bool(node.attrs.get("transA", 0)), bool(node.attrs.get("transB", 0))
    graph = context.graph
    a = context.value(node.inputs[0])
    constant_b = context.constant(node.inputs[1])
    if constant_b is None or (alpha == 1.0 and not transpose_b):
        b = context.value(node.inputs[1])
    else:
        b = context.weight(node.inputs[1], np.float32(alpha) * (constant_b.T if transpose_b else constant_b))
        alpha, transpose_b = 1.0, False
    if len(a.shape) != 2 or len(b.shape) != 2:
        raise ShapeError(f"Gemm takes 2-D operands, not {a.shape} and {b.shape}")
    has_c = len(node.inputs) > 2 and node.inputs[2] != "" and beta != 0.0
    # The last operation has the node's name, those before it a part's: names are unique and say whose they are.
    is_last = not has_c and alpha == 1.0
    y = graph.matmul(
        a,
        b,
        transpose_a=transpose_a,
        transpose_b=transpose_b,
        name=node.name if is_last else f"{node.name}/matmul",
    )
    if alpha != 1.0:
        y = graph.mul(y, alpha, name=f"{node.name}/alpha" if has_c else node.name)
    if not has_c:
        return y
    constant_c = context.constant(node.inputs[2])
    if beta == 1.0:
        c = context.value(node.inputs[2])
    elif constant_c is not None:
        c = context.weight(node.inputs[2], np.float32(beta) * constant_c)
    else:
        c = graph.mul(context.value(node.inputs[2]), beta, name=f"{node.name}/beta")
    return graph.add(y, c, name=node.name)
