"""Dispatch order: the stream is sorted by when each operation is expected to start.

Control dispatches in program order and stalls on a full queue, and whatever lies behind waits with it. In
the order of the uOps a load stands right before its first use; if it could start long before that, it
must also be dispatched long before. So the operations are merged by the start times of a machine with
endless queues (`hwmodel/recurrence.py`). Each queue keeps its own order, so waits and addresses stay as they are; and
whoever waits for an operation, of its own core or another, starts after its end, so it stays behind it. Cores have a
control each: of the order between two cores nothing is left but that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minisim.hwmodel.classes import ClassCosts, class_costs
from minisim.hwmodel.config import Machine
from minisim.hwmodel.isa import Schedule
from minisim.hwmodel.recurrence import expected_starts


@dataclass(frozen=True)
class Dispatch:
    """Schedule -> Schedule."""

    machine: Machine
    name: str = "dispatch"

    def apply(self, schedule: Schedule) -> Schedule:
        if self.machine.compiler.order != "auto":  # loop nests stay as they are
            return schedule
        return self.with_costs(schedule)[0]

    def with_costs(self, schedule: Schedule) -> tuple[Schedule, ClassCosts]:
        """The schedule in its order, and what its operations cost."""
        by_class = class_costs(schedule, self.machine)
        order = np.argsort(expected_starts(schedule, self.machine, by_class), kind="stable")
        sorted_ = schedule.replace(stream=schedule.stream[order])
        return sorted_, by_class.in_order(order, sorted_, self.machine)
