"""What passes between layers, and between chip and DRAM: edges of the model's graph, and the traffic of each tensor."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from minisim.hwmodel import isa
from minisim.hwmodel.bursts import Rectangles
from minisim.hwmodel.sparsity import whole_tensors
from minisim.reports.run_record import RunRecord

Pairs = npt.NDArray[np.int64]

MOST_TENSORS = 400
"""Tensors whose traffic is told by name, those with the most of it; the others are one sum."""


def edges(schedule: isa.Schedule) -> list[list[int]]:
    """Pairs of layers, (writes, reads): the second one reads a part of what the first one has written."""
    writes, reads = _touched(schedule)
    by_storage: dict[int, list[tuple[int, int]]] = {}
    for layer, tensor in writes.tolist():
        by_storage.setdefault(int(schedule.tensors["storage"][tensor]), []).append((layer, tensor))
    extents, found = whole_tensors(schedule), set()
    for layer, tensor in reads.tolist():
        for other, written in by_storage.get(int(schedule.tensors["storage"][tensor]), ()):
            if other != layer and _overlap(extents, written, tensor):
                found.add((other, layer))
    return [list(pair) for pair in sorted(found)]


def _touched(schedule: isa.Schedule) -> tuple[Pairs, Pairs]:
    """(layer, tensor) of all that is written by a compute unit, and of all that one reads, or a gather as indices."""
    opcode, row = schedule.stream["opcode"], schedule.stream["row"]
    shape = (len(schedule.layers), len(schedule.tensors))
    writes, reads = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    for code, table, operands, target in (
        (isa.Opcode.EXECUTE, schedule.matmuls, isa.MATMUL_OPERANDS, "c"),
        (isa.Opcode.VECTOR, schedule.vectors, isa.VECTOR_OPERANDS, "dst"),
    ):
        ops = np.flatnonzero(opcode == code)
        x, layer = table[row[ops]], schedule.stream["layer"][ops]
        for name in operands:
            used = x[name] != isa.NONE
            (writes if name == target else reads)[layer[used], schedule.tiles["tensor"][x[name][used]]] = True
        owner, pieces = isa.pieces_of(schedule.pieces, x)
        reads[layer[owner], schedule.tiles["tensor"][schedule.pieces["tile"][pieces]]] = True
    loads = np.flatnonzero(opcode == isa.Opcode.LOAD)
    lists = schedule.transfers["list"][row[loads]]
    used = lists != isa.NONE
    reads[schedule.stream["layer"][loads[used]], schedule.tiles["tensor"][lists[used]]] = True
    return np.argwhere(writes), np.argwhere(reads)


def _overlap(tensors: Rectangles, one: int, other: int) -> bool:
    """Whether two views of one buffer share an element; of views with unlike rows: whether their bytes may."""
    (a, width, rows, pitch), (b, of_other, rows_of_other, its_pitch) = (
        [int(column[tensor]) for column in tensors] for tensor in (one, other)
    )
    if a + (rows - 1) * pitch + width <= b or b + (rows_of_other - 1) * its_pitch + of_other <= a:
        return False
    if pitch != its_pitch or not pitch:
        return True
    start = (b - a) % pitch  # of the other one's row, within a row of the first
    return start < width or start + of_other > pitch


def traffic(record: RunRecord) -> dict[str, Any]:
    """Bytes of each tensor that the DMAs load and store, the most first."""
    schedule, moved = record.schedule, record.costs.bytes
    opcode, row = schedule.stream["opcode"], schedule.stream["row"]
    read, written = (
        _by_tensor(schedule, row[opcode == code], moved[opcode == code]) for code in (isa.Opcode.LOAD, isa.Opcode.STORE)
    )
    order = np.argsort(-(read + written), kind="stable")
    order = order[(read + written)[order] > 0]
    told, whole = [], whole_tensors(schedule)
    for i in order[:MOST_TENSORS].tolist():
        t = schedule.tensors[i]
        size = int(whole.rows[i] * whole.row_bytes[i])
        told.append([schedule.tensor_names[i], isa.Role(t["role"]).name.lower(), size, int(read[i]), int(written[i])])
    rest = order[MOST_TENSORS:]
    return {"tensors": told, "others": [len(rest), int(read[rest].sum()), int(written[rest].sum())]}


def _by_tensor(schedule: isa.Schedule, rows: Pairs, moved: Pairs) -> Pairs:
    tensor = schedule.tiles["tensor"][schedule.transfers["tile"][rows]]
    sums = np.zeros(len(schedule.tensors), dtype=np.int64)
    np.add.at(sums, tensor, moved)
    return sums
