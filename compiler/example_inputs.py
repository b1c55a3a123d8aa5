"""Values for the inputs of a model that gives none: what `minisim run` feeds it, and what int8 is calibrated on."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from minisim.compiler.graph import Graph
from minisim.compiler.lookups import chosen_from
from minisim.compiler.values import example_rows, example_values


def example_inputs(graph: Graph, seed: int = 0) -> dict[str, npt.NDArray[Any]]:
    """Values for all inputs: the model's own where it gives some, else random ones.

    What they are drawn from is in `example_values`; of indices by which rows are looked up, each row is as likely as
    any other.
    """
    rows = chosen_from(graph)
    return {name: _example(graph, name, rows, seed) for name in graph.inputs}


def index_inputs(graph: Graph, seed: int = 0) -> dict[str, npt.NDArray[Any]]:
    """Those alone by which rows are looked up: all that time depends on."""
    rows = chosen_from(graph)
    return {name: _example(graph, name, rows, seed) for name in graph.inputs if name in rows}


def _example(graph: Graph, name: str, rows: dict[str, int], seed: int) -> npt.NDArray[Any]:
    tensor = graph.tensors[name]
    if tensor.data is not None:
        return tensor.data
    if name in rows and tensor.dtype == "int32":
        return example_rows(name, tensor.shape, rows[name], seed)
    return example_values(name, tensor.shape, tensor.dtype, seed)
