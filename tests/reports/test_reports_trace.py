"""The trace, read back with perfetto's own messages, is the timeline."""

from __future__ import annotations

import math
import sys
import time
from collections import defaultdict
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.accesses import accesses
from support.golden import Golden

import minisim as ms
from minisim.errors import MissingExtraError
from minisim.hwmodel.isa import Opcode, Queue
from minisim.hwmodel.timeline import WAITED_FOR
from minisim.reports import RunRecord, trace, write_reports, write_trace
from minisim.reports.places import Stays
from minisim.reports.trace import counters, messages, tracks
from minisim.reports.trace import slices as slices_module

from .conftest import Record

pb = pytest.importorskip("perfetto.protos.perfetto.trace.perfetto_trace_pb2")


class Read:
    """A trace file: slices per track as (begin, end, name, details), titles of tracks, their parents and ranks."""

    def __init__(self, path: Path) -> None:
        message = pb.Trace()
        message.ParseFromString(path.read_bytes())
        names, keys, texts = {}, {}, {}
        self.titles: dict[int, str] = {}
        self.places: dict[int, tuple[int, int]] = {}
        self.slices: dict[int, list[Any]] = defaultdict(list)
        self.counters: dict[int, list[tuple[int, float]]] = defaultdict(list)
        self.units: dict[int, str] = {}
        self.arrows: dict[int, list[tuple[int, int, bool]]] = defaultdict(list)  # id: (op, track, ends), as in the file
        for packet in message.packet:
            interned = packet.interned_data
            for named in (*interned.event_names, *interned.debug_annotation_names):
                assert named.iid, "0 is no id: viewers take it for none"
            names.update({n.iid: n.name for n in packet.interned_data.event_names})
            keys.update({n.iid: n.name for n in packet.interned_data.debug_annotation_names})
            texts.update({n.iid: n.str.decode() for n in packet.interned_data.debug_annotation_string_values})
            if packet.HasField("track_descriptor"):
                self.titles[packet.track_descriptor.uuid] = packet.track_descriptor.name
                counter = packet.track_descriptor.counter
                self.units[packet.track_descriptor.uuid] = counter.unit_name or str(counter.unit or "")
                self.places[packet.track_descriptor.uuid] = (
                    packet.track_descriptor.parent_uuid, packet.track_descriptor.sibling_order_rank,
                )  # fmt: skip
            elif packet.HasField("track_event"):
                event = packet.track_event
                if event.type == pb.TrackEvent.TYPE_COUNTER:
                    value = event.counter_value or event.double_counter_value
                    self.counters[event.track_uuid].append((packet.timestamp, value))
                    continue
                on_track = self.slices[event.track_uuid]
                if event.type == pb.TrackEvent.TYPE_SLICE_BEGIN:
                    details = {
                        keys[d.name_iid]: texts[d.string_value_iid] if d.string_value_iid else d.uint_value
                        for d in event.debug_annotations
                    }
                    on_track.append([packet.timestamp, None, names[event.name_iid], details])
                else:
                    assert on_track[-1][1] is None
                    on_track[-1][1] = packet.timestamp
                op = on_track[-1][3].get("op", -1)
                for ids, ends in ((event.flow_ids, False), (event.terminating_flow_ids, True)):
                    for each in ids:
                        self.arrows[each].append((op, event.track_uuid, ends))


TOLD = {
    "load": "waits for load",
    "store": "waits for store",
    "matrix": "waits for matrix",
    "vector": "waits for vector",
    "outstanding": "waits for a place in flight",
    "sync": "waits for another core",
}


def written(record: RunRecord, tmp_path: Path) -> Read:
    write_trace(record, tmp_path / "t")
    return Read(tmp_path / "t")


@pytest.mark.parametrize("config", ["npu_32x32", "edge_8x8", "tpu_like_128x128"])
def test_slices_are_the_timelines_operations(config: str, record: Record, tmp_path: Path) -> None:
    r = record("gemm:96x64x80", config)
    read, t = written(r, tmp_path), r.timeline
    period = Fraction(10**9) / r.machine.clock.frequency
    for queue in Queue:
        ops = np.flatnonzero(r.schedule.stream["queue"] == queue)
        slices = read.slices[trace.unit_track(queue)]
        assert [s[0] for s in slices] == [math.ceil(int(c) * period) for c in t.begin[ops]]
        assert [s[1] for s in slices] == [math.ceil(int(c) * period) for c in t.done[ops]]
        assert [s[3]["operation"] for s in slices] == [r.schedule.describe(int(op)) for op in ops]
        assert all(s[3]["layer"] == r.schedule.layer_names[0] for s in slices)
        assert all(s[2].split()[0] == Opcode(o).name.lower()
                   for s, o in zip(slices, r.schedule.stream["opcode"][ops], strict=True))  # fmt: skip


@pytest.mark.parametrize(
    ("name", "spec", "overrides"),
    [
        ("one-core", "gemm:16x16x8", ["dma.channels=3", "dma.max_outstanding=1"]),
        ("two-cores", "softmax:8x40", ["cores.count=2", "dma.setup_cycles=30", "dram.latency=10ns"]),
        ("bursts", "gemm:16x16x8", ["dma.max_burst_beats=2", "dma.outstanding_bursts=2", "control.queue_depth=1"]),
    ],
)
def test_the_whole_trace(
    golden: Golden, record: Record, tmp_path: Path, name: str, spec: str, overrides: list[str]
) -> None:
    """Every track with its parent and its rank, in the order of the file, and what is on it."""
    r = record(spec, "edge_8x8", "sram.bytes=2KiB", "clock.frequency=1GHz", *overrides)
    read, lines = written(r, tmp_path), []
    for track, title in read.titles.items():
        parent, rank = read.places[track]
        lines.append(f"{title} [{rank} of {read.titles.get(parent, 'all')}]")
        for begin, end, text, details in read.slices[track]:
            told = "; ".join(f"{key}: {value}" for key, value in details.items())
            lines.append(f"    {begin}-{end} {text}; {told}")
        if points := read.counters[track]:
            at, highest = max(points, key=lambda point: point[1])
            lines.append(f"    {len(points)} points of {read.units[track]}, the highest {highest:.4g} at {at}")
    for each, uses in sorted(read.arrows.items()):
        lines.append(f"{each}: {' -> '.join(f'{op} end' if ends else str(op) for op, _, ends in sorted(uses))}")
    golden.check(f"trace-{name}.txt", "\n".join(lines) + "\n")


def test_waits_end_where_operations_start(record: Record, tmp_path: Path) -> None:
    r = record("gemm:96x64x80", "edge_8x8")
    assert r.machine.clock.frequency == 400_000_000
    read, t = written(r, tmp_path), r.timeline
    for queue in Queue:
        ops = np.flatnonzero(r.schedule.stream["queue"] == queue)
        expected, before = [], 0
        for op in ops:
            head = max(before, int(t.issue[op]))
            if t.waited_for[op] and head < t.start[op]:
                text = TOLD[WAITED_FOR[t.waited_for[op]]]
                expected.append((math.ceil(head * 2.5), math.ceil(int(t.start[op]) * 2.5), text))
            before = int(t.begin[op])
        assert [tuple(s[:3]) for s in read.slices[trace.queue_track(queue)]] == expected


def test_dram_slices_are_the_transfers(record: Record, tmp_path: Path) -> None:
    r = record()
    slices = written(r, tmp_path).slices[trace.DRAM_TRACK]
    assert sum(end - begin for begin, end, *_ in slices) == r.costs.dram.sum()
    assert all(a[1] <= b[0] for a, b in pairwise(slices))
    assert sum(s[2] == "read" for s in slices) == r.schedule.counts()[Opcode.LOAD]


def test_every_slice_is_on_a_titled_track(record: Record, tmp_path: Path) -> None:
    read = written(record("gemm:32x32x32"), tmp_path)
    assert set(read.slices) | set(read.counters) <= set(read.titles)
    assert next(iter(read.titles.values())) == "gemm on npu_32x32"
    assert {"load DMA", "store DMA", "matrix", "vector", "DRAM"} <= set(read.titles.values())


def test_long_runs_are_quick_small_and_without_texts(record: Record, tmp_path: Path) -> None:
    """A hundred thousand operations in a third of a second; here with room for a busy test machine."""
    r = record("gemm:1408x1408x1408", "npu_32x32", "sram.bytes=1MiB")
    assert len(r.schedule) > trace.DESCRIBED
    began = time.perf_counter()
    write_trace(r, tmp_path / "t")
    assert time.perf_counter() - began < 5
    assert (tmp_path / "t").stat().st_size < 80 * len(r.schedule)
    assert not any(text in (tmp_path / "t").read_bytes() for text in (b"EXECUTE c[", b"LOAD a["))


def test_without_perfetto_the_extra_is_named(record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "perfetto.protos.perfetto.trace.perfetto_trace_pb2", None)
    with pytest.raises(MissingExtraError, match=r"perfetto.*minisim-npu\[trace\]"):
        write_reports(record(), tmp_path / "out", trace=True)
    assert not (tmp_path / "out").exists()
    names = [path.name for path in write_reports(record(), tmp_path / "out", with_timeline=True)]
    assert "timeline.csv" in names and "trace.perfetto-trace" not in names


def test_several_cores_have_a_group_of_tracks_each(record: Record, tmp_path: Path) -> None:
    r = record("gemm:96x64x80", "npu_32x32", "cores.count=3", "dram.bandwidth=1000GB/s", "dma.bytes_per_cycle=256")
    read = written(r, tmp_path)
    assert [read.titles[trace.core_track(core)] for core in range(3)] == ["core 0", "core 1", "core 2"]
    for lane, ops in enumerate(r.schedule.lane_ops()):
        found = read.slices[trace.unit_track(lane)]
        assert [tuple(s[:2]) for s in found] == list(
            zip(r.timeline.begin[ops].tolist(), r.timeline.done[ops].tolist(), strict=True)
        )
    assert len(read.slices[trace.DRAM_TRACK]) == (r.schedule.stream["opcode"] <= Opcode.STORE).sum()


def test_tracks_of_64_cores_have_different_ids() -> None:
    lanes = range(64 * len(Queue))
    ids = [trace.ROOT, trace.DRAM_TRACK, *(trace.core_track(core) for core in range(64))]
    ids += [track for lane in lanes for track in (trace.unit_track(lane), trace.queue_track(lane))]
    assert len(set(ids)) == len(ids)


FUSED = """import minisim as ms

def model():
    g = ms.Graph("fused")
    x = g.input("x", (32, 64))
    h = g.relu(x @ g.weight("w", [[0.1] * 128] * 64), name="a result")
    g.output(g.softmax(h, name="soft"), "y")
    return g
"""

KEYS = ("cores.count=3", "dma.max_outstanding=1", "sram.bytes=24KiB", "tile.m=16", "tile.n=16")


@pytest.fixture(scope="module")
def waits(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunRecord, Read]:
    """A run on three cores in which operations wait for all that there is to wait for."""
    folder = tmp_path_factory.mktemp("fused")
    (folder / "fused.py").write_text(FUSED)
    machine = ms.Machine().replace(*KEYS)
    record = ms.run(folder / "fused.py", machine, numerics=False).record()
    return record, written(record, folder)


def test_a_wait_says_what_for(waits: tuple[RunRecord, Read]) -> None:
    record, read = waits
    t, stream, lanes = record.timeline, record.schedule.stream, record.schedule.lane_ops()
    seen, several = set(), 0
    for lane, ops in enumerate(lanes):
        slices = read.slices[trace.queue_track(lane)]
        starts = {int(t.start[op]): op for op in ops.tolist() if t.waited_for[op]}
        for _, end, name, details in slices:
            op = starts[end]
            assert details["op"] == op
            kind = WAITED_FOR[t.waited_for[op]]
            seen.add(kind)
            assert name == TOLD[kind] and details["operation"] == record.schedule.describe(op)
            if kind == "outstanding":
                assert "waits for" not in details
                continue
            queue, _, text = details["waits for"].partition(": ")
            core = int(queue[1])
            assert (core != lane // len(Queue)) == (kind == "sync")
            assert kind == "sync" or queue == f"c{core}.{kind}"
            several += kind == "sync" and len(list(record.schedule.syncs_of(op))) > 1
            same = [int(o) for o in range(len(stream)) if record.schedule.describe(o) == text]
            assert any(t.end[o] == end and stream["core"][o] == core for o in same), (details, end)
    assert seen == set(TOLD) and several, "the test needs a wait of each kind, and one for several cores"


def test_a_layer_has_one_name_in_all_of_the_trace(waits: tuple[RunRecord, Read]) -> None:
    """Also where the tensor that it makes has another: of a matmul and a relu fused, say."""
    record, read = waits
    assert record.schedule.layer_names == ("matmul", "soft") and "a result" in record.schedule.tensor_names
    tracks = {trace.unit_track(lane): ops for lane, ops in enumerate(record.schedule.lane_ops())}
    for track, ops in tracks.items():
        layers = [details["layer"] for *_, details in read.slices[track]]
        assert len(layers) == len(ops) and set(layers) <= {"matmul", "soft"}
        for (_, _, name, details), op in zip(read.slices[track], ops, strict=False):
            assert details["layer"] == record.schedule.layer_names[record.schedule.stream["layer"][op]]
            opcode = Opcode(record.schedule.stream["opcode"][op]).name
            assert name.startswith(f"{opcode.lower()} {details['layer']}: ")
            assert details["operation"].startswith(f"{opcode} {name.partition(': ')[2]}")
    moves = np.flatnonzero(record.schedule.stream["opcode"] <= Opcode.STORE)
    moves = moves[np.argsort(record.timeline.dram_begin[moves], kind="stable")]
    of_layers = [record.schedule.layer_names[i] for i in record.schedule.stream["layer"][moves]]
    assert [s[3]["layer"] for s in read.slices[trace.DRAM_TRACK]] == of_layers


# -- layers, counters and arrows ---------------------------------------------------------------------------------


def stays_of(record: RunRecord) -> list[tuple[int, list[int]]]:
    """The tile and the operations of each stay, by brute force: from what brings or makes it to its last use."""
    found: list[tuple[int, list[int]]] = []
    running: dict[tuple[int, int, int], list[int]] = {}
    for access in accesses(record.schedule):
        if access.address < 0:
            continue
        key = (int(record.schedule.stream["core"][access.op]), access.address, access.tile)
        loaded = access.writes and record.schedule.stream["opcode"][access.op] == Opcode.LOAD
        if loaded or key not in running:
            running[key] = []
            found.append((access.tile, running[key]))
        if access.op not in running[key]:
            running[key].append(access.op)
    return found


def test_layers_reach_from_their_first_operation_to_their_last(waits: tuple[RunRecord, Read]) -> None:
    record, read = waits
    layer, t = record.schedule.stream["layer"], record.timeline
    rows = [track for track, title in read.titles.items() if track >= trace.LAYERS and not read.units[track]]
    told = {name: (begin, end, details["operations"]) for row in rows for begin, end, name, details in read.slices[row]}
    assert told == {
        name: (t.begin[layer == i].min(), t.end[layer == i].max(), (layer == i).sum())
        for i, name in enumerate(record.schedule.layer_names)
    }


def value_at(points: list[tuple[int, float]], cycle: int) -> float:
    return next((value for at, value in reversed(points) if at <= cycle), 0)


def test_counters_of_queues_and_sram_are_what_is_there(waits: tuple[RunRecord, Read]) -> None:
    record, read = waits
    t, sizes = record.timeline, record.schedule.tile_bytes()
    moments = sorted({*t.issue.tolist(), *t.start.tolist(), *t.end.tolist()})
    for lane, ops in enumerate(record.schedule.lane_ops()):
        points = read.counters[tracks.QUEUED + lane]
        for cycle in moments[::7]:
            waiting = ((t.issue[ops] <= cycle) & (cycle < t.start[ops])).sum()
            assert value_at(points, cycle) == waiting
    by_core: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    for tile, stay in stays_of(record):
        core = int(record.schedule.stream["core"][stay[0]])
        by_core[core].append((int(t.start[stay[0]]), int(max(t.end[stay])), int(sizes[tile])))
    assert len(by_core) == record.schedule.cores
    for core, each in by_core.items():
        for cycle in moments[::7]:
            in_use = sum(size for begin, end, size in each if begin <= cycle < end)
            assert value_at(read.counters[tracks.IN_SRAM + core], cycle) == in_use


def test_a_tile_that_is_loaded_again_is_another_stay(record: Record) -> None:
    r = record("gemm:96x64x96", "npu_32x32", "sram.bytes=16KiB", "compiler.order=mnk")
    stays = Stays.of(r)
    found = sorted((int(r.timeline.start[ops[0]]), int(r.schedule.tile_bytes()[tile])) for tile, ops in stays_of(r))
    assert sorted(zip(stays.begin.tolist(), stays.bytes.tolist(), strict=True)) == found
    transfers = r.schedule.transfers
    loads = r.schedule.stream["row"][r.schedule.stream["opcode"] == Opcode.LOAD]
    assert len(np.unique(transfers[["tile", "sram"]][loads])) < len(loads)  # to the same place, even


@pytest.mark.parametrize("overrides", [(), ("dram.model=banked", "dma.channels=2"), ("dma.max_burst_beats=4",)])
def test_the_bandwidth_of_the_dram_adds_up_to_its_bytes(
    record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: tuple[str, ...]
) -> None:
    r = record("gemm:96x64x80", "npu_32x32", *overrides)
    for steps in (2_000, 10):
        monkeypatch.setattr(counters, "STEPS", steps)
        read = written(r, tmp_path)
        for i, moved in enumerate(r.dram_moved):
            points = read.counters[tracks.DRAM_BYTES + i]
            total = sum(value * (after - at) for (at, value), (after, _) in pairwise(points))
            assert total == pytest.approx(moved.sum(), rel=1e-9) and points[-1][1] == 0
            assert max(value for _, value in points) <= float(r.machine.dram_bytes_per_cycle) * 1.001
            assert read.units[tracks.DRAM_BYTES + i] == "bytes/cycle"


def test_arrows_follow_tiles_and_lead_to_those_that_waited(waits: tuple[RunRecord, Read]) -> None:
    record, read = waits
    units, t = {trace.unit_track(lane) for lane in range(record.schedule.cores * len(Queue))}, record.timeline
    assert {track for uses in read.arrows.values() for _, track, _ in uses} <= units
    assert min(map(len, read.arrows.values())) == 2  # what nobody uses has no arrow
    told = [[(op, ends) for op, _, ends in uses] for uses in read.arrows.values()]
    arrows = [sorted(op for op, _ in uses) for uses in told]
    for stay in (sorted(ops) for _, ops in stays_of(record) if len(ops) > 1):
        assert any(sorted(uses) == [(op, op == stay[-1]) for op in stay] for uses in told)
        arrows.remove(stay)
    waited = [details["op"] for lane in range(record.schedule.cores * len(Queue))
              for *_, details in read.slices[trace.queue_track(lane)] if "waits for" in details]  # fmt: skip
    assert sum(len(arrow) - 1 for arrow in arrows) == len(waited)
    for awaited, *those in (sorted(arrow, key=lambda op: int(t.end[op])) for arrow in arrows):
        assert all(t.start[op] == t.end[awaited] for op in those)


def test_a_very_long_run_has_a_bounded_trace(record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices of many operations each; none of them is lost, and neither is a cycle of its unit."""
    r = record("gemm:256x256x256", "npu_32x32", "tile.m=8")
    for name, value in (("SINGLE", 100), ("DESCRIBED", 100), ("CELLS", 20)):
        monkeypatch.setattr(slices_module, name, value)
    monkeypatch.setattr("minisim.reports.trace.packets.DESCRIBED", 100)
    monkeypatch.setattr(counters, "POINTS", 30)
    read = written(r, tmp_path)
    t, most = r.timeline, 0
    for lane, ops in enumerate(r.schedule.lane_ops()):
        slices = read.slices[trace.unit_track(lane)]
        assert sum(details["operations"] for *_, details in slices) == len(ops)
        assert sum(details["busy cycles"] for *_, details in slices) == (t.done - t.begin)[ops].sum()
        assert all(a[1] <= b[0] for a, b in pairwise(slices)) and len(slices) <= 80
        most = max(most, len(slices))
        points = read.counters[tracks.QUEUED + lane]
        assert len(points) <= 31
    assert 10 < most < len(r.schedule) / 5
    assert max(value for _, value in read.counters[tracks.QUEUED + Queue.LOAD]) == r.machine.control.queue_depth


@given(
    st.lists(st.tuples(st.integers(0, 2**62), st.integers(0, 300), st.floats(allow_nan=False)), min_size=1, max_size=9)
)
def test_messages_by_the_column_are_protobufs(rows: list[tuple[int, int, float]]) -> None:
    numbers, names, doubles = (np.array(column) for column in zip(*rows, strict=True))
    some = names % 2 == 0
    inner = messages.message(pb.DebugAnnotation, len(rows), [("uint_value", numbers, some), ("name_iid", names, None)])
    outer = [("debug_annotations", inner, None), ("double_counter_value", doubles, None), ("flow_ids", numbers, some)]
    data = messages.message(pb.TrackEvent, len(rows), outer)
    found = [bytes(row[there]) for row, there in zip(data.data, data.there, strict=True)]
    assert b"".join(found) == data.written()
    for text, (number, name, double), there in zip(found, rows, some.tolist(), strict=True):
        event = pb.TrackEvent()
        (detail,) = [event.debug_annotations.add(name_iid=name)]
        event.double_counter_value = double
        if there:
            detail.uint_value = number
            event.flow_ids.append(number)
        read = pb.TrackEvent()
        read.ParseFromString(text)
        assert read == event
