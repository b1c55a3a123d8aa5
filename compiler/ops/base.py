"""What an operator is: one class, in one file, that says everything the compiler needs to know of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from minisim.compiler.graph import Graph, Node, Shape, Tensor
    from minisim.compiler.program import ProgramBuilder
    from minisim.hwmodel.config import Machine

Array = npt.NDArray[Any]
Attrs = Mapping[str, Any]


class Operator(ABC):
    """The meaning of one kind of node."""

    name: ClassVar[str]

    @abstractmethod
    def infer(self, shapes: Sequence[Shape], attrs: Attrs) -> Shape:
        """The output's shape. Raises ShapeError or UnsupportedError without naming the node."""

    @abstractmethod
    def evaluate(self, inputs: Sequence[Array], attrs: Attrs) -> Array:
        """The value by plain numpy, in the dtype of the inputs."""

    @abstractmethod
    def tile(self, node: Node, graph: Graph, machine: Machine) -> Any:
        """How to cut the node into tiles: what `lower` needs to know (a `Tiling`, or None)."""

    @abstractmethod
    def lower(self, node: Node, graph: Graph, tiling: Any, program: ProgramBuilder) -> None:
        """Emit the node's uOps on virtual tiles."""

    def macs(self, shapes: Sequence[Shape], attrs: Attrs) -> int:
        """Multiply-accumulates of the array, for roofline and utilization."""
        return 0


@dataclass(frozen=True)
class OnnxNode:
    """A node of an ONNX model in plain Python: attributes decoded, missing optional inputs are ''."""

    op_type: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Attrs


class OnnxContext(Protocol):
    """What an importer may ask of the ONNX front end."""

    graph: Graph
    opset: int
    """Of the default domain."""

    def value(self, name: str) -> Tensor:
        """The graph's tensor for an ONNX value (a constant becomes a weight)."""

    def constant(self, name: str) -> Array | None:
        """The array of an initializer or folded constant, or None if the value is computed."""

    def weight(self, name: str, data: Array) -> Tensor:
        """A new weight derived from the constant `name` (a transposed or scaled copy), and named after it."""


ImportFunction = Callable[[OnnxContext, OnnxNode], "Tensor"]


@dataclass(frozen=True)
class OnnxImporter:
    """How ONNX nodes of one type enter the graph.

    Attributes:
        build: adds the operations and returns the node's output. It raises ShapeError or
            UnsupportedError without naming the model.
        attributes: the ONNX attributes that `build` honours; a node with another one is refused.
    """

    build: ImportFunction
    attributes: frozenset[str]


OPERATORS: dict[str, Operator] = {}
ONNX_IMPORTERS: dict[str, OnnxImporter] = {}


def register(operator: type[Operator]) -> type[Operator]:
    """Class decorator: make the operator known under its name."""
    if operator.name in OPERATORS:
        raise ValueError(f"operator {operator.name!r} is registered twice")
    OPERATORS[operator.name] = operator()
    return operator


def onnx_import(*op_types: str, attributes: Sequence[str] = ()) -> Callable[[ImportFunction], ImportFunction]:
    """Decorator: the function imports ONNX nodes of these types, and honours these of their attributes."""

    def add(build: ImportFunction) -> ImportFunction:
        for op_type in op_types:
            if op_type in ONNX_IMPORTERS:
                raise ValueError(f"ONNX operator {op_type!r} is registered twice")
            ONNX_IMPORTERS[op_type] = OnnxImporter(build, frozenset(attributes))
        return build

    return add


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)) without overflow."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))
