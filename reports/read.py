"""Tables of reports, read back as they were written."""

from __future__ import annotations

import csv
from pathlib import Path

from minisim.errors import UsageError, printable, shown

LARGEST = 256 * 2**20
"""Bytes of the largest file of reports that is read: more than ten million operations in thousands of layers write."""


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file by the names of its columns.

    Raises:
        UsageError: it is missing or too large, or no such file.
    """
    present(path)
    try:
        if path.stat().st_size > LARGEST:
            raise UsageError(f"{path}: must be a table of at most {LARGEST // 2**20} MiB")
        with path.open(encoding="utf-8", newline="") as file:
            lines = list(csv.reader(file, strict=True))
    except (OSError, ValueError, csv.Error) as e:  # of the system, of the coding, of quotes
        raise UsageError(f"{path}: cannot be read as a table: {shown(str(e))}") from None
    if not lines:
        raise UsageError(f"{path}: cannot be read as a table: it is empty")
    header, *rows = lines
    for i, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise UsageError(f"{path}: row {i} has {len(row)} fields, and the first has {len(header)}")
    return [dict(zip(header, map(printable, row), strict=True)) for row in rows]


def present(path: Path) -> None:
    """Refuse, with a UsageError, a file that is not there."""
    if not path.is_file():
        raise UsageError(f"{path.parent}: has no {path.name}; minisim run --out {path.parent} writes it")
