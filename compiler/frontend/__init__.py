"""Front ends: whatever names a model becomes a Graph.

A front end is one file of this folder, with a function that takes a path (or a built-in shape) and
returns a Graph; `_LOADERS` knows it by the file names' ending.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import numpy.typing as npt

from minisim.compiler.dtypes import known
from minisim.compiler.frontend.bound import Array, Values, check_values, wide_inputs
from minisim.compiler.frontend.builtin import BUILTINS, load_builtin
from minisim.compiler.frontend.dims import Dims, check_dims
from minisim.compiler.frontend.onnx_light import PREFIX, light_models, load_light
from minisim.compiler.frontend.python_file import load_python
from minisim.compiler.frontend.scalesim_csv import load_topology
from minisim.compiler.frontend.torch_module import TorchModel
from minisim.compiler.graph import Graph
from minisim.compiler.memory import MEMORY_LIMIT
from minisim.compiler.transformers import TRANSFORMERS, is_transformer, load_transformer
from minisim.compiler.zoo import NETWORKS, load_network
from minisim.errors import ModelError, did_you_mean, shown, truth, whole

__all__ = ["ModelLike", "as_graph", "check_file", "load_model", "torch_model"]

ModelLike = Graph | str | PathLike[str]
"""What the public functions take for a model: a Graph, or what `load_model` takes."""


@dataclass(frozen=True)
class _Request:
    """How a file is to be read: what `load_model` was given, and values that bind what has to be bound."""

    dims: Dims
    values: Mapping[str, Array]
    offered: Mapping[str, Array]
    numerics: bool
    memory_limit: int


def _load_onnx(path: Path, x: _Request) -> Graph:
    from minisim.compiler.frontend.onnx_file import load_onnx  # late: it imports onnx, which is optional

    return load_onnx(path, x.dims, values=x.values, offered=x.offered, numerics=x.numerics, memory_limit=x.memory_limit)


def _load_python(path: Path, x: _Request) -> Graph:
    _has_no_shapes(str(path), x)
    found = load_python(path, x.dims)
    if isinstance(found, TorchModel):
        return _of_torch(found, replace(x, dims={}))
    _has_none_open(str(path), replace(x, dims={}))
    return found


def _load_torch(path: Path, x: _Request) -> Graph:
    return _of_torch(TorchModel.saved(path), x)


def _of_torch(model: TorchModel, x: _Request) -> Graph:
    return model.graph(x.dims, x.values, x.offered, numerics=x.numerics, memory_limit=x.memory_limit)


def _load_topology(path: Path, x: _Request) -> Graph:
    _has_none_open(str(path), x)
    return load_topology(path)


_LOADERS: dict[str, Callable[[Path, _Request], Graph]] = {
    ".py": _load_python,
    ".onnx": _load_onnx,
    ".pt2": _load_torch,
    ".csv": _load_topology,
}


*_OTHERS, _LAST = _LOADERS
ENDINGS = f"{', '.join(_OTHERS)} or {_LAST}"
"""The endings of the files that are models, for messages."""


def as_graph(
    model: ModelLike,
    dtype: str = "float32",
    numerics: bool = True,
    memory_limit: int = MEMORY_LIMIT,
    inputs: Mapping[str, npt.ArrayLike] | None = None,
) -> Graph:
    """`model` itself if it is a Graph, else the one that it names; raises as `load_model` does.

    Args:
        inputs: those of a run: an int64 one is bound, if the model is read here.
    """
    if isinstance(model, Graph):
        return model
    return _loaded(model, dtype, _Request({}, {}, wide_inputs(inputs), numerics, memory_limit))


def load_model(
    spec: str | PathLike[str],
    dtype: str = "float32",
    dims: Dims | None = None,
    *,
    values: Values | None = None,
    numerics: bool = True,
    memory_limit: int = MEMORY_LIMIT,
) -> Graph:
    """Return the graph, verified, that `spec` names.

    Args:
        spec: the path of a ``.py``, ``.onnx``, ``.pt2`` (torch.export) or ``.csv`` (SCALE-Sim) file, a built-in shape
            such as ``gemm:512x512x512``, or a network of the zoo such as ``resnet50`` or ``mobilenet_v2:n=8,size=192``
            (`compiler/zoo`).
        dtype: the type of a built-in shape ("float32", "float16", "bfloat16", "int8"); a file says itself what it is.
        dims: sizes of the dimensions that an ONNX file leaves open, by name: ``{"seq": 128}``; one without a name is
            called as its input and its position, ``x.0``. Or all sizes of an input, by its name:
            ``{"x": (1, 3, 224, 224)}``. Of a Python file they are arguments of ``model()``.
        values: whole numbers by the names of an ONNX file's inputs that are shapes, axes, pads or indices: they are
            bound now, ``{"shape": [3, 4]}``.
        numerics: False for a model that is only timed: weights of an ONNX file may then be elsewhere, or missing.
        memory_limit: bytes that the constants of an ONNX file may take together.

    Raises:
        MemoryLimitError: they would take more.
        ModelError: there is no such model, it is not well-formed, or it has no such dimension or input to bind.
        UsageError: `dims` are no sizes, or `values` no whole numbers.
        UnsupportedError: it uses operations that minisim does not implement; all of them are named.
        MissingExtraError: it is an ONNX file, and the package onnx is not installed; or of torch, which is not.
    """
    request = _Request(
        check_dims({} if dims is None else dims),
        check_values({} if values is None else values),
        {},
        truth("numerics", numerics),
        whole("memory_limit", memory_limit),
    )
    return _loaded(spec, dtype, request)


def _loaded(spec: str | PathLike[str], dtype: str, request: _Request) -> Graph:
    try:
        path, spec = Path(spec), str(spec)
    except TypeError:
        call = ", which must be called first" if callable(spec) else ""
        names = "a network such as resnet50, or a built-in shape such as gemm:512x512x512"
        kinds = f"a Graph, the path of a file ({ENDINGS}), {names}"
        raise ModelError(f"a model must be {kinds}, not {shown(spec)}{call}") from None
    load = _LOADERS.get(path.suffix.lower())
    if load is not None:
        check_file(path)
        graph = load(path, request)
    elif spec.partition(":")[0] in NETWORKS:
        _has_none_open(spec, request)
        graph = load_network(spec)
    elif spec.startswith(PREFIX) and spec in light_models():
        _has_none_open(spec, request)
        graph = load_light(spec, numerics=request.numerics, memory_limit=request.memory_limit)
    elif is_transformer(spec):
        _has_none_open(spec, request)
        graph = load_transformer(spec)
    elif ":" in spec:
        _has_none_open(spec, request)
        graph = load_builtin(spec, known(dtype))
    else:
        raise ModelError(_unknown_kind(spec))
    try:
        graph.verify()
    except ModelError as e:
        raise type(e)(f"{spec}: {e}") from None
    return graph


def torch_model(spec: str | PathLike[str], dims: Dims | None = None) -> tuple[TorchModel, Dims]:
    """The model of PyTorch's that `spec` names, and those of `dims` that are left for its graph.

    Raises:
        ModelError: it names none.
        MinisimError: as `load_model` does.
    """
    path, dims = Path(spec), check_dims({} if dims is None else dims)
    if path.suffix.lower() == ".pt2":
        check_file(path)
        return TorchModel.saved(path), dims
    if path.suffix.lower() == ".py":
        check_file(path)
        found = load_python(path, dims)
        if isinstance(found, TorchModel):
            return found, {}
    raise ModelError(
        f"model {shown(str(spec))}: must be of PyTorch: a .py file that returns a torch module, or a .pt2 file"
    )


def _has_no_shapes(spec: str, x: _Request) -> None:
    if shapes := [name for name, size in x.dims.items() if not isinstance(size, int)]:
        raise ModelError(
            f"model {shown(spec)}: no input {shown(shapes[0])} to give a shape: only ONNX files leave it open"
        )


def _has_none_open(spec: str, x: _Request) -> None:
    if x.dims:
        name = shown(next(iter(x.dims)))
        raise ModelError(f"model {shown(spec)}: no dimension {name} to bind: only ONNX files leave dimensions open")
    if x.values:
        name = shown(next(iter(x.values)))
        raise ModelError(f"model {shown(spec)}: no input {name} to bind to values: only ONNX files have such")


def check_file(path: Path) -> None:
    """Refuse a path that is no file; the nearest one is told."""
    if path.is_dir():
        raise ModelError(f"model {str(path)!r}: is a directory, not a file")
    if not path.is_file():
        raise ModelError(f"model {str(path)!r}: no such file{did_you_mean(path.name, _model_files(path.parent))}")


def _unknown_kind(spec: str) -> str:
    nearest = did_you_mean(
        Path(spec).name, [*_model_files(Path(spec).parent), *BUILTINS, *NETWORKS, *TRANSFORMERS, *light_models()]
    )
    shapes = ", ".join(b.usage for b in BUILTINS.values())
    kinds = f"must end in {ENDINGS}, be a network (minisim models lists them), or a built-in shape ({shapes})"
    return f"model {spec!r}: {kinds}{nearest}"


def _model_files(directory: Path) -> list[str]:
    if not directory.is_dir():
        return []
    return sorted(p.name for p in directory.iterdir() if p.suffix.lower() in _LOADERS)
