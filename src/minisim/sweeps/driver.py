"""The driver of a sweep: what the ledger knows is taken from it, the rest is computed and put there as it comes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, closing
from types import TracebackType

from minisim.compiler.graph import Graph
from minisim.sweeps.identity import packed
from minisim.sweeps.lanes import Known, Stream, local
from minisim.sweeps.ledger import Ledger
from minisim.sweeps.work import Computer, How, Outcome, Task

WORTH = 4
"""Computing in this process waits while the ledger is written: before, it computes so many times as long as that."""

Watch = Callable[[Outcome, bool], None]
"""Called for each point with what came of it, and whether that was known before."""


class Computing:
    """A context in which tasks of some models are computed: here, in processes, or on a cluster.

    Whatever computes is begun when there is something to compute, and stays until the end: so a search, which asks
    again and again, has its processes, or its workers and their models, from its first batch on. It has the models
    that the first tasks name: all later ones must be of those.
    """

    def __init__(
        self, models: Mapping[str, Graph], how: How, *, jobs: int | None = None, cluster: str | None = None
    ) -> None:
        """Nothing is begun yet.

        Args:
            models: by the digests that tasks name.
            jobs: processes; default: one per CPU. 1 works in this process.
            cluster: the address of a dask scheduler, whose workers compute instead.
        """
        self.models, self.how = models, how
        self._jobs, self._cluster = jobs or os.cpu_count() or 1, cluster
        self._stack = ExitStack()
        self._stream: Stream | None = None

    def __enter__(self) -> Computing:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def explored(
        self,
        tasks: Sequence[Task],
        *,
        ledger: Ledger | None = None,
        watch: Watch = lambda outcome, known: None,
    ) -> dict[str, Outcome]:
        """What came of each task, by its key.

        Args:
            tasks: no two of one key.
            ledger: what is in it is not computed, and what is computed is put into it.
        """
        found = ledger.known(task.key for task in tasks) if ledger else {}
        for outcome in found.values():
            watch(outcome, True)
        left = [task for task in tasks if task.key not in found]
        seen = set(found)

        def known(task: Task) -> Outcome | None:
            """Another sweep, at work beside this one, may have put it into the ledger meanwhile."""
            outcome = ledger.known([task.key]).get(task.key) if ledger else None
            if outcome:
                seen.add(task.key)
            return outcome

        if not left:
            return found
        with closing(self._begun(left)(left, known)) as stream:
            for outcomes in stream:
                if ledger:
                    ledger.keep([outcome for outcome in outcomes if outcome.key not in seen])
                for outcome in outcomes:
                    found[outcome.key] = outcome
                    watch(outcome, outcome.key in seen)
        return found

    def _begun(self, tasks: Sequence[Task]) -> Stream:
        """What computes; of processes there are no more than tasks in the first call."""
        if self._stream is None:
            used = {task.model: self.models[task.model] for task in tasks}
            jobs = min(self._jobs, len(tasks))
            if self._cluster is not None:
                from minisim.sweeps.cluster import on_cluster

                packs = {name: packed(graph) for name, graph in used.items()}
                self._stream = self._stack.enter_context(on_cluster(self._cluster, packs, self.how))
            elif jobs > 1:
                packs = {name: packed(graph) for name, graph in used.items()}
                self._stream = self._stack.enter_context(local(packs, self.how, jobs))
            else:
                self._stream = _Here(used, self.how)
        return self._stream


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
    """What came of each task, by its key; arguments are those of `Computing` and its `explored`."""
    with Computing(models, how, jobs=jobs, cluster=cluster) as computing:
        return computing.explored(tasks, ledger=ledger, watch=watch)


class _Here:
    """Computes tasks in this process. What came is handed over at once, unless that takes more time than the rest."""

    def __init__(self, models: Mapping[str, Graph], how: How) -> None:
        self._computer, self._how = Computer(models), how

    def __call__(self, tasks: Sequence[Task], known: Known) -> Generator[list[Outcome], None, None]:
        came: list[Outcome] = []
        last, took = time.perf_counter(), 0.0
        for task in tasks:
            came.append(known(task) or self._computer.compute(task, self._how))
            if (now := time.perf_counter()) - last >= WORTH * took:
                yield came
                last = time.perf_counter()
                came, took = [], last - now
        if came:
            yield came
