"""The causes of cycles on a page: which colour and pattern each has, and how a sentence says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minisim.reports.account import GROUPS
from minisim.reports.cause import Cause
from minisim.reports.html.words import percent, whole, width

SENTENCE: dict[str, str] = {
    Cause.COMPUTE: "computing is not hidden behind moving data",
    Cause.PADDING: "blocks leave a part of the array empty",
    Cause.ARRAY: "weights are shifted in while nothing hides it",
    Cause.VECTOR: "the vector unit is waited for",
    Cause.LOAD_PORT: "loads are waited for, which pass the port one by one",
    Cause.LOAD_DRAM: "loads are waited for, at the pace of the DRAM",
    Cause.LOAD_REQUESTS: "bursts wait for a slot",
    Cause.DRAM_LATENCY: "loads are waited for that are on their way",
    Cause.DRAM_CONTENTION: "transfers wait for each other at the DRAM",
    Cause.L2: "transfers pass the L2 one by one",
    Cause.NOC: "transfers pass the network one by one",
    Cause.STORE: "stores are waited for",
    Cause.SRAM_SPACE: "loads wait for places in SRAM",
    Cause.DEPENDENCY: "units wait for each other's results",
    Cause.CONTROL: "operations wait to be dispatched",
    Cause.SETUP: "setup is not hidden",
    Cause.START: "nothing is computed until the first data are there",
    Cause.TAIL: "the last stores end long after the last computation",
    Cause.LAUNCH: "the host takes long to launch",
}
"""Each cause as a clause, for the verdict."""

BOUND_CAUSES = {
    "load": (Cause.LOAD_PORT,),
    "store": (Cause.STORE,),
    "dram": (Cause.LOAD_DRAM, Cause.STORE),
    "l2": (Cause.L2,),
    "noc": (Cause.NOC,),
    "matrix": (Cause.COMPUTE,),
    "vector": (Cause.VECTOR,),
}
"""What a cycle goes to in which the unit of the bound does the work that the bound counts."""

SEEN = 0.0004
"""The share of a bar's width from which a part is drawn: half a pixel of a wide screen."""

SHADES = 5
"""Shades of a group's colour; the causes of a group take them in turn."""


@dataclass(frozen=True)
class Part:
    """A part of a stacked bar: its class (colour and pattern), its width, and what it says."""

    style: str
    width: str
    text: str


@dataclass(frozen=True)
class Palette:
    """The causes of a run, as run.json has them: name, group, meaning."""

    causes: Sequence[Sequence[str]]

    @staticmethod
    def of(file: Mapping[str, Any]) -> Palette:
        return Palette(file["causes"])

    def style(self, cause: str) -> str:
        """CSS classes: the group's pattern and colour, and a shade."""
        groups = list(GROUPS)
        group = next((group for name, group, _ in self.causes if name == cause), groups[-1])
        among = [name for name, other, _ in self.causes if other == group]
        shade = among.index(cause) % SHADES if cause in among else 0
        return f"g{groups.index(group) if group in groups else 0} s{shade}"

    def parts(self, cycles: Mapping[str, int], scale: float) -> list[Part]:
        """A stacked bar, in the order of the causes; `scale` is the cycles of a whole width."""
        total = sum(cycles.values())
        return [
            Part(self.style(name), width(n / scale),
                 f"{name}: {whole(n)} cycles, {percent(n / total)}")
            for name, *_ in self.causes if (n := cycles.get(name, 0)) > SEEN * scale
        ]  # fmt: skip

    def spoken(self, cycles: Mapping[str, int]) -> str:
        """The bar in words, the largest part first."""
        total = sum(cycles.values())
        ordered = sorted(cycles.items(), key=lambda item: -item[1])
        return ", ".join(f"{name} {percent(n / total)}" for name, n in ordered if n)


def main_cause(cycles: Mapping[str, int], but: Sequence[str] = ()) -> str:
    """The cause with the most cycles, leaving some out; "" if there is none."""
    left = {cause: n for cause, n in cycles.items() if n and cause not in but}
    return max(left, key=lambda cause: left[cause], default="")
