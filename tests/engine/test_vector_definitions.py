"""What the vector unit's operations are: each against its definition in numpy, float32 and step by step.

Elementary functions are taken from the engine here; `test_elementary.py` holds them against mpmath.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from support.graphs import SPECIAL, values
from support.oracle import NAN, bits, maximum

from minisim import _engine
from minisim.hwmodel.isa import VectorOp

F32 = np.float32
Array = npt.NDArray[np.float32]


def engine(op: VectorOp) -> Callable[[Array], Array]:
    return lambda x: _engine.vector(op, [x], "reference")


DEFINITIONS: dict[VectorOp, Callable[..., Array]] = {
    VectorOp.RELU: lambda x: np.where(x <= 0, F32(0), x),
    VectorOp.ADD: np.add,
    VectorOp.SUB: np.subtract,
    VectorOp.MUL: np.multiply,
    VectorOp.DIV: np.divide,
    VectorOp.MAX: maximum,
    VectorOp.SQRT: np.sqrt,
}


def operands(count: int, seed: int) -> list[Array]:
    """Arrays in which every special value meets every other."""
    rng = np.random.default_rng(seed)
    special = np.concatenate([SPECIAL, -SPECIAL, F32([1, -1, 2, -2, 0.5, -0.5, 1.5, -1.5, 2.5, -3.5, 6, 3, -3, 30])])
    grids = np.meshgrid(*[special] * min(count, 2))
    paired = [*(grid.reshape(-1) for grid in grids), rng.permutation(np.tile(special, len(special)))][:count]
    return [np.concatenate([x, values(rng, (500,)), F32(8) * values(rng, (500,))]).astype(F32) for x in paired]


@pytest.mark.parametrize("op", DEFINITIONS)
def test_the_definition_in_numpy(op: VectorOp) -> None:
    sources = operands(op.sources, seed=int(op))
    with np.errstate(all="ignore"):
        expected = np.asarray(DEFINITIONS[op](*sources)).astype(F32)
    expected = np.where(np.isnan(expected), NAN, expected)
    found = _engine.vector(op, sources, "reference")
    differs = bits(found) != bits(expected)
    assert [x[differs].tolist()[:5] for x in sources] == [[]] * op.sources
