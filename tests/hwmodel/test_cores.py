"""Several cores: do they share the work, do they share the DRAM, and do they wait exactly as long as they must?"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minisim.compiler.frontend import load_model
from minisim.compiler.pipeline import compile_graph
from minisim.errors import ConfigError, ScheduleError, ScheduleHazard
from minisim.hwmodel import isa
from minisim.hwmodel.config import Machine
from minisim.hwmodel.cost import costs, roofline
from minisim.hwmodel.energy import leakage_watts
from minisim.hwmodel.isa import NONE, Opcode, Queue, Schedule
from minisim.hwmodel.timeline import WAITED_FOR
from minisim.hwmodel.timing import simulate

COUNTS = (1, 2, 4, 16)


def with_cores(machine: Machine, count: int) -> Machine:
    return machine.with_overrides({"cores.count": count})


# -- theory ----------------------------------------------------------------------------------------------

AMPLE = Machine().with_overrides(
    {"dma.bytes_per_cycle": 1024, "dram.bandwidth": "20000GB/s", "dram.latency": "5ns", "sram.bytes": "1MiB"}
)
STARVED = Machine().with_overrides({"dram.bandwidth": "1.6GB/s"})


@pytest.fixture(scope="module")
def alone() -> int:
    return simulate(compile_graph(load_model("gemm:2048x128x1024"), AMPLE), AMPLE).cycles


@pytest.mark.parametrize("count", COUNTS[1:])
def test_with_ample_memory_cores_share_the_time(count: int, alone: int) -> None:
    """What does not shrink with the share is its beginning and end: a few tiles' loads, fill, drain and stores."""
    machine = with_cores(AMPLE, count)
    schedule = compile_graph(load_model("gemm:2048x128x1024"), machine)
    cycles = simulate(schedule, machine).cycles
    bound = 2048 * 128 * 1024 / (machine.matrix.rows * machine.matrix.cols * count)
    assert bound < cycles < 1.08 * bound
    assert 0.95 * count < alone / cycles < 1.05 * count
    executes = schedule.stream["core"][schedule.stream["opcode"] == Opcode.EXECUTE]
    assert np.bincount(executes).tolist() == [len(executes) // count] * count


@pytest.mark.parametrize("count", COUNTS)
def test_a_slow_dram_is_the_bound_for_any_number_of_cores(count: int) -> None:
    machine = with_cores(STARVED, count)
    schedule = compile_graph(load_model("gemm:256x256x256"), machine)
    cycles = simulate(schedule, machine).cycles
    moved = int(costs(schedule, machine).bytes.sum())
    at_least = 4 * 3 * 256 * 256 / machine.dram_bytes_per_cycle
    assert at_least <= moved / machine.dram_bytes_per_cycle < cycles < 1.05 * moved / machine.dram_bytes_per_cycle
    one = simulate(compile_graph(load_model("gemm:256x256x256"), STARVED), STARVED).cycles
    assert cycles > 0.9 * one  # they bring SRAM along, which saves a little traffic, but no bandwidth


def test_the_roofline_has_all_cores_and_one_dram() -> None:
    one, four = (roofline(10**6, 1000, 4000, 2000, with_cores(Machine(), n)).by_unit() for n in (1, 4))
    assert four.pop("dram") == one.pop("dram")
    assert {unit: 4 * cycles for unit, cycles in four.items()} == one


def test_every_core_leaks_and_one_dram() -> None:
    one, three = (leakage_watts(with_cores(Machine(), n)) - Machine().energy.dram_idle for n in (1, 3))
    assert three == 3 * one


# -- gates -----------------------------------------------------------------------------------------------


class Program:
    """A schedule under construction, of loads and stores by any core."""

    def __init__(self, cores: int) -> None:
        self.cores = cores
        self.stream: list[tuple[object, ...]] = []
        self.syncs: list[tuple[int, int, int, int]] = []
        self.sizes: list[int] = []

    def move(self, opcode: Opcode, core: int, size: int, syncs: list[tuple[int, int, int]] | None = None) -> int:
        """Syncs: core, queue and count."""
        first = len(self.syncs) if syncs else NONE
        for i, (other, queue, count) in enumerate(syncs or [], 1):
            self.syncs.append((other, queue, i < len(syncs or []), count))
        self.stream.append((opcode, isa.QUEUE_OF[opcode], core, 0, len(self.sizes), (0,) * 4, first))
        self.sizes.append(size)
        return len(self.stream) - 1

    def schedule(self) -> Schedule:
        return Schedule(
            stream=np.array(self.stream, isa.STREAM_DTYPE),
            transfers=np.array([(i, 0, 0, NONE, NONE) for i in range(len(self.sizes))], isa.TRANSFER_DTYPE),
            matmuls=np.zeros(0, isa.MATMUL_DTYPE),
            vectors=np.zeros(0, isa.VECTOR_DTYPE),
            tiles=np.array([(0, 0, 0, 1, size // 4, 0, 0, 0, 0) for size in self.sizes], isa.TILE_DTYPE),
            tensors=np.zeros(1, isa.TENSOR_DTYPE),
            layers=np.zeros(1, isa.LAYER_DTYPE),
            tensor_names=("x",),
            layer_names=("layer",),
            layer_ops=("MatMul",),
            sram_bytes=2**31,
            syncs=np.array(self.syncs, isa.SYNC_DTYPE),
            cores=self.cores,
        )


machines = st.fixed_dictionaries(
    {
        "dma.bytes_per_cycle": st.integers(1, 40),
        "dma.setup_cycles": st.integers(0, 60),
        "dram.bandwidth": st.integers(1, 400).map(lambda tenths: f"{tenths / 10}GB/s"),
        "dram.latency": st.integers(0, 150).map(lambda ns: f"{ns}ns"),
        "control.queue_depth": st.integers(1, 6),
        "control.issue_cycles": st.integers(1, 12),
        "cores.count": st.just(4),
    }
).map(Machine().with_overrides)
sizes = st.integers(1, 300).map(lambda words: 4 * words)
many = settings(deadline=None, max_examples=40)


def service(machine: Machine, size: int) -> int:
    return math.ceil(Fraction(size) / machine.dram_bytes_per_cycle)


@many
@given(machines, st.lists(sizes, min_size=2, max_size=4), st.sampled_from([Opcode.LOAD, Opcode.STORE]))
def test_the_dram_serves_one_core_after_the_other(machine: Machine, each: list[int], opcode: Opcode) -> None:
    """All ask in one cycle: each has its own control and port, and waits for exactly the services before its own."""
    program = Program(4)
    for core, size in enumerate(each):
        program.move(opcode, core, size)
    t = simulate(program.schedule(), machine)
    ready = machine.control.issue_cycles + machine.dma.setup_cycles
    assert set(t.issue.tolist()) == {machine.control.issue_cycles}
    for i, size in enumerate(each):
        assert t.begin[i] == ready + sum(service(machine, s) for s in each[:i])
        through_port = ready + math.ceil(Fraction(size, machine.dma.bytes_per_cycle))
        assert t.done[i] == max(t.begin[i] + service(machine, size), through_port)


@many
@given(machines, sizes, sizes)
def test_a_sync_opens_when_the_other_cores_operation_retires(machine: Machine, size: int, next_size: int) -> None:
    """The second of its stores, though a third is under way; and not a cycle later."""
    program = Program(4)
    stores = [program.move(Opcode.STORE, 2, size) for _ in range(3)]
    load = program.move(Opcode.LOAD, 1, next_size, [(2, Queue.STORE, 2)])
    t = simulate(program.schedule(), machine)
    assert t.start[load] == t.end[stores[1]] > t.issue[load]
    assert WAITED_FOR[t.waited_for[load]] == "sync"


@many
@given(machines, st.permutations(range(3)), sizes)
def test_a_run_of_syncs_opens_with_the_last_of_them(machine: Machine, order: list[int], size: int) -> None:
    program = Program(4)
    stores = [program.move(Opcode.STORE, core, (core + 1) * size) for core in range(3)]
    load = program.move(Opcode.LOAD, 3, size, [(core, Queue.STORE, 1) for core in order])
    t = simulate(program.schedule(), machine)
    assert t.start[load] == max(t.end[stores])


@many
@given(machines)
def test_a_full_queue_stalls_the_control_of_its_own_core_alone(machine: Machine) -> None:
    program = Program(4)
    first = program.move(Opcode.STORE, 0, 40_000)
    blocked = program.move(Opcode.LOAD, 1, 4, [(0, Queue.STORE, 1)])
    for _ in range(machine.control.queue_depth):
        last = program.move(Opcode.LOAD, 1, 4)
    free = [program.move(Opcode.LOAD, 2, 4) for _ in range(2)]
    t = simulate(program.schedule(), machine)
    assert t.issue[last] == t.start[blocked] == t.end[first]
    assert t.issue[free].tolist() == [machine.control.issue_cycles, 2 * machine.control.issue_cycles]


# -- mistakes --------------------------------------------------------------------------------------------


def circle() -> Schedule:
    """Each of two cores waits for the other: the first for an operation that comes after it."""
    program = Program(2)
    program.move(Opcode.LOAD, 0, 4, [(1, Queue.STORE, 1)])
    program.move(Opcode.STORE, 1, 4, [(0, Queue.LOAD, 1)])
    return program.schedule()


def test_a_deadlock_names_the_cores() -> None:
    with pytest.raises(ScheduleHazard) as caught:
        simulate(circle(), with_cores(Machine(), 2))
    assert str(caught.value) == (
        "deadlock at cycle 1: operation 0 of core 0 (LOAD x[0:1,0:1] -> 0x0) waits for 1 of c1.store (retired 0); "
        "operation 1 of core 1 (STORE x[0:1,0:1] <- 0x0) waits for 1 of c0.load (retired 0)"
    )


def test_a_sync_with_a_later_operation_is_refused() -> None:
    with pytest.raises(ScheduleError, match="operation 0 waits for more STORE operations of core 1 than come before"):
        circle().verify()


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ((2, 1, 0, 1), "a sync names a core or queue that does not exist"),
        ((0, 4, 0, 1), "a sync names a core or queue that does not exist"),
        ((0, 1, 2, 1), "its `more` is not 0 or 1"),
        ((0, 1, 1, 1), "operation 1 refers beyond the syncs"),
        ((0, 1, 0, 2), "operation 1 waits for more STORE operations of core 0 than come before it"),
    ],
)
def test_malformed_syncs_are_refused(row: tuple[int, ...], text: str) -> None:
    program = Program(2)
    program.move(Opcode.STORE, 0, 4)
    program.move(Opcode.LOAD, 1, 4, [(0, Queue.STORE, 1)])
    schedule = program.schedule()
    schedule.verify()
    with pytest.raises(ScheduleError, match=text):
        schedule.replace(syncs=np.array([row], isa.SYNC_DTYPE)).verify()


def test_a_schedule_for_more_cores_than_there_are_is_refused() -> None:
    with pytest.raises(ScheduleError, match="the schedule is for 2 cores, the machine has 1"):
        simulate(Program(2).schedule(), Machine())


@pytest.mark.parametrize(("count", "rule"), [(0, "at least 1"), (65, "at most 64")])
def test_there_are_from_1_to_64_cores(count: int, rule: str) -> None:
    with pytest.raises(ConfigError, match=rf"cores\.count: must be {rule}, not {count}"):
        with_cores(Machine(), count)
