"""Faults of operands that are gathered from pieces: dropped pieces, shifted windows, swapped strips, stale halos.

All stay within tiles and operands, and take what lies in SRAM at that time, as far as they can: no place and no version
tells. Only what a convolution is does.
"""

from __future__ import annotations

import numpy as np

import minisim as ms
from minisim.hwmodel.isa import NONE, Table

Rng = np.random.Generator


def _operation(schedule: ms.Schedule, rng: Rng) -> int | None:
    """A row of `matmuls` whose operand has pieces."""
    rows = np.flatnonzero(schedule.matmuls["a_pieces"] != NONE)
    return int(rng.choice(rows)) if len(rows) else None


def _run(table: Table, first: int) -> list[int]:
    rows = [first]
    while table["more"][rows[-1]]:
        rows.append(rows[-1] + 1)
    return rows


def _pieces(schedule: ms.Schedule, row: int) -> list[int]:
    return _run(schedule.pieces, int(schedule.matmuls["a_pieces"][row]))


def _with_pieces(schedule: ms.Schedule, row: int, found: Table) -> ms.Schedule:
    """The operation reads these pieces, which are added to the table."""
    matmuls = schedule.matmuls.copy()
    matmuls["a_pieces"][row] = len(schedule.pieces) if len(found) else NONE
    found["more"] = 1
    found["more"][-1:] = 0
    return schedule.replace(matmuls=matmuls, pieces=np.concatenate([schedule.pieces, found]))


def _with_windows(schedule: ms.Schedule, row: int, place: int, found: Table) -> ms.Schedule:
    """The piece at this place of the operation is read by these windows, which are added to the table."""
    pieces = schedule.pieces[_pieces(schedule, row)]
    pieces["window"][place] = len(schedule.windows)
    found["more"] = 1
    found["more"][-1] = 0
    changed = schedule.replace(windows=np.concatenate([schedule.windows, found]))
    return _with_pieces(changed, row, pieces)


def drop_piece(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    """What the operand has from one tile is +0."""
    row = _operation(schedule, rng)
    if row is None:
        return None
    pieces = _pieces(schedule, row)
    return _with_pieces(schedule, row, schedule.pieces[np.delete(pieces, rng.integers(len(pieces)))])


def drop_window(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    """Or from one tile at one tap, or a part of that."""
    row = _operation(schedule, rng)
    if row is None:
        return None
    pieces = _pieces(schedule, row)
    place = int(rng.integers(len(pieces)))
    windows = _run(schedule.windows, int(schedule.pieces["window"][pieces[place]]))
    if len(windows) < 2:
        return None
    return _with_windows(schedule, row, place, schedule.windows[np.delete(windows, rng.integers(len(windows)))])


def shift_window(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    """By a pixel, a channel, a row or a tap, or with another step; often it still lies in its tile and its operand."""
    row = _operation(schedule, rng)
    if row is None:
        return None
    place = int(rng.integers(len(_pieces(schedule, row))))
    windows = schedule.windows[_run(schedule.windows, int(schedule.pieces["window"][_pieces(schedule, row)[place]]))]
    which = int(rng.integers(len(windows)))
    field = str(rng.choice([name for name in windows.dtype.names or () if name != "more"]))
    value = int(windows[field][which]) + int(rng.choice([-1, 1]))
    if value < 0:
        return None
    windows[field][which] = value
    return _with_windows(schedule, row, place, windows)


def exchange_windows(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    """Two windows of a piece take what the other should: swapped taps."""
    row = _operation(schedule, rng)
    if row is None:
        return None
    place = int(rng.integers(len(_pieces(schedule, row))))
    windows = schedule.windows[_run(schedule.windows, int(schedule.pieces["window"][_pieces(schedule, row)[place]]))]
    if len(windows) < 2:
        return None
    pair = rng.choice(len(windows), 2, replace=False)
    for field in ("from_row", "from_col"):
        windows[field][pair] = windows[field][pair[::-1]]
    return _with_windows(schedule, row, place, windows)


def repeat_window(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    """A window in place of another one: as many as there should be."""
    row = _operation(schedule, rng)
    if row is None:
        return None
    place = int(rng.integers(len(_pieces(schedule, row))))
    windows = schedule.windows[_run(schedule.windows, int(schedule.pieces["window"][_pieces(schedule, row)[place]]))]
    if len(windows) < 2:
        return None
    first, second = rng.choice(len(windows), 2, replace=False)
    windows[second] = windows[first]
    return _with_windows(schedule, row, place, windows)


def swap_strips(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    """Two pieces of an operand are read from each other's tile."""
    row = _operation(schedule, rng)
    if row is None:
        return None
    pieces = schedule.pieces[_pieces(schedule, row)]
    if len(pieces) < 2:
        return None
    pair = rng.choice(len(pieces), 2, replace=False)
    for field in ("tile", "sram"):
        pieces[field][pair] = pieces[field][pair[::-1]]
    return _with_pieces(schedule, row, pieces)


def stale_halo(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    """A piece is read from a tile of the same shape that an operation just before, or behind, reads a piece from."""
    row = _operation(schedule, rng)
    if row is None:
        return None
    pieces = schedule.pieces[_pieces(schedule, row)]
    near = [other for other in range(max(0, row - 3), min(len(schedule.matmuls), row + 4)) if other != row]
    near = [other for other in near if schedule.matmuls["a_pieces"][other] != NONE]
    shapes = schedule.tiles[["tensor", "rows", "cols"]]
    place = int(rng.integers(len(pieces)))
    mine = pieces["tile"][place]
    found = [i for other in near for i in _pieces(schedule, other)
             if schedule.pieces["tile"][i] != mine and shapes[schedule.pieces["tile"][i]] == shapes[mine]]  # fmt: skip
    if not found:
        return None
    other = schedule.pieces[int(rng.choice(found))]
    pieces["tile"][place], pieces["sram"][place] = other["tile"], other["sram"]
    return _with_pieces(schedule, row, pieces)


def exchange_operands(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    """Two neighbours with operands of one shape read each other's."""
    rows = np.flatnonzero(schedule.matmuls["a_pieces"] != NONE)
    shapes = schedule.matmuls[["m", "k"]][rows]
    alike = np.flatnonzero(shapes[1:] == shapes[:-1])
    if not len(alike):
        return None
    first = int(rng.choice(alike))
    matmuls = schedule.matmuls.copy()
    pair = rows[[first, first + 1]]
    matmuls["a_pieces"][pair] = matmuls["a_pieces"][pair[::-1]]
    return schedule.replace(matmuls=matmuls)


def exchange_filters(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    """Two neighbours with filters of one shape read each other's, where they lie."""
    rows = np.flatnonzero(schedule.matmuls["a_pieces"] != NONE)
    shapes = schedule.matmuls[["k", "n", "dtype"]][rows]
    other = schedule.matmuls["b"][rows]
    alike = np.flatnonzero((shapes[1:] == shapes[:-1]) & (other[1:] != other[:-1]))
    if not len(alike):
        return None
    first = int(rng.choice(alike))
    matmuls = schedule.matmuls.copy()
    pair = rows[[first, first + 1]]
    for field in ("b", "b_sram"):
        matmuls[field][pair] = matmuls[field][pair[::-1]]
    return schedule.replace(matmuls=matmuls)


WINDOW_MUTATIONS = (
    drop_piece,
    drop_window,
    shift_window,
    exchange_windows,
    repeat_window,
    swap_strips,
    stale_halo,
    exchange_operands,
    exchange_filters,
)
