"""Decisions on disk: what was found out for a network and a machine is not found out again.

A decision is a small piece of JSON under a key that is a hash of all that it depends on: of what was asked, and of the
sources and the binary that answered. So a file is never out of date, only unused; and what is read is as if it had
been found out anew. Several processes may share the folder: a file appears at once and whole, and one that cannot be
read, or says something else, counts as absent. The folder is bounded: of too many files the oldest ones go.

The environment's MINISIM_CACHE names the folder, or turns it off (`off`); by default it is the user's cache folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import platformdirs

VARIABLE, OFF = "MINISIM_CACHE", "off"

MOST = 4_096
"""Decisions that are kept; of more the oldest half goes."""

LARGEST = 1_000_000
"""Bytes of a decision that is read: more was not written here."""


def key_of(parts: Iterable[str]) -> str:
    """The key of what these texts, each of one thing that the decision depends on, ask."""
    found = hashlib.sha256(sources().encode())
    for part in parts:
        found.update(f"{len(part)}:{part}".encode(errors="surrogatepass"))
    return found.hexdigest()


def known(key: str) -> Any:
    """The decision of this key, or None."""
    folder = _folder()
    if folder is None:
        return None
    path = folder / f"{key}.json"
    try:
        if path.stat().st_size > LARGEST:
            return None
        found = json.loads(path.read_bytes())
        os.utime(path)  # it is used: others are older
    except (OSError, ValueError, RecursionError):
        return None
    return found


def remember(key: str, decision: object) -> None:
    """Keep a decision, if there is a folder that can be written to."""
    folder = _folder()
    if folder is None:
        return
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder, suffix=".new")
        try:
            with os.fdopen(handle, "w") as file:
                json.dump(decision, file)
            Path(name).replace(folder / f"{key}.json")
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        _bound(folder)


def _folder() -> Path | None:
    given = os.environ.get(VARIABLE)
    if given == OFF:
        return None
    if given:
        return Path(given)
    return Path(platformdirs.user_cache_dir("minisim", appauthor=False)) / "decisions"


def _bound(folder: Path) -> None:
    files = list(folder.iterdir())
    if len(files) <= MOST:
        return
    ages = []
    for path in files:
        with contextlib.suppress(OSError):  # another process was quicker
            ages.append((path.stat().st_mtime_ns, path))
    for _, path in sorted(ages)[: len(files) - MOST // 2]:
        path.unlink(missing_ok=True)


@lru_cache(maxsize=1)
def sources() -> str:
    """A hash of all that decides: the package's files, and the engine."""
    found = hashlib.sha256()
    for folder, folders, files in os.walk(Path(__file__).parents[1], followlinks=True):
        folders.sort()
        for name in sorted(name for name in files if name.endswith((".py", ".toml", ".so", ".pyd"))):
            found.update(Path(folder, name).read_bytes())
    return found.hexdigest()
