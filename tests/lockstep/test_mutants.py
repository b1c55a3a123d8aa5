"""Correct schedules, broken in one place: the lockstep notices, or there was nothing to notice.

`benchmarks/mutants.py` does the same with more of them, and prints the table.
"""

from __future__ import annotations

import numpy as np
import pytest
from support.mutants import MUTATIONS, Case, Outcome, Tally, cases, mutants

from minisim.hwmodel.isa import NONE

COUNT = 1500

OF_FEW = 100
"""Of them, faults that few of the cases can have: of windows, and of sums that two operations add to."""


@pytest.fixture(scope="module")
def correct() -> list[Case]:
    return cases()


@pytest.fixture(scope="module")
def tally(correct: list[Case]) -> Tally:
    tally = Tally()
    of_few = tuple(kind for kind in MUTATIONS if kind.endswith(("window", "partials")))
    for mutant in (*mutants(correct, COUNT - OF_FEW), *mutants(correct, OF_FEW, 1, of_few)):
        tally.add(mutant)
    return tally


def test_what_is_not_broken_passes(correct: list[Case]) -> None:
    assert {case.judge(case.schedule)[0] for case in correct} == {Outcome.EQUIVALENT}


def test_no_fault_goes_unnoticed(tally: Tally) -> None:
    assert tally.wrong == []


def test_every_kind_of_fault_was_tried(tally: Tally) -> None:
    assert {kind for kind, _ in tally.counts} == set(MUTATIONS)
    assert sum(tally.counts.values()) == COUNT


def test_most_faults_are_caught(tally: Tally) -> None:
    """The harmless ones are a minority, and there are none of the kinds that always change what is computed."""
    assert tally.total(Outcome.HAZARD) > COUNT / 3
    assert tally.total(Outcome.EQUIVALENT) < COUNT / 3
    for kind in ("change version", "change step", "flip last"):
        assert tally.counts[kind, Outcome.EQUIVALENT] == 0


def test_every_core_that_is_waited_for_matters(correct: list[Case]) -> None:
    """Without syncs, nothing runs through where each core needs at once what all have just computed."""
    many = [case for case in correct if case.graph.name == "few_rows"]
    assert len(many) == 9 and all(len(case.schedule.syncs) for case in many)
    for case in many:
        stream = case.schedule.stream.copy()
        stream["sync"] = NONE
        assert case.judge(case.schedule.replace(stream=stream))[0] is Outcome.HAZARD


def test_every_wait_of_a_tight_schedule_matters(correct: list[Case]) -> None:
    """Without any waits at all, nothing runs through."""
    for case in correct:
        stream = case.schedule.stream.copy()
        stream["wait"] = np.zeros_like(stream["wait"])
        stream["sync"] = NONE
        assert case.judge(case.schedule.replace(stream=stream))[0] is Outcome.HAZARD
