"""Where the energy goes: what every operation of a schedule costs, and what the machine leaks meanwhile.

Energy is whole femtojoules. Each price of the machine's section [energy] is a whole number of them, and so is
all that is made of prices and counts: a breakdown adds up exactly, over layers, over components and in all.

    component     is                                                              by price
    mac           MACs of the array, of the operation's data type                 mac_*
    epilogue      bias and residual additions, activation, requantisation,        vector_*, add_int32,
                  per element                                                     requantize
    vector        elements of the vector unit (a reduction: of its source)        vector_*
    sram_read     bytes read: by stores, the array, the vector unit               sram_*, by the memory's size
    sram_write    bytes written: by loads, the array, the vector unit             the same x sram_write_percent
    dma           descriptors and the bytes they move                             dma_descriptor, dma_byte
    noc           bytes of transfers, if a network has a limit                    noc_byte
    l2            bytes read and written, also for fetches and write-backs        sram_*, by the L2's size
    dram          bytes that the DRAM moves                                       dram_byte
    leakage       power that flows all the time x the time                        pe_leakage, sram_leakage, dram_idle

**What the array reuses.** An operation reads each operand's tile from SRAM once and writes its result once,
as the engine counts (`EngineStats`). Of an A that is made of pieces it reads the windows, those of a convolution's taps
one after the other, and nothing for the padding. A step after the first also reads the accumulator's tile; where
partial sums have tiles of their own (`acc` in isa.py), all steps but the last write that one. What lies in the separate
accumulator memory is priced by that memory's size. The array is
taken to have operand buffers that hold a tile: when a block is larger than the array and takes several folds,
they read it again from there, which is not priced. Likewise the hops from one processing element to the
next are part of the MAC's price or of none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from minisim.hwmodel import isa, packing
from minisim.hwmodel.classes import ClassCosts, class_costs
from minisim.hwmodel.config import Machine
from minisim.hwmodel.cost import rectangles
from minisim.hwmodel.descriptors import descriptors
from minisim.hwmodel.sparsity import kept_macs, moved_bytes, port_bytes
from minisim.hwmodel.timeline import Answers
from minisim.hwmodel.vector_ops import INTEGERS

Column = npt.NDArray[np.int64]

COMPONENTS = ("mac", "epilogue", "vector", "sram_read", "sram_write", "dma", "noc", "l2", "dram", "leakage")
"""In the order of the reports."""

FJ_PER_JOULE = 10**15


@dataclass(frozen=True)
class Accesses:
    """Bytes that each operation moves, int64 columns in program order; their sums are the engine's counters.

    Attributes:
        sram_read, sram_write: of both on-chip memories.
        accumulator_read, accumulator_write: the part of these that the accumulator memory has.
    """

    sram_read: Column
    sram_write: Column
    dram_read: Column
    dram_write: Column
    accumulator_read: Column
    accumulator_write: Column

    @property
    def dram(self) -> Column:
        """Both ways."""
        return self.dram_read + self.dram_write


INDEX = isa.ITEMSIZE[isa.DType.INT32]
"""Bytes that a load reads in SRAM to find the row that it gathers."""

BLOCK = 1 << 20
"""Operations of which columns of bytes and energies are made at once."""


def blocks(schedule: isa.Schedule) -> Iterator[slice]:
    """The operations in blocks of `BLOCK`, in program order; one that is empty if there are none."""
    for begin in range(0, max(1, len(schedule)), BLOCK):
        yield slice(begin, begin + BLOCK)


def accesses(schedule: isa.Schedule) -> Accesses:
    """The bytes that the operations of `schedule` read and write: each operand's tile once, in the form in which it
    passes the ports of the SRAM, or the DRAM's."""
    found = Accesses(*(np.zeros(len(schedule), dtype=np.int64) for _ in range(6)))
    opcode, row = schedule.stream["opcode"], schedule.stream["row"]
    sizes = np.append(port_bytes(schedule), 0)  # the last one is that of NONE
    stored = moved_bytes(schedule)

    def size(table: isa.Table, operand: str) -> Column:
        return np.asarray(sizes[np.minimum(table[operand], len(sizes) - 1)])

    def moved(mine: npt.NDArray[np.bool_], reads: Column, writes: Column, address: Column) -> None:
        """Beside other bytes, tiles of the rows of `mine` at these addresses."""
        beyond = address >= schedule.sram_bytes
        for column, part, values in (
            (found.sram_read, found.accumulator_read, reads),
            (found.sram_write, found.accumulator_write, writes),
        ):
            column[mine] += values
            part[mine] += np.where(beyond, values, 0)

    for code, is_load in ((isa.Opcode.LOAD, True), (isa.Opcode.STORE, False)):
        way = opcode == code
        t = schedule.transfers[row[way]]
        of_tile, none = size(t, "tile"), np.zeros(len(t), dtype=np.int64)
        (found.dram_read if is_load else found.dram_write)[way] = stored[t["tile"]]
        reads, writes = (none, of_tile) if is_load else (of_tile, none)
        moved(way, reads, writes, t["sram"])
        by_list = t["list"] != isa.NONE
        moved(way, np.where(by_list, INDEX, 0), none, np.where(by_list, t["list_sram"], 0))

    executes = opcode == isa.Opcode.EXECUTE
    x = schedule.matmuls[row[executes]]
    found.sram_read[executes] = sum(size(x, name) for name in ("a", "b", "bias", "residual"))
    found.sram_read[executes] += isa.elements_read(schedule, x) * isa.item_sizes()[x["dtype"]]
    through, last = x["acc"] != isa.NONE, x["last"] != 0
    sums = np.where(through, size(x, "acc"), size(x, "c"))
    address = np.where(through, x["acc_sram"], x["c_sram"])
    leaves = ~last | ~through  # its sums where they are; else it writes the result elsewhere
    moved(executes, np.where(x["step"] > 0, sums, 0), np.where(leaves, sums, 0), address)
    found.sram_write[executes] += np.where(leaves, 0, size(x, "c"))

    elementwise = opcode == isa.Opcode.VECTOR
    v = schedule.vectors[row[elementwise]]
    found.sram_read[elementwise] = sum(size(v, name) for name in (*isa.VECTOR_SOURCES, "acc"))
    found.sram_read[elementwise] += isa.elements_read(schedule, v) * isa.item_sizes()[v["dtype"]]
    found.sram_write[elementwise] = size(v, "dst")
    return found


def operation_energy(
    schedule: isa.Schedule, machine: Machine, answers: Answers | None = None, decoded: Column | None = None
) -> dict[str, Column]:
    """Femtojoules of each operation by component (all but leakage), int64 columns in program order.

    Args:
        answers: of a run's memory (`Timeline.answers`), which says what an L2 let through.
        decoded: how many descriptors are decoded for each operation, if that is known (`Costs.descriptors`).

    Raises:
        ValueError: the machine has an L2, and there are no answers.
    """
    if machine.l2.bytes and answers is None:
        raise ValueError("what the DRAM moves behind an L2 is known from a run: pass its timeline's answers")
    if decoded is None:
        decoded = descriptors(schedule, rectangles(schedule), machine)
    price, moved = machine.energy, accesses(schedule)
    opcode, row = schedule.stream["opcode"], schedule.stream["row"]
    executes, elementwise = opcode == isa.Opcode.EXECUTE, opcode == isa.Opcode.VECTOR

    def column(mine: npt.NDArray[np.bool_], values: Column) -> Column:
        whole = np.zeros(len(schedule), dtype=np.int64)
        whole[mine] = values
        return whole

    x, v = schedule.matmuls[row[executes]], schedule.vectors[row[elementwise]]
    unpacked = unpackings(schedule)
    read, write = sram_prices(machine)
    sums_read, sums_write = sram_prices(machine, machine.accumulator.bytes or None)
    return {
        "mac": column(executes, _mac_energy(schedule, x, machine)) + unpacked.by_array * price.unpack,
        "epilogue": column(executes, _epilogue_energy(x, machine)),
        "vector": column(elementwise, _vector_energy(schedule, v, machine)),
        "sram_read": moved.sram_read * read + moved.accumulator_read * (sums_read - read),
        "sram_write": moved.sram_write * write + moved.accumulator_write * (sums_write - write),
        "dma": moved.dram * price.dma_byte + unpacked.by_dma * price.unpack + decoded * price.dma_descriptor,
        "noc": moved.dram * (price.noc_byte if machine.noc.limits else 0),
        "l2": _l2_energy(moved, answers, machine),
        "dram": (answers.read + answers.written if answers else moved.dram) * price.dram_byte,
    }


class Unpackings(NamedTuple):
    """Weights of 4 bits that become numbers in each operation, int64: in a load, or in the array, which takes each
    operand's tile once."""

    by_dma: Column
    by_array: Column


def unpackings(schedule: isa.Schedule) -> Unpackings:
    """Of the operations of `schedule`."""
    opcode, row = schedule.stream["opcode"], schedule.stream["row"]
    sizes = schedule.tiles["rows"].astype(np.int64) * schedule.tiles["cols"]
    tensor = schedule.tiles["tensor"]
    found = Unpackings(*(np.zeros(len(schedule), dtype=np.int64) for _ in range(2)))
    for column, mine, table, operand in (
        (found.by_dma, packing.by_dma(schedule.tensors), schedule.transfers, "tile"),
        (found.by_array, packing.on_chip(schedule.tensors), schedule.matmuls, "b"),
    ):
        if mine.any():
            way = opcode == (isa.Opcode.LOAD if operand == "tile" else isa.Opcode.EXECUTE)
            tiles = table[operand][row[way]]
            column[way] = np.where(mine[tensor[tiles]], sizes[tiles], 0)
    return found


def _l2_energy(moved: Accesses, answers: Answers | None, machine: Machine) -> Column:
    """Loads and write-backs read it, stores and fetches write it."""
    if not machine.l2.bytes or answers is None:
        return np.zeros_like(moved.dram_read)
    read, write = sram_prices(machine, machine.l2.bytes)
    return (moved.dram_read + answers.written) * read + (moved.dram_write + answers.read) * write


def _mac_energy(schedule: isa.Schedule, x: isa.Table, machine: Machine) -> Column:
    return np.asarray(kept_macs(schedule, x) * _prices(isa.ACCUMULATOR, "mac", machine)[x["dtype"]])


def _epilogue_energy(x: isa.Table, machine: Machine) -> Column:
    """An addition per element for each of bias and residual, the activation, the requantisation; in last steps only."""
    additions = (x["bias"] != isa.NONE).astype(np.int64) + (x["residual"] != isa.NONE)
    integer = np.isin(x["dtype"], [a for a, sums in isa.ACCUMULATOR.items() if sums == isa.DType.INT32])
    addition = np.where(integer, machine.energy.add_int32, machine.energy.vector_add)
    activation = _prices(isa.Activation, "vector", machine)[x["activation"]]
    each = additions * addition + activation + np.where(x["scale"] != 0, machine.energy.requantize, 0)
    return np.asarray(x["m"].astype(np.int64) * x["n"] * each)


def _vector_energy(schedule: isa.Schedule, v: isa.Table, machine: Machine) -> Column:
    """Of each element that an operation works through; of a fold at each tap, and of its bias and activation."""
    rows, cols = schedule.vector_shape(v)
    of_tail = np.where(v["src2"] != isa.NONE, machine.energy.vector_add, 0)
    of_tail = of_tail + _prices(isa.Activation, "vector", machine)[v["activation"]]
    whole = np.isin(v["dtype"], [isa.DType[name] for name in INTEGERS])
    each = np.where(whole, _vector_prices(machine, AS_INTEGERS)[v["op"]], _vector_prices(machine, {})[v["op"]])
    taps = v["taps"].astype(np.int64)
    return np.asarray(rows * cols * np.where(taps > 0, taps * each + of_tail, each))


AS_INTEGERS = dict.fromkeys(("add", "sub", "reduce_sum"), "add_int32")
"""The prices of steps on integers that have one of their own; others are those of floats."""


def _vector_prices(machine: Machine, others: Mapping[str, str]) -> Column:
    """Femtojoules per element by the code of a `VectorOp`: the sum of its steps', some of which have `others`."""

    def price(name: str) -> int:
        return int(getattr(machine.energy, others.get(name, f"vector_{name}")))

    return np.array([sum(map(price, op.prices)) for op in isa.VectorOp])


def _prices(codes: Iterable[isa.DType | isa.Activation], kind: str, machine: Machine) -> Column:
    """Femtojoules by code: the key ``kind_name`` of [energy]; a code without a key is an AttributeError."""
    table = np.zeros(max(codes) + 1, dtype=np.int64)
    for code in codes:
        if code is not isa.Activation.NONE:
            table[code] = getattr(machine.energy, f"{kind}_{code.name.lower()}")
    return table


def sram_prices(machine: Machine, size: int | None = None) -> tuple[int, int]:
    """Femtojoules per byte read and written, for an SRAM of `size` bytes (default: the scratchpad's), rounded.

    Between the three sizes that have a price it is interpolated in log-log; beyond them it grows with the
    square root of the size, as the wires across a square memory do.
    """
    price, size = machine.energy, size or machine.sram.bytes
    points = ((2**13, price.sram_8kib), (2**15, price.sram_32kib), (2**20, price.sram_1mib))
    read = _interpolated(size, points)
    return read, read * price.sram_write_percent // 100


def _interpolated(size: int, points: tuple[tuple[int, int], ...]) -> int:
    nearest = points[0] if size <= points[0][0] else points[-1]
    for (below, low), (above, high) in pairwise(points):
        if below < size <= above:
            part = math.log(size / below) / math.log(above / below)
            return round(math.pow(low, 1 - part) * math.pow(high, part))
    return round(nearest[1] * math.sqrt(size / nearest[0]))


def leakage_watts(machine: Machine) -> Fraction:
    """What flows all the time: arrays, SRAM and accumulator memory of every core, L2, DRAM."""
    price, elements = machine.energy, machine.matrix.elements
    mib = Fraction(machine.sram.bytes + machine.accumulator.bytes, 2**20)
    shared = price.sram_leakage * Fraction(machine.l2.bytes, 2**20) + price.dram_idle
    return machine.cores.count * (price.pe_leakage * elements + price.sram_leakage * mib) + shared


def leakage_energy(cycles: npt.ArrayLike, machine: Machine) -> list[int]:
    """Femtojoules of power x time for stretches of `cycles` that follow each other.

    Their ends are rounded down, not their lengths, so that they add up to what the whole run leaks.
    """
    per_cycle = leakage_watts(machine) * FJ_PER_JOULE / machine.clock.frequency
    ends = [0, *np.cumsum(np.asarray(cycles, dtype=np.int64)).tolist()]
    return [int(end * per_cycle) - int(begin * per_cycle) for begin, end in pairwise(ends)]


@dataclass(frozen=True)
class Breakdown:
    """The energy of a run.

    Attributes:
        parts: by component (COMPONENTS), femtojoules of each layer.
        launch: what leaks during the launch of a run that has no layers.
    """

    parts: Mapping[str, tuple[int, ...]]
    launch: int = 0

    def by_component(self) -> dict[str, int]:
        """Femtojoules of the run by component."""
        whole = {name: sum(layers) for name, layers in self.parts.items()}
        return whole | {"leakage": whole["leakage"] + self.launch}

    def by_layer(self) -> list[int]:
        """Femtojoules of each layer."""
        return [sum(layer) for layer in zip(*self.parts.values(), strict=True)]

    @property
    def total(self) -> int:
        """Femtojoules of the run."""
        return sum(self.by_component().values())


def breakdown(
    schedule: isa.Schedule,
    machine: Machine,
    cycles: npt.ArrayLike,
    launch: int = 0,
    answers: Answers | None = None,
    by_class: ClassCosts | None = None,
) -> Breakdown:
    """The energy of a run of `schedule`, by layer and component: a block of operations after the other, so that a long
    run takes no columns of its length for each component.

    Args:
        cycles: of each layer, adding up to the run's; leakage goes by them.
        launch: cycles of a run without layers.
        answers: as in `operation_energy`.
        by_class: `class_costs` of both, if they are known.
    """
    layers = len(schedule.layers)
    if np.shape(cycles) != (layers,):
        raise ValueError(f"cycles must have one entry for each of the {layers} layers, not shape {np.shape(cycles)}")
    by_class = by_class or class_costs(schedule, machine)
    parts = _sums(schedule, machine, answers, by_class, schedule.stream["layer"], layers)
    alone = 0 if layers else sum(leakage_energy([launch], machine))
    return Breakdown({**parts, "leakage": tuple(leakage_energy(cycles, machine))}, alone)


def run_energy(
    schedule: isa.Schedule, machine: Machine, cycles: int, answers: Answers | None, by_class: ClassCosts
) -> int:
    """The femtojoules of a run of `cycles` in all: the total of its breakdown.

    Args:
        answers: as in `operation_energy`.
        by_class: `class_costs` of both.
    """
    (leaks,) = leakage_energy([cycles], machine)
    if answers:
        spent = _sums(schedule, machine, answers, by_class, np.zeros(len(schedule), dtype=np.uint32), 1)
        return leaks + sum(map(sum, spent.values()))
    each = np.sum([*_class_energy(machine, by_class).values()], axis=0)
    spent_by_all: int = sum(n * one for n, one in zip(by_class.counts.tolist(), each.tolist(), strict=True))
    return leaks + spent_by_all


def _sums(
    schedule: isa.Schedule,
    machine: Machine,
    answers: Answers | None,
    by_class: ClassCosts,
    layer: npt.NDArray[np.uint32],
    layers: int,
) -> dict[str, tuple[int, ...]]:
    """`operation_energy`, summed by `layer`. Each class is priced once; but with an L2, whose answers differ, each
    operation, a block of them after the other."""
    if not answers:
        of_classes = _class_energy(machine, by_class)
        return {name: _layer_sums(layer, column[by_class.of], layers) for name, column in of_classes.items()}
    sums = dict.fromkeys(COMPONENTS[:-1], (0,) * layers)
    for mine in blocks(schedule):
        block, decoded = schedule.replace(stream=schedule.stream[mine]), by_class.each.descriptors[by_class.of[mine]]
        for name, column in operation_energy(block, machine, answers.part(mine), decoded).items():
            found = _layer_sums(layer[mine], column, layers)
            sums[name] = tuple(a + b for a, b in zip(sums[name], found, strict=True))
    return sums


def _class_energy(machine: Machine, by_class: ClassCosts) -> dict[str, Column]:
    """`operation_energy` of an operation of each class."""
    return operation_energy(by_class.examples, machine, decoded=by_class.each.descriptors)


def _layer_sums(layer: npt.NDArray[np.uint32], column: Column, layers: int) -> tuple[int, ...]:
    """Exact sums per layer: in two halves, as the sum of many operations may pass 2^63."""
    high, low = np.zeros((2, layers), dtype=np.int64)
    np.add.at(high, layer, column >> 31)
    np.add.at(low, layer, column & (2**31 - 1))
    return tuple(h * 2**31 + rest for h, rest in zip(high.tolist(), low.tolist(), strict=True))
