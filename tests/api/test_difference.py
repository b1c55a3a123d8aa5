"""How far outputs are from what was expected: what a user would be told wrongly."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minisim as ms
from minisim import difference as module
from minisim.difference import Difference, difference

NAN, INF = math.nan, math.inf


def of(output: object, expected: object, dtype: str = "float32") -> Difference:
    return difference({"y": np.array(output, dtype)}, {"y": np.array(expected)})


def test_the_error_has_its_scale() -> None:
    """An error of 0.5 in values around 100 is a small one: signal 20,000, noise 0.25 is 49 dB."""
    found = of([100.5, -100.0], [100.0, -100.0])
    assert (found.largest, found.low, found.high) == (0.5, -100, 100.5)
    assert found.sqnr_db == pytest.approx(10 * math.log10(20_000 / 0.25))
    assert found.error_text() == "largest error 0.5, SQNR 49 dB"
    assert found.range_text() == "in [-100, 100]"  # three digits


@pytest.mark.parametrize("at_once", [1, 3, 2**18])
def test_pieces_add_up(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMPARED_AT_ONCE", at_once)
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(4, 7))
    output = (truth + 0.01 * rng.normal(size=(4, 7))).astype(np.float32)
    found, apart = of(output, truth), output.astype(np.float64) - truth
    assert (found.low, found.high, found.elements) == (output.min(), output.max(), 28)
    assert found.largest == np.abs(apart).max()
    assert found.sqnr_db == pytest.approx(10 * math.log10((truth**2).sum() / (apart**2).sum()))


def test_the_worst_output_is_told() -> None:
    """A small output that is all wrong does not hide behind a large one that is nearly right."""
    outputs = {"large": np.float32([1e6, 2e6]), "small": np.float32([0.0, 0.0]), "exact": np.float32([0.0])}
    expected = {"large": np.array([1e6, 2e6 + 1]), "small": np.array([0.0, 1.0]), "exact": np.zeros(1)}
    found = difference(outputs, expected)
    assert found.sqnr_db == 0 and (found.largest, found.low, found.high) == (1, 0, 2e6)


def test_integers_are_compared_exactly() -> None:
    top = 2**31 - 1
    assert of([top, 5], [top, 5], "int32").error_text() == "exact"
    found = of([top, -7], [top - 1, -7], "int32")
    assert found.largest == 1 and found.range_text() == "in [-7, 2.15e+09]"
    assert of([top], [2**40], "int32").largest == 2**40 - top  # beyond what the output's type can hold
    assert of([123_456], [0], "int32").error_text() == "largest error 123,456, SQNR -inf dB"


@pytest.mark.parametrize(
    ("output", "expected", "largest", "not_finite", "error", "scale"),
    [
        ([NAN, 1], [NAN, 1], 0, 1, "exact", "in [1, 1], 1 of 2 NaN or infinite"),
        ([INF, 1], [INF, 1], 0, 1, "exact", "in [1, 1], 1 of 2 NaN or infinite"),
        ([NAN, 1], [0, 1], NAN, 1, "NaN or infinite where", "in [1, 1], 1 of 2 NaN or infinite"),
        ([0, 1], [NAN, 1], NAN, 0, "NaN or infinite where", "in [0, 1]"),
        ([INF, 1], [-INF, 1], INF, 1, "NaN or infinite where", "in [1, 1], 1 of 2 NaN or infinite"),
        ([INF, 1], [1e200, 1], INF, 1, "NaN or infinite where", "in [1, 1], 1 of 2 NaN or infinite"),
        ([NAN, INF], [NAN, INF], 0, 2, "exact", "2 of 2 NaN or infinite"),
        ([-0.0, 0], [0, 0], 0, 0, "exact", "in [0, 0]"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("at_once", [1, 2**18])
def test_what_is_no_number(
    output: list[float],
    expected: list[float],
    largest: float,
    not_finite: int,
    error: str,
    scale: str,
    at_once: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "COMPARED_AT_ONCE", at_once)
    for order in (slice(None), slice(None, None, -1)):  # the odd one first, or last
        found = of(output[order], expected[order])
        assert found.largest == pytest.approx(largest, nan_ok=True) and found.not_finite == not_finite
        assert found.error_text().startswith(error) and found.range_text() == scale
        assert found.sqnr_db == (INF if largest == 0 else -INF)


def test_noise_alone_has_no_signal() -> None:
    assert of([1.0], [0.0]).sqnr_db == -INF
    assert of([0.0], [0.0]).sqnr_db == INF


def test_a_run_tells_it() -> None:
    result = ms.run("gemm:8x8x8")
    found, y = result.difference, result.outputs["c"]
    assert found is not None and (found.low, found.high, found.elements) == (y.min(), y.max(), 64)
    assert result.max_abs_error == found.largest and 100 < found.sqnr_db < 200
    assert ms.run("gemm:8x8x8", check=False).difference is None
    assert ms.run("gemm:8x8x8", numerics=False).max_abs_error is None
