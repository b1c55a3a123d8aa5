"""Is every timing gate tight? Blocked until t - 1, ready at t, where t is a formula over config fields.

The schedules are made by hand, a few operations each, and the machines are drawn at random. The last test
draws the schedules too: there every column of the timeline must be the greatest of its gates, no more.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minisim.errors import ScheduleHazard
from minisim.hwmodel import isa
from minisim.hwmodel.config import Machine
from minisim.hwmodel.isa import NONE, Activation, Opcode, Queue, Schedule, VectorOp
from minisim.hwmodel.sections import Vector
from minisim.hwmodel.simulate import simulate
from minisim.hwmodel.timeline import WAITED_FOR, Timeline

many = settings(deadline=None, max_examples=60)


class Program:
    """A schedule under construction: operations of any size, each with the counts it waits for by queue name."""

    def __init__(self) -> None:
        self.stream: list[tuple[Any, ...]] = []
        self.transfers: list[tuple[Any, ...]] = []
        self.matmuls: list[tuple[Any, ...]] = []
        self.vectors: list[tuple[Any, ...]] = []
        self.words: list[int] = []  # of each tile

    def load(self, size: int, **waits: int) -> int:
        return self._transfer(Opcode.LOAD, size, waits)

    def store(self, size: int, **waits: int) -> int:
        return self._transfer(Opcode.STORE, size, waits)

    def execute(
        self,
        m: int,
        k: int,
        n: int,
        *,
        bias: bool = False,
        residual: bool = False,
        activation: Activation = Activation.NONE,
        last: bool = True,
        **waits: int,
    ) -> int:
        extras = (0 if bias else NONE, 0 if residual else NONE, NONE)
        flags = (last, activation, 0, 0, 0, (0, 0, 0))
        self.matmuls.append((0, 0, 0, *extras, 0, 0, 0, 0, 0, NONE, NONE, m, k, n, 1, 0, 0.0, *flags))
        return self._emit(Opcode.EXECUTE, len(self.matmuls), waits)

    def vector(self, op: VectorOp, rows: int, cols: int, **waits: int) -> int:
        """That works through rows x cols elements; a reduction's source has its columns in a tile of its own."""
        if op.is_reduction:
            self.words.append(cols)
        source, width = (len(self.words) - 1, 1) if op.is_reduction else (0, cols)
        self.vectors.append((op, 0, 0, 0, source, *[NONE] * 3, 0, *[0] * 3, NONE, 0, NONE, rows, width, 0, 0, 0, 0))
        return self._emit(Opcode.VECTOR, len(self.vectors), waits)

    def schedule(self) -> Schedule:
        tiles = [(0, 0, 0, 1, words, 0, 0, 0, 0) for words in self.words]
        return Schedule(
            stream=np.array(self.stream, isa.STREAM_DTYPE),
            transfers=np.array(self.transfers, isa.TRANSFER_DTYPE),
            matmuls=np.array(self.matmuls, isa.MATMUL_DTYPE),
            vectors=np.array(self.vectors, isa.VECTOR_DTYPE),
            tiles=np.array(tiles or [(0, 0, 0, 1, 1, 0, 0, 0, 0)], isa.TILE_DTYPE),
            tensors=np.zeros(1, isa.TENSOR_DTYPE),
            layers=np.zeros(1, isa.LAYER_DTYPE),
            tensor_names=("x",),
            layer_names=("layer",),
            layer_ops=("MatMul",),
            sram_bytes=2**31,
        )

    def run(self, machine: Machine) -> Timeline:
        schedule = self.schedule()
        timeline = simulate(schedule, machine)
        timeline.verify(schedule)
        return timeline

    def _transfer(self, opcode: Opcode, size: int, waits: dict[str, int]) -> int:
        assert size % 4 == 0
        self.words.append(size // 4)
        self.transfers.append((len(self.words) - 1, 0, 0, NONE, NONE))
        return self._emit(opcode, len(self.transfers), waits)

    def _emit(self, opcode: Opcode, count: int, waits: dict[str, int]) -> int:
        wait = tuple(waits.pop(queue.name.lower(), 0) for queue in Queue)
        assert not waits
        self.stream.append((opcode, isa.QUEUE_OF[opcode], 0, 0, count - 1, wait, NONE))
        return len(self.stream) - 1


# -- what is drawn ---------------------------------------------------------------------------------------

FIELDS = {
    "clock.frequency": st.sampled_from(["1GHz", "400MHz", "1.7GHz"]),
    "matrix.rows": st.integers(1, 12),
    "matrix.cols": st.integers(1, 12),
    "matrix.epilogue_cycles": st.integers(1, 30),
    "vector.lanes": st.integers(1, 20),
    "vector.setup_cycles": st.integers(0, 30),
    "vector.latency_cycles": st.integers(1, 30),
    "vector.simple_cost": st.integers(1, 5),
    "vector.add_cost": st.integers(0, 5),
    "vector.mul_cost": st.integers(0, 5),
    "vector.div_cost": st.integers(1, 9),
    "vector.exp_cost": st.integers(1, 9),
    "vector.sqrt_cost": st.integers(1, 9),
    "vector.log_cost": st.integers(1, 9),
    "vector.trig_cost": st.integers(1, 9),
    "vector.erf_cost": st.integers(1, 9),
    "vector.sigmoid_cost": st.integers(1, 9),
    "vector.reduce_level_cycles": st.integers(1, 7),
    "dma.bytes_per_cycle": st.integers(1, 40),
    "dma.setup_cycles": st.integers(0, 60),
    "dma.max_outstanding": st.integers(1, 6),
    "dma.beat_cycles": st.sampled_from([1, 1, 2, 5]),
    "dram.bandwidth": st.integers(1, 400).map(lambda tenths: f"{tenths / 10}GB/s"),
    "dram.latency": st.integers(0, 150).map(lambda ns: f"{ns}ns"),
    "control.queue_depth": st.integers(1, 6),
    "control.issue_cycles": st.integers(1, 12),
    "control.launch_cycles": st.sampled_from([0, 0, 1, 40]),
}
machines = st.fixed_dictionaries(FIELDS).map(Machine().with_overrides)
any_machines = st.fixed_dictionaries({**FIELDS, "dma.shared": st.booleans()}).map(Machine().with_overrides)
sizes = st.integers(1, 300).map(lambda words: 4 * words)
dims = st.integers(1, 30)


# -- the formulas ----------------------------------------------------------------------------------------


def port(machine: Machine, size: int) -> int:
    return math.ceil(Fraction(size, machine.dma.bytes_per_cycle)) * machine.dma.beat_cycles


def service(machine: Machine, size: int) -> int:
    return math.ceil(size * machine.clock.frequency / machine.dram.bandwidth)


def dram_latency(machine: Machine) -> int:
    return math.ceil(machine.dram.latency * machine.clock.frequency)


def folds(size: int, edge: int) -> list[int]:
    """`size` cut into pieces of `edge`, the last of which may be smaller."""
    return [min(edge, size - i) for i in range(0, size, edge)]


def stream(machine: Machine, m: int, k: int, n: int) -> tuple[int, int]:
    """Setup and busy cycles: weights of a fold shift in behind the stream of the fold before."""
    heights = [k_f for _ in folds(n, machine.matrix.cols) for k_f in folds(k, machine.matrix.rows)]
    return heights[0], m + sum(max(m, k_f) for k_f in heights[1:])


COSTS = [name for name in Vector.model_fields if name.endswith("_cost")]


def lane_cycles(machine: Machine, op: VectorOp, rows: int, cols: int) -> int:
    """A reduction's lanes take the elements of one row at a time."""
    v = machine.vector
    by_class = {name.removesuffix("_cost"): getattr(v, name) or v.simple_cost for name in COSTS}
    cost = sum(by_class[name] for name in op.costs)
    if op.is_reduction:
        return rows * math.ceil(Fraction(cols, v.lanes)) * cost
    return math.ceil(Fraction(rows * cols, v.lanes)) * cost


def tree(machine: Machine, op: VectorOp, cols: int) -> int:
    """Cycles of the levels that halve the lanes' partial results until one is left."""
    levels, width = 0, min(machine.vector.lanes, cols)
    while width > 1:
        levels, width = levels + 1, math.ceil(width / 2)
    return levels * machine.vector.reduce_level_cycles if op.is_reduction else 0


def drain(machine: Machine) -> int:
    return machine.matrix.rows + machine.matrix.cols - 1


def deep(machine: Machine) -> Machine:
    """`machine` with queues and outstanding transfers that are never full."""
    return machine.with_overrides({"control.queue_depth": 1000, "dma.max_outstanding": 1000})


# -- dispatch --------------------------------------------------------------------------------------------


@many
@given(machines)
def test_dispatch_takes_issue_cycles_for_each_operation(machine: Machine) -> None:
    program = Program()
    program.load(4)
    program.execute(1, 1, 1)
    program.vector(VectorOp.ADD, 1, 1)
    program.store(4)
    issue = program.run(machine).issue
    assert issue.tolist() == [machine.control.launch_cycles + (i + 1) * machine.control.issue_cycles for i in range(4)]


@many
@given(machines, sizes)
def test_dispatch_stalls_on_a_full_queue_and_all_behind_it(machine: Machine, size: int) -> None:
    depth, pace = machine.control.queue_depth, machine.control.issue_cycles
    program = Program()
    load = program.load(size)
    first = program.execute(1, 1, 1, load=1)
    for _ in range(depth - 1):
        program.execute(1, 1, 1)
    too_many = program.execute(1, 1, 1)
    behind = program.vector(VectorOp.ADD, 1, 1)
    t = program.run(machine)
    assert t.start[first] == max(t.issue[first], t.end[load])
    assert t.issue[too_many] == max(machine.control.launch_cycles + (depth + 2) * pace, t.start[first])
    assert t.issue[behind] == t.issue[too_many] + pace


@many
@given(machines)
def test_one_place_less_in_the_queue_stalls_one_operation_earlier(machine: Machine) -> None:
    """The gate is the depth itself: the operation that just fits is dispatched while the unit is blocked."""
    depth, pace = machine.control.queue_depth, machine.control.issue_cycles
    program = Program()
    load = program.load(40_000)
    for _ in range(depth):
        last = program.execute(1, 1, 1, load=1)
    t = program.run(machine)
    assert t.issue[last] == machine.control.launch_cycles + (depth + 1) * pace < t.end[load]


# -- waits -----------------------------------------------------------------------------------------------


LOAD_BYTES, STORE_BYTES, MATMUL, VECTOR = 256, 128, (9, 5, 7), (3, 11)


def emit_any(program: Program, queue: Queue, **waits: int) -> int:
    """One operation of `queue`, of the sizes above."""
    match queue:
        case Queue.LOAD:
            return program.load(LOAD_BYTES, **waits)
        case Queue.STORE:
            return program.store(STORE_BYTES, **waits)
        case Queue.MATRIX:
            return program.execute(*MATMUL, **waits)
        case Queue.VECTOR:
            return program.vector(VectorOp.SIGMOID, *VECTOR, **waits)


@pytest.mark.parametrize(("producer", "consumer"), list(itertools.permutations(Queue, 2)))
@settings(deadline=None, max_examples=10)
@given(machine=machines, count=st.integers(1, 3))
def test_an_operation_waits_for_so_many_of_each_queue(
    producer: Queue, consumer: Queue, machine: Machine, count: int
) -> None:
    program = Program()
    before = [emit_any(program, producer) for _ in range(3)]
    waiting = emit_any(program, consumer, **{producer.name.lower(): count})
    t = program.run(deep(machine))
    awaited = t.end[before[count - 1]]
    assert t.start[waiting] == max(t.issue[waiting], awaited)
    if awaited > t.issue[waiting]:
        assert WAITED_FOR[t.waited_for[waiting]] == producer.name.lower()
    if awaited < t.issue[waiting]:
        assert t.waited_for[waiting] == 0


# -- transfers -------------------------------------------------------------------------------------------


@many
@given(machines, sizes, st.sampled_from(["load", "store"]))
def test_a_transfer_is_descriptor_then_port_or_dram_then_latency(machine: Machine, size: int, way: str) -> None:
    program = Program()
    op = getattr(program, way)(size)
    t = program.run(machine)
    start = machine.control.launch_cycles + machine.control.issue_cycles
    begin = start + machine.dma.setup_cycles
    done = begin + max(port(machine, size), service(machine, size))
    assert [t.start[op], t.begin[op], t.done[op], t.end[op]] == [start, begin, done, done + dram_latency(machine)]


@many
@given(machines, sizes, sizes)
def test_the_descriptor_is_decoded_behind_the_transfer_before(machine: Machine, first: int, second: int) -> None:
    program = Program()
    a, b = program.load(first), program.load(second)
    t = program.run(deep(machine))
    assert t.start[b] == max(t.issue[b], t.begin[a])
    assert t.begin[b] == max(t.done[a], t.start[b] + machine.dma.setup_cycles)
    assert t.done[b] == t.begin[b] + max(port(machine, second), service(machine, second))


@many
@given(machines, sizes, sizes)
def test_loads_and_stores_share_the_dram_first_come_first_served(machine: Machine, first: int, second: int) -> None:
    program = Program()
    load, store = program.load(first), program.store(second)
    t = program.run(machine)
    asks = t.start[store] + machine.dma.setup_cycles
    served = t.begin[load] + service(machine, first)
    assert t.begin[store] == max(asks, served)
    assert t.done[store] == max(t.begin[store] + service(machine, second), asks + port(machine, second))


@many
@given(machines, sizes)
def test_the_ports_of_the_two_directions_are_not_shared(machine: Machine, size: int) -> None:
    """With DRAM bandwidth to spare, a store passes beside a load that holds its port."""
    machine = machine.with_overrides({"dram.bandwidth": "1000000GB/s"})
    program = Program()
    program.load(40_000)
    store = program.store(size)
    t = program.run(machine)
    assert t.begin[store] <= t.start[store] + machine.dma.setup_cycles + 1  # the load's single DRAM cycle
    assert t.done[store] <= t.begin[store] + port(machine, size)


@many
@given(machines, st.integers(1, 3))
def test_no_more_transfers_in_flight_than_max_outstanding(machine: Machine, extra: int) -> None:
    most = machine.dma.max_outstanding
    program = Program()
    ops = [program.load(4) for _ in range(most + extra)]
    t = program.run(machine.with_overrides({"dram.latency": "1us", "control.queue_depth": 100}))
    assert (t.start[ops[:most]] < t.end[ops[0]]).all()
    for i in range(most, most + extra):
        free = max(t.issue[ops[i]], t.begin[ops[i - 1]])
        assert t.start[ops[i]] == max(free, t.end[ops[i - most]])
        assert (WAITED_FOR[t.waited_for[ops[i]]] == "outstanding") == (t.start[ops[i]] > free)


def shared(machine: Machine, **dma: Any) -> Machine:
    return machine.with_overrides({"dma.shared": True, **{f"dma.{key}": value for key, value in dma.items()}})


@many
@given(machines, sizes, sizes)
def test_a_shared_port_passes_one_direction_at_a_time(machine: Machine, first: int, second: int) -> None:
    machine = shared(machine, max_outstanding=2)
    program = Program()
    load, store = program.load(first), program.store(second)
    t = program.run(machine)
    assert t.start[store] == t.issue[store]
    assert t.begin[store] == max(t.start[store] + machine.dma.setup_cycles, t.done[load])
    assert t.done[store] == t.begin[store] + max(port(machine, second), service(machine, second))


@many
@given(machines, sizes, sizes)
def test_a_shared_engine_with_one_slot_has_one_transfer_in_flight(machine: Machine, first: int, second: int) -> None:
    program = Program()
    load, store = program.load(first), program.store(second)
    t = program.run(shared(machine, max_outstanding=1))
    assert t.start[store] == max(t.issue[store], t.end[load])
    assert (WAITED_FOR[t.waited_for[store]] == "outstanding") == (t.issue[store] < t.end[load])


@many
@given(machines)
def test_slots_are_given_to_whoever_asked_first(machine: Machine) -> None:
    """A stream of loads does not keep a store out: it gets the slot after the load that was there before it.

    With nothing to decode, a load asks for its slot as soon as the load before it has begun.
    """
    machine = shared(machine, max_outstanding=1, setup_cycles=0)
    machine = machine.with_overrides({"control.queue_depth": 100, "dram.latency": "1us"})
    program = Program()
    loads = [program.load(40_000), program.load(4)]
    store = program.store(4)
    loads += [program.load(4) for _ in range(3)]
    t = program.run(machine)
    assert t.start[store] == t.end[loads[1]]
    assert t.start[loads[2]] == t.end[store]


# -- the matrix unit -------------------------------------------------------------------------------------


@many
@given(machines, dims, dims, dims)
def test_a_matmul_streams_its_rows_once_for_each_fold(machine: Machine, m: int, k: int, n: int) -> None:
    program = Program()
    op = program.execute(m, k, n)
    t = program.run(machine)
    setup, busy = stream(machine, m, k, n)
    assert t.begin[op] == t.start[op] + setup
    assert t.done[op] == t.begin[op] + busy
    assert t.end[op] == t.done[op] + drain(machine)


@many
@given(machines, dims, dims, dims)
def test_the_first_weights_shift_in_behind_the_last_fold_before(machine: Machine, m: int, k: int, n: int) -> None:
    """Of the two weight buffers one is free when the last fold of the matmul before streams its m rows."""
    program = Program()
    a, b = program.execute(m, k, n), program.execute(m, k, n)
    t = program.run(machine)
    assert t.start[b] == max(t.issue[b], t.done[a] - m)
    assert t.begin[b] == max(t.done[a], t.start[b] + min(k, machine.matrix.rows))


@pytest.mark.parametrize(
    ("epilogue", "passes"),
    [
        ({}, False),
        ({"bias": True}, True),
        ({"residual": True}, True),
        ({"activation": Activation.RELU}, True),
        ({"activation": Activation.SIGMOID}, True),
        ({"bias": True, "activation": Activation.RELU}, True),
        ({"bias": True, "last": False}, False),
    ],
)
@settings(deadline=None, max_examples=20)
@given(machine=machines)
def test_the_last_step_passes_the_epilogue(epilogue: dict[str, Any], passes: bool, machine: Machine) -> None:
    program = Program()
    op = program.execute(3, 4, 5, **epilogue)
    t = program.run(machine)
    assert t.end[op] == t.done[op] + drain(machine) + (machine.matrix.epilogue_cycles if passes else 0)


@many
@given(machines)
def test_a_short_pipeline_does_not_overtake_a_long_one(machine: Machine) -> None:
    """Retirement is in order: the operation after an epilogue does not retire before it."""
    program = Program()
    a, b = program.execute(1, 1, 1, bias=True), program.execute(1, 1, 1)
    t = program.run(machine)
    assert t.end[b] == max(t.end[a], t.done[b] + drain(machine))


# -- the vector unit -------------------------------------------------------------------------------------


@many
@given(machines, st.sampled_from(VectorOp), dims, dims)
def test_a_vector_operation_is_start_up_then_passes_then_latency(
    machine: Machine, op: VectorOp, rows: int, cols: int
) -> None:
    program = Program()
    i = program.vector(op, rows, cols)
    t = program.run(machine)
    assert t.begin[i] == t.start[i] + machine.vector.setup_cycles
    assert t.done[i] == t.begin[i] + lane_cycles(machine, op, rows, cols)
    assert t.end[i] == t.done[i] + machine.vector.latency_cycles + tree(machine, op, cols)


@many
@given(machines, dims, dims)
def test_the_tree_of_a_reduction_delays_its_reader_and_not_the_lanes(machine: Machine, rows: int, cols: int) -> None:
    program = Program()
    a = program.vector(VectorOp.REDUCE_SUM, rows, cols)
    b = program.vector(VectorOp.REDUCE_MAX, rows, cols)
    c = program.vector(VectorOp.RELU, rows, cols, vector=1)
    t = program.run(deep(machine))
    assert t.start[b] == max(t.issue[b], t.begin[a])
    assert t.begin[b] == max(t.done[a], t.start[b] + machine.vector.setup_cycles)
    in_tree = t.done[a] + machine.vector.latency_cycles + tree(machine, VectorOp.REDUCE_SUM, cols)
    assert t.end[a] == in_tree
    assert t.start[c] == max(t.issue[c], t.begin[b], in_tree)


@many
@given(machines, dims, dims)
def test_the_start_up_hides_behind_the_vector_operation_before(machine: Machine, rows: int, cols: int) -> None:
    program = Program()
    a, b = program.vector(VectorOp.MUL, rows, cols), program.vector(VectorOp.RELU, rows, cols)
    t = program.run(machine)
    assert t.start[b] == max(t.issue[b], t.begin[a])
    assert t.begin[b] == max(t.done[a], t.start[b] + machine.vector.setup_cycles)


# -- all gates at once -----------------------------------------------------------------------------------


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """Up to 40 operations that wait for any of their predecessors."""
    program = Program()
    count = dict.fromkeys(Queue, 0)
    for _ in range(draw(st.integers(1, 40))):
        waits = {q.name.lower(): draw(st.integers(max(0, n - 3), n)) for q, n in count.items()}
        queue = draw(st.sampled_from(Queue))
        emit_any(program, queue, **waits)
        count[queue] += 1
    return program


class Gates:
    """The formulas for the operations that `emit_any` makes, over a finished timeline."""

    def __init__(self, schedule: Schedule, machine: Machine, t: Timeline) -> None:
        self.machine, self.t = machine, t
        self.queue = [Queue(q) for q in schedule.stream["queue"]]
        self.wait: list[list[int]] = schedule.stream["wait"].tolist()
        self.ops = {q: [i for i, mine in enumerate(self.queue) if mine == q] for q in Queue}
        self.place = [self.ops[q].index(i) for i, q in enumerate(self.queue)]
        self.transfers = sorted(self.ops[Queue.LOAD] + self.ops[Queue.STORE], key=lambda i: int(t.begin[i]))

    def earlier(self, i: int, steps: int = 1) -> int | None:
        """The operation so many places before `i` in its queue."""
        place = self.place[i] - steps
        return self.ops[self.queue[i]][place] if place >= 0 else None

    def is_transfer(self, i: int) -> bool:
        return self.queue[i] in (Queue.LOAD, Queue.STORE)

    def asks(self, i: int) -> int:
        """When `i` is set up, and the port or unit is free."""
        m, before = self.machine, self.earlier(i)
        setups = (m.dma.setup_cycles, m.dma.setup_cycles, stream(m, *MATMUL)[0], m.vector.setup_cycles)
        return max(int(self.t.start[i]) + setups[self.queue[i]], 0 if before is None else int(self.t.done[before]))

    def granted(self, i: int) -> int:
        """When a port that both directions share has passed the transfer before `i`, too."""
        place = self.transfers.index(i)
        if not (self.machine.dma.shared and place):
            return self.asks(i)
        return max(self.asks(i), int(self.t.done[self.transfers[place - 1]]))

    def first_stage_free(self, i: int) -> int:
        """When the operation after `i` in its queue may be set up: for a matmul, when its last fold streams."""
        if self.is_transfer(i):
            return self.granted(i)
        return int(self.t.done[i]) - MATMUL[0] if self.queue[i] == Queue.MATRIX else self.asks(i)

    def issue(self, i: int) -> int:
        before = int(self.t.issue[i - 1]) if i else self.machine.control.launch_cycles
        dispatched = before + self.machine.control.issue_cycles
        place_of = self.earlier(i, self.machine.control.queue_depth)
        return dispatched if place_of is None else max(dispatched, int(self.t.start[place_of]))

    def start(self, i: int) -> int:
        gates = [int(self.t.issue[i])]
        gates += [int(self.t.end[self.ops[q][n - 1]]) for q, n in zip(Queue, self.wait[i], strict=True) if n]
        if (before := self.earlier(i)) is not None:
            gates.append(self.first_stage_free(before))
        if self.is_transfer(i):
            gates.append(self.landed(i))
        return max(gates)

    def landed(self, i: int) -> int:
        """When so many transfers had retired that there was a slot for `i`."""
        sharing = self.transfers if self.machine.dma.shared else self.ops[self.queue[i]]
        started = sum(int(self.t.start[other]) <= int(self.t.start[i]) for other in sharing)
        retired = started - self.machine.dma.max_outstanding
        return sorted(int(self.t.end[other]) for other in sharing)[retired - 1] if retired > 0 else 0

    def begin(self, i: int) -> int:
        return max(self.granted(i), self.dram_free(i)) if self.is_transfer(i) else self.asks(i)

    def dram_free(self, i: int) -> int:
        """When the DRAM has served the transfer before `i`, which asked no later."""
        place = self.transfers.index(i)
        if not place:
            return 0
        before = self.transfers[place - 1]
        assert self.granted(before) <= self.granted(i)
        return int(self.t.begin[before]) + service(self.machine, self.size(before))

    def size(self, i: int) -> int:
        return LOAD_BYTES if self.queue[i] == Queue.LOAD else STORE_BYTES

    def done(self, i: int) -> int:
        begin = int(self.t.begin[i])
        if self.is_transfer(i):
            size = self.size(i)
            return max(begin + service(self.machine, size), self.granted(i) + port(self.machine, size))
        if self.queue[i] == Queue.MATRIX:
            return begin + stream(self.machine, *MATMUL)[1]
        return begin + lane_cycles(self.machine, VectorOp.SIGMOID, *VECTOR)

    def end(self, i: int) -> int:
        m, before = self.machine, self.earlier(i)
        latencies = (dram_latency(m), dram_latency(m), drain(m), m.vector.latency_cycles)
        retires = int(self.t.done[i]) + latencies[self.queue[i]]
        return retires if before is None else max(retires, int(self.t.end[before]))


@settings(deadline=None, max_examples=75)
@given(any_machines, programs())
def test_every_column_is_the_greatest_of_its_gates(machine: Machine, program: Program) -> None:
    schedule = program.schedule()
    t = simulate(schedule, machine)
    t.verify(schedule)
    gates = Gates(schedule, machine, t)
    for i in range(len(schedule)):
        expected = [gates.issue(i), gates.start(i), gates.begin(i), gates.done(i), gates.end(i)]
        assert [t.issue[i], t.start[i], t.begin[i], t.done[i], t.end[i]] == expected, schedule.describe(i)


# -- waiting in a circle ---------------------------------------------------------------------------------


def test_a_deadlock_names_the_operations_and_what_they_wait_for() -> None:
    program = Program()
    program.load(64, matrix=1)
    program.execute(1, 1, 1, load=1)
    pace = Machine().control.issue_cycles
    with pytest.raises(ScheduleHazard) as caught:
        program.run(Machine())
    assert str(caught.value) == (
        f"deadlock at cycle {2 * pace}: operation 0 (LOAD x[0:1,0:16] -> 0x0) waits for 1 of matrix (retired 0); "
        "operation 1 (EXECUTE x[0:1,0:16]@0x0 = x[0:1,0:16]@0x0 x x[0:1,0:16]@0x0) waits for 1 of load (retired 0)"
    )
    assert (caught.value.op, caught.value.cycle) == (0, 2 * pace)


def test_a_queue_that_fills_up_behind_a_wait_can_be_the_deadlock() -> None:
    """The load that the matmul waits for is never dispatched: control stands before the full matrix queue."""
    machine = Machine().with_overrides({"control.queue_depth": 2})
    program = Program()
    for _ in range(3):
        program.execute(1, 1, 1, load=1)
    program.load(64)
    with pytest.raises(ScheduleHazard, match=r"operation 0 \(EXECUTE .*\) waits for 1 of load \(retired 0\)$"):
        program.run(machine)


def test_an_empty_schedule_takes_no_time() -> None:
    assert Program().run(Machine()).cycles == 0
