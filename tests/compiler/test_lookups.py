"""Rows that are looked up at run time: numpy's values, the cost of their rows, and a time that is nobody else's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.machines import machine, with_sram

import minisim as ms
from minisim._engine import Engine, EngineConfig
from minisim.compiler.example_inputs import example_inputs
from minisim.compiler.lookups import chosen_from, timed_with
from minisim.compiler.pipeline import compile_undispatched, schedule_key, tiled_graph
from minisim.errors import IndexRangeError, MinisimError, ScheduleError, ScheduleHazard, UsageError
from minisim.hwmodel.descriptors import descriptors, planes
from minisim.hwmodel.energy import accesses
from minisim.hwmodel.isa import NONE, Opcode, Queue, Schedule
from minisim.hwmodel.native import simulate_native
from minisim.hwmodel.simulate import simulate
from minisim.hwmodel.sparsity import rectangles

TYPES = ("float32", "float32", "bfloat16", "float16", "int8", "uint8", "int16", "int32", "bool")


def table_of(rows: int, width: int, dtype: str = "float32", seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if dtype == "bool":
        return rng.integers(0, 2, (rows, width)).astype(bool)
    return rng.integers(0 if dtype == "uint8" else -99, 100, (rows, width)).astype(np.float32)


def lookup(rows: int, width: int, shape: tuple[int, ...], dtype: str = "float32", data: Any = None) -> ms.Graph:
    g = ms.Graph("lookup")
    table = g.weight("table", table_of(rows, width, dtype), dtype)
    g.output(g.gather(table, g.input("ids", shape, data, dtype="int32"), name="emb"), "y")
    return g


def loads(schedule: Schedule) -> np.ndarray:
    """The transfers that gather rows, in program order."""
    found = schedule.transfers[schedule.stream["row"][schedule.stream["opcode"] == Opcode.LOAD]]
    return np.asarray(found[found["list"] != NONE])


@settings(max_examples=25)
@given(st.data())
def test_rows_are_those_of_numpy_on_any_machine(data: st.DataObject) -> None:
    """Tables of one row and ragged ones, of any type; one index and more than a tile, some twice and some negative; few
    bytes of SRAM, several cores. The event models agree on the cycles, and the counters are the energies'."""
    draw = data.draw
    rows, width = draw(st.sampled_from([1, 2, 7, 40, 300])), draw(st.sampled_from([1, 3, 16, 33, 100, 768]))
    shape = draw(st.sampled_from([(), (1,), (5,), (3, 7), (70,), (2, 1, 40)]))
    dtype = draw(st.sampled_from(TYPES))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    ids = rng.integers(-rows, rows, shape)
    keys: dict[str, Any] = {
        "cores__count": draw(st.sampled_from([1, 1, 2, 3])),
        "sram__bytes": draw(st.sampled_from([1024, 4096, 1 << 20])),
        "dma__channels": draw(st.sampled_from([1, 2])),
        "dma__dimensions": draw(st.sampled_from([1, 2, 3])),
        "dram__model": draw(st.sampled_from(["ideal", "banked"])),
    }
    on = machine(**keys)
    graph = lookup(rows, width, shape, dtype)
    result = ms.run(graph, on, inputs={"ids": ids})
    assert np.array_equal(result.outputs["y"], table_of(rows, width, dtype)[ids].astype(result.outputs["y"].dtype))
    assert simulate(result.schedule, on).cycles == result.cycles == simulate_native(result.schedule, on).cycles
    parts = -(-width // int(result.schedule.tiles["cols"][loads(result.schedule)["tile"]].max()))
    assert len(loads(result.schedule)) == ids.size * parts  # a transfer for each row: no other is read
    runtime = ms.Runtime(graph, on, result.schedule)
    runtime.set("ids", ids)
    runtime.execute()
    moved, stats = accesses(result.schedule), runtime.engine.stats
    assert (moved.sram_read.sum(), moved.dram_read.sum()) == (stats.sram_read_bytes, stats.dram_read_bytes)


@settings(max_examples=12)
@given(st.data())
def test_computed_tables_and_indices_are_waited_for(data: st.DataObject) -> None:
    """A table that the array makes, by indices that the vector unit makes, both read by others as well."""
    draw = data.draw
    rows, width, count = (draw(st.sampled_from(sizes)) for sizes in ([1, 9, 64], [4, 31, 72], [1, 20, 50]))
    g = ms.Graph("computed")
    made = g.relu(g.input("t", (rows, 24)) @ g.weight("w", table_of(24, width)))
    x = g.input("x", (count,))
    ids = g.cast(g.mul(x, 1.0), "int32")
    found = g.gather(made, g.reshape(ids, (count, 1)), name="emb")
    g.output(g.add(g.reshape(found, (count, width)), 1.0), "y")
    g.output(g.relu(made), "z")
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    cores, size = draw(st.sampled_from([1, 2, 4])), draw(st.sampled_from([16 << 10, 1 << 20]))
    on = machine(cores__count=cores, sram__bytes=size)
    t, at = rng.integers(-3, 4, (rows, 24)).astype(np.float32), rng.integers(-rows, rows, count)
    result = ms.run(g, on, inputs={"t": t, "x": at.astype(np.float32)})
    whole = np.maximum(t @ table_of(24, width), 0)
    assert np.array_equal(result.outputs["y"], whole[at] + 1) and np.array_equal(result.outputs["z"], whole)
    assert simulate(result.schedule, on).cycles == result.cycles


def without_wait(result: ms.Result, queue: Queue) -> Schedule:
    """The schedule, in which no gather waits for the last operation of a queue before it."""
    stream = result.schedule.stream.copy()
    moves = np.flatnonzero(stream["opcode"] == Opcode.LOAD)
    gathers = moves[result.schedule.transfers["list"][stream["row"][moves]] != NONE]
    assert (
        len(gathers) == 4 and (stream["wait"][gathers, queue] == (stream["queue"][: gathers[0]] == queue).sum()).all()
    )
    stream["wait"][gathers, queue] -= 1
    return result.schedule.replace(stream=stream)


def test_a_gather_that_does_not_wait_for_its_table_is_a_hazard() -> None:
    """Whichever rows it takes, all of the table counts as read: here those of the first of two tiles."""
    g = ms.Graph("early")
    g.output(g.gather(g.relu(g.input("x", (64, 32))), g.input("i", (4,), dtype="int32")), "y")
    inputs = {"x": np.ones((64, 32)), "i": np.zeros(4)}
    wrong = without_wait(ms.run(g, machine(), inputs=inputs), Queue.STORE)
    with pytest.raises(ScheduleHazard, match="STORE relu"):
        ms.run(g, machine(), inputs=inputs, schedule=wrong)


def test_a_gather_that_does_not_wait_for_its_indices_is_a_hazard() -> None:
    g = lookup(9, 8, (4,))
    wrong = without_wait(ms.run(g, machine()), Queue.LOAD)
    with pytest.raises(ScheduleHazard, match=r"LOAD ids\.by1"):
        ms.run(g, machine(), schedule=wrong)


def test_a_big_table_in_a_small_sram_costs_its_rows() -> None:
    table, ids = np.zeros((50_000, 768), np.int8), [0, 49_999, -1, 7, 7, -50_000]
    table[ids] = table_of(6, 768)
    g = ms.Graph("big")
    g.output(g.gather(g.weight("t", table, "int8"), g.input("ids", (6,), dtype="int32")), "y")
    result = ms.run(g, with_sram(machine(), 8 << 10), inputs={"ids": ids}, check=False)
    assert np.array_equal(result.outputs["y"], table[ids])
    record = result.record()
    assert int(record.costs.bytes[result.schedule.stream["opcode"] == Opcode.LOAD].sum()) == 6 * (768 + 4)


def test_time_is_that_of_the_rows_that_are_asked_for() -> None:
    """In banks of DRAM one row many times is an open row, rows far apart are not; each run's schedule is its own."""
    on = machine(dram__model="banked", dma__max_outstanding=1)
    graph, rng = lookup(5000, 256, (200,)), np.random.default_rng(0)
    same, apart = np.full(200, 17), rng.permutation(4998)[:200] + 1
    apart[:3] = 4999, -5000, -2  # the ends, from either side
    cycles = [ms.run(graph, on, inputs={"ids": ids}, numerics=False).cycles for ids in (same, apart, same)]
    assert cycles[0] == cycles[2] < 0.95 * cycles[1]
    found = [ms.run(graph, on, inputs={"ids": ids}, numerics=numerics) for ids in (same, apart) for numerics in (0, 1)]
    assert found[0].cycles == found[1].cycles and found[2].cycles == found[3].cycles
    assert len({each.schedule.digest() for each in found}) == 2
    where = rectangles(found[2].schedule).address[loads(found[2].schedule)["tile"]]
    base = int(found[2].schedule.tensors["address"][list(found[2].schedule.tensor_names).index("table")])
    assert np.array_equal((where - base) // 1024, apart % 5000)
    again = found[2].what_if("vector.lanes=64")  # of the same rows
    assert np.array_equal(rectangles(again.schedule).address[loads(again.schedule)["tile"]], where)


def test_a_schedule_is_shared_by_equal_rows_alone() -> None:
    on = machine()
    graphs = [lookup(50, 8, (3,), data=np.array(ids)) for ids in ([1, 2, 3], [1, 2, 4], [1, 2, 3])]
    keys = [schedule_key(tiled_graph(g, on), on) for g in graphs]
    assert keys[0] == keys[2] != keys[1]
    digests = [compile_undispatched(g, on).digest() for g in graphs]
    assert digests[0] == digests[2] != digests[1]


def test_rows_that_nobody_gives_are_drawn_over_the_whole_table() -> None:
    graph = lookup(5, 8, (4000,))
    assert chosen_from(graph) == {"ids": 5}
    drawn = [example_inputs(graph, seed)["ids"] for seed in (0, 0, 1)]
    assert np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[0], drawn[2])
    assert (np.abs(np.bincount(drawn[0], minlength=5) / 4000 - 0.2) < 0.03).all()
    computed = ms.Graph("computed")
    computed.output(
        computed.gather(computed.weight("t", table_of(90, 4)), computed.cast(computed.input("x", (50,)), "int32")), "y"
    )
    schedule = ms.compile_graph(computed, machine())
    moved = schedule.tiles["moved"][loads(schedule)["tile"]]
    assert len(np.unique(moved)) > 20 and ms.compile_graph(computed, machine()).digest() == schedule.digest()


def test_a_list_of_rows_is_one_descriptor_each() -> None:
    """A DMA of three dimensions joins planes that it knows to follow each other; rows by a list it does not know."""
    on = machine(dma__dimensions=3)
    schedule = timed_with(ms.compile_graph(g := lookup(50, 16, (6,)), on), g, {"ids": np.arange(6)})
    found = descriptors(schedule, rectangles(schedule), on)
    at = np.flatnonzero(schedule.stream["opcode"] == Opcode.LOAD)
    assert (found[at] == 1).all() and (planes(schedule, found)[at] == 1).all()


@pytest.mark.parametrize("wrong", [7, -8, 2**31 - 1, -(2**31)])
@pytest.mark.parametrize("numerics", [True, False])
def test_an_index_beyond_the_table_is_told(wrong: int, numerics: bool) -> None:
    with pytest.raises(
        IndexRangeError, match=rf"node 'emb' \(Gather\): index \[1, 2\] must lie in \[-7, 6\], not be {wrong}"
    ):
        ms.run(lookup(7, 4, (2, 3)), machine(), inputs={"ids": [[0, 1, -7], [6, 3, wrong]]}, numerics=numerics)


@pytest.mark.parametrize("timing", ["native", "simpy"])
def test_a_computed_index_beyond_the_table_is_told(timing: str) -> None:
    g = ms.Graph("computed")
    g.output(g.gather(g.weight("t", table_of(5, 4)), g.cast(g.input("x", (4,)), "int32"), name="emb"), "y")
    rule = r"node 'emb' \(Gather\): index 3 must lie in \[-5, 4\], not be 5"
    with pytest.raises(IndexRangeError, match=rule):
        ms.run(g, machine(), inputs={"x": [0, -5, 4, 5]}, timing=timing)
    runtime = ms.Runtime(g, machine())
    runtime.set("x", np.array([0, -5, 4, 5], np.float32))
    with pytest.raises(IndexRangeError, match=rule):
        runtime.execute()
    with pytest.raises(IndexRangeError, match=r"index \[3\] must lie in \[-5, 4\], not be 5"):
        g.evaluate({"x": np.array([0, -5, 4, 5])})


def test_mistakes_of_indices() -> None:
    g = ms.Graph("g")
    table, x = g.weight("t", table_of(5, 4)), g.input("x", (3,))
    with pytest.raises(MinisimError, match="indices must be int32, not float32"):
        g.gather(table, x)
    with pytest.raises(MinisimError, match="a scalar has no rows to be looked up"):
        g.gather(g.weight("s", np.array(1.0)), g.cast(x, "int32"))
    for wrong in ([0.5, 0, 0], [2**40, 0, 0], [0, 0]):
        for numerics in (True, False):
            with pytest.raises(UsageError, match="input 'ids'"):
                ms.run(lookup(5, 4, (3,)), machine(), inputs={"ids": wrong}, numerics=numerics)


def hostile(table: str, row: int, **columns: int) -> Schedule:
    schedule = ms.compile_graph(lookup(7, 4, (5,)), machine())
    changed = getattr(schedule, table).copy()
    for name, value in columns.items():
        changed[name][row] = value
    return schedule.replace(**{table: changed})


@pytest.mark.parametrize(
    ("table", "columns", "text"),
    [
        ("tensors", {"choices": 0}, "choices must be at least 1"),
        ("tensors", {"choices": 2**31}, "must end at or below|dtype or padded shape|bad_alloc|memory"),
        ("tensors", {"indices": 99}, "indices must be below"),
        ("tensors", {"indices": 0}, "choices must be 0"),
        ("tensors", {"indices": 2}, "its indices must be a column of 5 INT32"),
        ("tensors", {"page": 2}, "page must be 1"),
        ("tensors", {"role": 3}, "role must be 2"),
        ("tensors", {"rows": 6}, "its indices must be a column of 6 INT32"),
        ("transfers", {"list": NONE}, "list must be below"),
        ("transfers", {"list": 1}, "list must be the tile of the indices of"),
        ("transfers", {"list_sram": 2**31}, "list does not fit"),
        ("transfers", {"list_sram": 4}, "the SRAM address of list must be a multiple of 64"),
        ("transfers", {"list_sram": 0}, "list overlaps"),
    ],
)
def test_a_hostile_schedule_reads_nothing_outside(table: str, columns: dict[str, int], text: str) -> None:
    schedule = ms.compile_graph(lookup(7, 4, (5,)), machine())
    row = int(np.flatnonzero(schedule.tensors["indices"])[0])
    if table == "transfers":
        row = int(np.flatnonzero(schedule.transfers["list"] != NONE)[0])
        columns = {name: int(schedule.transfers["sram"][row]) if columns == {"list_sram": 0} else value
                   for name, value in columns.items()}  # fmt: skip
    with pytest.raises((ScheduleError, MemoryError), match=text):
        Engine(EngineConfig(schedule.sram_bytes)).load_schedule(hostile(table, row, **columns))


def test_what_is_gathered_is_not_stored() -> None:
    schedule = ms.compile_graph(lookup(7, 4, (5,)), machine())
    op = int(np.flatnonzero(schedule.stream["opcode"] == Opcode.STORE)[-1])
    stream = schedule.stream.copy()
    stream["row"][op] = int(np.flatnonzero(schedule.transfers["list"] != NONE)[0])
    with pytest.raises(ScheduleError, match="rows are gathered, not scattered"):
        Engine(EngineConfig(schedule.sram_bytes)).load_schedule(schedule.replace(stream=stream))


def test_the_text_names_the_list() -> None:
    schedule = ms.compile_graph(lookup(7, 4, (5,)), machine())
    lines = [line for line in schedule.lines() if "table.gathered[2:3,0:4]" in line and "LOAD" in line]
    assert len(lines) == 1 and " by ids.by1[0:5,0:1]@0x" in lines[0]
