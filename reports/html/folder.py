"""What a run, a decoding or a sweep has left in a folder, read back as it was written."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minisim.errors import UsageError, described, shown
from minisim.reports.run_file.header import FORMAT

Row = dict[str, str]
"""A row of a CSV: texts by column."""


@dataclass(frozen=True)
class RunFolder:
    """The files of one run.

    Attributes:
        summary, layers, units, energy: the tables, a row a layer (of energy the last one is the run's).
        file: run.json.
    """

    summary: Row
    layers: list[Row]
    units: list[Row]
    energy: list[Row]
    file: dict[str, Any]

    @property
    def cycles(self) -> int:
        return int(self.summary["cycles_total"])

    def layer_cycles(self) -> list[int]:
        """Cycles of each layer on the critical path: they add up to the run's."""
        columns = self.file["account"].values()
        return [sum(column) for column in zip(*columns, strict=True)] if columns else [0] * len(self.layers)


def read_run(folder: Path) -> RunFolder:
    """Raises UsageError: a file is not there, or is not what this version writes."""
    tables = {name: read_table(folder / f"{name}.csv") for name in ("summary", "layers", "units", "energy")}
    if not tables["summary"] or not tables["energy"]:
        raise UsageError(f"{folder}: summary.csv and energy.csv must have a row")
    return RunFolder(tables["summary"][0], tables["layers"], tables["units"], tables["energy"],
                     read_json(folder / "run.json"))  # fmt: skip


def read_table(path: Path) -> list[Row]:
    """The rows of a CSV.

    Raises:
        UsageError: it cannot be read, or a row has more or fewer fields than the header.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            rows = list(reader)
    except (OSError, ValueError, csv.Error) as e:
        raise UsageError(f"{path}: cannot be read: {_why(e)}") from None
    if not reader.fieldnames or any(None in row or None in row.values() for row in rows):
        raise UsageError(f"{path}: must be a table with a header, and rows of as many fields")
    return rows


def read_json(path: Path) -> dict[str, Any]:
    """The content of a file that a run has left for its page; it must be of this version's format."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as e:
        raise UsageError(f"{path}: cannot be read: {_why(e)}; run the model again with this version") from None
    version = found.get("format") if isinstance(found, dict) else None
    if version != FORMAT:
        raise UsageError(f"{path}: must have format {FORMAT}, not {shown(version)}; run the model again")
    return dict(found)


def _why(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else described(error)


def number(text: str | None) -> float:
    """A field as a number; NaN if it is empty."""
    return float(text) if text else math.nan
