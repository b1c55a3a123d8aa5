"""The presets that are named after chips, against what was measured on them."""

from __future__ import annotations

import pytest
from support.fidelity import FOLDER, benchmark

import minisim as ms

gemmini, tpu, tpu_v1 = benchmark("gemmini"), benchmark("tpu"), benchmark("tpu_v1")


GEMMINI = {"64x64x64": -0.053, "256x256x256": -0.022, "512x512x64": -0.085}
TPU = {
    "256x256x256, bf16 in HBM": -0.368,
    "1024x1024x1024, bf16 in HBM": -0.274,
    "256x256x256, fp32 in HBM": -0.119,
    "1024x1024x1024, fp32 in HBM": -0.169,
}
ROWS = {
    "layernorm 2048x768, bf16 in HBM": -0.855,
    "softmax 2048x2048, bf16 in HBM": -0.795,
    "layernorm 2048x768, fp32 in HBM": -0.746,
    "softmax 2048x2048, fp32 in HBM": -0.611,
}
"""The errors that docs/fidelity.md claims: a change of the model or of the compiler that moves them says so."""


def cases() -> list[tuple[object, float]]:
    measured = [
        *gemmini.cases(),
        *(case for rows in (True, False) for t in ("bf16", "fp32") for case in tpu.cases(t, rows)),
    ]
    claimed = {f"gemmini {k}": v for k, v in GEMMINI.items()} | {f"tpu_v3 {k}": v for k, v in (TPU | ROWS).items()}
    assert [case.name for case in measured] == list(claimed)
    return [(case, claimed[case.name]) for case in measured]


@pytest.mark.parametrize(("case", "claimed"), cases(), ids=lambda x: getattr(x, "name", ""))
def test_the_errors_are_those_that_the_docs_claim(case: object, claimed: float) -> None:
    error = case.error(case.ours)  # type: ignore[attr-defined]
    assert error == pytest.approx(claimed, abs=0.01)
    assert abs(error) < abs(case.error(case.peak))  # type: ignore[attr-defined]
    assert abs(error) < abs(case.error(case.roofline))  # type: ignore[attr-defined]
    page = (FOLDER.parents[1] / "docs" / "fidelity.md").read_text("utf-8")
    assert f"{error:+.1%}" in next(line for line in page.splitlines() if case.name in line)  # type: ignore[attr-defined]


def test_gemmini_is_within_ten_per_cent() -> None:
    assert max(abs(case.error(case.ours)) for case in gemmini.cases()) < 0.10


def test_tpu_v3_has_two_arrays_at_the_rate_of_its_type() -> None:
    """123 TFLOP/s a chip of two cores, as published (to three digits)."""
    machine = next(iter(tpu.cases("bf16"))).machine
    flops = 2 * 2 * machine.matrix.elements * machine.matrix.bf16_rate * machine.clock.frequency
    assert round(float(flops) / 1e12) == 123


def test_tpu_v1_has_the_peak_and_the_ridge_that_are_published() -> None:
    """92 TeraOps/s, and 1350 multiplications for each byte of weights where its roofline bends."""
    machine = ms.Machine.load("tpu_v1")
    macs = machine.matrix.elements * machine.matrix.int8_rate * machine.clock.frequency
    assert round(float(2 * macs) / 1e12) == 92
    assert round(float(macs / (machine.dram_bytes_per_cycle * machine.clock.frequency)), -1) == 1350


@pytest.mark.parametrize(("network", "claimed"), list(zip(tpu_v1.NETWORKS, (0.060, 0.084), strict=True)))
def test_the_errors_of_tpu_v1_are_those_that_the_docs_claim(network: object, claimed: float) -> None:
    ours, measured, roofline = (getattr(network, name) for name in ("ours", "measured", "roofline"))
    error = ours / measured - 1
    assert error == pytest.approx(claimed, abs=0.005)
    assert abs(error) < abs(roofline / measured - 1)
    page = (FOLDER.parents[1] / "docs" / "fidelity.md").read_text("utf-8")
    assert f"{ours:.2f} {error:>+7.1%} " in next(line for line in page.splitlines() if network.name in line)  # type: ignore[attr-defined]
