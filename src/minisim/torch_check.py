"""A run held against PyTorch: per output how far it is off, as `onnx_check.py` has it for ONNX Runtime.

check_torch("model.py", "npu_32x32").lines()
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt

from minisim.compiler.dtypes import NAME
from minisim.compiler.example_inputs import example_inputs
from minisim.compiler.frontend import torch_model
from minisim.compiler.frontend.bound import Values, check_values, wide_inputs
from minisim.compiler.frontend.dims import Dims
from minisim.compiler.frontend.torch_module import TorchModel
from minisim.compiler.graph import Graph
from minisim.hwmodel.config import Machine, MachineLike
from minisim.onnx_check import OnnxCheck, compare
from minisim.runtime import Runtime

Array = npt.NDArray[Any]


def check_torch(
    model: str | PathLike[str],
    machine: MachineLike = None,
    *,
    inputs: Mapping[str, npt.ArrayLike] | None = None,
    dims: Dims | None = None,
    values: Values | None = None,
) -> OnnxCheck:
    """Compute a model of PyTorch's here and with torch, on the same inputs, and compare.

    Args:
        model: the path of a .py file whose ``model()`` returns a module and example inputs, or of a .pt2 file.
        machine: as for `run`.
        inputs: arrays by name; what is missing is the model's own example.
        dims, values: as for `load_model`; inputs that are int64 are bound, too.

    Raises:
        MissingExtraError: the package torch is not installed.
        ModelError: the model is none of PyTorch's, or torch cannot compute it.
        MinisimError: as `run` does.
    """
    machine = Machine.of(machine)
    source, left = torch_model(model, dims)
    graph = source.graph(left, check_values({} if values is None else values), wide_inputs(inputs))
    runtime = Runtime(graph, machine)
    given = {**example_inputs(graph), **{name: np.asarray(array) for name, array in (inputs or {}).items()}}
    for name, array in given.items():
        if name not in graph.bound:
            runtime.set(name, array)
    runtime.execute()
    return compared(source, graph, machine, given, runtime.outputs())


def compared(
    source: TorchModel, graph: Graph, machine: Machine, inputs: Mapping[str, Array], outputs: Mapping[str, Array]
) -> OnnxCheck:
    """The outputs of a run of the graph of `source`, on these inputs, beside torch's."""
    expected = source.outputs({**inputs, **graph.bound})
    found = tuple(compare(name, outputs[name], expected[name]) for name in (*graph.outputs, *graph.given))
    return OnnxCheck(found, version("torch"), NAME[machine.dtype], "PyTorch")
