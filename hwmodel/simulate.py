"""The event model: a schedule and a machine in, a timeline out.

Each core's control (`control.py`) dispatches its operations in program order into the queues of its units. Each unit
starts them in order: transfers as events (`dma.py`), what computes as soon as it is known when (`unit.py`). The
scoreboard between the queues is in `scoreboard.py`, the memory, which all cores share, in `memory.py`, and all
durations that depend on nothing but the operands in `cost.py`. What happens first in a cycle is written in `clock.py`.
The model prints and logs nothing: whoever wants to see it at work passes observers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from simpy import Environment

from minisim.errors import Deadlock
from minisim.hwmodel.config import Machine
from minisim.hwmodel.control import Control
from minisim.hwmodel.dma import MemoryArbiter, dma_units
from minisim.hwmodel.isa import Queue, Schedule
from minisim.hwmodel.state import Observer, State
from minisim.hwmodel.timeline import Timeline
from minisim.hwmodel.unit import ComputeUnit, Unit


def simulate(
    schedule: Schedule,
    machine: Machine,
    observers: Sequence[Observer] = (),
    *,
    env: Environment | None = None,
) -> Timeline:
    """Time `schedule`, which is for `machine`, with SimPy. Equal arguments give equal timelines, to the cycle.

    Args:
        observers: told of every step of every operation.
        env: a SimPy environment to run in, at cycle 0; default: a new one. The cycles do not depend on it.

    Raises:
        Deadlock: the operations wait for each other in a circle. Whatever an observer raises.
    """
    state = State(schedule, machine, observers, Environment() if env is None else env)
    return run(state, all_units(state))


def all_units(state: State) -> list[Unit]:
    """The units of all cores, lane by lane."""
    schedule, machine = state.schedule, state.machine
    arbiter, depth = MemoryArbiter(state), machine.control.queue_depth
    units: list[Unit] = []
    for core in range(schedule.cores):
        units += dma_units(state, core, schedule, machine, arbiter)
        units += [ComputeUnit(state, core, queue, depth) for queue in (Queue.MATRIX, Queue.VECTOR)]
    return units


def run(state: State, units: Sequence[Unit]) -> Timeline:
    """Let the units work until nothing is left to do.

    Raises:
        Deadlock: as `simulate`.
    """
    schedule, paces = state.schedule, state.machine.control
    for core in range(schedule.cores):
        mine = units[core * len(Queue) : (core + 1) * len(Queue)]
        ops = range(len(schedule)) if schedule.cores == 1 else np.flatnonzero(schedule.stream["core"] == core).tolist()
        control = Control(state, ops, mine, paces.launch_cycles, paces.issue_cycles)
        for unit in mine:
            unit.control = control
        control.advance()
    state.settle()
    state.env.run()
    state.finish()
    if state.unretired:
        raise _deadlock(state, units)
    return state.timeline()


def _deadlock(state: State, units: Sequence[Unit]) -> Deadlock:
    schedule, ends = state.schedule, state.scoreboard.ends
    now = max(max(cycles, default=0) for cycles in (state.issue, *ends))
    stuck = []
    for unit in units:
        if unit.queue:
            op = unit.queue[0]
            needed = [(unit.first_lane + queue, counts[op]) for queue, counts in enumerate(state.waits)]
            short = [(lane, count) for lane, count in (*needed, *state.syncs(op)) if len(ends[lane]) < count]
            needs = ", ".join(
                f"{count} of {schedule.lane_name(lane)} (retired {len(ends[lane])})" for lane, count in short
            )
            core = f" of core {unit.core}" if schedule.cores > 1 else ""
            stuck.append((op, f"operation {op}{core} ({schedule.describe(op)}) waits for {needs or 'its unit'}"))
    first = min(stuck, default=(-1, "no operation was dispatched"))
    return Deadlock(f"deadlock at cycle {now}: " + "; ".join(text for _, text in stuck), first[0], -1, now)
