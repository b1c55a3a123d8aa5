"""A trace for https://ui.perfetto.dev: what every unit did, what it waited for, and what was in use meanwhile.

    layers      a slice per layer, from its first operation to its last
    load DMA    a slice per operation while its unit works: [begin, done)    "load matmul: a[0:32,32:64]"
      channel   likewise, of each channel after the first, if there are any
      queue     a slice where the head of the unit's queue had to wait       "waits for matrix"
      queued    counter: operations that were issued and have not started
    store DMA, matrix, vector: likewise
    SRAM in use   counter: bytes of the places that hold a tile
    DRAM        a slice per transfer while the DRAM serves it                "read", "write"
      read, written   counters: bytes a cycle, the mean of each of 2,000 steps of the run

Every slice has the layer of its operation, under the name that the layer has in all reports; where the tile's tensor is
called otherwise (a fused layer's result, a scratch value), it stands behind it. Arrows follow a tile through its stay
on chip, load -> execute -> store, and lead from what was waited for to what waited.

Several cores have a group of such tracks each, beside the one DRAM.

A cycle is as long as the clock's period. Perfetto counts whole nanoseconds, so cycle c stands at
ceil(c x period): exact at 1 GHz, 500 MHz and so on, else less than 1 ns late.

A trace file is a sequence of protobuf messages and is written in pieces, so memory does not grow with the
run; of a very long one neither does the file (`slices.SINGLE`). Names are interned: a slice holds a number, and each
text is in the file once.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import IO

from minisim.errors import MissingExtraError
from minisim.reports.run_record import RunRecord
from minisim.reports.trace.counters import all_counters
from minisim.reports.trace.packets import Packets, header
from minisim.reports.trace.slices import DESCRIBED, all_slices
from minisim.reports.trace.tracks import (
    DRAM_TRACK,
    LAYERS,
    ROOT,
    all_tracks,
    core_track,
    memory_track,
    queue_track,
    unit_track,
)
from minisim.reports.write import atomic_path

__all__ = [
    "DESCRIBED",
    "DRAM_TRACK",
    "LAYERS",
    "ROOT",
    "core_track",
    "load_protos",
    "memory_track",
    "queue_track",
    "unit_track",
    "write_trace",
    "write_trace_to",
]


def write_trace(record: RunRecord, path: str | Path) -> None:
    """Write the run as a Perfetto trace; some 60 bytes per operation, and as much again for each wait and transfer.

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
    names, found = all_slices(record)
    memory = sum(each.track == DRAM_TRACK or memory_track(1) <= each.track < LAYERS for each in found)
    layers = sum(LAYERS <= each.track < LAYERS + len(found) for each in found)
    packets = Packets(record, protos, found)
    file.write(header(all_tracks(record, memory, layers), names, packets.texts, protos))
    for each in found:
        for data in packets.of_slices(each):
            file.write(data)
    for counter in all_counters(record):
        file.write(packets.of_counter(counter))
