"""What the memory answers: writes apart from reads, channels side by side, and the network's limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.machines import machine
from support.pairs import pair

import minisim as ms
from minisim.hwmodel.cost import costs
from minisim.hwmodel.isa import Opcode, Queue
from minisim.hwmodel.simulate import simulate as by_simpy


@pytest.mark.parametrize("timing", ["native", "simpy"])
@pytest.mark.parametrize("model", ["ideal", "banked"])
def test_a_write_has_a_latency_of_its_own(timing: str, model: str) -> None:
    on = machine(dram__latency="50ns", dram__model=model)
    schedule = ms.compile_graph("gemm:64x32x64", on)
    stores = schedule.stream["opcode"] == Opcode.STORE
    plain = ms.simulate(schedule, on, timing=timing)
    for latency, cycles in (("0ns", 0), ("300ns", 300)):
        other = on.replace(f"dram.write_latency={latency}")
        column = on.dram.part.column_latency * on.clock.frequency if model == "banked" else 0
        own = -int(-(cycles + column) // 1)
        assert other.dram_write_latency_cycles == own
        timeline = ms.simulate(schedule, other, timing=timing)
        last = np.flatnonzero(stores)[-1]
        assert timeline.end[last] - timeline.done[last] == own
        loads = np.flatnonzero(schedule.stream["opcode"] == Opcode.LOAD)[:4]
        assert np.array_equal(timeline.end[loads], plain.end[loads])
    assert on.replace("dram.write_latency=50ns").dram_write_latency_cycles == on.dram_latency_cycles
    assert on.dram.write_latency == "latency"


def banked(channels: int, mapping: str, **keys: object) -> ms.Machine:
    """Of one rank and no refresh in sight."""
    override = f"channels={channels} ranks=1 mapping={mapping} tREFI=1000000"
    return machine(dram__model="banked", dram__override=override, **keys)


def test_channels_serve_side_by_side() -> None:
    """Two cores. Where the channel is an address's highest bits all of it lies in one, else each has its share."""
    keys = {"cores.count": 2, "dma.bytes_per_cycle": 64}
    for mapping, apart in (("chrorababgco", False), ("rorababgcoch", True)):
        one, two = (banked(n, mapping).with_overrides(keys) for n in (1, 2))
        schedule = ms.compile_graph("gemm:128x128x64", one)
        slow, fast = ms.simulate(schedule, one), ms.simulate(schedule, two)
        slow.verify(schedule)
        fast.verify(schedule)
        assert slow.answers is None and fast.answers is not None
        overlaps = overlapping(schedule, fast)
        assert (overlaps > 0) and not overlapping(schedule, slow)
        if apart:
            assert fast.dram_busy < slow.dram_busy  # each transfer is spread over both
        else:
            assert fast.cycles >= slow.cycles - 1  # all of it lies in the lower half


def overlapping(schedule: ms.Schedule, timeline: ms.Timeline) -> int:
    """Cycles for which a transfer is served while the one before it still is."""
    moves = np.flatnonzero(schedule.stream["opcode"] <= Opcode.STORE)
    moves = moves[np.argsort(timeline.dram_begin[moves], kind="stable")]
    ends = np.maximum.accumulate(timeline.dram_end[moves])
    return int(np.maximum(ends[:-1] - timeline.dram_begin[moves][1:], 0).sum())


@pytest.mark.parametrize("seed", range(5000, 5060))
def test_dram_busy_is_the_union_of_what_it_serves(seed: int) -> None:
    """Counted cycle by cycle; behind an L2 only the DRAM's own part counts, which no column has."""
    schedule, on = pair(seed)
    on = on.replace("l2.bytes=0")
    timeline = ms.simulate(schedule, on)
    busy = np.zeros(timeline.cycles + 1, dtype=bool)
    moves = schedule.stream["opcode"] <= Opcode.STORE
    for begin, end in zip(timeline.dram_begin[moves].tolist(), timeline.dram_end[moves].tolist(), strict=True):
        busy[begin:end] = True
    assert timeline.dram_busy == busy.sum()
    contention = np.zeros(len(schedule)) if timeline.answers is None else timeline.answers.contention
    assert (contention <= timeline.dram_end - timeline.dram_begin).all()


@pytest.mark.parametrize("seed", range(6000, 6040))
def test_no_link_carries_more_than_its_rate(seed: int) -> None:
    """Of any run: no more bytes arrive between two moments than the link carries since the first of them began."""
    schedule, on = pair(seed)
    on = on.replace("noc.bytes_per_cycle=6", "noc.core_bytes_per_cycle=3", "l2.bytes=0")
    timeline, size = ms.simulate(schedule, on), costs(schedule, on).bytes
    assert timeline.answers is not None
    moves = np.flatnonzero(schedule.stream["opcode"] <= Opcode.STORE)
    there = timeline.dram_end + timeline.answers.crossing
    core = schedule.stream["core"]
    for mine, rate in ((moves, 6), *((moves[core[moves] == c], 3) for c in range(schedule.cores))):
        if not len(mine):
            continue
        order = mine[np.argsort(there[mine], kind="stable")]
        begins, ends, carried = timeline.dram_begin[order], there[order], np.cumsum(size[order])
        for first in range(0, len(order), max(1, len(order) // 25)):
            since = begins[first:].min()
            sent = carried[first:] - carried[first] + size[order[first]]
            assert (sent <= rate * (ends[first:] - since)).all()
    bursts = on.dma.has_bursts
    assert bursts or (timeline.done[moves] >= there[moves]).all()


def test_a_link_that_is_wide_enough_changes_nothing() -> None:
    for seed in range(6100, 6110):
        schedule, on = pair(seed)
        on = on.replace("l2.bytes=0", "noc.bytes_per_cycle=0", "noc.core_bytes_per_cycle=0")
        plain = ms.simulate(schedule, on)
        wide = ms.simulate(schedule, on.replace("noc.bytes_per_cycle=1048576", "noc.core_bytes_per_cycle=1048576"))
        assert np.array_equal(plain.end, wide.end)
        assert wide.answers is not None and not wide.answers.crossing.any()


def test_a_core_that_is_held_up_holds_up_no_other() -> None:
    """Two bytes a cycle and core take as long as the core's own bytes; two in all, as long as both cores'."""
    on = machine(noc__core_bytes_per_cycle=2, dram__bandwidth="400GB/s", cores__count=2)
    schedule = ms.compile_graph("gemm:128x256x128", on)
    carried = np.bincount(schedule.stream["core"], costs(schedule, on).bytes, 2)
    assert carried.max() / 2 <= ms.simulate(schedule, on).cycles < 1.05 * carried.max() / 2
    shared = ms.simulate(schedule, on.replace("noc.bytes_per_cycle=2"))
    assert carried.sum() / 2 <= shared.cycles < 1.05 * carried.sum() / 2


def test_an_answer_that_comes_earlier_overtakes() -> None:
    """A hit behind a miss arrives first; in the queue it still retires behind it."""
    on = machine(l2__bytes="64KiB", dram__latency="900ns", l2__latency="0ns", compiler__order="mnk")
    on = on.replace("compiler.keep_on_chip=false", "sram.bytes=16KiB", "dma.max_outstanding=8")
    schedule = ms.compile_graph("gemm:64x64x64", on)
    timeline = by_simpy(schedule, on)
    assert timeline.answers is not None
    loads = np.flatnonzero(schedule.stream["queue"] == Queue.LOAD)
    arrival = timeline.done[loads] + timeline.answers.latency[loads]
    assert (np.diff(arrival) < 0).any()
    assert np.array_equal(timeline.end[loads], np.maximum.accumulate(arrival))


def test_verify_sees_overlaps_where_there_can_be_none() -> None:
    schedule, on = ms.compile_graph("gemm:64x64x64", ms.Machine()), ms.Machine()
    timeline = ms.simulate(schedule, on)
    op = int(np.flatnonzero(schedule.stream["opcode"] == Opcode.STORE)[-1])
    begin = timeline.dram_begin.copy()
    begin[op] = timeline.dram_begin[timeline.dram_begin > 0].min()
    with pytest.raises(AssertionError):
        replace(timeline, dram_begin=begin).verify(schedule)
