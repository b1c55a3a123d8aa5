"""Lanes: what takes one task after the other. Here each is a process; on a cluster, a worker.

Tasks are handed out in runs of neighbours, which are likely to share a schedule, so each run goes to one lane; but one
by one, so that a lane that dies loses no more than what it was at. A task on which a lane died is tried once more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol

from minisim.sweeps.work import FAILED, How, Outcome, Task, compute, hold
from minisim.workers import workers

RUNS = 4
"""Runs of a sweep for each lane, which may take longer for some than for others."""

AHEAD = 4
"""Tasks that a lane has: one that it is at, and those that it goes on with while the driver writes the ledger."""

TRIES = 2
"""How often a task is tried on which a lane died."""

DIED = "the process died (out of memory?)"

Known = Callable[[Task], Outcome | None]
"""What is known of a task when its turn comes."""

Stream = Callable[[Sequence[Task], Known], Generator[list[Outcome], None, None]]
"""Computes tasks, and yields what came of them as it comes, in any order."""


class Lost(Exception):
    """A lane ended without an answer."""


class Lane(Protocol):
    """What computes one task after the other, in the order in which it was given them."""

    def submit(self, task: Task, how: How) -> Future[Outcome]:
        """Raises Lost where the lane has ended; so does the result of what it was at then."""

    def renew(self) -> None:
        """Begin anew after the lane was lost."""


class LocalLane:
    """A process of this computer."""

    def __init__(self, models: Mapping[str, bytes]) -> None:
        self._models = models
        self._open()

    def _open(self) -> None:
        self._stack = ExitStack()
        self._pool = self._stack.enter_context(workers(1, hold, self._models))

    def __enter__(self) -> LocalLane:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def submit(self, task: Task, how: How) -> Future[Outcome]:
        try:
            return self._pool.submit(compute, task, how)
        except BrokenProcessPool as e:
            raise Lost from e

    def renew(self) -> None:
        self._stack.close()
        self._open()


@contextmanager
def local(models: Mapping[str, bytes], how: How, jobs: int) -> Iterator[Stream]:
    """So many processes, which compute tasks of these models as long as the context lasts."""
    with ExitStack() as stack:
        lanes = [stack.enter_context(LocalLane(models)) for _ in range(jobs)]
        yield lambda tasks, known: streamed(tasks, lanes, how, known)


@dataclass(eq=False)
class _Used:
    """A lane at work: what it was given and has not answered, and what it takes next, in order."""

    lane: Lane
    given: dict[Future[Outcome], Task] = field(default_factory=dict)
    next: deque[Task] = field(default_factory=deque)


def streamed(
    tasks: Sequence[Task],
    lanes: Sequence[Lane],
    how: How,
    known: Known,
    joined: Callable[[], Sequence[Lane]] = lambda: (),
    look_s: float | None = None,
) -> Generator[list[Outcome], None, None]:
    """Compute tasks on lanes; yield what came of them as it comes, in any order.

    Args:
        joined: asked for further lanes, after so many seconds at the latest.
    """
    runs, tries = _runs(tasks, len(lanes)), dict.fromkeys((task.key for task in tasks), 0)
    used = [_Used(lane) for lane in lanes]
    while True:
        used += [_Used(lane) for lane in joined()]
        found = [outcome for each in used for outcome in _fill(each, runs, how, known)]
        if found:
            yield found
        futures = [future for each in used for future in each.given]
        if not futures:
            return
        done, _ = wait(futures, look_s, FIRST_COMPLETED)
        for each in used:
            if came := _answers(each, done, tries):
                yield came


def _runs(tasks: Sequence[Task], lanes: int) -> deque[deque[Task]]:
    """Runs of neighbours of about equal length, and of one model each."""
    size = -(-len(tasks) // (RUNS * lanes)) if tasks else 1
    found: deque[deque[Task]] = deque()
    for task in tasks:
        if not found or len(found[-1]) == size or found[-1][-1].model != task.model:
            found.append(deque())
        found[-1].append(task)
    return found


def _fill(used: _Used, runs: deque[deque[Task]], how: How, known: Known) -> Iterator[Outcome]:
    """Give a lane work until it has enough; yield what need not be computed."""
    while len(used.given) < AHEAD and (used.next or runs):
        if not used.next:
            used.next = runs.popleft()
        task = used.next[0]
        if outcome := known(task):
            yield outcome
        else:
            try:
                used.given[used.lane.submit(task, how)] = task
            except Lost:
                if used.given:  # they will say so themselves
                    return
                used.lane.renew()
                continue
        used.next.popleft()


def _answers(used: _Used, done: set[Future[Outcome]], tries: dict[str, int]) -> list[Outcome]:
    """What a lane has answered. If it died, what it was at is tried again, or fails."""
    found: list[Outcome] = []
    for future in [future for future in used.given if future in done]:
        try:
            found.append(future.result())
        except (BrokenProcessPool, Lost):
            break
        del used.given[future]
    else:
        return found
    left = list(used.given.values())
    used.given.clear()
    tries[left[0].key] += 1
    if tries[left[0].key] == TRIES:
        found.append(Outcome(left[0].key, FAILED, DIED, ""))
        del left[0]
    used.next.extendleft(reversed(left))
    used.lane.renew()
    return found
