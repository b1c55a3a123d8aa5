"""The vector unit's arithmetic against exact oracles: decimals of 60 digits for exp, fractions for the rest."""

from __future__ import annotations

from decimal import Context, Decimal
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.graphs import SPECIAL, values
from support.oracle import bits, reduce_row, round_float32

from minisim import _engine
from minisim.hwmodel.isa import Role, VectorOp

F32 = np.float32
Array = npt.NDArray[np.float32]
KERNELS = _engine.kernels()


def vector(op: VectorOp, kernel: str, x: Array, y: Array | None = None) -> Array:
    """One operation of the engine on whole (rows, cols) arrays."""
    rows, cols = x.shape
    made = (rows, 1) if op.is_reduction else (rows, cols)
    size = -(-rows * cols * 4 // 64) * 64
    engine = _engine.Engine(_engine.EngineConfig(3 * size, kernel=kernel))
    places = []
    for i, array in enumerate((x, y) if y is not None else (x,)):
        tensor = engine.add_tensor(rows, cols, Role.INPUT)
        engine.set_tensor(tensor, array)
        places.append(_engine.Tile(tensor, 0, 0, rows, cols, i * size))
    target = _engine.Tile(engine.add_tensor(*made, Role.OUTPUT), 0, 0, *made, 2 * size)
    for place in places:
        engine.dispatch(_engine.SchedLoad(place))
    engine.dispatch(_engine.SchedVector(op, target, *places))
    engine.dispatch(_engine.SchedStore(target))
    return engine.tensor(target.tensor)


# -- exp ------------------------------------------------------------------------------------------------------

DIGITS = Context(prec=60)

UNDECIDED = [
    0x33800000, 0x36FDFFC1, 0x377EFF81, 0x383A3EF1, 0x38E69CC1, 0x39C6BE5B, 0x39E5BB1D, 0x3D1A274E,
    0x3FE67199, 0x4001B249, 0x40315B33, 0x41CBF87B, 0x4288942B, 0xB3000000, 0xBAE0E25C, 0xBBB70EE8, 0xBBF0EDF1,
    0xBC2A461A, 0xC13D6631, 0xC16912CD,
]  # fmt: skip
"""The floats that the quick evaluation cannot decide: all there are among 2^32."""


def exp_inputs() -> Array:
    rng = np.random.default_rng(3)
    tiny = np.exp(rng.uniform(-60, 0, 2000)) * rng.choice([-1, 1], 2000)
    parts = [
        rng.uniform(-104.5, 89, 8000),
        rng.uniform(-104, -86, 3000),  # denormal results
        rng.standard_normal(4000),
        tiny,
        np.arange(1, 1001, 2) * 2.0**-24,  # 1 + x is exactly between two floats
        -np.arange(1, 1001, 2) * 2.0**-25,
    ]
    return np.concatenate([np.array(UNDECIDED, np.uint32).view(F32), *parts]).astype(F32)


def test_exp_is_correctly_rounded() -> None:
    """No float32 is nearer to exp(x). Ties cannot happen: but for x = 0, exp(x) is transcendental."""
    x = exp_inputs()
    wrong = []
    for a, y in zip(x.tolist(), _engine.exp(x, "reference"), strict=True):
        true = DIGITS.exp(Decimal(a))
        ends = (np.nextafter(y, F32(end)) for end in (-np.inf, np.inf))
        # the float after the greatest is taken as 2^128: where rounding to nearest goes over to infinity
        below, above = (Decimal(float(end)) if np.isfinite(end) else Decimal(2) ** 128 for end in ends)
        here = Decimal(float(y)) if np.isfinite(y) else Decimal(2) ** 128
        if not (here + below) / 2 < true or (np.isfinite(y) and not true < (here + above) / 2):
            wrong.append(a)
    assert wrong == []


@pytest.mark.parametrize("kernel", KERNELS)
def test_exp_has_the_same_bits_in_every_kernel(kernel: str) -> None:
    edges = np.array(
        [np.nan, -np.nan, np.inf, -np.inf, 0, -0.0, 3e38, -3e38, 88.72283, 88.72284, -103.97, -103.98], F32
    )
    x = np.concatenate([edges, exp_inputs()])
    found = _engine.exp(x, kernel)
    np.testing.assert_array_equal(bits(found), bits(_engine.exp(x, "reference")))
    assert found[2:6].tolist() == [np.inf, 0.0, 1.0, 1.0]
    assert bits(found[:2]).tolist() == [0x7FC00000] * 2


# -- elementwise ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", KERNELS)
def test_quotients_and_differences_are_rounded_once(kernel: str) -> None:
    rng = np.random.default_rng(4)
    x, y = (values(rng, (20, 25), special=0.1) for _ in range(2))
    difference, quotient = vector(VectorOp.SUB, kernel, x, y), vector(VectorOp.DIV, kernel, x, y)
    for a, b, d, q in zip(*(array.flat for array in (x, y, difference, quotient)), strict=True):
        if not (np.isfinite(a) and np.isfinite(b)):
            continue
        exact_a, exact_b = Fraction(float(a)), Fraction(float(b))
        if exact_a != exact_b:
            assert float(d) == round_float32(exact_a - exact_b)
        if exact_a and exact_b:
            assert float(q) == round_float32(exact_a / exact_b)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_root_is_the_float_whose_neighbours_are_further(kernel: str) -> None:
    x = np.abs(values(np.random.default_rng(5), (20, 25), special=0.1))
    for a, y in zip(x.flat, vector(VectorOp.SQRT, kernel, x).flat, strict=True):
        if np.isfinite(a) and a > 0:
            low, high = (Fraction(float(np.nextafter(y, F32(end)))) for end in (0, np.inf))
            middle = Fraction(float(y))
            assert ((low + middle) / 2) ** 2 < Fraction(float(a)) < ((middle + high) / 2) ** 2


# -- reductions -----------------------------------------------------------------------------------------------

FLOATS = st.one_of(st.floats(width=32), st.floats(-2, 2, width=32), st.sampled_from(SPECIAL.tolist()))


@given(st.lists(FLOATS, min_size=1, max_size=150), st.sampled_from(KERNELS), st.booleans())
def test_reductions_are_their_definition(row: list[float], kernel: str, adds: bool) -> None:
    x = np.array([row], F32)
    op = VectorOp.REDUCE_SUM if adds else VectorOp.REDUCE_MAX
    assert bits(vector(op, kernel, x)) == bits(reduce_row(x[0], adds))


def test_the_definition_of_a_sum_by_fractions() -> None:
    """The oracle itself, by rational arithmetic: 32 partial sums, then halves onto halves."""
    row = values(np.random.default_rng(6), (200,))
    partial: list[Fraction] = [Fraction(0)] * 32
    for i, x in enumerate(row.tolist()):
        partial[i % 32] = Fraction(round_float32(partial[i % 32] + Fraction(x)))
    while len(partial) > 1:
        half = len(partial) // 2
        partial = [Fraction(round_float32(a + b)) for a, b in zip(partial[:half], partial[half:], strict=True)]
    assert reduce_row(row, adds=True).tolist() == [float(partial[0])]
