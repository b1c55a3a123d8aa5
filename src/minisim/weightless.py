"""A graph without the values of its weights: what a pickled result has, for timing needs none of them."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from functools import partial
from typing import NoReturn

from minisim.compiler.dtypes import FLOATS
from minisim.compiler.graph import Graph, Tensor
from minisim.compiler.values import Lazy
from minisim.errors import UsageError

SMALL = 4096
"""The elements up to which values stay: numbers of formulas, indices, axes."""


def without_weights(graph: Graph) -> Graph:
    """A copy in which whoever asks for the values of a large weight, or of an input, is told that they are gone."""
    left = copy.copy(graph)
    left.tensors = {name: _without_values(tensor, left) for name, tensor in graph.tensors.items()}
    return left


def _without_values(tensor: Tensor, graph: Graph) -> Tensor:
    stays = isinstance(tensor.values, Lazy) or tensor.dtype not in FLOATS or math.prod(tensor.shape) <= SMALL
    if tensor.values is None or (stays and tensor.is_weight):
        return replace(tensor, graph=graph)
    if not tensor.is_weight:
        return replace(tensor, graph=graph, values=None)
    return replace(tensor, graph=graph, values=Lazy(tensor.shape, partial(_gone, tensor.name)))


def _gone(name: str) -> NoReturn:
    raise UsageError(f"weight {name!r}: a result that was pickled has no values of weights; load the model again")
