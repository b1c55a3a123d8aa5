"""Values for the inputs of a model that gives none: what `minisim run` feeds it, and what int8 is calibrated on."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from minisim.compiler.dtypes import converted
from minisim.compiler.graph import Graph, Tensor


def example_inputs(graph: Graph, seed: int = 0) -> dict[str, npt.NDArray[Any]]:
    """Values for all inputs: the model's own where it gives some, else random ones.

    Floats are normal of the order 0.1, int8 and int16 uniform over all their values, int32 uniform over +-1000.
    They depend on the seed, the input's name, its shape and its type alone.
    """
    return {name: _values(graph.tensors[name], seed) for name in graph.inputs}


def _values(tensor: Tensor, seed: int) -> npt.NDArray[Any]:
    if tensor.data is not None:
        return tensor.data
    rng = np.random.default_rng([seed, zlib.crc32(tensor.name.encode())])
    match tensor.dtype:
        case "int8":
            return rng.integers(-128, 128, tensor.shape, dtype=np.int8)
        case "int16":
            return rng.integers(-(2**15), 2**15, tensor.shape, dtype=np.int16)
        case "int32":
            return rng.integers(-1000, 1001, tensor.shape, dtype=np.int32)
    return converted(0.1 * rng.standard_normal(tensor.shape), tensor.dtype)
