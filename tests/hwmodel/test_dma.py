"""The DMA in the machine: the law of bursts kept from transfer to transfer, channels, descriptors; every gate tight."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fidelity import benchmark
from support.graphs import graphs
from support.machines import machine, machines_for

import minisim as ms
from minisim.compiler.pipeline import compile_graph
from minisim.hwmodel.bursts import BurstRules, Descriptor, replay
from minisim.hwmodel.config import Machine
from minisim.hwmodel.cost import costs
from minisim.hwmodel.descriptors import _runs
from minisim.hwmodel.energy import operation_energy
from minisim.hwmodel.isa import Opcode, Queue, Schedule
from minisim.hwmodel.simulate import simulate
from minisim.hwmodel.timeline import WAITED_FOR, Timeline

FAST = {"dram__bandwidth": "1000TB/s", "control__queue_depth": 1000}
"""The DRAM takes one cycle for a transfer, and dispatch is no limit but for its own pace."""


fidelity = benchmark("dma")


def transfers(descriptors: list[Descriptor], load: bool = True) -> Schedule:
    schedule: Schedule = fidelity.loads(descriptors)
    if load:
        return schedule
    stream = schedule.stream.copy()
    stream["opcode"], stream["queue"] = Opcode.STORE, Queue.STORE
    return schedule.replace(stream=stream)


def timed(schedule: Schedule, m: Machine) -> Timeline:
    t = simulate(schedule, m)
    t.verify(schedule)
    return t


# -- the law, in the machine -------------------------------------------------------------------------------------

rules_drawn = st.builds(
    BurstRules,
    width=st.sampled_from([1, 4, 8, 16, 64]),
    latency=st.sampled_from([0, 1, 2, 10, 50, 200]),
    max_beats=st.sampled_from([0, 1, 2, 4, 16, 64, 256]),
    boundary=st.sampled_from([0, 64, 4096]),
    outstanding=st.sampled_from([0, 1, 2, 4, 16]),
    request_cycles=st.integers(1, 3),
    burst_gap=st.integers(0, 2),
    in_flight=st.sampled_from([1, 2, 3, 8]),
    decode_cycles=st.integers(1, 7),
    gap=st.integers(0, 3),
)
descriptors_drawn = st.builds(
    lambda address, words, rows, beyond: Descriptor(address, 4 * words, rows, 4 * (words + beyond)),
    st.integers(0, 20_000),
    st.integers(1, 200),
    st.integers(1, 5),
    st.sampled_from([0, 0, 1, 16, 700]),
)


def machine_of(rules: BurstRules) -> Machine:
    """The machine that `rules` describe; completion takes the cycle that `replay` counts after a descriptor's end."""
    return machine(
        dma__bytes_per_cycle=rules.width,
        dma__setup_cycles=rules.decode_cycles,
        dma__completion_cycles=1,
        dma__max_outstanding=rules.in_flight,
        dma__max_burst_beats=rules.max_beats,
        dma__burst_boundary=str(rules.boundary),
        dma__outstanding_bursts=rules.outstanding,
        dma__request_cycles=rules.request_cycles,
        dma__burst_gap_cycles=rules.burst_gap,
        dma__gap_cycles=rules.gap,
        dram__latency=f"{rules.latency}ns",
        **FAST,
    )


@settings(deadline=None, max_examples=60)
@given(st.lists(descriptors_drawn, min_size=1, max_size=20), rules_drawn, st.booleans())
def test_a_schedule_of_transfers_keeps_the_law_to_the_cycle(
    descriptors: list[Descriptor], rules: BurstRules, load: bool
) -> None:
    """Each transfer's last byte comes when `replay` says, whatever the ones before it have left behind."""
    m = machine_of(rules)
    t = timed(transfers(descriptors, load), m)
    first_request = int(t.start[0]) + m.dma.setup_cycles
    law = replay(descriptors, replace(rules, realign=load))
    assert (t.done + rules.latency - first_request).tolist() == law
    assert (t.end - first_request).tolist() == [end + 1 for end in law]


def test_the_machine_meets_the_rtl_in_every_row() -> None:
    cases = list(fidelity.cases())
    assert len(cases) == 135 and {case.rules.burst_gap for case in cases} == {0, 1}
    assert [case.machine() for case in cases] == [case.truth for case in cases]


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 9), st.integers(0, 99), st.integers(1, 20))
def test_a_slot_of_the_transfer_before_is_waited_for(slots: int, latency: int, beats: int) -> None:
    """A burst a transfer: transfer `slots` asks when the first one is answered, and not before."""
    keys = {"dma__outstanding_bursts": slots, "dma__setup_cycles": 0, "dma__request_cycles": 1}
    m = machine(dram__latency=f"{latency}ns", **FAST, **keys)
    t = timed(transfers([Descriptor(0, beats * m.dma.bytes_per_cycle)] * (slots + 1)), m)
    asked = int(t.dram_begin[-1])
    assert asked == max(int(t.start[-1]), int(t.dram_begin[-2]) + 1, int(t.done[0]) + latency)
    assert t.begin[-1] == max(asked, t.done[-2])


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 9), st.integers(0, 90), st.integers(1, 4))
def test_with_one_slot_a_slow_dram_serves_each_burst_after_its_request(bursts: int, latency: int, size: int) -> None:
    """1 GB/s at 1 GHz: a byte a cycle, while 16 bytes would fit a beat."""
    keys = {"dma__max_burst_beats": size, "dma__outstanding_bursts": 1}
    m = machine(dram__bandwidth="1GB/s", dram__latency=f"{latency}ns", **keys)
    t = timed(transfers([Descriptor(0, 16 * size * bursts)]), m)
    assert t.end[0] - t.begin[0] == bursts * (16 * size + latency)


@settings(deadline=None, max_examples=15)
@given(st.data())
def test_no_transfer_is_done_before_the_dram_has_served_it(data: st.DataObject) -> None:
    graph = data.draw(graphs())
    keys = {"dma.max_burst_beats": 4, "dma.outstanding_bursts": data.draw(st.sampled_from([0, 2]))}
    model = data.draw(st.sampled_from(["ideal", "banked"]))
    m = data.draw(machines_for(graph)).with_overrides({**keys, "dram.model": model, "dma.channels": 2})
    schedule = compile_graph(graph, m)
    t = timed(schedule, m)
    moves = schedule.stream["opcode"] <= Opcode.STORE
    assert (t.done >= t.dram_end)[moves].all() and (t.begin >= t.dram_begin)[moves].all()
    if model == "ideal":
        assert (t.dram_end - t.dram_begin == costs(schedule, m).dram).all()


# -- in lockstep --------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=15)
@given(st.data())
def test_what_is_timed_is_what_is_computed(data: st.DataObject) -> None:
    """In lockstep with the engine, whose hazard check follows every transfer of every channel."""
    graph = data.draw(graphs())
    keys = {
        "dma.channels": st.integers(2, 4),
        "dma.dimensions": st.integers(1, 3),
        "dma.outstanding_bursts": st.sampled_from([0, 2]),
    }
    drawn = {key: data.draw(values) for key, values in keys.items()}
    ran = ms.run(graph, data.draw(machines_for(graph)).with_overrides(drawn))
    assert ran.max_abs_error is not None


# -- channels ----------------------------------------------------------------------------------------------------

BURSTS = [{}, {"dma__max_burst_beats": 256}]


@pytest.mark.parametrize("bursts", BURSTS)
@settings(deadline=None, max_examples=20)
@given(st.integers(2, 5), st.integers(1, 60), st.integers(0, 9))
def test_so_many_transfers_pass_at_once(bursts: dict[str, Any], channels: int, beats: int, setup: int) -> None:
    """Transfer `channels` goes behind the first one, and begins when that is done."""
    m = machine(dma__channels=channels, dma__setup_cycles=setup, **FAST, **bursts)
    t = timed(transfers([Descriptor(0, (200 + beats) * m.dma.bytes_per_cycle)] * (channels + 1)), m)
    assert t.channel.tolist() == [*range(channels), 0]
    assert (t.begin[:channels] == np.maximum(t.start[:channels] + setup, t.dram_begin[:channels])).all()
    assert t.begin[channels] == t.done[0] == t.begin[0] + 200 + beats


def test_a_transfer_goes_to_the_channel_that_is_ready_first_and_retires_in_order() -> None:
    m = machine(dma__channels=2, dma__setup_cycles=0, dma__max_outstanding=1, dram__latency="40ns", **FAST)
    long, short = Descriptor(0, 500 * 16), Descriptor(0, 10 * 16)
    t = timed(transfers([long, short, short]), m)
    assert t.channel.tolist() == [0, 1, 1]
    assert t.start[2] == t.done[1] + 40 < t.done[0]  # landed: its place is free, though it has not retired
    assert WAITED_FOR[t.waited_for[2]] == "outstanding"
    assert t.end.tolist() == [t.done[0] + 40] * 3


@settings(deadline=None, max_examples=15)
@given(st.data())
def test_more_channels_never_share_a_port(data: st.DataObject) -> None:
    """The checks of `Timeline.verify`, by channel, on whole models; and with a channel all is as without the key."""
    graph = data.draw(graphs())
    keys = {"dma.channels": data.draw(st.integers(2, 4)), "dma.dimensions": data.draw(st.integers(1, 3))}
    m = data.draw(machines_for(graph)).with_overrides(keys)
    timed(compile_graph(graph, m), m)


def test_channels_share_the_dram() -> None:
    """At a byte a cycle it is all that binds: eight ports end no sooner than one."""
    schedule = transfers([Descriptor(0, 400)] * 8)
    ends = [timed(schedule, machine(dram__bandwidth="1GB/s", dma__channels=n)).dram_end[-1] for n in (1, 8)]
    assert ends[0] == ends[1] == 1 + 8 + 8 * 400  # dispatch, setup, service


# -- descriptors of one dimension --------------------------------------------------------------------------------


@pytest.mark.parametrize("bursts", BURSTS)
@settings(deadline=None, max_examples=20)
@given(st.integers(1, 9), st.integers(1, 30), st.integers(0, 40))
def test_each_row_is_decoded_behind_the_row_before(bursts: dict[str, Any], rows: int, beats: int, setup: int) -> None:
    m = machine(dma__dimensions=1, dma__setup_cycles=setup, **FAST, **bursts)
    apart = Descriptor(0, beats * 16, rows, beats * 16 + 64)
    t = timed(transfers([apart, apart]), m)
    assert t.done[0] - t.begin[0] == (rows - 1) * max(beats, setup) + beats
    decoded = int(t.start[0]) + setup + (rows - 1) * (setup if bursts else max(beats, setup))
    assert t.start[1] == max(t.issue[1], decoded)
    assert t.begin[1] == max(t.done[0], t.start[1] + setup)
    together = timed(transfers([Descriptor(0, beats * 16, rows, beats * 16)]), m)
    assert together.done[0] - together.begin[0] == rows * beats  # rows without a gap are one


def test_descriptors_are_paid_one_by_one() -> None:
    schedule = transfers([Descriptor(0, 64, 5, 128), Descriptor(0, 64, 5, 64)])
    for dimensions, each in ((1, [5, 1]), (2, [1, 1])):
        m = machine(dma__dimensions=dimensions)
        assert costs(schedule, m).descriptors.tolist() == each
        moved = costs(schedule, m).bytes * m.energy.dma_byte
        paid = operation_energy(schedule, m)["dma"] - moved
        assert paid.tolist() == [n * m.energy.dma_descriptor for n in each]


# -- descriptors of three dimensions -----------------------------------------------------------------------------


def planes(n: int, stride: int = 4096) -> Schedule:
    return transfers([Descriptor(i * stride, 64, 8, 256) for i in range(n)])


@pytest.mark.parametrize("bursts", BURSTS)
@settings(deadline=None, max_examples=20)
@given(st.integers(2, 40), st.integers(0, 200), st.integers(1, 30))
def test_a_run_of_tiles_is_decoded_and_dispatched_once(bursts: dict[str, Any], n: int, setup: int, pace: int) -> None:
    keys = {"dma__setup_cycles": setup, "dma__max_outstanding": 1, "control__issue_cycles": pace}
    m = machine(dma__dimensions=3, **{**FAST, "control__queue_depth": 1}, **bursts, **keys)
    schedule = planes(n)
    t = timed(schedule, m)
    assert (t.issue == pace).all()
    assert t.start[0] == pace and t.begin[0] == pace + setup
    assert (t.begin[1:] == t.done[:-1]).all()
    assert (t.end == t.done + m.dram_latency_cycles).all()  # each as it lands
    assert costs(schedule, m).descriptors.sum() == 1


def test_the_next_descriptor_waits_for_the_last_plane() -> None:
    m = machine(dma__dimensions=3, dma__max_outstanding=1, **FAST)
    other = transfers([*(Descriptor(i * 4096, 64, 8, 256) for i in range(5)), Descriptor(0, 4, 1, 4)])
    t = timed(other, m)
    assert costs(other, m).descriptors.tolist() == [1, 0, 0, 0, 0, 1]
    assert t.start[5] == t.end[4] > t.issue[5]
    assert WAITED_FOR[t.waited_for[5]] == "outstanding"


@pytest.mark.parametrize("bursts", BURSTS)
def test_another_channel_starts_behind_the_last_plane(bursts: dict[str, Any]) -> None:
    """A queue starts its operations in order: the second channel is free, but the first has planes to start."""
    m = machine(dma__dimensions=3, dma__channels=2, **FAST, **bursts)
    other = transfers([*(Descriptor(i * 4096, 64, 8, 256) for i in range(5)), Descriptor(0, 4, 1, 4)])
    t = timed(other, m)
    assert t.channel.tolist() == [0] * 5 + [1]
    assert t.start[5] == max(t.start[4], t.issue[5])


@pytest.mark.parametrize("breaks", ["stride", "shape", "pitch", "way", "wait", "sram"])
def test_what_ends_a_run(breaks: str) -> None:
    schedule = planes(4)
    stream, moved, tiles, tensors = (
        getattr(schedule, name).copy() for name in ("stream", "transfers", "tiles", "tensors")
    )
    match breaks:
        case "stride":
            tensors["address"][2] += 64
        case "shape":
            tiles["rows"][2] = 7
        case "pitch":
            tensors["pitch"][2] += 4
        case "way":
            stream["opcode"][2], stream["queue"][2] = Opcode.STORE, Queue.STORE
        case "wait":
            stream["wait"][2, Queue.LOAD] = 1
        case "sram":
            moved["sram"][2] = 640
    changed = schedule.replace(stream=stream, transfers=moved, tiles=tiles, tensors=tensors)
    m = machine(dma__dimensions=3)
    assert costs(schedule, m).descriptors.tolist() == [1, 0, 0, 0]
    assert costs(changed, m).descriptors.tolist()[:3] == [1, 0, 1]
    timed(changed, m)


pairs = st.lists(st.tuples(st.booleans(), st.integers(0, 2)), min_size=1, max_size=30)


@settings(deadline=None, max_examples=150)
@given(pairs)
def test_runs_are_taken_from_the_front(drawn: list[tuple[bool, int]]) -> None:
    fits, strides = np.array([f for f, _ in drawn]), np.array([[s for _, s in drawn], [0] * len(drawn)])
    stride, expected = None, []  # of the run under way
    for fit, here in drawn:
        joins = fit and stride in (None, here)
        stride = here if joins else None
        expected.append(joins)
    assert _runs(fits, strides).tolist() == expected


@settings(deadline=None, max_examples=12)
@given(st.data())
def test_more_dimensions_take_no_more_descriptors(data: st.DataObject) -> None:
    graph = data.draw(graphs())
    m = data.draw(machines_for(graph))
    schedule = compile_graph(graph, m)
    counts = []
    for dimensions in (1, 2, 3):
        changed = m.with_overrides({"dma.dimensions": dimensions, "dma.channels": data.draw(st.integers(1, 2))})
        counts.append(int(costs(schedule, changed).descriptors.sum()))
        timed(schedule, changed)
    assert counts == sorted(counts, reverse=True)
    assert counts[1] == int((schedule.stream["opcode"] <= Opcode.STORE).sum())
