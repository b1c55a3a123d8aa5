"""Worker processes that never outlive what they work for.

They end when the parent's work does, when it is interrupted or fails, and when the parent is killed, even by
kill -9: each holds the reading end of a pipe whose only writing end is the parent's, and leaves when that closes. Linux
also sends them SIGKILL then, for the case that a worker cannot run Python code at the moment.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import active_children, current_process
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any

from minisim.errors import UsageError
from minisim.stopped import END

PR_SET_PDEATHSIG = 1
"""The option of Linux's prctl that sets the signal which a process gets when the one that started it ends."""


class _Shielded(SpawnProcess):
    """Born deaf to Ctrl-C, which goes to all processes at a terminal: it is the parent's to tell."""

    def start(self) -> None:
        with _interrupted_later():
            super().start()


@contextmanager
def _interrupted_later() -> Iterator[None]:
    """A SIGINT, or a signal to end, waits until the end: a process that is begun by half would say so, at length.

    SIGINT is blocked, for the process that is begun to inherit that. But it may come to another thread, and then Python
    tells the main one: so what it tells is put off, too.
    """
    came: list[int] = []
    put_off = (signal.SIGINT, *END) if threading.current_thread() is threading.main_thread() else ()
    handlers = {number: signal.signal(number, lambda number, _: came.append(number)) for number in put_off}
    can_block = hasattr(signal, "pthread_sigmask")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if can_block else set()
    try:
        yield
    finally:
        if can_block:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


class _Context(SpawnContext):
    """The workers must not inherit threads of the parent's libraries."""

    Process = _Shielded


@contextmanager
def workers(jobs: int, initializer: Callable[..., None], *arguments: Any) -> Iterator[ProcessPoolExecutor]:
    """A pool of `jobs` processes, each of which has called `initializer` first. Leaving by an exception kills them.

    Raises:
        UsageError: this process is itself one that is being begun: a script's own work is done again in each.
    """
    if getattr(current_process(), "_inheriting", False):
        raise UsageError(
            "several processes: each reads your script first, so its own work must stand below "
            'if __name__ == "__main__":'
        )
    context = _Context()
    watched, held = context.Pipe(duplex=False)
    others = set(active_children())
    pool = ProcessPoolExecutor(
        jobs, context, initializer=_begin, initargs=(watched, os.getpid(), initializer, arguments)
    )
    try:
        yield pool
    except BaseException:
        held.close()
        for worker in set(active_children()) - others:
            worker.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        held.close()
        watched.close()


def _begin(watched: Connection, parent: int, initializer: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """First thing in a worker: watch the parent, leave Ctrl-C to it, then whatever the caller wants."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where signals cannot be blocked from the start
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # a C library without prctl: the pipe is enough
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before that
            os._exit(1)
    threading.Thread(target=_leave_with, args=(watched,), daemon=True).start()
    initializer(*arguments)


def _leave_with(watched: Connection) -> None:
    """Wait until the other end of the pipe closes, and end this process."""
    with suppress(EOFError, OSError):
        watched.recv_bytes()
    os._exit(1)
