"""Costs by class: what `cost.py` and `energy.py` say, once for all operations that cost the same.

Of a million operations there are some dozens or hundreds of classes. The native event model, the recurrence of expected
starts and the sums of a run's work and energy need them alone, and no column of costs for each operation.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from minisim._engine import classify
from minisim.hwmodel.config import Machine
from minisim.hwmodel.cost import Costs, burst_rules, costs, rectangles
from minisim.hwmodel.descriptors import descriptors, planes
from minisim.hwmodel.isa import Opcode, Schedule

Numbers = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class ClassCosts:
    """The costs of a schedule's operations.

    Attributes:
        of: of each operation its class.
        each: the costs of an operation of each class.
        examples: the schedule whose operations are one of each class.
        planes: of each operation how many its descriptor moves, 0 for one that follows; None if all move one.
    """

    of: Numbers
    each: Costs
    examples: Schedule
    planes: Numbers | None

    @property
    def costs(self) -> npt.NDArray[np.int64]:
        """int64 of shape (classes x 6,): setup, busy, hold, latency, lag and DRAM cycles of each class."""
        x = self.each
        return np.stack((x.setup, x.busy, x.hold, x.latency, x.lag, x.dram), axis=1).reshape(-1)

    def in_order(self, order: npt.NDArray[np.int64], schedule: Schedule, machine: Machine) -> ClassCosts:
        """The costs of `schedule`, whose stream is the one they are of in another `order`. Which operations follow in a
        descriptor depends on it."""
        if self.planes is not None:
            return class_costs(schedule, machine)
        return ClassCosts(self.of[order], self.each, self.examples, None)

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """How many operations there are of each class."""
        return np.bincount(self.of, minlength=len(self.examples)).astype(np.int64)

    def of_all(self) -> Costs:
        """The costs of every operation."""
        return Costs(*(getattr(self.each, column.name)[self.of] for column in fields(Costs)))


def class_costs(schedule: Schedule, machine: Machine) -> ClassCosts:
    """The costs of all operations of `schedule`, by class.

    Raises:
        ScheduleError: a reference of the schedule leads nowhere.
    """
    moved = _planes(schedule, machine)
    of, first = classify(schedule, moved, _period(machine))
    examples = schedule.replace(stream=schedule.stream[first])
    decoded = None
    if machine.dma.dimensions > 1:
        decodes = examples.stream["opcode"] <= Opcode.STORE
        if moved is not None:
            decodes = decodes & (moved[first] > 0)
        decoded = decodes.astype(np.int64)
    return ClassCosts(of, costs(examples, machine, decoded), examples, moved)


def _planes(schedule: Schedule, machine: Machine) -> Numbers | None:
    """How many operations each one's descriptor moves; None if all move one."""
    if machine.dma.dimensions < 3:
        return None
    return planes(schedule, descriptors(schedule, rectangles(schedule), machine)).astype(np.uint32)


def _period(machine: Machine) -> int:
    return max(burst_rules(machine, load).period for load in (True, False)) if machine.dma.has_bursts else 1
