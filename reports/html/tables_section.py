"""Tables of a run: its layers, the traffic of its tensors, its energy by component, and the machine, key by key."""

from __future__ import annotations

from dataclasses import dataclass

from minisim.hwmodel.config import Machine, keys
from minisim.reports.html.account_section import layer_cause
from minisim.reports.html.folder import RunFolder, number
from minisim.reports.html.words import of_bytes, percent, scaled, whole, width
from minisim.reports.run_file.header import keys_of

MOST = 1_000
"""Layers in the table, those with the most cycles; layers.csv has all."""

TENSORS = 16
"""Tensors in the table of traffic."""


@dataclass(frozen=True)
class Cell:
    """What is shown, and what the table is sorted by."""

    text: str
    key: float | str


@dataclass(frozen=True)
class Line:
    """A line of a table whose first cell is its head; `layer` links it with other pictures of the same layer."""

    layer: int
    cells: list[Cell]


LAYER_HEADS = (("Layer", ""), ("Operator", ""), ("Cycles", "n"), ("Share", "n"), ("Mostly", ""), ("Array fill", "n"),
               ("MACs", "n"), ("DRAM bytes", "n"), ("MAC/B", "n"), ("Energy", "n"))  # fmt: skip
"""Titles of the layer table; n: a column of numbers."""


def layer_lines(run: RunFolder) -> tuple[list[Line], int]:
    """The layers in program order, and how many are left out."""
    cycles = run.layer_cycles()
    kept = sorted(sorted(range(len(cycles)), key=lambda i: -cycles[i])[:MOST])
    return [_layer(run, i, cycles[i]) for i in kept], len(cycles) - len(kept)


def _layer(run: RunFolder, i: int, cycles: int) -> Line:
    row = run.layers[i]
    moved = int(row["dram_read_bytes"]) + int(row["dram_write_bytes"])
    fill, macs = number(row["util_mapping_pct"]) / 100, int(row["macs"])
    intensity, energy = number(row["intensity_mac_per_byte"]), number(row["energy_pj"]) / 1e12
    share = cycles / max(1, run.cycles)
    cause = layer_cause(run, i)
    return Line(i, [Cell(row["name"], i), Cell(row["op"], row["op"]), Cell(whole(cycles), cycles),
                    Cell(percent(share), cycles), Cell(cause, cause), Cell(percent(fill), _last(fill)),
                    Cell(scaled(macs) if macs else "–", macs), Cell(of_bytes(moved), moved),
                    Cell("–" if intensity != intensity else f"{intensity:.3g}", _last(intensity)),
                    Cell(scaled(energy, "J"), energy)])  # fmt: skip


def _last(value: float) -> float:
    """What is not defined is sorted below all numbers."""
    return -1.0 if value != value else value


@dataclass(frozen=True)
class Amount:
    """A line with a bar: a name, what it is, a width, and numbers."""

    name: str
    kind: str
    width: str
    text: str
    more: str = ""


def traffic(run: RunFolder) -> list[Amount]:
    """The tensors that the DMAs move most, and the others together."""
    told = run.file["traffic"]
    shown, rest = told["tensors"][:TENSORS], told["tensors"][TENSORS:]
    most = max((read + written for _, _, _, read, written in shown), default=0) or 1
    found = [
        Amount(name, role, width((read + written) / most), of_bytes(read + written),
               f"{(read + written) / size:.2f} × its size" if size else "")
        for name, role, size, read, written in shown
    ]  # fmt: skip
    count = len(rest) + told["others"][0]
    if count:
        moved = sum(read + written for *_, read, written in rest) + sum(told["others"][1:])
        found.append(Amount(f"{count} more", "", "", of_bytes(moved)))
    return found


def energy(run: RunFolder) -> tuple[str, list[Amount]]:
    """All of it, and by component, the largest first."""
    row = run.energy[-1]
    total = number(row["energy_pj"])
    parts = {name.removesuffix("_pj"): number(value) for name, value in row.items() if name.endswith("_pj")}
    parts.pop("energy")
    most = max(parts.values(), default=0) or 1
    ordered = sorted(((name, pj) for name, pj in parts.items() if pj), key=lambda item: -item[1])
    return scaled(total / 1e12, "J"), [
        Amount(name, "", width(pj / most), scaled(pj / 1e12, "J"), percent(pj / total)) for name, pj in ordered
    ]


@dataclass(frozen=True)
class Key:
    """A key of the machine; `changed` if its value is not the default."""

    name: str
    value: str
    changed: bool
    meaning: str


def machine_keys(machine: dict[str, str]) -> list[Key]:
    """Every key in force, with its meaning."""
    defaults, fields = keys_of(Machine()), keys()
    return [
        Key(name, value, value != defaults.get(name), str(fields[name].description or "") if name in fields else "")
        for name, value in machine.items()
    ]
