"""What is said while a sweep is at work: how many points are done, how fast, how long it takes, the best so far."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

import click
from rich.console import Console

from minisim.progress import SlowProgress
from minisim.sweeps.plan import Plan, label_of
from minisim.sweeps.work import FAILED, INFEASIBLE, OK, Outcome

EVERY_S = 10.0
"""Seconds between two lines where there is no terminal; later a tenth of what has passed."""


class SweepProgress:
    """A context in which the points of a plan are watched: a bar on a terminal, else a line from time to time."""

    def __init__(
        self, plan: Plan, console: Console, clock: Callable[[], float] = time.monotonic, total: int | None = None
    ) -> None:
        self._bar = SlowProgress(console, "sweeping")
        self._terminal, self._clock = console.is_terminal, clock
        self._labels = {entry.task.key: label_of(entry.params) for entry in plan.entries}
        self._one_model = len(plan.models) == 1
        self._total, self._done, self._computed = total or len(self._labels), 0, 0
        self._counts = dict.fromkeys((OK, INFEASIBLE, FAILED), 0)
        self._best: tuple[int, str] | None = None
        self._began = self._told = clock()

    def __enter__(self) -> SweepProgress:
        self._bar.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.__exit__(kind, error, trace)

    def watch(self, outcome: Outcome, known: bool) -> None:
        """Count what came of a point."""
        self._done += 1
        self._computed += not known
        self._counts[outcome.status] += 1
        if outcome.status == OK and self._one_model:
            cycles = outcome.row()["cycles_total"]
            if self._best is None or cycles < self._best[0]:
                self._best = cycles, outcome.key
        if self._terminal:
            self._bar.advance(self.text(), self._done, self._total)
        elif not known and (now := self._clock()) - self._told >= max(EVERY_S, (self._told - self._began) / 10):
            self._told = now
            click.echo(f"minisim: {self._done:,} of {self._total:,} points: {self.text()}", err=True)

    def text(self) -> str:
        """How fast, how long still, what was found."""
        passed = self._clock() - self._began
        parts = []
        if self._computed and passed > 0:
            rate = self._computed / passed
            parts += [f"{60 * rate:,.0f} a minute", f"{_duration((self._total - self._done) / rate)} left"]
        if self._best:
            parts.append(f"best {self._best[0]:,} cycles ({self._labels[self._best[1]]})")
        parts += [f"{self._counts[status]:,} {status}" for status in (INFEASIBLE, FAILED) if self._counts[status]]
        return ", ".join(parts)


def _duration(seconds: float) -> str:
    whole = round(seconds)
    minutes, hours = whole // 60, whole // 3600
    return f"{hours}:{minutes % 60:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
