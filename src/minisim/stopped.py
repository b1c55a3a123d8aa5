"""What ends a command, and is nobody's mistake: Ctrl-C, and memory that has run out. One line, and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from minisim.errors import one_line

INTERRUPTED, OUT_OF_MEMORY = 130, 71
"""Exit codes: what shells have for SIGINT (128 + 2), and sysexits' EX_OSERR."""


@contextmanager
def stops_told() -> Iterator[None]:
    """Within it, KeyboardInterrupt and MemoryError, wherever they come from, end the process as the module says."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo("minisim: interrupted", err=True)
        sys.exit(INTERRUPTED)
    except MemoryError as e:  # numpy's has a text, Python's and the engine's (std::bad_alloc) have none that helps
        text = one_line(e)
        click.echo(f"minisim: out of memory{f': {text}' if text.startswith('Unable') else ''}", err=True)
        sys.exit(OUT_OF_MEMORY)
