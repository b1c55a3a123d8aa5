"""The slices of a trace, track by track, as columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from minisim.hwmodel.isa import Opcode, Queue, Schedule
from minisim.hwmodel.timeline import WAITED_FOR
from minisim.reports.places import Stays, target_tiles
from minisim.reports.run_record import RunRecord
from minisim.reports.trace.tracks import LAYERS, memory_track, queue_track, unit_track

Cycles = npt.NDArray[np.int64]

DESCRIBED = 50_000
"""Operations up to which a slice carries its operation's full text and flows; in longer runs opcode, tile and layer."""

SINGLE = 500_000
"""Operations up to which each is a slice. Of more, those of a layer that begin in one of `CELLS` steps are one."""

CELLS = 20_000

FLOWS = 16
"""The most stays of tiles that arrows are drawn for at one operation: more of them are no picture."""

WAITS = ("", *(f"waits for {name}" for name in ("load", "store", "matrix", "vector")), "waits for a place in flight",
         "waits for another core")  # fmt: skip
"""What the slices of waits are called, by the codes of `Timeline.waited_for`."""


def _none() -> Cycles:
    return np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class Slices:
    """The slices of one track, ascending and disjoint.

    Attributes:
        begin, end: cycles.
        name: ids of interned names, from 1.
        layer: of each, the layer.
        op: stream positions of the operations that work, or wait; the first of several.
        awaited: of waits, where they are described, stream positions of the operations that were waited for, -1 where
            there is none; else empty.
        count, busy: where slices are of several operations, how many, and their own cycles; else empty.
    """

    track: int
    begin: Cycles
    end: Cycles
    name: Cycles
    layer: Cycles
    op: Cycles
    awaited: Cycles = field(default_factory=_none)
    count: Cycles = field(default_factory=_none)
    busy: Cycles = field(default_factory=_none)


def all_slices(record: RunRecord) -> tuple[list[str], list[Slices]]:
    """The names (id 1 first) and the tracks of a run."""
    schedule, t = record.schedule, record.timeline
    single = len(schedule) <= SINGLE
    transfers = ["read", "write"]
    first = 1 + len(WAITS) + len(transfers)
    work_name, works = _operation_names(schedule, first) if single else _layer_names(schedule, first)
    layer = schedule.stream["layer"].astype(np.int64)
    found = []
    lanes = schedule.lane_ops()
    for lane, ops in enumerate(lanes):
        for channel in np.unique(t.channel[ops]).tolist():
            its = ops[t.channel[ops] == channel]
            found.append(Slices(unit_track(lane, channel), t.begin[its], t.done[its], work_name[its], layer[its], its))
        found.append(_waits(record, lane, ops, lanes))
    for row, moves in enumerate(_service_rows(record, single)):
        name = 1 + len(WAITS) + schedule.stream["opcode"][moves].astype(np.int64)
        found.append(Slices(memory_track(row), t.dram_begin[moves], t.dram_end[moves], name, layer[moves], moves))
    if not single:
        found = [_merged(track, t.cycles) for track in found]
    names = [*WAITS, *transfers, *works]
    return [*names, *schedule.layer_names], [*_layers(record, 1 + len(names)), *found]


def _waits(record: RunRecord, lane: int, ops: Cycles, lanes: Sequence[Cycles]) -> Slices:
    """The waits at the head of a lane's queue."""
    schedule, t = record.schedule, record.timeline
    before = np.concatenate([np.zeros(1, np.int64), _left(record, ops)])[: len(ops)]
    head = np.maximum(t.issue[ops], before)
    waited = (t.waited_for[ops] != 0) & (head < t.start[ops])
    its = ops[waited]
    awaited = _awaited(record, its, lanes) if len(schedule) <= DESCRIBED else _none()
    name, layer = (column[its].astype(np.int64) for column in (t.waited_for, schedule.stream["layer"]))
    return Slices(queue_track(lane), head[waited], t.start[its], 1 + name, layer, its, awaited)


def _merged(track: Slices, cycles: int) -> Slices:
    """Slices of one name and layer that begin in the same cell as one; whatever their names, where that is too many."""
    cell = track.begin * CELLS // (cycles + 1)
    changes = np.diff(cell, prepend=-1) != 0
    finer = changes | (np.diff(track.layer, prepend=-1) != 0) | (np.diff(track.name, prepend=-1) != 0)
    first = np.flatnonzero(finer if finer.sum() <= 4 * CELLS else changes)
    if not len(first):
        return track
    busy = np.add.reduceat(track.end - track.begin, first)
    end = np.maximum.reduceat(track.end, first)
    columns = {name: getattr(track, name)[first] for name in ("begin", "name", "layer", "op")}
    count = np.diff(np.append(first, len(track.begin)))
    end = np.minimum(end, np.append(columns["begin"][1:], end[-1]))
    return replace(track, **columns, end=end, count=count, busy=busy)


def _layers(record: RunRecord, first_name: int) -> Iterator[Slices]:
    """From the beginning of each layer's first operation to the end of its last, in rows where they overlap."""
    layer, t, n = record.schedule.stream["layer"], record.timeline, len(record.schedule.layers)
    begin, end = np.full(n, t.cycles, dtype=np.int64), np.zeros(n, dtype=np.int64)
    np.minimum.at(begin, layer, t.begin)
    np.maximum.at(end, layer, t.end)
    some = np.flatnonzero(end > begin)
    count = np.bincount(layer, minlength=n)
    for row, which in enumerate(_rows(some[np.argsort(begin[some], kind="stable")], begin, end)):
        op = np.zeros(len(which), dtype=np.int64)
        yield Slices(LAYERS + row, begin[which], end[which], first_name + which, which, op, count=count[which])


def _rows(ordered: Cycles, begin: Cycles, end: Cycles) -> list[Cycles]:
    """What begins in this order, in as few rows as do not overlap; at least one."""
    row, ends = np.zeros(len(ordered), dtype=np.int64), [0]
    for i, (b, e) in enumerate(zip(begin[ordered].tolist(), end[ordered].tolist(), strict=True)):
        row[i] = next((r for r, free in enumerate(ends) if free <= b), len(ends))
        ends[row[i] : row[i] + 1] = [e]
    return [ordered[row == r] for r in range(len(ends))]


def _service_rows(record: RunRecord, single: bool) -> list[Cycles]:
    """The transfers by when the memory served them, in as few rows as they do not overlap in; at least one."""
    t = record.timeline
    moves = np.flatnonzero(record.schedule.stream["opcode"] <= Opcode.STORE)
    moves = moves[np.argsort(t.dram_begin[moves], kind="stable")]
    if t.answers is None or not single:
        return [moves]  # one after the other, or merged
    return _rows(moves, t.dram_begin, t.dram_end)


def _awaited(record: RunRecord, ops: Cycles, lanes: Sequence[Cycles]) -> Cycles:
    """Of each of `ops` the operation whose retirement ended its wait; -1 for a place in flight, which any gives."""
    schedule, code = record.schedule, record.timeline.waited_for[ops]
    found = np.full(len(ops), -1, dtype=np.int64)
    core = schedule.stream["core"][ops].astype(np.int64)
    for lane, of_lane in enumerate(lanes):
        queue = lane % len(Queue)
        mine = (code == queue + 1) & (core == lane // len(Queue))
        found[mine] = of_lane[schedule.stream["wait"][ops[mine], queue].astype(np.int64) - 1]
    for i in np.flatnonzero(code == WAITED_FOR.index("sync")).tolist():
        others = (int(lanes[lane][count - 1]) for lane, count in schedule.syncs_of(int(ops[i])))
        found[i] = max(others, key=lambda other: int(record.timeline.end[other]))
    return found


def _left(record: RunRecord, ops: Cycles) -> Cycles:
    """When each of `ops`, of one queue, had left the head of the queue: with channels and bursts that is its start."""
    dma, t = record.machine.dma, record.timeline
    early = dma.channels > 1 or dma.has_bursts or dma.dimensions > 2
    return np.maximum.accumulate(t.start[ops]) if early else t.begin[ops]


def _layer_names(schedule: Schedule, first: int) -> tuple[Cycles, list[str]]:
    """For every operation the id of its name in a long run: opcode and layer."""
    key = schedule.stream["layer"].astype(np.int64) * len(Opcode) + schedule.stream["opcode"]
    distinct, name = np.unique(key, return_inverse=True)
    pairs = (divmod(each, len(Opcode)) for each in distinct.tolist())
    return first + name.astype(np.int64), [f"{Opcode(c).name.lower()} {schedule.layer_names[of]}" for of, c in pairs]


def _operation_names(schedule: Schedule, first: int) -> tuple[Cycles, list[str]]:
    """For every operation the id of its name, from `first` on, and the names: opcode, layer, tile written or moved."""
    opcode, tile = schedule.stream["opcode"], target_tiles(schedule)
    layer, tiles = schedule.stream["layer"].astype(np.int64), max(1, len(schedule.tiles))
    distinct, name = np.unique((layer * tiles + tile) * len(Opcode) + opcode, return_inverse=True)
    names = []
    for key in distinct.tolist():
        which, code = divmod(key, len(Opcode))
        of, t = divmod(which, tiles)
        names.append(f"{Opcode(code).name.lower()} {schedule.layer_names[of]}: {schedule.tile_name(t)}")
    return first + name.astype(np.int64), names


# -- arrows --------------------------------------------------------------------------------------------------------


def flows(record: RunRecord) -> tuple[Cycles, npt.NDArray[np.bool_]]:
    """Of each operation the ids of the arrows through it, (operations, at most FLOWS), 0 where there are no more; and
    which of them end there.

    An arrow is the stay of a tile on chip: from what loads or makes it, through all that use it, to the last one.
    """
    stays, n = Stays.of(record), len(record.schedule)
    owner = stays.owner
    used = np.append(True, (np.diff(owner) != 0) | (np.diff(stays.op) != 0))[: len(owner)]  # each operation once
    op, owner = stays.op[used], owner[used]
    uses = np.bincount(owner, minlength=len(stays.first))
    last = np.append(np.diff(owner) != 0, True)[: len(owner)]
    several = uses[owner] > 1
    op, owner, last = op[several], owner[several], last[several]
    order = np.argsort(op, kind="stable")
    op, owner, last = op[order], owner[order], last[order]
    nth = np.arange(len(op)) - np.searchsorted(op, op)
    kept = nth < FLOWS
    width = int(nth[kept].max(initial=0)) + 1
    ids, ends = np.zeros((n, width), dtype=np.int64), np.zeros((n, width), dtype=bool)
    ids[op[kept], nth[kept]] = owner[kept] + 1
    ends[op[kept], nth[kept]] = last[kept]
    return ids, ends
