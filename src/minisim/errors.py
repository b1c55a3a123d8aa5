"""What a user can get wrong, one exception class per kind of mistake.

Every class derives from `MinisimError`; the command line prints its message, without a traceback, and
exits with code 2. A message names the place (file, key or node), the value received, the rule it breaks
and, where there is one, the nearest valid name.

Exceptions here keep all their data in `args`, because SimPy rebuilds the exception of a failing process
as `type(e)(*e.args)`.
"""

from __future__ import annotations

import difflib
import operator
import reprlib
from collections.abc import Iterable

import numpy as np


class MinisimError(Exception):
    """A mistake of the user's, or a fault found in a schedule; never a bug of ours.

    As a text it is printable, whatever names and values went into it, and its lines are short enough to be read.
    """

    def __str__(self) -> str:
        lines = str(self.args[0] if self.args else "").split("\n")
        return "\n".join(_without_middle(printable(line), _MOST_OF_A_LINE) for line in lines)


class ConfigError(MinisimError):
    """The machine file breaks one or more rules; `args[0]` lists all of them."""


class ModelError(MinisimError):
    """The model cannot be loaded, or is not a well-formed graph."""


class ShapeError(ModelError):
    """Operand shapes do not fit the operation."""


class UnsupportedError(ModelError):
    """The model uses operations that minisim does not implement; all of them are named."""


class CapacityError(MinisimError):
    """The machine, or the host that compiles for it, cannot hold what the model takes."""


class NoRoomError(CapacityError):
    """The SRAM, or the accumulator memory, cannot hold even the operands of one operation.

    Attributes:
        needed, room: the bytes that it should have, and has.
    """

    def __init__(self, message: str, needed: int, room: int) -> None:
        super().__init__(message, needed, room)
        self.needed, self.room = needed, room

    def __str__(self) -> str:
        return str(self.args[0])


class MemoryLimitError(MinisimError):
    """Values would take more of the host's memory than they may (`--memory-limit`)."""


class ScheduleError(MinisimError):
    """A schedule is malformed: it breaks a rule of the instruction set."""


class ScheduleHazard(MinisimError):
    """An operation met data that is not, or not yet, what the program says it should be.

    Attributes:
        op, other: stream positions of the operation and of the one it conflicts with (-1: none).
        cycle: when the operation started.
    """

    def __init__(self, message: str, op: int = -1, other: int = -1, cycle: int = -1) -> None:
        super().__init__(message, op, other, cycle)
        self.op, self.other, self.cycle = op, other, cycle


class IndexRangeError(ModelError):
    """A row is looked up that its table does not have.

    Attributes:
        op: stream position of the load that would have gathered it; -1: it was found before.
    """

    def __init__(self, message: str, op: int = -1) -> None:
        super().__init__(message, op)
        self.op = op


class Deadlock(ScheduleHazard):
    """The operations of a schedule wait for each other in a circle; `op` is the first that does."""


class OutputError(MinisimError):
    """A report cannot be written."""


class LedgerError(MinisimError):
    """A ledger of sweeps is something else, damaged, or cannot be used."""


class UsageError(MinisimError):
    """An argument of a command or of a public function is not one it accepts."""


class InternalError(Exception):
    """A bug in minisim: something went wrong that no rule foresaw. No `MinisimError`, so that nobody takes it for one.

    Attributes:
        report: what to file: the traceback, the versions, the call, the machine.
    """

    def __init__(self, message: str, report: str = "") -> None:
        super().__init__(message, report)
        self.report = report

    def __str__(self) -> str:
        return str(self.args[0])


class MissingExtraError(MinisimError):
    """A feature needs an optional dependency that is not installed."""

    @classmethod
    def of(cls, package: str, extra: str, purpose: str) -> MissingExtraError:
        return cls(f"{purpose} needs the package {package!r}: pip install 'minisim-npu[{extra}]'")


def did_you_mean(name: object, valid: Iterable[object]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest of those of `valid` that are text, or an empty string."""
    words = [word for word in valid if isinstance(word, str)]
    near = difflib.get_close_matches(name, words, n=1, cutoff=0.6) if isinstance(name, str) else []
    return f"; did you mean {near[0]!r}?" if near else ""


_MOST_SHOWN = 60
"""The most characters of a value in a message."""

_MOST_TOLD = 300
"""The most characters of another's message in one of ours."""

_MOST_OF_A_LINE = 2000
"""Characters of a line of a message: more than any that is meant to be read."""

_REPR = reprlib.Repr()  # never fails on an object's own repr, and stops in the depths of nested values
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 1000
_REPR.maxdict = _REPR.maxlist = _REPR.maxtuple = 20


def shown(value: object) -> str:
    """A value in a message: as Python writes it, but never more than a line, whatever it is."""
    try:
        return shortened(_REPR.repr(value))
    except ValueError:  # int's, on 4301 digits
        return "a huge number"


def _without_middle(text: str, most: int) -> str:
    """`text`, cut to `most` characters: the place, at its beginning, stays, and so does the rule, at its end."""
    return text if len(text) <= most else f"{text[: most // 2]}...{text[3 - (most - most // 2) :]}"


def shortened(text: str, most: int = _MOST_SHOWN) -> str:
    """`text`, cut to `most` characters."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def printable(text: str) -> str:
    """`text` with an escape for each character that a terminal or a table would not show as one."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def one_line(error: BaseException) -> str:
    """What an exception of others says, in one line of printable text; "" where it says nothing, or fails to."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # it is not ours: whatever its __str__ does
        return ""
    return shortened(printable(text), _MOST_TOLD)


def described(error: BaseException) -> str:
    """An exception of others as ``ValueError: its message``."""
    text = one_line(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


# -- arguments of public functions ------------------------------------------------------------------------


def truth(what: str, value: object) -> bool:
    """`value`, if it is true or false: an array is neither, and a text would always be true.

    Raises:
        UsageError: it is neither.
    """
    if isinstance(value, (bool, int, np.bool_)):
        return bool(value)
    raise UsageError(f"{what} must be true or false, not {shown(value)}")


def whole(what: str, value: object) -> int:
    """`value` as a whole number.

    Raises:
        UsageError: it is none.
    """
    try:
        return operator.index(value)  # type: ignore[arg-type]  # that is the question
    except TypeError:
        raise UsageError(f"{what} must be a whole number, not {shown(value)}") from None


def position(what: str, value: object, count: int) -> int:
    """`value` as a position among `count`, which are at least one.

    Raises:
        UsageError: it is none.
    """
    at = whole(what, value)
    if not 0 <= at < count:
        raise UsageError(f"{what} must be from 0 to {count - 1}, not {shown(value)}")
    return at
