"""What the vector unit's operations are: each against its definition in numpy, float32 and step by step.

Elementary functions are taken from the engine here; `test_elementary.py` holds them against mpmath.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from support.functions import FUNCTIONS
from support.graphs import SPECIAL, values
from support.oracle import NAN, bits, fma, maximum

from minisim import _engine
from minisim.hwmodel.isa import VectorOp

F32 = np.float32
Array = npt.NDArray[np.float32]


def engine(op: VectorOp) -> Callable[[Array], Array]:
    return lambda x: _engine.vector(op, [np.ascontiguousarray(x, F32)], "reference")


EXP, SIGMOID, TANH, SOFTPLUS, ERF = (
    engine(op) for op in (VectorOp.EXP, VectorOp.SIGMOID, VectorOp.TANH, VectorOp.SOFTPLUS, VectorOp.ERF)
)


def minimum(x: Array, y: Array) -> Array:
    """NaN if either is, and -0 rather than +0."""
    return -maximum(-x, -y)


DEFINITIONS: dict[VectorOp, Callable[..., Array]] = {
    VectorOp.RELU: lambda x: np.where(x <= 0, F32(0), x),
    VectorOp.ADD: np.add,
    VectorOp.SUB: np.subtract,
    VectorOp.MUL: np.multiply,
    VectorOp.DIV: np.divide,
    VectorOp.MULTIPLY_ADD: np.vectorize(fma, otypes=[F32]),
    VectorOp.MAX: maximum,
    VectorOp.SQRT: np.sqrt,
    VectorOp.RECIPROCAL: lambda x: F32(1) / x,
    VectorOp.NEG: np.negative,
    VectorOp.ABS: np.abs,
    VectorOp.SIGN: lambda x: np.where(x == 0, F32(0), np.sign(x)),
    VectorOp.FLOOR: np.floor,
    VectorOp.CEIL: np.ceil,
    VectorOp.ROUND: np.rint,
    VectorOp.MIN: minimum,
    VectorOp.CLIP: lambda x, low, high: minimum(maximum(x, low), high),
    VectorOp.EQUAL: np.equal,
    VectorOp.LESS: np.less,
    VectorOp.LESS_OR_EQUAL: np.less_equal,
    VectorOp.IS_NAN: np.isnan,
    VectorOp.IS_INF: np.isinf,
    VectorOp.SELECT: lambda c, x, y: np.where(c != 0, x, y),
    VectorOp.SILU: lambda x: x * SIGMOID(x),
    VectorOp.MISH: lambda x: x * TANH(SOFTPLUS(x)),
    VectorOp.GELU: lambda x: (x * F32(0.5)) * (F32(1) + ERF(x * F32(0.5**0.5))),
    VectorOp.GELU_TANH: lambda x: (
        (x * F32(0.5)) * (F32(1) + TANH(F32((2 / np.pi) ** 0.5) * (x + F32(0.044715) * ((x * x) * x))))
    ),
    VectorOp.HARD_SIGMOID: lambda x, a, b: minimum(maximum(a * x + b, F32([0])), F32([1])),
    VectorOp.HARD_SWISH: lambda x: x * minimum(maximum(x * F32(1 / 6) + F32(0.5), F32([0])), F32([1])),
    VectorOp.SOFTSIGN: lambda x: x / (F32(1) + np.abs(x)),
    VectorOp.LEAKY_RELU: lambda x, a: np.where(x < 0, a * x, x),
    VectorOp.THRESHOLDED_RELU: lambda x, a: np.where(x > a, x, F32(0)),
    VectorOp.ELU: lambda x, a: np.where(x < 0, a * (EXP(x) - F32(1)), x),
    VectorOp.SELU: lambda x, a, g: g * np.where(x <= 0, a * EXP(x) - a, x),
    VectorOp.CELU: lambda x, a: np.where(x < 0, a * (EXP(x / a) - F32(1)), x),
}

TRUTH = {
    VectorOp.LOGICAL_NOT: np.logical_not,
    VectorOp.LOGICAL_AND: np.logical_and,
    VectorOp.LOGICAL_OR: np.logical_or,
    VectorOp.LOGICAL_XOR: np.logical_xor,
}


def test_every_operation_has_a_test() -> None:
    elementary = {*FUNCTIONS, VectorOp.POW}
    # conversions, and all on integers: test_integers.py
    assert {*DEFINITIONS, *TRUTH, *elementary} == {op for op in VectorOp if op.is_elementwise}


@pytest.mark.parametrize("op", TRUTH)
def test_truth_values(op: VectorOp) -> None:
    sources = [F32([0, 0, 1, 1] * 9), F32([0, 1, 0, 1] * 9)][: op.sources]
    for kernel in _engine.kernels():
        assert _engine.vector(op, sources, kernel).tolist() == TRUTH[op](*sources).tolist()


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
