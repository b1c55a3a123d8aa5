"""Lanes on a dask cluster; with processes of their own, killed in mid-run, they are in benchmarks/cluster.py."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

import minisim as ms
from minisim.cli import main
from minisim.errors import UsageError
from minisim.sweeps.driver import explored
from minisim.sweeps.grid import grid
from minisim.sweeps.identity import code
from minisim.sweeps.ranges import parse_param
from minisim.sweeps.rows import Row, point_rows, row_of
from minisim.sweeps.work import FAILED, How, Outcome, Task

pytest.importorskip("distributed", reason="needs the extra [cluster]")

import distributed

from minisim.sweeps import cluster
from minisim.sweeps.cluster import ClusterLane, Models, _check_workers, compute_there

pytestmark = pytest.mark.filterwarnings("ignore")  # dask's own, of event loops and ports

HOW = How(True, 10**6, 2**30, {})


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a scheduler with two workers, in this process."""
    for name in ("distributed.worker", "distributed.scheduler", "distributed.nanny"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with distributed.LocalCluster(
            n_workers=2, threads_per_worker=2, processes=False, protocol="tcp", dashboard_address=None
        ) as found:
            yield found.scheduler_address


def test_the_rows_are_the_local_sweeps(address: str) -> None:
    points = grid(ms.Machine(), [parse_param("sram.bytes=4KiB,32KiB,64KiB"), parse_param("dma.channels=1,2")])
    graphs = {"a": ms.load_model("gemm:96x64x48"), "b": ms.load_model("softmax:8x8")}
    tasks = [Task(f"{name}{point.index}", name, point.machine) for name in graphs for point in points]
    found = explored(tasks, graphs, HOW, cluster=address)

    def timeless(row: Row) -> Row:
        return {name: value for name, value in row.items() if "wall" not in name}

    local = [row for graph in graphs.values() for row in point_rows(graph, points, jobs=1)]
    rows = [row_of({**points[i % 6].params}, found[task.key]) for i, task in enumerate(tasks)]
    assert list(map(timeless, rows)) == list(map(timeless, local))
    assert not cluster._COMPUTERS  # the models are gone again


def test_a_search_on_a_cluster_is_the_local_search(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one connection for all its batches: models travel once."""
    pytest.importorskip("optuna", reason="needs the extra [search]")
    monkeypatch.chdir(tmp_path)
    connected = 0
    client = cluster.Client

    def counted(*given: Any, **named: Any) -> Any:
        nonlocal connected
        connected += 1
        return client(*given, **named)

    monkeypatch.setattr(cluster, "Client", counted)
    asked = ("search", "gemm:32x32x32", "--no-numerics", "--set", "compiler.effort=0", "--evaluations", "22", "--seed",
             "3", "--param", "sram.bytes=256B,64KiB,128KiB,1MiB", "--param", "matrix.rows=8:32:x2",
             "--param", "matrix.cols=8:32:x2", "--where", "energy <= 1uJ")  # fmt: skip
    for where in (("--jobs", "1", "--out", "here"), ("--cluster", address, "--out", "there")):
        result = CliRunner().invoke(main, [*asked, *where])
        assert result.exit_code == 0, result.output
    here, there = (
        pd.read_csv(Path(out, "search.csv")).drop(columns=["wall_compile_s", "wall_simulate_s"])
        for out in ("here", "there")
    )
    assert len(here) == 22 and set(here["status"]) == {"ok", "infeasible"} and connected == 1
    pd.testing.assert_frame_equal(here, there)
    assert CliRunner().invoke(main, [*asked, "--cluster", address, "--jobs", "2"]).exit_code == 2


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "PATIENCE_S", 0.2)
    with pytest.raises(UsageError, match=r"^--cluster tcp://127\.0\.0\.1:1: no scheduler answers there"):
        explored([Task("a", "m", ms.Machine())], {"m": ms.load_model("gemm:8x8x8")}, HOW, cluster="tcp://127.0.0.1:1")


def test_workers_of_another_version_are_refused() -> None:
    _check_workers("A", {"w1": code(), "w2": code()})
    for answers, rule in (
        ({}, "there are no workers"),
        ({"w1": code(), "w2": "of another day"}, "worker w2 has another minisim: install the same one there as here"),
        ({"w1": ModuleNotFoundError("minisim")}, "worker w1 has no minisim that fits (ModuleNotFoundError: minisim)"),
    ):
        with pytest.raises(UsageError) as error:
            _check_workers("A", answers)
        assert str(error.value).startswith(f"--cluster A: {rule}")
    assert compute_there("any", "of another day", Task("a", "m", ms.Machine()), HOW) == code()


class Executor:
    """What a worker would answer."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def get_executor(self, **_: object) -> Executor:
        return self

    def submit(self, *_: object) -> Future[Any]:
        done: Future[Any] = Future()
        if isinstance(self.answer, BaseException):
            done.set_exception(self.answer)
        else:
            done.set_result(self.answer)
        return done


def answer(given: object) -> Outcome:
    return ClusterLane(Executor(given), "A", "w1", Models("me", {})).submit(Task("a", "m", ms.Machine()), HOW).result()


def test_a_task_of_which_workers_die_has_failed() -> None:
    killed = distributed.KilledWorker("a", "tcp://w1", 3)
    assert answer(killed) == Outcome("a", FAILED, "4 workers died of it (out of memory?)", "")


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        (CancelledError(), "the cluster has ended"),
        ("of another day", "worker that joined has another minisim"),
        (AttributeError("no compute_there"), "worker w1 has no minisim that fits (AttributeError: no compute_there)"),
    ],
)
def test_what_ends_a_sweep_is_told(given: object, rule: str) -> None:
    with pytest.raises(UsageError) as error:
        answer(given)
    assert rule in str(error.value)
