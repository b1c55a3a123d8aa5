"""How many cycles the terms of gates (`gates.py`) are, for each operation of a run."""

from __future__ import annotations

import numpy as np

from minisim.hwmodel.config import Machine
from minisim.hwmodel.cost import Costs
from minisim.hwmodel.timeline import Cycles, Timeline


def delays(cost: Costs, machine: Machine, timeline: Timeline) -> dict[str, Cycles]:
    """The cycles that terms may name, as columns over the operations.

    Most are the machine's and the operands'; what the memory answered to a transfer (its service, and where there is
    an L2, a network or several channels, `Timeline.answers`) is the run's.
    """
    worked = np.minimum(cost.busy, cost.hold)
    none = np.zeros_like(cost.busy)
    answers = timeline.answers
    moves = cost.bytes > 0
    contention = answers.contention if answers else none
    return {
        "setup": cost.setup,
        "busy": cost.busy,
        "hold": cost.hold,
        "worked": worked,
        "drained": cost.hold - worked,
        "latency": np.where(moves, answers.latency, cost.latency) if answers else cost.latency,
        "lag": cost.lag,
        "l2": -(-cost.bytes // machine.l2.bytes_per_cycle) if machine.l2.bytes else none,
        "contention": contention,
        "service": timeline.dram_end - timeline.dram_begin - contention,
        "crossing": answers.crossing if answers else none,
        "pace": np.full_like(cost.busy, machine.control.issue_cycles),
        "launch": np.full_like(cost.busy, machine.control.launch_cycles),
    }
