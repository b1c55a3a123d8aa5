"""Timing and numerics in step: the event model says when, the engine does it then.

When an operation starts, the engine locks what it reads and writes; when it retires, the engine performs
it. Two accesses that the schedule should have kept apart meet as a `ScheduleHazard`, at the cycle at
which it happens. Events cross into C++ in batches, in order of time.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np

from minisim._engine import Engine
from minisim.errors import Deadlock, IndexRangeError, ScheduleHazard, printable
from minisim.hwmodel.config import Machine
from minisim.hwmodel.isa import Schedule
from minisim.hwmodel.native import simulate_native
from minisim.hwmodel.state import Observer
from minisim.hwmodel.timeline import Timeline
from minisim.hwmodel.timing import simulate, tell

BATCH = 16384
"""Events per crossing: enough to make its cost vanish, few enough to stay in cache."""


class Lockstep:
    """An observer of the event model that makes an engine do what happens.

    Args:
        schedule: what is being simulated; `engine` has loaded it, and holds its inputs.
    """

    def __init__(self, schedule: Schedule, engine: Engine) -> None:
        self.schedule = schedule
        self.engine = engine
        self._events = array("I")
        self._cycles = array("q")

    def on_issue(self, op: int, cycle: int) -> None:
        """Do nothing: an operation that waits in a queue touches no data."""

    def on_start(self, op: int, cycle: int) -> None:
        self._events.append(2 * op)
        self._cycles.append(cycle)

    def on_retire(self, op: int, cycle: int) -> None:
        self._events.append(2 * op + 1)
        self._cycles.append(cycle)
        if len(self._events) >= BATCH:
            self.flush()

    def finish(self, cycles: int) -> None:
        """The simulation ended after `cycles`: catch up, and confirm that all outputs are complete.

        Raises:
            ScheduleHazard: as `flush`, or because part of an output was never stored.
        """
        self.flush()
        self.engine.finish(cycles)

    def flush(self) -> None:
        """Let the engine catch up with the simulation.

        Raises:
            ScheduleHazard: naming both operations, the range and the cycle.
        """
        events = np.array(self._events, dtype=np.uint32)
        cycles = np.array(self._cycles, dtype=np.int64)
        del self._events[:], self._cycles[:]
        try:
            self.engine.replay(events, cycles)
        except ScheduleHazard as hazard:
            raise explained(hazard, self.schedule) from None
        except IndexRangeError as e:
            raise with_node(e, self.schedule) from None


def in_lockstep(
    schedule: Schedule, machine: Machine, engine: Engine, observers: Sequence[Observer], timing: str
) -> Timeline:
    """Time `schedule`, while `engine`, which has loaded it and holds its inputs, does what happens.

    Args:
        timing: the timing core. The native one does both in one loop.

    Raises:
        ScheduleHazard: naming both operations, the range and the cycle.
        IndexRangeError: an index that was computed leads beyond its table.
    """
    if timing == "simpy":
        lockstep = Lockstep(schedule, engine)
        timeline = simulate(schedule, machine, [lockstep, *observers], timing=timing)
        lockstep.finish(timeline.cycles)
        return timeline
    try:
        timeline = simulate_native(schedule, machine, engine)
        engine.finish(timeline.cycles)
    except Deadlock:
        raise  # it says all
    except ScheduleHazard as hazard:
        raise explained(hazard, schedule) from None
    except IndexRangeError as e:
        raise with_node(e, schedule) from None
    tell(timeline, observers)
    return timeline


def with_node(error: IndexRangeError, schedule: Schedule) -> IndexRangeError:
    """The error with the node that looks the row up."""
    node = schedule.layer_names[int(schedule.stream["layer"][error.op])]
    return IndexRangeError(f"node {printable(node)!r} (Gather): {error}", error.op)


def explained(hazard: ScheduleHazard, schedule: Schedule) -> ScheduleHazard:
    """The hazard with both operations spelled out."""
    lines = [str(hazard)]
    for i in (hazard.op, hazard.other):
        if 0 <= i < len(schedule):
            core = f" of core {schedule.stream['core'][i]}" if schedule.cores > 1 else ""
            lines.append(f"  operation {i}{core}: {schedule.describe(i)}")
    return ScheduleHazard("\n".join(lines), hazard.op, hazard.other, hazard.cycle)
