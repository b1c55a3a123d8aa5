"""What the page of any result says of its making: the command and the machine, every key."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minisim.hwmodel.config import Machine

FORMAT = 1
"""The version of the files that are left for pages."""


def keys_of(machine: Machine) -> dict[str, str]:
    """Every key in force, with its value as a machine file writes it."""
    return {key: v if isinstance(v, str) else json.dumps(v) for key, v in machine.flat().items()}


def header(machine: Machine, command: Sequence[str]) -> dict[str, Any]:
    """The fields that all such files have."""
    return {
        "format": FORMAT,
        "command": list(command),
        "machine": keys_of(machine),
        "hertz": float(machine.clock.frequency),
    }


def write_header(path: Path, *, model: str, machine: Machine, command: Sequence[str]) -> None:
    """Write a file with these fields and names."""
    write_json(path, {**header(machine, command), "model": model, "config": machine.name})


def write_bases(
    path: Path, *, runs: Mapping[str, Any], machines: Mapping[str, Machine], command: Sequence[str]
) -> None:
    """Write the file of a sweep: how a point of it is run alone, and `machines` as their files would say them, to make
    others of."""
    written = {name: machine.written() for name, machine in machines.items()}
    write_json(path, {"format": FORMAT, "command": list(command), "runs": dict(runs), "machines": written})


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write `content` in one line. Halves of characters, as names of files may hold, are question marks."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    path.write_bytes(f"{text}\n".encode("utf-8", "replace"))
