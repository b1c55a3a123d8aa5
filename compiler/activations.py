"""The activations that the array's epilogue can apply: one row each, which every part of the compiler reads.

An activation is also an operator of its own (`compiler/ops/elementwise.py`), under the name that ONNX gives it. Fusion
replaces that operator by the row; the matmul prints it, computes it and hands it to the machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from minisim.hwmodel import isa

Array = npt.NDArray[Any]


def relu(x: Array) -> Array:
    """``max(x, 0)``, of floats or integers."""
    return np.asarray(np.maximum(x, 0))


def sigmoid(x: Array) -> Array:
    """``1 / (1 + exp(-x))`` without overflow."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


@dataclass(frozen=True)
class Activation:
    """An activation, and what each part of the compiler calls it.

    Attributes:
        title: its name in the title of a fused operation and in dumps, such as ``ReLU``.
        operator: the graph's operator that fusion turns into it; ONNX has the same name.
        code: what the instruction set calls it.
        function: its value by plain numpy.
        on_integers: whether the array applies it to integer sums, too.
    """

    title: str
    operator: str
    code: isa.Activation
    function: Callable[[Array], Array] = field(repr=False)
    on_integers: bool = False

    def __str__(self) -> str:
        return self.title


RELU = Activation("ReLU", "Relu", isa.Activation.RELU, relu, on_integers=True)
SIGMOID = Activation("Sigmoid", "Sigmoid", isa.Activation.SIGMOID, sigmoid)

BY_OPERATOR = {row.operator: row for row in (RELU, SIGMOID)}
"""The rows by the operator that fusion replaces."""
