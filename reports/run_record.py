"""One finished run: all that a report may know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, wraps
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from minisim.difference import Difference
from minisim.hwmodel.classes import costs_by_class
from minisim.hwmodel.config import Machine
from minisim.hwmodel.cost import Costs, Roofline, roofline
from minisim.hwmodel.energy import Breakdown, breakdown
from minisim.hwmodel.isa import DType, Opcode, Schedule
from minisim.hwmodel.timeline import Timeline
from minisim.reports.attribution import layer_cycles
from minisim.reports.path import Path, critical_path

Counts = npt.NDArray[np.int64]
T = TypeVar("T")


def once(told: Callable[[RunRecord], T]) -> Callable[[RunRecord], T]:
    """What is told of a run is found out once: later calls return the same object, which nobody changes."""

    @wraps(told)
    def known(record: RunRecord) -> T:
        if told not in record.told:
            record.told[told] = told(record)
        found: T = record.told[told]
        return found

    return known


@dataclass(frozen=True, repr=False)
class RunRecord:
    """What ran, on what, and how it went.

    Attributes:
        schedule, timeline, machine: of one run; the timeline has a row per operation of the schedule.
        model: name of the model, as the user gave it.
        config: name of the machine file or preset.
        timing: the timing core: "simpy" or "native".
        wall_compile_s, wall_simulate_s: seconds of real time that compiling and simulating took.
        output_sha256: digest of the output tensors, "" if no numerics ran.
        difference: of the outputs from the reference, None if they were not compared.
        given: outputs that nothing computes, as they are known when the model is read, with type and shape.
    """

    schedule: Schedule
    timeline: Timeline
    machine: Machine
    model: str
    config: str
    timing: str
    wall_compile_s: float
    wall_simulate_s: float
    output_sha256: str = ""
    difference: Difference | None = None
    given: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<RunRecord of {self.model!r} on {self.config!r}: {self.timeline.cycles:,} cycles>"

    @cached_property
    def told(self) -> dict[Callable[[RunRecord], object], Any]:
        """What was found out of this run (`once`), by the function that tells it."""
        return {}

    @cached_property
    def costs(self) -> Costs:
        """The cost of every operation: for bytes, DRAM cycles and lane cycles."""
        return costs_by_class(self.schedule, self.machine)

    @cached_property
    def path(self) -> Path:
        """The critical path, which every account of this run's cycles is made from.

        Raises ValueError if the timeline is not of its schedule and machine."""
        return critical_path(self.schedule, self.timeline, self.machine, self.costs)

    @cached_property
    def energy(self) -> Breakdown:
        """The energy by layer and component; a layer's leakage is that of its own cycles."""
        cycles = layer_cycles(self.schedule, self.timeline)
        return breakdown(
            self.schedule,
            self.machine,
            cycles,
            launch=self.timeline.cycles,
            answers=self.timeline.answers,
            decoded=self.costs.descriptors,
        )

    @cached_property
    def layer_dtypes(self) -> list[DType]:
        """The type of each layer's matmul operands; that of the machine where it has none."""
        stream = self.schedule.stream
        found = [self.machine.dtype] * len(self.schedule.layers)
        executes = np.flatnonzero(stream["opcode"] == Opcode.EXECUTE)
        layers, first = np.unique(stream["layer"][executes], return_index=True)
        codes = self.schedule.matmuls["dtype"][stream["row"][executes[first]]]
        for layer, code in zip(layers.tolist(), codes.tolist(), strict=True):
            found[layer] = DType(code)
        return found

    @cached_property
    def pe_cycles(self) -> list[Fraction]:
        """Of each layer: its MACs / rate of their type, the cycles that one processing element would need."""
        macs = self.schedule.layers["macs"].tolist()
        return [
            n / self.machine.matrix.rate(t) if n else Fraction(0) for n, t in zip(macs, self.layer_dtypes, strict=True)
        ]

    @property
    def dtypes(self) -> str:
        """The types that the array multiplied, as the machine file calls them: "int8"; "" if it had nothing to do."""
        codes = np.unique(self.schedule.matmuls["dtype"]).tolist()
        return "+".join(DType(code).name.lower() for code in codes)

    @cached_property
    def work(self) -> Work:
        """The work of the whole run."""
        opcode, cost = self.schedule.stream["opcode"], self.costs
        return Work(
            macs=int(self.schedule.layers["macs"].sum()),
            pe_cycles=sum(self.pe_cycles, Fraction(0)),
            vector_cycles=int(cost.busy[opcode == Opcode.VECTOR].sum()),
            read_bytes=int(cost.bytes[opcode == Opcode.LOAD].sum()),
            write_bytes=int(cost.bytes[opcode == Opcode.STORE].sum()),
            dram_bytes=int(sum(column.sum() for column in self.dram_moved)),
        )

    @cached_property
    def dram_moved(self) -> tuple[Counts, Counts]:
        """Bytes that the DRAM read and wrote for each operation: what the DMA moved, or what an L2 let through."""
        if answers := self.timeline.answers:
            return answers.read, answers.written
        opcode, moved = self.schedule.stream["opcode"], self.costs.bytes
        return np.where(opcode == Opcode.LOAD, moved, 0), np.where(opcode == Opcode.STORE, moved, 0)


@dataclass(frozen=True)
class Work:
    """What had to be done.

    Attributes:
        macs: multiply-accumulates.
        pe_cycles: cycles that one processing element would need for them.
        vector_cycles: busy cycles of the vector unit.
        read_bytes, write_bytes: that the DMAs move.
        dram_bytes: that the DRAM moves for them; with an L2 more or less.
    """

    macs: int
    pe_cycles: Fraction
    vector_cycles: int
    read_bytes: int
    write_bytes: int
    dram_bytes: int

    @property
    def bytes(self) -> int:
        """Both ways."""
        return self.read_bytes + self.write_bytes

    def bound(self, machine: Machine) -> Roofline:
        """The cycles below which `machine` cannot do it."""
        return roofline(self.pe_cycles, self.vector_cycles, self.read_bytes, self.write_bytes, machine, self.dram_bytes)
