"""Where the energy goes: what every operation of a schedule costs, and what the machine leaks meanwhile.

Energy is whole femtojoules. Each price of the machine's section [energy] is a whole number of them, and so is
all that is made of prices and counts: a breakdown adds up exactly, over layers, over components and in all.

    component     is                                                              by price
    mac           MACs of the array, of the operation's data type                 mac_*
    epilogue      bias and residual additions and the activation, per element     vector_*
    vector        elements of the vector unit, by operation                       vector_*
    sram_read     bytes read: by stores, the array, the vector unit               sram_*, by the SRAM's size
    sram_write    bytes written: by loads, the array, the vector unit             the same x sram_write_percent
    dma           transfers and their bytes                                       dma_descriptor, dma_byte
    dram          bytes of transfers                                              dram_byte
    leakage       power that flows all the time x the time                        pe_leakage, sram_leakage, dram_idle

**What the array reuses.** An operation reads each operand's tile from SRAM once and writes its result once,
as the engine counts (`EngineStats`). A step after the first also reads the accumulator's tile. So the array is
taken to have operand buffers that hold a tile: when a block is larger than the array and takes several folds,
they read it again from there, which is not priced. Likewise the hops from one processing element to the
next are part of the MAC's price or of none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from minisim.hwmodel import isa
from minisim.hwmodel.config import Machine

Column = npt.NDArray[np.int64]

COMPONENTS = ("mac", "epilogue", "vector", "sram_read", "sram_write", "dma", "dram", "leakage")
"""In the order of the reports."""

FJ_PER_JOULE = 10**15


@dataclass(frozen=True)
class Accesses:
    """Bytes that each operation moves, int64 columns in program order; their sums are the engine's counters."""

    sram_read: Column
    sram_write: Column
    dram_read: Column
    dram_write: Column

    @property
    def dram(self) -> Column:
        """Both ways."""
        return self.dram_read + self.dram_write


def accesses(schedule: isa.Schedule) -> Accesses:
    """The bytes that the operations of `schedule` read and write: each operand's tile once."""
    found = Accesses(*(np.zeros(len(schedule), dtype=np.int64) for _ in range(4)))
    opcode, row = schedule.stream["opcode"], schedule.stream["row"]
    sizes = np.append(schedule.tile_bytes(), 0)  # the last one is that of NONE

    def size(table: isa.Table, operand: str) -> Column:
        return np.asarray(sizes[np.minimum(table[operand], len(sizes) - 1)])

    loads, stores = opcode == isa.Opcode.LOAD, opcode == isa.Opcode.STORE
    found.dram_read[loads] = found.sram_write[loads] = size(schedule.transfers[row[loads]], "tile")
    found.dram_write[stores] = found.sram_read[stores] = size(schedule.transfers[row[stores]], "tile")

    executes = opcode == isa.Opcode.EXECUTE
    x = schedule.matmuls[row[executes]]
    accumulated = np.where(x["step"] > 0, size(x, "c"), 0)
    found.sram_read[executes] = accumulated + sum(size(x, name) for name in ("a", "b", "bias", "residual"))
    found.sram_write[executes] = size(x, "c")

    elementwise = opcode == isa.Opcode.VECTOR
    v = schedule.vectors[row[elementwise]]
    found.sram_read[elementwise] = size(v, "src0") + size(v, "src1")
    found.sram_write[elementwise] = size(v, "dst")
    return found


def operation_energy(schedule: isa.Schedule, machine: Machine) -> dict[str, Column]:
    """Femtojoules of each operation by component (all but leakage), int64 columns in program order."""
    price, moved = machine.energy, accesses(schedule)
    opcode, row = schedule.stream["opcode"], schedule.stream["row"]
    moves, executes = opcode <= isa.Opcode.STORE, opcode == isa.Opcode.EXECUTE
    elementwise = opcode == isa.Opcode.VECTOR

    def column(mine: npt.NDArray[np.bool_], values: Column) -> Column:
        whole = np.zeros(len(schedule), dtype=np.int64)
        whole[mine] = values
        return whole

    x, v = schedule.matmuls[row[executes]], schedule.vectors[row[elementwise]]
    elements = v["rows"].astype(np.int64) * v["cols"]
    read, write = sram_prices(machine)
    return {
        "mac": column(executes, _mac_energy(x, machine)),
        "epilogue": column(executes, _epilogue_energy(x, machine)),
        "vector": column(elementwise, elements * _prices(isa.VectorOp, "vector", machine)[v["op"]]),
        "sram_read": moved.sram_read * read,
        "sram_write": moved.sram_write * write,
        "dma": moved.dram * price.dma_byte + moves * price.dma_descriptor,
        "dram": moved.dram * price.dram_byte,
    }


def _mac_energy(x: isa.Table, machine: Machine) -> Column:
    macs = x["m"].astype(np.int64) * x["k"] * x["n"]
    return np.asarray(macs * _prices(isa.DType, "mac", machine)[x["dtype"]])


def _epilogue_energy(x: isa.Table, machine: Machine) -> Column:
    """An addition per element for each of bias and residual, then the activation; only last steps have them."""
    additions = (x["bias"] != isa.NONE).astype(np.int64) + (x["residual"] != isa.NONE)
    activation = _prices(isa.Activation, "vector", machine)[x["activation"]]
    each = additions * machine.energy.vector_add + activation
    return np.asarray(x["m"].astype(np.int64) * x["n"] * each)


def _prices(codes: type[isa.DType | isa.VectorOp | isa.Activation], kind: str, machine: Machine) -> Column:
    """Femtojoules by code: the key ``kind_name`` of [energy]; an operation without a key is an AttributeError."""
    table = np.zeros(max(codes) + 1, dtype=np.int64)
    for code in codes:
        if code is not isa.Activation.NONE:
            table[code] = getattr(machine.energy, f"{kind}_{code.name.lower()}")
    return table


def sram_prices(machine: Machine) -> tuple[int, int]:
    """Femtojoules per byte read and per byte written, for an SRAM of this size, rounded to whole ones.

    Between the three sizes that have a price it is interpolated in log-log; beyond them it grows with the
    square root of the size, as the wires across a square memory do.
    """
    price, size = machine.energy, machine.sram.bytes
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
    """What flows all the time: array, SRAM, DRAM."""
    price, elements = machine.energy, machine.matrix.elements
    mib = Fraction(machine.sram.bytes, 2**20)
    return price.pe_leakage * elements + price.sram_leakage * mib + price.dram_idle


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
    """

    parts: Mapping[str, tuple[int, ...]]

    def by_component(self) -> dict[str, int]:
        """Femtojoules of the run by component."""
        return {name: sum(layers) for name, layers in self.parts.items()}

    def by_layer(self) -> list[int]:
        """Femtojoules of each layer."""
        return [sum(layer) for layer in zip(*self.parts.values(), strict=True)]

    @property
    def total(self) -> int:
        """Femtojoules of the run."""
        return sum(self.by_layer())


def breakdown(schedule: isa.Schedule, machine: Machine, cycles: npt.ArrayLike) -> Breakdown:
    """The energy of a run of `schedule`, by layer and component.

    Args:
        cycles: of each layer, adding up to the run's; leakage goes by them.
    """
    layers = len(schedule.layers)
    if np.shape(cycles) != (layers,):
        raise ValueError(f"cycles must have one entry for each of the {layers} layers, not shape {np.shape(cycles)}")
    parts = {
        name: _layer_sums(schedule.stream["layer"], column, layers)
        for name, column in operation_energy(schedule, machine).items()
    }
    return Breakdown({**parts, "leakage": tuple(leakage_energy(cycles, machine))})


def _layer_sums(layer: npt.NDArray[np.uint32], column: Column, layers: int) -> tuple[int, ...]:
    """Exact sums per layer: in two halves, as the sum of many operations may pass 2^63."""
    high, low = np.zeros((2, layers), dtype=np.int64)
    np.add.at(high, layer, column >> 31)
    np.add.at(low, layer, column & (2**31 - 1))
    return tuple(h * 2**31 + rest for h, rest in zip(high.tolist(), low.tolist(), strict=True))
