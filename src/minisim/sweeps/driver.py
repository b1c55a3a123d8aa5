"""The driver of a sweep: what the ledger knows is taken from it, the rest is computed and put there as it comes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing

from minisim.compiler.graph import Graph
from minisim.sweeps.identity import packed
from minisim.sweeps.lanes import Known, local
from minisim.sweeps.ledger import Ledger
from minisim.sweeps.work import Computer, How, Outcome, Task

WORTH = 4
"""Computing in this process waits while the ledger is written: before, it computes so many times as long as that."""

Watch = Callable[[Outcome, bool], None]
"""Called for each point with what came of it, and whether that was known before."""


def explored(
    tasks: Sequence[Task],
    models: Mapping[str, Graph],
    how: How,
    *,
    jobs: int | None = None,
    cluster: str | None = None,
    ledger: Ledger | None = None,
    watch: Watch = lambda outcome, known: None,
) -> dict[str, Outcome]:
    """What came of each task, by its key.

    Args:
        tasks: no two of one key.
        models: by the digests that tasks name.
        jobs: processes; default: one per CPU. 1 works in this process.
        cluster: the address of a dask scheduler, whose workers compute instead.
        ledger: what is in it is not computed, and what is computed is put into it.
    """
    found = ledger.known(task.key for task in tasks) if ledger else {}
    for outcome in found.values():
        watch(outcome, True)
    left = [task for task in tasks if task.key not in found]
    jobs = min(jobs or os.cpu_count() or 1, len(left))
    seen = set(found)

    def known(task: Task) -> Outcome | None:
        """Another sweep, at work beside this one, may have put it into the ledger meanwhile."""
        outcome = ledger.known([task.key]).get(task.key) if ledger else None
        if outcome:
            seen.add(task.key)
        return outcome

    if not left:
        return found
    with closing(_computed(left, models, how, jobs, cluster, known)) as stream:
        for outcomes in stream:
            if ledger:
                ledger.keep([outcome for outcome in outcomes if outcome.key not in seen])
            for outcome in outcomes:
                found[outcome.key] = outcome
                watch(outcome, outcome.key in seen)
    return found


def _computed(
    tasks: Sequence[Task], models: Mapping[str, Graph], how: How, jobs: int, cluster: str | None, known: Known
) -> Generator[list[Outcome], None, None]:
    used = {task.model: models[task.model] for task in tasks}
    if cluster is not None:
        from minisim.sweeps.cluster import on_cluster

        yield from on_cluster(cluster, tasks, {name: packed(graph) for name, graph in used.items()}, how, known)
    elif jobs > 1:
        yield from local(tasks, {name: packed(graph) for name, graph in used.items()}, how, jobs, known)
    else:
        yield from _here(tasks, used, how, known)


def _here(tasks: Sequence[Task], models: Mapping[str, Graph], how: How, known: Known) -> Iterator[list[Outcome]]:
    """Compute tasks in this process. What came is handed over at once, unless that takes more time than the rest."""
    computer, came = Computer(models), []
    last, took = time.perf_counter(), 0.0
    for task in tasks:
        came.append(known(task) or computer.compute(task, how))
        if (now := time.perf_counter()) - last >= WORTH * took:
            yield came
            last = time.perf_counter()
            came, took = [], last - now
    if came:
        yield came
