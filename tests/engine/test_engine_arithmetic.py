"""The arithmetic, to the bit, against definitions written here in Python."""

from __future__ import annotations

from decimal import Context, Decimal
from fractions import Fraction

import numpy as np
import pytest

from minisim import _engine
from minisim.errors import UsageError
from minisim.hwmodel.isa import Activation

KERNELS = _engine.kernels()
F32 = np.float32


def bits(x):
    return np.ascontiguousarray(x, dtype=F32).view(np.uint32)


def fma(a, b, c):
    """The float32 nearest to a*b + c, elementwise, for finite arguments.

    The product of two float32 is exact in float64. Their sum with `c` may not be, so its rounding error
    (two-sum) goes into the last bit: rounding to odd makes the second rounding, to float32, the right one.
    """
    p = a.astype(np.float64) * b.astype(np.float64)
    c = c.astype(np.float64)
    s = p + c
    z = s - p
    error = (p - (s - z)) + (c - z)
    even = (s.view(np.int64) & 1) == 0
    s = np.where((error != 0) & even, np.nextafter(s, np.where(error > 0, np.inf, -np.inf)), s)
    return s.astype(F32)


def chain(a, b):
    """The matrix unit's definition: one chain of fused multiply-adds per output, k ascending from +0."""
    acc = np.zeros((a.shape[0], b.shape[1]), F32)
    for k in range(a.shape[1]):
        acc = fma(*np.broadcast_arrays(a[:, k : k + 1], b[k : k + 1]), acc)
    return acc


def nearest_float32(x: Fraction) -> np.float32:
    """Round to nearest, ties to even, from first principles."""
    near = F32(float(x))
    candidates = [np.nextafter(near, F32(-np.inf)), near, np.nextafter(near, F32(np.inf))]
    return min(candidates, key=lambda f: (abs(Fraction(float(f)) - x), int(f.view(np.uint32)) & 1))


def test_the_emulated_fma_is_right():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 2000)).astype(F32)
    c = (-a * b * (1 + rng.choice([0, 2.0**-24, 2.0**-23, 1], 2000))).astype(F32)  # much cancellation
    expected = [
        nearest_float32(Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z)))
        for x, y, z in zip(a, b, c, strict=True)
    ]
    np.testing.assert_array_equal(bits(fma(a, b, c)), bits(np.array(expected)))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (32, 32, 32), (33, 100, 47), (8, 300, 32), (5, 7, 65)])
@pytest.mark.parametrize("scale", [1.0, 1e-22], ids=["normal", "denormal"])
def test_matmul_is_the_chain(kernel, shape, scale):
    m, k, n = shape
    rng = np.random.default_rng(m * k * n)
    a = (rng.standard_normal((m, k)) * scale).astype(F32)
    b = (rng.standard_normal((k, n)) * scale).astype(F32)
    expected = bits(chain(a, b))
    np.testing.assert_array_equal(bits(_engine.matmul(a, b, kernel)), expected)
    at, bt = np.ascontiguousarray(a.T), np.ascontiguousarray(b.T)
    both = _engine.matmul(at, bt, kernel, a_transposed=True, b_transposed=True)
    np.testing.assert_array_equal(bits(both), expected)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("activation", Activation)
def test_epilogue(kernel, activation):
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((9, 20)).astype(F32), rng.standard_normal((20, 35)).astype(F32)
    bias, residual = rng.standard_normal(35).astype(F32), rng.standard_normal((9, 35)).astype(F32)
    expected = (chain(a, b) + bias) + residual
    if activation == Activation.RELU:
        expected = np.where(expected <= 0, F32(0), expected)
    if activation == Activation.SIGMOID:
        expected = _engine.sigmoid(expected, "reference")
    found = _engine.matmul(a, b, kernel, bias=bias, residual=residual, activation=activation)
    np.testing.assert_array_equal(bits(found), bits(expected))


@pytest.mark.parametrize("kernel", KERNELS)
def test_nan_inf_and_signed_zero(kernel):
    def product(a, b, **options):
        return float(_engine.matmul(np.array([a], F32), np.array(b, F32)[:, None], kernel, **options)[0, 0])

    assert np.isnan(product([np.inf, 1], [0, 1]))
    assert product([np.inf, 1], [1, 1]) == np.inf
    assert np.isnan(product([np.inf, -np.inf], [1, 1]))
    assert product([3e38, 3e38], [2, -2]) == np.inf - 0  # the first step overflows and stays there
    assert np.copysign(1, product([-0.0], [1])) == 1  # the chain starts from +0
    nan = _engine.matmul(np.array([[-np.nan]], F32), np.array([[1]], F32), kernel)
    assert int(bits(nan)[0, 0]) == 0x7FC00000
    out = _engine.matmul(np.array([[np.nan]], F32), np.array([[1]], F32), kernel, activation=Activation.RELU)
    assert int(bits(out)[0, 0]) == 0x7FC00000


@pytest.mark.parametrize("kernel", KERNELS)
def test_relu(kernel):
    x = np.array([-0.0, 0.0, -1, 1, np.inf, -np.inf, 1e-45, -1e-45, np.nan], F32)
    expected = np.array([0, 0, 0, 1, np.inf, 0, 1e-45, 0, np.nan], F32)
    np.testing.assert_array_equal(bits(_engine.relu(x, kernel)), bits(expected))


# -- sigmoid: against 60 decimal digits ---------------------------------------------------------------

DIGITS = Context(prec=60)

# Found by trying all 2**32 floats: of those that the quick evaluation cannot decide, the ones that are not
# simply close to such a middle as in `sigmoid_inputs`.
UNDECIDED = [0xBDA363F4, 0xBE104170, 0xBF1964D0, 0x3D21BC81, 0x3E8DFFAF]


def is_nearest(x: np.float32, y: np.float32) -> bool:
    """True if no float32 is nearer to sigmoid(x) than y. Ties cannot happen: sigmoid is transcendental."""
    true = DIGITS.divide(Decimal(1), DIGITS.add(Decimal(1), DIGITS.exp(-Decimal(float(x)))))
    below, above = (float(np.nextafter(y, F32(end))) for end in (-np.inf, np.inf))
    low = (Decimal(float(y)) + Decimal(below)) / 2
    high = (Decimal(float(y)) + Decimal(above)) / 2
    return low < true < high


def sigmoid_inputs():
    rng = np.random.default_rng(2)
    middles = np.arange(1, 2001, 2) * 2.0**-23  # 1/2 + x/4 is exactly between two floats
    return np.concatenate(
        [
            np.array(UNDECIDED, np.uint32).view(F32),
            middles,
            -middles / 2,
            rng.uniform(-104.5, 18, 12000),
            rng.uniform(-104, -86, 3000),  # denormal results
            rng.standard_normal(5000),
            np.exp(rng.uniform(-60, 0, 2000)) * rng.choice([-1, 1], 2000),
        ]
    ).astype(F32)


def test_sigmoid_is_correctly_rounded():
    x = sigmoid_inputs()
    assert len(x) >= 20_000
    y = _engine.sigmoid(x, "reference")
    wrong = [float(a) for a, b in zip(x, y, strict=True) if not is_nearest(a, b)]
    assert wrong == []


@pytest.mark.parametrize("kernel", KERNELS)
def test_sigmoid_has_the_same_bits_in_every_kernel(kernel):
    edges = [np.nan, -np.nan, np.inf, -np.inf, 0, -0.0, 3e38, -3e38, 1e-45, 17.4, 16.6, -104, -103.97]
    x = np.concatenate([np.array(edges, F32), sigmoid_inputs()])
    found = _engine.sigmoid(x, kernel)
    np.testing.assert_array_equal(bits(found), bits(_engine.sigmoid(x, "reference")))
    assert found[2:6].tolist() == [1.0, 0.0, 0.5, 0.5]
    assert bits(found[:2]).tolist() == [0x7FC00000] * 2


def test_shapes_are_kept():
    x = np.linspace(-3, 3, 24, dtype=F32).reshape(2, 3, 4)
    assert _engine.sigmoid(x).shape == _engine.relu(x).shape == (2, 3, 4)
    np.testing.assert_array_equal(_engine.relu(x[:, ::-1, ::2]), np.maximum(x[:, ::-1, ::2], 0))
    assert _engine.relu(np.zeros((0, 3), F32)).shape == (0, 3)


def test_wrong_arguments_are_refused_by_name():
    a = np.ones((2, 3), F32)
    with pytest.raises(UsageError, match="a must have dtype float32, not be an array of dtype float64"):
        _engine.matmul(a.astype(float), a.T)
    with pytest.raises(UsageError, match=r"b must have shape \(3, 3\), not be .* shape \(2, 3\)"):
        _engine.matmul(a, a)
    with pytest.raises(UsageError, match=r"bias must have shape \(1, 2\)"):
        _engine.matmul(a, a.T, bias=np.ones(3, F32))
    with pytest.raises(UsageError, match=r"residual must have shape \(2, 2\)"):
        _engine.matmul(a, a.T, residual=a)
    with pytest.raises(UsageError, match="activation must be below 3, not 3"):
        _engine.matmul(a, a.T, activation=3)
    with pytest.raises(UsageError, match="not 'quantum'"):
        _engine.matmul(a, a.T, "quantum")
    with pytest.raises(UsageError, match="must not be empty"):
        _engine.matmul(a[:0], a.T)
    with pytest.raises(UsageError, match="array must have dtype float32"):
        _engine.sigmoid(np.ones(3))
