"""Faults of operands that are gathered from pieces: dropped pieces, shifted windows, swapped strips, stale halos.

Of matmuls and of folds of the vector unit alike. All stay within tiles and operands, and take what lies in SRAM at that
time, as far as they can: no place and no version tells. Only what a convolution or a fold is does.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import minisim as ms
from minisim.hwmodel.isa import NONE, Table

Rng = np.random.Generator


class Kind(NamedTuple):
    """Operations that read pieces: their table, its column with the first piece, and what tells operands of one shape
    from others; `second`: the operand whose place follows from the same windows."""

    table: str
    column: str
    shape: tuple[str, ...]
    second: str

    def rows(self, schedule: ms.Schedule) -> np.ndarray:
        return np.flatnonzero(getattr(schedule, self.table)[self.column] != NONE)


KINDS = (
    Kind("matmuls", "a_pieces", ("m", "k"), "b"),
    Kind("vectors", "src0_pieces", ("rows", "cols", "taps"), "src1"),
)


class Gathered(NamedTuple):
    """The operand of one operation, and its pieces."""

    schedule: ms.Schedule
    kind: Kind
    row: int

    @classmethod
    def any(cls, schedule: ms.Schedule, rng: Rng) -> Gathered | None:
        kinds = [kind for kind in KINDS if len(kind.rows(schedule))]
        if not kinds:
            return None
        kind = kinds[rng.integers(len(kinds))]
        return cls(schedule, kind, int(rng.choice(kind.rows(schedule))))

    @property
    def pieces(self) -> list[int]:
        return _run(self.schedule.pieces, int(getattr(self.schedule, self.kind.table)[self.kind.column][self.row]))

    def windows(self, place: int) -> Table:
        """A copy of those of the piece at this place."""
        first = int(self.schedule.pieces["window"][self.pieces[place]])
        return self.schedule.windows[_run(self.schedule.windows, first)]

    def with_pieces(self, found: Table) -> ms.Schedule:
        """The operation reads these pieces, which are added to the table."""
        table = getattr(self.schedule, self.kind.table).copy()
        table[self.kind.column][self.row] = len(self.schedule.pieces) if len(found) else NONE
        found["more"] = 1
        found["more"][-1:] = 0
        pieces = np.concatenate([self.schedule.pieces, found])
        return self.schedule.replace(**{self.kind.table: table, "pieces": pieces})

    def with_windows(self, place: int, found: Table) -> ms.Schedule:
        """The piece at this place is read by these windows, which are added to the table."""
        pieces = self.schedule.pieces[self.pieces]
        pieces["window"][place] = len(self.schedule.windows)
        found["more"] = 1
        found["more"][-1] = 0
        changed = self.schedule.replace(windows=np.concatenate([self.schedule.windows, found]))
        return self._replace(schedule=changed).with_pieces(pieces)


def _run(table: Table, first: int) -> list[int]:
    rows = [first]
    while table["more"][rows[-1]]:
        rows.append(rows[-1] + 1)
    return rows


def drop_piece(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    """What the operand has from one tile is padding."""
    operand = Gathered.any(schedule, rng)
    if operand is None:
        return None
    pieces = operand.pieces
    return operand.with_pieces(schedule.pieces[np.delete(pieces, rng.integers(len(pieces)))])


def drop_window(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    """Or from one tile at one tap, or a part of that."""
    operand = Gathered.any(schedule, rng)
    if operand is None:
        return None
    place = int(rng.integers(len(operand.pieces)))
    windows = operand.windows(place)
    if len(windows) < 2:
        return None
    return operand.with_windows(place, np.delete(windows, rng.integers(len(windows))))


def shift_window(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    """By a pixel, a channel, a row or a tap, or with another step; often it still lies in its tile and its operand."""
    operand = Gathered.any(schedule, rng)
    if operand is None:
        return None
    place = int(rng.integers(len(operand.pieces)))
    windows = operand.windows(place)
    which = int(rng.integers(len(windows)))
    field = str(rng.choice([name for name in windows.dtype.names or () if name != "more"]))
    value = int(windows[field][which]) + int(rng.choice([-1, 1]))
    if value < 0:
        return None
    windows[field][which] = value
    return operand.with_windows(place, windows)


def exchange_windows(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    """Two windows of a piece take what the other should: swapped taps."""
    found = _two_windows(schedule, rng)
    if found is None:
        return None
    operand, place, windows, pair = found
    for field in ("from_row", "from_col"):
        windows[field][pair] = windows[field][pair[::-1]]
    return operand.with_windows(place, windows)


def repeat_window(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    """A window in place of another one: as many as there should be."""
    found = _two_windows(schedule, rng)
    if found is None:
        return None
    operand, place, windows, (first, second) = found
    windows[second] = windows[first]
    return operand.with_windows(place, windows)


def double_window(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    """A window twice, the second time perhaps from the pixel beside it."""
    operand = Gathered.any(schedule, rng)
    if operand is None:
        return None
    place = int(rng.integers(len(operand.pieces)))
    windows = operand.windows(place)
    again = windows[[rng.integers(len(windows))]]
    again["from_row"] += rng.integers(2, dtype=np.uint32)
    return operand.with_windows(place, np.concatenate([windows, again]))


def _two_windows(schedule: ms.Schedule, rng: Rng) -> tuple[Gathered, int, Table, np.ndarray] | None:
    """An operand, the place of one of its pieces, the windows of that, and two of them."""
    operand = Gathered.any(schedule, rng)
    if operand is None:
        return None
    place = int(rng.integers(len(operand.pieces)))
    windows = operand.windows(place)
    if len(windows) < 2:
        return None
    return operand, place, windows, rng.choice(len(windows), 2, replace=False)


def swap_strips(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    """Two pieces of an operand are read from each other's tile."""
    operand = Gathered.any(schedule, rng)
    if operand is None:
        return None
    pieces = schedule.pieces[operand.pieces]
    if len(pieces) < 2:
        return None
    pair = rng.choice(len(pieces), 2, replace=False)
    for field in ("tile", "sram"):
        pieces[field][pair] = pieces[field][pair[::-1]]
    return operand.with_pieces(pieces)


def stale_halo(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    """A piece is read from a tile of the same shape that an operation just before, or behind, reads a piece from."""
    operand = Gathered.any(schedule, rng)
    if operand is None:
        return None
    pieces = schedule.pieces[operand.pieces]
    rows = operand.kind.rows(schedule)
    near = [int(row) for row in rows if 0 < abs(int(row) - operand.row) <= 3]
    shapes = schedule.tiles[["tensor", "rows", "cols"]]
    place = int(rng.integers(len(pieces)))
    mine = pieces["tile"][place]
    found = [i for row in near for i in operand._replace(row=row).pieces
             if schedule.pieces["tile"][i] != mine and shapes[schedule.pieces["tile"][i]] == shapes[mine]]  # fmt: skip
    if not found:
        return None
    other = schedule.pieces[int(rng.choice(found))]
    pieces["tile"][place], pieces["sram"][place] = other["tile"], other["sram"]
    return operand.with_pieces(pieces)


def exchange_operands(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    """Two neighbours with operands of one shape read each other's."""
    kind = KINDS[rng.integers(len(KINDS))]
    return _exchanged(schedule, kind, [*kind.shape], (kind.column,), rng)


def exchange_filters(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    """Two neighbours with filters, or weights, of one shape read each other's, where they lie."""
    kind = KINDS[rng.integers(len(KINDS))]
    shape = ["k", "n", "dtype"] if kind.table == "matmuls" else [*kind.shape, "dtype"]
    return _exchanged(schedule, kind, shape, (kind.second, f"{kind.second}_sram"), rng)


def exchange_partials(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    """Two neighbours go on from what the fold before the other one has left, where it lies."""
    return _exchanged(schedule, KINDS[1], [*KINDS[1].shape, "dtype"], ("acc", "acc_sram"), rng)


def _exchanged(
    schedule: ms.Schedule, kind: Kind, shape: list[str], fields: tuple[str, ...], rng: Rng
) -> ms.Schedule | None:
    """Two operations behind each other, alike in the columns `shape`, exchange what they have in `fields`."""
    rows = kind.rows(schedule)
    table = getattr(schedule, kind.table).copy()
    alike = table[shape][rows[1:]] == table[shape][rows[:-1]]
    other = table[fields[0]][rows]
    alike = np.flatnonzero(alike & (other[1:] != other[:-1]) & (other[1:] != NONE) & (other[:-1] != NONE))
    if not len(alike):
        return None
    first = int(rng.choice(alike))
    pair = rows[[first, first + 1]]
    for field in fields:
        table[field][pair] = table[field][pair[::-1]]
    return schedule.replace(**{kind.table: table})


def fold_other_taps(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    """A fold has a tap more or less of its operand's rows; or it forgets what the fold before it has left."""
    rows = KINDS[1].rows(schedule)
    if not len(rows):
        return None
    vectors, row = schedule.vectors.copy(), int(rng.choice(rows))
    if vectors["acc"][row] != NONE and rng.random() < 0.5:
        vectors["acc"][row] = NONE
    else:
        vectors["taps"][row] = max(1, int(vectors["taps"][row]) + int(rng.choice([-1, 1])))
    return schedule.replace(vectors=vectors)


WINDOW_MUTATIONS = (
    drop_piece,
    drop_window,
    shift_window,
    exchange_windows,
    repeat_window,
    double_window,
    swap_strips,
    stale_halo,
    exchange_operands,
    exchange_filters,
    exchange_partials,
    fold_other_taps,
)
