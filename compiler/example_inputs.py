"""Values for the inputs of a model that gives none: what `minisim run` feeds it, and what int8 is calibrated on."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from minisim.compiler.graph import Graph
from minisim.compiler.values import example_values


def example_inputs(graph: Graph, seed: int = 0) -> dict[str, npt.NDArray[Any]]:
    """Values for all inputs: the model's own where it gives some, else random ones.

    What they are drawn from is in `example_values`.
    """
    found = {}
    for name in graph.inputs:
        tensor = graph.tensors[name]
        found[name] = example_values(name, tensor.shape, tensor.dtype, seed) if tensor.data is None else tensor.data
    return found
