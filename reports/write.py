"""Files that are either whole or not there, whatever happens to the process that writes them.

A file is written under a temporary name in the folder where it shall lie, synced to disk, and then renamed,
which the file system does at once or not at all. A *set* of files (the reports of one run) has one file that
is put in place last and taken away first: where it is, the set is complete, and all of one run.

Whoever is at work in a folder holds a lock on the folder (`flock`, which the kernel releases when a
process dies, however it dies). Who holds it alone knows that the temporaries he finds are those of killed
runs, and removes them. File systems without such locks lose the cleaning, nothing else.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pandas as pd

from minisim.errors import OutputError

TEMPORARY_PREFIX = ".minisim-tmp-"

FLOAT_FORMAT = "%.9g"
"""Of ratios and times in CSV files: nine digits, without trailing zeros."""

PICOJOULES = "_pj"
"""The end of the names of columns that are written to the femtojoule: exact up to 8 J, where floats are that fine."""

LAST = "summary.csv"
"""The file whose presence means that a set of reports is complete."""


def write_tables(tables: Mapping[str, pd.DataFrame], folder: str | Path) -> list[Path]:
    """Write each table as ``folder/NAME.csv``, as one set.

    Raises:
        OutputError: the folder cannot be made or written, or the disk is full.
    """
    with output_set(folder) as staging:
        for name, table in tables.items():
            write_csv(table, staging / f"{name}.csv")
    return [Path(folder) / f"{name}.csv" for name in tables]


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write one table: a header, short floats, empty fields for NaN, Unix line ends."""
    femtojoules = {name: table[name].map("{:.3f}".format) for name in map(str, table) if name.endswith(PICOJOULES)}
    table = table.assign(**femtojoules)
    table.to_csv(path, index=False, float_format=FLOAT_FORMAT, lineterminator="\n", encoding="utf-8")


@contextmanager
def output_set(folder: str | Path, last: str = LAST, optional: Collection[str] = ()) -> Iterator[Path]:
    """Put a set of files into `folder`, which is made if need be: all of them or none.

    Yields a folder to write them in. When the block ends without an exception they are moved to `folder`,
    replacing older ones; `last` is removed before the first and moved after the others. A process that is
    killed before leaves the older set untouched; one that is killed between the moves, a set without `last`.
    Files named in `optional` that the older set had and this one has not are removed. If the block fails, `folder`
    goes again if it was not there before.

    Raises:
        OutputError: a system call failed; `folder` names it.
    """
    folder = Path(folder)
    with _as_output_error(folder), _new_folder(folder), _lock(folder, fcntl.LOCK_EX) as locked:
        if locked:
            _remove_stale(folder)
        staging = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=folder))
        try:
            yield staging
            _publish(staging, folder, last, optional)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def make_folder(folder: Path) -> None:
    """Make `folder`, and those above it, if need be.

    Raises:
        OutputError: a system call failed.
    """
    with _as_output_error(folder):
        folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def _new_folder(folder: Path) -> Iterator[None]:
    """Make `folder` and those above it, if need be; if the block fails, remove what was made and is still empty."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # another run has put something there
            for path in made:
                path.rmdir()
        raise


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` to write to; it becomes `path` if the block ends without an exception.

    A device or a pipe is never replaced: it is yielded itself. Of a link the file that it leads to is replaced.

    Not for use inside an `output_set` of the same folder, whose lock it would wait for.

    Raises:
        OutputError: a system call failed.
    """
    with _as_output_error(Path(path)):
        target = Path(path).resolve()
        if target.exists() and not (target.is_file() or target.is_dir()):
            yield target
        else:
            with _whole(target) as temporary:
                yield temporary


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    with _lock(path.parent, fcntl.LOCK_SH):
        temporary = path.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}{path.suffix}")
        try:
            yield temporary
            _sync(temporary)
            temporary.replace(path)
            _sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def atomic_bytes(path: str | Path, data: bytes) -> None:
    """Write `data` to `path`, all of it or nothing.

    Raises:
        OutputError: a system call failed.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def _publish(staging: Path, folder: Path, last: str, optional: Collection[str]) -> None:
    files = sorted(staging.iterdir(), key=lambda file: (file.name == last, file.name))
    for file in files:
        _sync(file)
    (folder / last).unlink(missing_ok=True)
    _sync(folder)
    for name in set(optional) - {file.name for file in files}:
        (folder / name).unlink(missing_ok=True)
    for file in files:
        if file.name == last:
            _sync(folder)
        file.replace(folder / file.name)
    _sync(folder)


def _sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _lock(folder: Path, kind: int) -> Iterator[bool]:
    """Hold the lock of `folder`; yields False if the file system has no such locks."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, kind)
            locked = True
        except OSError:
            locked = False
        yield locked
    finally:
        os.close(handle)


def _remove_stale(folder: Path) -> None:
    for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


@contextmanager
def _as_output_error(path: Path) -> Iterator[None]:
    try:
        yield
    except (FileExistsError, NotADirectoryError) as e:
        blocking = next((p for p in (path, *path.parents) if p.exists() and not p.is_dir()), path)
        raise OutputError(f"{path}: cannot be written: {blocking} is a file, not a folder") from e
    except OSError as e:
        raise OutputError(f"{path}: cannot be written: {e.strerror or e}") from e
