"""What is said while a sweep is at work."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

import minisim as ms
from minisim.sweeps.plan import Plan, bases_of, plan_of
from minisim.sweeps.specification import Specification
from minisim.sweeps.told import SweepProgress
from minisim.sweeps.work import Outcome


def plan_with(models: tuple[str, ...]) -> Plan:
    asked = Specification.check({"models": list(models), "param": {"dma.channels": "1:4:+1"}, "numerics": False}, "s")
    return plan_of(asked, bases_of(asked))


def outcomes(plan: Plan) -> list[Outcome]:
    keys = [entry.task.key for entry in plan.entries]
    return [
        Outcome(keys[0], "ok", "", '{"cycles_total": 1200}'),
        Outcome(keys[1], "infeasible", "no room", ""),
        Outcome(keys[2], "ok", "", '{"cycles_total": 900}'),
        Outcome(keys[3], "failed", "it broke", ""),
    ]


def test_without_a_terminal_there_is_a_line_from_time_to_time(capsys: pytest.CaptureFixture[str]) -> None:
    plan, now = plan_with(("gemm:8x8x8",)), 0.0
    with SweepProgress(plan, Console(file=io.StringIO()), lambda: now) as progress:
        for outcome, then, known in zip(outcomes(plan), (1, 6, 12, 200), (True, False, False, False), strict=True):
            now = float(then)
            progress.watch(outcome, known)
    assert capsys.readouterr().err.splitlines() == [
        "minisim: 3 of 4 points: 10 a minute, 0:06 left, best 900 cycles (dma.channels=3), 1 infeasible",
        "minisim: 4 of 4 points: 1 a minute, 0:00 left, best 900 cycles (dma.channels=3), 1 infeasible, 1 failed",
    ]


def test_lines_grow_seldom(capsys: pytest.CaptureFixture[str]) -> None:
    """A sweep of a night has a hundred lines, not thousands."""
    plan, now = plan_with(("gemm:8x8x8",)), 0.0
    (outcome, *_) = outcomes(plan)
    progress = SweepProgress(plan, Console(file=io.StringIO()), lambda: now)
    for second in range(8 * 3600):
        now = float(second)
        progress.watch(outcome, False)
    assert 50 < len(capsys.readouterr().err.splitlines()) < 100


def test_hours_are_told_and_the_best_of_one_model_alone() -> None:
    plan, now = plan_with(("gemm:8x8x8", "softmax:8x8")), 0.0
    progress = SweepProgress(plan, Console(file=io.StringIO()), lambda: now)
    now = 3600.0
    progress.watch(outcomes(plan)[0], False)
    assert progress.text() == "0 a minute, 7:00:00 left"
    assert ms.Machine() == plan.bases[0].machine


def test_a_terminal_has_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minisim.progress.PATIENCE_S", 0.0)
    plan, screen = plan_with(("gemm:8x8x8",)), io.StringIO()
    with SweepProgress(plan, Console(file=screen, force_terminal=True, width=120)) as progress:
        for outcome in outcomes(plan):
            progress.watch(outcome, False)
        progress._bar._progress.start()
        progress._bar._progress.refresh()
    assert "best 900 cycles (dma.channels=3)" in screen.getvalue()
