"""Which transfers share a descriptor, for DMAs of one, two and three dimensions: pure functions over columns.

    1-D   a row of bytes: a tile whose rows lie apart takes a descriptor for each
    2-D   rows at a pitch: a tile
    3-D   2-D planes at a stride: a run of tiles of one shape, at a constant stride in DRAM and in SRAM

A run is one command, so its transfers must stand one after the other in program order and go the same way, and
none may wait for more than the first does. Each of its tiles retires as it lands (an intermediate completion, as
DMAs with chained transfers raise them).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from minisim.hwmodel import isa
from minisim.hwmodel.bursts import Rectangles
from minisim.hwmodel.config import Machine

Column = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


def descriptors(schedule: isa.Schedule, tiles: Rectangles, machine: Machine) -> Column:
    """How many descriptors the DMA decodes for each operation: 0 for one that follows in a run, and for no transfer.

    Args:
        tiles: where each tile of `schedule` lies in DRAM (`cost.rectangles`).
    """
    moves = schedule.stream["opcode"] <= isa.Opcode.STORE
    found = moves.astype(np.int64)
    if machine.dma.dimensions == 1:
        found[moves] = apart(tiles)[tiles_of(schedule)[moves]]
    elif machine.dma.dimensions == 3:
        found[follows(schedule, tiles)] = 0
    return found


def planes(schedule: isa.Schedule, found: Column) -> Column:
    """Of each operation, how many operations its descriptor moves (1 for others); 0 for one that follows.

    Args:
        found: of `descriptors`.
    """
    first = np.flatnonzero((found > 0) | (schedule.stream["opcode"] > isa.Opcode.STORE))
    counts = np.zeros(len(found), dtype=np.int64)
    counts[first] = np.diff(np.append(first, len(found)))
    return counts


def tiles_of(schedule: isa.Schedule) -> Column:
    """The tile that each operation moves; 0 for those that are no transfers."""
    moves = schedule.stream["opcode"] <= isa.Opcode.STORE
    found = np.zeros(len(schedule), dtype=np.int64)
    found[moves] = schedule.transfers["tile"][schedule.stream["row"][moves]]
    return found


def apart(tiles: Rectangles) -> Column:
    """The rows of each tile that have a gap between them; 1 if there is none."""
    return np.where(tiles.pitch == tiles.row_bytes, 1, tiles.rows)


def follows(schedule: isa.Schedule, tiles: Rectangles) -> Flags:
    """Whether each operation is a plane of the same 3-D descriptor as the operation before it.

    Runs are taken as they come, from the front: each is as long as its stride stays what its first two planes say.
    """
    stream = schedule.stream
    if len(stream) < 2:
        return np.zeros(len(stream), dtype=np.bool_)
    moves, tile = stream["opcode"] <= isa.Opcode.STORE, tiles_of(schedule)
    sram = np.zeros(len(stream), dtype=np.int64)
    sram[moves] = schedule.transfers["sram"][stream["row"][moves]]
    plane = [column[tile] for column in (tiles.row_bytes, tiles.rows, tiles.pitch)]
    fits = moves[1:] & (stream["opcode"][1:] == stream["opcode"][:-1])
    fits &= np.all([column[1:] == column[:-1] for column in plane], axis=0)
    fits &= np.all(stream["wait"][1:] <= stream["wait"][:-1], axis=1) & (stream["sync"][1:] == isa.NONE)
    fits &= stream["core"][1:] == stream["core"][:-1]
    by_list = np.zeros(len(stream), dtype=np.bool_)  # a DMA knows where such rows lie when it has read the list
    by_list[moves] = schedule.transfers["list"][stream["row"][moves]] != isa.NONE
    fits &= ~by_list[1:]
    strides = np.diff(np.stack([tiles.address[tile], sram]), axis=1)
    return np.concatenate([np.zeros(1, dtype=np.bool_), _runs(fits, strides)])


def _runs(fits: Flags, strides: Column) -> Flags:
    """Which of the pairs that fit are joined: all of one stride in a row, but the first only if it begins a run.

    A pair of a new stride right behind a joined one is not joined: its first plane is the last one of a run. So in
    a row of pairs that all differ every other one is joined, and where two pairs are alike the second always is.
    """
    n = len(fits)
    alike = np.zeros(n, dtype=np.bool_)
    alike[1:] = fits[1:] & fits[:-1] & np.all(strides[:, 1:] == strides[:, :-1], axis=0)
    # Joined is known where a pair does not fit (no), or is like the one before (yes), or follows one that does not
    # fit (yes); from there it alternates.
    known = ~fits | alike
    known[0] = True
    known[1:] |= ~fits[:-1]
    joined = fits.copy()
    since = np.arange(n) - np.maximum.accumulate(np.where(known, np.arange(n), 0))
    odd = since % 2 == 1
    return np.asarray(joined & ~odd)
