"""The vector unit's elementary functions against mpmath: correctly rounded, and with the same bits in every kernel.

All 2^32 arguments are tried by engine_cpp/tests/check_elementary.cpp, against another library and in an hour; here a
sample, the values that trip arithmetic, and the arguments that double precision cannot decide.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import numpy.typing as npt
import pytest
from support.functions import FUNCTIONS, PERIODIC
from support.oracle import bits

from minisim import _engine
from minisim.hwmodel.isa import VectorOp

F32 = np.float32
Array = npt.NDArray[np.float32]
KERNELS = _engine.kernels()

EDGES = np.array(
    [0.0, -0.0, 1e-45, -1e-45, 1e-40, 1.1754944e-38, 1e-20, 0.5, 1, -1, np.nextafter(F32(1), F32(0)),
     np.nextafter(F32(1), F32(2)), 2, -2, 10, 88.7, -88.7, 1e5, 1e10, 3.4e38, -3.4e38, np.inf, -np.inf, np.nan],
    F32,
)  # fmt: skip


def sample(seed: int, count: int = 1500) -> Array:
    """Of all magnitudes, and more of those where functions bend."""
    rng = np.random.default_rng(seed)
    anything = rng.integers(0, 2**32, count, dtype=np.uint32).view(F32)
    small = np.exp(rng.uniform(-20, 4, count)) * rng.choice([-1, 1], count)
    angles = rng.integers(-(2**12), 2**12, count) * (np.pi / 2)  # and their neighbours
    near_one = rng.choice([-1, 1], count) * (1 + rng.integers(-(2**20), 2**20, count) * 2.0**-24)
    return np.concatenate([EDGES, anything, small.astype(F32), near_one.astype(F32), angles.astype(F32)])


def nearest(true: Any) -> float:
    """The float32 nearest to a real number; ties cannot happen."""
    if not mpmath.isfinite(true) or true == 0:
        return float(true)
    exponent = max(int(mpmath.floor(mpmath.log(abs(true), 2))), -126)
    quantum = mpmath.mpf(2) ** (exponent - 23)
    rounded = mpmath.nint(true / quantum) * quantum
    return float(rounded) if abs(rounded) < mpmath.mpf(2) ** 128 else float(mpmath.sign(rounded)) * np.inf


def value(function: Callable[[Any], Any], x: float) -> float:
    """Of a real function at a float; NaN outside of its domain."""
    if np.isnan(x) or (np.isinf(x) and function in PERIODIC):
        return np.nan
    try:
        true = function(mpmath.mpf(x))
    except (ValueError, ZeroDivisionError):
        return np.nan
    return nearest(true) if isinstance(true, mpmath.mpf) else np.nan


@pytest.mark.parametrize("op", FUNCTIONS)
def test_correctly_rounded(op: VectorOp) -> None:
    x = sample(int(op))
    with mpmath.workprec(300):
        expected = np.array([value(FUNCTIONS[op], a) for a in x.tolist()], F32)
    found = _engine.vector(op, [x], "reference")
    wrong = ~((found == expected) | (np.isnan(found) & np.isnan(expected)))
    assert x[wrong].tolist() == []
    zero = (x == 0) & (found == 0)  # odd functions keep the sign
    assert np.signbit(found[zero]).tolist() == np.signbit(x[zero]).tolist()


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("op", [op for op in VectorOp if op.is_elementwise])
def test_the_same_bits_in_every_kernel(op: VectorOp, kernel: str) -> None:
    sources = [sample(100 + i) for i in range(op.sources)]
    found = _engine.vector(op, sources, kernel)
    assert bits(found).tolist() == bits(_engine.vector(op, sources, "reference")).tolist()
    assert set(bits(found[np.isnan(found)]).tolist()) <= {0x7FC00000}


# -- x^y --------------------------------------------------------------------------------------------


def exact_power(x: float, y: float) -> Any:
    """x^y of a finite x > 0, with so many bits that a tie is one."""
    return mpmath.power(mpmath.mpf(x), mpmath.mpf(y))


def test_powers_are_correctly_rounded() -> None:
    rng = np.random.default_rng(9)
    bases = np.concatenate([np.exp(rng.normal(0, 2, 3000)), 1 + rng.integers(-5000, 5000, 1000) * 2.0**-23]).astype(F32)
    exponents = np.concatenate([rng.normal(0, 4, 3000), rng.normal(0, 30000, 1000)]).astype(F32)
    whole = np.repeat(np.arange(-8, 17), 40).astype(F32)  # with ties: 17 bits squared, 9 bits to the third power
    odd = (2 * rng.integers(1, 2**12, len(whole)) + 1).astype(F32) * F32(2.0) ** rng.integers(-9, 9, len(whole))
    squares = (rng.integers(1, 2**12, 300) ** 2).astype(F32)
    x = np.concatenate([bases, odd.astype(F32), squares, squares])
    y = np.concatenate([exponents, whole, np.full(300, 0.5, F32), np.full(300, 1.5, F32)]).astype(F32)
    with mpmath.workprec(1200):
        expected = np.array([nearest(exact_power(a, b)) for a, b in zip(x.tolist(), y.tolist(), strict=True)], F32)
    found = _engine.vector(VectorOp.POW, [x, y], "reference")
    wrong = found != expected
    assert list(zip(x[wrong].tolist(), y[wrong].tolist(), strict=True)) == []


def test_powers_of_special_values_are_ieee() -> None:
    """As numpy has them (C's pow), signs of zeros included."""
    special = F32([0, -0.0, 1, -1, 2, -2, 3, -3, 0.5, -0.5, 2.5, 1e-45, 3e38, -3e38, 2**24, np.inf, -np.inf, np.nan])
    x, y = (grid.reshape(-1) for grid in np.meshgrid(special, special))
    with np.errstate(all="ignore"):
        expected = np.power(x.astype(np.float64), y.astype(np.float64)).astype(F32)
    found = _engine.vector(VectorOp.POW, [x, y], "reference")
    expected = np.where(np.isnan(expected), np.array(0x7FC00000, np.uint32).view(F32), expected)
    assert bits(found).tolist() == bits(expected).tolist()
