"""The ledger: what came of points, on disk, so that nothing is computed twice (docs/adr/0060-ledger.md).

An SQLite file, which the driver of a sweep alone writes, a transaction for what came at once: whatever is killed, and
when, a point is in it whole or not at all. It is found by a hash of all that it depends on (`identity`), the installed
code included, so that nothing in it is ever out of date. With it lie the specifications of the sweeps that used it.

There is no write-ahead log, which network file systems have no memory for: a plain journal, that is gone after each
transaction.
"""

from __future__ import annotations

import ast
import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from minisim.errors import LedgerError
from minisim.sweeps.work import INFEASIBLE, OK, Outcome

NAME = "ledger.sqlite"
"""Of the ledger that lies beside sweep.csv."""

APPLICATION, LAYOUT = 0x6D736C67, 1
"""What the head of the file says: that it is ours ("mslg"), and which tables it has."""

SYNCHRONOUS = "FULL"
"""Each transaction waits for the disk, so that a ledger survives a power cut, too; a killed process needs less."""

PATIENCE_S = 10.0
"""How long another process may hold the file before that is told."""

AT_ONCE = 500
"""Keys of one question."""

_TABLES = (
    "CREATE TABLE points (key TEXT PRIMARY KEY NOT NULL, status TEXT NOT NULL, reason TEXT NOT NULL,"
    " columns TEXT NOT NULL, digest TEXT NOT NULL, at TEXT NOT NULL)",
    "CREATE TABLE sweeps (number INTEGER PRIMARY KEY, at TEXT NOT NULL, out TEXT NOT NULL,"
    " specification TEXT NOT NULL)",
    f"PRAGMA application_id = {APPLICATION}",
    f"PRAGMA user_version = {LAYOUT}",
)

Note = Callable[[str], None]
"""Tells a user in a line what is not as it should be, and goes on."""


class Begun(NamedTuple):
    """A sweep that used a ledger: when it was begun, where its sweep.csv lies, and what it was asked."""

    at: str
    out: str
    specification: str


class Ledger:
    """The points that are known. A context; what could not be written before is tried once more at its end.

    Attributes:
        path: where it lies.
        read_only: it may not be written: what it knows is used, and nothing is added.
    """

    def __init__(self, path: Path, note: Note = lambda text: None) -> None:
        """Open the ledger, or make it.

        Raises:
            LedgerError: the file is something else, damaged, of another layout, or held by another process.
        """
        self.path, self._note = path, note
        self._told: set[str] = set()
        self._unwritten: list[Outcome] = []
        self._damaged: set[str] = set()
        self.read_only = path.exists() and not (_may_write(path) and _may_write(path.parent))
        if path.exists() and not path.is_file():
            raise LedgerError(f"{path}: is no ledger, but {'a folder' if path.is_dir() else 'no file at all'}")
        new = not path.exists()
        self._base = self._connect()
        try:
            self._prepare()
        except BaseException:
            self._base.close()
            if new:  # nobody's: it was to be made
                with suppress(OSError):
                    if path.stat().st_size == 0:
                        path.unlink()
            raise
        if self.read_only:
            note(f"{path}: cannot be written: what it knows is used, and nothing is added")

    def _connect(self) -> sqlite3.Connection:
        mode = "ro" if self.read_only else "rwc"
        try:
            if not self.read_only:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            where = f"file:{quote(os.fsencode(self.path.resolve()))}?mode={mode}"
            return sqlite3.connect(where, uri=True, timeout=PATIENCE_S, isolation_level=None)
        except (OSError, sqlite3.Error) as e:
            raise LedgerError(f"{self.path}: cannot be opened: {_told(e)}") from None

    def _prepare(self) -> None:
        try:
            self._base.execute(f"PRAGMA synchronous = {SYNCHRONOUS}")
            if self._head() == (0, 0, 0) and not self.read_only:
                with self._transaction():
                    if self._head() == (0, 0, 0):  # nobody was quicker
                        for statement in _TABLES:
                            self._base.execute(statement)
            application, layout, _ = self._head()
            if application != APPLICATION:
                raise LedgerError(f"{self.path}: is no ledger of minisim's, but another program's database")
            if layout != LAYOUT:
                ours = f"and this minisim has {LAYOUT}: give another ledger"
                raise LedgerError(f"{self.path}: has layout {layout}, {ours}")
            (found,) = self._base.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(found)
        except sqlite3.OperationalError as e:
            raise LedgerError(f"{self.path}: cannot be used: {_told(e)}") from None
        except sqlite3.DatabaseError as e:
            if "not a database" in str(e):
                raise LedgerError(f"{self.path}: is no ledger of minisim's") from None
            raise LedgerError(
                f"{self.path}: is damaged ({_told(e)}): move it away, or give another one with --ledger"
            ) from None

    def _head(self) -> tuple[int, int, int]:
        """Whose it is, its layout, and how many tables it has."""
        one = (self._base.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
        application, layout = one
        (tables,) = self._base.execute("SELECT count(*) FROM sqlite_master").fetchone()
        return application, layout, tables

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._base.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._base.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                if self._base.in_transaction:
                    self._base.execute("ROLLBACK")
            raise

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write what is left, and close the file."""
        self.keep([])
        if self._unwritten and not self.read_only:
            self._tell(f"{len(self._unwritten)} points are not in it", "points")
        self._base.close()

    # -- points ----------------------------------------------------------------------------------------------

    def known(self, keys: Iterable[str]) -> dict[str, Outcome]:
        """What is known of these points. What was damaged on disk counts as unknown."""
        asked, found = list(keys), {}
        try:
            for begin in range(0, len(asked), AT_ONCE):
                part = asked[begin : begin + AT_ONCE]
                marks = ",".join("?" * len(part))
                question = f"SELECT key, status, reason, columns, digest FROM points WHERE key IN ({marks})"
                for *values, digest in self._base.execute(question, part):
                    outcome = Outcome(*values)
                    if _digest(outcome) == digest:
                        found[outcome.key] = outcome
                    else:
                        self._damaged.add(outcome.key)
        except sqlite3.Error as e:
            self._tell(f"cannot be read ({_told(e)}): what it knows is computed anew", "read")
        if self._damaged:
            self._tell("some points in it were damaged: they are computed anew", "damaged")
        return found

    def keep(self, outcomes: Sequence[Outcome]) -> None:
        """Put outcomes into the ledger: all of them or none. Failures are not kept: they may have been the computer's.

        What cannot be written is told once, and tried again the next time.
        """
        self._unwritten += [outcome for outcome in outcomes if outcome.status in (OK, INFEASIBLE)]
        if not self._unwritten or self.read_only:
            return
        at = datetime.now(UTC).isoformat(timespec="seconds")
        rows = [(*outcome[:4], _digest(outcome), at) for outcome in self._unwritten]
        try:
            with self._transaction():
                self._base.executemany("DELETE FROM points WHERE key = ?", [(key,) for key in self._damaged])
                self._base.executemany("INSERT OR IGNORE INTO points VALUES (?, ?, ?, ?, ?, ?)", rows)
        except sqlite3.Error as e:
            self._tell(f"cannot be written ({_told(e)}): the sweep goes on, and tries again", "written")
        else:
            self._unwritten.clear()
            self._damaged.clear()

    # -- sweeps ----------------------------------------------------------------------------------------------

    def begin(self, specification: str, out: str) -> None:
        """Note what a sweep was asked, for `last`. Its folder may have a name that is no text: it is kept escaped."""
        if self.read_only:
            return
        at, out = datetime.now(UTC).isoformat(timespec="seconds"), ascii(out)
        try:
            with self._transaction():
                self._base.execute("DELETE FROM sweeps WHERE out = ? AND specification = ?", (out, specification))
                self._base.execute(
                    "INSERT INTO sweeps (at, out, specification) VALUES (?, ?, ?)", (at, out, specification)
                )
        except sqlite3.Error as e:
            self._tell(f"cannot be written ({_told(e)}): the sweep goes on, and tries again", "written")

    def last(self, out: str | None = None) -> Begun | None:
        """The sweep that was begun last: of all, or of those whose sweep.csv is in the folder `out`."""
        where, values = ("WHERE out = ?", (ascii(out),)) if out is not None else ("", ())
        question = f"SELECT at, out, specification FROM sweeps {where} ORDER BY number DESC LIMIT 1"
        try:
            found = self._base.execute(question, values).fetchone()
        except sqlite3.Error as e:
            raise LedgerError(f"{self.path}: cannot be read: {_told(e)}") from None
        return Begun(found[0], ast.literal_eval(found[1]), found[2]) if found else None

    def _tell(self, text: str, about: str) -> None:
        """A note, once about each thing."""
        if about not in self._told:
            self._told.add(about)
            self._note(f"{self.path}: {text}")


def _digest(outcome: Outcome) -> str:
    """A hash of a point as it lies there: a disk may flip a bit."""
    return hashlib.sha256("\0".join(outcome[:4]).encode(errors="surrogatepass")).hexdigest()[:16]


def _told(error: OSError | sqlite3.Error) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return "another process holds it" if "locked" in str(error) else str(error)


def _may_write(path: Path) -> bool:
    return os.access(path, os.W_OK)
