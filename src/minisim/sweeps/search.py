"""The search for the best machines of a grid, of which it computes a part: optuna proposes, the ledger remembers.

Optuna's sampler (TPE) proposes positions on the axes of the grid; taken is the nearest point that the constraints leave
and that was not taken before, so nothing is proposed in vain. Every other proposal is a neighbour of the front found so
far: what is best among machines is seldom alone. Proposals come in batches of a fixed size, so that equal seeds search
alike however many processes compute; and so a search that begins again with its ledger passes by all it knew in a
moment.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

try:
    import optuna
except ImportError as e:
    from minisim.errors import MissingExtraError

    raise MissingExtraError.of("optuna", "search", "minisim search") from e

from minisim.errors import UsageError, did_you_mean
from minisim.hwmodel.area import area_mm2
from minisim.hwmodel.config import Machine
from minisim.sweeps.plan import Entry
from minisim.sweeps.rows import Row
from minisim.sweeps.work import OK

BATCH = 4
"""Points that are proposed at once, before any of them is computed."""

STARTUP = 12
"""Points that are taken evenly, before the sampler has something to learn from."""

OBJECTIVES: Mapping[str, Callable[[Row, Machine], float]] = {
    "cycles": lambda row, machine: float(row["cycles_total"]),
    "time": lambda row, machine: float(row["time_us"]),
    "energy": lambda row, machine: float(row["energy_uj"]),
    "area": lambda row, machine: area_mm2(machine),
    "traffic": lambda row, machine: float(row["dram_read_bytes"] + row["dram_write_bytes"]),
    "edp": lambda row, machine: float(row["energy_uj"] * row["time_us"]),
}
"""What may be made small: of a row of the sweep and its machine."""

Compute = Callable[[Sequence[Entry]], Sequence[Row]]
"""The rows of points, in order."""


def usual(points: int) -> int:
    """Evaluations of a grid of so many points, if nobody says how many: a tenth, but enough to learn from."""
    return max(20, points // 10)


def check_objectives(names: Sequence[str], place: str = "--objective") -> None:
    """Refuse what is no objective, or given twice, where it was said.

    Raises:
        UsageError: naming the nearest one.
    """
    for name in names:
        if name not in OBJECTIVES:
            raise UsageError(f"{place} {name}: must be of {', '.join(OBJECTIVES)}{did_you_mean(name, OBJECTIVES)}")
        if names.count(name) > 1:
            raise UsageError(f"{place} {name}: given twice")


@dataclass(frozen=True)
class Found:
    """A point that was computed: its place in the grid, its row, and its objectives (none unless it is ok)."""

    place: int
    row: Row
    values: tuple[float, ...]

    def row_with(self, objectives: Sequence[str]) -> Row:
        """Its row, with the objectives behind the outcome."""
        return {**self.row, **dict(zip((f"objective_{name}" for name in objectives), self.values, strict=False))}


@dataclass
class Search:
    """A search over the points of a plan with one model and one machine to change."""

    entries: Sequence[Entry]
    objectives: Sequence[str]
    seed: int = 0
    found: list[Found] = field(default_factory=list)

    def __post_init__(self) -> None:
        names = list(self.entries[0].params)
        self._axes = {name: list(dict.fromkeys(entry.params[name] for entry in self.entries)) for name in names}
        self._at = [
            tuple(axis.index(entry.params[name]) for name, axis in self._axes.items()) for entry in self.entries
        ]
        self._left = dict.fromkeys(range(len(self.entries)))
        self._random = random.Random(self.seed)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(seed=self.seed, n_startup_trials=STARTUP)
        self._study = optuna.create_study(directions=["minimize"] * len(self.objectives), sampler=sampler)
        self._distributions: dict[str, optuna.distributions.BaseDistribution] = {
            name: optuna.distributions.IntDistribution(0, max(1, len(axis) - 1)) for name, axis in self._axes.items()
        }

    def run(self, evaluations: int, compute: Compute) -> list[Found]:
        """Compute so many points; return them in the order in which they were taken."""
        while self._left and len(self.found) < evaluations:
            count = min(BATCH, evaluations - len(self.found), len(self._left))
            places = [self._proposed(len(self.found) + i) for i in range(count)]
            for place, row in zip(places, compute([self.entries[place] for place in places]), strict=True):
                self._learn(place, row)
        return self.found

    def front(self) -> list[Found]:
        """The points that no other one beats in all objectives, by the first of them."""
        good = [each for each in self.found if each.values]
        best = [each for each in good if not any(beats(other.values, each.values) for other in good)]
        return sorted(best, key=lambda each: each.values)

    def _proposed(self, turn: int) -> int:
        """The place of the next point; it is taken."""
        front = self.front() if turn >= STARTUP and turn % 2 else []
        place = self._beside(front) if front else None
        if place is None:
            trial = self._study.ask(self._distributions)
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)  # what is taken is told instead
            place = self._nearest([trial.params[name] for name in self._axes])
        del self._left[place]
        return place

    def _beside(self, front: Sequence[Found]) -> int | None:
        """A point that is left one step beside one of the front, or None."""
        ends = {self._at[each.place] for each in front}
        near = [
            place
            for place in self._left
            if any(sum(abs(a - b) for a, b in zip(self._at[place], end, strict=True)) == 1 for end in ends)
        ]
        return self._random.choice(near) if near else None

    def _nearest(self, wanted: Sequence[int]) -> int:
        sizes = [max(1, len(axis) - 1) for axis in self._axes.values()]

        def distance(place: int) -> float:
            return sum(((a - b) / size) ** 2 for a, b, size in zip(self._at[place], wanted, sizes, strict=True))

        return min(self._left, key=distance)

    def _learn(self, place: int, row: Row) -> None:
        values: tuple[float, ...] = ()
        if row["status"] == OK:
            machine = self.entries[place].task.machine
            values = tuple(OBJECTIVES[name](row, machine) for name in self.objectives)
            params: dict[str, Any] = dict(zip(self._axes, self._at[place], strict=True))
            trial = optuna.trial.create_trial(params=params, distributions=self._distributions, values=list(values))
            self._study.add_trial(trial)
        self.found.append(Found(place, row, values))


def beats(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether the first is nowhere larger, and somewhere smaller."""
    return all(a <= b for a, b in zip(one, other, strict=True)) and tuple(one) != tuple(other)
