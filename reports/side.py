"""One side of a comparison: what a run was, out of its record or out of the folder that it wrote.

    Side.of(record)         a run that was just made
    Side.read("out")        a folder with summary.csv, layers.csv, energy.csv, account.csv and machine.toml

Both have the same numbers: cycles are whole, energy is in whole femtojoules, as the CSV files have it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from minisim.errors import UsageError, shortened, shown
from minisim.hwmodel.config import Machine
from minisim.reports.account import Account
from minisim.reports.read import present, read_rows
from minisim.reports.run_record import RunRecord
from minisim.reports.tables import energy, layers, summary

SUMMARY, LAYERS, ENERGY, ACCOUNT, MACHINE = "summary.csv", "layers.csv", "energy.csv", "account.csv", "machine.toml"

CYCLES, PICOJOULES = "cycles_", "_pj"
"""What begins the names of the columns of causes, and ends those of components."""


class Layer(NamedTuple):
    """What a layer took: cycles on the critical path by cause, femtojoules by component, bytes of the DRAM."""

    op: str
    cycles: Mapping[str, int]
    energy: Mapping[str, int]
    dram_bytes: int


Key = tuple[str, int]
"""A layer's name, and how many layers of that name stand before it."""


@dataclass(frozen=True, repr=False)
class Side:
    """One of two runs that are compared.

    Attributes:
        name: what it is called in the comparison.
        model, config: as in summary.csv.
        machine: that it ran on.
        cycles, time_us, dram_bytes: of the run.
        causes: cycles by the causes of the account; their sum is `cycles`.
        energy: femtojoules by component.
        layers: in the order of the program.
    """

    name: str
    model: str
    config: str
    machine: Machine
    cycles: int
    time_us: float
    dram_bytes: int
    causes: Mapping[str, int]
    energy: Mapping[str, int]
    layers: Mapping[Key, Layer]

    def __repr__(self) -> str:
        return f"<Side {shortened(self.name)!r}: {self.cycles:,} cycles>"

    @property
    def femtojoules(self) -> int:
        """The energy of the whole run."""
        return sum(self.energy.values())

    @staticmethod
    def of(record: RunRecord, name: str = "") -> Side:
        """A run's; by default it is called as its machine."""
        tables = [summary(record), layers(record), energy(record), Account.of(record).table()]
        rows = [[dict(zip(map(str, table), row, strict=True)) for row in table.to_numpy().tolist()] for table in tables]
        return _side(name or record.config, record.machine, *rows)

    @staticmethod
    def read(folder: str | Path, name: str = "") -> Side:
        """A run's whose reports are in `folder`; by default it is called as the folder.

        Raises:
            UsageError: a file is missing, cannot be read, or is of another run than the others.
            ConfigError: machine.toml is not a machine.
        """
        folder = Path(folder)
        rows = [read_rows(folder / file) for file in (SUMMARY, LAYERS, ENERGY, ACCOUNT)]
        present(folder / MACHINE)
        try:
            return _side(name or str(folder), Machine.load(folder / MACHINE), *rows)
        except KeyError as e:
            raise UsageError(f"{folder}: its reports have no column or row {e.args[0]!r}") from None
        except (ValueError, OverflowError) as e:
            raise UsageError(f"{folder}: its reports do not fit together: {shown(str(e))}") from None


Rows = Sequence[Mapping[str, object]]


def _side(name: str, machine: Machine, summaries: Rows, by_layer: Rows, energies: Rows, account: Rows) -> Side:
    (run,) = summaries
    *parts, whole = energies
    *paths, total = account
    causes = {column.removeprefix(CYCLES): _whole(total[column]) for column in total if _is_cause(str(column))}
    cycles = _whole(run["cycles_total"])
    if sum(causes.values()) != cycles or not len(parts) == len(paths) == len(by_layer):
        raise ValueError(f"{ACCOUNT} is of another run than {SUMMARY}")
    found: dict[Key, Layer] = {}
    met: Counter[str] = Counter()
    for layer, part, path in zip(by_layer, parts, paths, strict=True):
        title = str(layer["name"])
        if not title == part["name"] == path["name"]:
            raise ValueError(f"layers differ: {title}, {part['name']}, {path['name']}")
        moved = _whole(layer["dram_read_bytes"]) + _whole(layer["dram_write_bytes"])
        spent = {str(c).removeprefix(CYCLES): _whole(path[c]) for c in path if _is_cause(str(c))}
        found[title, met[title]] = Layer(str(layer["op"]), spent, _components(part), moved)
        met[title] += 1
    _check_sums(causes, [layer.cycles for layer in found.values()], ACCOUNT)
    _check_sums(whole_energy := _components(whole), [layer.energy for layer in found.values()], ENERGY)
    return Side(
        name=name,
        model=str(run["model"]),
        config=str(run["config"]),
        machine=machine,
        cycles=cycles,
        time_us=float(str(run["time_us"])),
        dram_bytes=_whole(run["dram_read_bytes"]) + _whole(run["dram_write_bytes"]),
        causes=causes,
        energy=whole_energy,
        layers=found,
    )


def _check_sums(whole: Mapping[str, int], parts: Sequence[Mapping[str, int]], file: str) -> None:
    """The layers' rows add up to the run's; of a run without layers there is nothing to add."""
    if parts and any(sum(part[name] for part in parts) != n for name, n in whole.items()):
        raise ValueError(f"{file}: the rows of its layers do not add up to that of the run")


def _is_cause(column: str) -> bool:
    return column.startswith(CYCLES) and column != "cycles_total"


def _components(row: Mapping[str, object]) -> dict[str, int]:
    """Femtojoules by component: picojoules have three decimals."""
    names = [str(column) for column in row if str(column).endswith(PICOJOULES) and column != "energy_pj"]
    return {name.removesuffix(PICOJOULES): round(float(str(row[name])) * 1000) for name in names}


def _whole(value: object) -> int:
    return int(str(value))
