"""Costs by class: what `cost.py` says, once for all operations that cost the same.

Of a million operations there are a few dozens of classes. The native event model and the recurrence of expected starts
work with them, so that neither needs a column of costs for each operation.
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
        costs: int64 of shape (classes x 6,): setup, busy, hold, latency, lag and DRAM cycles of each class.
        planes: of each operation how many its descriptor moves, 0 for one that follows; None if all move one.
    """

    of: Numbers
    costs: npt.NDArray[np.int64]
    planes: Numbers | None

    def in_order(self, order: npt.NDArray[np.int64], schedule: Schedule, machine: Machine) -> ClassCosts:
        """The costs of `schedule`, whose stream is the one they are of in another `order`. Which operations follow in a
        descriptor depends on it."""
        return ClassCosts(self.of[order], self.costs, None) if self.planes is None else class_costs(schedule, machine)


def class_costs(schedule: Schedule, machine: Machine) -> ClassCosts:
    """The costs of all operations of `schedule`, by class.

    Raises:
        ScheduleError: a reference of the schedule leads nowhere.
    """
    moved = _planes(schedule, machine)
    of, first = classify(schedule, moved, _period(machine))
    found = _examples(schedule, machine, first, moved)
    columns = (found.setup, found.busy, found.hold, found.latency, found.lag, found.dram)
    return ClassCosts(of, np.stack(columns, axis=1).reshape(-1), moved)


def costs_by_class(schedule: Schedule, machine: Machine) -> Costs:
    """What `costs` says of all operations, found out once for each class: the columns, and no other of their length.

    Raises:
        ScheduleError: a reference of the schedule leads nowhere.
    """
    moved = _planes(schedule, machine)
    of, first = classify(schedule, moved, _period(machine))
    found = _examples(schedule, machine, first, moved)
    return Costs(*(getattr(found, field.name)[of] for field in fields(Costs)))


def _planes(schedule: Schedule, machine: Machine) -> Numbers | None:
    """How many operations each one's descriptor moves; None if all move one."""
    if machine.dma.dimensions < 3:
        return None
    return planes(schedule, descriptors(schedule, rectangles(schedule), machine)).astype(np.uint32)


def _period(machine: Machine) -> int:
    return max(burst_rules(machine, load).period for load in (True, False)) if machine.dma.has_bursts else 1


def _examples(schedule: Schedule, machine: Machine, first: Numbers, moved: Numbers | None) -> Costs:
    """The costs of the first operation of each class."""
    examples = schedule.replace(stream=schedule.stream[first])
    decoded = None
    if machine.dma.dimensions > 1:
        decodes = examples.stream["opcode"] <= Opcode.STORE
        if moved is not None:
            decodes = decodes & (moved[first] > 0)
        decoded = decodes.astype(np.int64)
    return costs(examples, machine, decoded)
