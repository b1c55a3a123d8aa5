"""What a machine does to execute an operator: one class, in one file, that says everything the compiler needs to know.

Its meaning (shapes, types, values) is what `semantics.py` asks of it; here are its tiles and its uOps, and how nodes of
ONNX become it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar

from minisim.compiler.builder import ProgramBuilder
from minisim.compiler.graph import Graph, Node, Tensor
from minisim.compiler.panels import Pace, PanelPlan
from minisim.compiler.semantics import SEMANTICS, A, Array, Semantics
from minisim.compiler.tiling import Read, Share, Tiling
from minisim.compiler.values import Lazy
from minisim.hwmodel.config import Machine

S = TypeVar("S", bound=Semantics[Any])


class Operator(Semantics[A]):
    """An operator that a machine executes; one that it need not is a `semantics.View`.

    Attributes:
        through_dram: whether its operands and its output are packed buffers in DRAM, as those of views are.
        takes_edges: whether its tiles have the edges of those that it works on, where the compiler chooses edges.
        by_grids: whether it asks for its tiles by `ProgramBuilder.grid` alone, so that what it emits does not depend on
            where in another tensor its operands and outputs lie.
    """

    through_dram: ClassVar[bool] = False
    takes_edges: ClassVar[bool] = False
    by_grids: ClassVar[bool] = False

    @abstractmethod
    def tile(self, node: Node, graph: Graph, machine: Machine) -> Tiling:
        """How to cut the node into tiles, and in which order they are walked."""

    def candidates(self, node: Node, graph: Graph, machine: Machine) -> tuple[Tiling, ...]:
        """What `tile` returns, and others that an estimate takes for about as good."""
        return (self.tile(node, graph, machine),)

    def in_context(self, node: Node, graph: Graph, machine: Machine) -> tuple[Tiling, ...]:
        """Tilings among which the operators around the node decide: which of them finds the other's tiles in SRAM."""
        return ()

    def fewest(self, node: Node, graph: Graph, machine: Machine) -> int:
        """Operations that it takes at the least, found at once; for those whose `cut` takes its time."""
        return 0

    def sizes(self, node: Node, graph: Graph) -> tuple[int, int, int] | None:
        """The m, k and n that its tiles are cut from, if their edges are the compiler's to choose; else None."""
        return None

    def slab(self, node: Node, graph: Graph) -> int:
        """The rows that its output is cut into at a time (`slabs.py`); 0: all at once."""
        return 0

    def cut(self, node: Node, graph: Graph, machine: Machine) -> Tiling:
        """The tiles alone, not yet their order: quick, whatever their number."""
        return self.tile(node, graph, machine)

    @abstractmethod
    def lower(self, node: Node, graph: Graph, tiling: Tiling, program: ProgramBuilder) -> None:
        """Emit the node's uOps on virtual tiles."""

    @abstractmethod
    def reads(self, node: Node, graph: Graph, tiling: Tiling) -> tuple[Read, ...]:
        """Which tiles of its inputs each output tile needs: for the split over cores."""

    @abstractmethod
    def pace(self, node: Node, graph: Graph, tiling: Tiling, machine: Machine) -> Pace:
        """How fast a core is at it: for the split over cores."""

    def plan(
        self, node: Node, graph: Graph, tiling: Tiling, share: Share, machine: Machine, sharing: int = 1
    ) -> PanelPlan | None:
        """The panels for a share of its output tiles, if it has any (else None).

        Args:
            sharing: cores that move data meanwhile, and get as much of the DRAM's bandwidth each.
        """
        return None


@dataclass(frozen=True)
class OnnxNode:
    """A node of an ONNX model in plain Python: attributes decoded, missing optional inputs are ''.

    Attributes:
        place: the line of its author's source, if the file has it, for messages.
    """

    op_type: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, Any]
    place: str = ""


class OnnxContext(Protocol):
    """What an importer may ask of the ONNX front end."""

    graph: Graph
    opset: int
    """The version of the default domain's operator set."""

    def value(self, name: str) -> Tensor:
        """The graph's tensor for an ONNX value (a constant becomes a weight)."""

    def constant(self, name: str) -> Array | Lazy | None:
        """The numbers of an initializer or folded constant, or None if the value is computed."""

    def constant_dtype(self, name: str) -> str | None:
        """The type of an initializer or folded constant as numpy calls it, or None if the value is computed."""

    def integers(self, name: str) -> list[int] | None:
        """A constant that lists dimensions or axes, or None if the value is computed. Raises ModelError for others."""

    def weight(self, name: str, data: Array | Lazy, dtype: str | None = None) -> Tensor:
        """A new weight derived from the constant `name` (a transposed or scaled copy), and named after it.

        Of the constant's type, if `dtype` says no other.
        """


ImportFunction = Callable[[OnnxContext, OnnxNode], Tensor | tuple[Tensor, ...]]


F = TypeVar("F", bound=ImportFunction)


@dataclass(frozen=True)
class OnnxImporter:
    """How ONNX nodes of one type enter the graph.

    Attributes:
        build: adds the operations and returns the node's output, or outputs. It raises ShapeError or
            UnsupportedError without naming the model.
        attributes: the ONNX attributes that `build` honours; a node with another one is refused.
        several_outputs: whether `build` returns them all, or only the first; then a node whose others are used is
            refused.
        int64_outputs: the places of outputs that ONNX has as int64, and the graph as int32, which has all their values.
        needs, most_inputs: of an operator that ONNX has no schema of, the places of inputs that must be there, and how
            many there are at most; None: the schema has said so.
    """

    build: ImportFunction
    attributes: frozenset[str]
    several_outputs: bool = False
    int64_outputs: frozenset[int] = frozenset()
    needs: tuple[int, ...] = ()
    most_inputs: int | None = None


OPERATORS: dict[str, Operator[Any]] = {}
"""The operators that are executed, by name; `SEMANTICS` has these and the views."""

ONNX_IMPORTERS: dict[str, OnnxImporter] = {}
"""How nodes enter the graph, by their type in ONNX."""


def register(operator: type[S]) -> type[S]:
    """Class decorator: make the operator known under its name."""
    if operator.name in SEMANTICS:
        raise ValueError(f"operator {operator.name!r} is registered twice")
    made = SEMANTICS[operator.name] = operator()
    if isinstance(made, Operator):
        OPERATORS[operator.name] = made
    return operator


def onnx_import(
    *op_types: str,
    attributes: Sequence[str] = (),
    several_outputs: bool = False,
    int64_outputs: Sequence[int] = (),
    needs: Sequence[int] = (),
    most_inputs: int | None = None,
) -> Callable[[F], F]:
    """Decorator: the function imports ONNX nodes of these types (`OnnxImporter` says what the arguments are)."""

    def add(build: F) -> F:
        for op_type in op_types:
            if op_type in ONNX_IMPORTERS:
                raise ValueError(f"ONNX operator {op_type!r} is registered twice")
            honoured, wide = frozenset(attributes), frozenset(int64_outputs)
            if "::" in op_type and most_inputs is None:
                raise ValueError(f"ONNX has no schema of {op_type!r}: how many inputs it takes must be said")
            ONNX_IMPORTERS[op_type] = OnnxImporter(build, honoured, several_outputs, wide, tuple(needs), most_inputs)
        return build

    return add
