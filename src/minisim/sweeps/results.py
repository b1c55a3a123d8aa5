"""Results of a point by name: what a search makes small or large, and what constraints may name beside keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from minisim.compiler.transformers import is_transformer, transformer
from minisim.errors import UsageError, did_you_mean, shown
from minisim.hwmodel.area import area_mm2
from minisim.hwmodel.config import Machine
from minisim.hwmodel.units import ENERGY, POWER, TIME, Unit

TOKENS_PER_JOULE = "tokens_per_joule"

ALIASES = {"tokens/s/W": TOKENS_PER_JOULE, "tokens/J": TOKENS_PER_JOULE}
"""Other names of objectives: tokens a second for each watt are tokens for each joule."""

ENERGIES = Unit(
    ENERGY.what,
    "5uJ",
    {**ENERGY.scales, "uJ": Fraction(10**9), "mJ": Fraction(10**12), "J": Fraction(10**15)},
    base=ENERGY.base,
)
"""Energies of whole runs, which are larger than those of a machine's keys."""


@dataclass(frozen=True)
class Measured:
    """A point that ran: its row of sweep.csv, its machine, and the tokens of the model's run (None: it has none)."""

    row: Mapping[str, Any]
    machine: Machine
    tokens: int | None = None

    @property
    def joules(self) -> float:
        return float(self.row["energy_uj"]) / 1e6


@dataclass(frozen=True)
class Result:
    """A number that a run gives, or its machine.

    Attributes:
        unit: of the number, as it is told; "" of a count.
        of: the number of a point.
        larger: whether more is better.
        quantity: how it is written in a constraint, where it must have a unit; None: it is a plain number.
        base: what the number is multiplied with for the base unit of `quantity`.
    """

    unit: str
    of: Callable[[Measured], float]
    larger: bool = False
    quantity: Unit | None = None
    base: Fraction = Fraction(1)

    def exact(self, point: Measured) -> Fraction:
        """The number in a constraint: exactly what the row has, in the base unit."""
        return Fraction(self.of(point)) * self.base


def _per_joule(point: Measured) -> float:
    assert point.tokens is not None  # `check_tokens` has refused the others
    if not point.joules:
        raise UsageError(f"{TOKENS_PER_JOULE}: a run took no energy at all: [energy] of the machine has no prices")
    return point.tokens / point.joules


def _watts(point: Measured) -> float:
    """The mean over the run, which may be of nothing."""
    return float(point.row["energy_uj"] / point.row["time_us"]) if point.row["time_us"] else 0.0


RESULTS: Mapping[str, Result] = {
    "cycles": Result("", lambda p: float(p.row["cycles_total"])),
    "time": Result("us", lambda p: float(p.row["time_us"]), quantity=TIME, base=Fraction(1, 10**6)),
    "energy": Result("uJ", lambda p: float(p.row["energy_uj"]), quantity=ENERGIES, base=Fraction(10**9)),
    "area": Result("mm2", lambda p: area_mm2(p.machine)),
    "traffic": Result("B", lambda p: float(p.row["dram_read_bytes"] + p.row["dram_write_bytes"])),
    "edp": Result("uJ us", lambda p: float(p.row["energy_uj"] * p.row["time_us"])),
    "power": Result("W", _watts, quantity=POWER),
    TOKENS_PER_JOULE: Result("", _per_joule, larger=True),
}
"""What may be an objective, or stand in a constraint of a search. Those are made small of which less is better."""


def objectives_of(names: Iterable[str], place: str = "--objective") -> list[str]:
    """The objectives of these names, of which some have two.

    Raises:
        UsageError: one is no objective, or given twice; the nearest one is told.
    """
    found: list[str] = []
    for name in names:
        known = ALIASES.get(name, name)
        if known not in RESULTS:
            raise UsageError(
                f"{place} {name}: must be of {', '.join(RESULTS)}{did_you_mean(name, [*RESULTS, *ALIASES])}"
            )
        if known in found:
            raise UsageError(f"{place} {name}: given twice")
        found.append(known)
    return found


def tokens_of(model: object) -> int | None:
    """The tokens of a run of a model, as typed: a transformer by name says how many; None of all else."""
    return transformer(model).prefill if isinstance(model, str) and is_transformer(model) else None


def check_tokens(names: Iterable[str], place: str, model: object, tokens: int | None) -> None:
    """Refuse tokens for each joule of what has no tokens.

    Raises:
        UsageError: naming what has some.
    """
    if TOKENS_PER_JOULE in names and tokens is None:
        which = shown(model) if isinstance(model, str) else "this model"
        raise UsageError(
            f"{place} {TOKENS_PER_JOULE}: goes with a transformer by name such as bert:base, whose run is of so many "
            f"tokens, not with {which}"
        )


def told(value: float, name: str) -> str:
    """A result with its unit."""
    return f"{value:,.6g} {RESULTS[name].unit}".rstrip()


def costs(values: Sequence[float], names: Sequence[str]) -> tuple[float, ...]:
    """Objectives as something that is made small, each."""
    return tuple(-value if RESULTS[name].larger else value for value, name in zip(values, names, strict=True))
