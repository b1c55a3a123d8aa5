"""What commands have in common before they begin: what they tell, and what they refuse."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from minisim.errors import OutputError
from minisim.hwmodel.config import Machine, is_preset, split_override
from minisim.hwmodel.effects import notes

ARGUMENTS = "minisim.arguments"
"""The name under which a command's context has what was typed behind `minisim`."""


def tell_without_effect(
    source: str, overrides: Sequence[str], machines: Sequence[Machine], varied: Sequence[str] = (), place: str = ""
) -> None:
    """A line on standard error for each reason why something that the user asked of `machines` has no effect.

    What a preset writes is not the user's; of a sweep only what has no effect on any of its machines is told.
    """
    asked = [*(split_override(text)[0] for text in overrides), *varied]
    for note in notes(machines, asked, [] if is_preset(source) else machines[0].written_keys()):
        click.echo(f"minisim: note: {place}{note}", err=True)


def keep_arguments(ctx: click.Context, args: Sequence[str]) -> None:
    """Keep what was typed, for `typed_command`."""
    ctx.meta[ARGUMENTS] = tuple(args)


def typed_command() -> list[str]:
    """The command that is running, word by word."""
    return ["minisim", *click.get_current_context().find_root().meta.get(ARGUMENTS, ())]


def check_folder(option: str, folder: Path) -> None:
    """Refuse before the work, not after it: can this folder be written, or made?"""
    from minisim.reports.write import TEMPORARY_PREFIX

    try:
        above = next(path for path in (folder, *folder.parents) if path.exists())
    except OSError as e:
        raise OutputError(f"{option} {folder}: cannot be used: {e.strerror}") from None
    if not above.is_dir():
        where = "" if above == folder else f"; {above} is a file"
        raise OutputError(f"{option} {folder}: must be a folder, not a file{where}")
    try:
        Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=above)).rmdir()  # the mode of a folder does not say all
    except OSError as e:
        raise OutputError(
            f"{option} {folder}: must be a folder that you may write; {above} is not ({e.strerror})"
        ) from None
