"""Who computes what: the cuts, what stays where, and what cores wait for of each other."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.accesses import Checker
from support.graphs import graphs, inputs_of, values
from support.machines import machine, machines_for

import minisim as ms
from minisim.compiler.ops import OPERATORS
from minisim.compiler.passes.fuse import Fuse
from minisim.compiler.passes.tile import Tile
from minisim.compiler.shares import POLICIES, Placement, Splitter, cuts
from minisim.compiler.tiling import Tiling
from minisim.errors import CapacityError
from minisim.hwmodel.isa import Opcode

FAST = {"dram__bandwidth": "1000GB/s", "dma__bytes_per_cycle": 256, "dram__latency": "5ns"}


def mlp(rows: int, *widths: int) -> ms.Graph:
    """A chain of matmuls with relu between them."""
    rng = np.random.default_rng(0)
    g = ms.Graph("mlp")
    x = g.input("x", (rows, widths[0]))
    for i, (k, n) in enumerate(pairwise(widths)):
        x = x @ g.weight(f"w{i}", values(rng, (k, n)))
        x = g.relu(x) if i < len(widths) - 2 else x
    g.output(x, "y")
    return g


def tilings(graph: ms.Graph, on: ms.Machine) -> list[Tiling]:
    tiled = Tile(on).apply(Fuse().apply(graph))
    return list(tiled.tilings.values())


@settings(max_examples=50)
@given(st.data(), graphs(), st.sampled_from([2, 3, 4, 16, 64]))
def test_every_output_tile_has_one_core(data: st.DataObject, graph: ms.Graph, count: int) -> None:
    on = data.draw(machines_for(graph)).with_overrides({"cores.count": count})
    for tiling in tilings(graph, on):
        times = np.zeros((tiling.m_tiles, tiling.n_tiles), dtype=int)
        for share in tiling.shares:
            times[share.m0 : share.m1, share.n0 : share.n1] += 1
        assert np.all(times == 1)
        cores = [share.core for share in tiling.shares]
        assert len(set(cores)) == len(cores) <= count and max(cores) < count
        m, n, k = tiling.walk()
        assert len({*zip(m.tolist(), n.tolist(), k.tolist(), strict=True)}) == len(m) == times.size * tiling.k_tiles


def test_a_chain_with_many_rows_is_cut_by_rows_and_its_tiles_stay_where_they_are() -> None:
    graph = mlp(256, 64, 64, 64, 64)
    on = machine(cores__count=4, **FAST)
    for tiling in tilings(graph, on):
        assert [(s.n0, s.n1) for s in tiling.shares] == [(0, tiling.n_tiles)] * 4
    schedule = ms.compile_graph(graph, on)
    assert len(schedule.syncs) == 0
    stored = schedule.transfers["tile"][schedule.stream["row"][schedule.stream["opcode"] == Opcode.STORE]]
    assert {schedule.tensor_names[t] for t in schedule.tiles["tensor"][stored]} == {graph.outputs["y"]}


def test_a_chain_with_few_rows_is_cut_by_columns_and_its_tiles_travel() -> None:
    """Each core needs what all computed: it is stored, and each loads it after exactly the stores it needs."""
    graph = mlp(32, 1024, 512, 512)
    on = machine(cores__count=4, **FAST)
    first, second = tilings(graph, on)
    assert [s.shape for s in first.shares] == [s.shape for s in second.shares] == [(1, 4)] * 4
    schedule = ms.compile_graph(graph, on)
    waiting = np.flatnonzero(schedule.stream["sync"] != 0xFFFFFFFF)
    assert len(waiting) and np.all(schedule.stream["opcode"][waiting] == Opcode.LOAD)
    for op in waiting.tolist():
        for lane, count in schedule.syncs_of(op):
            store = schedule.lane_ops()[lane][count - 1]
            rows = schedule.stream["row"][[op, store]]
            assert lane // 4 != schedule.stream["core"][op]
            assert len(set(schedule.transfers["tile"][rows].tolist())) == 1


def test_what_is_too_small_to_be_worth_it_stays_on_one_core() -> None:
    slow = machine(cores__count=16, dram__bandwidth="2GB/s")
    (tiling,) = tilings(mlp(32, 64, 64), slow)
    assert len(tiling.shares) == 1


@pytest.mark.parametrize("core", [0, 1, 2])
def test_an_operation_on_one_core_goes_where_most_of_its_operands_are(core: int) -> None:
    graph, on = mlp(96, 32, 64), machine(cores__count=3)
    tiled = Tile(machine()).apply(graph)
    (node,) = graph.nodes
    splitter = Splitter(graph, on, tiled.tilings)
    splitter.placed["x"] = Placement((32, 32), np.array([[(core + 1) % 3], [core], [core]]))
    reads = OPERATORS[node.op].reads(node, graph, tiled.tilings[node.name])
    (share,) = splitter._shares(tiled.tilings[node.name], reads, (1, 1))
    assert share.core == core


@pytest.mark.parametrize("policy", POLICIES)
def test_cuts_are_within_cores_and_tiles(policy: str) -> None:
    tiling = Tiling(32, 32, 32, 5, 1, 7, panels=None)
    found = cuts(tiling, 16, POLICIES[policy])
    assert len(found) == len(set(found)) and (1, 1) in found
    assert all(r <= 5 and c <= 7 and r * c <= 16 for r, c in found)
    assert {"rows": (5, 1), "columns": (1, 7), "free": (5, 3)}[policy] in found


@settings(max_examples=40)
@given(st.data(), graphs(), st.sampled_from([2, 3, 4, 16]))
def test_no_two_cores_meet_in_dram_unordered(data: st.DataObject, graph: ms.Graph, count: int) -> None:
    """By a check that knows nothing of the engine's; and the results are those of one core."""
    one = data.draw(machines_for(graph))
    inputs = inputs_of(graph)
    expected = ms.run(graph, one, inputs=inputs)
    result = ms.run(graph, one.with_overrides({"cores.count": count}), inputs=inputs)
    result.schedule.verify()
    result.times.verify(result.schedule)
    assert result.output_sha256 == expected.output_sha256
    assert result.cycles >= result.record().work.bound(result.machine).cycles
    assert result.schedule.sram_final_live_bytes == 0
    if len(result.schedule) < 500:
        assert Checker.of(result.schedule).violations(result.schedule, result.times) == []


def test_each_cores_sram_must_hold_one_operation() -> None:
    """Many small SRAMs are not a large one."""
    graph, on = mlp(64, 64, 64), machine(cores__count=16, sram__bytes=3 * 256 - 64)
    with pytest.raises(CapacityError, match=r"sram\.bytes: layer 'matmul' needs at least 768 bytes"):
        ms.compile_graph(graph, on)


def test_saving_keeps_cores_and_syncs(tmp_path: object) -> None:
    schedule = ms.compile_graph(mlp(32, 256, 512, 512), machine(cores__count=4, **FAST))
    path = f"{tmp_path}/schedule.npz"
    schedule.save(path)
    again = ms.Schedule.load(path)
    assert again.cores == 4 and len(again.syncs) and again.digest() == schedule.digest()
