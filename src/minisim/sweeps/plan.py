"""The plan of a sweep: every point, of every model on every machine, before any of it is computed."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from minisim.compiler.dtypes import NAME
from minisim.compiler.frontend import load_model
from minisim.compiler.graph import Graph
from minisim.compiler.mapping import read_mapping
from minisim.errors import UsageError, printable
from minisim.hwmodel.config import Machine
from minisim.sweeps.grid import MOST_POINTS, Grid, Point, constrained
from minisim.sweeps.identity import digest, key_of
from minisim.sweeps.rows import Row, check_names, row_of
from minisim.sweeps.specification import Model, Specification
from minisim.sweeps.work import OK, How, Outcome, Task


@dataclass(frozen=True)
class Base:
    """A machine that parameters change: its name in the results, and the points that they make of it."""

    label: str
    machine: Machine
    grid: Grid


@dataclass(frozen=True)
class Entry:
    """A row of sweep.csv to be: a model on a machine.

    Attributes:
        model, config: what the row calls them.
        params: what varies, as typed; with several models or machines these come first.
    """

    model: str
    config: str
    params: Mapping[str, str]
    task: Task


@dataclass(frozen=True)
class Plan:
    """All points of a sweep, in the order of sweep.csv: models, machines, and the last parameter varying fastest.

    Attributes:
        models: by the digests that tasks name.
        typed: by what rows call them, the models as they were asked for.
        dropped: by constraint, the points of a model that it drops.
    """

    specification: Specification
    entries: list[Entry]
    models: Mapping[str, Graph]
    typed: Mapping[str, Model]
    bases: Sequence[Base]
    dropped: Mapping[str, int]
    how: How

    @property
    def tasks(self) -> list[Task]:
        """What is computed: of equal points one."""
        return tasks_of(self.entries)

    def rows(self, found: Mapping[str, Outcome], entries: Sequence[Entry] | None = None) -> list[Row]:
        """The rows of sweep.csv for what came of the tasks; or of some entries alone."""
        rows = []
        for entry in self.entries if entries is None else entries:
            row = row_of(entry.params, found[entry.task.key])
            if row["status"] == OK:  # equal points may be called otherwise
                row |= {"model": entry.model, "config": entry.config}
            rows.append(row)
        return rows


def tasks_of(entries: Sequence[Entry]) -> list[Task]:
    """What is computed for some points: of equal ones one."""
    return list({entry.task.key: entry.task for entry in entries}.values())


def task_of(model: str, machine: Machine, how: How) -> Task:
    """A model, of which this is the digest, on a machine."""
    return Task(key_of(model, machine, how.counts()), model, machine)


def dtype_of(machines: Sequence[Machine], params: Container[str]) -> str:
    """The type in which a model is read for all of these machines: where theirs varies, one float model for all."""
    varies = "matrix.dtype" in params or len({machine.dtype for machine in machines}) > 1
    return "float32" if varies else NAME[machines[0].dtype]


def bases_of(asked: Specification) -> list[Base]:
    """The machines of a sweep, with their points.

    Raises:
        UsageError, ConfigError: with every mistake of the parameters; or no point is left.
    """
    params, constraints = list(asked.param.items()), asked.constraints()
    option = asked.place if asked.place == "--param" else f"{asked.place}: param:"
    machines = [Machine.load(config, asked.overrides) for config in asked.configs]
    labels = _labels([machine.name for machine in machines], asked.configs)
    found = [
        Base(label, machine, constrained(machine, params, asked.link, constraints, option))
        for label, machine in zip(labels, machines, strict=True)
    ]
    count = len(asked.models) * sum(len(base.grid.points) for base in found)
    if not count:
        raise UsageError(f"no point is left: {' and '.join(each.text for each in constraints)} drops all of them")
    if count > MOST_POINTS:
        raise UsageError(f"the sweep would have {count:,} points; the most is {MOST_POINTS:,}")
    return found


def plan_of(asked: Specification, bases: Sequence[Base]) -> Plan:
    """The plan of a sweep over these machines.

    Raises:
        MinisimError: a model cannot be read, or the mapping is not for it.
    """
    points = [point for base in bases for point in base.grid.points]
    dtype = dtype_of([point.machine for point in points], asked.param)
    graphs = []
    for model in asked.models:
        bindings = model.bindings()
        graphs.append(
            load_model(
                model.model,
                dtype,
                bindings.sizes(),
                values=bindings.bound(),
                numerics=asked.numerics,
                memory_limit=asked.memory_limit,
            )
        )
    mapping = read_mapping(asked.mapping) if asked.mapping else {}
    if mapping and len(graphs) > 1:
        raise UsageError(f"{asked.place}: mapping: is of one model's layers, and goes with one model")
    check_names(mapping, graphs[0], points[0].machine)
    how = How(asked.numerics, asked.max_operations, asked.memory_limit, mapping, asked.seed)
    labels = _labels([graph.name for graph in graphs], [model.model for model in asked.models])
    digests = [digest(graph) for graph in graphs]
    dropped = {text: sum(base.grid.dropped[text] for base in bases) for text in bases[0].grid.dropped}
    entries = [
        _entry(base, point, label, known_as, how, (len(graphs) > 1, len(bases) > 1))
        for label, known_as in zip(labels, digests, strict=True)
        for base in bases
        for point in base.grid.points
    ]
    typed = dict(zip(labels, asked.models, strict=True))
    return Plan(asked, entries, dict(zip(digests, graphs, strict=True)), typed, bases, dropped, how)


def _entry(base: Base, point: Point, model: str, known_as: str, how: How, told: tuple[bool, bool]) -> Entry:
    several_models, several_machines = told
    params = {"model": model} if several_models else {}
    params |= {"config": base.label} if several_machines else {}
    config = base.label if several_machines else point.machine.name
    return Entry(model, config, {**params, **point.params}, task_of(known_as, point.machine, how))


def _labels(names: Sequence[str], typed: Sequence[str]) -> list[str]:
    """What models or machines are called: by their names, or as typed where two have one."""
    return [name if names.count(name) == 1 else printable(text) for name, text in zip(names, typed, strict=True)]


def print_plan(plan: Plan, known: int, ledger: str, console: Console, whole: bool) -> None:
    """Say how large a sweep is, and how much of it is known; if `whole`, also what varies."""

    def say(text: str) -> None:
        console.print(text, soft_wrap=True, highlight=False, markup=False)

    settings, tasks = {len(base.grid.points) for base in plan.bases}, plan.tasks
    each = f"{settings.pop():,}" if len(settings) == 1 else "up to " + f"{max(settings):,}"
    machines = f"{_count(len(plan.bases), 'machine')} x {each} settings"
    say(f"{_count(len(plan.entries), 'point')}: {_count(len(plan.specification.models), 'model')} x {machines}")
    for text, count in plan.dropped.items():
        say(f"  {count:,} dropped by {text}")
    if equal := len(plan.entries) - len(tasks):
        say(f"  {equal:,} equal to others")
    if known:
        say(f"  {known:,} known ({ledger})")
    if not whole:
        return
    say(f"  models: {', '.join(dict.fromkeys(entry.model for entry in plan.entries))}")
    say(f"  machines: {', '.join(base.label for base in plan.bases)}")
    for key, values in plan.specification.param.items():
        say(f"  {key}: {', '.join(values)}")
    for keys in plan.specification.link:
        say(f"  together: {', '.join(keys)}")


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


def label_of(params: Mapping[str, Any]) -> str:
    """A point in a line."""
    return " ".join(f"{name}={value}" for name, value in params.items())
