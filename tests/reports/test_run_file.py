"""run.json: its columns say what the timeline says, in a bounded number of bytes; what it sums up adds up."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minisim as ms
from minisim.hwmodel.bursts import Rectangles
from minisim.hwmodel.isa import Opcode
from minisim.reports import RunRecord, Told, WhatIf
from minisim.reports.run_file import bars as module
from minisim.reports.run_file import run_file, write_run_file
from minisim.reports.run_file.bars import timeline_bars
from minisim.reports.run_file.flow import _overlap, edges, traffic
from minisim.reports.run_file.packed import packed, unpacked
from minisim.reports.run_file.series import bandwidth, occupancy
from minisim.reports.tables import timeline

from .conftest import Record

SHAPES = [("gemm:96x64x80", "npu_32x32"), ("softmax:64x200", "npu_32x32", "cores.count=2"),
          ("conv:8x8x16x16x3", "edge_8x8"), ("gemm:64x64x96", "npu_32x32", "dma.channels=2", "dram.model=banked"),
          ("gemm:48x64x96", "edge_8x8", "sram.bytes=3KiB", "compiler.order=mnk"),
          ("gemm:64x64x96", "npu_32x32", "cores.count=2", "l2.bytes=32KiB", "l2.bytes_per_cycle=8")]  # fmt: skip


@pytest.fixture(params=SHAPES[:2] + SHAPES[3:], ids=lambda shape: " ".join(shape))
def of_many(request: pytest.FixtureRequest, record: Record) -> RunRecord:
    return record(*request.param)


@given(st.lists(st.integers(-(2**61), 2**61) | st.integers(-70, 70)))
@settings(max_examples=60)
def test_packed_columns_are_read_back(values: list[int]) -> None:
    assert unpacked(packed(np.array(values, dtype=np.int64))).tolist() == values


def told_bars(record: RunRecord) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The columns as a page reads them, and the row of each bar."""
    file = json.loads(json.dumps(timeline_bars(record)))
    columns = {name: unpacked(text) for name, text in file["columns"].items()}
    row = np.repeat(np.arange(len(file["rows"])), file["counts"])
    for each in np.unique(row):
        columns["begin"][row == each] = np.cumsum(columns["begin"][row == each])
    for name in {"layer", "op", "tile"} & columns.keys():
        columns[name] = np.cumsum(columns[name])
    return columns, row


def test_bars_are_the_operations(of_many: RunRecord) -> None:
    found, row = told_bars(of_many)
    table = timeline(of_many)
    assert sorted(found["op"]) == list(range(len(table)))
    mine = table.iloc[found["op"]]
    assert (found["begin"] == mine["begin"]).all() and (found["begin"] + found["length"] == mine["done"]).all()
    assert (found["layer"] == of_many.schedule.stream["layer"][found["op"]]).all()
    file = timeline_bars(of_many)
    assert [file["waits"][i] for i in found["waited"]] == mine["waited_for"].tolist()
    tiles = {name: np.cumsum(unpacked(text)) for name, text in file["tiles"].items()}
    for op, tile, lane in list(zip(found["op"], found["tile"], row, strict=True))[::7]:
        r, c = tiles["row"][tile], tiles["col"][tile]
        name = of_many.schedule.tensor_names[tiles["tensor"][tile]]
        text = f"{name}[{r}:{r + tiles['rows'][tile]},{c}:{c + tiles['cols'][tile]}]"
        assert of_many.schedule.title(int(op)).partition(" ")[2] == text
        assert mine["queue"][op] in file["rows"][lane]
    for each in np.unique(row):  # bars of a row do not overlap
        begin, length = found["begin"][row == each], found["length"][row == each]
        assert (begin[1:] >= begin[:-1] + length[:-1]).all()


def test_many_operations_are_merged(of_many: RunRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    single, row = told_bars(of_many)
    monkeypatch.setattr(module, "MOST", 10)
    monkeypatch.setattr(module, "CELLS", 12)
    found, merged = told_bars(of_many)
    assert len(merged) <= 12 + len(np.unique(merged)) < len(row)
    assert found["count"].sum() == len(row) and found["busy"].sum() == single["length"].sum()
    for each in np.unique(row):
        assert found["busy"][merged == each].sum() == single["length"][row == each].sum()
        ends = (found["begin"] + found["length"])[merged == each]
        assert ends.max() == (single["begin"] + single["length"])[row == each].max()
    assert timeline_bars(of_many)["merged"] and not timeline_bars(of_many)["tiles"]


def test_bandwidth_adds_up(of_many: RunRecord) -> None:
    found, t = bandwidth(of_many), of_many.timeline
    widths = np.diff(found["edges"])
    for name, moved in zip(("read", "written"), of_many.dram_moved, strict=True):
        assert sum(found[name]) == moved.sum() and min(found[name]) >= -1
        half = len(widths) // 2  # by hand, operation by operation
        until = found["edges"][half]
        inside = np.clip((until - t.dram_begin) / np.maximum(1, t.dram_end - t.dram_begin), 0, 1)
        assert sum(found[name][:half]) == pytest.approx((moved * inside).sum(), abs=1)
    if of_many.timeline.answers is None:
        assert (np.add(found["read"], found["written"]) <= widths * found["peak"] * 1.05 + 64).all()


def test_occupancy_is_what_is_in_use(of_many: RunRecord) -> None:
    """Against tiles counted one by one: no more than there is room for, and at some time as many as are told."""
    found = occupancy(of_many)
    assert found is not None
    schedule, t = of_many.schedule, of_many.timeline
    stays: dict[tuple[int, int, int], list[int]] = {}
    ended: list[tuple[int, int, int, int]] = []
    sizes = schedule.tile_bytes()
    for i in range(len(schedule)):
        text = schedule.stream[i]
        for tile, address in operands(of_many, i):
            key = (int(text["core"]), tile, address)
            if text["opcode"] == Opcode.LOAD and key in stays:
                ended.append((key[0], *stays.pop(key), int(sizes[tile])))
            stay = stays.setdefault(key, [int(t.start[i]), 0])
            stay[1] = max(stay[1], int(t.end[i]))
    ended += [(key[0], *stay, int(sizes[key[1]])) for key, stay in stays.items()]
    edges_of = list(pairwise(found["edges"]))
    assert len(edges_of) == len(found["bytes"])
    for (first, until), told in list(zip(edges_of, found["bytes"], strict=True))[::9]:
        moments = [first, *(begin for _, begin, _, _ in ended if first <= begin < until)]
        most = max(
            sum(size for other, begin, end, size in ended if other == core and begin <= moment < end)
            for core in range(schedule.cores)
            for moment in moments
        )
        assert told == most <= found["capacity"]


def operands(record: RunRecord, i: int) -> set[tuple[int, int]]:
    """Tile and address of all that operation `i` has on chip."""
    schedule, none = record.schedule, 0xFFFFFFFF
    op = schedule.stream[i]
    table = {Opcode.LOAD: "transfers", Opcode.STORE: "transfers", Opcode.EXECUTE: "matmuls", Opcode.VECTOR: "vectors"}
    x = getattr(schedule, table[Opcode(op["opcode"])])[op["row"]]
    if op["opcode"] <= Opcode.STORE:
        return {(int(x["tile"]), int(x["sram"]))}
    names = [name.removesuffix("_sram") for name in x.dtype.names if name.endswith("_sram")]
    found = {(int(x[name]), int(x[f"{name}_sram"])) for name in names}
    at = int(x["a_pieces" if op["opcode"] == Opcode.EXECUTE else "src0_pieces"])
    while at != none:
        piece = schedule.pieces[at]
        found.add((int(piece["tile"]), int(piece["sram"])))
        at = at + 1 if piece["more"] else none
    return {pair for pair in found if none not in pair}


def test_traffic_by_tensor_is_all_of_it(of_many: RunRecord) -> None:
    found = traffic(of_many)
    opcode, moved = of_many.schedule.stream["opcode"], of_many.costs.bytes
    assert sum(row[3] for row in found["tensors"]) == moved[opcode == Opcode.LOAD].sum()
    assert sum(row[4] for row in found["tensors"]) == moved[opcode == Opcode.STORE].sum()
    assert {row[0] for row in found["tensors"] if row[1] == "output"} <= set(of_many.schedule.tensor_names)


def test_edges_are_the_graphs() -> None:
    """A branch, a split into views, a concat of both halves, and a reshape between: who reads what of whom."""
    graph = ms.Graph("branch")
    x = graph.input("x", (32, 64))
    a = graph.matmul(x, graph.weight("wa", shape=(64, 64)), name="a")
    left, right = graph.split(a, [32, 32], axis=1)
    b = graph.matmul(left, graph.weight("wb", shape=(32, 32)), name="b")
    c = graph.softmax(right, name="c")
    d = graph.matmul(graph.reshape(b, (16, 64)), graph.weight("wd", shape=(64, 32)), name="d")
    graph.output(d, "d_out")
    graph.output(graph.softmax(graph.add(b, c), name="e"), "e_out")
    schedule = ms.compile_graph(graph, ms.Machine().replace("compiler.effort=0"), numerics=False)
    names = schedule.layer_names
    found = {(names[i], names[j]) for i, j in edges(schedule)}
    assert {("a", "b"), ("a", "c"), ("b", "d")} <= found
    assert ("c", "d") not in found and ("b", "c") not in found and ("c", "b") not in found
    assert max(Counter(found).values()) == 1


def test_views_overlap_where_they_share_bytes() -> None:
    """Of a buffer of 8 rows of 32 floats: halves side by side, halves above each other, and a reshape of it."""
    views = [(0, 8, 64, 128), (64, 8, 64, 128), (0, 4, 128, 128), (512, 4, 128, 128), (0, 16, 64, 64), (60, 8, 8, 128)]
    address, rows, row_bytes, pitch = np.array(views, dtype=np.int64).T
    tensors = Rectangles(address=address, row_bytes=row_bytes, rows=rows, pitch=pitch)
    apart = {(0, 1), (2, 3)}
    for i in range(len(views)):
        for j in range(len(views)):
            assert _overlap(tensors, i, j) == (tuple(sorted((i, j))) not in apart), (i, j)


def test_the_file_has_the_roofs_and_what_it_was_told(record: Record, tmp_path: Path) -> None:
    run = record("gemm:96x64x80", "edge_8x8")
    told = Told(["minisim", "run", "x y"], [WhatIf("more", {"a.b": "1"}, 5), WhatIf("none", {}, None, "why")])
    write_run_file(run, told, tmp_path / "run.json")
    found = json.loads((tmp_path / "run.json").read_text("utf-8"))
    assert found == json.loads(json.dumps(run_file(run, told)))
    assert found["what_if"] == [["more", {"a.b": "1"}, 5, ""], ["none", {}, None, "why"]]
    assert found["command"] == ["minisim", "run", "x y"]
    assert found["roofs"] == {"macs": 64.0, "dram": 8.0, "load": 8.0}


def test_a_run_of_nothing(tmp_path: Path) -> None:
    graph = ms.Graph("reshapes")
    graph.output(graph.reshape(graph.input("x", (4, 6)), (8, 3)), "y")
    found = run_file(ms.run(graph).record(), Told())
    assert found["bars"]["counts"] == [] and found["edges"] == [] and found["bound"] == {}
