"""The native event model is SimPy's twin: the same Timeline, in every column of every operation."""

from __future__ import annotations

import contextlib
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from types import FrameType

import numpy as np
import pytest
from support.pairs import differing, pair, shrunk

import minisim as ms
from minisim._engine import classify, gates, time_schedule
from minisim.errors import Deadlock, ScheduleError, ScheduleHazard, UsageError
from minisim.hwmodel.config import Machine
from minisim.hwmodel.gates import GATES
from minisim.hwmodel.isa import Schedule
from minisim.hwmodel.native import TimingMachine, simulate_native
from minisim.hwmodel.timing import simulate
from minisim.reports import Account, RunRecord

SEEDS, CHUNKS = 500, 50
"""Of CI; `python benchmarks/twin.py --count 10000` tries more."""


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_native_is_simpy_in_every_column(chunk: int) -> None:
    size = SEEDS // CHUNKS
    for seed in range(chunk * size, (chunk + 1) * size):
        schedule, machine = pair(seed)
        native = simulate(schedule, machine)
        assert not differing(native, simulate(schedule, machine, timing="simpy")), f"pair({seed})"
        native.verify(schedule)


def test_of_a_machine_that_differs_the_keys_that_it_takes_are_told() -> None:
    usual, drawn = Machine().flat(), pair(7)[1].with_overrides({"dma.gap_cycles": 2, "control.queue_depth": 1})
    tried = []

    def differs(machine: Machine) -> bool:
        tried.append(machine)
        return machine.dma.gap_cycles == 2 and machine.control.queue_depth == 1

    assert shrunk(drawn, differs) == ["dma.gap_cycles=2", "control.queue_depth=1"]
    assert len({str(machine.flat()) for machine in tried}) > 5  # of pair(7) many keys are not as usual
    assert usual["dma.gap_cycles"] != 2 and usual["control.queue_depth"] != 1


@pytest.mark.parametrize("seed", range(1000, 1010))
def test_the_accounts_are_equal(seed: int) -> None:
    schedule, machine = pair(seed)
    tables = []
    for timing in ("native", "simpy"):
        timeline = simulate(schedule, machine, timing=timing)
        record = RunRecord(schedule, timeline, machine, "random", "random", timing, 0.0, 0.0)
        tables.append(Account.of(record).table())
        assert tables[-1]["cycles_total"].iloc[-1] == timeline.cycles
    assert tables[0].equals(tables[1])


def test_the_gates_have_the_same_codes() -> None:
    assert gates() == [gate.name for gate in GATES]


class Told:
    """Every step, as an observer is told of it."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, int, int]] = []

    def on_issue(self, op: int, cycle: int) -> None:
        self.steps.append(("issue", op, cycle))

    def on_start(self, op: int, cycle: int) -> None:
        self.steps.append(("start", op, cycle))

    def on_retire(self, op: int, cycle: int) -> None:
        self.steps.append(("retire", op, cycle))


@pytest.mark.parametrize("seed", range(2000, 2020))
def test_observers_are_told_the_same(seed: int) -> None:
    schedule, machine = pair(seed)
    told = {}
    for timing in ("native", "simpy"):
        told[timing] = Told()
        simulate(schedule, machine, [told[timing]], timing=timing)
    assert told["native"].steps == told["simpy"].steps
    assert len(told["native"].steps) == 3 * len(schedule)


@pytest.mark.parametrize("settings", [{}, {"cores.count": 2, "dma.channels": 2}, {"dram.model": "banked"}])
def test_in_lockstep_the_outputs_are_the_same(settings: dict[str, object]) -> None:
    machine = ms.Machine().with_overrides(settings)
    results = [ms.run("gemm:96x70x130", machine, timing=timing) for timing in ("native", "simpy")]
    assert results[0].output_sha256 == results[1].output_sha256 != ""
    assert not differing(results[0].times, results[1].times)
    assert results[0].max_abs_error == results[1].max_abs_error


def broken(schedule: Schedule, column: str, row: int, value: int) -> Schedule:
    stream = schedule.stream.copy()
    stream[column][row] = value
    return schedule.replace(stream=stream)


def test_a_hazard_is_the_engines_with_both_operations() -> None:
    """Without its waits an EXECUTE reads tiles that are still on their way."""
    graph, machine = ms.load_model("gemm:64x64x64"), ms.Machine()
    schedule = ms.compile_graph(graph, machine)
    execute = int(np.argmax(schedule.stream["opcode"] == 2))
    stream = schedule.stream.copy()
    stream["wait"][execute] = 0
    messages = []
    for timing in ("native", "simpy"):
        with pytest.raises(ScheduleHazard) as caught:
            ms.run(graph, machine, schedule=schedule.replace(stream=stream), timing=timing)
        messages.append((str(caught.value), caught.value.op, caught.value.other, caught.value.cycle))
    assert messages[0] == messages[1]
    assert f"operation {execute}" in messages[0][0]


def test_a_deadlock_is_told_as_by_simpy() -> None:
    """The first load waits for a matmul that needs it: no compiler does that, and no schedule that verifies."""
    machine = ms.Machine()
    schedule = ms.compile_graph(ms.load_model("gemm:64x64x64"), machine)
    stream = schedule.stream.copy()
    loads = np.flatnonzero(stream["queue"] == 0)
    stream["wait"][loads[0], 2] = 1
    messages = []
    for timing in ("native", "simpy"):
        with pytest.raises(Deadlock) as caught:
            simulate(schedule.replace(stream=stream), machine, timing=timing)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("row", 10**6, "refers beyond its operand table"),
        ("core", 7, "a core that does not exist"),
        ("opcode", 9, "an opcode that does not exist"),
        ("queue", 3, "a queue of another unit"),
        ("sync", 5, "refers beyond the syncs"),
    ],
)
def test_a_reference_that_leads_nowhere_is_told(column: str, value: int, said: str) -> None:
    schedule = ms.compile_graph(ms.load_model("gemm:64x64x64"), ms.Machine())
    with pytest.raises(ScheduleError, match=f"operation 1 .*{said}"):
        simulate_native(broken(schedule, column, 1, value), ms.Machine())


def test_it_can_be_interrupted() -> None:
    """A signal is heard in the middle of the loop, which holds no lock of Python's."""
    keys = {"dram.model": "banked", "sram.bytes": "64KiB", "dma.bytes_per_cycle": 1, "dma.max_burst_beats": 1}
    machine = ms.Machine().with_overrides({**keys, "compiler.order": "mnk", "compiler.keep_on_chip": False})
    schedule = ms.compile_graph("gemm:1024x1024x512", machine)

    def seconds() -> float:
        began = time.monotonic()
        with contextlib.suppress(KeyboardInterrupt):
            simulate(schedule, machine)
        return time.monotonic() - began

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    whole = seconds()
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, whole / 5)
    try:
        assert seconds() < 0.9 * whole
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert whole > 0.1  # else the signal may have come too late to say anything


def test_threads_do_not_disturb_each_other() -> None:
    schedules = [pair(seed) for seed in range(3000, 3008)]
    expected = [simulate(*each) for each in schedules]
    with ThreadPoolExecutor(4) as pool:
        for one, other in zip(expected * 4, pool.map(lambda each: simulate(*each), schedules * 4), strict=True):
            assert not differing(one, other)


def test_equal_operations_are_one_class() -> None:
    """Of a product of whole tiles: loads of a and b, the first, middle and last steps, stores."""
    machine = ms.Machine().with_overrides({"compiler.order": "mnk", "compiler.keep_on_chip": False})
    schedule = ms.compile_graph(ms.load_model("gemm:128x128x128"), machine)
    of, first = classify(schedule, None, 1)
    assert len(first) == 5
    assert np.array_equal(of[first], np.arange(5))
    opcodes = schedule.stream["opcode"]
    assert np.array_equal(opcodes, opcodes[first][of])


def test_columns_that_do_not_fit_are_refused() -> None:
    machine = ms.Machine()
    schedule = ms.compile_graph(ms.load_model("gemm:64x64x64"), machine)
    of, first = classify(schedule, None, 1)
    takes = np.ones(6 * len(first), dtype=np.int64)
    numbers = TimingMachine.of(machine)
    with pytest.raises(UsageError, match="a row of costs for each operation"):
        time_schedule(schedule, numbers, takes[6:], of)
    for harm, said in ((0, "take time"), (-1, "take time")):
        wrong = takes.copy()
        wrong[1] = harm  # of the first class, busy
        with pytest.raises(UsageError, match=said):
            time_schedule(schedule, numbers, wrong, of)
    for planes in ([0] + [1] * (len(schedule) - 1), [len(schedule)] + [0] * (len(schedule) - 1), [1]):
        with pytest.raises(UsageError, match="operations of each descriptor"):
            time_schedule(schedule, numbers, takes, of, np.array(planes, dtype=np.uint32))
    with pytest.raises(UsageError, match="six numbers"):
        time_schedule(schedule, numbers, takes[1:], of)
    with pytest.raises(UsageError, match="a row of costs for each operation"):
        time_schedule(schedule, numbers, takes, of[1:])
