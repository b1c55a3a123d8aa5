"""minisim search: what it proposes, what it finds, and that it goes on from its ledger."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import minisim as ms
from minisim.cli import main
from minisim.errors import UsageError
from minisim.hwmodel.area import area_mm2
from minisim.sweeps.constraints import Constraint
from minisim.sweeps.grid import grid
from minisim.sweeps.plan import Entry
from minisim.sweeps.ranges import parse_param
from minisim.sweeps.results import RESULTS, Measured, check_tokens, objectives_of, tokens_of
from minisim.sweeps.rows import Row
from minisim.sweeps.work import Computer, Outcome, Task

pytest.importorskip("optuna", reason="needs the extra [search]")

from minisim.sweeps.search import STARTUP, Search, beats

SEARCH = (
    "search",
    "gemm:32x32x32",
    "--jobs",
    "1",
    "--no-numerics",
    "--set",
    "compiler.effort=0",
    "--param",
    "sram.bytes=64KiB:1MiB:x2",
    "--param",
    "matrix.rows=8:32:x2",
    "--param",
    "matrix.cols=8:32:x2",
)


def entries(*params: str) -> list[Entry]:
    points = grid(ms.Machine(), [parse_param(text) for text in params])
    return [Entry("m", "c", point.params, Task(str(point.index), "", point.machine)) for point in points]


def valley(asked: Sequence[Entry]) -> list[Row]:
    """Points of which few are good: far from rows = 40, and from cols = 24."""
    rows = [entry.task.machine.matrix.rows for entry in asked]
    cols = [entry.task.machine.matrix.cols for entry in asked]
    return [
        {"status": "ok", "cycles_total": 1 + (r - 40) ** 2 + (c - 24) ** 2, "energy_uj": r + c, "time_us": 1}
        if r + c > 20
        else {"status": "infeasible"}
        for r, c in zip(rows, cols, strict=True)
    ]


AXES = ("matrix.rows=8:96:+8", "matrix.cols=8:96:+8")


@pytest.mark.parametrize("seed", range(3))
def test_it_finds_the_best_with_a_part_of_the_grid(seed: int) -> None:
    search = Search(entries(*AXES), ["cycles"], seed)
    found = search.run(40, valley)
    assert len({each.place for each in found}) == len(found) == 40 < 144
    assert [each.values for each in search.front()] == [(1.0,)]


def test_the_front_is_what_nothing_beats() -> None:
    search = Search(entries(*AXES), ["cycles", "energy"])
    found = search.run(10**6, valley)
    assert len(found) == 144 and not all(each.values for each in found)
    front, good = search.front(), [each for each in found if each.values]
    assert [each.values for each in front] == sorted(each.values for each in front) and len(front) > 3
    for each in good:
        assert (each in front) != any(beats(other.values, each.values) for other in good)


def test_equal_seeds_search_alike() -> None:
    def places(seed: int, count: int = 30) -> list[int]:
        return [each.place for each in Search(entries(*AXES), ["cycles", "energy"], seed).run(count, valley)]

    assert places(0) == places(0) != places(1)
    assert len(places(0, STARTUP + 5)) == STARTUP + 5


ROW = {"cycles_total": 5, "time_us": 2.0, "energy_uj": 3.0, "dram_read_bytes": 7, "dram_write_bytes": 4}


def test_objectives_are_of_rows_and_machines() -> None:
    machine = ms.Machine()
    found = {name: result.of(Measured(ROW, machine, 60)) for name, result in RESULTS.items()}
    few = {"cycles": 5, "time": 2, "energy": 3, "area": area_mm2(machine), "traffic": 11, "edp": 6, "power": 1.5}
    assert found == {**few, "tokens_per_joule": pytest.approx(60 / 3e-6)}
    assert objectives_of(["area", "tokens/s/W"]) == ["area", "tokens_per_joule"]
    with pytest.raises(UsageError, match=r"--objective energi: must be of .*; did you mean 'energy'\?"):
        objectives_of(["cycles", "energi"])
    for names in (["area", "area"], ["tokens/s/W", "tokens_per_joule"]):
        with pytest.raises(UsageError, match=f"--objective {names[1]}: given twice"):
            objectives_of(names)


def test_tokens_are_those_of_a_transformer_by_name() -> None:
    assert (
        tokens_of("bert:base,prefill=48") == 48 and tokens_of("resnet50") is None and tokens_of(ms.Graph("g")) is None
    )
    check_tokens(["tokens_per_joule"], "--objective", "bert:base", 48)
    check_tokens(["cycles"], "--objective", "resnet50", None)
    with pytest.raises(UsageError, match=r"goes with a transformer by name such as bert:base, .* not with 'resnet50'"):
        check_tokens(["tokens_per_joule"], "--objective", "resnet50", None)
    free = Measured({**ROW, "energy_uj": 0.0, "time_us": 0.0}, ms.Machine(), 48)
    assert RESULTS["power"].of(free) == 0
    with pytest.raises(UsageError, match="took no energy"):
        RESULTS["tokens_per_joule"].of(free)


@pytest.mark.parametrize(
    ("text", "violation"),
    [
        ("cycles <= 5", 0.0),
        ("cycles < 5", 1e-9),
        ("cycles <= 4", 0.2),
        ("cycles >= 10", 0.5),
        ("3 <= cycles <= 4", 0.2),
        ("cycles <= 4 and energy <= 1.5uJ", 0.2 + 0.5),
        ("cycles <= 4 or energy <= 1.5uJ", 0.2),
        ("cycles <= 4 or energy <= 3uJ", 0.0),
        ("not cycles <= 5", 1.0),
        ("time <= 2us", 0.0),
        ("time <= 1e3ns", 0.5),
        ("energy < 3e9fJ", 1e-9),
        ("power <= 1500mW", 0.0),
        ("power < 1.2W", 0.2),
        ("traffic <= 11", 0.0),
        ("traffic <= 0", 1.0),
        ("area < 99mm2", 0.0),
        ("edp == 6", 0.0),
        ("tokens_per_joule >= 2e7", 0.0),
        ("cycles * matrix.rows <= 80", 0.5),
        ("cycles == matrix.rows", 1 - 5 / 32),
        ("matrix.dtype == 'int8' and cycles > 1", 1.0),
    ],
)
def test_how_far_a_point_is_from_a_constraint(text: str, violation: float) -> None:
    constraint = Constraint.parse(text)
    assert constraint.results
    assert constraint.violation(Measured(ROW, ms.Machine(), 60)) == pytest.approx(violation, abs=1e-12)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("cycels <= 5", "'cycels' is neither a key nor a result; did you mean 'cycles'?"),
        ("enrgy <= 5uJ", "'enrgy' is neither a key nor a result; did you mean 'energy'?"),
        ("matrix.row <= 5", "unknown key 'matrix.row'; did you mean 'matrix.rows'?"),
        ("energy <= 5", "energy must be compared with a quantity such as 5uJ"),
        ("time <= 5uJ", "time must be compared with a quantity such as 60ns"),
        ("cycles", "must compare something, such as cycles <= 2e6"),
        ("cycles + matrix.rows", "must compare something, such as cycles <= 2e6"),
        ("-cycles", "must compare something, and not be a number (-5) (at cycles=5)"),
        ("cycles / (cycles - 5) > 1", "divides by zero (at cycles=5)"),
        ("cycles > 'a'", "compares or reckons with values of different kinds (at cycles=5)"),
    ],
)
def test_a_constraint_on_results_that_is_none(text: str, rule: str) -> None:
    with pytest.raises(UsageError) as error:
        Constraint.parse(text).violation(Measured(ROW, ms.Machine()))
    assert str(error.value) == f"--where {text}: {rule}"


def test_constraints_on_results_are_told_to_the_sampler_and_keep_points_off_the_front() -> None:
    constraints = [Constraint.parse("energy <= 60uJ"), Constraint.parse("cycles <= 500")]
    search = Search(entries(*AXES), ["cycles", "energy"], 0, constraints)
    search.run(10**6, valley)
    ran = [each for each in search.found if each.values]
    wrong = [each for each in ran if each.violated]
    assert wrong and all((each.values[1] > 60) == ("energy <= 60uJ" in each.violated) for each in ran)
    assert all((each.values[0] > 500) == ("cycles <= 500" in each.violated) for each in ran)
    assert search.front() and not any(each.violated for each in search.front())
    good = [each for each in ran if not each.violated]
    for each in good:
        assert (each in search.front()) != any(beats(other.values, each.values) for other in good)
    told = {tuple(t.params.values()): t.constraints for t in search._study.trials if t.state.name == "COMPLETE"}
    assert len(told) == len(ran)
    for each in ran:
        far = told[search._at[each.place]]
        assert {text for text, value in far.items() if value > 0} == set(each.violated) and len(far) == 2
        assert sum(far.values()) == each.violation
    assert wrong[0].row_with(search)["violated"] == "; ".join(wrong[0].violated)
    assert [each.row_with(search).get("feasible") for each in search.found] == [
        not each.violated if each.values else None for each in search.found
    ]


def test_it_looks_beside_the_nearest_until_a_point_is_feasible() -> None:
    """A single point of 144 satisfies it: a search that is told how far each is finds it."""
    for seed in range(3):
        search = Search(entries(*AXES), ["energy"], seed, [Constraint.parse("cycles <= 1")])
        search.run(32, valley)
        assert [each.values for each in search.front()] == [(64.0,)]
    first = Search(entries(*AXES), ["energy"], 1, [Constraint.parse("cycles < 1")])
    first.run(24, valley)
    nearest = first.nearest()
    assert not first.front() and nearest and nearest.violation == min(e.violation for e in first.found if e.values)


def test_more_tokens_for_each_joule_are_better() -> None:
    search = Search(entries(*AXES), ["tokens_per_joule"], 0, (), 64)
    search.run(30, valley)
    (best,) = {each.values for each in search.front()}
    assert best == (max(each.values[0] for each in search.found if each.values),) and best[0] > 0
    assert search.front()[0].row_with(search)["objective_tokens_per_joule"] == best[0]


def call(*argv: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, argv)
    assert result.exit_code == code, result.output
    return result


def rows(name: str) -> list[dict[str, str]]:
    with Path("out", name).open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_search_goes_on_from_its_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    computed: list[str] = []
    compute = Computer.compute

    def counted(self: Computer, task: Any, how: Any) -> Outcome:
        computed.append(task.key)
        return compute(self, task, how)

    monkeypatch.setattr(Computer, "compute", counted)
    call(*SEARCH, "--evaluations", "10")
    first = rows("search.csv")
    out = call(*SEARCH, "--evaluations", "20").stdout
    assert len(computed) == 20 and rows("search.csv")[:8] == first[:8]  # the last batch was a shorter one
    front = rows("front.csv")
    assert [float(row["objective_cycles"]) for row in front] == sorted(float(row["cycles_total"]) for row in front)
    assert out.startswith("45 points: 1 model x 1 machine x 45 settings\n  20 of them are computed, for cycles, area\n")
    assert out.endswith("reports: out/search.csv, out/front.csv\n")


def test_the_files_say_which_points_are_feasible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    out = call(*SEARCH, "--evaluations", "14", "--where", "cycles <= 900").stdout
    found, front = rows("search.csv"), rows("front.csv")
    assert {row["feasible"] for row in found} == {"True", "False"} and {row["feasible"] for row in front} == {"True"}
    for row in found:
        assert (row["feasible"] == "True") == (float(row["cycles_total"]) <= 900) == (row["violated"] == "")
    wrong = sum(row["feasible"] == "False" for row in found)
    assert f"\n{wrong} of 14 points that ran violate cycles <= 900\n" in out
    none = call(*SEARCH, "--evaluations", "14", "--where", "cycles <= 9").stdout
    assert "14 of 14 points that ran violate cycles <= 9\nno point satisfies all constraints; the nearest: " in none
    assert Path("out/front.csv").read_text() == "\n"


def test_a_sweep_refuses_constraints_on_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ("sweep", "gemm:8x8x8", "--param", "tile.m=8,16", "--where")
    assert "cycles is a result, which is known when a point has run" in call(*asked, "cycles < 5", code=2).stderr
    assert "1 dropped by tile.m > 8" in call(*asked, " tile.m > 8 ", "--dry-run").stdout
    with pytest.raises(UsageError, match="where cycles < 5: names a result"):
        ms.sweep("gemm:8x8x8", None, "tile.m=8,16", where="cycles < 5")
    assert len(ms.sweep("gemm:8x8x8", None, "tile.m=8,16", where="tile.m > 8").rows) == 1
    with pytest.raises(UsageError, match=r"no point is left: tile\.m > 16 drops all"):
        ms.sweep("gemm:8x8x8", None, "tile.m=8,16", where=["tile.m > 16"])
    with pytest.raises(UsageError, match="where must be a list of texts"):
        ms.sweep("gemm:8x8x8", None, "tile.m=8,16", where=[5])  # type: ignore[list-item]


def test_a_search_from_python_has_constraints_and_tokens() -> None:
    model = "bert:base,layers=1,hidden=32,heads=2,ffn=64,prefill=8"
    found = ms.search(model, {"compiler.effort": 0}, "matrix.rows=8,16,32", "sram.bytes=128KiB,256KiB",
                      objectives=["tokens/s/W", "area"], where="matrix.rows > 8 and time < 1s")  # fmt: skip
    assert found.objectives == ("tokens_per_joule", "area") and len(found.rows) == 6
    assert all(row["feasible"] and row["matrix.rows"] != "8" for row in found.best_rows) and found.best_rows
    for row in found.rows:
        assert row["objective_tokens_per_joule"] == pytest.approx(8 / (row["energy_uj"] / 1e6))
        assert row["feasible"] == (row["matrix.rows"] != "8")
    with pytest.raises(UsageError, match="search, tokens_per_joule: goes with a transformer by name"):
        ms.search("gemm:8x8x8", None, "matrix.rows=8,16", where="tokens_per_joule > 1")


def test_what_a_search_lacks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "search: goes with one model" in call("search", "gemm:8x8x8", *SEARCH[1:], code=2).stderr
    assert "Missing option --param" in call("search", "gemm:8x8x8", code=2).stderr
    monkeypatch.delitem(sys.modules, "minisim.sweeps.search")
    monkeypatch.setitem(sys.modules, "optuna", None)
    needs = "minisim search needs the package 'optuna': pip install 'minisim-npu[search]'"
    assert call(*SEARCH, code=2).stderr == f"minisim: error: {needs}\n"
