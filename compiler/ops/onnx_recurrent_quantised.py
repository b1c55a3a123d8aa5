"""How com.microsoft's DynamicQuantizeLSTM enters the graph: an LSTM whose products are of integers.

W and R are int8 or uint8, (directions, k, 4 hidden), with a scale and a zero point for each direction, or for each of
its columns. What they are multiplied by, all of X and the h of each step, is quantised to uint8 over its range. Sums
of (q - z)(w - zw), int32, times the scales of both, in float32, are the products; all else is an LSTM in floats.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minisim.compiler.graph import Tensor
from minisim.compiler.ops.base import OnnxContext, OnnxNode, onnx_import
from minisim.compiler.ops.onnx_integers import integer_weights, ones
from minisim.compiler.ops.onnx_recurrent import ATTRIBUTES, Recurrence, lstm_step
from minisim.compiler.ops.quantization import over_its_range, type_of
from minisim.compiler.semantics import Array
from minisim.compiler.values import materialised
from minisim.errors import ShapeError, UnsupportedError

SCALES = {1: (8, 9), 2: (10, 11)}
"""Of W and of R, where the scale and the zero point stand."""


@onnx_import(
    "com.microsoft::DynamicQuantizeLSTM",
    attributes=[*ATTRIBUTES, "input_forget"],
    needs=(0, 1, 2, 8, 9, 10, 11),
    most_inputs=12,
    several_outputs=True,
)
def import_dynamic_quantize_lstm(context: OnnxContext, node: OnnxNode) -> tuple[Tensor, ...]:
    layer = _Quantised(context, node, gates=4, usual=("Sigmoid", "Tanh", "Tanh"), states=2)
    return layer.outputs(lstm_step)


@dataclass(frozen=True)
class _Matrix:
    """W or R of one direction, (k, n).

    Attributes:
        weight: its integers, less their zero points where a byte holds them.
        columns: the sums of its columns, less the zero points, int32 of (1, n).
        scale: float32, a number or one for each column.
        zero: the zero points that are left, int32 of (1, n); and a column of ones: its product they are multiplied by.
    """

    weight: Tensor
    columns: Tensor
    scale: Tensor
    zero: tuple[Tensor, Tensor] | None


class _Quantised(Recurrence):
    def of_matrix(self, width: int) -> tuple[int, ...]:
        return (len(self.ways), width, self.gates * self.hidden)

    def product(self, x: Tensor, place: int, way: int, begin: int, end: int, name: str) -> Tensor:
        """Of all gates: those of an LSTM are multiplied at once."""
        graph, matrix = self.graph, self._matrix(place, way)

        def part(text: str) -> str:
            return graph.fresh_name(f"{name}/{text}")

        q, scale, zero = over_its_range(graph, x, part("quantised"))
        sums = graph.matmul(q, matrix.weight, name=part("sums"))
        if matrix.zero is not None:
            left, column = matrix.zero
            of_rows = graph.matmul(q, column, name=part("of_rows"))
            sums = graph.sub(sums, graph.mul(of_rows, left, name=part("of_zero")), name=part("less_zero"))
        of_columns = graph.mul(graph.cast(zero, "int32", name=part("zero")), matrix.columns, name=part("of_columns"))
        sums = graph.sub(sums, of_columns, name=part("whole"))
        factor = graph.mul(scale, matrix.scale, name=part("factor"))
        return graph.dequantize(sums, factor, name=name)

    def _matrix(self, place: int, way: int) -> _Matrix:
        if (place, way) not in self._quantised:
            self._quantised[place, way] = self._read(place, way)
        return self._quantised[place, way]

    def __init__(self, context: OnnxContext, node: OnnxNode, gates: int, usual: tuple[str, ...], states: int) -> None:
        super().__init__(context, node, gates, usual, states)
        if self.x.dtype != "float32":
            raise UnsupportedError(f"X must be float32, not {self.x.dtype}")
        self._quantised: dict[tuple[int, int], _Matrix] = {}

    def _read(self, place: int, way: int) -> _Matrix:
        context, graph, name = self.context, self.graph, self.operands[place]
        values, scale, zero = (self._constant(each) for each in (name, *(self.operands[i] for i in SCALES[place])))
        dtype = type_of(context, name)
        if dtype not in ("int8", "uint8"):
            raise UnsupportedError(f"W and R must be int8 or uint8, not {dtype}")
        ways, columns = len(self.ways), self.gates * self.hidden
        for what, given in (("scale", scale), ("zero point", zero)):
            if given.shape not in ((ways,), (ways, 1), (ways, columns)):
                raise ShapeError(f"a {what} must have shape {(ways,)} or {(ways, columns)}, not {given.shape}")
        weight, shifted, left = integer_weights(
            context, name, values[way].astype(np.int64), zero[way].astype(np.int64).reshape(-1), dtype
        )

        def constant(text: str, array: Array, of: str) -> Tensor:
            return graph.weight(self.part(text), array, of)

        row = np.broadcast_to(left, columns) if left is not None else None
        return _Matrix(
            weight,
            constant("columns", shifted.sum(axis=0)[None].astype(np.int32), "int32"),
            constant("scale", scale[way].reshape(1, -1).astype(np.float32), "float32"),
            None
            if row is None
            else (constant("zero", row[None].astype(np.int32), "int32"), ones(context, self.node, (len(shifted), 1))),
        )

    def _constant(self, name: str) -> Array:
        values = materialised(self.context.constant(name))
        if values is None:
            raise UnsupportedError("W, R, their scales and zero points must be constant")
        return values
