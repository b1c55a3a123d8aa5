"""The DMA's bursts: as exact as claimed against RTL, every gate tight, never better than the hardware allows."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.fidelity import benchmark
from support.graphs import graphs
from support.machines import machine, machines_for

from minisim.compiler.frontend import load_model
from minisim.compiler.pipeline import compile_graph
from minisim.hwmodel.bursts import FEW, BurstRules, Descriptor, Rectangles, replay, slot_cycles, spans
from minisim.hwmodel.config import Machine
from minisim.hwmodel.cost import burst_rules, costs, rectangles, roofline
from minisim.hwmodel.isa import Opcode, Queue, Schedule
from minisim.hwmodel.simulate import simulate

many = settings(deadline=None, max_examples=75)


fidelity = benchmark("dma")


# -- against RTL -------------------------------------------------------------------------------------------------


def errors(predicted: list[int], cases: list[Any]) -> list[float]:
    return [abs(fidelity.error(cycles, case.truth)) for cycles, case in zip(predicted, cases, strict=True)]


def test_the_law_meets_the_rtl_to_the_cycle() -> None:
    cases = list(fidelity.cases())
    assert len(cases) == 135
    assert [case.law() for case in cases] == [case.truth for case in cases]


def test_latency_and_bandwidth_alone_do_not() -> None:
    cases = [case for case in fidelity.cases() if case.rules.outstanding == 1]
    found = errors([case.naive() for case in cases], cases)
    assert statistics.fmean(found) > 0.3
    assert max(found) > 0.85


# -- what is drawn -----------------------------------------------------------------------------------------------

rules_drawn = st.builds(
    BurstRules,
    width=st.sampled_from([1, 4, 7, 8, 64]),
    latency=st.integers(0, 120),
    max_beats=st.sampled_from([0, 1, 2, 3, 16, 256]),
    boundary=st.sampled_from([0, 64, 100, 4096]),
    outstanding=st.sampled_from([0, 1, 2, 5, 16]),
    request_cycles=st.integers(0, 4),
    beat_cycles=st.sampled_from([1, 1, 2, 3]),
    burst_gap=st.integers(0, 2),
    realign=st.booleans(),
    in_flight=st.integers(1, 4),
    decode_cycles=st.integers(0, 9),
    gap=st.integers(0, 3),
)
descriptors_drawn = st.builds(
    lambda address, row_bytes, rows, beyond: Descriptor(address, row_bytes, rows, row_bytes + beyond),
    st.integers(0, 9000),
    st.integers(1, 700),
    st.integers(1, 6),
    st.sampled_from([0, 0, 1, 64, 3000]),
)
beats = st.integers(1, 40)
latencies = st.integers(0, 200)


def alone(descriptor: Descriptor, rules: BurstRules) -> int:
    (cycles,) = replay([descriptor], rules)
    return cycles


def row(b: int, rules: BurstRules, bursts: int = 1) -> Descriptor:
    """Aligned and contiguous, of `bursts` bursts of b beats under `rules` with max_beats = b."""
    return Descriptor(0, bursts * b * rules.width)


# -- gates of a burst --------------------------------------------------------------------------------------------


@given(beats, latencies)
def test_a_burst_is_latency_then_a_beat_a_cycle(b: int, latency: int) -> None:
    rules = BurstRules(8, latency)
    assert alone(row(b, rules), rules) == latency + b


@given(beats, latencies, st.integers(1, 5), st.integers(1, 6))
def test_a_bus_that_cannot_stream_takes_its_time_for_each_beat(b: int, latency: int, beat: int, bursts: int) -> None:
    rules = BurstRules(8, latency, max_beats=b, outstanding=1, beat_cycles=beat)
    assert alone(row(b, rules, bursts), rules) == bursts * (latency + b * beat)


@given(beats, latencies, st.integers(0, 300))
def test_the_second_burst_asks_at_its_pace_and_follows_the_first(b: int, latency: int, pace: int) -> None:
    rules = BurstRules(8, latency, max_beats=b, request_cycles=pace)
    assert alone(row(b, rules, 2), rules) == latency + max(pace, b) + b


@given(beats, latencies, st.integers(1, 6), st.integers(0, 9))
def test_a_burst_waits_for_a_slot(b: int, latency: int, slots: int, pace: int) -> None:
    """The first burst beyond the slots asks in the cycle in which the first burst is answered, and not before."""
    rules = BurstRules(8, latency, max_beats=b, outstanding=slots, request_cycles=pace)
    assume(pace * slots <= latency + b)
    others = latency + (slots - 1) * max(pace, b) + b  # all answered, if none waits
    assert alone(row(b, rules, slots), rules) == others
    asked = max(latency + b, slots * pace)
    assert alone(row(b, rules, slots + 1), rules) == max(asked + latency, others) + b
    one_more = replace(rules, outstanding=slots + 1)
    assert alone(row(b, rules, slots + 1), one_more) == max(slots * pace + latency, others) + b


@given(beats, latencies, st.integers(1, 9))
def test_with_one_slot_no_latency_is_hidden(b: int, latency: int, bursts: int) -> None:
    rules = BurstRules(8, latency, max_beats=b, outstanding=1)
    assert alone(row(b, rules, bursts), rules) == bursts * (latency + b)


@given(beats, st.integers(1, 9), st.integers(0, 3))
def test_the_memory_rests_between_bursts(b: int, bursts: int, gap: int) -> None:
    rules = BurstRules(8, 10, max_beats=b, burst_gap=gap)
    assert alone(row(b, rules, bursts), rules) == 10 + bursts * b + (bursts - 1) * gap


# -- where rows are cut ------------------------------------------------------------------------------------------


def sizes(descriptor: Descriptor, rules: BurstRules) -> list[int]:
    return [burst.beats for burst in rules.split(descriptor)]


def test_a_burst_is_cut_at_its_longest_and_at_the_boundary_and_no_earlier() -> None:
    rules = BurstRules(8, 0, max_beats=16, boundary=4096)
    assert sizes(Descriptor(0, 128), rules) == [16]
    assert sizes(Descriptor(0, 129), rules) == [16, 1]
    assert sizes(Descriptor(4096 - 64, 64), rules) == [8]
    assert sizes(Descriptor(4096 - 64, 65), rules) == [8, 1]
    assert sizes(Descriptor(4096 - 64, 300), rules) == [8, 16, 14]
    assert sizes(Descriptor(4096 - 64, 300), replace(rules, max_beats=0)) == [8, 30]
    assert sizes(Descriptor(4096 - 64, 300), replace(rules, boundary=0)) == [16, 16, 6]


def test_an_unaligned_row_has_partial_beats_at_its_ends() -> None:
    rules = BurstRules(8, 0, max_beats=16)
    assert sizes(Descriptor(7, 1), rules) == [1]
    assert sizes(Descriptor(7, 2), rules) == [2]
    assert sizes(Descriptor(4, 128), rules) == [16, 1]  # the first burst begins in the beat of its first byte
    assert sizes(Descriptor(1000, 64, 2, 100), rules) == [8, 9]
    assert sizes(Descriptor(1000, 64, 2, 64), rules) == [16]  # rows without a gap are one


def test_the_shifter_is_a_cycle_late_if_it_leaves_as_many_beats_as_came_in() -> None:
    rules = BurstRules(8, 10)
    assert alone(Descriptor(4, 8), rules) == 10 + 2  # two beats in, one out
    assert alone(Descriptor(4, 4), rules) == 10 + 1 + 1  # one in, one out
    assert alone(Descriptor(0, 4), rules) == 10 + 1
    assert alone(Descriptor(4, 4), replace(rules, realign=False)) == 10 + 1


# -- gates between descriptors -----------------------------------------------------------------------------------


@given(beats, latencies, st.integers(0, 30))
def test_the_next_descriptor_asks_when_it_is_decoded(b: int, latency: int, decode: int) -> None:
    rules = BurstRules(8, latency, decode_cycles=decode, in_flight=3)
    first, second, third = replay([row(b, rules)] * 3, rules)
    assert first == latency + b
    assert second == max(decode + latency, first) + b
    assert third == max(2 * decode + latency, second) + b


@given(beats, latencies, st.integers(0, 9), st.integers(1, 4))
def test_a_descriptor_waits_until_one_in_flight_has_ended(b: int, latency: int, decode: int, most: int) -> None:
    rules = BurstRules(8, latency, decode_cycles=decode, in_flight=most)
    ends = replay([row(b, rules)] * (most + 1), rules)
    asked = max(most * decode, ends[0] + decode + 1)
    assert ends[most] == max(asked + latency, ends[most - 1]) + b


@given(beats, st.integers(0, 5))
def test_the_port_rests_between_descriptors(b: int, gap: int) -> None:
    rules = BurstRules(8, 20, gap=gap)
    assert replay([row(b, rules)] * 2, rules) == [20 + b, 20 + b + gap + b]


# -- properties --------------------------------------------------------------------------------------------------

programs = st.lists(descriptors_drawn, min_size=1, max_size=6)


def test_bursts_cover_their_rows() -> None:
    exact = 0

    @many
    @given(programs, rules_drawn)
    def covered(descriptors: list[Descriptor], rules: BurstRules) -> None:
        nonlocal exact
        for d in descriptors:
            total, rows = sum(sizes(d, rules)), d.rows if d.pitch != d.row_bytes else 1
            row_bytes = d.row_bytes * d.rows // rows
            offsets = [(d.address + i * d.pitch) % rules.width for i in range(rows)]
            least = sum(math.ceil((offset + row_bytes) / rules.width) for offset in offsets)
            cut = len(sizes(d, rules)) - rows
            assert least <= total <= least + cut  # a cut inside a beat (boundary % width > 0) carries it twice
            if rules.boundary % rules.width == 0:
                assert total == least
                exact += cut > 0  # of rows in one burst it says nothing

    covered()
    assert exact > 100  # else what is drawn asks nothing of the rule


@many
@given(programs, rules_drawn, st.integers(1, 20))
def test_a_better_dma_is_never_slower(descriptors: list[Descriptor], rules: BurstRules, more: int) -> None:
    ends = np.array(replay(descriptors, rules))
    better = [
        {"latency": rules.latency + more},
        {"request_cycles": rules.request_cycles + more},
        {"decode_cycles": rules.decode_cycles + more},
        {"gap": rules.gap + more},
        {"outstanding": max(1, rules.outstanding - more)} if rules.outstanding else {"outstanding": more},
        {"in_flight": max(1, rules.in_flight - more)},
        {"beat_cycles": rules.beat_cycles + more},
    ]
    for worse in better:
        assert (np.array(replay(descriptors, replace(rules, **worse))) >= ends).all(), worse


def columns(descriptors: list[Descriptor]) -> Rectangles:
    found = zip(*((d.address, d.row_bytes, d.rows, d.pitch) for d in descriptors), strict=True)
    return Rectangles(*(np.array(column, dtype=np.int64) for column in found))


@many
@given(programs, rules_drawn, st.integers(0, 9), st.integers(0, 3))
def test_columns_and_loop_are_one_law(
    descriptors: list[Descriptor], rules: BurstRules, row_decode: int, row_gap: int
) -> None:
    rules = replace(rules, row_decode=row_decode, row_gap=row_gap)
    descriptors = [*descriptors, *(Descriptor(8 * i, 100 + i) for i in range(FEW))]
    found = spans(columns(descriptors), rules)
    few = spans(columns(descriptors[:FEW]), rules)
    for at_once, one_by_one in zip(vars(found).values(), vars(few).values(), strict=True):
        assert at_once.dtype == one_by_one.dtype and at_once[:FEW].tolist() == one_by_one.tolist()
    assert found.cycles.tolist() == [alone(d, rules) for d in descriptors]
    assert found.beats.tolist() == [sum(sizes(d, rules)) for d in descriptors]
    assert found.bursts.tolist() == [len(sizes(d, rules)) for d in descriptors]


@many
@given(descriptors_drawn, rules_drawn)
def test_no_stream_is_faster_than_its_slots(descriptor: Descriptor, rules: BurstRules) -> None:
    """Little's law is a bound: what `cost` takes for the pace of a stream, the loop does not undercut."""
    count = 40
    pace = int(slot_cycles(spans(columns([descriptor]), rules), rules)[0])
    beats_of = sum(sizes(descriptor, rules)) * rules.beat_cycles
    slack = rules.latency + beats_of + rules.request_cycles  # what is open at the end
    assert replay([descriptor] * count, rules)[-1] >= (count - 1) * (pace - 1) - slack


# -- in the machine ----------------------------------------------------------------------------------------------

BURSTS = st.fixed_dictionaries(
    {
        "dma.max_burst_beats": st.sampled_from([0, 1, 4, 16, 256]),
        "dma.burst_boundary": st.sampled_from(["0", "64", "4KiB"]),
        "dma.outstanding_bursts": st.sampled_from([0, 1, 2, 16]),
        "dma.request_cycles": st.integers(0, 3),
        "dma.gap_cycles": st.integers(0, 5),
        "dma.store_burst_beats": st.sampled_from([0, 1, 8]),
        "dma.store_burst_cycles": st.integers(0, 4),
        "dma.beat_cycles": st.integers(1, 3),
    }
)
BURST_KEYS = {"max_burst_beats", "burst_boundary", "outstanding_bursts", "request_cycles", "store_burst_beats",
              "store_burst_cycles"}  # fmt: skip
ONE_SLOT = {"dma__max_burst_beats": 16, "dma__burst_boundary": "4KiB", "dma__outstanding_bursts": 1}


def one_load(size: int, address: int = 0) -> Schedule:
    schedule: Schedule = fidelity.loads([Descriptor(address, size)])
    return schedule


@many
@given(st.integers(1, 900).map(lambda words: 4 * words), st.integers(0, 5000), BURSTS, st.integers(5, 90))
def test_a_transfer_alone_takes_its_span(size: int, address: int, bursts: dict[str, Any], latency: int) -> None:
    m = machine(dram__bandwidth="1000TB/s", dram__latency=f"{latency}ns").with_overrides(bursts)
    assume(m.dma.has_bursts)
    t = simulate(one_load(size, address), m)
    span = alone(Descriptor(address, size), burst_rules(m, load=True))
    assert t.end[0] == t.start[0] + m.dma.setup_cycles + span


@given(st.integers(1, 64), st.integers(0, 90))
def test_with_one_slot_a_stream_of_loads_pays_each_latency(bursts: int, latency: int) -> None:
    m = machine(dram__bandwidth="1000TB/s", dram__latency=f"{latency}ns", **ONE_SLOT)
    size = bursts * 16 * m.dma.bytes_per_cycle
    t = simulate(fidelity.loads([Descriptor(0, size)] * 3), m)
    assert (t.end - t.begin).tolist() == [bursts * (latency + 16)] * 3
    assert (t.begin[1:] == t.end[:-1]).all()
    assert costs(fidelity.loads([Descriptor(0, size)]), m).busy.tolist() == [bursts * (latency + 16)]  # the estimate


def test_a_slow_dram_still_answers_a_latency_after_its_service() -> None:
    """Though the port has waited for answers, the last byte comes no sooner than DRAM and latency allow."""
    m = machine(dram__bandwidth="1GB/s", dram__latency="60ns", **ONE_SLOT)
    t = simulate(one_load(256), m)
    assert t.end[0] - t.begin[0] == 256 + 60
    fast = simulate(one_load(256), m.with_overrides({"dram.bandwidth": "100GB/s"}))
    assert fast.end[0] - fast.begin[0] == 60 + 16


@given(st.integers(0, 9), st.integers(0, 40))
def test_the_gap_holds_the_port_with_and_without_bursts(gap: int, latency: int) -> None:
    for beats_of in (0, 256):
        keys = {"dma__gap_cycles": gap, "dma__max_burst_beats": beats_of, "dma__setup_cycles": 0}
        m = machine(dram__bandwidth="1000TB/s", dram__latency=f"{latency}ns", **keys)
        t = simulate(fidelity.loads([Descriptor(0, 10 * m.dma.bytes_per_cycle)] * 3), m)
        assert (t.begin[1:] - t.begin[:-1]).tolist() == [10 + gap] * 2
        arrives = latency if beats_of else max(gap, latency)  # without bursts a transfer retires with its gap
        assert (t.end - t.begin).tolist() == [10 + arrives] * 3


def as_store(schedule: Schedule) -> Schedule:
    """The same transfers the other way."""
    stream = schedule.stream.copy()
    stream["opcode"], stream["queue"] = Opcode.STORE, Queue.STORE
    return schedule.replace(stream=stream)


@given(st.integers(1, 40), st.integers(1, 8), st.integers(0, 9), st.integers(1, 3), st.integers(0, 20))
def test_a_store_has_bursts_of_its_own(words: int, beats_of: int, extra: int, beat: int, latency: int) -> None:
    """One burst open at a time: each takes the latency, its beats, and what a store's takes beyond a load's."""
    keys = {"dma__store_burst_beats": beats_of, "dma__store_burst_cycles": extra, "dma__beat_cycles": beat}
    m = machine(dram__bandwidth="1000TB/s", dram__latency=f"{latency}ns", dma__outstanding_bursts=1, **keys)
    load = one_load(words * m.dma.bytes_per_cycle)
    bursts = math.ceil(words / beats_of)
    for schedule, cycles in (
        (load, latency + words * beat),
        (as_store(load), bursts * (latency + extra) + words * beat),
    ):
        t = simulate(schedule, m)
        assert t.end[0] - t.begin[0] == cycles


def test_loads_are_realigned_and_stores_are_not() -> None:
    schedule: Schedule = fidelity.loads([Descriptor(4, 4)] * 2)  # one beat in, one out
    stream = schedule.stream.copy()
    stream["opcode"][1], stream["queue"][1] = Opcode.STORE, Queue.STORE
    cost = costs(schedule.replace(stream=stream), machine(dma__max_burst_beats=16))
    assert cost.busy.tolist() == [2, 1]


def test_rectangles_cover_their_tensors() -> None:
    schedule = compile_graph(load_model("gemm:70x50x90"), machine(tile__m=32, tile__k=16, tile__n=24))
    found = rectangles(schedule)
    for i, tensor in enumerate(schedule.tensors):
        tiles = np.flatnonzero(schedule.tiles["tensor"] == i)
        cells: list[int] = []
        for address, row_bytes, rows, pitch in zip(*(column[tiles].tolist() for column in found), strict=True):
            cells += [address + r * pitch + c for r in range(rows) for c in range(0, row_bytes, 4)]
        base, pitch = int(tensor["address"]), int(tensor["pitch"])
        whole = [base + r * pitch + 4 * c for r in range(tensor["rows"]) for c in range(tensor["cols"])]
        assert sorted(cells) == whole


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_bursts_never_make_an_operation_cheaper(data: st.DataObject) -> None:
    graph = data.draw(graphs())
    plain = data.draw(machines_for(graph))
    schedule = compile_graph(graph, plain)
    before, after = costs(schedule, plain), costs(schedule, plain.with_overrides(data.draw(BURSTS)))
    assert (after.busy >= before.busy).all()
    assert (after.alone >= before.alone).all()
    assert (after.alone + after.latency >= before.alone + before.latency).all()
    for column in ("setup", "hold", "dram", "bytes"):
        assert np.array_equal(getattr(after, column), getattr(before, column))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_run_with_bursts_is_never_faster_at_the_same_schedule(data: st.DataObject) -> None:
    """But for the anomalies of two directions that meet at the DRAM in another order (see test_theory.py).

    Decoding takes no time here: under bursts a decoder does not wait for its port, and may be faster for that.
    """
    graph = data.draw(graphs())
    plain = data.draw(machines_for(graph)).with_overrides({"dma.setup_cycles": 0})
    limited = plain.with_overrides(data.draw(BURSTS))
    schedule = compile_graph(graph, plain)
    assert simulate(schedule, limited).cycles >= 0.98 * simulate(schedule, plain).cycles


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_model_compiled_for_bursts_stays_above_its_roofline(data: st.DataObject) -> None:
    graph = data.draw(graphs())
    m = data.draw(machines_for(graph)).with_overrides(data.draw(BURSTS))
    schedule = compile_graph(graph, m)
    timeline = simulate(schedule, m)
    timeline.verify(schedule)
    cost, opcode = costs(schedule, m), schedule.stream["opcode"]
    read, write = (int(cost.bytes[opcode == op].sum()) for op in (Opcode.LOAD, Opcode.STORE))
    lanes = int(cost.busy[opcode == Opcode.VECTOR].sum())
    assert timeline.cycles >= roofline(int(schedule.layers["macs"].sum()), lanes, read, write, m).cycles


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_without_burst_keys_a_transfer_is_its_bytes(data: st.DataObject) -> None:
    graph = data.draw(graphs())
    m = data.draw(machines_for(graph))
    schedule = compile_graph(graph, m)
    cost, moves = costs(schedule, m), schedule.stream["opcode"] <= Opcode.STORE
    assert np.array_equal(cost.busy[moves], -(-cost.bytes[moves] // m.dma.bytes_per_cycle))
    assert (cost.latency[moves] == m.dram_latency_cycles).all()
    assert not cost.lag.any()


@pytest.mark.parametrize("key", sorted(BURST_KEYS))
def test_any_burst_key_turns_bursts_on(key: str) -> None:
    assert not Machine().dma.has_bursts
    assert machine(**{f"dma__{key}": 1}).dma.has_bursts
