"""One port for loads and stores: with bursts, slots and places of both, it is one port indeed."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fidelity import benchmark
from support.machines import machine

from minisim.hwmodel.bursts import Descriptor
from minisim.hwmodel.isa import Opcode, Queue, Schedule
from minisim.hwmodel.simulate import simulate
from minisim.hwmodel.timeline import Timeline

fidelity = benchmark("dma")
FAST = {"dram__bandwidth": "1000TB/s", "control__queue_depth": 1000}
WIDTH = 16
aligned = st.builds(
    lambda place, beats, rows: Descriptor(place * 4096, beats * WIDTH, rows, 8192),
    st.integers(0, 5),
    st.integers(1, 60),
    st.integers(1, 4),
)
bursts = st.fixed_dictionaries(
    {
        "dma__max_burst_beats": st.sampled_from([1, 4, 16]),
        "dma__outstanding_bursts": st.sampled_from([0, 1, 2, 5]),
        "dma__request_cycles": st.integers(0, 3),
        "dma__burst_gap_cycles": st.integers(0, 2),
        "dma__beat_cycles": st.integers(1, 3),
        "dma__gap_cycles": st.integers(0, 3),
        "dram__latency": st.integers(0, 80).map(lambda ns: f"{ns}ns"),
    }
)


def timed(descriptors: list[Descriptor], stores: list[bool], **keys: Any) -> Timeline:
    """Of transfers that wait for nothing, in program order; those of `stores` are stores."""
    schedule: Schedule = fidelity.loads(descriptors)
    stream = schedule.stream.copy()
    stream["opcode"] = np.where(stores, Opcode.STORE, Opcode.LOAD)
    stream["queue"] = np.where(stores, Queue.STORE, Queue.LOAD)
    schedule = schedule.replace(stream=stream)
    t = simulate(schedule, machine(dma__bytes_per_cycle=WIDTH, **FAST, **keys))
    t.verify(schedule)
    return t


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(aligned, st.booleans()), min_size=1, max_size=12), bursts)
def test_stores_pass_a_shared_port_as_if_they_were_loads(
    transfers: list[tuple[Descriptor, bool]], keys: dict[str, Any]
) -> None:
    """Aligned ones, that nothing has to be decoded for: then all that tells them apart is whose bus it is."""
    descriptors, stores = [d for d, _ in transfers], [s for _, s in transfers]
    keys = {**keys, "dma__setup_cycles": 0, "dma__max_outstanding": 100}
    mixed = timed(descriptors, stores, dma__shared=True, **keys)
    loads = timed(descriptors, [False] * len(descriptors), **keys)
    for name in ("start", "begin", "done", "dram_begin", "dram_end"):
        assert np.array_equal(getattr(mixed, name), getattr(loads, name)), name


@settings(deadline=None, max_examples=60)
@given(
    st.tuples(aligned, st.lists(st.booleans(), min_size=1, max_size=10)),
    st.one_of(bursts, st.just({})),
    st.integers(0, 9),
)
def test_one_place_in_flight_is_one_transfer_at_a_time(
    transfers: tuple[Descriptor, list[bool]], keys: dict[str, Any], setup: int
) -> None:
    descriptor, stores = transfers
    keys = {**keys, "dma__setup_cycles": setup, "dma__max_outstanding": 1}
    t = timed([descriptor] * len(stores), stores, dma__shared=True, **keys)
    loads = timed([descriptor] * len(stores), [False] * len(stores), **keys)
    order = np.argsort(t.start)
    assert (t.start[order][1:] == t.end[order][:-1]).all()
    assert np.array_equal(np.sort(t.done), loads.done)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 40), st.integers(0, 60), st.integers(0, 9))
def test_a_slot_is_held_for_as_long_as_its_direction_takes(beats: int, latency: int, extra: int) -> None:
    """One slot: who comes after a store waits for what a store takes beyond a load, too."""
    keys = {"dma__outstanding_bursts": 1, "dma__store_burst_cycles": extra, "dma__setup_cycles": 0}
    descriptor = Descriptor(0, (beats + 3) * WIDTH)
    t = timed([descriptor] * 3, [False, True, False], dma__shared=True, dram__latency=f"{latency}ns", **keys)
    assert t.begin[1] == t.done[0] + latency
    assert t.begin[2] == t.done[1] + latency + extra
    assert (t.done - t.begin == beats + 3).all()
