"""``minisim report DIR``, and which other machines a page tells of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from minisim.progress import SlowProgress
from minisim.run import Result

if TYPE_CHECKING:
    from minisim.reports import WhatIf
    from minisim.reports.hints import Hint


@click.command("report")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def report_command(folder: Path) -> None:
    """Make the HTML pages of what a run, a sweep or --decode wrote into DIR: self-contained files, for any browser."""
    from minisim.reports import write_pages

    for path in write_pages(folder):
        click.echo(f"page: {path}")


def told_what_ifs(result: Result, found: Sequence[Hint], for_page: bool, progress: SlowProgress) -> list[WhatIf]:
    """Other machines that run.json tells of: those that hints name, and for a page as many as there is time for."""
    from minisim.what_if import what_ifs_of, what_ifs_within

    if not for_page:
        return what_ifs_of(result, found)
    return what_ifs_within(
        result, found, progress=lambda done, total: progress.advance("simulating other machines", done, total)
    )
