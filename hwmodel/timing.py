"""Timing a schedule: by the native event model, or by SimPy, which defines it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence

import numpy as np

from minisim.errors import ScheduleError, UsageError, shown
from minisim.hwmodel.config import Machine, MachineLike
from minisim.hwmodel.isa import Schedule
from minisim.hwmodel.native import simulate_native
from minisim.hwmodel.simulate import simulate as simulate_simpy
from minisim.hwmodel.state import Observer
from minisim.hwmodel.timeline import Timeline

TIMING_CORES = ("native", "simpy")


def simulate(
    schedule: Schedule,
    machine: MachineLike = None,
    observers: Sequence[Observer] = (),
    *,
    timing: str = "native",
) -> Timeline:
    """Time `schedule` on `machine` (what `Machine.of` takes). Equal arguments give equal timelines, to the cycle.

    Args:
        observers: told of every step of every operation: by SimPy as it happens, by the native core afterwards.
        timing: the timing core, one of TIMING_CORES; the timelines are equal.

    Raises:
        UsageError: `schedule` is none, an observer cannot be told of the steps, or there is no such core.
        ScheduleHazard: the operations wait for each other in a circle; whatever an observer raises.
        ScheduleError: the schedule is for more cores than the machine has, or breaks a rule.
    """
    machine = Machine.of(machine)
    check_timing(timing)
    check(schedule, machine)
    check_observers(observers)
    if timing == "simpy":
        return simulate_simpy(schedule, machine, observers)
    timeline = simulate_native(schedule, machine)
    tell(timeline, observers)
    return timeline


def tell(timeline: Timeline, observers: Sequence[Observer]) -> None:
    """Tell observers of all steps of a run that is over, in their order (see `Observer`)."""
    if not observers:
        return
    n = len(timeline.end)
    cycles = np.concatenate([timeline.end, timeline.issue, timeline.start])
    kinds, ops = np.repeat(np.arange(3), n), np.tile(np.arange(n), 3)
    order = np.lexsort((ops, kinds, cycles))
    for cycle, kind, op in zip(cycles[order].tolist(), kinds[order].tolist(), ops[order].tolist(), strict=True):
        for observer in observers:
            (observer.on_retire, observer.on_issue, observer.on_start)[kind](op, cycle)


def check_timing(timing: object) -> None:
    """Raises UsageError if there is no such core."""
    if not isinstance(timing, str) or timing not in TIMING_CORES:
        raise UsageError(f"timing must be {' or '.join(TIMING_CORES)}, not {shown(timing)}")


def check(schedule: Schedule, machine: Machine) -> None:
    """Raises UsageError or ScheduleError if `schedule` is none, or none for `machine`."""
    if not isinstance(schedule, Schedule):
        raise UsageError(f"schedule must be a Schedule, such as compile_graph returns, not {shown(schedule)}")
    if schedule.cores > machine.cores.count:
        raise ScheduleError(f"the schedule is for {schedule.cores} cores, the machine has {machine.cores.count}")


def check_observers(observers: Sequence[Observer]) -> None:
    """Raises UsageError if one of them cannot be told of the steps."""
    if not isinstance(observers, Sequence):
        raise UsageError(f"observers must be a sequence of observers, not {shown(observers)}")
    steps = ("on_issue", "on_start", "on_retire")
    for observer in observers:
        if missing := [step for step in steps if not callable(getattr(observer, step, None))]:
            raise UsageError(
                f"an observer must have the methods {', '.join(steps)}; {shown(observer)} has no {missing[0]}"
            )
        for step in steps:
            if not _takes_two(getattr(observer, step)):
                raise UsageError(
                    f"{step} of an observer is called with (op, cycle), which {type(observer).__name__}'s does not take"
                )


def _takes_two(method: Callable[..., object]) -> bool:
    """Whether it can be called with two arguments; as far as it tells."""
    try:
        inspect.signature(method).bind(0, 0)
    except TypeError:
        return False
    except ValueError:  # a built-in one without a signature
        return True
    return True
