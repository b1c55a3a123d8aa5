"""The grid: the machines that parameters make of one, the last parameter varying fastest."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from minisim.errors import ConfigError, UsageError
from minisim.hwmodel.config import Machine, parse_value
from minisim.sweeps.constraints import Constraint, Value
from minisim.sweeps.ranges import numeric

MOST_POINTS = 100_000
"""The most points of a grid: more would take days, and are a slip of the keyboard."""

Params = Sequence[tuple[str, Sequence[str]]]
"""Keys and their values, as typed."""


@dataclass(frozen=True)
class Point:
    """One machine of the grid: its position, its parameters as typed, and the machine."""

    index: int
    params: Mapping[str, str]
    machine: Machine


@dataclass(frozen=True)
class Grid:
    """The points of one machine, in order, and how many the constraints left out.

    Attributes:
        dropped: by constraint, the points that it was the first to drop.
    """

    points: list[Point]
    dropped: dict[str, int]


def grid(machine: Machine, params: Params) -> list[Point]:
    """All combinations, the last parameter varying fastest; raises as `constrained` does."""
    return constrained(machine, params).points


def constrained(
    machine: Machine,
    params: Params,
    linked: Sequence[Sequence[str]] = (),
    constraints: Sequence[Constraint] = (),
    option: str = "--param",
) -> Grid:
    """The combinations of parameters for which all constraints are true.

    Args:
        linked: groups of keys that vary together: they take their first values at once, then their second ones.
        option: where the parameters were given, for messages.

    Raises:
        UsageError: a parameter is given twice, linked ones have different numbers of values, or the grid has more than
            `MOST_POINTS`.
        ConfigError: listing every value that no machine can have.
    """
    axes = _axes(params, linked, option)
    if (count := math.prod(len(axis) for axis in axes)) > MOST_POINTS:
        raise UsageError(f"the grid would have {count:,} points; the most is {MOST_POINTS:,}")
    mistakes: dict[str, None] = {}
    points: list[Point] = []
    dropped = {constraint.text: 0 for constraint in constraints}
    for typed in _combinations(params, axes):
        early = [each for each in constraints if each.keys <= typed.keys()]  # before there is a machine to refuse
        if (false := _first_false(early, _numbers(typed, early))) is not None:
            dropped[false.text] += 1
            continue
        try:
            changed = machine.with_overrides({name: parse_value(value) for name, value in typed.items()}, option)
        except ConfigError as e:
            mistakes.update(dict.fromkeys(str(e).splitlines()))
            continue
        late = next((each for each in constraints if each not in early and not each.holds_on(changed)), None)
        if late is not None:
            dropped[late.text] += 1
            continue
        points.append(Point(len(points), typed, changed))
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    return Grid(points, dropped)


def _axes(params: Params, linked: Sequence[Sequence[str]], option: str) -> list[list[dict[str, str]]]:
    """What varies by itself: for each parameter, or group of linked ones, its settings in order."""
    names = [name for name, _ in params]
    if twice := {name for name in names if names.count(name) > 1}:
        raise UsageError(f"{option} {min(twice)}: given twice; list all its values in one")
    values = dict(params)
    group_of: dict[str, tuple[str, ...]] = {}
    for group in linked:
        if len(set(group)) < 2:
            raise UsageError(f"--link {','.join(group)}: must name two keys at least")
        for name in group:
            if name not in values:
                raise UsageError(f"--link {','.join(group)}: {name} is no parameter here")
            if name in group_of:
                raise UsageError(f"--link {','.join(group)}: {name} is linked already")
            group_of[name] = tuple(group)
        counts = {name: len(values[name]) for name in group}
        if len(set(counts.values())) > 1:
            told = ", ".join(f"{name} has {count}" for name, count in counts.items())
            raise UsageError(f"--link {','.join(group)}: must have as many values each; {told}")
    axes = []
    for group in dict.fromkeys(group_of.get(name, (name,)) for name in names):
        together = zip(*(values[name] for name in group), strict=True)
        axes.append([dict(zip(group, each, strict=True)) for each in together])
    return axes


def _combinations(params: Params, axes: Sequence[Sequence[Mapping[str, str]]]) -> Iterator[dict[str, str]]:
    """The settings of each point, its keys in the order of `params`."""
    for settings in itertools.product(*axes):
        found = {name: value for setting in settings for name, value in setting.items()}
        yield {name: found[name] for name, _ in params}


def _numbers(typed: Mapping[str, str], constraints: Sequence[Constraint]) -> dict[str, Value]:
    """The values of the keys that constraints name, in base units; a text stays what it is."""
    found: dict[str, Value] = {}
    for name in {name for constraint in constraints for name in constraint.keys}:
        try:
            found[name] = numeric(name, typed[name])
        except ValueError:
            value = parse_value(typed[name])
            found[name] = value if isinstance(value, bool) else typed[name]
    return found


def _first_false(constraints: Sequence[Constraint], values: Mapping[str, Value]) -> Constraint | None:
    return next((each for each in constraints if not each.holds(values.__getitem__)), None)
