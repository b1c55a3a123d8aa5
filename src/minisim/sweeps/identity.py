"""What a point is, as a hash: equal hashes, equal results.

A model is known by its content: its operations, shapes, types and values, whatever file or name it came from. Values
that are drawn when somebody needs them are known by their recipe, as they are not drawn for this.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import types
import uuid
from collections.abc import Mapping
from functools import lru_cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from minisim.compiler.decisions import sources
from minisim.compiler.graph import Graph
from minisim.hwmodel.config import Machine

OURS = ("minisim", "numpy", "builtins", "functools", "operator")
"""Packages whose functions are known by their names: their versions are part of every key."""


@lru_cache(maxsize=1)
def code() -> str:
    """A hash of the code that computes: the package's sources, its engine, and numpy's version."""
    return hashlib.sha256(f"{sources()} {version('numpy')}".encode()).hexdigest()


def key_of(model: str, machine: Machine, options: Mapping[str, object]) -> str:
    """The key of a point.

    Args:
        model: the digest of its graph.
        options: all else that its result depends on, beside the installed code.
    """
    parts = (code(), model, machine.digest(), *(f"{name}={options[name]!r}" for name in sorted(options)))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def digest(graph: Graph) -> str:
    """A hash of a model's content, but for its name.

    A model that holds what cannot be looked into (an open file, say) has another one each time.
    """
    found = hashlib.sha256()
    state = {name: value for name, value in vars(graph).items() if name != "name"}
    try:
        _Walk(found, graph).feed(state)
    except (TypeError, AttributeError, ValueError, RecursionError, pickle.PicklingError):
        return uuid.uuid4().hex
    return found.hexdigest()


class _Walk:
    """Feeds an object to a hash: its values and the way they hang together, but no order of sets and no addresses."""

    def __init__(self, into: hashlib._Hash, root: object) -> None:
        self.into = into
        self.met: dict[int, tuple[int, object]] = {id(root): (0, root)}

    def feed(self, value: Any) -> None:
        match value:
            case None | bool() | int() | float() | complex() | str() | bytes() if type(value).__module__ == "builtins":
                self._say(type(value).__name__, repr(value))
            case np.ndarray() if not value.dtype.hasobject:
                self._say("array", value.dtype.str, value.shape)
                self.into.update(np.ascontiguousarray(value).data)
            case np.generic() | np.dtype():
                self._say(type(value).__name__, repr(value))
            case list() | tuple() if type(value) in (list, tuple):
                self._say(type(value).__name__, len(value))
                for each in value:
                    self.feed(each)
            case dict() if type(value) is dict:
                self._say("dict", len(value))
                for name, each in value.items():
                    self.feed(name)
                    self.feed(each)
            case set() | frozenset():
                self._say("set", sorted(self._apart(each) for each in value))
            case type() | types.BuiltinFunctionType() | np.ufunc():
                self._say("named", getattr(value, "__module__", ""), getattr(value, "__qualname__", value.__name__))
            case types.FunctionType():
                self._function(value)
            case types.CodeType():
                self._say("code", value.co_code, value.co_names)
                self.feed(value.co_consts)
            case _:
                self._object(value)

    def _say(self, *texts: object) -> None:
        for text in texts:
            data = str(text).encode(errors="surrogatepass")
            self.into.update(b"%d:" % len(data) + data)

    def _apart(self, value: object) -> str:
        found = hashlib.sha256()
        _Walk(found, None).feed(value)
        return found.hexdigest()

    def _function(self, value: types.FunctionType) -> None:
        """Ours by its name; the user's also by its code, and what it remembers."""
        self._say("function", value.__module__, value.__qualname__)
        if (value.__module__ or "").split(".")[0] in OURS and "<lambda>" not in value.__qualname__:
            return
        self.feed(value.__code__)
        self.feed(value.__defaults__)
        self.feed([cell.cell_contents for cell in value.__closure__ or ()])

    def _object(self, value: Any) -> None:
        """By what pickle would keep of it. Whoever was met before is known by when."""
        if id(value) in self.met:
            self._say("again", self.met[id(value)][0])
            return
        self.met[id(value)] = (len(self.met), value)
        if hasattr(value, "SerializeToString"):  # a tensor of an ONNX file
            self._say(type(value).__name__, value.SerializeToString(deterministic=True))
            return
        if isinstance(value, partial):
            self._outside(value)
        reduced = value.__reduce_ex__(4)
        self._say("object", type(value).__module__, type(value).__qualname__)
        if isinstance(reduced, str):
            self._say(reduced)
            return
        make, arguments, *rest = reduced
        self.feed(make)
        self.feed(tuple(arguments))
        for part in rest:
            self.feed(list(part) if isinstance(part, types.GeneratorType) or hasattr(part, "__next__") else part)

    def _outside(self, recipe: partial[Any]) -> None:
        """Of a recipe that reads a file beside the model's: which file, of what size, and when it was written."""
        folders = [each for each in recipe.args if isinstance(each, Path)]
        for tensor in recipe.args:
            for entry in getattr(tensor, "external_data", ()):
                for folder in folders:
                    if entry.key == "location" and (file := folder / entry.value).exists():
                        stat = file.stat()
                        self._say("file", file.resolve(), stat.st_size, stat.st_mtime_ns)


def packed(graph: Graph) -> bytes:
    """A model as it travels to those that compute."""
    into = io.BytesIO()
    pickle.dump(graph, into, pickle.HIGHEST_PROTOCOL)
    return into.getvalue()
