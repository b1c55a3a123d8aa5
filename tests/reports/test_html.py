"""Pages without a browser: what they say, what they are made from, and what they refuse."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minisim as ms
from minisim.errors import UsageError
from minisim.hwmodel.area import area_mm2
from minisim.reports import Told, WhatIf, write_pages, write_reports, write_sweep
from minisim.reports.html import graph_section
from minisim.reports.html.compare_page import STEPS, waterfall
from minisim.reports.html.folder import RunFolder, read_run
from minisim.reports.html.graph_section import graph
from minisim.reports.html.layout import layout
from minisim.reports.html.pareto import front, knee
from minisim.reports.html.sweep_folder import in_order, read_sweep
from minisim.reports.html.sweep_page import _warnings
from minisim.reports.html.verdict import verdict
from minisim.reports.html.words import percent, scaled, times

from .conftest import Record

# -- numbers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 s"), (9.34e-3, "9.34 ms"), (0.9996e-3, "1.00 ms"), (1.5e6, "1.50 Ms"), (999.6, "1.00 ks"),
     (12.34, "12.3 s"), (1e-12, "0.00100 ns"), (-2e-3, "-2.00 ms"), (float("nan"), "–")],
)  # fmt: skip
def test_three_digits_and_a_prefix(value: float, text: str) -> None:
    assert scaled(value, "s").replace("\u00a0", " ") == text


def test_ratios() -> None:
    assert times(1.336).replace("\u00a0", " ") == "1.34 ×" and times(float("nan")) == "–"
    assert percent(0.0994).replace("\u00a0", " ") == "9.9 %" and percent(0.996).replace("\u00a0", " ") == "100 %"


# -- the verdict -----------------------------------------------------------------------------------------------


def read(record: Any, folder: Path, *what_ifs: WhatIf) -> RunFolder:
    write_reports(record, folder, told=Told(["minisim", "run", "m", "--out", "o"], what_ifs))
    return read_run(folder)


def text_of(run: RunFolder) -> str:
    return verdict(run).text.replace("\u00a0", " ")


def test_far_from_its_bound(record: Record, tmp_path: Path) -> None:
    """It names the time, the bound, how far, the cause that is largest beside the bound's, and the best change."""
    run = record("gemm:96x256x96", "npu_32x32", "dram.latency=900ns")
    cycles, total = run.timeline.cycles, read(run, tmp_path).total
    changes = (WhatIf("twice the SRAM", {"sram.bytes": "32KiB"}, cycles // 2),
               WhatIf("a, b", {"dram.latency": "1ns"}, cycles // 4),
               WhatIf("more", {"x.y": "1"}, cycles * 2))  # fmt: skip
    found = read(run, tmp_path, *changes)
    row = found.summary
    text = text_of(found)
    assert text.startswith(f"{cycles / 1000:.3g} µs, bound by the load port (16 B/cycle) but ")
    assert f"{float(row['cycles_over_roofline']):.2f} × its bound: " in text
    assert text.endswith("; twice the SRAM gives 2.00 × (sram.bytes = 32KiB; simulated).")
    largest = max((cause for cause in total if cause != "load_port"), key=lambda cause: total[cause])
    assert f"({percent(total[largest] / cycles)} of the time)".replace("\u00a0", " ") in text
    rungs = {rung.name: rung for rung in verdict(found).rungs}
    assert rungs["this run"].cycles == f"{cycles:,}" and rungs["with twice the SRAM"].cycles == f"{cycles // 2:,}"
    bound = int(row["roofline_cycles"])
    assert rungs["load port (16 B/cycle)"].kind == "bound" and rungs["load port (16 B/cycle)"].cycles == f"{bound:,}"
    assert rungs["this run"].solid == f"{100 * bound / cycles:.2f}%"


def test_at_its_bound_and_without_what_ifs(record: Record, tmp_path: Path) -> None:
    run = record("gemm:512x512x512", "edge_8x8")
    assert ", bound by the array (8 × 8), at its bound (1." in text_of(read(run, tmp_path))
    assert text_of(read(run, tmp_path)).endswith("Other machines were not simulated.")
    slower = WhatIf("less", {"sram.bytes": "1KiB"}, 2 * run.timeline.cycles)
    assert text_of(read(run, tmp_path, slower)).endswith("no single change that was simulated makes it faster.")


def test_nothing_to_do(tmp_path: Path) -> None:
    g = ms.Graph("reshapes")
    g.output(g.reshape(g.input("x", (4, 6)), (8, 3)), "y")
    assert text_of(read(ms.run(g).record(), tmp_path)) == "0 s: nothing to compute and nothing to move."
    assert "othing to compute" in write_pages(tmp_path)[0].read_text("utf-8")


# -- the page as a file ----------------------------------------------------------------------------------------


def test_a_page_is_made_from_the_folder_alone(record: Record, tmp_path: Path) -> None:
    run = record("gemm:96x64x80", "edge_8x8")
    write_reports(run, tmp_path, page=True, told=Told(["minisim", "run", "x", "--out", "o/p"],
                  [WhatIf("faster", {"dram.bandwidth": "25.6GB/s"}, 1)]))  # fmt: skip
    page = (tmp_path / "report.html").read_bytes()
    (tmp_path / "report.html").unlink()
    assert write_pages(tmp_path) == [tmp_path / "report.html"]
    assert (tmp_path / "report.html").read_bytes() == page
    text = page.decode()
    assert "minisim run x --out o/p --set dram.bandwidth=25.6GB/s --out o/p-dram.bandwidth=25.6GB_s" in text
    assert not re.search(
        r"""(?:src|href)\s*=\s*["'](?!#|data:,)|@import|url\(|https?://(?!www\.w3\.org/2000/svg)""", text
    )
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy and "default-src 'none'" in policy[1] and "script-src 'sha256-" in policy[1]
    write_reports(run, tmp_path)
    assert not (tmp_path / "report.html").exists(), "a page that is not of this run"


def test_what_is_no_result_is_refused(record: Record, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"must be a folder with summary.csv, sweep.csv, decode.csv"):
        write_pages(tmp_path)
    write_reports(record("gemm:8x8x8"), tmp_path)
    good = json.loads((tmp_path / "run.json").read_text("utf-8"))
    for content, message in (
        (json.dumps({**good, "format": 99}), r"run.json: must have format 1, not 99"),
        ("{", r"run.json: cannot be read"),
    ):
        (tmp_path / "run.json").write_text(content)
        with pytest.raises(UsageError, match=message):
            write_pages(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps(good))
    (tmp_path / "layers.csv").write_text("layer_id,name\n1\n")
    with pytest.raises(UsageError, match=r"layers.csv: row 2 has 1 fields"):
        write_pages(tmp_path)


# -- the graph -------------------------------------------------------------------------------------------------


@st.composite
def dags(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]]]:
    nodes = draw(st.integers(1, 14))
    pairs = [(a, b) for a in range(nodes) for b in range(a + 1, nodes)]
    return nodes, draw(st.lists(st.sampled_from(pairs), unique=True, max_size=20)) if pairs else []


@given(dags())
@settings(max_examples=60)
def test_a_layout_goes_down_and_nothing_overlaps(dag: tuple[int, list[tuple[int, int]]]) -> None:
    nodes, found = dag
    drawn = layout(nodes, found)
    assert len(drawn.at) == nodes and len(set(drawn.at)) == nodes
    passed = [point for way in drawn.ways for point in way[1:-1]]
    assert len(set(passed) | set(drawn.at)) == len(passed) + nodes, "a place of its own for all that passes"
    for (one, other), way in zip(found, drawn.ways, strict=True):
        assert way[0] == drawn.at[one] and way[-1] == drawn.at[other]
        assert [level for _, level in way] == list(range(way[0][1], way[-1][1] + 1))
    assert all(0 <= column <= drawn.columns - 1 and 0 <= level < drawn.levels for column, level in drawn.at)


def test_large_graphs_are_folded(record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    g = ms.Graph("chain")
    x = g.input("x", (8, 16))
    for i in range(12):
        x = g.softmax(g.matmul(x, g.weight(f"w{i}", shape=(16, 16)), name=f"m{i}"), name=f"s{i}")
    g.output(x, "y")
    run = read(ms.run(g, ms.Machine().replace("compiler.effort=0"), numerics=False).record(), tmp_path)
    assert len(graph(run).boxes) == 24 and not graph(run).folded and not graph(run).left_out
    monkeypatch.setattr(graph_section, "MOST", 10)
    drawn = graph(run)
    assert len(drawn.boxes) == 6 and drawn.folded and not drawn.left_out  # of four layers each
    assert drawn.boxes[1].name == "m2 +3" and len(drawn.lines) == 5
    monkeypatch.setattr(graph_section, "_folded", lambda n, e: ([[i] for i in range(n)], list(e)))
    assert len(graph(run).boxes) == 10 and graph(run).left_out == 14


# -- sweeps ----------------------------------------------------------------------------------------------------

COSTS = st.lists(st.tuples(st.integers(1, 9).map(float), st.integers(1, 9).map(float)), max_size=12)


@given(COSTS)
@settings(max_examples=60)
def test_a_front_is_what_nothing_beats(costs: list[tuple[float, float]]) -> None:
    found = front(costs)
    chosen = {costs[i] for i in found}
    assert len(chosen) == len(found)
    for a, b in costs:
        beaten = any((c <= a and d <= b) and (c, d) != (a, b) for c, d in costs)
        assert ((a, b) in chosen) == (not beaten)
    assert [costs[i] for i in found] == sorted(chosen)
    assert front([*costs, (float("nan"), 0.1)]) == found


def test_a_knee() -> None:
    assert knee([(1, 100), (2, 20), (4, 18), (8, 17)]) == 1
    assert knee([(1, 100), (10, 10), (100, 1)]) is None, "a straight line has none"
    assert knee([(1, 2), (2, 1)]) is None and knee([]) is None
    assert knee([(1, 100), (50, 90), (100, 1)]) is None, "above the line"


SWEEP = """sram.bytes,dma.channels,status,reason,model,config,cycles_total,time_us,energy_uj,cycles_over_roofline
128KiB,1,ok,,m,npu_32x32,80,0.08,2,1.5
64KiB,1,ok,,m,npu_32x32,100,0.1,1,1.1
256KiB,1,ok,,m,npu_32x32,90,0.09,3,1.2
512KiB,1,infeasible,no <b>room</b>,,,,,,
"""


def test_points_are_read_back(tmp_path: Path) -> None:
    (tmp_path / "sweep.csv").write_text(SWEEP)
    sweep = read_sweep(tmp_path)
    assert sweep.varied == ["sram.bytes"] and sweep.points[0].cycles == 80
    assert in_order([p.params["sram.bytes"] for p in sweep.points]) == ["64KiB", "128KiB", "256KiB", "512KiB"]
    assert in_order(["b", "a", "b"]) == ["b", "a"]
    areas = [point.area for point in sweep.points[:3]]
    machine = ms.Machine.load("npu_32x32")
    assert areas[1] == area_mm2(machine.replace("sram.bytes=64KiB")) < areas[0] < areas[2]
    (warning,) = _warnings([p for p in sweep.points if p.ok], sweep.params)
    assert "in 1 steps a better sram.bytes takes longer; most from 128KiB to 256KiB: 1.12" in warning
    (page,) = write_pages(tmp_path)
    text = page.read_text("utf-8")
    assert "no &lt;b&gt;room&lt;/b&gt;" in text and "<b>room" not in text


def test_several_models_on_several_machines(tmp_path: Path) -> None:
    """Each model has a sentence of its own, each point its own machine and the command that runs it alone."""
    machines = {"one": ms.Machine().replace("vector.lanes=8"), "two": ms.Machine().replace("vector.lanes=64")}
    ran = {"status": "ok", "reason": "", "energy_uj": 1.0, "cycles_over_roofline": 1.0}
    rows = [
        {"model": model, "config": config, "sram.bytes": size, **ran, "cycles_total": n, "time_us": float(n)}
        for model, n in (("a", 10), ("b", 20)) for config in machines for size in ("64KiB", "1MiB")
    ]  # fmt: skip
    command = ["minisim", "sweep", "--config", "x.toml", "--set", "tile.m=8"]
    typed = {"models": {"a": ["gemm:1x1x1"], "b": ["b c.py", "--dim", "n=8"]}, "configs": {"one": "x.toml"}}
    runs = {**typed, "options": ["--set", "tile.m=8", "--no-numerics"]}
    write_sweep(rows, tmp_path, runs=runs, machines=machines, command=command, page=True)
    sweep = read_sweep(tmp_path)
    assert sweep.models == ["a", "b"] and sweep.varied == ["config", "sram.bytes"]
    for point in sweep.points:
        machine = machines[point.params["config"]].replace(f"sram.bytes={point.params['sram.bytes']}")
        assert point.area == area_mm2(machine)
    text = (tmp_path / "sweep.html").read_text("utf-8").replace("\u00a0", " ")
    assert "a: 10.0 µs at best" in text and "b: 20.0 µs at best" in text
    assert "minisim run gemm:1x1x1 --config two --set tile.m=8 --no-numerics --report" in text
    assert r"minisim run \u0027b c.py\u0027 --dim n=8 --config x.toml --set tile.m=8 --no-numerics --report" in text


def test_areas_grow_with_what_they_are_made_of() -> None:
    machine = ms.Machine()
    area = area_mm2(machine)
    for setting in ("sram.bytes=1MiB", "matrix.rows=64", "matrix.arrays=2", "vector.lanes=64", "l2.bytes=1MiB",
                    "accumulator.bytes=64KiB"):  # fmt: skip
        assert area_mm2(machine.replace(setting)) > area
    assert area_mm2(machine.replace("cores.count=3")) == pytest.approx(3 * area)
    assert area_mm2(machine.replace("matrix.dtype=int8")) < area
    cells = 8 * 2**20 * 0.346 / 0.5 / 1e6
    assert area_mm2(machine.replace("l2.bytes=1MiB")) - area == pytest.approx(cells)


# -- comparisons -----------------------------------------------------------------------------------------------


PAIRS = st.tuples(st.integers(0, 9), st.integers(0, 9))


@given(st.dictionaries(st.sampled_from("abcdefghijklmnop"), PAIRS, min_size=1))
@settings(max_examples=60)
def test_a_waterfall_goes_from_a_to_b(parts: dict[str, tuple[int, int]]) -> None:
    """Each bar begins or ends where the one before it does: no step is lost, however small."""
    rows = [(name, a, b, b - a) for name, (a, b) in parts.items()]
    table = pd.DataFrame(rows, columns=["cause", "a", "b", "change"])
    first, *steps, last = waterfall(table, "cause", "", 1)
    assert len(steps) == min(STEPS + 1, sum(a != b for a, b in parts.values()))
    assert first.text == f"{sum(a for a, _ in parts.values())}" and last.text == f"{sum(b for _, b in parts.values())}"
    level = float(first.width[:-1])
    for step in steps:
        begin, size = float(step.begin[:-1]), float(step.width[:-1])
        assert (begin if step.kind == "more" else begin + size) == pytest.approx(level, abs=0.2)
        assert step.text.startswith({"more": "+", "less": "\u2212"}[step.kind])
        level += size if step.kind == "more" else -size
    assert level == pytest.approx(float(last.width[:-1]), abs=0.2)
