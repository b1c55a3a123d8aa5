"""What the keys of a machine file mean, as text: ranges for docs/config.md, and a commented file to start from."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from minisim.hwmodel.config import Machine, as_written, keys

WIDTH = 100
"""Columns of a commented file."""


def range_of(field: Any) -> str:
    """The values that a key may have, quoted as in a machine file."""
    if get_origin(field.annotation) is Literal:
        return ", ".join(f'"{value}"' for value in get_args(field.annotation))
    if field.annotation is bool:
        return "true, false"
    bounds = {side: getattr(m, side) for m in field.metadata for side in ("ge", "le") if hasattr(m, side)}
    if not bounds:
        return str((field.examples or ["any text of one line"])[0])
    return f"{as_written(field, bounds['ge'])} to {as_written(field, bounds['le'])}"


def commented(machine: Machine) -> str:
    """A machine file that loads as `machine`, with the meaning and the range of every key above it."""
    return "\n".join(_lines(machine)) + "\n"


def _lines(machine: Machine) -> Iterator[str]:
    section, fields = "", keys()
    for line in filter(None, machine.to_toml().splitlines()):
        if line.startswith("["):
            section = line.strip("[]") + "."
            yield from ("", line)
            continue
        field = fields[section + line.removeprefix("# ").partition(" = ")[0]]
        if section:
            yield ""
        yield from _comment(f"{field.description} ({range_of(field)})")
        yield line


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
