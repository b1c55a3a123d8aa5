"""A command with a fault in it, to see that the hunt finds what it is to find."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import click

held: list[bytes] = []

FAULTS = {
    "traceback": lambda: {}["x"],
    "bug": lambda: end(70, "minisim: internal error: this is a bug in minisim"),
    "silence": lambda: end(2, ""),
    "code": lambda: end(3, "minisim: error: it is not"),
    "half": lambda: (Path("summary.csv").write_text("half"), end(2, "minisim: error: the disk is full")),
    "temporary": lambda: Path(".minisim-tmp-1").write_text("left"),
    "row": lambda: Path("sweep.csv").write_text("failed,a bug in minisim: KeyError: 3"),
    "memory": lambda: held.append(b"a" * (2**31 + 2**28)),
    "hang": lambda: [None for _ in iter(int, 1)],
    "sleep": lambda: time.sleep(1000),
    "death": os.abort,
    "nothing": lambda: None,
}


def end(code: int, message: str) -> None:
    click.echo(message, err=True, nl=bool(message))
    sys.exit(code)


class Broken:
    """Takes any arguments, and does what FUZZ_FAULT says."""

    name = "broken"

    def main(self, *_: object, **__: object) -> None:
        FAULTS[os.environ["FUZZ_FAULT"]]()


main = Broken()
