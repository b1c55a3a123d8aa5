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
from support.oracle import bits

from minisim import _engine
from minisim.hwmodel.isa import VectorOp

F32 = np.float32
Array = npt.NDArray[np.float32]
KERNELS = _engine.kernels()

FUNCTIONS: dict[VectorOp, Callable[[Any], Any]] = {
    VectorOp.EXP: mpmath.exp,
    VectorOp.TANH: mpmath.tanh,
}
"""Each is real where it has a value, and no value but an exact one lies in the middle between two floats."""

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
    near_one = rng.choice([-1, 1], count) * (1 + rng.integers(-(2**20), 2**20, count) * 2.0**-24)
    return np.concatenate([EDGES, anything, small.astype(F32), near_one.astype(F32)])


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
    if np.isnan(x):
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
@pytest.mark.parametrize("op", [op for op in VectorOp if not op.is_reduction])
def test_the_same_bits_in_every_kernel(op: VectorOp, kernel: str) -> None:
    sources = [sample(100 + i) for i in range(op.sources)]
    found = _engine.vector(op, sources, kernel)
    assert bits(found).tolist() == bits(_engine.vector(op, sources, "reference")).tolist()
    assert set(bits(found[np.isnan(found)]).tolist()) <= {0x7FC00000}
