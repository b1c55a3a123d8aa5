"""The search for the best machines of a grid, of which it computes a part: optuna proposes, the ledger remembers.

Optuna's sampler (TPE) proposes positions on the axes of the grid; taken is the nearest point that the constraints leave
and that was not taken before, so nothing is proposed in vain. Every other proposal is a neighbour of the front found so
far: what is best among machines is seldom alone. Proposals come in batches of a fixed size, so that equal seeds search
alike whoever computes, and however many; and so a search that begins again with its ledger passes by all it knew in a
moment.

A point may run and yet not be what is wanted: constraints on results (``energy <= 5uJ``). How far it is from them is
told to the sampler as optuna's constraints are, which ranks such trials behind all others, the nearest first; and none
of them is on the front.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

try:
    import optuna
except ImportError as e:
    from minisim.errors import MissingExtraError

    raise MissingExtraError.of("optuna", "search", "minisim search") from e

from minisim.sweeps.constraints import Constraint
from minisim.sweeps.plan import Entry
from minisim.sweeps.results import RESULTS, Measured, costs
from minisim.sweeps.rows import Row
from minisim.sweeps.work import OK

BATCH = 4
"""Points that are proposed at once, before any of them is computed, if nobody says how many."""

STARTUP = 12
"""Points that are taken evenly, before the sampler has something to learn from."""

Compute = Callable[[Sequence[Entry]], Sequence[Row]]
"""The rows of points, in order."""


def usual(points: int) -> int:
    """Evaluations of a grid of so many points, if nobody says how many: a tenth, but enough to learn from."""
    return max(20, points // 10)


@dataclass(frozen=True)
class Found:
    """A point that was computed.

    Attributes:
        place: in the grid.
        values: its objectives, as they are told; none unless the point is ok.
        costs: the same as something that is made small.
        violated: the constraints on results that are not true of it.
        violation: how far it is from them; 0 if all are true.
    """

    place: int
    row: Row
    values: tuple[float, ...] = ()
    costs: tuple[float, ...] = ()
    violated: tuple[str, ...] = ()
    violation: float = 0.0

    @property
    def feasible(self) -> bool:
        """Whether it ran, and is what is wanted."""
        return bool(self.values) and not self.violated

    def row_with(self, search: Search) -> Row:
        """Its row, with the objectives behind the outcome, and whether the constraints on results are true of it."""
        named: Row = {f"objective_{name}": value for name, value in zip(search.objectives, self.values, strict=False)}
        if search.constraints and self.values:
            named |= {"feasible": self.feasible, "violated": "; ".join(self.violated)}
        return {**self.row, **named}


@dataclass
class Search:
    """A search over the points of a plan with one model and one machine to change.

    Attributes:
        objectives: names of `RESULTS`.
        constraints: those on results.
        tokens: of a run of the model, if it has some.
        batch: points that are proposed at once.
    """

    entries: Sequence[Entry]
    objectives: Sequence[str]
    seed: int = 0
    constraints: Sequence[Constraint] = ()
    tokens: int | None = None
    batch: int = BATCH
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
            count = min(self.batch, evaluations - len(self.found), len(self._left))
            places = [self._proposed(len(self.found) + i) for i in range(count)]
            for place, row in zip(places, compute([self.entries[place] for place in places]), strict=True):
                self._learn(place, row)
        return self.found

    def front(self) -> list[Found]:
        """Of the feasible points those that no other one beats in all objectives, by the first of them."""
        good = [each for each in self.found if each.feasible]
        best = [each for each in good if not any(beats(other.costs, each.costs) for other in good)]
        return sorted(best, key=lambda each: each.costs)

    def nearest(self) -> Found | None:
        """Where no point is feasible: the one that is nearest to it. None if no machine computes the model."""
        return min((each for each in self.found if each.values), key=lambda each: each.violation, default=None)

    def _proposed(self, turn: int) -> int:
        """The place of the next point; it is taken."""
        front = self._good() if turn >= STARTUP and turn % 2 else []
        place = self._beside(front) if front else None
        if place is None:
            trial = self._study.ask(self._distributions)
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)  # what is taken is told instead
            place = self._nearest([trial.params[name] for name in self._axes])
        del self._left[place]
        return place

    def _good(self) -> list[Found]:
        """What it is worth to look beside: the front, or else what is nearest to being feasible."""
        nearest = self.nearest()
        return self.front() or ([nearest] if nearest else [])

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
        if row["status"] != OK:
            self.found.append(Found(place, row))
            return
        point = Measured(row, self.entries[place].task.machine, self.tokens)
        values = tuple(RESULTS[name].of(point) for name in self.objectives)
        violations = [constraint.violation(point) for constraint in self.constraints]
        violated = tuple(each.text for each, far in zip(self.constraints, violations, strict=True) if far)
        found = Found(place, row, values, costs(values, self.objectives), violated, sum(violations))
        params = dict(zip(self._axes, self._at[place], strict=True))
        self._study.enqueue_trial(params)
        trial = self._study.ask(self._distributions)
        for constraint, far in zip(self.constraints, violations, strict=True):
            trial.set_constraint(constraint.text, far)
        self._study.tell(trial, found.costs)
        self.found.append(found)


def beats(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether the first is nowhere larger, and somewhere smaller."""
    return all(a <= b for a, b in zip(one, other, strict=True)) and tuple(one) != tuple(other)
