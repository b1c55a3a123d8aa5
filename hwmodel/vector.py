"""The vector unit: how many cycles its operations occupy the lanes.

`lanes` elements are worked upon at a time. A *pass* is one trip of them through the unit, a cycle each; an
operation takes as many passes as the classes of its steps say (`VectorOp.costs`): of class c, `c_cost`.

**Elementwise** operations fill the lanes across the ends of rows (a tile is packed in SRAM):

    busy = ceil(rows x cols / lanes) x passes

**A fold** does that once for each of its taps, and at the end adds the bias and applies the activation:

    busy = ceil(rows x cols / lanes) x (taps x passes + passes of add, if there is a bias, + those of the activation)

**A reduction** works row by row: the lanes take `lanes` elements of one row at a time and combine them with what
they hold, ceil(cols / lanes) steps of the class add (sum) or simple (maximum). Then a tree combines the lanes'
partial results, half as many at each level. It is pipelined and takes a row at a time, so the rows follow each
other at the pace of the lanes, and only the last one's way through the tree is seen, as latency:

    busy    = rows x ceil(cols / lanes) x passes
    latency = ceil(log2(min(lanes, cols))) x reduce_level_cycles, beside `latency_cycles`

Two simplifications: rows shorter than the lanes leave the others idle (none are packed beside each other), and
an addition's own latency within a lane is taken to be hidden (by the steps of other rows). The order in which the
engine adds is its own (kernels.hpp) and the same on every machine.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from minisim.hwmodel.config import Machine
from minisim.hwmodel.isa import NONE, Activation, Schedule, Table, VectorOp, is_reduction
from minisim.hwmodel.sections import Vector

Cycles = npt.NDArray[np.int64]

STEPS = sorted({name for op in VectorOp for name in op.costs})
"""The classes of steps that have a cost of their own."""


def passes(op: VectorOp, vector: Vector) -> int:
    """Passes over the lanes for each group of elements, of all steps; a key that is 0 leaves it to `simple_cost`."""
    return int(_passes_by_code(_costs(vector))[op])


def _costs(vector: Vector) -> tuple[int, ...]:
    return tuple(getattr(vector, f"{name}_cost") or vector.simple_cost for name in STEPS)


@lru_cache(maxsize=256)
def _passes_by_code(costs: tuple[int, ...]) -> Cycles:
    """`passes` of all operations, by their codes, where the steps have these costs; to be read only."""
    cost = dict(zip(STEPS, costs, strict=True))
    return np.array([sum(cost[name] for name in op.costs) for op in VectorOp], dtype=np.int64)


def vector_cycles(op: npt.ArrayLike, rows: npt.ArrayLike, cols: npt.ArrayLike, machine: Machine) -> Cycles:
    """Busy cycles of vector operations that work through rows x cols elements (`Schedule.vector_shape`)."""
    op, rows, cols = (np.asarray(x, dtype=np.int64) for x in (op, rows, cols))
    lanes = machine.vector.lanes
    groups = np.where(is_reduction(op), rows * -(-cols // lanes), -(-rows * cols // lanes))
    return np.asarray(groups * _passes_by_code(_costs(machine.vector))[op])


def operation_cycles(schedule: Schedule, vectors: Table, machine: Machine) -> Cycles:
    """Busy cycles of these rows of `vectors`."""
    busy = vector_cycles(vectors["op"], *schedule.vector_shape(vectors), machine)
    taps = vectors["taps"].astype(np.int64)
    groups = -(-vectors["rows"].astype(np.int64) * vectors["cols"] // machine.vector.lanes)
    return np.where(taps > 0, busy * taps + groups * tail_passes(vectors, machine), busy)


def tail_passes(vectors: Table, machine: Machine) -> Cycles:
    """Passes over the lanes at the end of a fold: for its bias, and its activation."""
    of_activation = {Activation.RELU: VectorOp.RELU, Activation.SIGMOID: VectorOp.SIGMOID}
    last = np.zeros(len(Activation), dtype=np.int64)
    for code, op in of_activation.items():
        last[code] = passes(op, machine.vector)
    bias = (vectors["src2"] != NONE) * passes(VectorOp.ADD, machine.vector)
    return np.asarray(bias + last[vectors["activation"]])


def tree_cycles(op: npt.ArrayLike, cols: npt.ArrayLike, machine: Machine) -> Cycles:
    """Cycles from the last pass of a reduction until its tree has the result; 0 for other operations."""
    wide = np.minimum(np.asarray(cols, dtype=np.int64), machine.vector.lanes)
    levels = np.frexp(wide - 1)[1]  # the bits of wide - 1: ceil(log2(wide)), exactly
    return np.asarray(np.where(is_reduction(op), levels * machine.vector.reduce_level_cycles, 0))
