"""What is served first among equals (docs/timing.md): a rule of the machine, not the order of an event queue."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from simpy import Environment
from support.fidelity import benchmark
from support.pairs import differing, pair

from minisim.hwmodel.bursts import Descriptor
from minisim.hwmodel.config import Machine
from minisim.hwmodel.gates import Point
from minisim.hwmodel.isa import QUEUE_OF, Opcode, Queue
from minisim.hwmodel.simulate import simulate
from minisim.hwmodel.timeline import Timeline


class Shuffled(Environment):
    """Of events of one cycle and phase, any may come first: SimPy's serial numbers are drawn."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        drawn = random.Random(seed)
        self._eid: Iterator[int] = iter(lambda: drawn.getrandbits(60), None)  # type: ignore[assignment]


@pytest.mark.parametrize("chunk", range(6))
def test_the_order_of_the_event_queue_changes_nothing(chunk: int) -> None:
    for seed in range(3000 + chunk * 15, 3000 + (chunk + 1) * 15):
        schedule, machine = pair(seed)
        expected = simulate(schedule, machine)
        for order in (1, 2):
            shuffled = simulate(schedule, machine, env=Shuffled(order))
            assert not differing(expected, shuffled), f"pair({seed}), Shuffled({order})"


class Told:
    """All steps, in the order in which an observer is told."""

    KINDS = ("retire", "issue", "start")

    def __init__(self) -> None:
        self.steps: list[tuple[int, int, int]] = []  # cycle, kind, operation

    def on_retire(self, op: int, cycle: int) -> None:
        self.steps.append((cycle, 0, op))

    def on_issue(self, op: int, cycle: int) -> None:
        self.steps.append((cycle, 1, op))

    def on_start(self, op: int, cycle: int) -> None:
        self.steps.append((cycle, 2, op))


@pytest.mark.parametrize("seed", range(3100, 3110))
def test_observers_are_told_by_cycle_then_retire_issue_start_then_program_order(seed: int) -> None:
    schedule, machine = pair(seed)
    told, shuffled = Told(), Told()
    timeline = simulate(schedule, machine, [told])
    simulate(schedule, machine, [shuffled], env=Shuffled(seed))
    columns = (timeline.end, timeline.issue, timeline.start)
    expected = [(int(c), kind, op) for kind, column in enumerate(columns) for op, c in enumerate(column)]
    assert told.steps == shuffled.steps == sorted(expected)


# -- exact cases: transfers of one burst each, made by hand -----------------------------------------------------

PLAIN = {"dram.latency": "0ns", "dram.bandwidth": "1GB/s", "dma.bytes_per_cycle": 16, "dma.setup_cycles": 8}
SIZE = 64


def transfers(*kinds: tuple[int, Opcode], behind_the_first: bool = False, **keys: object) -> Timeline:
    """Of (core, opcode) each, in this order; all but the first may wait until the first, a load, has retired."""
    schedule = benchmark("dma").loads([Descriptor(4096 * i, SIZE) for i in range(len(kinds))])
    stream = schedule.stream.copy()
    stream["core"] = [core for core, _ in kinds]
    stream["opcode"] = [opcode for _, opcode in kinds]
    stream["queue"] = [QUEUE_OF[opcode] for _, opcode in kinds]
    if behind_the_first:
        stream["wait"][1:, Queue.LOAD] = 1
    schedule = schedule.replace(stream=stream, cores=1 + max(core for core, _ in kinds))
    machine = Machine().with_overrides(PLAIN | {key.replace("__", "."): value for key, value in keys.items()})
    timeline = simulate(schedule, machine)
    timeline.verify(schedule)
    for order in range(5):
        assert not differing(timeline, simulate(schedule, machine, env=Shuffled(order)))
    return timeline


def held(timeline: Timeline, op: int, point: Point) -> tuple[str, int]:
    """The gate of a point, and its holder."""
    return timeline.gates[timeline.gate[op, point]].name, int(timeline.holder[op, point])


@pytest.mark.parametrize("cores", [(0, 1), (1, 0), (2, 0, 1)])
def test_transfers_that_ask_the_dram_in_one_cycle_are_served_in_program_order(cores: tuple[int, ...]) -> None:
    t = transfers(*((core, Opcode.LOAD) for core in cores), cores__count=3)
    asked = t.start[0] + PLAIN["dma.setup_cycles"]
    assert (t.start == t.start[0]).all()
    assert t.dram_begin.tolist() == [asked + SIZE * i for i in range(len(cores))]
    for op in range(1, len(cores)):
        assert held(t, op, Point.BEGIN) == ("dram", op - 1)


def test_a_descriptor_takes_the_channel_that_has_been_idle_for_longest() -> None:
    """Channel 0 has just been busy; the others go by number."""
    t = transfers(*[(0, Opcode.LOAD)] * 5, behind_the_first=True, dma__channels=4)
    assert (t.start[1:] == t.end[0]).all()
    assert t.channel.tolist() == [0, 1, 2, 3, 0]
    assert [held(t, op, Point.START) for op in (1, 2, 3)] == [("after_load", 0)] * 3


def test_of_channels_that_became_idle_in_one_cycle_the_lowest_number_goes_first() -> None:
    """Under bursts a decoder is free after its setup: both in one cycle, though channel 1 was taken first."""
    t = transfers(*[(0, Opcode.LOAD)] * 5, behind_the_first=True, dma__channels=2, dma__max_burst_beats=4)
    assert t.start[1] == t.start[2] == t.end[0]
    assert t.start[3] == t.start[4] == t.end[0] + PLAIN["dma.setup_cycles"]
    assert t.channel.tolist() == [0, 1, 0, 0, 1]


@pytest.mark.parametrize("second", [Opcode.LOAD, Opcode.STORE])
def test_a_shared_port_takes_what_is_decoded_in_one_cycle_in_program_order(second: Opcode) -> None:
    third = Opcode.STORE if second == Opcode.LOAD else Opcode.LOAD
    kinds = ((0, Opcode.LOAD), (0, second), (0, third))
    t = transfers(*kinds, behind_the_first=True, dma__shared=True, dma__channels=1)
    assert t.start[1] == t.start[2] == t.end[0]
    assert t.begin[2] == t.done[1]
    assert held(t, 2, Point.READY) == ("unit", 1)


@pytest.mark.parametrize("second", [Opcode.LOAD, Opcode.STORE])
def test_a_shared_place_goes_of_one_cycle_to_the_first_in_program_order(second: Opcode) -> None:
    third = Opcode.STORE if second == Opcode.LOAD else Opcode.LOAD
    kinds = ((0, Opcode.LOAD), (0, second), (0, third))
    t = transfers(*kinds, behind_the_first=True, dma__shared=True, dma__channels=1, dma__max_outstanding=1)
    assert t.start[1] == t.end[0]
    assert t.start[2] == t.end[1]
    assert held(t, 2, Point.START) == ("place", 1)


def test_a_shared_place_goes_to_the_direction_that_has_waited_longer() -> None:
    """A load comes first in program order, but its decoder was busy when the store began to wait."""
    kinds = ((0, Opcode.LOAD), (0, Opcode.LOAD), (0, Opcode.STORE))
    t = transfers(*kinds, dma__shared=True, dma__channels=1, dma__max_outstanding=1)
    assert t.issue.tolist() == [1, 2, 3] and t.start[0] == 1
    assert t.start[2] == t.end[0] and t.start[1] == t.end[2]
