"""A result as a script and a notebook have it: tables, pictures, other machines, pickles."""

from __future__ import annotations

import pickle
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import minisim as ms
from minisim.errors import MinisimError, MissingExtraError
from minisim.reports import write_reports
from minisim.reports.plot import merged

EVIL = '<script>alert("it\'s")</script>$x$'


@pytest.fixture(scope="module")
def result() -> ms.Result:
    return ms.run("attention:2x32x16", "edge_8x8")


def test_tables_are_those_of_the_reports_and_made_once(result: ms.Result, tmp_path: Path) -> None:
    write_reports(result.record(), tmp_path, with_timeline=True)
    for name in ("summary", "layers", "units", "energy", "account", "timeline"):
        table, written = getattr(result, name), pd.read_csv(tmp_path / f"{name}.csv")
        assert isinstance(table, pd.DataFrame) and getattr(result, name) is table
        assert list(table) == list(written) and len(table) == len(written)
    assert result.account["cycles_total"].iloc[-1] == result.cycles == result.times.cycles


def test_a_table_that_a_user_changes_is_his_own(result: ms.Result) -> None:
    again = ms.run("attention:2x32x16", "edge_8x8")
    again.layers["cycles_total"] = 0
    again.units["unit"] = "mine"
    assert "mine" not in again._repr_html_() and again.compare(result).layers["cycles_a"].sum() == again.cycles


def test_the_verdict_says_what_bound_it(result: ms.Result) -> None:
    for keys, unit in (
        ({}, "the DRAM (3.2GB/s)"), ({"dma_bytes_per_cycle": 2}, "the load port (2 B/cycle)"),
        ({"vector_lanes": 1}, "the vector unit (1 lanes)"), ({"matrix_rows": 1, "matrix_cols": 1}, "the array (1x1)"),
    ):  # fmt: skip
        assert f"bound by {unit}" in repr(result.what_if(**keys))
    assert f"{result.cycles:,} cycles" in repr(result) and " x its bound; " in repr(result)


def test_what_if_is_a_run_on_that_machine(result: ms.Result) -> None:
    there = ms.Machine.load("edge_8x8").replace("sram.bytes=16KiB", "vector.lanes=4")
    expected = ms.run("attention:2x32x16", there, numerics=False).cycles
    assert expected != result.cycles
    for found in (
        result.what_if(sram_bytes="16KiB", vector_lanes=4),
        result.what_if("sram.bytes=16KiB", "vector.lanes=4"),
        result.what_if("sram.bytes=16KiB", vector_lanes=4),
    ):
        assert found.cycles == expected and found.machine == there and not found.outputs
    for wrong in ({"sram_byte": 3}, {"sram_bytes": "much"}, {"vector_lanes": 0}):
        with pytest.raises(MinisimError, match="what_if "):
            result.what_if(**wrong)


def test_what_if_keeps_the_tiles_that_were_given() -> None:
    mapping = {"c": (16, 16, 16)}
    given = ms.run("gemm:64x64x64", numerics=False, mapping=mapping)
    there = given.machine.replace("dram.latency=90ns")
    expected = ms.run("gemm:64x64x64", there, numerics=False, mapping=mapping).cycles
    assert (
        given.what_if(dram_latency="90ns").cycles == expected != ms.run("gemm:64x64x64", there, numerics=False).cycles
    )


def test_a_comparison_of_results(result: ms.Result) -> None:
    other = result.what_if(sram_bytes="16KiB")
    found = result.compare(other)
    assert found.keys["key"].tolist() == ["sram.bytes"]
    assert found.causes["change"].sum() == other.cycles - result.cycles
    assert len(repr(found)) < 200 and "<table" in found._repr_html_()
    for wrong in ("edge_8x8", None, found):
        with pytest.raises(MinisimError, match="a result is compared with a result"):
            result.compare(wrong)  # type: ignore[arg-type]


class Tags(HTMLParser):
    """The tags of a text, and what stands between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def evil() -> ms.Graph:
    graph = ms.Graph(EVIL)
    x = graph.input("x", (8, 8))
    graph.output(graph.softmax(x @ graph.weight("w", np.eye(8)), name=EVIL), "y")
    return graph


def test_names_do_no_harm_in_a_notebook() -> None:
    made = ms.run(evil(), numerics=False)
    for shown in (made._repr_html_(), made.compare(made.what_if(sram_bytes="8KiB"))._repr_html_()):
        found = Tags(shown)
        assert "script" not in found.tags and {"div", "table"} <= found.tags and EVIL in found.text


def test_a_result_pickles_without_weights() -> None:
    graph = ms.Graph("large")
    x = graph.input("x", (8, 256), np.ones((8, 256)))
    graph.output(graph.relu(x @ graph.weight("w", np.ones((256, 256))) + graph.weight("b", np.ones(256))), "y")
    made = ms.run(graph)
    made.account  # noqa: B018  # made, and not sent
    data = pickle.dumps(made)
    assert len(data) < 4 * 256 * 256 / 4
    again = pickle.loads(data)
    assert repr(again) == repr(made) and again.output_sha256 == made.output_sha256
    for name in ("layers", "units", "energy", "account", "timeline"):
        pd.testing.assert_frame_equal(getattr(again, name), getattr(made, name))
    assert again.what_if(sram_bytes="64KiB").cycles == made.what_if(sram_bytes="64KiB").cycles
    assert made.graph.tensors["w"].data is not None
    for needs_them in (lambda: ms.run(again.graph), lambda: again.what_if("sparsity.pattern=2:4")):
        with pytest.raises(MinisimError, match="weight 'w': a result that was pickled has no values of weights"):
            needs_them()


def test_pictures(result: ms.Result, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    bars = result.plot()
    spent = sum(bar.get_width() for bar in bars.patches)
    assert spent == result.cycles
    rows = result.plot("timeline")
    names = [label.get_text() for label in rows.get_yticklabels()]
    assert names == [*result.units["unit"]] and len(rows.collections) == len(names)
    fall = result.compare(result.what_if(sram_bytes="16KiB")).plot()
    ends = fall.patches[0].get_width(), fall.patches[-1].get_width()
    assert ends == (result.cycles, result.what_if(sram_bytes="16KiB").cycles)
    again = result.plot(ax=bars)
    assert again is bars
    strange = ms.run(evil(), numerics=False).plot()
    strange.figure.savefig(tmp_path / "picture.svg")  # a name between dollars is no formula
    assert (tmp_path / "picture.svg").stat().st_size > 1000
    with pytest.raises(MinisimError, match=r"must be one of account, timeline, not 'acount'; did you mean 'account'"):
        result.plot("acount")


def test_a_timeline_draws_what_lies_apart() -> None:
    begin, end = np.array([7, 0, 2, 20]), np.array([9, 2, 3, 30])
    assert merged(begin, end, 0) == [(0, 3), (7, 9), (20, 30)]
    assert merged(begin, end, 4) == [(0, 9), (20, 30)] and merged(begin[:0], end[:0], 4) == []


def test_without_matplotlib_a_picture_says_what_it_needs(result: ms.Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(
        MissingExtraError, match=r"a plot needs the package 'matplotlib': pip install 'minisim-npu\[plot\]'"
    ):
        result.plot()


# -- sweeps ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def swept() -> Any:
    return ms.sweep("gemm:64x64x64", "edge_8x8", "sram.bytes=1KiB,8KiB,64KiB", vector_lanes=[8, 16])


def test_a_sweep_is_a_table_of_runs(swept: Any) -> None:
    assert swept.params == ["sram.bytes", "vector.lanes"] and len(swept.points) == 6
    assert swept.points["status"].tolist() == ["infeasible"] * 2 + ["ok"] * 4
    machine = ms.Machine.load("edge_8x8").replace("sram.bytes=64KiB", "vector.lanes=16")
    assert swept.points["cycles_total"].iloc[-1] == ms.run("gemm:64x64x64", machine, numerics=False).cycles
    best = swept.best()
    assert best["sram.bytes"] == "64KiB" and best["cycles_total"] == swept.points["cycles_total"].min()
    assert swept.best("dram_read_bytes")["dram_read_bytes"] == swept.points["dram_read_bytes"].min()
    text = f"6 points (2 infeasible, 4 ok), fewest cycles {best['cycles_total']:,} at sram.bytes=64KiB vector.lanes=8"
    assert repr(swept) == f"<Sweep of 'gemm': {text}>" and text in swept._repr_html_()
    assert repr(pickle.loads(pickle.dumps(swept))) == repr(swept)


def test_sweeps_are_compared(swept: Any) -> None:
    wider = ms.sweep("gemm:64x64x64", "edge_8x8", "dma.bytes_per_cycle=32", sram_bytes=["8KiB", "64KiB"])
    with pytest.raises(MinisimError, match="sweeps of the same parameters"):
        swept.compare(wider)
    machine = ms.Machine.load("edge_8x8").replace("dram.bandwidth=1GB/s")
    slower = ms.sweep("gemm:64x64x64", machine, "sram.bytes=8KiB,64KiB", vector_lanes=[8, 16])
    found = swept.compare(slower)
    assert len(found.points) == 4 and found.ratios["least"][0] > 1.5 and len(found.unmatched) == 2
    with pytest.raises(MinisimError, match="a sweep is compared with a sweep"):
        swept.compare("edge_8x8")


def test_a_sweep_is_drawn(swept: Any) -> None:
    pytest.importorskip("matplotlib")
    lines = swept.plot()
    assert [label.get_text() for label in lines.get_xticklabels()] == ["1KiB", "8KiB", "64KiB"]
    assert [line.get_label() for line in lines.lines] == ["vector.lanes=8", "vector.lanes=16"]
    assert list(lines.lines[0].get_ydata()) == swept.points["cycles_total"].tolist()[2::2]
    assert len(swept.plot(over="vector.lanes", metric="energy_uj").lines) == 2
    for wrong in ({"over": "sram.byte"}, {"metric": "energy"}, {"metric": "reason"}):
        with pytest.raises(MinisimError, match="is no "):
            swept.plot(**wrong)


@pytest.mark.parametrize(
    ("args", "keys", "message"),
    [
        ((), {}, "a sweep needs a parameter"),
        ((7,), {}, "must be a text"),
        (("sram.bytes",), {}, "sram.bytes"),
        ((), {"sram_bytes": "64KiB"}, "must be a list of values"),
        ((), {"sram_bytes": []}, "must be a list of values"),
        ((), {"sram_byte": [1]}, "unknown key"),
        (("sram.bytes=1KiB",), {"jobs": 0}, "jobs must be"),
        (("sram.bytes=1KiB",), {"numerics": "yes"}, "numerics"),
    ],
)
def test_a_sweep_of_nothing_is_refused(args: tuple[Any, ...], keys: dict[str, Any], message: str) -> None:
    with pytest.raises(MinisimError, match=message):
        ms.sweep("gemm:8x8x8", None, *args, **keys)


def test_a_sweep_of_which_nothing_ran_says_so() -> None:
    none = ms.sweep("gemm:64x64x64", None, sram_bytes=["64B"])
    assert repr(none) == "<Sweep of 'gemm': 1 points (1 infeasible)>"
    with pytest.raises(MinisimError, match="no point of the sweep ran"):
        none.best()


def test_a_script_whose_work_each_process_would_do_again_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import minisim as ms\nms.sweep('gemm:8x8x8', None, 'sram.bytes=64KiB,128KiB', jobs=2)\n")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=tmp_path)
    assert 'must stand below if __name__ == "__main__":' in done.stderr and "bug in minisim" not in done.stderr


def test_a_search_finds_the_front_of_a_grid(tmp_path: Path) -> None:
    grid = {"sram_bytes": ["8KiB", "16KiB", "64KiB", "256KiB"], "matrix_rows": [8, 16, 32], "matrix_cols": [8, 16, 32]}
    machine, ledger = ms.Machine.load("npu_32x32", ["compiler.effort=0"]), tmp_path / "ledger.sqlite"
    found = ms.search("gemm:64x64x64", machine, evaluations=30, ledger=ledger, **grid)
    assert len(found.points) == 30 and repr(found).startswith("<Search for 'gemm': 30 of 36 points, ")
    assert "30 of 36 points" in found._repr_html_()
    objectives = found.front[["objective_cycles", "objective_area"]].to_numpy().tolist()
    assert objectives == sorted(objectives) and [area for _, area in objectives] == sorted(
        (area for _, area in objectives), reverse=True
    )
    assert found.front["objective_cycles"].tolist()[0] == found.best()["cycles_total"]
    whole = ms.sweep("gemm:64x64x64", machine, ledger=ledger, **grid)  # takes what the search has computed
    assert whole.best()["cycles_total"] == found.best()["cycles_total"]
    with closing(sqlite3.connect(ledger)) as book:
        assert book.execute("select count(*) from points").fetchone() == (36,)
    again = ms.search("gemm:64x64x64", machine, evaluations=30, seed=0, **grid)
    taken = [*found.params, "objective_cycles", "objective_area"]
    assert again.points[taken].equals(found.points[taken]) and repr(pickle.loads(pickle.dumps(again))) == repr(found)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"objectives": "cycles"}, "objectives must be a list of names, such as ['cycles', 'area'], not 'cycles'"),
        ({"objectives": ["cycle"]}, "objectives, cycle: must be of cycles, .*; did you mean 'cycles'?"),
        ({"evaluations": 0}, "evaluations must be a whole number from 1 on, not 0"),
        ({"ledger": 3}, "ledger must be a path, not 3"),
        ({"jobs": 0}, "jobs must be a whole number"),
    ],
)
def test_what_a_search_refuses(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(MinisimError, match=re.escape(message).replace(r"\.\*", ".*")):
        ms.search("gemm:8x8x8", None, "sram.bytes=64KiB,128KiB", **keys)
