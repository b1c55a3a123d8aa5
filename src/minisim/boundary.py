"""The boundary: what leaves minisim is an answer, a user's mistake (a `MinisimError`), or a bug of ours that says so.

There is one for Python, `public` and `guarded`, which `minisim/__init__.py` puts around the package's face, and one for
the command line, `told`. Both make the same report of a bug: what happened, where, with what versions and machine.

KeyboardInterrupt and MemoryError are neither: they pass through both.
"""

from __future__ import annotations

import functools
import inspect
import os
import platform
import sysconfig
import tempfile
import traceback
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType
from typing import ParamSpec, TypeVar

from minisim.errors import InternalError, MinisimError, described, shown
from minisim.hwmodel.config import Machine

P = ParamSpec("P")
R = TypeVar("R")

_PACKAGES = ("minisim-npu", "numpy", "pandas", "pydantic", "simpy", "click", "rich", "onnx", "perfetto")
_PACKAGE_NAME = __name__.split(".")[0]
_LIBRARIES = tuple({os.path.realpath(sysconfig.get_path(p)) for p in ("stdlib", "platstdlib", "purelib", "platlib")})


def public(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator for a function of the package's face: what it raises without meaning to becomes an InternalError.

    What passes: MinisimErrors, Python's own TypeError for a call with other arguments than the function has, and what
    code of the caller's raises (an observer, an array-like), which is his.
    """

    @functools.wraps(function)
    def guarded_function(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except (MinisimError, InternalError, MemoryError):
            raise
        except Exception as e:
            called = e.__traceback__ is not None and e.__traceback__.tb_next is not None
            if not called or users_line(e):
                raise
            machine = next((a for a in (*args, *kwargs.values()) if isinstance(a, Machine)), None)
            given = [shown(a) for a in args] + [f"{name}={shown(a)}" for name, a in kwargs.items()]
            text = report(e, f"{function.__module__}.{function.__qualname__}({', '.join(given)})", machine)
            raise InternalError(f"this is a bug in minisim: {described(e)} (please file its `report`)", text) from e

    guarded_function.__module__ = _PACKAGE_NAME  # where it is found: pickle looks it up
    return guarded_function


def guarded(face: type) -> None:
    """Put `public` around the public methods of a class, in place; objects and subclasses are what they were."""
    for name, value in list(vars(face).items()):
        if name.startswith("_") and name != "__init__":
            continue
        if isinstance(value, classmethod | staticmethod):
            setattr(face, name, type(value)(public(value.__func__)))
        elif inspect.isfunction(value):
            setattr(face, name, public(value))


def users_line(error: BaseException) -> str:
    """``file:line`` of the innermost code on the way to `error` that is neither ours nor a library's; or ""."""
    found = ""
    link: BaseException | None = error
    while link is not None:  # SimPy raises a copy of what a process raised, from the original
        for frame, line in traceback.walk_tb(link.__traceback__):
            if _is_users(frame):
                found = f"{frame.f_code.co_filename}:{line}"
        link = link.__cause__
    return found


def _is_users(frame: FrameType) -> bool:
    file = frame.f_code.co_filename
    if file.startswith("<") or str(frame.f_globals.get("__name__")).split(".")[0] == _PACKAGE_NAME:
        return False
    return not os.path.realpath(file).startswith(_LIBRARIES)


# -- the report ------------------------------------------------------------------------------------------


def report(error: BaseException, call: str, machine: Machine | None = None) -> str:
    """What to file about a bug.

    Args:
        call: the command line, or the function called.
    """
    parts = [
        "This is a bug in minisim: please file it, with this report.",
        f"what      {described(error)}\ncall      {call}\nversions  {_versions()}\nplatform  {platform.platform()}",
        "".join(traceback.format_exception(error)).rstrip(),
        machine.to_toml().rstrip() if machine else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _versions() -> str:
    return ", ".join([f"Python {platform.python_version()}", *(f"{name} {_version(name)}" for name in _PACKAGES)])


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"


def write_report(text: str) -> Path | None:
    """Write a report to a new file in the current folder, or else among the temporary files; None if neither can be."""
    for folder in _folders():
        try:
            handle, name = tempfile.mkstemp(".txt", "minisim-bug-", folder)
        except OSError:
            continue
        try:
            with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
        except OSError:  # the disk is full
            Path(name).unlink(missing_ok=True)
            continue
        return Path(name)
    return None


def _folders() -> Iterator[str]:
    yield "."
    try:
        yield tempfile.gettempdir()
    except OSError:  # there is none that can be written
        return
