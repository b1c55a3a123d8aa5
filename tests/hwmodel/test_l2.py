"""The shared L2: against a definition of its own, in closed form, and in whole runs."""

from __future__ import annotations

import math
import random
from collections import deque
from dataclasses import replace

import numpy as np
import pytest
from support.machines import machine
from support.pairs import pair

import minisim as ms
from minisim.errors import ConfigError
from minisim.hwmodel.cost import costs, rectangles
from minisim.hwmodel.delays import delays
from minisim.hwmodel.dram import Answer
from minisim.hwmodel.isa import Opcode
from minisim.hwmodel.l2 import L2, Cache, touched
from minisim.reports import RunRecord

STREAMS = 1000


def by_distance(accesses: list[tuple[int, bool]], sets: int, ways: int) -> tuple[list[tuple[bool, int]], int]:
    """Of each access whether it hits, and the dirty line that it evicts or -1; and how many lines stay dirty.

    By what LRU means, with no cache at all: a line is there if fewer than `ways` other lines of its set have been used
    since it was; and the one that leaves is the one whose last use is the `ways`-th distinct one back.
    """
    found, written = [], {}
    for i, (line, write) in enumerate(accesses):
        seen: list[int] = []  # distinct lines of the set, the last used first
        for earlier, _ in reversed(accesses[:i]):
            if earlier % sets == line % sets and earlier not in seen:
                seen.append(earlier)
        hit = line in seen[:ways]
        victim = -1
        if not hit and len(seen) >= ways and written.pop(seen[ways - 1], False):
            victim = seen[ways - 1]
        written[line] = write or (hit and written.get(line, False))
        found.append((hit, victim))
    return found, sum(written.values())


def test_a_thousand_random_streams() -> None:
    """Few lines and many, one set and many, runs and single lines, reads and writes."""
    seen = dict.fromkeys(("hits", "victims", "clean"), 0)
    for seed in range(STREAMS):
        draw = random.Random(seed)
        sets, ways = draw.choice([1, 2, 3, 8]), draw.choice([1, 2, 4, 7])
        lines, count = draw.choice([4, 12, 40]), draw.choice([10, 60, 120])
        accesses: list[tuple[int, bool]] = []
        while len(accesses) < count:
            first, write = draw.randrange(lines), draw.random() < 0.4
            accesses += [(first + i, write) for i in range(draw.choice([1, 1, 3, 9]))]
        cache = Cache(sets, ways)
        found = [cache.access(*each) for each in accesses]
        expected, dirty = by_distance(accesses, sets, ways)
        assert found == expected, f"seed {seed}"
        hits, victims = sum(hit for hit, _ in found), sum(victim >= 0 for _, victim in found)
        assert (cache.hits, cache.misses, cache.write_backs, cache.dirty) == (hits, len(found) - hits, victims, dirty)
        seen["hits"] += hits
        seen["victims"] += victims
        seen["clean"] += len(found) - hits - victims
    assert min(seen.values()) > STREAMS  # the streams do all that there is to do


@pytest.mark.parametrize("seed", range(60))
def test_lines_under_rows(seed: int) -> None:
    """Byte by byte: a line is touched if one of its bytes is moved, and whole if one row has them all."""
    draw = random.Random(seed)
    address, row_bytes, rows = draw.randrange(300), draw.randrange(1, 200), draw.randrange(1, 6)
    pitch, size = row_bytes + draw.choice([0, 0, 1, 40, 300]), draw.choice([16, 64])
    expected: list[tuple[int, bool]] = []
    runs = [range(address, address + rows * row_bytes)] if pitch == row_bytes else [
        range(address + row * pitch, address + row * pitch + row_bytes) for row in range(rows)
    ]  # fmt: skip
    for run in runs:
        for line in dict.fromkeys(byte // size for byte in run):
            if not expected or expected[-1][0] != line:
                expected.append((line, line * size in run and line * size + size - 1 in run))
    assert list(touched(address, row_bytes, rows, pitch, size)) == expected


class Recorder:
    """A DRAM that is always busy for as many cycles as it has been told, and knows what it was asked."""

    def __init__(self, takes: int) -> None:
        self.takes = takes
        self.asked: deque[tuple[list[int], list[int], int]] = deque()

    def serve(self, op: int, now: int) -> Answer:
        raise NotImplementedError

    def lines(self, op: int, reads: list[int], writes: list[int], size: int, now: int) -> Answer:
        self.asked.append((reads, writes, now))
        return Answer(now + 2, now + 2 + self.takes, 100, size * len(reads), size * len(writes))

    def counters(self) -> dict[str, int]:
        return {"dram_busy": 0}


def cached(**keys: object) -> ms.Machine:
    return machine(l2__bytes="4KiB", l2__ways=4, l2__bytes_per_cycle=32, l2__latency="7ns", **keys)


def test_transfers_in_closed_form() -> None:
    """Its port passes transfers one after the other, 32 bytes a cycle; what is not there takes as long as the DRAM."""
    on = cached(tile__m=8, tile__k=16, tile__n=16)
    schedule = ms.compile_graph(ms.load_model("gemm:8x16x64"), on)
    loads = np.flatnonzero(schedule.stream["opcode"] == Opcode.LOAD).tolist()
    first = loads[0]
    tile = schedule.transfers["tile"][schedule.stream["row"][first]]
    address, row_bytes, rows, _ = (int(column[tile]) for column in rectangles(schedule))
    size = row_bytes * rows
    for takes, by_dram in ((1000, True), (1, False)):
        dram = Recorder(takes)
        l2 = L2(dram, schedule, on)
        miss, hit = l2.serve(first, 50), l2.serve(first, 51)
        own = 50 + size // 32
        reads = list(range(address // 64 * 64, address + size, 64))
        assert list(dram.asked) == [(reads, [], 50)]
        assert miss.end == (50 + 2 + takes if by_dram else own)
        assert (miss.begin, miss.latency, miss.read, miss.written) == (50, 107, 64 * len(reads), 0)
        assert miss.contention == (2 if by_dram else 0)
        assert (hit.begin, hit.end, hit.latency, hit.behind) == (own, own + size // 32, 7, first)
        assert (hit.read, hit.written) == (0, 0)


def test_a_store_of_whole_lines_fetches_none() -> None:
    """And one that covers its lines in part fetches them; what was written goes to the DRAM when it has to leave."""
    for cols, fetched in ((16, False), (8, True)):  # rows of 64 and of 32 bytes, in lines of 64
        on = cached(tile__m=8, tile__k=16, tile__n=cols)
        schedule = ms.compile_graph(ms.load_model("gemm:8x16x64"), on)
        dram = Recorder(1)
        l2 = L2(dram, schedule, on)
        store = int(np.flatnonzero(schedule.stream["opcode"] == Opcode.STORE)[0])
        answer = l2.serve(store, 0)
        assert (answer.read > 0) == fetched and answer.latency == (107 if fetched else 7)
        assert l2.cache.dirty == 8
        for line in range(8 * 64):  # all that was in it leaves
            l2.cache.access(10**6 + line, False)
        assert (l2.cache.write_backs, l2.cache.dirty) == (8, 0)


def test_what_the_terms_of_gates_are_with_it() -> None:
    """A transfer's latency is what the memory answered, another operation's its own; both port and DRAM serve it."""
    on = cached(tile__m=8, tile__k=12, tile__n=12)
    schedule = ms.compile_graph(ms.load_model("gemm:7x50x57"), on)
    timeline, cost = ms.simulate(schedule, on), costs(schedule, on)
    found, answers = delays(cost, on, timeline), timeline.answers
    assert answers is not None and answers.contention.any() and (cost.bytes % 32).any()
    moves = cost.bytes > 0
    assert 0 < moves.sum() < len(moves) and cost.latency[~moves].all()
    assert np.array_equal(found["latency"][moves], answers.latency[moves])
    assert np.array_equal(found["latency"][~moves], cost.latency[~moves])
    assert found["l2"].tolist() == [math.ceil(size / 32) for size in cost.bytes.tolist()]
    assert np.array_equal(found["service"] + answers.contention, timeline.dram_end - timeline.dram_begin)
    assert not delays(cost, machine(), timeline)["l2"].any()


@pytest.mark.parametrize("timing", ["native", "simpy"])
def test_what_was_loaded_once_comes_from_the_l2(timing: str) -> None:
    """B of a product in row bands is loaded for each of them: with room for all of it, once from the DRAM."""
    model = ms.load_model("gemm:256x64x64")
    keys = {"sram.bytes": "24KiB", "dram.bandwidth": "4GB/s", "compiler.order": "mnk", "compiler.keep_on_chip": False}
    small = ms.Machine().with_overrides(keys)
    without = ms.run(model, small, timing=timing)
    found = ms.run(model, small.replace("l2.bytes=1MiB", "l2.bytes_per_cycle=256"), timing=timing)
    answers, counters = found.times.answers, found.times.counters
    assert answers is not None
    compulsory = 4 * (256 * 64 + 64 * 64)
    assert int(answers.read.sum()) == compulsory  # each line once
    assert int(answers.written.sum()) == counters["l2_write_backs"] == 0  # they stay
    assert counters["l2_dirty"] == 4 * 256 * 64 // 64
    assert counters["l2_misses"] == (compulsory + 4 * 256 * 64) // 64
    assert found.cycles < 0.6 * without.cycles
    assert found.record().work.read_bytes == without.record().work.read_bytes > compulsory  # what the DMA moves
    assert np.array_equal(found.outputs["c"], without.outputs["c"])


def test_the_reports_know_it() -> None:
    on = ms.Machine().with_overrides({"sram.bytes": "24KiB", "l2.bytes": "64KiB", "noc.core_bytes_per_cycle": 8})
    result = ms.run("gemm:256x64x64", on)
    record = result.record()
    tables = {name: getattr(ms.reports, name)(record) for name in ("summary", "units", "energy")}
    units = tables["units"].set_index("unit")
    answers, moved = result.times.answers, record.costs.bytes
    assert answers is not None
    assert units.loc["l2", "cycles_busy"] == int((-(-moved // 64)).sum())
    assert units.loc["noc", "cycles_busy"] == int((-(-moved // 8)).sum())
    assert units.loc["dram", "cycles_busy"] == result.times.dram_busy < units.loc["noc", "cycles_busy"]
    row = tables["summary"].iloc[0]
    assert row["dram_read_bytes"] == answers.read.sum() and row["dram_write_bytes"] == answers.written.sum()
    assert row["l2_hits"] == result.times.counters["l2_hits"] > 0
    total = tables["energy"].iloc[-1]
    assert total["dram_pj"] == 32 * (answers.read + answers.written).sum()
    assert total["noc_pj"] == 5 * moved.sum()
    assert total["l2_pj"] > 0
    assert ms.reports.Account.of(record).total()["noc"] > 0


def test_l2_energy_is_by_its_accesses() -> None:
    """At 32 KiB a byte costs 2.5 pJ, whichever way: what the DMA moves, what is fetched, and what is written back."""
    on = ms.Machine().with_overrides({"sram.bytes": "24KiB", "l2.bytes": "32KiB", "l2.ways": 8})
    result = ms.run("gemm:256x64x64", on)
    record, answers = result.record(), result.times.answers
    assert answers is not None and answers.written.any()
    passed = record.costs.bytes.sum() + answers.read.sum() + answers.written.sum()
    assert record.energy.by_component()["l2"] == 2500 * int(passed)
    without = ms.run("gemm:256x64x64", on.replace("l2.bytes=0")).record().energy.by_component()
    assert without["l2"] == without["noc"] == 0


@pytest.mark.parametrize("seed", range(4000, 4030))
def test_an_l2_that_holds_all_reads_each_line_once(seed: int) -> None:
    """Of any run: what the DRAM reads are the lines that are read before they are written whole."""
    schedule, on = pair(seed)
    on = on.replace("l2.bytes=16MiB", "l2.line_bytes=64", "l2.ways=256")
    timeline = ms.simulate(schedule, on)
    assert timeline.answers is not None
    moves = np.flatnonzero(schedule.stream["opcode"] <= Opcode.STORE)
    order = moves[np.argsort(timeline.dram_begin[moves], kind="stable")]
    tiles, there, read = rectangles(schedule), set[int](), 0
    for op in order.tolist():
        tile = schedule.transfers["tile"][schedule.stream["row"][op]]
        store = schedule.stream["opcode"][op] == Opcode.STORE
        for line, whole in touched(*(int(column[tile]) for column in tiles), 64):
            read += 64 * (line not in there and not (store and whole))
            there.add(line)
    assert int(timeline.answers.read.sum()) == read
    assert timeline.counters["l2_misses"] == len(there)
    assert timeline.answers.written.sum() == 0
    faster = costs(schedule, on).bytes.sum() / timeline.cycles
    assert faster <= on.l2.bytes_per_cycle


def test_a_run_without_answers_has_no_energy() -> None:
    on = cached()
    schedule = ms.compile_graph("gemm:8x16x64", on)
    timeline = ms.simulate(schedule, on)
    record = RunRecord(schedule, timeline, on, "m", "c", "native", 0.0, 0.0)
    assert record.energy.total > 0
    with pytest.raises(ValueError, match="pass its timeline's answers"):
        _ = replace(record, timeline=replace(timeline, answers=None)).energy


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"l2.bytes": 1000}, "l2.bytes: must be a multiple of line_bytes x ways, here 1024, not 1000"),
        ({"l2.line_bytes": 48}, "must be a power of two"),
        ({"l2.ways": 0}, "ways"),
        ({"dram.write_latency": "fast"}, "must be a time such as '60ns', or 'latency'"),
        ({"dram.write_latency": "2ms"}, "must be from 0ns to 1000000ns, or 'latency'"),
    ],
)
def test_a_memory_that_cannot_be_is_refused(keys: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ms.Machine().with_overrides(keys)
