"""How attention is walked: which rows of queries pass by a block of keys together, and in which tiles.

    for a group of strips of queries                     whose running results stay in SRAM
      for a block of keys                                which is loaded once for the group
        for a strip                                      scores, weights, products: of this block alone

The keys and values of all blocks pass by once for each group, so the more rows a group has, the less is moved:
2 Nq d + 2 Nkv d ceil(Nq / Br) elements for groups of Br rows. A machine that materialises computes the scores of all
strips and blocks first, then all weights, then all products: the operations are the same.

Of few queries a strip is small, and a vector operation on it is mostly start-up. What is done to a row does not depend
on the rows around it, so the strips of several heads can be one tile to the vector unit, a stack: each head's matmul
writes, or reads, its own rows of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from minisim.hwmodel import cost, isa
from minisim.hwmodel.config import Machine
from minisim.hwmodel.isa import VectorOp

KEYS = 256
"""The keys of a block, counted from key 0: a part of what attention means (ADR 53), the same on every machine."""

ROOM = 0.9
"""The part of the SRAM that a group and its block may take: the rest is for loads that run ahead."""

ALIVE = 2.5
"""Strips of scores that are there at a time for each one that is worked on."""

HEIGHTS = (8, 16, 32, 48, 64, 96, 128, 256, 512)
"""Rows of a strip that are tried, beside all of them."""

NARROW = (128, 64, 32)
"""Keys of a tile that are tried, beside those of a block."""

STRIP_BY_STRIP = 1.25
"""How much longer it takes without groups than the slowest unit: one waits for the other."""

NEARLY = 1.03
"""Estimates that differ by less are taken as equal."""

COARSE = 0.4
"""How much longer it takes if the strips that are worked on take all of the SRAM: their places are not free in time."""

TRIED, FEW_STEPS = 4, 400
"""Plans that are tried, of attention that has so many strips and blocks at most."""

SMALL = 64
"""Cycles of an operation on a strip below which more strips take turns, so that none waits for another's latency."""

TURNS, MANY_TURNS = 2, 8
"""Strips whose operations take turns: of large ones, and of small ones."""

STACKED, TALLEST = 0.4, 512
"""The part of the SRAM that a stack may take, and its rows: keys and values of all its heads are loaded beside it."""

SCALE = 4
"""The bytes of a scale of a row."""

PIPES = 3
"""Stacks of a core, of many heads: the array works for one while the vector unit does for another."""

FULL_PASSES = (VectorOp.REDUCE_MAX, VectorOp.SUB, VectorOp.EXP, VectorOp.REDUCE_SUM, VectorOp.MUL)
"""The operations on each score."""

COLUMN_PASSES = (VectorOp.MAX, VectorOp.SUB, VectorOp.EXP, VectorOp.MUL, VectorOp.ADD, VectorOp.MAX, VectorOp.DIV,
                 VectorOp.DIV)  # fmt: skip
"""The operations on a number of each row, for each block."""


@dataclass(frozen=True)
class AttentionPlan:
    """The tiles of attention, and their order.

    Attributes:
        rows: of a strip, and of each of its tiles.
        keys: of a tile of scores, as the array writes and reads it; a divisor of KEYS.
        width: keys of a tile of scores as the vector unit has it.
        inner, values: columns of a tile of queries and keys, and of values.
        group: strips that pass by a block of keys together.
        turns: strips of a group whose vector operations take turns.
        stack: heads whose strips are one tile to the vector unit; then a strip is all of a head's rows.
        on_chip: whether a strip goes all the way before the next one; else all scores come first, then all weights.
    """

    rows: int
    keys: int
    width: int
    inner: int
    values: int
    group: int = 1
    turns: int = 1
    stack: int = 1
    on_chip: bool = True

    @property
    def tall(self) -> int:
        """The rows of a tile as the vector unit has it."""
        return self.rows * self.stack

    def __str__(self) -> str:
        order = f"in groups of {self.group}" if self.on_chip else "materialised"
        order = f"of {self.stack} heads {order}" if self.stack > 1 else order
        return (
            f"strips of {self.rows} {order}, tiles of {self.keys} keys x {self.inner}, {self.values} columns of values"
        )


@dataclass(frozen=True)
class AttentionSizes:
    """What a plan is made for.

    Attributes:
        rows: of queries that lie together under one mask; no strip reaches beyond them.
        units: how many such runs of rows there are.
        keys, inner, values: columns of the scores, of queries and keys, and of values.
        steps: the operations on each score before its weight; `mask` the bytes of what they read beside it.
        period: after so many units, the masks are the same again; 0: no mask has more than a row.
        stored: the type of keys and values in memory; unpacking: what makes floats of a tile of them, if they are none.
    """

    rows: int
    units: int
    keys: int
    inner: int
    values: int
    dtype: isa.DType
    steps: tuple[VectorOp, ...] = ()
    mask: int = 0
    period: int = 0
    stored: isa.DType | None = None
    unpacking: VectorOp | None = None

    @property
    def kept(self) -> int:
        """The bytes of an element of keys and values in memory."""
        return isa.ITEMSIZE[self.dtype if self.stored is None else self.stored]

    @property
    def item(self) -> int:
        """The bytes of an element."""
        return isa.ITEMSIZE[self.dtype]

    @property
    def block_bytes(self) -> int:
        """The bytes of keys and values of a block."""
        return self.item * min(KEYS, self.keys) * (self.inner + self.values)

    @property
    def blocks(self) -> int:
        """How many blocks of keys there are."""
        return -(-self.keys // KEYS)


@lru_cache(maxsize=128)
def best_plans(sizes: AttentionSizes, machine: Machine) -> tuple[AttentionPlan, ...]:
    """The plans that an estimate of cycles likes best, the best one first; of about equal ones that of the fewest
    operations. Of attention that is soon scheduled a few, to be tried."""
    cycles = {plan: _cycles(plan, sizes, machine) for plan in _plans(sizes, machine)}
    soon = NEARLY * min(cycles.values())
    plans = sorted(cycles, key=lambda plan: (max(cycles[plan], soon), _operations(plan, sizes), cycles[plan]))
    steps = sizes.units * -(-sizes.rows // plans[0].rows) * sizes.blocks
    return tuple(plans[: TRIED if steps <= FEW_STEPS and plans[0].stack == 1 else 1])


def _operations(plan: AttentionPlan, sizes: AttentionSizes) -> int:
    """About how many operations there are, of those that tiles make more or fewer of."""
    tiles = -(-min(KEYS, sizes.keys) // plan.keys) * -(-sizes.inner // plan.inner) * -(-sizes.values // plan.values)
    strips = sizes.units * -(-sizes.rows // plan.rows) // plan.stack
    return strips * sizes.blocks * (len(COLUMN_PASSES) + tiles * len(FULL_PASSES))


def _plans(sizes: AttentionSizes, machine: Machine) -> list[AttentionPlan]:
    """Plans that have room; if there is none, the one of the smallest tiles."""
    tile, compiler = machine.tile, machine.compiler
    most = {edge: getattr(tile, f"max_{edge}" if edge in tile.follows else edge) for edge in ("m", "k", "n")}
    on_chip = compiler.slices and compiler.keep_on_chip and compiler.order == "auto"
    widest = min(KEYS, 1 << int(math.log2(min(most["k"], most["n"]))))
    found: list[AttentionPlan] = []
    for rows in _heights(sizes.rows, most["m"], tile.multiple_m):
        for keys in sorted({widest, *(each for each in NARROW if each < widest)}, reverse=True):
            plan = AttentionPlan(rows, keys, max(keys, isa.REDUCE_WIDTH), min(sizes.inner, most["k"]),
                                 min(sizes.values, most["n"]), on_chip=on_chip)  # fmt: skip
            if _largest(plan, sizes, machine) <= machine.sram.bytes:
                found += (*_grouped(plan, sizes, machine), *_stacked(plan, sizes, machine))
    return found or [_fitting(plan, sizes, machine)]


def _heights(rows: int, most: int, multiple: int) -> list[int]:
    """Heights of strips to choose among: `rows` evenly dealt out, as far as what divides heights allows it."""
    found = set()
    for height in HEIGHTS:
        even = -(-rows // -(-rows // min(height, most, rows)))
        whole = -(-even // multiple) * multiple
        found.add(min(whole if whole <= most else even, rows))
    return sorted(found)


def _fitting(plan: AttentionPlan, sizes: AttentionSizes, machine: Machine) -> AttentionPlan:
    """The plan with tiles small enough for the operands of one operation to have room."""
    while _largest(plan, sizes, machine) > machine.sram.bytes:
        if plan.rows > 8:
            plan = replace(plan, rows=-(-plan.rows // 2))
        elif plan.inner > isa.REDUCE_WIDTH or plan.values > isa.REDUCE_WIDTH:
            plan = replace(plan, inner=min(plan.inner, max(isa.REDUCE_WIDTH, -(-plan.inner // 2))),
                           values=min(plan.values, max(isa.REDUCE_WIDTH, -(-plan.values // 2))))  # fmt: skip
        elif plan.keys > isa.REDUCE_WIDTH:
            plan = replace(plan, keys=plan.keys // 2, width=plan.keys // 2)
        elif plan.rows > 1:
            plan = replace(plan, rows=-(-plan.rows // 2))
        elif plan.inner > 1 or plan.values > 1:
            plan = replace(plan, inner=-(-plan.inner // 2), values=-(-plan.values // 2))
        elif plan.keys > 1:
            plan = replace(plan, keys=plan.keys // 2)
        else:
            break  # that it does not fit is for the scheduler to say
    return plan


def _largest(plan: AttentionPlan, sizes: AttentionSizes, machine: Machine) -> int:
    """The bytes of the operands of the greediest operation."""
    item, sums = sizes.item, isa.ITEMSIZE[isa.ACCUMULATOR[sizes.dtype]]
    apart = 0 if machine.accumulator.bytes else sums
    m, tall, keys, inner, values = plan.rows, plan.tall, min(plan.keys, sizes.keys), plan.inner, plan.values
    scores = _bytes(item, m * inner, inner * keys, tall * keys) + _bytes(apart, tall * keys)
    products = _bytes(item, tall * keys, keys * values, 2 * tall * values) + _bytes(apart, tall * values)
    width = min(plan.width, sizes.keys)
    vector = _bytes(item, 3 * tall * width, 2 * tall) + _bytes(4, 2 * tall * isa.REDUCE_WIDTH)
    if sizes.unpacking is not None:
        tile = keys * max(inner, values)
        vector = max(vector, _bytes(item, tile) + _bytes(sizes.kept, tile) + _bytes(SCALE, keys))
    return max(scores, products, vector)


def _bytes(item: int, *elements: int) -> int:
    return sum(isa.align(item * each) for each in elements)


def _grouped(plan: AttentionPlan, sizes: AttentionSizes, machine: Machine) -> Iterator[AttentionPlan]:
    """The plan with as many strips in a group as there is room for beside a block of keys and values, or beside two of
    them; and strip by strip, as keys and values pass by."""
    strips = -(-sizes.rows // plan.rows)
    room, block = ROOM * machine.sram.bytes, sizes.block_bytes
    if _occupied(plan, sizes) + _passing(plan, sizes) <= room:
        yield plan
    busy = plan.rows * min(KEYS, sizes.keys) / machine.vector.lanes
    for blocks in (1, 2):
        turns = TURNS if busy >= SMALL else MANY_TURNS
        left = room - blocks * block
        held = sizes.item * plan.rows * (sizes.inner + sizes.values)
        while turns > 1 and _worked_on(plan, sizes) * turns + held * turns > left:
            turns //= 2
        group = int((left - turns * _worked_on(plan, sizes)) // held)
        if group >= strips:
            group = min(group // strips, sizes.units) * strips
        elif group > 1:
            group = -(-strips // -(-strips // group))
        if group > 1:
            yield replace(plan, group=group, turns=min(turns, group))


def _stacked(plan: AttentionPlan, sizes: AttentionSizes, machine: Machine) -> Iterator[AttentionPlan]:
    """The plan with as many heads in a stack as there is room for, if a strip is all of a head's rows: a part of the
    heads of a core, and of those after which masks begin anew."""
    if plan.rows < sizes.rows or plan.keys < plan.width:
        return
    common, mine = math.gcd(sizes.units, sizes.period), sizes.units // machine.cores.count
    most = min(common, mine // PIPES if mine >= 2 * PIPES else mine, TALLEST // plan.rows)
    for stack in range(most, 1, -1):
        found = replace(plan, stack=stack, group=sizes.units // stack, turns=1, on_chip=True)
        needed = _occupied(found, sizes) + _passing(found, sizes)
        fits = needed <= STACKED * machine.sram.bytes and _largest(found, sizes, machine) <= machine.sram.bytes
        if common % stack == 0 and fits:
            yield found
            return


def _worked_on(plan: AttentionPlan, sizes: AttentionSizes) -> int:
    """The bytes of a strip, or stack, that is worked on: scores and masks, and what there was of its result."""
    scores = plan.tall * min(KEYS, sizes.keys)
    return int(ALIVE * sizes.item + sizes.mask) * scores + sizes.item * plan.tall * sizes.values


def _occupied(plan: AttentionPlan, sizes: AttentionSizes) -> int:
    """The bytes that a group takes beside keys and values."""
    held = sizes.item * plan.tall * (sizes.inner + sizes.values)
    return plan.group * held + plan.turns * _worked_on(plan, sizes)


def _passing(plan: AttentionPlan, sizes: AttentionSizes) -> int:
    """The bytes of keys and values that are there at least: of a group that shares them a block, else two tiles."""
    tile = min(plan.keys, sizes.keys) * max(plan.inner, plan.values)
    before = 0 if sizes.unpacking is None else 2 * sizes.kept * tile
    if plan.group > 1 and plan.stack == 1:
        return sizes.block_bytes + before
    return 2 * sizes.item * tile + before


def _cycles(plan: AttentionPlan, sizes: AttentionSizes, machine: Machine) -> float:
    """About how long it takes: the slowest of the units, and a part of the others, which hide behind it not quite."""
    strips = sizes.units * -(-sizes.rows // plan.rows) // plan.stack
    steps = strips * sizes.blocks
    keys, m = min(KEYS, sizes.keys), plan.rows

    tiles = -(-keys // plan.width)
    full = (*FULL_PASSES, *sizes.steps) * tiles
    cols = [*[-(-keys // tiles)] * len(full), *[1] * len(COLUMN_PASSES), sizes.values]
    vector = cost.vector_cycles((*full, *COLUMN_PASSES, VectorOp.MUL), plan.tall, cols, machine)
    of_vector = float(np.maximum(vector, machine.vector.setup_cycles).sum())
    array = 0.0
    width = min(plan.keys, keys)
    for k, n, count in (
        (plan.inner, width, -(-sizes.inner // plan.inner) * -(-keys // width)),
        (width, plan.values, -(-sizes.values // plan.values) * -(-keys // width)),
    ):
        setup, busy, hold = (int(x) for x in cost.matmul_cycles(m, k, n, 1, machine, dtype=sizes.dtype))
        array += plan.stack * count * max(busy, hold + setup)
    groups = max(1, -(-strips // plan.group))
    moved = sizes.item * sizes.units * sizes.rows * (sizes.inner + sizes.values)
    passing = plan.stack * max(1, plan.group // -(-sizes.rows // m))
    moved += groups * passing * sizes.kept * sizes.keys * (sizes.inner + sizes.values)
    moved += sizes.mask * sizes.units * sizes.rows * sizes.keys
    load = moved * max(float(1 / machine.memory_bytes_per_cycle), 1 / machine.dma.bytes_per_cycle)
    unpacking = groups * passing * _unpacking(plan, sizes, machine)
    parts = (steps * of_vector + unpacking, steps * array, load)
    if plan.stack > 1:
        return max(parts) + (sum(parts) - max(parts)) / 10
    spare = machine.sram.bytes - _occupied(plan, sizes) - _passing(plan, sizes)
    if plan.group == 1:
        return STRIP_BY_STRIP * max(parts[0] + parts[1], load)
    if groups * sizes.blocks > 1 and spare < sizes.block_bytes / 2:
        return max(parts[:2]) + load  # a block can only be loaded once the last one is done
    coarse = 1 + COARSE * plan.turns * _worked_on(plan, sizes) / machine.sram.bytes
    return coarse * (max(parts) + (sum(parts) - max(parts)) / 10)


def _unpacking(plan: AttentionPlan, sizes: AttentionSizes, machine: Machine) -> float:
    """The cycles in which the vector unit makes floats of all keys and values of a head."""
    if sizes.unpacking is None:
        return 0
    keys, found = min(plan.keys, sizes.keys), 0
    for width, count in ((plan.inner, -(-sizes.inner // plan.inner)), (plan.values, -(-sizes.values // plan.values))):
        busy = int(cost.vector_cycles(sizes.unpacking, keys, width, machine))
        found += count * -(-sizes.keys // keys) * max(busy, machine.vector.setup_cycles)
    return found
