"""A process that runs inputs one after the other in a folder of its own, and says what is wrong with how each ended."""

from __future__ import annotations

import os
import pkgutil
import resource
import signal
import tempfile
import warnings
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import click
from click.testing import CliRunner, Result
from fuzz.inputs import Input, make

CPU_S = 10.0
"""Of one input; the worker is killed for more."""

PEAK_BYTES = 2 * 2**30
ADDRESS_SPACE = 6 * 2**30
"""A wall behind the peak: an allocation beyond it fails at once, instead of filling the host's memory."""

ALLOWED = {0, 2}
"""Exit codes. 1, a schedule hazard, would be the compiler's fault; 70 says itself that it is a bug."""


def work(pipe: Connection, folder: str, subject: str, cpu_s: float) -> None:
    """Answer each (kind, seed) that comes with a list of complaints, until the pipe is closed.

    Args:
        subject: ``module:name`` of the command.
        cpu_s: what an input may use.
    """
    command = pkgutil.resolve_name(subject)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")  # they are the tests' to look for: here only what the command says counts
    while True:
        try:
            task = pipe.recv()
        except (EOFError, OSError):
            return
        with tempfile.TemporaryDirectory(dir=folder) as inside:
            signal.setitimer(signal.ITIMER_PROF, cpu_s)
            complaints = list(check(command, make(*task), Path(inside)))
            signal.setitimer(signal.ITIMER_PROF, 0)
        pipe.send(complaints)


def check(command: click.Command, given: Input, folder: Path) -> Iterator[str]:
    """Run `command` in `folder`; what a user should not have seen."""
    for name, content in given.files.items():
        (folder / name).write_bytes(content)
    before = contents(folder)
    os.chdir(folder)
    result = CliRunner().invoke(command, given.argv)
    os.chdir("/")
    yield from _said(result)
    peak = _peak()
    if peak > PEAK_BYTES:
        yield f"peak memory of {peak / 2**30:.1f} GiB"
    after = contents(folder)
    if any(part.startswith((".minisim-tmp", "minisim-bug")) for path in after for part in path.parts):
        yield "left a temporary file, or a report of a bug"
    new = {path for path in after if before.get(path) != after[path]}
    half = [path for path in new if path.suffix != ".txt" and after[path] is not None]
    if result.exit_code != 0 and half:  # a dump of the compiler's levels shows how far it came
        yield f"failed, and wrote {', '.join(sorted(map(str, half)))}"
    if any(b"a bug in minisim" in (after[path] or b"") for path in new if path.suffix == ".csv"):
        yield "a point of a sweep failed by a bug"


def _peak() -> int:
    """Bytes of memory that this process has had at most. What Linux counts as `ru_maxrss` begins with the parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _said(result: Result) -> Iterator[str]:
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        yield f"traceback: {type(result.exception).__name__}: {result.exception}"
    elif result.exit_code not in ALLOWED:
        yield f"exit code {result.exit_code}: {result.stderr[-300:]}"
    if "Traceback" in result.output:
        yield "a traceback in its output"
    lines = [line for line in result.stderr.splitlines(keepends=True) if not line.startswith("minisim: note: ")]
    if result.exit_code == 2 and not "".join(lines[:1]).startswith(("minisim: error: ", "Usage: ", "Error: ")):
        yield f"exit code 2 without a message: {result.stderr[:200]!r}"
    if any(len(line) > 1000 for line in result.stderr.splitlines()):
        yield "a message of more than 1000 characters in a line"


def contents(folder: Path) -> dict[Path, bytes | None]:
    """Every file with its content, every folder with None, by their paths within `folder`."""
    return {
        path.relative_to(folder): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))
    }
