"""One finished run: all that a report may know."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from minisim.hwmodel.config import Machine
from minisim.hwmodel.cost import Costs, Roofline, costs, roofline
from minisim.hwmodel.energy import Breakdown, breakdown
from minisim.hwmodel.isa import Opcode, Schedule
from minisim.hwmodel.timeline import Timeline
from minisim.reports.attribution import layer_edges


@dataclass(frozen=True)
class RunRecord:
    """What ran, on what, and how it went.

    Attributes:
        schedule, timeline, machine: of one run; the timeline has a row per operation of the schedule.
        model: name of the model, as the user gave it.
        config: name of the machine file or preset.
        timing: the timing core: "simpy" or "native".
        wall_compile_s, wall_simulate_s: seconds of real time that compiling and simulating took.
        output_sha256: digest of the output tensors, "" if no numerics ran.
        max_abs_error: largest deviation from the reference, None if no numerics ran.
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
    max_abs_error: float | None = None

    @cached_property
    def costs(self) -> Costs:
        """The cost of every operation: for bytes, DRAM cycles and lane cycles."""
        return costs(self.schedule, self.machine)

    @cached_property
    def energy(self) -> Breakdown:
        """The energy by layer and component; a layer's leakage is that of its own cycles."""
        return breakdown(self.schedule, self.machine, np.diff(layer_edges(self.schedule, self.timeline)))

    @cached_property
    def work(self) -> Work:
        """The work of the whole run."""
        opcode, cost = self.schedule.stream["opcode"], self.costs
        return Work(
            macs=int(self.schedule.layers["macs"].sum()),
            vector_cycles=int(cost.busy[opcode == Opcode.VECTOR].sum()),
            read_bytes=int(cost.bytes[opcode == Opcode.LOAD].sum()),
            write_bytes=int(cost.bytes[opcode == Opcode.STORE].sum()),
        )


@dataclass(frozen=True)
class Work:
    """What had to be done: multiply-accumulates, busy cycles of the vector unit, and bytes each way."""

    macs: int
    vector_cycles: int
    read_bytes: int
    write_bytes: int

    @property
    def bytes(self) -> int:
        """Both ways."""
        return self.read_bytes + self.write_bytes

    def bound(self, machine: Machine) -> Roofline:
        """The cycles below which `machine` cannot do it."""
        return roofline(self.macs, self.vector_cycles, self.read_bytes, self.write_bytes, machine)
