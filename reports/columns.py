"""Tables for a terminal: where they do not fit, whole columns go before any number is cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

GAP = 2
"""Columns of space between two columns."""


@dataclass(frozen=True)
class Column:
    """A column of texts.

    Attributes:
        title: its head.
        by: its cells, from above.
        left: flush left; numbers are flush right.
        most: the width beyond which its cells may be cut: it has names, not numbers. 0: they never are.
        drop: where there is no room, the column with the highest goes first; 0: it stays.
        style: of each cell; empty: none has one.
    """

    title: str
    by: Sequence[str]
    left: bool = False
    most: int = 0
    drop: int = 0
    style: Sequence[str] = field(default=())

    @property
    def width(self) -> int:
        """Columns of the terminal that it needs."""
        needed = max((cell_len(cell) for cell in (self.title, *self.by)), default=0)
        return min(needed, self.most) if self.most else needed


def width_of(columns: Sequence[Column]) -> int:
    """Columns of the terminal that they need side by side."""
    return sum(column.width + GAP for column in columns) - GAP


def fitting(columns: Sequence[Column], width: int) -> list[Column]:
    """Those of the columns that fit `width`, or that stay at any width."""
    kept = list(columns)
    while width_of(kept) > width and any(column.drop for column in kept):
        kept.remove(max(kept, key=lambda column: column.drop))
    return kept


def table_of(columns: Sequence[Column], last: Sequence[Text] = ()) -> Table:
    """The columns side by side, titles dim above; then a column of pictures, if there are any."""
    grid = Table.grid(padding=(0, GAP))
    for column in columns:
        grid.add_column(justify="left" if column.left else "right", max_width=column.most or None,
                        min_width=column.width, no_wrap=True, overflow="crop")  # fmt: skip
    if last:
        grid.add_column(no_wrap=True, overflow="crop")
    grid.add_row(*(Text(column.title, style="dim") for column in columns))
    for i in range(max((len(column.by) for column in columns), default=0)):
        cells = [_cell(column, i) for column in columns]
        grid.add_row(*cells, *([last[i]] if i < len(last) else []))
    return grid


def _cell(column: Column, i: int) -> Text:
    return Text(column.by[i], style=column.style[i] if column.style else "")  # the table cuts it to the column's width
