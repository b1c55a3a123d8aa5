"""Sweeps and searches from Python: a model on every machine of a grid, or on those that are worth it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from minisim.compiler.frontend import ModelLike, as_graph
from minisim.compiler.graph import Graph
from minisim.compiler.memory import MEMORY_LIMIT
from minisim.compiler.passes.tile import MAX_OPERATIONS
from minisim.errors import UsageError, shown, truth, whole
from minisim.hwmodel.config import Machine, MachineLike
from minisim.hwmodel.config import keys as machine_keys
from minisim.sweeps.constraints import Constraint
from minisim.sweeps.driver import Computing
from minisim.sweeps.grid import constrained
from minisim.sweeps.identity import digest
from minisim.sweeps.ledger import Ledger
from minisim.sweeps.plan import Entry, dtype_of, task_of, tasks_of
from minisim.sweeps.ranges import parse_param
from minisim.sweeps.results import check_tokens, objectives_of, tokens_of
from minisim.sweeps.rows import Row, row_of
from minisim.sweeps.work import How

if TYPE_CHECKING:
    from minisim.reports.search_frame import Search
    from minisim.reports.sweep_frame import Sweep


def sweep(
    model: ModelLike,
    machine: MachineLike = None,
    *params: str,
    where: str | Sequence[str] = (),
    numerics: bool = False,
    jobs: int = 1,
    ledger: str | Path | None = None,
    **keys: Sequence[object],
) -> Sweep:
    """Time `model` on every machine that differs from `machine` in the values of some keys.

    Args:
        model, machine: as for `run`.
        params: keys with their values, as `--param` takes them: ``ms.sweep("resnet18", "edge_8x8",
            "sram.bytes=64KiB,256KiB")``.
        keys: the same by name, with _ for the dot: ``sram_bytes=["64KiB", "256KiB"], vector_lanes=[8, 16]``.
        where: constraints, which are true of the points that are kept: ``"matrix.rows * matrix.cols == 1024"``.
        numerics: also compute.
        jobs: processes. A script that asks for several has its own work below ``if __name__ == "__main__":``, as
            Python's processes need.
        ledger: a file in which results are kept, and looked up: that of ``minisim sweep``, or a new one.

    Raises:
        MinisimError: a key or a value is none, or the model cannot be read. What one point cannot do is its status.
    """
    constraints = _constraints(where)
    if wrong := [each for each in constraints if each.results]:
        raise UsageError(f"where {wrong[0].text}: names a result, which goes with search alone")
    points = _Points.of(model, machine, params, keys, constraints, numerics)
    from minisim.reports.sweep_frame import Sweep

    with _opened(ledger) as book, points.computing(jobs) as computing:
        return Sweep(points.graph.name, points.rows(points.entries, computing, book))


def search(
    model: ModelLike,
    machine: MachineLike = None,
    *params: str,
    objectives: Sequence[str] = ("cycles", "area"),
    where: str | Sequence[str] = (),
    evaluations: int | None = None,
    seed: int = 0,
    numerics: bool = False,
    jobs: int = 1,
    ledger: str | Path | None = None,
    **keys: Sequence[object],
) -> Search:
    """Find the machines of a grid that are best for `model`, of which a part is timed (extra `[search]`).

    Args:
        model, machine, params, keys, numerics, jobs, ledger: as for `sweep`.
        objectives: what is made small: cycles, time, energy, area, traffic, edp, power; or large: tokens_per_joule,
            of a transformer by name.
        where: constraints, also on results: ``["energy <= 5mJ", "matrix.rows <= matrix.cols"]``.
        evaluations: points to time; default: a tenth of the grid, 20 at least.
        seed: of the search: equal seeds search alike.

    Raises:
        MinisimError: as for `sweep`; or an objective is none, or the package optuna is not there.
    """
    from minisim.sweeps.search import Search as Proposals
    from minisim.sweeps.search import usual

    if isinstance(objectives, str) or not all(isinstance(name, str) for name in objectives) or not objectives:
        raise UsageError(f"objectives must be a list of names, such as ['cycles', 'area'], not {shown(objectives)}")
    names = objectives_of(objectives, "objectives,")
    constraints, tokens = _constraints(where), tokens_of(model)
    check_tokens({*names, *(name for each in constraints for name in each.results)}, "search,", model, tokens)
    seed = whole("seed", seed)
    points = _Points.of(model, machine, params, keys, constraints, numerics)
    most = len(points.entries)
    count = usual(most) if evaluations is None else whole("evaluations", evaluations)
    if count < 1:
        raise UsageError(f"evaluations must be a whole number from 1 on, not {shown(evaluations)}")
    from minisim.reports.search_frame import Search

    on_results = [each for each in constraints if each.results]
    proposals = Proposals(points.entries, names, seed, on_results, tokens)
    with _opened(ledger) as book, points.computing(jobs) as computing:
        proposals.run(min(count, most), lambda entries: points.rows(entries, computing, book))
    found, front = ([each.row_with(proposals) for each in some] for some in (proposals.found, proposals.front()))
    return Search(points.graph.name, found, front, tuple(names), most)


def _constraints(where: object) -> list[Constraint]:
    texts = [where] if isinstance(where, str) else where
    if not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
        raise UsageError(f"where must be a list of texts such as 'matrix.rows <= 64', not {shown(where)}")
    return [Constraint.parse(text, "where") for text in texts]


@dataclass(frozen=True)
class _Points:
    """A model, and the machines of a grid."""

    graph: Graph
    entries: Sequence[Entry]
    how: How

    @classmethod
    def of(
        cls,
        model: ModelLike,
        machine: MachineLike,
        params: Sequence[str],
        keys: dict[str, Sequence[object]],
        constraints: Sequence[Constraint],
        numerics: bool,
    ) -> _Points:
        machine = Machine.of(machine)
        how = How(truth("numerics", numerics), MAX_OPERATIONS, MEMORY_LIMIT, {})
        found = [parse_param(_typed(text)) for text in params]
        names = {key.replace(".", "_"): key for key in machine_keys()}
        found += [parse_param(f"{names.get(name, name)}={_joined(name, values)}") for name, values in keys.items()]
        if not found:
            raise UsageError("a sweep needs a parameter, such as sram_bytes=['64KiB', '256KiB']")
        points = constrained(machine, found, (), [each for each in constraints if not each.results]).points
        if not points:
            raise UsageError(f"no point is left: {' and '.join(each.text for each in constraints)} drops all of them")
        graph = as_graph(model, dtype_of([point.machine for point in points], dict(found)), how.numerics)
        content = digest(graph)
        entries = [
            Entry(graph.name, machine.name, point.params, task_of(content, point.machine, how)) for point in points
        ]
        return cls(graph, entries, how)

    def computing(self, jobs: int) -> Computing:
        """What computes them, in so many processes."""
        if not isinstance(jobs, int) or isinstance(jobs, bool) or jobs < 1:
            raise UsageError(f"jobs must be a whole number from 1 on, not {shown(jobs)}")
        return Computing({task.model: self.graph for task in tasks_of(self.entries)}, self.how, jobs=jobs)

    def rows(self, entries: Sequence[Entry], computing: Computing, ledger: Ledger | None) -> list[Row]:
        """What came of some of the points."""
        found = computing.explored(tasks_of(entries), ledger=ledger)
        return [row_of(entry.params, found[entry.task.key]) for entry in entries]


def _opened(path: str | Path | None) -> Ledger | nullcontext[None]:
    if path is None:
        return nullcontext()
    if not isinstance(path, str | Path):
        raise UsageError(f"ledger must be a path, not {shown(path)}")
    return Ledger(Path(path))


def _typed(text: object) -> str:
    if not isinstance(text, str):
        raise UsageError(f"a parameter must be a text such as 'sram.bytes=64KiB,256KiB', not {shown(text)}")
    return text


def _joined(name: str, values: object) -> str:
    """Values as they would be typed."""
    if isinstance(values, str) or not isinstance(values, Sequence) or not values:
        raise UsageError(f"{name}: must be a list of values, such as ['64KiB', '256KiB'], not {shown(values)}")
    return ",".join(str(value).lower() if isinstance(value, bool) else str(value) for value in values)
