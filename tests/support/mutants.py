"""Faults to break correct schedules with, one at a time, and what becomes of them.

A mutation takes a schedule and a random generator and returns a changed copy, or None where it has nothing
to change. `judge` runs a mutant as `minisim.run` would and says who caught it, if anyone had to.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

import minisim as ms
from minisim.errors import MinisimError, ScheduleError, ScheduleHazard
from minisim.hwmodel.isa import ALIGNMENT, NONE, Queue, Table
from support.accesses import Access, Checker, accesses, operand_tables, residencies
from support.graphs import Array, example, gemm, inputs_of, small_mlp, values
from support.machines import least_sram, machine, with_sram
from support.mutants_windows import WINDOW_MUTATIONS

Rng = np.random.Generator
Mutation = Callable[[ms.Schedule, Rng], ms.Schedule | None]

MUTATIONS: dict[str, Mutation] = {}


def mutation(function: Mutation) -> Mutation:
    """Decorator: the function is one kind of fault, named after it."""
    MUTATIONS[function.__name__.replace("_", " ")] = function
    return function


def _pick(rng: Rng, candidates: np.ndarray) -> int | None:
    return int(rng.choice(candidates)) if len(candidates) else None


# -- waits ------------------------------------------------------------------------------------------


def _change_wait(schedule: ms.Schedule, rng: Rng, change: Callable[[int], int]) -> ms.Schedule | None:
    stream = schedule.stream.copy()
    places = np.argwhere(stream["wait"] > 0)
    if not len(places):
        return None
    op, queue = rng.choice(places)
    stream["wait"][op, queue] = change(int(stream["wait"][op, queue]))
    return schedule.replace(stream=stream)


@mutation
def drop_wait(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    return _change_wait(schedule, rng, lambda count: 0)


@mutation
def lower_wait_by_one(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    return _change_wait(schedule, rng, lambda count: count - 1)


@mutation
def lower_wait(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    return _change_wait(schedule, rng, lambda count: int(rng.integers(count)))


@mutation
def raise_wait(schedule: ms.Schedule, rng: Rng) -> ms.Schedule:
    """Any wait of any operation: legal, or for operations to come, or for more than there are."""
    stream = schedule.stream.copy()
    op, queue = rng.integers(len(stream)), rng.integers(len(Queue))
    stream["wait"][op, queue] += rng.integers(1, 2 + int((stream["queue"] == queue).sum()))
    return schedule.replace(stream=stream)


# -- syncs ------------------------------------------------------------------------------------------


@mutation
def drop_syncs(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    """An operation waits for no other core."""
    op = _pick(rng, np.flatnonzero(schedule.stream["sync"] != NONE))
    if op is None:
        return None
    stream = schedule.stream.copy()
    stream["sync"][op] = NONE
    return schedule.replace(stream=stream)


@mutation
def shorten_syncs(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    """It forgets some of the cores that it waits for."""
    row = _pick(rng, np.flatnonzero(schedule.syncs["more"]))
    return None if row is None else _change(schedule, "syncs", row, "more", 0)


@mutation
def lower_sync(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    row = _pick(rng, np.arange(len(schedule.syncs)))
    if row is None:
        return None
    count = int(schedule.syncs["count"][row])
    return _change(schedule, "syncs", row, "count", count - 1 if rng.random() < 0.7 else int(rng.integers(count)))


@mutation
def change_sync(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    """To another queue, another core, or a count that may be beyond what comes before."""
    row = _pick(rng, np.arange(len(schedule.syncs)))
    if row is None:
        return None
    column, limit = [("queue", len(Queue)), ("core", schedule.cores), ("count", 100)][rng.integers(3)]
    return _change(schedule, "syncs", row, column, int(rng.integers(limit)))


@mutation
def exchange_syncs(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    """Two operations wait for what the other should."""
    ops = np.flatnonzero(schedule.stream["sync"] != NONE)
    if len(ops) < 2:
        return None
    pair = rng.choice(ops, 2, replace=False)
    stream = schedule.stream.copy()
    stream["sync"][pair] = stream["sync"][pair[::-1]]
    return schedule.replace(stream=stream)


@mutation
def move_operation_to_another_core(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    """With all its addresses and waits; nobody else knows."""
    if schedule.cores == 1:
        return None
    op = int(rng.integers(len(schedule)))
    stream = schedule.stream.copy()
    stream["core"][op] = (int(stream["core"][op]) + int(rng.integers(1, schedule.cores))) % schedule.cores
    return schedule.replace(stream=stream)


# -- order ------------------------------------------------------------------------------------------


def _swap(schedule: ms.Schedule, first: int, second: int, *, with_waits: bool) -> ms.Schedule:
    stream = schedule.stream.copy()
    stream[[first, second]] = stream[[second, first]]
    if not with_waits:
        stream["wait"][[first, second]] = stream["wait"][[second, first]]
    return schedule.replace(stream=stream)


def _swap_in_queue(schedule: ms.Schedule, rng: Rng, *, adjacent: bool, with_waits: bool) -> ms.Schedule | None:
    mine = np.flatnonzero(schedule.stream["queue"] == schedule.stream["queue"][rng.integers(len(schedule))])
    if len(mine) < 2:
        return None
    if adjacent:
        first = int(rng.integers(len(mine) - 1))
        return _swap(schedule, int(mine[first]), int(mine[first + 1]), with_waits=with_waits)
    first, second = rng.choice(mine, 2, replace=False)
    return _swap(schedule, int(first), int(second), with_waits=with_waits)


@mutation
def swap_adjacent_with_waits(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    return _swap_in_queue(schedule, rng, adjacent=True, with_waits=True)


@mutation
def swap_adjacent_under_waits(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    return _swap_in_queue(schedule, rng, adjacent=True, with_waits=False)


@mutation
def swap_distant_with_waits(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    return _swap_in_queue(schedule, rng, adjacent=False, with_waits=True)


@mutation
def swap_distant_under_waits(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    return _swap_in_queue(schedule, rng, adjacent=False, with_waits=False)


@mutation
def swap_across_queues(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    """Neighbours in the program that are in different queues: often harmless."""
    queue = schedule.stream["queue"]
    first = _pick(rng, np.flatnonzero(queue[1:] != queue[:-1]))
    return None if first is None else _swap(schedule, first, first + 1, with_waits=True)


def _count_without(schedule: ms.Schedule, op: int, change: int) -> np.ndarray:
    """The waits of a stream in which `op` is there once more (+1), or no more (-1)."""
    wait = schedule.stream["wait"].astype(np.int64)
    queue = schedule.stream["queue"][op]
    position = int((schedule.stream["queue"][:op] == queue).sum())
    wait[:, queue] += np.where(wait[:, queue] > position, change, 0)
    return wait


@mutation
def drop_operation(schedule: ms.Schedule, rng: Rng) -> ms.Schedule:
    """As if it had never been there: later waits count one less."""
    op = int(rng.integers(len(schedule)))
    stream = schedule.stream.copy()
    stream["wait"] = _count_without(schedule, op, -1)
    return schedule.replace(stream=np.delete(stream, op))


@mutation
def drop_operation_under_waits(schedule: ms.Schedule, rng: Rng) -> ms.Schedule:
    return schedule.replace(stream=np.delete(schedule.stream, int(rng.integers(len(schedule)))))


@mutation
def duplicate_operation(schedule: ms.Schedule, rng: Rng) -> ms.Schedule:
    """Right behind itself; later waits count one more."""
    op = int(rng.integers(len(schedule)))
    stream = schedule.stream.copy()
    stream["wait"] = _count_without(schedule, op, 1)
    return schedule.replace(stream=np.insert(stream, op + 1, stream[op]))


@mutation
def duplicate_operation_elsewhere(schedule: ms.Schedule, rng: Rng) -> ms.Schedule:
    """Anywhere behind itself, and nobody counts it."""
    op = int(rng.integers(len(schedule)))
    place = int(rng.integers(op + 1, len(schedule) + 1))
    return schedule.replace(stream=np.insert(schedule.stream, place, schedule.stream[op]))


# -- addresses --------------------------------------------------------------------------------------


def _readdressed(schedule: ms.Schedule, moves: list[tuple[Access, int]]) -> ms.Schedule:
    tables = operand_tables(schedule)
    for access, address in moves:
        tables[access.table][access.field][access.row] = address
    return schedule.replace(**tables)


def _in_sram(schedule: ms.Schedule) -> list[Access]:
    return [access for access in accesses(schedule) if access.address >= 0]


def _swap_addresses(schedule: ms.Schedule, rng: Rng, candidates: list[Access]) -> ms.Schedule | None:
    """Of two of `candidates` that have different ones."""
    if not candidates:
        return None
    first = candidates[rng.integers(len(candidates))]
    others = [a for a in candidates if a.address != first.address]
    if not others:
        return None
    second = others[rng.integers(len(others))]
    return _readdressed(schedule, [(first, second.address), (second, first.address)])


@mutation
def swap_addresses_of_two_loads(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    loads = [a for a in _in_sram(schedule) if a.table == "transfers" and a.writes]
    return _swap_addresses(schedule, rng, loads)


@mutation
def swap_addresses_in_one_operation(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    operands = [a for a in _in_sram(schedule) if a.table != "transfers"]
    op = operands[rng.integers(len(operands))].op if operands else -1
    return _swap_addresses(schedule, rng, [a for a in operands if a.op == op])


@mutation
def swap_addresses_of_any_two(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    return _swap_addresses(schedule, rng, _in_sram(schedule))


@mutation
def move_one_address(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    """By a granule up or down, or to anywhere."""
    operands = _in_sram(schedule)
    access = operands[rng.integers(len(operands))]
    anywhere = int(rng.integers(schedule.sram_bytes // ALIGNMENT)) * ALIGNMENT
    address = int(rng.choice([access.address + ALIGNMENT, abs(access.address - ALIGNMENT), anywhere]))
    return _readdressed(schedule, [(access, address)])


@mutation
def move_onto_a_live_tile(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    """A tile and all who use it move onto the place of one that is still in use: a lifetime too short."""
    stays = residencies(schedule)
    pairs = [
        (old, new) for old in stays for new in stays if old.first < new.first <= old.last and old.address != new.address
    ]
    if not pairs:
        return None
    old, new = pairs[rng.integers(len(pairs))]
    moved = old.address - new.address  # a stack with all its tiles
    return _readdressed(schedule, [(access, max(0, access.address + moved)) for access in new.accesses])


@mutation
def begin_one_reuse_too_early(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    """Whoever takes a place does not wait for any of those who used it before."""
    placing = [a.op for a in accesses(schedule) if a.places and schedule.stream["wait"][a.op].any()]
    if not placing:
        return None
    stream = schedule.stream.copy()
    stream["wait"][placing[rng.integers(len(placing))]] = 0
    return schedule.replace(stream=stream)


# -- operands ---------------------------------------------------------------------------------------


def _change(schedule: ms.Schedule, table: str, row: int, column: str, value: int) -> ms.Schedule:
    changed: Table = getattr(schedule, table).copy()
    changed[column][row] = value
    return schedule.replace(**{table: changed})


def _tile_field(access: Access) -> str:
    return "tile" if access.table == "transfers" else access.field.removesuffix("_sram")


@mutation
def change_tile(schedule: ms.Schedule, rng: Rng) -> ms.Schedule:
    """To any other one."""
    operands = _in_sram(schedule)
    access = operands[rng.integers(len(operands))]
    tile = (access.tile + int(rng.integers(1, len(schedule.tiles)))) % len(schedule.tiles)
    return _change(schedule, access.table, access.row, _tile_field(access), tile)


@mutation
def change_tile_to_one_alike(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    """To another one of the same shape and number of versions."""
    operands = _in_sram(schedule)
    access = operands[rng.integers(len(operands))]
    shapes = schedule.tiles[["rows", "cols", "final"]]
    tile = _pick(rng, np.setdiff1d(np.flatnonzero(shapes == shapes[access.tile]), [access.tile]))
    return None if tile is None else _change(schedule, access.table, access.row, _tile_field(access), tile)


@mutation
def change_version(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    row = _pick(rng, np.arange(len(schedule.transfers)))
    if row is None:
        return None
    version = int(schedule.transfers["version"][row])
    lower = version > 0 and rng.random() < 0.7
    return _change(schedule, "transfers", row, "version", version - 1 if lower else version + 1)


@mutation
def change_step(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    """By one; `last` stays, or is what belongs to the step."""
    row = _pick(rng, np.arange(len(schedule.matmuls)))
    if row is None:
        return None
    step = int(schedule.matmuls["step"][row])
    step = step - 1 if step and rng.random() < 0.5 else step + 1
    mutant = _change(schedule, "matmuls", row, "step", step)
    c, acc = schedule.matmuls["c"][row], schedule.matmuls["acc"][row]
    last = step + 1 == schedule.tiles["final"][c if acc == NONE else acc]
    return mutant if rng.random() < 0.5 else _change(mutant, "matmuls", row, "last", int(last))


@mutation
def flip_last(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    row = _pick(rng, np.arange(len(schedule.matmuls)))
    return None if row is None else _change(schedule, "matmuls", row, "last", 1 - int(schedule.matmuls["last"][row]))


@mutation
def change_stack(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    """A tile lies by itself, or in another stack, perhaps as another part of it."""
    tile = _pick(rng, np.flatnonzero(schedule.tiles["stack"]))
    if tile is None:
        return None
    if rng.random() < 0.5:
        other = max(0, int(schedule.tiles["stack"][tile]) + int(rng.integers(-2, 3)))
        return _change(schedule, "tiles", tile, "stack", int(rng.choice([0, other])))
    change = int(rng.choice([-1, 1])) * int(schedule.tiles["rows"][tile])
    return _change(schedule, "tiles", tile, "row", max(0, int(schedule.tiles["row"][tile]) + change))


@mutation
def change_list(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    """A row is gathered by another list, at another place, or by none; or what is no such row by one."""
    row = _pick(rng, np.flatnonzero(schedule.transfers["list"] != NONE))
    if row is None:
        return None
    if rng.random() < 0.5:
        change = int(rng.choice([-2, -1, 1, 2])) * ALIGNMENT
        return _change(
            schedule, "transfers", row, "list_sram", max(0, int(schedule.transfers["list_sram"][row]) + change)
        )
    other = int(rng.choice([NONE, rng.integers(len(schedule.tiles))]))
    return _change(schedule, "transfers", int(rng.choice([row, rng.integers(len(schedule.transfers))])), "list", other)


@mutation
def exchange_operand_rows(schedule: ms.Schedule, rng: Rng) -> ms.Schedule | None:
    """Two rows of one operand table: the operations do each other's work at their own places' times."""
    table = str(rng.choice(["transfers", "matmuls", "vectors"]))
    rows = getattr(schedule, table).copy()
    if len(rows) < 2:
        return None
    first, second = rng.choice(len(rows), 2, replace=False)
    rows[[first, second]] = rows[[second, first]]
    return schedule.replace(**{table: rows})


# -- windows ----------------------------------------------------------------------------------------

for _function in WINDOW_MUTATIONS:
    mutation(_function)

WINDOWS = tuple(MUTATIONS)[-len(WINDOW_MUTATIONS) :]
"""The kinds of faults that only operands made of pieces can have."""


# -- judging ----------------------------------------------------------------------------------------


class Outcome(StrEnum):
    HAZARD = "hazard"
    DEADLOCK = "deadlock"
    REFUSED = "refused"
    EQUIVALENT = "equivalent"
    WRONG = "WRONG"


@dataclass(frozen=True)
class Case:
    """A correct schedule, and what belongs to it."""

    name: str
    graph: ms.Graph
    machine: ms.Machine
    schedule: ms.Schedule
    inputs: Mapping[str, Array]
    output_sha256: str
    checker: Checker

    @classmethod
    def of(cls, name: str, graph: ms.Graph, machine: ms.Machine) -> Case:
        inputs = inputs_of(graph)
        result = ms.run(graph, machine, inputs=inputs)
        checker = Checker.of(result.schedule)
        return cls(name, graph, machine, result.schedule, inputs, result.output_sha256, checker)

    def judge(self, mutant: ms.Schedule) -> tuple[Outcome, str]:
        """What becomes of `mutant`, and why. Simulated first: the lockstep is to find what it can by itself."""
        try:
            result = ms.run(self.graph, self.machine, inputs=self.inputs, schedule=mutant)
        except ScheduleHazard as hazard:
            deadlock = str(hazard).startswith("deadlock")
            return Outcome.DEADLOCK if deadlock else Outcome.HAZARD, str(hazard)
        except MinisimError as error:
            return Outcome.REFUSED, str(error)
        try:
            mutant.verify()
        except ScheduleError as error:
            return Outcome.REFUSED, str(error)
        if result.output_sha256 != self.output_sha256:
            return Outcome.WRONG, "other results"
        if violations := self.checker.violations(mutant, result.times):
            return Outcome.WRONG, f"conflicting accesses overlapped: operations {violations[:3]}"
        return Outcome.EQUIVALENT, ""


def cases() -> list[Case]:
    """Models x machines: SRAM ample and short of it, tiles kept on chip and not, square and unequal."""
    models = [example("mlp"), example("residual_block"), gemm(70, 50, 90), small_mlp()]
    machines = {
        "mnk": machine(compiler__order="mnk", compiler__keep_on_chip=False),
        "auto": machine(),
        "unequal": machine(tile__m=24, tile__k=16, tile__n=40, control__queue_depth=4, dma__max_outstanding=4),
        "accumulator": machine(accumulator__bytes="8KiB"),
        "fast": machine(**{**FAST, "dram__latency": "0ns"}),
    }
    many = {
        "2 cores": machine(cores__count=2, **FAST),
        "4 cores, off chip": machine(cores__count=4, compiler__keep_on_chip=False, **FAST),
        "3 cores, unequal": machine(cores__count=3, tile__m=24, tile__k=16, tile__n=40, **FAST),
    }
    packed = {  # rows of 12 bytes in DRAM, of which several tiles and cores have a part of one burst
        "2 cores, packed": machine(cores__count=2, tile__m=5, tile__k=8, tile__n=8, **FAST),
        "packed": machine(tile__m=5, tile__k=8, tile__n=2, compiler__keep_on_chip=False, **FAST),
    }
    grids = [(graph, machines) for graph in models] + [(few_rows(), many), (example("mlp"), many)]
    grids += [
        (gemm(60, 40, 3), packed),
        (convolutions(), {name: {**machines, **many}[name] for name in ("unequal", "2 cores")}),
    ]
    found = []
    for graph, of in grids:
        for name, base in of.items():
            least = least_sram(graph, base)
            for slack in (1, 2, 8):
                tight = with_sram(base, slack * least)
                found.append(Case.of(f"{graph.name} on {name}, sram x{slack}", graph, tight))
    for name, size in itertools.product(("unequal", "2 cores"), (8192, 16384, 65536)):
        tight = with_sram({**machines, **many}[name], size)
        found.append(Case.of(f"folds on {name}, sram {size}", folds(), tight))
    for name, size in itertools.product(("auto", "2 cores"), (160 << 10, 256 << 10)):
        found.append(Case.of(f"heads on {name}, sram {size}", heads(), with_sram({**machines, **many}[name], size)))
    for name, page in itertools.product(("auto", "2 cores"), (3, 16)):
        tight = with_sram({**machines, **many}[name], 16 << 10)
        found.append(Case.of(f"pages of {page} on {name}", pages(page), tight))
    for name in ("auto", "2 cores"):
        found.append(Case.of(f"lookups on {name}", lookups(), with_sram({**machines, **many}[name], 8 << 10)))
    return found


def convolutions() -> ms.Graph:
    """Two in a chain, with padding, a stride and groups; tiles that are shorter and longer than a line."""
    rng = np.random.default_rng(0)
    g = ms.Graph("convolutions")
    x = g.input("x", (1, 7, 10, 36))
    h = g.relu(g.conv2d(x, g.weight("w1", values(rng, (3, 3, 36, 8))), pads=(1, 1, 0, 2)))
    g.output(g.conv2d(h, g.weight("w2", values(rng, (2, 3, 4, 12))), strides=(1, 2), groups=2), "y")
    return g


def folds() -> ms.Graph:
    """Poolings, a convolution of each channel by itself, and sums of neighbouring channels; several tiles of channels,
    and steps of a few taps where the SRAM is short."""
    rng = np.random.default_rng(0)
    g = ms.Graph("folds")
    x = g.max_pool(g.input("x", (1, 6, 5, 70)), (2, 3), strides=(2, 1), pads=1)
    y = g.relu(g.conv2d(x, g.weight("w", values(rng, (2, 2, 1, 70))), pads=1, groups=70))
    g.output(g.global_average_pool(g.channel_sum(y, 2, 1)), "y")
    return g


def heads() -> ms.Graph:
    """A query of six heads that share three of keys, so that heads are tiles in a stack."""
    g = ms.Graph("heads")
    q, k, v = g.input("q", (1, 6 * 9)), g.input("k", (270, 3 * 9)), g.input("v", (270, 3 * 12))
    scores = g.mul(g.matmul_of_heads(q, k, a_heads=6, b_heads=3, transpose_b=True), 0.3)
    g.output(g.matmul_of_heads(g.softmax(scores), v, b_heads=3, joins=True), "y")
    return g


def pages(page: int) -> ms.Graph:
    """Two rows behind 40 of a state in pages; a product with all of them, and sums of their columns."""
    g = ms.Graph("pages")
    rows = g.append_rows(g.state("s", (50, 12), 40, page=page), g.relu(g.input("x", (2, 12))))
    g.output(g.matmul(g.input("q", (5, 12)), rows, transpose_b=True), "scores")
    g.output(g.relu(rows), "positive")
    return g


def lookups() -> ms.Graph:
    """Rows of a computed table by computed indices, and by constant ones."""
    g = ms.Graph("lookups")
    table = g.relu(g.input("x", (40, 20)))
    ids = g.cast(g.clip(g.input("i", (30,)), -3.0, 3.0), "int32")
    given = g.weight("j", np.arange(12) % 5 - 2, dtype="int32")
    g.output(g.add(g.gather(table, ids), 1.0), "y")
    g.output(g.gather(g.gather(table, given), given), "z")
    return g


FAST = {"dram__latency": "5ns", "dma__bytes_per_cycle": 256, "dram__bandwidth": "1000GB/s"}


def few_rows() -> ms.Graph:
    """One row of tiles, so that cores share columns, and each needs what all of them computed; through a view, too."""
    rng = np.random.default_rng(0)
    g = ms.Graph("few_rows")
    h = g.relu(g.input("x", (24, 200)) @ g.weight("w1", values(rng, (200, 160))))
    h = g.relu(h @ g.weight("w2", values(rng, (160, 160))))
    g.output(g.reshape(h, (48, 80)) @ g.weight("w3", values(rng, (80, 90))), "y")
    return g


@dataclass(frozen=True)
class Mutant:
    kind: str
    case: Case
    seed: int
    schedule: ms.Schedule


def mutants(cases: list[Case], count: int, seed: int = 0, kinds: Sequence[str] = tuple(MUTATIONS)) -> Iterator[Mutant]:
    """`count` of them, all kinds in turn on random cases; each is reproducible from its seed, and kinds, alone."""
    made, attempt = 0, 0
    while made < count:
        mutant_seed = seed * 10**9 + attempt
        rng = np.random.default_rng(mutant_seed)
        kind = kinds[attempt % len(kinds)]
        case = cases[rng.integers(len(cases))]
        schedule = MUTATIONS[kind](case.schedule, rng)
        attempt += 1
        if schedule is not None and schedule.digest() != case.schedule.digest():
            made += 1
            yield Mutant(kind, case, mutant_seed, schedule)


@dataclass
class Tally:
    """How many mutants of each kind had which outcome, and those that should not have passed."""

    counts: Counter[tuple[str, Outcome]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def add(self, mutant: Mutant) -> None:
        outcome, why = mutant.case.judge(mutant.schedule)
        self.counts[mutant.kind, outcome] += 1
        if outcome is Outcome.WRONG:
            self.wrong.append(f"{mutant.kind} (seed {mutant.seed}) of {mutant.case.name}: {why}")

    def total(self, outcome: Outcome) -> int:
        return sum(n for (_, o), n in self.counts.items() if o is outcome)

    def lines(self) -> Iterator[str]:
        """The table kind x outcome, of those that were tried."""
        yield f"{'':<30}" + "".join(f"{outcome:>12}" for outcome in Outcome)
        tried = {kind for kind, _ in self.counts}
        for kind in (kind for kind in MUTATIONS if kind in tried):
            yield f"{kind:<30}" + "".join(f"{self.counts[kind, outcome]:>12}" for outcome in Outcome)
        yield f"{'total':<30}" + "".join(f"{self.total(outcome):>12}" for outcome in Outcome)
