"""What the tests of the front ends share: a working folder of their own, so that messages have short paths."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from textwrap import dedent

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import FunctionProto, ModelProto, NodeProto, ValueInfoProto

import minisim
from minisim.compiler.graph import Graph, Tensor

Write = Callable[[str, str], Path]
Save = Callable[..., ModelProto]


@pytest.fixture(autouse=True)
def public_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Model files say ms.Graph; these tests are of the front ends, and need no more of the package's face."""
    monkeypatch.setattr(minisim, "Graph", Graph, raising=False)
    monkeypatch.setattr(minisim, "Tensor", Tensor, raising=False)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def write(folder: Path) -> Write:
    """Write a text file into the folder."""

    def write(name: str, text: str) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text).lstrip("\n"))
        return path

    return write


@pytest.fixture
def save(folder: Path) -> Save:
    """Write a graph of these nodes, inputs, outputs and initializers as ``m.onnx``. Inputs and outputs
    are value infos, or names of float tensors of shape (2, 3)."""

    def save(
        nodes: Sequence[NodeProto],
        inputs: Sequence[ValueInfoProto | str] = ("x",),
        outputs: Sequence[ValueInfoProto | str] = ("y",),
        initializers: Mapping[str, npt.ArrayLike] | None = None,
        opset: int = 17,
        functions: Sequence[FunctionProto] = (),
        domains: Sequence[str] = (),
    ) -> ModelProto:
        graph = onnx.helper.make_graph(
            list(nodes),
            "graph",
            [_info(i) for i in inputs],
            [_info(o) for o in outputs],
            [onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in (initializers or {}).items()],
        )
        opsets = [onnx.helper.make_opsetid(domain, opset if not domain else 1) for domain in ("", *domains)]
        model = onnx.helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=8)
        onnx.save(model, folder / "m.onnx")
        return model

    return save


def _info(value: ValueInfoProto | str) -> ValueInfoProto:
    if isinstance(value, str):
        return onnx.helper.make_tensor_value_info(value, onnx.TensorProto.FLOAT, (2, 3))
    return value
