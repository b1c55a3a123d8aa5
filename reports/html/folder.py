"""What a run, a decoding or a sweep has left in a folder, read back as it was written."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minisim.errors import UsageError, described, shown
from minisim.hwmodel.config import Machine
from minisim.reports.read import read_rows
from minisim.reports.run_file.header import FORMAT, keys_of

Row = dict[str, str]
"""A row of a CSV: texts by column."""


@dataclass(frozen=True)
class RunFolder:
    """The files of one run.

    Attributes:
        summary, layers, units, energy: the tables, a row a layer (of energy the last one is the run's).
        account: of each cause that has cycles, those of each layer; `total` those of the run.
        machine: every key, as machine.toml has it; `hertz` is its clock.
        file: run.json.
    """

    summary: Row
    layers: list[Row]
    units: list[Row]
    energy: list[Row]
    account: dict[str, list[int]]
    total: dict[str, int]
    machine: dict[str, str]
    hertz: float
    file: dict[str, Any]

    @property
    def cycles(self) -> int:
        return int(self.summary["cycles_total"])

    def layer_cycles(self) -> list[int]:
        """Cycles of each layer on the critical path: they add up to the run's."""
        columns = self.account.values()
        return [sum(column) for column in zip(*columns, strict=True)] if columns else [0] * len(self.layers)

    def causes_of(self, layer: int) -> dict[str, int]:
        """Cycles of a layer by cause."""
        return {cause: column[layer] for cause, column in self.account.items() if column[layer]}


def read_run(folder: Path) -> RunFolder:
    """Raises UsageError: a file is not there, or is not what this version writes."""
    names = ("summary", "layers", "units", "energy", "account")
    tables = {name: read_rows(folder / f"{name}.csv") for name in names}
    if not all(tables[name] for name in ("summary", "energy", "account")):
        raise UsageError(f"{folder}: summary.csv, energy.csv and account.csv must have a row")
    *layers, total = tables["account"]
    causes = [name for name in total if name.startswith("cycles_") and name != "cycles_total"]
    account = {name.removeprefix("cycles_"): [int(row[name]) for row in layers] for name in causes}
    machine = Machine.load(folder / "machine.toml")
    return RunFolder(
        summary=tables["summary"][0],
        layers=tables["layers"],
        units=tables["units"],
        energy=tables["energy"],
        account={cause: column for cause, column in account.items() if any(column)},
        total={name.removeprefix("cycles_"): int(total[name]) for name in causes if int(total[name])},
        machine=keys_of(machine),
        hertz=float(machine.clock.frequency),
        file=read_json(folder / "run.json"),
    )


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
