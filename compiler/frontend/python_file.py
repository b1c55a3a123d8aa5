"""Models written in Python: a file that defines ``model()``, which returns a Graph, or a torch module with inputs.

Parameters of ``model(batch=1)`` are sizes that the user may choose (``--dim batch=8``).

The file runs as a module under a private name, so that it may be called numpy.py or graph.py and be in
nobody's way. While it runs, its directory comes first on the path of imports, after the standard library
only; afterwards the path is as it was, and the modules that came from the directory are forgotten.
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from minisim.compiler.frontend.dims import Dims
from minisim.compiler.frontend.torch_module import TorchModel, is_torch
from minisim.compiler.graph import Graph
from minisim.errors import (
    InternalError,
    MinisimError,
    MissingExtraError,
    ModelError,
    described,
    did_you_mean,
    one_line,
    shown,
)

_STANDARD_LIBRARY = {
    sysconfig.get_path("stdlib"),
    sysconfig.get_path("platstdlib"),
    sysconfig.get_config_var("DESTSHARED"),  # its extension modules
}
_PACKAGE_NAME = __name__.split(".")[0]

_serial = itertools.count(1)


def load_python(path: Path, dims: Dims) -> Graph | TorchModel:
    """Execute the file at `path` and return what its ``model()`` returns, of torch traced.

    Args:
        dims: arguments of ``model()``.

    Each call executes the file anew. Python's import state is changed meanwhile, so that two threads must
    not load models at the same time.

    Raises:
        ModelError: the file cannot be read, parsed or executed, defines no ``model()`` that takes these arguments
            and needs no others, or that raises an exception or returns something else. What the
            graph's own methods raise (a ShapeError, say) keeps its class.
        MissingExtraError: it needs torch, which is not installed.
        UnsupportedError: torch cannot trace or export its module.
    """
    try:
        source = path.read_bytes()
    except OSError as e:
        raise ModelError(f"model {str(path)!r}: cannot be read ({e.strerror})") from None
    with _isolation(path.resolve().parent):
        with _user_code(path):
            module = _execute(path, source)
        build = _model_function(path, vars(module), dims)
        with _user_code(path):
            result = build()
        return _checked(path, result)


def _execute(path: Path, source: bytes) -> ModuleType:
    """Run the file as a module of its own, from its source (a stale .pyc is never read)."""
    module = ModuleType(f"_{_PACKAGE_NAME}_model_{next(_serial)}")
    module.__file__ = str(path.resolve())
    sys.modules[module.__name__] = module  # dataclasses and typing look a class's module up there
    exec(compile(source, str(path), "exec", dont_inherit=True), vars(module))
    return module


def _model_function(path: Path, names: dict[str, Any], dims: Dims) -> Callable[[], object]:
    """The file's ``model``, with its arguments."""
    if "model" not in names:
        nearest = did_you_mean("model", (n for n, value in names.items() if callable(value)))
        raise ModelError(f"{path}: must define a function model() that returns a Graph{nearest}")
    model = names["model"]
    if is_torch(model):
        raise ModelError(f"{path}: model is a torch module; {_TORCH}")
    if not callable(model):
        raise ModelError(f"{path}: model must be a function, not {type(model).__name__}")
    try:
        signature = inspect.signature(model)
    except Exception:  # a builtin without one, or one that is made as it is asked for: calling it will tell
        return partial(model, **dims)
    if unknown := [name for name in dims if not _takes(signature, name)]:
        nearest = did_you_mean(unknown[0], (name for name in signature.parameters if _takes(signature, name)))
        raise ModelError(f"{path}: no dimension {shown(unknown[0])} to bind{nearest}: it is model{_written(signature)}")
    try:
        signature.bind(**dims)
    except TypeError:
        lacking = [name for name, x in signature.parameters.items() if x.default is x.empty and name not in dims]
        given = f"; --dim {lacking[0]}=SIZE gives one" if lacking and _takes(signature, lacking[0]) else ""
        raise ModelError(f"{path}: model() must need no arguments, but is model{_written(signature)}{given}") from None
    return partial(model, **dims)


def _takes(signature: inspect.Signature, name: str) -> bool:
    """Whether a parameter can be given by its name."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return name in signature.parameters and signature.parameters[name].kind in kinds


def _written(signature: inspect.Signature) -> str:
    """``(batch, width=3)``; without the defaults if one of them cannot be written."""
    try:
        return str(signature)
    except Exception:  # a default is the user's own object
        return f"({', '.join(signature.parameters)})"


_TORCH = "define a function model() that returns the module and example inputs: return module, (x,)"


def _checked(path: Path, result: object) -> Graph | TorchModel:
    if isinstance(result, Graph):
        return result
    if isinstance(result, tuple) and len(result) == 2 and is_torch(result[0]):
        return TorchModel.traced(*result, path.stem, str(path))
    if is_torch(result[0] if isinstance(result, tuple) and result else result):
        raise ModelError(f"{path}: model() returns a torch module; {_TORCH}")
    returned = "None" if result is None else type(result).__name__
    raise ModelError(f"{path}: model() must return a Graph, not {returned}")


# -- errors in the user's files ------------------------------------------------------------------------


@contextmanager
def _user_code(path: Path) -> Iterator[None]:
    """Turn whatever the user's code raises into one line that says where.

    Not KeyboardInterrupt, MemoryError and our errors, which pass.
    """
    try:
        yield
    except MinisimError as e:
        if not isinstance(e, ModelError) or _names_a_line(e):
            raise
        ours = type(e).__module__ == ModelError.__module__  # of a user's own subclass only the base is known
        raise (type(e) if ours else ModelError)(f"{_location(e, path)}{str(e) if ours else described(e)}") from e
    except (InternalError, KeyboardInterrupt, MemoryError):
        raise
    except BaseException as e:  # also what is no Exception: it ends the user's code, not ours
        if isinstance(e, ModuleNotFoundError) and e.name == "torch":
            raise MissingExtraError.of("torch", "torch", f"{_location(e, path)}a model of PyTorch's") from e
        if isinstance(e, SyntaxError) and isinstance(e.filename, str) and Path(e.filename).is_file():
            line = f":{e.lineno}" if e.lineno else ""
            raise ModelError(f"{e.filename}{line}: syntax error: {e.msg}") from e
        raise ModelError(f"{_location(e, path)}{described(e)}") from e


def _location(error: BaseException, path: Path) -> str:
    """``file:line: ``, the innermost line of the user's files on the way to the error."""
    directory = path.resolve().parent
    lines = [
        f"{frame.f_code.co_filename}:{line}: "
        for frame, line in traceback.walk_tb(error.__traceback__)
        if _is_users(frame.f_code.co_filename, frame.f_globals, directory)
    ]
    return lines[-1] if lines else f"model {str(path)!r}: "


def _is_users(filename: str, names: dict[str, Any], directory: Path) -> bool:
    """Whether code is the user's: below the model's directory, but neither ours nor an installed package."""
    file = Path(filename).resolve()
    if not file.is_relative_to(directory) or str(names.get("__name__")).split(".")[0] == _PACKAGE_NAME:
        return False
    return file.is_file() and "site-packages" not in file.relative_to(directory).parts


def _names_a_line(error: BaseException) -> bool:
    """Whether the message begins with a file that was being executed: `arguments.caller` has put it there."""
    files = {frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)}
    return any(one_line(error).startswith(f"{file}:") for file in files)


# -- isolation -----------------------------------------------------------------------------------------


@contextmanager
def _isolation(directory: Path) -> Iterator[None]:
    """Make the modules in `directory` importable, and undo all that this leaves behind.

    The standard library goes first, unlike for a script: a neighbour called random.py would break what
    imports the real one for the first time meanwhile. Everything else on the path comes later, so that
    neighbours called compiler.py or utils.py are found before others of that name.
    """
    path, entries = sys.path, list(sys.path)
    modules, dont_write_bytecode = set(sys.modules), sys.dont_write_bytecode
    library = [entry for entry in entries if entry in _STANDARD_LIBRARY]
    others = [entry for entry in entries if entry not in _STANDARD_LIBRARY]
    sys.path[:] = [*library, str(directory), *others]
    sys.dont_write_bytecode = True
    importlib.invalidate_caches()  # a neighbour may have been written a moment ago
    try:
        yield
    finally:
        sys.path = path
        sys.path[:] = entries
        sys.dont_write_bytecode = dont_write_bytecode
        for name in _added_modules(modules, directory):
            del sys.modules[name]


def _added_modules(before: set[str], directory: Path) -> list[str]:
    """The modules since `before` that were found in `directory` itself, and their submodules.

    A virtual environment below the directory is not concerned: its packages stay loaded.
    """
    roots = {name for name in set(sys.modules) - before if "." not in name and _lies_in(sys.modules[name], directory)}
    return [name for name in sys.modules if name.partition(".")[0] in roots]


def _lies_in(module: ModuleType, directory: Path) -> bool:
    try:
        places = list(getattr(module, "__path__", None) or [getattr(module, "__file__", None)])
    except Exception:  # what stands in sys.modules need not be a module: the user's code may put anything there
        return False
    return any(isinstance(place, str) and Path(place).parent == directory for place in places)
