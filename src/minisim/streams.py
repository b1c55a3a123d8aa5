"""Standard output and standard error of the command line, on any terminal, pipe or disk.

A character that the terminal's encoding does not have is written as an escape, or as its likeness in ASCII. What cannot
be written at all is an OutputError, or, if nobody reads any more, a ReaderGone.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

from minisim.errors import OutputError

LIKENESS = {"█": "#", "…": "~", "━": "-", "─": "-", "│": "|", "•": "*", "·": "."}
"""What our tables and bars are drawn with, and what stands for it in ASCII, one column each."""

_HANDLER = "minisim"


class ReaderGone(Exception):
    """Whoever read our standard output has closed it: there is nobody left to write for."""


@contextmanager
def safe_streams() -> Iterator[None]:
    """Within it, sys.stdout and sys.stderr are safe to print to; at its end, all is written.

    Raises:
        OutputError, ReaderGone: standard output could not be written. Standard error is not worth that: its
            failures are passed over.
    """
    stdout, stderr = sys.stdout, sys.stderr
    with _encodable(stdout), _encodable(stderr):
        out = _Stream(stdout)
        sys.stdout, sys.stderr = cast(TextIO, out), cast(TextIO, _Stream(stderr, lenient=True))
        try:
            yield
        finally:
            sys.stdout, sys.stderr = stdout, stderr
            if not out.failure:
                out.flush()


class _Stream:
    """A text stream with our words for its failures; all else is the stream's (but for `buffer`: no way around us).

    Once it has failed, every further call does; if it is `lenient`, no call does.
    """

    def __init__(self, stream: TextIO | None, lenient: bool = False) -> None:
        self._stream = stream  # None: there is nowhere to write to, and that is no failure
        self._lenient = lenient
        self.failure: Exception | None = None

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"only text can be written, not {type(text).__name__}")
        self._try(lambda stream: stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._try(lambda stream: stream.flush())

    def isatty(self) -> bool:
        return bool(self._stream and not self._stream.closed and self._stream.isatty())

    def _try(self, call: Callable[[TextIO], object]) -> None:
        if self._stream is not None and self.failure is None:
            try:
                call(self._stream)
            except BrokenPipeError:
                self.failure = ReaderGone()
            except (OSError, ValueError) as e:  # ValueError: closed, by the model's code
                why = getattr(e, "strerror", None) or e
                self.failure = OutputError(f"standard output: cannot be written: {why}")
            if self.failure:
                _give_up(self._stream)
        if self.failure and not self._lenient:
            raise self.failure from None

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":
            raise AttributeError(name)
        return getattr(self._stream, name)


def _give_up(stream: TextIO | None) -> None:
    """Let what is still in the stream's buffer go nowhere, or Python would try to write it again as it ends."""
    with suppress(AttributeError, OSError, ValueError):  # no stream, none of a file, or a closed one
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null, stream.fileno())  # type: ignore[union-attr]
        finally:
            os.close(null)


@contextmanager
def _encodable(stream: TextIO | None) -> Iterator[None]:
    """Write what `stream`'s encoding does not have by `_likeness`."""
    if not isinstance(stream, io.TextIOWrapper) or stream.closed:
        yield
        return
    before = stream.errors
    stream.reconfigure(errors=_HANDLER)
    try:
        yield
    finally:
        if not stream.closed:
            with suppress(OSError, ValueError):  # reconfiguring flushes
                stream.reconfigure(errors=before)


def _likeness(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(LIKENESS.get(c) or c.encode("ascii", "backslashreplace").decode() for c in text), error.end


codecs.register_error(_HANDLER, _likeness)
