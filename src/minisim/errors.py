"""What a user can get wrong, one exception class per kind of mistake.

Every class derives from `MinisimError`; the command line prints its message, without a traceback, and
exits with code 2. A message names the place (file, key or node), the value received, the rule it breaks
and, where there is one, the nearest valid name.

Exceptions here keep all their data in `args`, because SimPy rebuilds the exception of a failing process
as `type(e)(*e.args)`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MinisimError(Exception):
    """A mistake of the user's, or a fault found in a schedule; never a bug of ours."""


class ConfigError(MinisimError):
    """The machine file breaks one or more rules; `args[0]` lists all of them."""


class ModelError(MinisimError):
    """The model cannot be loaded, or is not a well-formed graph."""


class ShapeError(ModelError):
    """Operand shapes do not fit the operation."""


class UnsupportedError(ModelError):
    """The model uses operations that minisim does not implement; all of them are named."""


class CapacityError(MinisimError):
    """The SRAM cannot hold even the operands of one operation."""


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

    def __str__(self) -> str:
        return str(self.args[0])


class OutputError(MinisimError):
    """A report cannot be written."""


class UsageError(MinisimError):
    """An argument of a command or of a public function is not one it accepts."""


class MissingExtraError(MinisimError):
    """A feature needs an optional dependency that is not installed."""

    @classmethod
    def of(cls, package: str, extra: str, purpose: str) -> MissingExtraError:
        return cls(f"{purpose} needs the package {package!r}: pip install 'minisim-npu[{extra}]'")


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest of `valid`, or an empty string."""
    near = difflib.get_close_matches(name, list(valid), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""
