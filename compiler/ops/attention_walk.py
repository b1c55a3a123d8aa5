"""The uOps of attention: for each strip of queries and block of keys its scores, its weights, its product.

What depends on what is said once, in the order of a strip's own operations; in which order strips take their turns is
a number for each operation, by which all are sorted in the end (`Order`). So a machine that materialises has the same
operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minisim.compiler.attention_plan import KEYS
from minisim.compiler.attributes import SCORES, AttentionAttributes
from minisim.compiler.builder import ProgramBuilder, Slot
from minisim.compiler.graph import Graph, Node, view_2d
from minisim.compiler.grids import Grid
from minisim.compiler.ops.attention_kept import Kept
from minisim.compiler.ops.attention_operands import LOWEST, Beside, Operand, Part, Tiles, empty
from minisim.compiler.ops.attention_order import MULTIPLYING, SCORING, WEIGHING, Order
from minisim.compiler.ops.base import OPERATORS
from minisim.compiler.ops.elementwise import Elementwise, number_of
from minisim.compiler.ops.matmul import Matrices, Product
from minisim.compiler.program import Ids
from minisim.compiler.tiling import Tiling
from minisim.hwmodel import isa
from minisim.hwmodel.isa import VectorOp

LOADS = 4
"""Tiles that an operation reads, at most."""

AHEAD = 0.1
"""The part of the SRAM that is kept free for loads that run ahead."""

NEAR = 1.25
"""What is used again within so many times the uOps of a group at a block stays where it is."""


class _Rows(NamedTuple):
    """One operation of each strip, or of each part of it: when it comes, its row of operands, the tiles that it loads
    and stores (or NONE)."""

    keys: Ids
    table: isa.Table
    loads: Tiles
    stores: Tiles


class Walk:
    """The operations of one attention, as they are put together.

    Args:
        scores, products: what is multiplied; rows: of queries that lie together (`AttentionSizes`).
    """

    def __init__(
        self,
        node: Node,
        graph: Graph,
        tiling: Tiling,
        program: ProgramBuilder,
        scores: Product,
        products: Product,
        rows: int,
    ) -> None:
        assert tiling.attention is not None
        self.node, self.graph, self.tiling, self.program, self.plan = node, graph, tiling, program, tiling.attention
        self.attributes = node.attributes_as(AttentionAttributes)
        self.scores, self.products, self.rows = scores, products, rows
        self.dtype = graph.tensors[node.output].code
        stack = self.plan.stack
        self.strips, self.parts = np.arange(tiling.m_tiles), np.arange(tiling.m_tiles * stack)
        per_unit = -(-rows // self.plan.rows)
        self.unit, self.at = self.parts // per_unit, self.parts % per_unit
        self.heights = np.minimum(self.plan.rows, rows - self.at * self.plan.rows)
        self.tall = self.heights.reshape(-1, stack).sum(axis=1)
        self.all_rows = scores.slabs * scores.m
        self.blocks = -(-scores.n // KEYS)
        self.order = Order.of(tiling.core_of(self.strips, 0 * self.strips), self.plan, self.blocks)
        self.order_of_parts = self.order.repeated(stack)
        self.block = self._operation = 0
        self._names: dict[str, str] = {}
        self._kept_operands: dict[int, Kept | None] = {}
        self._rows: dict[isa.Opcode, list[_Rows]] = {isa.Opcode.EXECUTE: [], isa.Opcode.VECTOR: []}

    # -- the recipe ----------------------------------------------------------------------------------------

    def emit(self, macs: int) -> None:
        """All operations, as the layer of the node."""
        greatest = Operand(None, number=LOWEST[self.dtype])
        total: Operand | None = None
        y: list[Operand] | None = None
        for block in range(self.blocks):
            self.block, self._operation = block, 0
            x = [self._scored(keys) for keys in self._parts(self.plan.keys)]
            x = self._parts_of("scores", x)
            for i, step in enumerate(self.attributes.steps):
                x = self._stepped(step.op, step.operands, x, f"step{i}")
            higher = self._one(VectorOp.MAX, self._reduced(VectorOp.REDUCE_MAX, x, "max"), greatest, "greatest")
            e = self._each(VectorOp.EXP, [self._each(VectorOp.SUB, [x, higher], "shifted")], "exp")
            added = self._reduced(VectorOp.REDUCE_SUM, e, "sum")
            kept = None
            if total is None:
                total = added
            else:
                factor = self._one(VectorOp.EXP, self._one(VectorOp.SUB, greatest, higher, "lower"), None, "factor")
                kept = self._one(VectorOp.MUL, total, factor, "kept")
                total = self._one(VectorOp.ADD, kept, added, "total")
            greatest = higher
            divisor = self._one(VectorOp.MAX, total, Operand(None, number=1.0), "divisor")
            inverse = self._one(VectorOp.DIV, Operand(None, number=1.0), divisor, "inverse")
            share = None if kept is None else self._one(VectorOp.DIV, kept, divisor, "share")
            weights = self._each(VectorOp.MUL, [e, inverse], "weights")
            y = self._multiplied(weights, share, y)
        self._write(macs)

    def _parts(self, edge: int) -> list[tuple[int, int]]:
        """The keys of the block, in tiles of so many: the first and the one behind the last of each."""
        first, end = self.block * KEYS, min((self.block + 1) * KEYS, self.scores.n)
        return [(at, min(at + edge, end)) for at in range(first, end, edge)]

    def _scored(self, keys: tuple[int, int]) -> Operand:
        """The scores of each strip with the keys of a tile, summed up over the tiles of inner columns."""
        plan, product, attributes = self.plan, self.scores, self.attributes.scores
        slab, row = self._matrix(product)
        heads = np.array(product.b_slabs)[slab]
        q = self._matrices(self.node.present[0], product.m, plan.inner, product.k, attributes.a_heads)
        of_q = np.array(product.a_slabs)[slab]
        edges = Tiling.flip(plan.inner, plan.keys, attributes.transpose_b)
        k = Matrices.of(self.program, self.node.present[1], edges, (product.b_rows, product.b_cols), attributes.b_heads)
        kept = self._kept(1, edges, heads)
        steps = -(-product.k // plan.inner)
        column, first = keys[0] // plan.keys, keys[0]
        to = self._grid("scores", self.all_rows, product.n, plan.keys, self._final(steps) * plan.stack)
        c = self._part(to, column, self._final(steps))
        acc = self._sums(".scores", product.n, plan.keys, steps, column)
        for step in range(steps):
            at = Tiling.flip(0 * slab + step, 0 * slab + column, attributes.transpose_b)
            a, b = q.ids(of_q, row, step), k.ids(heads, *at)
            inner = min(plan.inner, product.k - step * plan.inner)
            if kept is not None:
                b = self._floats(kept, SCORING, (column, step), (keys[1] - first, inner), step, steps)
            self._execute(SCORING, Part.alone(a), b, c, acc, step, steps, k=inner, n=keys[1] - first,
                          b_transposed=attributes.transpose_b)  # fmt: skip
        return Operand(to.ids(self.strips, column), keys[1] - first)

    def _parts_of(self, name: str, written: list[Operand]) -> list[Operand]:
        """What tiles of `plan.keys` hold, in tiles of `plan.width`: the same ones, or another cut by way of DRAM."""
        return written if self.plan.keys == self.plan.width else self._tiles(name, final=0)

    def _tiles(self, name: str, final: int = 1) -> list[Operand]:
        """Tiles of the vector unit's, of the keys of the block."""
        grid = self._grid(name, self.all_rows, self.scores.n, self.plan.width, final)
        return [Operand(grid.ids(self.strips, a // self.plan.width), b - a) for a, b in self._parts(self.plan.width)]

    def _stepped(self, op: str, places: Sequence[int], x: list[Operand], name: str) -> list[Operand]:
        """An operation on the scores, with what lies under them."""
        operator = OPERATORS[op]
        assert isinstance(operator, Elementwise)
        operands = [x if place == SCORES else self._under(self.node.present[place]) for place in places]
        return self._each(operator.code, operands, name)

    def _under(self, name: str) -> Operand | list[Operand]:
        """What lies under the scores: a number, or for each tile of theirs one of its own."""
        number = number_of(self.graph.tensors[name])
        if number is not None:
            return Operand(None, number=number)
        rows, cols = view_2d(self.graph.tensors[name].shape)
        parts = self._parts(self.plan.width)
        if rows == 1:
            grid = self.program.grid(name, 1, self.plan.width if cols > 1 else 1)
            row = 0 * self.strips
        else:
            grid = self.program.grid(name, self.plan.tall, self.plan.width, slab=self._slab)
            row = self.strips % (rows // self.rows * -(-self.rows // self.plan.rows) // self.plan.stack)
        return [Operand(grid.ids(row, a // self.plan.width if cols > 1 else 0), b - a) for a, b in parts]

    def _each(self, op: VectorOp, operands: Sequence[Operand | list[Operand]], name: str) -> list[Operand]:
        """An operation on each tile of scores; an operand that is one for all has a number for each row."""
        found = self._tiles(name)
        for i, target in enumerate(found):
            self._vector(op, [x[i] if isinstance(x, list) else x for x in operands], target)
        return found

    def _one(self, op: VectorOp, x: Operand, y: Operand | None, name: str) -> Operand:
        """An operation on a number of each row."""
        target = self._column(name)
        self._vector(op, [x] if y is None else [x, y], target)
        return target

    def _reduced(self, op: VectorOp, x: list[Operand], name: str) -> Operand:
        """A reduction of each row of the block, which goes on from one tile to the next."""
        target, partial = self._column(name), None
        for i, part in enumerate(x):
            to = target
            if i < len(x) - 1:
                tiles = -(-KEYS // self.plan.width)
                grid = self._grid(f"{name}.partial", self.all_rows, self.blocks * tiles * isa.REDUCE_WIDTH,
                                  isa.REDUCE_WIDTH, 1, isa.partial_of(self.dtype))  # fmt: skip
                to = Operand(grid.ids(self.strips, self.block * tiles + i), isa.REDUCE_WIDTH)
            self._vector(op, [part], to, acc=partial)
            partial = to
        return target

    def _multiplied(self, weights: list[Operand], share: Operand | None, y: list[Operand] | None) -> list[Operand]:
        """The weights times their values, and behind that the share of what there was before."""
        plan, product, attributes = self.plan, self.products, self.attributes.products
        slab, _ = self._matrix(product)
        heads = np.array(product.b_slabs)[slab]
        edges = Tiling.flip(plan.keys, plan.values, attributes.transpose_b)
        kept = self._kept(2, edges, heads)
        v = Matrices.of(self.program, self.node.present[2], edges, (product.b_rows, product.b_cols), attributes.b_heads)
        cut = plan.keys != plan.width  # by way of DRAM
        grid = self._grid("weights", self.all_rows, self.scores.n, plan.keys, 0 if cut else 1)
        a = [self._part(grid, first // plan.keys) for first, _ in self._parts(plan.keys)]
        parts, columns = self._parts(plan.keys), -(-product.n // plan.values)
        is_last, found = self.block == self.blocks - 1, []
        for n in range(columns):
            cols = min(plan.values, product.n - n * plan.values)
            residual = None
            if share is not None and y is not None:
                shared, column = self._of_values("shared", 1), self._column_of_values(n)
                target = Operand(shared.ids(self.strips, column), cols)
                self._vector(VectorOp.MUL, [y[n], share], target, stage=MULTIPLYING)
                residual = self._part(shared, column)
            final = self._final(len(parts))
            if is_last:
                c = Part.alone(self._result(n, len(parts)))
            else:
                sums = self._of_values("sums", final * plan.stack)
                c = self._part(sums, self._column_of_values(n), final)
                found.append(Operand(sums.ids(self.strips, self._column_of_values(n)), cols))
            name, column = ".last" if is_last else ".sums", self.block * columns + n
            acc = self._sums(name, self.blocks * product.n, plan.values, len(parts), column, product.n)
            for step, (first, end) in enumerate(parts):
                at = Tiling.flip(0 * slab + first // plan.keys, 0 * slab + n, attributes.transpose_b)
                b = v.ids(heads, *at)
                if kept is not None:
                    b = self._floats(kept, MULTIPLYING, (first // plan.keys, n), (end - first, cols), step, len(parts))
                self._execute(MULTIPLYING, a[step], b, c, acc, step, len(parts), k=end - first, n=cols,
                              b_transposed=attributes.transpose_b, residual=residual)  # fmt: skip
        return found

    def _kept(self, place: int, edges: tuple[int, int], heads: Ids) -> Kept | None:
        """The keys, or the values, if they are no floats in memory; made once."""
        if place not in self._kept_operands:
            self._kept_operands[place] = Kept.of(
                self.node, self.graph, self.program, place, edges, heads, self.order_of_parts
            )
        return self._kept_operands[place]

    def _floats(self, kept: Kept, stage: int, at: tuple[int, int], size: tuple[int, int], step: int, steps: int) -> Ids:
        """The tile of floats that each part reads at a step of its product, made where the first part wants it."""
        operands, loads = kept.made(*at)
        table = empty(isa.VECTOR_DTYPE, isa.VECTOR_OPERANDS, len(kept.first))
        table["op"], table["dtype"], (table["rows"], table["cols"]) = kept.op, kept.dtype, size
        for name, tiles in operands.items():
            table[name] = tiles
        keys = self._keys_of_step(stage, step, steps) - 1
        self._add(isa.Opcode.VECTOR, keys[kept.first], table, loads, table["dst"])
        return kept.ids(*at)

    def _keys_of_step(self, stage: int, step: int, steps: int) -> Ids:
        """When it is each part's turn for a step of a product; the number before is for what makes its operand."""
        operation = self._operation + 2 * (self.parts % self.plan.stack * steps + step) + 1
        return self.order_of_parts.keys(self.block, stage, operation, self.plan.on_chip)

    # -- where things lie ----------------------------------------------------------------------------------

    def _matrix(self, product: Product) -> tuple[Ids, Ids]:
        """Of each part the product that it belongs to, and its number in that."""
        units = product.m // self.rows
        return self.unit // units, self.unit % units * -(-self.rows // self.plan.rows) + self.at

    def _matrices(self, name: str, rows: int, width: int, cols: int, heads: int, final: int = 0) -> Beside:
        """The tiles of queries, or of the result: matrices behind each other, or `heads` of them beside each other."""
        grid = self.program.grid(name, self.plan.rows, width, final, self.rows, cols if heads else 0)
        down = 0 if heads else rows // self.rows * -(-self.rows // self.plan.rows)
        return Beside(grid, down, -(-cols // width) if heads else 0)

    def _grid(
        self, name: str, rows: int, cols: int, width: int, final: int, dtype: isa.DType | None = None, across: int = 0
    ) -> Grid:
        """Tiles of a scratch tensor of this name, a row of them for each strip."""
        if name not in self._names:
            code = self.dtype if dtype is None else dtype
            self._names[name] = self.program.scratch(self.node.name, name, rows, cols, code)
        return self.program.grid(self._names[name], self.plan.tall, width, final, self._slab, across)

    @property
    def _slab(self) -> int:
        """The rows beyond which no tile of the vector unit's reaches; 0: a stack does."""
        return self.rows if self.plan.stack == 1 else 0

    def _part(self, grid: Grid, col: int, writes: int = 1) -> Part:
        """Of each part of a strip its rows of the tile in this column; so many writes make each, if matmuls do."""
        if self.plan.stack == 1:
            return Part.alone(grid.ids(self.strips, col))
        tiles = self.program.stack(grid, self.plan.rows, writes)
        return Part(tiles.ids(self.parts, col), grid.ids(self.parts // self.plan.stack, col))

    def _column(self, name: str) -> Operand:
        grid = self._grid(name, self.all_rows, self.blocks, 1, 1)
        return Operand(grid.ids(self.strips, self.block))

    def _result(self, n: int, steps: int) -> Ids:
        """The tiles of the node's output, which so many steps add up to."""
        product, heads = self.products, self.products.slabs * self.attributes.products.joins
        out = self._matrices(self.node.output, product.m, self.plan.values, product.n, heads, self._final(steps))
        return out.ids(*self._matrix(product), n)

    def _of_values(self, name: str, final: int) -> Grid:
        cols = self.products.n
        return self._grid(name, self.all_rows, self.blocks * cols, self.plan.values, final, across=cols)

    def _column_of_values(self, n: int) -> int:
        return self.block * -(-self.products.n // self.plan.values) + n

    def _final(self, steps: int) -> int:
        """The writes that make a tile of sums of so many steps complete."""
        return 1 if self._apart(steps) else steps

    def _apart(self, steps: int) -> bool:
        """Whether partial sums have tiles of their own."""
        is_other = isa.ACCUMULATOR[self.dtype] != self.dtype
        return steps > 1 and (is_other or self.program.machine.accumulator.bytes > 0)

    def _sums(self, name: str, cols: int, width: int, steps: int, col: int, across: int = 0) -> Ids | None:
        """The tiles of partial sums, if they have any of their own."""
        if not self._apart(steps):
            return None
        if name not in self._names:
            of = isa.ACCUMULATOR[self.dtype]
            self._names[name] = self.program.sums(self.node.output, name, self.all_rows, cols, of)
        grid = self.program.grid(self._names[name], self.plan.rows, width, steps, self.rows, across)
        return grid.ids(self.parts, col)

    # -- rows of operands ----------------------------------------------------------------------------------

    def _execute(
        self,
        stage: int,
        a: Part,
        b: Ids,
        c: Part,
        acc: Ids | None,
        step: int,
        steps: int,
        *,
        k: int,
        n: int,
        b_transposed: bool,
        residual: Part | None = None,
    ) -> None:
        """One step of a product of each part; the parts of a stack come one after the other, with all their steps."""
        last, stack = step == steps - 1, self.plan.stack
        residual = residual if last else None
        table = empty(isa.MATMUL_DTYPE, isa.MATMUL_OPERANDS, len(self.parts))
        table["a"], table["b"], table["c"] = a.tiles, b, c.tiles
        table["acc"] = isa.NONE if acc is None else acc
        table["residual"] = isa.NONE if residual is None else residual.tiles
        table["m"], table["k"], table["n"], table["taps"] = self.heights, k, n, 1
        table["step"], table["last"], table["b_transposed"], table["dtype"] = step, last, b_transposed, self.dtype
        loads = [a.places, b, table["residual"] if residual is None else residual.places]
        complete = last & ((c.places == c.tiles) | (self.parts % stack == stack - 1))
        keys = self._keys_of_step(stage, step, steps)
        self._operation += 2 * stack * steps if last else 0
        self._add(isa.Opcode.EXECUTE, keys, table, loads, np.where(complete, c.places, isa.NONE))

    def _vector(
        self, op: VectorOp, sources: Sequence[Operand], to: Operand, stage: int = WEIGHING, acc: Operand | None = None
    ) -> None:
        """An operation of the vector unit on each strip."""
        table = empty(isa.VECTOR_DTYPE, isa.VECTOR_OPERANDS, len(self.strips))
        table["op"], table["dtype"], table["rows"], table["cols"] = op, self.dtype, self.tall, to.cols
        for i, source in enumerate(sources):
            if source.tiles is None:
                table[f"imm{i}"] = source.number
            else:
                table[f"src{i}"] = source.tiles
        table["dst"] = to.tiles
        if acc is not None:
            table["acc"] = acc.tiles
        keys = self.order.keys(self.block, stage, self._operation, self.plan.on_chip)
        self._operation += 1
        self._add(isa.Opcode.VECTOR, keys, table, [table[name] for name in (*isa.VECTOR_SOURCES, "acc")], table["dst"])

    def _add(
        self, opcode: isa.Opcode, keys: Ids, table: isa.Table, loads: Sequence[Tiles | Ids], stores: Tiles | Ids
    ) -> None:
        """An operation of each strip or part, with the tiles that it loads, and stores if they are complete."""
        read = np.full((len(table), LOADS), isa.NONE, dtype=np.uint32)
        for i, tiles in enumerate(loads):
            read[:, i] = tiles
        self._rows[opcode].append(_Rows(keys, table, read, stores.astype(np.uint32)))

    def _write(self, macs: int) -> None:
        """The layer: all operations in their order."""
        keys, refs, loads, stores, executes = [], [], [], [], []
        for opcode, append in ((isa.Opcode.EXECUTE, self.program.matmuls), (isa.Opcode.VECTOR, self.program.vectors)):
            mine = [np.concatenate(parts) for parts in zip(*self._rows.pop(opcode), strict=True)]
            order = np.argsort(mine[0], kind="stable")
            mine = [column[order] for column in mine]
            table = mine[1]
            refs.append(append(len(table), **{name: table[name] for name in table.dtype.names or ()}))
            keys.append(mine[0])
            loads.append(mine[2])
            stores.append(mine[3])
            executes.append(np.full(len(table), opcode == isa.Opcode.EXECUTE))
        order = np.argsort(np.concatenate(keys), kind="stable")
        ref, is_execute, read, stored = (np.concatenate(x)[order] for x in (refs, executes, loads, stores))
        core = Order.core_of(np.concatenate(keys)[order])
        slots = [Slot(isa.Opcode.LOAD, read[:, i], read[:, i] != isa.NONE) for i in range(LOADS)]
        slots += [Slot(isa.Opcode.EXECUTE, ref, is_execute), Slot(isa.Opcode.VECTOR, ref, ~is_execute)]
        slots.append(Slot(isa.Opcode.STORE, stored, stored != isa.NONE))
        uops = sum(int(np.sum(slot.present)) for slot in slots)
        horizon = int(self.plan.group * uops / (len(self.strips) * self.blocks) * NEAR)
        cores = self.program.machine.cores.count
        ahead = int(AHEAD * self.program.machine.sram.bytes)
        self.program.layer(self.node.name, self.node.title, macs, slots, [ahead] * cores, [horizon] * cores, cores=core)
