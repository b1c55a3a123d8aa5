"""A trace for https://ui.perfetto.dev: what every unit did, and what it waited for.

    load DMA    a slice per operation while its unit works: [begin, done)    "load matmul: a[0:32,32:64]"
      channel   likewise, of each channel after the first, if there are any
      queue     a slice where the head of the unit's queue had to wait       "waits for matrix"
    store DMA, matrix, vector: likewise
    DRAM        a slice per transfer while the DRAM serves it                "read", "write"

Every slice has the layer of its operation, under the name that the layer has in all reports; where the tile's tensor is
called otherwise (a fused layer's result, a scratch value), it stands behind it.

Several cores have a group of such tracks each, beside the one DRAM.

A cycle is as long as the clock's period. Perfetto counts whole nanoseconds, so cycle c stands at
ceil(c x period): exact at 1 GHz, 500 MHz and so on, else less than 1 ns late.

A trace file is a sequence of protobuf messages and is written in pieces, so memory does not grow with the
run. Names are interned: a slice holds a number, and each text is in the file once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from minisim.errors import MissingExtraError
from minisim.hwmodel.cost import ceil_divide
from minisim.hwmodel.isa import TARGETS, Opcode, Queue, Schedule
from minisim.hwmodel.timeline import WAITED_FOR
from minisim.reports.run_record import RunRecord
from minisim.reports.write import atomic_path

Cycles = npt.NDArray[np.int64]

DESCRIBED = 50_000
"""Operations up to which a slice carries its operation's full text; in longer runs opcode, tile and layer."""

PIECE = 16_384
"""Slices that are protobuf objects at a time."""

ROOT, DRAM_TRACK = 1, 90
"""Ids of tracks; see also `unit_track` and `queue_track`."""

TITLES = {Queue.LOAD: "load DMA", Queue.STORE: "store DMA", Queue.MATRIX: "matrix", Queue.VECTOR: "vector"}

WAITS = ("", *(f"waits for {name}" for name in ("load", "store", "matrix", "vector")), "waits for a place in flight",
         "waits for another core")  # fmt: skip
"""What the slices of waits are called, by the codes of `Timeline.waited_for`."""

_SEQUENCE = 1  # any number but 0: all packets are of one sequence, and so share the interned names
_LAYER, _OPERATION, _FOR = 1, 2, 3  # ids of the names of a slice's details


@dataclass(frozen=True)
class Slices:
    """The slices of one track, ascending and disjoint.

    Attributes:
        begin, end: cycles.
        name: ids of interned names, from 1.
        op: stream positions of the operations that work, or wait.
        awaited: of waits, where they are described, stream positions of the operations that were waited for, -1 where
            there is none; else empty.
    """

    track: int
    begin: Cycles
    end: Cycles
    name: Cycles
    op: Cycles
    awaited: Cycles


def core_track(core: int) -> int:
    """The id of the track that groups the units of one of several cores."""
    return 100_000 + core


def unit_track(lane: int, channel: int = 0) -> int:
    """The id of the track of the unit of a lane (core * 4 + queue), or of a channel of it."""
    if channel:
        return 200_000 + 64 * lane + channel
    return 10 * (lane + 1) + (1000 if lane >= len(Queue) else 0)


def memory_track(row: int) -> int:
    """The id of a row of the memory's service; the first is `DRAM_TRACK`."""
    return 300_000 + row if row else DRAM_TRACK


def queue_track(lane: int) -> int:
    """The id of the track of the waits at the head of a lane's queue."""
    return unit_track(lane) + 1


def write_trace(record: RunRecord, path: str | Path) -> None:
    """Write the run as a Perfetto trace; some 40 bytes per operation, and as much again for each wait and transfer.

    Raises:
        MissingExtraError: the package perfetto is not installed.
        OutputError: the file cannot be written.
    """
    protos = load_protos()
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        write_trace_to(file, record, protos)


def load_protos() -> ModuleType:
    """Perfetto's generated message classes.

    Raises:
        MissingExtraError: the package perfetto is not installed.
    """
    try:
        return import_module("perfetto.protos.perfetto.trace.perfetto_trace_pb2")
    except ImportError:
        raise MissingExtraError.of("perfetto", "trace", "writing a trace (timeline.csv needs none)") from None


def write_trace_to(file: IO[bytes], record: RunRecord, protos: ModuleType) -> None:
    """Write the trace to an open file."""
    names, tracks = slices(record)
    rows = sum(track.track == DRAM_TRACK or track.track >= memory_track(1) for track in tracks)
    file.write(_header(record, names, rows, protos).SerializeToString())
    for track in tracks:
        for first in range(0, len(track.begin), PIECE):
            file.write(_piece(track, slice(first, first + PIECE), record, protos).SerializeToString())


def slices(record: RunRecord) -> tuple[list[str], list[Slices]]:
    """The names (id 1 first) and the tracks of a run."""
    schedule, t = record.schedule, record.timeline
    transfers = ["read", "write"]
    work_name, works = _operation_names(schedule, first=1 + len(WAITS) + len(transfers))
    none = np.zeros(0, dtype=np.int64)
    tracks = []
    lanes = schedule.lane_ops()
    for lane, ops in enumerate(lanes):
        for channel in np.unique(t.channel[ops]).tolist():
            its = ops[t.channel[ops] == channel]
            tracks.append(Slices(unit_track(lane, channel), t.begin[its], t.done[its], work_name[its], its, none))
        head = np.maximum(t.issue[ops], np.concatenate([none, np.zeros(1, np.int64), _left(record, ops)])[:-1])
        waited = (t.waited_for[ops] != 0) & (head < t.start[ops])
        its = ops[waited]
        name = 1 + t.waited_for[its].astype(np.int64)
        awaited = _awaited(record, its, lanes) if len(schedule) <= DESCRIBED else none
        tracks.append(Slices(queue_track(lane), head[waited], t.start[its], name, its, awaited))
    for row, moves in enumerate(_service_rows(record)):
        name = 1 + len(WAITS) + schedule.stream["opcode"][moves].astype(np.int64)
        tracks.append(Slices(memory_track(row), t.dram_begin[moves], t.dram_end[moves], name, moves, none))
    return [*WAITS, *transfers, *works], tracks


def _service_rows(record: RunRecord) -> list[npt.NDArray[np.intp]]:
    """The transfers by when the memory served them, in as few rows as they do not overlap in; at least one."""
    t = record.timeline
    moves = np.flatnonzero(record.schedule.stream["opcode"] <= Opcode.STORE)
    moves = moves[np.argsort(t.dram_begin[moves], kind="stable")]
    if t.answers is None:
        return [moves]  # one after the other
    row, ends = np.zeros(len(moves), dtype=np.int64), [0]
    for i, (begin, end) in enumerate(zip(t.dram_begin[moves].tolist(), t.dram_end[moves].tolist(), strict=True)):
        row[i] = next((r for r, free in enumerate(ends) if free <= begin), len(ends))
        ends[row[i] : row[i] + 1] = [end]
    return [moves[row == r] for r in range(len(ends))]


def _awaited(record: RunRecord, ops: npt.NDArray[np.intp], lanes: Sequence[npt.NDArray[np.intp]]) -> Cycles:
    """Of each of `ops` the operation whose retirement ended its wait; -1 for a place in flight, which any gives."""
    schedule, waited_for = record.schedule, record.timeline.waited_for[ops]
    found = np.full(len(ops), -1, dtype=np.int64)
    for i, (op, code) in enumerate(zip(ops.tolist(), waited_for.tolist(), strict=True)):
        if 1 <= code <= len(Queue):
            own = int(schedule.stream["core"][op]) * len(Queue)
            found[i] = lanes[own + code - 1][schedule.stream["wait"][op, code - 1] - 1]
        elif WAITED_FOR[code] == "sync":
            others = (int(lanes[lane][count - 1]) for lane, count in schedule.syncs_of(op))
            found[i] = max(others, key=lambda other: int(record.timeline.end[other]))
    return found


def _left(record: RunRecord, ops: npt.NDArray[np.intp]) -> Cycles:
    """When each of `ops`, of one queue, had left the head of the queue: with channels and bursts that is its start."""
    dma, t = record.machine.dma, record.timeline
    early = dma.channels > 1 or dma.has_bursts or dma.dimensions > 2
    return np.maximum.accumulate(t.start[ops]) if early else t.begin[ops]


def _operation_names(schedule: Schedule, first: int) -> tuple[Cycles, list[str]]:
    """For every operation the id of its name, from `first` on, and the names: opcode, layer, tile written or moved."""
    opcode, row = schedule.stream["opcode"], schedule.stream["row"]
    tile = np.zeros(len(schedule), dtype=np.int64)
    for code, (table, column) in TARGETS.items():
        mine = opcode == code
        tile[mine] = getattr(schedule, table)[column][row[mine]]
    layer, tiles = schedule.stream["layer"].astype(np.int64), max(1, len(schedule.tiles))
    distinct, name = np.unique((layer * tiles + tile) * len(Opcode) + opcode, return_inverse=True)
    names = []
    for key in distinct.tolist():
        which, code = divmod(key, len(Opcode))
        of, t = divmod(which, tiles)
        names.append(f"{Opcode(code).name.lower()} {schedule.layer_names[of]}: {schedule.tile_name(t)}")
    return first + name.astype(np.int64), names


def _header(record: RunRecord, names: list[str], rows: int, protos: ModuleType) -> Any:
    """The tracks, of them `rows` of the memory's, and the interned names."""
    trace = protos.Trace()
    for track, parent, title, rank in _tracks(record, rows):
        descriptor = trace.packet.add(trusted_packet_sequence_id=_SEQUENCE).track_descriptor
        descriptor.uuid, descriptor.name, descriptor.sibling_order_rank = track, title, rank
        descriptor.child_ordering = protos.TrackDescriptor.EXPLICIT
        if parent:
            descriptor.parent_uuid = parent
    trace.packet[0].sequence_flags = protos.TracePacket.SEQ_INCREMENTAL_STATE_CLEARED
    interned = trace.packet[0].interned_data
    for i, name in enumerate(names, 1):
        interned.event_names.add(iid=i, name=name)
    for i, name in ((_LAYER, "layer"), (_OPERATION, "operation"), (_FOR, "waits for")):
        interned.debug_annotation_names.add(iid=i, name=name)
    for i, name in enumerate(record.schedule.layer_names, 1):
        interned.debug_annotation_string_values.add(iid=i, str=name.encode())
    return trace


def _tracks(record: RunRecord, rows: int) -> Iterator[tuple[int, int, str, int]]:
    """Id, parent's id, title and rank among its siblings."""
    yield ROOT, 0, f"{record.model} on {record.config}", 0
    cores = record.schedule.cores
    for core in range(cores):
        parent = ROOT if cores == 1 else core_track(core)
        if cores > 1:
            yield parent, ROOT, f"core {core}", core
        for queue in Queue:
            lane = core * len(Queue) + queue
            yield unit_track(lane), parent, TITLES[queue], queue
            yield queue_track(lane), unit_track(lane), "queue", 0
            for channel in range(1, record.machine.dma.channels if queue <= Queue.STORE else 1):
                yield unit_track(lane, channel), unit_track(lane), f"channel {channel}", channel
    memory = "L2 and DRAM" if record.machine.l2.bytes else "DRAM"
    yield DRAM_TRACK, ROOT, memory, len(Queue) if cores == 1 else cores
    for row in range(1, rows):
        yield memory_track(row), DRAM_TRACK, "at the same time", row


def _piece(track: Slices, part: slice, record: RunRecord, protos: ModuleType) -> Any:
    """Some slices of a track as a Trace message: two packets each, in order."""
    period = record.machine.clock.frequency / Fraction(10**9)  # cycles per nanosecond
    begin, end = (ceil_divide(cycles[part], period).tolist() for cycles in (track.begin, track.end))
    schedule, ops, awaited = record.schedule, track.op[part], track.awaited[part]
    layers: list[int] = (schedule.stream["layer"][ops] + 1).tolist()
    describe = len(schedule) <= DESCRIBED
    event, packet, detail = protos.TrackEvent, protos.TracePacket, protos.DebugAnnotation
    needs, opens, closes = packet.SEQ_NEEDS_INCREMENTAL_STATE, event.TYPE_SLICE_BEGIN, event.TYPE_SLICE_END
    trace = protos.Trace()
    add = trace.packet.add
    for i, name in enumerate(track.name[part].tolist()):
        details = [detail(name_iid=_LAYER, string_value_iid=layers[i])]
        if describe:
            details.append(detail(name_iid=_OPERATION, string_value=schedule.describe(int(ops[i]))))
            if len(awaited) and awaited[i] >= 0:
                details.append(detail(name_iid=_FOR, string_value=_with_lane(schedule, int(awaited[i]))))
        opening = event(type=opens, track_uuid=track.track, name_iid=name, debug_annotations=details)
        closing = event(type=closes, track_uuid=track.track)
        add(timestamp=begin[i], trusted_packet_sequence_id=_SEQUENCE, sequence_flags=needs, track_event=opening)
        add(timestamp=end[i], trusted_packet_sequence_id=_SEQUENCE, track_event=closing)
    return trace


def _with_lane(schedule: Schedule, op: int) -> str:
    """An operation's text behind its queue: ``load: LOAD x[0:32,0:32] -> 0x0``; of several cores ``c1.load: ...``."""
    row = schedule.stream[op]
    return f"{schedule.lane_name(int(row['core']) * len(Queue) + int(row['queue']))}: {schedule.describe(op)}"
