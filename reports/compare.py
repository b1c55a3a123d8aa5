"""What became of a run when something was changed: from A to B, where the cycles and the energy went.

    comparison = Comparison(Side.of(a), Side.read("out"))
    comparison.ratios, comparison.causes, comparison.components, comparison.keys, comparison.layers

Every table has a column for A and one for B. In those that share out cycles or energy the changes add up to the
difference of the runs, exactly: none is lost, and none is counted twice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from minisim.reports.notebook import tables_html
from minisim.reports.side import Layer, Side
from minisim.reports.write import output_set, write_csv

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COMPARE_FILE, COMPARE_PAGE = "compare.csv", "compare.html"
"""The file that is written last; the other tables are compare_causes.csv and so on."""

NOTHING = Layer("", {}, {}, 0)
"""What a layer takes in a run that has no such layer."""


@dataclass(frozen=True, repr=False)
class Comparison:
    """Two runs. Ratios are B / A: below 1, B takes less.

    Attributes:
        a, b: before and after.
    """

    a: Side
    b: Side

    def __repr__(self) -> str:
        return f"<Comparison {self.verdict}>"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        tables = {"ratios": self.ratios, "cycles by cause": self.causes, "keys that differ": self.keys,
                  "layers": self.layers.head(10)}  # fmt: skip
        return tables_html(self.verdict, tables)

    @property
    def verdict(self) -> str:
        """One sentence: how much faster, and what most of it came from."""
        a, b = self.a, self.b
        change = f"{a.name} -> {b.name}: {a.cycles:,} -> {b.cycles:,} cycles, {times(a.time_us, b.time_us)}"
        moved = self.causes[self.causes["change"] != 0]
        if moved.empty:
            return f"{change}, no cycle goes elsewhere"
        most = max(zip(moved["change"].tolist(), moved["cause"].tolist(), strict=True), key=lambda each: abs(each[0]))
        return f"{change}, mostly {most[1]} ({most[0]:+,} cycles)"

    @cached_property
    def ratios(self) -> pd.DataFrame:
        """A row per metric: time, cycles, energy, their product (EDP), and the traffic of the DRAM."""
        rows = {
            "time_us": (self.a.time_us, self.b.time_us),
            "cycles": (self.a.cycles, self.b.cycles),
            "energy_uj": tuple(side.femtojoules / 10**9 for side in (self.a, self.b)),
            "edp_uj_us": tuple(side.femtojoules / 10**9 * side.time_us for side in (self.a, self.b)),
            "dram_bytes": (self.a.dram_bytes, self.b.dram_bytes),
        }
        a, b = (pd.Series([pair[i] for pair in rows.values()], dtype=object) for i in (0, 1))  # counts stay whole
        return pd.DataFrame({"metric": list(rows), "a": a, "b": b, "ratio": [ratio(*pair) for pair in rows.values()]})

    @cached_property
    def causes(self) -> pd.DataFrame:
        """A row per cause of the account: cycles of A and B, and the change. The changes add up to B's cycles - A's."""
        return _changes("cause", self.a.causes, self.b.causes)

    @cached_property
    def components(self) -> pd.DataFrame:
        """A row per component of the energy, in picojoules."""
        table = _changes("component", self.a.energy, self.b.energy)
        picojoules = {f"{column}_pj": table[column] / 1000 for column in ("a", "b", "change")}
        return pd.DataFrame({"component": table["component"], **picojoules})

    @cached_property
    def keys(self) -> pd.DataFrame:
        """A row per key in which the machines differ, values as a machine file has them."""
        a, b = self.a.machine.flat(), self.b.machine.flat()
        rows = [(key, str(a[key]), str(b[key])) for key in a if a[key] != b[key] and key != "name"]
        return pd.DataFrame(rows, columns=["key", "a", "b"], dtype="str")

    @cached_property
    def layers(self) -> pd.DataFrame:
        """A row per layer, matched by name, the largest movers first; `where` says who has it: both, a or b.

        Cycles are those of the account: of the critical path. `mostly` is the cause that moved most.
        """
        a, b = self.a.layers, self.b.layers
        keys = dict.fromkeys([*a, *b])
        rows = [_layer_row(key[0], a.get(key), b.get(key)) for key in keys]
        order = sorted(range(len(rows)), key=lambda i: -abs(rows[i]["change"]))
        return pd.DataFrame([rows[i] for i in order], columns=list(_layer_row("", NOTHING, NOTHING)))

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the waterfall of cycles by cause, with matplotlib (extra `[plot]`)."""
        from minisim.reports.plot import plot_waterfall

        causes, changes = (self.causes[column].tolist() for column in ("cause", "change"))
        return plot_waterfall(f"{self.a.name} -> {self.b.name}", causes, changes, self.a.cycles, ax)

    def write(self, out_dir: str | Path, page: bool = False, command: Sequence[str] = ()) -> list[Path]:
        """Write compare.csv and the other tables into a folder: all of them or none.

        Raises:
            OutputError: the folder cannot be written.
        """
        tables = {"causes": self.causes, "energy": self.components, "keys": self.keys, "layers": self.layers}
        return write_comparison(out_dir, self.ratios, tables, self.page(command) if page else "")

    def page(self, command: Sequence[str] = ()) -> str:
        """The comparison as an HTML page; with the `command` that made it, if there was one."""
        from minisim.reports.html.compare_page import compare_page

        return compare_page(self, command)


def write_comparison(
    out_dir: str | Path, main: pd.DataFrame, tables: Mapping[str, pd.DataFrame], page: str = ""
) -> list[Path]:
    """Write `main` as compare.csv, the others as compare_<name>.csv, and a page; those of an older comparison go."""
    older = [f"compare_{kind}.csv" for kind in ("causes", "energy", "keys", "layers", "points", "unmatched", "fronts")]
    with output_set(out_dir, last=COMPARE_FILE, optional=[*older, COMPARE_PAGE]) as staging:
        write_csv(main, staging / COMPARE_FILE)
        for name, table in tables.items():
            write_csv(table, staging / f"compare_{name}.csv")
        if page:
            (staging / COMPARE_PAGE).write_bytes(page.encode("utf-8", "replace"))
    names = [COMPARE_FILE, *(f"compare_{name}.csv" for name in tables), *([COMPARE_PAGE] if page else [])]
    return [Path(out_dir) / name for name in names]


def times(a: float, b: float) -> str:
    """How a time became another one: ``2.00 x as fast``, ``1.50 x the time``, ``as fast``."""
    if not (a and b) or a == b:
        return "as fast" if a == b else "nothing to compare"
    return f"{a / b:.2f} x as fast" if b < a else f"{b / a:.2f} x the time"


def ratio(a: float, b: float) -> float:
    """b / a; NaN where there is no a."""
    return b / a if a else math.nan


def _changes(what: str, a: Mapping[str, int], b: Mapping[str, int]) -> pd.DataFrame:
    names = dict.fromkeys([*a, *b])
    rows = [(name, a.get(name, 0), b.get(name, 0), b.get(name, 0) - a.get(name, 0)) for name in names]
    return pd.DataFrame(rows, columns=[what, "a", "b", "change"])


def _layer_row(name: str, a: Layer | None, b: Layer | None) -> dict[str, Any]:
    where = "a" if b is None else "b" if a is None else "both"
    a, b = a or NOTHING, b or NOTHING
    cycles, energy = (tuple(sum(of.values()) for of in pair) for pair in ((a.cycles, b.cycles), (a.energy, b.energy)))
    moved = {cause: b.cycles.get(cause, 0) - a.cycles.get(cause, 0) for cause in {**a.cycles, **b.cycles}}
    most = max(moved, key=lambda cause: abs(moved[cause]), default="")
    return {
        "name": name,
        "op": a.op or b.op,
        "where": where,
        "cycles_a": cycles[0],
        "cycles_b": cycles[1],
        "change": cycles[1] - cycles[0],
        "mostly": most if moved.get(most) else "",
        "mostly_change": moved.get(most, 0),
        "energy_a_pj": energy[0] / 1000,
        "energy_b_pj": energy[1] / 1000,
        "dram_bytes_a": a.dram_bytes,
        "dram_bytes_b": b.dram_bytes,
    }
