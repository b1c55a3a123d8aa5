"""What operations of the array share: the types of their operands, and the epilogue behind their sums.

The epilogue adds a bias and a residual and applies an activation, each of it optional; fusion sets all three. Of
integers there is a bias (int32), an activation that integers have, and then `scale`: the sums are requantised to int8
or uint8, else the output is int32.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple, TypeVar

import numpy as np

from minisim.compiler.attributes import EpilogueAttributes
from minisim.compiler.dtypes import CODE, NAME, is_integer, one_of, requantize
from minisim.compiler.graph import Graph, Node, view_2d
from minisim.compiler.ops.base import Operator
from minisim.compiler.semantics import Array
from minisim.compiler.tiling import Share, Tiling
from minisim.errors import UnsupportedError
from minisim.hwmodel import isa
from minisim.hwmodel.config import Machine
from minisim.hwmodel.packing import Packed

T = TypeVar("T")

BIAS, RESIDUAL = 2, 3
"""The places of the operands that the epilogue adds, in its order."""


def by_place(given: Sequence[T | None]) -> tuple[T, T, T | None, T | None]:
    """What is given of a, b, bias and residual; None for those that are absent."""
    whole: list[T | None] = [*given, None, None]
    a, b, bias, residual = whole[:4]
    assert a is not None
    assert b is not None
    return a, b, bias, residual


def has(inputs: Sequence[str | None], place: int) -> bool:
    """Whether there is an operand at this place."""
    return len(inputs) > place and inputs[place] is not None


E = TypeVar("E", bound=EpilogueAttributes)


class Multiplication(Operator[E]):
    """An operator of the array: operands a and b, and of the epilogue, each of it optional, bias and residual.

    Attributes:
        what: it is called in messages.
    """

    operands = range(2, 5)
    optional = frozenset({BIAS, RESIDUAL})
    dtypes = frozenset(NAME[a] for a in isa.ACCUMULATOR)
    what: ClassVar[str]

    def title(self, inputs: Sequence[str | None], attributes: E) -> str:
        fused = "Bias" * has(inputs, BIAS) + "Residual" * has(inputs, RESIDUAL) + str(attributes.activation or "")
        return f"Fused{self.name}{fused}" if fused else self.name

    def infer_dtypes(self, dtypes: Sequence[str | None], attributes: E) -> tuple[str, ...]:
        a, b, bias, _ = by_place(dtypes)
        if (CODE[a], CODE[b]) not in isa.PAIRS:
            raise UnsupportedError(f"operands must be {one_of(pairs())}, not {a} by {b}")
        return (result_dtype(self.what, a, bias, attributes),)

    def kept_macs(self, node: Node, graph: Graph, attributes: E) -> int:
        """The multiply-accumulates that are done: of a compressed b those with values that are kept."""
        macs = self.macs([graph.tensors[name].shape if name else None for name in node.inputs], attributes)
        b = graph.tensors[node.present[1]]
        if b.kept is None:
            return macs
        depth = view_2d(b.shape)[1 if b.kept.across else 0]
        return macs // depth * b.kept.of(depth)

    def tile(self, node: Node, graph: Graph, machine: Machine) -> Tiling:
        tiling = self.cut(node, graph, machine)
        if machine.cores.count > 1:
            return tiling  # the panels are those of each core's share (shares.py)
        whole = Share(0, 0, tiling.m_tiles, 0, tiling.n_tiles)
        return replace(tiling, panels=self.plan(node, graph, tiling, whole, machine))

    @abstractmethod
    def cut(self, node: Node, graph: Graph, machine: Machine) -> Tiling:
        """The tiles of one core, without panels."""


def pairs() -> list[str]:
    """For people: what the array multiplies by what."""
    return [NAME[a] if a == b else f"{NAME[a]} by {NAME[b]}" for a, b in isa.PAIRS]


def result_dtype(what: str, operands: str, bias: str | None, attributes: EpilogueAttributes) -> str:
    """The type of what the epilogue makes of sums of products of `operands`.

    Raises:
        UnsupportedError: a bias or a scale is none that they have; without naming the node.
    """
    if not is_integer(operands):
        if attributes.scale is not None:
            raise UnsupportedError(f"scale requantises the sums of integers, not of {operands}")
        return operands
    if bias is not None and bias != "int32":
        raise UnsupportedError(f"the bias of an {operands} {what} must be int32, not {bias}")
    return "int32" if attributes.scale is None else attributes.narrow


def multiplied(a: Array, b: Array) -> Array:
    """a @ b; of integers exactly: sums of products up to 2^22 are whole in double precision up to k = 2^31."""
    if not np.issubdtype(a.dtype, np.integer):
        return np.asarray(a @ b)
    return (a.astype(np.float64) @ b.astype(np.float64)).astype(np.int64)


def finished(sums: Array, bias: Array | None, residual: Array | None, attributes: EpilogueAttributes) -> Array:
    """What the epilogue makes of `sums`, in their precision; integers wrap to int32."""
    if np.issubdtype(sums.dtype, np.integer):
        return _finished_integers(sums, bias, attributes)
    for operand in (bias, residual):
        if operand is not None:
            sums = sums + operand.reshape(sums.shape if operand.size == sums.size else (-1,))
    return attributes.activation.function(sums) if attributes.activation else sums


def _finished_integers(sums: Array, bias: Array | None, attributes: EpilogueAttributes) -> Array:
    if bias is not None:
        sums = sums + bias.reshape(-1)
    sums = sums.astype(np.int32)
    if attributes.activation is not None:
        sums = attributes.activation.function(sums)
    narrow = sums if attributes.scale is None else requantize(sums, attributes.scale, attributes.narrow)
    return narrow.astype(np.int64)


class Footprint(NamedTuple):
    """The bytes of a matmul's tiles, in whole granules: operands, result, partial sums, operands of the epilogue."""

    a: int
    b: int
    c: int
    sums: int
    extra: int

    def needed(self, sums_apart: bool, machine: Machine) -> int:
        """The bytes of scratchpad needed; sums that are apart lie in the accumulator memory, if there is one."""
        return self.a + self.b + self.c + self.extra + self.sums * (sums_apart and not machine.accumulator.bytes)


@dataclass(frozen=True)
class MatMulTypes:
    """The types of a matmul: of A (the operands'), its sums, its bias and its result; and how B is packed in SRAM, or
    None."""

    operands: isa.DType
    sums: isa.DType
    bias: isa.DType
    result: isa.DType
    packed: Packed | None = None

    @classmethod
    def of(cls, node: Node, graph: Graph) -> MatMulTypes:
        operands = graph.tensors[node.present[0]].code
        sums, of_bias = isa.ACCUMULATOR[operands], node.operand(BIAS)
        bias = graph.tensors[of_bias].code if of_bias else sums
        packed = graph.tensors[node.present[1]].packed
        on_chip = packed if packed and packed.on_chip else None
        return cls(operands, sums, bias, graph.tensors[node.output].code, on_chip)

    @property
    def second_item(self) -> int:
        """The bytes of an element of B."""
        return isa.SECOND_SIZE[self.operands]

    @staticmethod
    def item(dtype: isa.DType) -> int:
        """The bytes of an element of this type."""
        return isa.ITEMSIZE[dtype]

    def footprint(self, inputs: Sequence[str | None], m: int, k: int, n: int) -> Footprint:
        """The bytes of the tiles of an operation on m x k x n elements, with these operands (`Node.inputs`)."""
        c = isa.align(self.item(self.result) * m * n)
        return Footprint(
            a=isa.align(self.item(self.operands) * m * k),
            b=isa.align(self.packed.tile_bytes(k, n) if self.packed else self.second_item * k * n),
            c=c,
            sums=isa.align(self.item(self.sums) * m * n),
            extra=isa.align(self.item(self.bias) * n) * has(inputs, BIAS) + c * has(inputs, RESIDUAL),
        )

    def sums_apart(self, machine: Machine, steps: int) -> bool:
        """Whether partial sums have tiles of their own: the result's are too narrow, or lie in the wrong memory."""
        return steps > 1 and (self.sums != self.result or machine.accumulator.bytes > 0)

    def check(self, node: Node, machine: Machine) -> None:
        """Raises UnsupportedError if the array does not have the operands' type."""
        if not machine.matrix.rate(self.operands):
            name = self.operands.name.lower()
            raise UnsupportedError(f"node {node.name!r}: the array has no {name} (matrix.{name}_rate is 0)")
