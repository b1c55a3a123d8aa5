"""The timeline for a picture: a row per unit, a bar per operation, or, of very many, a bar per cell of cycles."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from minisim.hwmodel.isa import Queue
from minisim.hwmodel.timeline import WAITED_FOR
from minisim.reports.places import target_tiles
from minisim.reports.run_file.packed import packed, steps
from minisim.reports.run_record import RunRecord

Column = npt.NDArray[np.int64]

MOST = 120_000
"""Bars that are told one by one. More operations are merged: no screen has that many columns of pixels."""

CELLS = 60_000
"""Cells of cycles of merged bars, those of all rows together."""


def timeline_bars(record: RunRecord) -> dict[str, Any]:
    """Rows, and columns of their bars, row by row and ascending in time.

    `begin` is told as the difference from the bar before it in its row (the first: from cycle 0), `length` in cycles.
    Of single operations there are `op`, `waited` (an index into `waits`) and `tile`, an index into the table `tiles`;
    of merged ones `count`, how many there are, and `busy`, their own cycles.
    """
    row, names = _rows(record)
    order = np.lexsort((record.timeline.begin, row))
    row = row[order]
    merged = len(order) > MOST
    columns = _merged(record, order, row, len(names)) if merged else _single(record, order)
    if merged:
        row = columns.pop("row")
    first = np.diff(row, prepend=-1) != 0
    begin = columns.pop("begin")
    gaps = np.where(first, begin, steps(begin))
    return {
        "rows": names,
        "counts": np.bincount(row, minlength=len(names)).tolist(),
        "merged": merged,
        "waits": list(WAITED_FOR),
        "columns": {"begin": packed(gaps), **{name: packed(column) for name, column in columns.items()}},
        "tiles": {} if merged else _tiles(record),
    }


def _rows(record: RunRecord) -> tuple[Column, list[str]]:
    """The row of each operation, and the rows' names: a unit of a core, or one of its channels."""
    schedule = record.schedule
    channels = record.machine.dma.channels
    codes, row = np.unique(schedule.lanes() * channels + record.timeline.channel, return_inverse=True)
    names = []
    for lane, channel in (divmod(int(code), channels) for code in codes):
        of_several = channels > 1 and lane % len(Queue) <= Queue.STORE
        names.append(f"{schedule.lane_name(lane)} {channel + 1}" if of_several else schedule.lane_name(lane))
    return row.astype(np.int64), names


def _single(record: RunRecord, order: npt.NDArray[np.intp]) -> dict[str, Column]:
    t, stream = record.timeline, record.schedule.stream
    return {
        "begin": t.begin[order],
        "length": (t.done - t.begin)[order],
        "layer": steps(stream["layer"][order]),
        "op": steps(order),
        "waited": t.waited_for[order].astype(np.int64),
        "tile": steps(target_tiles(record.schedule)[order]),
    }


def _tiles(record: RunRecord) -> dict[str, str]:
    tiles = record.schedule.tiles
    return {name: packed(steps(tiles[name]))
            for name in ("tensor", "row", "col", "rows", "cols")}  # fmt: skip


def _merged(record: RunRecord, order: npt.NDArray[np.intp], row: Column, rows: int) -> dict[str, Column]:
    """Operations of a row that begin in one cell of cycles are one bar, of the layer that the first of them has."""
    t = record.timeline
    begin, done = t.begin[order], t.done[order]
    cell = begin // max(1, -(-t.cycles * rows // CELLS))
    first = np.flatnonzero((np.diff(row, prepend=-1) != 0) | (np.diff(cell, prepend=-1) != 0))
    layer = record.schedule.stream["layer"][order[first]]
    return {
        "row": row[first],
        "begin": begin[first],
        "length": np.maximum.reduceat(done, first) - begin[first],
        "layer": steps(layer),
        "count": np.diff(first, append=len(order)),
        "busy": np.add.reduceat(done - begin, first),
    }
