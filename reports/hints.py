"""What to try: statements about a run that follow from its numbers.

Every hint is arithmetic on the run's own record. Where it speaks of a changed machine it gives a bound
(`cost.roofline`): what no run can beat, not what one will reach. What one does reach is measured: a hint names the
settings to try, whoever can run a model tries them (`minisim.what_if.measured`), and drops what gains nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import pandas as pd

from minisim.hwmodel.array import drain_cycles, rates
from minisim.hwmodel.config import Machine
from minisim.hwmodel.isa import ACCUMULATOR, DType, Opcode, Role, Schedule, item_sizes
from minisim.hwmodel.sections import LIES_ALONG, Tile
from minisim.hwmodel.sparsity import whole_tensors
from minisim.hwmodel.variants import possible, scaled
from minisim.hwmodel.vector import operation_cycles
from minisim.reports.account import Account
from minisim.reports.attribution import LAYER_CAUSES
from minisim.reports.cause import Cause
from minisim.reports.run_record import RunRecord, Work
from minisim.reports.tables import STALLS, layers, units

MATTERS = 0.05
"""The share of the run's cycles from which something is worth a hint."""

NEAR = 0.95
"""A unit is limiting if it needs at least this share of the bound: widening only one of several is no help."""

POOR_PCT = 50
"""The mapping utilization below which a layer is said to fit the array badly."""

FULL = 0.9
"""The share of the SRAM from which it counts as full."""

FAR = 1.3
"""A run that takes more than this times its bound is held up by its schedule, not by the unit that sets the bound."""

MOST_HINTS = 5
"""Hints shown."""

SPEED_KEYS = {"matrix": "matrix.cols", "vector": "vector.lanes", "load": "dma.bytes_per_cycle",
              "store": "dma.bytes_per_cycle", "dram": "dram.bandwidth", "l2": "l2.bytes_per_cycle",
              "noc": "noc.bytes_per_cycle"}  # fmt: skip
"""The key of the machine that makes each unit faster in proportion."""


Settings = Mapping[str, str]
"""What `--set` takes, by dotted key."""


@dataclass(frozen=True)
class Hint:
    """One statement.

    Attributes:
        cycles: how many of the run's cycles it speaks about; the hints with the most come first.
        text: one or two sentences.
        tries: settings that may help, each to be tried alone; none if no key changes what it says.
        then: the cycles of a run with `tries[0]`; None if that was not tried.
        stands: it says something of the model on this machine, and so is told even where no setting helps.
    """

    cycles: int
    text: str
    tries: tuple[Settings, ...] = ()
    then: int | None = None
    stands: bool = False


def hints(record: RunRecord) -> list[Hint]:
    """All hints that matter for this run, the weightiest first."""
    if not len(record.schedule):
        return []  # of the launch there is nothing to say that the time does not
    by_layer, by_unit = layers(record), units(record)
    stalled = {cause: int(by_layer[f"cycles_stall_{cause}"].sum()) for cause in LAYER_CAUSES}
    found = [
        *_schedule(record),
        *_wider(record),
        *_traffic(record),
        *_mapping(record, by_layer),
        *_tail(record),
        *_loads(record, _by_kind(by_unit, record.schedule.cores), stalled["load"]),
        *_compute_stalls(record, stalled),
    ]
    worth = [hint for hint in found if hint.cycles and hint.cycles >= MATTERS * record.timeline.cycles]
    return sorted(worth, key=lambda hint: -hint.cycles)


def merged(found: Sequence[Hint]) -> list[Hint]:
    """Hints whose first tries are the same settings as one: the first, with the text of the others below its own."""
    kept: dict[object, Hint] = {}
    for i, hint in enumerate(found):
        same = frozenset(hint.tries[0].items()) if hint.tries else i
        first = kept.get(same)
        if first is None:
            kept[same] = hint
            continue
        then = first.then if hint.then is None else hint.then
        kept[same] = replace(first, text=f"{first.text}\n{hint.text}", then=then)
    return list(kept.values())


def _tries(machine: Machine, *settings: Settings) -> tuple[Settings, ...]:
    """Those that make another machine."""
    return tuple(each for each in settings if possible(machine, each))


def _by_kind(units: pd.DataFrame, cores: int) -> pd.DataFrame:
    """The cycles of a core's units, by the unit's name; of several cores on average."""
    cycles = units.filter(like="cycles_")
    return cycles.groupby(units["unit"].str.rpartition(".")[2]).sum() // cores


def _schedule(record: RunRecord) -> Iterator[Hint]:
    """A run far from its bound: more of what sets the bound is not what it lacks."""
    cycles, bound = record.timeline.cycles, math.ceil(record.work.bound(record.machine).cycles)
    if not bound or cycles <= FAR * bound:
        return
    causes = sorted(Account.of(record).total().items(), key=lambda item: -item[1])
    path = ", ".join(f"{cause} {100 * n / cycles:.0f}%" for cause, n in causes[:3] if n)
    yield Hint(
        cycles - bound,
        f"The run takes {cycles / bound:.2f} times its bound: what holds it up is the schedule, that is how the work "
        f"is cut and what waits for what, more than any unit's speed. Mostly on its critical path: {path}.",
    )


def _wider(record: RunRecord) -> Iterator[Hint]:
    """The bound for the same work when the units that set it are twice as fast."""
    machine = record.machine
    bound = record.work.bound(machine)
    limiting = [unit for unit, cycles in bound.by_unit().items() if cycles >= NEAR * bound.cycles]
    keys = list(dict.fromkeys(SPEED_KEYS[unit] for unit in limiting))
    parts = [scaled(machine, key) for key in keys]
    settings = {key: value for part in parts for key, value in part.items()}
    if not bound.cycles or not all(parts) or not possible(machine, settings):
        return  # there is no key to turn: a banked DRAM is as fast as its part, a key has its largest value
    faster = doubled(machine, keys)
    then = work_on(record, faster).bound(faster)
    values = " and ".join(f"{key} = {settings[key]}" for key in keys)
    before, after = math.ceil(bound.cycles), math.ceil(then.cycles)
    yield Hint(
        before - after,
        f"{' and '.join(limiting)} set{'s' * (len(limiting) == 1)} the bound. Twice as much, {values}, lowers it "
        f"from {before:,} to {after:,} cycles for the same traffic; {then.bound_by} is "
        f"{'still' if then.bound_by in limiting else 'then'} the limit.",
        _tries(machine, settings, *([scaled(machine, "matrix.rows")] if limiting == ["matrix"] else [])),
    )


def doubled(machine: Machine, keys: list[str]) -> Machine:
    """`machine` with twice the value of each dotted key."""
    for dotted in keys:
        section, key = dotted.split(".")
        old = getattr(machine, section)
        new = old.model_copy(update={key: 2 * getattr(old, key)})
        machine = machine.model_copy(update={section: new})
    return machine


def work_on(record: RunRecord, machine: Machine) -> Work:
    """The run's work on another machine: the same, but that its vector unit may have other lanes."""
    v = record.schedule.vectors
    vector = int(operation_cycles(record.schedule, v, machine).sum())
    return replace(record.work, vector_cycles=vector)


def _traffic(record: RunRecord) -> Iterator[Hint]:
    """DRAM traffic beside the size of what has to move, and beside what an SRAM of this size allows."""
    schedule, machine, work = record.schedule, record.machine, record.work
    read, write = least_traffic(schedule)
    if not read + write or work.dram_bytes <= read + write:
        return
    bound = work.bound(machine)
    least = replace(work, read_bytes=read, write_bytes=write, dram_bytes=read + write).bound(machine)
    key, estimate = _reuse_limit(record)
    tries: list[Settings] = []
    text = (
        f"DRAM traffic is {work.dram_bytes:,} bytes, {work.dram_bytes / (read + write):.2f} times the tensors' size "
        f"({read + write:,}); with nothing moved twice the bound would be {math.ceil(least.cycles):,} cycles."
    )
    if estimate > read + write:
        text += (
            f" This SRAM allows about {estimate:,} bytes (2 x MACs / sqrt(SRAM elements)); "
            f"four times {key}, half of that."
        )
        tries.append(scaled(machine, key, Fraction(4)))
    if machine.compiler.order == "mnk":
        text += " compiler.order is mnk, the plain loop nest; auto reuses more."
        tries.insert(0, {"compiler.order": "auto"})
    if machine.compiler.order == "blocked":
        text += " compiler.order is blocked: each step loads its operands again; auto reuses more."
        tries.insert(0, {"compiler.order": "auto", "compiler.keep_on_chip": "true"})
    elif not machine.compiler.keep_on_chip:
        text += " compiler.keep_on_chip is off: intermediates go through DRAM."
        tries.insert(0, {"compiler.keep_on_chip": "true"})
    yield Hint(math.ceil(bound.cycles) - math.ceil(least.cycles), text, _tries(machine, *tries))


def _reuse_limit(record: RunRecord) -> tuple[str, int]:
    """About how many bytes of operands have to move, and the key of the memory that sets it: that of the partial sums.

    Of S sums that a memory holds, each pair of operand elements serves about sqrt(S) x sqrt(S) MACs.
    """
    machine = record.machine
    key, size = ("sram.bytes", machine.sram.bytes)
    if machine.accumulator.bytes:
        key, size = ("accumulator.bytes", machine.accumulator.bytes)
    item, layers = item_sizes(), record.schedule.layers["macs"].tolist()
    moved = 0.0
    for dtype in ACCUMULATOR:
        macs = sum(n for n, of_layer in zip(layers, record.layer_dtypes, strict=True) if of_layer == dtype)
        moved += 2 * macs / math.sqrt(size / int(item[ACCUMULATOR[dtype]])) * int(item[dtype])
    return key, int(moved)


def least_traffic(schedule: Schedule) -> tuple[int, int]:
    """Bytes of all inputs and weights that are loaded, and of all outputs that are stored, each once."""
    opcode, row = schedule.stream["opcode"], schedule.stream["row"]
    tensors, whole = schedule.tensors, whole_tensors(schedule)
    size = whole.rows * whole.row_bytes
    totals = []
    for code, roles in ((Opcode.LOAD, (Role.INPUT, Role.WEIGHT)), (Opcode.STORE, (Role.OUTPUT,))):
        moved = np.unique(schedule.tiles["tensor"][schedule.transfers["tile"][row[opcode == code]]])
        moved = moved[np.isin(tensors["role"][moved], roles)]
        buffer = np.zeros(len(size), dtype=np.int64)  # views of one buffer count once
        np.maximum.at(buffer, tensors["storage"][moved], size[moved])
        totals.append(int(buffer.sum()))
    return totals[0], totals[1]


def _mapping(record: RunRecord, layers: pd.DataFrame) -> Iterator[Hint]:
    """Layers whose blocks fill less than half of the array."""
    machine = record.machine
    poor = layers[layers["util_mapping_pct"] < POOR_PCT]
    if poor.empty:
        return
    elements = machine.matrix.elements
    pe_cycles = np.array(record.pe_cycles, dtype=np.float64)[poor["layer_id"]]
    lost = (pe_cycles * (100 / poor["util_mapping_pct"] - 1) / elements).round().astype("int64")
    worst = int(poor["layer_id"].iloc[int(lost.argmax())])
    stream = record.schedule.stream
    mine = (stream["layer"] == worst) & (stream["opcode"] == Opcode.EXECUTE)
    x = record.schedule.matmuls[stream["row"][mine]]
    block = {dim: int(np.median(x[dim])) for dim in ("m", "k", "n")}
    fill, why = array_fill(block, machine, record.layer_dtypes[worst])
    reason = f": {' and '.join(why)}" if why else ""
    yield Hint(
        int(lost.sum()),
        f"{_layers(len(poor))} less than half of the array while it is busy; {layers['name'][worst]!r} loses most, "
        f"using {poor['util_mapping_pct'][worst]:.3g}% with blocks m x k x n = {' x '.join(map(str, block.values()))}, "
        f"which fill {100 * fill:.3g}% of it{reason}.",
        _tries(machine, _larger_tiles(machine, block)),
        stands=True,
    )


def _larger_tiles(machine: Machine, block: Mapping[str, int]) -> Settings:
    """The tile's edges as long as the array's, where blocks are no longer than the tile; nothing for other edges."""
    matrix = machine.matrix
    whole = Tile().on(matrix)
    return {
        f"tile.{edge}": str(getattr(whole, edge))
        for edge, size in block.items()
        if size == getattr(machine.tile, edge) < getattr(whole, edge)
    }


def array_fill(block: Mapping[str, int], machine: Machine, dtype: DType) -> tuple[float, list[str]]:
    """The share of an array's elements that a block fills while it streams, and why it is not all of them.

    Args:
        block: its edges m, k and n.
    """
    matrix = machine.matrix
    packed, passes = (int(x) for x in rates(dtype, matrix))
    on_rows, on_cols = LIES_ALONG[matrix.dataflow]
    (streamed,) = {"m", "k", "n"} - {on_rows, on_cols}
    steps = packed if on_rows == "k" else 1
    sides = ((on_rows, matrix.rows * steps, "rows" if steps == 1 else f"rows x {steps} steps of k"),
             (on_cols, matrix.cols, "columns"))  # fmt: skip
    fill, why = 1.0, []
    for dim, side, name in sides:
        whole = -(-block[dim] // side) * side  # of all its folds
        fill *= block[dim] / whole
        if block[dim] < whole:
            why.append(f"{dim} fills {block[dim]} of {whole} {name}")
    shift = min(-(-block["k"] // packed), matrix.rows)
    if streamed != "k" and block[streamed] * passes < shift:
        what = {"m": "rows", "n": "columns"}[streamed]
        why.append(f"streaming {block[streamed]} {what} takes less than the {shift} cycles of shifting the next in")
    return fill, why


def _layers(n: int) -> str:
    return "1 layer uses" if n == 1 else f"{n} layers use"


def _tail(record: RunRecord) -> Iterator[Hint]:
    """What comes after the last computation."""
    computes = record.schedule.stream["opcode"] >= Opcode.EXECUTE
    tail = record.timeline.cycles - int(record.timeline.end[computes].max(initial=0))
    begun = int((record.timeline.end > record.timeline.cycles - tail).sum())
    faster = (scaled(record.machine, key) for key in ("dma.bytes_per_cycle", "dram.bandwidth"))
    yield Hint(
        tail,
        f"After the last computation the run goes on for {tail:,} cycles, until the last {begun} transfers are done.",
        _tries(record.machine, *faster),
    )


def _loads(record: RunRecord, units: pd.DataFrame, stalled: int) -> Iterator[Hint]:
    """What held the loads back while compute units waited for them."""
    machine = record.machine
    by_cause = {cause: int(units[f"cycles_stall_{cause}"]["load"]) for cause in STALLS}
    places = by_cause["matrix"] + by_cause["vector"] + by_cause["store"]
    peak, room = int(record.schedule.layers["sram_peak"].max(initial=0)), machine.sram.bytes
    full = peak > FULL * room
    yield Hint(
        min(stalled, places),
        f"The compute units waited {stalled:,} cycles for loads, and the load DMA waited {places:,} for operations "
        f"that still used the place in SRAM it was to fill; the schedule's peak is {peak:,} of {room:,} bytes "
        f"({'more would let loads run further ahead' if full else 'so the size is not what limits'}).",
        _tries(machine, scaled(machine, "sram.bytes")) if full else (),
    )
    flight, limit = by_cause["outstanding"], machine.dma.max_outstanding
    yield Hint(
        min(stalled, flight),
        f"The load DMA stood still for {flight:,} cycles with dma.max_outstanding = {limit} transfers in flight, while "
        f"compute units waited {stalled:,} cycles for loads (DRAM latency: {machine.dram_latency_cycles} cycles).",
        _tries(machine, scaled(machine, "dma.max_outstanding")),
    )
    shared = by_cause["dram"]
    slots = ", or had their bursts wait for a slot" if machine.dma.has_bursts else ""
    part, keys = _part_of_memory(record)
    of_dram = "dram.bandwidth" in keys and machine.dram.model == "ideal"
    speed = f" (dram.bandwidth = {machine.flat()['dram.bandwidth']})" if of_dram else ""
    yield Hint(
        min(stalled, shared),
        f"Loads that were ready lost {shared:,} cycles to other transfers, {part}{slots}{speed}.",
        _tries(machine, *(scaled(machine, key) for key in (*keys, "dma.outstanding_bursts"))),
    )


def _part_of_memory(record: RunRecord) -> tuple[str, tuple[str, ...]]:
    """The part of the memory that held most of the critical path, in words, and the keys that make it faster."""
    cycles = Account.of(record).total()
    dram = cycles[Cause.LOAD_DRAM] + cycles[Cause.DRAM_CONTENTION]
    if cycles[Cause.NOC] > max(dram, cycles[Cause.L2]):
        return "which crossed the network first", ("noc.bytes_per_cycle", "noc.core_bytes_per_cycle")
    if cycles[Cause.L2] > dram:
        return "which passed the L2's port first", ("l2.bytes_per_cycle",)
    return "which the DRAM served first", ("dram.bandwidth",)


def _compute_stalls(record: RunRecord, stalls: dict[str, int]) -> Iterator[Hint]:
    """Stalls of the compute units that do not come from memory."""
    machine = record.machine
    n = int(np.bincount(record.schedule.stream["core"]).max(initial=0))  # of the core that has most
    dispatch, launch = n * machine.control.issue_cycles, machine.control.launch_cycles
    blocked = int(record.timeline.issue.max(initial=0)) - dispatch - launch
    bound = record.work.bound(machine)
    compute_bound = bound.bound_by in ("matrix", "vector") and bound.cycles >= FULL * record.timeline.cycles
    queue = ("" if compute_bound else  # then a full queue is as it should be
             f", and control stood {blocked:,} behind a full queue (control.queue_depth = "
             f"{machine.control.queue_depth})")  # fmt: skip
    host = f"the launch takes {launch:,} (control.launch_cycles), " if launch else ""
    yield Hint(
        stalls["control"],
        f"The compute units waited {stalls['control']:,} cycles for dispatch: {host}{n:,} operations take {dispatch:,} "
        f"(control.issue_cycles = {machine.control.issue_cycles}){queue}.",
        _tries(
            machine, scaled(machine, "control.queue_depth"), scaled(machine, "control.issue_cycles", Fraction(1, 2))
        ),
    )
    longer = {"tile.m": str(2 * machine.tile.m)}
    yield Hint(
        stalls["dependency"],
        f"The compute units waited {stalls['dependency']:,} cycles for each other's results: one is there "
        f"{drain_cycles(machine)} cycles after the array's last input, and {machine.vector.latency_cycles} after the "
        "vector unit's.",
        _tries(machine, longer),
    )
    text = (
        f"Setup and drain that nothing hid took {stalls['pipeline']:,} cycles: setup begins when an operation's "
        f"operands are there, so each wait for one costs up to matrix.rows = {machine.matrix.rows} cycles more."
    )
    if machine.tile.m < machine.matrix.rows:
        text += f" And a block of tile.m = {machine.tile.m} rows hides at most {machine.tile.m} of them."
    yield Hint(stalls["pipeline"], text, _tries(machine, longer))
