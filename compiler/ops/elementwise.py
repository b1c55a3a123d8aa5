"""Elementwise operations: one vector operation per output tile, with broadcasting.

A weight of a single element is a number in the operation (an immediate): it is not loaded, and has no tile.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from minisim.compiler import panels
from minisim.compiler.activations import RELU, SIGMOID
from minisim.compiler.attributes import Attributes
from minisim.compiler.builder import ProgramBuilder, Slot
from minisim.compiler.dtypes import FLOATS, NAME, NUMBERS, is_immediate
from minisim.compiler.graph import Graph, Node, Shape, Tensor, view_2d
from minisim.compiler.ops.base import Operator, register
from minisim.compiler.ops.vector_pace import vector_pace
from minisim.compiler.semantics import Array, one_dtype
from minisim.compiler.slabs import Broadcast, tiles_apart
from minisim.compiler.tiling import Read, Tiling, tile_height
from minisim.errors import ModelError, ShapeError, UnsupportedError
from minisim.hwmodel import cost, isa
from minisim.hwmodel.config import Machine


class Elementwise(Operator[Attributes]):
    """One vector operation per output tile.

    Attributes:
        code: the operation.
        value: what it computes, of numpy arrays.
        whole: the same of whole numbers (int64), where numpy has another function for them.
    """

    takes_edges = True
    by_grids = True

    code: ClassVar[isa.VectorOp]
    value: ClassVar[Callable[..., Any]]
    whole: ClassVar[Callable[..., Any] | None] = None

    def check_operands(self, present: Sequence[bool]) -> None:
        if len(present) != self.code.sources or not all(present):
            raise ModelError(f"must have {self.code.sources} operands, not {sum(present)}")

    def infer(self, shapes: Sequence[Shape], attributes: Attributes) -> tuple[Shape, ...]:
        try:
            shape = np.broadcast_shapes(*shapes)
        except ValueError:
            *others, last = map(str, shapes)
            raise ShapeError(f"shapes {', '.join(others)} and {last} do not broadcast") from None
        return (shape,)

    def infer_dtypes(self, dtypes: Sequence[str], attributes: Attributes) -> tuple[str, ...]:
        """By the kinds of the operation's sources: conditions are bool, all others are of one of its types."""
        pairs = list(zip(self.code.kinds, dtypes, strict=True))
        if wrong := [dtype for kind, dtype in pairs if kind == "c" and dtype != "bool"]:
            raise UnsupportedError(f"the condition must be bool, not {wrong[0]}")
        allowed = frozenset(NAME[isa.DType[name]] for name in self.code.types)
        dtype = one_dtype([dtype for kind, dtype in pairs if kind == "x"], allowed)
        return (dtype if self.code.result == "x" else "bool",)

    def evaluate(self, inputs: Sequence[Array], attributes: Attributes) -> tuple[Array, ...]:
        of_integers = self.whole is not None and inputs[self.code.kinds.index("x")].dtype.kind != "f"
        with np.errstate(divide="ignore"):
            return (np.asarray(self.whole(*inputs) if self.whole and of_integers else self.value(*inputs)),)

    def tile(self, node: Node, graph: Graph, machine: Machine) -> Tiling:
        broadcast, cols = broadcast_of(node, graph), view_2d(graph.tensors[node.output].shape)[1]
        m, n = tile_height(broadcast.rows, machine), min(machine.tile.n, cols)
        m_tiles, slab = -(-broadcast.rows // m), broadcast.rows if broadcast.slabs > 1 else 0
        return Tiling(m, 1, n, broadcast.slabs * m_tiles, 1, -(-cols // n), panels=None, slab=slab)

    def slab(self, node: Node, graph: Graph) -> int:
        broadcast = broadcast_of(node, graph)
        if broadcast.slabs > 1:
            return broadcast.rows
        whole = (name for name, repeated in zip(node.present, broadcast.repeated, strict=True) if not repeated)
        return max((graph.tensors[name].slab for name in whole), default=0)

    def reads(self, node: Node, graph: Graph, tiling: Tiling) -> tuple[Read, ...]:
        found, broadcast = [], broadcast_of(node, graph)
        for name in _tiled(node, graph):
            place = node.present.index(name)
            rows, cols = view_2d(graph.tensors[name].shape)
            axes = (
                ("", 1) if broadcast.repeated[place] else ("m", tiling.m),
                ("n", min(tiling.n, cols)) if cols > 1 else ("", 1),
            )
            slabs = broadcast.slab_of[place] if broadcast.slabs > 1 else ()
            found.append(Read(name, *axes, slabs, tiles_apart(broadcast.rows, rows, axes[0][1]) if slabs else 0))
        return tuple(found)

    def pace(self, node: Node, graph: Graph, tiling: Tiling, machine: Machine) -> panels.Pace:
        busy = int(cost.vector_cycles(self.code, tiling.m, tiling.n, machine))
        return vector_pace(busy, node, graph, tiling, machine)

    def lower(self, node: Node, graph: Graph, tiling: Tiling, program: ProgramBuilder) -> None:
        """Emit for each output tile: LOAD the sources, VECTOR, STORE. A repeated row or column has thin tiles."""
        m, n, _ = tiling.walk()
        slab, m_in_slab = tiling.in_slab(m)
        broadcast, tiled = broadcast_of(node, graph), _tiled(node, graph)
        columns: dict[str, npt.ArrayLike] = {}
        sources = []
        for i, name in enumerate(node.present):
            number = number_of(graph.tensors[name])
            if number is not None and name not in tiled:
                columns[f"imm{i}"] = number
                continue
            slab_of_it = np.array(broadcast.slab_of[i])[slab]
            if broadcast.repeated[i]:
                height, row = 1, slab_of_it
            else:
                height, row = tiling.m, slab_of_it * tiling.slab_tiles + m_in_slab
            cols = view_2d(graph.tensors[name].shape)[1]
            grid = program.grid(name, height, min(tiling.n, cols), slab=0 if broadcast.repeated[i] else broadcast.rows)
            sources.append(grid.ids(row, n if cols > 1 else 0 * n))
            columns[f"src{i}"] = sources[-1]
        target = program.grid(node.output, tiling.m, tiling.n, 1, tiling.slab).ids(m, n)
        cols = view_2d(graph.tensors[node.output].shape)[1]
        vectors = program.vectors(
            len(target),
            op=self.code,
            dtype=graph.tensors[node.present[self.code.kinds.index("x")]].code,
            dst=target,
            rows=np.minimum(tiling.m, broadcast.rows - m_in_slab * tiling.m),
            cols=np.minimum(tiling.n, cols - n * tiling.n),
            **columns,
        )
        slots = [Slot(isa.Opcode.LOAD, ids) for ids in sources]
        slots += [Slot(isa.Opcode.VECTOR, vectors), Slot(isa.Opcode.STORE, target)]
        program.layer(node.name, node.title, 0, slots, cores=tiling.core_of(m, n))


def number_of(tensor: Tensor) -> float | None:
    """The value of a weight that is a single number, which an immediate can be; None for other tensors.

    One that is not there counts as 0.
    """
    if not tensor.is_weight or tensor.dtype not in NUMBERS or math.prod(tensor.shape) != 1:
        return None
    try:
        data = tensor.data
    except ModelError:  # only timing does without, and it does not depend on values
        data = None
    if data is None:
        return 0.0
    number = data.reshape(-1)[0]
    return float(number) if tensor.dtype in FLOATS or is_immediate(int(number), tensor.dtype) else None


def _tiled(node: Node, graph: Graph) -> list[str]:
    """The operands that are tiles: all that are no numbers; of numbers alone, the first x."""
    tiled = [name for name in node.present if number_of(graph.tensors[name]) is None]
    return tiled or [node.present[0]]


def broadcast_of(node: Node, graph: Graph) -> Broadcast:
    """How the operands of an elementwise node lie under its output; in the slabs that its source is cut into."""
    output = graph.tensors[node.output]
    found = Broadcast.of(output.shape, [graph.tensors[name].shape for name in node.present])
    return found.apart(output.slab) if output.slab and found.slabs == 1 else found


@register
class Relu(Elementwise):
    name, code, value = "Relu", isa.VectorOp.RELU, staticmethod(RELU.function)


@register
class Sigmoid(Elementwise):
    name, code, value = "Sigmoid", isa.VectorOp.SIGMOID, staticmethod(SIGMOID.function)


@register
class Exp(Elementwise):
    name, code, value = "Exp", isa.VectorOp.EXP, np.exp


@register
class Sqrt(Elementwise):
    name, code, value = "Sqrt", isa.VectorOp.SQRT, np.sqrt


@register
class Add(Elementwise):
    name, code, value = "Add", isa.VectorOp.ADD, np.add


@register
class Mul(Elementwise):
    name, code, value = "Mul", isa.VectorOp.MUL, np.multiply


@register
class Sub(Elementwise):
    name, code, value = "Sub", isa.VectorOp.SUB, np.subtract


def truncated_quotient(x: Array, y: Array) -> Array:
    """Of whole numbers: toward zero, and 0 where y is 0."""
    sizes = np.abs(x) // np.maximum(np.abs(y), 1)
    return np.asarray(np.where(y == 0, 0, np.sign(x) * np.sign(y) * sizes))


@register
class Div(Elementwise):
    name, code, value, whole = "Div", isa.VectorOp.DIV, np.divide, staticmethod(truncated_quotient)


@register
class Max(Elementwise):
    name, code, value = "Max", isa.VectorOp.MAX, np.maximum
