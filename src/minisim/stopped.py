"""What ends a command, and is nobody's mistake: Ctrl-C, kill, and memory that runs out. One line, and an exit code."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click

from minisim.errors import one_line

INTERRUPTED, OUT_OF_MEMORY = 130, 71
"""Exit codes: what shells have for SIGINT (128 + 2), and sysexits' EX_OSERR."""

END = (signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))
"""The signals that ask a process to end: kill's, and that of a terminal which is closed."""


class Ended(KeyboardInterrupt):
    """A signal of END: it is handled as Ctrl-C is, so that worker processes and files by half go first."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.code = 128 + number


@contextmanager
def stops_told() -> Iterator[None]:
    """Within it, KeyboardInterrupt, Ended and MemoryError, from wherever, end the process as the module says."""
    try:
        with _end_raised():
            yield
    except Ended as e:
        click.echo("minisim: terminated", err=True)
        sys.exit(e.code)
    except KeyboardInterrupt:
        click.echo("minisim: interrupted", err=True)
        sys.exit(INTERRUPTED)
    except MemoryError as e:  # numpy's has a text, Python's and the engine's (std::bad_alloc) have none that helps
        text = one_line(e)
        click.echo(f"minisim: out of memory{f': {text}' if text.startswith('Unable') else ''}", err=True)
        sys.exit(OUT_OF_MEMORY)


@contextmanager
def _end_raised() -> Iterator[None]:
    """Within it, the signals of END are raised as Ended, but not those that someone handles, or ignores (nohup)."""
    if threading.current_thread() is not threading.main_thread():  # Python forbids it, and tells the main one
        yield
        return
    ours = [number for number in END if signal.getsignal(number) == signal.SIG_DFL]
    for number in ours:
        signal.signal(number, _raise_ended)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _raise_ended(number: int, _: FrameType | None) -> None:
    raise Ended(number)
