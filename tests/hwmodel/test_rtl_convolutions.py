"""Machines like those of two convolution engines: that they can be written down, and what comes of a few rows."""

from __future__ import annotations

import pytest
from support.fidelity import FOLDER, benchmark


@pytest.fixture(autouse=True)
def _scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))


def test_nvdla() -> None:
    """Where its 64 multipliers are the limit: 9 taps, 8 channels and 8 kernels at a time, as many passes as there."""
    cases = {case.name: case for case in benchmark("convolutions").nvdla()}
    case = cases["nvdla 32x32x16,16x3x3"]
    assert case.peak == 9 * 2 * 2 * 32 * 32 < case.ours < case.truth
    assert abs(case.error(case.ours)) < 0.1 < abs(cases["nvdla 8x8x3,8x3x3"].error(case.peak))


def test_cgra4ml() -> None:
    """8 rows and 24 columns: kernels of three taps a line take three columns a filter."""
    case = next(case for case in benchmark("convolutions").cgra4ml() if "32x3x3" in case.name or "8x3x3" in case.name)
    assert (case.machine.matrix.rows, case.machine.matrix.cols, case.machine.matrix.int8_rate) == (8, 8, 3)
    assert case.peak < case.ours and case.peak < case.truth
