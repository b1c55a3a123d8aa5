"""A progress bar for whatever takes longer than a second; nothing at all for the rest."""

from __future__ import annotations

import threading
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from minisim.compiler.passes.base import IR
from minisim.hwmodel.isa import Schedule

PATIENCE_S = 1.0
EVERY = 4096
"""The operations between two updates."""


class SlowProgress:
    """A context in which work is shown on `console`, from the second on, if that is a terminal.

    It is a `Stage` callback of the compiler (`on_stage`) and an observer of the event model.
    """

    def __init__(self, console: Console, what: str) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=console, transient=True)
        self._task = self._progress.add_task(what, total=None)
        self._timer = threading.Timer(PATIENCE_S, self._progress.start)
        self._timer.daemon = True
        self._shown = console.is_terminal
        self._retired = 0

    def __enter__(self) -> SlowProgress:
        if self._shown:
            self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self._shown:
            self._progress.stop()

    def on_stage(self, number: int, name: str, ir: IR) -> None:
        """A stage of the compiler is done; after the last one, the operations to simulate are known."""
        total = len(ir) if isinstance(ir, Schedule) else None
        text = "simulating" if isinstance(ir, Schedule) else f"compiling: {name} done"
        self._progress.update(self._task, description=text, total=total)

    def on_issue(self, op: int, cycle: int) -> None: ...

    def on_start(self, op: int, cycle: int) -> None: ...

    def on_retire(self, op: int, cycle: int) -> None:
        self._retired += 1
        if self._retired % EVERY == 0:
            self._progress.update(self._task, completed=self._retired)

    def advance(self, description: str, completed: int, total: int) -> None:
        """Show that `completed` of `total` are done."""
        self._progress.update(self._task, description=description, completed=completed, total=total)
