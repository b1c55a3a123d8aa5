"""What an operator is: one class, in one file, that says everything the compiler needs to know of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from minisim.compiler.dtypes import CODE, FLOATS
from minisim.errors import ModelError, UnsupportedError

if TYPE_CHECKING:
    from minisim.compiler.graph import Graph, Node, Shape, Tensor
    from minisim.compiler.panels import Pace
    from minisim.compiler.program import ProgramBuilder
    from minisim.compiler.split import Read
    from minisim.compiler.tiling import Tiling
    from minisim.hwmodel.config import Machine

Array = npt.NDArray[Any]
Attrs = Mapping[str, Any]


class Operator(ABC):
    """The meaning of one kind of node.

    Attributes:
        operands: how many it may have.
        dtypes: the types that they may have.
    """

    name: ClassVar[str]
    operands: ClassVar[range] = range(1, 2)
    dtypes: ClassVar[frozenset[str]] = FLOATS

    def check_count(self, count: int) -> None:
        """Raises ModelError, without naming the node, if it cannot have so many operands."""
        if count not in self.operands:
            raise ModelError(f"must have {' or '.join(map(str, self.operands))} operands, not {count}")

    @abstractmethod
    def infer(self, shapes: Sequence[Shape], attrs: Attrs) -> Shape:
        """The output's shape. Raises ShapeError or UnsupportedError without naming the node."""

    def infer_dtype(self, dtypes: Sequence[str], attrs: Attrs) -> str:
        """The output's type: that of the operands. Raises UnsupportedError without naming the node."""
        return one_dtype(dtypes, self.dtypes)

    @abstractmethod
    def evaluate(self, inputs: Sequence[Array], attrs: Attrs) -> Array:
        """The value by plain numpy: floats in the dtype of the inputs, integers (int64) exactly."""

    @abstractmethod
    def tile(self, node: Node, graph: Graph, machine: Machine) -> Any:
        """How to cut the node into tiles: what `lower` needs to know (a `Tiling`, or None)."""

    def cut(self, node: Node, graph: Graph, machine: Machine) -> Tiling | None:
        """The tiles alone, not yet their order: quick, whatever their number. None if there are none."""
        found: Tiling | None = self.tile(node, graph, machine)
        return found

    @abstractmethod
    def lower(self, node: Node, graph: Graph, tiling: Any, program: ProgramBuilder) -> None:
        """Emit the node's uOps on virtual tiles."""

    def reads(self, node: Node, graph: Graph, tiling: Any) -> tuple[Read, ...]:
        """Which tiles of its inputs each output tile needs: for the split over cores."""
        return ()

    def pace(self, node: Node, graph: Graph, tiling: Any, machine: Machine) -> Pace:
        """How fast a core is at it: for the split over cores."""
        raise NotImplementedError

    def plan(
        self, node: Node, graph: Graph, tiling: Any, rows: int, cols: int, machine: Machine, sharing: int = 1
    ) -> Any:
        """The panels for rows x cols of its output tiles, if it has any (else None).

        Args:
            sharing: cores that move data meanwhile, and get as much of the DRAM's bandwidth each.
        """
        return None

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
        """The numbers of an initializer or folded constant, or None if the value is computed."""

    def integers(self, name: str) -> list[int] | None:
        """A constant that lists dimensions or axes, or None if the value is computed. Raises ModelError for others."""

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


def one_dtype(dtypes: Sequence[str], allowed: frozenset[str]) -> str:
    """The type that all operands have; UnsupportedError if they differ or it is not `allowed`."""
    if len(set(dtypes)) > 1:
        raise UnsupportedError(f"operands must be of one type, not {' and '.join(dict.fromkeys(dtypes))}")
    if dtypes[0] not in allowed:
        raise UnsupportedError(f"operands must be {' or '.join(d for d in CODE if d in allowed)}, not {dtypes[0]}")
    return dtypes[0]


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)) without overflow."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))
