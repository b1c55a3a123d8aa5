"""The packets of a trace file: its header, and the events of slices and counters by the column (`messages.py`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from types import ModuleType

import numpy as np
import numpy.typing as npt

from minisim.hwmodel.cost import ceil_divide
from minisim.hwmodel.isa import Queue, Schedule
from minisim.reports.run_record import RunRecord
from minisim.reports.trace.counters import Counter
from minisim.reports.trace.messages import Bytes, Mask, Value, joined, message
from minisim.reports.trace.slices import DESCRIBED, Slices, flows
from minisim.reports.trace.tracks import BYTES, COUNT, DRAM_TRACK, Track, unit_track

Cycles = npt.NDArray[np.int64]

PIECE = 65_536
"""Slices whose bytes are made at a time."""

SEQUENCE = 1
"""Any number but 0: all packets are of one sequence, and so share the interned names."""

DETAILS = ("layer", "operation", "waits for", "op", "bytes", "issued", "retired", "operations", "busy cycles")
"""What a slice tells beside its name; each has its position, from 1 on, as its id."""


def header(tracks: Iterable[Track], names: Sequence[str], texts: Sequence[str], protos: ModuleType) -> bytes:
    """The tracks and the interned names."""
    trace = protos.Trace()
    for track in tracks:
        descriptor = trace.packet.add(trusted_packet_sequence_id=SEQUENCE).track_descriptor
        descriptor.uuid, descriptor.name, descriptor.sibling_order_rank = track.id, track.title, track.rank
        descriptor.child_ordering = protos.TrackDescriptor.EXPLICIT
        if track.parent:
            descriptor.parent_uuid = track.parent
        if track.unit == BYTES:
            descriptor.counter.unit = protos.CounterDescriptor.UNIT_SIZE_BYTES
        elif track.unit == COUNT:
            descriptor.counter.unit = protos.CounterDescriptor.UNIT_COUNT
        elif track.unit:
            descriptor.counter.unit_name = track.unit
    trace.packet[0].sequence_flags = protos.TracePacket.SEQ_INCREMENTAL_STATE_CLEARED
    interned = trace.packet[0].interned_data
    for i, name in enumerate(names, 1):
        interned.event_names.add(iid=i, name=name)
    for i, name in enumerate(DETAILS, 1):
        interned.debug_annotation_names.add(iid=i, name=name)
    for i, text in enumerate(texts, 1):
        interned.debug_annotation_string_values.add(iid=i, str=text.encode())
    data: bytes = trace.SerializeToString()
    return data


class Packets:
    """Makes the packets of a run's slices and counters.

    Attributes:
        texts: the interned texts of details: layers' names, and in a short run what operations do, and with their unit
            those that were waited for.
    """

    def __init__(self, record: RunRecord, protos: ModuleType, found: Sequence[Slices]) -> None:
        schedule = record.schedule
        self._record, self._protos = record, protos
        self._described = len(schedule) <= DESCRIBED
        self._period = record.machine.clock.frequency / Fraction(10**9)  # cycles per nanosecond
        self.texts = list(schedule.layer_names)
        self._operation = len(self.texts) + 1  # the id of the first operation's text
        self._awaited = np.zeros(len(schedule), dtype=np.int64)  # ids of operations that were waited for
        if self._described:
            self.texts += [schedule.describe(op) for op in range(len(schedule))]
            awaited = np.unique(np.concatenate([np.zeros(0, np.int64), *(each.awaited for each in found)]))
            awaited = awaited[awaited >= 0]
            self._awaited[awaited] = len(self.texts) + 1 + np.arange(len(awaited))
            self.texts += [_with_lane(schedule, op) for op in awaited.tolist()]
            self._flows, self._ends = flows(record)
            self._waits = 1 + int(self._flows.max(initial=0))  # the id of the first operation's arrow to who awaits it
            self._ending = _ended_by(found, len(schedule))
        self._working = {unit_track(lane, channel) for lane in range(schedule.cores * len(Queue))
                         for channel in range(record.machine.dma.channels)}  # fmt: skip

    def of_slices(self, track: Slices) -> Iterator[bytes]:
        """Of each slice two packets, where it begins and where it ends, in pieces."""
        for first in range(0, len(track.begin), PIECE):
            part = slice(first, first + PIECE)
            yield self._events(track, part).written()

    def _events(self, track: Slices, part: slice) -> Bytes:
        event, n = self._protos.TrackEvent, len(track.begin[part])
        op = track.op[part]
        opening: list[tuple[str, Value, Mask | None]] = [
            ("type", event.TYPE_SLICE_BEGIN, None),
            ("track_uuid", track.track, None),
            ("name_iid", track.name[part], None),
            *(("debug_annotations", detail, rows) for detail, rows in self._details(track, part)),
        ]
        closing: list[tuple[str, Value, Mask | None]] = [
            ("type", event.TYPE_SLICE_END, None),
            ("track_uuid", track.track, None),
        ]
        if self._described and track.track in self._working:
            for column, ends in zip(self._flows[op].T, self._ends[op].T, strict=True):
                opening.append(("flow_ids", column, (column > 0) & ~ends))
                opening.append(("terminating_flow_ids", column, (column > 0) & ends))
            who = self._ending[op]
            opening.append(("terminating_flow_ids", self._waits + who, who >= 0))
            closing.append(("flow_ids", self._waits + op, self._awaited[op] > 0))
        return joined([self._packets(n, track.begin[part], message(event, n, opening), flags=True),
                       self._packets(n, track.end[part], message(event, n, closing))])  # fmt: skip

    def _details(self, track: Slices, part: slice) -> Iterator[tuple[Bytes, Mask | None]]:
        """What the slices tell, each with the rows that have it."""
        op, t, n = track.op[part], self._record.timeline, len(track.begin[part])

        def detail(name: str, kind: str, value: Cycles, rows: Mask | None = None) -> tuple[Bytes, Mask | None]:
            fields = [("name_iid", DETAILS.index(name) + 1, None), (kind, value, None)]
            return message(self._protos.DebugAnnotation, n, fields), rows

        yield detail("layer", "string_value_iid", track.layer[part] + 1)
        if len(track.count):
            yield detail("operations", "uint_value", track.count[part])
            if len(track.busy):
                yield detail("busy cycles", "uint_value", track.busy[part])
            return
        yield detail("op", "uint_value", op)
        if not self._described:
            return
        yield detail("operation", "string_value_iid", self._operation + op)
        if len(track.awaited):
            awaited = track.awaited[part]
            yield detail("waits for", "string_value_iid", self._awaited[awaited], awaited >= 0)
        if track.track in self._working:
            yield detail("issued", "uint_value", t.issue[op])
            yield detail("retired", "uint_value", t.end[op])
        moved = self._record.costs.bytes[op]
        if track.track in self._working or track.track == DRAM_TRACK:
            yield detail("bytes", "uint_value", moved, moved > 0)

    def _packets(self, n: int, cycles: Cycles, events: Bytes, flags: bool = False) -> Bytes:
        packet = self._protos.TracePacket
        fields: list[tuple[str, Value, Mask | None]] = [
            ("timestamp", ceil_divide(cycles, self._period), None),
            ("trusted_packet_sequence_id", SEQUENCE, None),
        ]
        if flags:
            fields.append(("sequence_flags", packet.SEQ_NEEDS_INCREMENTAL_STATE, None))
        fields.append(("track_event", events, None))
        return message(self._protos.Trace, n, [("packet", message(packet, n, fields), None)])

    def of_counter(self, counter: Counter) -> bytes:
        """A packet for each value."""
        event, n = self._protos.TrackEvent, len(counter.at)
        kind = "counter_value" if counter.value.dtype == np.int64 else "double_counter_value"
        fields: list[tuple[str, Value, Mask | None]] = [
            ("type", event.TYPE_COUNTER, None),
            ("track_uuid", counter.track, None),
            (kind, counter.value, None),
        ]
        return self._packets(n, counter.at, message(event, n, fields)).written()


def _ended_by(found: Sequence[Slices], n: int) -> Cycles:
    """Of each operation the one whose retirement ended its wait, -1 where it had none."""
    ended = np.full(n, -1, dtype=np.int64)
    for track in found:
        if len(track.awaited):
            ended[track.op] = track.awaited
    return ended


def _with_lane(schedule: Schedule, op: int) -> str:
    """An operation's text behind its queue: ``load: LOAD x[0:32,0:32] -> 0x0``; of several cores ``c1.load: ...``."""
    row = schedule.stream[op]
    return f"{schedule.lane_name(int(row['core']) * len(Queue) + int(row['queue']))}: {schedule.describe(op)}"
