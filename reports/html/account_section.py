"""Where the cycles went: of the run and of each layer by cause, and of each unit by what it did."""

from __future__ import annotations

from dataclasses import dataclass

from minisim.reports.html.causes import Palette, Part, main_cause
from minisim.reports.html.folder import RunFolder
from minisim.reports.html.words import percent, whole, width

SHOWN = 16
"""Layers that are shown at once; the others are a click away."""

MOST = 400
"""Layers that the page has bars for, those with the most cycles."""


@dataclass(frozen=True)
class Bar:
    """A stacked bar: its name, its parts, numbers beside it, and all of it in words."""

    name: str
    layer: int
    parts: list[Part]
    cycles: str
    share: str
    spoken: str


@dataclass(frozen=True)
class CauseLine:
    """A line of the legend."""

    style: str
    cause: str
    group: str
    cycles: str
    share: str
    meaning: str


@dataclass(frozen=True)
class Accounts:
    """The section: the whole run, its legend, the layers and the units."""

    run: Bar
    causes: list[CauseLine]
    layers: list[Bar]
    left_out: int
    units: list[Bar]


def accounts(run: RunFolder) -> Accounts:
    """All bars of the section, the layers with the most cycles first."""
    palette, total = Palette.of(run.file), run.total
    cycles = run.layer_cycles()
    order = sorted((i for i, n in enumerate(cycles) if n), key=lambda i: -cycles[i])
    longest = max(cycles, default=0) or 1
    layers = [_layer(run, palette, i, cycles[i], longest) for i in order[:MOST]]
    whole_run = Bar("all", -1, palette.parts(total, max(1, run.cycles)), whole(run.cycles), "100 %",
                    palette.spoken(total))  # fmt: skip
    return Accounts(whole_run, _legend(run, palette), layers, len(order) - len(layers), _units(run))


def _layer(run: RunFolder, palette: Palette, i: int, cycles: int, longest: int) -> Bar:
    mine = run.causes_of(i)
    return Bar(run.layers[i]["name"], i, palette.parts(mine, longest), whole(cycles), percent(cycles / run.cycles),
               palette.spoken(mine))  # fmt: skip


def layer_cause(run: RunFolder, i: int) -> str:
    """What most of a layer's cycles went to."""
    return main_cause(run.causes_of(i))


def _legend(run: RunFolder, palette: Palette) -> list[CauseLine]:
    total = run.total
    return [
        CauseLine(palette.style(cause), cause, group, whole(total[cause]), percent(total[cause] / run.cycles), meaning)
        for cause, group, meaning in sorted(run.file["causes"], key=lambda each: -total.get(each[0], 0))
        if total.get(cause)
    ]


UNIT_STYLE = {"busy": "g0 s0", "idle": "rest"}
"""Stalls have the waiting group's colour, each another shade."""


def _units(run: RunFolder) -> list[Bar]:
    found = []
    for row in run.units:
        cycles = {name.removeprefix("cycles_").removeprefix("stall_"): int(n) for name, n in row.items()
                  if name.startswith("cycles_")}  # fmt: skip
        total = sum(cycles.values())
        if not total:
            continue
        stalls = [name for name in cycles if name not in UNIT_STYLE]
        parts = [
            Part(UNIT_STYLE.get(name) or f"g2 s{stalls.index(name) % 5}", width(n / total),
                 f"{_unit_cause(name)}: {whole(n)} cycles, {percent(n / total)}")
            for name, n in cycles.items() if n
        ]  # fmt: skip
        spoken = ", ".join(f"{_unit_cause(name)} {percent(n / total)}" for name, n in cycles.items() if n)
        found.append(Bar(row["unit"], -1, parts, whole(cycles["busy"]), percent(cycles["busy"] / total), spoken))
    return found


def _unit_cause(name: str) -> str:
    return name if name in UNIT_STYLE else f"stalled, {name}"
