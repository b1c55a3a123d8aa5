"""Points of one model, and their rows: what sweep.csv says of each.

Points whose schedule is the same (they differ in bandwidths, say) are compiled once. Work is done in
processes; a point that cannot be compiled, or fails, is a row with its reason, and stops no other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from minisim.compiler.graph import Graph
from minisim.compiler.mapping import Edges, check_layers, check_mapping
from minisim.compiler.memory import MEMORY_LIMIT
from minisim.compiler.passes.tile import MAX_OPERATIONS
from minisim.compiler.pipeline import computed_graph
from minisim.errors import UnsupportedError
from minisim.hwmodel.config import Machine
from minisim.sweeps.driver import explored
from minisim.sweeps.grid import Point
from minisim.sweeps.work import How, Outcome, Task

Row = dict[str, Any]
Progress = Callable[[int, int], None]


def point_rows(
    graph: Graph,
    points: Sequence[Point],
    *,
    numerics: bool = True,
    jobs: int | None = None,
    progress: Progress | None = None,
    max_operations: int = MAX_OPERATIONS,
    memory_limit: int = MEMORY_LIMIT,
    mapping: Mapping[str, Edges] | None = None,
) -> list[Row]:
    """Run every point and return a row for each, in the order of the grid.

    A row holds the parameters under their dotted names, status ("ok", "infeasible" or "failed"), reason,
    and the columns of `summary.csv` (absent unless ok).

    Args:
        jobs: processes; default: one per CPU. 1 works in this process.
        memory_limit: the limit of each process, as for `run`; a point whose values take more is infeasible.
        max_operations: the most that a point may take, as for `compile_graph`; one that takes more is infeasible.
        mapping: edges of tiles by layer, as for `compile_graph`; a point whose machine has no such tiles is infeasible.
    """
    mapping = check_mapping(mapping)
    if points:
        check_names(mapping, graph, points[0].machine)
    tasks = [Task(str(i), "", point.machine) for i, point in enumerate(points)]
    done = 0

    def watch(_: Outcome, __: bool) -> None:
        nonlocal done
        done += 1
        if progress:
            progress(done, len(points))

    how = How(numerics, max_operations, memory_limit, mapping)
    found = explored(tasks, {"": graph}, how, jobs=jobs, watch=watch)
    return [row_of(point.params, found[task.key]) for point, task in zip(points, tasks, strict=True)]


def check_names(mapping: Mapping[str, Edges], graph: Graph, machine: Machine) -> None:
    """Refuse a mapping that names layers which a model has not on a machine; raises as `check_layers` does."""
    if mapping:
        with suppress(UnsupportedError):  # a machine may have no such tiles: that is a row
            check_layers(mapping, computed_graph(graph, machine, numerics=False), machine)


def row_of(params: Mapping[str, str], outcome: Outcome) -> Row:
    """A point's row in sweep.csv."""
    return {**params, "status": outcome.status, "reason": outcome.reason, **outcome.row()}
