"""Tables that grow, chunk by chunk, until they are joined."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from minisim.hwmodel import isa

Ids = npt.NDArray[np.int64]

Run = tuple[tuple[int, ...], ...]
"""Windows (`isa.WINDOW_DTYPE`, without `more`) that belong to one piece."""


class Chunks:
    """A table of this dtype, of which rows are added at its end.

    Attributes:
        rows: how many there are so far.
    """

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype, self.rows = dtype, 0
        self._chunks: list[isa.Table] = []

    def __iter__(self) -> Iterator[isa.Table]:
        return iter(self._chunks)

    @property
    def nbytes(self) -> int:
        """The bytes of all rows."""
        return self.rows * self.dtype.itemsize

    def add(self, table: isa.Table) -> Ids:
        """Add rows, and return their numbers."""
        first = self.rows
        self._chunks.append(table)
        self.rows += len(table)
        return np.arange(first, self.rows, dtype=np.int64)

    def fill(self, count: int, columns: Mapping[str, npt.ArrayLike]) -> Ids:
        """Add rows of these columns, and return their numbers; operands that are left out are NONE, all else 0."""
        table = np.zeros(count, dtype=self.dtype)
        for name in self.dtype.names or ():
            if name in columns:
                table[name] = columns[name]
            elif name.endswith(("_sram", "_pieces")) or f"{name}_sram" in (self.dtype.names or ()):
                table[name] = isa.NONE
        return self.add(table)

    def at(self, row: int) -> isa.Table:
        """The chunk that begins with this row."""
        begins = np.cumsum([0, *map(len, self._chunks)])
        return self._chunks[int(np.searchsorted(begins, row))]

    def merge(self, apart: Collection[int] = ()) -> None:
        """Join chunks that follow each other to one, but for those that begin with these rows."""
        runs: list[list[isa.Table]] = [[]]
        row = 0
        for chunk in self._chunks:
            if row in apart:
                runs += [[chunk], []]
            else:
                runs[-1].append(chunk)
            row += len(chunk)
        self._chunks = [_joined(run, self.dtype) for run in runs if run]

    def joined(self) -> isa.Table:
        """The rows as one table. The chunks are given up one by one, so that a large program is not there twice."""
        return _joined(self._chunks, self.dtype)


def _joined(chunks: list[isa.Table], dtype: np.dtype[Any]) -> isa.Table:
    """Take all chunks out of a list, and put them together."""
    if len(chunks) == 1:
        return chunks.pop()
    end = sum(map(len, chunks))
    table = np.empty(end, dtype=dtype)
    while chunks:
        chunk = chunks.pop()
        table[end - len(chunk) : end] = chunk
        end -= len(chunk)
    return table


def renumber(column: npt.NDArray[np.uint32], numbers: Ids) -> None:
    """Replace the numbers in a column, all but NONE."""
    there = column != isa.NONE
    column[there] = numbers[column[there]]


def windows_of(runs: Collection[Run]) -> isa.Table:
    """The table of these runs of windows, one behind the other."""
    table = np.zeros(sum(map(len, runs)), dtype=isa.WINDOW_DTYPE)
    if len(table):
        columns = np.array([row for run in runs for row in run], dtype=np.int64).T
        for name, column in zip(isa.WINDOW_DTYPE.names or (), columns, strict=False):
            table[name] = column
        table["more"] = 1
        table["more"][np.cumsum([len(run) for run in runs]) - 1] = 0
    return table


def rows_of_stacks(stacks: isa.Table, first: int, stride: int, rows: int, writes: int, base: int) -> isa.Table:
    """The tiles of so many `rows` each that `stacks` consist of, each made by so many writes.

    Args:
        stacks: tiles numbered from `first` on, `stride` of them in a row.
        base: the number of the first of the new tiles, which are as `stacks` are numbered row by row.
    """
    each = int(stacks["rows"][0]) // rows
    number = np.arange(len(stacks)).reshape(-1, 1, stride).repeat(each, axis=1)
    table = stacks[number]
    table["row"] += (np.arange(each, dtype=np.uint32) * np.uint32(rows))[:, None]
    table["rows"], table["final"], table["part"] = rows, writes, np.arange(each)[:, None]
    table["stack"] = base + np.arange(number.size).reshape(number.shape) - (first + number)
    found: isa.Table = table.reshape(-1)
    return found
