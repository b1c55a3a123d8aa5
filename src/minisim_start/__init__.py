"""The command from its first moment on: Ctrl-C while the package is imported ends it with a line, as it does later.

It stands beside the package, since whatever is in a package is imported behind the package itself. The package imports
this first: for ``python -m minisim`` that is the first moment.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

LINE, CODE = "minisim: interrupted\n", 128 + signal.SIGINT


def main() -> None:
    """``minisim``, as the shell calls it."""
    _interrupt_ends()
    try:
        with uncollected():
            from minisim.cli import main as command

        gc.freeze()  # nor is it to be looked through while the command works
        _interrupt_raises()
        command(prog_name="minisim")
    except KeyboardInterrupt:
        sys.stderr.write(LINE)
        sys.exit(CODE)


@contextmanager
def uncollected() -> Iterator[None]:
    """Imports in here are not looked through for garbage: they leave next to none, and it was a fifth of their time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _interrupt_ends() -> None:
    """From now on Ctrl-C ends the process with a line, at once: there is nothing yet to leave in order."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else somebody ignores it, or handles it
        signal.signal(signal.SIGINT, _end)


def _interrupt_raises() -> None:
    """From now on it is a KeyboardInterrupt again, as Python has it."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(_: int, __: FrameType | None) -> None:
    os.write(2, LINE.encode())
    os._exit(CODE)


if sys.argv[:1] == ["-m"] and ("minisim" in sys.orig_argv or "-mminisim" in sys.orig_argv):
    _interrupt_ends()  # python -m minisim, which imports the package before the module that it runs
