"""The points of a sweep, read back from sweep.csv, with what each machine is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from minisim.errors import ConfigError, UsageError
from minisim.hwmodel.area import area_mm2
from minisim.hwmodel.config import Machine, parse_value, presets
from minisim.hwmodel.units import FREQUENCY, RATE, SIZE, TIME
from minisim.reports.html.folder import Row, number, read_json
from minisim.reports.read import read_rows

OTHER_COLUMNS = ("model", "config")
"""Columns that may stand before `status` and are no keys of a machine."""

MOST_MACHINES = 5_000
"""Points whose whole machine is worked out."""


@dataclass(frozen=True)
class SweepPoint:
    """One row: what was varied, as typed, and what came of it.

    Attributes:
        machine: the whole machine; None if only its parameters are known.
    """

    index: int
    params: Mapping[str, str]
    row: Row
    machine: Machine | None

    @property
    def ok(self) -> bool:
        return self.row["status"] == "ok"

    @property
    def model(self) -> str:
        return self.row.get("model", "")

    @property
    def cycles(self) -> float:
        return number(self.row.get("cycles_total"))

    @property
    def seconds(self) -> float:
        return number(self.row.get("time_us")) / 1e6

    @property
    def joules(self) -> float:
        return number(self.row.get("energy_uj")) / 1e6

    @property
    def area(self) -> float:
        return area_mm2(self.machine) if self.machine else math.nan

    @property
    def over(self) -> float:
        return number(self.row.get("cycles_over_roofline"))

    def told(self) -> str:
        """Its parameters as one line, without the model."""
        return ", ".join(f"{name} = {value}" for name, value in self.params.items() if name != "model")


@dataclass(frozen=True)
class SweepFolder:
    """All points; `params` are the columns that name them, `file` is sweep.json."""

    points: list[SweepPoint]
    params: list[str]
    file: Mapping[str, Any]

    @property
    def varied(self) -> list[str]:
        """The parameters with more than one value, those with most values first; models are told apart elsewhere."""
        counts = {name: len({point.params[name] for point in self.points}) for name in self.params}
        return sorted(
            (name for name in self.params if counts[name] > 1 and name != "model"), key=lambda name: -counts[name]
        )

    @cached_property
    def numeric(self) -> set[str]:
        """The parameters whose values are all numbers."""
        values = {name: {point.params[name] for point in self.points} for name in self.params}
        return {name for name, texts in values.items() if not any(math.isnan(value_of(text)) for text in texts)}

    @property
    def models(self) -> list[str]:
        return list(dict.fromkeys(point.model for point in self.points if point.ok))


def read_sweep(folder: Path) -> SweepFolder:
    """Raises UsageError: sweep.csv is not there, or has no column `status`."""
    rows = read_rows(folder / "sweep.csv")
    names = list(rows[0])
    if "status" not in names:
        raise UsageError(f"{folder / 'sweep.csv'}: must have a column 'status'")
    params = names[: names.index("status")]
    file = read_json(folder / "sweep.json") if (folder / "sweep.json").is_file() else {}
    points = [
        SweepPoint(i, {name: row[name] for name in params}, row,
                   _machine(row, params, file) if i < MOST_MACHINES else None)
        for i, row in enumerate(rows)
    ]  # fmt: skip
    return SweepFolder(points, params, file)


def _machine(row: Row, params: list[str], file: Mapping[str, Any]) -> Machine | None:
    """The machine of a point: one of the sweep's own, or the preset that `config` names, with its parameters."""
    bases, config = file.get("machines", {}), row.get("config", "")
    base = bases.get(config) or (next(iter(bases.values())) if len(bases) == 1 else None)
    if base is None and config not in presets():
        return None
    try:
        keys = {name: parse_value(row[name]) for name in params if name not in OTHER_COLUMNS}
        return (Machine.of(base) if base else Machine.load(config)).with_overrides(keys)
    except ConfigError:
        return None  # a preset, or a key, of another version


@cache
def value_of(text: str) -> float:
    """A parameter as a number, in its base unit; NaN if it is a word."""
    for unit in (SIZE, RATE, FREQUENCY, TIME):
        try:
            return float(unit.parse(text))
        except ValueError:
            continue
    return math.nan


def in_order(values: list[str]) -> list[str]:
    """Distinct values: numbers ascending, words as they come."""
    distinct = list(dict.fromkeys(values))
    return sorted(distinct, key=value_of) if all(not math.isnan(value_of(v)) for v in distinct) else distinct
