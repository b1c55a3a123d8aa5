"""The account of cycles: it adds up, its path is tight, and known machines lose their time to known causes."""

from __future__ import annotations

import io
import re
from collections import Counter
from dataclasses import fields, replace
from itertools import pairwise
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from support.fidelity import benchmark
from support.graphs import graphs as any_graphs
from support.machines import machines_for, with_memories
from support.pairs import without_operations
from support.paths import ROOT
from support.typed import int8_graphs, typed_machines

import minisim as ms
from minisim.compiler.graph import Graph
from minisim.hwmodel.bursts import BurstRules, Descriptor
from minisim.hwmodel.cost import Costs
from minisim.hwmodel.isa import SYNC_DTYPE, Opcode, Queue
from minisim.hwmodel.port import Cut, cut
from minisim.hwmodel.simulate import simulate
from minisim.hwmodel.timeline import Timeline
from minisim.reports import Account, RunRecord, print_account, units
from minisim.reports.account import GROUPS, MEANING
from minisim.reports.attribution import unit_cycles
from minisim.reports.cause import Cause

from .conftest import Record, machines, records, run_record
from .conftest import graphs as small_graphs

CORES = st.sampled_from([1, 1, 2, 3, 16])


@st.composite
def other_records(draw: st.DrawFn) -> RunRecord:
    """Larger machines and graphs of every operator, in an SRAM that is just large enough, or a little larger."""
    graph = draw(any_graphs())
    return run_record(graph, draw(machines_for(graph)).with_overrides({"cores.count": draw(CORES)}))


@st.composite
def typed_records(draw: st.DrawFn) -> RunRecord:
    """Models in bfloat16 and int8, on arrays of any rate, with and without an accumulator memory."""
    dtype = draw(st.sampled_from(["bf16", "int8"]))
    graph = draw(any_graphs() if dtype == "bf16" else int8_graphs())
    return run_record(graph, with_memories(draw, graph, draw(typed_machines(dtype)), (1.0, 1.5, 8.0)))


@st.composite
def dma_records(draw: st.DrawFn, bursts: bool, **fixed: object) -> RunRecord:
    """Small machines whose DMA has channels, rows or runs as descriptors, and bursts if asked for; keys `fixed`."""

    def of(*values: object) -> object:
        return draw(st.sampled_from(values))

    keys = {"dma.channels": of(1, 2, 3), "dma.dimensions": of(1, 2, 3), "dma.completion_cycles": of(0, 4)}
    keys |= {"dma.shared": draw(st.booleans()), "dma.beat_cycles": of(1, 1, 3)}
    keys |= {"dma.gap_cycles": of(0, 0, 2), "dram.model": of("ideal", "ideal", "banked")}
    if bursts:
        keys |= {"dma.max_burst_beats": of(1, 2, 16), "dma.burst_boundary": of("0", "64")}
        keys |= {"dma.outstanding_bursts": of(0, 1, 2, 8), "dma.request_cycles": of(0, 0, 3)}
        keys |= {
            "dma.burst_gap_cycles": of(0, 0, 2),
            "dma.store_burst_beats": of(0, 1),
            "dma.store_burst_cycles": of(0, 3),
        }
    return run_record(draw(small_graphs()), draw(machines()).with_overrides(keys | fixed))


# -- every cycle once ----------------------------------------------------------------------------------------


def check_sums(record: RunRecord) -> None:
    account = Account.of(record)
    table, path = account.table(), account.path
    causes = table[[f"cycles_{name}" for name in account.path.causes]]
    assert (causes >= 0).all(axis=None)
    assert (causes.sum(axis=1) == table["cycles_total"]).all()
    assert table["cycles_total"].iloc[:-1].sum() == table["cycles_total"].iloc[-1] == record.timeline.cycles
    if not record.timeline.cycles:  # nothing but views
        return
    assert path.begin[0] == 0 and path.end[-1] == record.timeline.cycles
    assert (path.begin[1:] == path.end[:-1]).all() and (path.begin < path.end).all()
    stretches = account.stretches()
    assert sum(s.cycles for s in stretches) == record.timeline.cycles
    matrix = record.machine.matrix
    peak = matrix.arrays * matrix.rows * matrix.cols * matrix.rate(record.machine.dtype)
    assert (path.useful(record.schedule, record.machine) <= path.end - path.begin).all()
    assert account.total()[Cause.COMPUTE] == path.macs.sum() // peak <= record.work.macs // peak


@settings(max_examples=50, deadline=None)
@given(typed_records())
def test_every_cycle_has_one_cause_in_every_type(record: RunRecord) -> None:
    check_sums(record)
    assert record.timeline.cycles >= record.work.bound(record.machine).cycles


@settings(max_examples=75, deadline=None)
@given(records())
def test_every_cycle_has_one_cause(record: RunRecord) -> None:
    check_sums(record)
    check_stages(record)


@settings(max_examples=40, deadline=None)
@given(other_records())
def test_every_cycle_has_one_cause_on_larger_machines(record: RunRecord) -> None:
    check_sums(record)
    check_stages(record)


@settings(max_examples=40, deadline=None)
@given(dma_records(bursts=False))
def test_every_cycle_has_one_cause_with_channels_and_runs(record: RunRecord) -> None:
    check_sums(record)
    check_stages(record)
    check_units(record)


@settings(max_examples=40, deadline=None)
@given(dma_records(bursts=True))
def test_every_cycle_has_one_cause_with_bursts(record: RunRecord) -> None:
    check_sums(record)
    check_units(record)


def check_units(record: RunRecord) -> None:
    for queue in Queue:
        spent = unit_cycles(record.schedule, record.timeline, record.costs, queue)
        assert min(spent.values()) >= 0 and sum(spent.values()) <= record.timeline.cycles


BURSTS = {"dram.model": "ideal", "clock.frequency": "1GHz", "dma.request_cycles": 0, "dma.max_burst_beats": 2,
          "dma.channels": 1}  # fmt: skip
"""Bursts whose every cycle is the port's, the DRAM's or the latency's."""


@pytest.mark.parametrize(("what", "least", "keys"), [
    ("port", 15, {}), ("latency", 8, {"dma.outstanding_bursts": 1, "dram.bandwidth": "100GB/s"}),
])  # fmt: skip
def test_no_burst_on_the_path_is_slack(what: str, least: int, keys: dict[str, object]) -> None:
    """A beat more in every burst, or behind it, or a longer latency: what is on the path makes the run longer."""
    proved = Counter[str]()

    @settings(max_examples=50, deadline=None)
    @given(dma_records(bursts=True, **BURSTS, **keys))
    def check(record: RunRecord) -> None:
        path, m = Account.of(record).path, record.machine
        if not path.of(Cause.LOAD_PORT if what == "port" else Cause.LOAD_REQUESTS).any():
            proved["not on the path"] += 1
            return
        longer = m
        if what == "latency":
            longer = m.with_overrides({"dram.latency": f"{m.dram_latency_cycles + 1}ns"})
            assert longer.dram_latency_cycles == m.dram_latency_cycles + 1
        with patch("minisim.hwmodel.dma.cut", side_effect=one_beat_more if what == "port" else cut):
            longer_run = simulate(record.schedule, longer)
        same_channels = (longer_run.channel == record.timeline.channel).all()
        if not same_channels or served_in(record, longer_run) != served_in(record, record.timeline):
            proved["another order"] += 1
            return
        assert longer_run.cycles > record.timeline.cycles
        proved["longer"] += 1

    check()
    assert proved["longer"] >= least, f"of 50 cases these proved something: {proved}"


def one_beat_more(descriptor: Descriptor, rules: BurstRules) -> Cut:
    found = cut(descriptor, rules)
    bursts = tuple((beats + 1, size, rest + 1, later) for beats, size, rest, later in found.bursts)
    return found._replace(bursts=bursts, through=found.through + 2 * len(bursts))


def stages(record: RunRecord, i: int) -> dict[str, tuple[int, int]]:
    """The stretches [begin, end) of operation `i` that may be a link, by name, from the formulas of the gates."""
    t, c, stream = record.timeline, record.costs, record.schedule.stream
    lanes = record.schedule.lanes()
    mine = np.flatnonzero((lanes[:i] == lanes[i]) & (t.channel[:i] == t.channel[i]))
    if record.machine.dma.shared and stream["opcode"][i] <= Opcode.STORE:  # a port of both directions
        mine = np.flatnonzero(
            (stream["opcode"] <= Opcode.STORE) & (stream["core"] == stream["core"][i]) & (t.channel == t.channel[i])
        )
        mine = mine[np.argsort(t.done[mine])]
        mine = mine[t.done[mine] < t.done[i]]
    start, begin, done = int(t.start[i]), int(t.begin[i]), int(t.done[i])
    ready = max(start + int(c.setup[i]), int(t.done[mine[-1]]) if len(mine) else 0)
    found = {
        "dispatch": (int(t.issue[i]) - record.machine.control.issue_cycles, int(t.issue[i])),
        "setup": (start, start + int(c.setup[i])),
        "busy": (ready, ready + int(c.busy[i])),
        "hold": (ready, ready + min(int(c.hold[i]), int(c.busy[i]))),
        "drain": (ready + int(c.busy[i]), ready + int(c.hold[i])),
        "latency": (done, done + int(c.latency[i])),
    }
    if stream["opcode"][i] <= Opcode.STORE:
        found["dram"] = (begin, int(t.dram_end[i]))
        found["lag"] = (int(t.dram_end[i]), int(t.dram_end[i]) + int(c.lag[i]))
    if not (stream["core"][:i] == stream["core"][i]).any():
        found["launch"] = (0, record.machine.control.launch_cycles)
    return found


CAUSES_OF = {
    "launch": {Cause.LAUNCH},
    "dispatch": {Cause.CONTROL},
    "setup": {Cause.SETUP, Cause.ARRAY, Cause.SRAM_SPACE, Cause.CONTROL},
    "busy": {Cause.COMPUTE, Cause.VECTOR, Cause.LOAD_PORT, Cause.STORE},
    "hold": {Cause.COMPUTE, Cause.LOAD_PORT, Cause.STORE},
    "drain": {Cause.ARRAY},
    "lag": {Cause.LOAD_DRAM, Cause.STORE},
    "dram": {Cause.LOAD_DRAM, Cause.STORE, Cause.DRAM_CONTENTION},
    "latency": {Cause.DRAM_LATENCY, Cause.STORE, Cause.ARRAY, Cause.VECTOR, Cause.SRAM_SPACE, Cause.DEPENDENCY,
                Cause.CONTROL},
}  # fmt: skip


def stage_of(record: RunRecord, op: int, cause: str, begin: int, end: int) -> str | None:
    """The stage of `op` that the link is: all of it, but at the ends of the run a part."""
    cut = cause in (Cause.START, Cause.TAIL)
    computes = record.schedule.stream["opcode"] >= Opcode.EXECUTE
    edges = {int(record.timeline.begin[computes].min()), int(record.timeline.end[computes].max())}
    for name, (b, e) in stages(record, op).items():
        whole = (b, e) == (begin, end)
        part = b <= begin and end <= e and (begin == b or begin in edges) and (end == e or end in edges)
        if (whole or part) and (cut or cause in CAUSES_OF[name]):
            return name
    return None


def check_stages(record: RunRecord) -> None:
    """Each link is exactly one stage of its operation: it begins and ends where the costs say."""
    path = Account.of(record).path
    for op, code, begin, end in zip(*(x.tolist() for x in (path.op, path.cause, path.begin, path.end)), strict=True):
        assert stage_of(record, op, path.causes[code], begin, end), (op, path.causes[code], begin, end)


COLUMNS_OF = {"setup": ("setup",), "busy": ("busy",), "hold": ("busy", "hold"), "latency": ("latency",),
              "drain": ("hold",), "dram": ("dram",), "lag": ("lag",)}  # fmt: skip
"""The costs that make a stage longer."""


def one_longer(cost: Costs, op: int, columns: tuple[str, ...]) -> Costs:
    copy = Costs(**{f.name: getattr(cost, f.name).copy() for f in fields(cost)})
    for name in columns:
        getattr(copy, name)[op] += 1
    return copy


def served_in(record: RunRecord, timeline: Timeline) -> list[int]:
    """The transfers in the order in which the DRAM served them."""
    moves = np.flatnonzero(record.schedule.stream["opcode"] <= Opcode.STORE)
    return [int(i) for i in moves[np.argsort(timeline.dram_begin[moves], kind="stable")]]


def test_one_more_cycle_anywhere_on_the_path_makes_the_run_longer() -> None:
    """No link is slack. (A cycle that changes the order in which the DRAM serves proves nothing.)"""
    proved = Counter[str]()

    @settings(max_examples=150, deadline=None)
    @given(record=st.one_of(records(), other_records(), dma_records(bursts=False)), data=st.data())
    def check(record: RunRecord, data: st.DataObject) -> None:
        proved[one_more_cycle(record, data)] += 1

    check()
    assert proved["longer"] >= 45, f"of 150 cases these proved something: {proved}"


def one_more_cycle(record: RunRecord, data: st.DataObject) -> str:
    """Make a link of the path longer; "longer" if that was shown to make the run longer."""
    path = Account.of(record).path
    if not len(path.op) or record.machine.dram.model != "ideal":  # what banks take depends on when they are asked
        return "nothing to prove"
    at = data.draw(st.integers(0, len(path.op) - 1))
    op, code, begin, end = (int(x[at]) for x in (path.op, path.cause, path.begin, path.end))
    cause = path.causes[code]
    stage = stage_of(record, op, cause, begin, end)
    if stage in (None, "dispatch", "launch"):
        return "no cost of an operation"
    if stage == "busy" and record.costs.dram[op] and cause in (Cause.START, Cause.TAIL):
        return "a transfer that is cut there may be the port's or the DRAM's"
    columns = COLUMNS_OF[stage]
    if stage == "busy" and record.costs.hold[op] >= record.costs.busy[op]:
        columns = ("busy", "hold")  # folds that do not overlap: what is busy longer is held longer
    with patch("minisim.hwmodel.state.costs", return_value=one_longer(record.costs, op, columns)):
        longer = simulate(record.schedule, record.machine)
    same_channels = (longer.channel == record.timeline.channel).all()
    if not same_channels or served_in(record, longer) != served_in(record, record.timeline):
        return "another order"
    assert longer.cycles > record.timeline.cycles
    return "longer"


@pytest.mark.parametrize(
    "settings",
    [
        {"dram.model": "banked", "dram.preset": "ddr4-3200"},
        {"dram.model": "banked", "dram.preset": "hbm2", "dma.bytes_per_cycle": 64},
        {"dma.max_burst_beats": 16, "dma.outstanding_bursts": 2, "dma.gap_cycles": 3},
        {"dma.max_burst_beats": 4, "dma.outstanding_bursts": 1, "dma.channels": 2, "dram.model": "banked"},
        {"dma.dimensions": 1, "dma.completion_cycles": 5},
        {"dma.dimensions": 3, "dma.channels": 3},
        {"matrix.overlap": "none", "matrix.dataflow": "os", "matrix.gap_cycles": 2},
        {"matrix.model": "scalesim", "matrix.dataflow": "is"},
        {"sram.read_bytes_per_cycle": 16, "sram.write_bytes_per_cycle": 8},
        {"cores.count": 4},
        {"cores.count": 3, "dram.model": "banked", "dram.preset": "hbm2", "dma.bytes_per_cycle": 64},
    ],
)
@pytest.mark.parametrize("model", ["gemm:96x64x80", "gemm:40x200x33"])
def test_every_mechanism_is_accounted_for(model: str, settings: dict[str, object]) -> None:
    ran = ms.run(ms.load_model(model), ms.Machine().with_overrides(settings), numerics=False)
    check_sums(ran.record())


def test_the_path_crosses_to_the_core_that_is_waited_for(record: Record) -> None:
    """Two matmuls with one row of tiles: each core loads what the other computed, and waits for its stores.

    (In wider ones another store asks the DRAM in the same cycle, and goes first: the path goes on with that one.)
    """
    settings = ["cores.count=2", "dram.bandwidth=1000GB/s", "dma.bytes_per_cycle=256", "dram.latency=200ns"]
    g = Graph("chain")
    x = g.input("x", (32, 512))
    x = x @ g.weight("w1", np.zeros((512, 256), np.float32))
    g.output(x @ g.weight("w2", np.zeros((256, 256), np.float32)))
    r = run_record(g, ms.Machine.load("npu_32x32", settings))
    check_sums(r)
    account = Account.of(r)
    table = units(r).set_index("unit")
    assert table.filter(like=".load", axis=0)["cycles_stall_sync"].sum() > 200
    path = account.path
    of_stores = path.of(Cause.DEPENDENCY) & (r.schedule.stream["opcode"][path.op] == Opcode.STORE)
    assert (path.end - path.begin)[of_stores].sum() == 200  # the latency, waited for by a load of the other core
    assert {0, 1} <= {s.lane // 4 for s in account.stretches()} <= {0, 1, 2}  # 2: the DRAM


def test_a_wait_for_another_core_is_one_for_data_whatever_it_did(record: Record) -> None:
    """A store of core 1 that waits for a load of core 0: on one core nobody waits so, and the latency is the load's."""
    schedule = benchmark("dma").loads([Descriptor(0, 64), Descriptor(4096, 64)])
    stream = schedule.stream.copy()
    stream["core"], stream["opcode"], stream["queue"] = [0, 1], [Opcode.LOAD, Opcode.STORE], [Queue.LOAD, Queue.STORE]
    stream["sync"][1] = 0
    syncs = np.zeros(1, SYNC_DTYPE)
    syncs["core"], syncs["queue"], syncs["count"] = 0, Queue.LOAD, 1
    schedule = schedule.replace(stream=stream, syncs=syncs, cores=2)
    machine = record("gemm:8x8x8", "npu_32x32", "cores.count=2", "dram.latency=200ns").machine
    timeline = simulate(schedule, machine)
    assert timeline.start[1] == timeline.end[0]
    total = Account.of(RunRecord(schedule, timeline, machine, "two", "two", "simpy", 0.0, 0.0)).total()
    assert (total[Cause.DEPENDENCY], total[Cause.DRAM_LATENCY]) == (200, 0)


def test_a_timeline_that_is_not_of_its_machine_is_refused(record: Record) -> None:
    r = record("gemm:96x64x80")
    slower = r.machine.with_overrides({"dma.setup_cycles": 9})
    with pytest.raises(ValueError, match="nothing holds its"):
        Account.of(replace(r, machine=slower))


def test_an_empty_schedule_has_no_cycles(record: Record) -> None:
    r = record()
    none = without_operations(r.timeline)
    empty = Account.of(replace(r, schedule=r.schedule.replace(stream=r.schedule.stream[:0].copy()), timeline=none))
    assert empty.table()["cycles_total"].tolist() == [0, 0]
    assert empty.stretches() == []


def test_every_cause_is_in_the_tree_once() -> None:
    assert sorted(cause for causes in GROUPS.values() for cause in causes) == sorted(Cause) == sorted(MEANING)


# -- known causes --------------------------------------------------------------------------------------------

FAST_MEMORY = ("dma.bytes_per_cycle=4096", "dram.bandwidth=4096GB/s")


def shares(record: RunRecord) -> dict[str, float]:
    return {cause: n / record.timeline.cycles for cause, n in Account.of(record).total().items()}


def test_one_tile_to_the_cycle(record: Record) -> None:
    r = record("gemm:32x32x32", "npu_32x32")
    total, m = Account.of(r).total(), r.machine
    execute = int(np.flatnonzero(r.schedule.stream["opcode"] == Opcode.EXECUTE)[0])
    port = 32 * 32 * 4 // m.dma.bytes_per_cycle
    assert {cause: n for cause, n in total.items() if n} == {
        Cause.START: int(r.timeline.begin[execute]),
        Cause.COMPUTE: 32,
        Cause.DEPENDENCY: m.matrix.rows + m.matrix.cols - 1,  # the store waits for the last sum
        Cause.TAIL: m.dma.setup_cycles + port + m.dram_latency_cycles,
    }


def test_the_launch_is_a_cause_of_its_own(record: Record) -> None:
    """It delays everything, and nothing else changes: neither the start nor any other cause."""
    model, preset = "gemm:96x64x80", "npu_32x32"
    at_once = Account.of(record(model, preset)).total()
    launched = Account.of(record(model, preset, "control.launch_cycles=1234")).total()
    assert launched == at_once | {Cause.LAUNCH: 1234}


def test_a_small_array_computes(record: Record) -> None:
    share = shares(record("gemm:128x128x128", "npu_32x32", "matrix.rows=4", "matrix.cols=4", "tile.m=32", *FAST_MEMORY))
    assert share["compute"] > 0.97 and share["padding"] == 0


def test_blocks_of_a_quarter_of_the_rows_pad_three_quarters(record: Record) -> None:
    total = Account.of(record("gemm:1024x8x1024", "npu_32x32", *FAST_MEMORY)).total()
    assert total[Cause.COMPUTE] > 1000
    assert total[Cause.PADDING] == pytest.approx(3 * total[Cause.COMPUTE], abs=3)


SLOW_DRAM = (*FAST_MEMORY, "dram.latency=900ns")


@pytest.mark.parametrize(
    ("cause", "least", "overrides"),
    [
        ("load_port", 0.95, ["dma.bytes_per_cycle=1", "dram.bandwidth=4096GB/s"]),
        ("load_dram", 0.95, ["dma.bytes_per_cycle=4096", "dram.bandwidth=1GB/s"]),
        ("dram_latency", 0.8, [*SLOW_DRAM, "dma.max_outstanding=1"]),
        ("load_requests", 0.9, [*SLOW_DRAM, "dma.outstanding_bursts=1", "dma.max_outstanding=64"]),
        ("load_requests", 0.9, [*FAST_MEMORY, "dma.max_burst_beats=1", "dma.request_cycles=50"]),
        ("control", 0.75, [*SLOW_DRAM, "control.queue_depth=1", "compiler.order=mnk", "sram.bytes=16MiB"]),
        ("control", 0.9, [*FAST_MEMORY, "control.issue_cycles=1000"]),
        ("sram_space", 0.9, [*SLOW_DRAM, "sram.bytes=12KiB"]),
    ],
)
def test_a_machine_that_lacks_one_thing(cause: str, least: float, overrides: list[str], record: Record) -> None:
    assert shares(record("gemm:64x2048x64", "npu_32x32", *overrides))[cause] > least


@pytest.mark.parametrize(
    ("cause", "overrides"),
    [
        ("load_port", FAST_MEMORY),
        ("dram_latency", [*FAST_MEMORY, "dram.latency=0ns"]),
        ("dram_contention", ["dram.bandwidth=4096GB/s"]),
        ("load_requests", [*FAST_MEMORY, "dma.outstanding_bursts=4096"]),
        ("control", [*SLOW_DRAM, "control.queue_depth=1000", "compiler.order=mnk", "sram.bytes=16MiB"]),
        ("sram_space", [*SLOW_DRAM, "sram.bytes=16MiB"]),
    ],
)
def test_a_machine_that_has_plenty_of_it(cause: str, overrides: list[str], record: Record) -> None:
    assert shares(record("gemm:64x2048x64", "npu_32x32", *overrides))[cause] < 0.02


def test_a_load_that_the_dram_serves_behind_a_store(record: Record) -> None:
    """DRAM bandwidth is all that binds, and half of the traffic is partial sums going back and forth."""
    assert shares(record("gemm:256x256x256", "npu_32x32", "dma.bytes_per_cycle=4096", "dram.bandwidth=1GB/s"))[
        "dram_contention"
    ] > 0.3  # fmt: skip


def test_stores_after_the_last_computation_are_the_tail(record: Record) -> None:
    r = record("gemm:128x8x128", "npu_32x32", "dma.bytes_per_cycle=1", "dram.bandwidth=1000GB/s")
    computes = r.schedule.stream["opcode"] >= Opcode.EXECUTE
    account = Account.of(r)
    assert account.total()[Cause.TAIL] == r.timeline.cycles - r.timeline.end[computes].max() > r.timeline.cycles // 3
    assert account.stretches()[-1].lane == Queue.STORE


def test_vector_operations_on_one_lane(record: Record) -> None:
    g = Graph("relu")
    g.output(g.relu(g.input("x", (128, 128))), "y")
    machine = record("gemm:8x8x8").machine.with_overrides({"vector.lanes": 1})
    assert shares(run_record(g, machine))["vector"] > 0.9


def test_columns_do_not_depend_on_the_run(record: Record) -> None:
    small, large = Account.of(record("gemm:1x1x1")).table(), Account.of(record()).table()
    assert small.dtypes.to_dict() == large.dtypes.to_dict()


def test_the_schema_page_lists_every_column_in_order(record: Record) -> None:
    page = (ROOT / "docs/reports.md").read_text("utf-8")
    section = page.split("## account.csv")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.M) == list(Account.of(record()).table().columns)


def test_stretches_are_cut_where_unit_or_layer_change(record: Record) -> None:
    for a, b in pairwise(Account.of(record("gemm:96x64x80")).stretches()):
        assert a.end == b.begin and (a.lane, a.layer) != (b.lane, b.layer)


def test_a_dram_that_serves_core_after_core_is_one_stretch(record: Record) -> None:
    stretches = Account.of(record("gemm:32x512x512", "npu_32x32", "cores.count=4", *SHARED)).stretches()
    longest = max(stretches, key=lambda s: s.cycles)
    assert (longest.lane, longest.cause) == (4 * 4, Cause.DRAM_CONTENTION)
    assert longest.ops > 4
    for a, b in pairwise(stretches):
        assert a.end == b.begin and (a.lane, a.layer) != (b.lane, b.layer)


SHARED = ["dma.bytes_per_cycle=256", "dram.bandwidth=400GB/s", "dram.latency=10ns"]


def test_a_result_that_retires_behind_a_longer_one(record: Record) -> None:
    """Retirement is in order: who waits for the second product waits for the epilogue of the first."""
    g = Graph("two")
    x, w = g.input("x", (1, 32)), np.zeros((32, 32), np.float32)
    g.output(g.relu(x @ g.weight("w1", w)), "y1")
    g.output(x @ g.weight("w2", w) @ g.weight("w3", w), "y2")
    slow = {"matrix.epilogue_cycles": 1000, "compiler.order": "mnk", "dma.bytes_per_cycle": 4096}
    r = run_record(g, record("gemm:8x8x8").machine.with_overrides({**slow, "dram.bandwidth": "4096GB/s"}))
    first, second, third = np.flatnonzero(r.schedule.stream["opcode"] == Opcode.EXECUTE)
    t = r.timeline
    assert t.start[third] == t.end[second] == t.end[first] > t.done[second] + r.costs.latency[second]
    check_sums(r)
    check_stages(r)
    assert Account.of(r).total()[Cause.DEPENDENCY] == r.costs.latency[first] + r.costs.latency[third]


def test_loads_before_the_first_computation_are_not_late(record: Record) -> None:
    """The last load's latency, at the end of a chain that began at once: no dispatch would have saved it."""
    r = record("gemm:32x512x32")
    total = Account.of(r).total()
    assert total[Cause.CONTROL] == 0
    assert total[Cause.DRAM_LATENCY] == r.machine.dram_latency_cycles


def test_a_latency_that_another_load_waits_for_is_one(record: Record) -> None:
    """Two loads per matmul, one in flight: only the first of them waits for its place."""
    tiny = ("sram.bytes=12KiB", "dma.max_outstanding=1")
    share = shares(record("gemm:64x2048x64", "npu_32x32", *SLOW_DRAM, *tiny))
    assert share["dram_latency"] > 0.85 and share["sram_space"] < 0.1


def test_a_load_of_what_was_just_stored_waits_for_data_not_for_room(record: Record) -> None:
    g = Graph("through DRAM")
    w = np.zeros((32, 32), np.float32)
    g.output(g.input("x", (32, 32)) @ g.weight("w1", w) @ g.weight("w2", w), "y")
    r = run_record(g, record("gemm:8x8x8", "npu_32x32", *SLOW_DRAM, "compiler.keep_on_chip=false").machine)
    total = Account.of(r).total()
    assert total[Cause.DEPENDENCY] >= r.machine.dram_latency_cycles == 900
    assert total[Cause.SRAM_SPACE] == 0


# -- what is said of it -----------------------------------------------------------------------------------------


def test_every_meaning_fits_beside_its_cause(record: Record) -> None:
    """At 80 columns 32 are left for it."""
    for spec, *overrides in (("softmax:64x64",), ("gemm:256x64x64", "cores.count=2"), ("gemm:64x64x64",)):
        account = Account.of(record(spec, "npu_32x32", *overrides))
        assert all(0 < len(account.meaning(cause)) <= 32 for cause in Cause)


def test_on_one_core_contention_is_between_reads_and_writes(record: Record) -> None:
    one, idle = record("softmax:256x256"), record("softmax:256x256", "npu_32x32", "vector.lanes=1")
    assert one.timeline.dram_busy > 0.9 * one.timeline.cycles > 0.9 * idle.timeline.dram_busy
    assert Account.of(one).meaning(Cause.DRAM_CONTENTION) == "reads, writes share a full DRAM"
    assert Account.of(idle).meaning(Cause.DRAM_CONTENTION) == "reads, writes share the DRAM"
    four = record("gemm:256x256x256", "npu_32x32", "cores.count=4")
    assert "cores share" in Account.of(four).meaning(Cause.DRAM_CONTENTION)


def test_latency_that_hides_in_another_cause_is_shown(record: Record) -> None:
    """With little SRAM every load starts late: `dram_latency` is nothing, yet half the latency is a gain."""
    tight = ("npu_32x32", "sram.bytes=16KiB")
    slow = record("gemm:64x512x512", *tight, "dram.latency=200ns")
    fast = record("gemm:64x512x512", *tight, "dram.latency=100ns")
    account = Account.of(slow)
    hidden, gain = account.exposed_latency()[Cause.SRAM_SPACE], slow.timeline.cycles - fast.timeline.cycles
    assert gain > 0.05 * slow.timeline.cycles > account.total()[Cause.DRAM_LATENCY]
    assert hidden >= gain and hidden % 200 == 0 and hidden <= account.total()[Cause.SRAM_SPACE]
    file = io.StringIO()
    print_account(account, [], Console(file=file, width=80))
    tree = file.getvalue()
    assert re.search(rf"sram_space .*\n.*── DRAM latency +{hidden:,} ", tree)


@settings(max_examples=40, deadline=None)
@given(records())
def test_hidden_latency_is_whole_latencies_of_loads(record: RunRecord) -> None:
    account = Account.of(record)
    for cause, cycles in account.exposed_latency().items():
        assert 0 <= cycles <= account.total()[cause]
    if not record.machine.dram_latency_cycles:
        assert not any(account.exposed_latency().values())
