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
from minisim.sweeps.grid import grid
from minisim.sweeps.plan import Entry
from minisim.sweeps.ranges import parse_param
from minisim.sweeps.rows import Row
from minisim.sweeps.work import Computer, Outcome, Task

pytest.importorskip("optuna", reason="needs the extra [search]")

from minisim.sweeps.search import OBJECTIVES, STARTUP, Search, beats, check_objectives

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


def test_objectives_are_of_rows_and_machines() -> None:
    machine = ms.Machine()
    row = {"cycles_total": 5, "time_us": 2.0, "energy_uj": 3.0, "dram_read_bytes": 7, "dram_write_bytes": 4}
    found = {name: value(row, machine) for name, value in OBJECTIVES.items()}
    assert found == {"cycles": 5, "time": 2, "energy": 3, "area": area_mm2(machine), "traffic": 11, "edp": 6}
    with pytest.raises(UsageError, match=r"--objective energi: must be of .*; did you mean 'energy'\?"):
        check_objectives(["cycles", "energi"])
    with pytest.raises(UsageError, match="--objective area: given twice"):
        check_objectives(["area", "area"])


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


def test_what_a_search_lacks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "search: goes with one model" in call("search", "gemm:8x8x8", *SEARCH[1:], code=2).stderr
    assert "Missing option --param" in call("search", "gemm:8x8x8", code=2).stderr
    monkeypatch.delitem(sys.modules, "minisim.sweeps.search")
    monkeypatch.setitem(sys.modules, "optuna", None)
    needs = "minisim search needs the package 'optuna': pip install 'minisim-npu[search]'"
    assert call(*SEARCH, code=2).stderr == f"minisim: error: {needs}\n"
