"""Many machines in a batch: a grid of parameters, a row per point.

Points whose schedule is the same (they differ in bandwidths, say) are compiled once. Work is done in
processes; a point that cannot be compiled, or fails, is a row with its reason, and stops no other.
"""

from __future__ import annotations

import itertools
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from minisim.compiler.graph import Graph
from minisim.compiler.mapping import Edges, check_layers, check_mapping
from minisim.compiler.memory import MEMORY_LIMIT, check_numerics
from minisim.compiler.passes.tile import MAX_OPERATIONS
from minisim.compiler.pipeline import compile_graph, compile_tiled, computed_graph, schedule_key, tiled_graph
from minisim.errors import (
    CapacityError,
    ConfigError,
    MemoryLimitError,
    MinisimError,
    UnsupportedError,
    UsageError,
    described,
    one_line,
)
from minisim.hwmodel.config import Machine, parse_value
from minisim.hwmodel.isa import Schedule
from minisim.run import run
from minisim.workers import workers

Row = dict[str, Any]
Progress = Callable[[int, int], None]


KEPT = 1_000_000
"""Operations of schedules that a process keeps for further points, beside the last one."""

BATCHES = 4
"""Parts of a sweep for each process."""

MOST_POINTS = 100_000
"""The most points of a grid: more would take days, and are a slip of the keyboard."""


@dataclass(frozen=True)
class Point:
    """One machine of the grid: its position, its parameters as typed, and the machine."""

    index: int
    params: Mapping[str, str]
    machine: Machine


def parse_param(text: str) -> tuple[str, list[str]]:
    """``sram.bytes=64KiB,128KiB`` -> the key and the values, as typed."""
    key, equals, values = text.partition("=")
    parts = [part.strip() for part in values.split(",")]
    if not equals or not key.strip() or not all(parts):
        raise UsageError(f"--param {text}: must be KEY=VALUE,VALUE,..., such as sram.bytes=64KiB,128KiB")
    return key.strip(), parts


def grid(machine: Machine, params: Sequence[tuple[str, Sequence[str]]]) -> list[Point]:
    """All combinations, the last parameter varying fastest.

    Raises:
        UsageError: a parameter is given twice, or the grid has more than `MOST_POINTS`.
        ConfigError: listing every value that no machine can have.
    """
    names = [name for name, _ in params]
    if twice := {name for name in names if names.count(name) > 1}:
        raise UsageError(f"--param {min(twice)}: given twice; list all its values in one")
    if (count := math.prod(len(values) for _, values in params)) > MOST_POINTS:
        raise UsageError(f"the grid would have {count:,} points; the most is {MOST_POINTS:,}")
    mistakes: dict[str, None] = {}
    points: list[Point] = []
    for index, values in enumerate(itertools.product(*(values for _, values in params))):
        typed = dict(zip(names, values, strict=True))
        try:
            changed = machine.with_overrides({name: parse_value(value) for name, value in typed.items()}, "--param")
        except ConfigError as e:
            mistakes.update(dict.fromkeys(str(e).splitlines()))
            continue
        points.append(Point(index, typed, changed))
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    return points


def sweep(
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
    if mapping and points:
        with suppress(UnsupportedError):  # a machine may have no such tiles: that is a row
            check_layers(mapping, computed_graph(graph, points[0].machine, numerics=False), points[0].machine)
    jobs = min(jobs or os.cpu_count() or 1, len(points))
    how = _How(numerics, max_operations, memory_limit, mapping)
    batches = _batches(points, jobs)
    done: dict[int, Row] = {}
    for rows in _in_processes(graph, batches, how, jobs) if jobs > 1 else _here(graph, batches, how):
        done.update(rows)
        if progress:
            progress(len(done), len(points))
    return [done[point.index] for point in points]


class _How(NamedTuple):
    """How points are run: the options of `sweep`."""

    numerics: bool
    max_operations: int
    memory_limit: int
    mapping: Mapping[str, Edges]


def _batches(points: Sequence[Point], jobs: int) -> list[Sequence[Point]]:
    """Runs of points, neighbours in the grid: they are likely to share a schedule. Several for each process, which may
    take longer for some than for others."""
    size = -(-len(points) // (BATCHES * jobs))
    return [points[i : i + size] for i in range(0, len(points), size)]


class _Work:
    """A model, and the last schedules of it before dispatch by their keys: points of one key share them."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._known: dict[str, Schedule] = {}

    def schedule(self, point: Point, how: _How) -> Schedule:
        machine = point.machine
        tiled = tiled_graph(self.graph, machine, how.max_operations, how.numerics, how.mapping)
        key = schedule_key(tiled, machine)
        found = self._known.pop(key, None) or compile_tiled(tiled, machine)
        self._known[key] = found  # the last one used is the last one
        while len(self._known) > 1 and sum(map(len, self._known.values())) > KEPT:
            del self._known[next(iter(self._known))]
        return compile_graph(self.graph, machine, undispatched=found)


def _here(graph: Graph, batches: Sequence[Sequence[Point]], how: _How) -> Iterator[dict[int, Row]]:
    work = _Work(graph)
    for batch in batches:
        yield _run_batch(work, batch, how)


def _in_processes(graph: Graph, batches: Sequence[Sequence[Point]], how: _How, jobs: int) -> Iterator[dict[int, Row]]:
    """Yield each batch's rows as it completes. A process that dies (of memory, say) costs its batch, not the sweep."""
    waiting = list(batches)
    while waiting:
        with workers(jobs, _set_graph, graph) as pool:
            running: dict[Future[dict[int, Row]], Sequence[Point]] = {}
            for batch in waiting:
                running[pool.submit(_run_batch_in_worker, batch, how)] = batch
            waiting = []
            while running:
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    batch = running.pop(future)
                    try:
                        yield future.result()
                    except BrokenProcessPool:
                        waiting.append(batch)
        if waiting:
            # which of them killed the process is not known: they go on one by one
            for batch in waiting:
                yield from _alone(graph, batch, how)
            return


def _alone(graph: Graph, batch: Sequence[Point], how: _How) -> Iterator[dict[int, Row]]:
    """Yield the rows of the points, each run in a process of its own."""
    for point in batch:
        with workers(1, _set_graph, graph) as pool:
            try:
                yield pool.submit(_run_batch_in_worker, [point], how).result()
            except BrokenProcessPool:
                yield {point.index: _row(point, "failed", "the process died (out of memory?)")}


_work: _Work | None = None


def _set_graph(graph: Graph) -> None:
    """Give a worker process its model, once."""
    global _work
    _work = _Work(graph)


def _run_batch_in_worker(batch: Sequence[Point], how: _How) -> dict[int, Row]:
    assert _work is not None
    return _run_batch(_work, batch, how)


def _run_batch(work: _Work, batch: Sequence[Point], how: _How) -> dict[int, Row]:
    return {point.index: _run_point(work, point, how) for point in batch}


def _run_point(work: _Work, point: Point, how: _How) -> Row:
    from minisim.reports import summary

    graph, machine = work.graph, point.machine
    try:
        if how.numerics:
            check_numerics(graph, machine, how.memory_limit)
        began = time.perf_counter()
        schedule = work.schedule(point, how)
        compile_s = time.perf_counter() - began
        result = run(graph, machine, numerics=how.numerics, schedule=schedule, memory_limit=how.memory_limit)
        record = replace(result.record(), wall_compile_s=compile_s)
        columns: Row = {str(k): v for k, v in summary(record).iloc[0].to_dict().items()}
    except (CapacityError, MemoryLimitError, UnsupportedError) as e:  # no machine of this size, or of this type
        return _row(point, "infeasible", str(e))
    except Exception as e:
        return _row(point, "failed", _reason(e))
    return {**_row(point, "ok", ""), **columns}


def _row(point: Point, status: str, reason: str) -> Row:
    return {**point.params, "status": status, "reason": reason}


def _reason(error: Exception) -> str:
    """One line: a mistake's message as it is, anything else with its type, as the bug that it is."""
    if isinstance(error, MemoryError):
        return "out of memory"
    return one_line(error) if isinstance(error, MinisimError) else f"a bug in minisim: {described(error)}"
