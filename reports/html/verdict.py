"""The verdict on a run in one sentence, and the ladder below it: bounds, this run, the gap, what a change gains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from minisim.reports.html.causes import BOUND_CAUSES, SENTENCE, main_cause
from minisim.reports.html.folder import RunFolder, number
from minisim.reports.html.words import percent, scaled, times, whole, width

AT_BOUND = 1.05
"""A run up to this many times its bound is said to be at it."""

UNITS = {
    "load": ("the load port", "dma.bytes_per_cycle", "{} B/cycle"),
    "store": ("the store port", "dma.bytes_per_cycle", "{} B/cycle"),
    "dram": ("the DRAM", "dram.bandwidth", "{}"),
    "l2": ("the L2's port", "l2.bytes_per_cycle", "{} B/cycle"),
    "noc": ("the network", "noc.bytes_per_cycle", "{} B/cycle"),
    "matrix": ("the array", "matrix.rows", "{} × {}"),
    "vector": ("the vector unit", "vector.lanes", "{} lanes"),
}
"""Each unit in words, the key that says how fast it is, and how that is told."""


OF_A_CORE = ("load", "store", "matrix", "vector")
"""Units that each core has."""


@dataclass(frozen=True)
class Rung:
    """A line of the ladder: a bar of `width`, of which the part behind `solid` is the gap.

    Attributes:
        kind: "unit", "bound", "run" or "change", which is how it is drawn.
        of_run: its cycles beside the run's, in words.
    """

    kind: str
    name: str
    cycles: str
    width: str
    solid: str = ""
    of_run: str = ""


@dataclass(frozen=True)
class Verdict:
    """Parts of the sentence; what is in `strong` stands out.

    Attributes:
        pieces: (text, whether it is emphasised).
        rungs: the ladder.
    """

    pieces: tuple[tuple[str, bool], ...]
    rungs: tuple[Rung, ...]

    @property
    def text(self) -> str:
        """The sentence, plain."""
        return "".join(text for text, _ in self.pieces)


def verdict(run: RunFolder) -> Verdict:
    """How fast, why, and what to change."""
    return Verdict(tuple(_sentence(run)), tuple(_ladder(run)))


def unit_words(unit: str, machine: Mapping[str, str]) -> str:
    """``the load port (16 B/cycle)``."""
    name, key, form = UNITS[unit]
    value = machine.get(key, "")
    if unit == "dram" and machine.get("dram.model") != "ideal":
        value = ""  # a banked one is as fast as its part
    second, cores = machine.get("matrix.cols", ""), machine.get("cores.count", "1")
    several = f", {cores} cores" if unit in OF_A_CORE and cores != "1" else ""
    return f"{name} ({form.format(value, second)}{several})" if value and value != "0" else name


def best_change(file: Mapping[str, Any], cycles: int) -> tuple[str, Mapping[str, str], int] | None:
    """The single change that was simulated and gains most: name, settings, cycles. One of the machine, if there is any:
    another type changes what is computed."""
    ran = [(name, settings, n) for name, settings, n, _ in file["what_if"] if n and n < cycles and ", " not in name]
    return min(ran, key=lambda each: ("matrix.dtype" in each[1], each[2]), default=None)


def _sentence(run: RunFolder) -> Iterator[tuple[str, bool]]:
    cycles, bound = run.cycles, int(run.summary["roofline_cycles"])
    yield scaled(number(run.summary["time_us"]) / 1e6, "s"), True
    unit = run.summary["bound_by"]
    if not unit or not bound:
        yield ": nothing to compute and nothing to move.", False
        return
    yield ", bound by ", False
    yield unit_words(unit, run.machine), True
    over = cycles / bound
    if over <= AT_BOUND:
        yield f", at its bound ({times(over)})", False
    else:
        why = main_cause(run.total, BOUND_CAUSES[unit])
        share = percent(run.total.get(why, 0) / cycles)
        clause = SENTENCE.get(why, why)
        yield " but ", False
        yield f"{times(over)} its bound", True
        yield f": {clause} ({share} of the time)", False
    yield from _advice(run)


def _advice(run: RunFolder) -> Iterator[tuple[str, bool]]:
    best = best_change(run.file, run.cycles)
    if best:
        name, settings, cycles = best
        yield "; ", False
        yield f"{name} gives {times(run.cycles / cycles)}", True
        told = ", ".join(f"{key} = {value}" for key, value in settings.items())
        yield f" ({told}; simulated)." if name != told else " (simulated).", False
    elif any(cycles for _, _, cycles, _ in run.file["what_if"]):
        yield "; no single change that was simulated makes it faster.", False
    else:
        yield ". Other machines were not simulated.", False


def _ladder(run: RunFolder) -> Iterator[Rung]:
    cycles, unit = run.cycles, run.summary["bound_by"]
    if not cycles:
        return
    for name, least in sorted(run.file["bound"].items(), key=lambda item: item[1]):
        kind = "bound" if name == unit else "unit"
        words = unit_words(name, run.machine)
        yield Rung(
            kind,
            words.removeprefix("the "),
            whole(least),
            width(min(1, least / cycles)),
            of_run=percent(least / cycles),
        )
    bound = int(run.summary["roofline_cycles"])
    gap = f"gap {percent(1 - bound / cycles)}"
    yield Rung("run", "this run", whole(cycles), width(1), width(bound / cycles), gap)
    if best := best_change(run.file, cycles):
        name, _, then = best
        yield Rung("change", f"with {name}", whole(then), width(then / cycles), of_run=times(cycles / then))
