"""The table of the vector unit's operations: what everything that follows from it relies on."""

from __future__ import annotations

import pytest

from minisim.hwmodel.isa import DType, VectorOp, is_reduction
from minisim.hwmodel.sections import Energy, Vector


def test_the_codes_are_the_places_in_the_table() -> None:
    """Tables of numbers by operation are indexed by them, and a schedule that was saved means the same later."""
    assert [int(op) for op in VectorOp] == list(range(len(VectorOp)))
    assert (VectorOp.RELU, VectorOp.EXP, VectorOp.REDUCE_SUM, VectorOp.REDUCE_MAX) == (0, 7, 9, 10)


@pytest.mark.parametrize("op", VectorOp)
def test_a_row_has_sources_types_and_prices(op: VectorOp) -> None:
    assert op.sources >= 1
    assert set(op.types) <= set(DType.__members__)
    assert op.costs
    assert op.prices
    for cost in op.costs:
        assert f"{cost}_cost" in Vector.model_fields
    for price in op.prices:
        assert f"vector_{price}" in Energy.model_fields


def test_a_reduction_is_what_its_row_says() -> None:
    """And not what stands behind the first reduction."""
    assert [op for op in VectorOp if op.is_reduction] == [VectorOp.REDUCE_SUM, VectorOp.REDUCE_MAX]
    assert [op for op in VectorOp if op.is_fold] == [VectorOp.FOLD_MAX, VectorOp.FOLD_SUM, VectorOp.FOLD_FMA]
    assert is_reduction(list(VectorOp)).tolist() == [op.is_reduction for op in VectorOp]
