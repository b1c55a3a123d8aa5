"""The ledger: whatever happens to the file or the processes, a point is in it whole, once, or not at all."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import minisim as ms
from minisim.errors import LedgerError
from minisim.sweeps import identity
from minisim.sweeps.driver import explored
from minisim.sweeps.grid import grid
from minisim.sweeps.identity import digest, key_of
from minisim.sweeps.ledger import APPLICATION, Ledger
from minisim.sweeps.ranges import parse_param
from minisim.sweeps.work import How, Outcome, Task

GOOD = Outcome("a", "ok", "", '{"cycles_total": 7}')
NO_ROOM = Outcome("b", "infeasible", "no room", "")
BROKE = Outcome("c", "failed", "it broke", "")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def notes() -> list[str]:
    return []


def test_what_was_kept_is_known_and_failures_are_not(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.keep([GOOD, NO_ROOM, BROKE])
    with Ledger(path) as ledger:
        assert ledger.known("abcd") == {"a": GOOD, "b": NO_ROOM}
    assert [each.name for each in path.parent.iterdir()] == ["ledger.sqlite"]


def test_a_point_that_comes_twice_is_there_once(path: Path) -> None:
    with Ledger(path) as one, Ledger(path) as other:
        one.keep([GOOD])
        other.keep([GOOD._replace(columns="{}"), NO_ROOM])
        assert other.known("ab") == one.known("ab") == {"a": GOOD, "b": NO_ROOM}


def test_many_drivers_may_keep_at_once(path: Path) -> None:
    def keep(part: int) -> None:
        with Ledger(path) as ledger:
            for i in range(8):
                ledger.keep([Outcome(f"{part}.{i}", "ok", "", "{}"), Outcome(f"all.{i}", "ok", "", "{}")])

    drivers = [threading.Thread(target=keep, args=(part,)) for part in range(3)]
    for driver in drivers:
        driver.start()
    for driver in drivers:
        driver.join()
    with sqlite3.connect(path) as base:
        assert base.execute("SELECT count(*) FROM points").fetchone() == (8 * 4,)


def test_more_keys_than_a_question_has(path: Path) -> None:
    outcomes = [Outcome(str(i), "ok", "", "{}") for i in range(1203)]
    with Ledger(path) as ledger:
        ledger.keep(outcomes)
        assert set(ledger.known(str(i) for i in range(-5, 1300)).values()) == set(outcomes)


# -- files that are no ledgers -------------------------------------------------------------------------------


def refused(path: Path) -> str:
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(LedgerError) as error:
        Ledger(path)
    assert (path.read_bytes() if path.is_file() else b"") == before
    return str(error.value)


def test_another_file_is_refused_and_left_as_it_is(path: Path) -> None:
    path.write_text("cycles\n" * 500)
    assert refused(path) == f"{path}: is no ledger of minisim's"


def test_another_programs_database_is_refused(path: Path) -> None:
    with sqlite3.connect(path) as base:
        base.execute("CREATE TABLE mine (x)")
    assert "another program's database" in refused(path)


@pytest.mark.parametrize("layout", [0, 2])
def test_another_layout_is_refused(layout: int, path: Path) -> None:
    with sqlite3.connect(path) as base:
        base.execute("CREATE TABLE points (key)")
        base.execute(f"PRAGMA application_id = {APPLICATION}")
        base.execute(f"PRAGMA user_version = {layout}")
    assert f"has layout {layout}, and this minisim has 1" in refused(path)


def test_a_folder_is_refused(path: Path) -> None:
    path.mkdir()
    assert refused(path) == f"{path}: is no ledger, but a folder"


def filled(path: Path) -> list[Outcome]:
    outcomes = [Outcome(f"{i:064d}", "ok", "", '{"n": "' + "x" * 900 + '"}') for i in range(40)]
    with Ledger(path) as ledger:
        ledger.keep(outcomes)
    return outcomes


def test_a_ledger_that_was_cut_off_is_refused(path: Path) -> None:
    filled(path)
    path.write_bytes(path.read_bytes()[:12_000])
    assert "is damaged" in refused(path)


def test_a_page_of_rubbish_is_refused_or_costs_its_points(path: Path, notes: list[str]) -> None:
    outcomes = filled(path)
    data = path.read_bytes()
    for page in range(1, len(data) // 4096):
        path.write_bytes(data[: 4096 * page] + bytes(range(256)) * 16 + data[4096 * (page + 1) :])
        try:
            with Ledger(path, notes.append) as ledger:
                found = ledger.known(outcome.key for outcome in outcomes)
        except LedgerError as error:
            notes.append(str(error))
        else:
            assert set(found.values()) <= set(outcomes)
    assert notes and all("damaged" in note or "cannot be read" in note for note in notes)


def test_a_point_of_which_a_bit_was_flipped_is_computed_anew(path: Path, notes: list[str]) -> None:
    outcomes = filled(path)
    data = path.read_bytes()
    at = data.rindex(b"xxxx")
    path.write_bytes(data[:at] + b"y" + data[at + 1 :])
    keys = [outcome.key for outcome in outcomes]
    with Ledger(path, notes.append) as ledger:
        (lost,) = set(outcomes) - set(ledger.known(keys).values())
        ledger.keep([lost])
        assert set(ledger.known(keys).values()) == set(outcomes)
    assert notes == [f"{path}: some points in it were damaged: they are computed anew"]


# -- disks and locks -----------------------------------------------------------------------------------------


def test_what_cannot_be_written_is_told_once_and_tried_again(path: Path, notes: list[str]) -> None:
    with Ledger(path, notes.append) as ledger:
        ledger._base.execute("PRAGMA max_page_count = 7")
        big = [Outcome(f"{i}", "ok", "", "x" * 3000) for i in range(20)]
        for outcome in big:
            ledger.keep([outcome])
        assert len(ledger.known(outcome.key for outcome in big)) < 20
        ledger._base.execute("PRAGMA max_page_count = 1000")
    with Ledger(path) as ledger:
        assert set(ledger.known(outcome.key for outcome in big).values()) == set(big)
    assert notes == [f"{path}: cannot be written (database or disk is full): the sweep goes on, and tries again"]


def test_a_ledger_that_is_held_by_another_goes_on_without(
    path: Path, notes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minisim.sweeps.ledger.PATIENCE_S", 0.01)
    with Ledger(path, notes.append) as ledger:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        ledger.keep([GOOD])
        with pytest.raises(LedgerError, match="another process holds it"):
            Ledger(path)
        other.execute("ROLLBACK")
        other.close()
    assert len(notes) == 1 and "another process holds it" in notes[0]
    with Ledger(path) as ledger:
        assert ledger.known("a") == {"a": GOOD}


def test_a_ledger_that_may_only_be_read_is_used(path: Path, notes: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with Ledger(path) as ledger:
        ledger.keep([GOOD])
    monkeypatch.setattr("minisim.sweeps.ledger._may_write", lambda path: False)
    with Ledger(path, notes.append) as ledger:
        ledger.keep([NO_ROOM])
        ledger.begin("{}", "out")
        assert ledger.known("ab") == {"a": GOOD}
    assert notes == [f"{path}: cannot be written: what it knows is used, and nothing is added"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork there")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_kills_cost_nothing_but_what_was_at_work(tmp_path: Path) -> None:
    """Drivers that compute by themselves; a hundred kills, of workers too, are in benchmarks/kills.py."""
    graph, how = ms.load_model("gemm:32x32x32"), How(True, 10**6, 2**30, {})
    machines = [point.machine for point in grid(ms.Machine(), [parse_param("dram.latency=10ns:100ns:+10ns")])]
    tasks = [Task(key_of("", machine, how.counts()), "", machine) for machine in machines]

    def compute(path: Path) -> None:
        with Ledger(path) as ledger:
            explored(tasks, {"": graph}, how, jobs=1, ledger=ledger)

    def rows(path: Path) -> dict[str, dict[str, object]]:
        with Ledger(path) as ledger:
            found = {key: outcome.row() for key, outcome in ledger.known(task.key for task in tasks).items()}
        return {key: {k: v for k, v in row.items() if "wall" not in k} for key, row in found.items()}

    compute(tmp_path / "whole")
    began = time.perf_counter()
    compute(tmp_path / "again")
    took, rng, kills = time.perf_counter() - began, random.Random(0), 0
    for turn in range(2):
        path = tmp_path / f"killed{turn}"
        for _ in range(3):
            if not (child := os.fork()):
                compute(path)
                os._exit(0)
            time.sleep(rng.uniform(0, took))
            os.kill(child, signal.SIGKILL)
            kills += os.waitpid(child, 0)[1] != 0
            assert rows(path).items() <= rows(tmp_path / "whole").items()
        compute(path)
        assert rows(path) == rows(tmp_path / "whole") and len(rows(path)) == 10
    assert kills


@pytest.mark.parametrize("worth", [0, 10**9])
def test_each_point_is_told_once_however_slow_the_disk(
    worth: float, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that takes long is written to seldom, but at the end."""
    monkeypatch.setattr("minisim.sweeps.driver.WORTH", worth)
    graph, how = ms.load_model("gemm:8x8x8"), How(False, 10**6, 2**30, {})
    tasks = [Task(str(i), "", ms.Machine()) for i in range(4)]
    told: list[tuple[str, bool]] = []
    for known in (False, True):
        told.clear()
        with Ledger(path) as ledger:
            found = explored(tasks, {"": graph}, how, jobs=1, ledger=ledger, watch=lambda o, k: told.append((o.key, k)))
            assert ledger.known("0123") == {key: outcome._replace(shared=False) for key, outcome in found.items()}
        assert told == [(str(i), known) for i in range(4)]


# -- what a point is -----------------------------------------------------------------------------------------


def model(scale: float = 1.0, name: str = "m", shape: int = 8) -> ms.Graph:
    graph = ms.Graph(name)
    x = graph.input("x", (shape, 8))
    graph.output(graph.relu(x @ graph.weight("w", scale * np.eye(8))), "y")
    return graph


def test_a_model_is_its_content() -> None:
    assert digest(model()) == digest(model(name="another"))
    assert len({digest(each) for each in (model(), model(2.0), model(shape=16))}) == 3
    assert digest(ms.load_model("resnet50")) == digest(ms.load_model("resnet50"))


def test_values_that_are_drawn_later_are_known_by_how() -> None:
    def drawn(name: str) -> ms.Graph:
        graph = ms.Graph("m")
        graph.output(graph.input("x", (4, 8)) @ graph.weight(name, shape=(8, 8)), "y")
        return graph

    assert digest(drawn("w")) == digest(drawn("w")) != digest(drawn("v"))


def test_the_hash_is_the_same_in_another_process() -> None:
    code = ("import minisim as ms; from minisim.sweeps.identity import digest\n"
            "graph = ms.load_model('bert:base,layers=1,prefill=8'); graph.wide = set('abcdefgh')\n"
            "print(digest(graph))")  # fmt: skip
    found = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                       env={"PYTHONHASHSEED": seed}).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    graph = ms.load_model("bert:base,layers=1,prefill=8")
    graph.wide = set("hgfedcba")
    assert found == {digest(graph) + "\n"}


def test_a_key_is_of_all_that_a_result_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    how = How(True, 1000, 1000, {}, 0)
    machines = [ms.Machine(), ms.Machine().replace("sram.bytes=1MiB"), ms.Machine().replace("compiler.effort=0")]
    hows = [how._replace(seed=1), how._replace(numerics=False), how._replace(mapping={"c": (8, 8, 8)}),
            how._replace(max_operations=9), how._replace(memory_limit=9)]  # fmt: skip
    keys = [key_of("m", machine, how.counts()) for machine in machines]
    keys += [key_of("m", machines[0], each.counts()) for each in hows]
    keys += [key_of("n", machines[0], how.counts())]
    monkeypatch.setattr(identity, "code", lambda: "of another day")
    keys += [key_of("m", machines[0], how.counts())]
    assert len(set(keys)) == len(keys)
    timed = how._replace(numerics=False)
    assert timed.counts() == timed._replace(seed=3, memory_limit=7).counts()  # nothing is drawn
