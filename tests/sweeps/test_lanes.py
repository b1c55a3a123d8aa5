"""Lanes: tasks in order, each to one lane, and what a lane that dies costs."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest

import minisim as ms
from minisim.sweeps import lanes
from minisim.sweeps.grid import Point
from minisim.sweeps.lanes import Lost, streamed
from minisim.sweeps.rows import point_rows
from minisim.sweeps.work import How, Outcome, Task

HOW = How(False, 1, 1, {})


class Pool:
    """A process that dies of the deadly task."""

    def __init__(self) -> None:
        self.given: list[str] = []

    def submit(self, work: Any, task: Task, how: How) -> Future[Outcome]:
        done: Future[Outcome] = Future()
        self.given.append(task.key)
        if "1" in self.given:
            done.set_exception(BrokenProcessPool())
        else:
            done.set_result(Outcome(task.key, "ok", "", "{}"))
        return done


def test_a_deadly_point_is_tried_twice_and_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a sweep with one would never end."""
    pools: list[Pool] = []

    @contextmanager
    def workers(*arguments: object) -> Iterator[Pool]:
        assert len(pools) < 10, "the sweep does not end"
        pools.append(Pool())
        yield pools[-1]

    monkeypatch.setattr(lanes, "workers", workers)
    points = [Point(i, {}, ms.Machine()) for i in range(12)]
    rows = point_rows(ms.load_model("gemm:8x8x8"), points, jobs=2, numerics=False)
    assert [row["status"] for row in rows] == ["ok", "failed", *["ok"] * 10]
    assert rows[1]["reason"] == "the process died (out of memory?)"
    given = [key for pool in pools for key in pool.given]
    assert len(pools) == 4  # two lanes, of which one died twice
    assert given.count("1") == 2 and len(given) <= 12 + 1 + 2 * (lanes.AHEAD - 1)  # what a lane had ahead is begun anew


class Late:
    """A lane that answers when it is told, and dies when it is told."""

    def __init__(self) -> None:
        self.given: list[Task] = []
        self.renewed = 0
        self.ended = False

    def submit(self, task: Task, how: How) -> Future[Outcome]:
        if self.ended:
            raise Lost
        self.given.append(task)
        done: Future[Outcome] = Future()
        done.set_result(Outcome(task.key, "ok", "", "{}"))
        return done

    def renew(self) -> None:
        self.renewed += 1
        self.ended = False


def tasks(count: int, models: int = 1) -> list[Task]:
    return [Task(str(i), str(i * models // count), ms.Machine()) for i in range(count)]


def test_each_task_is_computed_once_and_runs_of_neighbours_stay_together() -> None:
    used = [Late(), Late()]
    found = [outcome.key for came in streamed(tasks(24), used, HOW, lambda task: None) for outcome in came]
    assert sorted(found, key=int) == [str(i) for i in range(24)]
    for lane in used:
        keys = [int(task.key) for task in lane.given]
        assert keys == sorted(keys) and len(keys) == 12
        assert sum(b == a + 1 for a, b in pairwise(keys)) >= 8  # four runs of three


def test_a_lane_that_ended_while_it_had_nothing_to_do_is_renewed_at_no_cost() -> None:
    lane = Late()
    lane.ended = True
    found = [outcome for came in streamed(tasks(3), [lane], HOW, lambda task: None) for outcome in came]
    assert [outcome.status for outcome in found] == ["ok"] * 3 and lane.renewed == 1


def test_what_has_become_known_meanwhile_is_not_computed() -> None:
    lane = Late()
    known = {"2": Outcome("2", "infeasible", "no room", "")}
    found = [outcome for came in streamed(tasks(5), [lane], HOW, lambda task: known.get(task.key)) for outcome in came]
    assert {outcome.key: outcome.status for outcome in found} == {
        "0": "ok", "1": "ok", "2": "infeasible", "3": "ok", "4": "ok",
    }  # fmt: skip
    assert [task.key for task in lane.given] == ["0", "1", "3", "4"]


def test_a_run_has_one_model() -> None:
    used = [Late(), Late()]
    list(streamed(tasks(8, models=2), used, HOW, lambda task: None))
    for lane in used:
        models = [task.model for task in lane.given]
        assert sum(a != b for a, b in pairwise(models)) <= 1
