"""MatMul: (..., m, k) x (..., k, n) -> (..., m, n), after fusion with bias, residual and activation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from minisim.compiler import panels
from minisim.compiler.attributes import MatMulAttributes
from minisim.compiler.blocked import Blocked
from minisim.compiler.blocks import BlockPlan
from minisim.compiler.builder import ProgramBuilder, Slot
from minisim.compiler.graph import Graph, Node, Shape, Tensor, view_2d
from minisim.compiler.grids import Grid
from minisim.compiler.layer_tile import Edges, matmul_edges
from minisim.compiler.ops.base import OnnxContext, OnnxNode, onnx_import, register
from minisim.compiler.ops.epilogue import (
    MatMulTypes,
    Multiplication,
    by_place,
    finished,
    multiplied,
)
from minisim.compiler.program import Ids
from minisim.compiler.semantics import Array
from minisim.compiler.slabs import SlabOf, slab_of, tiles_apart
from minisim.compiler.tiling import BESIDE, Axis, Read, Share, Tiling
from minisim.compiler.values import scaled
from minisim.errors import ShapeError
from minisim.hwmodel import cost, isa
from minisim.hwmodel.config import Machine


@register
class MatMul(Multiplication[MatMulAttributes]):
    """Inputs a, b, and what the epilogue adds to their product, each of it optional: bias (1, n), residual (m, n).

    The epilogue then applies the activation. Fusion sets all three, and the author of an integer model the bias. Of
    int8 operands (or int16 a and int8 b) there is a bias (int32), an activation that integers have, and then `scale`:
    the sums are requantised to int8, else the output is int32.
    """

    name = "MatMul"
    by_grids = True
    what = "matmul"
    attributes = MatMulAttributes

    def infer(self, shapes: Sequence[Shape | None], attributes: MatMulAttributes) -> tuple[Shape, ...]:
        a, b, bias, _ = by_place(shapes)
        product = Product.of(a, b, attributes)
        n = product.n
        if bias is not None and view_2d(bias) != (1, n):
            raise ShapeError(f"the bias must have {n} values, not shape {bias}")
        if attributes.has_heads:
            return ((product.m, product.slabs * n) if attributes.joins else (product.slabs, product.m, n),)
        rows = a[-1:] if attributes.transpose_a else a[-2:-1]
        return ((*np.broadcast_shapes(a[:-2], b[:-2]), *rows, n),)

    def macs(self, shapes: Sequence[Shape | None], attributes: MatMulAttributes) -> int:
        a, b, *_ = by_place(shapes)
        product = Product.of(a, b, attributes)
        return product.slabs * product.m * product.k * product.n

    def evaluate(self, inputs: Sequence[Array | None], attributes: MatMulAttributes) -> tuple[Array, ...]:
        a, b, bias, residual = by_place(inputs)
        if attributes.has_heads:
            product = Product.of(a.shape, b.shape, attributes)
            a, b = behind(a, attributes.a_heads), behind(b, attributes.b_heads)[list(product.b_slabs)]
        a, b = _as_multiplied(a, attributes.transpose_a), _as_multiplied(b, attributes.transpose_b)
        found = finished(multiplied(a, b), bias, residual, attributes)
        return (found.swapaxes(0, 1).reshape(found.shape[1], -1) if attributes.joins else found,)

    def cut(self, node: Node, graph: Graph, machine: Machine) -> Tiling:
        product = self.product(node, graph)
        sizes = {"m": product.m, "k": product.k, "n": product.n}
        types = MatMulTypes.of(node, graph)
        types.check(node, machine)

        def needed(edges: Edges) -> int:
            apart = types.sums_apart(machine, -(-sizes["k"] // edges["k"]))
            return types.footprint(node.inputs, **edges).needed(apart, machine)

        edges = matmul_edges(sizes, machine, needed)
        m, k, n = edges["m"], edges["k"], edges["n"]
        grid = (product.slabs * -(-sizes["m"] // m), -(-sizes["k"] // k), -(-sizes["n"] // n))
        blocks = BlockPlan.of(machine) if machine.compiler.order == "blocked" else None
        apart = types.sums_apart(machine, steps=grid[1])
        slab = product.m if product.slabs > 1 else 0
        joins = node.attributes_as(MatMulAttributes).joins
        return Tiling(m, k, n, *grid, panels=None, sums_apart=apart, blocks=blocks, slab=slab, joins=joins)

    def sizes(self, node: Node, graph: Graph) -> tuple[int, int, int] | None:
        """Not of a batch: how its matrices are cut, whoever works on them along with it must know (`with_slabs`)."""
        product = self.product(node, graph)
        return (product.m, product.k, product.n) if product.slabs == 1 else None

    def slab(self, node: Node, graph: Graph) -> int:
        product = self.product(node, graph)
        return product.m if product.slabs > 1 else 0

    def plan(
        self, node: Node, graph: Graph, tiling: Tiling, share: Share, machine: Machine, sharing: int = 1
    ) -> panels.PanelPlan | None:
        if machine.compiler.order != "auto":
            return None
        a, b, c, sums, extra = MatMulTypes.of(node, graph).footprint(node.inputs, tiling.m, tiling.k, tiling.n)
        if tiling.sums_apart:  # the sums take what c takes otherwise, and the result stands beside them
            budget = panels.Budget(machine.sram.bytes, a, b, c, extra + c, sums=sums, apart=machine.accumulator.bytes)
        else:
            budget = panels.Budget(machine.sram.bytes, a, b, c, extra, sums=c)
        runs = [(m0 - share.m0, m1 - share.m0) for m0, m1 in tiling.runs(share.m0, share.m1)]
        tallest = max(m1 - m0 for m0, m1 in runs)
        pace = self.pace(node, graph, tiling, machine).among(sharing)
        return panels.choose(tallest, tiling.k_tiles, share.n1 - share.n0, budget, pace).over(runs)

    def pace(self, node: Node, graph: Graph, tiling: Tiling, machine: Machine) -> panels.Pace:
        x = node.attributes_as(MatMulAttributes)
        transposed = x.transpose_a, x.transpose_b
        return pace(tiling.m, tiling.k, tiling.n, machine, MatMulTypes.of(node, graph), transposed)

    def reads(self, node: Node, graph: Graph, tiling: Tiling) -> tuple[Read, ...]:
        x, product = node.attributes_as(MatMulAttributes), self.product(node, graph)
        m, k, n = (("m", tiling.m), ("k", tiling.k), ("n", tiling.n))
        of_a, of_b, of_bias, of_residual = by_place(node.inputs)
        found = [
            self._read(graph.tensors[of_a], tiling.flip(m, k, x.transpose_a), product.a_slabs, product.a_rows),
            self._read(graph.tensors[of_b], tiling.flip(k, n, x.transpose_b), product.b_slabs, product.b_rows),
        ]
        found = [each._replace(apart=BESIDE) if heads else each
                 for each, heads in zip(found, (x.a_heads, x.b_heads), strict=True)]  # fmt: skip
        if of_bias is not None:
            found.append(Read(of_bias, ("", 1), n))
        if of_residual is not None:
            found.append(Read(of_residual, m, n, apart=tiling.apart))
        return tuple(found)

    @staticmethod
    def _read(operand: Tensor, axes: tuple[Axis, Axis], slabs: SlabOf, slab: int) -> Read:
        apart = tiles_apart(slab, view_2d(operand.shape)[0], axes[0][1])
        return Read(operand.name, *axes, slabs if len(slabs) > 1 else (), apart)

    def lower(self, node: Node, graph: Graph, tiling: Tiling, program: ProgramBuilder) -> None:
        """Emit for each tile step: LOAD a, LOAD b, at the last step the epilogue's operands, EXECUTE, STORE."""
        attributes = node.attributes_as(MatMulAttributes)
        of_a, of_b, of_bias, of_residual = by_place(node.inputs)
        product = self.product(node, graph)
        a_edges = tiling.flip(tiling.m, tiling.k, attributes.transpose_a)
        b_edges = tiling.flip(tiling.k, tiling.n, attributes.transpose_b)
        a = Matrices.of(program, of_a, a_edges, (product.a_rows, product.a_cols), attributes.a_heads)
        b = Matrices.of(program, of_b, b_edges, (product.b_rows, product.b_cols), attributes.b_heads)
        bias = program.grid(of_bias, 1, tiling.n) if of_bias else None
        residual = program.grid(of_residual, tiling.m, tiling.n, slab=tiling.slab) if of_residual else None
        types = MatMulTypes.of(node, graph)
        final = 1 if tiling.sums_apart else tiling.k_tiles
        slabs = (0, product.n) if tiling.joins else (tiling.slab, 0)
        c = program.grid(node.output, tiling.m, tiling.n, final, *slabs)
        acc = None
        if tiling.sums_apart:
            sums = program.accumulators(node.output, types.sums)
            acc = program.grid(sums, tiling.m, tiling.n, tiling.k_tiles, *slabs)

        m, n, k = tiling.walk()
        last = k == tiling.k_tiles - 1
        slab, m_in_slab = tiling.in_slab(m)
        a_row, a_col = tiling.flip(m_in_slab, k, attributes.transpose_a)
        b_row, b_col = tiling.flip(k, n, attributes.transpose_b)
        a_ids = a.ids(np.array(product.a_slabs)[slab], a_row, a_col)
        b_ids = b.ids(np.array(product.b_slabs)[slab], b_row, b_col)
        of_c = (m_in_slab, slab * tiling.n_tiles + n) if tiling.joins else (m, n)
        bias_ids = bias.ids(0, n) if bias else None
        residual_ids = residual.ids(m, n) if residual else None
        rows = program.matmuls(
            len(m),
            a=a_ids,
            b=b_ids,
            c=c.ids(*of_c),
            bias=isa.NONE if bias_ids is None else np.where(last, bias_ids, isa.NONE),
            residual=isa.NONE if residual_ids is None else np.where(last, residual_ids, isa.NONE),
            acc=isa.NONE if acc is None else acc.ids(*of_c),
            m=np.minimum(tiling.m, product.m - m_in_slab * tiling.m),
            k=np.minimum(tiling.k, product.k - k * tiling.k),
            n=np.minimum(tiling.n, product.n - n * tiling.n),
            a_pieces=isa.NONE,
            taps=1,
            step=k,
            last=last,
            activation=np.where(last, attributes.activation.code if attributes.activation else isa.Activation.NONE, 0),
            a_transposed=attributes.transpose_a,
            b_transposed=attributes.transpose_b,
            dtype=types.operands,
            scale=np.where(last, np.float32(attributes.scale or 0), np.float32(0)),
        )
        step, row = tiling.fetches(m, n, k)
        slots = [Slot(isa.Opcode.LOAD, a_ids, fetch=step), Slot(isa.Opcode.LOAD, b_ids, fetch=step)]
        slots += [Slot(isa.Opcode.LOAD, ids, last, fetch=row) for ids in (bias_ids, residual_ids) if ids is not None]
        slots += [Slot(isa.Opcode.EXECUTE, rows), Slot(isa.Opcode.STORE, c.ids(*of_c), last)]
        macs = self.kept_macs(node, graph, attributes)
        ahead, horizon = tiling.ahead_and_horizon()
        program.layer(node.name, node.title, macs, slots, ahead, horizon, cores=tiling.core_of(m, n))

    @staticmethod
    def product(node: Node, graph: Graph) -> Product:
        """What the node multiplies."""
        a, b, *_ = by_place(node.inputs)
        attributes = node.attributes_as(MatMulAttributes)
        return Product.of(graph.tensors[a].shape, graph.tensors[b].shape, attributes)


@dataclass(frozen=True)
class Product:
    """A matmul as a machine of rows and columns sees it: so many products of matrices, (m, k) x (k, n) each.

    Attributes:
        a_slabs, b_slabs: of each product, the numbers of its matrices in a and in b.
        a_rows, b_rows, a_cols, b_cols: the rows and columns of a matrix of a, and of b, as it lies in memory.
    """

    m: int
    k: int
    n: int
    a_slabs: SlabOf
    b_slabs: SlabOf
    a_rows: int
    b_rows: int
    a_cols: int
    b_cols: int

    @property
    def slabs(self) -> int:
        """How many products there are."""
        return len(self.a_slabs)

    @classmethod
    def of(cls, a: Shape, b: Shape, attributes: MatMulAttributes) -> Product:
        """The product of tensors of these shapes. Matrices of `a` that are multiplied by the same one of `b`, and lie
        behind each other, are one: (..., m, k) x (k, n) is a single product of many rows.

        Raises:
            ShapeError: there is none.
        """
        if len(a) < 1 or len(b) < 1:
            raise ShapeError("an operand of a matmul must have at least one dimension")
        a, b = matrices(a, attributes.a_heads), matrices(b, attributes.b_heads)
        if len(b) < 2:
            raise ShapeError(f"the second operand of a matmul must have two dimensions or more, not shape {b}")
        if attributes.transpose_a and len(a) < 2:
            raise ShapeError(f"a transposed first operand must have two dimensions or more, not shape {a}")
        m, k = (1, *a)[-2:][::-1] if attributes.transpose_a else (1, *a)[-2:]
        kb, n = b[-2:][::-1] if attributes.transpose_b else b[-2:]
        if k != kb:
            raise ShapeError(f"inner dimensions must be equal, not {k} and {kb}")
        (rows_a, cols_a), (rows_b, cols_b) = (1, *a)[-2:], b[-2:]
        if attributes.has_heads:
            heads, shared = _heads(a, b)
            of_b = tuple(head * shared // heads for head in range(heads))
            return cls(m, k, n, tuple(range(heads)), of_b, rows_a, rows_b, cols_a, cols_b)
        try:
            batch = np.broadcast_shapes(a[:-2], b[:-2])
        except ValueError:
            raise ShapeError(f"the leading dimensions {a[:-2]} and {b[:-2]} do not broadcast") from None
        of_a, of_b = ((1,) * (len(batch) + 2 - len(x)) + x[:-2] for x in ((1, *a)[-max(2, len(a)) :], b))
        while batch and not attributes.transpose_a and of_b[-1] == 1 and of_a[-1] == batch[-1]:
            m, batch, of_a, of_b = m * batch[-1], batch[:-1], of_a[:-1], of_b[:-1]
        rows_a = k if attributes.transpose_a else m
        return cls(m, k, n, slab_of(batch, of_a), slab_of(batch, of_b), rows_a, rows_b, cols_a, cols_b)


class Matrices(NamedTuple):
    """The tiles of an operand that is many matrices: their grid, and the tiles from one matrix to the next."""

    grid: Grid
    down: int
    right: int

    @classmethod
    def of(
        cls, program: ProgramBuilder, tensor: str, edges: tuple[int, int], size: tuple[int, int], heads: int
    ) -> Matrices:
        """Of matrices of `size`, which lie behind each other, or so many `heads` beside each other, cut by `edges`."""
        if heads:
            return cls(program.grid(tensor, *edges, across=size[1]), 0, -(-size[1] // edges[1]))
        return cls(program.grid(tensor, *edges, slab=size[0]), -(-size[0] // edges[0]), 0)

    def ids(self, matrix: Ids, row: Ids, col: Ids) -> Ids:
        return self.grid.ids(matrix * self.down + row, matrix * self.right + col)


def matrices(shape: Shape, heads: int) -> Shape:
    """The shape of an operand that has its matrices beside each other, as if they lay behind each other."""
    if not heads:
        return shape
    if len(shape) != 2 or shape[1] % heads:
        raise ShapeError(f"an operand of {heads} heads must have two dimensions, the second a multiple of {heads}, "
                         f"not shape {shape}")  # fmt: skip
    return heads, shape[0], shape[1] // heads


def behind(x: Array, heads: int) -> Array:
    """The matrices of an operand behind each other."""
    return x.reshape(len(x), heads, -1).swapaxes(0, 1) if heads else x


def _heads(a: Shape, b: Shape) -> tuple[int, int]:
    """How many matrices two operands have, of which each of b is multiplied by as many of a that follow each other."""
    if len(a) != 3 or len(b) != 3 or a[0] % b[0]:
        raise ShapeError(f"the heads of {a} must be a multiple of those of {b}")
    return a[0], b[0]


def _as_multiplied(x: Array, transposed: bool) -> Array:
    return x.swapaxes(-1, -2) if transposed else x


def pace(
    m: int, k: int, n: int, machine: Machine, types: MatMulTypes, transposed: tuple[bool, bool] = (False, False)
) -> panels.Pace:
    """What the panels' estimate needs to know of a machine, for tiles of m x k x n elements."""
    packed = types.packed.tile_bytes(k, n) if types.packed else 0
    of_a, of_b = transposed
    found = cost.matmul_cycles(
        m, k, n, 1, machine, a_transposed=of_a, b_transposed=of_b, dtype=types.operands, packed=packed
    )
    setup, busy, hold = (int(x) for x in found)
    execute = max(busy, hold + setup)
    dram = float(1 / machine.memory_bytes_per_cycle)
    a, b, stored = types.item(types.operands), types.second_item, types.item(types.result)
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
    if constant_b is None or isinstance(constant_b, Blocked) or (alpha == 1.0 and not transpose_b):
        b = context.value(node.inputs[1])
    else:
        b = context.weight(node.inputs[1], scaled(constant_b, alpha, transpose_b))
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
        c = context.weight(node.inputs[2], scaled(constant_c, beta))
    else:
        c = graph.mul(context.value(node.inputs[2]), beta, name=f"{node.name}/beta")
    return graph.add(y, c, name=node.name)
