"""The tracks of a trace: their ids, titles, and where they stand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from minisim.hwmodel.isa import Queue
from minisim.reports.run_record import RunRecord

ROOT, DRAM_TRACK = 1, 90
"""Ids of tracks; see also the functions below."""

LAYERS, QUEUED, IN_SRAM, DRAM_BYTES = 400_000, 500_000, 600_000, 700_000
"""The first ids of the tracks of layers, and of the counters by lane, by core, and of reads and writes."""

TITLES = {Queue.LOAD: "load DMA", Queue.STORE: "store DMA", Queue.MATRIX: "matrix", Queue.VECTOR: "vector"}

BYTES, COUNT, PER_CYCLE = "bytes", "operations", "bytes/cycle"
"""The units of counters."""


class Track(NamedTuple):
    """A track; `unit` is that of a counter, "" where there are slices."""

    id: int
    parent: int
    title: str
    rank: int
    unit: str = ""


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


def all_tracks(record: RunRecord, memory_rows: int, layer_rows: int) -> Iterator[Track]:
    """All tracks of a run: those of layers first, then of each core its units, its SRAM, then the memory."""
    yield Track(ROOT, 0, f"{record.model} on {record.config}", 0)
    for row in range(layer_rows):
        yield Track(LAYERS + row, LAYERS if row else ROOT, "at the same time" if row else "layers", row - (row == 0))
    cores = record.schedule.cores
    for core in range(cores):
        parent = ROOT if cores == 1 else core_track(core)
        if cores > 1:
            yield Track(parent, ROOT, f"core {core}", core)
        for queue in Queue:
            lane = core * len(Queue) + queue
            yield Track(unit_track(lane), parent, TITLES[queue], queue)
            yield Track(queue_track(lane), unit_track(lane), "queue", 0)
            for channel in range(1, record.machine.dma.channels if queue <= Queue.STORE else 1):
                yield Track(unit_track(lane, channel), unit_track(lane), f"channel {channel}", channel)
            yield Track(QUEUED + lane, unit_track(lane), "queued", 100, COUNT)
        yield Track(IN_SRAM + core, parent, "SRAM in use", len(Queue), BYTES)
    memory = "L2 and DRAM" if record.machine.l2.bytes else "DRAM"
    yield Track(DRAM_TRACK, ROOT, memory, len(Queue) + 1 if cores == 1 else cores)
    for row in range(1, memory_rows):
        yield Track(memory_track(row), DRAM_TRACK, "at the same time", row)
    for i, title in enumerate(("read", "written")):
        yield Track(DRAM_BYTES + i, DRAM_TRACK, title, 1000 + i, PER_CYCLE)
