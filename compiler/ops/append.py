"""Append: the rows that a state holds, with new ones behind them. No data moves: they are made where they belong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minisim.compiler.attributes import AppendAttributes
from minisim.compiler.dtypes import CODE
from minisim.compiler.graph import Shape
from minisim.compiler.ops.base import register
from minisim.compiler.semantics import Array, Origin, View
from minisim.errors import ShapeError


@register
class Append(View[AppendAttributes]):
    """The first rows of a state as its next generation: those that are held, and the operand `rows` behind them.

    The pass `place` lets whoever makes `rows` write them into the state; so what reads the result waits for that.
    """

    name = "Append"
    operands = range(2, 3)
    dtypes = frozenset(CODE)
    attributes = AppendAttributes

    def infer(self, shapes: Sequence[Shape], attributes: AppendAttributes) -> tuple[Shape, ...]:
        state, rows = shapes
        end = attributes.held + rows[0] if rows else 0
        if len(rows) != 2 or rows[1] != state[1] or end > state[0]:
            raise ShapeError(f"a state {state} that holds {attributes.held} rows has no room for rows {rows}")
        return ((end, state[1]),)

    def evaluate(self, inputs: Sequence[Array], attributes: AppendAttributes) -> tuple[Array, ...]:
        return (np.concatenate([inputs[0][: attributes.held], inputs[1]]),)

    def origins(self, shape: Shape, attributes: AppendAttributes) -> tuple[Origin, ...]:
        return (Origin(0, 0),)
